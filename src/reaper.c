/*
 * reaper.c
 *		What the reaper's processes share: settings and locks.
 *
 * There is one launcher for the server, and no memory that all backends share
 * where the library is not preloaded.  So who runs, and who wants it to end, is
 * told by advisory locks that no SQL function can reach, as their database is
 * none.
 */
#include "postgres.h"

#include "reaper.h"

#include "miscadmin.h"
#include "utils/guc.h"

/* high half of the locks' number: "keep" */
#define LOCK_CLASS	0x6b656570

bool		keep_reaper_on = true;
int			keep_reaper_naptime = 10000;
int			keep_reaper_batch = 1000;
int			keep_reaper_share = 25;
int			keep_reaper_workers = 2;

/* Define the GUCs; called once, from _PG_init(). */
void
keep_reaper_init(void)
{
	DefineCustomBoolVariable("pg_keep.reaper",
							 "Has the reaper work, where it has been started.",
							 NULL,
							 &keep_reaper_on,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("pg_keep.naptime",
							"Longest time between two visits of the reaper to a database.",
							NULL,
							&keep_reaper_naptime,
							10000, 100, 24 * 60 * 60 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("pg_keep.reaper_batch",
							"Most rows that one transaction of the reaper deletes.",
							"It takes fewer where a transaction would take long.",
							&keep_reaper_batch,
							1000, 1, 100000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("pg_keep.reaper_share",
							"Percentage of its time that a worker of the reaper spends working.",
							"The rest it sleeps, outside of any transaction.",
							&keep_reaper_share,
							25, 1, 100,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("pg_keep.max_workers",
							"Most workers of the reaper at once, each in a database of its own.",
							NULL,
							&keep_reaper_workers,
							2, 1, REAPER_MAX_WORKERS,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
}

static void
set_tag(LOCKTAG *tag, ReaperLock which)
{
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, LOCK_CLASS, which, 2);
}

/* Take a lock until it is given back or the process ends, if that needs no wait. */
bool
keep_reaper_lock(ReaperLock which, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_tag(&tag, which);
	return LockAcquire(&tag, mode, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
keep_reaper_unlock(ReaperLock which, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_tag(&tag, which);
	(void) LockRelease(&tag, mode, true);
}

/* Does another process hold it? */
bool
keep_reaper_locked(ReaperLock which)
{
	if (!keep_reaper_lock(which, ShareLock))
		return true;
	keep_reaper_unlock(which, ShareLock);
	return false;
}

/* Fill in what the reaper's processes have in common. */
void
keep_reaper_describe(BackgroundWorker *worker, const char *type, const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_name, type, BGW_MAXLEN);
	strlcpy(worker->bgw_type, type, BGW_MAXLEN);
	strlcpy(worker->bgw_library_name, KEEP_LIBRARY, sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
}

/*
 * Set what the reaper's processes go by, whatever the settings of the server
 * and of the database are.
 */
void
keep_reaper_configure(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"row_security", "on"},
		{"jit", "off"},
		{"lock_timeout", "1s"},
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
