/*
 * preload.c
 *		Shared memory, where the server loads the library at its start.
 *
 * Rooms that share something between backends ask for it while the library is
 * loaded by shared_preload_libraries; elsewhere they are not started, and do
 * without.
 */
#include "postgres.h"

#include "preload.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#define MAX_AREAS	4
#define LOCK_TRANCHE "pg_keep"

static struct
{
	Size		size;
	void		(*startup) (void);
}			areas[MAX_AREAS];
static int	nareas = 0;

static shmem_request_hook_type prev_request_hook = NULL;
static shmem_startup_hook_type prev_startup_hook = NULL;

/* shmem_request_hook: memory for all areas, and one lock. */
static void
request_areas(void)
{
	if (prev_request_hook)
		prev_request_hook();
	for (int i = 0; i < nareas; i++)
		RequestAddinShmemSpace(areas[i].size);
	RequestNamedLWLockTranche(LOCK_TRANCHE, 1);
}

/* shmem_startup_hook: set the areas up, or find them. */
static void
start_areas(void)
{
	if (prev_startup_hook)
		prev_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nareas; i++)
		areas[i].startup();
	LWLockRelease(AddinShmemInitLock);
}

/* Called once, from _PG_init(), before rooms add what they need. */
void
keep_preload_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	prev_request_hook = shmem_request_hook;
	shmem_request_hook = request_areas;
	prev_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_areas;
}

/*
 * Ask for shared memory.  "startup" makes or finds it (ShmemInitStruct() or
 * ShmemInitHash()) under AddinShmemInitLock; it is never called where the
 * library is not preloaded.
 */
void
keep_preload_add(Size size, void (*startup) (void))
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	if (nareas >= MAX_AREAS)
		elog(ERROR, "too many areas of shared memory");
	areas[nareas].size = size;
	areas[nareas++].startup = startup;
}

/* The lock that comes with the areas. */
LWLock *
keep_preload_lock(void)
{
	return &GetNamedLWLockTranche(LOCK_TRANCHE)->lock;
}

/* Raise (55000): "what" is only to be had where the library is preloaded. */
void
keep_preload_missing(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s need pg_keep to be loaded at server start", what),
			 errhint("Add pg_keep to shared_preload_libraries and restart the server.")));
}
