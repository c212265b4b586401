-- Compensations: strict reverse order of completion, whatever the names; back-off, `stuck` and resume;
-- outcomes that nobody knows; claims; deadlines; the procedures, which commit after each one; the
-- caller's transaction; a worked order.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
SET statement_timeout = '60s';

TRUNCATE test.effect;
SELECT keep.create_saga_log('g', 3);
SELECT keep.allow_saga_function('g', f) FROM unnest('{test.act(jsonb),test.undo(jsonb)}'::regprocedure[]) f;
-- Runs a local step of that name, and runs a remote one from beginning to end.
CREATE FUNCTION test.local(s text, step text, undo boolean = true) RETURNS text LANGUAGE sql AS $$
    SELECT test.s(keep.run_step('g', s, step, 'test.act(jsonb)', jsonb_build_object('what', step), CASE WHEN undo THEN 'test.undo(jsonb)'::regprocedure END))
$$;
CREATE FUNCTION test.remote(s text, step text, undo text = 'undo it', ok boolean = true) RETURNS text LANGUAGE sql AS $$
    SELECT keep.leave_step('g', s, step, e.token, ok, to_jsonb('result of ' || step))
        FROM keep.enter_step('g', s, step, undo, jsonb_build_object('what', step)) e
$$;

-- the reverse order of completion: not of the names, nor of the entering
SELECT keep.begin_saga('g', 'order');
SELECT test.local('order', 'b'), test.local('order', 'd'), test.local('order', 'a'), test.local('order', 'c');
SELECT test.p(keep.compensate_saga('g', 'order')), test.effects();
SELECT test.p(keep.compensate_saga('g', 'order')) AS again, test.effects();
TRUNCATE test.effect;
SELECT keep.begin_saga('g', 'mixed');
SELECT test.note('e', (keep.enter_step('g', 'mixed', 'entered first, left last', 'undo e')).token), test.local('mixed', 'z'),
    test.remote('mixed', 'r1'), test.local('mixed', 'y', false), test.remote('mixed', 'r2', NULL),
    test.local('mixed', 'x'), test.remote('mixed', 'r3 failed', 'undo', false),
        keep.leave_step('g', 'mixed', 'entered first, left last', test.tok('e'), true, '1');
SELECT step, status, place FROM g_steps WHERE saga = 'mixed' ORDER BY place, step;
SELECT test.p(keep.compensate_saga('g', 'mixed')), test.saga('g', 'mixed'), test.effects();
SELECT test.claim(c), test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT keep.finish_compensation('g', 'mixed', 'entered first, left last', test.tok('c'), true, '"undone"'), test.effects() AS "no local one is run by it";
SELECT count(*) AS "nothing remote in turn" FROM keep.claim_compensations('g', 'w');
SELECT test.p(keep.compensate_saga('g', 'mixed')), test.saga('g', 'mixed'), test.effects();
SELECT test.claim(c), test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT keep.finish_compensation('g', 'mixed', 'r1', test.tok('c'), true), test.p(keep.compensate_saga('g', 'mixed'));
SELECT test.saga('g', 'mixed'), test.effects();
SELECT step, compensation_result FROM g_steps WHERE saga = 'mixed' ORDER BY place, step;
-- what the last finished leaves to be done by nobody: compensated at once
SELECT keep.begin_saga('g', 'last');
SELECT test.local('last', 'no undo', false), test.remote('last', 'r'), test.remote('last', 'no undo either', NULL);
SELECT test.p(keep.compensate_saga('g', 'last'));
SELECT test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT keep.finish_compensation('g', 'last', 'r', test.tok('c'), true);
SELECT test.saga('g', 'last');
-- with nothing to undo; and with what has no compensation only
SELECT keep.begin_saga('g', 'empty'), test.p(keep.compensate_saga('g', 'empty')), keep.begin_saga('g', 'plain'), test.local('plain', 'x', false),
    test.p(keep.compensate_saga('g', 'plain')), test.saga('g', 'plain');
TRUNCATE test.effect;

