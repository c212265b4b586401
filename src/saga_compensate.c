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
#include "json.h"
#include "result.h"
#include "routine.h"
#include "saga.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(keep_compensate_saga);
PG_FUNCTION_INFO_V1(keep_run_compensations);
PG_FUNCTION_INFO_V1(keep_run_due_compensations);
PG_FUNCTION_INFO_V1(keep_resume_saga);

#define RIGHTS	(ACL_SELECT | ACL_UPDATE)

/* Is the error one of rivals, and the same may go well when tried again? */
static bool
is_transient(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE) ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* Is it one of the server, or of the user's patience? */
static bool
is_fatal(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_OPERATOR_INTERVENTION;
}

/* What an error is about. */
typedef struct CompensationPlace
{
	const Saga *saga;
	const SagaStep *step;
} CompensationPlace;

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

/*
 * Run a compensation and record it; the saga's lock is held.
 *
 * While it runs its step is marked, for nobody but this transaction to see: see
 * go_back_one().
 */
static void
compensate(SagaCall *call, Saga *saga, const SagaStep *step)
{
	Datum		mark[5] = {PointerGetDatum(saga->id), PointerGetDatum(step->id), 0, 0,
	TimestampTzGetDatum(call->now)};
	Oid			fn = compensation_of(call, step);
	Saga		after;
	Datum		result;
	bool		isnull;

	if (!saga_step_run(call, STEP_CLAIM, mark, "  nn ", NULL))
		keep_suppressed(call->steps->relid, "step");
	result = keep_routine_call(fn, JsonbPGetDatum(compensation_args(step)), &isnull);

	/* it may have done anything, even to our tables */
	saga_lock(call, saga->id, &after);
	if (!saga_is(&after, SAGA_COMPENSATING) ||
		!saga_step_compensated(call, &after, step, isnull ? NULL : DatumGetJsonbP(result)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the compensation of step \"%s\" has changed its own saga",
						text_to_cstring(step->id))));
	*saga = after;
}

/* Where an error came from. */
static void
compensation_context(void *arg)
{
	const CompensationPlace *place = arg;

	errcontext("compensation of step \"%s\" of saga \"%s\"",
			   text_to_cstring(place->step->id), text_to_cstring(place->saga->id));
}

/*
 * The same in a subtransaction.  NULL: it is done; else what was wrong, and
 * nothing of it stays.  Errors that say nothing about the compensation pass
 * through; "lenient", those of rivals do not, but are told by *transient.
 */
static const char *
try_compensate(SagaCall *call, Saga *saga, const SagaStep *step, bool lenient,
			   bool *transient)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile message = NULL;

	*transient = false;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		compensate(call, saga, step);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		*transient = is_transient(error);
		if (is_fatal(error) || (*transient && !lenient))
			ReThrowError(error);
		message = psprintf("%s: %s", unpack_sql_state(error->sqlerrcode),
						   error->message ? error->message : "");
		FreeErrorData(error);
		saga_open(call);
	}
	PG_END_TRY();
	return message;
}

/*
 * Run the compensation that comes next; is it done?  Where it fails, that is
 * recorded.  "lenient": one that may not be run counts as one that has failed,
 * and one that rivals are in the way of is left for another time, so that no
 * saga stands in the way of others; else both are errors.
 */
static bool
go_back_one(SagaCall *call, Saga *saga, SagaStep *step, bool lenient)
{
	CompensationPlace place = {saga, step};
	ErrorContextCallback context = {.callback = compensation_context, .arg = &place,
	.previous = error_context_stack};
	const char *error;
	bool		transient;

	if (saga_step_is(step, STEP_IS_COMPENSATING))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("saga \"%s\" is being compensated", text_to_cstring(saga->id)),
				 errdetail("A compensation cannot have its own saga compensated.")));
	error_context_stack = &context;
	if (!lenient)
		(void) compensation_of(call, step);
	error = try_compensate(call, saga, step, lenient, &transient);
	call->now = keep_clock_now();
	if (error != NULL && transient)
		ereport(WARNING,
				(errmsg("could not compensate step \"%s\" of saga \"%s\" for now",
						text_to_cstring(step->id), text_to_cstring(saga->id)),
				 errdetail_internal("%s", error)));
	else if (error != NULL)
		saga_step_failed(call, saga, step, error);
	error_context_stack = context.previous;
	return error == NULL;
}

/*
 * Go back as far as possible now, over at most "limit" local compensations.
 * The saga is locked; its row is written here.  True where the limit was
 * reached, and more may be done at once.
 */
