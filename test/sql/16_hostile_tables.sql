-- Tables that change in the middle of a call, or answer what no table of their shape can: an error
-- that says so, never a crash, and what a call holds of a table stays as it was.
\pset null '(null)'
\set VERBOSITY terse
CREATE SCHEMA hostile;
SET search_path = hostile;

-- a rule that answers with NULLs instead of the table
SELECT keep.create_store('ruled');
SELECT test.o(keep.put('ruled', 'k', '1'));
CREATE TABLE other (LIKE ruled);
INSERT INTO other VALUES ('k', '2', 5, now(), now());
CREATE RULE d AS ON DELETE TO ruled DO INSTEAD DELETE FROM other WHERE key = OLD.key
	RETURNING NULL::text, NULL::jsonb, NULL::bigint, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz;
SELECT test.code($$SELECT keep.delete('ruled', 'k')$$), test.code($$SELECT keep.get('ruled', 'k')$$),
	test.code($$SELECT keep.set_store_option('ruled', 'ttl', '1 h')$$);
DROP RULE d ON ruled;
-- one that does something besides is none of our business
CREATE RULE also AS ON DELETE TO ruled DO ALSO INSERT INTO other VALUES ('also', '1', 1, now(), now());
SELECT test.o(keep.delete('ruled', 'k')), keep.get('ruled', 'k'), (SELECT count(*) FROM other);
DROP RULE also ON ruled;

-- one that comes in the middle of a call: by a trigger, before the call's second statement
CREATE FUNCTION make_rule() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN EXECUTE 'CREATE RULE late AS ON UPDATE TO hostile.late DO INSTEAD NOTHING'; RETURN NEW; END $$;
SELECT keep.create_store('late');
SELECT test.o(keep.put('late', 'k', '1')), test.lapse('late', 'k');
CREATE TRIGGER make_rule BEFORE INSERT ON late FOR EACH ROW EXECUTE FUNCTION make_rule();
SELECT test.code($$SELECT keep.put('late', 'k', '2')$$);

-- the same for request logs and saga logs
SELECT keep.create_request_log('r'), keep.create_saga_log('g');
CREATE RULE i AS ON UPDATE TO r DO INSTEAD NOTHING;
CREATE RULE i AS ON UPDATE TO g_steps DO INSTEAD NOTHING;
SELECT test.code($$SELECT keep.begin_request('r', 'k', '1')$$), test.code($$SELECT keep.begin_saga('g', 's')$$);

-- a trigger that gives the row another key: a batch sees that
CREATE FUNCTION other_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.key := 'other'; RETURN NEW; END $$;
SELECT keep.create_store('keys');
CREATE TRIGGER other_key BEFORE INSERT ON keys FOR EACH ROW EXECUTE FUNCTION other_key();
SELECT test.code($$SELECT keep.put_many('keys', '{a}', ARRAY['1']::jsonb[])$$);

-- a trigger that makes another kind of its table while a put is under way
SELECT keep.create_store('turned');
SELECT test.o(keep.put('turned', 'k', '1')), test.lapse('turned', 'k');
ALTER TABLE turned ADD COLUMN state text COLLATE "C" NOT NULL DEFAULT 'x', ADD COLUMN request_hash bytea NOT NULL DEFAULT '',
	ADD COLUMN token int8, ADD COLUMN lease interval, ADD COLUMN lease_until timestamptz, ADD COLUMN attempts int NOT NULL DEFAULT 0,
	ADD COLUMN checkpoint jsonb, ADD COLUMN response jsonb, ADD COLUMN request jsonb, ADD COLUMN finished_at timestamptz;
UPDATE turned SET token = 1;
ALTER TABLE turned ALTER COLUMN token SET NOT NULL, ALTER COLUMN token ADD GENERATED ALWAYS AS IDENTITY;
CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.register('turned', 'request_log', '{}');
	BEGIN
		PERFORM keep.release_request('turned', 'k', 1);
	EXCEPTION WHEN SQLSTATE 'KP412' THEN
		NULL;
	END;
	RETURN NEW;
END $$;
CREATE TRIGGER turn BEFORE INSERT ON turned FOR EACH ROW EXECUTE FUNCTION turn();
SELECT applied, status, value FROM keep.put('turned', 'k', '2', '1 hour');
SELECT test.code($$SELECT keep.put('turned', 'k', '3')$$) AS "it is a request log now";

-- calls for another kind do not throw away what the session keeps of a table
CREATE FUNCTION mistake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.balance('mistaken', 'a');
	RETURN NEW;
EXCEPTION WHEN wrong_object_type THEN
	RETURN NEW;
