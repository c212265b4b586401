-- create_request_log: the table it makes, its options, names that need quoting, what it refuses;
-- register brings a table of the shape back; a log follows its table, renamed, moved, altered,
-- dropped; a table of the wrong kind is 42809 with a hint in every function.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_request_log('plain') AS made, pg_typeof(keep.create_request_log('second', keep_request => true)) AS type;
CREATE TEMP VIEW catalog AS
SELECT r.schema_name, r.table_name, r.kind, r.options,
    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = r.relid AND c.relname = r.table_name AND n.nspname = r.schema_name) AS relid_is_right
FROM keep.relation r ORDER BY r.schema_name, r.table_name;
SELECT * FROM catalog;

-- the table
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS "not null",
    a.attidentity AS identity, a.atthasdef AS "default", co.collname
FROM pg_attribute a LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid = 'plain'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid = 'plain'::regclass AND contype <> 'n' ORDER BY conname COLLATE "C";
SELECT pg_get_indexdef(indexrelid) AS index FROM pg_index WHERE indrelid = 'plain'::regclass
ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";
SELECT relkind, relpersistence, relacl IS NULL AS "no grants", (SELECT option_value::int < 100 FROM pg_options_to_table(reloptions)
    WHERE option_name = 'fillfactor') AS "leaves room for HOT" FROM pg_class WHERE oid = 'plain'::regclass;
-- the sequence of the tokens: logged, one draw at a time, never again from the start
SELECT s.relpersistence, q.seqcache, q.seqincrement, q.seqstart, q.seqcycle, format_type(q.seqtypid, NULL) AS type
FROM pg_sequence q JOIN pg_class s ON s.oid = q.seqrelid WHERE q.seqrelid = pg_get_serial_sequence('plain', 'token')::regclass;

-- a new log works in the very statement that makes it
SELECT test.r(keep.begin_request(keep.create_request_log('at_once'), 'k', '1'));
SELECT test.record('at_once', 'k'), test.request_log_sound('at_once');

-- every option, and that each one does something
\pset format unaligned
\pset tuples_only on
SELECT keep.create_request_log('o1', '1 hour'), keep.create_request_log('o2', retain => NULL), keep.create_request_log('o3', '1 mon 2 days', true),
    keep.create_request_log('o4', '1 week', false);
SELECT table_name, options FROM keep.relation WHERE table_name LIKE 'o_' ORDER BY table_name;
SELECT test.c(keep.call_once(l, 'k', 'test.echo(jsonb)', '1')) FROM unnest('{o1,o2,o3,o4}'::regclass[]) l;
SELECT test.at(8 * 24 * 60);
SELECT l, test.c(keep.call_once(l, 'k', 'test.echo(jsonb)', '1')) FROM unnest('{o1,o2,o3,o4}'::regclass[]) l;
SELECT test.at(0);
SELECT key, request FROM o3;
SELECT test.r(keep.begin_request('o3', 'k2', '{"b": 1.50, "a": [null, "x"]}'));
SELECT key, request FROM o3 WHERE key = 'k2';

-- refused: with each its reason; nothing is left behind
CREATE TABLE taken (x int);
SELECT c, test.sqlstate(format('SELECT keep.create_request_log(%s)', c)) FROM (VALUES
    ($$NULL$$), ($$'x', keep_request => NULL$$), ($$'x', '0'$$), ($$'x', '-1 hour'$$), ($$'x', 'soon'$$), ($$''$$), ($$'a.b.c.d'$$), ($$'"x'$$), ($$'x y'$$),
    ($$'nowhere.x'$$), ($$'taken'$$), ($$'plain'$$), ($$'public.plain'$$), ($$'plain_pkey'$$), ($$'pg_temp.x'$$), ($$'pg_catalog.x'$$)) v(c);
SELECT test.code($$SELECT keep.create_request_log('x', 'infinity')$$) IN ('22007', '22023') AS "endless is refused";
DROP TABLE taken;
SELECT to_regclass('x');
BEGIN READ ONLY;
SELECT test.code($$SELECT keep.create_request_log('x')$$) AS "in a read-only transaction";
COMMIT;
\pset tuples_only off
\pset format aligned

-- names
CREATE SCHEMA "Odd Schema";
SELECT keep.create_request_log('Folded'), keep.create_request_log('"Folded"'), keep.create_request_log('"Odd Schema"."r.1 ""x"""'),
    keep.create_request_log(repeat('n', 63));
