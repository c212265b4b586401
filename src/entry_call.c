/*
 * entry_call.c
 *		The frame of a call on a store: its arguments, rights and result.
 */
#include "postgres.h"

#include "arg.h"
#include "compat.h"
#include "entry_call.h"
#include "result.h"
#include "stats.h"
#include "wait.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define MAX_KEY_BYTES	1024

/*
 * Begin a call on the store in argument 0: check, connect to SPI, lock the
 * table, find its options.
 *
 * A function that writes is refused in a read-only transaction and on a
 * standby (25006) whatever state the entry is in.  "rights" are those it needs
 * where its first statement only reads and so does not ask for them (42501).
 */
void
entry_open_store(EntryCall *call, FunctionCallInfo fcinfo, bool write,
				 const char *function, AclMode rights)
{
	keep_arg_require(fcinfo, 0, "store");
	if (write)
		keep_require_write(function);

	call->caller = CurrentMemoryContext;
	call->given = NULL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	call->table = keep_table_open(PG_GETARG_OID(0), &keep_store_kind,
								  write ? RowExclusiveLock : AccessShareLock);
	call->opt = call->table->options;
	if (rights != 0)
		keep_require_rights(call->table->relid, rights);
}

/* The same for a call on the key in argument 1. */
void
entry_begin(EntryCall *call, FunctionCallInfo fcinfo, bool write,
			const char *function, AclMode rights)
{
	text	   *given;

	keep_arg_require(fcinfo, 1, "key");
	given = PG_GETARG_TEXT_PP(1);
	entry_open_store(call, fcinfo, write, function, rights);
	call->given = given;
	call->key = entry_stored_key(call, given);
}

/*
 * A key as the table has it: itself, or its SHA-256 in hexadecimal, in the
 * caller's memory.  Raises 22023 for an empty or too long one.
 */
Datum
entry_stored_key(const EntryCall *call, text *key)
{
	Size		length = VARSIZE_ANY_EXHDR(key);
	bytea	   *hash;
	text	   *stored;

	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key must not be empty")));
	if (length > MAX_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key is too long"),
				 errdetail("It has %zu bytes, the limit is %d.", length, MAX_KEY_BYTES)));
	if (!call->opt->hash_keys)
		return PointerGetDatum(key);

	hash = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(key)));
	stored = MemoryContextAlloc(call->caller, VARHDRSZ + 2 * PG_SHA256_DIGEST_LENGTH);
	SET_VARSIZE(stored, VARHDRSZ + 2 * PG_SHA256_DIGEST_LENGTH);
	hex_encode(VARDATA_ANY(hash), PG_SHA256_DIGEST_LENGTH, VARDATA(stored));
	return PointerGetDatum(stored);
}

/* Forget what has been read; for calls that look again and again. */
void
entry_forget(void)
{
	SPI_finish();
	SPI_connect();
}

/* Refuse (54000) a value over the store's limit. */
void
entry_check_value(const EntryCall *call, Datum value)
{
	Size		size = toast_raw_datum_size(value);

	if (size > (Size) call->opt->max_value_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too large for store \"%s\"",
						get_rel_name(call->table->relid)),
				 errdetail("It has %zu bytes as jsonb, the limit is %d.",
						   size, call->opt->max_value_bytes),
				 errhint("The owner can change the limit: keep.set_store_option(store, "
						 "'max_value_bytes', ...).")));
}

/*
 * An optional version: ENTRY_ANY_VERSION where NULL.  No version is below 1;
 * 0 passes, as it stands for "absent" in compare_and_swap.
 */
