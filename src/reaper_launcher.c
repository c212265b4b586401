/*
 * reaper_launcher.c
 *		Says when which database is visited, as autovacuum's launcher does.
 *
 * Workers are short-lived, since one that stayed connected would keep the
 * database from being dropped or copied.  A database is visited at least every
 * pg_keep.naptime; more often while there is something to do.  Whether the
 * extension is there only a worker can tell, so all databases are visited.
 */
#include "postgres.h"

#include "clock.h"
#include "reaper.h"
#include "stats.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* times to try for the launcher's lock, which somebody may just be looking at */
#define LOCK_TRIES		20
#define LOCK_PAUSE		50		/* milliseconds */

/* a worker ends itself before this, unless it hangs before it has begun */
#define WORKER_USECS	(INT64CONST(4800) * 1000)

/* least time until the next visit, or after one that left something */
#define SOON_USECS		INT64CONST(1000000)
#define BEHIND_USECS	500000

/* how often to look whether the launcher is to end */
#define LONGEST_SLEEP	1000000

/* the log says so often that there is no room for workers */
#define COMPLAIN_USECS	(5 * USECS_PER_MINUTE)

#define INVALID_DATABASE	(-2)	/* datconnlimit of one that DROP has left half-way */

/* so long a table is left out that workers do not survive, doubled each time */
#define AVOID_USECS		INT64CONST(60000000)
#define MAX_DOUBLINGS	4

/* A table that a worker has not survived. */
typedef struct Avoided
{
	Oid			relid;
	int			deaths;
	int64		until;
} Avoided;

/* A database, as the launcher knows it; in TopMemoryContext.  Times are of keep_clock_ticks(). */
typedef struct Database
{
	Oid			oid;
	bool		there;			/* as of the last look */
	int			slot;			/* of its worker; -1: none */
	int64		next;			/* when it is to be visited */
	Oid			first;			/* the table to begin with */
	int64		began;			/* of the visit */
	bool		terminated;
	BackgroundWorkerHandle *worker;
	Avoided		avoided[REAPER_MAX_AVOIDED];
} Database;

static List *databases = NIL;
static dsm_segment *segment;
static ReaperShared *shared;
static bool slot_used[REAPER_MAX_WORKERS];
static int64 complained_at = -COMPLAIN_USECS;

/*
 * The OIDs of all databases that can be connected to, in "context"; *closed: of
 * those that cannot.
 */
static List *
list_oids(MemoryContext context, List **closed)
{
	List	   *oids = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		old = MemoryContextSwitchTo(context);
		if (form->datallowconn && form->datconnlimit != INVALID_DATABASE)
			oids = lappend_oid(oids, form->oid);
		else
			*closed = lappend_oid(*closed, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return oids;
}

static Database *
find_database(Oid oid)
{
	ListCell   *cell;

	foreach(cell, databases)
		if (((Database *) lfirst(cell))->oid == oid)
			return lfirst(cell);
	return NULL;
}

/* Look which databases there are; new ones are visited at once. */
static void
refresh(int64 now)
{
	List	   *closed = NIL;
	List	   *oids = list_oids(TopMemoryContext, &closed);
	ListCell   *cell;

	foreach(cell, databases)
		((Database *) lfirst(cell))->there = false;
	foreach(cell, oids)
	{
		Database   *database = find_database(lfirst_oid(cell));

		if (database == NULL)
		{
			database = palloc0(sizeof(Database));
			database->oid = lfirst_oid(cell);
			database->slot = -1;
			database->next = now;
			databases = lappend(databases, database);
		}
		database->there = true;
	}
	list_free(oids);

	foreach(cell, databases)
	{
		Database   *database = lfirst(cell);

		if (database->there || database->slot >= 0)
			continue;
		databases = foreach_delete_current(databases, cell);
		pfree(database);
	}
	oids = keep_stats_list(InvalidOid);
	foreach(cell, oids)
		if (find_database(lfirst_oid(cell)) == NULL && !list_member_oid(closed, lfirst_oid(cell)))
			keep_stats_remove(lfirst_oid(cell), InvalidOid);
	list_free(oids);
	list_free(closed);
}

/*
 * A worker had to be terminated at a table: leave that out for a while.  Whoever has made it
 * must not be able to keep others' tables from being looked after.
 */
static void
avoid(Database *database, Oid relid, int64 now)
{
	Avoided    *it = &database->avoided[0];

	for (int i = 0; i < REAPER_MAX_AVOIDED; i++)
	{
		Avoided    *other = &database->avoided[i];

		if (other->relid == relid)
		{
			it = other;
			break;
		}
		if (other->until < it->until)
			it = other;
	}
	if (it->relid != relid)
		it->deaths = 0;
	it->relid = relid;
	it->until = now + (AVOID_USECS << it->deaths);
	it->deaths = Min(it->deaths + 1, MAX_DOUBLINGS);
	ereport(LOG,
			(errmsg("a worker of the pg_keep reaper did not come to an end at the table with "
					"OID %u of the database with OID %u", relid, database->oid),
			 errdetail("The table is left out for a while.")));
}

/* A visit has ended: when is the next? */
static void
schedule(Database *database, const ReaperVisit *visit, int64 now)
{
	int64		nap = keep_reaper_naptime * INT64CONST(1000);

	database->first = visit->first;
	if (!visit->done)
	{
		database->next = now + nap;
		if ((visit->too_long || database->terminated) && OidIsValid(visit->at))
			avoid(database, visit->at, now);
	}
	else if (visit->behind)
		database->next = now + BEHIND_USECS;
	else
		database->next = now + Min(nap, Max(visit->idle, SOON_USECS));
}

/* See which workers have ended; one that takes too long is made to. */
static void
collect(int64 now)
{
	ListCell   *cell;

	foreach(cell, databases)
	{
		Database   *database = lfirst(cell);
		pid_t		pid;

		if (database->slot < 0)
			continue;
		if (GetBackgroundWorkerPid(database->worker, &pid) == BGWH_STOPPED)
		{
			schedule(database, &shared->visits[database->slot], now);
			slot_used[database->slot] = false;
			database->slot = -1;
			pfree(database->worker);
		}
		else if (now - database->began > WORKER_USECS && !database->terminated)
		{
			TerminateBackgroundWorker(database->worker);
			database->terminated = true;
		}
	}
}

/* A slot for another worker, or -1. */
static int
free_slot(void)
{
	int			used = 0;
	int			slot = -1;

	for (int i = 0; i < REAPER_MAX_WORKERS; i++)
	{
		used += slot_used[i];
		if (!slot_used[i] && slot < 0)
			slot = i;
	}
	return used < keep_reaper_workers ? slot : -1;
}

/* Start a worker for a database; is there room for it? */
static bool
start_worker(Database *database, int slot, int64 now)
{
	BackgroundWorker worker;
	dsm_handle	handle = dsm_segment_handle(segment);
	ReaperVisit *visit = &shared->visits[slot];

	memset(visit, 0, sizeof(ReaperVisit));
	visit->database = database->oid;
	visit->first = database->first;
	for (int i = 0; i < REAPER_MAX_AVOIDED; i++)
		if (database->avoided[i].until > now)
			visit->avoid[i] = database->avoided[i].relid;
	keep_reaper_describe(&worker, REAPER_WORKER_TYPE, "keep_reaper_worker_main");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(slot);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &handle, sizeof(handle));
	if (!RegisterDynamicBackgroundWorker(&worker, &database->worker))
	{
		if (now - complained_at > COMPLAIN_USECS)
		{
			complained_at = now;
			ereport(LOG,
					(errmsg("pg_keep could not start a worker of its reaper: too many background "
							"processes"),
					 errhint("You might need to increase \"max_worker_processes\".")));
		}
		return false;
	}
	database->slot = slot;
	database->began = now;
	database->terminated = false;
	slot_used[slot] = true;
	return true;
}

