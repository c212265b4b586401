-- call_once: effect and record in one transaction, the response replayed for ever after; errors pass
-- through and store nothing; what may be called; calls inside of calls.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
SET statement_timeout = '60s';

SELECT keep.create_request_log('r');
CREATE TABLE effect (nr int GENERATED ALWAYS AS IDENTITY, what text);
GRANT ALL ON effect TO PUBLIC;
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO PUBLIC;
CREATE FUNCTION app.pay(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect (what) VALUES ('pay ' || args::text);
    RETURN jsonb_build_object('paid', args);
END $$;
CREATE FUNCTION app.effects() RETURNS text LANGUAGE sql AS $$ SELECT coalesce(string_agg(what, ', ' ORDER BY nr), 'none') FROM effect $$;

-- once, and replayed
SELECT test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1}')), test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1}'));
SELECT test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1.0}')) AS "equal as jsonb";
SELECT response, replayed FROM keep.call_once(log => 'r', key => 'k', fn => 'app.pay(jsonb)', args => '{"n": 1}');
SELECT app.effects(), test.record('r', 'k'), test.request_log_sound('r');
SELECT test.writes('r', $$SELECT keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1}')$$) AS "a replay";
SELECT test.c(keep.call_once('r', 'k2', 'app.pay(jsonb)', '{"n": 1}')), app.effects();
-- other arguments, another function, a request of begin_request: KP422, and nothing is run
SELECT c, test.tell(c) FROM (VALUES
    ($$keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 2}')$$), ($$keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": "1"}')$$),
    ($$keep.call_once('r', 'k', 'app.pay(jsonb)', 'null')$$),
    ($$keep.call_once('r', 'k', 'app.pay(jsonb)', '[{"n": 1}]')$$), ($$keep.call_once('r', 'k', 'test.echo(jsonb)', '{"n": 1}')$$),
    ($$keep.begin_request('r', 'k', '{"n": 1}')$$),
    ($$keep.begin_request('r', 'k', '{"fn": "app.pay", "args": {"n": 1}}')$$), ($$keep.begin_request('r', 'k', '["app.pay", {"n": 1}]')$$),
    ($$keep.begin_request('r', 'k', '{"app.pay": {"n": 1}}')$$)) v(c);
SELECT test.sqlstate($$SELECT keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 2}')$$);
-- the tokens of begin_request have no say over it
SELECT test.note('t', token) FROM keep.begin_request('r', 'b', '1');
SELECT test.tell($$keep.call_once('r', 'b', 'app.pay(jsonb)', '1')$$), test.tell(format($$keep.complete_request('r', 'k', %s, '1')$$, test.tok('t')));
SELECT c, test.tell(format(c, token)) FROM r, (VALUES ($$keep.checkpoint_request('r', 'k', %s, '1')$$), ($$keep.fail_request('r', 'k', %s, '1')$$),
    ($$keep.release_request('r', 'k', %s)$$)) v(c) WHERE key = 'k';