int64
entry_version_arg(FunctionCallInfo fcinfo, int argno, const char *name)
{
	int64		version;

	if (PG_ARGISNULL(argno))
		return ENTRY_ANY_VERSION;
	version = PG_GETARG_INT64(argno);
	if (version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", name)));
	return version;
}

/* Form a composite result in the caller's memory, and end the call. */
static Datum
finish(EntryCall *call, FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	Datum		result = keep_result_row(fcinfo, call->caller, values, nulls);

	SPI_finish();
	return result;
}

/* By EntryStatus: what it is called, whether something was written, what counts. */
static const struct
{
	const char *name;
	bool		applied;
	KeepCounter counter;
}			statuses[] = {
	[STATUS_CREATED] = {"created", true, KEEP_CREATES},
	[STATUS_UPDATED] = {"updated", true, KEEP_UPDATES},
	[STATUS_DELETED] = {"deleted", true, KEEP_DELETES},
	[STATUS_TOUCHED] = {"touched", true, KEEP_TOUCHES_WRITTEN},
	[STATUS_PERSISTED] = {"persisted", true, KEEP_UPDATES},
	[STATUS_RENEWED] = {"renewed", true, KEEP_TOUCHES_WRITTEN},
	[STATUS_RELEASED] = {"released", true, KEEP_DELETES},
	[STATUS_FRESH] = {"fresh", false, KEEP_TOUCHES_SKIPPED},
	[STATUS_EXISTS] = {"exists", false, KEEP_CONDITION_FAILURES},
	[STATUS_STALE] = {"stale", false, KEEP_CONDITION_FAILURES},
	[STATUS_ABSENT] = {"absent", false, KEEP_CONDITION_FAILURES},
	[STATUS_MISSED] = {"absent", false, KEEP_MISSES},
};

/* Count what came of a call, and wake who waits for such a change of its key. */
void
entry_count(EntryCall *call, EntryStatus status)
{
	keep_count(call->table->relid, statuses[status].counter, 1);
	if (statuses[status].applied)
		keep_wake(call->table->relid, call->key);
}

/* Count what a call has looked for. */
void
entry_count_found(EntryCall *call, int64 hits, int64 misses)
{
	keep_count(call->table->relid, KEEP_HITS, hits);
	keep_count(call->table->relid, KEEP_MISSES, misses);
}

/*
 * End a call with a keep.outcome: the state as it stands now, "row" being NULL
 * where there is no entry.
 */
Datum
entry_outcome(EntryCall *call, FunctionCallInfo fcinfo, EntryStatus status, const EntryRow *row)
{
	Datum		values[5] = {0};
	bool		nulls[5] = {0};

	entry_count(call, status);
	values[0] = BoolGetDatum(statuses[status].applied);
	values[1] = CStringGetTextDatum(statuses[status].name);
	nulls[2] = nulls[3] = nulls[4] = row == NULL;
	if (row != NULL)
	{
		values[2] = row->value;
		values[3] = Int64GetDatum(row->version);
		values[4] = TimestampTzGetDatum(row->expires);
		nulls[4] = row->expires == ENTRY_NEVER;
	}
	return finish(call, fcinfo, values, nulls);
}

/* The columns of a keep.entry; "key" is the one the caller gave. */
void
entry_fill(const EntryRow *row, text *key, Datum *values, bool *nulls)
{
	memset(nulls, 0, 6 * sizeof(bool));
	values[0] = PointerGetDatum(key);
	values[1] = row->value;
	values[2] = Int64GetDatum(row->version);
	values[3] = TimestampTzGetDatum(row->created);
	values[4] = TimestampTzGetDatum(row->updated);
	values[5] = TimestampTzGetDatum(row->expires);
	nulls[5] = row->expires == ENTRY_NEVER;
}

/*
 * End a call of a function that returns SETOF keep.entry with this entry, or
 * with no row.  A result that is not marked as one of many is the only one.
 */
Datum
entry_result(EntryCall *call, FunctionCallInfo fcinfo, const EntryRow *row)
{
	Datum		values[6];
	bool		nulls[6];

	if (row == NULL)
	{
		ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

		SPI_finish();
		if (rsinfo != NULL && IsA(rsinfo, ReturnSetInfo))
			rsinfo->isDone = ExprEndResult;
		PG_RETURN_NULL();
	}
	entry_fill(row, call->given, values, nulls);
	return finish(call, fcinfo, values, nulls);
}
