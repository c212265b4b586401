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
#include "clock.h"
#include "fault.h"
#include "ledger.h"
#include "naming.h"
#include "reap.h"
#include "reaper.h"
#include "request_log.h"
#include "saga_log.h"
#include "stats.h"
#include "stats_view.h"
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
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* a visit ends after this, so that the database can be dropped or copied */
#define VISIT_USECS		(INT64CONST(2) * USECS_PER_SEC)

/* and in any case after this, which no code of a table's owner can keep from it */
#define WORKER_MSECS	4400

/*
 * The first batch of a table is one row, as nobody knows how long its triggers
 * take; then batches grow while they are quick.  They are kept this short since
 * a backend that wakes up on the same processor may have to wait for the end of
 * one, until the worker sleeps.
 */
#define QUICK_USECS		1000
#define SLOW_USECS		2500

/* so long is a table's turn, if it has so much to do */
#define TURN_USECS		100000

/* so many rows that cannot be deleted are put off in a visit to a table */
#define MAX_PUT_OFF		10

/*
 * The kinds of table that are looked after, and within how many milliseconds a
 * transaction has to end and a lock to be had.
 */
static const struct
{
	const KeepKind *kind;
	const char *doing;
	bool		(*reap) (KeepReaping *work);
	bool		(*put_off) (Oid relid);
	int			limit;
	const char *lock_timeout;
}			rooms[] = {
	{&keep_store_kind, "expiring", entry_reap, entry_put_off, 1000, "100ms"},
	{&keep_request_kind, "expiring", request_reap, request_put_off, 1000, "100ms"},
	{&keep_ledger_kind, "releasing holds of", ledger_reap, NULL, 1000, "100ms"},
	{&keep_saga_kind, "compensating in", saga_reap, NULL, 2000, "1s"},
};

/* A table of this database. */
typedef struct Ward
{
	Oid			relid;
	int			room;
	int			batch;			/* rows in the next transaction */
	bool		visited;
	bool		counted;		/* the visit is in the statistics */
	bool		more;			/* there was something to do, the last time */
	bool		hidden;			/* row security hides rows of it from its owner */
	bool		put_off;		/* its first row could not be deleted: have it rest */
	bool		reported;		/* an error has been logged in this visit */
	int			failures;
	KeepPages	pages;			/* where rows were deleted */
	TimestampTz from;			/* and how far that has come */
	TimestampTz next;			/* when there will be something to do */
	char	   *name;			/* qualified; known once it has been visited */
} Ward;

/* for the handler of the worker's own timeout */
static ReaperVisit *this_visit;

/* Leave out a table that a worker has not survived; the launcher has logged that. */
static bool
is_avoided(const Ward *ward, const ReaperVisit *visit)
{
	for (int i = 0; i < REAPER_MAX_AVOIDED; i++)
		if (visit->avoid[i] == ward->relid)
		{
			(void) keep_stats_failed(ward->relid, "a worker had to be terminated here");
			return true;
		}
	return false;
}

/* List the tables to look after, in "context": none where the extension is not there. */
static List *
list_wards(MemoryContext context, const ReaperVisit *visit)
{
	List	   *wards = NIL;
	bool		installed;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	installed = OidIsValid(get_extension_oid("pg_keep", true)) &&
		OidIsValid(keep_catalog_relid());
	for (size_t i = 0; installed && i < lengthof(rooms); i++)
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
			ward->next = DT_NOEND;
			ward->from = DT_NOBEGIN;
			if (!is_avoided(ward, visit))
				wards = lappend(wards, ward);
		}
		MemoryContextSwitchTo(old);
	}
	keep_stats_forget_dropped();
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
		(name = keep_relation_name(ward->relid, true)) == NULL)
		return false;
	if (ward->name == NULL)
		ward->name = MemoryContextStrdup(TopMemoryContext, name);
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
run_batch(Ward *ward, volatile bool *hidden)
{
	KeepReaping work = {.relid = ward->relid, .pages = &ward->pages, .from = &ward->from,
	.next = DT_NOEND};

	ward->batch = work.batch = Min(ward->batch, keep_reaper_batch);
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
		if (ward->put_off)
			ward->more = rooms[ward->room].put_off(ward->relid);
		else
			ward->more = rooms[ward->room].reap(&work);
		keep_as_owner_end(&state);
		KEEP_FAULT("reaper: batch done");
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	disable_timeout(STATEMENT_TIMEOUT, false);
	KEEP_FAULT("reaper: batch committed");
	if (ward->visited)
		keep_stats_visited(ward->relid, !ward->counted, work.ended, ward->more);
	ward->counted = ward->visited;
	ward->next = work.next;
	ward->put_off = false;
}

/* Report what went wrong with a table, in the log and in the statistics. */
static void
report(Ward *ward, const char *error, const char *context)
{
	bool		log = keep_stats_failed(ward->relid, error) && !ward->reported;

	ward->reported |= log;
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
	if (took > SLOW_USECS)
		ward->batch = Max(ward->batch / 2, 1);
	else if (took < QUICK_USECS)
		ward->batch = Min(ward->batch * 2, keep_reaper_batch);
}

