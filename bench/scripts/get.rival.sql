-- get by hand: the same table, the same rule
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT value FROM bench.sessions WHERE key = :key AND (expires_at IS NULL OR expires_at > now());
