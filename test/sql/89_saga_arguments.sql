-- Sagas: mistakes in the arguments, unknown sagas and steps, tokens of others; sagas and steps of every
-- sort of name; args and results of every kind; nothing is written where something is wrong.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

TRUNCATE test.effect;
SELECT test.saga_log_for_calls('g');
SELECT test.note('r', token) FROM keep.enter_step('g', 'local', 'r', 'undo r');
SELECT (SELECT md5(string_agg(x::text, ',' ORDER BY saga)) FROM g x) AS sagas,
    (SELECT md5(string_agg(x::text, ',' ORDER BY saga, step)) FROM g_steps x) AS steps \gset
TRUNCATE test.effect;
SELECT c, test.sqlstate(format('SELECT keep.%s', c)) FROM (VALUES
    ($$begin_saga(NULL, 's')$$), ($$begin_saga('g', NULL)$$), ($$begin_saga('g', '')$$), ($$begin_saga('g', repeat('x', 1025))$$),
    ($$begin_saga('g', 's', '0')$$), ($$begin_saga('g', 's', '-1 s')$$), ($$begin_saga('g', 's', '300000 years')$$), ($$begin_saga('g', 's', 'soon')$$),
    ($$run_step(NULL, 'local', 's', 'test.act(jsonb)')$$), ($$run_step('g', NULL, 's', 'test.act(jsonb)')$$),
    ($$run_step('g', 'local', NULL, 'test.act(jsonb)')$$), ($$run_step('g', 'local', 's', NULL)$$), ($$run_step('g', 'local', 's', 'test.act(jsonb)', NULL)$$),
    ($$run_step('g', '', 's', 'test.act(jsonb)')$$), ($$run_step('g', 'local', '', 'test.act(jsonb)')$$),
    ($$run_step('g', repeat('x', 1025), 's', 'test.act(jsonb)')$$), ($$run_step('g', 'local', repeat('x', 1025), 'test.act(jsonb)')$$),
    ($$run_step('g', 'none', 's', 'test.act(jsonb)')$$),
    ($$run_step('g', 'local', 's', 1::regprocedure)$$), ($$run_step('g', 'local', 's', 0::regprocedure)$$),
    ($$run_step('g', 'local', 's', 'test.none(jsonb)')$$), ($$run_step('g', 'local', 's', 'test.act(jsonb)', '{}', 1::regprocedure)$$),
    ($$run_step('g', 'local', 's', 'test.effects()')$$),
    ($$run_step('g', 'local', 's', 'test.act(jsonb)', '{}', 'test.effects()')$$), ($$run_step('g', 'local', 's', 'pg_catalog.jsonb_typeof(jsonb)')$$),
    ($$run_step('g', 'local', 's', 'test.echo(jsonb)')$$), ($$run_step('g', 'none', 's', 'test.echo(jsonb)')$$),
    ($$enter_step(NULL, 'local', 's')$$), ($$enter_step('g', NULL, 's')$$), ($$enter_step('g', 'local', NULL)$$),
    ($$enter_step('g', 'local', 's', NULL, NULL)$$), ($$enter_step('g', 'local', 's', lease => NULL)$$), ($$enter_step('g', '', 's')$$),
    ($$enter_step('g', 'local', '')$$),
    ($$enter_step('g', 'local', repeat('x', 1025))$$), ($$enter_step('g', 'local', 's', '')$$),
    ($$enter_step('g', 'local', 's', repeat('x', 1025))$$), ($$enter_step('g', 'local', 's', lease => '0')$$),
    ($$enter_step('g', 'local', 's', lease => '-1 min')$$), ($$enter_step('g', 'local', 's', lease => '300000 years')$$),
    ($$enter_step('g', 'none', 's')$$),
    ($$leave_step(NULL, 'local', 'r', 1, true)$$), ($$leave_step('g', NULL, 'r', 1, true)$$), ($$leave_step('g', 'local', NULL, 1, true)$$),
    ($$leave_step('g', 'local', 'r', NULL, true)$$), ($$leave_step('g', 'local', 'r', 1, NULL)$$), ($$leave_step('g', '', 'r', 1, true)$$),
    ($$leave_step('g', 'local', '', 1, true)$$),
    ($$leave_step('g', 'local', 'r', 0, true)$$), ($$leave_step('g', 'local', 'r', -1, true)$$), ($$leave_step('g', 'none', 'r', 1, true)$$),
    ($$leave_step('g', 'local', 'none', 1, true)$$),
    ($$complete_saga(NULL, 's')$$), ($$complete_saga('g', NULL)$$), ($$complete_saga('g', '')$$), ($$complete_saga('g', repeat('x', 1025))$$),
    ($$complete_saga('g', 'none')$$), ($$compensate_saga(NULL, 's')$$), ($$compensate_saga('g', NULL)$$), ($$compensate_saga('g', '')$$),
    ($$compensate_saga('g', 'none')$$),
    ($$claim_compensations(NULL, 'w')$$), ($$claim_compensations('g', NULL)$$), ($$claim_compensations('g', 'w', NULL)$$),
    ($$claim_compensations('g', 'w', 1, NULL)$$), ($$claim_compensations('g', '')$$), ($$claim_compensations('g', repeat('x', 1025))$$),
    ($$claim_compensations('g', 'w', 0)$$), ($$claim_compensations('g', 'w', -1)$$),
    ($$claim_compensations('g', 'w', 1, '0')$$), ($$claim_compensations('g', 'w', 1, '-1 s')$$),
    ($$finish_compensation(NULL, 'claimed', 'a', 1, true)$$), ($$finish_compensation('g', NULL, 'a', 1, true)$$),
    ($$finish_compensation('g', 'claimed', NULL, 1, true)$$), ($$finish_compensation('g', 'claimed', 'a', NULL, true)$$),
    ($$finish_compensation('g', 'claimed', 'a', 1, NULL)$$),
    ($$finish_compensation('g', '', 'a', 1, true)$$), ($$finish_compensation('g', 'claimed', '', 1, true)$$),
    ($$finish_compensation('g', 'claimed', 'a', 0, true)$$), ($$finish_compensation('g', 'none', 'a', 1, true)$$),
    ($$finish_compensation('g', 'claimed', 'none', 1, true)$$),
    ($$resume_saga(NULL, 's')$$), ($$resume_saga('g', NULL)$$), ($$resume_saga('g', '')$$), ($$resume_saga('g', 'none')$$)
) v(c);
SELECT test.code($$SELECT keep.begin_saga('g', 's', 'infinity')$$) IN ('22007', '22023') AS "endless deadline",
    test.code($$SELECT keep.enter_step('g', 'local', 's', lease => 'infinity')$$) IN ('22007', '22023') AS "endless lease";
