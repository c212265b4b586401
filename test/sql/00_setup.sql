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

-- Tests look at rows that have expired: a reaper that runs on this server is stopped meanwhile. (Its own
-- tests are elsewhere, and the last test starts it again.)
CREATE TABLE test.found AS SELECT keep.stop_reaper() AS reaper_ran;

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
    ('wait_for', true, $$SELECT * FROM keep.wait_for($1, 'k', 0, '0')$$),
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

-- One call of every function that works on a ledger; $1 stands for the ledger, which
-- test.ledger_for_calls() has made ready.
CREATE TABLE test.ledger_call (
    nr int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fn text NOT NULL,
    reads boolean NOT NULL,
    stmt text NOT NULL
);
GRANT SELECT ON test.ledger_call TO PUBLIC;
INSERT INTO test.ledger_call (fn, reads, stmt) VALUES
    ('balance', true, $$SELECT * FROM keep.balance($1, 'a')$$),
    ('statement', true, $$SELECT * FROM keep.statement($1, 'a')$$),
    ('verify_ledger', true, $$SELECT * FROM keep.verify_ledger($1)$$),
    ('open_account', false, $$SELECT * FROM keep.open_account($1, 'new', 'USD')$$),
    ('set_account_limits', false, $$SELECT * FROM keep.set_account_limits($1, 'a', -5, NULL)$$),
    ('freeze_account', false, $$SELECT * FROM keep.freeze_account($1, 'a', false)$$),
    ('transfer', false, $$SELECT * FROM keep.transfer($1, 'new1', 'a', 'b', 1)$$),
    ('transfer_many', false, $$SELECT * FROM keep.transfer_many($1, '{new2}', '{a}', '{b}', '{1}')$$),
    ('transfer_batch', false,
        $$SELECT * FROM keep.transfer_batch($1, '[{"id": "new3", "from_account": "a", "to_account": "b", "amount": 1}]')$$),
    ('post_transfer', false, $$SELECT * FROM keep.post_transfer($1, 'hold 1')$$),
    ('void_transfer', false, $$SELECT * FROM keep.void_transfer($1, 'hold 2')$$),
    ('reverse_transfer', false, $$SELECT * FROM keep.reverse_transfer($1, 'new4', 'paid')$$),
    ('expire_holds', false, $$SELECT keep.expire_holds($1)$$);

-- Makes a ledger of that name for the calls above: a has 100, two holds and a transfer to b.
CREATE FUNCTION test.ledger_for_calls(name text, history boolean = true) RETURNS regclass
LANGUAGE plpgsql AS $$
DECLARE
    l regclass := keep.create_ledger(name, history);
BEGIN
    PERFORM keep.open_account(l, 'world', 'USD', NULL), keep.open_account(l, 'a', 'USD'), keep.open_account(l, 'b', 'USD');
    PERFORM keep.transfer(l, 'fund', 'world', 'a', 100);
    PERFORM keep.transfer(l, 'hold 1', 'a', 'b', 10, '1 hour'), keep.transfer(l, 'hold 2', 'a', 'b', 10, '1 hour');
    PERFORM keep.transfer(l, 'paid', 'a', 'b', 10);
    RETURN l;
END $$;