END $$;
SELECT keep.create_store('mistaken');
CREATE TRIGGER mistake BEFORE INSERT ON mistaken FOR EACH ROW EXECUTE FUNCTION mistake();
CREATE FUNCTION plans() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' $$;
CREATE PROCEDURE put_again(times int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. times LOOP
		PERFORM keep.put('mistaken', 'k', '1', '1 microsecond');
	END LOOP;
END $$;
CALL put_again(5);
SELECT plans() AS plans_before \gset
CALL put_again(50);
SELECT plans() - :plans_before < 10 AS "no plan is lost with each call";

-- a ledger's rows from before a column was added end before it
CREATE TABLE short (id text COLLATE "C", shard int2, shards int2 NOT NULL, unit text COLLATE "C" NOT NULL, frozen bool NOT NULL,
	debits_posted int8 NOT NULL, credits_posted int8 NOT NULL, PRIMARY KEY (id, shard));
INSERT INTO short VALUES (rpad('a', 49, 'x'), 0, 1, 'U', false, 0, 0), (rpad('b', 49, 'x'), 0, 1, 'U', false, 0, 0);
ALTER TABLE short ADD COLUMN debits_pending int8 NOT NULL DEFAULT 0, ADD COLUMN credits_pending int8 NOT NULL DEFAULT 0,
	ADD COLUMN version int8 NOT NULL DEFAULT 0, ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN min_balance int8,
	ADD COLUMN max_balance int8, ADD COLUMN floor int8, ADD COLUMN ceiling int8, ADD COLUMN opened_limits int8[];
SELECT keep.create_ledger('template');
CREATE TABLE short_transfers (LIKE template_transfers INCLUDING ALL);
SELECT keep.register('short', 'ledger');
SELECT status FROM keep.transfer('short', 't1', rpad('a', 49, 'x'), rpad('b', 49, 'x'), 5);
SELECT status FROM keep.transfer('short', 't2', rpad('a', 49, 'x'), rpad('b', 49, 'x'), 5, '1 hour');
SELECT debits_posted, debits_pending, version FROM short WHERE shard = 0 ORDER BY id LIMIT 1;
SELECT * FROM keep.verify_ledger('short') WHERE NOT ok;

-- nor are a ledger's tables unlogged
ALTER TABLE template SET UNLOGGED;
SELECT test.code($$SELECT keep.balance('template', 'a')$$);

-- a write that a trigger suppresses is said to be
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT keep.create_ledger('books');
SELECT (keep.open_account('books', 'a', 'U')).balance;
CREATE TRIGGER suppress BEFORE INSERT OR UPDATE ON books FOR EACH ROW EXECUTE FUNCTION suppress();
SELECT test.code($$SELECT keep.open_account('books', 'b', 'U')$$), test.code($$SELECT keep.freeze_account('books', 'a', true)$$),
	test.code($$SELECT keep.set_account_limits('books', 'a', 0, 10)$$);

-- a sequence that is altered: seen by a session that has used the store
SELECT keep.create_store('seq');
SELECT test.o(keep.put('seq', 'k', '1'));
ALTER SEQUENCE seq_version_seq CACHE 20;
SELECT test.code($$SELECT keep.put('seq', 'k', '2')$$);
ALTER SEQUENCE seq_version_seq CACHE 1;
SELECT test.o(keep.put('seq', 'k', '2'));

-- a store that is made unlogged by hand takes its sequence along; the option mends it
ALTER TABLE seq SET UNLOGGED;
SELECT test.code($$SELECT keep.put('seq', 'k', '3')$$);
SELECT keep.set_store_option('seq', 'persistence', 'unlogged'), test.o(keep.put('seq', 'k', '3'));
-- no other option can be set on what is no store
ALTER TABLE seq DROP CONSTRAINT seq_pkey;
SELECT test.code($$SELECT keep.set_store_option('seq', 'ttl', '2 hours')$$);
ALTER TABLE g DROP CONSTRAINT g_pkey;
SELECT test.code($$SELECT keep.allow_saga_function('g', 'test.act(jsonb)')$$);

-- rows of the catalog with no names
SELECT test.code($$INSERT INTO keep.relation VALUES (NULL, 'x', 'store', '{}')$$),
	test.code($$INSERT INTO keep.relation VALUES ('x', NULL, 'store', '{}')$$);

-- how a function is called does not depend on a setting
SELECT keep.create_saga_log('names');
SELECT keep.allow_saga_function('names', 'test.act(jsonb)');
SET quote_all_identifiers = on;
SELECT keep.allow_saga_function('names', 'test.act(jsonb)', false);
RESET quote_all_identifiers;
SELECT options - 'token' AS options FROM keep.relation WHERE table_name = 'names';

SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
