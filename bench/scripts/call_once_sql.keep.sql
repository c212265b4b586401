-- call_once of a function in SQL that inserts one row
\set n :n + 1
\set i :base + :n * 16 + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.call_once('bench.requests', :key, 'bench.charge_sql(jsonb)', :args);
