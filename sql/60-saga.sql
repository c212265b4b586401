-- saga logs: steps that are undone where the whole does not come about.

CREATE TYPE keep.step_result AS (
	status pg_catalog.text,
	result pg_catalog.jsonb,
	replayed pg_catalog.bool
);
COMMENT ON TYPE keep.step_result IS 'What became of a local step';
COMMENT ON COLUMN keep.step_result.status IS 'done or refused';
COMMENT ON COLUMN keep.step_result.result IS 'What its action returned';
COMMENT ON COLUMN keep.step_result.replayed IS 'Whether it had run before';

CREATE TYPE keep.step_entry AS (
	status pg_catalog.text,
	token pg_catalog.int8,
	result pg_catalog.jsonb
);
COMMENT ON TYPE keep.step_entry IS 'Whether a remote step is the caller''s to do';
COMMENT ON COLUMN keep.step_entry.status IS 'run, busy, done or refused';
COMMENT ON COLUMN keep.step_entry.token IS 'Under which it is the caller''s; NULL unless run';
COMMENT ON COLUMN keep.step_entry.result IS 'Its result, where done';

CREATE TYPE keep.saga_progress AS (
	state pg_catalog.text,
	pending_remote pg_catalog.int4
);
COMMENT ON TYPE keep.saga_progress IS 'How far a saga has been undone';
COMMENT ON COLUMN keep.saga_progress.state IS 'State of the saga';
COMMENT ON COLUMN keep.saga_progress.pending_remote IS 'Remote compensations still to be done';

CREATE TYPE keep.compensation AS (
	saga pg_catalog.text,
	step pg_catalog.text,
	compensation pg_catalog.text,
	args pg_catalog.jsonb,
	result pg_catalog.jsonb,
	token pg_catalog.int8
);
COMMENT ON TYPE keep.compensation IS 'A remote compensation for a worker to do';
COMMENT ON COLUMN keep.compensation.saga IS 'The saga';
COMMENT ON COLUMN keep.compensation.step IS 'The step to undo';
COMMENT ON COLUMN keep.compensation.compensation IS 'What to do, as enter_step() was told';
COMMENT ON COLUMN keep.compensation.args IS 'Arguments of the step';
COMMENT ON COLUMN keep.compensation.result IS 'Its result; NULL where its outcome is unknown';
COMMENT ON COLUMN keep.compensation.token IS 'For finish_compensation()';

CREATE FUNCTION keep.create_saga_log(name pg_catalog.text, max_attempts pg_catalog.int4 = 10)
	RETURNS pg_catalog.regclass
	AS 'MODULE_PATHNAME', 'keep_create_saga_log'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION keep.create_saga_log(pg_catalog.text, pg_catalog.int4) IS
	'Create a table of sagas and one of their steps, owned by the caller';

CREATE FUNCTION keep.allow_saga_function(log pg_catalog.regclass, fn pg_catalog.regprocedure,
		allowed pg_catalog.bool = true)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_allow_saga_function'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION keep.allow_saga_function(pg_catalog.regclass, pg_catalog.regprocedure, pg_catalog.bool) IS
	'Let steps of a saga log name a function, or end that';

CREATE FUNCTION keep.begin_saga(log pg_catalog.regclass, saga pg_catalog.text,
		deadline pg_catalog.interval = NULL, OUT state pg_catalog.text)
	AS 'MODULE_PATHNAME', 'keep_begin_saga'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.begin_saga(pg_catalog.regclass, pg_catalog.text, pg_catalog.interval) IS
	'Begin a saga, or learn its state';

CREATE FUNCTION keep.run_step(log pg_catalog.regclass, saga pg_catalog.text,
		step pg_catalog.text, action pg_catalog.regprocedure, args pg_catalog.jsonb = '{}',
		compensation pg_catalog.regprocedure = NULL)
	RETURNS keep.step_result
	AS 'MODULE_PATHNAME', 'keep_run_step'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION keep.run_step(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.regprocedure, pg_catalog.jsonb, pg_catalog.regprocedure) IS
	'Run a local step and record it, once';

