/*
 * stats.c
 *		Counters of what has happened to each table.
 *
 * Each backend counts for itself, by subtransaction, and adds to the shared
 * counters when its transaction has committed: what is rolled back was never
 * counted.  The shared counters are in a hash table of fixed size.  Its lock
 * (keep_preload_lock()) is held shared to find a table and add to its counters,
 * which are atomic; exclusively to make or remove an entry and to change what
 * is not a counter.
 *
 * Only where the library is preloaded: elsewhere nothing is counted.
 */
#include "postgres.h"

#include "preload.h"
#include "stats.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* the same error of the same table is logged again after this */
#define LOG_AGAIN_USECS	(5 * USECS_PER_MINUTE)

typedef struct StatKey
{
	Oid			database;
	Oid			relid;
} StatKey;

/* A table, in shared memory. */
typedef struct StatEntry
{
	StatKey		key;			/* hash key; must be first */
	pg_atomic_uint64 counters[KEEP_NCOUNTERS];
	KeepStats	rest;			/* all but its counters */
	TimestampTz logged_at;		/* of rest.last_error */
} StatEntry;

/* What a transaction has done to a table, at one level of nesting. */
typedef struct Pending
{
	struct Pending *next;		/* of the same level, or of one further out */
	Oid			relid;
	int			level;
	int64		counts[KEEP_NCOUNTERS];
} Pending;

static HTAB *shared = NULL;		/* NULL: not preloaded */

/* in shared memory, under the same lock */
static struct
{
	TimestampTz started;		/* when counting began */
	bool		lost;			/* there was no room for a table, so it was not counted */
}		   *counting;
static Pending *pending = NULL; /* innermost level first; in TopTransactionContext */

static int	stat_tables = 1000; /* pg_keep.stat_tables */
static bool track_statistics = true;	/* pg_keep.track_statistics */

/* Does somebody count? */
bool
keep_stats_on(void)
{
	return shared != NULL;
}

/* Count n of something in the current subtransaction. */
void
keep_count(Oid relid, KeepCounter counter, int64 n)
{
	int			level;
	Pending    *it;

	if (shared == NULL || !track_statistics || n == 0)
		return;
	level = GetCurrentTransactionNestLevel();
	for (it = pending; it != NULL && it->level == level; it = it->next)
		if (it->relid == relid)
			break;
	if (it == NULL || it->level != level)
	{
		it = MemoryContextAllocZero(TopTransactionContext, sizeof(Pending));
		it->relid = relid;
		it->level = level;
		it->next = pending;
		pending = it;
	}
	it->counts[counter] += n;
}

/*
 * The entry of a table of this database, or NULL.  The caller holds the lock,
 * exclusively if it is to be made where there is none.  Raises no error.
 */
static StatEntry *
find_entry(Oid relid, bool make)
{
	StatKey		key = {MyDatabaseId, relid};
	StatEntry  *entry = hash_search(shared, &key, HASH_FIND, NULL);

	if (entry != NULL || !make)
		return entry;
	if (hash_get_num_entries(shared) < stat_tables)
		entry = hash_search(shared, &key, HASH_ENTER_NULL, NULL);
	if (entry == NULL)
	{
		counting->lost = true;
		return NULL;
	}
	for (int i = 0; i < KEEP_NCOUNTERS; i++)
		pg_atomic_init_u64(&entry->counters[i], 0);
	memset(&entry->rest, 0, sizeof(KeepStats));
	entry->rest.since = counting->lost ? GetCurrentTimestamp() : counting->started;
	entry->logged_at = 0;
	return entry;
}

