/*
 * transfer_call.c
 *		The SQL functions that move money once: a transfer and its reversal.
 */
#include "postgres.h"

#include "arg.h"
#include "error.h"
#include "result.h"
#include "transfer.h"

#include "executor/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keep_transfer);
PG_FUNCTION_INFO_V1(keep_reverse_transfer);

/* A required text of a single call. */
static text *
text_arg(FunctionCallInfo fcinfo, int argno, const char *name)
{
	keep_arg_require(fcinfo, argno, name);
	return PG_GETARG_TEXT_PP(argno);
}

/* Run a batch of one, and return its answer; a mismatch is an error. */
static Datum
run_single(TransferBatch *batch, FunctionCallInfo fcinfo)
{
	TransferItem *item = &batch->items[0];
	Datum		values[TRANSFER_RESULT_NCOLS];
	bool		nulls[TRANSFER_RESULT_NCOLS];
	Datum		result;

	transfer_batch_run(batch);
	if (item->stored != NULL &&
		(item->stored == &ledger_hidden || !transfer_same_request(item, item->stored)))
		transfer_mismatch_error(item->row.id, item->stored);
	(void) transfer_item_answer(&batch->work, item, values, nulls);
	result = keep_result_row(fcinfo, batch->work.caller, values, nulls);
	SPI_finish();
	return result;
}

/*
 * keep.transfer(ledger regclass, id text, from_account text, to_account text,
 *				 amount bigint, hold interval, metadata jsonb)
 *		returns keep.transfer_result
 *
 * Moves an amount, in minor units, from one account to another, or holds it
 * there for a time.  Once an id is stored, the same call again is a replay.
 * Raises KP422 where the id was used with other parameters, 22023 and 22003 for
 * what cannot be, 42809 for what is not a ledger.
 */
Datum
keep_transfer(PG_FUNCTION_ARGS)
{
	TransferBatch batch;
	TransferItem *item;

	ledger_begin(&batch.work, fcinfo, "keep.transfer()",
				 ACL_SELECT | ACL_UPDATE, ACL_SELECT | ACL_INSERT);
	transfer_batch_init(&batch, 1);
	item = &batch.items[0];
	item->row.id = text_arg(fcinfo, 1, "id");
	item->row.from = text_arg(fcinfo, 2, "from_account");
	item->row.to = text_arg(fcinfo, 3, "to_account");
	keep_arg_require(fcinfo, 4, "amount");
	item->row.amount = item->asked = PG_GETARG_INT64(4);
	if (!PG_ARGISNULL(5))
		item->row.hold = PG_GETARG_INTERVAL_P(5);
	if (!PG_ARGISNULL(6))
		item->row.metadata = PG_GETARG_DATUM(6);
	transfer_check_request(item);
	return run_single(&batch, fcinfo);
}

/*
 * keep.reverse_transfer(ledger regclass, id text, original_id text,
 *						 amount bigint, force boolean)
 *		returns keep.transfer_result
 *
 * The compensating transfer: gives back a posted one, in whole or in part,
 * under an id of its own.  NULL stands for what has not been given back yet.
 * It asks the payee's funds as any transfer; force passes over min_balance.
 * Raises KP404 where there is no original, 22023 where that is a reversal
 * itself, KP422 where the id was used for something else.
 */
Datum
keep_reverse_transfer(PG_FUNCTION_ARGS)
{
	TransferBatch batch;
	TransferItem *item;
	TransferRow *stored;
	text	   *original_id;

	ledger_begin(&batch.work, fcinfo, "keep.reverse_transfer()",
				 ACL_SELECT | ACL_UPDATE, ACL_SELECT | ACL_INSERT | ACL_UPDATE);
	transfer_batch_init(&batch, 1);
	item = &batch.items[0];
	item->row.id = text_arg(fcinfo, 1, "id");
	original_id = text_arg(fcinfo, 2, "original_id");
	keep_arg_require(fcinfo, 4, "force");
	item->asked = keep_arg_amount(fcinfo, 3, LEDGER_NULL);
	item->row.part = item->asked;
	item->row.force = PG_GETARG_BOOL(4);
	item->row.reverses = original_id;
	transfer_check_name(item->row.id, "transfer id");
	transfer_check_name(original_id, "transfer id");

	/* as the accounts are the original's, it must be looked up first */
	item->original = ledger_find_one(&batch.work, original_id);
	if (item->original == NULL)
	{
		stored = ledger_find_one(&batch.work, item->row.id);
		if (stored != NULL)
			transfer_mismatch_error(item->row.id, stored);
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_NOT_FOUND),
				 errmsg("transfer \"%s\" does not exist", text_to_cstring(original_id))));
	}
	if (item->original->reverses != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("transfer \"%s\" is itself a reversal", text_to_cstring(original_id)),
				 errhint("Make a new transfer instead.")));
	item->row.from = item->original->to;
	item->row.to = item->original->from;
	return run_single(&batch, fcinfo);
}
