-- A ledger's two tables renamed, moved, altered, dropped, each on its own, while plans are cached;
-- a table of the wrong kind is 42809 with a hint in every function, on both sides.
\pset null '(null)'
\set VERBOSITY terse
SET client_min_messages = warning;

CREATE SCHEMA shop;
CREATE TEMP VIEW catalog AS
SELECT r.schema_name, r.table_name, r.kind,
    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = r.relid AND c.relname = r.table_name AND n.nspname = r.schema_name) AS relid_is_right
FROM keep.relation r ORDER BY r.schema_name, r.table_name;
SELECT test.ledger_for_calls('l');

-- either renamed, either moved, the schema renamed
ALTER TABLE l RENAME TO accounts;
SELECT test.t(keep.transfer('accounts', 't1', 'a', 'b', 1)), test.code($$SELECT keep.transfer('l', 't1', 'a', 'b', 1)$$);
ALTER TABLE l_transfers RENAME TO "Moves";
SELECT test.t(keep.transfer('accounts', 't2', 'a', 'b', 1));
SELECT test.b(keep.balance('accounts', 'a')), count(*) AS lines FROM keep.statement('accounts', 'a');
ALTER TABLE "Moves" SET SCHEMA shop;
SELECT test.t(keep.transfer('accounts', 't3', 'a', 'b', 1)), test.t(r) FROM keep.transfer_many('accounts', '{t4,t1}', '{a,a}', '{b,b}', '{1,1}') r;
ALTER TABLE accounts SET SCHEMA shop;
ALTER SCHEMA shop RENAME TO "Depot 2";
SELECT test.t(keep.post_transfer('"Depot 2".accounts', 'hold 1')), test.t(keep.reverse_transfer('"Depot 2".accounts', 't5', 't1')),
    keep.expire_holds('"Depot 2".accounts');
SELECT * FROM catalog;
SELECT bool_and(ok) FROM keep.verify_ledger('"Depot 2".accounts');
ALTER SCHEMA "Depot 2" RENAME TO shop;
ALTER TABLE shop.accounts SET SCHEMA public;
ALTER TABLE shop."Moves" SET SCHEMA public;
ALTER TABLE accounts RENAME TO l;
ALTER TABLE "Moves" RENAME TO l_transfers;
-- another table under the name the transfers had is not taken for them
ALTER TABLE l_transfers RENAME TO moves;
CREATE TABLE l_transfers (LIKE moves INCLUDING ALL);
SELECT test.t(keep.transfer('l', 't6', 'a', 'b', 1));
SELECT (SELECT count(*) FROM l_transfers) AS there, (SELECT count(*) FROM moves WHERE id = 't6') AS here;
DROP TABLE l_transfers;
ALTER TABLE moves RENAME TO l_transfers;
-- taken back
BEGIN;
ALTER TABLE l_transfers RENAME TO x;
SELECT test.t(keep.transfer('l', 't7', 'a', 'b', 1));
ROLLBACK;
SELECT test.t(keep.transfer('l', 't7', 'a', 'b', 2)), test.ledger_sound('l');

-- wrong kinds: a plain table, a store, the transfers, a view, an index; no table at all
CREATE TABLE plain (x int);
CREATE VIEW v AS TABLE l;
SELECT keep.create_store('s');
\pset format unaligned
\pset tuples_only on
SELECT * FROM test.try_ledger_grouped('''plain''');
SELECT * FROM test.try_ledger_grouped('''s''');
SELECT * FROM test.try_ledger_grouped('''l_transfers''');
SELECT * FROM test.try_ledger_grouped('''v''');
SELECT * FROM test.try_ledger_grouped('''l_pkey''');
SELECT * FROM test.try_ledger_grouped('''none''');
SELECT * FROM test.try_ledger_grouped('0::regclass');
SELECT * FROM test.try_ledger_grouped('NULL');
-- and a ledger is no store
SELECT * FROM test.try_all_grouped('''l''');
SELECT * FROM test.try_all_grouped('''l_transfers''');
SELECT test.sqlstate($$SELECT keep.set_store_option('l', 'ttl', '1 hour')$$);
\pset tuples_only off
\pset format aligned
DROP VIEW v;
DROP TABLE plain, s;

