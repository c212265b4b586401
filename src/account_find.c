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
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* hints kept by a backend for a ledger, at most */
#define MAX_HINTS		100000

/* a call with more accounts keeps no copies of their rows */
#define MAX_COPIES		20000

#define SH_PREFIX hintmap
#define SH_ELEMENT_TYPE AccountHint
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(tb, key) ((uint32) (key))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct AccountHints
{
	MemoryContext context;
	hintmap_hash *map;
};

static inline uint64
hash_id(const text *id)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), 0);
}

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
	hints->map = hintmap_create(hints->context, 256, NULL);
	table->local = hints;
	return hints;
}

/* Where the account is said to be, or NULL; until the next one is remembered. */
const AccountHint *
account_hint(AccountHints *hints, const text *id)
{
	return hintmap_lookup(hints->map, hash_id(id));
}

/* Remember where an account's row is, while there is room. */
void
account_remember(AccountHints *hints, const text *id, const AccountHint *where)
{
	AccountHint *hint;
	uint64		hash = hash_id(id);
	bool		found;

	if (hints->map->members >= MAX_HINTS)
	{
		MemoryContext full = hints->context;

		hints->context = AllocSetContextCreate(MemoryContextGetParent(full), "pg_keep hints",
											   ALLOCSET_DEFAULT_SIZES);
		hints->map = hintmap_create(hints->context, 256, NULL);
		MemoryContextDelete(full);
	}
	hint = hintmap_insert(hints->map, hash, &found);
	hint->root = where->root;
	hint->shards = where->shards;
	hint->shard = where->shard;
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
	Datum		value = slot_getattr(finder->slot, ACCOUNT_COL_ID + 1, &isnull);

	return !isnull && keep_text_equal(DatumGetTextPP(value), id) &&
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
 * returns false, or true with the row in the slot, and says where it is.
 */
bool
account_find_any(AccountFinder *finder, text *id, AccountHint *where)
{
	const AccountHint *hint = account_hint(finder->hints, id);
	bool		isnull;

	if (hint != NULL && find_by_hint(finder, hint, id))
	{
		*where = *hint;
		return true;
	}
	if (!account_find_shard(finder, id, 0, &where->root))
		return false;
	where->shards = DatumGetInt16(slot_getattr(finder->slot, ACCOUNT_COL_SHARDS + 1, &isnull));
	where->shard = MyProcNumber % Max(where->shards, 1);
	if (where->shard != 0 && !account_find_shard(finder, id, where->shard, &where->root))
		return false;
	account_remember(finder->hints, id, where);
	return true;
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
			if (set->count <= MAX_COPIES)
				account->rows[account->nrows - 1].tuple = ExecCopySlotHeapTuple(finder->slot);
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
