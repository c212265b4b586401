-- put by hand: INSERT ... ON CONFLICT DO UPDATE ... RETURNING the same row
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
INSERT INTO bench.entry AS e
VALUES (:key, :doc, 1, now(), now(), now() + interval '30 min')
ON CONFLICT (key) DO UPDATE
SET value = EXCLUDED.value, version = e.version + 1,
	updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at
RETURNING true AS applied, CASE WHEN xmax = 0 THEN 'created' ELSE 'updated' END AS status, value, version, expires_at;
