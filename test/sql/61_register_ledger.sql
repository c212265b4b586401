-- register: two tables of the right shape become a ledger again, with the options given; all else
-- is refused with the reason; nobody slips his table of transfers under another's accounts.
\pset null '(null)'
\set VERBOSITY terse

SELECT test.ledger_for_calls('l', true);
CREATE TEMP VIEW catalog AS
SELECT r.table_name, r.kind, r.options - 'token' AS options,
    (SELECT string_agg(o.table_name, ' ' ORDER BY o.table_name) FROM keep.relation o
        WHERE o.options -> 'token' = r.options -> 'token' AND o.relid <> r.relid) AS tied_to
FROM keep.relation r ORDER BY r.table_name;

-- copies are no ledger until they are registered; then they are one of their own
CREATE TABLE c (LIKE l INCLUDING ALL);
CREATE TABLE c_transfers (LIKE l_transfers INCLUDING ALL);
INSERT INTO c TABLE l;
INSERT INTO c_transfers TABLE l_transfers;
SELECT test.code($$SELECT keep.balance('c', 'a')$$);
SELECT keep.register('c', 'ledger');
SELECT test.t(keep.transfer('c', 'paid', 'a', 'b', 10)), test.t(keep.transfer('c', 'new', 'a', 'b', 1));
SELECT test.code($$SELECT * FROM keep.statement('c', 'a')$$) AS "history is an option";
SELECT test.balances('l'), test.balances('c'), test.ledger_sound('c');
SELECT * FROM catalog;
-- again, with other options: the last word counts
SELECT keep.register('c', 'ledger', '{"history": true}');
SELECT test.t(keep.transfer('c', 'new2', 'a', 'b', 1));
-- what was posted meanwhile is in no statement, and verify_ledger() says so
SELECT transfer FROM keep.statement('c', 'a');
SELECT rule, detail FROM keep.verify_ledger('c') WHERE NOT ok;
SELECT keep.register('c', 'ledger', '{"history": "on", "transfers": "c_transfers"}');
SELECT keep.register('c', 'ledger', '{"history": null, "transfers": null}');
SELECT test.code($$SELECT * FROM keep.statement('c', 'a')$$);
SELECT keep.register('c', 'ledger', '{"transfers": "public.c_transfers", "history": true}');
SELECT count(*) FROM keep.statement('c', 'a');
SELECT * FROM catalog;
SELECT keep.register('c', 'ledger', (SELECT options FROM keep.relation WHERE table_name = 'l')) AS "options of another: not its token";
SELECT * FROM catalog;
SELECT test.t(keep.transfer('c', 'new3', 'a', 'b', 1)), test.t(keep.transfer('l', 'new3', 'a', 'b', 2));

-- one table of transfers serves one table of accounts
CREATE TABLE d (LIKE l INCLUDING ALL);
SELECT keep.register('d', 'ledger', '{"transfers": "c_transfers"}');
SELECT test.b(keep.open_account('d', 'a', 'USD')), test.code($$SELECT keep.balance('c', 'a')$$), test.code($$SELECT keep.transfer('c', 'new4', 'a', 'b', 1)$$);
SELECT keep.register('c', 'ledger');
SELECT test.t(keep.transfer('c', 'new4', 'a', 'b', 1)), test.code($$SELECT keep.balance('d', 'a')$$);
DROP TABLE d;

-- mistakes
\pset format unaligned
\pset tuples_only on
CREATE TABLE other (x int);
CREATE VIEW v AS TABLE l;
CREATE VIEW v_transfers AS TABLE l_transfers;
CREATE TABLE lonely (LIKE l INCLUDING ALL);
SELECT c, test.sqlstate(format('SELECT keep.register(%s)', c)) FROM (VALUES
    ($$'l', 'Ledger'$$), ($$'l', 'ledger', NULL$$), ($$'l', 'ledger', '[]'$$), ($$'l', 'ledger', '1'$$),
    ($$'l', 'ledger', '{"history": "perhaps"}'$$), ($$'l', 'ledger', '{"history": 1}'$$), ($$'l', 'ledger', '{"colour": "red"}'$$),
        ($$'l', 'ledger', '{"ttl": "1 hour"}'$$),
    ($$'l', 'ledger', '{"transfers": "none"}'$$), ($$'l', 'ledger', '{"transfers": ""}'$$), ($$'l', 'ledger', '{"transfers": "other"}'$$),
        ($$'l', 'ledger', '{"transfers": "l"}'$$),
    ($$'l', 'ledger', '{"transfers": "v_transfers"}'$$), ($$'l', 'ledger', '{"transfers": ["l_transfers"]}'$$), ($$'l', 'ledger', '{"transfers": true}'$$),
    ($$'lonely', 'ledger'$$), ($$'v', 'ledger'$$), ($$'other', 'ledger'$$), ($$'l_transfers', 'ledger'$$), ($$'l', 'store'$$), ($$'l_transfers', 'store'$$),
    ($$'l_transfers', 'transfers'$$), ($$'l', 'transfers'$$), ($$'other', 'transfers'$$), ($$'l_pkey', 'ledger'$$), ($$'pg_class', 'ledger'$$)) v(c);
SELECT test.t(keep.transfer('l', 'as it was', 'a', 'b', 1));
DROP VIEW v, v_transfers;
DROP TABLE other, lonely;

