-- request by hand: two statements. Where the first gives no row, a live record is there, and the client looks at it.
\set n :n + 1
\set i :base + :n * 16 + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
INSERT INTO bench.request AS r (key, state, request_hash, attempts, lease_until, created_at)
VALUES (:key, 'in_progress', sha256(convert_to(:request::jsonb::text, 'UTF8')), 1,
	clock_timestamp() + interval '1 min', clock_timestamp())
ON CONFLICT (key) DO UPDATE
SET state = EXCLUDED.state, request_hash = EXCLUDED.request_hash, token = DEFAULT,
	attempts = CASE WHEN r.finished_at IS NULL THEN r.attempts + 1 ELSE 1 END,
	lease_until = EXCLUDED.lease_until,
	checkpoint = CASE WHEN r.finished_at IS NULL THEN r.checkpoint END,
	response = NULL,
	created_at = CASE WHEN r.finished_at IS NULL THEN r.created_at ELSE EXCLUDED.created_at END,
	finished_at = NULL
WHERE r.finished_at <= clock_timestamp() - interval '24 hours'
	OR (r.request_hash = EXCLUDED.request_hash AND r.finished_at IS NULL
		AND (r.lease_until IS NULL OR r.lease_until <= clock_timestamp()))
RETURNING CASE r.attempts WHEN 1 THEN 'started' ELSE 'resumed' END AS state, token, checkpoint, response
\gset
UPDATE bench.request
SET state = 'completed', response = :answer, finished_at = clock_timestamp(), lease_until = NULL
WHERE key = :key AND token = :token AND state = 'in_progress';
