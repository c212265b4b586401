-- Sagas and other roles. Three of them: the owner of a log, a writer of its tables, and a more
-- privileged caller who compensates: nothing runs that the owner has not allowed, whatever the writer
-- has written into the tables. Then rights, row-level security, triggers, read-only, the search_path.
\pset null '(null)'
\set VERBOSITY terse
SET statement_timeout = '60s';

TRUNCATE test.effect;
CREATE SCHEMA shop AUTHORIZATION regress_keep_owner;
CREATE SCHEMA lair AUTHORIZATION regress_keep_user;
GRANT USAGE ON SCHEMA shop, lair TO PUBLIC;
SET ROLE regress_keep_owner;
SELECT keep.create_saga_log('shop.g', 2);
CREATE FUNCTION shop.act(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('act by ' || replace(current_user, session_user, 'the superuser')); RETURN '1'; END $$;
CREATE FUNCTION shop.undo(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('undo by ' || replace(current_user, session_user, 'the superuser')); RETURN '2'; END $$;
CREATE FUNCTION shop.private(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('private by ' || replace(current_user, session_user, 'the superuser')); RETURN '2'; END $$;
SELECT keep.allow_saga_function('shop.g', f) FROM unnest('{shop.act(jsonb),shop.undo(jsonb)}'::regprocedure[]) f;
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.g, shop.g_steps TO regress_keep_user;
SET ROLE regress_keep_user;
CREATE FUNCTION lair.evil(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
CREATE FUNCTION lair.undo(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
CREATE FUNCTION lair.undo(step text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
CREATE FUNCTION lair."shop.undo"(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;

-- the writer cannot name another function, nor change the list
SELECT keep.begin_saga('shop.g', 's');
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate('SELECT keep.' || c) FROM (VALUES
    ($$run_step('shop.g', 's', 'a', 'lair.evil(jsonb)')$$), ($$run_step('shop.g', 's', 'a', 'shop.act(jsonb)', '{}', 'lair.evil(jsonb)')$$),
    ($$run_step('shop.g', 's', 'a', 'shop.act(jsonb)', '{}', 'shop.private(jsonb)')$$),
    ($$run_step('shop.g', 's', 'a', 'lair."shop.undo"(jsonb)')$$), ($$allow_saga_function('shop.g', 'lair.evil(jsonb)')$$),
    ($$allow_saga_function('shop.g', 'shop.undo(jsonb)', false)$$),
    ($$register('shop.g', 'saga_log', '{"functions": {"lair.evil": "regress_keep_user"}}')$$)) v(c);
SELECT test.code($$UPDATE keep.relation SET options = '{"functions": {"lair.evil": "regress_keep_user"}}'$$),
    test.code($$DELETE FROM keep.relation WHERE table_name = 'g'$$);
SELECT test.s(keep.run_step('shop.g', 's', 'a', 'shop.act(jsonb)', '{}', 'shop.undo(jsonb)'));
RESET ROLE;
SELECT test.saga('shop.g', 's'), test.effects();
-- rows that he writes himself: whoever compensates, none of it runs, and nothing is counted; what is before it stays as it is
CREATE FUNCTION test.planted(name text, kind text = 'local', status text = 'done') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    by_owner text;
    by_superuser text;
    rows text;
BEGIN
    BEGIN
        SET LOCAL ROLE regress_keep_user;
        INSERT INTO shop.g_steps (saga, step, kind, status, place, action, compensation, args, result, attempts, created_at, updated_at, lease_until)
            VALUES ('s', 'b', kind, status, 2, name, name, '{}', '{}', 0, now(), now(), CASE WHEN status = 'running' THEN now() - interval '1 hour' END);
        UPDATE shop.g SET last_place = 2;
        DELETE FROM test.effect;
        SET LOCAL ROLE regress_keep_owner;
        by_owner := test.tell($q$test.p(keep.compensate_saga('shop.g', 's'))$q$);
        RESET ROLE;
        by_superuser := test.tell($q$test.p(keep.compensate_saga('shop.g', 's'))$q$);
        rows := test.saga('shop.g', 's') || ' | ' || test.effects();
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN
        RETURN concat_ws(' / ', by_owner, by_superuser, rows);
    END;
END $$;
SELECT n, test.planted(n) FROM unnest(ARRAY['lair.evil', 'lair.undo', 'shop.private', 'evil', 'undo', 'lair."shop.undo"', '"shop.undo"',
    'lair.evil(jsonb)', 'shop.undo(jsonb)', 'shop.undo', 'lair.none', 'none.at_all', '', ' ', 'a.b.c', 'pg_catalog.jsonb_pretty',
        'shop.undo; DROP TABLE shop.g',
    'lair.evil''', '"', '(SELECT 1)', 'SHOP.UNDO', '"SHOP".undo', 'shop.g', 'keep.clock']) n;
SET search_path = lair, public;
SELECT n, test.planted(n) FROM unnest(ARRAY['evil', 'undo', '"shop.undo"', 'shop.undo']) n;
RESET search_path;
-- as a remote step it is a label for the worker, and nothing runs
SELECT test.planted('lair.evil', 'remote'), test.planted('lair.evil', 'local', 'running'), test.planted('lair.evil', 'local', 'compensating'),
    test.planted('lair.evil', 'other'), test.planted('lair.evil', 'local', 'odd');
-- the same by the procedures
SET ROLE regress_keep_user;
INSERT INTO shop.g_steps (saga, step, kind, status, place, compensation, args, attempts, created_at, updated_at) VALUES ('s', 'b', 'local', 'done', 2,
    'lair.evil', '{}', 0, now(), now());
SELECT keep.begin_saga('shop.g', 'other', '2 min'), test.s(keep.run_step('shop.g', 'other', 'a', 'shop.act(jsonb)', '{}', 'shop.undo(jsonb)'));
RESET ROLE;
TRUNCATE test.effect;
CALL keep.run_compensations('shop.g', 's');
SELECT test.saga('shop.g', 's'), test.effects();
SET ROLE regress_keep_user;
UPDATE shop.g SET deadline_at = created_at + interval '1 min', waits_for = 'deadline', due_at = created_at + interval '1 min' WHERE saga = 's';
RESET ROLE;
SELECT test.at(3);
CALL keep.run_due_compensations('shop.g');
SELECT test.saga('shop.g', 's'), test.saga('shop.g', 'other'), test.effects();
SELECT last_error FROM shop.g_steps WHERE step = 'b';
SELECT test.at(5);
DELETE FROM shop.g_steps WHERE step = 'b';
-- what runs, runs as who calls, with his rights and no others
TRUNCATE test.effect;
SET ROLE regress_keep_user;
SELECT test.p(keep.compensate_saga('shop.g', 's')), test.effects();
RESET ROLE;
SELECT test.at(0);
-- the name is the owner's word for a function of that role, no longer and for no other
SET ROLE regress_keep_user;
SELECT keep.begin_saga('shop.g', i::text), test.s(keep.run_step('shop.g', i::text, 'a', 'shop.act(jsonb)', '{}', 'shop.undo(jsonb)'))
    FROM generate_series(1, 6) i;
RESET ROLE;
TRUNCATE test.effect;
GRANT CREATE ON SCHEMA shop TO regress_keep_user;
DROP FUNCTION shop.undo(jsonb);
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '1')$$) AS "dropped", test.saga('shop.g', '1');
SET ROLE regress_keep_user;
CREATE FUNCTION shop.undo(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
SELECT test.code($$SELECT keep.run_step('shop.g', '2', 'b', 'shop.undo(jsonb)')$$) AS "made again by another";
RESET ROLE;
SELECT test.sqlstate($$SELECT keep.compensate_saga('shop.g', '1')$$), test.saga('shop.g', '1'), test.effects();
SET ROLE regress_keep_owner;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '1')$$);
RESET ROLE;
-- an overload of another's does not change what is called
CREATE FUNCTION shop.undo2(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('undo2'); RETURN '2'; END $$;
DROP FUNCTION shop.undo(jsonb);
SET ROLE regress_keep_owner;
CREATE FUNCTION shop.undo(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('undo by ' || replace(current_user, session_user, 'the superuser')); RETURN '2'; END $$;
SET ROLE regress_keep_user;
CREATE FUNCTION shop.undo(step json) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
CREATE FUNCTION shop.undo(step jsonb,
    more int = 1) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
CREATE FUNCTION shop.undo(VARIADIC jsonb[]) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('EVIL by ' || replace(current_user, session_user, 'the superuser')); RETURN '3'; END $$;
RESET ROLE;
SELECT test.tell($$test.p(keep.compensate_saga('shop.g', '1'))$$) AS "made again by its owner", test.effects();
DROP FUNCTION shop.undo(json), shop.undo(jsonb, int), shop.undo(jsonb[]);
-- given away, renamed, moved: not allowed any more; another under its old name of the same owner's is
ALTER FUNCTION shop.undo(jsonb) OWNER TO regress_keep_user;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '2')$$) AS "given away";
ALTER FUNCTION shop.undo(jsonb) OWNER TO regress_keep_owner;
ALTER FUNCTION shop.undo(jsonb) RENAME TO undone;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '2')$$) AS renamed, test.code($$SELECT keep.run_step('shop.g', '2', 'b', 'shop.undone(jsonb)')$$);
ALTER FUNCTION shop.undone(jsonb) RENAME TO undo;
ALTER FUNCTION shop.undo(jsonb) SET SCHEMA public;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '2')$$) AS moved;
ALTER FUNCTION public.undo(jsonb) SET SCHEMA shop;
TRUNCATE test.effect;
SELECT test.tell($$test.p(keep.compensate_saga('shop.g', '2'))$$) AS "as it was", test.effects();
-- taken from the list: also for steps that are done already; back on it they can be undone
SET ROLE regress_keep_owner;
SELECT keep.allow_saga_function('shop.g', 'shop.undo(jsonb)', false);
SELECT test.sqlstate($$SELECT keep.compensate_saga('shop.g', '3')$$), test.saga('shop.g', '3');
SELECT keep.allow_saga_function('shop.g', 'shop.undo(jsonb)');
SELECT test.tell($$test.p(keep.compensate_saga('shop.g', '3'))$$);
-- not executable by who calls, or not a plain function any more
REVOKE EXECUTE ON FUNCTION shop.undo(jsonb) FROM PUBLIC;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.compensate_saga('shop.g', '4')$$), test.saga('shop.g', '4'),
    test.sqlstate($$SELECT keep.run_step('shop.g', '4', 'b', 'shop.act(jsonb)', '{}', 'shop.undo(jsonb)')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION shop.undo(jsonb) TO PUBLIC;
REVOKE USAGE ON SCHEMA shop FROM PUBLIC;
GRANT USAGE ON SCHEMA shop TO regress_keep_owner;
SELECT 'shop.g'::regclass::oid AS g \gset
SET ROLE regress_keep_user;
SELECT test.code(format($$SELECT keep.compensate_saga(%s::regclass, '4')$$, :'g')) AS "the schema is not his to use";
RESET ROLE;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
DROP FUNCTION shop.undo(jsonb);
SET ROLE regress_keep_owner;
CREATE FUNCTION shop.undo(step jsonb) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('set'); RETURN NEXT '2'; END $$;
SELECT test.sqlstate($$SELECT keep.compensate_saga('shop.g', '5')$$);
DROP FUNCTION shop.undo(jsonb);
CREATE FUNCTION shop.undo(step jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('text'); RETURN '2'; END $$;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '5')$$);
DROP FUNCTION shop.undo(jsonb);
CREATE PROCEDURE shop.undo(step jsonb) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('procedure'); END $$;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '5')$$), test.saga('shop.g', '5');
DROP PROCEDURE shop.undo(jsonb);
RESET ROLE;
-- in a log whose table of steps another has put in its place
SET ROLE regress_keep_user;
CREATE TABLE lair.g_steps (LIKE shop.g_steps INCLUDING ALL);
INSERT INTO lair.g_steps (saga, step, kind, status, place, compensation, args, attempts, created_at, updated_at) VALUES ('6', 'a', 'local', 'done', 2,
    'lair.evil', '{}', 0, now(), now());
