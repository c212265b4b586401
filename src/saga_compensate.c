/*
 * saga_compensate.c
 *		SQL functions that go back: compensate_saga, resume_saga, and the
 *		procedures run_compensations and run_due_compensations.
 *
 * A compensation runs in a subtransaction together with the record of it, so
 * that both are there or neither; where it fails, the failure is recorded
 * instead.  The procedures commit after each one, the function leaves all to
 * the caller's transaction.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "fault.h"
#include "json.h"
#include "reap.h"
#include "result.h"
#include "routine.h"
#include "saga.h"
#include "subxact.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(keep_compensate_saga);
PG_FUNCTION_INFO_V1(keep_run_compensations);
PG_FUNCTION_INFO_V1(keep_run_due_compensations);
PG_FUNCTION_INFO_V1(keep_resume_saga);

#define RIGHTS	(ACL_SELECT | ACL_UPDATE)

#define DUE_PROCEDURE	"keep.run_due_compensations()"

/* so many sagas the reaper looks at, to find one that nobody else is at work on */
#define REAP_LOOK	100

/* so long rests a saga that run_due_compensations() can do nothing about */
#define POSTPONE_USECS	(INT64CONST(60) * USECS_PER_SEC)

/* what a saga that is due for compensating locally waits for */
static const char *const due_causes[] = {SAGA_FOR_LOCAL, SAGA_FOR_DEADLINE};

/* For whom compensations are run. */
typedef enum BackMode
{
	BACK_IN_TRANSACTION,		/* all in the caller's */
	BACK_COMMITTING,			/* each is committed */
	BACK_DUE,					/* the same, and no saga keeps others waiting */
	BACK_REAPER					/* the same, and a cancel says that it takes too long */
} BackMode;

/* What a compensation is called with: {"args": …, "result": …} */
static Jsonb *
compensation_args(const SagaStep *step)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_json_push_json(&state, "args", step->args);
	keep_json_push_json(&state, "result", step->result);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The function that undoes a step; raises where it may not be run. */
static Oid
compensation_of(const SagaCall *call, const SagaStep *step)
{
	Oid			fn = keep_routine_named(step->compensation);

	saga_check_function(call->sagas, fn);
	return fn;
}

/* A compensation that is to be run. */
typedef struct Compensation
{
	SagaCall   *call;
	Saga	   *saga;
	SagaStep   *step;
	BackMode	mode;
} Compensation;

/* Where an error came from. */
static void
compensation_context(void *arg)
{
	const Compensation *it = arg;

	errcontext("compensation of step \"%s\" of saga \"%s\"",
			   text_to_cstring(it->step->id), text_to_cstring(it->saga->id));
}

/*
 * Run a compensation and record it; the saga's lock is held.
 *
 * While it runs its step is marked, for nobody but this transaction to see: see
 * go_back_one().
 */
static bool
compensate(void *arg)
{
	Compensation *it = arg;
	SagaCall   *call = it->call;
	Datum		mark[5] = {PointerGetDatum(it->saga->id), PointerGetDatum(it->step->id), 0, 0,
	TimestampTzGetDatum(call->now)};
	Saga		after;
	Oid			fn;
	Datum		result;
	bool		isnull;

	if (!saga_step_run(call, STEP_CLAIM, mark, "  nn ", NULL))
		keep_suppressed(call->steps->relid, "step");
	/* looked up behind the triggers of the steps: they may drop it */
	fn = compensation_of(call, it->step);
	result = keep_routine_call(fn, JsonbPGetDatum(compensation_args(it->step)), &isnull);

	/* it may have done anything, even to our tables */
	saga_open(call);
	if (!saga_read(call, SAGA_READ, it->saga->id, &after) ||
		!saga_is(&after, SAGA_COMPENSATING) ||
		!saga_step_compensated(call, &after, it->step, isnull ? NULL : DatumGetJsonbP(result)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the compensation of step \"%s\" has changed its own saga",
						text_to_cstring(it->step->id))));
	KEEP_FAULT("saga: compensation recorded");
	/* what is deferred would fail in the commit, where nobody could count it */
	if (it->mode != BACK_IN_TRANSACTION &&
		SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not check deferred constraints");
	after.id = it->saga->id;
	*it->saga = after;
	return true;
}

