/*
 * ledger_statement.c
 *		keep.statement(): what was posted on an account, in order.
 *
 * Each posting draws the next version of its account's row, under the row's
 * lock, and the lock is held until the commit.  So versions become visible in
 * their order, and a reader who asks for what comes after a version misses
 * nothing, however late a transfer commits.  An account in shards has as many
 * sequences of versions as rows; its cursor has a version for each of them.
 */
#include "postgres.h"

#include "arg.h"
#include "error.h"
#include "ledger.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(keep_statement);

/* Columns of TRANSFER_STATEMENT */
enum
{
	LINE_VERSION,
	LINE_TRANSFER,
	LINE_COUNTERPARTY,
	LINE_AMOUNT,
	LINE_BALANCE,
	LINE_REVERSES,
	LINE_METADATA,
	LINE_POSTED_AT,
	LINE_NCOLS
};

/* The lines of one shard, and how far they have been read. */
typedef struct Shard
{
	int64		version;		/* of the last line that was given out */
	SPITupleTable *lines;
	uint64		at;
} Shard;

/* Read a cursor: a version for each shard, with commas between; raises 22023. */
static void
read_cursor(text *cursor, Shard *shards, int nshards)
{
	char	   *at = text_to_cstring(cursor);

	for (int i = 0; i < nshards; i++)
	{
		char	   *end;

		errno = 0;
		shards[i].version = strtoll(at, &end, 10);
		if (errno != 0 || end == at || shards[i].version < 0 ||
			*end != (i < nshards - 1 ? ',' : '\0'))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid cursor: \"%s\"", text_to_cstring(cursor)),
					 errhint("Pass the cursor of the last line of the statement before.")));
		at = end + 1;
	}
}

/* The cursor behind the last lines of all shards; to be freed, as there are many. */
static text *
write_cursor(const Shard *shards, int nshards)
{
	StringInfoData buffer;
	text	   *cursor;

	initStringInfo(&buffer);
	for (int i = 0; i < nshards; i++)
		appendStringInfo(&buffer, "%s" INT64_FORMAT, i > 0 ? "," : "", shards[i].version);
	cursor = cstring_to_text_with_len(buffer.data, buffer.len);
	pfree(buffer.data);
	return cursor;
}

/* How many shards has the account?  Raises KP404 where it is not. */
static int
count_shards(Ledger *ledger, text *account)
{
	Datum		param = PointerGetDatum(account);
	bool		isnull;
	int			nshards;

	if (keep_run(ledger->accounts, ACCOUNT_READ, &param, NULL, true) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_NOT_FOUND),
				 errmsg("account \"%s\" does not exist", text_to_cstring(account))));
	nshards = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
										  ACCOUNT_COL_SHARDS + 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return Max(nshards, 1);
}

static Datum
line_column(const Shard *shard, int column, bool *isnull)
{
	return SPI_getbinval(shard->lines->vals[shard->at], shard->lines->tupdesc, column + 1, isnull);
}

/* The shard whose next line was posted first, or NULL where there is none left. */
static Shard *
next_shard(Shard *shards, int nshards)
{
	Shard	   *first = NULL;
	TimestampTz first_time = 0;

	for (int i = 0; i < nshards; i++)
	{
		bool		isnull;
		TimestampTz time;

		if (shards[i].at >= shards[i].lines->numvals)
			continue;
		time = DatumGetTimestampTz(line_column(&shards[i], LINE_POSTED_AT, &isnull));
		if (first == NULL || time < first_time)
		{
			first = &shards[i];
			first_time = time;
		}
	}
	return first;
}

/* Give out the next line of a shard. */
static void
put_line(ReturnSetInfo *rsinfo, Shard *shard, const Shard *shards, int nshards)
{
	Datum		values[LINE_NCOLS];
	bool		nulls[LINE_NCOLS];
	text	   *cursor;

	for (int c = LINE_VERSION; c < LINE_NCOLS; c++)
		values[c] = line_column(shard, c, &nulls[c]);
	shard->version = DatumGetInt64(values[LINE_VERSION]);
	shard->at++;
	cursor = write_cursor(shards, nshards);
	values[0] = PointerGetDatum(cursor);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	pfree(cursor);
}

/*
 * keep.statement(ledger regclass, account text, after text, max_rows int)
 *		returns setof keep.statement_line
 *
 * The lines after a cursor, oldest first; NULL starts at the beginning.  The
 * amount of a line is above zero for what came in, below for what went out.
 * Raises 55000 for a ledger without history, KP404 for an unknown account,
 * 22023 for a bad cursor.
 */
Datum
keep_statement(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Ledger		ledger;
	Shard	   *shards;
	Shard	   *shard;
	text	   *account;
	int			nshards;
	int			max_rows;
	bool		newer;

	keep_arg_require(fcinfo, 0, "ledger");
	account = keep_arg_name(fcinfo, 1, "account", LEDGER_MAX_NAME);
	max_rows = keep_arg_count(fcinfo, 3, "max_rows");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	ledger_open(&ledger, PG_GETARG_OID(0), AccessShareLock);
	if (!ledger.opt->history)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("ledger \"%s\" has no history", get_rel_name(ledger.accounts->relid)),
				 errhint("Create the ledger with history => true.")));

	newer = ledger_push_newer_snapshot(&ledger);
	nshards = count_shards(&ledger, account);
	shards = palloc0(sizeof(Shard) * nshards);
	if (!PG_ARGISNULL(2))
		read_cursor(PG_GETARG_TEXT_PP(2), shards, nshards);
	for (int i = 0; i < nshards; i++)
	{
		Datum		params[4] = {
			PointerGetDatum(account), Int16GetDatum(i), Int64GetDatum(shards[i].version),
			Int64GetDatum(max_rows)
		};

		(void) keep_run(ledger.transfers, TRANSFER_STATEMENT, params, NULL, true);
		shards[i].lines = SPI_tuptable;
	}
	if (newer)
		PopActiveSnapshot();
	while (max_rows-- > 0 && (shard = next_shard(shards, nshards)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		put_line(rsinfo, shard, shards, nshards);
	}
	SPI_finish();
	return (Datum) 0;
}
