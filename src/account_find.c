/*
 * account_find.c
 *		Rows of accounts, found and locked without the executor.
 *
 * Most of the way to a row is down the index to its address.  As rows stay
 * where they are while there is room on their page (HOT), a backend remembers
 * where it found them.  The memory lives with the table's entry in plan.c, so
 * that a relcache invalidation ends it.
 */
#include "postgres.h"

#include "account_find.h"
#include "compat.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* hints kept by a backend for a ledger, at most */
#define MAX_HINTS		50000

struct AccountHints
{
	MemoryContext context;
	KeepTextMap *map;
	int			count;
};

/* What this backend knows of where a ledger's accounts are. */
AccountHints *
account_hints(KeepTable *table)
{
	AccountHints *hints = table->local;

	if (hints != NULL)
		return hints;
	hints = MemoryContextAllocZero(table->context, sizeof(AccountHints));
	hints->context = AllocSetContextCreate(table->context, "pg_keep hints",
										   ALLOCSET_DEFAULT_SIZES);
	hints->map = keep_textmap_create(hints->context, 256);
	table->local = hints;
	return hints;
}

/* Where the account is said to be, or NULL. */
AccountHint *
account_hint(AccountHints *hints, text *id)
{
	return keep_textmap_find(hints->map, id);
}

/* Forget all hints where there are too many; none may be in use. */
void
account_trim_hints(AccountHints *hints)
{
	if (hints->count < MAX_HINTS)
		return;
	MemoryContextReset(hints->context);
	hints->map = keep_textmap_create(hints->context, 256);
	hints->count = 0;
}

/* Remember where an account's row is: for this call only, where there are too many. */
static AccountHint *
add_hint(AccountHints *hints, text *id, ItemPointer root, int16 shards, int16 shard)
{
	AccountHint *hint = keep_textmap_find(hints->map, id);
	bool		found;

	if (hint == NULL && hints->count >= MAX_HINTS)
		hint = palloc(sizeof(AccountHint));
	else if (hint == NULL)
	{
		Size		size = VARSIZE_ANY(id);
		text	   *key = MemoryContextAlloc(hints->context, size);

		memcpy(key, id, size);
		hint = MemoryContextAlloc(hints->context, sizeof(AccountHint));
		*keep_textmap_insert(hints->map, key, &found) = hint;
		hints->count++;
	}
	hint->root = *root;
	hint->shards = shards;
	hint->shard = shard;
	return hint;
}

/* Open what it takes to find rows as they are now. */
void
account_finder_open(AccountFinder *finder, KeepTable *table)
{
	finder->rel = table_open(table->relid, NoLock);
	finder->hints = account_hints(table);
	finder->nblocks = RelationGetNumberOfBlocks(finder->rel);
	(void) RelationGetIndexList(finder->rel);
	finder->key = index_open(finder->rel->rd_pkindex, AccessShareLock);
	finder->snapshot = RegisterSnapshot(GetLatestSnapshot());
	finder->slot = table_slot_create(finder->rel, NULL);
	finder->fetch = table_index_fetch_begin(finder->rel);
	finder->scan = keep_index_beginscan(finder->rel, finder->key, finder->snapshot, 2);
}

void
account_finder_close(AccountFinder *finder)
{
	index_endscan(finder->scan);
	table_index_fetch_end(finder->fetch);
	ExecDropSingleTupleTableSlot(finder->slot);
	UnregisterSnapshot(finder->snapshot);
	index_close(finder->key, AccessShareLock);
	table_close(finder->rel, NoLock);
}

/* Is the row in the slot this one? */
static bool
is_row(AccountFinder *finder, text *id, int shard)
{
	bool		isnull;

	return keep_text_equal(DatumGetTextPP(slot_getattr(finder->slot, ACCOUNT_COL_ID + 1, &isnull)),
						   id) &&
		DatumGetInt16(slot_getattr(finder->slot, ACCOUNT_COL_SHARD + 1, &isnull)) == shard;
}

/* Find a visible row by its key; "root" is set to where the index says it is. */
bool
account_find_shard(AccountFinder *finder, text *id, int shard, ItemPointer root)
{
	ScanKeyData keys[2];
	ItemPointer tid;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(id));
	keys[0].sk_collation = finder->key->rd_indcollation[0];
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(shard));
	index_rescan(finder->scan, keys, 2, NULL, 0);
	while ((tid = index_getnext_tid(finder->scan, ForwardScanDirection)) != NULL)
	{
		*root = *tid;
		if (index_fetch_heap(finder->scan, finder->slot))
			return true;
	}
	return false;
}

/* Find a visible row where the hint says that it is. */
static bool
find_by_hint(AccountFinder *finder, const AccountHint *hint, text *id)
{
	ItemPointerData tid = hint->root;
	bool		again = false;

	return ItemPointerGetBlockNumber(&tid) < finder->nblocks &&
		table_index_fetch_tuple(finder->fetch, &tid, finder->snapshot, finder->slot,
								&again, NULL) &&
		is_row(finder, id, hint->shard);
}

/*
 * Find the row of an account that this backend books on, where any will do;
 * returns its hint, with the row in the slot, or NULL.
 */
AccountHint *
account_find_any(AccountFinder *finder, text *id)
{
	AccountHint *hint = keep_textmap_find(finder->hints->map, id);
	ItemPointerData root;
	int16		shards;
	int16		shard;
	bool		isnull;

	if (hint != NULL && find_by_hint(finder, hint, id))
		return hint;
	if (!account_find_shard(finder, id, 0, &root))
		return NULL;
	shards = DatumGetInt16(slot_getattr(finder->slot, ACCOUNT_COL_SHARDS + 1, &isnull));
	shard = MyProcNumber % Max(shards, 1);
	if (shard != 0 && !account_find_shard(finder, id, shard, &root))
		return NULL;
	return add_hint(finder->hints, id, &root, shards, shard);
}

/*
 * Lock the row in the slot, in its latest version, and take it in.  Returns
 * false where that is another account's by now: look again.
 */
bool
account_lock_found(AccountFinder *finder, AccountSet *set, Account *account, int shard)
{
	ItemPointerData tid = finder->slot->tts_tid;
	TM_FailureData failure;
	TM_Result	result;
	bool		same = true;

	ExecClearTuple(finder->slot);
	result = table_tuple_lock(finder->rel, &tid, finder->snapshot, finder->slot,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive, LockWaitBlock,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION |
							  TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS, &failure);
	switch (result)
	{
		case TM_Ok:
			same = is_row(finder, account->id, shard);
			if (!same)
				break;
			slot_getallattrs(finder->slot);
			account_from_values(set, account, finder->slot->tts_values, finder->slot->tts_isnull,
								&finder->slot->tts_tid);
			break;
		case TM_Deleted:
			break;
		case TM_SelfModified:
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("account \"%s\" was already changed by the current command",
							text_to_cstring(account->id))));
			break;
		default:
			elog(ERROR, "unexpected result of locking an account: %d", result);
	}
	ExecClearTuple(finder->slot);
	return same;
}
