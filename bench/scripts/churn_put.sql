-- a request that changes its session, one that began within the last 20 seconds
\set i (:n - random(0, greatest(0, least(:n - 1, :window)))) * :clients + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT status FROM keep.put('bench.churn', :key, :doc);