/* Start workers where visits are due, the most overdue first. */
static void
start_workers(int64 now)
{
	int			slot;

	while ((slot = free_slot()) >= 0)
	{
		Database   *due = NULL;
		ListCell   *cell;

		foreach(cell, databases)
		{
			Database   *database = lfirst(cell);

			if (database->there && database->slot < 0 && database->next <= now &&
				(due == NULL || database->next < due->next))
				due = database;
		}
		if (due == NULL)
			return;
		if (!start_worker(due, slot, now))
		{
			due->next = now + LONGEST_SLEEP;
			return;
		}
	}
}

/* Milliseconds until something is to be done. */
static long
time_to_sleep(int64 now)
{
	int64		until = now + LONGEST_SLEEP;
	ListCell   *cell;

	if (keep_reaper_on && free_slot() >= 0)
		foreach(cell, databases)
		{
			Database   *database = lfirst(cell);

			if (database->there && database->slot < 0)
				until = Min(until, database->next);
		}
	return Max(until - now, 0) / 1000 + 1;
}

/* Are all databases to be visited sooner, as naptime has been lowered? */
static void
reload(int64 now)
{
	int64		latest;
	ListCell   *cell;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	latest = now + keep_reaper_naptime * INT64CONST(1000);
	foreach(cell, databases)
	{
		Database   *database = lfirst(cell);

		database->next = Min(database->next, latest);
	}
}

/* Somebody has asked for the end: end the workers, too. */
static void
stop(void)
{
	ListCell   *cell;

	foreach(cell, databases)
	{
		Database   *database = lfirst(cell);

		if (database->slot < 0)
			continue;
		TerminateBackgroundWorker(database->worker);
		(void) WaitForBackgroundWorkerShutdown(database->worker);
	}
	ereport(LOG, (errmsg("pg_keep reaper stopped")));
	proc_exit(0);				/* which is: not to be started again */
}

/* Take the launcher's lock, or leave: another launcher has it. */
static void
become_the_one(void)
{
	for (int i = 0; i < LOCK_TRIES; i++)
	{
		if (keep_reaper_lock(REAPER_RUNS, ExclusiveLock))
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCK_PAUSE,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(0);
}

/* The launcher.  Whatever goes wrong ends it; the postmaster starts another. */
void
keep_reaper_launcher_main(Datum arg)
{
	int64		refreshed = 0;
	bool		ever = false;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	keep_reaper_configure();
	become_the_one();

	segment = dsm_create(sizeof(ReaperShared), 0);
	shared = dsm_segment_address(segment);
	MemoryContextSwitchTo(TopMemoryContext);
	for (;;)
	{
		int64		now = keep_clock_ticks();

		if (keep_reaper_locked(REAPER_STOPS))
			stop();
		if (ConfigReloadPending)
			reload(now);
		collect(now);
		if (keep_reaper_on)
		{
			if (!ever || now - refreshed >= keep_reaper_naptime * INT64CONST(1000))
			{
				refresh(now);
				MemoryContextSwitchTo(TopMemoryContext);
				refreshed = now;
				ever = true;
			}
			start_workers(now);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 time_to_sleep(now), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
