/*
 * saga.c
 *		One saga and its steps: locking, reading and writing them.
 *
 * Every call on a saga locks its row first and reads the clock then, so that
 * calls on one saga come one after the other.  Whoever changes one of its steps
 * writes its row as well: a transaction with an older snapshot then gets 40001
 * from the lock, and never works from steps as they were.  (A tombstone needs
 * none: no decision rests on one, but that of another of the same name.)
 *
 * While a saga is being compensated, waits_for and due_at say what comes next
 * and when; saga_settle() keeps them right.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "error.h"
#include "fault.h"
#include "saga.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

/* After the n-th failure a compensation rests for 2^(n-1) s, at most this. */
#define BACKOFF_MAX_SECS	3600

/* Lock the tables of the log, and find what the backend keeps of them. */
void
saga_open(SagaCall *call)
{
	keep_pair_open(&keep_saga_pair, call->relid, RowExclusiveLock, &call->sagas, &call->steps);
	call->opt = (const SagaOptions *) call->sagas->options;
}

/*
 * Begin a call on the log in argument 0 that writes: check, connect to SPI.
 * The rights are those it needs on the sagas and on the steps (42501).
 */
void
saga_begin(SagaCall *call, FunctionCallInfo fcinfo, const char *function,
		   AclMode sagas, AclMode steps)
{
	keep_arg_require(fcinfo, 0, "log");
	keep_require_write(function);
	call->relid = PG_GETARG_OID(0);
	call->caller = CurrentMemoryContext;
	SPI_connect();
	saga_open(call);
	keep_require_rights(call->sagas->relid, sagas);
	keep_require_rights(call->steps->relid, steps);
}

bool
saga_is(const Saga *saga, const char *state)
{
	return strcmp(saga->state, state) == 0;
}

/* A column of the row that the last statement returned. */
static Datum
column_at(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column + 1, isnull);
}

/* The same of a column that is NOT NULL. */
static Datum
value_at(int column)
{
	bool		isnull;
	Datum		value = column_at(column, &isnull);

	keep_refuse_null(isnull);
	return value;
}

/* The same as a string, NULL for null. */
static const char *
string_at(int column)
{
	bool		isnull;
	Datum		value = column_at(column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* The same as a time, "none" for null. */
static TimestampTz
time_at(int column, TimestampTz none)
{
	bool		isnull;
	Datum		value = column_at(column, &isnull);

	return isnull ? none : DatumGetTimestampTz(value);
}

/* The same as JSON, NULL for null. */
static Jsonb *
json_at(int column)
{
	bool		isnull;
	Datum		value = column_at(column, &isnull);

	return isnull ? NULL : DatumGetJsonbP(value);
}

/* A word that sagas use, as a constant; raises 27000 for another. */
static const char *
known_word(const char *word)
{
	static const char *const words[] = {
		SAGA_RUNNING, SAGA_COMPLETED, SAGA_COMPENSATING, SAGA_COMPENSATED, SAGA_STUCK,
		SAGA_FOR_DEADLINE, SAGA_FOR_LOCAL, SAGA_FOR_REMOTE
	};

	if (word == NULL)
		return NULL;
	for (size_t i = 0; i < lengthof(words); i++)
		if (strcmp(word, words[i]) == 0)
			return words[i];
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("unknown state of a saga: \"%s\"", word)));
}

/* The saga that the last statement returned. */
static void
saga_row(Saga *saga)
{
	saga->id = DatumGetTextPCopy(value_at(SAGA_COL_SAGA));
	saga->state = known_word(TextDatumGetCString(value_at(SAGA_COL_STATE)));
	saga->last_place = DatumGetInt64(value_at(SAGA_COL_LAST_PLACE));
	saga->steps = DatumGetInt32(value_at(SAGA_COL_STEPS));
	saga->deadline = time_at(SAGA_COL_DEADLINE, DT_NOEND);
	saga->waits_for = known_word(string_at(SAGA_COL_WAITS_FOR));
	saga->due = time_at(SAGA_COL_DUE, DT_NOEND);
}

/*
 * The names of sagas that are due for a reason, without the first "offset", in
 * "context".  Not locked: others may be at them, and what the rows say is to be
 * looked at when they are.
 */
