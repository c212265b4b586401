-- max_lifetime counts whatever stands in a row: what was written around pg_keep, or restored, or by a call
-- that went by the option as it was before, lives no longer than that.
\pset null '(null)'
\set VERBOSITY terse
SELECT keep.create_store('s', max_lifetime => '1 hour');
SELECT count(*) FROM keep.put_many('s', '{a,b,c,d,e,f,young}', '{1,1,1,1,1,1,1}');
UPDATE s SET created_at = created_at - interval '2 hours' WHERE key <> 'young';
UPDATE s SET expires_at = CASE key WHEN 'a' THEN NULL ELSE now() + interval '1 day' END;
SELECT key, keep.get('s', key) AS get, (SELECT count(*) FROM keep.get_entry('s', key)) AS get_entry, (keep.touch('s', key, '5 min')).status AS touch
FROM unnest('{a,b,young}'::text[]) key;
SELECT key FROM keep.get_many('s', '{a,b,c,d,e,f,young}');
SELECT (keep.merge('s', 'a', '2')).status AS merge, (keep.compare_and_swap('s', 'b', (SELECT version FROM s WHERE key = 'b'), '2')).status AS swap,
    (keep.delete('s', 'c')).status AS "delete", (keep.put_if_absent('s', 'd', '2')).status AS put_if_absent, (keep.put('s', 'e', '2')).status AS put,
    (keep.increment('s', 'f')).value AS increment;
SELECT o.expires_at <= o.created_at + interval '1 hour' AS capped FROM keep.get_entry('s', 'young') o;
SELECT key FROM keep.get_many('s', '{a,b,c,d,e,f,young}');
DROP TABLE s;