CREATE FUNCTION keep.enter_step(log pg_catalog.regclass, saga pg_catalog.text,
		step pg_catalog.text, compensation pg_catalog.text = NULL,
		args pg_catalog.jsonb = '{}', lease pg_catalog.interval = '1 min')
	RETURNS keep.step_entry
	AS 'MODULE_PATHNAME', 'keep_enter_step'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.enter_step(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.interval) IS
	'Take a remote step to do it under a lease, or learn what came of it';

CREATE FUNCTION keep.leave_step(log pg_catalog.regclass, saga pg_catalog.text,
		step pg_catalog.text, token pg_catalog.int8, ok pg_catalog.bool,
		result pg_catalog.jsonb = NULL, OUT status pg_catalog.text)
	AS 'MODULE_PATHNAME', 'keep_leave_step'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.leave_step(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.bool, pg_catalog.jsonb) IS
	'Record what came of a remote step';

CREATE FUNCTION keep.complete_saga(log pg_catalog.regclass, saga pg_catalog.text,
		OUT state pg_catalog.text)
	AS 'MODULE_PATHNAME', 'keep_complete_saga'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.complete_saga(pg_catalog.regclass, pg_catalog.text) IS
	'End a saga whose steps stay';

CREATE FUNCTION keep.compensate_saga(log pg_catalog.regclass, saga pg_catalog.text)
	RETURNS keep.saga_progress
	AS 'MODULE_PATHNAME', 'keep_compensate_saga'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION keep.compensate_saga(pg_catalog.regclass, pg_catalog.text) IS
	'Undo a saga as far as can be done in this transaction';

CREATE PROCEDURE keep.run_compensations(log pg_catalog.regclass, saga pg_catalog.text,
		INOUT state pg_catalog.text = NULL, INOUT pending_remote pg_catalog.int4 = NULL)
	AS 'MODULE_PATHNAME', 'keep_run_compensations'
	LANGUAGE C;
COMMENT ON PROCEDURE keep.run_compensations(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.int4) IS
	'Undo a saga, with a commit after each compensation';

CREATE PROCEDURE keep.run_due_compensations(log pg_catalog.regclass,
		max pg_catalog.int4 = 100)
	AS 'MODULE_PATHNAME', 'keep_run_due_compensations'
	LANGUAGE C;
COMMENT ON PROCEDURE keep.run_due_compensations(pg_catalog.regclass, pg_catalog.int4) IS
	'Undo sagas that are due, with a commit after each compensation';

CREATE FUNCTION keep.claim_compensations(log pg_catalog.regclass, worker pg_catalog.text,
		max pg_catalog.int4 = 10, lease pg_catalog.interval = '1 min')
	RETURNS SETOF keep.compensation
	AS 'MODULE_PATHNAME', 'keep_claim_compensations'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 10;
COMMENT ON FUNCTION keep.claim_compensations(pg_catalog.regclass, pg_catalog.text, pg_catalog.int4, pg_catalog.interval) IS
	'Take remote compensations to do them under a lease';

CREATE FUNCTION keep.finish_compensation(log pg_catalog.regclass, saga pg_catalog.text,
		step pg_catalog.text, token pg_catalog.int8, ok pg_catalog.bool,
		result pg_catalog.jsonb = NULL, OUT state pg_catalog.text)
	AS 'MODULE_PATHNAME', 'keep_finish_compensation'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.finish_compensation(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.bool, pg_catalog.jsonb) IS
	'Record what came of a remote compensation';

CREATE FUNCTION keep.resume_saga(log pg_catalog.regclass, saga pg_catalog.text,
		OUT state pg_catalog.text)
	AS 'MODULE_PATHNAME', 'keep_resume_saga'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.resume_saga(pg_catalog.regclass, pg_catalog.text) IS
	'Have a saga that is stuck compensated again';
