-- What 062_guards.pl runs its cells with: a table of each kind with something in it for every function to work on,
-- and functions that make a call, note its outcome and what it changed, and take it back.

CREATE EXTENSION pg_keep;
CREATE ROLE guard_owner;
CREATE ROLE guard_user;
CREATE SCHEMA guard;
GRANT USAGE ON SCHEMA guard TO PUBLIC;
GRANT EXECUTE ON FUNCTION keep.start_reaper(), keep.stop_reaper(), keep.stat_reset(regclass),
	keep.relation_restored(), keep.table_dropped(), keep.table_altered() TO guard_owner;

-- What is to be called: "expression" is the call alone, both have @ for the table. A template has :word for a version or token.
CREATE TABLE guard.call (nr int PRIMARY KEY, kind text, columns text, template text, expression text, query text);
-- The tables, as conditions find them
CREATE TABLE guard.kind (kind text PRIMARY KEY, t text, u text, made text);
INSERT INTO guard.kind VALUES
	('store', 'app.s', NULL, $$keep.create_store('app.s', '1 hour', 'access', renew_after => '0')$$),
	('ledger', 'app.l', 'app.l_transfers', $$keep.create_ledger('app.l', true)$$),
	('request_log', 'app.r', NULL, $$keep.create_request_log('app.r')$$),
	('saga_log', 'app.g', 'app.g_steps', $$keep.create_saga_log('app.g', 1)$$),
	('procedure', 'app.g', 'app.g_steps', NULL), ('create', NULL, NULL, NULL), ('none', NULL, NULL, NULL), ('reaper', NULL, NULL, NULL);

