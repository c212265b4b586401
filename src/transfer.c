/*
 * transfer.c
 *		The engine: decides a batch of transfers; a single one is a batch of one.
 *
 * With the accounts locked, and what is stored under the ids looked up, the
 * items are gone through in input order, in memory: each is a replay, or a
 * mismatch, or rejected for a reason, or booked on its two accounts, so that
 * what comes in by one may go out by the next.  Then the new transfers are
 * stored and each account is written once.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "error.h"
#include "fault.h"
#include "ledger_hold.h"
#include "ledger_work.h"
#include "transfer.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/*
 * A batch is gone through again where a chain that failed was mixed with other
 * items: until it has been gone through this often, or that many items have.
 */
#define MAX_PASSES		16
#define MAX_PASSED		4000000

static int
compare_items(const void *a, const void *b)
{
	const TransferItem *left = *(TransferItem *const *) a;
	const TransferItem *right = *(TransferItem *const *) b;
	int			order = keep_text_compare(left->row.id, right->row.id);

	return order != 0 ? order : left->number - right->number;
}

/* Sort the items by id, and find those whose id is there before in the batch. */
static void
sort_items(TransferBatch *batch)
{
	bool		sorted = true;

	for (int i = 1; i < batch->nitems && sorted; i++)
		sorted = compare_items(&batch->by_id[i - 1], &batch->by_id[i]) < 0;
	if (!sorted)
		qsort(batch->by_id, batch->nitems, sizeof(TransferItem *), compare_items);
	for (int i = 1; i < batch->nitems; i++)
	{
		TransferItem *item = batch->by_id[i];
		TransferItem *before = batch->by_id[i - 1];

		if (keep_text_compare(item->row.id, before->row.id) == 0)
			item->first = before->first ? before->first : before;
	}
}

/*
 * May the account pay (or take) the amount?  If its limits say no, first look
 * at its holds that are over; and where only a part of it is locked, no answer
 * is had before all of it is.
 */
static bool
within_limits(LedgerWork *work, Account *account, AccountRow *row, int64 amount,
			  bool (*check) (const Account *account, const AccountRow *row, int64 amount))
{
	if (check(account, row, amount))
		return true;
	if (!account->looked)
	{
		ledger_look_at_holds(work, account);
		if (check(account, row, amount))
			return true;
	}
	if (account->shards > 1 && account->want != ACCOUNT_ALL_SHARDS)
	{
		account->short_of = work->tentative = true;
		return true;
	}
	return false;
}

/*
 * Refuse (22003) an amount that would take a sum past bigint; holds that are
 * over count in none.  Among tentative items there may be some that will not
 * stay: the item is only passed over then.
 */
static TransferReason
check_sums(LedgerWork *work, TransferItem *item, int64 amount)
{
	for (int side = 0; side < 2; side++)
	{
		Account    *account = side == 0 ? item->from : item->to;
		AccountRow *row = side == 0 ? item->from_row : item->to_row;
		bool		(*check) (const Account *account, const AccountRow *row, int64 amount) =
			side == 0 ? account_can_debit : account_can_credit;

		if (check(account, row, amount))
			continue;
		if (!account->looked)
			ledger_look_at_holds(work, account);
		if (check(account, row, amount))
			continue;
		if (work->tentative)
			return REASON_LIMIT_EXCEEDED;
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s of account \"%s\" would be out of range for bigint",
						side == 0 ? "debits" : "credits", text_to_cstring(account->id)),
				 account->shards > 1 ?
				 errdetail("Each of the account's %d shards has that part of the range.",
						   account->shards) : 0));
	}
	return REASON_NONE;
}

/*
 * Why an item must be rejected, or REASON_NONE.  The order is that of the
 * documentation: what the request is about first, the money last.
 */
static TransferReason
check_item(LedgerWork *work, TransferItem *item)
{
	Account    *from = item->from;
	Account    *to = item->to;
	int64		amount = item->asked;

	if (item->original != NULL)
	{
		int64		remaining = item->original->amount - item->original->reversed;

		if (transfer_status_at(item->original, work->now) != TRANSFER_POSTED)
			return REASON_NOT_POSTED;
		if (amount == LEDGER_NULL)
			amount = remaining;
		if (amount > remaining || remaining == 0)
			return REASON_EXCEEDS_REMAINING;
		item->row.amount = amount;
	}
	if (!from->found || !to->found)
		return REASON_ACCOUNT_NOT_FOUND;
	if (!account_same_unit(from, to))
		return REASON_UNIT_MISMATCH;
	if (from->frozen || to->frozen)
		return REASON_ACCOUNT_FROZEN;
	/* where it is forced, a shard alone cannot say what that leaves to the others */
	if (!within_limits(work, from, item->from_row, amount, account_can_pay) && !item->row.force)
		return REASON_INSUFFICIENT_FUNDS;
	if (!within_limits(work, to, item->to_row, amount, account_can_take))
		return REASON_LIMIT_EXCEEDED;
	return check_sums(work, item, amount);
}

