/*
 * ledger_spi.c
 *		The path of a ledger's calls that goes through SPI.
 *
 * It works on every table that the executor can work on, at every isolation
 * level, and is what the direct path is measured and tested against.
 */
#include "postgres.h"

#include "compat.h"
#include "ledger_path.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

/* An array of n elements; "nulls" may be NULL. */
static Datum
make_array(Datum *elems, bool *nulls, int n, Oid type)
{
	int			lower = 1;
	int16		length;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &length, &byval, &align);
	return PointerGetDatum(construct_md_array(elems, nulls, 1, &n, &lower, type, length, byval,
											  align));
}

/* An array of texts. */
Datum
ledger_texts(List *texts)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(texts), 1));
	ListCell   *cell;
	int			n = 0;

	foreach(cell, texts)
		elems[n++] = PointerGetDatum(lfirst(cell));
	return make_array(elems, NULL, n, TEXTOID);
}

/* The columns of a row that a statement returned. */
static void
row_values(uint64 row, Datum *values, bool *nulls)
{
	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
}

/* LedgerPath.begin: a rival's id may come to light only after others have been inserted */
static void
spi_begin(LedgerWork *work)
{
	work->subtransaction = true;
}

/* LedgerPath.lock */
static void
spi_lock(LedgerWork *work)
{
	AccountSet *set = &work->accounts;
	Datum	   *ids = palloc(sizeof(Datum) * set->count);
	Datum	   *wants = palloc(sizeof(Datum) * set->count);
	Datum		params[3];
	uint64		nrows;
	int			at = 0;

	for (int i = 0; i < set->count; i++)
	{
		ids[i] = PointerGetDatum(set->sorted[i]->id);
		wants[i] = Int32GetDatum(set->sorted[i]->want);
	}
	params[0] = make_array(ids, NULL, set->count, TEXTOID);
	params[1] = make_array(wants, NULL, set->count, INT4OID);
	params[2] = Int32GetDatum(MyProcNumber);
	nrows = keep_run(work->ledger.accounts, ACCOUNT_LOCK, params, NULL, false);

	for (uint64 i = 0; i < nrows; i++)
	{
		Datum		values[ACCOUNT_NCOLS];
		bool		nulls[ACCOUNT_NCOLS];
		text	   *id;

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		row_values(i, values, nulls);
		id = DatumGetTextPP(values[ACCOUNT_COL_ID]);
		while (at < set->count && keep_text_compare(set->sorted[at]->id, id) < 0)
			at++;
		LEDGER_CHECK(at < set->count && keep_text_compare(set->sorted[at]->id, id) == 0);
		account_from_values(set, set->sorted[at], values, nulls, NULL);
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Lock one row if nobody else has it locked, and take it in as the account's
 * only one.  Leaves the account not found where it cannot be had.
 */
void
ledger_spi_lock_free(LedgerWork *work, Account *account, int16 shard)
{
	Datum		params[2] = {PointerGetDatum(account->id), Int32GetDatum(shard)};

	if (keep_run(work->ledger.accounts, ACCOUNT_LOCK_FREE, params, NULL, false) == 1)
	{
		Datum		values[ACCOUNT_NCOLS];
		bool		nulls[ACCOUNT_NCOLS];

		row_values(0, values, nulls);
		account_from_values(&work->accounts, account, values, nulls, NULL);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The place of an id among rows in ascending order, or -1. */
static int
place_of(TransferRow **rows, int n, const text *id)
{
	int			low = 0;
	int			high = n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			order = keep_text_compare(rows[middle]->id, id);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* LedgerPath.find */
static void
spi_find(LedgerWork *work, TransferRow **rows, TransferRow **found, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * n);
	Datum		param;
	uint64		nrows;
	ListCell   *cell;

	for (int i = 0; i < n; i++)
	{
		ids[i] = PointerGetDatum(rows[i]->id);
		found[i] = NULL;
	}
	param = make_array(ids, NULL, n, TEXTOID);
	nrows = keep_run(work->ledger.transfers, TRANSFER_FIND, &param, NULL, false);
	for (uint64 i = 0; i < nrows; i++)
	{
		Datum		values[TRANSFER_NCOLS];
		bool		nulls[TRANSFER_NCOLS];
		TransferRow *row = palloc(sizeof(TransferRow));
		int			place;

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		row_values(i, values, nulls);
		transfer_from_values(row, values, nulls);
		place = place_of(rows, n, row->id);
		LEDGER_CHECK(place >= 0);
		found[place] = row;
	}
	SPI_freetuptable(SPI_tuptable);

	/* one that could not be inserted and cannot be seen either */
	foreach(cell, work->refused)
	{
		int			place = place_of(rows, n, lfirst(cell));

		if (place < 0 || found[place] != NULL)
			continue;
		if (check_enable_rls(work->ledger.transfers->relid, InvalidOid, true) != RLS_ENABLED)
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
					 errmsg("transfer \"%s\" was not stored", text_to_cstring(lfirst(cell))),
					 errdetail("A trigger on \"%s\" suppressed it.",
							   get_rel_name(work->ledger.transfers->relid))));
		found[place] = &ledger_hidden;
	}
}

/* The n arrays that TRANSFER_INSERT takes are filled element by element. */
typedef struct InsertArrays
{
	Datum	   *elems[INSERT_NPARAMS];
	bool	   *nulls[INSERT_NPARAMS];
} InsertArrays;

static void
set_elem(InsertArrays *arrays, int column, int i, Datum value, bool isnull)
{
	arrays->elems[column][i] = value;
	arrays->nulls[column][i] = isnull;
}

static void
set_int8(InsertArrays *arrays, int column, int i, int64 value)
{
	set_elem(arrays, column, i, Int64GetDatum(value), value == LEDGER_NULL);
}

static void
set_text(InsertArrays *arrays, int column, int i, const text *value)
{
	set_elem(arrays, column, i, PointerGetDatum(value), value == NULL);
}

static void
set_row(InsertArrays *arrays, int i, const TransferRow *row)
{
	const char *reason = transfer_reason_name(row->reason);

	set_text(arrays, INSERT_ID, i, row->id);
	set_text(arrays, INSERT_STATUS, i, cstring_to_text(transfer_status_name(row->status)));
	set_text(arrays, INSERT_REASON, i, reason ? cstring_to_text(reason) : NULL);
	set_text(arrays, INSERT_FROM, i, row->from);
	set_text(arrays, INSERT_TO, i, row->to);
	set_elem(arrays, INSERT_FROM_SHARD, i, Int16GetDatum(row->from_shard), false);
	set_elem(arrays, INSERT_TO_SHARD, i, Int16GetDatum(row->to_shard), false);
	set_int8(arrays, INSERT_AMOUNT, i, row->amount);
	set_int8(arrays, INSERT_FROM_BALANCE, i, row->from_balance);
	set_int8(arrays, INSERT_TO_BALANCE, i, row->to_balance);
	set_elem(arrays, INSERT_EXPIRES, i, TimestampTzGetDatum(row->expires),
			 row->expires == NO_TIME);
	set_elem(arrays, INSERT_HOLD, i, PointerGetDatum(row->hold), row->hold == NULL);
	set_int8(arrays, INSERT_HELD, i, row->held);
	set_int8(arrays, INSERT_PART, i, row->part);
	set_text(arrays, INSERT_REVERSES, i, row->reverses);
	set_elem(arrays, INSERT_FORCE, i, BoolGetDatum(row->force), row->reverses == NULL);
	set_int8(arrays, INSERT_FROM_VERSION, i, row->from_version);
	set_int8(arrays, INSERT_TO_VERSION, i, row->to_version);
	set_text(arrays, INSERT_CHAIN, i, row->chain);
	set_elem(arrays, INSERT_METADATA, i, row->metadata, row->metadata == 0);
}

/* Remember an id that could not be inserted. */
static void
refuse(LedgerWork *work, text *id)
{
	MemoryContext old = MemoryContextSwitchTo(work->accounts.context);

	work->refused = lappend(work->refused, id);
	MemoryContextSwitchTo(old);
}

/* LedgerPath.insert */
static bool
spi_insert(LedgerWork *work, TransferRow **rows, int n)
{
	static const Oid types[INSERT_NPARAMS] = {
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT2OID, INT2OID, INT8OID, INT8OID, INT8OID,
		TIMESTAMPTZOID, INTERVALOID, INT8OID, INT8OID, TEXTOID, BOOLOID, INT8OID, INT8OID,
		TEXTOID, JSONBOID, TIMESTAMPTZOID
	};
	InsertArrays arrays;
	Datum		params[INSERT_NPARAMS];
	uint64		inserted;
	uint64		at = 0;

	for (int c = 0; c < INSERT_CREATED; c++)
	{
		arrays.elems[c] = palloc(sizeof(Datum) * n);
		arrays.nulls[c] = palloc(sizeof(bool) * n);
	}
	for (int i = 0; i < n; i++)
		set_row(&arrays, i, rows[i]);
	for (int c = 0; c < INSERT_CREATED; c++)
		params[c] = make_array(arrays.elems[c], arrays.nulls[c], n, types[c]);
	params[INSERT_CREATED] = TimestampTzGetDatum(work->now);

	inserted = keep_run(work->ledger.transfers, TRANSFER_INSERT, params, NULL, false);
	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		id = at < inserted ?
			SPI_getbinval(SPI_tuptable->vals[at], SPI_tuptable->tupdesc, 1, &isnull) : (Datum) 0;

		if (id != 0 && keep_text_compare(DatumGetTextPP(id), rows[i]->id) == 0)
			at++;
		else
			refuse(work, rows[i]->id);
	}
	if (at < inserted)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("transfers were stored under other ids"),
				 errdetail("A trigger on \"%s\" changed them.",
						   get_rel_name(work->ledger.transfers->relid))));
	SPI_freetuptable(SPI_tuptable);
	return inserted == (uint64) n;
}

