-- Versions are draws from the store's own sequence: they strictly rise per key over every
-- way an entry can end, are never used twice, and no failed condition writes a row version.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');

-- a long mixed history of one key: every new version is above all before it
CREATE FUNCTION test.history(rounds int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    high bigint := 0;
    v bigint;
    o keep.outcome;
    step text;
BEGIN
    FOR i IN 1 .. rounds LOOP
        FOREACH step IN ARRAY string_to_array('put cas put merge increment delete absent lapse absent expire many delete cas0 batch lapse put'
            ' delete acquire release acquire lapse acquire sql put lapse cas0 truncate increment delete increment', ' ') LOOP
            v := NULL;
            CASE step
                WHEN 'put' THEN o := keep.put('s', 'k', '1', '1 hour'); v := o.version;
                WHEN 'cas' THEN o := keep.compare_and_swap('s', 'k', high, '{}'); v := o.version;
                WHEN 'cas0' THEN o := keep.compare_and_swap('s', 'k', 0, '{}'); v := o.version;
                WHEN 'merge' THEN o := keep.merge('s', 'k', '5', high); v := o.version;
                WHEN 'increment' THEN o := keep.increment('s', 'k'); v := o.version;
                WHEN 'absent' THEN o := keep.put_if_absent('s', 'k', '1'); v := o.version;
                WHEN 'delete' THEN o := keep.delete('s', 'k', high);
                WHEN 'many' THEN v := version FROM keep.put_many('s', '{j,k}', '{1,2}') WHERE key = 'k';
                WHEN 'batch' THEN v := version FROM keep.put_batch('s', '{"j": 1, "k": 2}') WHERE key = 'k';
                WHEN 'acquire' THEN v := token FROM keep.acquire('s', 'k', 'owner ' || high, '1 hour');
                WHEN 'release' THEN o := keep.release('s', 'k', high);
                WHEN 'lapse' THEN PERFORM test.lapse('s', 'k');
                WHEN 'expire' THEN PERFORM test.lapse('s', 'k'); PERFORM keep.expire('s');
                WHEN 'sql' THEN DELETE FROM s WHERE key = 'k';
                WHEN 'truncate' THEN TRUNCATE s;
            END CASE;
            IF step NOT IN ('lapse', 'expire', 'sql', 'truncate', 'many', 'batch', 'acquire') AND NOT o.applied THEN
                RETURN format('round %s: %s was %s', i, step, o.status);
            END IF;
            IF step NOT IN ('delete', 'release', 'lapse', 'expire', 'sql', 'truncate') THEN
                IF v IS NULL OR v <= high THEN
                    RETURN format('round %s: %s: version %s after %s', i, step, v, high);
                END IF;
                IF (SELECT version FROM s WHERE key = 'k') IS DISTINCT FROM v THEN
                    RETURN format('round %s: %s: not the version on disk', i, step);
                END IF;
                high := v;
            END IF;
        END LOOP;
    END LOOP;
    RETURN 'strictly rising';
END $$;
SELECT test.history(10);
DROP FUNCTION test.history(int);
SELECT test.sound('s');

-- never old + 1: the sequence is ahead of every version, other keys' draws lie between
DELETE FROM s;
SELECT version AS a FROM keep.put('s', 'a', '1') \gset
SELECT count(keep.put('s', 'b', '1')) FROM generate_series(1, 100);
SELECT version > :a + 100 AS "above the other key's draws" FROM keep.put('s', 'a', '2');
SELECT version AS a FROM s WHERE key = 'a' \gset
SELECT last_value >= :a AS "drawn from the sequence" FROM s_version_seq;
SELECT version = last_value AS "the very last draw" FROM s, s_version_seq WHERE key = 'a';

-- a rolled back draw is lost
BEGIN;
SELECT version AS lost FROM keep.put('s', 'a', '3') \gset
ROLLBACK;
SELECT version > :lost AS "not handed out again" FROM keep.put('s', 'a', '3');

-- nobody can set a version by hand without saying OVERRIDING SYSTEM VALUE
SELECT test.code($$UPDATE s SET version = 1$$) AS "update", test.code($$INSERT INTO s (key, value, version) VALUES ('x', '1', 5)$$) AS "insert";
SELECT test.sqlstate($$UPDATE s SET version = DEFAULT$$) AS "default";

-- touch, persist and renew keep it
SELECT (keep.put('s', 't', '1', '1 hour')).status AS put;
SELECT version AS v FROM s WHERE key = 't' \gset
SELECT (o).version = :v AS same FROM (VALUES (keep.touch('s', 't', '2 hours')), (keep.persist('s', 't')), (keep.touch('s', 't'))) x(o);
SELECT token AS v FROM keep.acquire('s', 'lease', 'me', '1 hour') \gset
SELECT (keep.renew('s', 'lease', :v, '2 hours')).version = :v AS same, (SELECT version FROM s WHERE key = 'lease') = :v AS on_disk;

-- an unlogged store's sequence is logged all the same, and drawn from in the same way
SELECT keep.create_store('u', persistence => 'unlogged');
SELECT version AS v FROM keep.put('u', 'k', '1') \gset
SELECT (keep.delete('u', 'k')).status AS deleted;
SELECT version > :v AS rises FROM keep.put('u', 'k', '1');

-- a failed condition writes no row version, and none of these does
SELECT keep.create_store('f', ttl => '1 hour', expire_after => 'access');
SELECT (keep.put('f', 'k', '{"a": "x"}')).status AS put;
SELECT version AS v FROM f \gset
SELECT token AS t FROM keep.acquire('f', 'lease', 'me', '1 hour') \gset
CREATE FUNCTION test.same(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was text := string_agg(format('%s %s %s', ctid, xmin, f), ';' ORDER BY key) FROM f;
    writes text;
    state text;
BEGIN
    BEGIN
        writes := test.writes('f', stmt);
    EXCEPTION WHEN others THEN
        state := SQLSTATE;
    END;
    RETURN CASE WHEN was = (SELECT string_agg(format('%s %s %s', ctid, xmin, f), ';' ORDER BY key) FROM f)
        THEN 'as before' ELSE 'changed' END || coalesce(': ' || state, ': ' || writes);
END $$;
\pset format unaligned
\pset tuples_only on
SELECT c, test.same(replace(replace(c, '$v', :'v'), '$t', :'t')) FROM (VALUES
    ($$SELECT keep.get_and_touch('f', 'k')$$),
    ($$SELECT keep.get_and_touch('f', 'k', '1 min')$$),
    ($$SELECT keep.get_and_touch('f', 'none')$$),
    ($$SELECT keep.touch('f', 'k')$$),
    ($$SELECT keep.touch('f', 'k', '1 min')$$),
    ($$SELECT keep.touch('f', 'none', '1 min')$$),
    ($$SELECT keep.put_if_absent('f', 'k', '2')$$),
    ($$SELECT keep.put_if_absent('f', 'k', '2', '2 hours')$$),
    ($$SELECT keep.compare_and_swap('f', 'k', 0, '2')$$),
    ($$SELECT keep.compare_and_swap('f', 'k', $v - 1, '2', '2 hours')$$),
    ($$SELECT keep.compare_and_swap('f', 'none', $v, '2')$$),
    ($$SELECT keep.merge('f', 'k', '{}', $v + 1)$$),
    ($$SELECT keep.merge('f', 'none', '{}')$$),
    ($$SELECT keep.delete('f', 'k', $v + 1)$$),
    ($$SELECT keep.delete('f', 'none')$$),
    ($$SELECT keep.persist('f', 'none')$$),
    ($$SELECT keep.increment('f', 'k')$$),
    ($$SELECT keep.increment('f', 'k', 1, '{a}')$$),
    ($$SELECT keep.expire('f')$$),
    ($$SELECT keep.acquire('f', 'lease', 'you', '2 hours')$$),
    ($$SELECT keep.acquire('f', 'k', 'you', '2 hours')$$),
    ($$SELECT keep.renew('f', 'lease', $t + 1, '2 hours')$$),
    ($$SELECT keep.renew('f', 'none', $t, '2 hours')$$),
    ($$SELECT keep.release('f', 'lease', $t + 1)$$),
    ($$SELECT keep.release('f', 'none', $t)$$),
    ($$SELECT keep.assert_lease('f', 'lease', $t)$$),
    ($$SELECT keep.assert_lease('f', 'lease', $t + 1)$$)
) x(c);
-- and these do, so that the above means something
SELECT c, test.same(replace(replace(c, '$v', :'v'), '$t', :'t')) FROM (VALUES
    ($$SELECT keep.touch('f', 'k', '2 hours')$$),
    ($$SELECT keep.compare_and_swap('f', 'k', $v, '2')$$),
    ($$SELECT keep.renew('f', 'lease', $t, '2 hours')$$),
    ($$SELECT keep.delete('f', 'k')$$)
) x(c);
\pset tuples_only off
\pset format aligned
DROP FUNCTION test.same(text);
SELECT test.sound('s'), test.sound('u'), test.sound('f');
DROP TABLE s, u, f;
