-- A table that is not a store, whatever it is, is refused by every function with 42809
-- and a hint; no table at all is 22004; a store dropped and made again is a new store.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned

CREATE TABLE bare (key text COLLATE "C" PRIMARY KEY, value jsonb);
SELECT keep.create_store('s');
CREATE VIEW looks_like AS SELECT * FROM s;
CREATE SEQUENCE seq;

SELECT * FROM test.try_all_grouped($$'bare'$$);
SELECT * FROM test.try_all_grouped($$'looks_like'$$);
SELECT * FROM test.try_all_grouped($$'seq'$$);
SELECT * FROM test.try_all_grouped($$'s_pkey'$$);
SELECT * FROM test.try_all_grouped($$'pg_catalog.pg_class'$$);
SELECT * FROM test.try_all_grouped($$'keep.relation'$$);
SELECT * FROM test.try_all_grouped($$'keep.entry'$$);
-- no table of this number, and no number
SELECT * FROM test.try_all_grouped($$1::regclass$$);
SELECT * FROM test.try_all_grouped($$0::regclass$$);
-- NULL: 22004, but expire() then takes every store
SELECT * FROM test.try_all_grouped($$NULL$$);
-- a name that is no table is refused before the call
SELECT test.sqlstate($$SELECT keep.get('nowhere', 'k')$$);
SELECT test.sqlstate($$SELECT keep.set_store_option('bare', 'ttl', '1 hour')$$);
SELECT test.sqlstate($$SELECT keep.set_store_option(NULL, 'ttl', '1 hour')$$);

-- dropped and made again in one session, plans cached
SELECT test.o(keep.put('s', 'k', '1'));
SELECT keep.get('s', 'k');
SELECT 's'::regclass::oid AS old \gset
DROP VIEW looks_like;
DROP TABLE s;
SELECT test.sqlstate($$SELECT keep.get('s', 'k')$$);
SELECT DISTINCT result FROM test.try_all(:'old' || '::regclass') WHERE fn <> 'expire';
SELECT keep.create_store('s', ttl => '1 hour');
SELECT keep.get('s', 'k') AS "a new store is empty";
SELECT test.o(keep.put('s', 'k', '2'));
SELECT keep.get('s', 'k');
SELECT DISTINCT result FROM test.try_all(:'old' || '::regclass') WHERE fn <> 'expire';

-- a plain table under the old store's name
DROP TABLE s;
CREATE TABLE s (key text PRIMARY KEY, value jsonb);
SELECT DISTINCT result FROM test.try_all($$'s'$$);
-- also one of the very shape: it was never registered
DROP TABLE s;
SELECT keep.create_store('other');
CREATE TABLE s (LIKE other INCLUDING ALL);
SELECT DISTINCT result FROM test.try_all($$'s'$$);

-- in a transaction that drops it, and in one that takes the drop back
BEGIN;
SELECT test.o(keep.put('other', 'k', '1'));
DROP TABLE other;
SELECT test.code($$SELECT keep.get('other', 'k')$$);
SELECT keep.create_store('other');
SELECT keep.get('other', 'k');
SELECT test.o(keep.put('other', 'k', '2'));
ROLLBACK;
SELECT keep.get('other', 'k');
SELECT test.o(keep.put('other', 'k', '3'));
BEGIN;
SAVEPOINT a;
DROP TABLE other;
ROLLBACK TO a;
SELECT test.o(keep.put('other', 'k', '4'));
COMMIT;
-- truncated
TRUNCATE other;
SELECT keep.get('other', 'k'), test.o(keep.put('other', 'k', '5'));

DROP TABLE bare, s, other;
DROP SEQUENCE seq;
SELECT count(*) AS registered FROM keep.relation;
