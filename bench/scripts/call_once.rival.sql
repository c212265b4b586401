-- the insert that call_once's function makes, alone
\set n :n + 1
\set i :base + :n * 16 + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
INSERT INTO bench.charge_by_hand (customer, amount) VALUES (:customer, :amount) RETURNING id;
