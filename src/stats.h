/*
 * stats.h
 *		Counters of what has happened to each table.
 */
#ifndef KEEP_STATS_H
#define KEEP_STATS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef enum KeepCounter
{
	/* stores */
	KEEP_HITS,
	KEEP_MISSES,
	KEEP_CREATES,
	KEEP_UPDATES,
	KEEP_DELETES,
	KEEP_CONDITION_FAILURES,
	KEEP_TOUCHES_WRITTEN,
	KEEP_TOUCHES_SKIPPED,
	KEEP_EXPIRED,				/* holds of ledgers, too */
	/* ledgers */
	KEEP_POSTED,
	KEEP_PENDING,
	KEEP_REJECTED,
	KEEP_VOIDED,
	KEEP_REPLAYED,
	KEEP_MISMATCHED,
	/* the reaper */
	KEEP_VISITS,
	KEEP_REAPED,
	KEEP_ERRORS,
	KEEP_NCOUNTERS
} KeepCounter;

/* What is known of a table; a copy. */
typedef struct KeepStats
{
	uint64		counters[KEEP_NCOUNTERS];
	TimestampTz since;			/* when they were zero */
	TimestampTz last_visit;		/* of the reaper; 0: none */
	bool		behind;			/* that visit ended with work left */
	TimestampTz last_error_at;	/* 0: none */
	char		last_error[256];
} KeepStats;

extern void keep_stats_init(void);
extern bool keep_stats_on(void);
extern void keep_count(Oid relid, KeepCounter counter, int64 n);
extern bool keep_stats_read(Oid relid, KeepStats *stats);
extern void keep_stats_reset(Oid relid);
extern void keep_stats_visited(Oid relid, int visits, int64 reaped, bool behind);
extern bool keep_stats_failed(Oid relid, const char *error);
extern List *keep_stats_list(Oid database);
extern void keep_stats_remove(Oid database, Oid relid);

#endif							/* KEEP_STATS_H */