static bool
go_back(SagaCall *call, Saga *saga, int limit, bool lenient)
{
	SagaStep	next;

	if (saga_is(saga, SAGA_RUNNING))
	{
		/* before any compensation runs, and might call us */
		saga->state = SAGA_COMPENSATING;
		(void) saga_settle(call, saga, &next);
		saga_write(call, saga);
	}
	if (!saga_is(saga, SAGA_COMPENSATING))
		return false;

	while (saga_settle(call, saga, &next) && strcmp(saga->waits_for, SAGA_FOR_LOCAL) == 0 &&
		   saga->due <= call->now)
	{
		CHECK_FOR_INTERRUPTS();
		if (limit-- == 0)
		{
			saga_write(call, saga);
			return true;
		}
		if (!go_back_one(call, saga, &next, lenient))
			break;
	}
	saga_write(call, saga);
	return false;
}

/* State and number of remote compensations, as compensate_saga() returns them. */
static void
progress_values(SagaCall *call, const Saga *saga, Datum *values)
{
	values[0] = CStringGetTextDatum(saga->state);
	values[1] = Int32GetDatum(saga_pending_remote(call, saga));
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
	(void) go_back(&call, &saga, PG_INT32_MAX, false);
	progress_values(&call, &saga, values);
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
 * Open the log for one of the transactions of a procedure, which has an active
 * snapshot until its end; rights are checked in each.
 */
static void
begin_transaction(SagaCall *call, const char *procedure)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	PreventCommandIfReadOnly(procedure);
	saga_open(call);
	keep_require_rights(call->sagas->relid, RIGHTS);
	keep_require_rights(call->steps->relid, RIGHTS);
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	SPI_commit();
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
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	Datum		result;
	bool		more;

	keep_arg_require(fcinfo, 0, "log");
	id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	require_nonatomic(fcinfo, "keep.run_compensations()");
	call.relid = PG_GETARG_OID(0);
	/* what is palloc'd from here on outlives the transactions */
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	do
	{
		begin_transaction(&call, "keep.run_compensations()");
		saga_lock(&call, id, &saga);
		more = go_back(&call, &saga, 1, false);
		progress_values(&call, &saga, values);
		commit_transaction();
	} while (more);
	result = keep_result_row(fcinfo, context, values, nulls);
	SPI_finish();
	return result;
}

/*
 * The names of sagas that are due: past their deadline, or with a local
 * compensation next.  Without a lock: others may be at them.
 */
static List *
due_sagas(SagaCall *call, int max)
{
	static const char *const causes[] = {SAGA_FOR_DEADLINE, SAGA_FOR_LOCAL};
	List	   *ids = NIL;

	for (size_t i = 0; i < lengthof(causes); i++)
	{
		Datum		values[4] = {CStringGetTextDatum(causes[i]),
			TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(0),
		Int64GetDatum(max - list_length(ids))};
		uint64		count = keep_run(call->sagas, SAGA_DUE, values, NULL, false);

		for (uint64 n = 0; n < count; n++)
		{
			Saga		saga;

			saga_row_at(n, &saga);
			ids = lappend(ids, saga.id);
		}
	}
	return ids;
}

/*
 * keep.run_due_compensations(log regclass, max int)
 *
 * As run_compensations(), for up to "max" sagas that are due: running ones past
 * their deadline, and those whose next compensation is a local one.  Sagas that
 * others are at work on are passed over.  No saga keeps the others waiting: a
 * compensation that may not be run counts as one that has failed, and one that
 * rivals are in the way of is left for another time, with a warning.
 */
Datum
keep_run_due_compensations(PG_FUNCTION_ARGS)
{
	static const char *const procedure = "keep.run_due_compensations()";
	SagaCall	call;
	Saga		saga;
	List	   *ids;
	ListCell   *cell;
	int			max;

	keep_arg_require(fcinfo, 0, "log");
	max = keep_arg_count(fcinfo, 1, "max");
	require_nonatomic(fcinfo, procedure);
	call.relid = PG_GETARG_OID(0);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	begin_transaction(&call, procedure);
	ids = due_sagas(&call, max);
	commit_transaction();

	foreach(cell, ids)
	{
		bool		more;

		do
		{
			begin_transaction(&call, procedure);
			more = saga_read(&call, SAGA_LOCK_FREE, lfirst(cell), &saga) &&
				(!saga_is(&saga, SAGA_RUNNING) || saga.deadline <= call.now) &&
				go_back(&call, &saga, 1, true);
			commit_transaction();
		} while (more);
	}
	SPI_finish();
	PG_RETURN_VOID();
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
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	Datum		values[2];

	saga_begin(&call, fcinfo, "keep.resume_saga()", RIGHTS, RIGHTS);
	saga_lock(&call, id, &saga);
	if (saga_is(&saga, SAGA_STUCK))
	{
		values[0] = PointerGetDatum(id);
		values[1] = TimestampTzGetDatum(call.now);
		(void) keep_run(call.steps, STEP_RESET, values, NULL, false);
		saga.state = SAGA_COMPENSATING;
		(void) saga_settle(&call, &saga, &next);
		saga_write(&call, &saga);
	}
	return saga_state_result(&call, saga.state);
}
