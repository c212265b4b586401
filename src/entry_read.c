/*
 * entry_read.c
 *		SQL functions that read: get, get_entry, get_many.
 *
 * STABLE: they see what the calling query sees, and work on a standby.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "entry.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(keep_get);
PG_FUNCTION_INFO_V1(keep_get_entry);
PG_FUNCTION_INFO_V1(keep_get_many);

/*
 * keep.get(store regclass, key text) returns jsonb
 *
 * The value of the live entry, NULL where there is none.
 */
Datum
keep_get(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	MemoryContext old;
	Jsonb	   *value;
	bool		live;

	entry_begin(&call, fcinfo, false, NULL, 0);
	live = entry_read(&call, &row, true) && entry_live(&row);
	entry_count_found(&call, live, !live);
	if (!live)
	{
		SPI_finish();
		PG_RETURN_NULL();
	}
	old = MemoryContextSwitchTo(call.caller);
	value = DatumGetJsonbPCopy(row.value);
	MemoryContextSwitchTo(old);
	SPI_finish();
	PG_RETURN_JSONB_P(value);
}

/*
 * keep.get_entry(store regclass, key text) returns setof keep.entry
 *
 * The live entry, or no row.
 */
Datum
keep_get_entry(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	bool		live;

	entry_begin(&call, fcinfo, false, NULL, 0);
	live = entry_read(&call, &row, true) && entry_live(&row);
	entry_count_found(&call, live, !live);
	return entry_result(&call, fcinfo, live ? &row : NULL);
}

/*
 * keep.get_many(store regclass, keys text[]) returns setof keep.entry
 *
 * The live entries in the order asked for; a key asked for twice comes twice.
 */
Datum
keep_get_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	EntryCall	call;
	int			nkeys;
	Datum	   *keys = keep_arg_array(fcinfo, 1, "keys", TEXTOID, &nkeys);
	Datum	   *stored;
	Datum		param;
	TimestampTz now = keep_clock_now();
	uint64		count;
	int			hits = 0;

	InitMaterializedSRF(fcinfo, 0);
	entry_open_store(&call, fcinfo, false, NULL, 0);
	stored = palloc(sizeof(Datum) * nkeys);
	for (int i = 0; i < nkeys; i++)
		stored[i] = entry_stored_key(&call, DatumGetTextPP(keys[i]));

	param = PointerGetDatum(construct_array(stored, nkeys, TEXTOID, -1, false,
											TYPALIGN_INT));
	count = keep_run(call.table, STORE_READ_MANY, &param, NULL, true);
	for (uint64 i = 0; i < count; i++)
	{
		EntryRow	row;
		Datum		values[6];
		bool		nulls[6];
		int64		place = DatumGetInt64(entry_column_at(i, 1));

		entry_row_at(&call, i, &row);
		if (row.expires <= now)
			continue;
		hits++;
		entry_fill(&row, DatumGetTextPP(keys[place - 1]), values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	entry_count_found(&call, hits, nkeys - hits);
	SPI_finish();
	return (Datum) 0;
}
