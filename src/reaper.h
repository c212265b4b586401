/*
 * reaper.h
 *		What the reaper's processes share: settings, locks, how a visit went.
 */
#ifndef KEEP_REAPER_H
#define KEEP_REAPER_H

#include "postgres.h"

#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/lock.h"

#define KEEP_LIBRARY			"pg_keep"
#define REAPER_LAUNCHER_TYPE	"pg_keep reaper launcher"
#define REAPER_WORKER_TYPE		"pg_keep reaper"
#define REAPER_MAX_WORKERS		16

/* so many tables of a database are left out as workers did not survive them */
#define REAPER_MAX_AVOIDED		4

/* A visit to a database: what the launcher asks for, what the worker answers. */
typedef struct ReaperVisit
{
	Oid			database;
	Oid			first;			/* table to begin with; then, to go on with next time */
	Oid			avoid[REAPER_MAX_AVOIDED];	/* tables to leave out, or InvalidOid */
	/* from here on set by the worker */
	Oid			at;				/* table that it is working on */
	bool		too_long;		/* it had to end itself there */
	bool		done;			/* it came to its end */
	bool		behind;			/* with something left to do */
	int64		idle;			/* microseconds until there will be, else */
} ReaperVisit;

/* In dynamic shared memory, as nothing else is to be had without preloading. */
typedef struct ReaperShared
{
	ReaperVisit visits[REAPER_MAX_WORKERS];
} ReaperShared;

typedef enum ReaperLock
{
	REAPER_RUNS = 1,			/* held by the launcher as long as it lives */
	REAPER_STOPS,				/* held by whoever wants it to end */
	REAPER_STARTS				/* held by whoever is starting it */
} ReaperLock;

extern bool keep_reaper_on;
extern int	keep_reaper_naptime;
extern int	keep_reaper_batch;
extern int	keep_reaper_share;
extern int	keep_reaper_workers;

extern void keep_reaper_init(void);
extern bool keep_reaper_lock(ReaperLock which, LOCKMODE mode);
extern void keep_reaper_unlock(ReaperLock which, LOCKMODE mode);
extern bool keep_reaper_locked(ReaperLock which);
extern void keep_reaper_configure(void);
extern void keep_reaper_describe(BackgroundWorker *worker, const char *type,
								 const char *function);

PGDLLEXPORT void keep_reaper_launcher_main(Datum arg);
PGDLLEXPORT void keep_reaper_worker_main(Datum arg);

#endif							/* KEEP_REAPER_H */