CALL keep.run_compensations('g', NULL);
CALL keep.run_compensations('g', '');
CALL keep.run_compensations('g', 'none');
CALL keep.run_due_compensations('g', NULL);
CALL keep.run_due_compensations('g', 0);
CALL keep.run_due_compensations('g', -1);
-- tokens: of another step, of a step of another saga, of another log
SELECT c, test.tell(c) FROM (VALUES
    ($$keep.leave_step('g', 'local', 'r', test.tok('entered'), true)$$), ($$keep.leave_step('g', 'entered', 'a', test.tok('r'), true)$$),
    ($$keep.leave_step('g', 'local', 'r', test.tok('claimed'), false)$$), ($$keep.leave_step('g', 'claimed', 'a', test.tok('claimed'), true)$$),
    ($$keep.finish_compensation('g', 'claimed', 'a', test.tok('r'), true)$$), ($$keep.finish_compensation('g', 'local', 'r', test.tok('r'), true)$$),
    ($$keep.finish_compensation('g', 'stuck', 'a', test.tok('claimed'), true)$$),
    ($$keep.finish_compensation('g', 'entered', 'a', test.tok('entered'), true)$$)) v(c);
-- what the message of a stale token, an unknown one and another step says
SELECT regexp_replace(test.sqlstate(format($$SELECT keep.leave_step('g', 'local', 'r', %s, true)$$, test.tok('r') + 100)), '(token|token is) \d+',
    '\1 $t', 'g');
SELECT regexp_replace(test.sqlstate(format($$SELECT keep.finish_compensation('g', 'claimed', 'a', %s, true)$$, test.tok('claimed') + 100)),
    '(token|token is) \d+', '\1 $t', 'g');
SELECT test.sqlstate($$SELECT keep.run_step('g', 'none', 's', 'test.act(jsonb)')$$),
    test.sqlstate($$SELECT keep.leave_step('g', 'local', 'none', 1, true)$$),
        test.sqlstate($$SELECT keep.run_step('g', 'local', 'a', 'test.act(jsonb)')$$), test.sqlstate($$SELECT keep.enter_step('g', 'local', 'a')$$);
SELECT (SELECT md5(string_agg(x::text, ',' ORDER BY saga)) FROM g x) = :'sagas' AS "nothing is written",
    (SELECT md5(string_agg(x::text, ',' ORDER BY saga, step)) FROM g_steps x) = :'steps', test.effects();

-- names: of 1024 bytes, of any characters; a saga's step is its own
SELECT keep.begin_saga('g', repeat('x', 1024)), test.s(keep.run_step('g', repeat('x', 1024), repeat('ü', 512), 'test.act(jsonb)', '{"what": 1}')),
    test.en(keep.enter_step('g', repeat('x', 1024), 'r', repeat('y', 1024)));