List *
saga_due_ids(SagaCall *call, MemoryContext context, const char *waits_for, int64 offset,
			 int64 max)
{
	Datum		values[4] = {CStringGetTextDatum(waits_for),
	TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(offset), Int64GetDatum(max)};
	uint64		count = keep_run(call->sagas, SAGA_DUE, values, NULL, false);
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *ids = NIL;
	bool		isnull;

	for (uint64 n = 0; n < count; n++)
	{
		Datum		id = SPI_getbinval(SPI_tuptable->vals[n], SPI_tuptable->tupdesc, 1, &isnull);

		keep_refuse_null(isnull);
		ids = lappend(ids, DatumGetTextPCopy(id));
	}
	MemoryContextSwitchTo(old);
	return ids;
}

/* Read a saga by a statement that takes its name alone; is there one? */
bool
saga_read(SagaCall *call, SagaStatement statement, text *id, Saga *saga)
{
	Datum		value = PointerGetDatum(id);

	if (keep_run(call->sagas, statement, &value, NULL, false) == 0)
		return false;
	saga_row(saga);
	call->now = keep_clock_now();
	return true;
}

/*
 * Lock a saga; raises KP404 where there is none.  One that is deleted and begun
 * anew while we wait is the new one.
 */
void
saga_lock(SagaCall *call, text *id, Saga *saga)
{
	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (saga_read(call, SAGA_LOCK, id, saga))
		{
			/* functions may have been allowed or not while we waited */
			AcceptInvalidationMessages();
			saga_open(call);
			return;
		}
		if (!saga_read(call, SAGA_READ, id, saga))
			ereport(ERROR,
					(errcode(ERRCODE_KEEP_NOT_FOUND),
					 errmsg("saga \"%s\" does not exist in \"%s\"", text_to_cstring(id),
							get_rel_name(call->sagas->relid)),
					 errhint("Begin it with keep.begin_saga().")));
	}
	keep_suppressed(call->sagas->relid, "saga");
}

/* Write a locked saga's row, changed or not: see above. */
void
saga_write(SagaCall *call, const Saga *saga)
{
	Datum		values[7];
	char		nulls[] = "       ";

	values[0] = PointerGetDatum(saga->id);
	values[1] = CStringGetTextDatum(saga->state);
	values[2] = Int64GetDatum(saga->last_place);
	values[3] = saga->waits_for ? CStringGetTextDatum(saga->waits_for) : (Datum) 0;
	values[4] = TimestampTzGetDatum(saga->due);
	values[5] = TimestampTzGetDatum(call->now);
	values[6] = Int32GetDatum(saga->steps);
	nulls[3] = nulls[4] = saga->waits_for ? ' ' : 'n';
	(void) keep_run(call->sagas, SAGA_WRITE, values, nulls, false);
	KEEP_FAULT("saga: written");
	if (!keep_returned(1, saga->id))
		keep_suppressed(call->sagas->relid, "saga");
}

/* From now on a saga, whose lock the caller holds, is to be compensated. */
void
saga_turn_back(SagaCall *call, Saga *saga)
{
	SagaStep	next;

	saga->state = SAGA_COMPENSATING;
	(void) saga_settle(call, saga, &next);
	saga_write(call, saga);
}

/*
 * Is a running saga past its deadline?  Then it is turned back.  The caller
 * holds its lock.
 */
bool
saga_overdue(SagaCall *call, Saga *saga)
{
	if (!saga_is(saga, SAGA_RUNNING) || saga->deadline > call->now)
		return false;
	saga_turn_back(call, saga);
	return true;
}

bool
saga_step_is(const SagaStep *step, const char *status)
{
	return strcmp(step->status, status) == 0;
}

/* The step that the last statement returned. */
static void
step_row(SagaStep *step)
{
	step->id = DatumGetTextPCopy(value_at(STEP_COL_STEP));
	step->kind = TextDatumGetCString(value_at(STEP_COL_KIND));
	step->status = TextDatumGetCString(value_at(STEP_COL_STATUS));
	step->action = string_at(STEP_COL_ACTION);
	step->compensation = string_at(STEP_COL_COMPENSATION);
	step->args = json_at(STEP_COL_ARGS);
	step->result = json_at(STEP_COL_RESULT);
	step->token = DatumGetInt64(value_at(STEP_COL_TOKEN));
	step->lease_until = time_at(STEP_COL_LEASE_UNTIL, DT_NOBEGIN);
	step->attempts = DatumGetInt32(value_at(STEP_COL_ATTEMPTS));
	step->attempts = Min(Max(step->attempts, 0), PG_INT32_MAX - 1);
	step->retry_at = time_at(STEP_COL_RETRY_AT, DT_NOBEGIN);
}

