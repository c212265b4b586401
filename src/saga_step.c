/*
 * saga_step.c
 *		SQL functions that go forward: begin_saga, run_step, enter_step,
 *		leave_step, complete_saga.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "error.h"
#include "fault.h"
#include "result.h"
#include "routine.h"
#include "saga.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keep_begin_saga);
PG_FUNCTION_INFO_V1(keep_run_step);
PG_FUNCTION_INFO_V1(keep_enter_step);
PG_FUNCTION_INFO_V1(keep_leave_step);
PG_FUNCTION_INFO_V1(keep_complete_saga);

#define WRITE_RIGHTS	(ACL_SELECT | ACL_UPDATE)
#define CREATE_RIGHTS	(ACL_SELECT | ACL_UPDATE | ACL_INSERT)

/* What a step that is to be done finds. */
typedef enum StepFound
{
	STEP_NEW,
	STEP_KNOWN,					/* the same step: see its status */
	STEP_REFUSED				/* the saga goes forward no more */
} StepFound;

/*
 * Store a new saga; false where there is one.  Where the INSERT had to wait for
 * a rival, the deadline counts from after that.
 */
static bool
create_saga(SagaCall *call, text *id, const Interval *span)
{
	TimestampTz began = keep_clock_now();
	Datum		values[4] = {PointerGetDatum(id)};

	if (span != NULL)
	{
		values[1] = TimestampTzGetDatum(keep_clock_after(began, span));
		values[2] = CStringGetTextDatum(SAGA_FOR_DEADLINE);
	}
	values[3] = TimestampTzGetDatum(began);
	if (keep_run(call->sagas, SAGA_INSERT, values, span ? NULL : " nn ", false) == 0)
		return false;
	KEEP_FAULT("saga: inserted");
	if (!keep_returned(1, id))
		keep_suppressed(call->sagas->relid, "saga");

	call->now = keep_clock_now();
	if (span != NULL && call->now - began > KEEP_LATE_USECS)
	{
		values[1] = TimestampTzGetDatum(keep_clock_after(call->now, span));
		values[2] = TimestampTzGetDatum(call->now);
		(void) keep_run(call->sagas, SAGA_DATE, values, NULL, false);
		KEEP_FAULT("saga: dated");
	}
	return true;
}

/*
 * keep.begin_saga(log regclass, saga text, deadline interval, OUT state text)
 *
 * Begins a saga, or says in which state it is.  Past its deadline a running
 * saga is compensated; NULL: it has none.
 */
Datum
keep_begin_saga(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	const Interval *span = keep_arg_span(fcinfo, 2, "deadline");

	saga_begin(&call, fcinfo, "keep.begin_saga()", CREATE_RIGHTS, WRITE_RIGHTS);
	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (saga_read(&call, SAGA_READ, id, &saga))
		{
			if (saga_is(&saga, SAGA_RUNNING) && saga.deadline <= call.now)
			{
				if (!saga_read(&call, SAGA_LOCK, id, &saga))
					continue;
				(void) saga_overdue(&call, &saga);
			}
			return saga_state_result(&call, saga.state);
		}
		if (create_saga(&call, id, span))
			return saga_state_result(&call, SAGA_RUNNING);
	}
	keep_suppressed(call.sagas->relid, "saga");
}

/* Are both NULL, or equal as jsonb? */
static bool
same_json(Jsonb *a, Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(&a->root, &b->root) == 0;
}

/* Are both NULL, or equal? */
static bool
same_string(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

/*
 * Look for a step that is to be done, in a saga that is locked here.
 *
 * A step that is not known and comes too late leaves a tombstone: a row that
 * says so.  Raises KP422 where the step stands for other work.
 */
static StepFound
find_step(SagaCall *call, text *id, Saga *saga, const SagaStep *wanted, SagaStep *step)
{
	bool		known;

	saga_lock(call, id, saga);
	(void) saga_overdue(call, saga);
	KEEP_FAULT("saga: locked for a step");
	known = saga_step_read(call, saga, wanted->id, step);
	if (!known && !saga_is(saga, SAGA_RUNNING))
	{
		SagaStep	tombstone = {.id = wanted->id, .kind = wanted->kind,
		.status = STEP_IS_REFUSED, .lease_until = DT_NOBEGIN};

		if (!saga_step_insert(call, saga, &tombstone, NULL))
			keep_suppressed(call->steps->relid, "step");
		return STEP_REFUSED;
	}
	if (!known)
		return STEP_NEW;
	if (saga_step_is(step, STEP_IS_REFUSED) ||
		!(saga_is(saga, SAGA_RUNNING) || saga_is(saga, SAGA_COMPLETED)))
		return STEP_REFUSED;
	if (strcmp(step->kind, wanted->kind) != 0 || !same_string(step->action, wanted->action) ||
		!same_string(step->compensation, wanted->compensation) ||
		!same_json(step->args, wanted->args))
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_MISMATCH),
				 errmsg("step \"%s\" of saga \"%s\" stands for other work",
						text_to_cstring(wanted->id), text_to_cstring(saga->id)),
				 errdetail("It has another action, compensation or other arguments."),
				 errhint("A retry repeats them; other work is another step.")));
	/* one that failed and was not entered again has been left out */
	if (saga_is(saga, SAGA_COMPLETED) && !saga_step_is(step, STEP_IS_DONE))
		return STEP_REFUSED;
	return STEP_KNOWN;
}

