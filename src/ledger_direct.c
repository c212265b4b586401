/*
 * ledger_direct.c
 *		The path of a ledger's calls that reaches the tables directly.
 *
 * Most of what a batch costs in the executor is not the work on the tables but
 * what is around it.  Where a table is plain enough for that to make no other
 * difference (ledger_direct_can), rows are locked, inserted and updated by the
 * table access method itself.  Of what the executor does along the way, this
 * path does: indexes, unique checks, visibility.  All else is asked for first,
 * at each call: rights, row security, triggers, rules, constraints, partitions,
 * extra columns; and it is for READ COMMITTED alone, so that no conflict with a
 * snapshot need be told from others.
 *
 * Each attempt takes its own snapshots: one to find the accounts, and another
 * one after they are locked, without which a transfer that was committed while
 * we waited would not be found.
 */
#include "postgres.h"

#include "account_find.h"
#include "compat.h"
#include "fault.h"
#include "ledger_path.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* transfers are inserted in pieces of that many, at most */
#define CHUNK			256

/* What an attempt has open. */
typedef struct Direct
{
	AccountFinder finder;
	Relation	transfers;
	Relation	transfers_key;
	EState	   *estate;
	TupleTableSlot *slot;		/* for new versions of accounts */
	ResultRelInfo *accounts_rri;	/* NULL until indexes are needed */
	ResultRelInfo *transfers_rri;
} Direct;

/* Has the table these columns, no others, and nothing to do but store rows? */
static bool
is_plain(Relation rel, int natts)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		rel->rd_rel->relispartition || rel->rd_rel->relhassubclass ||
		rel->trigdesc != NULL || rel->rd_rules != NULL ||
		(desc->constr != NULL && (desc->constr->num_check > 0 ||
								  desc->constr->has_generated_stored ||
								  desc->constr->missing != NULL)) ||
		desc->natts != natts)
		return false;
	for (int i = 0; i < natts; i++)
		if (TupleDescAttr(desc, i)->attisdropped)
			return false;
	return true;
}

/* Are the columns in the order in which create_ledger() made them? */
static bool
in_order(Relation rel, const KeepColumn *columns)
{
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), i)->attname), columns[i].name) != 0)
			return false;
	return true;
}

/* Has the user these rights on the whole table, and no row security? */
static bool
is_open(Relation rel, AclMode rights)
{
	Oid			relid = RelationGetRelid(rel);

	return pg_class_aclmask(relid, GetUserId(), rights, ACLMASK_ALL) == rights &&
		(!rel->rd_rel->relrowsecurity ||
		 check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED);
}

/* Can the tables of this call be reached directly? */
bool
ledger_direct_can(LedgerWork *work)
{
	Relation	accounts;
	Relation	transfers;
	bool		can;

	if (IsolationUsesXactSnapshot())
		return false;
	accounts = table_open(work->ledger.accounts->relid, NoLock);
	transfers = table_open(work->ledger.transfers->relid, NoLock);
	can = is_plain(accounts, ACCOUNT_NCOLS) && is_plain(transfers, TRANSFER_NCOLS) &&
		in_order(accounts, ledger_account_columns) &&
		in_order(transfers, ledger_transfer_columns) &&
		is_open(accounts, ACL_SELECT | ACL_UPDATE) && is_open(transfers, ACL_SELECT | ACL_INSERT);
	if (can)
		CheckCmdReplicaIdentity(accounts, CMD_UPDATE);
	table_close(transfers, NoLock);
	table_close(accounts, NoLock);
	return can;
}

/*
 * LedgerPath.begin: a batch needs a subtransaction, since it may find that one
 * of its ids is taken when it has inserted others; so does an account in shards,
 * since one shard may not do, and one that is not there, since it may appear.
 */
static void
direct_begin(LedgerWork *work)
{
	AccountHints *hints = account_hints(work->ledger.accounts);
	AccountFinder finder;
	bool		open = false;

	work->subtransaction = !work->single;
	for (int i = 0; i < work->accounts.count && !work->subtransaction; i++)
	{
		Account    *account = work->accounts.sorted[i];
		const AccountHint *hint;
		AccountHint where;

		if (account->want != ACCOUNT_ANY_SHARD)
			continue;
		hint = account_hint(hints, account->id);
		if (hint == NULL)
		{
			if (!open)
				account_finder_open(&finder, work->ledger.accounts);
			open = true;
			hint = account_find_any(&finder, account->id, &where) ? &where : NULL;
		}
		work->subtransaction = hint == NULL || hint->shards > 1;
	}
	if (open)
		account_finder_close(&finder);
}