/*
 * Run the compensation that comes next, in a subtransaction; is it done?  Where
 * it fails, that is recorded.  Errors that say nothing about it pass through;
 * so does one that it may not be run, but with BACK_DUE and above, where that counts as
 * having failed.
 */
static bool
go_back_one(SagaCall *call, Saga *saga, SagaStep *step, BackMode mode)
{
	Compensation it = {call, saga, step, mode};
	ErrorContextCallback context = {.callback = compensation_context, .arg = &it,
	.previous = error_context_stack};
	ErrorData  *error;
	bool		done;

	if (saga_step_is(step, STEP_IS_COMPENSATING))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("saga \"%s\" is being compensated", text_to_cstring(saga->id)),
				 errdetail("A compensation cannot have its own saga compensated.")));
	error_context_stack = &context;
	if (mode < BACK_DUE)
		(void) compensation_of(call, step);
	error = keep_subxact(compensate, &it, &done);
	error_context_stack = context.previous;
	KEEP_FAULT("saga: gone back one step");
	if (error != NULL && keep_passes_through(error) &&
		!(mode == BACK_REAPER && error->sqlerrcode == ERRCODE_QUERY_CANCELED))
		ReThrowError(error);
	call->now = keep_clock_now();
	if (error != NULL)
	{
		saga_open(call);
		saga_step_failed(call, saga, step, keep_error_text(error));
	}
	return done;
}

/*
 * Go back as far as possible now, over at most "limit" local compensations.
 * The saga is locked; its row is written here.  True where the next one is to be
 * run at once, and only the limit kept it from that.
 */
static bool
go_back(SagaCall *call, Saga *saga, int limit, BackMode mode)
{
	SagaStep	next;
	bool		due = true;

	/* before any compensation runs, and might call us */
	if (saga_is(saga, SAGA_RUNNING))
		saga_turn_back(call, saga);
	if (!saga_is(saga, SAGA_COMPENSATING))
		return false;

	for (int ran = 0; due; ran++)
	{
		CHECK_FOR_INTERRUPTS();
		/* a connection of its own, whose end frees all that a step has taken */
		SPI_connect();
		due = saga_settle(call, saga, &next) &&
			strcmp(saga->waits_for, SAGA_FOR_LOCAL) == 0 && saga->due <= call->now;
		if (due && ran < limit)
			due = go_back_one(call, saga, &next, mode);
		SPI_finish();
		if (ran == limit)
			break;
	}
	saga_write(call, saga);
	return due;
}

/*
 * keep.compensate_saga(log regclass, saga text) returns keep.saga_progress
 *
 * Undoes the saga's steps in the reverse order of their completion, all in this
 * transaction, until a remote one comes next, one that may still be running, or
 * one that has failed and rests.  A completed saga stays as it is.  Raises
 * KP404, and 42501, 42883 or 22023 for a compensation that may not be run.
 */
Datum
keep_compensate_saga(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	Datum		values[2];
	bool		nulls[2] = {false, false};
	Datum		result;

	saga_begin(&call, fcinfo, "keep.compensate_saga()", RIGHTS, RIGHTS);
	saga_lock(&call, id, &saga);
	(void) go_back(&call, &saga, PG_INT32_MAX, BACK_IN_TRANSACTION);
	values[0] = CStringGetTextDatum(saga.state);
	values[1] = Int32GetDatum(saga_pending_remote(&call, &saga));
	result = keep_result_row(fcinfo, call.caller, values, nulls);
	SPI_finish();
	return result;
}

/* Refuse (2D000) to run where it is not possible to commit. */
static void
require_nonatomic(FunctionCallInfo fcinfo, const char *procedure)
{
	CallContext *context = (CallContext *) fcinfo->context;

	if (context == NULL || !IsA(context, CallContext) || context->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s cannot run inside a transaction block", procedure),
				 errdetail("It commits after each compensation."),
				 errhint("Inside a transaction, use keep.compensate_saga().")));
}

/*
 * Open the log for one of the transactions of a procedure.  It has an active
 * snapshot and a connection to SPI until its end, which frees all that it has
 * taken.  Rights are checked in each.  A role that was set for the first
 * transaction only was to run all compensations: refuse (2D000) to go on
 * without it.
 */
