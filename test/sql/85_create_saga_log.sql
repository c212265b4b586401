-- create_saga_log: its two tables, options, names, what it refuses; register ties two tables together
-- again; the list of functions that may run; a log that is renamed, moved, altered, dropped; tables of
-- the wrong kind.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_saga_log('plain') AS made, pg_typeof(keep.create_saga_log('few', max_attempts => 3)) AS type;
CREATE TEMP VIEW catalog AS
SELECT r.schema_name, r.table_name, r.kind, r.options - 'token' - 'functions' AS options,
    (SELECT string_agg(f, ', ' ORDER BY f) FROM jsonb_object_keys(r.options -> 'functions') f) AS functions,
    (SELECT string_agg(o.table_name, ' ' ORDER BY o.table_name) FROM keep.relation o
        WHERE o.options -> 'token' = r.options -> 'token' AND o.relid <> r.relid) AS tied_to,
    r.relid = to_regclass(quote_ident(r.schema_name) || '.' || quote_ident(r.table_name)) AS relid_is_right
FROM keep.relation r ORDER BY r.schema_name, r.table_name;
SELECT * FROM catalog;

-- the tables
SELECT a.attrelid::regclass AS table, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS "not null", a.attidentity AS identity,
    a.atthasdef AS "default", co.collname
FROM pg_attribute a LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid IN ('plain'::regclass, 'plain_steps'::regclass) AND a.attnum > 0 ORDER BY a.attrelid::regclass::text COLLATE "C", a.attnum;
SELECT conrelid::regclass AS table, conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid IN ('plain'::regclass, 'plain_steps'::regclass) AND contype <> 'n' ORDER BY conname COLLATE "C";
\pset format unaligned
SELECT pg_get_indexdef(indexrelid) AS index FROM pg_index
WHERE indrelid IN ('plain'::regclass, 'plain_steps'::regclass) ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";
\pset format aligned
SELECT relname, relkind, relpersistence, relacl IS NULL AS "no grants" FROM pg_class WHERE oid IN ('plain'::regclass, 'plain_steps'::regclass) ORDER BY relname;
SELECT s.relpersistence, q.seqcache, q.seqincrement, q.seqstart, q.seqcycle, format_type(q.seqtypid, NULL) AS type
FROM pg_sequence q JOIN pg_class s ON s.oid = q.seqrelid WHERE q.seqrelid = pg_get_serial_sequence('plain_steps', 'token')::regclass;

-- a new log works in the very statement that makes it
SELECT keep.begin_saga(keep.create_saga_log('at_once'), 's');
SELECT test.saga('at_once', 's'), test.saga_log_sound('at_once');
DROP TABLE at_once, at_once_steps;

-- refused: with each its reason; nothing is left behind
\pset format unaligned
\pset tuples_only on
CREATE TABLE taken (x int);
CREATE TABLE half_steps (x int);
SELECT c, test.sqlstate(format('SELECT keep.create_saga_log(%s)', c)) FROM (VALUES
    ($$NULL$$), ($$'x', NULL$$), ($$'x', 0$$), ($$'x', -1$$), ($$'x', 1001$$), ($$''$$), ($$'a.b.c.d'$$), ($$'"x'$$), ($$'x y'$$), ($$'nowhere.x'$$),
    ($$'taken'$$), ($$'half'$$), ($$'plain'$$), ($$'plain_pkey'$$), ($$'pg_temp.x'$$), ($$'pg_catalog.x'$$)) v(c);
SELECT test.code(format('SELECT keep.create_saga_log(%L)', repeat('x', 57))),
    test.sqlstate(format('SELECT keep.create_saga_log(%L)', repeat('x', 58))), test.code(format('SELECT keep.create_saga_log(%L)', repeat('ü', 29)));
