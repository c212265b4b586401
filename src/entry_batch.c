/*
 * entry_batch.c
 *		SQL functions that write many entries: put_many, put_batch.
 *
 * One statement writes all, with the keys in ascending order, so that two
 * calls on the same keys cannot deadlock.  Entries that have expired are left
 * out by it and written by a second one.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "entry.h"
#include "fault.h"
#include "textmap.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(keep_put_many);
PG_FUNCTION_INFO_V1(keep_put_batch);

#define MAX_ROUNDS			10

/* One entry of the batch. */
typedef struct BatchItem
{
	text	   *given;			/* the key as the caller names it */
	text	   *key;			/* the key as the table has it */
	Datum		value;
	bool		written;
	bool		created;
	bool		redraw;			/* its version may have been overtaken */
	EntryRow	row;
} BatchItem;

typedef struct Batch
{
	EntryCall	call;
	const Interval *ttl;
	BatchItem  *items;			/* in the order given */
	BatchItem **sorted;			/* in ascending order of their keys */
	int			count;
} Batch;

/* Order of keys: that of collation "C". */
static int
compare_keys(const void *a, const void *b)
{
	return keep_text_compare((*(BatchItem *const *) a)->key, (*(BatchItem *const *) b)->key);
}

/* Check the items and sort them; a key that comes twice is refused (22023). */
static void
prepare_items(Batch *batch)
{
	batch->sorted = palloc(sizeof(BatchItem *) * batch->count);
	for (int i = 0; i < batch->count; i++)
	{
		BatchItem	   *item = &batch->items[i];

		item->key = DatumGetTextPP(entry_stored_key(&batch->call, item->given));
		item->written = item->redraw = false;
		entry_check_value(&batch->call, item->value);
		batch->sorted[i] = item;
	}
	qsort(batch->sorted, batch->count, sizeof(BatchItem *), compare_keys);
	for (int i = 1; i < batch->count; i++)
		if (compare_keys(&batch->sorted[i - 1], &batch->sorted[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"%s\" is given more than once",
							text_to_cstring(batch->sorted[i]->given))));
}

static Datum
array_of(Datum *elems, int count, Oid type)
{
	return PointerGetDatum(construct_array(elems, count, type, -1, false, TYPALIGN_INT));
}

/* Take over the n-th row that a statement on "items" has returned. */
static BatchItem *
take_row(Batch *batch, BatchItem **items, int count, uint64 n)
{
	BatchItem	row = {.key = DatumGetTextPP(entry_column_at(n, 1))};
	BatchItem  *probe = &row;
	BatchItem **item = bsearch(&probe, items, count, sizeof(BatchItem *), compare_keys);

	if (item == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a trigger of \"%s\" has changed the key of an entry",
						get_rel_name(batch->call.table->relid))));
	entry_row_at(&batch->call, n, &(*item)->row);
	(*item)->written = true;
	(*item)->redraw = false;
	return *item;
}

/*
 * Take over all rows that have been inserted or updated, in order of keys.
 *
 * As for a single entry (redraw_if_overtaken() in entry.c), a row that was
 * inserted is to be drawn again where a transaction has ended meanwhile: since
 * the row before it, that is.  An update has drawn under the row lock.
 */
static void
take_written_rows(Batch *batch, StoreStatement statement, BatchItem **items, int count,
				  uint64 ended)
{
	for (uint64 n = 0; n < SPI_processed; n++)
	{
		BatchItem  *item = take_row(batch, items, count, n);
		bool		inserted = DatumGetBool(entry_column_at(n, 2));
		uint64		ended_now = (uint64) DatumGetInt64(entry_column_at(n, 3));

		item->created = inserted || statement == STORE_CREATE_MANY;
		item->redraw = inserted && ended_now != ended;
		ended = ended_now;
	}
}

/* Run a statement that inserts on those items that are not written yet. */
static int
insert_items(Batch *batch, StoreStatement statement)
{
	BatchItem	  **items = palloc(sizeof(BatchItem *) * batch->count);
	Datum	   *keys = palloc(sizeof(Datum) * batch->count);
	Datum	   *values = palloc(sizeof(Datum) * batch->count);
	const StoreOptions *opt = batch->call.opt;
	Datum		params[4];
	char		nulls[] = "    ";
	uint64		ended;
	int			count = 0;

	for (int i = 0; i < batch->count; i++)
	{
		BatchItem	   *item = batch->sorted[i];

		if (item->written)
			continue;
		keys[count] = PointerGetDatum(item->key);
		values[count] = item->value;
		items[count++] = item;
	}
	if (count == 0)
		return 0;

	params[0] = array_of(keys, count, TEXTOID);
	params[1] = array_of(values, count, JSONBOID);
	params[2] = IntervalPGetDatum(batch->ttl);
	params[3] = IntervalPGetDatum(opt->max_lifetime);
	nulls[2] = batch->ttl ? ' ' : 'n';
	nulls[3] = opt->max_lifetime ? ' ' : 'n';
	ended = keep_clock_ended();
	if (keep_run(batch->call.table, statement, params, nulls, false) > 0)
	{
		KEEP_FAULT("batch: written");
		take_written_rows(batch, statement, items, count, ended);
		entry_versions_drawn(&batch->call);
	}
	return count;
}

