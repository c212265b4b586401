-- put_if_absent by hand: the plpgsql function that looks first
\set n :n + 1
\if random(0, 1) = 0
\set i random(1, :entries)
\else
\set i :base + :n * 4 + :client_id
\endif
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM bench.put_if_absent(:key, :doc, interval '30 min');
