/*
 * saga_claim.c
 *		SQL functions for workers that do remote compensations:
 *		claim_compensations, finish_compensation.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "saga.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keep_claim_compensations);
PG_FUNCTION_INFO_V1(keep_finish_compensation);

#define RIGHTS	(ACL_SELECT | ACL_UPDATE)

/* so many are looked at for each one that is wanted, as others may hold some */
#define LOOK_FACTOR	10

/* What becomes of a saga that is due. */
typedef bool (*DueHandler) (SagaCall *call, Saga *saga, void *arg);

/*
 * Handle up to "max" sagas that are due for a reason, locked in ascending order
 * of names; those that others hold are passed over.  Where others hold all that
 * was looked at, look at twice as many.  Returns how many were handled.
 */
static int
handle_due(SagaCall *call, const char *waits_for, int max, DueHandler handler, void *arg)
{
	Datum		values[4] = {CStringGetTextDatum(waits_for),
		TimestampTzGetDatum(keep_clock_now()), Int64GetDatum((int64) max * LOOK_FACTOR),
	Int64GetDatum(max)};
	Datum		more[4] = {values[0], values[1], 0, Int64GetDatum(1)};
	Saga	   *sagas;
	int			count;
	int			handled = 0;

	while ((count = (int) keep_run(call->sagas, SAGA_LOCK_DUE, values, NULL, false)) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		more[2] = values[2];
		if (keep_run(call->sagas, SAGA_DUE, more, NULL, false) == 0)
			return 0;
		values[2] = Int64GetDatum(DatumGetInt64(values[2]) * 2);
	}
	sagas = palloc(sizeof(Saga) * count);
	for (int i = 0; i < count; i++)
		saga_row_at(i, &sagas[i]);
	call->now = keep_clock_now();
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		handled += handler(call, &sagas[i], arg) ? 1 : 0;
	}
	return handled;
}

/* A saga past its deadline: it is to be compensated from now on. */
static bool
handle_overdue(SagaCall *call, Saga *saga, void *arg)
{
	return saga_overdue(call, saga);
}

/* What keep.claim_compensations() was asked for. */
typedef struct Claim
{
	ReturnSetInfo *rsinfo;
	text	   *worker;
	const Interval *lease;
} Claim;

/* A saga whose next compensation is a remote one: give it to the worker. */
static bool
handle_remote(SagaCall *call, Saga *saga, void *arg)
{
	Claim	   *claim = arg;
	SagaStep	step;
	TimestampTz until = keep_clock_after(call->now, claim->lease);
	Datum		values[6];
	bool		nulls[6] = {false};
	int64		token;
	bool		is_remote;

	is_remote = saga_settle(call, saga, &step) &&
		strcmp(saga->waits_for, SAGA_FOR_REMOTE) == 0 && saga->due <= call->now;
	if (is_remote)
	{
		values[0] = PointerGetDatum(saga->id);
		values[1] = PointerGetDatum(step.id);
		values[2] = PointerGetDatum(claim->worker);
		values[3] = TimestampTzGetDatum(until);
		values[4] = TimestampTzGetDatum(call->now);
		if (!saga_step_run(call, STEP_CLAIM, values, NULL, &token))
			keep_suppressed(call->steps->relid, "step");
		saga->due = until;

		values[2] = CStringGetTextDatum(step.compensation);
		values[3] = PointerGetDatum(step.args);
		values[4] = PointerGetDatum(step.result);
		values[5] = Int64GetDatum(token);
		nulls[3] = step.args == NULL;
		nulls[4] = step.result == NULL;
		tuplestore_putvalues(claim->rsinfo->setResult, claim->rsinfo->setDesc, values, nulls);
	}
	saga_write(call, saga);
	return is_remote;
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
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	saga_begin(&call, fcinfo, "keep.claim_compensations()", RIGHTS, RIGHTS);
	(void) handle_due(&call, SAGA_FOR_DEADLINE, max, handle_overdue, NULL);
	(void) handle_due(&call, SAGA_FOR_REMOTE, max, handle_remote, &claim);
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
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);
	text	   *name = keep_arg_name(fcinfo, 2, "step", SAGA_MAX_NAME);
	int64		token = keep_arg_token(fcinfo, 3);
	Jsonb	   *result;
	bool		ok;

	keep_arg_require(fcinfo, 4, "ok");
	ok = PG_GETARG_BOOL(4);
	result = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	saga_begin(&call, fcinfo, "keep.finish_compensation()", RIGHTS, RIGHTS);

	saga_lock(&call, id, &saga);
	saga_step_find(&call, &saga, name, &step);
	if (ok && step.token == token && saga_step_is(&step, STEP_IS_COMPENSATED))
		return saga_state_result(&call, saga.state);
	if (step.token != token || !saga_step_is(&step, STEP_IS_COMPENSATING))
		saga_step_stale(&saga, name, token);
	if (!ok)
		saga_step_failed(&call, &saga, &step, result ?
						 JsonbToCString(NULL, &result->root, VARSIZE_ANY_EXHDR(result))
						 : "reported as failed");
	else
	{
		if (!saga_step_compensated(&call, &saga, &step, result))
			keep_suppressed(call.steps->relid, "step");
		(void) saga_settle(&call, &saga, &step);
	}
	saga_write(&call, &saga);
	return saga_state_result(&call, saga.state);
}