/* Add to the shared counters of a table. */
static void
add_to_entry(const Pending *it)
{
	StatEntry  *entry;

	LWLockAcquire(keep_preload_lock(), LW_SHARED);
	entry = find_entry(it->relid, false);
	/* that there is no room, and that this is known, needs no exclusive lock */
	if (entry == NULL && !(counting->lost && hash_get_num_entries(shared) >= stat_tables))
	{
		LWLockRelease(keep_preload_lock());
		LWLockAcquire(keep_preload_lock(), LW_EXCLUSIVE);
		entry = find_entry(it->relid, true);
	}
	if (entry != NULL)
		for (int i = 0; i < KEEP_NCOUNTERS; i++)
			if (it->counts[i] != 0)
				pg_atomic_fetch_add_u64(&entry->counters[i], it->counts[i]);
	LWLockRelease(keep_preload_lock());
}

/* Transaction callback.  A prepared transaction may yet be rolled back. */
static void
end_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		for (Pending *it = pending; it != NULL; it = it->next)
			add_to_entry(it);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		pending = NULL;
}

/* Make what was counted at a level part of the level around it. */
static void
hand_out(int level)
{
	Pending    *outer = pending;
	Pending   **link = &pending;

	while (outer != NULL && outer->level >= level)
		outer = outer->next;
	while (*link != outer)
	{
		Pending    *it = *link;
		Pending    *same = outer;

		while (same != NULL && same->level == level - 1 && same->relid != it->relid)
			same = same->next;
		if (same == NULL || same->level != level - 1)
		{
			it->level = level - 1;
			link = &it->next;
			continue;
		}
		for (int i = 0; i < KEEP_NCOUNTERS; i++)
			same->counts[i] += it->counts[i];
		*link = it->next;
		pfree(it);
	}
}

/* Subtransaction callback. */
static void
end_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	int			level;

	if (pending == NULL)
		return;
	level = GetCurrentTransactionNestLevel();
	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (pending != NULL && pending->level >= level)
		{
			Pending    *it = pending;

			pending = it->next;
			pfree(it);
		}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		hand_out(level);
}

/* Make or find the shared memory. */
static void
start(void)
{
	HASHCTL		ctl = {.keysize = sizeof(StatKey), .entrysize = sizeof(StatEntry)};
	bool		found;

	shared = ShmemInitHash("pg_keep statistics", stat_tables, stat_tables, &ctl,
						   HASH_ELEM | HASH_BLOBS);
	counting = ShmemInitStruct("pg_keep counting", sizeof(*counting), &found);
	if (found)
		return;
	counting->started = GetCurrentTimestamp();
	counting->lost = false;
}

