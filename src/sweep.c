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
#include "clock.h"
#include "plan.h"
#include "sweep.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/syscache.h"

/* of rows kept alive there may be many more than of those that end */
#define POSTPONE_FACTOR	20

#define SWEEP_RIGHTS	(ACL_SELECT | ACL_UPDATE | ACL_DELETE)

/*
 * Delete up to "batch" rows of a table that are over; returns how many.
 *
 * Where others have locked all that was looked at, look at twice as many: no
 * long transaction may hide what is over besides.  Only a call that deletes
 * nothing moves on what was met too early: rows are locked in one ascending
 * order a call, so that it cannot deadlock with a put_many().
 */
static int64
sweep_table(const KeepSweep *sweep, KeepTable *table, int64 batch)
{
	Datum		values[3] = {TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(batch),
	Int64GetDatum(batch)};
	uint64		deleted;

	while ((deleted = keep_run(table, sweep->expire, values, NULL, false)) == 0 &&
		   keep_run(table, sweep->more, values, NULL, false) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		values[1] = Int64GetDatum(DatumGetInt64(values[1]) * 2);
	}
	if (deleted == 0)
	{
		values[1] = Int64GetDatum(batch * POSTPONE_FACTOR);
		(void) keep_run(table, sweep->postpone, values, NULL, false);
	}
	return (int64) deleted;
}

/*
 * The same for every table of the kind on which the caller has the rights.
 * What is none any more, or is dropped meanwhile, is passed over.
 */
static int64
sweep_all(const KeepSweep *sweep, int64 batch)
{
	List	   *relids = keep_catalog_list(sweep->kind->name);
	ListCell   *cell;
	int64		deleted = 0;

	foreach(cell, relids)
	{
		Oid			relid = lfirst_oid(cell);
		KeepTable  *table = NULL;
		const char *flaw;

		CHECK_FOR_INTERRUPTS();
		/* one that is being altered or dropped is passed over, too */
		if (!ConditionalLockRelationOid(relid, RowExclusiveLock))
			continue;
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) &&
			pg_class_aclmask(relid, GetUserId(), SWEEP_RIGHTS, ACLMASK_ALL) == SWEEP_RIGHTS)
			table = keep_table_try_open(relid, sweep->kind, NoLock, &flaw);
		if (table != NULL)
			deleted += sweep_table(sweep, table, batch - deleted);
		else
			UnlockRelationOid(relid, RowExclusiveLock);
		if (deleted >= batch)
			break;
	}
	return deleted;
}

/*
 * The body of an SQL function (table regclass, batch int) returns bigint
 *
 * Deletes up to "batch" rows that are over, of one table or (NULL) of all of
 * the kind on which the caller has the rights, and returns how many.  0:
 * nothing is left that is over and not locked.
 */
Datum
keep_sweep(FunctionCallInfo fcinfo, const KeepSweep *sweep)
{
	int64		batch;
	int64		deleted;

	batch = keep_arg_count(fcinfo, 1, "batch");
	PreventCommandIfReadOnly(sweep->function);
	SPI_connect();
	if (PG_ARGISNULL(0))
		deleted = sweep_all(sweep, batch);
	else
	{
		KeepTable  *table = keep_table_open(PG_GETARG_OID(0), sweep->kind, RowExclusiveLock);

		keep_require_rights(table->relid, SWEEP_RIGHTS);
		deleted = sweep_table(sweep, table, batch);
	}
	SPI_finish();
	PG_RETURN_INT64(deleted);
}
