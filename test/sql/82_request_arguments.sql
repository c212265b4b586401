-- Request logs: mistakes in the arguments, which requests are the same, what of a request is kept,
-- and expire_requests().
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_request_log('r');
SELECT test.note('t', token) FROM keep.begin_request('r', 'k', '1');
CREATE TABLE kept AS TABLE r;

-- NULLs and bad values, each with its reason; nothing is written
SELECT c, test.sqlstate(format('SELECT keep.%s', c)) FROM (VALUES
    ($$begin_request(NULL, 'k', '1')$$), ($$begin_request('r', NULL, '1')$$), ($$begin_request('r', 'k', NULL)$$), ($$begin_request('r', 'k', '1', NULL)$$),
    ($$begin_request('r', 'k', '1', wait => NULL)$$), ($$begin_request('r', 'k', '1', on_lapse => NULL)$$),
    ($$checkpoint_request(NULL, 'k', 1, '1')$$), ($$checkpoint_request('r', NULL, 1, '1')$$), ($$checkpoint_request('r', 'k', NULL, '1')$$),
    ($$checkpoint_request('r', 'k', 1, NULL)$$),
    ($$complete_request(NULL, 'k', 1, '1')$$), ($$complete_request('r', NULL, 1, '1')$$), ($$complete_request('r', 'k', NULL, '1')$$),
    ($$complete_request('r', 'k', 1, NULL)$$),
    ($$fail_request(NULL, 'k', 1, '1')$$), ($$fail_request('r', NULL, 1, '1')$$), ($$fail_request('r', 'k', NULL, '1')$$),
    ($$fail_request('r', 'k', 1, NULL)$$),
    ($$release_request(NULL, 'k', 1)$$), ($$release_request('r', NULL, 1)$$), ($$release_request('r', 'k', NULL)$$),
    ($$call_once(NULL, 'k', 'test.echo(jsonb)', '1')$$), ($$call_once('r', NULL, 'test.echo(jsonb)', '1')$$), ($$call_once('r', 'k', NULL, '1')$$),
    ($$call_once('r', 'k', 'test.echo(jsonb)', NULL)$$),
    ($$expire_requests('r', NULL)$$), ($$expire_requests(NULL, NULL)$$), ($$expire_requests('r', 0)$$), ($$expire_requests('r', -1)$$),
    ($$expire_requests(NULL, 0)$$),
    ($$begin_request('r', '', '1')$$), ($$checkpoint_request('r', '', 1, '1')$$), ($$complete_request('r', '', 1, '1')$$), ($$fail_request('r', '', 1, '1')$$),
    ($$release_request('r', '', 1)$$), ($$call_once('r', '', 'test.echo(jsonb)', '1')$$),
    ($$begin_request('r', repeat('x', 1025), '1')$$), ($$checkpoint_request('r', repeat('x', 1025), 1, '1')$$),
    ($$complete_request('r', repeat('x', 1025), 1, '1')$$),
    ($$fail_request('r', repeat('x', 1025), 1, '1')$$), ($$release_request('r', repeat('x', 1025), 1)$$),
    ($$call_once('r', repeat('ü', 513), 'test.echo(jsonb)', '1')$$),
    ($$begin_request('r', 'k', '1', '0')$$), ($$begin_request('r', 'k', '1', '-1 s')$$), ($$begin_request('r', 'k', '1', '1 min', '-1 s')$$),
    ($$begin_request('r', 'k', '1', '300000 years')$$),
    ($$begin_request('r', 'k', '1', on_lapse => '')$$), ($$begin_request('r', 'k', '1', on_lapse => 'Reclaim')$$),
    ($$begin_request('r', 'k', '1', on_lapse => 'fail')$$),
    ($$checkpoint_request('r', 'k', 0, '1')$$), ($$checkpoint_request('r', 'k', -1, '1')$$), ($$complete_request('r', 'k', 0, '1')$$),
    ($$fail_request('r', 'k', 0, '1')$$),
    ($$release_request('r', 'k', 0)$$), ($$release_request('r', 'k', -9223372036854775808)$$),
    ($$checkpoint_request('r', 'none', 1, '1')$$), ($$complete_request('r', 'none', 1, '1')$$), ($$fail_request('r', 'none', 1, '1')$$),
    ($$release_request('r', 'none', 1)$$)
) v(c);
SELECT test.code($$SELECT keep.begin_request('r', 'k', '1', 'infinity')$$) IN ('22007', '22023') AS "endless lease";
SET pg_keep.max_wait = '10ms';
SELECT test.code($$SELECT keep.begin_request('r', 'k', '1', '1 min', 'infinity')$$) IN ('22007', '22023', 'ok') AS "endless wait";
RESET pg_keep.max_wait;
-- the message says what was wrong with a token, a request, an outcome
SELECT regexp_replace(test.sqlstate(format($$SELECT keep.complete_request('r', 'k', %s, '1')$$, test.tok('t') + 1)), '(token|token is) \d+', '\1 $t', 'g');
SELECT test.sqlstate($$SELECT keep.begin_request('r', 'k', '2')$$);
SELECT test.at(2);
SELECT test.sqlstate($$SELECT keep.begin_request('r', 'k', '1', on_lapse => 'indeterminate')$$);
SELECT test.at(0);
SELECT count(*) AS "other than before" FROM (SELECT * FROM r EXCEPT SELECT * FROM kept) x;
DROP TABLE kept;

