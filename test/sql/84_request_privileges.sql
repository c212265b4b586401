-- Request logs and other roles: rights, row-level security, triggers and constraints of the owner's,
-- read-only transactions, and whatever stands in front of pg_catalog in the search_path.
\pset null '(null)'
\set VERBOSITY terse
SET statement_timeout = '60s';

-- Runs a call as a role with exactly these rights on the log, and undoes it; in each state that
-- the record can be in: one answer, or all of them.
SELECT keep.create_request_log('r');
CREATE FUNCTION test.may(rights text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
    result text;
    results text[];
    t bigint;
BEGIN
    FOREACH state IN ARRAY '{absent,in progress,lapsed,released,completed,over}'::text[] LOOP
        BEGIN
            t := (keep.begin_request('r', 'k', '1')).token;
            CASE state
                WHEN 'absent' THEN DELETE FROM r;
                WHEN 'in progress' THEN NULL;
                WHEN 'lapsed' THEN UPDATE r SET lease_until = now() - interval '1 min';
                WHEN 'released' THEN PERFORM keep.release_request('r', 'k', t);
                WHEN 'completed' THEN PERFORM keep.complete_request('r', 'k', t, '1');
                WHEN 'over' THEN
                    PERFORM keep.complete_request('r', 'k', t, '1');
                    UPDATE r SET finished_at = now() - interval '2 days', created_at = now() - interval '3 days', reap_at = now() - interval '1 day';
            END CASE;
            IF rights <> '' THEN
                EXECUTE format('GRANT %s ON r TO regress_keep_user', rights);
            END IF;
            PERFORM set_config('role', 'regress_keep_user', true);
            result := test.tell(replace(call, ':t', t::text));
            RAISE EXCEPTION USING ERRCODE = 'XX999';
        EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
        END;
        results := results || CASE WHEN result = '42501' THEN result ELSE 'ok' END;
    END LOOP;
    RETURN CASE WHEN results[1] = ALL (results) THEN results[1] ELSE array_to_string(results, '/') END;
END $$;
CREATE TEMP TABLE fn (nr int GENERATED ALWAYS AS IDENTITY, fn text, call text);
INSERT INTO fn (fn, call) VALUES
    ('begin_request', $$keep.begin_request('r', 'k', '1')$$),
    ('begin_request, indeterminate', $$keep.begin_request('r', 'k', '1', on_lapse => 'indeterminate')$$),
    ('begin_request, other', $$keep.begin_request('r', 'k', '2')$$),
    ('call_once', $$keep.call_once('r', 'k', 'test.echo(jsonb)', '1')$$),
    ('checkpoint_request', $$keep.checkpoint_request('r', 'k', :t, '1')$$),
    ('complete_request', $$keep.complete_request('r', 'k', :t, '1')$$),
    ('fail_request', $$keep.fail_request('r', 'k', :t, '1')$$),
    ('release_request', $$keep.release_request('r', 'k', :t)$$),
    ('complete_request, stale', $$keep.complete_request('r', 'k', :t + 1, '1')$$),
    ('expire_requests', $$keep.expire_requests('r')$$);
SELECT fn, test.may('', call) AS "none", test.may('SELECT', call) AS sel, test.may('SELECT, INSERT', call) AS sel_ins,
    test.may('SELECT, UPDATE', call) AS sel_upd,
    test.may('SELECT, DELETE', call) AS sel_del, test.may('SELECT, INSERT, UPDATE', call) AS sel_ins_upd,
        test.may('SELECT, UPDATE, DELETE', call) AS sel_upd_del,
    test.may('INSERT, UPDATE, DELETE', call) AS "all but sel" FROM fn ORDER BY nr;
DROP FUNCTION test.may(text, text);

-- with grants on the one table and nothing else, everything works; without, nothing, and the message names the table
DROP TABLE r;
SELECT test.request_log_for_calls('r');
SELECT test.note('begun 5', token) FROM keep.begin_request('r', 'begun 5', '1');
GRANT SELECT, INSERT, UPDATE, DELETE ON r TO regress_keep_user;
SELECT has_sequence_privilege('regress_keep_user', 'r_token_seq', 'USAGE') AS "a right on the sequence";
SET ROLE regress_keep_nobody;
\pset format unaligned
SELECT * FROM test.try_request_log_grouped('''r''');
\pset format aligned
SELECT test.sqlstate($$SELECT keep.register('r', 'request_log')$$);
SET ROLE regress_keep_user;
SELECT fn, result FROM test.try_request_log('''r''') WHERE result <> 'ok';
SELECT key, state FROM r ORDER BY key;
-- plans made for one role do not open the table to another
SET ROLE regress_keep_nobody;
SELECT DISTINCT result FROM test.try_request_log('''r''');
RESET ROLE;
GRANT EXECUTE ON FUNCTION test.echo(jsonb) TO PUBLIC;
REVOKE SELECT, INSERT ON r FROM regress_keep_user;
SET ROLE regress_keep_user;
SELECT fn, result FROM test.try_request_log('''r''');
RESET ROLE;
-- an owner's log, through his function
CREATE SCHEMA shop AUTHORIZATION regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.create_request_log('shop.r');
CREATE FUNCTION shop.who(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(current_user::text)';
CREATE FUNCTION shop.mine(k text) RETURNS text SECURITY DEFINER LANGUAGE sql AS $$ SELECT test.c(keep.call_once('shop.r', k, 'shop.who(jsonb)', '1')) $$;
GRANT USAGE ON SCHEMA shop TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.begin_request('shop.r', 'k', '1')$$) AS "by itself", shop.mine('k') AS "through the owner's function", shop.mine('k');
RESET ROLE;
-- a schema that the caller may not use: neither the log's nor the function's
SELECT 'shop.r'::regclass::oid AS log, 'shop.who(jsonb)'::regprocedure::oid AS who \gset
GRANT ALL ON shop.r TO regress_keep_nobody, regress_keep_other;
SET ROLE regress_keep_nobody;
SELECT test.code($$SELECT keep.begin_request('shop.r', 'k2', '1')$$) AS by_name,
    test.code(format($$SELECT keep.begin_request(%s::regclass, 'k2', '1')$$, :'log')) AS by_number,
    test.code(format($$SELECT keep.call_once('r', 'k2', %s::regprocedure, '1')$$, :'who')) AS "function by number";
RESET ROLE;
REVOKE EXECUTE ON FUNCTION keep.call_once FROM PUBLIC;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.call_once('r', 'k', 'test.echo(jsonb)', '1')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION keep.call_once TO PUBLIC;
SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
RESET client_min_messages;
DROP TABLE r;

-- row-level security: another tenant's key is no key of mine to read, and never run under a hidden record
SELECT keep.create_request_log('r');
GRANT SELECT, INSERT, UPDATE, DELETE ON r TO regress_keep_a, regress_keep_b;
ALTER TABLE r ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON r USING (key LIKE current_user || ':%');
SET ROLE regress_keep_b;
SELECT test.r(keep.begin_request('r', 'regress_keep_b:begun', '1')), test.c(keep.call_once('r', 'regress_keep_b:called', 'test.echo(jsonb)', '1'));
RESET ROLE;
SELECT test.note('b', token) FROM r WHERE key = 'regress_keep_b:begun';
SELECT md5(string_agg(r::text, ',' ORDER BY key)) AS b_rows FROM r \gset
SET ROLE regress_keep_a;
\pset format unaligned
\pset tuples_only on
SELECT c, test.tell(c) FROM (VALUES
    ($$test.r(keep.begin_request('r', 'regress_keep_a:1', '1'))$$), ($$test.c(keep.call_once('r', 'regress_keep_a:2', 'test.echo(jsonb)', '1'))$$),
    ($$test.r(keep.begin_request('r', 'regress_keep_a:1', '1'))$$), ($$test.c(keep.call_once('r', 'regress_keep_a:2', 'test.echo(jsonb)', '1'))$$),
    ($$test.r(keep.begin_request('r', 'regress_keep_b:begun', '1'))$$), ($$test.r(keep.begin_request('r', 'regress_keep_b:begun', '2'))$$),
    ($$test.r(keep.begin_request('r', 'regress_keep_b:new', '2'))$$),
    ($$test.c(keep.call_once('r', 'regress_keep_b:called', 'test.echo(jsonb)', '1'))$$),
    ($$test.c(keep.call_once('r', 'regress_keep_b:new', 'test.echo(jsonb)', '1'))$$),
    ($$keep.complete_request('r', 'regress_keep_b:begun', test.tok('b'), '1')$$), ($$keep.release_request('r', 'regress_keep_b:begun', test.tok('b'))$$),
    ($$keep.checkpoint_request('r', 'regress_keep_b:begun', test.tok('b'), '1')$$),
    ($$keep.fail_request('r', 'regress_keep_b:begun', test.tok('b'), '1')$$)) v(c);
\pset tuples_only off
\pset format aligned
RESET ROLE;
SELECT md5(string_agg(r::text, ',' ORDER BY key)) = :'b_rows' AS "b's are untouched", count(*) FROM r WHERE key LIKE 'regress_keep_b%';
SELECT test.at(25 * 60);
SET ROLE regress_keep_a;
SELECT keep.expire_requests() AS "not unless it is named", keep.expire_requests('r') AS "its own";
SELECT test.tell($$keep.begin_request('r', 'regress_keep_b:called', '1')$$) AS "over, and still hidden",
    test.tell($$keep.call_once('r', 'regress_keep_b:called', 'test.echo(jsonb)', '1')$$);
SET ROLE regress_keep_b;
SELECT test.r(keep.begin_request('r', 'regress_keep_b:called', '2')), test.r(keep.begin_request('r', 'regress_keep_b:begun', '1'));
RESET ROLE;
SELECT test.at(0);
-- seen and not to be changed: what is only read is answered, what must be written is refused
DROP POLICY tenant ON r;
CREATE POLICY see ON r FOR SELECT USING (true);
CREATE POLICY add ON r FOR INSERT WITH CHECK (key LIKE current_user || ':%');
CREATE POLICY change ON r FOR UPDATE USING (key LIKE current_user || ':%');
DELETE FROM r;
SELECT test.note(k, (keep.begin_request('r', 'regress_keep_b:' || k, '1')).token) FROM unnest('{begun,lapsed,done}'::text[]) k;
SELECT keep.complete_request('r', 'regress_keep_b:done', test.tok('done'), '"done"');
UPDATE r SET lease_until = now() - interval '1 min' WHERE key LIKE '%lapsed';
SET ROLE regress_keep_a;
SELECT test.tell($$test.r(keep.begin_request('r', 'regress_keep_b:lapsed', '1'))$$) AS lapsed,
    test.tell($$test.r(keep.begin_request('r', 'regress_keep_b:new', '1'))$$) AS new,
    test.tell($$keep.complete_request('r', 'regress_keep_b:begun', test.tok('begun'), '1')$$) IN ('KP412', '42501') AS "not completed",
        test.tell($$test.r(keep.begin_request('r', 'regress_keep_a:1', '1'))$$) AS own,
    test.tell($$test.r(keep.begin_request('r', 'regress_keep_b:done', '2'))$$) AS "KP422",
        test.tell($$test.r(keep.begin_request('r', 'regress_keep_b:done', '1'))$$) AS done;
RESET ROLE;
SELECT key, state FROM r ORDER BY key;
DROP TABLE r;

-- what an owner adds: defaults, checks, triggers; a trigger that leaves a write out is an error, never an answer without a record
SELECT keep.create_request_log('r');
ALTER TABLE r ADD COLUMN by_role name DEFAULT current_user, ADD COLUMN seq int GENERATED ALWAYS AS IDENTITY;
ALTER TABLE r ADD CONSTRAINT small CHECK (response IS NULL OR response <> '13');
SELECT test.note('t', token), state FROM keep.begin_request('r', 'k', '1');
SELECT test.code($$SELECT keep.complete_request('r', 'k', test.tok('t'), '13')$$), test.code($$SELECT keep.complete_request('r', 'k', test.tok('t'), '12')$$),
    test.code($$SELECT keep.call_once('r', 'c', 'test.echo(jsonb)', '13')$$), test.code($$SELECT keep.call_once('r', 'c', 'test.echo(jsonb)', '12')$$);
SELECT key, response, by_role = current_user AS mine, seq IS NOT NULL AS numbered FROM r ORDER BY key;
CREATE FUNCTION test.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_ARGV[0]
        WHEN 'skip' THEN RETURN NULL;
        WHEN 'key' THEN NEW.key := NEW.key || '!';
        WHEN 'date' THEN NEW.created_at := clock_timestamp();
        WHEN 'response' THEN NEW.response := NEW.response || '{"stamped": true}';
    END CASE;
    RETURN NEW;
END $$;
CREATE FUNCTION test.meddled(op text, how text) RETURNS TABLE (call text, answer text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        DELETE FROM r;
        PERFORM test.note(k, (keep.begin_request('r', k, '1')).token) FROM unnest('{begun,released,lapsed,over}'::text[]) k;
        PERFORM keep.release_request('r', 'released', test.tok('released')), keep.complete_request('r', 'over', test.tok('over'), '1');
        UPDATE r SET lease_until = now() - interval '1 min' WHERE key = 'lapsed';
        UPDATE r SET finished_at = now() - interval '2 days', created_at = now() - interval '3 days', reap_at = now() - interval '1 day' WHERE key = 'over';
        EXECUTE format('CREATE TRIGGER meddle BEFORE %s ON r FOR EACH ROW EXECUTE FUNCTION test.meddle(%L)', op, how);
        RETURN QUERY SELECT c, test.tell(c) FROM (VALUES
            ($q$test.r(keep.begin_request('r', 'new', '{"n": 1}'))$q$), ($q$test.c(keep.call_once('r', 'call', 'test.echo(jsonb)', '{"n": 1}'))$q$),
                ($q$test.r(keep.begin_request('r', 'released', '1'))$q$),
            ($q$test.r(keep.begin_request('r', 'lapsed', '1'))$q$), ($q$test.r(keep.begin_request('r', 'over', '2'))$q$),
                ($q$keep.checkpoint_request('r', 'begun', test.tok('begun'), '{"n": 1}')$q$),
            ($q$keep.release_request('r', 'begun', test.tok('begun'))$q$), ($q$test.r(keep.begin_request('r', 'begun', '1'))$q$)) v(c);
        RETURN QUERY SELECT c, test.tell(c)
            FROM (VALUES ($q$keep.complete_request('r', 'released', (SELECT token FROM r WHERE key = 'released'), '{"n": 1}')$q$),
                ($q$keep.fail_request('r', 'lapsed', (SELECT token FROM r WHERE key = 'lapsed'), '{"n": 1}')$q$),
            ($q$test.r(keep.begin_request('r', 'lapsed', '1'))$q$)) v(c);
        RETURN QUERY SELECT 'records', string_agg(concat_ws(' ', r.key, r.state, r.response), ', ' ORDER BY r.key) FROM r;
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
END $$;
\pset format unaligned
SELECT op, how, m.* FROM (VALUES ('INSERT', 'skip'), ('UPDATE', 'skip'), ('INSERT', 'key'), ('UPDATE', 'key'), ('INSERT OR UPDATE', 'date'),
    ('INSERT OR UPDATE', 'response')) v(op, how), LATERAL test.meddled(op, how) m;
CREATE TRIGGER meddle BEFORE DELETE ON r FOR EACH ROW EXECUTE FUNCTION test.meddle('skip');
SELECT test.at(25 * 60);
SELECT test.tell($$keep.expire_requests('r')$$) AS "a trigger that keeps records", count(*) FROM r;
SELECT test.at(0);
\pset format aligned
DROP TABLE r;
DROP FUNCTION test.meddled(text, text);
DROP FUNCTION test.meddle();

-- a log that the caller has not named is swept as its owner: nobody has his triggers run by who sweeps all
CREATE SCHEMA trap AUTHORIZATION regress_keep_owner;
CREATE TABLE fired (by_role name);
GRANT INSERT ON fired TO PUBLIC;
SET ROLE regress_keep_owner;
SELECT keep.create_request_log('trap.r', '1 hour');
CREATE FUNCTION trap.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (current_user); RETURN OLD; END $$;
CREATE TRIGGER fire BEFORE DELETE ON trap.r FOR EACH ROW EXECUTE FUNCTION trap.fire();
SELECT count(keep.call_once('trap.r', 'k' || i, 'test.echo(jsonb)', '1')) FROM generate_series(1, 2) i;
RESET ROLE;
SELECT test.at(61);
SELECT keep.expire_requests(), (SELECT count(*) FROM trap.r) AS before;
SELECT by_role, count(*) FROM fired GROUP BY 1;
SELECT current_user = session_user AS "and back";
SELECT test.at(0);
DROP TABLE fired;
SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
RESET client_min_messages;

-- read-only: refused, also where there is nothing to write
SELECT test.request_log_for_calls('r');
SELECT test.c(keep.call_once('r', 'done', 'test.echo(jsonb)', '1'));
BEGIN READ ONLY;
\pset format unaligned
SELECT * FROM test.try_request_log_grouped('''r''');
\pset format aligned
SELECT test.code($$SELECT keep.call_once('r', 'done', 'test.echo(jsonb)', '1')$$) AS "a replay",
    test.code($$SELECT keep.begin_request('r', 'begun 1', '1')$$) AS in_flight,
    test.code($$SELECT keep.begin_request('r', 'begun 1', '2')$$) AS "KP422",
        test.code($$SELECT keep.complete_request('r', 'none', 1, '1')$$) AS "KP412", test.code($$SELECT keep.register('r', 'request_log')$$) AS register;
COMMIT;
BEGIN;
SELECT test.r(keep.begin_request('r', 'k', '1'));
SET TRANSACTION READ ONLY;
SELECT test.code($$SELECT keep.begin_request('r', 'k', '1')$$);
COMMIT;

-- the search_path
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
DO $$
DECLARE
    t text;
    op text;
BEGIN
    FOREACH t IN ARRAY '{text,jsonb,bigint,timestamptz,interval,int,boolean,bytea}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.cmp(%s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT evil.trap()''', t);
        FOREACH op IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.cmp, LEFTARG = %s, RIGHTARG = %2$s)', op, t);
        END LOOP;
    END LOOP;
    FOREACH t IN ARRAY '{timestamptz + interval,timestamptz - timestamptz,jsonb || jsonb,text || text,int + int,bigint + int,bytea || bytea,jsonb -> text}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.op%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''trapped''''; END''',
            abs(hashtext(t)), split_part(t, ' ', 1), split_part(t, ' ', 3), split_part(t, ' ', 1));
        EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op%s, LEFTARG = %s, RIGHTARG = %s)',
            split_part(t, ' ', 2), abs(hashtext(t)), split_part(t, ' ', 1), split_part(t, ' ', 3));
    END LOOP;
    FOREACH t IN ARRAY string_to_array('clock_timestamp();now();sha256(bytea);encode(bytea,text);octet_length(text);coalesce(jsonb,jsonb);least(timestamptz,timestamptz);greatest(timestamptz,timestamptz);'
        'nextval(regclass);to_jsonb(anyelement);jsonb_build_object(text,text);count(anyelement)', ';') LOOP
        EXECUTE format('CREATE FUNCTION evil.%s RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''trapped''''; END''',
            regexp_replace(t, '^(least|greatest|coalesce)', '"\1"'), CASE WHEN t ~ 'any' THEN 'text' WHEN t ~ 'jsonb' THEN 'jsonb' ELSE 'timestamptz' END);
    END LOOP;
