-- Creates the extension, the roles and the helpers that the other tests use.
-- What it proves: CREATE EXTENSION works and makes its own schema, whatever the
-- search_path, and it refuses to be moved to another one.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_keep_owner;
DROP ROLE IF EXISTS regress_keep_other;
DROP ROLE IF EXISTS regress_keep_user;
DROP ROLE IF EXISTS regress_keep_nobody;
DROP ROLE IF EXISTS regress_keep_a;
DROP ROLE IF EXISTS regress_keep_b;
RESET client_min_messages;
\set VERBOSITY terse

CREATE EXTENSION pg_keep;
SELECT extname, extrelocatable, n.nspname
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE extname = 'pg_keep';
CREATE SCHEMA test;
ALTER EXTENSION pg_keep SET SCHEMA test;
SELECT count(*) AS registered FROM keep.relation;

CREATE ROLE regress_keep_owner;
CREATE ROLE regress_keep_other;
CREATE ROLE regress_keep_user;
CREATE ROLE regress_keep_nobody;
CREATE ROLE regress_keep_a;
CREATE ROLE regress_keep_b;

GRANT USAGE ON SCHEMA test TO PUBLIC;

-- The SQLSTATE of a statement, or 'ok'.
CREATE FUNCTION test.code(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
BEGIN
    EXECUTE stmt;
    RETURN 'ok';
EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
    RETURN state;
END $$;

-- The SQLSTATE of a statement with message, detail and hint, or 'ok'.
CREATE FUNCTION test.sqlstate(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE stmt;
    RETURN 'ok';
EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' / ', state, message,
        'detail: ' || nullif(detail, ''), 'hint: ' || nullif(hint, ''));
END $$;

-- How long until then, in whole minutes, so that the output does not depend on the hour.
CREATE FUNCTION test.left(t timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(round(extract(epoch FROM t - keep.clock()) / 60) || ' min', 'never')
$$;

-- An outcome on one line, without the version's number.
CREATE FUNCTION test.o(o keep.outcome) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ',
        CASE WHEN o.applied THEN 'applied' WHEN NOT o.applied THEN 'not applied' ELSE 'applied?' END,
        coalesce(o.status, 'status?'),
        coalesce(o.value::text, 'no value'),
        CASE WHEN o.version > 0 THEN 'version' WHEN o.version IS NULL THEN 'no version' ELSE 'version?' END,
        test.left(o.expires_at))
$$;

-- An entry on one line, without the version's number.
CREATE FUNCTION test.e(e keep.entry) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ',
        coalesce(e.key, 'key?'),
        coalesce(e.value::text, 'value?'),
        CASE WHEN e.version > 0 THEN 'version' ELSE 'version?' END,
        CASE WHEN e.created_at <= e.updated_at AND e.updated_at <= keep.clock()
            THEN 'times' ELSE 'times?' END,
        test.left(e.expires_at))
$$;

