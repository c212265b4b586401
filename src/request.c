/*
 * request.c
 *		One record of a request log: taking it, finishing it.
 *
 * A record is absent (also when its outcome is out of retention), in progress
 * under a lease, released, completed or failed.  Whoever takes it draws a new
 * token under the row's lock; from then on the statements of the one before
 * find no row, so that a holder who was given up can do nothing more.
 *
 * As with entries: first lock the row, then read the clock, then decide.  Only
 * answers that change nothing are given from reading alone.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "compat.h"
#include "draw.h"
#include "error.h"
#include "fault.h"
#include "request.h"
#include "subxact.h"
#include "wait.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define MAX_KEY_BYTES	1024

/*
 * Begin a call on the log in argument 0 and the key in argument 1: check,
 * connect to SPI, lock the table.
 */
void
request_open(RequestCall *call, FunctionCallInfo fcinfo, const char *function, AclMode rights)
{
	keep_arg_require(fcinfo, 0, "log");
	call->key = keep_arg_name(fcinfo, 1, "key", MAX_KEY_BYTES);
	keep_require_write(function);
	call->caller = CurrentMemoryContext;
	SPI_connect();
	call->table = keep_table_open(PG_GETARG_OID(0), &keep_request_kind, RowExclusiveLock);
	call->opt = call->table->options;
	keep_require_rights(call->table->relid, rights);
}

static bool
is_state(const RequestRow *row, const char *state)
{
	return strcmp(row->state, state) == 0;
}

/* Run a statement that returns the record; is there one? */
static bool
run_one(RequestCall *call, RequestStatement statement, RequestRow *row)
{
	Datum		key = PointerGetDatum(call->key);
	Datum		values[REQUEST_NCOLS];
	bool		nulls[REQUEST_NCOLS];

	if (keep_run(call->table, statement, &key, NULL, false) == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	keep_refuse_null(nulls[REQUEST_COL_STATE] || nulls[REQUEST_COL_HASH] ||
					 nulls[REQUEST_COL_TOKEN]);
	row->state = TextDatumGetCString(values[REQUEST_COL_STATE]);
	row->hash = DatumGetByteaPP(values[REQUEST_COL_HASH]);
	row->token = DatumGetInt64(values[REQUEST_COL_TOKEN]);
	row->lease = nulls[REQUEST_COL_LEASE] ? NULL : DatumGetIntervalP(values[REQUEST_COL_LEASE]);
	row->lease_until = nulls[REQUEST_COL_LEASE_UNTIL] ? DT_NOEND
		: DatumGetTimestampTz(values[REQUEST_COL_LEASE_UNTIL]);
	row->checkpoint = nulls[REQUEST_COL_CHECKPOINT] ? NULL
		: DatumGetJsonbP(values[REQUEST_COL_CHECKPOINT]);
	row->response = nulls[REQUEST_COL_RESPONSE] ? NULL
		: DatumGetJsonbP(values[REQUEST_COL_RESPONSE]);
	row->finished = nulls[REQUEST_COL_FINISHED] ? DT_NOEND
		: DatumGetTimestampTz(values[REQUEST_COL_FINISHED]);
	return true;
}

/* Has the record an outcome, out of retention or not? */
static bool
is_finished(const RequestRow *row)
{
	return is_state(row, REQUEST_COMPLETED) || is_state(row, REQUEST_FAILED);
}

/* Has it an outcome that is out of retention? */
static bool
is_over(const RequestCall *call, const RequestRow *row, TimestampTz now)
{
	return is_finished(row) && call->opt->retain != NULL && row->finished != DT_NOEND &&
		keep_clock_after(row->finished, call->opt->retain) <= now;
}

/*
 * What a caller finds in a record as it stands now.  Raises KP422 where it
 * belongs to another request, KP423 where nobody can know how far it got: that
 * only under the lock, since the holder may just be finishing it.
 */
static RequestFound
find(const RequestCall *call, const RequestWork *work, const RequestRow *row, bool locked)
{
	TimestampTz now = keep_clock_now();

	if (is_over(call, row, now))
		return REQUEST_STARTED;
	if (VARSIZE_ANY_EXHDR(row->hash) != VARSIZE_ANY_EXHDR(work->hash) ||
		memcmp(VARDATA_ANY(row->hash), VARDATA_ANY(work->hash),
			   VARSIZE_ANY_EXHDR(work->hash)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_MISMATCH),
				 errmsg("key \"%s\" was used for another request", text_to_cstring(call->key)),
				 errdetail("A key stands for one request and its retries."),
				 errhint("Use a new key for a new request.")));
	if (is_finished(row))
		return REQUEST_HAS_OUTCOME;
	if (is_state(row, REQUEST_RELEASED))
		return REQUEST_RESUMED;
	if (!is_state(row, REQUEST_IN_PROGRESS))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("request \"%s\" of \"%s\" has unknown state \"%s\"",
						text_to_cstring(call->key), get_rel_name(call->table->relid),
						row->state)));
	if (row->lease_until > now)
		return REQUEST_BUSY;
	if (!work->reclaim && locked)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_UNKNOWN_OUTCOME),
				 errmsg("outcome of request \"%s\" is unknown", text_to_cstring(call->key)),
				 errdetail("Whoever worked on it last has let the lease end without a word."),
				 errhint("Find out how far it got; then take it with on_lapse => 'reclaim', and "
						 "complete it or go on.")));
	return REQUEST_RESUMED;
}

