/*
 * entry_expire.c
 *		keep.expire: deletes entries that have expired.
 *
 * For tidiness alone: an expired entry is absent whether or not it has been
 * deleted.  Found by reap_at, which is never later than expires_at but may be
 * earlier, as touches do not move it; entries that were met too early have it
 * moved to their expiry.  Rows that somebody has locked are passed over.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "entry.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(keep_expire);

/* of entries kept alive there may be many more than of those that expire */
#define POSTPONE_FACTOR	20

#define EXPIRE_RIGHTS	(ACL_SELECT | ACL_UPDATE | ACL_DELETE)

/*
 * Delete up to "batch" expired entries of a store; returns how many.
 *
 * Where others have locked all that was looked at, look at twice as many: no
 * long transaction may hide what has expired besides.  Only a call that deletes
 * nothing moves on what was met too early: rows are locked in one ascending
 * order a call, so that it cannot deadlock with a put_many().
 */
static int64
expire_store(KeepTable *table, int64 batch)
{
	Datum		values[3] = {TimestampTzGetDatum(keep_clock_now()), Int64GetDatum(batch),
	Int64GetDatum(batch)};
	uint64		deleted;

	while ((deleted = keep_run(table, STORE_EXPIRE, values, NULL, false)) == 0 &&
		   keep_run(table, STORE_MORE_EXPIRED, values, NULL, false) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		values[1] = Int64GetDatum(DatumGetInt64(values[1]) * 2);
	}
	if (deleted == 0)
	{
		values[1] = Int64GetDatum(batch * POSTPONE_FACTOR);
		(void) keep_run(table, STORE_POSTPONE, values, NULL, false);
	}
	return (int64) deleted;
}

/*
 * The same for every store on which the caller has the rights.  What is no
 * store any more, or is dropped meanwhile, is passed over.
 */
static int64
expire_all(int64 batch)
{
	List	   *relids = keep_catalog_list(keep_store_kind.name);
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
			pg_class_aclmask(relid, GetUserId(), EXPIRE_RIGHTS, ACLMASK_ALL) == EXPIRE_RIGHTS)
			table = keep_table_try_open(relid, &keep_store_kind, NoLock, &flaw);
		if (table != NULL)
			deleted += expire_store(table, batch - deleted);
		else
			UnlockRelationOid(relid, RowExclusiveLock);
		if (deleted >= batch)
			break;
	}
	return deleted;
}

/*
 * keep.expire(store regclass, batch int) returns bigint
 *
 * Deletes up to "batch" expired entries now, of one store or of all on which
 * the caller has the rights, and returns how many.  0: nothing is left that
 * has expired and is not locked.
 */
Datum
keep_expire(PG_FUNCTION_ARGS)
{
	int64		batch;
	int64		deleted;

	keep_arg_require(fcinfo, 1, "batch");
	batch = PG_GETARG_INT32(1);
	if (batch < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("batch must be at least 1")));

	if (PG_ARGISNULL(0))
	{
		PreventCommandIfReadOnly("keep.expire()");
		SPI_connect();
		deleted = expire_all(batch);
	}
	else
	{
		EntryCall	call;

		entry_open_store(&call, fcinfo, true, "keep.expire()", EXPIRE_RIGHTS);
		deleted = expire_store(call.table, batch);
	}
	SPI_finish();
	PG_RETURN_INT64(deleted);
}
