-- The catalog and the plans that go by it, where something unusual has changed them: keep.relation emptied
-- by hand, a schema renamed while no event trigger tells of it, a store's options changed by its own trigger
-- in the middle of a call; and a table used as one kind is not taken for another.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s'), keep.create_ledger('l'), keep.create_request_log('r'), keep.create_saga_log('g');
SELECT status FROM keep.put('s', 'k', '1');
SELECT (keep.open_account('l', 'a', 'USD')).balance;
SELECT state FROM keep.begin_request('r', 'k', '1');
SELECT keep.begin_saga('g', 'k');

-- used as what they are, they are nothing else
SELECT t, f, test.sqlstate(format('SELECT %s', format(f, t)))
FROM unnest('{s,l,r,g}'::text[]) t,
    unnest('{"keep.get(%L, ''k'')", "keep.balance(%L, ''a'')", "keep.release_request(%L, ''k'', 1)", "keep.complete_saga(%L, ''k'')"}'::text[]) f
ORDER BY f, t;

-- a catalog that is empty: nothing is registered, whatever this session has planned
BEGIN;
TRUNCATE keep.relation;
SELECT test.sqlstate($$SELECT keep.get('s', 'k')$$), test.sqlstate($$SELECT keep.balance('l', 'a')$$),
    test.sqlstate($$SELECT keep.begin_request('r', 'k', '1')$$), test.sqlstate($$SELECT keep.begin_saga('g', 'k')$$);
ROLLBACK;
SELECT keep.get('s', 'k'), (keep.balance('l', 'a')).unit, (keep.begin_request('r', 'k', '1')).state, keep.begin_saga('g', 'k');

-- a schema renamed without a word to the catalog
CREATE SCHEMA before;
SELECT keep.create_store('before.s');
SELECT status FROM keep.put('before.s', 'k', '1');
ALTER EVENT TRIGGER pg_keep_table_altered DISABLE;
ALTER SCHEMA before RENAME TO after;
SELECT keep.get('after.s', 'k'), (keep.put('after.s', 'k', '2')).status;
ALTER SCHEMA after RENAME TO before;
SELECT keep.get('before.s', 'k'), (keep.put('before.s', 'k', '3')).status;
ALTER EVENT TRIGGER pg_keep_table_altered ENABLE ALWAYS;

-- a trigger of a store that changes its options and calls it again, while a statement on it is under way
CREATE TABLE depth (n int);
CREATE FUNCTION change_it() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    deep int := pg_trigger_depth();
BEGIN
    INSERT INTO depth VALUES (deep);
    IF deep < 5 THEN
        PERFORM keep.set_store_option('s', 'max_value_bytes', (1000 + deep)::text);
        PERFORM keep.put('s', 'k' || deep, to_jsonb(deep)), keep.merge('s', 'k' || deep, to_jsonb(10 + deep)), keep.get('s', 'k');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER change_it BEFORE INSERT OR UPDATE ON s FOR EACH ROW EXECUTE FUNCTION change_it();
SELECT status, value FROM keep.put('s', 'k', '4');
SELECT status, value FROM keep.increment('s', 'k');
SELECT status, value FROM keep.compare_and_swap('s', 'k', (SELECT version FROM s WHERE key = 'k'), '6');
SELECT count(*) > 10 AS calls, max(n) AS deepest FROM depth;
SELECT key, value FROM s ORDER BY key;
SELECT options FROM keep.relation WHERE table_name = 's' AND schema_name = 'public';
-- a ledger whose transfers are given to another owner, and back
SELECT (keep.balance('l', 'a')).unit;
ALTER TABLE l_transfers OWNER TO regress_keep_other;
SELECT test.code($$SELECT keep.balance('l', 'a')$$);
ALTER TABLE l_transfers OWNER TO CURRENT_USER;
SELECT test.code($$SELECT keep.balance('l', 'a')$$);
DROP TABLE s, l, l_transfers, r, g, g_steps, depth;
DROP SCHEMA before CASCADE;
DROP FUNCTION change_it();
-- the second table of a pair may not be one that goes away with the session
SELECT keep.create_ledger('pair');
CREATE TEMPORARY TABLE temporary (LIKE pair_transfers INCLUDING ALL);
SELECT test.code($$SELECT keep.register('pair', 'ledger', '{"transfers": "pg_temp.temporary"}')$$);
-- a store that draws no versions has no sequence to be mended
SELECT keep.create_store('drawn');
ALTER TABLE drawn ALTER COLUMN version DROP IDENTITY;
SELECT test.code($$SELECT keep.set_store_option('drawn', 'persistence', 'unlogged')$$);
SELECT relpersistence FROM pg_class WHERE oid = 'drawn'::regclass;
DROP TABLE pair, pair_transfers, temporary, drawn;
