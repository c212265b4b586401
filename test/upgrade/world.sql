-- The database that test/upgrade/upgrade.pl takes from one major version to the next: tables of all four kinds,
-- of several owners, with all that can be under way in them.

\set ON_ERROR_STOP on

CREATE EXTENSION amcheck;
CREATE EXTENSION pg_keep;
CREATE ROLE app LOGIN;
CREATE ROLE guest LOGIN;
CREATE SCHEMA "Odd Schema" AUTHORIZATION app;
CREATE SCHEMA off;
CREATE SCHEMA fn;
GRANT USAGE ON SCHEMA off, fn TO PUBLIC;
GRANT CREATE ON SCHEMA off TO app;

-- What was there before leaves holes in the OIDs and columns.
SELECT keep.create_store('dropped'), keep.create_ledger('dropped_ledger');
DROP TABLE dropped, dropped_ledger, dropped_ledger_transfers;

-- stores
SELECT keep.create_store('plain');
SELECT keep.create_store('sessions', ttl => '30 min', expire_after => 'access', max_lifetime => '12 hours',
	renew_after => '90 s', max_value_bytes => 200, hash_keys => true);
SELECT keep.create_store('gone', ttl => '1 day', expire_after => 'create');
SELECT keep.create_store('off.fast', ttl => '2 hours', persistence => 'unlogged');
SELECT keep.create_store('before', ttl => '1 month 3 days 04:05:06.789');
ALTER TABLE before RENAME TO after;
SELECT keep.create_store('moved', ttl => '4 hours');
ALTER TABLE moved SET SCHEMA off;
SELECT keep.create_store('turned');
SELECT keep.set_store_option('turned', 'persistence', 'unlogged');
SELECT keep.create_store('extra');
ALTER TABLE extra ADD COLUMN unused int, ADD COLUMN note text DEFAULT 'hello',
	ADD COLUMN customer int GENERATED ALWAYS AS ((value ->> 'customer')::int) STORED;
