/*
 * ledger_spi.c
 *		The path of a ledger's calls that goes through SPI.
 *
 * It works on every table that the executor can work on, at every isolation
 * level, and is what the direct path is measured and tested against.
 */
#include "postgres.h"

#include "compat.h"
#include "fault.h"
#include "ledger_path.h"

#include "access/relation.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

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
	Relation	transfers = relation_open(work->ledger.transfers->relid, NoLock);

	work->subtransaction = true;
	work->guarded = transfers->trigdesc != NULL || transfers->rd_rel->relrowsecurity;
	relation_close(transfers, NoLock);
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

/* What is stored under an id, as a statement of its own sees it, or NULL. */
TransferRow *
ledger_find_one(LedgerWork *work, text *id)
{
	TransferRow wanted;
	TransferRow *row = &wanted;
	TransferRow *found;

	wanted.id = id;
	spi_find(work, &row, &found, 1);
	return found;
}

/* A descriptor of rows to be written. */
static TupleDesc
rows_desc(const KeepColumn *columns, int ncolumns)
{
	TupleDesc	desc = CreateTemplateTupleDesc(ncolumns);

	for (int i = 0; i < ncolumns; i++)
	{
		TupleDescInitEntry(desc, i + 1, columns[i].name, columns[i].type, -1, 0);
		if (columns[i].key)
			TupleDescInitEntryCollation(desc, i + 1, C_COLLATION_OID);
	}
	return desc;
}

/*
 * Run a statement that takes its rows from a named tuplestore: that costs a
 * fraction of as many arrays as there are columns.
 */
static uint64
run_with_rows(KeepTable *table, int statement, Tuplestorestate *rows, TupleDesc desc, int nrows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	uint64		result;

	relation->md.name = pstrdup(LEDGER_ROWS);
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = nrows;
	relation->reldata = rows;
	/* an error in an earlier attempt may have left one behind */
	(void) SPI_unregister_relation(LEDGER_ROWS);
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows of a ledger");
	result = keep_run(table, statement, NULL, NULL, false);
	if (SPI_unregister_relation(LEDGER_ROWS) != SPI_OK_REL_UNREGISTER)
		elog(ERROR, "could not unregister the rows of a ledger");
	tuplestore_end(rows);
	return result;
}

/* Remember an id that could not be inserted. */
static void
refuse(LedgerWork *work, text *id)
{
	MemoryContext old = MemoryContextSwitchTo(work->accounts.context);

	work->refused = lappend(work->refused, id);
	MemoryContextSwitchTo(old);
}

/*
 * LedgerPath.insert.  A rival's id is an error (23505), upon which the call is
 * done again; then, and where rows may be stored otherwise than we say or be
 * hidden, the statement tells which ones were.
 */
static bool
spi_insert(LedgerWork *work, TransferRow **rows, int n)
{
	TupleDesc	desc = rows_desc(ledger_transfer_columns, TRANSFER_NCOLS);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	bool		careful = work->attempts > 1 || work->guarded;
	uint64		inserted;
	uint64		at = 0;

	for (int i = 0; i < n; i++)
	{
		Datum		values[TRANSFER_NCOLS];
		bool		nulls[TRANSFER_NCOLS];

		transfer_to_values(rows[i], values, nulls);
		tuplestore_putvalues(store, desc, values, nulls);
	}
	inserted = run_with_rows(work->ledger.transfers,
							 careful ? TRANSFER_INSERT_FREE : TRANSFER_INSERT, store, desc, n);
	KEEP_FAULT("spi: transfers inserted");
	if (!careful && inserted != (uint64) n)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("transfers were not stored"),
				 errdetail("A rule on \"%s\" suppressed them.",
						   get_rel_name(work->ledger.transfers->relid))));
	if (!careful)
		return true;
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
	AccountSet *set = &work->accounts;
	TupleDesc	desc = rows_desc(ledger_account_columns, ACCOUNT_NCOLS);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	int			n = 0;

	for (int i = 0; i < set->count; i++)
		for (int r = 0; r < set->sorted[i]->nrows; r++)
		{
			Datum		values[ACCOUNT_NCOLS];
			bool		nulls[ACCOUNT_NCOLS];

			if (!set->sorted[i]->rows[r].dirty)
				continue;
			account_to_values(set->sorted[i], &set->sorted[i]->rows[r], values, nulls);
			tuplestore_putvalues(store, desc, values, nulls);
			n++;
		}
	if (n > 0 && run_with_rows(work->ledger.accounts, ACCOUNT_UPDATE, store, desc,
							   n) != (uint64) n)
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
