/*
 * stats_view.c
 *		SQL functions that show the counters of this database's tables, and
 *		set them to zero.
 *
 * They show a table to its owner and to members of pg_read_all_stats.  Raise
 * 55000 where the library is not preloaded, as nothing is counted then: no
 * number is better than a wrong one.
 */
#include "postgres.h"

#include "catalog.h"
#include "preload.h"
#include "stats.h"
#include "stats_view.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(keep_store_statistics);
PG_FUNCTION_INFO_V1(keep_ledger_statistics);
PG_FUNCTION_INFO_V1(keep_reaper_statistics);
PG_FUNCTION_INFO_V1(keep_stat_reset);

#define MAX_COLUMNS 20

/* Make room: forget the tables of this database that have been dropped. */
void
keep_stats_forget_dropped(void)
{
	ListCell   *cell;

	/* what it may have dropped itself can come back by a rollback */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	foreach(cell, keep_stats_list(MyDatabaseId))
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(cell))))
			keep_stats_remove(MyDatabaseId, lfirst_oid(cell));
}

/* Refuse where nothing is counted; else begin to show. */
static void
require_statistics(void)
{
	if (!keep_stats_on())
		keep_preload_missing("statistics of pg_keep");
	keep_stats_forget_dropped();
}

/*
 * May the caller see the table?  Sets what its first columns show.  No lock is
 * held: a table that is being dropped is as good as gone.
 */
static bool
begin_row(Oid relid, Datum *values, bool *nulls)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	char	   *schema;
	bool		visible;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_class) GETSTRUCT(tuple);
	schema = get_namespace_name(form->relnamespace);
	visible = schema != NULL && (has_privs_of_role(GetUserId(), form->relowner) ||
								 has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS));
	if (visible)
	{
		memset(nulls, 0, sizeof(bool) * MAX_COLUMNS);
		values[0] = ObjectIdGetDatum(relid);
		values[1] = DirectFunctionCall1(namein, CStringGetDatum(schema));
		values[2] = DirectFunctionCall1(namein, CStringGetDatum(NameStr(form->relname)));
	}
	ReleaseSysCache(tuple);
	return visible;
}

/* Show some counters of all tables of a kind, and since when they count. */
static Datum
show_counters(FunctionCallInfo fcinfo, const char *kind, const KeepCounter *counters,
			  int ncounters)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;

	require_statistics();
	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, keep_catalog_list(kind))
	{
		Datum		values[MAX_COLUMNS];
		bool		nulls[MAX_COLUMNS];
		KeepStats	stats;
		bool		known;

		if (!begin_row(lfirst_oid(cell), values, nulls))
			continue;
		known = keep_stats_read(lfirst_oid(cell), &stats);
		for (int i = 0; i < ncounters; i++)
		{
			values[i + 3] = Int64GetDatum((int64) stats.counters[counters[i]]);
			nulls[i + 3] = !known;
		}
		values[ncounters + 3] = TimestampTzGetDatum(stats.since);
		nulls[ncounters + 3] = !known;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * keep.store_statistics() returns setof record
 *
 * What view keep.stat_stores shows.
 */
Datum
keep_store_statistics(PG_FUNCTION_ARGS)
{
	static const KeepCounter counters[] = {
		KEEP_HITS, KEEP_MISSES, KEEP_CREATES, KEEP_UPDATES, KEEP_DELETES,
		KEEP_CONDITION_FAILURES, KEEP_TOUCHES_WRITTEN, KEEP_TOUCHES_SKIPPED, KEEP_EXPIRED
	};

	return show_counters(fcinfo, "store", counters, lengthof(counters));
}

/*
 * keep.ledger_statistics() returns setof record
 *
 * What view keep.stat_ledgers shows.
 */
Datum
keep_ledger_statistics(PG_FUNCTION_ARGS)
{
	static const KeepCounter counters[] = {
		KEEP_POSTED, KEEP_PENDING, KEEP_REJECTED, KEEP_VOIDED, KEEP_EXPIRED, KEEP_REPLAYED,
		KEEP_MISMATCHED
	};

	return show_counters(fcinfo, "ledger", counters, lengthof(counters));
}

/*
 * keep.reaper_statistics() returns setof record
 *
 * What view keep.stat_reaper shows.
 */
Datum
keep_reaper_statistics(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {"store", "ledger", "request_log", "saga_log"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	require_statistics();
	InitMaterializedSRF(fcinfo, 0);
	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		ListCell   *cell;

		foreach(cell, keep_catalog_list(kinds[i]))
		{
			Datum		values[MAX_COLUMNS];
			bool		nulls[MAX_COLUMNS];
			KeepStats	stats;

			if (!begin_row(lfirst_oid(cell), values, nulls))
				continue;
			if (!keep_stats_read(lfirst_oid(cell), &stats))
				memset(nulls + 4, true, 8);
			values[3] = CStringGetTextDatum(kinds[i]);
			values[4] = Int64GetDatum((int64) stats.counters[KEEP_VISITS]);
			values[5] = Int64GetDatum((int64) stats.counters[KEEP_REAPED]);
			values[6] = Int64GetDatum((int64) stats.counters[KEEP_ERRORS]);
			values[7] = TimestampTzGetDatum(stats.last_visit);
			nulls[7] |= stats.last_visit == 0;
			values[8] = BoolGetDatum(stats.behind);
			values[9] = CStringGetTextDatum(stats.last_error);
			nulls[9] |= stats.last_error_at == 0;
			values[10] = TimestampTzGetDatum(stats.last_error_at);
			nulls[10] |= stats.last_error_at == 0;
			values[11] = TimestampTzGetDatum(stats.since);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/*
 * keep.stat_reset(relation regclass) returns void
 *
 * Sets the counters of a table to zero, or (NULL) those of all tables of this
 * database.  Not for the public.
 */
Datum
keep_stat_reset(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	require_statistics();
	if (!PG_ARGISNULL(0))
	{
		keep_stats_reset(PG_GETARG_OID(0));
		PG_RETURN_VOID();
	}
	foreach(cell, keep_stats_list(MyDatabaseId))
		keep_stats_reset(lfirst_oid(cell));
	PG_RETURN_VOID();
}