/* LedgerPath.lock */
static void
direct_lock(LedgerWork *work)
{
	AccountSet *set = &work->accounts;
	Direct	   *direct = work->path_state = palloc0(sizeof(Direct));
	AccountFinder *finder = &direct->finder;

	account_finder_open(finder, work->ledger.accounts);
	for (int i = 0; i < set->count; i++)
	{
		Account    *account = set->sorted[i];
		ItemPointerData root;

		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		/* names lie scattered in the arguments */
		if (i + 8 < set->count)
			keep_prefetch(set->sorted[i + 8]->id);
		if (account->want == ACCOUNT_ANY_SHARD)
		{
			AccountHint where;

			if (account_find_any(finder, account->id, &where) &&
				!account_lock_found(finder, set, account, where.shard))
				work->again = true;
			/* opened anew in shards since begin() looked */
			if (account->shards > 1 && account->found && !work->subtransaction)
				work->again = work->subtransaction_next = true;
			continue;
		}
		for (int shard = Max(account->want, 0);
			 shard < (account->want >= 0 ? account->want + 1 : LEDGER_MAX_SHARDS); shard++)
		{
			if (!account_find_shard(finder, account->id, shard, &root))
				break;
			if (!account_lock_found(finder, set, account, shard))
				work->again = true;
		}
	}

	/* what others committed while we waited must be seen from here on */
	UnregisterSnapshot(finder->snapshot);
	finder->snapshot = RegisterSnapshot(GetLatestSnapshot());
	direct->transfers = table_open(work->ledger.transfers->relid, NoLock);
	(void) RelationGetIndexList(direct->transfers);
	direct->transfers_key = index_open(direct->transfers->rd_pkindex, AccessShareLock);
	direct->estate = CreateExecutorState();
	direct->slot = MakeSingleTupleTableSlot(RelationGetDescr(finder->rel), &TTSOpsHeapTuple);
}

/* Take in a stored transfer from the slot. */
static TransferRow *
take_in(TupleTableSlot *slot)
{
	TransferRow *row = palloc(sizeof(TransferRow));

	slot_getallattrs(slot);
	transfer_from_values(row, slot->tts_values, slot->tts_isnull);
	ExecClearTuple(slot);
	return row;
}

/*
 * Look for the ids among what the index has between the first and the last of
 * them: little, where ids rise with time.  Returns false where it is much.
 */
static bool
find_by_range(Direct *direct, TupleTableSlot *slot, TransferRow **rows, TransferRow **found, int n)
{
	IndexScanDesc scan = keep_index_beginscan(direct->transfers, direct->transfers_key,
											  direct->finder.snapshot, 2);
	ScanKeyData keys[2];
	int			limit = n + 64;
	int			at = 0;
	bool		done = true;

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_TEXT_GE,
				PointerGetDatum(rows[0]->id));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_TEXT_LE,
				PointerGetDatum(rows[n - 1]->id));
	keys[0].sk_collation = keys[1].sk_collation = direct->transfers_key->rd_indcollation[0];
	scan->xs_want_itup = true;
	index_rescan(scan, keys, 2, NULL, 0);
	while (done && index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool		isnull;
		Datum		key = index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &isnull);
		text	   *id = DatumGetTextPP(key);

		while (at < n && keep_text_compare(rows[at]->id, id) < 0)
			at++;
		if (at < n && keep_text_equal(rows[at]->id, id) && index_fetch_heap(scan, slot))
			found[at] = take_in(slot);
		done = limit-- > 0;
	}
	index_endscan(scan);
	return done;
}

/* Look for each id by itself. */
static void
find_by_id(Direct *direct, TupleTableSlot *slot, TransferRow **rows, TransferRow **found, int n)
{
	IndexScanDesc scan = keep_index_beginscan(direct->transfers, direct->transfers_key,
											  direct->finder.snapshot, 1);

	for (int i = 0; i < n; i++)
	{
		ScanKeyData key;

		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(rows[i]->id));
		key.sk_collation = direct->transfers_key->rd_indcollation[0];
		index_rescan(scan, &key, 1, NULL, 0);
		found[i] = index_getnext_slot(scan, ForwardScanDirection, slot) ? take_in(slot) : NULL;
	}
	index_endscan(scan);
}

/* LedgerPath.find */
static void
direct_find(LedgerWork *work, TransferRow **rows, TransferRow **found, int n)
{
	Direct	   *direct = work->path_state;
	TupleTableSlot *slot = table_slot_create(direct->transfers, NULL);

	memset(found, 0, sizeof(TransferRow *) * n);
	if (n == 1 || !find_by_range(direct, slot, rows, found, n))
		find_by_id(direct, slot, rows, found, n);
	ExecDropSingleTupleTableSlot(slot);
}

