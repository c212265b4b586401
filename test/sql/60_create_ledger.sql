-- create_ledger: the two tables it makes, their indexes, columns and owner; names that need
-- quoting, are taken or too long; what it refuses; what stays after a rollback or a DROP.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_ledger('plain') AS made, pg_typeof(keep.create_ledger('past', history => true)) AS type;
CREATE TEMP VIEW catalog AS
SELECT r.schema_name, r.table_name, r.kind, r.options - 'token' AS options, length(r.options ->> 'token') AS token,
    (SELECT string_agg(o.table_name, ' ' ORDER BY o.table_name) FROM keep.relation o
        WHERE o.options -> 'token' = r.options -> 'token' AND o.relid <> r.relid) AS tied_to,
    r.relid = to_regclass(quote_ident(r.schema_name) || '.' || quote_ident(r.table_name)) AS relid_is_right
FROM keep.relation r ORDER BY r.schema_name, r.table_name;
SELECT * FROM catalog;

-- the tables
SELECT a.attrelid::regclass AS table, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS "not null", a.atthasdef AS "default", co.collname
FROM pg_attribute a LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid IN ('plain'::regclass, 'plain_transfers'::regclass) AND a.attnum > 0 ORDER BY a.attrelid::regclass::text COLLATE "C", a.attnum;
SELECT conrelid::regclass AS table, conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid IN ('plain'::regclass, 'plain_transfers'::regclass) AND contype <> 'n' ORDER BY conname COLLATE "C";
\pset format unaligned
SELECT pg_get_indexdef(indexrelid) AS index FROM pg_index
WHERE indrelid::regclass::text ~ '^(plain|past)' ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";
\pset format aligned
SELECT relname, relkind, relpersistence, relreplident, (SELECT option_value::int < 100 FROM pg_options_to_table(reloptions)
    WHERE option_name = 'fillfactor') AS "leaves room for HOT"
FROM pg_class WHERE oid IN ('plain'::regclass, 'plain_transfers'::regclass) ORDER BY relname;
SELECT a.attrelid::regclass::text || '.' || a.attname FROM pg_attribute a
WHERE a.attrelid = 'past_transfers'::regclass AND NOT EXISTS (SELECT FROM pg_attribute p
    WHERE p.attrelid = 'plain_transfers'::regclass AND (p.attname, p.atttypid, p.attnum) = (a.attname, a.atttypid, a.attnum));

-- without history a posted transfer costs one index entry, a balance's change none
SELECT count(keep.open_account('plain', x, 'USD', NULL)) FROM unnest('{a,b}'::text[]) x;
BEGIN;
SELECT test.t(keep.transfer('plain', 't1', 'a', 'b', 1));
SELECT count(*) FILTER (WHERE pg_get_expr(indpred, indrelid) IS NULL) AS "indexes on all rows" FROM pg_index WHERE indrelid = 'plain_transfers'::regclass;
SELECT pg_stat_get_xact_tuples_hot_updated('plain'::regclass) AS hot, pg_stat_get_xact_tuples_updated('plain'::regclass) AS updated;
COMMIT;

-- a new ledger works in the very statement that makes it
SELECT test.b(keep.open_account(keep.create_ledger('at_once'), 'a', 'USD'));
SELECT test.b(keep.balance('at_once', 'a')), test.ledger_sound('at_once');

-- names: quoted, qualified, with a dot, in another schema, as any table's
CREATE SCHEMA "Second schema";
SELECT keep.create_ledger('"Big Ledger"');
SELECT keep.create_ledger('MixedCase');
SELECT keep.create_ledger('"Second schema"."l.1"', true);
SELECT to_regclass('"Big Ledger_transfers"'), to_regclass('mixedcase_transfers'), to_regclass('"Second schema"."l.1_transfers"');
SELECT test.b(keep.open_account('"Second schema"."l.1"', 'a', 'USD', NULL));
SELECT test.b(keep.open_account('"Second schema"."l.1"', 'b', 'USD'));
SELECT test.t(keep.transfer('"Second schema"."l.1"', 't', 'a', 'b', 1));
SELECT count(*) AS lines FROM keep.statement('"Second schema"."l.1"', 'b');
SELECT * FROM catalog;

-- refused: with each its reason; nothing is left behind
\pset format unaligned
\pset tuples_only on
CREATE TABLE taken (x int);
CREATE TABLE half_transfers (x int);
CREATE INDEX taken_too ON taken (x);
SELECT c, test.sqlstate(format('SELECT keep.create_ledger(%s)', c)) FROM (VALUES
    ($$NULL$$), ($$'x', NULL$$), ($$''$$), ($$'a.b.c.d'$$), ($$'"x'$$), ($$'x y'$$), ($$'no_such_schema.x'$$),
    ($$'plain'$$), ($$'taken'$$), ($$'taken_too'$$), ($$'half'$$),
    ($$'pg_temp.x'$$), ($$'pg_catalog.x'$$)) v(c);
SELECT test.sqlstate(format('SELECT keep.create_ledger(%L)', repeat('x', 53)));
SELECT test.sqlstate(format('SELECT keep.create_ledger(%L)', repeat('x', 54)));
SELECT test.code(format('SELECT keep.create_ledger(%L)', repeat('ü', 27)));
\pset tuples_only off
\pset format aligned
SELECT to_regclass('half'), to_regclass('x');
DROP TABLE taken, half_transfers;

-- rolled back, it was never there
BEGIN;
SELECT keep.create_ledger('gone');
SELECT test.b(keep.open_account('gone', 'a', 'USD'));
ROLLBACK;
SELECT to_regclass('gone'), to_regclass('gone_transfers'), count(*) FROM keep.relation WHERE table_name LIKE 'gone%';
SELECT keep.create_ledger('gone');
SELECT test.code($$SELECT keep.balance('gone', 'a')$$);

-- dropped, as ordinary tables are
DROP TABLE gone, gone_transfers;
SELECT count(*) FROM keep.relation WHERE table_name LIKE 'gone%';
DROP TABLE at_once, at_once_transfers;
DO $$ BEGIN EXECUTE format('DROP TABLE %s, %s_transfers', repeat('x', 53), repeat('x', 53)); EXCEPTION WHEN undefined_table THEN NULL; END $$;
SET client_min_messages = warning;
DROP SCHEMA "Second schema" CASCADE;
RESET client_min_messages;
SELECT * FROM catalog;
DROP TABLE plain, plain_transfers, past, past_transfers, "Big Ledger", "Big Ledger_transfers", mixedcase, mixedcase_transfers;
SELECT count(*) AS registered FROM keep.relation;