/* The balances of an item's accounts as they stand; of one in shards there is none. */
static void
note_balances(TransferItem *item)
{
	item->row.from_balance = item->row.to_balance = LEDGER_NULL;
	if (item->from->found && item->from->shards == 1)
		item->row.from_balance = account_balance_of(item->from_row);
	if (item->to->found && item->to->shards == 1)
		item->row.to_balance = account_balance_of(item->to_row);
}

/* Add an item's amount to the counters, or (sign -1) take it back. */
static void
book(const LedgerWork *work, TransferItem *item, int sign)
{
	Counters   *from = &item->from_row->now;
	Counters   *to = &item->to_row->now;
	int64		amount = sign * item->row.amount;

	LEDGER_CHECK(item->row.amount > 0);
	if (item->row.hold != NULL)
	{
		from->debits_pending += amount;
		to->credits_pending += amount;
	}
	else
	{
		from->debits_posted += amount;
		to->credits_posted += amount;
	}
	from->version += sign;
	to->version += sign;
	item->from_row->dirty = item->to_row->dirty = true;
	item->applied = sign > 0;
}

/* An item that nothing stands against: book it. */
static void
apply_item(const LedgerWork *work, TransferItem *item)
{
	TransferRow *row = &item->row;

	book(work, item, 1);
	note_balances(item);
	row->from_shard = item->from_row->shard;
	row->to_shard = item->to_row->shard;
	if (row->hold != NULL)
	{
		row->status = TRANSFER_PENDING;
		row->held = item->asked;
		row->expires = keep_clock_after(work->now, row->hold);
		return;
	}
	row->status = TRANSFER_POSTED;
	if (work->ledger.opt->history)
	{
		row->from_version = item->from_row->now.version;
		row->to_version = item->to_row->now.version;
	}
}

/* An item is rejected; it keeps what was asked. */
static void
reject_item(TransferItem *item, TransferReason reason)
{
	TransferRow *row = &item->row;

	row->status = TRANSFER_REJECTED;
	row->reason = reason;
	row->amount = item->asked;
	row->from_shard = row->to_shard = 0;
	row->held = row->from_version = row->to_version = LEDGER_NULL;
	row->expires = NO_TIME;
	note_balances(item);
}

/*
 * Decide one item; returns whether it (or what it is a replay of) succeeded.
 * A mismatch has not.
 */
static bool
decide_item(LedgerWork *work, TransferItem *item)
{
	TransferReason reason;

	if (item->stored != NULL)
		return item->stored != &ledger_hidden && transfer_same_request(item, item->stored) &&
			item->stored->status != TRANSFER_REJECTED;
	if (item->first != NULL)
		return transfer_same_items(item, item->first) &&
			item->first->row.status != TRANSFER_REJECTED;

	reason = check_item(work, item);
	if (reason == REASON_NONE)
		apply_item(work, item);
	else
		reject_item(item, reason);
	return reason == REASON_NONE;
}

/*
 * A chain has failed with this item: take back what its earlier ones have
 * booked.  Returns false where other items have been decided in between, which
 * may have relied on it.
 */
static bool
fail_chain(TransferBatch *batch, TransferChain *chain, TransferItem *culprit)
{
	bool		alone = culprit->number - chain->first + 1 == chain->passed;

	chain->failed = true;
	chain->gone = !alone;
	culprit->culprit = true;
	for (int i = culprit->previous; i >= 0; i = batch->items[i].previous)
		if (batch->items[i].applied)
			book(&batch->work, &batch->items[i], -1);
	for (int i = culprit->previous; i >= 0; i = batch->items[i].previous)
		if (transfer_is_new(&batch->items[i]))
			reject_item(&batch->items[i], REASON_CHAIN_FAILED);
	if (transfer_is_new(culprit))
		note_balances(culprit);
	return alone;
}

