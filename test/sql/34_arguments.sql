-- Mistakes in the request: NULL where a value is needed is 22004 in every function, bad
-- keys are 22023, also where there is nothing to find, and nothing is written.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_store('s', ttl => '1 hour');
SELECT keep.create_store('h', hash_keys => true);

-- NULLs
SELECT c, test.sqlstate(format('SELECT keep.%s', c)) FROM (VALUES
    ($$get(NULL, 'k')$$), ($$get('s', NULL)$$),
    ($$get_entry(NULL, 'k')$$), ($$get_entry('s', NULL)$$),
    ($$get_many(NULL, '{k}')$$), ($$get_many('s', NULL)$$), ($$get_many('s', '{NULL}')$$),
    ($$get_and_touch(NULL, 'k')$$), ($$get_and_touch('s', NULL)$$), ($$get_and_touch('s', 'k', NULL)$$),
    ($$put(NULL, 'k', '1')$$), ($$put('s', NULL, '1')$$), ($$put('s', 'k', NULL)$$), ($$put('s', 'k', '1', NULL)$$),
    ($$put_many(NULL, '{k}', '{1}')$$), ($$put_many('s', NULL, '{1}')$$), ($$put_many('s', '{k}', NULL)$$),
    ($$put_many('s', '{k}', '{1}', NULL)$$),
    ($$put_batch(NULL, '{"k": 1}')$$), ($$put_batch('s', NULL)$$), ($$put_batch('s', '{"k": 1}', NULL)$$),
    ($$put_if_absent(NULL, 'k', '1')$$), ($$put_if_absent('s', NULL, '1')$$), ($$put_if_absent('s', 'k', NULL)$$),
    ($$put_if_absent('s', 'k', '1', NULL)$$),
    ($$compare_and_swap(NULL, 'k', 0, '1')$$), ($$compare_and_swap('s', NULL, 0, '1')$$),
    ($$compare_and_swap('s', 'k', NULL, '1')$$), ($$compare_and_swap('s', 'k', 0, NULL)$$),
    ($$compare_and_swap('s', 'k', 0, '1', NULL)$$),
    ($$merge(NULL, 'k', '{}')$$), ($$merge('s', NULL, '{}')$$), ($$merge('s', 'k', NULL)$$), ($$merge('s', 'k', '{}', NULL)$$),
    ($$increment(NULL, 'n')$$), ($$increment('s', NULL)$$), ($$increment('s', 'n', NULL)$$),
    ($$increment('s', 'n', 1, NULL)$$), ($$increment('s', 'n', 1, '{NULL}')$$), ($$increment('s', 'n', 1, '{}', NULL)$$),
    ($$touch(NULL, 'k')$$), ($$touch('s', NULL)$$), ($$touch('s', 'k', NULL)$$),
    ($$persist(NULL, 'k')$$), ($$persist('s', NULL)$$),
    ($$delete(NULL, 'k')$$), ($$delete('s', NULL)$$), ($$delete('s', 'k', NULL)$$),
    ($$expire(NULL, NULL)$$), ($$expire('s', NULL)$$),
    ($$acquire(NULL, 'l', 'me', '1 min')$$), ($$acquire('s', NULL, 'me', '1 min')$$), ($$acquire('s', 'l', NULL, '1 min')$$),
    ($$acquire('s', 'l', 'me', NULL)$$), ($$acquire('s', 'l', 'me', '1 min', NULL)$$),
    ($$renew(NULL, 'l', 1, '1 min')$$), ($$renew('s', NULL, 1, '1 min')$$), ($$renew('s', 'l', NULL, '1 min')$$),
    ($$renew('s', 'l', 1, NULL)$$),
    ($$release(NULL, 'l', 1)$$), ($$release('s', NULL, 1)$$), ($$release('s', 'l', NULL)$$),
    ($$assert_lease(NULL, 'l', 1)$$), ($$assert_lease('s', NULL, 1)$$), ($$assert_lease('s', 'l', NULL)$$),
    ($$create_store(NULL)$$), ($$register(NULL, 'store')$$), ($$register('s', NULL)$$),
    ($$set_store_option(NULL, 'ttl', NULL)$$), ($$set_store_option('s', NULL, NULL)$$),
    ($$json_increment('1', NULL, 1)$$), ($$json_increment('1', '{}', NULL)$$)
) v(c);

