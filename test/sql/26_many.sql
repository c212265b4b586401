-- put_many and put_batch: rows in the order given, all or nothing; duplicates, NULLs and
-- arrays that do not fit together are refused; a thousand entries; hashed keys.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');
SELECT test.e(e) FROM keep.put_many('s', '{c,a,b}', ARRAY['3', '{"x": 1}', 'null']::jsonb[]) e;
SELECT key, value FROM s ORDER BY key;
SELECT test.e(e) FROM keep.put_many('s', '{b,d,a}', ARRAY['20', '40', '10']::jsonb[], '1 hour') e;
CREATE TEMP TABLE answer AS
SELECT * FROM keep.put_many('s', '{b,z,a}', ARRAY['21', '41', '11']::jsonb[]) WITH ORDINALITY e(key, value, version, created_at, updated_at, expires_at, n);
SELECT e.key, e.created_at < e.updated_at AS "was there", e.version = s.version AND e.value = s.value
    AND e.expires_at IS NOT DISTINCT FROM s.expires_at AND e.created_at = s.created_at AND e.updated_at = s.updated_at AS "as on disk"
FROM answer e LEFT JOIN s USING (key) ORDER BY n;
SELECT test.left(expires_at) AS "no ttl anywhere: without expiry again" FROM s WHERE key = 'a';

-- put_batch: one JSON object
SELECT test.e(e) FROM keep.put_batch('s', '{"b": 1, "a": {"y": [2]}, "n": null, "e": "x"}') e ORDER BY e.key;
SELECT test.e(e) FROM keep.put_batch('s', '{"b": 2}', '1 hour') e;
SELECT test.e(e) FROM keep.put_batch(store => 's', entries => '{"b": 3}', ttl => '2 hours') e;
SELECT test.e(e) FROM keep.put_many(store => 's', keys => '{b}', "values" => '{4}', ttl => '3 hours') e;

-- versions: each its own, rising over what was there
SELECT count(DISTINCT version) = count(*) AS distinct FROM s;
SELECT max(version) AS v FROM s \gset
SELECT bool_and(version > :v) AS rise, count(DISTINCT version) FROM keep.put_many('s', '{a,b,c}', '{1,2,3}');

-- nothing
SELECT count(*) FROM keep.put_many('s', '{}', '{}');
SELECT count(*) FROM keep.put_batch('s', '{}');
SELECT test.writes('s', $$SELECT keep.put_many('s', '{}', '{}')$$);

-- mistakes: nothing is written
DELETE FROM s;
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate(format('SELECT count(*) FROM keep.%s', c)) FROM (VALUES
    ($$put_many('s', '{a,b,a}', '{1,2,3}')$$),
    ($$put_many('s', '{a,a}', '{1,1}')$$),
    ($$put_many('s', '{a,b}', '{1}')$$),
    ($$put_many('s', '{a}', '{1,2}')$$),
    ($$put_many('s', '{}', '{1}')$$),
    ($$put_many('s', '{a}', '{}')$$),
    ($$put_many('s', '{a,NULL}', '{1,2}')$$),
    ($$put_many('s', '{a,b}', '{1,NULL}')$$),
    ($$put_many('s', NULL, '{1}')$$),
    ($$put_many('s', '{a}', NULL)$$),
    ($$put_many('s', '{a,""}', '{1,2}')$$),
    ($$put_many('s', ARRAY['a', repeat('x', 1025)], '{1,2}')$$),
    ($$put_many('s', '{{a,b}}', '{1,2}')$$),
    ($$put_many('s', '{a,b}', '{{1,2}}')$$),
    ($$put_many('s', '{a}', '{1}', '-1 s')$$),
    ($$put_batch('s', NULL)$$),
    ($$put_batch('s', '[1]')$$),
    ($$put_batch('s', '1')$$),
    ($$put_batch('s', 'null')$$),
    ($$put_batch('s', '"a"')$$),
    ($$put_batch('s', '{"a": 1, "": 2}')$$),
    ($$put_batch('s', jsonb_build_object('a', 1, repeat('x', 1025), 2))$$),
    ($$put_batch('s', '{"a": 1}', '0')$$)
) v(c);
\pset tuples_only off
\pset format aligned
SELECT count(*) FROM s;

-- all or nothing, also where the last one fails
ALTER TABLE s ADD CONSTRAINT small CHECK (value <> '13');
SELECT test.code($$SELECT keep.put_many('s', '{a,b,c}', '{1,2,13}')$$);
SELECT count(*) FROM s;
ALTER TABLE s DROP CONSTRAINT small;

