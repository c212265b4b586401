-- put_many: 1000 entries in one call; half of the keys are there, half are new.
-- Each client has its own keys, so that no two meet in opposite order. Making the
-- keys is part of what is measured, as it is on the other side.
\set n :n + 1
\if :n = 1
SELECT array_agg(:doc::jsonb) AS docs FROM generate_series(1, 1000) \gset
\endif
\set start random(0, :entries)
\set new :base + :n * 2000 + :client_id
SELECT array_agg(bench.key(CASE WHEN j % 2 = 0 THEN 1 + (:start + j * 7919) % (:entries / 4) * 4 + :client_id
	ELSE :new + j / 2 * 4 END)) AS keys
FROM generate_series(0, 999) j \gset
SELECT key, version FROM keep.put_many('bench.sessions', :keys, :docs);
