-- call_once_replay: a call that is done is made again
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.call_once('bench.requests', :key, 'bench.charge(jsonb)', :args);
