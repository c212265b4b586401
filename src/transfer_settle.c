/*
 * transfer_settle.c
 *		The end of a hold: posted or voided.
 *
 * A pending transfer's status changes only under the locks of both its
 * accounts, so these are taken first and its row is read again under them.
 */
#include "postgres.h"

#include "arg.h"
#include "error.h"
#include "fault.h"
#include "ledger_work.h"
#include "result.h"
#include "transfer.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keep_post_transfer);
PG_FUNCTION_INFO_V1(keep_void_transfer);

/* A call that ends a hold. */
typedef struct Settlement
{
	LedgerWork	work;
	text	   *id;
	TransferStatus to;			/* TRANSFER_POSTED or TRANSFER_VOIDED */
	int64		asked;			/* amount to post; LEDGER_NULL: all that is held */
	TransferRow *row;			/* as found, then as it is now */
	bool		frozen;			/* an account was: nothing is done */
	bool		replayed;
	bool		applied;
	bool		released;		/* this call has ended the hold, in one way or another */
} Settlement;

/* The transfer as it is now; raises KP404 where it is not. */
static TransferRow *
find_transfer(LedgerWork *work, text *id)
{
	TransferRow *found = ledger_find_one(work, id);

	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_NOT_FOUND),
				 errmsg("transfer \"%s\" does not exist", text_to_cstring(id))));
	return found;
}

/* One side of a hold in the lock set; it must be there. */
static AccountRow *
held_row(LedgerWork *work, text *id, int16 shard)
{
	Account    *account = account_set_find(&work->accounts, id);
	AccountRow *row = account->found ? account_row(account, shard) : NULL;

	if (row == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("account \"%s\" of a hold is not there", text_to_cstring(id)),
				 errdetail("It was deleted, or a row-level security policy hides it.")));
	return row;
}

/* Take a hold out of the pending counters, and post a part of it. */
static void
release(LedgerWork *work, TransferRow *hold, int64 posted)
{
	AccountRow *from = held_row(work, hold->from, hold->from_shard);
	AccountRow *to = held_row(work, hold->to, hold->to_shard);

	LEDGER_CHECK(posted >= 0 && posted <= hold->held);
	from->now.debits_pending -= hold->held;
	to->now.credits_pending -= hold->held;
	from->now.debits_posted += posted;
	to->now.credits_posted += posted;
	from->now.version++;
	to->now.version++;
	from->dirty = to->dirty = true;
}

/* Note the balances and versions after the end of a hold. */
static void
note_result(Settlement *call)
{
	TransferRow *row = call->row;
	Account    *from = account_set_find(&call->work.accounts, row->from);
	Account    *to = account_set_find(&call->work.accounts, row->to);
	AccountRow *from_row = held_row(&call->work, row->from, row->from_shard);
	AccountRow *to_row = held_row(&call->work, row->to, row->to_shard);

	row->settled_from = from->shards > 1 ? LEDGER_NULL : account_balance_of(from_row);
	row->settled_to = to->shards > 1 ? LEDGER_NULL : account_balance_of(to_row);
	if (row->status == TRANSFER_POSTED && call->work.ledger.opt->history)
	{
		row->from_version = from_row->now.version;
		row->to_version = to_row->now.version;
	}
}

/* Write the end of a hold to its row. */
static void
write_end(Settlement *call)
{
	TransferRow *row = call->row;
	int64		numbers[] = {
		row->amount, row->part, 0, row->settled_from, row->settled_to, row->from_version,
		row->to_version
	};
	Datum		params[9];
	char		nulls[9];

	params[0] = PointerGetDatum(row->id);
	params[1] = CStringGetTextDatum(transfer_status_name(row->status));
	nulls[0] = nulls[1] = ' ';
	for (size_t i = 0; i < lengthof(numbers); i++)
	{
		params[i + 2] = Int64GetDatum(numbers[i]);
		nulls[i + 2] = numbers[i] == LEDGER_NULL ? 'n' : ' ';
	}
	params[4] = TimestampTzGetDatum(call->work.now);
	call->released = true;
	if (keep_run(call->work.ledger.transfers, TRANSFER_SETTLE, params, nulls, false) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("transfer \"%s\" was not updated", text_to_cstring(call->id)),
				 errdetail("A trigger or a row-level security policy suppressed it.")));
	KEEP_FAULT("transfer: hold ended");
}

/* Answer a call on a transfer that is no longer pending. */
static void
answer_ended(Settlement *call)
{
	TransferRow *row = call->row;
	bool		same;

	/* a hold that is over is released: nothing is left that a void would do */
	if (call->to == TRANSFER_VOIDED && row->status == TRANSFER_EXPIRED)
		call->replayed = true;
	if (call->to != row->status)
		return;
	/* one that was never held was posted by its own transfer, whole */
	same = row->hold != NULL ? call->asked == row->part
		: call->asked == LEDGER_NULL || call->asked == row->amount;
	if (call->to == TRANSFER_POSTED && !same)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_MISMATCH),
				 errmsg("transfer \"%s\" was posted with another amount before",
						text_to_cstring(call->id)),
				 row->hold != NULL && row->part == LEDGER_NULL ?
				 errdetail("It was posted without an amount, which came to " INT64_FORMAT ".",
						   row->amount) :
				 errdetail("It was posted with amount " INT64_FORMAT ".", row->amount)));
	call->replayed = true;
}

