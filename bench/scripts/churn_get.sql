-- the foreground: loads a session that began 5 to 25 seconds ago. It knows the time by its own count.
\set n :n + 1
\set i greatest(1, :n * :per_get - random(5 * :per_second, 25 * :per_second))
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT keep.get('bench.churn', :key);
