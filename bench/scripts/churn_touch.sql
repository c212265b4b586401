-- a request that loads its session and keeps it alive, one that began within the last 20 seconds
\set i (:n - random(0, greatest(0, least(:n - 1, :window)))) * :clients + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.get_and_touch('bench.churn', :key);