SELECT relid::regclass, test.r(keep.begin_request(relid, 'k', '1')), test.c(keep.call_once(relid, 'c', 'test.echo(jsonb)', '1'))
FROM keep.relation WHERE lower(table_name) = 'folded' OR schema_name = 'Odd Schema' OR length(table_name) = 63 ORDER BY 1::text COLLATE "C";
DO $$ BEGIN EXECUTE format('DROP TABLE %s, folded, "Folded"', repeat('n', 63)); END $$;
SET client_min_messages = warning;
DROP SCHEMA "Odd Schema" CASCADE;
RESET client_min_messages;

-- the owner is who makes it; a rollback takes it back
CREATE SCHEMA shop;
GRANT USAGE ON SCHEMA shop TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.code($$SELECT keep.create_request_log('shop.r')$$), test.code($$SELECT keep.create_request_log('keep.r')$$);
RESET ROLE;
GRANT CREATE ON SCHEMA shop TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.create_request_log('shop.r');
SELECT tableowner FROM pg_tables WHERE tablename = 'r' AND schemaname = 'shop';
BEGIN;
SELECT keep.create_request_log('shop.gone');
SELECT test.r(keep.begin_request('shop.gone', 'k', '1'));
ROLLBACK;
SELECT to_regclass('shop.gone');
DROP TABLE shop.r;
RESET ROLE;
SELECT count(*) FROM keep.relation WHERE schema_name = 'shop';
DROP TABLE at_once, o1, o2, o3, o4, second;

-- register: a copy of the shape, with data, as a dump restores it
SELECT test.request_log_for_calls('r');
SELECT test.c(keep.call_once('r', 'done', 'test.echo(jsonb)', '{"a": 1}'));
CREATE TABLE c (LIKE r INCLUDING ALL);
INSERT INTO c OVERRIDING SYSTEM VALUE TABLE r;
SELECT setval(pg_get_serial_sequence('c', 'token'), (SELECT max(token) FROM c)) > 0 AS "the sequence as the dump has it";
SELECT test.code($$SELECT keep.begin_request('c', 'k', '1')$$) AS "not registered";
SELECT keep.register('c', 'request_log');
SELECT test.c(keep.call_once('c', 'done', 'test.echo(jsonb)', '{"a": 1.0}')), test.r(keep.begin_request('c', 'begun 1', '1')),
    test.tell($$keep.complete_request('c', 'begun 1', test.tok('begun 1'), '1')$$), test.request_log_sound('c');
SELECT * FROM catalog WHERE table_name IN ('c', 'r');
SELECT keep.register('c', 'request_log', '{"retain": "1 hour"}');
SELECT keep.register('c', 'request_log', '{"retain": "30 min"}') AS "the last word counts";
SELECT options FROM keep.relation WHERE table_name = 'c';
SELECT test.at(31);
SELECT test.c(keep.call_once('c', 'done', 'test.echo(jsonb)', '{"a": 2}')) AS "over",
    test.tell($$keep.call_once('r', 'done', 'test.echo(jsonb)', '{"a": 2}')$$) AS "not over";
SELECT test.at(0);
SELECT keep.register('c', 'request_log', (SELECT options FROM keep.relation WHERE table_name = 'r')) AS "options of another";
SELECT options FROM keep.relation WHERE table_name = 'c';
-- keep_request is an option like others
SELECT keep.register('c', 'request_log', '{"keep_request": true}');
SELECT test.r(keep.begin_request('c', 'kept', '{"x": 1}'));
SELECT keep.register('c', 'request_log', '{"keep_request": false}');
SELECT test.r(keep.begin_request('c', 'not kept', '{"x": 1}'));
SELECT key, request FROM c WHERE key LIKE '%kept' ORDER BY key;
-- extra columns, another order, other names of constraints
CREATE TABLE turned (note text DEFAULT 'none', reap_at timestamptz, finished_at timestamptz, created_at timestamptz NOT NULL, request jsonb,
    response jsonb, checkpoint jsonb,
    attempts int NOT NULL, lease_until timestamptz, gone int, lease interval, token bigint GENERATED ALWAYS AS IDENTITY, request_hash bytea NOT NULL,
    state text COLLATE "C" NOT NULL, key text COLLATE "C" CONSTRAINT the_key PRIMARY KEY);