SELECT test.code($$SELECT keep.register('shop.g', 'saga_log', '{"steps": "lair.g_steps"}')$$);
CREATE TABLE lair.g (LIKE shop.g INCLUDING ALL);
INSERT INTO lair.g TABLE shop.g;
SELECT keep.register('lair.g', 'saga_log', '{"functions": {"lair.evil": "regress_keep_user"}}');
SELECT test.code($$SELECT keep.register('lair.g', 'saga_log', '{"steps": "shop.g_steps", "functions": {"lair.evil": "regress_keep_user"}}')$$);
RESET ROLE;
TRUNCATE test.effect;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '6')$$), test.effects();
-- whatever the search_path finds under a name without a schema, it must be allowed
SET ROLE regress_keep_owner;
CREATE FUNCTION shop.undo(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test.effect (what) VALUES ('undo by ' || replace(current_user, session_user, 'the superuser')); RETURN '2'; END $$;
RESET ROLE;
UPDATE shop.g_steps SET compensation = 'undo' WHERE saga = '6' AND step = 'a';
SET search_path = shop, public;
SELECT test.code($$SELECT keep.compensate_saga('shop.g', '6')$$) IN ('ok', '42883', '42501') AS "no crash", test.effects() !~ 'EVIL' AS "no evil";
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA lair CASCADE;
DROP SCHEMA shop CASCADE;
DROP FUNCTION test.planted(text, text, text);
RESET client_min_messages;
TRUNCATE test.effect;
\pset tuples_only off

-- rights: with SELECT, INSERT and UPDATE on both tables, and nothing else, everything works; less is 42501, whatever stands in the tables
SELECT test.saga_log_for_calls('g');
CREATE FUNCTION test.may(sagas text, steps text, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        IF sagas <> '' THEN
            EXECUTE format('GRANT %s ON g TO regress_keep_user', sagas);
        END IF;
        IF steps <> '' THEN
            EXECUTE format('GRANT %s ON g_steps TO regress_keep_user', steps);
        END IF;
        PERFORM set_config('role', 'regress_keep_user', true);
        result := test.code(stmt);
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
    RETURN result;
END $$;
CREATE TABLE fn AS SELECT nr, fn, replace(stmt, '$1', '''g''') AS stmt FROM test.saga_call
    UNION ALL VALUES (100, 'begin_saga, again', $$SELECT keep.begin_saga('g', 'local')$$),
        (101, 'run_step, replayed', $$SELECT keep.run_step('g', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)')$$),
    (102, 'enter_step, busy', $$SELECT keep.enter_step('g', 'entered', 'a', 'undo a')$$),
        (103, 'run_step, refused', $$SELECT keep.run_step('g', 'stuck', 'new', 'test.act(jsonb)')$$),
            (104, 'compensate_saga, stuck', $$SELECT keep.compensate_saga('g', 'stuck')$$),
    (105, 'compensate_saga, none', $$SELECT keep.compensate_saga('g', 'none')$$), (106, 'begin_saga, too late', $$SELECT keep.begin_saga('g', 'too late')$$),
    (107, 'complete_saga, too late', $$SELECT keep.complete_saga('g', 'too late')$$);
SELECT keep.begin_saga('g', 'too late', '1 microsecond');
GRANT SELECT ON fn TO PUBLIC;
SELECT fn, test.may('', '', stmt) AS "none", test.may('SELECT, INSERT, UPDATE', '', stmt) AS "no steps",
    test.may('', 'SELECT, INSERT, UPDATE', stmt) AS "no sagas", test.may('SELECT', 'SELECT', stmt) AS "both sel",
    test.may('SELECT, UPDATE', 'SELECT', stmt) AS "steps: sel", test.may('SELECT, UPDATE', 'SELECT, UPDATE', stmt) AS "both sel, upd",
        test.may('SELECT, UPDATE', 'SELECT, INSERT, UPDATE', stmt) AS "steps: ins too",
            test.may('SELECT, INSERT, UPDATE', 'SELECT, UPDATE', stmt) AS "sagas: ins too",
    test.may('SELECT, INSERT', 'SELECT, INSERT, UPDATE', stmt) AS "sagas: no upd",
        test.may('UPDATE, INSERT', 'SELECT, INSERT, UPDATE', stmt) AS "sagas: no sel",
            test.may('SELECT, INSERT, UPDATE', 'INSERT, UPDATE', stmt) AS "steps: no sel",
    test.may('SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE', stmt) AS "all"
FROM fn ORDER BY nr;
DROP FUNCTION test.may(text, text, text);
DROP TABLE fn;
SET ROLE regress_keep_nobody;
\pset format unaligned
SELECT * FROM test.try_saga_log_grouped('''g''');
CALL keep.run_compensations('g', 'local');
CALL keep.run_due_compensations('g');
\pset format aligned
RESET ROLE;
-- what is prepared for one role does not open the tables to another
GRANT SELECT, INSERT, UPDATE ON g, g_steps TO regress_keep_user;
BEGIN;
SELECT test.en(keep.enter_step('g', 'local', 'p1')), test.s(keep.run_step('g', 'local', 'p2', 'test.act(jsonb)'));
SET LOCAL ROLE regress_keep_nobody;
SELECT test.code($$SELECT keep.enter_step('g', 'local', 'p3')$$), test.code($$SELECT keep.run_step('g', 'local', 'p2', 'test.act(jsonb)')$$);
SET LOCAL ROLE regress_keep_user;
SELECT test.code($$SELECT keep.enter_step('g', 'local', 'p3')$$), test.code($$SELECT keep.run_step('g', 'local', 'p2', 'test.act(jsonb)')$$);
ROLLBACK;
SET ROLE regress_keep_user;
SELECT fn, result FROM test.try_saga_log('''g''') WHERE result <> 'ok';
CALL keep.run_compensations('g', 'local');
SELECT test.saga('g', 'local');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION keep.run_step FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE keep.run_compensations FROM PUBLIC;
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.run_step('g', 'local', 'p4', 'test.act(jsonb)')$$);
CALL keep.run_compensations('g', 'local');
RESET ROLE;
GRANT EXECUTE ON FUNCTION keep.run_step TO PUBLIC;
GRANT EXECUTE ON PROCEDURE keep.run_compensations TO PUBLIC;
DROP TABLE g, g_steps;
TRUNCATE test.effect;

-- row-level security: another tenant's saga is not there to see, to take part in, or to compensate; its name is taken all the same
SELECT keep.create_saga_log('g');
SELECT keep.allow_saga_function('g', f) FROM unnest('{test.act(jsonb),test.undo(jsonb)}'::regprocedure[]) f;
GRANT SELECT, INSERT, UPDATE ON g, g_steps TO regress_keep_a, regress_keep_b;
ALTER TABLE g ENABLE ROW LEVEL SECURITY;
ALTER TABLE g_steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON g USING (saga LIKE current_user || ':%');
CREATE POLICY tenant ON g_steps USING (saga LIKE current_user || ':%');
SET ROLE regress_keep_b;
SELECT keep.begin_saga('g', 'regress_keep_b:1'), test.s(keep.run_step('g', 'regress_keep_b:1', 'a', 'test.act(jsonb)', '{"what": "b''s"}',
    'test.undo(jsonb)')), test.note('b', token) FROM (SELECT keep.begin_saga('g', 'regress_keep_b:2') OFFSET 0) x,
        LATERAL keep.enter_step('g', 'regress_keep_b:2', 'r', 'undo r');
SELECT keep.leave_step('g', 'regress_keep_b:2', 'r', test.tok('b'), true), test.p(keep.compensate_saga('g', 'regress_keep_b:2'));
RESET ROLE;
SELECT md5(string_agg(x::text, ',' ORDER BY saga)) AS b_sagas FROM g x \gset
SELECT md5(string_agg(x::text, ',' ORDER BY saga)) AS b_steps FROM g_steps x \gset
SET ROLE regress_keep_a;
\pset format unaligned
\pset tuples_only on
SELECT c, test.tell(c) FROM (VALUES
    ($$keep.begin_saga('g', 'regress_keep_a:1')$$),
    ($$test.s(keep.run_step('g', 'regress_keep_a:1', 'a', 'test.act(jsonb)', '{"what": "a''s"}', 'test.undo(jsonb)'))$$),
    ($$keep.begin_saga('g', 'regress_keep_b:1')$$), ($$keep.begin_saga('g', 'regress_keep_b:new')$$),
    ($$keep.run_step('g', 'regress_keep_b:1', 'b', 'test.act(jsonb)')$$),
    ($$keep.run_step('g', 'regress_keep_b:1', 'a', 'test.act(jsonb)', '{"what": "b''s"}', 'test.undo(jsonb)')$$),
    ($$keep.enter_step('g', 'regress_keep_b:1', 'c')$$), ($$keep.leave_step('g', 'regress_keep_b:2', 'r', test.tok('b'), false)$$),
    ($$keep.complete_saga('g', 'regress_keep_b:1')$$), ($$keep.compensate_saga('g', 'regress_keep_b:1')$$),
    ($$keep.finish_compensation('g', 'regress_keep_b:2', 'r', test.tok('b'), true)$$), ($$keep.resume_saga('g', 'regress_keep_b:2')$$),
    ($$(SELECT count(*) FROM keep.claim_compensations('g', 'a'))$$), ($$test.p(keep.compensate_saga('g', 'regress_keep_a:1'))$$)) v(c);
CALL keep.run_compensations('g', 'regress_keep_b:1');
SELECT test.at(100);
CALL keep.run_due_compensations('g');
RESET ROLE;
SELECT test.at(0);
SELECT md5(string_agg(x::text, ',' ORDER BY saga)) = :'b_sagas' AS "b's are untouched" FROM g x WHERE saga LIKE 'regress_keep_b%';
SELECT md5(string_agg(x::text, ',' ORDER BY saga)) = :'b_steps' FROM g_steps x WHERE saga LIKE 'regress_keep_b%';
SET ROLE regress_keep_b;
SELECT test.claim(c) FROM keep.claim_compensations('g', 'b') c;
RESET ROLE;
-- a step that is hidden while its saga is not: its name is taken, and nothing is run under it again
DROP POLICY tenant ON g;
DROP POLICY tenant ON g_steps;
CREATE POLICY all_sagas ON g USING (true);
CREATE POLICY own_steps ON g_steps USING (step LIKE current_user || ':%');
TRUNCATE test.effect;
SET ROLE regress_keep_b;
SELECT keep.begin_saga('g', 'both'), test.s(keep.run_step('g', 'both', 'regress_keep_b:1', 'test.act(jsonb)', '{"what": "b''s"}', 'test.undo(jsonb)'));
SET ROLE regress_keep_a;
SELECT test.code($$SELECT keep.run_step('g', 'both', 'regress_keep_b:1', 'test.act(jsonb)', '{"what": "b''s"}', 'test.undo(jsonb)')$$) AS hidden,
    test.code($$SELECT keep.enter_step('g', 'both', 'regress_keep_b:1')$$),
        test.code($$SELECT keep.run_step('g', 'both', 'regress_keep_b:2', 'test.act(jsonb)')$$) AS "not his to add", test.effects();
-- nor is the saga said to be undone, or to be all done, by who does not see all of it; nor is an earlier step undone before a hidden one
SELECT test.s(keep.run_step('g', 'both', 'regress_keep_a:' || i, 'test.act(jsonb)', jsonb_build_object('what', 'a''s ' || i), 'test.undo(jsonb)'))
    FROM generate_series(1, 2) i;
SET ROLE regress_keep_b;
SELECT test.s(keep.run_step('g', 'both', 'regress_keep_b:3', 'test.act(jsonb)', '{"what": "b''s second"}', 'test.undo(jsonb)'));
SET ROLE regress_keep_a;
SELECT test.code($$SELECT keep.compensate_saga('g', 'both')$$) AS compensate_saga, test.code($$SELECT keep.complete_saga('g', 'both')$$) AS complete_saga;
CALL keep.run_compensations('g', 'both');
RESET ROLE;
SELECT test.saga('g', 'both'), test.effects();
DROP POLICY own_steps ON g_steps;
CREATE POLICY all_steps ON g_steps USING (true);
SET ROLE regress_keep_a;
SELECT test.tell($$test.p(keep.compensate_saga('g', 'both'))$$) AS "who sees all of it", test.saga('g', 'both'), test.effects();
RESET ROLE;
DROP TABLE g, g_steps;
TRUNCATE test.effect;
\pset tuples_only off
\pset format aligned

-- triggers of the owner's that leave a write out: an error, never an answer without a record, and no effect
SELECT keep.create_saga_log('g', 3);
SELECT keep.allow_saga_function('g', f) FROM unnest('{test.act(jsonb),test.undo(jsonb)}'::regprocedure[]) f;
CREATE FUNCTION test.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_ARGV[0] = 'key' THEN
        NEW.saga := NEW.saga || '!';
        RETURN NEW;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION test.meddled(tab text, op text, how text) RETURNS TABLE (call text, answer text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        DELETE FROM g;
        DELETE FROM g_steps;
        DELETE FROM test.effect;
        PERFORM keep.begin_saga('g', s) FROM unnest('{s,e,c,k}'::text[]) s;
        PERFORM keep.run_step('g', s, 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)') FROM unnest('{s}'::text[]) s;
        PERFORM test.note(s, (keep.enter_step('g', s, 'a', 'undo a')).token) FROM unnest('{e,c,k}'::text[]) s;
        PERFORM keep.leave_step('g', s, 'a', test.tok(s), true), keep.compensate_saga('g', s) FROM unnest('{c}'::text[]) s;
        PERFORM test.note(c.saga, c.token) FROM keep.claim_compensations('g', 'w') c;
        PERFORM keep.leave_step('g', 'k', 'a', test.tok('k'), true), keep.compensate_saga('g', 'k');
        DELETE FROM test.effect;
        EXECUTE format('CREATE TRIGGER meddle BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION test.meddle(%L)', op, tab, how);
        RETURN QUERY SELECT c, test.tell(c) FROM (VALUES
            ($q$keep.begin_saga('g', 'new')$q$), ($q$test.s(keep.run_step('g', 's', 'new', 'test.act(jsonb)', '{"what": "new"}'))$q$),
                ($q$test.en(keep.enter_step('g', 'e', 'new too'))$q$), ($q$keep.leave_step('g', 'e', 'a', test.tok('e'), true)$q$),
            ($q$test.p(keep.compensate_saga('g', 's'))$q$), ($q$(SELECT string_agg(test.claim(c), ' ') FROM keep.claim_compensations('g', 'w') c)$q$),
                ($q$keep.finish_compensation('g', 'c', 'a', test.tok('c'), true)$q$)) v(c);
        RETURN QUERY SELECT 'effects', test.effects();
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
END $$;
\pset format unaligned
SELECT tab, op, how, m.* FROM (VALUES ('g', 'INSERT', 'skip'), ('g', 'UPDATE', 'skip'), ('g_steps', 'INSERT', 'skip'), ('g_steps', 'UPDATE', 'skip'),
    ('g', 'INSERT', 'key'), ('g_steps', 'INSERT', 'key')) v(tab, op, how), LATERAL test.meddled(tab, op, how) m;
\pset format aligned
DROP FUNCTION test.meddled(text, text, text);
DROP FUNCTION test.meddle();
-- columns and checks of the owner's
ALTER TABLE g ADD COLUMN note text DEFAULT 'none', ADD COLUMN by_role name DEFAULT current_user;
ALTER TABLE g_steps ADD COLUMN nr int GENERATED ALWAYS AS IDENTITY, ADD CONSTRAINT small CHECK (result <> '13');
ALTER TABLE g_steps ADD FOREIGN KEY (saga) REFERENCES g;
SELECT keep.begin_saga('g', 'extra');
SELECT test.s(keep.run_step('g', 'extra', 'a', 'test.act(jsonb)', '{"what": 1}', 'test.undo(jsonb)')), test.note('t', token)
    FROM keep.enter_step('g', 'extra', 'b');
SELECT test.code($$SELECT keep.leave_step('g', 'extra', 'b', test.tok('t'), true, '13')$$),
    keep.leave_step('g', 'extra', 'b', test.tok('t'), true, '12'), test.p(keep.compensate_saga('g', 'extra')), test.saga('g', 'extra');
SELECT note, by_role = current_user AS mine FROM g WHERE saga = 'extra';
DROP TABLE g, g_steps;
TRUNCATE test.effect;

-- read-only: refused, also where there is nothing to write
SELECT test.saga_log_for_calls('g');
BEGIN READ ONLY;
\pset format unaligned
SELECT * FROM test.try_saga_log_grouped('''g''');
\pset format aligned
SELECT test.code($$SELECT keep.begin_saga('g', 'local')$$) AS "nothing to do",
    test.code($$SELECT keep.run_step('g', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)')$$) AS replay,
        test.code($$SELECT keep.compensate_saga('g', 'none')$$) AS "KP404";
COMMIT;
SET default_transaction_read_only = on;
CALL keep.run_compensations('g', 'local');
CALL keep.run_due_compensations('g');
RESET default_transaction_read_only;
SELECT test.saga('g', 'local'), test.effects();
TRUNCATE test.effect;

-- the search_path
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
DO $$
DECLARE
    t text;
    op text;
BEGIN
    FOREACH t IN ARRAY '{text,jsonb,bigint,timestamptz,interval,int,boolean}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.cmp(%s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT evil.trap()''', t);
        FOREACH op IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.cmp, LEFTARG = %s, RIGHTARG = %2$s)', op, t);
        END LOOP;
    END LOOP;
    FOREACH t IN ARRAY '{timestamptz + interval,jsonb || jsonb,text || text,int + int,bigint + int,bigint + bigint,interval * int,jsonb -> text}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.op%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''trapped''''; END''',
            abs(hashtext(t)), split_part(t, ' ', 1), split_part(t, ' ', 3), split_part(t, ' ', 1));
        EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op%s, LEFTARG = %s, RIGHTARG = %s)',
            split_part(t, ' ', 2), abs(hashtext(t)), split_part(t, ' ', 1), split_part(t, ' ', 3));
    END LOOP;
    FOREACH t IN ARRAY string_to_array('clock_timestamp();now();coalesce(jsonb,jsonb);least(timestamptz,timestamptz);jsonb_build_object(text,jsonb);nextval(regclass);count(anyelement);act(jsonb);undo(jsonb)', ';') LOOP
        EXECUTE format('CREATE FUNCTION evil.%s RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''trapped''''; END''',
            regexp_replace(t, '^(least|greatest|coalesce)', '"\1"'), CASE WHEN t ~ 'any' THEN 'text' WHEN t ~ 'jsonb' THEN 'jsonb' ELSE 'timestamptz' END);
    END LOOP;
