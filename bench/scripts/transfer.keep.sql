-- transfer
\set n :n + 1
\set i random(1, :accounts)
\set j (:i + random(0, :accounts - 2)) % :accounts + 1
\set from 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
\set to 100000000000000000 + (:j * 7368787003 % 999999999989) * 9000011
\set id 1000000000000000000 + :base + :n * 16 + :client_id
\set amount random(1, 1000)
SELECT * FROM keep.transfer('bench.ledger', :id, :from, :to, :amount);