-- altered while plans are cached: what it needs is looked at again
SELECT fn, result FROM test.try_ledger('''l''') WHERE result <> 'ok';
CREATE FUNCTION test.altered(change text) RETURNS TABLE (result text, fns text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE change;
        RETURN QUERY SELECT * FROM test.try_ledger_grouped('''l''');
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
END $$;
\pset format unaligned
SELECT c, r.* FROM (VALUES
    ('SELECT 1'),
    ('ALTER TABLE l RENAME unit TO currency'),
    ('ALTER TABLE l ALTER debits_posted TYPE numeric'),
    ('ALTER TABLE l DROP CONSTRAINT l_pkey'),
    ('ALTER TABLE l_transfers RENAME status TO state'),
    ('ALTER TABLE l_transfers ALTER metadata TYPE text'),
    ('ALTER TABLE l_transfers DROP CONSTRAINT l_transfers_pkey'),
    ('DROP TABLE l_transfers'),
    ('ALTER TABLE l ADD COLUMN note text DEFAULT ''x'''),
    ('ALTER TABLE l_transfers ADD COLUMN note text DEFAULT ''x'''),
    ('ALTER TABLE l_transfers SET UNLOGGED'),
    ('ALTER TABLE l ALTER created_at SET DEFAULT now()')
) v(c), LATERAL test.altered(c) r;
\pset format aligned
SELECT test.t(keep.transfer('l', 't8', 'a', 'b', 1)), test.ledger_sound('l');
-- another order of the columns, as after a dump with columns dropped before
CREATE TABLE turned (opened_limits bigint[], ceiling bigint, floor bigint, max_balance bigint, min_balance bigint, created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    credits_pending bigint NOT NULL, debits_pending bigint NOT NULL, credits_posted bigint NOT NULL, debits_posted bigint NOT NULL, extra int,
        frozen boolean NOT NULL,
    unit text COLLATE "C" NOT NULL, shards smallint NOT NULL, shard smallint NOT NULL, id text COLLATE "C" NOT NULL, PRIMARY KEY (id, shard));
ALTER TABLE turned DROP COLUMN extra;
CREATE TABLE turned_transfers (gone int, LIKE l_transfers, PRIMARY KEY (id));
ALTER TABLE turned_transfers DROP COLUMN gone, DROP COLUMN reason, DROP COLUMN amount;
ALTER TABLE turned_transfers ADD COLUMN amount bigint, ADD COLUMN reason text COLLATE "C";
SELECT keep.register('turned', 'ledger', '{"history": true}');
SELECT test.b(keep.open_account('turned', 'a', 'USD', -10, 50)), test.b(keep.open_account('turned', 'b', 'EUR')),
    test.b(keep.open_account('turned', 'c', 'USD', 0, 100, 3));
SELECT test.t(keep.transfer('turned', 't1', 'a', 'c', 7, NULL, '{"n": 1}')), test.t(keep.transfer('turned', 't2', 'a', 'b', 1)),
    test.t(keep.transfer('turned', 't3', 'a', 'c', 3, '1 hour'));
SET pg_keep.direct_access = off;
SELECT test.t(keep.post_transfer('turned', 't3', 2)), test.t(keep.reverse_transfer('turned', 't4', 't1', 5)), test.t(r)
    FROM keep.transfer_many('turned', '{t5,t1}', '{c,a}', '{a,c}', '{2,7}') r;
RESET pg_keep.direct_access;
SELECT test.b(keep.balance('turned', 'a')), test.b(keep.balance('turned', 'c')), test.ledger_sound('turned');
SELECT transfer, amount, metadata FROM keep.statement('turned', 'a');
DROP TABLE turned, turned_transfers;

-- the transfers dropped: the accounts are a ledger no more, until it has a table of transfers again
DROP TABLE l_transfers;
SELECT * FROM catalog;
\pset format unaligned
SELECT * FROM test.try_ledger_grouped('''l''');
\pset format aligned
SELECT test.code($$SELECT keep.register('l', 'ledger')$$);
DROP TABLE l;
-- the accounts dropped: the transfers stay as they are
SELECT test.ledger_for_calls('m');
DROP TABLE m;
SELECT * FROM catalog;
SELECT count(*) FROM m_transfers;
DROP TABLE m_transfers;
SELECT * FROM catalog;
-- both by way of their schema
SELECT test.ledger_for_calls('shop.l');
DROP SCHEMA shop CASCADE;
SELECT * FROM catalog;
DROP FUNCTION test.altered(text);
