-- Saga logs: every state that a saga and a step of it can be in, against each call: a step runs once
-- or not at all, is refused once its saga is undone, is compensated once or not at all; what is
-- stale is KP412, what is not there KP404, another step under a name KP422.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
SET statement_timeout = '60s';

SELECT keep.create_saga_log('g', 2);
SELECT keep.allow_saga_function('g', f) FROM unnest('{test.act(jsonb),test.undo(jsonb)}'::regprocedure[]) f;

-- Brings the saga s and its step x into a state, and the clock to where it is in that state; returns
-- the token of the step, or of the claim on its compensation. Where the saga is to go on compensating
-- by itself, a remote step z was left after x or before it.
CREATE FUNCTION test.arrange(state text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    saga text := split_part(state, ', ', 1);
    step text := split_part(state, ', ', 2);
    z bigint;
    t bigint;
BEGIN
    IF saga = 'no saga' THEN
        RETURN t;
    END IF;
    PERFORM keep.begin_saga('g', 's', '1 hour');
    IF saga = 'compensating' AND step NOT LIKE 'claim%' THEN
        z := (keep.enter_step('g', 's', 'z', 'undo z')).token;
        PERFORM keep.leave_step('g', 's', 'z', z, true);
    END IF;
    IF step LIKE 'local%' THEN
        PERFORM keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "x"}', 'test.undo(jsonb)');
        t := (SELECT token FROM g_steps WHERE g_steps.step = 'x');
    ELSIF step NOT LIKE 'new%' AND step NOT LIKE 'tombstone%' THEN
        t := (keep.enter_step('g', 's', 'x', 'undo x', '{"what": "x"}')).token;
        IF step LIKE 'remote failed%' THEN
            PERFORM keep.leave_step('g', 's', 'x', t, false, '{"left": 1}');
        ELSIF step LIKE 'remote taken over%' THEN
            PERFORM test.at(2);
            PERFORM keep.enter_step('g', 's', 'x', 'undo x', '{"what": "x"}');
        ELSIF step NOT LIKE 'remote entered%' AND step NOT LIKE 'remote lapsed%' THEN
            PERFORM keep.leave_step('g', 's', 'x', t, true, '{"left": 1}');
        END IF;
    END IF;
    IF saga = 'compensating' AND step LIKE '%under z' THEN
        z := (keep.enter_step('g', 's', 'zz', 'undo zz')).token;
        PERFORM keep.leave_step('g', 's', 'zz', z, true);
    END IF;
    IF step LIKE '%broken%' OR saga = 'stuck' AND step LIKE 'local%' THEN
        INSERT INTO test.effect (what) VALUES ('broken x');
    END IF;
    IF step LIKE '%broken%' THEN
        PERFORM test.at(0.5);
    END IF;
    CASE saga
        WHEN 'running' THEN NULL;
        WHEN 'past its deadline' THEN NULL;
        WHEN 'completed' THEN
            PERFORM keep.complete_saga('g', 's');
        WHEN 'compensating' THEN
            PERFORM keep.compensate_saga('g', 's');
        WHEN 'compensated', 'stuck' THEN
            IF step IN ('remote lapsed') THEN
                PERFORM test.at(2);
            END IF;
            PERFORM keep.compensate_saga('g', 's');
    END CASE;
    IF step LIKE 'tombstone%' THEN
        IF step LIKE '%remote%' THEN
            PERFORM keep.enter_step('g', 's', 'x', 'undo x', '{"what": "x"}');
        ELSE
            PERFORM keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "x"}', 'test.undo(jsonb)');
        END IF;
    END IF;
    IF step LIKE 'claim%' OR step LIKE 'remote broken%' OR saga IN ('compensated', 'stuck') AND step LIKE 'remote%' AND step NOT LIKE 'remote failed%' THEN
        t := (SELECT c.token FROM keep.claim_compensations('g', 'w') c WHERE c.step = 'x');
    END IF;
    IF step LIKE 'remote broken%' OR saga = 'stuck' AND step LIKE 'remote%' THEN
        PERFORM keep.finish_compensation('g', 's', 'x', t, false, '"no"');
    ELSIF saga = 'compensated' AND step LIKE 'remote%' AND step NOT LIKE 'remote failed%' THEN
        PERFORM keep.finish_compensation('g', 's', 'x', t, true, '{"undone": 1}');
    END IF;
    IF step LIKE '%broken' THEN
        -- the second that it rests must not be over yet
        PERFORM test.at(0.1);
    END IF;
    IF saga = 'stuck' THEN
        PERFORM test.at(3);
        IF step LIKE 'remote%' THEN
            t := (SELECT c.token FROM keep.claim_compensations('g', 'w') c WHERE c.step = 'x');
            PERFORM keep.finish_compensation('g', 's', 'x', t, false, '"no"');
        ELSE
            PERFORM keep.compensate_saga('g', 's');
        END IF;
    END IF;
    IF saga = 'past its deadline' THEN
        PERFORM test.at(61);
    ELSIF saga <> 'compensated' AND (step LIKE '%lapsed%' OR step LIKE '%back-off over%' OR step LIKE 'claim over%') THEN
        PERFORM test.at(2);
        IF step LIKE 'claim over and taken%' THEN
            PERFORM keep.claim_compensations('g', 'another');
        END IF;
    END IF;
    RETURN t;
