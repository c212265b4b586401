/*
 * sweep.c
 *		Deleting rows that are over, found by the hint in column reap_at.
 *
 * For tidiness alone: what is over counts as absent whether or not it has been
 * deleted.  reap_at is never later than the end of a row's life but may be
 * earlier, as not every change moves it; rows that were met too early have it
 * moved to their end.  Rows that somebody has locked are passed over.
 */
#include "postgres.h"

#include "arg.h"
#include "as_owner.h"
#include "clock.h"
#include "compat.h"
#include "fault.h"
#include "naming.h"
#include "plan.h"
#include "stats.h"
#include "subxact.h"
#include "sweep.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/rls.h"
#include "utils/syscache.h"

/* of rows kept alive there may be many more than of those that end */
#define POSTPONE_FACTOR	20

#define SWEEP_RIGHTS	(ACL_SELECT | ACL_UPDATE | ACL_DELETE)

/*
 * Delete up to "batch" rows of a table that are over; returns how many.
 * *moved: of how many others the hint was moved to their end.
 *
 * Where others have locked all that was looked at, look at twice as many: no
 * long transaction may hide what is over besides.  Only a call that deletes
 * nothing moves on what was met too early: rows are locked in one ascending
 * order a call, so that it cannot deadlock with a put_many().
 */
static int64
sweep_table(const KeepSweep *sweep, KeepTable *table, int64 batch, uint64 *moved)
{
	Datum		values[4] = {TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(batch),
	Int64GetDatum(batch), TimestampTzGetDatum(DT_NOBEGIN)};
	uint64		deleted;

	while ((deleted = keep_run(table, sweep->expire, values, NULL, false)) == 0 &&
		   keep_run(table, sweep->more, values, NULL, false) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		values[1] = Int64GetDatum(DatumGetInt64(values[1]) * 2);
	}
	KEEP_FAULT("sweep: deleted");
	*moved = 0;
	if (deleted == 0)
	{
		values[1] = Int64GetDatum(batch * POSTPONE_FACTOR);
		*moved = keep_run(table, sweep->postpone, values, NULL, false);
		KEEP_FAULT("sweep: postponed");
	}
	keep_count(table->relid, KEEP_EXPIRED, deleted);
	return (int64) deleted;
}

/* One of many tables. */
typedef struct SweepOne
{
	const KeepSweep *sweep;
	Oid			relid;
	int64		batch;
	int64		deleted;
} SweepOne;

/*
 * Sweep a table that the caller has not named, if he has its owner's rights (a
 * superuser, a member of its owner): as its owner, since the owner's triggers
 * must not run with the caller's.  Nobody else is let act as the owner: his
 * session has temporary tables and settings of his own, which the owner's
 * triggers may come upon.  False where it is passed over.
 */
