/*
 * reaper_worker.c
 *		One visit of the reaper to a database.
 *
 * The worker goes round the tables, with a transaction of one batch on each,
 * until none has anything left or the visit's time is over; in between it
 * sleeps, holding nothing.  It owns no rule: what is over, and what is to be
 * done about that, each room knows (reap.h).
 *
 * It runs as a superuser, on tables that anybody may have made.  So it works as
 * the table's owner, in a security-restricted operation: see as_owner.c.
 */
#include "postgres.h"

#include "as_owner.h"
#include "ledger.h"
#include "reap.h"
#include "reaper.h"
#include "request_log.h"
#include "saga_log.h"
#include "stats.h"
#include "store.h"
#include "subxact.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* a visit ends after this, so that the database can be dropped or copied */
#define VISIT_USECS		(INT64CONST(2) * USECS_PER_SEC)

/*
 * The first batch of a table is one row, as nobody knows how long its triggers
 * take; then batches grow while they are quick.
 */
#define QUICK_USECS		50000
#define SLOW_USECS		100000

/*
 * The kinds of table that are looked after, and within how many milliseconds a
 * transaction has to end and a lock to be had.
 */
static const struct
{
	const KeepKind *kind;
	const char *doing;
	bool		(*reap) (Oid relid, int batch, int64 *ended);
	int			limit;
	const char *lock_timeout;
}			rooms[] = {
	{&keep_store_kind, "expiring", entry_reap, 1000, "100ms"},
	{&keep_request_kind, "expiring", request_reap, 1000, "100ms"},
	{&keep_ledger_kind, "releasing holds of", ledger_reap, 1000, "100ms"},
	{&keep_saga_kind, "compensating in", saga_reap, 2000, "1s"},
};

/* A table of this database. */
typedef struct Ward
{
	Oid			relid;
	int			room;
	int			batch;			/* rows in the next transaction */
	bool		visited;
	bool		more;			/* there was something to do, the last time */
	int64		ended;			/* what has been ended in this visit */
	char	   *name;			/* qualified; known once it has been visited */
} Ward;

/* Settings of the worker, whatever those of the database are. */
static void
configure(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"row_security", "on"},
		{"jit", "off"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"},	/* since 17 */
		/* what is lost in a crash will be found to be over again */
		{"synchronous_commit", "off"}
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* Forget the statistics of tables that have been dropped. */
static void
forget_dropped(void)
{
	ListCell   *cell;

	foreach(cell, keep_stats_list(MyDatabaseId))
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(cell))))
			keep_stats_remove(MyDatabaseId, lfirst_oid(cell));
}

/*
 * List the tables to look after, in "context"; *installed says whether the
 * extension is there at all.
 */
static List *
list_wards(MemoryContext context, bool *installed)
{
	List	   *wards = NIL;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	*installed = OidIsValid(get_extension_oid("pg_keep", true)) &&
		OidIsValid(keep_catalog_relid());
	for (size_t i = 0; *installed && i < lengthof(rooms); i++)
	{
		List	   *relids = keep_catalog_list(rooms[i].kind->name);
		ListCell   *cell;
		MemoryContext old = MemoryContextSwitchTo(context);

		foreach(cell, relids)
		{
			Ward	   *ward = palloc0(sizeof(Ward));

			ward->relid = lfirst_oid(cell);
			ward->room = i;
			ward->batch = 1;
			ward->more = true;
			wards = lappend(wards, ward);
		}
		MemoryContextSwitchTo(old);
	}
	forget_dropped();
	CommitTransactionCommand();
	return wards;
}

/*
 * Have deferrable constraints checked at once.  What is deferred would run at
 * the commit, with the rights of a superuser.  (PostgreSQL refuses to defer
 * anything in a security-restricted operation: this is for what can be helped.)
 */
static void
defer_nothing(void)
{
	ConstraintsSetStmt *stmt = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(stmt);
}

/* Take the table's lock, unless another has one that stands against it. */
static bool
lock_ward(Ward *ward)
{
	char	   *name;

	if (!ConditionalLockRelationOid(ward->relid, RowExclusiveLock) ||
		(name = get_rel_name(ward->relid)) == NULL)
		return false;
	if (ward->name == NULL)
		ward->name = MemoryContextStrdup(TopMemoryContext, quote_qualified_identifier(
											 get_namespace_name(get_rel_namespace(ward->relid)),
											 name));
	ward->visited = true;
	pgstat_report_activity(STATE_RUNNING, psprintf("pg_keep: %s %s", rooms[ward->room].doing,
												   ward->name));
	return true;
}

/*
 * One batch, in a transaction of its own.  "hidden" is set where row security
 * hides rows of the table from its owner.
 */
