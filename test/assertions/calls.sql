-- A call of nearly every function, once or twice, also with tables altered in between. scripts/check-assertions runs
-- it on a server that drops every cache entry as soon as it can, where each call takes long, and on one
-- that does not: the answers must be those of expected/calls.out, errors that are meant among them. So nothing in here
-- depends on time or chance.

\set VERBOSITY terse
\pset null -
CREATE EXTENSION pg_keep;
SET client_min_messages = error;
CREATE FUNCTION act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION fails(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;

SELECT keep.create_store('s', ttl => '1 hour');
SELECT status, value FROM keep.put('s', 'a', '1');
SELECT status, value FROM keep.put('s', 'a', '{"a": 2}');
SELECT keep.get('s', 'a');
SELECT key, value FROM keep.get_entry('s', 'a');
SELECT key, value FROM keep.get_many('s', '{a,b}');
SELECT key, value FROM keep.put_many('s', '{b,c}', '{1,2}');
SELECT key, value FROM keep.put_batch('s', '{"d": 1, "e": 2}');
SELECT status FROM keep.put_if_absent('s', 'a', '1');
SELECT status FROM keep.compare_and_swap('s', 'a', 1, '1');
SELECT status FROM keep.compare_and_swap('s', 'f', 0, '1');
SELECT status, value FROM keep.merge('s', 'a', '{"b": {"c": 1}, "a": null}');
SELECT status, value FROM keep.increment('s', 'a', 5, '{b,c}');
SELECT status, value FROM keep.increment('s', 'n');
SELECT status FROM keep.touch('s', 'a', '2 hours');
SELECT status FROM keep.persist('s', 'a');
SELECT key FROM keep.get_and_touch('s', 'b');
SELECT keep.set_store_option('s', 'hash_keys', 'true');
SELECT keep.set_store_option('s', 'max_value_bytes', '90');
SELECT keep.put('s', 'a', to_jsonb(repeat('x', 100)));
ALTER TABLE s ADD COLUMN note text DEFAULT 'n';
SELECT status FROM keep.put('s', 'g', '1');
ALTER TABLE s RENAME TO t;
SELECT keep.get('t', 'g');
SELECT keep.get('s', 'g');
SELECT status FROM keep.delete('t', 'g');
SELECT acquired FROM keep.acquire('t', 'l', 'me', '1 hour') \gset
SELECT acquired, owner FROM keep.acquire('t', 'l', 'you', '1 hour');
SELECT status FROM keep.renew('t', 'l', (SELECT version FROM t WHERE key = 'l'), '1 hour');
SELECT keep.assert_lease('t', 'l', (SELECT version FROM t WHERE key = 'l'));
SELECT status FROM keep.release('t', 'l', (SELECT version FROM t WHERE key = 'l'));
SELECT status FROM keep.put('t', 'over', '1', '1 us');
SELECT keep.expire('t'), keep.expire();
SELECT count(*) FROM keep.wait_for('t', 'none', timeout => '10 ms');
SELECT count(*) FROM keep.wait_for('t', 'b');

SELECT keep.create_ledger('l', history => true);
SELECT account, balance FROM keep.open_account('l', 'a', 'EUR', -100);
SELECT account, balance FROM keep.open_account('l', 'b', 'EUR', shards => 2);
SELECT status, from_balance, to_balance FROM keep.transfer('l', 't1', 'a', 'b', 10);
SELECT status, replayed FROM keep.transfer('l', 't1', 'a', 'b', 10);
SELECT keep.transfer('l', 't1', 'a', 'b', 11);
SELECT status, reason FROM keep.transfer('l', 't2', 'a', 'b', 1000);
SELECT status FROM keep.transfer('l', 't3', 'a', 'b', 10, '1 hour');
SELECT status FROM keep.transfer('l', 't4', 'a', 'b', 10, '1 hour');
SELECT status, amount FROM keep.post_transfer('l', 't3', 5);
SELECT status FROM keep.void_transfer('l', 't4');
SELECT status FROM keep.reverse_transfer('l', 'r1', 't1', 3);
SELECT id, status, reason FROM keep.transfer_many('l', '{m1,m2,t1}', '{a,b,a}', '{b,a,b}', '{1,2,10}', chains => '{c,c,NULL}');
SELECT id, status FROM keep.transfer_batch('l', '[{"id": "m3", "from_account": "a", "to_account": "b", "amount": 1}]');
SET pg_keep.direct_access = off;
SELECT id, status FROM keep.transfer_many('l', '{m4,m5}', '{a,b}', '{b,a}', '{1,2}');
RESET pg_keep.direct_access;
SELECT status FROM keep.transfer('l', 't5', 'a', 'b', 1, '1 us');
SELECT keep.expire_holds('l');
SELECT frozen FROM keep.freeze_account('l', 'a');
SELECT status, reason FROM keep.transfer('l', 't6', 'a', 'b', 1);
SELECT account FROM keep.set_account_limits('l', 'b', 0, 1000);
SELECT balance, available FROM keep.balance('l', 'b');
SELECT transfer, amount, balance FROM keep.statement('l', 'a');
SELECT rule, ok FROM keep.verify_ledger('l');

SELECT keep.create_request_log('r');
SELECT state FROM keep.begin_request('r', 'k', '1');
SELECT state FROM keep.begin_request('r', 'k', '1');
SELECT keep.begin_request('r', 'k', '2');
SELECT keep.checkpoint_request('r', 'k', (SELECT token FROM r), '"c"');
SELECT keep.release_request('r', 'k', (SELECT token FROM r));
SELECT state, checkpoint FROM keep.begin_request('r', 'k', '1');
SELECT keep.complete_request('r', 'k', (SELECT token FROM r), '"done"');
SELECT state, response FROM keep.begin_request('r', 'k', '1');
SELECT * FROM keep.call_once('r', 'c', 'act(jsonb)', '1');
SELECT * FROM keep.call_once('r', 'c', 'act(jsonb)', '1');
SELECT keep.call_once('r', 'd', 'fails(jsonb)', '1');
SELECT state FROM keep.begin_request('r', 'f', '1');
SELECT keep.fail_request('r', 'f', (SELECT token FROM r WHERE key = 'f'), '"no"');
SELECT keep.expire_requests('r');

SELECT keep.create_saga_log('g', 1);
SELECT keep.allow_saga_function('g', f) FROM unnest('{act,fails}'::regproc[]) f;
SELECT keep.begin_saga('g', 'x');
SELECT * FROM keep.run_step('g', 'x', 'a', 'act(jsonb)', '{}', 'act(jsonb)');
SELECT * FROM keep.run_step('g', 'x', 'a', 'act(jsonb)', '{}', 'act(jsonb)');
SELECT status FROM keep.enter_step('g', 'x', 'p', 'undo');
SELECT keep.leave_step('g', 'x', 'p', (SELECT token FROM g_steps WHERE step = 'p'), true);
SELECT * FROM keep.compensate_saga('g', 'x');
SELECT saga, step, compensation FROM keep.claim_compensations('g', 'w');
SELECT keep.finish_compensation('g', 'x', 'p', (SELECT token FROM g_steps WHERE step = 'p'), true);
CALL keep.run_compensations('g', 'x');
SELECT keep.begin_saga('g', 'y');
SELECT * FROM keep.run_step('g', 'y', 'a', 'act(jsonb)', '{}', 'fails(jsonb)');
SELECT * FROM keep.compensate_saga('g', 'y');
SELECT keep.resume_saga('g', 'y');
CALL keep.run_due_compensations('g');
SELECT keep.begin_saga('g', 'z'), keep.complete_saga('g', 'z');
SELECT saga, state FROM g ORDER BY saga;

SELECT table_name, kind FROM keep.relation ORDER BY 1;
DROP TABLE t, l, r;
SELECT table_name FROM keep.relation ORDER BY 1;
DROP EXTENSION pg_keep;