-- keys of every sort, each its own
SELECT test.r(keep.begin_request('r', repeat('x', 1024), '1')), test.r(keep.begin_request('r', repeat('ü', 512), '1'));
SELECT count(*) AS begun, count(DISTINCT k) AS keys
    FROM unnest(ARRAY[' ', 'a ', ' a', 'a', 'A', E'\n', E'\t', '''', '"', '\', '%', '_', '{}', 'NULL', '$1', ';', '--', 'é']) k
WHERE (keep.begin_request('r', k, to_jsonb(k))).state = 'started';
SELECT count(*) AS "done as its own" FROM r, LATERAL keep.complete_request('r', key, token, to_jsonb(key));
SELECT count(*) AS "answered as its own" FROM unnest(ARRAY[' ', 'a ', ' a', 'a', 'A', E'\n', E'\t', '''', '"', '\', '%', '_', '{}', 'NULL', '$1', ';',
    '--', 'é']) k
WHERE (keep.begin_request('r', k, to_jsonb(k))).response = to_jsonb(k);
DELETE FROM r;

-- the same request: equal as jsonb, and nothing else is. Each begins under a key of its own and is compared to all.
CREATE TABLE same (nr int GENERATED ALWAYS AS IDENTITY, req text);
INSERT INTO same (req) SELECT unnest(ARRAY['1', '1.0', '1.00', '1e0', '10e-1', '"1"', '[1]', '[1.0]', '[[1]]', '{"1": 1}', 'true', '"true"', 'null',
    '"null"', '""', '{}', '[]', '[null]', '[[]]', '[{}]',
    '0', '0.0', '-0', '0e10', '-1', '-1.0', '100', '1e2', '-1e2', '10000', '1e4', '10000.00', '100010000', '1.0001e8', '100000000', '0.0001', '1e-4',
        '0.00010', '0.00001', '10e-6', '0.00010001', '9999', '9999.0', '99999999', '1.000000000000000000000000000000001', '1e400',
            '12345678901234567890', '12345678901234567891',
    '{"a": 1, "b": 2}', '{"b": 2, "a": 1.0}', '{"b": 2, "a": 5, "a": 1}', '{"a": 1, "b": 2, "c": null}', '{"a": "1", "b": 2}', '{"a": 2, "b": 1}',
        '{"a": {"b": 1}}', '{"a": {"b": 1.0}}',
    '[1, 2]', '[2, 1]', '[1, 2, null]', '[12]', '["1", 2]', '["a", "b"]', '["ab"]', '["a,b"]', '["asb"]', '["as1:b"]', '["as1b"]', '{"asb": 1}',
        '{"asbn1": 1}', '{"a": "b", "c": "d"}', '{"a": "bscsd"}', '[1, "n1"]', '["zz"]', '[null, "z"]', '["a\",\"b"]', '{"a": "b"}',
            '["a", {"b": 1}]', '[["a"], "b"]', '["a", ["b"]]', '[["a", "b"]]',
    '"a"', '"A"', '"a "', '"\u0061"', '"é"', '{"ab": 1, "b": 2}', '{"a": "1,b:2"}', '{"": 1}', '{"a": ""}', '{"a": null}', '{"a": []}', '{"a": {}}']);