/* LedgerDecide of a post or a void. */
static bool
decide_end(LedgerWork *work, void *arg)
{
	Settlement *call = arg;
	TransferRow *row = call->row = find_transfer(work, call->id);

	call->released = false;
	if (row->status != TRANSFER_PENDING)
	{
		answer_ended(call);
		return true;
	}
	if (transfer_status_at(row, work->now) == TRANSFER_EXPIRED)
	{
		row->status = TRANSFER_EXPIRED;
		release(work, row, 0);
		ledger_work_write(work);
		write_end(call);
		answer_ended(call);
		return true;
	}
	if (call->to == TRANSFER_POSTED)
	{
		Account    *from = account_set_find(&work->accounts, row->from);
		Account    *to = account_set_find(&work->accounts, row->to);

		if (call->asked != LEDGER_NULL && call->asked > row->held)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("amount is more than what is held"),
					 errdetail("Transfer \"%s\" holds " INT64_FORMAT ".",
							   text_to_cstring(call->id), row->held)));
		call->frozen = (from->found && from->frozen) || (to->found && to->frozen);
		if (call->frozen)
			return true;
		row->part = call->asked;
		row->amount = call->asked == LEDGER_NULL ? row->held : call->asked;
	}
	row->status = call->to;
	release(work, row, call->to == TRANSFER_POSTED ? row->amount : 0);
	note_result(call);
	ledger_work_write(work);
	write_end(call);
	call->applied = true;
	return true;
}

/* End a hold, and answer with the transfer as it is then. */
static Datum
settle(FunctionCallInfo fcinfo, TransferStatus to, const char *function)
{
	Settlement	call = {0};
	TransferRow *row;
	Datum		values[TRANSFER_RESULT_NCOLS];
	bool		nulls[TRANSFER_RESULT_NCOLS];
	int64		from_balance = LEDGER_NULL;
	int64		to_balance = LEDGER_NULL;
	Datum		result;

	ledger_begin(&call.work, fcinfo, function, ACL_SELECT | ACL_UPDATE,
				 ACL_SELECT | ACL_UPDATE);
	keep_arg_require(fcinfo, 1, "id");
	call.id = PG_GETARG_TEXT_PP(1);
	transfer_check_name(call.id, "transfer id");
	call.to = to;
	call.asked = to == TRANSFER_POSTED ? keep_arg_amount(fcinfo, 2, LEDGER_NULL) : LEDGER_NULL;

	call.row = find_transfer(&call.work, call.id);
	if (call.row->status == TRANSFER_PENDING)
	{
		account_set_init(&call.work.accounts, 2);
		account_set_add(&call.work.accounts, call.row->from, call.row->from_shard);
		account_set_add(&call.work.accounts, call.row->to, call.row->to_shard);
		account_set_sort(&call.work.accounts);
		call.work.single = true;
		ledger_work_run(&call.work, decide_end, &call);
	}
	else
		answer_ended(&call);

	row = call.row;
	if (call.released)
		transfer_count(&call.work, row->status, 1);
	else if (call.replayed)
		transfer_count_replay(&call.work);
	if ((call.applied || call.replayed) && row->hold != NULL)
	{
		from_balance = row->settled_from;
		to_balance = row->settled_to;
	}
	else if (call.replayed)
	{
		from_balance = row->from_balance;
		to_balance = row->to_balance;
	}
	transfer_answer(row, row->status, call.frozen ? REASON_ACCOUNT_FROZEN : row->reason,
					from_balance, to_balance, call.replayed, values, nulls);
	result = keep_result_row(fcinfo, call.work.caller, values, nulls);
	SPI_finish();
	return result;
}

/*
 * keep.post_transfer(ledger regclass, id text, amount bigint)
 *		returns keep.transfer_result
 *
 * Posts what is held, or a part of it and releases the rest.  On a transfer
 * that is no longer pending it does nothing and says what it is.  Raises KP404
 * for an unknown id, KP422 where another amount was posted, 22023 for more than
 * is held.
 */
Datum
keep_post_transfer(PG_FUNCTION_ARGS)
{
	return settle(fcinfo, TRANSFER_POSTED, "keep.post_transfer()");
}

/*
 * keep.void_transfer(ledger regclass, id text) returns keep.transfer_result
 *
 * Releases what is held.  On a transfer that is no longer pending it does
 * nothing and says what it is.  Raises KP404 for an unknown id.
 */
Datum
keep_void_transfer(PG_FUNCTION_ARGS)
{
	return settle(fcinfo, TRANSFER_VOIDED, "keep.void_transfer()");
}