/* Run a statement that writes the record, and wake who waits for that; is there one? */
static bool
run_write(RequestCall *call, RequestStatement statement, Datum *values, const char *nulls)
{
	if (keep_run(call->table, statement, values, nulls, false) == 0)
		return false;
	KEEP_FAULT("request: written");
	if (SPI_tuptable != NULL && !keep_returned(1, call->key))
		keep_suppressed(call->table->relid, "record");
	keep_wake(call->table->relid, PointerGetDatum(call->key));
	return true;
}

/* Run a statement that gives the record to the caller; sets the token. */
static bool
give(RequestCall *call, RequestStatement statement, Datum *values, const char *nulls,
	 RequestRow *row)
{
	bool		isnull;

	if (!run_write(call, statement, values, nulls))
		return false;
	row->token = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
											 2, &isnull));
	return true;
}

/*
 * Start a record, by REQUEST_INSERT or REQUEST_RESTART.  False where the former
 * meets one that is there.
 */
static bool
start(RequestCall *call, RequestStatement statement, const RequestWork *work, RequestRow *row)
{
	TimestampTz now = keep_clock_now();
	const Interval *retain = call->opt->retain;
	Datum		values[7];
	char		nulls[] = "       ";

	values[0] = PointerGetDatum(call->key);
	values[1] = PointerGetDatum(work->hash);
	values[2] = PointerGetDatum(work->request);
	values[3] = PointerGetDatum(work->lease);
	values[4] = work->lease ? TimestampTzGetDatum(keep_clock_after(now, work->lease)) : (Datum) 0;
	values[5] = TimestampTzGetDatum(now);
	values[6] = retain ? TimestampTzGetDatum(keep_clock_after(now, retain)) : (Datum) 0;
	nulls[2] = call->opt->keep_request ? ' ' : 'n';
	nulls[3] = nulls[4] = work->lease ? ' ' : 'n';
	nulls[6] = retain ? ' ' : 'n';
	row->checkpoint = NULL;
	return give(call, statement, values, nulls, row);
}

/*
 * Create the record; false where there is one.
 *
 * An INSERT draws its token and reads the clock before it may have to wait for
 * a rival.  Where that took long, its lease would end too soon; where the rival
 * drew tokens for the key and then deleted the record, ours would fall behind.
 * So start it anew, now that we hold it, unless no transaction has ended
 * meanwhile, and so nobody has been waited for.  Without a lease nobody sees
 * the token.
 */
