-- hash_keys: the table holds the SHA-256 and nothing else of the key, callers see the key
-- they gave. max_value_bytes in every function that writes a value. Values of a megabyte.
\pset null '(null)'
\set VERBOSITY terse

-- hashed keys
SELECT keep.create_store('h', ttl => '1 hour', hash_keys => true);
SELECT test.o(keep.put('h', 'secret session id', '{"user": 1}'));
SELECT key = encode(sha256('secret session id'), 'hex') AS "the hash" FROM h;
SELECT keep.get('h', 'secret session id'), keep.get('h', encode(sha256('secret session id'), 'hex')) AS "the hash opens nothing";
SELECT test.e(e) FROM keep.get_entry('h', 'secret session id') e;
SELECT test.e(e) FROM keep.get_many('h', '{none,secret session id}') e;
SELECT test.e(e) FROM keep.get_and_touch('h', 'secret session id') e;
SELECT version AS v FROM h \gset
SELECT test.o(keep.put_if_absent('h', 'secret session id', '2')), test.o(keep.touch('h', 'secret session id', '2 hours')),
    test.o(keep.merge('h', 'secret session id', '{"n": 1}', :v)), test.o(keep.increment('h', 'secret session id', 1, '{n}')),
    test.o(keep.persist('h', 'secret session id'));
SELECT version AS v FROM h \gset
SELECT test.o(keep.compare_and_swap('h', 'secret session id', :v, '"swapped"'));
SELECT test.e(e) FROM keep.put_many('h', '{another secret,secret session id}', '{1,2}') e;
SELECT test.e(e) FROM keep.put_batch('h', '{"secret session id": 3}') e;
SELECT acquired, owner FROM keep.acquire('h', 'secret lease', 'me', '1 hour');
SELECT version AS t FROM h WHERE key = encode(sha256('secret lease'), 'hex') \gset
SELECT test.code(format($$SELECT keep.assert_lease('h', 'secret lease', %s)$$, :t)),
    (keep.renew('h', 'secret lease', :t, '2 hours')).status;
SELECT count(*) FILTER (WHERE h::text LIKE '%secret%') AS "rows that show a key", count(*) FROM h;
SELECT test.sqlstate(format($$SELECT keep.assert_lease('h', 'secret lease', %s)$$, :t + 1)) LIKE 'KP412%' AS "stale";
SELECT test.o(keep.release('h', 'secret lease', :t));
SELECT test.o(keep.delete('h', 'secret session id')), test.o(keep.delete('h', 'another secret'));
SELECT count(*) FROM h;
-- two keys, one the other's hash
SELECT (keep.put('h', 'a', '"of a"')).status AS put, (keep.put('h', encode(sha256('a'), 'hex'), '"of the hash"')).status AS put;
SELECT keep.get('h', 'a'), keep.get('h', encode(sha256('a'), 'hex')), (SELECT count(*) FROM h);

-- max_value_bytes: the limit is inclusive, and the same for each function
SELECT keep.create_store('s', max_value_bytes => 200);
CREATE FUNCTION test.size(bytes int) RETURNS jsonb LANGUAGE sql AS $$
    -- a JSON string whose jsonb has that many bytes
    SELECT to_jsonb(repeat('x', bytes - (SELECT pg_column_size(to_jsonb(''::text)))))
$$;
SELECT pg_column_size(test.size(200)) AS bytes;
SELECT test.sqlstate($$SELECT keep.put('s', 'k', test.size(200))$$) AS "200", test.sqlstate($$SELECT keep.put('s', 'k', test.size(201))$$) AS "201";
SELECT c, test.code(replace(c, '$1', 'test.size(200)')) AS "200", test.code(replace(c, '$1', 'test.size(201)')) AS "201" FROM (VALUES
    ($$SELECT keep.put('s', 'k', $1)$$),
    ($$SELECT keep.put('s', 'k' || random(), $1)$$),
    ($$SELECT keep.put_if_absent('s', 'k' || random(), $1)$$),
    ($$SELECT keep.put_if_absent('s', 'k', $1)$$),
    ($$SELECT keep.compare_and_swap('s', 'k' || random(), 0, $1)$$),
    ($$SELECT keep.compare_and_swap('s', 'k', (SELECT version FROM keep.get_entry('s', 'k')), $1)$$),
    ($$SELECT keep.merge('s', 'k', $1)$$),
    ($$SELECT keep.put_many('s', ARRAY['k', 'k2'], ARRAY['1', $1])$$)
) v(c);
SELECT (keep.put('s', 'o', '{}')).status AS put;
SELECT test.code($$SELECT keep.merge('s', 'o', jsonb_build_object('a', repeat('x', 150)))$$) AS "fits",
    test.code($$SELECT keep.merge('s', 'o', jsonb_build_object('b', repeat('x', 150)))$$) AS "together too large",
    test.code($$SELECT keep.merge('s', 'o', jsonb_build_object('a', NULL, 'b', repeat('x', 150)))$$) AS "one for the other";