static void
begin_transaction(SagaCall *call, const char *procedure)
{
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	PushActiveSnapshot(GetTransactionSnapshot());
	keep_require_write(procedure);
	if (GetUserId() != call->user)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("the role has changed at the end of a transaction"),
				 errdetail("%s commits after each compensation.", procedure),
				 errhint("Set the role for the session instead of for the transaction.")));
	saga_open(call);
	keep_require_rights(call->sagas->relid, RIGHTS);
	keep_require_rights(call->steps->relid, RIGHTS);
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	SPI_commit();
	SPI_finish();
	KEEP_FAULT("saga: transaction of a procedure over");
}

/*
 * keep.run_compensations(log regclass, saga text, INOUT state text,
 *						  INOUT pending_remote int)
 *
 * As compensate_saga(), but commits after each compensation: what is done stays
 * done.  Raises 2D000 inside a transaction block.
 */
Datum
keep_run_compensations(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	text	   *id;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, false};
	bool		more;

	keep_arg_require(fcinfo, 0, "log");
	/* what is palloc'd here, in the portal's memory, outlives the transactions */
	id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	require_nonatomic(fcinfo, "keep.run_compensations()");
	call.relid = PG_GETARG_OID(0);
	call.user = GetUserId();
	do
	{
		begin_transaction(&call, "keep.run_compensations()");
		saga_lock(&call, id, &saga);
		more = go_back(&call, &saga, 1, BACK_COMMITTING);
		if (!more)
			values[1] = Int32GetDatum(saga_pending_remote(&call, &saga));
		commit_transaction();
	} while (more);
	values[0] = CStringGetTextDatum(saga.state);
	return keep_result_row(fcinfo, CurrentMemoryContext, values, nulls);
}

/* Names of sagas that are due, read in a transaction of its own. */
static List *
due_ids(SagaCall *call, const char *waits_for, int64 offset, int64 max)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *ids;

	begin_transaction(call, DUE_PROCEDURE);
	ids = saga_due_ids(call, context, waits_for, offset, max);
	commit_transaction();
	return ids;
}

/* A saga that was due, and what came of it. */
typedef struct DueSaga
{
	SagaCall   *call;
	text	   *id;
	BackMode	mode;			/* BACK_DUE or BACK_REAPER */
	bool		postpone;		/* do not compensate: let it rest */
	bool		due;			/* was it, still? */
	bool		more;			/* is there more to do at once? */
	bool		rests;			/* it could not be compensated, and was let rest */
} DueSaga;

/* Compensate it, once, unless another is at work on it or has done so. */
static bool
run_due_once(void *arg)
{
	DueSaga    *it = arg;
	SagaCall   *call = it->call;
	Saga		saga;

	it->due = saga_read(call, SAGA_LOCK_FREE, it->id, &saga) &&
		(saga_is(&saga, SAGA_RUNNING) ? saga.deadline <= call->now
		 : saga.waits_for != NULL && saga.due <= call->now);
	it->more = it->due && !it->postpone && go_back(call, &saga, 1, it->mode);
	if (it->due && it->postpone)
	{
		saga.due = call->now + POSTPONE_USECS;
		saga_write(call, &saga);
	}
	return true;
}

/* Warn of an error, unless it is a cancel or the like. */
static void
warn_of(ErrorData *error, const DueSaga *it)
{
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && it->mode != BACK_REAPER)
		ReThrowError(error);
	ereport(WARNING,
			(errmsg("could not compensate saga \"%s\" for now", text_to_cstring(it->id)),
			 errdetail_internal("%s", keep_error_text(error)),
			 error->context ? errcontext("%s", error->context) : 0));
}

/*
 * The same; but what goes wrong beyond its compensations is a warning, and the
 * saga rests for a while, so that the others get their turn.
 */
static void
run_due_guarded(DueSaga *it)
{
	bool		done;
	ErrorData  *error = keep_subxact(run_due_once, it, &done);

	if (error == NULL)
		return;
	warn_of(error, it);
	it->postpone = true;
	saga_open(it->call);
	error = keep_subxact(run_due_once, it, &done);
	KEEP_FAULT("saga: postponed");
	if (error != NULL)
		warn_of(error, it);
	it->rests = error == NULL;
	it->due = it->more = false;
}

