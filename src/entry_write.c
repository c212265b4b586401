/*
 * entry_write.c
 *		SQL functions that write one entry: put, put_if_absent,
 *		compare_and_swap, merge, increment, delete.
 *
 * Each returns one keep.outcome: whether it applied, its status, and the entry
 * as it stands after the call.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "entry.h"
#include "json.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"

PG_FUNCTION_INFO_V1(keep_put);
PG_FUNCTION_INFO_V1(keep_put_if_absent);
PG_FUNCTION_INFO_V1(keep_compare_and_swap);
PG_FUNCTION_INFO_V1(keep_merge);
PG_FUNCTION_INFO_V1(keep_increment);
PG_FUNCTION_INFO_V1(keep_delete);

/* for those that look first: others meet the executor's own check at once */
#define INSERT_RIGHTS	(ACL_SELECT | ACL_INSERT | ACL_UPDATE)

/*
 * keep.put(store regclass, key text, value jsonb, ttl interval)
 *		returns keep.outcome
 *
 * Writes, whatever is there.  Status created or updated.  Without a ttl here
 * or in the store the entry does not expire.  54000 for too large a value.
 */
Datum
keep_put(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	const Interval *ttl = keep_arg_span(fcinfo, 3, "ttl");
	bool		created;

	keep_arg_require(fcinfo, 2, "value");
	entry_begin(&call, fcinfo, true, "keep.put()", 0);
	entry_check_value(&call, PG_GETARG_DATUM(2));
	created = entry_upsert(&call, STORE_PUT, PG_GETARG_DATUM(2), ttl, (Datum) 0, (Datum) 0,
						   &row);
	return entry_outcome(&call, fcinfo, created ? STATUS_CREATED : STATUS_UPDATED, &row);
}

/*
 * Create, or find the live entry that is in the way.  The entry is looked at
 * first, without a lock: where it is there, nothing is written at all.
 */
static Datum
create_if_absent(EntryCall *call, FunctionCallInfo fcinfo, Datum value, const Interval *ttl)
{
	EntryRow	row;

	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		bool		there = entry_read(call, &row, false);

		if (there && entry_live(&row))
			return entry_outcome(call, fcinfo, STATUS_EXISTS, &row);
		if (entry_create(call, there, value, ttl, &row))
			return entry_outcome(call, fcinfo, STATUS_CREATED, &row);
		CHECK_FOR_INTERRUPTS();
	}
	entry_suppressed(call);
}

/*
 * keep.put_if_absent(store regclass, key text, value jsonb, ttl interval)
 *		returns keep.outcome
 *
 * Status created; or exists, with the entry that won.
 */
Datum
keep_put_if_absent(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	const Interval *ttl = keep_arg_span(fcinfo, 3, "ttl");

	keep_arg_require(fcinfo, 2, "value");
	entry_begin(&call, fcinfo, true, "keep.put_if_absent()", INSERT_RIGHTS);
	entry_check_value(&call, PG_GETARG_DATUM(2));
	return create_if_absent(&call, fcinfo, PG_GETARG_DATUM(2), ttl);
}

/*
 * keep.compare_and_swap(store regclass, key text, expected_version bigint,
 *						 value jsonb, ttl interval) returns keep.outcome
 *
 * Writes only over the version that the caller has seen; 0 stands for "there
 * must be none".  Status updated, stale or absent; with 0 created or exists.
 */
Datum
keep_compare_and_swap(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	EntryLock	lock;
	const Interval *ttl = keep_arg_span(fcinfo, 4, "ttl");
	int64		expected;
	TimestampTz now;

	keep_arg_require(fcinfo, 2, "expected_version");
	keep_arg_require(fcinfo, 3, "value");
	expected = entry_version_arg(fcinfo, 2, "expected_version");
	entry_begin(&call, fcinfo, true, "keep.compare_and_swap()",
				expected == 0 ? INSERT_RIGHTS : 0);
	entry_check_value(&call, PG_GETARG_DATUM(3));
	if (expected == 0)
		return create_if_absent(&call, fcinfo, PG_GETARG_DATUM(3), ttl);

	lock = entry_lock(&call, expected, &row);
	if (lock != ENTRY_LOCKED)
		return entry_not_applied(&call, fcinfo, lock, &row);
	now = keep_clock_now();
	entry_update(&call, PG_GETARG_DATUM(3), now, entry_kept_expiry(&call, &row, now, ttl),
				 &row);
	return entry_outcome(&call, fcinfo, STATUS_UPDATED, &row);
}

/*
 * keep.merge(store regclass, key text, patch jsonb, expected_version bigint)
 *		returns keep.outcome
 *
 * Applies a merge patch (RFC 7396) to the locked entry, so that of two at once
 * neither loses.  Status updated, absent, or stale where a version is given.
 */
Datum
keep_merge(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	EntryLock	lock;
	Jsonb	   *merged;
	TimestampTz now;

	keep_arg_require(fcinfo, 2, "patch");
	entry_begin(&call, fcinfo, true, "keep.merge()", 0);
	lock = entry_lock(&call, entry_version_arg(fcinfo, 3, "expected_version"), &row);
	if (lock != ENTRY_LOCKED)
		return entry_not_applied(&call, fcinfo, lock, &row);

	merged = keep_json_merge(DatumGetJsonbP(row.value), PG_GETARG_JSONB_P(2));
	entry_check_value(&call, JsonbPGetDatum(merged));
	now = keep_clock_now();
	entry_update(&call, JsonbPGetDatum(merged), now,
				 entry_kept_expiry(&call, &row, now, NULL), &row);
	return entry_outcome(&call, fcinfo, STATUS_UPDATED, &row);
}

/*
 * keep.increment(store regclass, key text, by bigint, path text[],
 *				  ttl interval) returns keep.outcome
 *
 * Adds to the integer at the path, from 0 where none is there yet.  Status
 * created or updated.  22003 past bigint, 22023 where no integer stands.
 */
Datum
keep_increment(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	const Interval *ttl = keep_arg_span(fcinfo, 4, "ttl");
	int			npath;
	Datum	   *path;
	Jsonb	   *first;
	bool		created;

	keep_arg_require(fcinfo, 2, "by");
	path = keep_arg_array(fcinfo, 3, "path", TEXTOID, &npath);
	first = keep_json_increment(NULL, path, npath, PG_GETARG_INT64(2));
	entry_begin(&call, fcinfo, true, "keep.increment()", 0);
	entry_check_value(&call, JsonbPGetDatum(first));
	created = entry_upsert(&call, STORE_INCREMENT, JsonbPGetDatum(first), ttl,
						   PG_GETARG_DATUM(3), PG_GETARG_DATUM(2), &row);
	entry_check_value(&call, row.value);
	return entry_outcome(&call, fcinfo, created ? STATUS_CREATED : STATUS_UPDATED, &row);
}

/*
 * keep.delete(store regclass, key text, expected_version bigint)
 *		returns keep.outcome
 *
 * Status deleted, with what was deleted; absent; or stale where a version is
 * given and the entry has another.
 */
Datum
keep_delete(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	EntryLock	lock;

	entry_begin(&call, fcinfo, true, "keep.delete()", 0);
	lock = entry_delete(&call, entry_version_arg(fcinfo, 2, "expected_version"), &row);
	if (lock != ENTRY_LOCKED)
		return entry_not_applied(&call, fcinfo, lock, &row);
	return entry_outcome(&call, fcinfo, STATUS_DELETED, &row);
}