CREATE TEMP TABLE name AS SELECT n FROM unnest(ARRAY[' ', 'a ', ' a', 'a', 'A', E'\n', '''', '"', '\', '%', '_', '{}', 'NULL', '$1', ';', '--', 'é', 'a/b']) n;
SELECT count(*) AS sagas FROM name WHERE keep.begin_saga('g', n) = 'running';
SELECT count(*) AS steps FROM name a, name b WHERE (keep.run_step('g', a.n, b.n, 'test.act(jsonb)',
    jsonb_build_object('what', a.n || '/' || b.n))).result = jsonb_build_object('did', a.n || '/' || b.n);
SELECT count(*) AS replayed FROM name a, name b WHERE (keep.run_step('g', a.n, b.n, 'test.act(jsonb)', jsonb_build_object('what', a.n || '/' || b.n))).replayed;
SELECT count(*) = (SELECT count(*) ^ 2 FROM name) AS "each once" FROM test.effect WHERE what <> 'did 1';
TRUNCATE test.effect;

-- args and results: of every kind, compared as jsonb; no result at all
SELECT keep.allow_saga_function('g', 'test.echo(jsonb)');
SELECT keep.begin_saga('g', 'args');
SELECT v, test.s(keep.run_step('g', 'args', 'local ' || v::text, 'test.echo(jsonb)', v)), test.en(keep.enter_step('g', 'args', 'remote ' || v::text, NULL, v))
FROM unnest(ARRAY['null', 'false', '0', '1.50', '""', '[]', '{}', '{"a": [1, null]}']::jsonb[]) v;
SELECT test.s(keep.run_step('g', 'args', 'local 1.50', 'test.echo(jsonb)', '1.5')),
    test.tell($$keep.run_step('g', 'args', 'local 1.50', 'test.echo(jsonb)', '"1.5"')$$),
        test.tell($$keep.run_step('g', 'args', 'local null', 'test.echo(jsonb)')$$),
    test.en(keep.enter_step('g', 'args', 'remote 1.50', NULL, '15e-1')), test.tell($$keep.enter_step('g', 'args', 'remote 1.50', NULL, '[1.5]')$$),
        test.s(keep.run_step('g', 'args', 'local {"a": [1, null]}', 'test.echo(jsonb)', '{"a": 0, "a": [1.0, null]}'));
SELECT count(keep.leave_step('g', 'args', step, token, true, CASE WHEN args <> 'false' THEN args END)) FROM g_steps WHERE saga = 'args' AND kind = 'remote';
SELECT args, test.en(keep.enter_step('g', 'args', step, NULL, args)),
    keep.leave_step('g', 'args', step, token, true, CASE WHEN args <> 'false' THEN args END) AS again,
        test.tell(format('keep.leave_step(''g'', ''args'', %L, %s, true, ''"other"'')', step, token)) AS "another result"
FROM g_steps WHERE saga = 'args' AND kind = 'remote' ORDER BY step;
SELECT test.tell(format('keep.leave_step(''g'', ''args'', %L, %s, true, ''null'')', step, token)) AS "null is not no result" FROM g_steps
    WHERE saga = 'args' AND step = 'remote false';
SELECT keep.complete_saga('g', 'args'), test.saga_log_sound('g');
-- long ones
SELECT keep.begin_saga('g', 'long');
SELECT length((keep.run_step('g', 'long', 'a', 'test.echo(jsonb)', to_jsonb(repeat('x', 100000)))).result::text);
SELECT length(r.result::text), r.replayed FROM keep.run_step('g', 'long', 'a', 'test.echo(jsonb)', to_jsonb(repeat('x', 100000))) r;
SELECT count((keep.run_step('g', 'long', 'step ' || i, 'test.act(jsonb)', jsonb_build_object('what', i), 'test.undo(jsonb)')).status)
    FROM generate_series(1, 300) i;
SELECT test.p(keep.compensate_saga('g', 'long'));
SELECT count(*), bool_and(what = 'undid ' || 301 - n) AS "in the reverse order"
    FROM (SELECT what, row_number() OVER (ORDER BY nr) AS n FROM test.effect WHERE what LIKE 'undid%') x;

-- the answers' columns, by FROM and as a value
SELECT keep.begin_saga('g', 'shape');
SELECT state FROM keep.begin_saga('g', 'shape');
SELECT * FROM keep.run_step('g', 'shape', 'a', 'test.echo(jsonb)', '1', 'test.undo(jsonb)');
SELECT status, token > 0, result FROM keep.enter_step('g', 'shape', 'b', 'undo b');
SELECT status FROM keep.leave_step('g', 'shape', 'b', (SELECT token FROM g_steps WHERE saga = 'shape' AND step = 'b'), ok => false, result => '1');
SELECT status, token > 0 FROM keep.enter_step(log => 'g', saga => 'shape', step => 'b', compensation => 'undo b', args => '{}', lease => '1 min');
SELECT keep.leave_step('g', 'shape', 'b', (SELECT token FROM g_steps WHERE saga = 'shape' AND step = 'b'), true);
SELECT * FROM keep.compensate_saga('g', 'shape');
SELECT saga, step, compensation, args, result, token > 0 FROM keep.claim_compensations(log => 'g', worker => 'w', max => 1, lease => '1 min');
SELECT state FROM keep.finish_compensation('g', 'shape', 'b', (SELECT token FROM g_steps WHERE saga = 'shape' AND step = 'b'), ok => true, result => 'null');
SELECT state FROM keep.complete_saga('g', 'shape');
SELECT state FROM keep.resume_saga(log => 'g', saga => 'shape');
CALL keep.run_compensations('g', 'shape');
CALL keep.run_due_compensations(log => 'g', max => 2147483647);
SELECT test.saga('g', 'shape'), test.saga_log_sound('g');
DROP TABLE g, g_steps;
TRUNCATE test.effect;