/* End keep.run_step(). */
static Datum
run_step_result(SagaCall *call, FunctionCallInfo fcinfo, const char *status, Jsonb *result,
				bool replayed)
{
	Datum		values[3] = {CStringGetTextDatum(status), PointerGetDatum(result),
	BoolGetDatum(replayed)};
	bool		nulls[3] = {false, result == NULL, false};
	Datum		row = keep_result_row(fcinfo, call->caller, values, nulls);

	SPI_finish();
	return row;
}

/*
 * The action has run: is the saga still the one that it ran for?  It may have
 * called us, and even ended its own saga.
 */
static void
store_local_step(SagaCall *call, Saga *saga, SagaStep *step)
{
	SagaStep	known;

	saga_open(call);
	if (!saga_read(call, SAGA_READ, saga->id, saga))
		keep_suppressed(call->sagas->relid, "saga");
	saga->last_place++;
	saga->steps++;
	step->status = STEP_IS_DONE;
	step->lease_until = DT_NOBEGIN;
	if (saga_is(saga, SAGA_RUNNING) && saga_step_insert(call, saga, step, NULL))
		saga_write(call, saga);
	else if (saga_is(saga, SAGA_RUNNING) && !saga_step_read(call, saga, step->id, &known))
		keep_suppressed(call->steps->relid, "step");
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the action of step \"%s\" has ended its own saga or run its own step",
						text_to_cstring(step->id))));
}

/* The name of a function argument of the right shape (22023), or NULL. */
static char *
routine_arg(FunctionCallInfo fcinfo, int argno)
{
	if (PG_ARGISNULL(argno))
		return NULL;
	keep_routine_check_shape(PG_GETARG_OID(argno));
	return keep_routine_name(PG_GETARG_OID(argno));
}

/*
 * keep.run_step(log regclass, saga text, step text, action regprocedure,
 *				 args jsonb, compensation regprocedure) returns keep.step_result
 *
 * Runs action(args) and records it, both in this transaction.  Status done,
 * with the result, replayed where it had run before; or refused, since the saga
 * is over or being undone.  Raises KP404 for an unknown saga, KP422 for a step
 * that stands for other work, 22023 and 42501 for functions that may not be
 * run, and what the action raises.
 */
Datum
keep_run_step(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	SagaStep	wanted = {.kind = STEP_LOCAL};
	SagaStep	step;
	StepFound	found;
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	bool		isnull;
	Datum		result;

	wanted.id = keep_arg_name(fcinfo, 2, "step", SAGA_MAX_NAME);
	keep_arg_require(fcinfo, 3, "action");
	keep_arg_require(fcinfo, 4, "args");
	wanted.args = PG_GETARG_JSONB_P(4);
	wanted.action = routine_arg(fcinfo, 3);
	wanted.compensation = routine_arg(fcinfo, 5);
	saga_begin(&call, fcinfo, "keep.run_step()", WRITE_RIGHTS, CREATE_RIGHTS);

	found = find_step(&call, id, &saga, &wanted, &step);
	if (found == STEP_REFUSED)
		return run_step_result(&call, fcinfo, "refused", NULL, false);
	if (found == STEP_KNOWN)
		return run_step_result(&call, fcinfo, "done", step.result, true);
	/* now that the lock is held, which may have had to be waited for */
	saga_check_function(call.sagas, PG_GETARG_OID(3));
	if (!PG_ARGISNULL(5))
		saga_check_function(call.sagas, PG_GETARG_OID(5));
	result = keep_routine_call(PG_GETARG_OID(3), JsonbPGetDatum(wanted.args), &isnull);
	wanted.result = isnull ? NULL : DatumGetJsonbP(result);
	store_local_step(&call, &saga, &wanted);
	return run_step_result(&call, fcinfo, "done", wanted.result, false);
}

/* End keep.enter_step(); a token of 0 stands for none. */
static Datum
enter_step_result(SagaCall *call, FunctionCallInfo fcinfo, const char *status, int64 token,
				  Jsonb *result)
{
	Datum		values[3] = {CStringGetTextDatum(status), Int64GetDatum(token),
	PointerGetDatum(result)};
	bool		nulls[3] = {false, token == 0, result == NULL};
	Datum		row = keep_result_row(fcinfo, call->caller, values, nulls);

	SPI_finish();
	return row;
}

