-- Compensations that do not count as done: one that changes the state of its own saga, and one that leaves a
-- deferred constraint broken, which would fail in the commit where nobody could count it. And a worker who
-- claims turns the sagas that are past their deadline.
\pset null '(null)'
\set VERBOSITY terse

TRUNCATE test.effect;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
SELECT keep.create_saga_log('g', 3);
-- Undoes nothing: sets the state of its saga.
CREATE FUNCTION test.end_it(step jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.effect (what) VALUES ('ended');
    UPDATE g SET state = step #>> '{args,state}', waits_for = NULL, due_at = NULL WHERE saga = step #>> '{args,saga}';
    RETURN '1';
END $$;
CREATE FUNCTION test.orphan(step jsonb) RETURNS jsonb LANGUAGE sql AS 'INSERT INTO child VALUES (1) RETURNING to_jsonb(id)';
SELECT keep.allow_saga_function('g', f) FROM unnest('{test.act(jsonb),test.undo(jsonb),test.end_it(jsonb),test.orphan(jsonb)}'::regprocedure[]) f;

-- its own saga
SELECT keep.begin_saga('g', s), test.s(keep.run_step('g', s, 'first', 'test.act(jsonb)', '{"what": "first"}', 'test.undo(jsonb)')),
    test.s(keep.run_step('g', s, 'second', 'test.act(jsonb)', jsonb_build_object('saga', s, 'state', s), 'test.end_it(jsonb)'))
FROM unnest('{completed,running,compensated}'::text[]) s;
TRUNCATE test.effect;
SELECT s, test.p(keep.compensate_saga('g', s)), test.saga('g', s), test.effects() FROM unnest('{completed,running,compensated}'::text[]) s;
SELECT saga, last_error FROM g_steps WHERE last_error IS NOT NULL ORDER BY saga;

-- a deferred constraint: looked at before the step counts as compensated
SELECT keep.begin_saga('g', 'late'), test.s(keep.run_step('g', 'late', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.orphan(jsonb)'));
CALL keep.run_compensations('g', 'late');
SELECT test.saga('g', 'late'), (SELECT count(*) FROM child) AS children;
SELECT left(last_error, 5) FROM g_steps WHERE saga = 'late';
SELECT test.at(10);
CALL keep.run_due_compensations('g');
SELECT test.saga('g', 'late');
INSERT INTO parent VALUES (1);
SELECT test.at(20);
CALL keep.run_due_compensations('g');
SELECT test.saga('g', 'late'), (SELECT count(*) FROM child) AS children;
-- in the caller's transaction it is the caller's
DELETE FROM child;
DELETE FROM parent;
SELECT keep.begin_saga('g', 'mine'), test.s(keep.run_step('g', 'mine', 'a', 'test.act(jsonb)', '{"what": "a"}', 'test.orphan(jsonb)'));
BEGIN;
SELECT test.p(keep.compensate_saga('g', 'mine'));
\set VERBOSITY sqlstate
COMMIT;
\set VERBOSITY terse
SELECT test.saga('g', 'mine');
SELECT test.at(0);

-- claims turn what is past its deadline, and hand it out at once
SELECT keep.begin_saga('g', 'overdue', '10 min'), keep.leave_step('g', 'overdue', 'r', (keep.enter_step('g', 'overdue', 'r', 'undo r')).token, true);
SELECT test.claim(c) FROM keep.claim_compensations('g', 'w') c;
SELECT test.at(11);
SELECT test.claim(c) FROM keep.claim_compensations('g', 'w', 5) c;
SELECT test.saga('g', 'overdue');
SELECT test.at(0);
DROP TABLE g, g_steps, child, parent;
DROP FUNCTION test.end_it(jsonb), test.orphan(jsonb);
