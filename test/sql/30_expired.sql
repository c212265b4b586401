-- Expired means absent, in every function, before any clean-up and whether the clock or
-- the row moved; a write to an expired entry starts a new one.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access');

-- Puts an entry, makes it expired, runs a statement in which $v is the entry's version, and
-- shows what it gave and what stands on disk.
CREATE FUNCTION test.after(how text, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was s;
    is_ s;
    result text;
BEGIN
    PERFORM set_config('pg_keep.test_clock_offset', '0', true);
    DELETE FROM s;
    PERFORM keep.put('s', 'k', '{"old": 1}');
    IF how = 'row' THEN
        PERFORM test.lapse('s', 'k');
    END IF;
    SELECT * INTO was FROM s;
    IF how = 'clock' THEN
        PERFORM set_config('pg_keep.test_clock_offset', '3600500', true);
    END IF;
    EXECUTE replace(stmt, '$v', was.version::text) INTO result;
    SELECT * INTO is_ FROM s;
    result := coalesce(result, '(null)') || CASE
        WHEN is_ IS NULL THEN ' | row gone'
        WHEN is_ = was THEN ' | row untouched'
        WHEN is_.created_at > was.created_at AND is_.created_at = is_.updated_at AND is_.version > was.version
            THEN ' | new life'
        ELSE ' | row changed' END;
    result := result || CASE WHEN test.sound('s') = 'sound' THEN '' ELSE ' | ' || test.sound('s') END;
    PERFORM set_config('pg_keep.test_clock_offset', '0', true);
    RETURN result;
END $$;

CREATE TEMP TABLE expired_call (nr int GENERATED ALWAYS AS IDENTITY, stmt text);
INSERT INTO expired_call (stmt) VALUES
    ($$SELECT keep.get('s', 'k')::text$$),
    ($$SELECT count(*)::text FROM keep.get_entry('s', 'k')$$),
    ($$SELECT count(*)::text FROM keep.get_many('s', '{k,k}')$$),
    ($$SELECT count(*)::text FROM keep.get_and_touch('s', 'k')$$),
    ($$SELECT count(*)::text FROM keep.get_and_touch('s', 'k', '5 hours')$$),
    ($$SELECT test.o(keep.put('s', 'k', '"new"'))$$),
    ($$SELECT test.e(e) FROM keep.put_many('s', '{k}', '{"\"new\""}') e$$),
    ($$SELECT test.e(e) FROM keep.put_batch('s', '{"k": "new"}') e$$),
    ($$SELECT test.o(keep.put_if_absent('s', 'k', '"new"'))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', 'k', $v, '"new"'))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', 'k', 1, '"new"'))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', 'k', 0, '"new"'))$$),
    ($$SELECT test.o(keep.merge('s', 'k', '{"new": 1}'))$$),
    ($$SELECT test.o(keep.merge('s', 'k', '{"new": 1}', $v))$$),
    ($$SELECT test.o(keep.merge('s', 'k', '{"new": 1}', 1))$$),
    ($$SELECT test.o(keep.increment('s', 'k'))$$),
    ($$SELECT test.o(keep.increment('s', 'k', 5, '{old}'))$$),
    ($$SELECT test.o(keep.touch('s', 'k'))$$),
    ($$SELECT test.o(keep.touch('s', 'k', '5 hours'))$$),
    ($$SELECT test.o(keep.persist('s', 'k'))$$),
    ($$SELECT test.o(keep.delete('s', 'k'))$$),
    ($$SELECT test.o(keep.delete('s', 'k', $v))$$),
    ($$SELECT test.o(keep.delete('s', 'k', 1))$$),
    ($$SELECT test.o(keep.renew('s', 'k', $v, '1 hour'))$$),
    ($$SELECT test.o(keep.release('s', 'k', $v))$$),
    ($$SELECT test.code('SELECT keep.assert_lease(''s'', ''k'', $v)')$$),
    ($$SELECT concat_ws(', ', acquired, owner, test.left(expires_at)) FROM keep.acquire('s', 'k', 'me', '1 hour')$$),
    ($$SELECT keep.expire('s')::text$$),
    ($$SELECT keep.expire()::text$$);
\pset format unaligned
\pset tuples_only on
SELECT stmt, test.after('row', stmt) FROM expired_call ORDER BY nr;
-- the same where the clock moved
SELECT stmt, test.after('clock', stmt) FROM expired_call
WHERE replace(test.after('clock', stmt), ' | row gone', '') IS DISTINCT FROM replace(test.after('row', stmt), ' | row gone', '')
ORDER BY nr;

-- a lease that expired
SELECT keep.create_store('l');
SELECT token AS t FROM keep.acquire('l', 'x', 'me', '1 min') \gset
SET pg_keep.test_clock_offset = 60500;
SELECT test.o(keep.renew('l', 'x', :t, '1 min'));
SELECT test.o(keep.release('l', 'x', :t));
SELECT regexp_replace(test.sqlstate(format($$SELECT keep.assert_lease('l', 'x', %s)$$, :t)), 'token \d+', 'token $t');
RESET pg_keep.test_clock_offset;
SELECT test.code(format($$SELECT keep.assert_lease('l', 'x', %s)$$, :t)) IN ('ok', 'KP412') AS "the clock went back";
\pset tuples_only off
\pset format aligned

-- to the microsecond: live iff expires_at > the clock
SELECT keep.create_store('m');
CREATE FUNCTION test.edge() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    x timestamptz;
    seen boolean;
    before_ timestamptz;
    after_ timestamptz;
    wrong int := 0;
BEGIN
    x := expires_at FROM keep.put('m', 'k', '1', '20 ms');
    LOOP
        before_ := clock_timestamp();
        seen := keep.get('m', 'k') IS NOT NULL;
        after_ := clock_timestamp();
        IF seen AND before_ >= x OR NOT seen AND after_ < x THEN
            wrong := wrong + 1;
        END IF;
        EXIT WHEN before_ > x + interval '5 ms';
    END LOOP;
    RETURN wrong || ' wrong answers';
END $$;
SELECT test.edge();
DROP FUNCTION test.edge();

-- the wall clock counts, not the transaction's
BEGIN;
SELECT (keep.put('m', 'k', '1', '50 ms')).status AS put;
SELECT pg_sleep(0.06);
SELECT keep.get('m', 'k'), (keep.touch('m', 'k', '1 hour')).status, (keep.merge('m', 'k', '{}')).status,
    (keep.put_if_absent('m', 'k', '2', '50 ms')).status;
SELECT pg_sleep(0.06);
SELECT (keep.put('m', 'k', '3')).status;
SELECT keep.get('m', 'k');
SELECT updated_at > now() AS "and writes it down" FROM m;
COMMIT;
-- not the statement's either
SELECT string_agg((keep.put_if_absent('m', 'p', to_jsonb(i), '50 ms')).status || coalesce(pg_sleep(0.06)::text, ''), ' ')
FROM generate_series(1, 3) i;

DROP FUNCTION test.after(text, text);
DROP TABLE s, l, m;