/* Draw again for those items that may have been overtaken. */
static void
redraw_items(Batch *batch)
{
	Datum	   *keys = palloc(sizeof(Datum) * batch->count);
	BatchItem	  **items = palloc(sizeof(BatchItem *) * batch->count);
	TimestampTz now = keep_clock_now();
	TimestampTz expires = entry_expiry(batch->call.opt, now, now, batch->ttl);
	Datum		params[3];
	int			count = 0;

	for (int i = 0; i < batch->count; i++)
		if (batch->sorted[i]->redraw)
		{
			items[count] = batch->sorted[i];
			keys[count++] = PointerGetDatum(batch->sorted[i]->key);
		}
	if (count == 0)
		return;

	params[0] = array_of(keys, count, TEXTOID);
	params[1] = TimestampTzGetDatum(now);
	params[2] = TimestampTzGetDatum(expires);
	if (keep_run(batch->call.table, STORE_REDRAW_MANY, params,
				 expires == ENTRY_NEVER ? "  n" : NULL, false) != (uint64) count)
		entry_overtaken(&batch->call);
	KEEP_FAULT("batch: drawn again");
	for (uint64 n = 0; n < SPI_processed; n++)
		(void) take_row(batch, items, count, n);
	entry_versions_drawn(&batch->call);
}

/* At REPEATABLE READ: is there one row a key?  See entry_deleted_since(). */
static void
check_snapshot(Batch *batch)
{
	Datum	   *keys = palloc(sizeof(Datum) * batch->count);
	Datum		param;

	for (int i = 0; i < batch->count; i++)
		keys[i] = PointerGetDatum(batch->sorted[i]->key);
	param = array_of(keys, batch->count, TEXTOID);
	if (keep_run(batch->call.table, STORE_COUNT_MANY, &param, NULL, false) >
		(uint64) batch->count)
		entry_deleted_since();
}

/* Write the batch, and return its entries in the order given. */
static Datum
put_items(Batch *batch, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	prepare_items(batch);
	for (int round = 0;; round++)
	{
		if (insert_items(batch, STORE_PUT_MANY) == 0 ||
			insert_items(batch, STORE_CREATE_MANY) == 0)
			break;
		if (round >= MAX_ROUNDS)
			entry_suppressed(&batch->call);
		CHECK_FOR_INTERRUPTS();
	}
	redraw_items(batch);
	if (IsolationUsesXactSnapshot())
		check_snapshot(batch);

	for (int i = 0; i < batch->count; i++)
	{
		Datum		values[6];
		bool		nulls[6];

		batch->call.key = PointerGetDatum(batch->items[i].key);
		entry_count(&batch->call, batch->items[i].created ? STATUS_CREATED : STATUS_UPDATED);
		entry_fill(&batch->items[i].row, batch->items[i].given, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

/* Begin a batch: the store in argument 0, the ttl in "ttlarg". */
static void
begin_batch(Batch *batch, FunctionCallInfo fcinfo, int ttlarg, const char *function)
{
	batch->ttl = keep_arg_span(fcinfo, ttlarg, "ttl");
	InitMaterializedSRF(fcinfo, 0);
	/* also where there is nothing to write */
	entry_open_store(&batch->call, fcinfo, true, function, ACL_SELECT | ACL_INSERT | ACL_UPDATE);
	if (batch->ttl == NULL)
		batch->ttl = batch->call.opt->ttl;
}

/*
 * keep.put_many(store regclass, keys text[], values jsonb[], ttl interval)
 *		returns setof keep.entry
 *
 * keep.put() for each key and value; the entries come back in the order given.
 * 22023 for a key given twice or arrays of unequal length.
 */
Datum
keep_put_many(PG_FUNCTION_ARGS)
{
	Batch		batch;
	int			nvalues;
	Datum	   *keys = keep_arg_array(fcinfo, 1, "keys", TEXTOID, &batch.count);
	Datum	   *values = keep_arg_array(fcinfo, 2, "values", JSONBOID, &nvalues);

	if (batch.count != nvalues)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arrays must have the same number of elements"),
				 errdetail("There are %d keys and %d values.", batch.count, nvalues)));
	begin_batch(&batch, fcinfo, 3, "keep.put_many()");
	batch.items = palloc(sizeof(BatchItem) * batch.count);
	for (int i = 0; i < batch.count; i++)
	{
		batch.items[i].given = DatumGetTextPP(keys[i]);
		batch.items[i].value = values[i];
	}
	return put_items(&batch, fcinfo);
}

/*
 * keep.put_batch(store regclass, entries jsonb, ttl interval)
 *		returns setof keep.entry
 *
 * keep.put() for each member of a JSON object.  22023 for any other value.
 */
Datum
keep_put_batch(PG_FUNCTION_ARGS)
{
	Batch		batch;
	Jsonb	   *entries;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	keep_arg_require(fcinfo, 1, "entries");
	entries = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(entries))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("entries must be a JSON object"),
				 errhint("Its members are the keys and their values.")));
	begin_batch(&batch, fcinfo, 2, "keep.put_batch()");
	batch.items = palloc(sizeof(BatchItem) * JB_ROOT_COUNT(entries));
	batch.count = 0;

	it = JsonbIteratorInit(&entries->root);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		batch.items[batch.count].given = cstring_to_text_with_len(name.val.string.val,
																  name.val.string.len);
		batch.items[batch.count++].value = JsonbPGetDatum(JsonbValueToJsonb(&value));
	}
	return put_items(&batch, fcinfo);
}