-- Makes an entry expired and leaves its row where it is.
CREATE FUNCTION test.lapse(store regclass, k text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    rows int;
BEGIN
    EXECUTE format('UPDATE %s SET expires_at = $2, reap_at = $2 WHERE key = $1', store)
        USING k, clock_timestamp() - interval '1 s';
    GET DIAGNOSTICS rows = ROW_COUNT;
    IF rows <> 1 THEN
        RAISE EXCEPTION 'no row to make expired';
    END IF;
END $$;

-- What a statement writes to a table: row versions, not locks.
CREATE FUNCTION test.writes(rel regclass, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    ins bigint := pg_stat_get_xact_tuples_inserted(rel);
    upd bigint := pg_stat_get_xact_tuples_updated(rel);
    del bigint := pg_stat_get_xact_tuples_deleted(rel);
BEGIN
    EXECUTE stmt;
    RETURN format('%s inserted, %s updated, %s deleted',
        pg_stat_get_xact_tuples_inserted(rel) - ins,
        pg_stat_get_xact_tuples_updated(rel) - upd,
        pg_stat_get_xact_tuples_deleted(rel) - del);
END $$;

-- The rules that every row of every store keeps, whatever was called: returns 'sound'.
CREATE FUNCTION test.sound(store regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    bad text;
    last bigint;
BEGIN
    EXECUTE format('SELECT string_agg(key, '','' ORDER BY key) FROM %s WHERE expires_at IS NOT NULL'
        ' AND (reap_at IS NULL OR reap_at > expires_at)', store) INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'reap_at: ' || bad;
    END IF;
    EXECUTE format('SELECT string_agg(key, '','' ORDER BY key) FROM %s WHERE created_at > updated_at'
        ' OR version IS NULL OR version <= 0', store) INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'times or version: ' || bad;
    END IF;
    EXECUTE format('SELECT last_value FROM %s',
        pg_get_serial_sequence(store::text, 'version')) INTO last;
    EXECUTE format('SELECT string_agg(key, '','' ORDER BY key) FROM %s WHERE version > $1', store)
        INTO bad USING last;
    IF bad IS NOT NULL THEN
        RETURN 'version runs ahead of the sequence: ' || bad;
    END IF;
    EXECUTE format('SELECT count(*) - count(DISTINCT version) FROM %s', store) INTO last;
    IF last <> 0 THEN
        RETURN 'versions used twice';
    END IF;
    RETURN 'sound';
END $$;

-- One call of every function that works on a store; $1 stands for the store.
CREATE TABLE test.call (
    nr int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fn text NOT NULL,
    reads boolean NOT NULL,
    stmt text NOT NULL
);
GRANT SELECT ON test.call TO PUBLIC;
INSERT INTO test.call (fn, reads, stmt) VALUES
    ('get', true, $$SELECT keep.get($1, 'k')$$),
    ('get_entry', true, $$SELECT * FROM keep.get_entry($1, 'k')$$),
    ('get_many', true, $$SELECT * FROM keep.get_many($1, '{k}')$$),
    ('get_and_touch', false, $$SELECT * FROM keep.get_and_touch($1, 'k')$$),
    ('put', false, $$SELECT * FROM keep.put($1, 'k', '1')$$),
    ('put_many', false, $$SELECT * FROM keep.put_many($1, '{k}', '{1}')$$),
    ('put_batch', false, $$SELECT * FROM keep.put_batch($1, '{"k": 1}')$$),
    ('put_if_absent', false, $$SELECT * FROM keep.put_if_absent($1, 'k', '1')$$),
    ('compare_and_swap', false, $$SELECT * FROM keep.compare_and_swap($1, 'k', 1, '1')$$),
    ('merge', false, $$SELECT * FROM keep.merge($1, 'k', '2')$$),
    ('increment', false, $$SELECT * FROM keep.increment($1, 'k')$$),
    ('touch', false, $$SELECT * FROM keep.touch($1, 'k')$$),
    ('persist', false, $$SELECT * FROM keep.persist($1, 'k')$$),
    ('delete', false, $$SELECT * FROM keep.delete($1, 'k')$$),
    ('expire', false, $$SELECT keep.expire($1)$$),
    ('acquire', false, $$SELECT * FROM keep.acquire($1, 'l', 'me', '1 min')$$),
    ('renew', false, $$SELECT * FROM keep.renew($1, 'l', 1, '1 min')$$),
    ('release', false, $$SELECT * FROM keep.release($1, 'l', 1)$$),
    ('assert_lease', false, $$SELECT keep.assert_lease($1, 'l', 1)$$);

-- Runs every call against a store and shows each one's SQLSTATE.
CREATE FUNCTION test.try_all(store text, OUT fn text, OUT result text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT c.fn, test.code(replace(c.stmt, '$1', store)) FROM test.call c ORDER BY c.nr
$$;

-- The same, one line for each different answer.
CREATE FUNCTION test.try_all_grouped(store text, OUT result text, OUT fns text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT test.sqlstate(replace(c.stmt, '$1', store)) AS result,
        string_agg(c.fn, ' ' ORDER BY c.nr)
    FROM test.call c GROUP BY 1 ORDER BY min(c.nr)
$$;

-- Every function of the extension that takes a store first is called above.
SELECT DISTINCT p.proname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep' AND p.proargtypes[0] = 'regclass'::regtype
    AND p.proname NOT IN (SELECT c.fn FROM test.call c)
ORDER BY 1;
