/*
 * ledger.h
 *		Ledgers: a table of accounts, which is the handle, and one of transfers.
 */
#ifndef KEEP_LEDGER_H
#define KEEP_LEDGER_H

#include "postgres.h"

#include "ledger_sql.h"
#include "pair.h"
#include "shape.h"

#define LEDGER_MAX_NAME	1024	/* bytes of an id, an account or a chain */

/* Options of either table, as parsed. */
typedef struct LedgerOptions
{
	KeepTie		tie;			/* must be first */
	bool		history;		/* are there indexes and versions for statements? */
} LedgerOptions;

/* A ledger that a call works on; both tables are locked. */
typedef struct Ledger
{
	KeepTable  *accounts;
	KeepTable  *transfers;
	const LedgerOptions *opt;
} Ledger;

extern const KeepColumn ledger_account_columns[ACCOUNT_NCOLS];
extern const KeepColumn ledger_transfer_columns[TRANSFER_NCOLS];

extern const KeepKind keep_ledger_kind;
extern const KeepKind keep_transfers_kind;

extern void ledger_open(Ledger *ledger, Oid relid, LOCKMODE lockmode);
extern bool ledger_push_newer_snapshot(const Ledger *ledger);
extern void ledger_require(const Ledger *ledger, AclMode accounts, AclMode transfers);

#endif							/* KEEP_LEDGER_H */