/* Open a table's indexes for writing. */
static ResultRelInfo *
open_indexes(Relation rel, bool speculative)
{
	ResultRelInfo *rri = makeNode(ResultRelInfo);

	InitResultRelInfo(rri, rel, 0, NULL, 0);
	ExecOpenIndices(rri, speculative);
	return rri;
}

/*
 * Insert one row as ON CONFLICT DO NOTHING does: false where somebody else has
 * its id, after waiting for him if need be.  Without a subtransaction, an
 * error would be too late.
 */
static bool
insert_one(Direct *direct, TupleTableSlot *slot)
{
	List	   *arbiters = list_make1_oid(RelationGetRelid(direct->transfers_key));
	ItemPointerData conflict;
	uint32		token;
	bool		lost = false;

	ItemPointerSetInvalid(&slot->tts_tid);
	slot->tts_tableOid = RelationGetRelid(direct->transfers);
	if (!keep_check_index_constraints(direct->transfers_rri, slot, direct->estate, &conflict,
									  arbiters))
		return false;
	token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	table_tuple_insert_speculative(direct->transfers, slot, GetCurrentCommandId(true), 0, NULL,
								   token);
	KEEP_FAULT("direct: transfer inserted");
	(void) keep_insert_index_tuples(direct->transfers_rri, slot, direct->estate, false, &lost,
									arbiters, KEEP_INDEX_UPDATE_NONE);
	KEEP_FAULT("direct: transfer indexed");
	table_tuple_complete_speculative(direct->transfers, slot, token, !lost);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	return !lost;
}

/* LedgerPath.insert; in a subtransaction an id that is taken is an error (23505). */
static bool
direct_insert(LedgerWork *work, TransferRow **rows, int n)
{
	Direct	   *direct = work->path_state;
	int			nslots = Min(n, CHUNK);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nslots);
	CommandId	command = GetCurrentCommandId(true);
	bool		inserted = true;

	for (int i = 0; i < nslots; i++)
		slots[i] = table_slot_create(direct->transfers, NULL);
	direct->transfers_rri = open_indexes(direct->transfers, !work->subtransaction);
	for (int start = 0; start < n; start += nslots)
	{
		int			count = Min(nslots, n - start);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < count; i++)
		{
			ExecClearTuple(slots[i]);
			transfer_to_values(rows[start + i], slots[i]->tts_values, slots[i]->tts_isnull);
			ExecStoreVirtualTuple(slots[i]);
		}
		if (!work->subtransaction)
		{
			inserted = insert_one(direct, slots[0]);
			break;
		}
		table_multi_insert(direct->transfers, slots, count, command, 0, NULL);
		KEEP_FAULT("direct: batch inserted");
		for (int i = 0; i < count; i++)
		{
			list_free(keep_insert_index_tuples(direct->transfers_rri, slots[i], direct->estate,
											   false, (bool *) NULL, NIL,
											   KEEP_INDEX_UPDATE_NONE));
			KEEP_FAULT("direct: one of a batch indexed");
			ResetPerTupleExprContext(direct->estate);
		}
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	return inserted;
}

/*
 * Write the counters into a copy of the row as it was locked: they stand one
 * behind the other, after the columns that are never NULL.
 */
static void
patch_copy(const AccountRow *row)
{
	HeapTupleHeader header = row->tuple->t_data;
	char	   *data = (char *) header + header->t_hoff;
	Counters	counters = row->now;
	Size		at;

	at = VARSIZE_ANY(data);		/* id */
	at = SHORTALIGN(at) + 2 * sizeof(int16);	/* shard, shards */
	at = att_align_pointer(at, TYPALIGN_INT, -1, data + at);
	at += VARSIZE_ANY(data + at) + sizeof(bool);	/* unit, frozen */
	at = DOUBLEALIGN(at);
	counters.debits_pending += row->over_debits;
	counters.credits_pending += row->over_credits;
	LEDGER_CHECK(memcmp(data + at, &row->locked, 2 * sizeof(int64)) == 0);
	memcpy(data + at, &counters, sizeof(Counters));
}