SELECT test.code($$SELECT keep.create_saga_log('most', 1000)$$), test.code($$SELECT keep.create_saga_log('least', 1)$$);
SELECT to_regclass('half'), to_regclass('x'), to_regclass('x_steps');
BEGIN READ ONLY;
SELECT test.code($$SELECT keep.create_saga_log('x')$$) AS "in a read-only transaction";
COMMIT;
\pset tuples_only off
\pset format aligned
DROP TABLE taken, half_steps, most, most_steps, least, least_steps;
DO $$ BEGIN EXECUTE format('DROP TABLE %s, %1$s_steps', repeat('x', 57)); END $$;

-- names; the owner is who makes it; a rollback takes it back
CREATE SCHEMA "Second schema";
SELECT keep.create_saga_log('"Second schema"."g.1"'), keep.create_saga_log('MixedCase'), keep.create_saga_log('"Mixed ""Case"');
SELECT to_regclass('"Second schema"."g.1_steps"'), to_regclass('mixedcase_steps'), to_regclass('"Mixed ""Case_steps"');
SELECT l, keep.begin_saga(l, 's'), test.en(keep.enter_step(l, 's', 'a')), test.p(keep.compensate_saga(l, 's'))
    FROM unnest(ARRAY['"Second schema"."g.1"', 'mixedcase', '"Mixed ""Case"']::regclass[]) l;
SET client_min_messages = warning;
DROP SCHEMA "Second schema" CASCADE;
RESET client_min_messages;
DROP TABLE mixedcase, mixedcase_steps, "Mixed ""Case", "Mixed ""Case_steps";
CREATE SCHEMA shop;
GRANT USAGE ON SCHEMA shop TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.code($$SELECT keep.create_saga_log('shop.g')$$), test.code($$SELECT keep.create_saga_log('keep.g')$$);
RESET ROLE;
GRANT CREATE ON SCHEMA shop TO regress_keep_owner;
SET ROLE regress_keep_owner;
BEGIN;
SELECT keep.create_saga_log('shop.g');
ROLLBACK;
SELECT to_regclass('shop.g'), to_regclass('shop.g_steps');
SELECT keep.create_saga_log('shop.g');
SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'shop' ORDER BY 1;
DROP TABLE shop.g, shop.g_steps;
RESET ROLE;
SELECT * FROM catalog;
DROP TABLE few, few_steps;