-- keys: empty and too long, the same whether the store hashes or not
DELETE FROM s;
\pset tuples_only off
\pset format aligned
CREATE TEMP TABLE by_key (nr int GENERATED ALWAYS AS IDENTITY, fn text, stmt text);
INSERT INTO by_key (fn, stmt) VALUES
    ('get', $$SELECT keep.get($1, $2)$$),
    ('get_entry', $$SELECT keep.get_entry($1, $2)$$),
    ('get_many', $$SELECT keep.get_many($1, ARRAY[$2])$$),
    ('get_and_touch', $$SELECT keep.get_and_touch($1, $2)$$),
    ('put', $$SELECT keep.put($1, $2, '1')$$),
    ('put_many', $$SELECT keep.put_many($1, ARRAY[$2], '{1}')$$),
    ('put_batch', $$SELECT keep.put_batch($1, jsonb_build_object($2, 1))$$),
    ('put_if_absent', $$SELECT keep.put_if_absent($1, $2, '1')$$),
    ('compare_and_swap', $$SELECT keep.compare_and_swap($1, $2, 1, '1')$$),
    ('compare_and_swap, 0', $$SELECT keep.compare_and_swap($1, $2, 0, '1')$$),
    ('merge', $$SELECT keep.merge($1, $2, '2')$$),
    ('increment', $$SELECT keep.increment($1, $2)$$),
    ('touch', $$SELECT keep.touch($1, $2)$$),
    ('persist', $$SELECT keep.persist($1, $2)$$),
    ('delete', $$SELECT keep.delete($1, $2)$$),
    ('acquire', $$SELECT keep.acquire($1, $2, 'me', '1 min')$$),
    ('renew', $$SELECT keep.renew($1, $2, 1, '1 min')$$),
    ('release', $$SELECT keep.release($1, $2, 1)$$),
    ('assert_lease', $$SELECT keep.assert_lease($1, $2, 1)$$);
SELECT fn, test.code(replace(replace(stmt, '$1', '''s'''), '$2', '''''')) AS empty,
    test.code(replace(replace(stmt, '$1', '''h'''), '$2', '''''')) AS "empty, hashed",
    test.code(replace(replace(stmt, '$1', '''s'''), '$2', 'repeat(''x'', 1024)')) AS "1024",
    test.code(replace(replace(stmt, '$1', '''h'''), '$2', 'repeat(''x'', 1024)')) AS "1024, hashed",
    test.code(replace(replace(stmt, '$1', '''s'''), '$2', 'repeat(''x'', 1025)')) AS "1025",
    test.code(replace(replace(stmt, '$1', '''h'''), '$2', 'repeat(''x'', 1025)')) AS "1025, hashed"
FROM by_key ORDER BY nr;
SELECT DISTINCT length(key) FROM s;
SELECT test.sqlstate($$SELECT keep.get('s', '')$$);
SELECT test.sqlstate($$SELECT keep.put('s', repeat('x', 1025), '1')$$);

-- no value is no entry, also for plain SQL
SELECT test.code($$INSERT INTO s (key, value) VALUES ('x', NULL)$$) AS value, test.code($$INSERT INTO s (key, value) VALUES (NULL, '1')$$) AS key;

-- spaces, control characters and quotes are characters like any other
DELETE FROM s;
SELECT count(keep.put('s', k, to_jsonb(k))) FROM unnest(ARRAY[' ', '  ', 'a ', ' a', 'a', 'A', E'\n', E'a\nb', E'\t', E'\x01',
    '''', '"', '\', '%', '_', '{}', '{a,b}', 'NULL', 'null', '$1', ';', '--', '/*', '(', '1', '01', '1.0']) k;
SELECT count(*) AS entries, count(*) FILTER (WHERE to_jsonb(key) = value AND keep.get('s', key) = value) AS "each its own" FROM s;
SELECT count(*) FROM keep.get_many('s', (SELECT array_agg(key) FROM s)) e WHERE to_jsonb(e.key) = e.value;
SELECT count(*) FROM s, keep.delete('s', key) d WHERE d.status = 'deleted';

DROP TABLE s, h;