/* Define the GUCs and ask for memory; called once, from _PG_init(). */
void
keep_stats_init(void)
{
	DefineCustomBoolVariable("pg_keep.track_statistics",
							 "Counts what happens to tables of pg_keep.",
							 "Only where pg_keep is in shared_preload_libraries.",
							 &track_statistics,
							 true,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("pg_keep.stat_tables",
							"Number of tables that statistics have room for.",
							"Only where pg_keep is in shared_preload_libraries.",
							&stat_tables,
							1000, 1, 1000000,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER
							: PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	keep_preload_add(add_size(hash_estimate_size(stat_tables, sizeof(StatEntry)),
							  sizeof(*counting)), start);
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/*
 * Read what is known of a table of this database; false where nothing is, as
 * there may have been no room for it.
 */
bool
keep_stats_read(Oid relid, KeepStats *stats)
{
	StatEntry  *entry;
	bool		known;

	LWLockAcquire(keep_preload_lock(), LW_SHARED);
	entry = find_entry(relid, false);
	known = entry != NULL || !counting->lost;
	if (entry != NULL)
	{
		*stats = entry->rest;
		for (int i = 0; i < KEEP_NCOUNTERS; i++)
			stats->counters[i] = pg_atomic_read_u64(&entry->counters[i]);
	}
	else
	{
		memset(stats, 0, sizeof(KeepStats));
		stats->since = counting->started;
	}
	LWLockRelease(keep_preload_lock());
	return known;
}

/* Set the counters of a table of this database to zero. */
void
keep_stats_reset(Oid relid)
{
	StatEntry  *entry;

	LWLockAcquire(keep_preload_lock(), LW_EXCLUSIVE);
	entry = find_entry(relid, false);
	if (entry != NULL)
	{
		for (int i = 0; i < KEEP_NCOUNTERS; i++)
			pg_atomic_write_u64(&entry->counters[i], 0);
		memset(&entry->rest, 0, sizeof(KeepStats));
		entry->rest.since = GetCurrentTimestamp();
		entry->logged_at = 0;
	}
	LWLockRelease(keep_preload_lock());
}

/* The reaper has worked on a table of this database, and has left work or not. */
void
keep_stats_visited(Oid relid, int visits, int64 reaped, bool behind)
{
	StatEntry  *entry;

	if (shared == NULL)
		return;
	LWLockAcquire(keep_preload_lock(), LW_EXCLUSIVE);
	entry = find_entry(relid, true);
	if (entry != NULL)
	{
		pg_atomic_fetch_add_u64(&entry->counters[KEEP_VISITS], visits);
		pg_atomic_fetch_add_u64(&entry->counters[KEEP_REAPED], reaped);
		entry->rest.last_visit = GetCurrentTimestamp();
		entry->rest.behind = behind;
	}
	LWLockRelease(keep_preload_lock());
}

/*
 * The reaper has met an error at a table of this database.  Returns whether it
 * is to be logged: not where the same was, a moment ago.
 */
bool
keep_stats_failed(Oid relid, const char *error)
{
	TimestampTz now = GetCurrentTimestamp();
	StatEntry  *entry;
	bool		log = true;

	if (shared == NULL)
		return true;
	LWLockAcquire(keep_preload_lock(), LW_EXCLUSIVE);
	entry = find_entry(relid, true);
	if (entry != NULL)
	{
		char		text[sizeof(entry->rest.last_error)];

		strlcpy(text, error, pg_mbcliplen(error, strlen(error), sizeof(text) - 1) + 1);
		log = strcmp(text, entry->rest.last_error) != 0 ||
			now - entry->logged_at > LOG_AGAIN_USECS;
		if (log)
			entry->logged_at = now;
		strlcpy(entry->rest.last_error, text, sizeof(text));
		entry->rest.last_error_at = now;
		pg_atomic_fetch_add_u64(&entry->counters[KEEP_ERRORS], 1);
	}
	LWLockRelease(keep_preload_lock());
	return log;
}

/*
 * The OIDs of the tables of a database that there are entries for, or, with
 * InvalidOid, of the databases.
 */
List *
keep_stats_list(Oid database)
{
	HASH_SEQ_STATUS scan;
	StatEntry  *entry;
	List	   *oids = NIL;

	if (shared == NULL)
		return NIL;
	LWLockAcquire(keep_preload_lock(), LW_SHARED);
	hash_seq_init(&scan, shared);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!OidIsValid(database))
			oids = list_append_unique_oid(oids, entry->key.database);
		else if (entry->key.database == database)
			oids = lappend_oid(oids, entry->key.relid);
	}
	LWLockRelease(keep_preload_lock());
	return oids;
}

/* Make room: remove the entry of a table, or all of a database (InvalidOid). */
void
keep_stats_remove(Oid database, Oid relid)
{
	StatKey		key = {database, relid};
	HASH_SEQ_STATUS scan;
	StatEntry  *entry;

	LWLockAcquire(keep_preload_lock(), LW_EXCLUSIVE);
	if (OidIsValid(relid))
		(void) hash_search(shared, &key, HASH_REMOVE, NULL);
	else
	{
		hash_seq_init(&scan, shared);
		while ((entry = hash_seq_search(&scan)) != NULL)
			if (entry->key.database == database)
				(void) hash_search(shared, &entry->key, HASH_REMOVE, NULL);
	}
	LWLockRelease(keep_preload_lock());
}