/* Put the counters back to what was locked, for another pass. */
static void
restore(TransferBatch *batch)
{
	AccountSet *set = &batch->work.accounts;

	for (int i = 0; i < set->count; i++)
		for (int r = 0; r < set->sorted[i]->nrows; r++)
			set->sorted[i]->rows[r].now = set->sorted[i]->rows[r].locked;
	for (int i = 0; i < batch->nchains; i++)
	{
		batch->chains[i].failed = batch->chains[i].gone;
		batch->chains[i].last = -1;
		batch->chains[i].passed = 0;
	}
	for (int i = 0; i < batch->nitems; i++)
	{
		TransferItem *item = &batch->items[i];

		item->culprit = item->culprit && batch->chains[item->chain].gone;
		item->applied = false;
		item->previous = -1;
		item->row.amount = item->asked;
		if (!item->culprit)
			item->row.reason = REASON_NONE;
	}
}

/*
 * Go through all items once.  Returns false as soon as a chain fails among whose
 * items others stand: these must be decided again without it.
 */
static bool
pass(TransferBatch *batch)
{
	for (int i = 0; i < batch->nitems; i++)
	{
		TransferItem *item = &batch->items[i];
		TransferChain *chain = item->chain >= 0 ? &batch->chains[item->chain] : NULL;

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (chain == NULL)
		{
			(void) decide_item(&batch->work, item);
			continue;
		}
		if (chain->failed)
		{
			if (transfer_is_new(item))
				reject_item(item, item->culprit ? item->row.reason : REASON_CHAIN_FAILED);
			continue;
		}
		item->previous = chain->last;
		chain->last = i;
		chain->passed++;
		if (!decide_item(&batch->work, item) && !fail_chain(batch, chain, item))
			return false;
	}
	return true;
}

/* Decide all items, in input order, as if chains that fail had not been there. */
static void
decide_items(TransferBatch *batch)
{
	for (int i = 0; i < batch->nchains; i++)
		batch->chains[i].gone = false;
	for (int i = 0; i < batch->nitems; i++)
		batch->items[i].culprit = false;
	for (int passes = 0; passes < Max(MAX_PASSES, MAX_PASSED / batch->nitems); passes++)
	{
		restore(batch);
		if (pass(batch) || batch->work.tentative)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("chains of the batch depend on each other too deeply"),
			 errhint("Put the items of a chain next to each other.")));
}

/* What the batch does to its accounts must come to nothing over all of them. */
static void
check_balance(TransferBatch *batch)
{
	AccountSet *set = &batch->work.accounts;
	uint64		posted = 0;		/* modulo 2^64: only equality matters */
	uint64		pending = 0;

	for (int i = 0; i < set->count; i++)
		for (int r = 0; r < set->sorted[i]->nrows; r++)
		{
			const Counters *now = &set->sorted[i]->rows[r].now;
			const Counters *locked = &set->sorted[i]->rows[r].locked;

			posted += (uint64) (now->debits_posted - locked->debits_posted) -
				(uint64) (now->credits_posted - locked->credits_posted);
			pending += (uint64) (now->debits_pending - locked->debits_pending) -
				(uint64) (now->credits_pending - locked->credits_pending);
		}
	LEDGER_CHECK(posted == 0 && pending == 0);
}

/*
 * Which accounts in shards must be locked whole?  Returns whether there are any,
 * and has them wanted so.
 */
static bool
want_more(LedgerWork *work)
{
	bool		more = false;

	for (int i = 0; i < work->accounts.count; i++)
	{
		Account    *account = work->accounts.sorted[i];

		if (!account->short_of)
			continue;
		account->want = ACCOUNT_ALL_SHARDS;
		more = true;
	}
	LEDGER_CHECK(!more || work->subtransaction);
	return more;
}

/* Note which rows the items work on, now that the accounts are locked. */
static void
bind_rows(TransferBatch *batch)
{
	for (int i = 0; i < batch->nitems; i++)
	{
		TransferItem *item = &batch->items[i];
		int			pick = MyProcNumber;

		item->from_row = item->from->nrows == 1 ? item->from->rows
			: account_row(item->from, pick % Max(item->from->shards, 1));
		item->to_row = item->to->nrows == 1 ? item->to->rows
			: account_row(item->to, pick % Max(item->to->shards, 1));
		LEDGER_CHECK((item->from_row != NULL || !item->from->found) &&
					 (item->to_row != NULL || !item->to->found));
	}
}