-- The schema of the tables, anew, with functions for call_once and for steps
CREATE FUNCTION guard.found() RETURNS void LANGUAGE sql AS $$
	DROP SCHEMA IF EXISTS app, far, odd CASCADE;
	DROP EXTENSION IF EXISTS file_fdw CASCADE;
	DROP FUNCTION IF EXISTS guard.fire() CASCADE;
	UPDATE guard.kind SET t = 'app.g', u = 'app.g_steps' WHERE kind = 'saga_log';
	CREATE SCHEMA app AUTHORIZATION guard_owner;
	GRANT USAGE ON SCHEMA app TO guard_user;
	CREATE FUNCTION app.act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION app.undo(jsonb) RETURNS jsonb LANGUAGE sql AS $f$SELECT '"undone"'::jsonb$f$;
	CREATE FUNCTION app.fail(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $f$BEGIN RAISE EXCEPTION 'no'; END$f$;
	CREATE FUNCTION app.extra(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	ALTER FUNCTION app.act(jsonb) OWNER TO guard_owner;
	ALTER FUNCTION app.undo(jsonb) OWNER TO guard_owner;
	ALTER FUNCTION app.fail(jsonb) OWNER TO guard_owner;
	ALTER FUNCTION app.extra(jsonb) OWNER TO guard_owner;
$$;
SET client_min_messages = warning;
SELECT guard.found();

-- Runs statements with the clock that much back
CREATE FUNCTION guard.past(span text, statements text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('pg_keep.test_clock_offset', '-' || span, true);
	EXECUTE statements;
	PERFORM set_config('pg_keep.test_clock_offset', '0', true);
END $$;

-- Makes the table of a kind that "made" says, and fills it
CREATE FUNCTION guard.make(which text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	made text;
	saga text;
	was text := current_setting('role');
BEGIN
	made := (SELECT k.made FROM guard.kind k WHERE k.kind = which);
	IF made IS NULL THEN
		PERFORM guard.note_words(which);
		RETURN;
	END IF;
	PERFORM set_config('role', 'guard_owner', true);
	EXECUTE 'SELECT ' || made;
	IF which = 'saga_log' THEN
		PERFORM keep.allow_saga_function('app.g', f)
		FROM unnest('{app.act(jsonb), app.undo(jsonb), app.fail(jsonb)}'::regprocedure[]) f;
	END IF;
	PERFORM set_config('role', 'none', true);
	CASE which
	WHEN 'store' THEN
		PERFORM keep.put('app.s', 'a', '1'), keep.put('app.s', 'doc', '{"x": 1}'),
			keep.acquire('app.s', 'lease', 'me', '1 hour');
		PERFORM guard.past('1 h', $c$SELECT keep.put('app.s', 'over', '0', '1 min')$c$);
	WHEN 'ledger' THEN
		PERFORM keep.open_account('app.l', 'outside', 'EUR', NULL), keep.open_account('app.l', 'ann', 'EUR'),
			keep.open_account('app.l', 'ben', 'EUR'), keep.transfer('app.l', 'start', 'outside', 'ann', 10000);
		PERFORM guard.past('1 h', $c$SELECT keep.transfer('app.l', 'over', 'ann', 'ben', 50, '1 min')$c$);
		PERFORM keep.transfer('app.l', 'paid', 'ann', 'ben', 300), keep.transfer('app.l', 'held', 'ann', 'ben', 500, '1 hour');
	WHEN 'request_log' THEN
		PERFORM keep.begin_request('app.r', 'open', '1'), keep.call_once('app.r', 'done', 'app.act(jsonb)', '1');
		PERFORM guard.past('2 d', $c$SELECT keep.call_once('app.r', 'old', 'app.act(jsonb)', '1')$c$);
	WHEN 'saga_log' THEN
		PERFORM keep.begin_saga('app.g', s, '1 hour') FROM unnest('{run, good, undo, back, claimed, stuck}'::text[]) s;
		PERFORM keep.run_step('app.g', s, 'local', 'app.act(jsonb)', '{}', 'app.undo(jsonb)')
		FROM unnest('{run, good, undo, back, claimed}'::text[]) s;
		PERFORM keep.run_step('app.g', 'stuck', 'local', 'app.act(jsonb)', '{}', 'app.fail(jsonb)');
		PERFORM keep.compensate_saga('app.g', 'stuck'), keep.enter_step('app.g', 'run', 'remote', 'cancel');
		FOREACH saga IN ARRAY '{claimed, back}'::text[] LOOP
			PERFORM keep.leave_step('app.g', saga, 'remote', e.token, true)
			FROM keep.enter_step('app.g', saga, 'remote', 'cancel') e;
			PERFORM keep.compensate_saga('app.g', saga);
			IF saga = 'claimed' THEN
				PERFORM keep.claim_compensations('app.g', 'worker', 10, '1 hour');
			END IF;
		END LOOP;
		PERFORM guard.past('1 h', $c$SELECT keep.begin_saga('app.g', 'due', '1 min'),
			keep.run_step('app.g', 'due', 'local', 'app.act(jsonb)', '{}', 'app.undo(jsonb)')$c$);
	ELSE
	END CASE;
	PERFORM guard.note_words(which);
	PERFORM set_config('role', was, true);
END $$;

CREATE TABLE guard.word (word text PRIMARY KEY, value text);

-- Takes down the versions and tokens that calls name
CREATE FUNCTION guard.note_words(which text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	w record;
BEGIN
	FOR w IN EXECUTE CASE which
		WHEN 'store' THEN $q$SELECT key, version FROM app.s WHERE key IN ('a', 'lease')$q$
		WHEN 'request_log' THEN $q$SELECT key, token AS version FROM app.r WHERE key = 'open'$q$
		WHEN 'saga_log' THEN $q$SELECT saga AS key, token AS version FROM app.g_steps WHERE step = 'remote' AND saga IN ('run', 'claimed')$q$
		ELSE $q$SELECT '-' AS key, 0::bigint AS version$q$
	END LOOP
		UPDATE guard.call SET expression = pg_catalog.regexp_replace(template, ':' || w.key || '\M', w.version::text)
		WHERE kind = which AND (template ~ (':' || w.key || '\M') OR expression IS NULL);
		INSERT INTO guard.word VALUES (w.key, w.version) ON CONFLICT (word) DO UPDATE SET value = EXCLUDED.value;
	END LOOP;
	UPDATE guard.call SET query = concat('SELECT ', columns || ' FROM ', expression) WHERE kind = which;
END $$;

-- All rows of the tables of a kind and of keep.relation, by a name: {"t/a": {...}, "u/held": {...}, "known/t": {...}}
CREATE FUNCTION guard.rows(which text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	k guard.kind;
	query text := '';
	rows jsonb;
BEGIN
	SELECT * INTO k FROM guard.kind WHERE kind = which;
	SELECT pg_catalog.string_agg(pg_catalog.format($q$ UNION ALL
		SELECT '%s/' || coalesce(d ->> 'key', d ->> 'id', d ->> 'saga', '?')
			|| coalesce('/' || (d ->> 'step'), '.' || nullif(d ->> 'shard', '0'), ''), d
		FROM (SELECT pg_catalog.to_jsonb(t) FROM %s t) t (d)$q$, name, rel), '') INTO query
	FROM (VALUES ('t', k.t), ('u', k.u)) x (name, rel) WHERE pg_catalog.to_regclass(rel) IS NOT NULL;
	EXECUTE $q$SELECT pg_catalog.jsonb_object_agg(name, doc) FROM (
		SELECT 'known/' || CASE pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, table_name))
			WHEN $1 THEN 't' WHEN $2 THEN 'u' ELSE schema_name || '.' || table_name END,
			pg_catalog.jsonb_build_object('kind', kind, 'options', options)
		FROM keep.relation $q$ || coalesce(query, '') || ') x (name, doc)'
	INTO rows USING pg_catalog.to_regclass(k.t), pg_catalog.to_regclass(k.u);
	RETURN coalesce(rows, '{}');
END $$;

-- What has changed, as text: times as minutes from now, versions and tokens as *
CREATE FUNCTION guard.change(old jsonb, new jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF old = new THEN
		RETURN '';
	END IF;
	RETURN pg_catalog.string_agg(line, '; ' ORDER BY id COLLATE "C") FROM (
		SELECT id, CASE WHEN n.doc IS NULL THEN '-' || id ELSE CASE WHEN o.doc IS NULL THEN '+' ELSE '' END || id ||
			coalesce((SELECT pg_catalog.string_agg(' ' || m.key || '=' || CASE
					WHEN m.key IN ('version', 'token') THEN '*'
					WHEN m.key IN ('expires_at', 'lease_until', 'deadline_at') AND m.value IS NOT NULL THEN pg_catalog.round(
						extract(epoch FROM m.value::timestamptz - pg_catalog.clock_timestamp()) / 60)::text
					ELSE coalesce(pg_catalog.regexp_replace(m.value, '"token": "[0-9a-f]*"', '"token"'), 'null')
					END, '' ORDER BY m.key)
				FROM pg_catalog.jsonb_each_text(n.doc) m
				WHERE m.value IS DISTINCT FROM o.doc ->> m.key AND
					(o.doc IS NOT NULL OR m.key IN ('value', 'status', 'state', 'amount', 'response', 'kind', 'options', 'expires_at', 'mark'))
					AND m.key NOT IN ('created_at', 'updated_at', 'request_hash', 'reap_at', 'settled_at', 'from_version',
						'to_version', 'finished_at', 'due_at', 'retry_at')), '') END AS line
		FROM pg_catalog.jsonb_each(old) o (id, doc) FULL JOIN pg_catalog.jsonb_each(new) n (id, doc) USING (id)
		WHERE o.doc IS DISTINCT FROM n.doc) c;
END $$;

CREATE TYPE guard.outcome AS (kind text, phase text, nr int, code text, result text, change text, message text);

-- Runs a query, for others to do so in some place: the lines of its result
CREATE FUNCTION guard.lines(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line record;
	lines text;
BEGIN
	FOR line IN EXECUTE query LOOP
		lines := concat_ws(' ', lines, line::text);
	END LOOP;
	RETURN lines;
END $$;

-- Makes a call as a role, and takes it back: its SQLSTATE, or 'ok' with its result and what has changed since "before"
CREATE FUNCTION guard.cell(role text, query text, wrapped boolean, before jsonb, INOUT cell guard.outcome) LANGUAGE plpgsql AS $$
DECLARE
	line record;
BEGIN
	PERFORM pg_catalog.set_config('role', role, true);
	IF wrapped THEN
		EXECUTE query INTO cell.result;
	ELSE
		FOR line IN EXECUTE query LOOP
			cell.result := concat_ws(' ', cell.result, line::text);
		END LOOP;
	END IF;
	PERFORM pg_catalog.set_config('role', 'none', true);
	cell.change := guard.change(before, guard.rows(cell.kind));
	cell.code := 'ok';
	RAISE EXCEPTION USING ERRCODE = 'GX001';
EXCEPTION
	WHEN SQLSTATE 'GX001' THEN NULL;
	WHEN OTHERS THEN
		cell.code := SQLSTATE;
		cell.result := NULL;
		cell.message := SQLERRM;
END $$;

-- {t} and {u} are the tables of a kind, {tu} both, {oid} is the number of the first
CREATE FUNCTION guard.fill(query text, which text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	k guard.kind;
BEGIN
	SELECT * INTO k FROM guard.kind WHERE kind = which;
	query := pg_catalog.replace(pg_catalog.replace(query, '{tu}', concat_ws(', ', k.t, k.u)), '{kind}', which);
	query := pg_catalog.replace(query, '{key}', CASE which WHEN 'saga_log' THEN 'saga' WHEN 'ledger' THEN 'id' ELSE 'key' END);
	query := pg_catalog.replace(pg_catalog.replace(query, '{t}', coalesce(k.t, '')), '{u}', coalesce(k.u, ''));
	RETURN pg_catalog.replace(query, '{oid}', coalesce(pg_catalog.to_regclass(k.t)::oid::text, ''));
END $$;

-- The calls of a kind, by the rules of guard.run()
CREATE FUNCTION guard.calls(k text, phase text, role text, target text, prepared boolean, wrap text) RETURNS guard.outcome[]
	LANGUAGE plpgsql AS $$
DECLARE
	before jsonb := guard.rows(k);
	cells guard.outcome[] := '{}';
	c guard.call;
	query text;
BEGIN
	FOR c IN SELECT * FROM guard.call WHERE kind = k ORDER BY nr LOOP
		query := pg_catalog.replace(c.query, '@', target);
		IF wrap IS NOT NULL THEN
			query := pg_catalog.format(wrap, query, pg_catalog.replace(c.expression, '@', target));
		ELSIF prepared THEN
			IF phase = 'before' THEN
				EXECUTE pg_catalog.format('PREPARE guard_%s AS %s', c.nr, query);
			END IF;
			query := 'EXECUTE guard_' || c.nr;
		END IF;
		cells := cells || guard.cell(role, query, wrap IS NOT NULL, before, ROW(k, phase, c.nr, NULL, NULL, NULL, NULL));
	END LOOP;
	RETURN cells;
END $$;

-- All cells of a condition: for each kind, if "warm", every call as it is, as the owner; then "setup" is done, and all calls
-- are made, as "role" and on "target". "prepared" ones are prepared before. "wrap" is what makes the call: %1$s or %1$L is
-- the query, %2$s the bare expression.
CREATE FUNCTION guard.run(kinds text[], role text, target text, setup text, warm boolean, prepared boolean DEFAULT false,
	wrap text DEFAULT NULL) RETURNS SETOF guard.outcome LANGUAGE plpgsql AS $$
DECLARE
	k text;
	on_what text;
	cells guard.outcome[] := '{}';
BEGIN
	FOREACH k IN ARRAY kinds LOOP
		on_what := pg_catalog.replace(target, '{oid}', guard.fill('{oid}', k));
		BEGIN
			IF warm OR prepared THEN
				cells := cells || guard.calls(k, 'before', 'guard_owner', guard.fill($q$'{t}'$q$, k), prepared, NULL);
			END IF;
			EXECUTE guard.fill(setup, k);
			cells := cells || guard.calls(k, 'cell', role, guard.fill(on_what, k), prepared, wrap);
			RAISE EXCEPTION USING ERRCODE = 'GX001';
		EXCEPTION
			WHEN SQLSTATE 'GX001' THEN NULL;
			WHEN OTHERS THEN
				cells := cells || ROW(k, 'setup', 0, SQLSTATE, NULL, NULL, SQLERRM)::guard.outcome;
		END;
	END LOOP;
	IF prepared THEN
		DEALLOCATE ALL;
	END IF;
	RETURN QUERY SELECT * FROM unnest(cells);
END $$;

-- A call with a NULL in it, as its template has it; "phase" comes back
CREATE FUNCTION guard.with_null(which int, phase text, template text) RETURNS guard.outcome LANGUAGE plpgsql AS $$
DECLARE
	c guard.call;
	w guard.word;
BEGIN
	SELECT * INTO c FROM guard.call WHERE nr = which;
	FOR w IN SELECT * FROM guard.word LOOP
		template := pg_catalog.regexp_replace(template, ':' || w.word || '\M', w.value);
	END LOOP;
	RETURN guard.cell('guard_owner', guard.fill(pg_catalog.replace(concat('SELECT ', c.columns || ' FROM ', template), '@', $q$'{t}'$q$), c.kind),
		false, guard.rows(c.kind), ROW(c.kind, phase, which, NULL, NULL, NULL, NULL));
END $$;

-- Every column of the tables, and the statements that change it: {t} is the table, {c} the column, {type} its type and
-- {other} another one
CREATE FUNCTION guard.columns(change text) RETURNS TABLE (kind text, t text, name text, statements text) LANGUAGE sql AS $$
	SELECT k.kind, k.t, rel || '.' || attname,
		CASE WHEN atthasdef AND change LIKE '%TYPE%'
			THEN pg_catalog.format('ALTER TABLE %s ALTER %I DROP DEFAULT; ', rel, attname) ELSE '' END
		|| replace(replace(replace(replace(change, '{t}', rel), '{c}', attname), '{type}', type), '{other}', CASE type
			WHEN 'text' THEN 'varchar' WHEN 'jsonb' THEN 'json' WHEN 'bigint' THEN CASE attidentity WHEN '' THEN 'numeric' ELSE 'int' END
			WHEN 'timestamp with time zone' THEN 'timestamp' WHEN 'smallint' THEN 'int' WHEN 'bigint[]' THEN 'numeric[]' ELSE 'text' END)
	FROM guard.kind k, unnest(ARRAY[k.t, k.u]) rel, pg_catalog.pg_attribute, pg_catalog.format_type(atttypid, atttypmod) type
	WHERE k.made IS NOT NULL AND attrelid = pg_catalog.to_regclass(rel) AND attnum > 0 AND NOT attisdropped
		AND (change NOT LIKE '%NOT NULL' OR attnotnull)
	ORDER BY attrelid, attnum
$$;

-- Changes each of them in turn, with all calls of its kind afterwards. A change that is refused is a "setup" with the column
-- as its result.
CREATE FUNCTION guard.each_column(change text) RETURNS SETOF guard.outcome LANGUAGE plpgsql AS $$
DECLARE
	a record;
	cells guard.outcome[] := '{}';
BEGIN
	FOR a IN SELECT * FROM guard.columns(change) LOOP
		BEGIN
			EXECUTE a.statements;
			cells := cells || guard.calls(a.kind, a.name, 'guard_owner', pg_catalog.quote_literal(a.t), false, NULL);
			RAISE EXCEPTION USING ERRCODE = 'GX001';
		EXCEPTION
			WHEN SQLSTATE 'GX001' THEN NULL;
			WHEN OTHERS THEN
				cells := cells || ROW(a.kind, 'setup', 0, SQLSTATE, a.name, NULL, SQLERRM)::guard.outcome;
		END;
	END LOOP;
	RETURN QUERY SELECT * FROM unnest(cells);
END $$;

-- The tables of one kind anew
CREATE FUNCTION guard.anew(which text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	tables text;
BEGIN
	SELECT pg_catalog.string_agg(pg_catalog.format('DROP TABLE IF EXISTS %s CASCADE', x), ';') INTO tables
	FROM guard.kind k, unnest(ARRAY[k.t, k.u]) x WHERE k.kind = which AND x IS NOT NULL;
	EXECUTE tables;
	PERFORM guard.make(which);
END $$;

-- Places to make a call in
CREATE FUNCTION guard.definer(query text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN RETURN guard.lines(query); END$$;
ALTER FUNCTION guard.definer(text) OWNER TO guard_owner;

CREATE FUNCTION guard.twice(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM guard.lines(query);
		RAISE EXCEPTION USING ERRCODE = 'GU001';
	EXCEPTION WHEN SQLSTATE 'GU001' THEN NULL;
	END;
	RETURN guard.lines(query);
END $$;

CREATE FUNCTION guard.fetched(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
	line record;
	lines text;
BEGIN
	OPEN c FOR EXECUTE query;
	LOOP
		FETCH c INTO line;
		EXIT WHEN NOT FOUND;
		lines := concat_ws(' ', lines, line::text);
		PERFORM keep.get('app.s', 'a');
	END LOOP;
	CLOSE c;
	RETURN lines;
END $$;

-- Makes a call whose triggers make it again
CREATE FUNCTION guard.nested(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_catalog.set_config('guard.query', query, true);
	RETURN guard.lines(query);
END $$;

CREATE TABLE guard.one AS SELECT 1 AS n;
CREATE FUNCTION guard.in_worker(query text, leader text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN
	IF pg_catalog.pg_backend_pid()::text = leader THEN
		RAISE EXCEPTION 'not in a worker' USING ERRCODE = 'GU002';
	END IF;
	RETURN guard.lines(query);
END $$;
ALTER FUNCTION guard.lines(text) PARALLEL SAFE;

CREATE TABLE guard.job (query text, done text);
GRANT ALL ON guard.job, guard.one TO PUBLIC;
CREATE FUNCTION guard.do_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE guard.job SET done = guard.lines(NEW.query);
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER do_job AFTER INSERT ON guard.job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION guard.do_job();
