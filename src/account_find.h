/*
 * account_find.h
 *		Rows of accounts, found and locked without the executor.
 */
#ifndef KEEP_ACCOUNT_FIND_H
#define KEEP_ACCOUNT_FIND_H

#include "postgres.h"

#include "account.h"

#include "access/genam.h"
#include "access/tableam.h"

/*
 * Where this backend last found an account's row: the root of its HOT chain.
 * Only a hint: what is found there is looked at before it is believed, so that
 * it needs no more of the account's name than a hash value.
 */
typedef struct AccountHint
{
	uint64		hash;
	ItemPointerData root;
	int16		shards;
	int16		shard;
	char		status;			/* for the hash table */
} AccountHint;

typedef struct AccountHints AccountHints;

/* What an attempt has open to find accounts. */
typedef struct AccountFinder
{
	Relation	rel;
	Relation	key;
	AccountHints *hints;
	BlockNumber nblocks;		/* VACUUM may have cut off what hints lead to */
	Snapshot	snapshot;
	IndexScanDesc scan;			/* by (id, shard) */
	IndexFetchTableData *fetch; /* by hint */
	TupleTableSlot *slot;
} AccountFinder;

extern AccountHints *account_hints(KeepTable *table);
extern const AccountHint *account_hint(AccountHints *hints, const text *id);
extern void account_remember(AccountHints *hints, const text *id, const AccountHint *where);
extern void account_finder_open(AccountFinder *finder, KeepTable *table);
extern void account_finder_close(AccountFinder *finder);
extern bool account_find_any(AccountFinder *finder, text *id, AccountHint *where);
extern bool account_find_shard(AccountFinder *finder, text *id, int shard, ItemPointer root);
extern bool account_lock_found(AccountFinder *finder, AccountSet *set, Account *account,
							   int shard);

#endif							/* KEEP_ACCOUNT_FIND_H */