static void
run_batch(Ward *ward, bool *hidden)
{
	int64		ended = 0;

	SetConfigOption("lock_timeout", rooms[ward->room].lock_timeout, PGC_SUSET, PGC_S_OVERRIDE);
	enable_timeout_after(STATEMENT_TIMEOUT, rooms[ward->room].limit);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ward->more = false;
	if (lock_ward(ward))
	{
		KeepAsOwner state;

		defer_nothing();
		SPI_connect();
		keep_as_owner_begin(&state, ward->relid);
		*hidden = check_enable_rls(ward->relid, InvalidOid, true) == RLS_ENABLED;
		ward->more = rooms[ward->room].reap(ward->relid, Min(ward->batch, keep_reaper_batch),
											&ended);
		keep_as_owner_end(&state);
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	disable_timeout(STATEMENT_TIMEOUT, false);
	ward->ended += ended;
}

/* Report what went wrong with a table, in the log and in the statistics. */
static void
report(Ward *ward, const char *error, const char *context)
{
	bool		log = keep_stats_failed(ward->relid, error);

	ereport(log ? LOG : DEBUG1,
			(errmsg("pg_keep could not expire all of table %s",
					ward->name ? ward->name : psprintf("with OID %u", ward->relid)),
			 errdetail_internal("%s", error),
			 context ? errcontext("%s", context) : 0));
}

/* Make the next batch larger or smaller, after one that took so long. */
static void
adapt(Ward *ward, int64 took)
{
	ward->batch = Min(ward->batch, keep_reaper_batch);
	if (took > SLOW_USECS)
		ward->batch = Max(ward->batch / 2, 1);
	else if (took < QUICK_USECS)
		ward->batch = Min(ward->batch * 4, keep_reaper_batch);
}

/* The same as run_batch(); errors are reported, and end the visit to the table. */
static void
tidy(Ward *ward)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz began = GetCurrentTimestamp();
	bool		hidden = false;

	PG_TRY();
	{
		run_batch(ward, &hidden);
		adapt(ward, GetCurrentTimestamp() - began);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		bool		too_long;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		disable_timeout(STATEMENT_TIMEOUT, false);
		QueryCancelPending = false;
		RESUME_INTERRUPTS();

		/* fewer rows may do; one who has locks, or is faster, is no error */
		too_long = error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
			GetCurrentTimestamp() - began >= rooms[ward->room].limit * INT64CONST(1000);
		ward->more = too_long && ward->batch > 1;
		ward->batch = 1;
		if (!ward->more && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			report(ward, keep_error_text(error), error->context);
	}
	PG_END_TRY();
	if (hidden)
		report(ward, "row-level security hides rows of the table from its owner", NULL);
}

/* Sleep, but not past "end"; nothing is held. */
static void
rest(int64 usecs, TimestampTz end)
{
	usecs = Min(usecs, end - GetCurrentTimestamp());
	pgstat_report_activity(STATE_IDLE, NULL);
	if (usecs > 0)
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (usecs + 999) / 1000, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	/* there is nothing to cancel */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/*
 * Go round the tables that have something left, beginning with the one where
 * the visit before this had to stop.
 */
static void
go_round(List *wards, ReaperVisit *visit, TimestampTz end)
{
	MemoryContext batch_context = AllocSetContextCreate(TopMemoryContext, "pg_keep batch",
														ALLOCSET_DEFAULT_SIZES);
	int			first = 0;
	bool		more = true;

	while (first < list_length(wards) && ((Ward *) list_nth(wards, first))->relid != visit->first)
		first++;
	while (more)
	{
		more = false;
		for (int i = 0; i < list_length(wards); i++)
		{
			Ward	   *ward = list_nth(wards, (first + i) % list_length(wards));
			TimestampTz began = GetCurrentTimestamp();
			int64		took;

			if (!ward->more)
				continue;
			visit->first = ward->relid;
			if (began >= end || !keep_reaper_on)
			{
				visit->behind = true;
				return;
			}
			/* the worker may not survive this table: go on with the one behind it */
			visit->first = ((Ward *) list_nth(wards, (first + i + 1) % list_length(wards)))->relid;
			MemoryContextSwitchTo(batch_context);
			tidy(ward);
			MemoryContextReset(batch_context);
			more |= ward->more;
			visit->found |= ward->more;
			took = GetCurrentTimestamp() - began;
			rest(took * (100 - keep_reaper_share) / keep_reaper_share, end);
		}
	}
	visit->first = InvalidOid;
}

/* Work on the database that the launcher has named; it waits for nothing of this. */
void
keep_reaper_worker_main(Datum arg)
{
	TimestampTz end = GetCurrentTimestamp() + VISIT_USECS;
	dsm_handle	handle;
	dsm_segment *segment;
	ReaperVisit *visit;
	List	   *wards;
	ListCell   *cell;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	memcpy(&handle, MyBgworkerEntry->bgw_extra, sizeof(handle));
	segment = dsm_attach(handle);
	if (segment == NULL)
		proc_exit(0);			/* the launcher is no more */
	visit = &((ReaperShared *) dsm_segment_address(segment))->visits[DatumGetInt32(arg)];
	BackgroundWorkerInitializeConnectionByOid(visit->database, InvalidOid, 0);

	configure();
	wards = list_wards(TopMemoryContext, &visit->installed);
	go_round(wards, visit, end);
	foreach(cell, wards)
	{
		Ward	   *ward = lfirst(cell);

		if (ward->visited)
			keep_stats_visited(ward->relid, ward->ended, visit->behind && ward->more);
	}
	visit->done = true;
	proc_exit(0);
}