/*
 * After an error: is the table to be tried again in this visit?  Fewer rows may
 * do; one row that cannot be deleted is put off, unless disk or memory is short,
 * for which no row is to blame.  Who has locks that stand against it, or is
 * faster, is no error.
 */
static bool
try_again(Ward *ward, const ErrorData *error, bool too_long)
{
	bool		cancelled = error->sqlerrcode == ERRCODE_QUERY_CANCELED && !too_long;

	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
		return false;
	if (ward->batch > 1 && !cancelled)
	{
		ward->batch = 1;
		return true;
	}
	report(ward, keep_error_text(error), error->context);
	if (cancelled || ward->put_off || rooms[ward->room].put_off == NULL ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		++ward->failures > MAX_PUT_OFF)
		return false;
	ward->put_off = true;
	return true;
}

/* The same as run_batch(); errors are dealt with. */
static void
tidy(Ward *ward)
{
	MemoryContext context = CurrentMemoryContext;
	int64		began = keep_clock_ticks();
	volatile bool hidden = false;

	PG_TRY();
	{
		run_batch(ward, &hidden);
		adapt(ward, keep_clock_ticks() - began);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int64		took;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		disable_timeout(STATEMENT_TIMEOUT, false);
		QueryCancelPending = false;
		RESUME_INTERRUPTS();

		took = keep_clock_ticks() - began;
		ward->more = try_again(ward, error, took >= rooms[ward->room].limit * INT64CONST(1000));
	}
	PG_END_TRY();
	if (hidden && !ward->hidden)
		report(ward, "row-level security hides rows of the table from its owner", NULL);
	ward->hidden |= hidden;
}

/* Sleep, but not past "end"; nothing is held. */
static void
rest(int64 usecs, int64 end)
{
	usecs = Min(usecs, end - keep_clock_ticks());
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

/* Give a table its turn: batches for a while, each with the rest that is due after it. */
static void
take_turn(Ward *ward, int64 end)
{
	static MemoryContext batch_context = NULL;
	int64		worked = 0;

	if (batch_context == NULL)
		batch_context = AllocSetContextCreate(TopMemoryContext, "pg_keep batch",
											  ALLOCSET_DEFAULT_SIZES);
	do
	{
		int64		began = keep_clock_ticks();
		int64		took;

		MemoryContextSwitchTo(batch_context);
		tidy(ward);
		MemoryContextReset(batch_context);
		took = keep_clock_ticks() - began;
		worked += took;
		rest(took * (100 - keep_reaper_share) / keep_reaper_share, end);
	} while (ward->more && worked < TURN_USECS && keep_clock_ticks() < end && keep_reaper_on);
}

/*
 * Go round the tables that have something left, beginning with the one where
 * the visit before this had to stop.
 */
static void
go_round(List *wards, ReaperVisit *visit, int64 end)
{
	int			count = list_length(wards);
	int			first = 0;
	bool		more = true;

	while (first < count && ((Ward *) list_nth(wards, first))->relid != visit->first)
		first++;
	while (more)
	{
		more = false;
		for (int i = 0; i < count; i++)
		{
			Ward	   *ward = list_nth(wards, (first + i) % count);

			if (!ward->more)
				continue;
			visit->first = ward->relid;
			if (keep_clock_ticks() >= end || !keep_reaper_on)
			{
				visit->behind = true;
				return;
			}
			/* the worker may not survive this table: then go on with the one behind it */
			visit->first = ((Ward *) list_nth(wards, (first + i + 1) % count))->relid;
			visit->at = ward->relid;
			take_turn(ward, end);
			visit->at = InvalidOid;
			more |= ward->more;
		}
	}
	visit->first = InvalidOid;
}

/* End the visit: tell when the next one is due. */
static void
end_visit(List *wards, ReaperVisit *visit)
{
	TimestampTz next = DT_NOEND;
	ListCell   *cell;

	foreach(cell, wards)
		next = Min(next, ((Ward *) lfirst(cell))->next);
	visit->idle = next == DT_NOEND ? PG_INT64_MAX : next - keep_clock_now();
	visit->done = true;
}

/*
 * The worker has been there for too long.  To die is no error that a function
 * could catch, as it could a statement_timeout.
 */
static void
end_worker(void)
{
	this_visit->too_long = true;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* Work on the database that the launcher has named; it waits for nothing of this. */
void
keep_reaper_worker_main(Datum arg)
{
	int64		end = keep_clock_ticks() + VISIT_USECS;
	dsm_handle	handle;
	dsm_segment *segment;
	ReaperVisit *visit;
	List	   *wards;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	memcpy(&handle, MyBgworkerEntry->bgw_extra, sizeof(handle));
	segment = dsm_attach(handle);
	if (segment == NULL)
		proc_exit(0);			/* the launcher is no more */
	visit = &((ReaperShared *) dsm_segment_address(segment))->visits[DatumGetInt32(arg)];
	BackgroundWorkerInitializeConnectionByOid(visit->database, InvalidOid, 0);

	this_visit = visit;
	enable_timeout_after(RegisterTimeout(USER_TIMEOUT, end_worker), WORKER_MSECS);
	keep_reaper_configure();
	wards = list_wards(TopMemoryContext, visit);
	go_round(wards, visit, end);
	end_visit(wards, visit);
	proc_exit(0);
}
