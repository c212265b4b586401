-- increment: counters at the top and on a path, creation, every kind of value in the way,
-- the bounds of bigint; the outcome shows the whole value.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');
SELECT test.o(keep.increment('s', 'n'));
SELECT test.o(keep.increment('s', 'n'));
SELECT test.o(keep.increment('s', 'n', 40));
SELECT test.o(keep.increment('s', 'n', -50));
SELECT test.o(keep.increment('s', 'n', 0));
SELECT test.o(keep.increment('s', 'negative', -5));
SELECT test.o(keep.increment('s', 'zero', 0));
SELECT test.o(keep.increment(store => 's', key => 'named', by => 7, path => '{a,b}', ttl => '1 hour'));

-- versions rise, also at 0
SELECT version AS v FROM s WHERE key = 'n' \gset
SELECT version > :v AS rises FROM keep.increment('s', 'n', 0);

-- paths: missing members and objects on the way are made, others stay
SELECT test.o(keep.increment('s', 'p', 1, '{hits}'));
SELECT test.o(keep.increment('s', 'p', 2, '{hits}'));
SELECT test.o(keep.increment('s', 'p', 1, '{by,page,"a b"}'));
SELECT test.o(keep.increment('s', 'p', 1, '{by,page,c}'));
SELECT test.o(keep.increment('s', 'p', 1, '{by,other}'));
SELECT test.o(keep.increment('s', 'p', 1, '{""}'));
SELECT test.o(keep.increment('s', 'p', 1, '{1}')) AS "a number in a path is a member's name";
SELECT test.o(keep.put('s', 'o', '{"x": [1], "y": {"z": null}, "n": 5}'));
SELECT test.o(keep.increment('s', 'o', 1, '{n}'));

-- what stands in the way: 22023, and nothing is written
\pset format unaligned
\pset tuples_only on
SELECT keep.create_store('w');
SELECT v, p, test.code(format('SELECT keep.put(''w'', ''k'', %L)', v)) AS put,
    test.sqlstate(format('SELECT keep.increment(''w'', ''k'', 1, %L)', p)) AS increment,
    (keep.delete('w', 'k')).value = v::jsonb AS untouched
FROM (VALUES
    ('null', '{}'), ('"1"', '{}'), ('true', '{}'), ('[1]', '{}'), ('{}', '{}'), ('{"a": 1}', '{}'),
    ('1.5', '{}'), ('-0.1', '{}'), ('1e-3', '{}'),
    ('1', '{a}'), ('null', '{a}'), ('[1]', '{0}'), ('"x"', '{a}'),
    ('{"a": null}', '{a}'), ('{"a": "1"}', '{a}'), ('{"a": [1]}', '{a}'), ('{"a": {}}', '{a}'),
    ('{"a": 1.5}', '{a}'), ('{"a": 1}', '{a,b}'), ('{"a": null}', '{a,b}'), ('{"a": [1]}', '{a,0}'),
    ('{"a": {"b": true}}', '{a,b}'), ('{"a": {"b": true}}', '{a,b,c}')
) x(v, p);
-- the bounds
SELECT v, by, test.code(format('SELECT keep.put(''w'', ''k'', %L)', v)) AS put,
    test.sqlstate(format('SELECT keep.increment(''w'', ''k'', %s)', by)) AS increment,
    (keep.delete('w', 'k')).value
FROM (VALUES
    ('9223372036854775806', '1'),
    ('9223372036854775807', '1'),
    ('9223372036854775807', '0'),
    ('9223372036854775807', '-1'),
    ('-9223372036854775807', '-1'),
    ('-9223372036854775808', '-1'),
    ('-9223372036854775808', '9223372036854775807'),
    ('0', '-9223372036854775808'),
    ('-1', '-9223372036854775808'),
    ('9223372036854775808', '0'),
    ('9223372036854775808', '-5'),
    ('-9223372036854775809', '1'),
    ('1e30', '1'),
    ('5.0', '1'),
    ('5e0', '1'),
    ('1e3', '1'),
    ('-0', '1')
) x(v, by);
\pset tuples_only off
\pset format aligned
SELECT test.sqlstate($$SELECT keep.increment('w', 'new', 9223372036854775807)$$) AS "creates at 0",
    test.sqlstate($$SELECT keep.increment('w', 'new', 1)$$) AS "and one more", (keep.delete('w', 'new')).value;

-- NULLs and odd paths
SELECT test.code($$SELECT keep.increment('s', 'n', NULL)$$) AS "by",
    test.code($$SELECT keep.increment('s', 'n', 1, NULL)$$) AS path,
    test.code($$SELECT keep.increment('s', 'n', 1, '{a,NULL}')$$) AS "a step",
    test.code($$SELECT keep.increment('s', 'n', 1, '{{a,b},{c,d}}')$$) AS "two dimensions";
SELECT test.code(format($$SELECT keep.increment('s', 'deep', 1, %L)$$, array_fill('a'::text, ARRAY[500]))) AS "500 deep",
    length((keep.delete('s', 'deep')).value::text) > 2500 AS made;

-- expiry: on creation from ttl; kept where neither call nor store has one; renewed by the store's
SELECT test.o(keep.increment('s', 'e', 1, '{}', '1 hour')) AS created;
SELECT test.o(keep.increment('s', 'e')) AS kept;
SELECT test.o(keep.increment('s', 'e', 1, '{}', '2 hours')) AS given;
-- a rate limiter: the window starts with the first and is never extended
SELECT keep.create_store('r', ttl => '1 min', expire_after => 'create');
SELECT expires_at AS x FROM keep.increment('r', 'ip') \gset
SET pg_keep.test_clock_offset = 30000;
SELECT value, expires_at = :'x' AS same_window FROM keep.increment('r', 'ip');
SELECT value, expires_at = :'x' AS same_window FROM keep.increment('r', 'ip', 1, '{}', '1 hour');
SET pg_keep.test_clock_offset = 61000;
SELECT status, value, expires_at > :'x' AS new_window FROM keep.increment('r', 'ip');
RESET pg_keep.test_clock_offset;

-- the pure function
SELECT keep.json_increment('{"a": {"b": 1}}', '{a,b}', 2), keep.json_increment('41', '{}', 1),
    keep.json_increment('{}', '{a}', 5);
SELECT test.code($$SELECT keep.json_increment('"x"', '{}', 1)$$), test.code($$SELECT keep.json_increment('9223372036854775807', '{}', 1)$$);

SELECT test.sound('s'), test.sound('w'), test.sound('r');
DROP TABLE s, w, r;