/* Give a step to the caller until "until"; returns its token. */
static int64
enter(SagaCall *call, Saga *saga, SagaStep *wanted, bool known, TimestampTz until)
{
	int64		token;

	saga->last_place++;
	wanted->status = STEP_IS_RUNNING;
	wanted->lease_until = until;
	if (known)
	{
		Datum		values[5] = {PointerGetDatum(saga->id), PointerGetDatum(wanted->id),
			Int64GetDatum(saga->last_place), TimestampTzGetDatum(until),
		TimestampTzGetDatum(call->now)};

		if (!saga_step_run(call, STEP_ENTER_AGAIN, values, NULL, &token))
			keep_suppressed(call->steps->relid, "step");
	}
	else
	{
		saga->steps++;
		if (!saga_step_insert(call, saga, wanted, &token))
			keep_suppressed(call->steps->relid, "step");
	}
	saga_write(call, saga);
	return token;
}

/*
 * keep.enter_step(log regclass, saga text, step text, compensation text,
 *				   args jsonb, lease interval) returns keep.step_entry
 *
 * For work outside of the database.  Status run: it is the caller's to do,
 * under the token, until the lease ends; busy: another is at it; done, with the
 * result; or refused.  Raises KP404 and KP422 as run_step() does.
 */
Datum
keep_enter_step(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	SagaStep	wanted = {.kind = STEP_REMOTE};
	SagaStep	step;
	StepFound	found;
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	const Interval *lease;
	int64		token;

	wanted.id = keep_arg_name(fcinfo, 2, "step", SAGA_MAX_NAME);
	if (!PG_ARGISNULL(3))
		wanted.compensation = text_to_cstring(keep_arg_name(fcinfo, 3, "compensation",
															SAGA_MAX_NAME));
	keep_arg_require(fcinfo, 4, "args");
	keep_arg_require(fcinfo, 5, "lease");
	wanted.args = PG_GETARG_JSONB_P(4);
	lease = keep_arg_span(fcinfo, 5, "lease");
	saga_begin(&call, fcinfo, "keep.enter_step()", WRITE_RIGHTS, CREATE_RIGHTS);

	found = find_step(&call, id, &saga, &wanted, &step);
	if (found == STEP_REFUSED)
		return enter_step_result(&call, fcinfo, "refused", 0, NULL);
	if (found == STEP_KNOWN && saga_step_is(&step, STEP_IS_DONE))
		return enter_step_result(&call, fcinfo, "done", 0, step.result);
	if (found == STEP_KNOWN && saga_step_is(&step, STEP_IS_RUNNING) &&
		step.lease_until > call.now)
		return enter_step_result(&call, fcinfo, "busy", 0, NULL);
	token = enter(&call, &saga, &wanted, found == STEP_KNOWN, keep_clock_after(call.now, lease));
	return enter_step_result(&call, fcinfo, "run", token, NULL);
}

/*
 * keep.leave_step(log regclass, saga text, step text, token bigint, ok boolean,
 *				   result jsonb, OUT status text)
 *
 * Status done (ok) or failed: it has not happened, and may be entered again.
 * Raises KP404 for an unknown saga or step, KP412 where the token's holder has
 * lost the step to another or to its compensation.
 */
Datum
keep_leave_step(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	SagaStep	step;
	SagaReport	report;
	const char *status;
	Datum		values[6];

	saga_report_begin(&call, fcinfo, "keep.leave_step()", &saga, &step, &report);
	status = report.ok ? STEP_IS_DONE : STEP_IS_FAILED;
	if (step.token == report.token && saga_step_is(&step, status) &&
		same_json(step.result, report.result))
		return saga_state_result(&call, status);
	if (step.token != report.token || !saga_step_is(&step, STEP_IS_RUNNING))
		saga_step_stale(&saga, report.step, report.token);
	saga.last_place++;
	values[0] = PointerGetDatum(saga.id);
	values[1] = PointerGetDatum(report.step);
	values[2] = CStringGetTextDatum(status);
	values[3] = Int64GetDatum(saga.last_place);
	values[4] = PointerGetDatum(report.result);
	values[5] = TimestampTzGetDatum(call.now);
	if (!saga_step_run(&call, STEP_LEAVE, values, report.result ? NULL : "    n ", NULL))
		keep_suppressed(call.steps->relid, "step");
	if (saga_is(&saga, SAGA_COMPENSATING))
		(void) saga_settle(&call, &saga, &step);
	saga_write(&call, &saga);
	return saga_state_result(&call, status);
}

/*
 * keep.complete_saga(log regclass, saga text, OUT state text)
 *
 * State completed: nothing can be undone any more.  running: a remote step has
 * not been left.  Else the state that the saga is in.  Raises KP404.
 */
Datum
keep_complete_saga(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	Datum		value;

	saga_begin(&call, fcinfo, "keep.complete_saga()", WRITE_RIGHTS, WRITE_RIGHTS);
	saga_lock(&call, id, &saga);
	if (saga_overdue(&call, &saga) || !saga_is(&saga, SAGA_RUNNING))
		return saga_state_result(&call, saga.state);
	value = PointerGetDatum(saga.id);
	if (keep_run(call.steps, STEP_RUNNING, &value, NULL, false) == 0)
	{
		saga_check_whole(&call, &saga);
		saga.state = SAGA_COMPLETED;
		saga.waits_for = NULL;
		saga_write(&call, &saga);
	}
	return saga_state_result(&call, saga.state);
}