SELECT count(*) AS begun FROM same WHERE (keep.begin_request('r', 'same ' || nr, req::jsonb)).state = 'started';
SELECT a.req AS request, string_agg(b.req, ' ' ORDER BY b.nr) AS "the same" FROM same a, same b
WHERE test.tell(format('(keep.begin_request(''r'', %L, %L)).state', 'same ' || a.nr, b.req)) = 'in_flight' GROUP BY a.nr, a.req HAVING count(*) > 1
    ORDER BY a.nr;
SELECT count(*) AS "not as jsonb has it" FROM same a, same b WHERE test.tell(format('(keep.begin_request(''r'', %L, %L)).state', 'same ' || a.nr, b.req))
    <> CASE WHEN a.req::jsonb = b.req::jsonb THEN 'in_flight' ELSE 'KP422' END;
SELECT count(DISTINCT request_hash) = (SELECT count(DISTINCT req::jsonb) FROM same) AS "one hash for each", min(octet_length(request_hash)),
    max(octet_length(request_hash)) FROM r WHERE key LIKE 'same %';
-- deep and long ones
SELECT test.r(keep.begin_request('r', 'deep', (repeat('[', 500) || '1' || repeat(']', 500))::jsonb)),
    test.r(keep.begin_request('r', 'deep', (repeat('[', 500) || '1.0' || repeat(']', 500))::jsonb)),
    test.tell($$keep.begin_request('r', 'deep', (repeat('[', 500) || '2' || repeat(']', 500))::jsonb)$$),
        test.tell($$keep.begin_request('r', 'deep', (repeat('[', 499) || '1' || repeat(']', 499))::jsonb)$$);
SELECT test.r(keep.begin_request('r', 'long', to_jsonb(array_agg(i)))),
    test.r(keep.begin_request('r', 'long', to_jsonb(array_agg(i::numeric(10, 3))))),
        test.tell(format($$keep.begin_request('r', 'long', %L)$$, to_jsonb(array_agg(i + (i = 9999)::int))))
FROM generate_series(1, 10000) i;
DROP TABLE same;

-- only a hash of the request is kept, unless asked for
SELECT keep.create_request_log('q', keep_request => true);
SELECT test.r(keep.begin_request(l, 'k', '{"card": "4242"}')), test.c(keep.call_once(l, 'c', 'test.echo(jsonb)', '{"pin": 1234}'))
    FROM unnest('{r,q}'::regclass[]) l;
UPDATE r SET response = NULL, finished_at = NULL, state = 'in_progress', lease = '1 min', lease_until = now() WHERE key = 'c';
SELECT count(*) FILTER (WHERE r::text ~ ('4242|1234|' || encode('4242', 'hex') || '|' || encode('1234', 'hex'))) AS "kept in clear" FROM r
    WHERE key IN ('k', 'c');
SELECT key, request FROM q ORDER BY key;
SELECT test.at(2);
SELECT test.note('t', token), state FROM keep.begin_request('q', 'k', '{"card": "4242"}');
SELECT keep.complete_request('q', 'k', test.tok('t'), '1');
SELECT key, state, request FROM q WHERE key = 'k';
SELECT test.at(25 * 60);
SELECT test.r(keep.begin_request('q', 'k', '{"card": "1"}')), test.c(keep.call_once('q', 'c', 'test.echo(jsonb)', '{"pin": 5}'));
SELECT key, state, request FROM q ORDER BY key;
SELECT test.at(0);
DROP TABLE q;
DELETE FROM r;