static bool
create(RequestCall *call, const RequestWork *work, RequestRow *row)
{
	uint64		ended = keep_clock_ended();
	TimestampTz began = keep_clock_now();
	XLogRecPtr	lsn;

	if (!start(call, REQUEST_INSERT, work, row))
		return false;
	if (work->lease == NULL || keep_clock_ended() == ended)
		return true;
	if (keep_last_draw(call->opt->sequence, &lsn) == row->token &&
		keep_clock_now() - began <= KEEP_LATE_USECS)
		return true;
	if (!start(call, REQUEST_RESTART, work, row))
		keep_suppressed(call->table->relid, "record");
	KEEP_FAULT("request: drawn again");
	return true;
}

/* Resume a record that is locked. */
static bool
resume(RequestCall *call, const RequestWork *work, RequestRow *row)
{
	Datum		values[3] = {PointerGetDatum(call->key), PointerGetDatum(work->lease), 0};

	if (work->lease != NULL)
		values[2] = TimestampTzGetDatum(keep_clock_after(keep_clock_now(), work->lease));
	return give(call, REQUEST_RESUME, values, work->lease ? NULL : " nn", row);
}

/* What take_locked() takes and tells. */
typedef struct Take
{
	RequestCall *call;
	const RequestWork *work;
	RequestRow *row;
	RequestFound found;
} Take;

/*
 * Take a record that was to be had a moment ago.  False where it is not, seen
 * under its lock.
 */
static bool
take_locked(void *arg)
{
	Take	   *take = arg;

	if (!run_one(take->call, REQUEST_LOCK, take->row))
		return false;
	KEEP_FAULT("request: locked");
	take->found = find(take->call, take->work, take->row, true);
	if (take->found == REQUEST_STARTED)
		return start(take->call, REQUEST_RESTART, take->work, take->row);
	return take->found == REQUEST_RESUMED && resume(take->call, take->work, take->row);
}

/*
 * Has the primary key no entry for the key, dead or alive?  Then there is no
 * record to read.  Only a hint, and so taken without the executor: whatever it
 * says, the statements that follow decide.
 */
static bool
unseen(const RequestCall *call)
{
	Relation	rel = table_open(call->table->relid, NoLock);
	Relation	index = index_open(keep_primary_key(rel), AccessShareLock);
	IndexScanDesc scan = keep_index_beginscan(rel, index, SnapshotAny, 1);
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(call->key));
	index_rescan(scan, &key, 1, NULL, 0);
	found = index_getnext_tid(scan, ForwardScanDirection) != NULL;
	index_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	return !found;
}

/*
 * Take the record of a key, if it is to be had.
 *
 * A rival who has inserted the key and not yet committed is waited for, as by
 * any INSERT; so is one who is just finishing a record whose lease is over.  A
 * caller who finds REQUEST_STARTED or REQUEST_RESUMED holds it: row->token is
 * his.  In other cases nothing is locked: a lock that turned out to be for
 * nothing is given back, else its holder could not finish.
 *
 * Calls tend to be like the one before.  After a new key a look into the index
 * mostly saves reading before the INSERT.  (An INSERT alone would wait for
 * whoever is changing a record that can be seen.)
 */
RequestFound
request_take(RequestCall *call, const RequestWork *work, RequestRow *row)
{
	Take		take = {.call = call, .work = work, .row = row};

	if (call->opt->last_was_new && unseen(call) && create(call, work, row))
		return REQUEST_STARTED;
	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		RequestFound found;

		CHECK_FOR_INTERRUPTS();
		call->opt->last_was_new = !run_one(call, REQUEST_READ, row);
		if (call->opt->last_was_new)
		{
			if (create(call, work, row))
				return REQUEST_STARTED;
			continue;
		}
		found = find(call, work, row, false);
		if (found == REQUEST_BUSY || found == REQUEST_HAS_OUTCOME)
			return found;
		if (keep_subxact_or_rethrow(take_locked, &take))
		{
			KEEP_FAULT("request: taken");
			return take.found;
		}
	}
	keep_suppressed(call->table->relid, "record");
}