-- what a compensation gets, and what becomes of what it gives
CREATE FUNCTION test.show(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES (step::text); RETURN NULL; END $$;
CREATE FUNCTION test.null_result(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SELECT keep.allow_saga_function('g', f) FROM unnest('{test.show(jsonb),test.null_result(jsonb)}'::regprocedure[]) f;
SELECT keep.begin_saga('g', 'show');
SELECT test.s(keep.run_step('g', 'show', '1', 'test.act(jsonb)', '{"what": [1.50, null]}', 'test.show(jsonb)')),
    test.s(keep.run_step('g', 'show', '2', 'test.null_result(jsonb)', compensation => 'test.show(jsonb)')),
    test.s(keep.run_step('g', 'show', '3', 'test.null_result(jsonb)', 'null', 'test.show(jsonb)')),
        test.s(keep.run_step('g', 'show', '2', 'test.null_result(jsonb)', compensation => 'test.show(jsonb)')) AS "replayed without a result";
SELECT test.p(keep.compensate_saga('g', 'show')), test.effects();
SELECT step, result, compensation_result FROM g_steps WHERE saga = 'show' ORDER BY step;
TRUNCATE test.effect;

-- a compensation that raises: counted, tried again later and later, and then stuck; nothing before it is touched
SELECT keep.begin_saga('g', 'back'), test.local('back', 'a'), test.local('back', 'b'), test.local('back', 'c');
INSERT INTO test.effect (what) VALUES ('broken b');
SELECT test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back'), test.effects();
SELECT attempts, retry_at - updated_at AS "tried again after", last_error FROM g_steps WHERE saga = 'back' AND step = 'b';
SELECT test.at(1);
SELECT test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back');
SELECT attempts, retry_at - updated_at AS "tried again after" FROM g_steps WHERE saga = 'back' AND step = 'b';
SELECT waits_for, due_at = (SELECT retry_at FROM g_steps WHERE saga = 'back' AND step = 'b') AS "due then" FROM g WHERE saga = 'back';
SELECT test.at(2);
SELECT test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back'), test.effects();
SELECT state, waits_for, due_at FROM g WHERE saga = 'back';
SELECT test.at(60);
SELECT test.p(keep.compensate_saga('g', 'back')) AS "stuck is stuck", test.effects(), keep.begin_saga('g', 'back'), keep.complete_saga('g', 'back');
DELETE FROM test.effect WHERE what LIKE 'broken%';
SELECT test.p(keep.compensate_saga('g', 'back')) AS "also when mended";
-- by hand out of it, with all attempts anew; resumed before it is mended it is stuck again after as many
SELECT keep.resume_saga('g', 'back'), test.saga('g', 'back');
INSERT INTO test.effect (what) VALUES ('broken b');
SELECT test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back');
SELECT test.at(61);
SELECT test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back');
SELECT test.at(62);
SELECT test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back');
DELETE FROM test.effect WHERE what LIKE 'broken%';
SELECT keep.resume_saga('g', 'back'), test.p(keep.compensate_saga('g', 'back')), test.saga('g', 'back'), test.effects();
SELECT keep.resume_saga('g', 'back') AS "no more to resume";
SELECT test.at(0);
TRUNCATE test.effect;
-- the back-off doubles up to an hour, for local and remote ones; before it is over nobody tries
SELECT keep.create_saga_log('h', 20);
SELECT keep.allow_saga_function('h', f) FROM unnest('{test.act(jsonb),test.undo(jsonb)}'::regprocedure[]) f;
SELECT keep.begin_saga('h', 'local'), test.s(keep.run_step('h', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)'));
SELECT keep.begin_saga('h', 'remote');
SELECT test.note('r', token) FROM keep.enter_step('h', 'remote', 'a', 'undo a');
SELECT keep.leave_step('h', 'remote', 'a', test.tok('r'), true), test.p(keep.compensate_saga('h', 'remote'));
INSERT INTO test.effect (what) VALUES ('broken a');
CREATE FUNCTION test.try_both(minutes numeric) RETURNS TABLE (saga text, state text, attempts text, again_after interval) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM test.at(minutes), keep.compensate_saga('h', 'local');
    PERFORM keep.finish_compensation('h', c.saga, c.step, c.token, false, '"no answer"') FROM keep.claim_compensations('h', 'w') c;
    RETURN QUERY SELECT h.saga, h.state, 'x' || t.attempts, t.retry_at - t.updated_at FROM h JOIN h_steps t USING (saga) ORDER BY 1;
END $$;
SELECT i, t.* FROM generate_series(1, 10) i, LATERAL test.try_both(i * 61) t;
SELECT * FROM test.try_both(618) t;
SELECT * FROM test.try_both(619) t;
SELECT i, t.* FROM generate_series(12, 22) i, LATERAL test.try_both(i * 61) t;
SELECT step, last_error, lease_until, worker FROM h_steps ORDER BY saga;
SELECT test.at(0);
DROP FUNCTION test.try_both(numeric);
TRUNCATE test.effect;

-- what is not the compensation's own failure is not counted but passes through, and undoes nothing
CREATE FUNCTION test.raise(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.effect (what) VALUES ('half undone');
    RAISE EXCEPTION 'raised %', step #>> '{args,code}' USING ERRCODE = step #>> '{args,code}';
END $$;
SELECT keep.allow_saga_function('g', 'test.raise(jsonb)'), keep.allow_saga_function('g', 'test.echo(jsonb)');
CREATE FUNCTION test.raised(code text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        PERFORM keep.begin_saga('g', 'raise'), keep.run_step('g', 'raise', '1', 'test.echo(jsonb)', jsonb_build_object('code', code),
            'test.raise(jsonb)'), test.local('raise', '2');
        result := test.tell($q$test.p(keep.compensate_saga('g', 'raise'))$q$) || ' -> ' || test.saga('g', 'raise') || ' | ' || test.effects();
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN
        RETURN result;
    END;
END $$;
SELECT c, test.raised(c) FROM unnest('{P0001,22012,23505,42501,42P01,KP412,KP422,55000,55006,XX000,40001,40P01,40003,53100,53200,55P03}'::text[]) c;
DROP FUNCTION test.raised(text);
SELECT keep.begin_saga('g', 'cancel'), test.s(keep.run_step('g', 'cancel', '1', 'test.echo(jsonb)', '{"code": "57014"}', 'test.raise(jsonb)'));
SELECT keep.compensate_saga('g', 'cancel');
SELECT test.saga('g', 'cancel');
UPDATE g_steps SET compensation = NULL WHERE saga = 'cancel';
SELECT test.p(keep.compensate_saga('g', 'cancel'));

-- remote compensations that fail: counted in the same way
SELECT keep.begin_saga('g', 'remote'), test.remote('remote', 'r'), test.p(keep.compensate_saga('g', 'remote'));
CREATE FUNCTION test.try_remote(at numeric) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c keep.compensation;
BEGIN
    PERFORM test.at(at);
    SELECT * INTO c FROM keep.claim_compensations('g', 'w');
    RETURN concat_ws(' ', 'claimed ' || c.step, CASE WHEN c.step IS NOT NULL THEN keep.finish_compensation('g', c.saga, c.step, c.token, false,
        '"no answer"') END, test.saga('g', 'remote'), test.tell(format($q$keep.finish_compensation('g', 'remote', 'r', %s, true)$q$, coalesce(c.token, 1))));
END $$;
SELECT test.try_remote(0), retry_at - updated_at, last_error, lease_until FROM g_steps WHERE saga = 'remote';
SELECT retry_at - updated_at, last_error, lease_until FROM g_steps WHERE saga = 'remote';
SELECT test.try_remote(1);
SELECT test.try_remote(2), test.try_remote(60);
SELECT keep.resume_saga('g', 'remote'), test.saga('g', 'remote'), test.try_remote(61);
SELECT test.at(120);
SELECT test.note('c', token), test.claim(c) FROM keep.claim_compensations('g', 'w') c;
SELECT keep.finish_compensation('g', 'remote', 'r', test.tok('c'), true, '1'),
    keep.finish_compensation('g', 'remote', 'r', test.tok('c'), true, '1') AS again, test.saga('g', 'remote');
SELECT test.at(0);
DROP FUNCTION test.try_remote(numeric);

-- an outcome that nobody knows: compensated once the lease is over, before what was completed earlier; whoever comes late is stale
SELECT keep.begin_saga('g', 'unknown'), test.local('unknown', 'a'),
    test.note('e', (keep.enter_step('g', 'unknown', 'call', 'undo call', '{"nr": 1}', '10 min')).token), test.local('unknown', 'b');
SELECT test.p(keep.compensate_saga('g', 'unknown')) AS "it may still be running", test.effects();
SELECT count(*) AS "never claimed while it may" FROM keep.claim_compensations('g', 'w');
SELECT test.at(11);
SELECT test.p(keep.compensate_saga('g', 'unknown')), test.effects();
SELECT test.claim(c), test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT test.tell($$keep.leave_step('g', 'unknown', 'call', test.tok('e'), true)$$) AS late,
    test.tell($$keep.leave_step('g', 'unknown', 'call', test.tok('e'), false)$$),
        test.tell($$keep.finish_compensation('g', 'unknown', 'call', test.tok('e'), true)$$);
SELECT keep.finish_compensation('g', 'unknown', 'call', test.tok('c'), true), test.p(keep.compensate_saga('g', 'unknown')), test.saga('g', 'unknown'),
    test.effects();
SELECT test.at(0);
TRUNCATE test.effect;
-- left in time, though the saga is being undone: done is compensated in its turn, failed never was
SELECT keep.begin_saga('g', s), test.local(s, 'a'), test.note(s, (keep.enter_step('g', s, 'call', 'undo call')).token),
    test.p(keep.compensate_saga('g', s)) FROM unnest('{late ok,late failed}'::text[]) s;
SELECT keep.leave_step('g', 'late ok', 'call', test.tok('late ok'), true, '1'), keep.leave_step('g', 'late failed', 'call', test.tok('late failed'), false);
SELECT test.p(keep.compensate_saga('g', 'late ok')), test.p(keep.compensate_saga('g', 'late failed')), test.effects();
SELECT test.claim(c), test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT keep.finish_compensation('g', 'late ok', 'call', test.tok('c'), true), test.p(keep.compensate_saga('g', 'late ok'));
SELECT test.saga('g', 'late ok'), test.saga('g', 'late failed'), test.effects();
-- an unknown one without a compensation is passed over, several are undone one after the other
SELECT keep.begin_saga('g', 'several'), test.local('several', 'a'), test.en(keep.enter_step('g', 'several', 'u1', 'undo u1')),
    test.en(keep.enter_step('g', 'several', 'u2')), test.en(keep.enter_step('g', 'several', 'u3', 'undo u3', lease => '2 min'));
SELECT test.p(keep.compensate_saga('g', 'several'));
SELECT test.at(3);
SELECT test.claim(c), test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT count(*) FROM keep.claim_compensations('g', 'w');
SELECT keep.finish_compensation('g', 'several', 'u3', test.tok('c'), true), test.saga('g', 'several');
SELECT test.claim(c), test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT keep.finish_compensation('g', 'several', 'u1', test.tok('c'), true), test.p(keep.compensate_saga('g', 'several')), test.saga('g', 'several');
SELECT test.at(0);
TRUNCATE test.effect;

-- claims: at most max, one a saga, each to one worker until its lease is over
SELECT count(*) FROM generate_series(1, 5) i, LATERAL (SELECT keep.begin_saga('g', 'claim ' || i), test.remote('claim ' || i, 'r1'),
    test.remote('claim ' || i, 'r2'), keep.compensate_saga('g', 'claim ' || i)) x;
SELECT count(*), count(DISTINCT c.saga), min(c.step), max(c.step) FROM keep.claim_compensations('g', 'w1', 2, '10 min') c;
SELECT count(*), count(DISTINCT c.saga), min(c.step), max(c.step) FROM keep.claim_compensations('g', 'w2', max => 10, lease => '20 min') c;
SELECT count(*) AS "all are taken" FROM keep.claim_compensations('g', 'w3') c;
SELECT worker, count(*), bool_and(status = 'compensating' AND step = 'r2') FROM g_steps WHERE saga LIKE 'claim %' AND worker IS NOT NULL GROUP BY 1 ORDER BY 1;
SELECT test.note(saga, token) FROM g_steps WHERE saga LIKE 'claim %' AND status = 'compensating' ORDER BY 1;
SELECT test.at(11);
SELECT count(*) AS "those of w1", bool_and(c.token > test.tok(c.saga)) AS "under new tokens" FROM keep.claim_compensations('g', 'w3', 10, '1 min') c;
SELECT count(*) FROM g_steps t WHERE saga LIKE 'claim %' AND worker = 'w2' AND keep.finish_compensation('g', t.saga, t.step, t.token, true) = 'compensating';
SELECT count(*) AS "the next step of theirs", min(c.step), max(c.step) FROM keep.claim_compensations('g', 'w3', 10) c;
SELECT count(*) AS stale FROM g_steps t WHERE saga LIKE 'claim %' AND step = 'r2' AND worker = 'w3'
    AND test.tell(format($$keep.finish_compensation('g', %L, 'r2', %s, true)$$, t.saga, test.tok(t.saga))) = 'KP412';
SELECT count(*) FROM g_steps t WHERE saga LIKE 'claim %' AND worker = 'w3' AND keep.finish_compensation('g', t.saga, t.step, t.token, true) = 'compensated';
SELECT count(*), min(c.step), max(c.step) FROM keep.claim_compensations('g', 'w4', 10) c;
SELECT count(*) FROM g_steps t WHERE saga LIKE 'claim %' AND worker = 'w4' AND keep.finish_compensation('g', t.saga, t.step, t.token, true) = 'compensated';
SELECT state, count(*) FROM g WHERE saga LIKE 'claim %' GROUP BY 1;
SELECT test.at(0);
-- what stands in the table as due is looked at again before anything is done
SELECT keep.begin_saga('g', 'hint', '1 hour'), test.local('hint', 'a'), keep.begin_saga('g', 'hint 2'), test.remote('hint 2', 'r'),
    test.p(keep.compensate_saga('g', 'hint 2'));
SELECT test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
UPDATE g SET due_at = created_at WHERE saga IN ('hint', 'hint 2');
SELECT count(*) FROM keep.claim_compensations('g', 'another');
UPDATE g SET due_at = created_at WHERE saga IN ('hint', 'hint 2');
CALL keep.run_due_compensations('g');
SELECT test.saga('g', 'hint'), test.saga('g', 'hint 2'), keep.finish_compensation('g', 'hint 2', 'r', test.tok('c'), true), test.effects();
UPDATE g SET due_at = deadline_at WHERE saga = 'hint' AND state = 'running';
TRUNCATE test.effect;
-- a claimed one holds back what comes after it, whoever asks
SELECT keep.begin_saga('g', 'behind'), test.local('behind', 'a'), test.remote('behind', 'r'), test.p(keep.compensate_saga('g', 'behind'));
SELECT test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
SELECT test.p(keep.compensate_saga('g', 'behind')), test.effects();
BEGIN;
SELECT keep.finish_compensation('g', 'behind', 'r', test.tok('c'), true);
ROLLBACK;
SELECT test.saga('g', 'behind');
SELECT keep.finish_compensation('g', 'behind', 'r', test.tok('c'), true), test.p(keep.compensate_saga('g', 'behind')), test.effects();
TRUNCATE test.effect;

-- deadlines: whoever finds it first, and not before; the first one given stays
SELECT keep.begin_saga('g', s, '10 min'), keep.begin_saga('g', s, '1 hour'), keep.begin_saga('g', s), test.local(s, 'a')
    FROM unnest('{dead 1,dead 2,dead 3,dead 4,dead 5,dead done}'::text[]) s;
SELECT keep.begin_saga('g', 'no deadline'), keep.begin_saga('g', 'no deadline', '10 min'), test.local('no deadline', 'a');
SELECT DISTINCT deadline_at - created_at FROM g WHERE saga LIKE 'dead%' OR saga = 'no deadline';
SELECT test.at(9);
SELECT keep.complete_saga('g', 'dead done'), test.local('dead 1', 'b'), keep.begin_saga('g', 'dead 1');
SELECT test.at(11);
SELECT keep.begin_saga('g', 'dead 1') AS begin_saga, test.local('dead 2', 'b') AS run_step,
    test.en(keep.enter_step('g', 'dead 3', 'r')) AS enter_step, keep.complete_saga('g', 'dead 4') AS complete_saga,
    test.p(keep.compensate_saga('g', 'dead 5')) AS compensate_saga, keep.begin_saga('g', 'dead done'), test.local('dead done', 'a'),
        test.local('no deadline', 'b');
SELECT saga, test.saga('g', saga) FROM g WHERE saga LIKE 'dead%' OR saga = 'no deadline' ORDER BY 1;
SELECT test.at(0);

-- the procedures: each compensation committed by itself
CREATE TABLE commits (step text, xid text);
CREATE FUNCTION test.in_tx(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF step #>> '{args,what}' = (SELECT what FROM test.effect WHERE what LIKE 'broken%' LIMIT 1) THEN
        RAISE EXCEPTION 'cannot undo %', step #>> '{args,what}';
    END IF;
    INSERT INTO commits VALUES (step #>> '{args,what}', txid_current());
    RETURN NULL;
END $$;
SELECT keep.allow_saga_function('g', 'test.in_tx(jsonb)');
SELECT keep.begin_saga('g', 'p1');
SELECT test.s(keep.run_step('g', 'p1', i::text, 'test.echo(jsonb)', jsonb_build_object('what', i), 'test.in_tx(jsonb)')) FROM generate_series(1, 4) i;
CALL keep.run_compensations('g', 'p1');
SELECT string_agg(step, ' ' ORDER BY xid::bigint) AS "in that order", count(DISTINCT xid) AS transactions FROM commits;
CALL keep.run_compensations('g', 'p1');
CALL keep.run_compensations(log => 'g', saga => 'p1', state => NULL, pending_remote => NULL);
SELECT count(*) FROM commits;
TRUNCATE commits;
-- up to a remote one, one that fails, one that may still be running
SELECT keep.begin_saga('g', 'p2'), test.s(keep.run_step('g', 'p2', 'a', 'test.echo(jsonb)', '{"what": "a"}', 'test.in_tx(jsonb)')),
    test.remote('p2', 'r'), test.s(keep.run_step('g', 'p2', 'broken', 'test.echo(jsonb)', '{"what": "broken"}', 'test.in_tx(jsonb)')),
    test.s(keep.run_step('g', 'p2', 'b', 'test.echo(jsonb)', '{"what": "b"}', 'test.in_tx(jsonb)'));
INSERT INTO test.effect (what) VALUES ('broken');
CALL keep.run_compensations('g', 'p2');
SELECT test.saga('g', 'p2'), (SELECT string_agg(step, ' ') FROM commits) AS "what was done before stays done";
TRUNCATE test.effect;
SELECT test.at(1);
CALL keep.run_compensations('g', 'p2');
SELECT test.saga('g', 'p2');
SELECT test.note('c', c.token) FROM keep.claim_compensations('g', 'w') c;
CALL keep.run_compensations('g', 'p2');
SELECT keep.finish_compensation('g', 'p2', 'r', test.tok('c'), true);
CALL keep.run_compensations('g', 'p2');
SELECT test.saga('g', 'p2'), (SELECT string_agg(step, ' ' ORDER BY xid::bigint) FROM commits);
SELECT test.at(0);
TRUNCATE commits;
-- not where there is a transaction that it could not commit
\set VERBOSITY sqlstate
BEGIN;
CALL keep.run_compensations('g', 'p1');
ROLLBACK;
BEGIN;
CALL keep.run_due_compensations('g');
ROLLBACK;
SELECT test.code($$CALL keep.run_compensations('g', 'p1')$$), test.code($$CALL keep.run_due_compensations('g')$$);
\set VERBOSITY terse
-- from a procedure of one's own it may; not from one that sets something, or in a block with an exception
CREATE PROCEDURE test.mine(s text, INOUT result text = NULL) LANGUAGE plpgsql AS $$
DECLARE
    state text;
    n int;
BEGIN
    CALL keep.run_compensations('g', s, state, n);
    result := concat_ws(' ', state, n);
END $$;
SELECT keep.begin_saga('g', 'p3'), test.s(keep.run_step('g', 'p3', 'a', 'test.echo(jsonb)', '{"what": "a"}', 'test.in_tx(jsonb)')),
    test.s(keep.run_step('g', 'p3', 'b', 'test.echo(jsonb)', '{"what": "b"}', 'test.in_tx(jsonb)'));
CALL test.mine('p3');
SELECT count(DISTINCT xid) AS transactions FROM commits;
ALTER PROCEDURE test.mine SET work_mem = '5MB';
SELECT keep.begin_saga('g', 'p4'), test.s(keep.run_step('g', 'p4', 'a', 'test.echo(jsonb)', '{"what": "a"}', 'test.in_tx(jsonb)'));
\set VERBOSITY sqlstate
CALL test.mine('p4');
\set VERBOSITY terse
SELECT test.saga('g', 'p4');
DROP PROCEDURE test.mine;
TRUNCATE commits;
-- under the other isolation levels
SET default_transaction_isolation = 'repeatable read';
CALL keep.run_compensations('g', 'p4');
SET default_transaction_isolation = 'serializable';
SELECT keep.begin_saga('g', 'p5'), test.s(keep.run_step('g', 'p5', 'a', 'test.echo(jsonb)', '{"what": "a"}', 'test.in_tx(jsonb)')),
    test.s(keep.run_step('g', 'p5', 'b', 'test.echo(jsonb)', '{"what": "b"}', 'test.in_tx(jsonb)')),
        test.s(keep.run_step('g', 'p5', 'b', 'test.echo(jsonb)', '{"what": "b"}', 'test.in_tx(jsonb)'));
CALL keep.run_compensations('g', 'p5');
RESET default_transaction_isolation;
SELECT string_agg(step, ' ' ORDER BY xid::bigint), count(DISTINCT xid) AS transactions FROM commits;
TRUNCATE commits;
-- all that is due: past its deadline, or compensating with a local one due; one that cannot go on holds back no other
SELECT keep.create_saga_log('d', 20);
SELECT keep.allow_saga_function('d', f) FROM unnest('{test.echo(jsonb),test.in_tx(jsonb),test.raise(jsonb)}'::regprocedure[]) f;
SELECT keep.begin_saga('d', 'broken'), test.s(keep.run_step('d', 'broken', 'a', 'test.echo(jsonb)', '{"what": "broken"}', 'test.in_tx(jsonb)'));
INSERT INTO test.effect (what) VALUES ('broken');
SELECT i, test.at(i * 60), test.p(keep.compensate_saga('d', 'broken')) FROM generate_series(1, 10) i;
SELECT keep.begin_saga('d', s, CASE WHEN s LIKE 'over%' THEN interval '10 min' END),
    test.s(keep.run_step('d', s, 'a', 'test.echo(jsonb)', jsonb_build_object('what', s), 'test.in_tx(jsonb)'))
        FROM unnest('{over 1,over 2,running,completed,remote,waiting,more 1,more 2}'::text[]) s;
SELECT keep.complete_saga('d', 'completed');
SELECT keep.leave_step('d', s, 'r', (keep.enter_step('d', s, 'r', 'undo r')).token, true), test.p(keep.compensate_saga('d', s))
    FROM unnest('{remote,waiting}'::text[]) s;
SELECT test.note(c.saga, c.token) FROM keep.claim_compensations('d', 'w') c ORDER BY c.saga;
SELECT keep.finish_compensation('d', 'remote', 'r', test.tok('remote'), true);
CALL keep.run_due_compensations('d');
SELECT saga, test.saga('d', saga) FROM d WHERE saga NOT LIKE 'more%' ORDER BY 1;
SELECT string_agg(step, ', ' ORDER BY step), count(DISTINCT xid) AS transactions FROM commits;
TRUNCATE commits;
SELECT test.at(611);
CALL keep.run_due_compensations('d', 1);
SELECT count(*) AS "at most one" FROM commits;
CALL keep.run_due_compensations('d');
CALL keep.run_due_compensations('d', max => 5);
SELECT saga, test.saga('d', saga) FROM d WHERE saga NOT LIKE 'more%' ORDER BY 1;
SELECT string_agg(step, ', ' ORDER BY step), count(DISTINCT xid) AS transactions FROM commits;
TRUNCATE test.effect;
SELECT test.at(640);
CALL keep.run_due_compensations('d');
SELECT saga, test.saga('d', saga) FROM d WHERE saga = 'broken';
-- a serialization failure is left for another time, and keeps the others from nothing
SELECT keep.begin_saga('d', s, i * interval '1 min'),
    test.s(keep.run_step('d', s, 'a', 'test.echo(jsonb)', CASE WHEN s = 'fails' THEN '{"code": "40001"}' ELSE jsonb_build_object('what', s) END,
        CASE WHEN s = 'fails' THEN 'test.raise(jsonb)' ELSE 'test.in_tx(jsonb)' END::regprocedure))
FROM unnest('{before,fails,after}'::text[]) WITH ORDINALITY x(s, i);
SELECT test.at(650);
TRUNCATE commits;
CALL keep.run_due_compensations('d');
SELECT saga, test.saga('d', saga) FROM d WHERE saga IN ('before', 'fails', 'after') ORDER BY 1;
CALL keep.run_due_compensations('d');
UPDATE d_steps SET compensation = NULL WHERE saga = 'fails';
SELECT test.at(655);
CALL keep.run_due_compensations('d');
SELECT saga, test.saga('d', saga) FROM d WHERE saga IN ('before', 'fails', 'after') ORDER BY 1;
-- one whose compensation is not allowed (any more) keeps the others from nothing
SELECT keep.begin_saga('d', s, i * interval '1 min'),
    test.s(keep.run_step('d', s, 'a', 'test.echo(jsonb)', jsonb_build_object('what', s), 'test.in_tx(jsonb)'))
        FROM unnest('{one,two,not allowed,three}'::text[]) WITH ORDINALITY x(s, i);
UPDATE d_steps SET compensation = 'test.null_result' WHERE saga = 'not allowed';
SELECT test.at(660);
TRUNCATE commits;
CALL keep.run_due_compensations('d');
SELECT saga, test.saga('d', saga) FROM d WHERE saga IN ('one', 'two', 'not allowed', 'three') ORDER BY 1;
SELECT string_agg(step, ', ' ORDER BY step) FROM commits;
SELECT test.at(0);
TRUNCATE test.effect;

-- the caller's transaction: what is rolled back was not done, and is done again
BEGIN;
SELECT keep.begin_saga('g', 'tx'), test.local('tx', 'a');
ROLLBACK;
SELECT test.saga('g', 'tx'), test.effects();
SELECT keep.begin_saga('g', 'tx'), test.local('tx', 'a'), test.local('tx', 'b');
BEGIN;
SAVEPOINT s;
SELECT test.p(keep.compensate_saga('g', 'tx')), test.effects();
ROLLBACK TO s;
SELECT test.saga('g', 'tx'), test.effects(), test.local('tx', 'c');
COMMIT;
SELECT test.p(keep.compensate_saga('g', 'tx')), test.effects();
TRUNCATE test.effect;
-- an action's error passes through with all it says, and stores nothing
CREATE FUNCTION test.fail(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.effect (what) VALUES ('half done');
    RAISE EXCEPTION 'out of %', args ->> 'what' USING ERRCODE = args ->> 'code', DETAIL = 'The shelf is empty.', HINT = 'Come back tomorrow.';
END $$;
SELECT keep.allow_saga_function('g', 'test.fail(jsonb)');
SELECT keep.begin_saga('g', 'fail'), test.local('fail', 'a');
SELECT c, test.sqlstate(format($$SELECT keep.run_step('g', 'fail', 'b', 'test.fail(jsonb)', '{"what": "stock", "code": "%s"}', 'test.undo(jsonb)')$$,
    c)) FROM unnest('{P0001,40001,40P01,55P03,KP422,22012}'::text[]) c;
SELECT test.saga('g', 'fail'), test.effects(), test.local('fail', 'b'), test.p(keep.compensate_saga('g', 'fail')), test.effects();
TRUNCATE test.effect;
-- steps inside of steps: of other sagas; what cannot be is refused and never half done
CREATE FUNCTION test.nest(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    INSERT INTO test.effect (what) VALUES ('nest ' || (args ->> 'nr'));
    EXECUTE 'SELECT ' || (args ->> 'do') INTO result;
    RETURN to_jsonb(result);
END $$;
SELECT keep.allow_saga_function('g', 'test.nest(jsonb)');
SELECT keep.begin_saga('g', 'outer'), keep.begin_saga('g', 'inner');
SELECT test.s(keep.run_step('g', 'outer', 'a', 'test.nest(jsonb)', '{"nr": 1, "do": "test.local(''inner'', ''b'')"}')),
    test.s(keep.run_step('g', 'outer', 'c', 'test.nest(jsonb)', '{"nr": 2, "do": "test.local(''outer'', ''within'')"}', 'test.undo(jsonb)'));
SELECT step, place FROM g_steps WHERE saga = 'outer' ORDER BY place;
SELECT c, test.tell(format($$test.s(keep.run_step('g', 'outer', 'x', 'test.nest(jsonb)', %L, 'test.undo(jsonb)'))$$,
    jsonb_build_object('nr', 3, 'do', c))), test.saga('g', 'outer') FROM (VALUES
    ($$test.s(keep.run_step('g', 'outer', 'x', 'test.echo(jsonb)', '1', 'test.undo(jsonb)'))$$), ($$test.p(keep.compensate_saga('g', 'outer'))$$),
    ($$keep.complete_saga('g', 'outer')$$),
    ($$test.en(keep.enter_step('g', 'outer', 'x'))$$)) v(c);
SELECT test.saga('g', 'outer'), test.effects(), test.saga_log_sound('g');
-- a compensation that meddles with its own saga: no effect twice, and nothing half-done
CREATE FUNCTION test.nest_undo(step jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT test.nest(step -> 'args') $$;
SELECT keep.allow_saga_function('g', 'test.nest_undo(jsonb)');
TRUNCATE test.effect;
SELECT s, keep.begin_saga('g', s), test.local(s, 'a of ' || s),
    test.s(keep.run_step('g', s, 'b', 'test.echo(jsonb)', jsonb_build_object('nr', s, 'do', replace(c, 'SAGA', quote_literal(s))), 'test.nest_undo(jsonb)'))
FROM (VALUES ('m1', 'test.local(SAGA, ''late'')'), ('m2', 'keep.complete_saga(''g'', SAGA)'), ('m3', 'keep.begin_saga(''g'', SAGA)'),
    ('m4', 'test.p(keep.compensate_saga(''g'', SAGA))')) v(s, c);
SELECT s, test.p(keep.compensate_saga('g', s)), test.saga('g', s) FROM unnest('{m1,m2,m3}'::text[]) s;
SELECT i, test.at(i), test.p(keep.compensate_saga('g', 'm4')), test.saga('g', 'm4') FROM generate_series(1, 4) i;
SELECT step, last_error FROM g_steps WHERE saga = 'm4' AND last_error IS NOT NULL;
SELECT test.effects(), test.saga_log_sound('g');
SELECT test.at(0);
TRUNCATE test.effect;

-- an order: reserves stock, moves money, calls a carrier; it fails at the carrier, or dies half-way, and nothing stays half-done
SELECT keep.create_ledger('bank');
SELECT keep.create_saga_log('orders');
SELECT count(keep.open_account('bank', a, 'USD', CASE WHEN a = 'world' THEN NULL ELSE 0 END)) FROM unnest('{world,buyer,shop}'::text[]) a;
SELECT (keep.transfer('bank', 'fund', 'world', 'buyer', 100)).status;
CREATE TABLE stock (item text PRIMARY KEY, left_over int NOT NULL CHECK (left_over >= 0));
INSERT INTO stock VALUES ('book', 2);
CREATE FUNCTION test.reserve(args jsonb) RETURNS jsonb LANGUAGE sql AS $$ UPDATE stock SET left_over = left_over - 1 WHERE item = args ->> 'item' RETURNING to_jsonb(left_over) $$;
CREATE FUNCTION test.unreserve(step jsonb) RETURNS jsonb LANGUAGE sql AS $$ UPDATE stock SET left_over = left_over + 1 WHERE item = step #>> '{args,item}' RETURNING to_jsonb(left_over) $$;
CREATE FUNCTION test.pay(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    t keep.transfer_result := keep.transfer('bank', args ->> 'id', 'buyer', 'shop', (args ->> 'amount')::bigint);
BEGIN
    IF t.status <> 'posted' THEN
        RAISE EXCEPTION 'not paid: %', t.reason;
    END IF;
    RETURN jsonb_build_object('transfer', t.id);
END $$;
CREATE FUNCTION test.unpay(step jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb((keep.reverse_transfer('bank', 'back ' || (step #>> '{result,transfer}'), step #>> '{result,transfer}')).status) $$;
SELECT keep.allow_saga_function('orders', f) FROM unnest('{test.reserve(jsonb),test.unreserve(jsonb),test.pay(jsonb),test.unpay(jsonb)}'::regprocedure[]) f;
CREATE FUNCTION test.place_order(o text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', keep.begin_saga('orders', o, '1 hour'),
        test.s(keep.run_step('orders', o, 'stock', 'test.reserve(jsonb)', '{"item": "book"}', 'test.unreserve(jsonb)')),
        test.s(keep.run_step('orders', o, 'pay', 'test.pay(jsonb)', jsonb_build_object('id', o, 'amount', 30), 'test.unpay(jsonb)')),
            test.en(keep.enter_step('orders', o, 'carrier', 'cancel parcel')))
$$;
SELECT test.place_order('o1');
SELECT test.place_order('o1') AS "a lost reply: nothing twice";
SELECT left_over, test.balances('bank') FROM stock;
SELECT test.note('o1', token) FROM orders_steps WHERE saga = 'o1' AND step = 'carrier';
SELECT keep.leave_step('orders', 'o1', 'carrier', test.tok('o1'), false), test.p(keep.compensate_saga('orders', 'o1'));
SELECT left_over, test.balances('bank'), test.saga('orders', 'o1') FROM stock;
SELECT test.place_order('o2');
SELECT test.at(61);
CALL keep.run_due_compensations('orders');
SELECT left_over, test.balances('bank'), test.saga('orders', 'o2') FROM stock;
SELECT test.note('c', c.token), test.claim(c) FROM keep.claim_compensations('orders', 'w') c;
SELECT keep.finish_compensation('orders', 'o2', 'carrier', test.tok('c'), true);
CALL keep.run_due_compensations('orders');
SELECT left_over, test.balances('bank'), test.saga('orders', 'o2') FROM stock;
SELECT test.at(0);
SELECT test.place_order('o3');
SELECT test.note('o3', token) FROM orders_steps WHERE saga = 'o3' AND step = 'carrier';
SELECT keep.leave_step('orders', 'o3', 'carrier', test.tok('o3'), true, '"parcel 1"'), keep.complete_saga('orders', 'o3'),
    test.p(keep.compensate_saga('orders', 'o3'));
SELECT left_over, test.balances('bank'), test.saga('orders', 'o3'), test.ledger_sound('bank'), test.saga_log_sound('orders') FROM stock;

SELECT test.saga_log_sound('h'), test.saga_log_sound('d');
DROP TABLE g, g_steps, h, h_steps, d, d_steps, orders, orders_steps, bank, bank_transfers, stock, commits;
DROP FUNCTION test.local(text, text, boolean), test.remote(text, text, text, boolean), test.show(jsonb), test.null_result(jsonb), test.raise(jsonb),
    test.in_tx(jsonb), test.fail(jsonb), test.nest(jsonb), test.nest_undo(jsonb),
    test.reserve(jsonb), test.unreserve(jsonb), test.pay(jsonb), test.unpay(jsonb), test.place_order(text);
TRUNCATE test.effect;
