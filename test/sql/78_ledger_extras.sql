-- What an owner adds to a ledger's tables works: columns with defaults, generated columns, checks,
-- foreign keys, triggers, rules and indexes; what a constraint or a trigger forbids is an error of the
-- whole call; a trigger that leaves a row out is an error and not a wrong balance.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

-- A ledger as create_ledger() makes it, for each part: a dropped column alone keeps calls off the direct path.
CREATE FUNCTION test.fresh() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    DROP TABLE IF EXISTS l, l_transfers;
    PERFORM keep.create_ledger('l', true);
    PERFORM keep.open_account('l', x, 'USD', CASE WHEN x = 'world' THEN NULL ELSE 0 END) FROM unnest('{world,a,b,c}'::text[]) x;
    PERFORM keep.transfer('l', 't1', 'world', 'a', 100);
    RETURN test.balances('l');
END $$;
SET client_min_messages = warning;
SELECT test.fresh();
RESET client_min_messages;

-- columns: defaults in new rows, kept in old ones
ALTER TABLE l ADD COLUMN owner text DEFAULT 'nobody';
ALTER TABLE l_transfers ADD COLUMN note text DEFAULT 'none', ADD COLUMN by_role name DEFAULT current_user, ADD COLUMN seq int GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN cents numeric GENERATED ALWAYS AS (amount / 100.0) STORED;
UPDATE l SET owner = 'me' WHERE id = 'a';
SELECT test.t(keep.transfer('l', 't2', 'a', 'b', 10)), test.t(keep.transfer('l', 't3', 'a', 'b', 10, '1 hour')),
    test.b(keep.open_account('l', 'd', 'USD'));
UPDATE l_transfers SET note = 'mine' WHERE id = 't3';
SELECT test.t(keep.post_transfer('l', 't3', 4)), test.t(keep.reverse_transfer('l', 't4', 't3', 1)), test.t(r)
    FROM keep.transfer_many('l', '{t5,t6}', '{a,a}', '{c,none}', '{1,1}') r;
SELECT id, owner FROM l ORDER BY id;
SELECT id, note, by_role = current_user, seq IS NOT NULL, round(cents, 2) FROM l_transfers ORDER BY id;
SELECT test.t(keep.transfer('l', 't2', 'a', 'b', 10)), test.balances('l'), test.ledger_sound('l');
-- a column that must be given and is not: the server's error, and nothing moved
ALTER TABLE l_transfers ADD COLUMN tenant text NOT NULL DEFAULT 'x';
ALTER TABLE l_transfers ALTER tenant DROP DEFAULT;
SELECT test.code($$SELECT keep.transfer('l', 't7', 'a', 'b', 1)$$), test.code($$SELECT keep.transfer_many('l', '{t7}', '{a}', '{b}', '{1}')$$),
    test.t(keep.transfer('l', 't2', 'a', 'b', 10));
ALTER TABLE l_transfers DROP COLUMN tenant, DROP COLUMN cents, DROP COLUMN seq, DROP COLUMN by_role, DROP COLUMN note;
ALTER TABLE l DROP COLUMN owner;
SELECT test.t(keep.transfer('l', 't7', 'a', 'b', 1)), test.balances('l');

-- checks
SELECT test.fresh();
ALTER TABLE l ADD CONSTRAINT rich CHECK (credits_posted - debits_posted <= 200 OR id = 'world');
ALTER TABLE l_transfers ADD CONSTRAINT small CHECK (amount < 1000);
SELECT test.code($$SELECT keep.transfer('l', 'c1', 'world', 'a', 150)$$), test.code($$SELECT keep.transfer('l', 'c1', 'world', 'a', 1000)$$);
SELECT test.code($$SELECT keep.transfer_many('l', '{c1,c2,c3}', '{world,world,world}', '{b,a,b}', '{1,150,1}')$$), count(*) FROM l_transfers
    WHERE id LIKE 'c_';
SELECT test.t(r) FROM keep.transfer_many('l', '{c1,c2,c3}', '{world,world,a}', '{b,a,b}', '{1,119,60}') r;
ALTER TABLE l DROP CONSTRAINT rich;
ALTER TABLE l_transfers DROP CONSTRAINT small;

