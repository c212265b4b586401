/*
 * transfer_row.c
 *		A transfer as the table of transfers has it, and as an answer.
 */
#include "postgres.h"

#include "compat.h"
#include "transfer_row.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

static const char *const status_names[] = {
	[TRANSFER_POSTED] = "posted",
	[TRANSFER_PENDING] = "pending",
	[TRANSFER_REJECTED] = "rejected",
	[TRANSFER_VOIDED] = "voided",
	[TRANSFER_EXPIRED] = "expired",
	[TRANSFER_MISMATCH] = "mismatch"
};

static const char *const reason_names[] = {
	[REASON_NONE] = NULL,
	[REASON_NOT_POSTED] = "not_posted",
	[REASON_EXCEEDS_REMAINING] = "exceeds_remaining",
	[REASON_ACCOUNT_NOT_FOUND] = "account_not_found",
	[REASON_UNIT_MISMATCH] = "unit_mismatch",
	[REASON_ACCOUNT_FROZEN] = "account_frozen",
	[REASON_INSUFFICIENT_FUNDS] = "insufficient_funds",
	[REASON_LIMIT_EXCEEDED] = "limit_exceeded",
	[REASON_CHAIN_FAILED] = "chain_failed"
};

/* The names as texts, made once a backend: they are in every row and answer. */
static text *status_texts[lengthof(status_names)];
static text *reason_texts[lengthof(reason_names)];

static void
make_texts(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	for (size_t i = 0; i < lengthof(status_names); i++)
		status_texts[i] = cstring_to_text(status_names[i]);
	for (size_t i = 1; i < lengthof(reason_names); i++)
		reason_texts[i] = cstring_to_text(reason_names[i]);
	MemoryContextSwitchTo(old);
}

const char *
transfer_status_name(TransferStatus status)
{
	return status_names[status];
}

/* The place of a stored name in a list; one that is not there was not written by us. */
static int
place_of(Datum value, const char *const *names, int nnames)
{
	text	   *name = DatumGetTextPP(value);

	for (int i = 0; i < nnames; i++)
		if (names[i] != NULL && strlen(names[i]) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(names[i], VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("unexpected status or reason of a transfer: \"%s\"", text_to_cstring(name))));
}

/* A row of which nothing is known. */
void
transfer_row_init(TransferRow *row)
{
	if (unlikely(status_texts[0] == NULL))
		make_texts();
	memset(row, 0, sizeof(TransferRow));
	row->amount = row->from_balance = row->to_balance = row->held = row->part = LEDGER_NULL;
	row->settled_from = row->settled_to = LEDGER_NULL;
	row->from_version = row->to_version = LEDGER_NULL;
}

static text *
text_or_null(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : DatumGetTextPCopy(values[column]);
}

/* A row as TRANSFER_FIND returns it; all in it is palloc'd. */
void
transfer_from_values(TransferRow *row, const Datum *values, const bool *nulls)
{
	keep_refuse_null(nulls[TRANSFER_COL_ID] || nulls[TRANSFER_COL_STATUS] ||
					 nulls[TRANSFER_COL_FROM] || nulls[TRANSFER_COL_TO]);
	row->id = text_or_null(values, nulls, TRANSFER_COL_ID);
	row->status = place_of(values[TRANSFER_COL_STATUS], status_names, TRANSFER_MISMATCH);
	row->reason = nulls[TRANSFER_COL_REASON] ? REASON_NONE :
		place_of(values[TRANSFER_COL_REASON], reason_names, lengthof(reason_names));
	row->from = text_or_null(values, nulls, TRANSFER_COL_FROM);
	row->to = text_or_null(values, nulls, TRANSFER_COL_TO);
	row->from_shard = DatumGetInt16(values[TRANSFER_COL_FROM_SHARD]);
	row->to_shard = DatumGetInt16(values[TRANSFER_COL_TO_SHARD]);
	row->amount = ledger_get_int8(values, nulls, TRANSFER_COL_AMOUNT);
	row->from_balance = ledger_get_int8(values, nulls, TRANSFER_COL_FROM_BALANCE);
	row->to_balance = ledger_get_int8(values, nulls, TRANSFER_COL_TO_BALANCE);
	row->created = DatumGetTimestampTz(values[TRANSFER_COL_CREATED]);
	row->expires = nulls[TRANSFER_COL_EXPIRES] ? NO_TIME
		: DatumGetTimestampTz(values[TRANSFER_COL_EXPIRES]);
	row->hold = NULL;
	if (!nulls[TRANSFER_COL_HOLD])
	{
		row->hold = palloc(sizeof(Interval));
		*row->hold = *DatumGetIntervalP(values[TRANSFER_COL_HOLD]);
	}
	row->held = ledger_get_int8(values, nulls, TRANSFER_COL_HELD);
	row->part = ledger_get_int8(values, nulls, TRANSFER_COL_PART);
	row->reverses = text_or_null(values, nulls, TRANSFER_COL_REVERSES);
	row->force = !nulls[TRANSFER_COL_FORCE] && DatumGetBool(values[TRANSFER_COL_FORCE]);
	row->reversed = nulls[TRANSFER_COL_REVERSED] ? 0 : DatumGetInt64(values[TRANSFER_COL_REVERSED]);
	row->settled_from = ledger_get_int8(values, nulls, TRANSFER_COL_SETTLED_FROM);
	row->settled_to = ledger_get_int8(values, nulls, TRANSFER_COL_SETTLED_TO);
	row->from_version = ledger_get_int8(values, nulls, TRANSFER_COL_FROM_VERSION);
	row->to_version = ledger_get_int8(values, nulls, TRANSFER_COL_TO_VERSION);
	row->chain = NULL;
	row->metadata = 0;
}