END $$;
CREATE FUNCTION test.cell(state text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t bigint;
    result text;
BEGIN
    PERFORM test.at(0);
    BEGIN
        DELETE FROM test.effect;
        t := test.arrange(state);
        IF call <> '' THEN
            DELETE FROM test.effect WHERE what NOT LIKE 'broken%';
            result := test.tell(replace(call, ':t', coalesce(t, 1000000)::text)) || ' -> ';
        END IF;
        result := concat(result, test.saga('g', 's', t, 'x'), ' | ' || nullif(test.effects(), 'no effects'),
            ', NOT SOUND: ' || nullif(test.saga_log_sound('g'), 'sound'));
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
    PERFORM test.at(0);
    RETURN result;
END $$;
CREATE TEMP TABLE state (nr int GENERATED ALWAYS AS IDENTITY, state text);
INSERT INTO state (state) SELECT unnest(ARRAY['no saga', 'running, new', 'running, local', 'running, remote entered', 'running, remote lapsed',
    'running, remote taken over',
    'running, remote failed', 'running, remote left', 'past its deadline, new', 'past its deadline, local', 'past its deadline, remote entered',
        'past its deadline, remote failed', 'past its deadline, remote left',
    'completed, new', 'completed, tombstone', 'completed, tombstone remote', 'completed, local', 'completed, remote failed', 'completed, remote left',
        'compensating, new', 'compensating, tombstone', 'compensating, tombstone remote', 'compensating, local', 'compensating, local under z',
    'compensating, local broken', 'compensating, local broken back-off over', 'compensating, remote entered', 'compensating, remote lapsed',
        'compensating, remote failed', 'compensating, remote left', 'compensating, remote left under z',
    'compensating, remote broken', 'compensating, remote broken back-off over', 'compensating, claimed', 'compensating, claim over',
        'compensating, claim over and taken',
    'compensated, new', 'compensated, tombstone', 'compensated, local', 'compensated, remote failed', 'compensated, remote left',
        'compensated, remote lapsed', 'stuck, local', 'stuck, remote']);
SELECT state, test.cell(state, '') FROM state ORDER BY nr;

SELECT state, test.cell(state, $$keep.begin_saga('g', 's')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$test.s(keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "x"}', 'test.undo(jsonb)'))$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$test.en(keep.enter_step('g', 's', 'x', 'undo x', '{"what": "x"}'))$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.leave_step('g', 's', 'x', :t, true, '{"left": 1}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.leave_step('g', 's', 'x', :t, true, '{"left": 2}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.leave_step('g', 's', 'x', :t, false, '{"left": 1}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.complete_saga('g', 's')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$test.p(keep.compensate_saga('g', 's'))$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$(SELECT string_agg(test.claim(c), ' ') FROM keep.claim_compensations('g', 'me') c)$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.finish_compensation('g', 's', 'x', :t, true, '{"undone": 1}')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.finish_compensation('g', 's', 'x', :t, false, '"no"')$$) FROM state ORDER BY nr;
SELECT state, test.cell(state, $$keep.resume_saga('g', 's')$$) FROM state ORDER BY nr;

-- another step under the name of one that is there: KP422 where the saga runs, in each part
SELECT c, string_agg(DISTINCT test.cell(state, c), ' / ') FROM (VALUES
    ('running, local'), ('running, remote entered'), ('running, remote lapsed'), ('running, remote failed'), ('running, remote left'),
    ('completed, local'), ('completed, remote left')) s(state), (VALUES
    ($$test.s(keep.run_step('g', 's', 'x', 'test.undo(jsonb)', '{"what": "x"}', 'test.undo(jsonb)'))$$),
    ($$test.s(keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "y"}', 'test.undo(jsonb)'))$$),
    ($$test.s(keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "x", "more": null}', 'test.undo(jsonb)'))$$),
    ($$test.s(keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "x"}'))$$),
    ($$test.s(keep.run_step('g', 's', 'x', 'test.act(jsonb)', '{"what": "x"}', 'test.act(jsonb)'))$$),
    ($$test.en(keep.enter_step('g', 's', 'x', 'undo y', '{"what": "x"}'))$$), ($$test.en(keep.enter_step('g', 's', 'x', NULL, '{"what": "x"}'))$$),
    ($$test.en(keep.enter_step('g', 's', 'x', 'undo x', '{"what": "y"}'))$$),
    ($$test.en(keep.enter_step('g', 's', 'x'))$$)) v(c) GROUP BY c ORDER BY c COLLATE "C";
SELECT count(*) AS sagas, (SELECT count(*) FROM g_steps) AS steps FROM g;
DROP FUNCTION test.cell(text, text);
DROP FUNCTION test.arrange(text);
DELETE FROM test.effect;
DROP TABLE g, g_steps;