/* Read a step of a locked saga; is there one? */
bool
saga_step_read(SagaCall *call, const Saga *saga, text *id, SagaStep *step)
{
	Datum		values[2] = {PointerGetDatum(saga->id), PointerGetDatum(id)};

	if (keep_run(call->steps, STEP_READ, values, NULL, false) == 0)
		return false;
	step_row(step);
	return true;
}

/* The same, but raises KP404 where there is none. */
void
saga_step_find(SagaCall *call, const Saga *saga, text *id, SagaStep *step)
{
	if (!saga_step_read(call, saga, id, step))
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_NOT_FOUND),
				 errmsg("saga \"%s\" has no step \"%s\"", text_to_cstring(saga->id),
						text_to_cstring(id))));
}

/*
 * Store a new step; false where there is one of that name.  Its token is told
 * where wanted.
 */
bool
saga_step_insert(SagaCall *call, const Saga *saga, const SagaStep *step, int64 *token)
{
	Datum		values[11];
	char		nulls[] = "           ";
	bool		lease = step->lease_until != DT_NOBEGIN;

	values[0] = PointerGetDatum(saga->id);
	values[1] = PointerGetDatum(step->id);
	values[2] = CStringGetTextDatum(step->kind);
	values[3] = CStringGetTextDatum(step->status);
	values[4] = Int64GetDatum(saga->last_place);
	values[5] = step->action ? CStringGetTextDatum(step->action) : (Datum) 0;
	values[6] = step->compensation ? CStringGetTextDatum(step->compensation) : (Datum) 0;
	values[7] = PointerGetDatum(step->args);
	values[8] = PointerGetDatum(step->result);
	values[9] = TimestampTzGetDatum(step->lease_until);
	values[10] = TimestampTzGetDatum(call->now);
	nulls[4] = saga_step_is(step, STEP_IS_REFUSED) ? 'n' : ' ';
	nulls[5] = step->action ? ' ' : 'n';
	nulls[6] = step->compensation ? ' ' : 'n';
	nulls[7] = step->args ? ' ' : 'n';
	nulls[8] = step->result ? ' ' : 'n';
	nulls[9] = lease ? ' ' : 'n';
	return saga_step_run(call, STEP_INSERT, values, nulls, token);
}

/* Run a statement that writes one step and returns its token; was there one? */
bool
saga_step_run(SagaCall *call, StepStatement statement, Datum *values, const char *nulls,
			  int64 *token)
{
	bool		isnull;

	if (keep_run(call->steps, statement, values, nulls, false) == 0)
		return false;
	KEEP_FAULT("saga: step written");
	if (!keep_returned(1, DatumGetTextPP(values[1])) ||
		!keep_returned(2, DatumGetTextPP(values[0])))
		keep_suppressed(call->steps->relid, "step");
	if (token != NULL)
		*token = DatumGetInt64(column_at(2, &isnull));
	return true;
}

/* Mark a step as compensated; false where it is so already. */
bool
saga_step_compensated(SagaCall *call, const Saga *saga, const SagaStep *step, Jsonb *result)
{
	Datum		values[4] = {PointerGetDatum(saga->id), PointerGetDatum(step->id),
	PointerGetDatum(result), TimestampTzGetDatum(call->now)};

	return saga_step_run(call, STEP_COMPENSATED, values, result ? NULL : "  n ", NULL);
}

/*
 * Refuse (42501) to decide what is left to do, where row security may hide
 * steps of the saga and some are missing.
 */
void
saga_check_whole(SagaCall *call, const Saga *saga)
{
	Oid			relid = call->steps->relid;
	Datum		value = PointerGetDatum(saga->id);

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED &&
		keep_run(call->steps, STEP_RECORDED, &value, NULL, false) != (uint64) saga->steps)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security of \"%s\" hides steps of saga \"%s\"",
						get_rel_name(relid), text_to_cstring(saga->id)),
				 errhint("Policies on both tables of a saga log must show whole sagas.")));
}

/*
 * Bring a saga that is being compensated up to date: pass over steps that have
 * nothing to undo, and say what comes next and when.  True where that is a
 * step, which "next" is set to; else all is done, and the saga compensated.
 * The caller holds the saga's lock, and writes its row after.
 */