END $$;
CREATE FUNCTION test.path(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN pg_catalog.to_jsonb(pg_catalog.current_setting('search_path')); END $$;
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.trap());
CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (evil.trap());
CREATE DOMAIN evil."interval" AS pg_catalog."interval" CHECK (evil.trap());
CREATE DOMAIN evil.bytea AS pg_catalog.bytea CHECK (evil.trap());
CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (evil.trap());
CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamptz CHECK (evil.trap());
CREATE TABLE evil.r (LIKE r INCLUDING ALL);
CREATE TABLE evil.relation (LIKE keep.relation);
CREATE FUNCTION test.under(path pg_catalog.text, stmt pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    result pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', path, true);
    EXECUTE stmt INTO result;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    RETURN result;
EXCEPTION WHEN others THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
\pset format unaligned
\pset tuples_only on
SELECT test.under('evil, pg_catalog, public', 'SELECT 1 = 1') AS "the trap works";
DISCARD PLANS;
\c -
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
SELECT c, test.under('evil, pg_catalog, public', replace(replace(replace(c, '$1', test.tok('begun 1')::text), '$2', test.tok('begun 2')::text), '$3',
    test.tok('begun 3')::text)) FROM (VALUES
    ($$SELECT (keep.begin_request('public.r', 'p', '{"a": [1.0, "x", null]}')).state$$),
    ($$SELECT (keep.begin_request('public.r', 'p', '{"a": [1, "x", null]}')).state$$),
    ($$SELECT (keep.begin_request('public.r', 'p', '2', wait => '10 ms')).state$$),
    ($$SELECT keep.checkpoint_request('public.r', 'begun 1', $1, '1')$$), ($$SELECT keep.complete_request('public.r', 'begun 1', $1, '1')$$),
    ($$SELECT keep.complete_request('public.r', 'begun 1', $1, '1.0')$$), ($$SELECT keep.fail_request('public.r', 'begun 2', $2, '1')$$),
    ($$SELECT keep.release_request('public.r', 'begun 3', $3)$$), ($$SELECT (keep.begin_request('public.r', 'begun 3', '1')).state$$),
    ($$SELECT (keep.call_once('public.r', 'once', 'test.echo(pg_catalog.jsonb)', '1')).replayed$$),
    ($$SELECT (keep.call_once('public.r', 'once', 'test.echo(pg_catalog.jsonb)', '1')).replayed$$), ($$SELECT keep.expire_requests('public.r')$$),
    ($$SELECT keep.expire_requests()$$),
    ($$SELECT keep.create_request_log('public.made', '1 hour', true)$$), ($$SELECT (keep.begin_request('public.made', 'p', '{"x": 1}')).state$$),
    ($$SELECT keep.register('public.made', 'request_log', '{"retain": "1 hour"}')$$)) v(c);
-- the function runs under the caller's own path, as it would when called by itself
SELECT test.under('evil, pg_catalog, public', $$SELECT keep.call_once('public.r', 'its path', 'test.path(pg_catalog.jsonb)', '1')$$);
SET search_path = evil, public;
SELECT test.code($$SELECT keep.begin_request('r', 'k', '1')$$) AS "evil.r is no log";
SET search_path = '';
SELECT test.r(keep.begin_request('public.r', 'k', '1'));
RESET search_path;
SELECT key, state FROM r ORDER BY key;
SELECT test.request_log_sound('r'), (SELECT count(*) FROM evil.r) AS "of the look-alike";
\pset tuples_only off
\pset format aligned
DROP FUNCTION test.path(jsonb);
DROP FUNCTION test.under(pg_catalog.text, pg_catalog.text);
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
DROP TABLE r, made;
SELECT count(*) AS registered FROM keep.relation;
