/*
 * reaper_control.c
 *		Starting the reaper: with the server, or by SQL functions.
 */
#include "postgres.h"

#include "reaper.h"
#include "reaper_control.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(keep_start_reaper);
PG_FUNCTION_INFO_V1(keep_stop_reaper);

/* seconds after which a launcher that died is started again */
#define RESTART_SECS	1

#define POLL_MSECS		20
#define START_POLLS		500
#define STOP_POLLS		(RESTART_SECS * 1500 / POLL_MSECS)

/*
 * The launcher, as a process of the server's.  It is started where a server
 * takes writes, so on a standby when that is promoted.
 */
static void
describe_launcher(BackgroundWorker *worker)
{
	keep_reaper_describe(worker, REAPER_LAUNCHER_TYPE, "keep_reaper_launcher_main");
	worker->bgw_restart_time = RESTART_SECS;
}

/*
 * Have it started with the server; called once, from _PG_init().  Not for
 * pg_upgrade, which wants the server for itself.
 */
void
keep_reaper_preload(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	describe_launcher(&worker);
	RegisterBackgroundWorker(&worker);
}

static void
sleep_a_little(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MSECS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Take a lock that is held for a moment only. */
static void
wait_for_lock(ReaperLock which)
{
	while (!keep_reaper_lock(which, ExclusiveLock))
		sleep_a_little();
}

/* Start the launcher, and wait until it runs. */
static void
start_launcher(void)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	describe_launcher(&worker);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the reaper: too many background processes"),
				 errhint("You might need to increase \"max_worker_processes\".")));
	for (int i = 0; i < START_POLLS; i++)
	{
		if (keep_reaper_locked(REAPER_RUNS))
			return;
		if (GetBackgroundWorkerPid(handle, &pid) == BGWH_POSTMASTER_DIED)
			break;
		sleep_a_little();
	}
	TerminateBackgroundWorker(handle);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("could not start the reaper"),
			 errhint("More details may be available in the server log.")));
}

/*
 * keep.start_reaper() returns boolean
 *
 * Starts the launcher, for as long as the server runs.  False where it is
 * running.  Raises 55000 on a standby, 53000 where the server has no room for
 * another process.  Not for the public.
 */
Datum
keep_start_reaper(PG_FUNCTION_ARGS)
{
	volatile bool running = false;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("The reaper can be started once this server has been promoted.")));
	wait_for_lock(REAPER_STARTS);
	PG_TRY();
	{
		running = keep_reaper_locked(REAPER_RUNS);
		if (!running)
			start_launcher();
	}
	PG_FINALLY();
	{
		keep_reaper_unlock(REAPER_STARTS, ExclusiveLock);
	}
	PG_END_TRY();
	PG_RETURN_BOOL(!running);
}

/*
 * keep.stop_reaper() returns boolean
 *
 * Ends the launcher and its workers, and waits until they have.  False where it
 * is not running.  A server that preloads the library has it again after its
 * next start.  Not for the public.
 */
Datum
keep_stop_reaper(PG_FUNCTION_ARGS)
{
	volatile bool running = false;

	wait_for_lock(REAPER_STOPS);
	PG_TRY();
	{
		/* one that has just died may be about to come back, and is to see our lock */
		for (int i = 0; i < STOP_POLLS && !running; i++)
		{
			running = keep_reaper_locked(REAPER_RUNS);
			if (!running)
				sleep_a_little();
		}
		while (keep_reaper_locked(REAPER_RUNS))
			sleep_a_little();
	}
	PG_FINALLY();
	{
		keep_reaper_unlock(REAPER_STOPS, ExclusiveLock);
	}
	PG_END_TRY();
	PG_RETURN_BOOL(running);
}
