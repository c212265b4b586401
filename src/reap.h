/*
 * reap.h
 *		What the reaper calls in each room: tidying up one table.
 *
 * Each is called in a transaction of its own, connected to SPI, as the table's
 * owner in a security-restricted operation, with the table locked as by a
 * statement that writes.  It does at most "batch" rows, and passes over rows
 * that others have locked.  Returns whether there was anything to do, and so may
 * be more.
 *
 * Where a batch of one row fails, a room that can is asked to put that row off.
 */
#ifndef KEEP_REAP_H
#define KEEP_REAP_H

#include "postgres.h"

#include "prune.h"

#include "datatype/timestamp.h"

typedef struct KeepReaping
{
	Oid			relid;
	int			batch;
	/* kept from batch to batch: where rows were deleted, and how far that has come */
	KeepPages  *pages;
	TimestampTz *from;			/* DT_NOBEGIN: begin at the first */
	int			ended;			/* set: how many rows were deleted, or the like */
	TimestampTz next;			/* set where there was nothing to do: when there will be */
} KeepReaping;

extern bool entry_reap(KeepReaping *work);
extern bool entry_put_off(Oid relid);
extern bool request_reap(KeepReaping *work);
extern bool request_put_off(Oid relid);
extern bool ledger_reap(KeepReaping *work);
extern bool saga_reap(KeepReaping *work);

#endif							/* KEEP_REAP_H */
