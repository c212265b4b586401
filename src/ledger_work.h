/*
 * ledger_work.h
 *		The course of a call on a ledger: lock, decide, write; again if need be.
 */
#ifndef KEEP_LEDGER_WORK_H
#define KEEP_LEDGER_WORK_H

#include "postgres.h"

#include "ledger_path.h"

/*
 * What a call does once its accounts are locked: reads, decides, and writes
 * transfers; the accounts are written after it.  Returns false to have it all
 * done again, with a larger set of accounts or after a rival's commit; it must
 * not have written anything then unless in a subtransaction.
 */
typedef bool (*LedgerDecide) (LedgerWork *work, void *arg);

extern void ledger_work_init(void);
extern void ledger_work_write(LedgerWork *work);
extern void ledger_work_run(LedgerWork *work, LedgerDecide decide, void *arg);

#endif							/* KEEP_LEDGER_WORK_H */
