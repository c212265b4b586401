-- a request of a busy session: load it and keep it alive
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT * FROM keep.get_and_touch('bench.sessions', :key);