-- the functions that may run: by name, with their owner; only the log's owner says which
SELECT test.saga_log_for_calls('g');
CREATE SCHEMA "App";
CREATE FUNCTION "App"."Undo it"(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION shop.f(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
ALTER FUNCTION shop.f(jsonb) OWNER TO regress_keep_owner;
SELECT keep.allow_saga_function('g', '"App"."Undo it"(jsonb)'), keep.allow_saga_function(log => 'g', fn => 'shop.f(jsonb)', allowed => true);
SELECT keep.allow_saga_function('g', 'shop.f(jsonb)') AS again;
SELECT key AS function, CASE value WHEN current_user THEN 'me' ELSE value END AS owner FROM keep.relation, jsonb_each_text(options -> 'functions')
    WHERE table_name = 'g' ORDER BY 1;
SELECT options ? 'functions' AS "the steps have no list" FROM keep.relation WHERE table_name = 'g_steps';
SELECT keep.begin_saga('g', 'f');
SELECT test.s(keep.run_step('g', 'f', 'a', 'shop.f(jsonb)', '1', '"App"."Undo it"(jsonb)')),
    test.sqlstate($$SELECT keep.run_step('g', 'f', 'b', 'test.echo(jsonb)')$$),
        test.sqlstate($$SELECT keep.run_step('g', 'f', 'b', 'shop.f(jsonb)', '1', 'test.echo(jsonb)')$$);
SELECT keep.allow_saga_function('g', 'shop.f(jsonb)', false), keep.allow_saga_function('g', 'test.echo(jsonb)', false) AS "never was";
SELECT options -> 'functions' ? 'shop.f' AS "still there" FROM keep.relation WHERE table_name = 'g';
SELECT test.code($$SELECT keep.run_step('g', 'f', 'b', 'shop.f(jsonb)')$$), test.saga('g', 'f');
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION shop.two(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION shop.set_of(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION shop.gives_text(jsonb) RETURNS text LANGUAGE sql AS 'SELECT ''x''';
CREATE PROCEDURE shop.proc(jsonb) LANGUAGE sql AS '';
CREATE AGGREGATE shop.agg(jsonb) (SFUNC = shop.two, STYPE = jsonb);
SELECT c, test.sqlstate(format('SELECT keep.allow_saga_function(%s)', c)) FROM (VALUES
    ($$NULL, 'shop.f(jsonb)'$$), ($$'g', NULL$$), ($$'g', 'shop.f(jsonb)', NULL$$), ($$'g', 'shop.two(jsonb,jsonb)'$$),
    ($$'g', 'shop.set_of(jsonb)'$$), ($$'g', 'shop.gives_text(jsonb)'$$),
    ($$'g', 'shop.proc(jsonb)'$$), ($$'g', 'shop.agg(jsonb)'$$), ($$'g', 'none(jsonb)'$$), ($$'g', 1::regprocedure$$), ($$'g', 0::regprocedure$$),
    ($$'g_steps', 'shop.f(jsonb)'$$)) v(c);
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.allow_saga_function('g', 'test.echo(jsonb)')$$),
    test.sqlstate($$SELECT keep.allow_saga_function('g', 'test.act(jsonb)', false)$$);
RESET ROLE;
BEGIN;
SELECT keep.allow_saga_function('g', 'test.echo(jsonb)');
SELECT test.code($$SELECT keep.run_step('g', 'f', 'echo', 'test.echo(jsonb)')$$) AS "at once";
ROLLBACK;
SELECT test.code($$SELECT keep.run_step('g', 'f', 'echo', 'test.echo(jsonb)')$$) AS "taken back";
\pset tuples_only off
\pset format aligned

-- register: copies of the tables, with data, as a dump restores them; the list of functions is an option like others
CREATE TABLE c (LIKE g INCLUDING ALL);
CREATE TABLE c_steps (LIKE g_steps INCLUDING ALL);
INSERT INTO c TABLE g;
INSERT INTO c_steps OVERRIDING SYSTEM VALUE TABLE g_steps;
SELECT setval(pg_get_serial_sequence('c_steps', 'token'), (SELECT max(token) FROM c_steps)) > 0 AS "the sequence as the dump has it";
SELECT test.code($$SELECT keep.begin_saga('c', 's')$$) AS "not registered";
SELECT keep.register('c', 'saga_log');
SELECT keep.begin_saga('c', 'local'), test.code($$SELECT keep.run_step('c', 'local', 'new', 'test.act(jsonb)')$$) AS "nothing is allowed",
    test.tell($$keep.leave_step('c', 'entered', 'a', test.tok('entered'), true)$$) AS "a token goes on";
SELECT * FROM catalog WHERE table_name LIKE 'c%';
SELECT keep.register('c', 'saga_log', (SELECT options - 'token' FROM keep.relation WHERE table_name = 'g'));
SELECT test.s(keep.run_step('c', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)')),
    (SELECT c.options - 'token' = g.options - 'token' FROM keep.relation c, keep.relation g WHERE c.table_name = 'c'
        AND g.table_name = 'g') AS "the same options";
SELECT keep.register('c', 'saga_log', (SELECT options FROM keep.relation WHERE table_name = 'g')) AS "options of another: not its token";
SELECT (SELECT count(DISTINCT options ->> 'token') FROM keep.relation WHERE table_name IN ('g', 'g_steps', 'c', 'c_steps')) AS ties,
    test.saga_log_sound('c'), test.saga_log_sound('g');
SELECT keep.register('c', 'saga_log', '{"max_attempts": 2, "steps": "public.c_steps"}');
SELECT options, functions AS "as before, where they are not given" FROM catalog WHERE table_name = 'c';
SELECT keep.register('c', 'saga_log', '{"max_attempts": null, "steps": null, "functions": null}');
SELECT options, functions FROM catalog WHERE table_name = 'c';
-- one table of steps serves one table of sagas
CREATE TABLE d (LIKE g INCLUDING ALL);
SELECT keep.register('d', 'saga_log', '{"steps": "c_steps"}');
SELECT test.code($$SELECT keep.begin_saga('d', 's')$$), test.code($$SELECT keep.complete_saga('d', 's')$$),
    test.code($$SELECT keep.complete_saga('c', 'local')$$);
SELECT keep.register('c', 'saga_log');
SELECT test.code($$SELECT keep.complete_saga('d', 's')$$), test.code($$SELECT keep.complete_saga('c', 'local')$$);
DROP TABLE d;
-- mistakes
\pset format unaligned
\pset tuples_only on
CREATE TABLE other (x int);
CREATE VIEW v AS TABLE g;
CREATE VIEW v_steps AS TABLE g_steps;
CREATE TABLE lonely (LIKE g INCLUDING ALL);
SELECT c, test.sqlstate(format('SELECT keep.register(%s)', c)) FROM (VALUES
    ($$'g', 'Saga_Log'$$), ($$'g', 'saga log'$$), ($$'g', 'saga'$$), ($$'g', 'saga_log', NULL$$), ($$'g', 'saga_log', '[]'$$),
    ($$'g', 'saga_log', '{"colour": "red"}'$$), ($$'g', 'saga_log', '{"max_attempts": 0}'$$), ($$'g', 'saga_log', '{"max_attempts": 1001}'$$),
    ($$'g', 'saga_log', '{"max_attempts": "many"}'$$), ($$'g', 'saga_log', '{"max_attempts": 2.5}'$$), ($$'g', 'saga_log', '{"functions": []}'$$),
    ($$'g', 'saga_log', '{"functions": "test.act"}'$$), ($$'g', 'saga_log', '{"functions": {"test.act": 1}}'$$),
    ($$'g', 'saga_log', '{"functions": {"test.act": null}}'$$), ($$'g', 'saga_log', '{"steps": "none"}'$$), ($$'g', 'saga_log', '{"steps": ""}'$$),
    ($$'g', 'saga_log', '{"steps": "other"}'$$), ($$'g', 'saga_log', '{"steps": "g"}'$$), ($$'g', 'saga_log', '{"steps": "v_steps"}'$$),
    ($$'g', 'saga_log', '{"steps": ["g_steps"]}'$$), ($$'g', 'saga_log', '{"steps": true}'$$), ($$'lonely', 'saga_log'$$), ($$'v', 'saga_log'$$),
    ($$'other', 'saga_log'$$), ($$'g_steps', 'saga_log'$$), ($$'g_steps', 'saga_steps'$$), ($$'g', 'saga_steps'$$),
    ($$'g', 'store'$$), ($$'g', 'ledger'$$), ($$'g_steps', 'request_log'$$), ($$'g_pkey', 'saga_log'$$), ($$'pg_class', 'saga_log'$$)) v(c);
SELECT keep.begin_saga('g', 'as it was'), test.code($$SELECT keep.run_step('g', 'as it was', 'a', 'test.act(jsonb)')$$);
DROP VIEW v, v_steps;
DROP TABLE lonely;
-- wrong shapes, each with the reason
CREATE FUNCTION test.shape(tab text, change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    CREATE TABLE shape (LIKE g INCLUDING ALL);
    CREATE TABLE shape_steps (LIKE g_steps INCLUDING ALL);
    EXECUTE format('ALTER TABLE %s %s', tab, change);
    result := test.sqlstate($q$SELECT keep.register('shape', 'saga_log')$q$);
    DROP TABLE shape, shape_steps;
    RETURN result;
END $$;
SELECT a.attname, test.shape('shape', format('DROP COLUMN %I CASCADE', a.attname)) FROM pg_attribute a WHERE a.attrelid = 'g'::regclass
    AND a.attnum > 0 ORDER BY a.attnum;
SELECT a.attname, test.shape('shape_steps', format('DROP COLUMN %I CASCADE', a.attname)) FROM pg_attribute a WHERE a.attrelid = 'g_steps'::regclass
    AND a.attnum > 0 ORDER BY a.attnum;
SELECT t, c, test.shape(t, c) FROM (VALUES
    ('shape', 'ADD COLUMN note text'), ('shape_steps', 'ADD COLUMN note text'), ('shape', 'DROP CONSTRAINT shape_pkey'),
    ('shape', 'DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (saga, state)'), ('shape', 'DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (saga) DEFERRABLE'),
    ('shape', 'ALTER saga TYPE text COLLATE "POSIX"'), ('shape', 'ALTER state TYPE varchar'), ('shape', 'ALTER state DROP NOT NULL'),
    ('shape', 'ALTER last_place TYPE int'), ('shape', 'ALTER steps TYPE bigint'), ('shape', 'ALTER steps DROP NOT NULL'),
    ('shape', 'ALTER deadline_at TYPE timestamp'), ('shape', 'ALTER deadline_at SET NOT NULL'),
    ('shape', 'ALTER updated_at DROP NOT NULL'), ('shape', 'RENAME state TO status'),
    ('shape_steps', 'DROP CONSTRAINT shape_steps_pkey'), ('shape_steps', 'DROP CONSTRAINT shape_steps_pkey, ADD PRIMARY KEY (step, saga)'),
    ('shape_steps', 'DROP CONSTRAINT shape_steps_pkey, ADD PRIMARY KEY (saga)'), ('shape_steps', 'ALTER step TYPE varchar(9)'),
    ('shape_steps', 'ALTER args TYPE json'), ('shape_steps', 'ALTER result SET NOT NULL'), ('shape_steps', 'ALTER token DROP IDENTITY'),
    ('shape_steps', 'ALTER token SET CACHE 9'), ('shape_steps', 'ALTER attempts TYPE bigint'), ('shape_steps', 'ALTER status DROP NOT NULL'),
    ('shape_steps', 'RENAME compensation TO undo')) v(t, c);
DROP FUNCTION test.shape(text, text);
-- the owner alone may, of both tables
ALTER TABLE c OWNER TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.sqlstate($$SELECT keep.register('c', 'saga_log')$$), test.sqlstate($$SELECT keep.register('c', 'saga_log', '{"steps": "g_steps"}')$$),
    test.sqlstate($$SELECT keep.complete_saga('c', 'local')$$), test.sqlstate($$SELECT keep.allow_saga_function('c', 'test.act(jsonb)')$$);
RESET ROLE;
SELECT test.sqlstate($$SELECT keep.register('c', 'saga_log')$$) AS "nor a superuser, where the owners differ",
    test.code($$SELECT keep.complete_saga('c', 'local')$$);
ALTER TABLE c_steps OWNER TO regress_keep_owner;
SELECT test.code($$SELECT keep.complete_saga('c', 'local')$$) AS "together again";
DROP TABLE c, c_steps;

-- tables of the wrong kind
SELECT keep.create_store('s');
SELECT test.request_log_for_calls('r');
SELECT * FROM test.try_saga_log_grouped('''other''');
SELECT * FROM test.try_saga_log_grouped('''s''');
SELECT * FROM test.try_saga_log_grouped('''r''');
SELECT * FROM test.try_saga_log_grouped('''g_steps''');
SELECT * FROM test.try_saga_log_grouped('''g_pkey''');
SELECT * FROM test.try_saga_log_grouped('''none''');
SELECT * FROM test.try_saga_log_grouped('0::regclass');
SELECT * FROM test.try_saga_log_grouped('NULL');
SELECT DISTINCT result FROM test.try_all_grouped('''g''') UNION SELECT DISTINCT result
    FROM test.try_request_log_grouped('''g''') UNION SELECT DISTINCT result FROM test.try_ledger_grouped('''g_steps''') ORDER BY 1;
CALL keep.run_compensations('other', 's');
CALL keep.run_compensations('g_steps', 's');
CALL keep.run_compensations(NULL, 's');
CALL keep.run_due_compensations('s');
CALL keep.run_due_compensations(NULL);
\pset tuples_only off
\pset format aligned
DROP TABLE other, s, r;

-- either table renamed, moved, the schema renamed, with plans cached; and taken back
ALTER TABLE g RENAME TO sagas;
ALTER TABLE g_steps RENAME TO "Steps";
SELECT test.s(keep.run_step('sagas', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)')),
    test.s(keep.run_step('sagas', 'local', 'more', 'test.act(jsonb)')), test.code($$SELECT keep.begin_saga('g', 's')$$);
ALTER TABLE "Steps" SET SCHEMA shop;
SELECT test.s(keep.run_step('sagas', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)'));
ALTER TABLE sagas SET SCHEMA shop;
ALTER SCHEMA shop RENAME TO "Depot 2";
SELECT test.s(keep.run_step('"Depot 2".sagas', 'local', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.undo(jsonb)'));
SELECT schema_name, table_name, kind, functions, tied_to, relid_is_right FROM catalog WHERE schema_name = 'Depot 2';
ALTER SCHEMA "Depot 2" RENAME TO shop;
ALTER TABLE shop.sagas SET SCHEMA public;
ALTER TABLE sagas RENAME TO g;
-- another table under the name the steps had is not taken for them
ALTER TABLE shop."Steps" SET SCHEMA public;
CREATE TABLE g_steps (LIKE "Steps" INCLUDING ALL);
SELECT test.s(keep.run_step('g', 'local', 'yet more', 'test.act(jsonb)')), (SELECT count(*) FROM g_steps) AS "of the look-alike";
DROP TABLE g_steps;
ALTER TABLE "Steps" RENAME TO g_steps;
BEGIN;
ALTER TABLE g_steps RENAME TO x;
SELECT test.s(keep.run_step('g', 'local', 'and more', 'test.act(jsonb)'));
ROLLBACK;
SELECT test.saga('g', 'local'), test.saga_log_sound('g');
-- altered: what it needs is looked at again
CREATE FUNCTION test.altered(change text) RETURNS TABLE (result text, fns text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE change;
        RETURN QUERY SELECT * FROM test.try_saga_log_grouped('''g''');
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
END $$;
\pset format unaligned
SELECT c, a.* FROM (VALUES ('SELECT 1'), ('ALTER TABLE g RENAME state TO status'), ('ALTER TABLE g DROP CONSTRAINT g_pkey'),
    ('ALTER TABLE g_steps RENAME place TO nr'), ('ALTER TABLE g_steps ALTER result TYPE text'),
    ('ALTER TABLE g_steps DROP CONSTRAINT g_steps_pkey'), ('DROP TABLE g_steps'), ('ALTER TABLE g_steps OWNER TO regress_keep_owner'),
    ('ALTER TABLE g ADD COLUMN note text DEFAULT ''x'''), ('ALTER TABLE g_steps ADD COLUMN note text DEFAULT ''x'''),
    ('DELETE FROM keep.relation WHERE table_name = ''g_steps''')) v(c), LATERAL test.altered(c) a;
\pset format aligned
SELECT fn, result FROM test.try_saga_log('''g''') WHERE result <> 'ok';
DROP FUNCTION test.altered(text);
-- dropped, each on its own; and with their schema
DROP TABLE g_steps;
SELECT test.sqlstate($$SELECT keep.complete_saga('g', 'local')$$);
SELECT table_name FROM catalog;
DROP TABLE g;
SELECT test.saga_log_for_calls('g');
DROP TABLE g;
SELECT table_name FROM catalog;
SET client_min_messages = warning;
DROP TABLE g_steps, plain, plain_steps;
SELECT keep.create_saga_log('shop.g');
DROP SCHEMA shop CASCADE;
DROP SCHEMA "App" CASCADE;
SELECT count(*) AS registered FROM keep.relation;
TRUNCATE test.effect;
