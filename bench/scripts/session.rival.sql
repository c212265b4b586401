-- a request of a busy session in connect-pg-simple: get, then touch
\set i random(1, :entries)
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
\set now :started + random(0, :seconds)
SELECT sess FROM bench.session WHERE sid = :key AND expire >= to_timestamp(:now);
\set expire :now + 1800
UPDATE bench.session SET expire = to_timestamp(:expire) WHERE sid = :key RETURNING sid;