END $$;
-- an action and a compensation that do no more than answer, whatever stands in the path
CREATE FUNCTION test.still(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
SELECT keep.allow_saga_function('g', 'test.still(jsonb)');
SELECT keep.begin_saga('g', 'path');
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.trap());
CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (evil.trap());
CREATE DOMAIN evil."interval" AS pg_catalog."interval" CHECK (evil.trap());
CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (evil.trap());
CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamptz CHECK (evil.trap());
CREATE TABLE evil.g (LIKE g INCLUDING ALL);
CREATE TABLE evil.g_steps (LIKE g_steps INCLUDING ALL);
CREATE FUNCTION test.under(path pg_catalog.text, stmt pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    result pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', path, true);
    EXECUTE stmt INTO result;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    RETURN result;
EXCEPTION WHEN others THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
\c -
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
SELECT test.under('evil, pg_catalog, public', 'SELECT 1 = 1') AS "the trap works";
SELECT c, test.under('evil, pg_catalog, public', replace(replace(c, '$1', test.tok('entered')::text), '$2', test.tok('claimed')::text)) FROM (VALUES
    ($$SELECT keep.begin_saga('public.g', 'path too', '1 hour')$$),
    ($$SELECT (keep.run_step('public.g', 'path', 'a', 'test.still(pg_catalog.jsonb)', '{"n": 1}', 'test.still(pg_catalog.jsonb)')).status$$),
    ($$SELECT (keep.run_step('public.g', 'path', 'a', 'test.still(pg_catalog.jsonb)', '{"n": 1.0}', 'test.still(pg_catalog.jsonb)')).replayed$$),
    ($$SELECT (keep.enter_step('public.g', 'path', 'r', 'undo r')).status$$), ($$SELECT (keep.enter_step('public.g', 'path', 'r', 'undo r')).status$$),
    ($$SELECT keep.leave_step('public.g', 'entered', 'a', $1, true, '1')$$),
    ($$SELECT keep.leave_step('public.g', 'entered', 'a', $1, true, '1.0')$$), ($$SELECT keep.complete_saga('public.g', 'entered')$$),
    ($$SELECT keep.complete_saga('public.g', 'path')$$),
    ($$SELECT (keep.compensate_saga('public.g', 'path')).state$$), ($$SELECT keep.finish_compensation('public.g', 'claimed', 'a', $2, true)$$),
    ($$SELECT keep.resume_saga('public.g', 'stuck')$$), ($$SELECT c.step FROM keep.claim_compensations('public.g', 'w') c$$),
    ($$SELECT keep.allow_saga_function('public.g', 'test.echo(pg_catalog.jsonb)')$$), ($$SELECT keep.create_saga_log('public.made', 3)$$),
    ($$SELECT keep.begin_saga('public.made', 'm')$$), ($$SELECT keep.register('public.made', 'saga_log', '{"max_attempts": 2}')$$)) v(c);
SET search_path = evil, pg_catalog, public;
CALL keep.run_compensations('public.made', 'm');
CALL keep.run_due_compensations('public.g');
SET search_path = evil, public;
SELECT test.code($$SELECT keep.begin_saga('g', 'x')$$) AS "evil.g is no log";
RESET search_path;
SELECT test.saga('g', 'path'), test.saga('g', 'claimed'), test.saga('g', 'stuck'), test.saga_log_sound('g'),
    (SELECT count(*) FROM evil.g_steps) AS "of the look-alike";
\pset tuples_only off
\pset format aligned
DROP FUNCTION test.under(pg_catalog.text, pg_catalog.text);
DROP FUNCTION test.still(jsonb);
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
DROP TABLE g, g_steps, made, made_steps;
SELECT count(*) AS registered FROM keep.relation;
TRUNCATE test.effect;
