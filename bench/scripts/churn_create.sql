-- a session begins; those of the other scripts are told by the same count
\set n :n + 1
\set i :n * :clients + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT status FROM keep.put('bench.churn', :key, :doc);