-- Runs every call against a ledger and shows each one's SQLSTATE; one line for each different answer.
CREATE FUNCTION test.try_ledger(ledger text, OUT fn text, OUT result text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT c.fn, test.code(replace(c.stmt, '$1', ledger)) FROM test.ledger_call c ORDER BY c.nr
$$;
CREATE FUNCTION test.try_ledger_grouped(ledger text, OUT result text, OUT fns text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT test.sqlstate(replace(c.stmt, '$1', ledger)) AS result,
        string_agg(c.fn, ' ' ORDER BY c.nr)
    FROM test.ledger_call c GROUP BY 1 ORDER BY min(c.nr)
$$;

-- The answer to a transfer on one line, without its times.
CREATE FUNCTION test.t(r keep.transfer_result) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ',
        coalesce(r.id, 'id?') || ': ' || coalesce(r.status, 'status?'),
        r.reason,
        coalesce(r.amount::text, 'no amount'),
        CASE WHEN r.from_balance IS NOT NULL OR r.to_balance IS NOT NULL
            THEN format('now %s and %s', coalesce(r.from_balance::text, '-'), coalesce(r.to_balance::text, '-')) END,
        'until ' || CASE WHEN r.expires_at IS NOT NULL THEN test.left(r.expires_at) END,
        CASE WHEN r.replayed THEN 'replayed' WHEN r.replayed IS NULL THEN 'replayed?' END,
        CASE WHEN r.created_at > keep.clock() OR r.created_at IS NULL AND r.status <> 'mismatch' THEN 'created?' END)
$$;

-- An account on one line, without its version.
CREATE FUNCTION test.b(r keep.account_balance) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ',
        format('%s: %s %s', coalesce(r.account, 'account?'), coalesce(r.balance::text, 'balance?'), coalesce(r.unit, 'unit?')),
        'available ' || coalesce(r.available::text, '?'),
        format('out %s + %s', coalesce(r.debits_posted::text, '?'), coalesce(r.debits_pending::text, '?')),
        format('in %s + %s', coalesce(r.credits_posted::text, '?'), coalesce(r.credits_pending::text, '?')),
        CASE WHEN r.frozen THEN 'frozen' WHEN r.frozen IS NULL THEN 'frozen?' END,
        CASE WHEN r.version IS NULL THEN 'version?' END)
$$;

