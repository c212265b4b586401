-- a replay by hand: state and response by key, and whether it was the same request
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT state, response, request_hash = sha256(convert_to(:request::jsonb::text, 'UTF8')) AS same
FROM bench.request
WHERE key = :key AND (finished_at IS NULL OR finished_at > now() - interval '24 hours');