-- wrong shapes, each with the reason
CREATE FUNCTION test.shape(tab text, change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    CREATE TABLE shape (LIKE l INCLUDING ALL);
    CREATE TABLE shape_transfers (LIKE l_transfers INCLUDING ALL);
    EXECUTE format('ALTER TABLE %s %s', tab, change);
    result := test.sqlstate($q$SELECT keep.register('shape', 'ledger')$q$);
    DROP TABLE shape, shape_transfers;
    RETURN result;
END $$;
SELECT a.attname, test.shape('shape', format('DROP COLUMN %I CASCADE', a.attname)) FROM pg_attribute a
    WHERE a.attrelid = 'l'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT a.attname, test.shape('shape_transfers', format('DROP COLUMN %I CASCADE', a.attname)) FROM pg_attribute a
    WHERE a.attrelid = 'l_transfers'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT t, c, test.shape(t, c) FROM (VALUES
    ('shape', 'ADD COLUMN note text'), ('shape_transfers', 'ADD COLUMN note text'),
    ('shape', 'DROP CONSTRAINT shape_pkey'), ('shape', 'DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (id)'),
        ('shape', 'DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (shard, id)'),
    ('shape', 'DROP CONSTRAINT shape_pkey, ADD UNIQUE (id, shard)'), ('shape', 'DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (id, shard) DEFERRABLE'),
    ('shape', 'ALTER id TYPE text COLLATE "POSIX"'), ('shape', 'ALTER id TYPE varchar(10)'), ('shape', 'ALTER shard TYPE int'), ('shape', 'ALTER unit TYPE varchar'),
    ('shape', 'ALTER unit DROP NOT NULL'), ('shape', 'ALTER debits_posted TYPE int'), ('shape', 'ALTER credits_posted TYPE numeric'),
        ('shape', 'ALTER version DROP NOT NULL'),
    ('shape', 'ALTER min_balance SET NOT NULL'), ('shape', 'ALTER max_balance TYPE int'), ('shape', 'ALTER opened_limits TYPE text'),
        ('shape', 'RENAME balance TO b'),
    ('shape', 'RENAME id TO account'),
    ('shape_transfers', 'DROP CONSTRAINT shape_transfers_pkey'), ('shape_transfers', 'DROP CONSTRAINT shape_transfers_pkey, ADD PRIMARY KEY (id, status)'),
    ('shape_transfers', 'ALTER id TYPE varchar(10)'), ('shape_transfers', 'ALTER status DROP NOT NULL'), ('shape_transfers', 'ALTER amount TYPE numeric'),
    ('shape_transfers', 'ALTER amount SET NOT NULL'), ('shape_transfers', 'ALTER metadata TYPE json'), ('shape_transfers', 'ALTER hold TYPE text'),
        ('shape_transfers', 'ALTER expires_at TYPE timestamp'),
    ('shape_transfers', 'RENAME chain TO label')
) v(t, c) WHERE c <> 'RENAME balance TO b';
\pset tuples_only off
\pset format aligned

-- the owner alone may, of both tables
GRANT ALL ON c, c_transfers TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.register('c', 'ledger')$$);
RESET ROLE;
ALTER TABLE c OWNER TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.sqlstate($$SELECT keep.register('c', 'ledger')$$), test.sqlstate($$SELECT keep.register('c', 'ledger', '{"transfers": "l_transfers"}')$$);
RESET ROLE;
-- a superuser neither, where the owners differ
SELECT test.sqlstate($$SELECT keep.register('c', 'ledger')$$);
ALTER TABLE c_transfers OWNER TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.register('c', 'ledger');
SELECT test.t(keep.transfer('c', 'new5', 'a', 'b', 1));
RESET ROLE;
BEGIN READ ONLY;
SELECT test.code($$SELECT keep.register('l', 'ledger')$$) AS "in a read-only transaction";
COMMIT;
BEGIN;
SELECT keep.register('l', 'ledger', '{"history": false}');
SELECT test.code($$SELECT * FROM keep.statement('l', 'a')$$), test.code($$SELECT keep.transfer('l', 'new6', 'a', 'b', 1)$$);
ROLLBACK;
SELECT test.code($$SELECT * FROM keep.statement('l', 'a')$$), test.code($$SELECT keep.transfer('l', 'new6', 'a', 'b', 1)$$);

-- rows of the catalog lost: register brings both back
DELETE FROM keep.relation WHERE table_name IN ('l', 'l_transfers');
SELECT test.code($$SELECT keep.transfer('l', 'new7', 'a', 'b', 1)$$);
SELECT keep.register('l', 'ledger', '{"history": true}');
SELECT test.t(keep.transfer('l', 'new7', 'a', 'b', 1)), test.ledger_sound('l');
DELETE FROM keep.relation WHERE table_name = 'l_transfers';
SELECT test.sqlstate($$SELECT keep.transfer('l', 'new8', 'a', 'b', 1)$$);
SELECT keep.register('l', 'ledger', '{"history": true}');
SELECT test.t(keep.transfer('l', 'new8', 'a', 'b', 1));
SELECT count(*) AS lines FROM keep.statement('l', 'a') WHERE transfer LIKE 'new_';
DROP FUNCTION test.shape(text, text);
DROP TABLE l, l_transfers, c, c_transfers;
SELECT count(*) AS registered FROM keep.relation;