-- foreign keys, from the tables and to them
SELECT test.fresh();
CREATE TABLE customer (id text COLLATE "C" PRIMARY KEY);
INSERT INTO customer VALUES ('a'), ('b');
ALTER TABLE l_transfers ADD CONSTRAINT paid_by FOREIGN KEY (to_account) REFERENCES customer NOT VALID;
CREATE TABLE invoice (nr int, transfer text COLLATE "C" REFERENCES l_transfers, account text COLLATE "C", shard smallint DEFAULT 0,
    FOREIGN KEY (account, shard) REFERENCES l);
SELECT test.t(keep.transfer('l', 'f1', 'world', 'a', 1)), test.code($$SELECT keep.transfer('l', 'f2', 'world', 'c', 1)$$);
INSERT INTO invoice VALUES (1, 'f1', 'a');
SELECT test.code($$INSERT INTO invoice VALUES (2, 'f2', 'a')$$);
SELECT test.t(keep.transfer('l', 'f3', 'a', 'b', 1)), test.t(keep.reverse_transfer('l', 'f4', 'f3')), test.t(r)
    FROM keep.transfer_many('l', '{f5,f6}', '{a,a}', '{b,b}', '{1,1}') r;
SELECT test.code($$SELECT keep.transfer_many('l', '{f7,f8}', '{a,a}', '{b,c}', '{1,1}')$$);
DROP TABLE invoice;
ALTER TABLE l_transfers DROP CONSTRAINT paid_by;
SELECT test.balances('l'), test.ledger_sound('l');

