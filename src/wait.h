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
	TimestampTz deadline;
	int64		pause;			/* microseconds until the next look */
} KeepWait;

extern void keep_wait_init(void);
extern void keep_wait_begin(KeepWait *wait, const Interval *limit, const char *function);
extern bool keep_wait_next(KeepWait *wait, int64 at_most);

#endif							/* KEEP_WAIT_H */