/* Raise KP412: the caller does not hold the record, of which "row" may be NULL. */
static void
not_held(const RequestCall *call, int64 token, const RequestRow *row)
{
	const char *key = text_to_cstring(call->key);
	char	   *detail;

	if (row == NULL || is_over(call, row, keep_clock_now()))
		detail = "There is no record of it, or no longer.";
	else if (row->token != token)
		detail = psprintf(row->token > token ?
						  "It was taken over since: its token is " INT64_FORMAT "." :
						  "It was never given out for this key, whose token is " INT64_FORMAT ".",
						  row->token);
	else
		detail = psprintf("It is %s already.", row->state);
	ereport(ERROR,
			(errcode(ERRCODE_KEEP_STALE),
			 errmsg("request \"%s\" is not held under token " INT64_FORMAT, key, token),
			 errdetail_internal("%s", detail),
			 errhint("Stop this work and roll it back; begin the request again to see where it "
					 "stands.")));
}

/*
 * A statement of the holder's has found no row: look why.  Returns where the
 * record is as the statement would have left it; else raises KP412, or what
 * says that the row does not let itself be written.
 */
static void
check_done_before(RequestCall *call, int64 token, const char *state, Jsonb *response)
{
	RequestRow	row;

	if (!run_one(call, REQUEST_READ, &row))
		not_held(call, token, NULL);
	if (row.token == token && is_state(&row, REQUEST_IN_PROGRESS))
		keep_suppressed(call->table->relid, "record");
	if (row.token != token || state == NULL || !is_state(&row, state) ||
		is_over(call, &row, keep_clock_now()) || row.response == NULL || response == NULL ||
		compareJsonbContainers(&row.response->root, &response->root) != 0)
		not_held(call, token, &row);
}

/*
 * Give the record its outcome; response may be NULL.  The same again is fine;
 * KP412 where another holds the record, or it has another outcome.
 */
void
request_finish(RequestCall *call, int64 token, const char *state, Jsonb *response)
{
	TimestampTz began = keep_clock_now();
	TimestampTz now;
	Datum		values[5] = {PointerGetDatum(call->key), Int64GetDatum(token),
	CStringGetTextDatum(state), PointerGetDatum(response), TimestampTzGetDatum(began)};

	if (!run_write(call, REQUEST_FINISH, values, response ? NULL : "   n "))
	{
		check_done_before(call, token, state, response);
		return;
	}
	/* had it to wait for the row?  retention counts from after that */
	now = keep_clock_now();
	if (now - began > KEEP_LATE_USECS)
	{
		values[1] = TimestampTzGetDatum(now);
		(void) keep_run(call->table, REQUEST_DATE, values, NULL, false);
		KEEP_FAULT("request: dated");
	}
}

/* Store a checkpoint, and renew the lease from now. */
void
request_checkpoint(RequestCall *call, int64 token, Jsonb *checkpoint)
{
	RequestRow	row;
	Datum		values[4] = {PointerGetDatum(call->key), Int64GetDatum(token),
	PointerGetDatum(checkpoint), 0};
	bool		there = run_one(call, REQUEST_LOCK, &row);

	if (there && row.token == token && row.lease != NULL)
		values[3] = TimestampTzGetDatum(keep_clock_after(keep_clock_now(), row.lease));
	if (!there || !run_write(call, REQUEST_CHECKPOINT, values, values[3] == 0 ? "   n" : NULL))
		check_done_before(call, token, NULL, NULL);
}

/* Give the record back, for anybody to resume. */
void
request_release(RequestCall *call, int64 token)
{
	Datum		values[2] = {PointerGetDatum(call->key), Int64GetDatum(token)};

	if (!run_write(call, REQUEST_RELEASE, values, NULL))
		check_done_before(call, token, NULL, NULL);
}