/* LedgerPath.write */
static void
spi_write(LedgerWork *work)
{
	static const Oid types[] = {
		TEXTOID, INT2OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID
	};
	AccountSet *set = &work->accounts;
	Datum	   *elems[lengthof(types)];
	bool	   *nulls[lengthof(types)];
	Datum		params[lengthof(types)];
	int			n = 0;
	int			space = 0;

	for (int i = 0; i < set->count; i++)
		for (int r = 0; r < set->sorted[i]->nrows; r++)
			space += set->sorted[i]->rows[r].dirty;
	if (space == 0)
		return;
	for (size_t c = 0; c < lengthof(types); c++)
	{
		elems[c] = palloc(sizeof(Datum) * space);
		nulls[c] = palloc0(sizeof(bool) * space);
	}
	for (int i = 0; i < set->count; i++)
		for (int r = 0; r < set->sorted[i]->nrows; r++)
		{
			AccountRow *row = &set->sorted[i]->rows[r];

			if (!row->dirty)
				continue;
			elems[0][n] = PointerGetDatum(set->sorted[i]->id);
			elems[1][n] = Int16GetDatum(row->shard);
			elems[2][n] = Int64GetDatum(row->now.debits_posted);
			elems[3][n] = Int64GetDatum(row->now.credits_posted);
			elems[4][n] = Int64GetDatum(row->now.debits_pending + row->over_debits);
			elems[5][n] = Int64GetDatum(row->now.credits_pending + row->over_credits);
			elems[6][n] = Int64GetDatum(row->now.version);
			elems[7][n] = Int64GetDatum(row->floor);
			nulls[7][n] = row->floor == LEDGER_NULL;
			elems[8][n] = Int64GetDatum(row->ceiling);
			nulls[8][n] = row->ceiling == LEDGER_NULL;
			n++;
		}
	for (size_t c = 0; c < lengthof(types); c++)
		params[c] = make_array(elems[c], nulls[c], n, types[c]);
	(void) keep_run(work->ledger.accounts, ACCOUNT_UPDATE, params, NULL, false);
	if (SPI_processed != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("accounts of ledger \"%s\" were not updated",
						get_rel_name(work->ledger.accounts->relid)),
				 errdetail("A trigger or a row-level security policy suppressed it.")));
}

/* LedgerPath.end */
static void
spi_end(LedgerWork *work)
{
}

const LedgerPath ledger_spi_path = {
	.begin = spi_begin,
	.lock = spi_lock,
	.find = spi_find,
	.insert = spi_insert,
	.write = spi_write,
	.end = spi_end,
};
