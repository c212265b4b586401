-- Request logs: the whole state table, cell by cell: each state that a key can be in against each
-- call; then tokens, leases, retention, waiting, and what the caller's transaction takes back.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
SET statement_timeout = '60s';

SELECT keep.create_request_log('r');

-- Brings the key k into a state, and the clock to where it is in that state; returns the token of
-- the first holder, whom the calls below stand for.
CREATE FUNCTION test.arrange(state text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    t bigint;
    u bigint;
BEGIN
    PERFORM keep.begin_request('r', 'another', '{"n": 1}');
    t := (keep.begin_request('r', 'k', '{"n": 1}')).token;
    IF state <> 'begun' THEN
        PERFORM keep.checkpoint_request('r', 'k', t, '{"at": 1}');
    END IF;
    CASE split_part(state, ', ', 1)
        WHEN 'absent' THEN
            DELETE FROM r WHERE key = 'k';
        WHEN 'begun', 'in progress' THEN NULL;
        WHEN 'lapsed' THEN
            PERFORM test.at(2);
        WHEN 'taken over' THEN
            PERFORM test.at(2);
            u := (keep.begin_request('r', 'k', '{"n": 1}')).token;
        WHEN 'taken over and completed' THEN
            PERFORM test.at(2);
            u := (keep.begin_request('r', 'k', '{"n": 1}')).token;
            PERFORM keep.complete_request('r', 'k', u, '{"ok": 1}');
        WHEN 'released' THEN
            PERFORM keep.release_request('r', 'k', t);
        WHEN 'released and resumed' THEN
            PERFORM keep.release_request('r', 'k', t);
            u := (keep.begin_request('r', 'k', '{"n": 1}')).token;
        WHEN 'completed' THEN
            PERFORM keep.complete_request('r', 'k', t, '{"ok": 1}');
        WHEN 'failed' THEN
            PERFORM keep.fail_request('r', 'k', t, '{"ok": 1}');
        WHEN 'begun anew' THEN
            PERFORM keep.complete_request('r', 'k', t, '{"ok": 1}');
            PERFORM test.at(25 * 60);
            u := (keep.begin_request('r', 'k', '{"n": 2}')).token;
    END CASE;
    CASE split_part(state, ', ', 2)
        WHEN '' THEN NULL;
        WHEN 'still kept' THEN
            PERFORM test.at(24 * 60 - 1);
        WHEN 'retention over' THEN
            PERFORM test.at(24 * 60 + 1);
        WHEN 'days later' THEN
            PERFORM test.at(5 * 24 * 60);
        WHEN 'swept' THEN
            PERFORM test.at(24 * 60 + 1);
            PERFORM keep.expire_requests('r');
    END CASE;
    RETURN t;
END $$;
-- What a call answers in a state, and how the record is after it; :t stands for the first holder's token.
CREATE FUNCTION test.cell(state text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t bigint;
    result text;
BEGIN
    PERFORM test.at(0);
    BEGIN
        t := test.arrange(state);
        result := format('%s -> %s', test.tell(replace(call, ':t', t::text)), test.record('r', 'k', t));
        IF test.request_log_sound('r') <> 'sound' THEN
            result := result || ', NOT SOUND';
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
    PERFORM test.at(0);
    RETURN result;
END $$;
CREATE TEMP TABLE state (nr int GENERATED ALWAYS AS IDENTITY, state text);
INSERT INTO state (state) SELECT unnest(ARRAY['absent', 'begun', 'in progress', 'lapsed', 'lapsed, days later', 'taken over',
    'taken over and completed', 'released', 'released, days later', 'released and resumed', 'completed', 'completed, still kept',
    'completed, retention over', 'completed, swept', 'failed', 'failed, still kept', 'failed, retention over', 'begun anew']);

-- begin_request, with the request that the key has and with another one
SELECT state, test.cell(state, $$test.r(keep.begin_request('r', 'k', '{"n": 1}'))$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$test.r(keep.begin_request('r', 'k', '{"n": 3}'))$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$test.r(keep.begin_request('r', 'k', '{"n": 1}', '10 min', '0', 'indeterminate'))$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$test.r(keep.begin_request('r', 'k', '{"n": 3}', on_lapse => 'indeterminate'))$$) FROM state ORDER BY nr;
-- the first holder's token: checkpoint, complete, fail, release
SELECT state, test.cell(state, $$keep.checkpoint_request('r', 'k', :t, '{"at": 2}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.complete_request('r', 'k', :t, '{"ok": 1}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.complete_request('r', 'k', :t, '{"ok": 2}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.fail_request('r', 'k', :t, '{"ok": 1}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.fail_request('r', 'k', :t, '{"ok": 2}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.release_request('r', 'k', :t)$$) FROM state ORDER BY nr;
-- the token of another key, and one that was never given out: KP412 in every state and by every function
SELECT call, count(*) FILTER (WHERE test.cell(state, call) <> replace(test.cell(state, '''KP412'''), '''', '')) AS "not refused" FROM state, (VALUES
    ($$keep.checkpoint_request('r', 'k', (SELECT token FROM r WHERE key = 'another'), '1')$$),
    ($$keep.complete_request('r', 'k', (SELECT token FROM r WHERE key = 'another'), '{"ok": 1}')$$),
    ($$keep.fail_request('r', 'k', (SELECT token FROM r WHERE key = 'another'), '{"ok": 1}')$$),
    ($$keep.release_request('r', 'k', (SELECT token FROM r WHERE key = 'another'))$$),
    ($$keep.checkpoint_request('r', 'k', :t + 1000, '1')$$), ($$keep.complete_request('r', 'k', :t + 1000, '{"ok": 1}')$$),
    ($$keep.fail_request('r', 'k', :t + 1000, '{"ok": 1}')$$), ($$keep.release_request('r', 'k', :t + 1000)$$)) v(call) GROUP BY 1 ORDER BY 1;
-- call_once on a key of begin_request: KP422 in every live state
SELECT state, test.cell(state, $$test.c(keep.call_once('r', 'k', 'test.echo(jsonb)', '{"n": 1}'))$$) FROM state ORDER BY nr;
SELECT count(*) AS "all of it undone" FROM r;

-- tokens rise from holder to holder, whatever stood between them, and are never given out twice
SELECT test.note('1', token), checkpoint FROM keep.begin_request('r', 't', '1');
SELECT test.at(2);
SELECT test.note('2', token), state FROM keep.begin_request('r', 't', '1');
SELECT keep.release_request('r', 't', test.tok('2'));
SELECT test.note('3', token), state FROM keep.begin_request('r', 't', '1');
SELECT keep.complete_request('r', 't', test.tok('3'), '1');
SELECT test.at(25 * 60);
SELECT test.note('4', token), state FROM keep.begin_request('r', 't', '2');
SELECT keep.fail_request('r', 't', test.tok('4'), '1');
SELECT test.at(50 * 60);
SELECT keep.expire_requests('r');
SELECT test.note('5', token), state FROM keep.begin_request('r', 't', '3');
DELETE FROM r WHERE key = 't';
SELECT test.note('6', token), state FROM keep.begin_request('r', 't', '4');
SELECT test.tok('1') < test.tok('2') AND test.tok('2') < test.tok('3') AND test.tok('3') < test.tok('4')
    AND test.tok('4') < test.tok('5') AND test.tok('5') < test.tok('6') AS rising;
SELECT test.record('r', 't', test.tok('6')), token IS NULL AS "nobody else's to know"
FROM keep.begin_request('r', 't', '4');
SELECT test.at(0);
DELETE FROM r;

-- the lease: from the last sign of life on, as long as the last begin_request gave
SELECT test.note('t', token) FROM keep.begin_request('r', 'lease', '1', '10 min');
SELECT test.at(9);
SELECT test.r(keep.begin_request('r', 'lease', '1')), test.record('r', 'lease', test.tok('t'));
SELECT keep.checkpoint_request('r', 'lease', test.tok('t'), '"still here"');
SELECT test.at(18);
SELECT test.r(keep.begin_request('r', 'lease', '1')), test.record('r', 'lease', test.tok('t'));
SELECT keep.checkpoint_request('r', 'lease', test.tok('t'), 'null');
SELECT test.record('r', 'lease', test.tok('t'));
SELECT test.at(29);
SELECT test.note('u', token), checkpoint FROM keep.begin_request('r', 'lease', '1', '3 min');
SELECT test.record('r', 'lease', test.tok('t'));
SELECT test.at(31);
SELECT keep.checkpoint_request('r', 'lease', test.tok('u'), '[]');
SELECT test.record('r', 'lease', test.tok('u')), test.tell($$keep.checkpoint_request('r', 'lease', test.tok('t'), '1')$$);
-- a lease of a month, and of a microsecond
SELECT test.r(keep.begin_request('r', 'month', '1', '1 month'));
SELECT lease, lease_until BETWEEN created_at + interval '1 mon' AND created_at + interval '1 mon 1 min' AS "a month" FROM r WHERE key = 'month';
SELECT test.r(keep.begin_request('r', 'short', '1', '1 microsecond'));
SELECT test.r(keep.begin_request('r', 'short', '1', '1 microsecond')),
    test.tell($$test.r(keep.begin_request('r', 'short', '1', on_lapse => 'indeterminate'))$$);
SELECT test.at(0);
-- an outcome that nobody knows is looked into by hand: KP423 changes nothing, reclaiming does
SELECT test.note('t', token) FROM keep.begin_request('r', 'unknown', '1');
SELECT keep.checkpoint_request('r', 'unknown', test.tok('t'), '"calling the bank"');
SELECT test.at(2);
SELECT test.writes('r', $$SELECT test.tell('keep.begin_request(''r'', ''unknown'', ''1'', on_lapse => ''indeterminate'')')$$) AS written,
    test.tell($$keep.begin_request('r', 'unknown', '1', on_lapse => 'indeterminate')$$), test.record('r', 'unknown', test.tok('t'));
SELECT test.note('u', token), state, checkpoint FROM keep.begin_request('r', 'unknown', '1');
SELECT test.tell($$keep.begin_request('r', 'unknown', '1', on_lapse => 'indeterminate')$$) LIKE '(in_flight,%' AS "in flight again";
SELECT keep.complete_request('r', 'unknown', test.tok('u'), '"paid"');
SELECT test.r(keep.begin_request('r', 'unknown', '1', on_lapse => 'indeterminate')),
    test.tell($$keep.complete_request('r', 'unknown', test.tok('t'), '"paid"')$$) AS "the zombie";
SELECT test.at(0);
DELETE FROM r;

-- what writes and what does not
SELECT test.note('t', token) FROM keep.begin_request('r', 'w', '1');
SELECT test.writes('r', $$SELECT keep.begin_request('r', 'w', '1')$$) AS in_flight,
    test.writes('r', $$SELECT test.tell('keep.begin_request(''r'', ''w'', ''2'')')$$) AS "KP422",
    test.writes('r', $$SELECT test.tell('keep.complete_request(''r'', ''w'', 1000000, ''1'')')$$) AS "KP412";
SELECT keep.complete_request('r', 'w', test.tok('t'), '1');
SELECT test.writes('r', $$SELECT keep.begin_request('r', 'w', '1')$$) AS replayed,
    test.writes('r', $$SELECT keep.complete_request('r', 'w', test.tok('t'), '1.0')$$) AS "completed again";
-- responses of every kind; equal as jsonb is the same response
SELECT v, test.note('t', (keep.begin_request('r', v::text, '1')).token), test.tell(format($$keep.complete_request('r', %L, test.tok('t'), %L)$$, v, v)),
    test.r(keep.begin_request('r', v::text, '1'))
FROM unnest(ARRAY['null', 'false', '0', '""', '[]', '{}', '[null]', '{"a": {"b": [1, "x"]}}', '123456789012345678901234567890.5']::jsonb[]) v;
SELECT c, test.tell(format($$keep.complete_request('r', '{"a": {"b": [1, "x"]}}', (SELECT token FROM r WHERE key = '{"a": {"b": [1, "x"]}}'), %L)$$, c))
FROM unnest(ARRAY['{"a": {"b": [1, "x"]}}', '{"a": {"b": [1.00, "x"]}}', '{"a": 0, "a": {"b": [1, "x"]}}', '{"a": {"b": ["x", 1]}}',
    '{"a": {"b": [1, "x"]}, "c": null}', 'null']) c;
SELECT test.request_log_sound('r');

-- retention: counted from the outcome, by the option as it is now; NULL is for ever
SELECT keep.create_request_log('hour', '1 hour'), keep.create_request_log('ever', NULL);
SELECT l, test.note(l::text, (keep.begin_request(l, 'k', '1', '2 hours')).token) FROM unnest('{r,hour,ever}'::regclass[]) l;
SELECT test.at(90);
SELECT l, test.tell(format('keep.complete_request(%L, ''k'', test.tok(%1$L), ''1'')', l)) FROM unnest('{r,hour,ever}'::regclass[]) l;
SELECT test.at(149);
SELECT l, test.r(keep.begin_request(l, 'k', '1')), test.tell(format('keep.complete_request(%L, ''k'', test.tok(%1$L), ''1'')', l)) AS again
FROM unnest('{r,hour,ever}'::regclass[]) l;
SELECT test.at(151);
SELECT l, test.tell(format('keep.complete_request(%L, ''k'', test.tok(%1$L), ''1'')', l)) AS again, test.r(keep.begin_request(l, 'k', '1'))
FROM unnest('{r,hour,ever}'::regclass[]) l;
SELECT test.at(24 * 24 * 60);
SELECT test.r(keep.begin_request('ever', 'k', '1')), test.tell($$keep.begin_request('ever', 'k', '2')$$), keep.expire_requests('ever');
SELECT test.at(0);
DELETE FROM r;
SELECT test.note('t', token) FROM keep.begin_request('r', 'k', '1');
SELECT keep.fail_request('r', 'k', test.tok('t'), '1');
SELECT keep.register('r', 'request_log', '{"retain": "1 hour"}');
SELECT test.at(61);
BEGIN;
SELECT keep.expire_requests('r') AS "found, though it was to be kept longer";
ROLLBACK;
BEGIN;
SELECT test.tell($$keep.fail_request('r', 'k', test.tok('t'), '1')$$), test.r(keep.begin_request('r', 'k', '2'));
ROLLBACK;
SELECT keep.register('r', 'request_log', '{"retain": "7 days"}');
SELECT test.at(25 * 60);
SELECT test.tell($$keep.fail_request('r', 'k', test.tok('t'), '1')$$), keep.expire_requests('r'), test.r(keep.begin_request('r', 'k', '1'));
SELECT test.at(7 * 24 * 60 + 1);
SELECT keep.expire_requests('r');
SELECT test.at(0);
SELECT keep.register('r', 'request_log', '{"retain": null}');
SELECT test.note('t', token) FROM keep.begin_request('r', 'k', '1');
SELECT keep.complete_request('r', 'k', test.tok('t'), '1');
SELECT test.at(24 * 24 * 60);
SELECT keep.expire_requests('r'), test.r(keep.begin_request('r', 'k', '1'));
SELECT test.at(0);
SELECT keep.register('r', 'request_log', '{"retain": "24 hours"}');
SELECT test.at(25 * 60);
BEGIN;
SELECT keep.expire_requests('r') AS "found, though it was to be kept for ever";
ROLLBACK;
SELECT test.r(keep.begin_request('r', 'k', '2'));
SELECT test.at(0);
DROP TABLE hour, ever;
DELETE FROM r;

-- the caller's transaction: what is rolled back was not begun, what is not is
CREATE TABLE effect (what text);
BEGIN;
SELECT test.note('t', token), state FROM keep.begin_request('r', 'tx', '1');
INSERT INTO effect VALUES ('tx');
SELECT keep.complete_request('r', 'tx', test.tok('t'), '"done"');
SELECT test.r(keep.begin_request('r', 'tx', '1')), test.tell($$keep.begin_request('r', 'tx', '2')$$);
ROLLBACK;
SELECT test.record('r', 'tx'), count(*) FROM effect;
BEGIN;
SELECT test.note('t', token), state FROM keep.begin_request('r', 'tx', '2');
SAVEPOINT s;
INSERT INTO effect VALUES ('first try');
SELECT keep.complete_request('r', 'tx', test.tok('t'), '"done"');
ROLLBACK TO s;
SELECT test.r(keep.begin_request('r', 'tx', '2')), test.record('r', 'tx', test.tok('t'));
INSERT INTO effect VALUES ('second try');
SELECT keep.fail_request('r', 'tx', test.tok('t'), '"no"');
SAVEPOINT s2;
SELECT test.r(keep.begin_request('r', 'in savepoint', '1'));
ROLLBACK TO s2;
SELECT test.r(keep.begin_request('r', 'in savepoint', '2'));
COMMIT;
SELECT test.r(keep.begin_request('r', 'tx', '2')), test.r(keep.begin_request('r', 'in savepoint', '2')), string_agg(what, ', ') FROM effect;
-- a request begun and taken back leaves a lapsed one as it was
SELECT test.at(2);
BEGIN;
SELECT test.r(keep.begin_request('r', 'in savepoint', '2'));
ROLLBACK;
SELECT test.record('r', 'in savepoint');
SELECT test.at(0);
-- several calls in one statement see each other
SELECT test.r(keep.begin_request('r', 'one', '1')), test.r(keep.begin_request('r', 'one', '1')), test.tell($$keep.begin_request('r', 'one', '2')$$);
WITH b AS (SELECT token FROM keep.begin_request('r', 'two', '1')), c AS MATERIALIZED (SELECT token, keep.complete_request('r', 'two', token, '"2"') FROM b)
SELECT test.r(keep.begin_request('r', 'two', '1')) FROM c;
SELECT count(*), bool_and(r.state = 'started') FROM generate_series(1, 20) i, LATERAL keep.begin_request('r', 'many ' || i, '1') r;
-- the other isolation levels, and READ COMMITTED as the session's default
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.note('t', token), state FROM keep.begin_request('r', 'rr', '1');
SELECT keep.checkpoint_request('r', 'rr', test.tok('t'), '1'), keep.complete_request('r', 'rr', test.tok('t'), '1'),
    keep.complete_request('r', 'rr', test.tok('t'), '1');
SELECT test.r(keep.begin_request('r', 'rr', '1')), test.tell($$keep.begin_request('r', 'rr', '2')$$), test.r(keep.begin_request('r', 'one', '1'));
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.note('t', token), state FROM keep.begin_request('r', 'ser', '1');
SELECT keep.checkpoint_request('r', 'ser', test.tok('t'), '1'), keep.release_request('r', 'ser', test.tok('t'));
SELECT test.note('t', token), state, checkpoint FROM keep.begin_request('r', 'ser', '1');
SELECT keep.fail_request('r', 'ser', test.tok('t'), '1'), test.r(keep.begin_request('r', 'ser', '1')), test.r(keep.begin_request('r', 'rr', '1'));
COMMIT;
SELECT test.record('r', 'rr'), test.record('r', 'ser');

-- wait: for a request in flight, no longer than that, and never where nothing can change
SELECT test.note('t', token) FROM keep.begin_request('r', 'wait', '1', '10 min');
SELECT clock_timestamp() AS began \gset
SELECT test.r(keep.begin_request('r', 'wait', '1', '10 min', '300 ms'));
SELECT clock_timestamp() - :'began' BETWEEN '300 ms' AND '20 s' AS "about that long";
SELECT clock_timestamp() AS began \gset
SELECT test.tell($$keep.begin_request('r', 'wait', '2', '10 min', '30 s')$$) AS "other request",
    test.r(keep.begin_request('r', 'free', '1', '10 min', '30 s')) AS free, test.r(keep.begin_request('r', 'rr', '1', '10 min', '30 s')) AS completed;
SELECT clock_timestamp() - :'began' < '20 s' AS "at once";
-- its lease runs out meanwhile
SELECT test.r(keep.begin_request('r', 'wait 2', '1', '300 ms')), test.r(keep.begin_request('r', 'wait 2', '1', '10 min', '30 s'));
SELECT test.r(keep.begin_request('r', 'wait 3', '1', '300 ms')), test.tell($$keep.begin_request('r', 'wait 3', '1', '10 min', '30 s', 'indeterminate')$$);
SET pg_keep.max_wait = '200ms';
SELECT clock_timestamp() AS began \gset
SELECT test.r(keep.begin_request('r', 'wait', '1', '10 min', '1 hour'));
SELECT clock_timestamp() - :'began' < '20 s' AS capped;
RESET pg_keep.max_wait;
SET statement_timeout = '200ms';
SELECT keep.begin_request('r', 'wait', '1', '10 min', '50 s');
SET statement_timeout = '60s';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.sqlstate($$SELECT keep.begin_request('r', 'wait', '1', '10 min', '1 s')$$);
SELECT test.code($$SELECT keep.begin_request('r', 'nobody has it', '1', '10 min', '1 s')$$) AS "also where it is free",
    test.r(keep.begin_request('r', 'wait', '1', '10 min', '0')) AS "no waiting: fine";
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.code($$SELECT keep.begin_request('r', 'wait', '1', '10 min', '1 s')$$), test.r(keep.begin_request('r', 'wait', '1'));
ROLLBACK;

SELECT test.request_log_sound('r');
DROP FUNCTION test.cell(text, text);
DROP FUNCTION test.arrange(text);
DROP TABLE r, effect;
