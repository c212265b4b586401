-- put and put_if_absent: statuses, what the outcome shows, what stands in the table;
-- several calls in one statement see each other.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');
SELECT * FROM keep.put('s', 'k', '1') \gset a_
SELECT :'a_applied' AS applied, :'a_status' AS status, :'a_value' AS value;
SELECT * FROM keep.put('s', 'k', '{"b": 2}') \gset b_
SELECT :'b_applied' AS applied, :'b_status' AS status, :'b_value' AS value, :b_version > :a_version AS rises;
SELECT version = :b_version AS "the version on disk" FROM s;
SELECT test.o(keep.put('s', 'k', '2', '1 hour'));
SELECT test.o(keep.put('s', 'k', '3')) AS "no ttl anywhere: without expiry again";
SELECT test.o(keep.put(store => 's', key => 'named', value => 'true', ttl => '2 hours'));

-- the same value again is a write all the same
SELECT version AS v FROM s WHERE key = 'k' \gset
SELECT test.o(keep.put('s', 'k', '3'));
SELECT version > :v AS rises FROM s WHERE key = 'k';

-- put_if_absent: created, then exists with the entry that won
SELECT * FROM keep.put_if_absent('s', 'p', '"first"', '1 hour') \gset a_
SELECT :'a_applied' AS applied, :'a_status' AS status, :'a_value' AS value;
SELECT *, version = :a_version AS winners_version, expires_at = :'a_expires_at' AS winners_expiry
FROM keep.put_if_absent('s', 'p', '"second"', '2 hours') \gset b_
SELECT :'b_applied' AS applied, :'b_status' AS status, :'b_value' AS value,
    :'b_winners_version' AS winners_version, :'b_winners_expiry' AS winners_expiry;
SELECT test.writes('s', $$SELECT keep.put_if_absent('s', 'p', '"third"')$$);
SELECT test.e(e) FROM keep.get_entry('s', 'p') e;
SELECT test.o(keep.put_if_absent('s', 'q', '1'));
SELECT test.o(keep.put_if_absent('s', 'q', 'null')) AS "JSON null loses too";

-- many in one statement: each sees those before it
SELECT i, v.status, v.value FROM generate_series(1, 3) i, keep.increment('s', 'n', i) v;
SELECT i, v.status, v.value FROM generate_series(1, 3) i, keep.put('s', 'm', to_jsonb(i)) v;
SELECT i, v.status, v.value FROM generate_series(1, 3) i, keep.put_if_absent('s', 'o', to_jsonb(i)) v;
SELECT bool_and(v > before) AS "versions rise within a statement" FROM (
    SELECT version AS v, lag(version, 1, 0) OVER (ORDER BY i) AS before
    FROM generate_series(1, 50) i, keep.put('s', 'm', to_jsonb(i))) x;
SELECT test.o(keep.put('s', 'x', '1')), test.o(keep.delete('s', 'x')), test.o(keep.put('s', 'x', '2')),
    test.o(keep.merge('s', 'x', '{"a": 1}')), test.o(keep.touch('s', 'x', '1 hour')),
    test.o(keep.persist('s', 'x')), test.o(keep.increment('s', 'x', 1, '{a}'));
-- after a plain UPDATE in the same statement too
WITH u AS MATERIALIZED (UPDATE s SET value = '100' WHERE key = 'n' RETURNING 1 AS one)
SELECT v.status, v.value FROM u, keep.increment('s', 'n', u.one) v;

-- in a function with an exception block, and in a nested one
CREATE FUNCTION test.nested() RETURNS text LANGUAGE plpgsql AS $$
DECLARE o keep.outcome;
BEGIN
    PERFORM keep.put('s', 'sub', '1');
    BEGIN
        PERFORM keep.put('s', 'sub', '2');
        PERFORM keep.put('s', 'sub2', '2');
        RAISE EXCEPTION 'undo';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
    o := keep.increment('s', 'sub', 10);
    RETURN test.o(o);
END $$;
SELECT test.nested(), keep.get('s', 'sub2');
SELECT keep.get('s', 'sub');
DROP FUNCTION test.nested();

-- a rolled back put leaves nothing; its version is not seen again
BEGIN;
SELECT version AS v FROM keep.put('s', 'gone', '1') \gset
ROLLBACK;
SELECT keep.get('s', 'gone');
SELECT version > :v AS "not used again" FROM keep.put('s', 'gone', '1');

-- the ttl: bad ones are refused and nothing is written
\pset format unaligned
\pset tuples_only on
SELECT c, f, test.sqlstate(format('SELECT keep.%s(''s'', ''bad'', %s ''1'', ttl => %s)', f,
    CASE f WHEN 'compare_and_swap' THEN '0,' ELSE '' END, c))
FROM (VALUES ('''0'''), ('''-1 s'''), ('''-1 month'''), ('''300000 years''')) v(c),
    unnest('{put,put_if_absent,compare_and_swap}'::text[]) f;
\pset tuples_only off
\pset format aligned
SELECT test.code($$SELECT keep.increment('s', 'bad', ttl => '0')$$) AS increment,
    test.code($$SELECT keep.touch('s', 'k', '-1 s')$$) AS touch,
    test.code($$SELECT keep.get_and_touch('s', 'k', '0')$$) AS get_and_touch,
    test.code($$SELECT keep.put_many('s', '{bad}', '{1}', '0')$$) AS put_many,
    test.code($$SELECT keep.put_batch('s', '{"bad": 1}', '0')$$) AS put_batch,
    test.code($$SELECT keep.acquire('s', 'bad', 'me', '0')$$) AS acquire,
    test.code($$SELECT keep.renew('s', 'bad', 1, '-1 s')$$) AS renew;
SELECT test.code($$SELECT keep.put('s', 'bad', '1', 'infinity')$$) IN ('22007', '22023') AS refused,
    test.code($$SELECT keep.touch('s', 'k', 'infinity')$$) IN ('22007', '22023') AS refused,
    test.code($$SELECT keep.acquire('s', 'bad', 'me', 'infinity')$$) IN ('22007', '22023') AS refused;
SELECT keep.get('s', 'bad');
-- a very short one and a very long one
SELECT test.o(keep.put('s', 'short', '1', '1 microsecond')) IS NOT NULL AS put;
SELECT keep.get('s', 'short') AS "gone at once";
SELECT test.code($$SELECT keep.put('s', 'long', '1', '100 years')$$) AS long;
SELECT extract(year FROM expires_at) > 2100 AS "in a hundred years"
FROM keep.get_entry('s', 'long');

-- composite results: from FROM, in the select list, through a variable, as JSON
SELECT applied, status, value FROM keep.put('s', 'r', '1');
SELECT (o).status FROM (SELECT keep.put('s', 'r', '2') AS o OFFSET 0) x;
SELECT to_jsonb(o) - 'version' FROM keep.put('s', 'r', '3') o;

SELECT test.sound('s');
DROP TABLE s;