SELECT test.code($$SELECT keep.increment('s', 'o', 1, '{c}')$$) AS "a little more",
    test.code(format($$SELECT keep.increment('s', 'o', 1, ARRAY['c%s'])$$, repeat('x', 100))) AS "too much",
    test.code(format($$SELECT keep.increment('s', 'new', 1, ARRAY['c%s'])$$, repeat('x', 200))) AS "also at creation";
SELECT keep.get('s', 'new') AS "and nothing is made", keep.get('s', 'o') ? 'c' AS "but the small one";
SELECT test.code($$SELECT keep.put_batch('s', jsonb_build_object('k', 1, 'k3', repeat('x', 200)))$$) AS put_batch, keep.get('s', 'k3');
-- the size is that of the value, not of what compression makes of it
SELECT test.code($$SELECT keep.put('s', 'k', to_jsonb(repeat('x', 100000)))$$);
-- a value that is already there and too large is still read, renewed and deleted
SELECT keep.set_store_option('s', 'max_value_bytes', '50');
SELECT (keep.put('s', 'small', '1')).status AS put;
SELECT length(keep.get('s', 'o')::text) > 50 AS read, (keep.put_if_absent('s', 'o', '1')).status, (keep.touch('s', 'o', '1 hour')).status,
    test.code($$SELECT keep.merge('s', 'o', '{}')$$) AS merge, (keep.persist('s', 'o')).status, (keep.delete('s', 'o')).status;
-- a lease keeps working under a small limit, or says so
SELECT keep.set_store_option('s', 'max_value_bytes', '1');
SELECT test.code($$SELECT keep.put('s', 'k', '1')$$) AS put, test.code($$SELECT keep.acquire('s', 'l', 'me', '1 min')$$) IN ('ok', '54000') AS acquire;
-- the default
SELECT keep.set_store_option('s', 'max_value_bytes', NULL);
SELECT test.code($$SELECT keep.put('s', 'k', test.size(1048576))$$) AS "1 MiB", test.code($$SELECT keep.put('s', 'k', test.size(1048577))$$) AS "and a byte";

-- a megabyte that does not compress, in and out and changed
SELECT keep.create_store('big', max_value_bytes => 10000000);
SELECT jsonb_object_agg('k' || i, md5(i::text) || md5(i::text || 'x')) AS doc FROM generate_series(1, 12000) i \gset
SELECT pg_column_size(:'doc'::jsonb) > 900000 AS "near a megabyte";
SELECT status, value = :'doc'::jsonb AS same FROM keep.put('big', 'k', :'doc', '1 min');
SELECT keep.get('big', 'k') = :'doc'::jsonb AS same, pg_column_size(value) > 500000 AS "out of line" FROM big;
SELECT value = :'doc'::jsonb AS same FROM keep.get_entry('big', 'k');
SELECT value = :'doc'::jsonb AS same FROM keep.get_and_touch('big', 'k', '1 hour');
SELECT value = :'doc'::jsonb AS same, status FROM keep.touch('big', 'k', '2 hours');
SELECT value = :'doc'::jsonb AS same, status FROM keep.put_if_absent('big', 'k', '1');
SELECT value = (:'doc'::jsonb || '{"k1": "new"}') - 'k2'::text AS merged FROM keep.merge('big', 'k', '{"k1": "new", "k2": null}');
SELECT value = (:'doc'::jsonb || '{"k1": "new", "n": 1}') - 'k2'::text AS incremented FROM keep.increment('big', 'k', 1, '{n}');
SELECT bool_and(e.value = :'doc'::jsonb) AS same, count(*) FROM keep.put_many('big', '{a,b,c}', ARRAY[:'doc', :'doc', :'doc']::jsonb[]) e;
SELECT bool_and(e.value = :'doc'::jsonb) AS same, count(*) FROM keep.get_many('big', '{a,b,c}') e;
SELECT value = :'doc'::jsonb AS same, status FROM keep.delete('big', 'a');
SELECT (keep.compare_and_swap('big', 'b', version, '1')).status FROM big WHERE key = 'b';
SELECT test.sound('big'), test.sound('h'), test.sound('s');

DROP FUNCTION test.size(int);
DROP TABLE h, s, big;