SELECT app.effects(), test.record('r', 'k');
-- the function is known by its schema and name
CREATE SCHEMA app2;
CREATE FUNCTION app2.pay(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT ''"other"''::jsonb';
SELECT test.tell($$keep.call_once('r', 'k', 'app2.pay(jsonb)', '{"n": 1}')$$);
CREATE OR REPLACE FUNCTION app.pay(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT ''"new body"''::jsonb';
SELECT test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1}')) AS "another body is the same function";
DROP FUNCTION app.pay(jsonb);
CREATE FUNCTION app.pay(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect (what) VALUES ('pay ' || args::text);
    RETURN jsonb_build_object('paid', args);
END $$;
SELECT test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1}')) AS "dropped and made again is the same";
ALTER FUNCTION app.pay(jsonb) RENAME TO pay2;
SELECT test.tell($$keep.call_once('r', 'k', 'app.pay2(jsonb)', '{"n": 1}')$$) AS "renamed is another";
ALTER FUNCTION app.pay2(jsonb) RENAME TO pay;
-- names that could be taken for others
CREATE SCHEMA "app.x";
CREATE FUNCTION "app.x".y(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app."x.y"(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
SELECT test.c(keep.call_once('r', 'dots', '"app.x".y(jsonb)', '1')), test.tell($$keep.call_once('r', 'dots', 'app."x.y"(jsonb)', '1')$$);

-- retention
TRUNCATE effect;
SELECT test.at(24 * 60 - 1);
SELECT test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 1}'));
SELECT test.at(24 * 60 + 1);
SELECT test.c(keep.call_once('r', 'k', 'app.pay(jsonb)', '{"n": 9}')), app.effects(), test.record('r', 'k');
SELECT test.at(0);

-- responses: any jsonb, null, and no response at all
CREATE FUNCTION app.nothing(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effect (what) VALUES ('nothing'); RETURN NULL; END $$;
CREATE FUNCTION app.strict(args jsonb) RETURNS jsonb STRICT LANGUAGE sql AS 'SELECT $1';
TRUNCATE effect;
SELECT * FROM keep.call_once('r', 'none', 'app.nothing(jsonb)', '1');
SELECT (c).response IS NULL AS "no response", (c).replayed, app.effects() FROM (SELECT keep.call_once('r', 'none', 'app.nothing(jsonb)', '1') OFFSET 0) x(c);
SELECT key, state, response IS NULL AS "no response" FROM r WHERE key = 'none';
SELECT v, test.c(keep.call_once('r', 'echo ' || v::text, 'test.echo(jsonb)', v)), test.c(keep.call_once('r', 'echo ' || v::text, 'test.echo(jsonb)', v))
FROM unnest(ARRAY['null', 'false', '0', '""', '[]', '{}', '{"a": [1.50, "ü"]}']::jsonb[]) v;
SELECT test.c(keep.call_once('r', 'strict', 'app.strict(jsonb)', 'null')), test.c(keep.call_once('r', 'strict', 'app.strict(jsonb)', 'null'));
SELECT length(response::text), replayed FROM keep.call_once('r', 'long', 'test.echo(jsonb)', to_jsonb(repeat('x', 100000)));
SELECT length(response::text), replayed FROM keep.call_once('r', 'long', 'test.echo(jsonb)', to_jsonb(repeat('x', 100000)));

-- errors of the function pass through, with all they say, and nothing is stored
CREATE FUNCTION app.fail(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect (what) VALUES ('before the error');
    IF args ->> 'code' IS NOT NULL THEN
        RAISE EXCEPTION 'out of %', args ->> 'what' USING ERRCODE = args ->> 'code', DETAIL = 'The shelf is empty.', HINT = 'Come back tomorrow.';
    END IF;
    RETURN to_jsonb(1 / (args ->> 'by')::int);
END $$;
TRUNCATE effect;
SELECT c, test.sqlstate(format($$SELECT keep.call_once('r', 'f', 'app.fail(jsonb)', %L)$$, c))
    FROM unnest(ARRAY['{"code": "P0001", "what": "stock"}', '{"code": "40001", "what": "luck"}', '{"code": "40P01", "what": "luck"}',
    '{"code": "55P03", "what": "patience"}', '{"code": "KP412", "what": "date"}', '{"code": "KP422", "what": "order"}',
        '{"code": "23505", "what": "names"}', '{"by": 0}', '{"by": "x"}', '{"by": 4}', '{"by": 0}']) c;
SELECT test.record('r', 'f'), app.effects(), test.c(keep.call_once('r', 'f', 'app.fail(jsonb)', '{"by": 4}'));
SELECT keep.call_once('r', 'f2', 'app.fail(jsonb)', '{"code": "P0001", "what": "stock"}');
SELECT keep.call_once('r', 'f2', 'app.fail(jsonb)', '{"code": "57014", "what": "time"}');
SELECT test.record('r', 'f2');
-- also a constraint of the owner's that looks at the end of the transaction
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION app.child(args jsonb) RETURNS jsonb LANGUAGE sql AS 'INSERT INTO child VALUES ((args ->> 0)::int) RETURNING to_jsonb(id)';
SELECT test.c(keep.call_once('r', 'late', 'app.child(jsonb)', '[1]'));
SELECT test.record('r', 'late');
INSERT INTO parent VALUES (1);
SELECT test.c(keep.call_once('r', 'late', 'app.child(jsonb)', '[1]')), test.c(keep.call_once('r', 'late', 'app.child(jsonb)', '[1]'));
SELECT count(*) FROM child;

-- the caller's transaction, savepoints, exception blocks
TRUNCATE effect;
BEGIN;
SELECT test.c(keep.call_once('r', 'tx', 'app.pay(jsonb)', '1')), test.c(keep.call_once('r', 'tx', 'app.pay(jsonb)', '1'));
ROLLBACK;
SELECT test.record('r', 'tx'), app.effects();
BEGIN;
SAVEPOINT s;
SELECT test.c(keep.call_once('r', 'tx', 'app.pay(jsonb)', '1'));
ROLLBACK TO s;
SELECT app.effects(), test.c(keep.call_once('r', 'tx', 'app.pay(jsonb)', '2')), test.tell($$keep.call_once('r', 'tx', 'app.pay(jsonb)', '1')$$);
SAVEPOINT s;
SELECT test.c(keep.call_once('r', 'tx', 'app.pay(jsonb)', '2'));
SELECT keep.call_once('r', 'tx2', 'app.fail(jsonb)', '{"by": 0}');
ROLLBACK TO s;
SELECT test.c(keep.call_once('r', 'tx2', 'app.fail(jsonb)', '{"by": 1}'));
COMMIT;
SELECT test.c(keep.call_once('r', 'tx', 'app.pay(jsonb)', '2')), test.c(keep.call_once('r', 'tx2', 'app.fail(jsonb)', '{"by": 1}')), app.effects();
TRUNCATE effect;
SELECT i, test.c(keep.call_once('r', 'set ' || i % 3, 'app.pay(jsonb)', to_jsonb(i % 3))) FROM generate_series(1, 6) i;
SELECT app.effects();
-- the other isolation levels
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.c(keep.call_once('r', 'rr', 'app.pay(jsonb)', '1')), test.c(keep.call_once('r', 'rr', 'app.pay(jsonb)', '1')),
    test.tell($$keep.call_once('r', 'rr', 'app.pay(jsonb)', '2')$$), test.c(keep.call_once('r', 'set 1', 'app.pay(jsonb)', '1'));
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.c(keep.call_once('r', 'ser', 'app.pay(jsonb)', '1')), test.c(keep.call_once('r', 'ser', 'app.pay(jsonb)', '1')),
    test.c(keep.call_once('r', 'rr', 'app.pay(jsonb)', '1'));
COMMIT;
SELECT test.record('r', 'rr'), test.record('r', 'ser');

-- calls inside of calls: another key is fine, its own is 55006, and that is an error like others
CREATE FUNCTION app.nest(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    result jsonb;
BEGIN
    INSERT INTO effect (what) VALUES ('nest ' || (args ->> 'say'));
    IF args ? 'caught' THEN
        BEGIN
            EXECUTE 'SELECT ' || (args ->> 'do');
        EXCEPTION WHEN others THEN
            RETURN to_jsonb('caught ' || SQLSTATE);
        END;
        RETURN '"nothing to catch"';
    END IF;
    EXECUTE 'SELECT ' || (args ->> 'do') INTO result;
    RETURN jsonb_build_array(result);
END $$;
TRUNCATE effect;
SELECT test.c(keep.call_once('r', 'outer', 'app.nest(jsonb)', $${"say": "outer", "do": "(keep.call_once('r', 'inner', 'app.pay(jsonb)', '7')).response"}$$));
SELECT test.c(keep.call_once('r', 'inner', 'app.pay(jsonb)', '7')), app.effects();
SELECT test.sqlstate($q$SELECT keep.call_once('r', 'self', 'app.nest(jsonb)', $${"say": "self", "do": "(keep.call_once('r', 'self', 'app.pay(jsonb)', '7')).response"}$$)$q$) AS "other request first",
    test.record('r', 'self');
CREATE FUNCTION app.again(args jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT (keep.call_once('r', args ->> 0, 'app.again(jsonb)', args)).response $$;
CREATE FUNCTION app.roundabout(args jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT (keep.call_once('r', 'by way of', 'app.nest(jsonb)',
    jsonb_build_object('say', 'way', 'do',
    'to_jsonb((keep.call_once(''r'', ''round'', ''app.roundabout(jsonb)'', ''1'')).replayed)'))).response $$;
SELECT test.sqlstate($$SELECT keep.call_once('r', 'again', 'app.again(jsonb)', '["again"]')$$),
    test.sqlstate($$SELECT keep.call_once('r', 'round', 'app.roundabout(jsonb)', '1')$$);
SELECT test.record('r', 'again'), test.record('r', 'round'), test.record('r', 'by way of');
SELECT k, test.tell(format('test.c(keep.call_once(''r'', %L, ''app.nest(jsonb)'', %L))', k,
    jsonb_build_object('say', k, 'caught', 1, 'do', replace(what, ':t', '(SELECT token FROM r WHERE key = ''' || k || ''')')))),
    test.record('r', k) FROM (VALUES ('own 1', $$keep.begin_request('r', 'own 1', '1')$$), ('own 2', $$keep.release_request('r', 'own 2', :t)$$),
        ('own 3', $$keep.complete_request('r', 'own 3', :t, '1')$$),
    ('own 4', $$keep.checkpoint_request('r', 'own 4', :t, '1')$$), ('own 5', $$keep.expire_requests('r')$$)) v(k, what);
SELECT k, test.record('r', k) FROM unnest('{own 1,own 2,own 3,own 4,own 5}'::text[]) k;
-- of another log, the same key is another key
SELECT keep.create_request_log('r2');
SELECT test.c(keep.call_once('r', 'both', 'app.nest(jsonb)',
    $${"say": "both", "do": "(keep.call_once('r2', 'both', 'app.pay(jsonb)', '7')).response"}$$)), test.record('r', 'both'), test.record('r2', 'both');
-- the function takes its own record away, or its log: an error, not an effect without a record
CREATE FUNCTION app.erase(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN DELETE FROM r WHERE key = args ->> 0; INSERT INTO effect (what) VALUES ('erased'); RETURN '1'; END $$;
CREATE FUNCTION app.drop_log(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN DROP TABLE r2; INSERT INTO effect (what) VALUES ('dropped'); RETURN '1'; END $$;
TRUNCATE effect;
SELECT test.code($$SELECT keep.call_once('r', 'erase', 'app.erase(jsonb)', '["erase"]')$$) <> 'ok' AS "its record",
    test.code($$SELECT keep.call_once('r2', 'drop', 'app.drop_log(jsonb)', '1')$$) <> 'ok' AS "its log",
    app.effects(), to_regclass('r2');

-- what may be called: a plain function of one jsonb that gives one jsonb
CREATE FUNCTION app.text_arg(text) RETURNS jsonb LANGUAGE sql AS 'SELECT ''1''::jsonb';
CREATE FUNCTION app.json_arg(json) RETURNS jsonb LANGUAGE sql AS 'SELECT ''1''::jsonb';
CREATE FUNCTION app.text_result(jsonb) RETURNS text LANGUAGE sql AS 'SELECT ''1''';
CREATE FUNCTION app.json_result(jsonb) RETURNS json LANGUAGE sql AS 'SELECT ''1''::json';
CREATE FUNCTION app.nothing_at_all(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION app.no_arg() RETURNS jsonb LANGUAGE sql AS 'SELECT ''1''::jsonb';
CREATE FUNCTION app.two(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.with_default(jsonb, int = 1) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.several(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.any(anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION app.variadic_arg(VARIADIC jsonb[]) RETURNS jsonb LANGUAGE sql AS 'SELECT $1[1]';
CREATE DOMAIN app.doc AS jsonb;
CREATE FUNCTION app.domain_result(jsonb) RETURNS app.doc LANGUAGE sql AS 'SELECT $1::app.doc';
CREATE PROCEDURE app.proc(jsonb) LANGUAGE sql AS '';
CREATE AGGREGATE app.agg(jsonb) (SFUNC = app.two, STYPE = jsonb);
CREATE FUNCTION app.out_arg(jsonb, OUT jsonb) LANGUAGE sql AS 'SELECT $1';
SELECT p::text, test.sqlstate(format('SELECT keep.call_once(''r'', ''sig'', %L, ''1'')', p)) FROM unnest('{app.text_arg(text),app.json_arg(json),app.text_result(jsonb),app.json_result(jsonb),app.nothing_at_all(jsonb),
    app.no_arg(),"app.two(jsonb,jsonb)","app.with_default(jsonb,int)",app.several(jsonb),app.any(anyelement),app.variadic_arg(jsonb[]),app.domain_result(jsonb),app.proc(jsonb),app.agg(jsonb),pg_catalog.jsonb_typeof(jsonb),
    keep.clock()}'::text[]) p;
SELECT test.record('r', 'sig'), test.c(keep.call_once('r', 'sig', 'app.out_arg(jsonb)', '1'));
SELECT test.sqlstate($$SELECT keep.call_once('r', 'no', 'app.none(jsonb)', '1')$$),
    test.sqlstate($$SELECT keep.call_once('r', 'no', 1::regprocedure, '1')$$), test.sqlstate($$SELECT keep.call_once('r', 'no', 0::regprocedure, '1')$$);
-- a replay asks the same of the function: it must be there, and be the caller's to call
SELECT test.c(keep.call_once('r', 'out', 'app.out_arg(jsonb)', '1'));
SELECT 'app.out_arg(jsonb)'::regprocedure::oid AS old \gset
DROP FUNCTION app.out_arg(jsonb);
SELECT test.code(format($$SELECT keep.call_once('r', 'out', %s::regprocedure, '1')$$, :'old'));

-- the function runs with the caller's rights, unless it says otherwise itself
GRANT SELECT, INSERT, UPDATE ON r TO regress_keep_user;
CREATE FUNCTION app.who(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(current_user::text)';
CREATE FUNCTION app.definer(jsonb) RETURNS jsonb SECURITY DEFINER LANGUAGE sql AS 'SELECT to_jsonb(current_user = ''regress_keep_user'')';
CREATE FUNCTION app.secret(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
REVOKE EXECUTE ON FUNCTION app.secret(jsonb) FROM PUBLIC;
CREATE TABLE private (x int);
CREATE FUNCTION app.peek(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(count(*)) FROM private';
SELECT test.c(keep.call_once('r', 'secret', 'app.secret(jsonb)', '1'));
SET ROLE regress_keep_user;
SELECT test.c(keep.call_once('r', 'who', 'app.who(jsonb)', '1')), test.c(keep.call_once('r', 'definer', 'app.definer(jsonb)', '1')),
    test.code($$SELECT keep.call_once('r', 'peek', 'app.peek(jsonb)', '1')$$),
    test.sqlstate($$SELECT keep.call_once('r', 'secret 2', 'app.secret(jsonb)', '1')$$),
        test.code($$SELECT keep.call_once('r', 'secret', 'app.secret(jsonb)', '1')$$);
RESET ROLE;
SELECT test.record('r', 'secret 2'), test.record('r', 'peek'), test.c(keep.call_once('r', 'who', 'app.who(jsonb)', '1')) AS "what was answered to another";
SELECT app.effects(), test.request_log_sound('r');
SET client_min_messages = warning;
DROP SCHEMA app CASCADE;
DROP SCHEMA app2 CASCADE;
DROP SCHEMA "app.x" CASCADE;
DROP TABLE r, r2, effect, parent, child, private;
