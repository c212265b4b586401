/*
 * ledger_hold.h
 *		Holds that are over: they count as nothing, released or not.
 */
#ifndef KEEP_LEDGER_HOLD_H
#define KEEP_LEDGER_HOLD_H

#include "postgres.h"

#include "ledger_path.h"

extern void ledger_look_at_holds(LedgerWork *work, Account *account);
extern void ledger_mark_expired(LedgerWork *work);

#endif							/* KEEP_LEDGER_HOLD_H */