ALTER TABLE turned DROP COLUMN gone;
SELECT keep.register('turned', 'request_log');
SELECT test.r(keep.begin_request('turned', 'k', '1')), test.c(keep.call_once('turned', 'c', 'test.echo(jsonb)', '1'));
SELECT keep.complete_request('turned', 'k', token, '2') FROM turned WHERE key = 'k';
SELECT key, state, response, note FROM turned ORDER BY key;
DROP TABLE turned;

-- mistakes of register
\pset format unaligned
\pset tuples_only on
CREATE TABLE other (x int);
CREATE VIEW v AS TABLE r;
SELECT keep.create_store('s');
SELECT c, test.sqlstate(format('SELECT keep.register(%s)', c)) FROM (VALUES
    ($$'r', 'Request_Log'$$), ($$'r', 'request log'$$), ($$'r', 'request'$$), ($$'r', 'request_log', NULL$$), ($$'r', 'request_log', '[]'$$),
    ($$'r', 'request_log', '1'$$),
    ($$'r', 'request_log', '{"colour": "red"}'$$), ($$'r', 'request_log', '{"ttl": "1 hour"}'$$), ($$'r', 'request_log', '{"retain": "soon"}'$$),
    ($$'r', 'request_log', '{"retain": "0"}'$$), ($$'r', 'request_log', '{"retain": "-1 hour"}'$$), ($$'r', 'request_log', '{"retain": {}}'$$),
    ($$'r', 'request_log', '{"keep_request": "perhaps"}'$$), ($$'r', 'request_log', '{"keep_request": []}'$$),
    ($$'other', 'request_log'$$), ($$'v', 'request_log'$$), ($$'s', 'request_log'$$), ($$'r', 'store'$$), ($$'r', 'ledger'$$), ($$'r_pkey', 'request_log'$$),
    ($$'pg_class', 'request_log'$$), ($$'keep.relation', 'request_log'$$)) v(c);