static void
set_pointer(Datum *values, bool *nulls, int column, const void *value)
{
	values[column] = PointerGetDatum(value);
	nulls[column] = value == NULL;
}

/* The columns of a new transfer; they point into it. */
void
transfer_to_values(const TransferRow *row, Datum *values, bool *nulls)
{
	memset(nulls, true, sizeof(bool) * TRANSFER_NCOLS);
	set_pointer(values, nulls, TRANSFER_COL_ID, row->id);
	set_pointer(values, nulls, TRANSFER_COL_STATUS, status_texts[row->status]);
	set_pointer(values, nulls, TRANSFER_COL_REASON, reason_texts[row->reason]);
	set_pointer(values, nulls, TRANSFER_COL_FROM, row->from);
	set_pointer(values, nulls, TRANSFER_COL_TO, row->to);
	values[TRANSFER_COL_FROM_SHARD] = Int16GetDatum(row->from_shard);
	values[TRANSFER_COL_TO_SHARD] = Int16GetDatum(row->to_shard);
	nulls[TRANSFER_COL_FROM_SHARD] = nulls[TRANSFER_COL_TO_SHARD] = false;
	ledger_set_int8(values, nulls, TRANSFER_COL_AMOUNT, row->amount);
	ledger_set_int8(values, nulls, TRANSFER_COL_FROM_BALANCE, row->from_balance);
	ledger_set_int8(values, nulls, TRANSFER_COL_TO_BALANCE, row->to_balance);
	values[TRANSFER_COL_CREATED] = TimestampTzGetDatum(row->created);
	nulls[TRANSFER_COL_CREATED] = false;
	values[TRANSFER_COL_EXPIRES] = TimestampTzGetDatum(row->expires);
	nulls[TRANSFER_COL_EXPIRES] = row->expires == NO_TIME;
	set_pointer(values, nulls, TRANSFER_COL_HOLD, row->hold);
	ledger_set_int8(values, nulls, TRANSFER_COL_HELD, row->held);
	ledger_set_int8(values, nulls, TRANSFER_COL_PART, row->part);
	set_pointer(values, nulls, TRANSFER_COL_REVERSES, row->reverses);
	values[TRANSFER_COL_FORCE] = BoolGetDatum(row->force);
	nulls[TRANSFER_COL_FORCE] = row->reverses == NULL;
	ledger_set_int8(values, nulls, TRANSFER_COL_FROM_VERSION, row->from_version);
	ledger_set_int8(values, nulls, TRANSFER_COL_TO_VERSION, row->to_version);
	set_pointer(values, nulls, TRANSFER_COL_CHAIN, row->chain);
	set_pointer(values, nulls, TRANSFER_COL_METADATA, DatumGetPointer(row->metadata));
}

/* A transfer's status at that time: a hold that is over has expired, released or not. */
TransferStatus
transfer_status_at(const TransferRow *row, TimestampTz now)
{
	if (row->status == TRANSFER_PENDING && row->expires <= now)
		return TRANSFER_EXPIRED;
	return row->status;
}

/* Are these holds equal, as SQL compares intervals?  NULL stands for no hold. */
bool
transfer_same_hold(const Interval *a, const Interval *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return DatumGetBool(DirectFunctionCall2(interval_eq, IntervalPGetDatum(a),
											IntervalPGetDatum(b)));
}

/* Fill in a keep.transfer_result; its texts point into the row. */
void
transfer_answer(const TransferRow *row, TransferStatus status, TransferReason reason,
				int64 from_balance, int64 to_balance, bool replayed, Datum *values, bool *nulls)
{
	memset(nulls, false, TRANSFER_RESULT_NCOLS * sizeof(bool));
	values[0] = PointerGetDatum(row->id);
	if (unlikely(status_texts[0] == NULL))
		make_texts();
	values[1] = PointerGetDatum(status_texts[status]);
	nulls[2] = reason == REASON_NONE;
	values[2] = PointerGetDatum(reason_texts[reason]);
	nulls[3] = row->amount == LEDGER_NULL;
	values[3] = Int64GetDatum(row->amount);
	nulls[4] = from_balance == LEDGER_NULL;
	values[4] = Int64GetDatum(from_balance);
	nulls[5] = to_balance == LEDGER_NULL;
	values[5] = Int64GetDatum(to_balance);
	nulls[6] = row->expires == NO_TIME;
	values[6] = TimestampTzGetDatum(row->expires);
	values[7] = BoolGetDatum(replayed);
	nulls[8] = row->created == NO_TIME;
	values[8] = TimestampTzGetDatum(row->created);
}