/* The original of a reversal as it is under lock. */
static void
lock_original(LedgerWork *work, TransferItem *item)
{
	Datum		param = PointerGetDatum(item->row.reverses);
	Datum		values[TRANSFER_NCOLS];
	bool		nulls[TRANSFER_NCOLS];

	if (keep_run(work->ledger.transfers, TRANSFER_LOCK, &param, NULL, false) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_NOT_FOUND),
				 errmsg("transfer \"%s\" does not exist", text_to_cstring(item->row.reverses))));
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	transfer_from_values(item->original, values, nulls);
	SPI_freetuptable(SPI_tuptable);
}

/* Count a posted reversal on its original. */
static void
count_reversal(LedgerWork *work, TransferItem *item)
{
	Datum		params[2] = {
		PointerGetDatum(item->row.reverses), Int64GetDatum(item->row.amount)
	};

	if (keep_run(work->ledger.transfers, TRANSFER_REVERSED, params, NULL, false) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("transfer \"%s\" was not updated",
						text_to_cstring(item->row.reverses)),
				 errdetail("A trigger or a row-level security policy suppressed it.")));
	KEEP_FAULT("transfer: reversal counted");
}

/* Find what is stored under the items' ids. */
static void
find_stored(TransferBatch *batch, TransferRow **rows, TransferRow **found)
{
	int			n = 0;

	for (int i = 0; i < batch->nitems; i++)
		if (batch->by_id[i]->first == NULL)
			rows[n++] = &batch->by_id[i]->row;
	batch->work.path->find(&batch->work, rows, found, n);
	n = 0;
	for (int i = 0; i < batch->nitems; i++)
	{
		TransferItem *item = batch->by_id[i];

		item->stored = item->first == NULL ? found[n++] : item->first->stored;
	}
}

/* LedgerDecide of a batch. */
static bool
decide_batch(LedgerWork *work, void *arg)
{
	TransferBatch *batch = arg;
	TransferRow **rows = palloc(sizeof(TransferRow *) * batch->nitems);
	TransferRow **found = palloc(sizeof(TransferRow *) * batch->nitems);
	TransferItem *only = &batch->items[0];
	int			n = 0;
	bool		done = true;

	work->tentative = false;
	find_stored(batch, rows, found);
	if (only->original != NULL && transfer_is_new(only))
		lock_original(work, only);
	bind_rows(batch);
	decide_items(batch);
	if (want_more(work))
		return false;
	check_balance(batch);

	for (int i = 0; i < batch->nitems; i++)
	{
		TransferItem *item = batch->by_id[i];

		if (!transfer_is_new(item))
			continue;
		item->row.created = work->now;
		rows[n++] = &item->row;
	}
	/* without a subtransaction nothing may be written before the id is in */
	if (work->subtransaction)
		ledger_work_write(work);
	if (n > 0)
		done = work->path->insert(work, rows, n);
	KEEP_FAULT("transfer: stored");
	if (done && !work->written)
		ledger_work_write(work);
	if (done && only->original != NULL && only->applied)
		count_reversal(work, only);
	pfree(rows);
	pfree(found);
	return done;
}

/*
 * Run a batch whose items are filled in: ids, accounts, amounts, holds.  Raises
 * 22003 where a sum would pass bigint, and nothing for what depends on the state.
 */
void
transfer_batch_run(TransferBatch *batch)
{
	AccountSet *set = &batch->work.accounts;
	AccountStub **stubs = MemoryContextAllocHuge(CurrentMemoryContext,
												 sizeof(AccountStub *) * 2 * batch->nitems);

	for (int i = 0; i < batch->nitems; i++)
	{
		stubs[2 * i] = account_set_add(set, batch->items[i].row.from, ACCOUNT_ANY_SHARD);
		stubs[2 * i + 1] = account_set_add(set, batch->items[i].row.to, ACCOUNT_ANY_SHARD);
	}
	account_set_sort(set);
	for (int i = 0; i < batch->nitems; i++)
	{
		batch->items[i].from = stubs[2 * i]->account;
		batch->items[i].to = stubs[2 * i + 1]->account;
	}
	pfree(stubs);
	batch->work.single = batch->nitems == 1;
	sort_items(batch);
	ledger_work_run(&batch->work, decide_batch, batch);
}
