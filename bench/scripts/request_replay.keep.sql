-- request_replay: a key that is completed is begun again
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.begin_request('bench.requests', :key, :request);