ALTER TABLE extra DROP COLUMN unused;
CREATE INDEX extra_customer ON extra (customer);
CREATE TABLE children (key text REFERENCES extra ON DELETE CASCADE);
SELECT keep.create_store('secure');
ALTER TABLE secure ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secure USING (key LIKE current_user || '%');
SET ROLE app;
SELECT keep.create_store('"Odd Schema"."A ""Store"""', ttl => '1 hour');
RESET ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON plain, extra, secure TO app;
GRANT SELECT ON plain TO guest;
REVOKE ALL ON FUNCTION keep.wait_for(regclass, text, bigint, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep.stat_reset(regclass) TO app;

SELECT keep.put(s, 'k' || n, jsonb_build_object('n', n, 'customer', n)), keep.put(s, 'app' || n, '"x"', '1 day')
	FROM unnest('{plain,sessions,gone,off.fast,after,off.moved,turned,extra,secure,"\"Odd Schema\".\"A \"\"Store\"\"\""}'::regclass[]) s,
		generate_series(1, 30) n;
SELECT keep.put(s, 'big', to_jsonb(repeat(md5('x'), 1000) || clock_timestamp())) FROM unnest('{plain,extra}'::regclass[]) s;
SELECT keep.put(s, 'over', '1', '1 ms'), keep.delete(s, 'k30'), keep.increment(s, 'count', 41), keep.acquire(s, 'lease', 'me', '1 day')
	FROM unnest('{plain,sessions,off.fast,extra,"\"Odd Schema\".\"A \"\"Store\"\"\""}'::regclass[]) s;
INSERT INTO children VALUES ('k1');

-- ledgers
SELECT keep.create_ledger('bank', history => true);
SELECT keep.create_ledger('ledger_before');
ALTER TABLE ledger_before RENAME TO ledger_after;
ALTER TABLE ledger_before_transfers RENAME TO moves;
ALTER TABLE moves ADD COLUMN note text DEFAULT 'hello';
SET ROLE app;
SELECT keep.create_ledger('"Odd Schema"."A ""Ledger"""', history => true);
RESET ROLE;
GRANT SELECT ON bank, bank_transfers TO guest;
CREATE PROCEDURE fill_ledger(l regclass) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.open_account(l, 'world', 'EUR', NULL);
	PERFORM keep.open_account(l, a, 'EUR') FROM unnest('{a,b,c}'::text[]) AS a;
	PERFORM keep.open_account(l, 'usd', 'USD');
	PERFORM keep.open_account(l, 'pool', 'EUR', -50, 1000, 4);
	PERFORM keep.set_account_limits(l, 'c', -10, 500);
	PERFORM keep.transfer(l, 'fund', 'world', 'a', 100, metadata => '{"from": "outside"}');
	PERFORM keep.transfer(l, 'poor', 'b', 'a', 100);
	PERFORM keep.transfer(l, 'held', 'a', 'b', 30, '10 days');
	PERFORM keep.transfer(l, 'part', 'world', 'b', 50, '10 days');
	PERFORM keep.post_transfer(l, 'part', 20);
	PERFORM keep.transfer(l, 'void', 'world', 'b', 50, '10 days');
	PERFORM keep.void_transfer(l, 'void');
	PERFORM keep.reverse_transfer(l, 'back', 'fund', 25);
	PERFORM keep.transfer_many(l, '{p1,p2,k1,k2}', '{world,pool,a,b}', '{pool,c,b,c}', '{400,300,1,9999}',
		chains => '{NULL,NULL,k,k}');
	PERFORM keep.transfer_many(l, array_agg('m' || n), array_agg('world'::text), array_agg('pool'::text), array_agg(1::bigint))
		FROM generate_series(1, 100) n;
	PERFORM keep.open_account(l, 'frozen', 'EUR');
	PERFORM keep.freeze_account(l, 'frozen');
	COMMIT;
	PERFORM keep.transfer(l, 'over', 'world', 'b', 40, '1 ms');
END $$;
CALL fill_ledger('bank');
CALL fill_ledger('ledger_after');
CALL fill_ledger('"Odd Schema"."A ""Ledger"""');

-- functions for the logs, some of another owner; what they did is seen in done
CREATE TABLE fn.done (what text);
GRANT INSERT, SELECT ON fn.done TO PUBLIC;
CREATE FUNCTION fn.act(a jsonb) RETURNS jsonb LANGUAGE sql AS
	'INSERT INTO fn.done VALUES (''did '' || (a ->> 0)) RETURNING to_jsonb(what)';
CREATE FUNCTION fn.undo(a jsonb) RETURNS jsonb LANGUAGE sql AS
	'INSERT INTO fn.done VALUES (''undid '' || (a #>> ''{args,0}'')) RETURNING to_jsonb(what)';
CREATE FUNCTION fn.fails(a jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'no way back'; END $$;
CREATE FUNCTION fn.twice(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(2 * a::int)';
-- a name that is a keyword from version 17 on
CREATE FUNCTION fn.json_value(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT a';
SET ROLE app;
CREATE FUNCTION "Odd Schema"."App's Undo"(a jsonb) RETURNS jsonb LANGUAGE sql AS
	'INSERT INTO fn.done VALUES (''app undid '' || (a #>> ''{args,0}'')) RETURNING to_jsonb(what)';
RESET ROLE;

-- request logs
SELECT keep.create_request_log('requests');
SELECT keep.create_request_log('ever', retain => NULL, keep_request => true);
SET ROLE app;
SELECT keep.create_request_log('off."A Log"', '1 month 3 days', true);
RESET ROLE;
ALTER TABLE ever ADD COLUMN note text DEFAULT 'hello';
CREATE PROCEDURE fill_requests(l regclass) LANGUAGE plpgsql AS $$
DECLARE
	t bigint;
BEGIN
	SELECT token INTO t FROM keep.begin_request(l, 'done', '{"a": 1.0}');
	PERFORM keep.complete_request(l, 'done', t, '{"paid": true}');
	SELECT token INTO t FROM keep.begin_request(l, 'failed', '1');
	PERFORM keep.fail_request(l, 'failed', t, '"no money"');
	SELECT token INTO t FROM keep.begin_request(l, 'free', '1');
	PERFORM keep.checkpoint_request(l, 'free', t, '{"at": 1}');
	PERFORM keep.release_request(l, 'free', t);
	SELECT token INTO t FROM keep.begin_request(l, 'over', '1', '1 ms');
	PERFORM keep.checkpoint_request(l, 'over', t, '{"at": 2}');
	PERFORM keep.begin_request(l, 'open', '1', '10 days');
	PERFORM keep.call_once(l, 'called', 'fn.twice(jsonb)', '21');
	PERFORM keep.call_once(l, 'word', 'fn.json_value(jsonb)', '21');
END $$;
CALL fill_requests('requests');
CALL fill_requests('ever');
CALL fill_requests('off."A Log"');

-- saga logs
SELECT keep.create_saga_log('orders', 3);
SELECT keep.create_saga_log('saga_before', 3);
ALTER TABLE saga_before RENAME TO saga_after;
ALTER TABLE saga_before_steps RENAME TO steps;
SET ROLE app;
SELECT keep.create_saga_log('"Odd Schema"."A ""Saga"""', 3);
SELECT keep.allow_saga_function('"Odd Schema"."A ""Saga"""', '"Odd Schema"."App''s Undo"(jsonb)');
SELECT keep.allow_saga_function('"Odd Schema"."A ""Saga"""', f) FROM unnest('{fn.act,fn.fails,fn.json_value}'::regproc[]) f;
RESET ROLE;
SELECT keep.allow_saga_function(l, f) FROM unnest('{orders,saga_after}'::regclass[]) l, unnest('{fn.act,fn.undo,fn.fails,fn.json_value}'::regproc[]) f;
CREATE PROCEDURE fill_sagas(l regclass, undo regprocedure = 'fn.undo(jsonb)') LANGUAGE plpgsql AS $$
DECLARE
	t bigint;
BEGIN
	PERFORM keep.begin_saga(l, s, '10 days'), keep.run_step(l, s, 'a', 'fn.act(jsonb)', '["a"]', undo)
		FROM unnest('{full,undone,back,run}'::text[]) AS s;
	PERFORM keep.run_step(l, 'back', 'word', 'fn.json_value(jsonb)', '["w"]', 'fn.json_value(jsonb)');
	PERFORM keep.complete_saga(l, 'full');
	PERFORM keep.compensate_saga(l, 'undone');
	PERFORM keep.run_step(l, 'undone', 'b', 'fn.act(jsonb)', '["b"]', undo);
	SELECT token INTO t FROM keep.enter_step(l, 'back', 'p', 'undo p', '["p"]');
	PERFORM keep.leave_step(l, 'back', 'p', t, true, '"p done"');
	PERFORM keep.compensate_saga(l, 'back');
	PERFORM keep.claim_compensations(l, 'worker 1', lease => '10 days');
	PERFORM keep.begin_saga(l, 'stuck'), keep.run_step(l, 'stuck', 'a', 'fn.act(jsonb)', '["a"]', 'fn.fails(jsonb)');
	PERFORM keep.compensate_saga(l, 'stuck');
	SELECT token INTO t FROM keep.enter_step(l, 'run', 'p', 'undo p', '["p"]');
	PERFORM keep.leave_step(l, 'run', 'p', t, true, '"p done"');
	PERFORM keep.enter_step(l, 'run', 'q', 'undo q', lease => '1 ms');
	PERFORM keep.enter_step(l, 'run', 'r', 'undo r', lease => '10 days');
	PERFORM keep.begin_saga(l, 'late', '1 ms'), keep.run_step(l, 'late', 'a', 'fn.act(jsonb)', '["a"]', undo);
END $$;
CALL fill_sagas('orders');
CALL fill_sagas('saga_after');
SET ROLE app;
CALL fill_sagas('"Odd Schema"."A ""Saga"""', '"Odd Schema"."App''s Undo"(jsonb)');
RESET ROLE;

-- What compensates by itself is due, and what rests is not.
UPDATE orders_steps SET retry_at = '2100-01-01' WHERE saga = 'stuck';
UPDATE orders SET due_at = '2100-01-01' WHERE saga = 'stuck';
SELECT pg_sleep(0.02);

-- The database has been used for a while.
VACUUM;
