-- The database that sqlsmith and the random caller are let loose on: tables of all four kinds with
-- data, things that are not such tables, functions to be called by logs, and two roles.
--
-- The schema smith comes first in the path of sqlsmith's superuser. Its pg_proc is what sqlsmith takes
-- for the list of functions: those of pg_keep, and the few others that make values for them.

\set ON_ERROR_STOP on
SET client_min_messages = error;
SET check_function_bodies = off;

CREATE EXTENSION pg_keep;
CREATE EXTENSION amcheck;
CREATE ROLE smith_app LOGIN;
CREATE ROLE smith_super LOGIN SUPERUSER;
GRANT ALL ON SCHEMA public TO smith_app;

-- functions for logs to call
CREATE FUNCTION fn_ok(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT jsonb_build_object(''got'', $1)';
CREATE FUNCTION fn_null(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION fn_raise(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'ZZ001'; END $$;
CREATE FUNCTION fn_some(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN IF random() < 0.5 THEN RAISE 'no' USING ERRCODE = 'ZZ002'; END IF; RETURN '1'; END $$;
CREATE FUNCTION fn_put(jsonb) RETURNS jsonb LANGUAGE sql AS
	'SELECT to_jsonb(status) FROM keep.put(''s_plain'', ''k1'', $1)';
CREATE FUNCTION fn_again(jsonb) RETURNS jsonb LANGUAGE sql AS
	'SELECT response FROM keep.call_once(''r_plain'', ''k'' || (random() * 20)::int, ''fn_put(jsonb)'', $1)';
CREATE FUNCTION fn_caught(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM keep.transfer('l_plain', 'c' || (random() * 20)::int, 'a1', 'a2', (random() * 9)::bigint);
		RAISE 'x';
	EXCEPTION WHEN raise_exception THEN RETURN '"caught"';
	END $$;
CREATE FUNCTION fn_strict(jsonb) RETURNS jsonb LANGUAGE sql STRICT AS 'SELECT $1';
CREATE FUNCTION fn_wrong(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE fn_procedure(jsonb) LANGUAGE sql AS 'SELECT 1';

-- stores
SELECT keep.create_store('s_plain');
SELECT keep.create_store('s_hash', ttl => '1 hour', hash_keys => true);
SELECT keep.create_store('s_unlogged', ttl => '20 ms', persistence => 'unlogged');
SELECT keep.create_store('s_slide', ttl => '50 ms', expire_after => 'access', max_lifetime => '1 s', renew_after => '0');
SELECT keep.create_store('s_once', ttl => '50 ms', expire_after => 'create');
SELECT keep.create_store('s_small', max_value_bytes => 50);
SELECT keep.create_store('s_extra');
CREATE TABLE s_children (key text REFERENCES s_extra ON DELETE CASCADE);
ALTER TABLE s_extra ADD COLUMN note text DEFAULT 'n', ADD COLUMN kind text GENERATED ALWAYS AS (jsonb_typeof(value)) STORED;
CREATE FUNCTION trigger_some() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF random() < 0.1 THEN RETURN NULL; END IF;
		IF random() < 0.1 THEN RAISE 'trigger' USING ERRCODE = 'ZZ003'; END IF;
		RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
	END $$;
CREATE TRIGGER at_times BEFORE INSERT OR UPDATE OR DELETE ON s_extra FOR EACH ROW EXECUTE FUNCTION trigger_some();
SELECT keep.create_store('s_secure');
ALTER TABLE s_secure ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON s_secure USING (length(key) % 2 = 1) WITH CHECK (length(key) < 1000);
SELECT keep.create_store('s_private');
SELECT keep.create_store('s_stripped');
ALTER TABLE s_stripped DROP COLUMN reap_at;

-- ledgers
SELECT keep.create_ledger('l_plain');
SELECT keep.create_ledger('l_history', history => true);
SELECT keep.create_ledger('l_trigger');
CREATE FUNCTION trigger_none() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER idle AFTER INSERT OR UPDATE ON l_trigger FOR EACH ROW EXECUTE FUNCTION trigger_none();
SELECT keep.create_ledger('l_secure');
ALTER TABLE l_secure ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON l_secure USING (id <> 'a3');

-- logs
SELECT keep.create_request_log('r_plain');
SELECT keep.create_request_log('r_short', retain => '30 ms', keep_request => true);
SELECT keep.create_saga_log('g_plain');
SELECT keep.create_saga_log('g_few', max_attempts => 1);
SELECT keep.allow_saga_function(log, fn) FROM
	unnest('{g_plain,g_few}'::regclass[]) log,
	unnest('{fn_ok,fn_null,fn_raise,fn_some,fn_put,fn_again,fn_caught,fn_strict}'::regproc[]) fn;

-- data, by calls; again and again while the run goes on
CREATE PROCEDURE refill() LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
	i int;
BEGIN
	SET LOCAL client_min_messages = error;
	FOR t IN SELECT relid FROM keep.relation WHERE kind = 'store' AND table_name LIKE 's\_%' AND table_name <> 's_stripped' LOOP
		BEGIN
			PERFORM keep.put_if_absent(t, 'k' || n, CASE n % 3 WHEN 0 THEN '{"a": {"b": 1}}' WHEN 1 THEN '7' ELSE '[1]' END::jsonb)
			FROM generate_series(1, 20) n;
			PERFORM keep.acquire(t, 'lease' || n, 'me', '1 s') FROM generate_series(1, 3) n;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
		COMMIT;
	END LOOP;
	FOREACH t IN ARRAY '{l_plain,l_history,l_trigger,l_secure}'::regclass[] LOOP
		FOR i IN 1..8 LOOP
			BEGIN
				PERFORM keep.open_account(t, 'a' || i, 'EUR', -1000000, shards => CASE WHEN i = 8 THEN 4 ELSE 1 END);
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		FOR i IN 1..12 LOOP
			BEGIN
				PERFORM keep.transfer(t, 't' || i, 'a' || i % 3 + 1, 'a' || i % 3 + 4, i,
					CASE i % 4 WHEN 0 THEN '1 hour' WHEN 1 THEN '10 ms' END::interval);
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		COMMIT;
	END LOOP;
	FOREACH t IN ARRAY '{r_plain,r_short}'::regclass[] LOOP
		FOR i IN 1..12 LOOP
			BEGIN
				PERFORM keep.begin_request(t, 'k' || i, jsonb_build_object('n', i), '10 ms');
				PERFORM keep.call_once(t, 'c' || i, 'fn_ok(jsonb)', '1');
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		COMMIT;
	END LOOP;
	FOREACH t IN ARRAY '{g_plain,g_few}'::regclass[] LOOP
		FOR i IN 1..12 LOOP
			BEGIN
				PERFORM keep.begin_saga(t, 'g' || i, CASE WHEN i > 6 THEN interval '20 ms' END);
				PERFORM keep.run_step(t, 'g' || i, 'p1', 'fn_ok(jsonb)', '1', 'fn_some(jsonb)');
				PERFORM keep.enter_step(t, 'g' || i, 'p2', 'undo', '{}', '10 ms');
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		COMMIT;
	END LOOP;
END $$;
CALL refill();

-- what is none of these
CREATE TABLE n_plain (key text, value jsonb);
CREATE TABLE n_parted (key text PRIMARY KEY, value jsonb) PARTITION BY HASH (key);
CREATE TABLE n_parted_0 PARTITION OF n_parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE VIEW n_view AS SELECT * FROM s_plain;
CREATE MATERIALIZED VIEW n_matview AS SELECT * FROM s_plain;
CREATE SEQUENCE n_sequence;
CREATE TYPE n_type AS (a int);
CREATE TABLE n_pretender (LIKE s_plain INCLUDING ALL);

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO smith_app;
REVOKE ALL ON s_private FROM smith_app;
REVOKE UPDATE ON s_small FROM smith_app;
REVOKE INSERT ON l_trigger_transfers FROM smith_app;
GRANT EXECUTE ON PROCEDURE refill() TO smith_app;

-- Values for arguments, in columns of their types: sqlsmith takes arguments from columns. Many views of
-- them, as it takes tables at random.
CREATE SCHEMA smith;
CREATE TABLE smith.stores AS SELECT c.oid::regclass AS store, 'k' || n AS key, ('{"a": ' || n || '}')::jsonb AS value,
		n::bigint AS version, n AS small, (n || ' ms')::interval AS ttl, ARRAY['k' || n, 'k1'] AS keys, ARRAY['1', '{}']::jsonb[] AS "values",
		n % 2 = 0 AS flag, 'fn_ok(jsonb)'::regprocedure AS fn, ARRAY[n, 1]::bigint[] AS numbers, ARRAY[NULL, '1 s']::interval[] AS ttls
	FROM pg_class c, generate_series(1, 5) n WHERE relname LIKE 's\_%' AND relkind = 'r';
CREATE TABLE smith.ledgers AS SELECT c.oid::regclass AS ledger, 't' || n AS id, 'a' || n AS account, 'a' || n % 4 + 1 AS other,
		n::bigint AS amount, n AS small, (n || ' s')::interval AS hold, ARRAY['t' || n, 'a1'] AS ids, ARRAY['a3', 'a4'] AS others,
		ARRAY[n, 1]::bigint[] AS amounts, ARRAY[NULL, '1 s']::interval[] AS holds, '{"n": 1}'::jsonb AS data,
		ARRAY[NULL, '{}']::jsonb[] AS metadata, 'all' AS report, n % 2 = 0 AS flag, 'fn_null(jsonb)'::regprocedure AS fn
	FROM pg_class c, generate_series(1, 5) n WHERE relname ~ '^l_[^_]*$' AND relkind = 'r';
CREATE TABLE smith.logs AS SELECT c.oid::regclass AS log, CASE WHEN relname LIKE 'r%' THEN 'k' ELSE 'g' END || n AS key,
		'p' || n % 3 AS step, n::bigint AS token, n AS small, ('{"n": ' || n || '}')::jsonb AS request, f.oid::regprocedure AS fn,
		(n || ' ms')::interval AS lease, n % 2 = 0 AS ok, ARRAY['k' || n, 'g1'] AS keys, ARRAY['1', '{}']::jsonb[] AS responses,
		ARRAY[n, 1]::bigint[] AS tokens, ARRAY[NULL, '1 s']::interval[] AS leases
	FROM pg_class c, generate_series(1, 5) n, pg_proc f
	WHERE relname ~ '^[rg]_[^_]*$' AND relkind = 'r' AND proname LIKE 'fn\_%';
SELECT format('CREATE VIEW smith.%I AS SELECT * FROM smith.%I', t || '_' || n, t)
	FROM unnest('{stores,ledgers,logs}'::text[]) t, generate_series(1, 30) n \gexec

-- sqlsmith calls no function that returns a set
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT proname, pg_get_function_identity_arguments(oid) AS args, pronargs FROM pg_proc
		WHERE pronamespace = 'keep'::regnamespace AND proretset
	LOOP
		EXECUTE format('CREATE FUNCTION smith.%I(%s) RETURNS bigint LANGUAGE sql VOLATILE AS %L', f.proname || '_rows',
			(SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n)
				FROM pg_proc p, unnest(p.proargtypes) WITH ORDINALITY a (t, n)
				WHERE p.pronamespace = 'keep'::regnamespace AND p.proname = f.proname),
			format('SELECT count(*) FROM keep.%I(%s)', f.proname,
				(SELECT string_agg('$' || n, ', ') FROM generate_series(1, f.pronargs) n)));
	END LOOP;
END $$;

CREATE VIEW smith.pg_proc AS SELECT * FROM pg_catalog.pg_proc
	WHERE pronamespace IN ('keep'::regnamespace, 'smith'::regnamespace) AND prokind = 'f' AND NOT proretset
		OR pronamespace = 'pg_catalog'::regnamespace
			AND proname IN ('jsonb_build_array', 'to_jsonb', 'jsonb_set', 'md5', 'upper', 'array_append', 'make_interval', 'now',
				'clock_timestamp', 'jsonb_typeof', 'abs', 'justify_days', 'to_regclass', 'to_regprocedure', 'repeat', 'int8mul');

-- Nor does it know which operators take which types; these it would mostly get wrong.
SET allow_system_table_mods = on;
DELETE FROM pg_operator WHERE array_position(array_cat(ARRAY['anyrange', 'anymultirange', 'anyenum',
		'point', 'box', 'path', 'polygon', 'circle', 'line', 'lseg']::regtype[],
		(SELECT array_agg(oid::regtype) FROM pg_type WHERE typcategory IN ('I', 'V') AND oid::regtype::text NOT IN ('text'))),
	oprleft::regtype) IS NOT NULL;
RESET allow_system_table_mods;

GRANT USAGE ON SCHEMA smith TO smith_app;
GRANT SELECT ON ALL TABLES IN SCHEMA smith TO smith_app;
ALTER ROLE smith_super IN DATABASE smith SET search_path = smith, public, pg_catalog;
ALTER ROLE smith_super IN DATABASE smith SET lock_timeout = '300ms';
ALTER ROLE smith_app IN DATABASE smith SET lock_timeout = '300ms';
