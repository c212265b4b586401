-- touch: each session once, when it is due
\set n :n + 1
\set i (:n - 1) * 4 + :client_id + 1
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.touch('bench.sessions', :key);