-- What a call of a transfer function answers, its results on one line each, or its error.
CREATE FUNCTION test.say(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    detail text;
    hint text;
    context text;
BEGIN
    EXECUTE format('SELECT string_agg(test.t(r), E''\n'') FROM keep.%s r', call) INTO result;
    RETURN coalesce(result, '(no rows)');
EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    RETURN concat_ws(' / ', SQLSTATE, SQLERRM, 'detail: ' || nullif(detail, ''), 'hint: ' || nullif(hint, ''),
        substring(context FROM 'item \d+ of the batch'));
END $$;

-- Every account's balance, and what of it is available where that is less.
CREATE FUNCTION test.balances(ledger regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT string_agg(concat_ws(''/'', a.id || '' '' || b.balance,'
        ' CASE WHEN b.available <> b.balance THEN b.available END), '', '' ORDER BY a.id)'
        ' FROM (SELECT DISTINCT id FROM %s) a, keep.balance($1, a.id) b', ledger) INTO result USING ledger;
    RETURN result;
END $$;

-- The rules that every ledger keeps, looked at without pg_keep: returns 'sound'.
CREATE FUNCTION test.ledger_sound(ledger regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    bad text;
BEGIN
    EXECUTE format($q$
        WITH moved AS (
            SELECT account, sum(dpost) AS dpost, sum(cpost) AS cpost, sum(dpend) AS dpend, sum(cpend) AS cpend FROM (
                SELECT from_account AS account, amount AS dpost, 0 AS cpost, 0 AS dpend, 0 AS cpend FROM %2$s WHERE status = 'posted'
                UNION ALL SELECT to_account, 0, amount, 0, 0 FROM %2$s WHERE status = 'posted'
                UNION ALL SELECT from_account, 0, 0, held, 0 FROM %2$s WHERE status = 'pending'
                UNION ALL SELECT to_account, 0, 0, 0, held FROM %2$s WHERE status = 'pending') x GROUP BY account),
        accounts AS (
            SELECT id, sum(debits_posted) AS dpost, sum(credits_posted) AS cpost, sum(debits_pending) AS dpend,
                sum(credits_pending) AS cpend, bool_or(least(debits_posted, credits_posted, debits_pending, credits_pending) < 0)
                    OR count(*) <> max(shards) OR min(shards) <> max(shards) OR min(unit) <> max(unit)
                    OR bool_or(frozen) <> bool_and(frozen) AS odd
            FROM %1$s GROUP BY id)
        SELECT string_agg(id, ', ' ORDER BY id) FROM accounts a LEFT JOIN moved m ON m.account = a.id
        WHERE odd OR (a.dpost, a.cpost, a.dpend, a.cpend) IS DISTINCT FROM
            (coalesce(m.dpost, 0), coalesce(m.cpost, 0), coalesce(m.dpend, 0), coalesce(m.cpend, 0))$q$,
        ledger, ledger::text || '_transfers') INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'not as the transfers say: ' || bad;
    END IF;
    EXECUTE format($q$SELECT string_agg(o.id, ', ' ORDER BY o.id) FROM %1$s o
        LEFT JOIN (SELECT reverses, sum(amount) AS back FROM %1$s WHERE status = 'posted' GROUP BY reverses) r ON r.reverses = o.id
        WHERE o.reversed IS DISTINCT FROM r.back OR o.reversed > o.amount$q$, ledger::text || '_transfers') INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'reversed: ' || bad;
    END IF;
    EXECUTE format($q$SELECT string_agg(id, ', ' ORDER BY id) FROM %s WHERE status NOT IN
        ('posted', 'pending', 'voided', 'expired', 'rejected') OR (reason IS NOT NULL) <> (status = 'rejected')
        OR amount <= 0 OR amount > held$q$, ledger::text || '_transfers') INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'odd transfers: ' || bad;
    END IF;
    SELECT string_agg(rule, ', ' ORDER BY rule) INTO bad FROM keep.verify_ledger(ledger) WHERE ok IS DISTINCT FROM true;
    IF bad IS NOT NULL THEN
        RETURN 'verify_ledger: ' || bad;
    END IF;
    RETURN 'sound';
END $$;

-- Sets pg_keep's clock that many minutes ahead, for any role.
CREATE FUNCTION test.at(minutes numeric) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM set_config('pg_keep.test_clock_offset', (minutes * 60000)::int::text, false);
END $$;

-- What an expression gives, or its SQLSTATE.
CREATE FUNCTION test.tell(expr text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE 'SELECT ' || expr INTO result;
    RETURN CASE WHEN result IS NULL THEN 'null' WHEN result = '' THEN 'done' ELSE result END;
EXCEPTION WHEN others THEN
    RETURN SQLSTATE;
END $$;

-- Tokens under names of the test's own, as their numbers are nobody's business.
CREATE TABLE test.token (name text PRIMARY KEY, token bigint);
GRANT SELECT ON test.token TO PUBLIC;
CREATE FUNCTION test.note(name text, token bigint) RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO test.token AS t VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET token = excluded.token RETURNING t.token > 0
$$;
CREATE FUNCTION test.tok(name text) RETURNS bigint LANGUAGE sql AS $$
    SELECT t.token FROM test.token t WHERE t.name = $1
$$;

-- Functions to be run once.
CREATE FUNCTION test.echo(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';

-- What begin_request and call_once answer, on one line, without the token's number.
CREATE FUNCTION test.r(r keep.request) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', coalesce(r.state, 'state?'),
        CASE WHEN r.token > 0 THEN 'token' WHEN r.token IS NOT NULL THEN 'token?' END,
        'checkpoint ' || r.checkpoint::text, 'response ' || r.response::text)
$$;
CREATE FUNCTION test.c(r keep.call_result) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', CASE WHEN r.replayed THEN 'replayed' WHEN NOT r.replayed THEN 'ran' ELSE 'replayed?' END,
        coalesce(r.response::text, 'no response'))
$$;

-- A record of a request log on one line, with its token compared to another one.
CREATE FUNCTION test.record(log regclass, k text, t bigint = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format($q$SELECT concat_ws(', ', state, 'attempt ' || attempts,
        CASE WHEN token = $2 THEN 'same token' WHEN token > $2 THEN 'new token' WHEN token < $2 THEN 'token?' END,
        CASE WHEN state IN ('in_progress', 'released') THEN 'at ' || checkpoint::text END, 'said ' || response::text,
        CASE WHEN state = 'in_progress' THEN 'lease ' || test.left(lease_until) END) FROM %s WHERE key = $1$q$, log) INTO result USING k, t;
    RETURN coalesce(result, 'no record');
END $$;

-- The rules that every record of a request log keeps: returns 'sound'.
CREATE FUNCTION test.request_log_sound(log regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    bad text;
    last bigint;
BEGIN
    EXECUTE format($q$SELECT string_agg(key, ', ' ORDER BY key) FROM %s WHERE state NOT IN ('in_progress', 'released', 'completed', 'failed')
        OR octet_length(request_hash) <> 32 OR attempts < 1 OR (finished_at IS NOT NULL) <> (state IN ('completed', 'failed'))
        OR (state = 'in_progress' AND (lease IS NULL OR lease_until IS NULL)) OR (response IS NOT NULL AND finished_at IS NULL)
        OR created_at > finished_at$q$, log) INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'odd records: ' || bad;
    END IF;
    EXECUTE format('SELECT last_value FROM %s', pg_get_serial_sequence(log::text, 'token')) INTO last;
    EXECUTE format('SELECT string_agg(key, '', '' ORDER BY key) FROM %s WHERE token > $1', log) INTO bad USING last;
    IF bad IS NOT NULL THEN
        RETURN 'token runs ahead of the sequence: ' || bad;
    END IF;
    EXECUTE format('SELECT count(*) - count(DISTINCT token) FROM %s', log) INTO last;
    RETURN CASE WHEN last <> 0 THEN 'tokens used twice' ELSE 'sound' END;
END $$;

-- One call of every function that works on a request log; $1 stands for the log, which
-- test.request_log_for_calls() has made ready.
CREATE TABLE test.request_call (
    nr int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fn text NOT NULL,
    stmt text NOT NULL
);
GRANT SELECT ON test.request_call TO PUBLIC;
INSERT INTO test.request_call (fn, stmt) VALUES
    ('begin_request', $$SELECT * FROM keep.begin_request($1, 'new', '1')$$),
    ('checkpoint_request', $$SELECT keep.checkpoint_request($1, 'begun 1', test.tok('begun 1'), '1')$$),
    ('complete_request', $$SELECT keep.complete_request($1, 'begun 2', test.tok('begun 2'), '1')$$),
    ('fail_request', $$SELECT keep.fail_request($1, 'begun 3', test.tok('begun 3'), '1')$$),
    ('release_request', $$SELECT keep.release_request($1, 'begun 4', test.tok('begun 4'))$$),
    ('call_once', $$SELECT * FROM keep.call_once($1, 'new too', 'test.echo(jsonb)', '1')$$),
    ('expire_requests', $$SELECT keep.expire_requests($1)$$);

-- Makes a request log of that name for the calls above: four requests are in progress.
CREATE FUNCTION test.request_log_for_calls(name text) RETURNS regclass LANGUAGE plpgsql AS $$
DECLARE
    l regclass := keep.create_request_log(name);
BEGIN
    PERFORM test.note('begun ' || i, (keep.begin_request(l, 'begun ' || i, '1')).token) FROM generate_series(1, 4) i;
    RETURN l;
END $$;

-- Runs every call against a request log and shows each one's SQLSTATE; one line for each different answer.
CREATE FUNCTION test.try_request_log(log text, OUT fn text, OUT result text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT c.fn, test.code(replace(c.stmt, '$1', log)) FROM test.request_call c ORDER BY c.nr
$$;
CREATE FUNCTION test.try_request_log_grouped(log text, OUT result text, OUT fns text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT test.sqlstate(replace(c.stmt, '$1', log)) AS result,
        string_agg(c.fn, ' ' ORDER BY c.nr)
    FROM test.request_call c GROUP BY 1 ORDER BY min(c.nr)
$$;

-- What actions and compensations do, and an action and a compensation that do it. The compensation
-- raises where 'broken ...' is among the effects.
CREATE TABLE test.effect (nr int GENERATED ALWAYS AS IDENTITY, what text NOT NULL);
GRANT ALL ON test.effect TO PUBLIC;
CREATE FUNCTION test.act(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.effect (what) VALUES (concat('did ', args ->> 'what'));
    RETURN jsonb_build_object('did', args -> 'what');
END $$;
CREATE FUNCTION test.undo(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.effect (what) VALUES (concat('undid ', step #>> '{args,what}', CASE WHEN step #> '{result,did}' IS DISTINCT
        FROM step #> '{args,what}' THEN ' of ' || step::text END));
    IF EXISTS (SELECT FROM test.effect WHERE what = 'broken ' || (step #>> '{args,what}')) THEN
        RAISE EXCEPTION 'cannot undo %', step #>> '{args,what}';
    END IF;
    RETURN jsonb_build_object('undid', step #> '{args,what}');
END $$;
CREATE FUNCTION test.effects() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(what, ', ' ORDER BY nr) FILTER (WHERE what NOT LIKE 'broken%'), 'no effects') FROM test.effect
$$;

-- What the functions of sagas answer, on one line, without numbers of tokens.
CREATE FUNCTION test.s(r keep.step_result) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', coalesce(r.status, 'status?'), r.result::text,
        CASE WHEN r.replayed THEN 'replayed' WHEN r.replayed IS NULL THEN 'replayed?' END)
$$;
CREATE FUNCTION test.en(r keep.step_entry) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', coalesce(r.status, 'status?'), CASE WHEN r.token > 0 THEN 'token' WHEN r.token IS NOT NULL THEN 'token?' END, r.result::text)
$$;
CREATE FUNCTION test.p(r keep.saga_progress) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', coalesce(r.state, 'state?'),
        coalesce(nullif(r.pending_remote, 0)::text || ' remote', CASE WHEN r.pending_remote IS NULL THEN 'remote?' END))
$$;
CREATE FUNCTION test.claim(r keep.compensation) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', coalesce(r.saga, 'saga?') || '/' || coalesce(r.step, 'step?'), coalesce(r.compensation, 'compensation?'),
        coalesce(r.args::text, 'args?'), r.result::text, CASE WHEN r.token > 0 THEN 'token' ELSE 'token?' END)
$$;

-- A saga on one line: its state, and its steps by name. A remote step's token is compared to another one.
CREATE FUNCTION test.saga(log regclass, s text, t bigint = NULL, of_step text = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    steps text;
BEGIN
    EXECUTE format('SELECT state FROM %s WHERE saga = $1', log) INTO state USING s;
    EXECUTE format($q$SELECT string_agg(concat_ws(' ', step, status, 'x' || nullif(attempts, 0),
        CASE WHEN step <> $3 OR kind <> 'remote' THEN NULL WHEN token > $2 THEN '(new token)' WHEN token < $2 THEN '(token?)' END), ', '
            ORDER BY step) FROM %s_steps WHERE saga = $1$q$,
        log) INTO steps USING s, t, of_step;
    RETURN concat_ws(': ', coalesce(state, 'no saga'), steps);
END $$;

-- The rules that every saga and its steps keep: returns 'sound'.
CREATE FUNCTION test.saga_log_sound(log regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    bad text;
BEGIN
    EXECUTE format($q$SELECT string_agg(saga, ', ' ORDER BY saga) FROM %1$s s
        WHERE state NOT IN ('running', 'completed', 'compensating', 'compensated', 'stuck')
        OR created_at > updated_at OR steps <> (SELECT count(*) FROM %1$s_steps t WHERE t.saga = s.saga AND t.status <> 'refused')
            OR last_place < (SELECT count(place) FROM %1$s_steps t WHERE t.saga = s.saga)
        OR waits_for IS DISTINCT FROM (CASE WHEN due_at IS NOT NULL THEN waits_for END)
            OR (state IN ('completed', 'compensated', 'stuck') AND due_at IS NOT NULL)
        OR (state = 'running' AND (waits_for IS DISTINCT FROM CASE WHEN deadline_at IS NOT NULL THEN 'deadline' END OR due_at < deadline_at
            OR (due_at IS NULL) <> (deadline_at IS NULL)))
        OR (state = 'compensating' AND (waits_for NOT IN ('local', 'remote') OR due_at IS NULL))$q$, log) INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'odd sagas: ' || bad;
    END IF;
    EXECUTE format($q$SELECT string_agg(t.saga || '/' || t.step, ', ' ORDER BY t.saga, t.step) FROM %1$s_steps t LEFT JOIN %1$s s USING (saga)
        WHERE s.saga IS NULL
        OR t.kind NOT IN ('local', 'remote') OR t.status NOT IN ('running', 'failed', 'done', 'compensating', 'compensated', 'refused')
        OR (t.kind = 'local' AND t.status IN ('running', 'failed', 'compensating'))
        OR (s.state IN ('running', 'completed') AND t.status IN ('compensating', 'compensated'))
        OR (s.state IN ('completed', 'compensated') AND t.status IN ('running', 'compensating')) OR (s.state = 'compensated' AND t.status = 'done')
        OR (t.status = 'done' AND t.place IS NULL) OR t.place > s.last_place
        OR (t.status = 'running' AND t.lease_until IS NULL) OR t.attempts < 0 OR (t.attempts > 0 AND t.last_error IS NULL)$q$, log) INTO bad;
    IF bad IS NOT NULL THEN
        RETURN 'odd steps: ' || bad;
    END IF;
    EXECUTE format('SELECT string_agg(saga, '', '' ORDER BY saga) FROM (SELECT saga FROM %s_steps WHERE place IS NOT NULL GROUP BY saga, place HAVING count(*) > 1) x',
        log) INTO bad;
    RETURN coalesce('places taken twice: ' || bad, 'sound');
END $$;

-- One call of every function that works on a saga log; $1 stands for the log, which
-- test.saga_log_for_calls() has made ready. The procedures cannot be called from a function.
CREATE TABLE test.saga_call (
    nr int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fn text NOT NULL,
    stmt text NOT NULL
);
GRANT SELECT ON test.saga_call TO PUBLIC;
INSERT INTO test.saga_call (fn, stmt) VALUES
    ('begin_saga', $$SELECT keep.begin_saga($1, 'new')$$),
    ('run_step', $$SELECT * FROM keep.run_step($1, 'local', 'b', 'test.act(jsonb)', '{"what": "b"}', 'test.undo(jsonb)')$$),
    ('enter_step', $$SELECT * FROM keep.enter_step($1, 'local', 'c', 'undo c')$$),
    ('leave_step', $$SELECT keep.leave_step($1, 'entered', 'a', test.tok('entered'), true)$$),
    ('complete_saga', $$SELECT keep.complete_saga($1, 'done')$$),
    ('compensate_saga', $$SELECT * FROM keep.compensate_saga($1, 'local too')$$),
    ('claim_compensations', $$SELECT * FROM keep.claim_compensations($1, 'w')$$),
    ('finish_compensation', $$SELECT keep.finish_compensation($1, 'claimed', 'a', test.tok('claimed'), true)$$),
    ('resume_saga', $$SELECT keep.resume_saga($1, 'stuck')$$),
    ('allow_saga_function', $$SELECT keep.allow_saga_function($1, 'test.echo(jsonb)')$$);

-- Makes a saga log of that name for the calls above, with a saga in each state.
CREATE FUNCTION test.saga_log_for_calls(name text) RETURNS regclass LANGUAGE plpgsql AS $$
DECLARE
    l regclass := keep.create_saga_log(name, 1);
BEGIN
    PERFORM keep.allow_saga_function(l, 'test.act(jsonb)'), keep.allow_saga_function(l, 'test.undo(jsonb)');
    PERFORM keep.begin_saga(l, s) FROM unnest('{local,local too,entered,done,claimed,stuck}'::text[]) s;
    PERFORM keep.run_step(l, s, 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)') FROM unnest('{local,local too,done}'::text[]) s;
    PERFORM test.note(s, (keep.enter_step(l, s, 'a', 'undo a')).token) FROM unnest('{entered,claimed,stuck}'::text[]) s;
    PERFORM keep.leave_step(l, s, 'a', test.tok(s), true), keep.compensate_saga(l, s) FROM unnest('{claimed,stuck}'::text[]) s;
    PERFORM test.note(c.saga, c.token) FROM keep.claim_compensations(l, 'w') c;
    PERFORM keep.finish_compensation(l, 'stuck', 'a', test.tok('stuck'), false);
    RETURN l;
END $$;

-- Runs every call against a saga log and shows each one's SQLSTATE; one line for each different answer.
CREATE FUNCTION test.try_saga_log(log text, OUT fn text, OUT result text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT c.fn, test.code(replace(c.stmt, '$1', log)) FROM test.saga_call c ORDER BY c.nr
$$;
CREATE FUNCTION test.try_saga_log_grouped(log text, OUT result text, OUT fns text) RETURNS SETOF record
LANGUAGE sql AS $$
    SELECT test.sqlstate(replace(c.stmt, '$1', log)) AS result,
        string_agg(c.fn, ' ' ORDER BY c.nr)
    FROM test.saga_call c GROUP BY 1 ORDER BY min(c.nr)
$$;

-- Every function of the extension that takes a table of pg_keep's first is called above.
SELECT DISTINCT p.proname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep' AND p.prokind = 'f' AND p.proargtypes[0] = 'regclass'::regtype
    AND p.proname NOT IN (SELECT c.fn FROM test.call c UNION ALL SELECT c.fn FROM test.ledger_call c
        UNION ALL SELECT c.fn FROM test.request_call c UNION ALL SELECT c.fn FROM test.saga_call c)
ORDER BY 1;
