-- DROP EXTENSION leaves the stores, ledgers, request logs and saga logs as plain tables, with all that
-- is in them; CREATE EXTENSION and register() bring them back. Runs last: it ends with the extension
-- as CREATE EXTENSION leaves it, and takes the roles and helpers away.
\pset null '(null)'
\set VERBOSITY terse

SELECT reaper_ran FROM test.found \gset

-- the helpers of these tests use pg_keep's types
SET client_min_messages = warning;
DROP SCHEMA test CASCADE;
RESET client_min_messages;

SELECT keep.create_store('s', ttl => '1 hour', hash_keys => true);
SELECT keep.create_store('gone');
SELECT (keep.put('s', 'k', '1')).status;
SELECT keep.get('s', 'k');
SELECT version AS v FROM s \gset
SELECT options FROM keep.relation WHERE table_name = 's' \gset
SELECT keep.create_ledger('l', history => true);
SELECT (keep.open_account('l', 'a', 'USD', NULL)).balance, (keep.open_account('l', 'b', 'USD')).balance;
SELECT (keep.transfer('l', 't1', 'a', 'b', 5)).status;
SELECT (keep.transfer('l', 't2', 'a', 'b', 2, '1 hour')).status;
CREATE FUNCTION undo(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
SELECT keep.create_request_log('r', '7 days');
SELECT response, replayed FROM keep.call_once('r', 'once', 'undo(jsonb)', '1');
SELECT token AS rt FROM keep.begin_request('r', 'begun', '2', '1 hour') \gset
SELECT keep.create_saga_log('g', 3);
SELECT keep.allow_saga_function('g', 'undo(jsonb)');
SELECT keep.begin_saga('g', 'saga');
SELECT status FROM keep.run_step('g', 'saga', 'a', 'undo(jsonb)', '1', 'undo(jsonb)');
SELECT token AS gt FROM keep.enter_step('g', 'saga', 'b', 'undo b') \gset
SELECT options - 'token' AS g_options FROM keep.relation WHERE table_name = 'g' \gset

-- the stores do not hold the extension, nor the extension the stores
BEGIN;
DROP EXTENSION pg_keep;
SELECT count(*) AS entries FROM s;
SELECT count(*) AS transfers FROM l_transfers;
SELECT (SELECT count(*) FROM r) AS requests, (SELECT count(*) FROM g) AS sagas, (SELECT count(*) FROM g_steps) AS steps;
SELECT to_regclass('keep.relation'), to_regnamespace('keep');
ROLLBACK;
SELECT keep.get('s', 'k'), (keep.put('s', 'k', '1')).status;
SELECT (keep.transfer('l', 't1', 'a', 'b', 5)).replayed;
SELECT (keep.call_once('r', 'once', 'undo(jsonb)', '1')).replayed, (keep.run_step('g', 'saga', 'a', 'undo(jsonb)', '1', 'undo(jsonb)')).replayed;
SELECT count(*) AS registered FROM keep.relation;

DROP EXTENSION pg_keep;
SELECT count(*) AS entries FROM s;
SELECT id, credits_posted - debits_posted AS balance FROM l ORDER BY id;
INSERT INTO s (key, value, created_at, updated_at) VALUES ('by hand', '1', now(), now());
SELECT version > :v AS "the identity column works on" FROM s WHERE key = 'by hand';
SELECT count(*) AS "event triggers left" FROM pg_event_trigger WHERE evtname LIKE '%keep%';
-- without the extension the tables are the owner's to do with as he likes
ALTER TABLE s RENAME TO s2;
ALTER TABLE s2 RENAME TO s;
DROP TABLE gone;

CREATE EXTENSION pg_keep;
SELECT count(*) AS registered FROM keep.relation;
SELECT keep.get('s', 'k');
SELECT keep.register('s', 'store', :'options');
SELECT keep.get('s', 'k');
SELECT version > :v AS "versions go on", status FROM keep.put('s', 'k', '2');
SELECT count(*) FROM s WHERE key = encode(sha256('k'), 'hex');
SELECT keep.balance('l', 'b');
SELECT keep.register('l', 'ledger', '{"history": true}');
SELECT replayed, from_balance FROM keep.transfer('l', 't1', 'a', 'b', 5);
SELECT status, to_balance FROM keep.post_transfer('l', 't2');
SELECT transfer, balance FROM keep.statement('l', 'b');
SELECT rule FROM keep.verify_ledger('l') WHERE NOT ok;
SELECT keep.begin_request('r', 'begun', '2');
SELECT keep.register('r', 'request_log', '{"retain": "7 days"}');
SELECT state FROM keep.begin_request('r', 'begun', '2');
SELECT keep.complete_request('r', 'begun', :rt, '3');
SELECT response, replayed FROM keep.call_once('r', 'once', 'undo(jsonb)', '1.0');
SELECT keep.complete_saga('g', 'saga');
SELECT keep.register('g', 'saga_log', :'g_options');
SELECT keep.leave_step('g', 'saga', 'b', :gt, false);
SELECT replayed FROM keep.run_step('g', 'saga', 'a', 'undo(jsonb)', '1', 'undo(jsonb)');
SELECT state FROM keep.compensate_saga('g', 'saga');

-- a new version of the schema's objects serves the plans of this session
SELECT keep.create_store('gone');
SELECT (keep.put('gone', 'k', '1')).status;
DROP TABLE s, gone, l, l_transfers, r, g, g_steps;
DROP FUNCTION undo(jsonb);
SELECT count(*) AS registered FROM keep.relation;

SELECT CASE WHEN :'reaper_ran' THEN keep.start_reaper() ELSE true END AS "the reaper is as it was found";

-- an ordinary user without rights on the database cannot install it
SET ROLE regress_keep_nobody;
DROP EXTENSION pg_keep;
RESET ROLE;

DROP ROLE regress_keep_owner, regress_keep_other, regress_keep_user, regress_keep_nobody, regress_keep_a, regress_keep_b;
SELECT extname FROM pg_extension WHERE extname = 'pg_keep';
