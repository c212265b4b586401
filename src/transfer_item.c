/*
 * transfer_item.c
 *		One transfer of a batch: what it asks for, and the answer to it.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "error.h"
#include "stats.h"
#include "transfer_item.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/* A batch of items, all of them empty, in the current memory context. */
void
transfer_batch_init(TransferBatch *batch, int nitems)
{
	batch->nitems = nitems;
	batch->items = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(TransferItem) * nitems);
	batch->by_id = palloc(sizeof(TransferItem *) * nitems);
	batch->chains = NULL;
	batch->nchains = 0;
	for (int i = 0; i < nitems; i++)
	{
		TransferItem *item = &batch->items[i];

		memset(item, 0, sizeof(TransferItem));
		transfer_row_init(&item->row);
		item->number = i;
		item->chain = item->previous = -1;
		batch->by_id[i] = item;
	}
	account_set_init(&batch->work.accounts, 2 * nitems);
}

/* Refuse (22023) an id, an account or a chain that is empty or too long. */
void
transfer_check_name(const text *name, const char *what)
{
	Size		length = VARSIZE_ANY_EXHDR(name);

	if (length >= 1 && length <= LEDGER_MAX_NAME)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 length == 0 ? errmsg("%s must not be empty", what) : errmsg("%s is too long", what),
			 length == 0 ? 0 : errdetail("It has %zu bytes, the limit is %d.", length,
										 LEDGER_MAX_NAME)));
}

/*
 * Check what an item asks for, as far as that does not depend on the state:
 * 22023 for an empty or too long name, for one account on both sides, for an
 * amount that is not above zero, and for a hold that is not.
 */
void
transfer_check_request(const TransferItem *item)
{
	const TransferRow *row = &item->row;

	transfer_check_name(row->id, "transfer id");
	transfer_check_name(row->from, "account");
	transfer_check_name(row->to, "account");
	if (row->chain != NULL)
		transfer_check_name(row->chain, "chain");
	if (keep_text_compare(row->from, row->to) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("transfer from account \"%s\" to itself", text_to_cstring(row->from))));
	if (item->asked <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("amount must be above zero"),
				 errdetail("It is " INT64_FORMAT ".", item->asked)));
	if (row->hold != NULL)
		keep_clock_check_span(row->hold, "hold", false);
}

/* Did whoever stored this row ask for the same as this item does? */
bool
transfer_same_request(const TransferItem *item, const TransferRow *stored)
{
	const TransferRow *row = &item->row;

	if (row->reverses != NULL)
		return keep_text_same(row->reverses, stored->reverses) && item->asked == stored->part &&
			row->force == stored->force;
	return stored->reverses == NULL &&
		keep_text_same(row->from, stored->from) && keep_text_same(row->to, stored->to) &&
		item->asked == (stored->held != LEDGER_NULL ? stored->held : stored->amount) &&
		transfer_same_hold(row->hold, stored->hold);
}

/* Do two items of a batch with one id ask for the same? */
bool
transfer_same_items(const TransferItem *a, const TransferItem *b)
{
	return keep_text_same(a->row.from, b->row.from) && keep_text_same(a->row.to, b->row.to) &&
		a->asked == b->asked && transfer_same_hold(a->row.hold, b->row.hold);
}

/* Raise KP422: the id stands for another transfer.  Of a hidden one nothing is said. */
void
transfer_mismatch_error(const text *id, const TransferRow *stored)
{
	const char *detail = NULL;

	if (stored != &ledger_hidden && stored->reverses != NULL)
		detail = psprintf("It is the reversal of \"%s\", %s%s.",
						  text_to_cstring(stored->reverses),
						  stored->part == LEDGER_NULL ? "of what remained"
						  : psprintf("amount " INT64_FORMAT, stored->part),
						  stored->force ? ", forced" : "");
	else if (stored != &ledger_hidden)
		detail = psprintf("It is from \"%s\" to \"%s\", amount " INT64_FORMAT ", %s%s.",
						  text_to_cstring(stored->from), text_to_cstring(stored->to),
						  stored->held != LEDGER_NULL ? stored->held : stored->amount,
						  stored->hold ? "held for " : "without a hold",
						  stored->hold ?
						  DatumGetCString(DirectFunctionCall1(interval_out,
															  IntervalPGetDatum(stored->hold)))
						  : "");
	ereport(ERROR,
			(errcode(ERRCODE_KEEP_MISMATCH),
			 errmsg("transfer \"%s\" was requested with other parameters before",
					text_to_cstring(id)),
			 detail ? errdetail_internal("%s", detail) : 0,
			 errhint("A new transfer needs a new id.")));
}

/* Count transfers that have come to a status, or items that are none. */
void
transfer_count(const LedgerWork *work, TransferStatus status, int64 n)
{
	static const KeepCounter counters[] = {
		[TRANSFER_POSTED] = KEEP_POSTED,
		[TRANSFER_PENDING] = KEEP_PENDING,
		[TRANSFER_REJECTED] = KEEP_REJECTED,
		[TRANSFER_VOIDED] = KEEP_VOIDED,
		[TRANSFER_EXPIRED] = KEEP_EXPIRED,
		[TRANSFER_MISMATCH] = KEEP_MISMATCHED,
	};

	keep_count(work->ledger.accounts->relid, counters[status], n);
}

/* Count a call that was answered by what was there. */
void
transfer_count_replay(const LedgerWork *work)
{
	keep_count(work->ledger.accounts->relid, KEEP_REPLAYED, 1);
}

/*
 * The answer to an item, once the batch has run, which counts it.  Returns whether it is an
 * exception: anything but newly posted or held.
 */
bool
transfer_item_answer(const LedgerWork *work, const TransferItem *item, Datum *values,
					 bool *nulls)
{
	const TransferRow *row = &item->row;
	bool		same = true;
	TransferRow mismatch;

	if (item->stored != NULL)
	{
		row = item->stored;
		same = row != &ledger_hidden && transfer_same_request(item, row);
	}
	else if (item->first != NULL)
	{
		row = &item->first->row;
		same = transfer_same_items(item, item->first);
	}
	if (!same)
	{
		transfer_count(work, TRANSFER_MISMATCH, 1);
		transfer_row_init(&mismatch);
		mismatch.id = item->row.id;
		mismatch.amount = item->asked;
		transfer_answer(&mismatch, TRANSFER_MISMATCH, REASON_NONE, LEDGER_NULL, LEDGER_NULL,
						false, values, nulls);
		return true;
	}
	if (transfer_is_new(item))
		transfer_count(work, row->status, 1);
	else
		transfer_count_replay(work);
	transfer_answer(row, transfer_status_at(row, work->now), row->reason, row->from_balance,
					row->to_balance, !transfer_is_new(item), values, nulls);
	return !transfer_is_new(item) || row->status == TRANSFER_REJECTED;
}
