/*
 * wait.h
 *		Waiting for what other transactions commit.
 */
#ifndef KEEP_WAIT_H
#define KEEP_WAIT_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct KeepWait
{
	int64		deadline;		/* in keep_clock_ticks() */
	int64		pause;			/* microseconds until the next look */
	int			slot;			/* where commits are told of; -1: not yet known */
} KeepWait;

/* microseconds: what is not told of is looked for so often */
#define KEEP_WAIT_PAUSE	100000

extern void keep_wait_init(void);
extern void keep_wait_begin(KeepWait *wait, const Interval *limit, const char *function);
extern void keep_wait_on(KeepWait *wait, Oid relid, Datum key);
extern bool keep_wait_next(KeepWait *wait, int64 at_most);
extern void keep_wait_end(KeepWait *wait);
extern void keep_wake(Oid relid, Datum key);

#endif							/* KEEP_WAIT_H */