/* Write the new version of a row that we have locked. */
static void
update_row(Direct *direct, Account *account, AccountRow *row, CommandId command)
{
	TupleTableSlot *slot = direct->slot;
	KeepIndexUpdate indexes = KEEP_INDEX_UPDATE_NONE;
	TM_FailureData failure;
	LockTupleMode lockmode;
	TM_Result	result;
	AccountHint where;

	ExecClearTuple(slot);
	if (row->tuple != NULL && account->shards == 1)
	{
		patch_copy(row);
		ExecStoreHeapTuple(row->tuple, slot, false);
	}
	else
	{
		account_to_values(account, row, slot->tts_values, slot->tts_isnull);
		ExecStoreVirtualTuple(slot);
	}
	result = table_tuple_update(direct->finder.rel, &row->tid, slot, command,
								direct->finder.snapshot, InvalidSnapshot, true, &failure,
								&lockmode, &indexes);
	if (result != TM_Ok)
		elog(ERROR, "unexpected result of updating a locked account: %d", result);
	KEEP_FAULT("direct: account updated");
	if (indexes == KEEP_INDEX_UPDATE_NONE)
		return;
	/* the row could not stay on its page: it has a new root */
	if (direct->accounts_rri == NULL)
		direct->accounts_rri = open_indexes(direct->finder.rel, false);
	list_free(keep_insert_index_tuples(direct->accounts_rri, slot, direct->estate, true,
									   (bool *) NULL, NIL, indexes));
	KEEP_FAULT("direct: account indexed");
	ResetPerTupleExprContext(direct->estate);
	where.root = slot->tts_tid;
	where.shards = account->shards;
	where.shard = row->shard;
	if (account->want == ACCOUNT_ANY_SHARD && indexes == KEEP_INDEX_UPDATE_ALL)
		account_remember(direct->finder.hints, account->id, &where);
}

/* A row that is to be written, and where it is. */
typedef struct Place
{
	uint64		tid;			/* block and offset, in order */
	Account    *account;
	AccountRow *row;
} Place;

#define ST_SORT sort_places
#define ST_ELEMENT_TYPE Place
#define ST_COMPARE(a, b) ((a)->tid < (b)->tid ? -1 : (a)->tid > (b)->tid)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The dirty rows of which we know the place; "others" says whether there are more. */
static Place *
find_places(const AccountSet *set, int *n, bool *others)
{
	Place	   *places;
	int			nrows = 0;

	for (int i = 0; i < set->count; i++)
		nrows += set->sorted[i]->nrows;
	places = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Place) * Max(nrows, 1));
	*n = 0;
	*others = false;
	for (int i = 0; i < set->count; i++)
		for (int r = 0; r < set->sorted[i]->nrows; r++)
		{
			AccountRow *row = &set->sorted[i]->rows[r];

			if (!row->dirty)
				continue;
			if (!ItemPointerIsValid(&row->tid))
			{
				*others = true;
				continue;
			}
			places[*n].tid = (uint64) ItemPointerGetBlockNumber(&row->tid) << 16 |
				ItemPointerGetOffsetNumber(&row->tid);
			places[*n].account = set->sorted[i];
			places[(*n)++].row = row;
		}
	return places;
}

/*
 * LedgerPath.write.  All rows are locked, so the order is free: page by page,
 * which the caches and the log like best.
 */
static void
direct_write(LedgerWork *work)
{
	Direct	   *direct = work->path_state;
	CommandId	command = GetCurrentCommandId(true);
	bool		others;
	int			n;
	Place	   *places = find_places(&work->accounts, &n, &others);

	sort_places(places, n);
	for (int i = 0; i < n; i++)
	{
		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		if (i + 8 < n)
			keep_prefetch(places[i + 8].row);
		if (i + 4 < n)
			keep_prefetch(places[i + 4].row->tuple);
		update_row(direct, places[i].account, places[i].row, command);
		places[i].row->dirty = false;
	}
	pfree(places);
	/* rows that were only locked because they were free, through SPI */
	if (others)
		ledger_spi_path.write(work);
}

/* LedgerPath.end */
static void
direct_end(LedgerWork *work)
{
	Direct	   *direct = work->path_state;

	if (direct->accounts_rri != NULL)
		ExecCloseIndices(direct->accounts_rri);
	if (direct->transfers_rri != NULL)
		ExecCloseIndices(direct->transfers_rri);
	FreeExecutorState(direct->estate);
	ExecDropSingleTupleTableSlot(direct->slot);
	index_close(direct->transfers_key, AccessShareLock);
	table_close(direct->transfers, NoLock);
	account_finder_close(&direct->finder);
}

const LedgerPath ledger_direct_path = {
	.begin = direct_begin,
	.lock = direct_lock,
	.find = direct_find,
	.insert = direct_insert,
	.write = direct_write,
	.end = direct_end,
};