-- triggers: an outbox, an audit of the accounts, transition tables
SELECT test.fresh();
CREATE TABLE outbox (nr int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION test.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        INSERT INTO outbox (what) SELECT format('%s %s: %s', TG_OP, TG_TABLE_NAME, string_agg(concat_ws(' ', n.id, n.status), ', ' ORDER BY n.id))
            FROM n;
    ELSIF TG_TABLE_NAME = 'l' THEN
        INSERT INTO outbox (what) VALUES (format('%s %s: %s %s', TG_OP, TG_TABLE_NAME, NEW.id, NEW.credits_posted - NEW.debits_posted));
    ELSE
        INSERT INTO outbox (what) VALUES (format('%s %s: %s %s', TG_OP, TG_TABLE_NAME, NEW.id, NEW.status));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON l FOR EACH ROW EXECUTE FUNCTION test.note();
CREATE TRIGGER note AFTER INSERT OR UPDATE ON l_transfers FOR EACH ROW EXECUTE FUNCTION test.note();
SELECT test.t(keep.transfer('l', 'g1', 'world', 'a', 1)), test.t(keep.transfer('l', 'g2', 'a', 'b', 3, '1 hour')),
    test.t(keep.post_transfer('l', 'g2')), test.t(keep.transfer('l', 'g3', 'a', 'none', 1)), test.t(keep.transfer('l', 'g1', 'world', 'a', 1));
SELECT what FROM outbox ORDER BY what;
TRUNCATE outbox;
SELECT count(*) FROM keep.transfer_many('l', '{g4,g5,g6}', '{a,b,a}', '{b,a,b}', '{1,1,1}');
SELECT what FROM outbox ORDER BY what;
TRUNCATE outbox;
DROP TRIGGER note ON l;
DROP TRIGGER note ON l_transfers;
CREATE TRIGGER note AFTER INSERT ON l_transfers REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION test.note();
SELECT count(*) FROM keep.transfer_many('l', '{g7,g8,g9}', '{a,b,a}', '{b,a,none}', '{1,1,1}');
SELECT what FROM outbox ORDER BY nr;
TRUNCATE outbox;
DROP TRIGGER note ON l_transfers;
-- a deferred one: at commit, and it may still say no
SELECT test.fresh();
CREATE FUNCTION test.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0001'; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON l_transfers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.amount = 13) EXECUTE FUNCTION test.no();
BEGIN;
SELECT test.t(keep.transfer('l', 'k1', 'a', 'b', 13)), test.t(keep.transfer('l', 'k2', 'a', 'b', 1));
COMMIT;
SELECT count(*) FROM l_transfers WHERE id LIKE 'k_';
DROP TRIGGER late ON l_transfers;
-- one that refuses
SELECT test.fresh();
CREATE TRIGGER refuse BEFORE INSERT ON l_transfers FOR EACH ROW WHEN (NEW.amount = 13) EXECUTE FUNCTION test.no();
SELECT test.code($$SELECT keep.transfer('l', 'k1', 'a', 'b', 13)$$), test.t(keep.transfer('l', 'k2', 'a', 'b', 1)),
    test.code($$SELECT keep.transfer_many('l', '{k3,k1}', '{a,a}', '{b,b}', '{1,13}')$$);
DROP TRIGGER refuse ON l_transfers;
SELECT test.balances('l'), test.ledger_sound('l');
-- one that leaves a row out, here or there, or changes its id; one that changes what is no business of pg_keep's
CREATE FUNCTION test.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_ARGV[0]
        WHEN 'skip' THEN RETURN NULL;
        WHEN 'id' THEN NEW.id := NEW.id || '!';
        WHEN 'metadata' THEN NEW.metadata := '{"by": "trigger"}';
    END CASE;
    RETURN NEW;
END $$;
CREATE FUNCTION test.meddled(tab text, op text, how text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        EXECUTE format('CREATE TRIGGER meddle BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION test.meddle(%L)', op, tab, how);
        result := test.say($q$transfer('l', 'w1', 'a', 'b', 1)$q$) || ' | ' || test.say($q$transfer_many('l', '{w2,w3}', '{a,b}', '{b,a}', '{1,1}')$q$);
        result := result || ' | ' || test.ledger_sound('l');
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN
        RETURN result;
    END;
END $$;
SELECT test.fresh();
SELECT a, b, c, test.meddled(a, b, c) FROM (VALUES ('l_transfers', 'INSERT', 'skip'), ('l_transfers', 'INSERT', 'id'),
    ('l_transfers', 'INSERT', 'metadata'), ('l', 'UPDATE', 'skip')) v(a, b, c);
SELECT test.balances('l'), test.ledger_sound('l');

-- more indexes, unique ones too
SELECT test.fresh();
CREATE UNIQUE INDEX order_once ON l_transfers ((metadata ->> 'order')) WHERE status = 'posted';
CREATE INDEX ON l_transfers (to_account, created_at);
CREATE INDEX ON l (unit, credits_posted);
SELECT test.t(keep.transfer('l', 'x1', 'a', 'b', 1, NULL, '{"order": 1}')),
    test.code($$SELECT keep.transfer('l', 'x2', 'a', 'b', 1, NULL, '{"order": 1}')$$) AS "the owner's own constraint", test.t(keep.transfer('l', 'x3', 'a', 'b', 1, NULL, '{"order": 2}'));
SELECT test.code($$SELECT keep.transfer_many('l', '{x4,x5}', '{a,a}', '{b,b}', '{1,1}', NULL, ARRAY['{"order": 3}', '{"order": 3}']::jsonb[])$$);
SELECT test.t(r) FROM keep.transfer_many('l', '{x4,x5}', '{a,a}', '{b,b}', '{1,1}', NULL, ARRAY['{"order": 3}', '{"order": 4}']::jsonb[]) r;
SET enable_seqscan = off;
SELECT count(*) FROM l WHERE unit = 'USD' AND credits_posted > 0;
SELECT count(*) FROM l_transfers WHERE to_account = 'b' AND created_at <= keep.clock();
RESET enable_seqscan;
-- rules
SELECT test.fresh();
CREATE RULE shadow AS ON INSERT TO l_transfers DO ALSO INSERT INTO outbox (what) VALUES ('rule: ' || NEW.id);
CREATE RULE keep_rich AS ON UPDATE TO l WHERE NEW.debits_posted > 50 AND NEW.id = 'a' DO INSTEAD NOTHING;
SELECT test.t(keep.transfer('l', 'y1', 'a', 'b', 1)), test.t(r) FROM keep.transfer_many('l', '{y2,y3,y2}', '{a,a,a}', '{b,b,b}', '{1,2,1}') r;
SELECT what FROM outbox ORDER BY what;
SELECT test.code($$SELECT keep.transfer('l', 'y4', 'a', 'b', 60)$$), test.code($$SELECT keep.transfer_many('l', '{y4}', '{a}', '{b}', '{60}')$$);
SELECT test.balances('l'), test.ledger_sound('l');
DROP FUNCTION test.fresh();
DROP FUNCTION test.meddled(text, text, text);
DROP TABLE l, l_transfers, customer, outbox;
DROP FUNCTION test.note();
DROP FUNCTION test.no();
DROP FUNCTION test.meddle();
