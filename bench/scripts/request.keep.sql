-- request: a new key, begun and completed
\set n :n + 1
\set i :base + :n * 16 + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.begin_request('bench.requests', :key, :request)
\gset
SELECT keep.complete_request('bench.requests', :key, :token, :answer);