-- expired ones among them start anew
SELECT count(*) FROM keep.put_many('s', '{a,b,c}', '{1,2,3}', '1 hour');
UPDATE s SET created_at = created_at - interval '1 day';
SELECT test.lapse('s', 'b');
SELECT e.key, e.value, e.created_at < e.updated_at - interval '1 hour' AS "was there", test.left(e.expires_at)
FROM keep.put_many('s', '{c,b,new}', '{30,20,40}') e;
SELECT test.sound('s');

-- the options hold for each
SELECT keep.set_store_option('s', 'ttl', '1 hour');
SELECT keep.set_store_option('s', 'max_lifetime', '30 min');
SELECT test.e(e) FROM keep.put_many('s', '{m}', '{1}') e;
SELECT keep.set_store_option('s', 'max_lifetime', NULL);
SELECT keep.set_store_option('s', 'expire_after', 'create');
SET pg_keep.test_clock_offset = 1200000;
SELECT test.e(e) FROM keep.put_many('s', '{m,n}', '{1,2}') e;
SELECT test.e(e) FROM keep.put_many('s', '{m,n}', '{1,2}', '5 hours') e;
RESET pg_keep.test_clock_offset;
SELECT keep.set_store_option('s', 'max_value_bytes', '50');
SELECT test.code($$SELECT keep.put_many('s', '{x,y}', ARRAY['1', to_jsonb(repeat('x', 51))])$$) AS put_many,
    test.code($$SELECT keep.put_batch('s', jsonb_build_object('x', 1, 'y', repeat('x', 51)))$$) AS put_batch,
    keep.get('s', 'x');

-- twice in one statement
SELECT count(*), count(DISTINCT e.version) FROM generate_series(1, 3) i, keep.put_many('s', '{p,q}', ARRAY[to_jsonb(i), to_jsonb(i)]) e;
SELECT keep.get('s', 'p'), keep.get('s', 'q');

-- a thousand, in an order of their own
SELECT keep.create_store('big');
SELECT array_agg('key ' || i ORDER BY md5(i::text)) AS keys, array_agg(to_jsonb(i) ORDER BY md5(i::text)) AS vals
FROM generate_series(1, 1000) i \gset
SELECT string_agg(e.key || ':' || e.value, ',' ORDER BY n) = (SELECT string_agg('key ' || i || ':' || i, ',' ORDER BY md5(i::text))
    FROM generate_series(1, 1000) i) AS "in order", count(DISTINCT version)
FROM keep.put_many('big', :'keys', :'vals') WITH ORDINALITY e(key, value, version, c, u, x, n);
SELECT count(*), count(DISTINCT version) FROM big;
SELECT count(test.lapse('big', key)) FROM big WHERE (value::int) % 2 = 0;
SELECT string_agg(e.key || ':' || e.value, ',' ORDER BY n) = (SELECT string_agg('key ' || i || ':' || i, ',' ORDER BY md5(i::text))
    FROM generate_series(1, 1000) i) AS "again, half expired, in order", count(DISTINCT version)
FROM keep.put_many('big', :'keys', :'vals') WITH ORDINALITY e(key, value, version, c, u, x, n);
SELECT count(*), count(DISTINCT version), count(expires_at) FROM big;
SELECT string_agg(e.key, ',' ORDER BY n) = (SELECT string_agg(k, ',') FROM unnest(:'keys'::text[]) k) AS "get_many gives them back in order"
FROM keep.get_many('big', :'keys') WITH ORDINALITY e(key, value, version, c, u, x, n);
SELECT count(*) FROM keep.put_batch('big', (SELECT jsonb_object_agg('batch ' || i, i) FROM generate_series(1, 1000) i));
SELECT count(*) FROM big WHERE key LIKE 'batch%';
SELECT test.sqlstate(format('SELECT keep.put_many(''big'', %L, %L)', :'keys'::text[] || '{key 500}', :'vals'::jsonb[] || '{0}')) LIKE '22023%' AS "one duplicate in 1001";
SELECT test.sound('big');

-- hashed keys: the key as given comes back, in order
SELECT keep.create_store('h', hash_keys => true);
SELECT test.e(e) FROM keep.put_many('h', '{c,a,b}', '{3,1,2}') e;
SELECT test.e(e) FROM keep.get_many('h', '{b,none,c,b}') e;
SELECT test.e(e) FROM keep.put_batch('h', '{"a": 10, "b": 20}') e ORDER BY e.key;
SELECT test.code($$SELECT keep.put_many('h', '{a,a}', '{1,1}')$$) AS duplicate;
SELECT count(*) FILTER (WHERE length(key) < 64) AS bare, count(*) FROM h;

DROP TABLE s, big, h;