-- expire_requests: outcomes whose time is over, and nothing else
SELECT test.note(k, (keep.begin_request('r', k, '1')).token) FROM unnest('{lapsed,released,completed,failed}'::text[]) k;
SELECT keep.release_request('r', 'released', test.tok('released')), keep.complete_request('r', 'completed', test.tok('completed'), '1'),
    keep.fail_request('r', 'failed', test.tok('failed'), '1');
SELECT test.c(keep.call_once('r', 'called', 'test.echo(jsonb)', '1'));
SELECT test.at(24 * 60 - 1);
SELECT keep.expire_requests('r'), count(*) FROM r;
SELECT test.at(24 * 60 + 1);
SELECT test.r(keep.begin_request('r', 'new', '1'));
SELECT keep.expire_requests('r');
SELECT keep.expire_requests('r'), test.writes('r', $$SELECT keep.expire_requests('r')$$);
SELECT key, state FROM r ORDER BY key;
SELECT test.r(keep.begin_request('r', 'released', '1')), test.r(keep.begin_request('r', 'lapsed', '1'));
SELECT test.at(0);
-- bounded, over all logs of the caller's; also where nothing is indexed
DELETE FROM r;
SELECT keep.create_request_log('q', '1 hour'), keep.create_request_log('hidden'), keep.create_request_log('ever', NULL);
SELECT count(keep.call_once(l, 'k' || i, 'test.echo(jsonb)', '1')) FROM unnest('{r,q,hidden,ever}'::regclass[]) l, generate_series(1, 4) i;
ALTER TABLE r OWNER TO regress_keep_user;
ALTER TABLE q OWNER TO regress_keep_user;
GRANT ALL ON ever, hidden TO regress_keep_user;
SELECT test.at(25 * 60);
SELECT keep.expire_requests('q', 3), keep.expire_requests('q', 3), keep.expire_requests('q', 3);
SELECT count(keep.call_once('q', 'k' || i, 'test.echo(jsonb)', '1')) FROM generate_series(1, 4) i;
SELECT test.at(50 * 60);
SET ROLE regress_keep_user;
SELECT keep.expire_requests(NULL, 3), keep.expire_requests(NULL, 3) + keep.expire_requests(NULL, 3) + keep.expire_requests(NULL, 3), keep.expire_requests();
RESET ROLE;
SELECT (SELECT count(*) FROM r) AS r, (SELECT count(*) FROM q) AS q, (SELECT count(*) FROM hidden) AS hidden, (SELECT count(*) FROM ever) AS ever;
SET ROLE regress_keep_nobody;
SELECT keep.expire_requests() AS "no rights anywhere", test.code($$SELECT keep.expire_requests('hidden')$$) AS "asked for by name";
RESET ROLE;
SELECT keep.expire_requests(log => 'hidden', batch => 100), keep.expire_requests();
-- a hint that is early moves on, one that is missing or late does no harm to what is answered
SELECT test.at(0);
SELECT count(keep.call_once('r', 'k' || i, 'test.echo(jsonb)', '1')) FROM generate_series(1, 4) i;
SELECT count(*) AS "hints as the outcome has it" FROM r WHERE reap_at <= finished_at + interval '24 hours';
UPDATE r SET reap_at = finished_at WHERE key = 'k1';
UPDATE r SET reap_at = NULL WHERE key = 'k2';
SELECT keep.expire_requests('r'), count(*) FROM r;
SELECT count(*) FROM r WHERE key = 'k1' AND reap_at = finished_at + interval '24 hours';
SELECT test.at(25 * 60);
SELECT test.tell($$keep.call_once('r', 'k2', 'test.echo(jsonb)', '2')$$), keep.expire_requests('r');
SELECT string_agg(key, ' ') FROM r;
SELECT test.at(0);
BEGIN READ ONLY;
SELECT test.code('SELECT keep.expire_requests()'), test.code($$SELECT keep.expire_requests('r')$$);
COMMIT;
-- stores and request logs are each swept by their own
SELECT keep.create_store('s');
SELECT test.code($$SELECT keep.expire('r')$$), test.code($$SELECT keep.expire_requests('s')$$), keep.expire(), keep.expire_requests();
SELECT test.request_log_sound('r');
DROP TABLE r, q, hidden, ever, s;
SELECT keep.expire_requests() AS "no log at all";