/*
 * Compensate a saga that was due, a transaction for each compensation.  Was
 * there anything to do?
 */
static bool
run_due(SagaCall *call, text *id)
{
	DueSaga		it = {.call = call, .id = id, .mode = BACK_DUE};

	do
	{
		begin_transaction(call, DUE_PROCEDURE);
		run_due_guarded(&it);
		commit_transaction();
	} while (it.more);
	return it.due;
}

/*
 * keep.run_due_compensations(log regclass, max int)
 *
 * As run_compensations(), for up to "max" sagas that are due: running ones past
 * their deadline, and those whose next compensation is a local one.  Sagas that
 * others are at work on are passed over.  No saga keeps the others waiting: a
 * compensation that may not be run counts as one that has failed, and what goes
 * wrong otherwise is a warning.
 */
Datum
keep_run_due_compensations(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	List	   *ids;
	int			max;

	keep_arg_require(fcinfo, 0, "log");
	max = keep_arg_count(fcinfo, 1, "max");
	require_nonatomic(fcinfo, DUE_PROCEDURE);
	call.relid = PG_GETARG_OID(0);
	call.user = GetUserId();
	for (size_t i = 0; i < lengthof(due_causes); i++)
	{
		int64		passed = 0;

		while (max > 0 && (ids = due_ids(&call, due_causes[i], passed, max)) != NIL)
		{
			ListCell   *cell;

			foreach(cell, ids)
			{
				if (run_due(&call, lfirst(cell)))
					max--;
				else
					passed++;
			}
			list_free_deep(ids);
		}
	}
	PG_RETURN_VOID();
}

/*
 * For the reaper: see reap.h.  Runs at most one compensation, so that its effect
 * and the record of it are committed together; or lets one saga rest, and that
 * is committed, before there is another that takes too long.
 */
bool
saga_reap(KeepReaping *work)
{
	SagaCall	call = {.relid = work->relid, .caller = CurrentMemoryContext};

	saga_open(&call);
	work->next = DT_NOEND;
	for (size_t i = 0; i < lengthof(due_causes); i++)
	{
		Datum		cause = CStringGetTextDatum(due_causes[i]);
		int64		passed = 0;
		List	   *ids;

		while ((ids = saga_due_ids(&call, CurrentMemoryContext, due_causes[i], passed,
								   REAP_LOOK)) != NIL)
		{
			ListCell   *cell;

			foreach(cell, ids)
			{
				DueSaga		it = {.call = &call, .id = lfirst(cell), .mode = BACK_REAPER};

				CHECK_FOR_INTERRUPTS();
				run_due_guarded(&it);
				if (!it.due && !it.rests)
					continue;
				/* it is not to be lost in a crash, whatever the reaper otherwise may lose */
				ForceSyncCommit();
				work->ended = it.due;
				return true;
			}
			passed += list_length(ids);
		}
		work->next = Min(work->next, keep_run_time(call.sagas, SAGA_NEXT, &cause));
	}
	return false;
}

/*
 * keep.resume_saga(log regclass, saga text, OUT state text)
 *
 * Has a saga that is stuck compensated again, with all its attempts before it.
 * Returns the state; that of a saga which is not stuck is left.  Raises KP404.
 */
Datum
keep_resume_saga(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	SagaStep	next;
	uint64		reset;
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	Datum		values[2];

	saga_begin(&call, fcinfo, "keep.resume_saga()", RIGHTS, RIGHTS);
	saga_lock(&call, id, &saga);
	if (saga_is(&saga, SAGA_STUCK))
	{
		values[0] = PointerGetDatum(id);
		values[1] = TimestampTzGetDatum(call.now);
		reset = keep_run(call.steps, STEP_RESET, values, NULL, false);
		KEEP_FAULT("saga: attempts reset");
		saga_turn_back(&call, &saga);
		/* somebody may have mended the step by plain SQL: then there was nothing to reset */
		if (reset == 0 && saga_settle(&call, &saga, &next) && next.attempts > 0)
			keep_suppressed(call.steps->relid, "step");
	}
	return saga_state_result(&call, saga.state);
}