SELECT options FROM keep.relation WHERE table_name = 'r';
-- wrong shapes, each with the reason
CREATE FUNCTION test.shape(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    CREATE TABLE shape (LIKE r INCLUDING ALL);
    EXECUTE 'ALTER TABLE shape ' || change;
    result := test.sqlstate($q$SELECT keep.register('shape', 'request_log')$q$);
    DROP TABLE shape;
    RETURN result;
END $$;
SELECT a.attname, test.shape(format('DROP COLUMN %I CASCADE', a.attname)) FROM pg_attribute a WHERE a.attrelid = 'r'::regclass AND a.attnum > 0
    ORDER BY a.attnum;
SELECT c, test.shape(c) FROM (VALUES
    ('ADD COLUMN note text'), ('DROP CONSTRAINT shape_pkey'), ('DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (token)'),
    ('DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (key, state)'),
    ('DROP CONSTRAINT shape_pkey, ADD UNIQUE (key)'), ('DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (key) DEFERRABLE'),
    ('ALTER key TYPE text COLLATE "POSIX"'), ('ALTER key TYPE varchar(20)'),
    ('ALTER state TYPE varchar'), ('ALTER state DROP NOT NULL'), ('ALTER request_hash TYPE text'), ('ALTER request_hash DROP NOT NULL'),
    ('ALTER token DROP IDENTITY'),
    ('ALTER token TYPE int'), ('ALTER token SET GENERATED BY DEFAULT'), ('ALTER token SET CACHE 20'), ('ALTER token SET CYCLE'),
    ('ALTER token SET INCREMENT -1'),
    ('ALTER lease TYPE text'), ('ALTER lease SET NOT NULL'), ('ALTER lease_until TYPE timestamp'), ('ALTER attempts TYPE bigint'),
    ('ALTER attempts DROP NOT NULL'), ('ALTER checkpoint TYPE json'),
    ('ALTER response TYPE json'), ('ALTER response SET NOT NULL'), ('ALTER created_at DROP NOT NULL'), ('ALTER finished_at SET NOT NULL'),
    ('ALTER finished_at TYPE date'), ('ALTER reap_at TYPE date'), ('RENAME response TO answer')) v(c);
DROP FUNCTION test.shape(text);

-- the wrong kind of table: a plain one, a store, a view, an index, a ledger; no table at all
SELECT keep.create_ledger('l');
SELECT * FROM test.try_request_log_grouped('''other''');
SELECT * FROM test.try_request_log_grouped('''s''');
SELECT * FROM test.try_request_log_grouped('''l''');
SELECT * FROM test.try_request_log_grouped('''v''');
SELECT * FROM test.try_request_log_grouped('''r_pkey''');
SELECT * FROM test.try_request_log_grouped('''keep.request''');
SELECT * FROM test.try_request_log_grouped('''none''');
SELECT * FROM test.try_request_log_grouped('1::regclass');
SELECT * FROM test.try_request_log_grouped('0::regclass');
SELECT * FROM test.try_request_log_grouped('NULL');
-- and a request log is no store and no ledger
SELECT * FROM test.try_all_grouped('''r''');
SELECT DISTINCT result FROM test.try_ledger_grouped('''r''');
SELECT test.sqlstate($$SELECT keep.set_store_option('r', 'ttl', '1 hour')$$);
\pset tuples_only off
\pset format aligned
DROP VIEW v;
DROP TABLE other, s, l, l_transfers;

-- renamed, moved, its schema renamed, given to another, with plans cached; and taken back
CREATE TEMP VIEW where_is AS SELECT * FROM catalog WHERE table_name NOT IN ('plain', 'c');
SELECT test.c(keep.call_once('r', 'done', 'test.echo(jsonb)', '{"a": 1}'));
ALTER TABLE r RENAME TO "Requests";
SELECT test.c(keep.call_once('"Requests"', 'done', 'test.echo(jsonb)', '{"a": 1}')), test.code($$SELECT keep.begin_request('r', 'k', '1')$$);
ALTER TABLE "Requests" SET SCHEMA shop;
ALTER SCHEMA shop RENAME TO "Depot 2";
SELECT test.c(keep.call_once('"Depot 2"."Requests"', 'done', 'test.echo(jsonb)', '{"a": 1}')),
    test.r(keep.begin_request('"Depot 2"."Requests"', 'begun 1', '1')),
    test.tell($$keep.complete_request('"Depot 2"."Requests"', 'begun 1', test.tok('begun 1'), '1')$$);
SELECT * FROM where_is;
ALTER SCHEMA "Depot 2" RENAME TO shop;
ALTER TABLE shop."Requests" SET SCHEMA public;
ALTER TABLE "Requests" RENAME TO r;
BEGIN;
ALTER TABLE r RENAME TO x;
SELECT test.r(keep.begin_request('x', 'begun 1', '1'));
ROLLBACK;
SELECT test.r(keep.begin_request('r', 'begun 1', '1'));
SELECT * FROM where_is;
-- altered: what it needs is looked at again
CREATE FUNCTION test.altered(change text) RETURNS TABLE (result text, fns text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE change;
        RETURN QUERY SELECT * FROM test.try_request_log_grouped('''r''');
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
END $$;
\pset format unaligned
SELECT c, a.* FROM (VALUES ('SELECT 1'), ('ALTER TABLE r RENAME state TO status'), ('ALTER TABLE r DROP COLUMN reap_at'),
    ('ALTER TABLE r DROP CONSTRAINT r_pkey'),
    ('ALTER TABLE r ALTER response TYPE json'), ('ALTER TABLE r ALTER token DROP IDENTITY'), ('ALTER TABLE r ADD COLUMN note text DEFAULT ''x'''),
    ('ALTER TABLE r SET UNLOGGED'),
    ('DROP INDEX r_reap_at_idx')) v(c), LATERAL test.altered(c) a;
\pset format aligned
SELECT fn, result FROM test.try_request_log('''r''') WHERE result <> 'ok' AND fn <> 'complete_request';
DROP FUNCTION test.altered(text);
-- rows of the catalog lost; dropped and made again in one session
DELETE FROM keep.relation WHERE table_name = 'r';
SELECT test.code($$SELECT keep.begin_request('r', 'k', '1')$$);
SELECT keep.register('r', 'request_log');
SELECT test.r(keep.begin_request('r', 'k', '1'));
SELECT 'r'::regclass::oid AS old \gset
DROP TABLE r;
SELECT keep.create_request_log('r', '1 hour');
SELECT test.r(keep.begin_request('r', 'k', '2')) AS "a new log is empty",
    (SELECT count(*) FROM test.try_request_log(:'old' || '::regclass') WHERE result <> '42P01' AND result <> '42809') AS "by its number";
-- only the owner registers
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.register('c', 'request_log')$$);
RESET ROLE;
DROP TABLE plain, r, c;
DROP SCHEMA shop;
SELECT count(*) AS registered FROM keep.relation;
