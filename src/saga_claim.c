/*
 * saga_claim.c
 *		SQL functions for workers that do remote compensations:
 *		claim_compensations, finish_compensation.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "fault.h"
#include "saga.h"
#include "subxact.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keep_claim_compensations);
PG_FUNCTION_INFO_V1(keep_finish_compensation);

#define RIGHTS	(ACL_SELECT | ACL_UPDATE)

/* What keep.claim_compensations() was asked for, and the saga at hand. */
typedef struct Claim
{
	SagaCall   *call;
	ReturnSetInfo *rsinfo;
	text	   *worker;
	const Interval *lease;
	text	   *id;
	bool		handled;
} Claim;

/* Give the next compensation of the saga to the worker, if it is a remote one. */
static void
claim_next(Claim *claim, Saga *saga)
{
	SagaCall   *call = claim->call;
	SagaStep	step;
	TimestampTz until = keep_clock_after(call->now, claim->lease);
	Datum		values[6];
	bool		nulls[6] = {false};
	int64		token;

	claim->handled = saga_settle(call, saga, &step) &&
		strcmp(saga->waits_for, SAGA_FOR_REMOTE) == 0 && saga->due <= call->now;
	if (claim->handled)
	{
		values[0] = PointerGetDatum(saga->id);
		values[1] = PointerGetDatum(step.id);
		values[2] = PointerGetDatum(claim->worker);
		values[3] = TimestampTzGetDatum(until);
		values[4] = TimestampTzGetDatum(call->now);
		if (!saga_step_run(call, STEP_CLAIM, values, NULL, &token))
			keep_suppressed(call->steps->relid, "step");
		saga->due = until;
	}
	saga_write(call, saga);
	if (!claim->handled)
		return;
	values[2] = CStringGetTextDatum(step.compensation);
	values[3] = PointerGetDatum(step.args);
	values[4] = PointerGetDatum(step.result);
	values[5] = Int64GetDatum(token);
	nulls[3] = step.args == NULL;
	nulls[4] = step.result == NULL;
	tuplestore_putvalues(claim->rsinfo->setResult, claim->rsinfo->setDesc, values, nulls);
}

/*
 * Look after a saga that was due; false where another is at work on it or has
 * done so.  claim->handled says whether it counts as one of those wanted.
 */
static bool
claim_saga(void *arg)
{
	Claim	   *claim = arg;
	SagaCall   *call = claim->call;
	Saga		saga;

	if (!saga_read(call, SAGA_LOCK_FREE, claim->id, &saga))
		return false;
	claim->handled = saga_overdue(call, &saga);
	if (claim->handled)
		return true;
	if (!saga_is(&saga, SAGA_COMPENSATING) || saga.due > call->now)
		return false;
	claim_next(claim, &saga);
	return true;
}

/*
 * Look after up to "max" sagas that are due for a reason.  Each in a
 * subtransaction: what goes wrong with one is a warning, and no saga keeps the
 * others from being looked after.
 */
static void
claim_due(Claim *claim, const char *waits_for, int max)
{
	int64		passed = 0;
	List	   *ids;

	while (max > 0 && (ids = saga_due_ids(claim->call, CurrentMemoryContext, waits_for, passed,
										  max)) != NIL)
	{
		ListCell   *cell;

		foreach(cell, ids)
		{
			ErrorData  *error;
			bool		done;

			CHECK_FOR_INTERRUPTS();
			claim->id = lfirst(cell);
			error = keep_subxact(claim_saga, claim, &done);
			KEEP_FAULT("saga: one claimed");
			if (error != NULL && keep_passes_through(error))
				ReThrowError(error);
			if (error != NULL)
				ereport(WARNING,
						(errmsg("could not claim a compensation of saga \"%s\"",
								text_to_cstring(claim->id)),
						 errdetail_internal("%s", keep_error_text(error))));
			if (!done)
				passed++;
			else if (claim->handled && --max == 0)
				break;
		}
	}
}

/*
 * keep.claim_compensations(log regclass, worker text, max int, lease interval)
 *		returns setof keep.compensation
 *
 * Gives the worker up to "max" remote compensations to do until the lease
 * ends, one a saga at most: the one whose turn it is.  Also turns running sagas
 * that are past their deadline.  Sagas that others are at work on are passed
 * over.
 */
Datum
keep_claim_compensations(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Claim		claim;
	int			max;

	claim.worker = keep_arg_name(fcinfo, 1, "worker", SAGA_MAX_NAME);
	max = keep_arg_count(fcinfo, 2, "max");
	keep_arg_require(fcinfo, 3, "lease");
	claim.lease = keep_arg_span(fcinfo, 3, "lease");
	claim.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	claim.call = &call;
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	saga_begin(&call, fcinfo, "keep.claim_compensations()", RIGHTS, RIGHTS);
	claim_due(&claim, SAGA_FOR_DEADLINE, max);
	claim_due(&claim, SAGA_FOR_REMOTE, max);
	SPI_finish();
	return (Datum) 0;
}

/*
 * keep.finish_compensation(log regclass, saga text, step text, token bigint,
 *							ok boolean, result jsonb, OUT state text)
 *
 * Not ok: it is to be tried again, after a rest, or by hand once the saga is
 * stuck.  Returns the saga's state; where that is still compensating, the next
 * one may be a local one: call compensate_saga().  Raises KP404 for an unknown
 * saga or step, KP412 where the token's holder has lost it to another.
 */
Datum
keep_finish_compensation(PG_FUNCTION_ARGS)
{
	SagaCall	call;
	Saga		saga;
	SagaStep	step;
	SagaReport	report;

	saga_report_begin(&call, fcinfo, "keep.finish_compensation()", &saga, &step, &report);
	if (report.ok && step.token == report.token && saga_step_is(&step, STEP_IS_COMPENSATED))
		return saga_state_result(&call, saga.state);
	if (step.token != report.token || !saga_step_is(&step, STEP_IS_COMPENSATING))
		saga_step_stale(&saga, report.step, report.token);
	if (!report.ok)
		saga_step_failed(&call, &saga, &step, report.result ?
						 JsonbToCString(NULL, &report.result->root,
										VARSIZE_ANY_EXHDR(report.result))
						 : "reported as failed");
	else
	{
		if (!saga_step_compensated(&call, &saga, &step, report.result))
			keep_suppressed(call.steps->relid, "step");
		(void) saga_settle(&call, &saga, &step);
	}
	saga_write(&call, &saga);
	return saga_state_result(&call, saga.state);
}
