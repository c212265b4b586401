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

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(keep_expire);

#define EXPIRE_RIGHTS	(ACL_SELECT | ACL_UPDATE | ACL_DELETE)

/* Run a statement on those keys; returns how many rows it wrote. */
static int64
run_on(EntryCall *call, StoreStatement statement, Datum *keys, int count)
{
	Datum		param;

	if (count == 0)
		return 0;
	param = PointerGetDatum(construct_array(keys, count, TEXTOID, -1, false, TYPALIGN_INT));
	return (int64) keep_run(call->table, statement, &param, NULL, false);
}

/*
 * One sweep of a store: lock up to "limit" entries that have expired and as
 * many that were met too early, delete up to "batch" of the first and move the
 * others on.  Returns how many were deleted.
 */
static int64
sweep(EntryCall *call, TimestampTz now, int64 limit, int64 batch)
{
	Datum		values[2] = {TimestampTzGetDatum(now), Int64GetDatum(limit)};
	uint64		count = keep_run(call->table, STORE_DUE, values, NULL, false);
	Datum	   *expired = palloc(sizeof(Datum) * count);
	Datum	   *early = palloc(sizeof(Datum) * count);
	int			nexpired = 0;
	int			nearly = 0;

	for (uint64 i = 0; i < count; i++)
	{
		EntryRow	row;

		entry_row_at(call, i, &row);
		if (row.expires > now)
			early[nearly++] = entry_column_at(i, 1);
		else if (nexpired < batch)
			expired[nexpired++] = entry_column_at(i, 1);
	}
	(void) run_on(call, STORE_POSTPONE_MANY, early, nearly);
	return run_on(call, STORE_DELETE_MANY, expired, nexpired);
}

/*
 * Delete up to "batch" expired entries of a store; returns how many.
 *
 * Where others have locked all that was looked at, look at twice as many: no
 * long transaction may hide what has expired besides.
 */
static int64
expire_store(EntryCall *call, int64 batch)
{
	TimestampTz now = keep_clock_now();
	int64		deleted;

	for (int64 limit = batch;; limit *= 2)
	{
		Datum		values[2] = {TimestampTzGetDatum(now), Int64GetDatum(limit)};

		CHECK_FOR_INTERRUPTS();
		deleted = sweep(call, now, limit, batch);
		if (deleted > 0 || keep_run(call->table, STORE_MORE_DUE, values, NULL, false) == 0)
			return deleted;
	}
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
		EntryCall	call = {0};
		const char *flaw;

		CHECK_FOR_INTERRUPTS();
		/* one that is being altered or dropped is passed over, too */
		if (!ConditionalLockRelationOid(relid, RowExclusiveLock) ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) ||
			pg_class_aclmask(relid, GetUserId(), EXPIRE_RIGHTS, ACLMASK_ALL) != EXPIRE_RIGHTS)
			continue;
		call.table = keep_table_try_open(relid, &keep_store_kind, RowExclusiveLock, &flaw);
		if (call.table == NULL)
			continue;
		call.opt = call.table->options;
		deleted += expire_store(&call, batch - deleted);
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
		deleted = expire_store(&call, batch);
	}
	SPI_finish();
	PG_RETURN_INT64(deleted);
}