bool
saga_settle(SagaCall *call, Saga *saga, SagaStep *next)
{
	Datum		values[2] = {PointerGetDatum(saga->id), TimestampTzGetDatum(call->now)};

	saga_check_whole(call, saga);
	while (keep_run(call->steps, STEP_NEXT, values, NULL, false) > 0)
	{
		bool		remote;

		CHECK_FOR_INTERRUPTS();
		step_row(next);
		remote = strcmp(next->kind, STEP_REMOTE) == 0 && next->compensation != NULL;
		saga->waits_for = remote ? SAGA_FOR_REMOTE : SAGA_FOR_LOCAL;
		/* it may be running yet, or another may be at work on it */
		saga->due = Max(next->lease_until, next->retry_at);
		if (saga->due <= call->now)
			saga->due = call->now;
		else
			return true;
		if (next->compensation != NULL)
			return true;
		if (keep_run(call->steps, STEP_PASS_OVER, values, NULL, false) == 0)
			keep_suppressed(call->steps->relid, "step");
		KEEP_FAULT("saga: step passed over");
	}
	saga->state = SAGA_COMPENSATED;
	saga->waits_for = NULL;
	return false;
}

/*
 * A compensation has failed: count it, and let it rest; with the last attempt
 * the saga is stuck.  The caller writes its row.
 */
void
saga_step_failed(SagaCall *call, Saga *saga, SagaStep *step, const char *error)
{
	int			shift = Min(step->attempts, 30);
	int64		rest = Min(INT64CONST(1) << shift, BACKOFF_MAX_SECS);
	Datum		values[6] = {PointerGetDatum(saga->id), PointerGetDatum(step->id),
		Int32GetDatum(step->attempts + 1), CStringGetTextDatum(error),
		TimestampTzGetDatum(call->now + rest * USECS_PER_SEC),
	TimestampTzGetDatum(call->now)};

	if (!saga_step_run(call, STEP_NOT_COMPENSATED, values, NULL, NULL))
		keep_suppressed(call->steps->relid, "step");
	if (step->attempts + 1 >= call->opt->max_attempts)
	{
		saga->state = SAGA_STUCK;
		saga->waits_for = NULL;
	}
	else
		(void) saga_settle(call, saga, step);
}

/* How many remote compensations are still to be done. */
int
saga_pending_remote(SagaCall *call, const Saga *saga)
{
	Datum		value = PointerGetDatum(saga->id);

	if (saga_is(saga, SAGA_COMPENSATED) || saga_is(saga, SAGA_COMPLETED))
		return 0;
	return (int) keep_run(call->steps, STEP_PENDING_REMOTE, &value, NULL, false);
}

/*
 * Begin a call by which a holder reports: (log, saga, step, token, ok, result).
 * Locks the saga and reads the step.
 */
void
saga_report_begin(SagaCall *call, FunctionCallInfo fcinfo, const char *function,
				  Saga *saga, SagaStep *step, SagaReport *report)
{
	text	   *id = keep_arg_name(fcinfo, 1, "saga", SAGA_MAX_NAME);

	report->step = keep_arg_name(fcinfo, 2, "step", SAGA_MAX_NAME);
	report->token = keep_arg_token(fcinfo, 3);
	keep_arg_require(fcinfo, 4, "ok");
	report->ok = PG_GETARG_BOOL(4);
	report->result = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	saga_begin(call, fcinfo, function, ACL_SELECT | ACL_UPDATE, ACL_SELECT | ACL_UPDATE);
	saga_lock(call, id, saga);
	saga_step_find(call, saga, report->step, step);
}

/* Raise KP412: the step is not, or no longer, the caller's under this token. */
void
saga_step_stale(const Saga *saga, text *step, int64 token)
{
	ereport(ERROR,
			(errcode(ERRCODE_KEEP_STALE),
			 errmsg("step \"%s\" of saga \"%s\" is not held under token " INT64_FORMAT,
					text_to_cstring(step), text_to_cstring(saga->id), token),
			 errdetail("Another has taken it over or finished it, or it is another step's token."),
			 errhint("Stop this work; the saga goes on, or back, without it.")));
}

/* End a call that returns one text. */
Datum
saga_state_result(SagaCall *call, const char *state)
{
	MemoryContext old = MemoryContextSwitchTo(call->caller);
	Datum		result = CStringGetTextDatum(state);

	MemoryContextSwitchTo(old);
	SPI_finish();
	return result;
}