static bool
sweep_one(void *arg)
{
	SweepOne   *one = arg;
	KeepTable  *table;
	KeepAsOwner state;
	const char *flaw;
	uint64		moved;

	one->deleted = 0;
	/* one that is being altered or dropped is passed over */
	if (!ConditionalLockRelationOid(one->relid, RowExclusiveLock) ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(one->relid)) ||
		!keep_owns_relation(one->relid, GetUserId()) ||
		pg_class_aclmask(one->relid, GetUserId(), SWEEP_RIGHTS, ACLMASK_ALL) != SWEEP_RIGHTS ||
		check_enable_rls(one->relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	table = keep_table_try_open(one->relid, one->sweep->kind, NoLock, &flaw);
	if (table == NULL)
		return false;
	keep_as_owner_begin(&state, one->relid);
	one->deleted = sweep_table(one->sweep, table, one->batch, &moved);
	keep_as_owner_end(&state);
	return true;
}

/* Its name for a message, or what is left of it. */
static const char *
table_name(Oid relid)
{
	char	   *name = keep_relation_name(relid, true);

	return name != NULL ? name : psprintf("with OID %u", relid);
}

/*
 * The same for every table of the kind that is the caller's.  One that cannot
 * be swept does not keep the others from it.
 */
static int64
sweep_all(const KeepSweep *sweep, int64 batch)
{
	List	   *relids = keep_catalog_list(sweep->kind->name);
	ListCell   *cell;
	int64		deleted = 0;

	foreach(cell, relids)
	{
		SweepOne	one = {sweep, lfirst_oid(cell), batch - deleted, 0};
		ErrorData  *error;
		bool		done;

		CHECK_FOR_INTERRUPTS();
		error = keep_subxact(sweep_one, &one, &done);
		KEEP_FAULT("sweep: one table done");
		if (error != NULL)
		{
			if (keep_passes_through(error))
				ReThrowError(error);
			ereport(WARNING,
					(errmsg("could not sweep table %s", table_name(one.relid)),
					 errdetail_internal("%s", keep_error_text(error))));
		}
		if (done)
			deleted += one.deleted;
		if (deleted >= batch)
			break;
	}
	return deleted;
}

/*
 * The body of an SQL function (table regclass, batch int) returns bigint
 *
 * Deletes up to "batch" rows that are over, of one table or (NULL) of all of
 * the kind that are the caller's, and returns how many.  0:
 * nothing is left that is over and not locked.
 */
Datum
keep_sweep(FunctionCallInfo fcinfo, const KeepSweep *sweep)
{
	int64		batch;
	int64		deleted;
	uint64		moved;

	batch = keep_arg_count(fcinfo, 1, "batch");
	keep_require_write(sweep->function);
	SPI_connect();
	if (PG_ARGISNULL(0))
		deleted = sweep_all(sweep, batch);
	else
	{
		KeepTable  *table = keep_table_open(PG_GETARG_OID(0), sweep->kind, RowExclusiveLock);

		keep_require_rights(table->relid, SWEEP_RIGHTS);
		deleted = sweep_table(sweep, table, batch, &moved);
	}
	SPI_finish();
	PG_RETURN_INT64(deleted);
}

/* Note where the rows of the last batch were: their pages, and how far it came. */
static void
note_rows(KeepReaping *work)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		isnull;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		Datum		tid = SPI_getbinval(row, desc, 1, &isnull);
		TimestampTz at = DatumGetTimestampTz(SPI_getbinval(row, desc, 2, &isnull));

		keep_pages_add(work->pages, ItemPointerGetBlockNumber((ItemPointer) DatumGetPointer(tid)));
		if (!isnull)
			*work->from = Max(*work->from, at);
	}
}

/* A batch that begins where the one before it has ended; were there any rows? */
static bool
go_on(const KeepSweep *sweep, KeepTable *table, KeepReaping *work)
{
	Datum		values[4] = {TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(work->batch),
	Int64GetDatum(work->batch), TimestampTzGetDatum(*work->from)};

	work->ended = (int) keep_run(table, sweep->expire, values, NULL, false);
	KEEP_FAULT("sweep: gone on");
	keep_count(table->relid, KEEP_EXPIRED, work->ended);
	if (work->ended == 0)
		*work->from = DT_NOBEGIN;
	return work->ended > 0;
}

/*
 * The same for the reaper, of one table: see reap.h.  What a batch has passed
 * over the next one does not look at, until there is nothing further on.  Pages
 * are pruned one batch later, when the deletion has been committed; the last
 * call of a visit deletes nothing.
 */
bool
keep_sweep_reap(const KeepSweep *sweep, KeepReaping *work)
{
	KeepTable  *table = keep_table_open(work->relid, sweep->kind, RowExclusiveLock);
	uint64		moved = 0;

	keep_pages_prune(work->pages, work->relid);
	KEEP_FAULT("sweep: pages pruned");
	if (*work->from == DT_NOBEGIN || !go_on(sweep, table, work))
		work->ended = (int) sweep_table(sweep, table, work->batch, &moved);
	if (work->ended > 0)
		note_rows(work);
	if (work->ended > 0 || moved > 0)
		return true;
	work->next = keep_run_time(table, sweep->next, NULL);
	return false;
}

/*
 * The first row that is over cannot be deleted: a foreign key or a trigger
 * stands against it.  Have the reaper pass over it for some minutes, so that it
 * does not keep the others waiting; was there one?
 */
bool
keep_sweep_put_off(const KeepSweep *sweep, Oid relid)
{
	KeepTable  *table = keep_table_open(relid, sweep->kind, RowExclusiveLock);
	Datum		values[2] = {TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(1)};

	uint64		moved = keep_run(table, sweep->put_off, values, NULL, false);

	KEEP_FAULT("sweep: put off");
	return moved > 0;
}
