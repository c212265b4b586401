/*
 * reap.h
 *		What the reaper calls in each room: tidying up one table.
 *
 * Each is called in a transaction of its own, connected to SPI, as the table's
 * owner in a security-restricted operation, with the table locked as by a
 * statement that writes.  It does at most "batch" rows, passes over rows that
 * others have locked, and adds what it has ended to *ended.  Returns whether
 * there was anything to do, and so may be more.
 */
#ifndef KEEP_REAP_H
#define KEEP_REAP_H

#include "postgres.h"

extern bool entry_reap(Oid relid, int batch, int64 *ended);
extern bool request_reap(Oid relid, int batch, int64 *ended);
extern bool ledger_reap(Oid relid, int batch, int64 *ended);
extern bool saga_reap(Oid relid, int batch, int64 *ended);

#endif							/* KEEP_REAP_H */
