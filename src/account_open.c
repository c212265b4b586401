/*
 * account_open.c
 *		The SQL functions on accounts: opening them, their terms, their balance.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "error.h"
#include "fault.h"
#include "ledger_path.h"
#include "result.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#define MAX_UNIT_BYTES		64
#define BALANCE_NCOLS		10

PG_FUNCTION_INFO_V1(keep_open_account);
PG_FUNCTION_INFO_V1(keep_set_account_limits);
PG_FUNCTION_INFO_V1(keep_freeze_account);
PG_FUNCTION_INFO_V1(keep_balance);

/* A call on one account. */
typedef struct AccountCall
{
	LedgerWork	work;
	Account    *account;
} AccountCall;

/* A limit; NULL stands for none.  The lowest bigint stands for NULL inside. */
static int64
limit_arg(FunctionCallInfo fcinfo, int argno, const char *name)
{
	int64		limit;

	if (PG_ARGISNULL(argno))
		return LEDGER_NULL;
	limit = PG_GETARG_INT64(argno);
	if (limit == LEDGER_NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errhint("NULL stands for no limit.")));
	return limit;
}

static void
check_limits(int64 min, int64 max)
{
	if (min == LEDGER_NULL || max == LEDGER_NULL || min <= max)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("min_balance must not be above max_balance"),
			 errdetail("They are " INT64_FORMAT " and " INT64_FORMAT ".", min, max)));
}

static Datum
int8_datum(int64 value, char *null)
{
	*null = value == LEDGER_NULL ? 'n' : ' ';
	return Int64GetDatum(value);
}

/* Begin a call that changes an account: all its rows get locked. */
static void
begin(AccountCall *call, FunctionCallInfo fcinfo, const char *function, AclMode rights)
{
	text	   *id = keep_arg_name(fcinfo, 1, "account", LEDGER_MAX_NAME);

	ledger_begin(&call->work, fcinfo, function, rights, 0);
	call->work.path = &ledger_spi_path;
	account_set_init(&call->work.accounts, 1);
	(void) account_set_add(&call->work.accounts, id, ACCOUNT_ALL_SHARDS);
	account_set_sort(&call->work.accounts);
	call->account = call->work.accounts.sorted[0];
	account_set_reset(&call->work.accounts);
}

static void
no_such_account(text *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_KEEP_NOT_FOUND),
			 errmsg("account \"%s\" does not exist", text_to_cstring(id))));
}

/* Lock the account; raises KP404 where it is not. */
static void
lock(AccountCall *call)
{
	call->work.path->lock(&call->work);
	if (!call->account->found)
		no_such_account(call->account->id);
	call->work.now = keep_clock_now();
}

/* Read all rows of the account, as a statement of its own sees them. */
static void
read_account(AccountCall *call, bool read_only)
{
	Datum		param = PointerGetDatum(call->account->id);
	uint64		n;

	account_set_reset(&call->work.accounts);
	n = keep_run(call->work.ledger.accounts, ACCOUNT_READ, &param, NULL, read_only);
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[ACCOUNT_NCOLS];
		bool		nulls[ACCOUNT_NCOLS];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		/* more rows than shards: open_account() is about to refuse that */
		if (call->account->found && call->account->nrows == call->account->shards)
			break;
		account_from_values(&call->work.accounts, call->account, values, nulls, NULL);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* What the account's holds that are over add to its pending counters. */
static void
sum_over(AccountCall *call, bool read_only, int64 *debits, int64 *credits)
{
	Datum		params[2] = {
		PointerGetDatum(call->account->id), TimestampTzGetDatum(call->work.now)
	};
	uint64		n = keep_run(call->work.ledger.transfers, TRANSFER_HOLDS_OVER, params, NULL,
							 read_only);

	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[6];
		bool		nulls[6];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		if (keep_text_compare(DatumGetTextPP(values[1]), call->account->id) == 0)
			*debits -= DatumGetInt64(values[5]);
		else
			*credits -= DatumGetInt64(values[5]);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* End a call with the account as it is now. */
static Datum
answer(AccountCall *call, FunctionCallInfo fcinfo, bool read_only)
{
	Account    *account = call->account;
	Counters	sum = {0};
	Datum		values[BALANCE_NCOLS];
	bool		nulls[BALANCE_NCOLS] = {0};
	bool		newer = read_only && ledger_push_newer_snapshot(&call->work.ledger);
	Datum		result;

	read_account(call, read_only);
	if (!account->found)
		no_such_account(account->id);
	for (int i = 0; i < account->nrows; i++)
	{
		const Counters *row = &account->rows[i].locked;

		/* each row keeps to its part of bigint's range */
		sum.debits_posted += row->debits_posted;
		sum.credits_posted += row->credits_posted;
		sum.debits_pending += row->debits_pending;
		sum.credits_pending += row->credits_pending;
		sum.version += row->version;
	}
	call->work.now = keep_clock_now();
	if (sum.debits_pending != 0 || sum.credits_pending != 0)
		sum_over(call, read_only, &sum.debits_pending, &sum.credits_pending);
	if (newer)
		PopActiveSnapshot();

	values[0] = PointerGetDatum(account->id);
	values[1] = PointerGetDatum(account->unit);
	values[2] = Int64GetDatum(sum.credits_posted - sum.debits_posted);
	values[3] = Int64GetDatum(sum.credits_posted - sum.debits_posted - sum.debits_pending);
	values[4] = Int64GetDatum(sum.debits_posted);
	values[5] = Int64GetDatum(sum.credits_posted);
	values[6] = Int64GetDatum(sum.debits_pending);
	values[7] = Int64GetDatum(sum.credits_pending);
	values[8] = BoolGetDatum(account->frozen);
	values[9] = Int64GetDatum(sum.version);
	result = keep_result_row(fcinfo, call->work.caller, values, nulls);
	SPI_finish();
	return result;
}

/*
 * keep.balance(ledger regclass, account text) returns keep.account_balance
 *
 * The account as its statement's snapshot has it.  Raises KP404 where it is not.
 */
Datum
keep_balance(PG_FUNCTION_ARGS)
{
	AccountCall call = {0};
	text	   *id = keep_arg_name(fcinfo, 1, "account", LEDGER_MAX_NAME);

	keep_arg_require(fcinfo, 0, "ledger");
	call.work.caller = CurrentMemoryContext;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	ledger_open(&call.work.ledger, PG_GETARG_OID(0), AccessShareLock);
	account_set_init(&call.work.accounts, 1);
	(void) account_set_add(&call.work.accounts, id, ACCOUNT_ALL_SHARDS);
	account_set_sort(&call.work.accounts);
	call.account = call.work.accounts.sorted[0];
	return answer(&call, fcinfo, true);
}

/* The limits an account was opened with. */
static void
opened_limits(const Account *account, int64 *min, int64 *max)
{
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	*min = account->min;
	*max = account->max;
	if (account->rows[0].opened == 0)
		return;
	array = DatumGetArrayTypeP(account->rows[0].opened);
	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values,
					  &nulls, &n);
	LEDGER_CHECK(n == 2);
	*min = nulls[0] ? LEDGER_NULL : DatumGetInt64(values[0]);
	*max = nulls[1] ? LEDGER_NULL : DatumGetInt64(values[1]);
}

/* Raise KP422 where the account was opened on other terms. */
static void
check_terms(const Account *account, text *unit, int64 min, int64 max, int shards)
{
	int64		opened_min;
	int64		opened_max;

	opened_limits(account, &opened_min, &opened_max);
	if (keep_text_compare(account->unit, unit) == 0 && opened_min == min && opened_max == max &&
		account->shards == shards)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_KEEP_MISMATCH),
			 errmsg("account \"%s\" was opened on other terms", text_to_cstring(account->id)),
			 errdetail("Its unit was \"%s\", its limits %s and %s, its shards %d.",
					   text_to_cstring(account->unit),
					   opened_min == LEDGER_NULL ? "null" : psprintf(INT64_FORMAT, opened_min),
					   opened_max == LEDGER_NULL ? "null" : psprintf(INT64_FORMAT, opened_max),
					   account->shards),
			 errhint("Limits are changed by keep.set_account_limits().")));
}

/* Arrays with an element a shard: numbers, floors, ceilings. */
static void
shard_arrays(const Account *account, int64 min, int64 max, int shards, Datum *params)
{
	Datum	   *elems = palloc(sizeof(Datum) * shards);
	int64	   *used = palloc0(sizeof(int64) * shards);
	int64	   *shares = palloc(sizeof(int64) * shards);
	bool	   *nulls = palloc(sizeof(bool) * shards);
	int			lower = 1;

	for (int i = 0; i < shards; i++)
		elems[i] = Int16GetDatum(i);
	params[0] = PointerGetDatum(construct_array(elems, shards, INT2OID, sizeof(int16), true,
												TYPALIGN_SHORT));
	for (int side = 0; side < 2; side++)
	{
		int64		limit = side == 0 ? min : max;
		bool		none = limit == LEDGER_NULL || shards == 1;

		for (int i = 0; account != NULL && i < shards; i++)
		{
			const Counters *now = &account->rows[i].now;

			used[i] = now->credits_posted - now->debits_posted +
				(side == 0 ? -now->debits_pending : now->credits_pending);
		}
		if (!none)
			account_shares(limit, side == 0, shards, used, shares);
		for (int i = 0; i < shards; i++)
		{
			nulls[i] = none;
			elems[i] = Int64GetDatum(none ? 0 : shares[i]);
		}
		params[1 + side] = PointerGetDatum(construct_md_array(elems, nulls, 1, &shards, &lower,
															  INT8OID, sizeof(int64),
															  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	}
}

/*
 * keep.open_account(ledger regclass, account text, unit text,
 *					 min_balance bigint, max_balance bigint, shards int)
 *		returns keep.account_balance
 *
 * Opens an account with a balance of zero; NULL limits are none.  The same call
 * again is fine; on other terms it raises KP422.  An account in shards is
 * spread over that many rows, so that many can write to it at once.
 */
Datum
keep_open_account(PG_FUNCTION_ARGS)
{
	AccountCall call;
	text	   *unit = keep_arg_name(fcinfo, 2, "unit", MAX_UNIT_BYTES);
	int64		min = limit_arg(fcinfo, 3, "min_balance");
	int64		max = limit_arg(fcinfo, 4, "max_balance");
	int			shards;
	Datum		params[8];
	char		nulls[9] = "        ";

	keep_arg_require(fcinfo, 5, "shards");
	shards = PG_GETARG_INT32(5);
	check_limits(min, max);
	if (shards < 1 || shards > LEDGER_MAX_SHARDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("shards must be from 1 to %d", LEDGER_MAX_SHARDS)));
	begin(&call, fcinfo, "keep.open_account()", ACL_SELECT | ACL_INSERT);

	params[0] = PointerGetDatum(call.account->id);
	params[1] = PointerGetDatum(unit);
	params[2] = int8_datum(min, &nulls[2]);
	params[3] = int8_datum(max, &nulls[3]);
	params[4] = Int16GetDatum(shards);
	shard_arrays(NULL, min, max, shards, &params[5]);
	if (keep_run(call.work.ledger.accounts, ACCOUNT_OPEN, params, nulls, false) != (uint64) shards)
	{
		/* it was there before, with as many shards or with less */
		read_account(&call, false);
		if (!call.account->found)
			keep_suppressed(call.work.ledger.accounts->relid, "account");
		check_terms(call.account, unit, min, max, shards);
	}
	KEEP_FAULT("account: opened");
	return answer(&call, fcinfo, false);
}

/* Write to all rows of the locked account. */
static void
write_account(AccountCall *call, AccountStatement statement, Datum *params, const char *nulls)
{
	KeepTable  *accounts = call->work.ledger.accounts;

	if (keep_run(accounts, statement, params, nulls, false) != (uint64) call->account->nrows)
		keep_suppressed(accounts->relid, "account");
}

/*
 * keep.set_account_limits(ledger regclass, account text, min_balance bigint,
 *						   max_balance bigint)
 *		returns keep.account_balance
 *
 * Sets both limits; NULL for none.  A balance that is outside stays as it is:
 * limits are asked when money moves.  Raises KP404 for an unknown account.
 */
Datum
keep_set_account_limits(PG_FUNCTION_ARGS)
{
	AccountCall call;
	int64		min = limit_arg(fcinfo, 2, "min_balance");
	int64		max = limit_arg(fcinfo, 3, "max_balance");
	int64		opened[2];
	Datum		elems[2];
	bool		elem_nulls[2];
	int			two = 2;
	int			lower = 1;
	Datum		params[7];
	char		nulls[8] = "       ";

	check_limits(min, max);
	begin(&call, fcinfo, "keep.set_account_limits()", ACL_SELECT | ACL_UPDATE);
	lock(&call);
	LEDGER_CHECK(call.account->nrows == call.account->shards);
	opened_limits(call.account, &opened[0], &opened[1]);
	for (int i = 0; i < 2; i++)
	{
		elems[i] = Int64GetDatum(opened[i]);
		elem_nulls[i] = opened[i] == LEDGER_NULL;
	}
	params[0] = PointerGetDatum(call.account->id);
	params[1] = int8_datum(min, &nulls[1]);
	params[2] = int8_datum(max, &nulls[2]);
	shard_arrays(call.account, min, max, call.account->shards, &params[3]);
	params[6] = PointerGetDatum(construct_md_array(elems, elem_nulls, 1, &two, &lower, INT8OID,
												   sizeof(int64), FLOAT8PASSBYVAL,
												   TYPALIGN_DOUBLE));
	write_account(&call, ACCOUNT_SET_LIMITS, params, nulls);
	KEEP_FAULT("account: limits set");
	return answer(&call, fcinfo, false);
}

/*
 * keep.freeze_account(ledger regclass, account text, frozen boolean)
 *		returns keep.account_balance
 *
 * A frozen account takes no new transfer and no post; holds on it can still
 * be voided and expire.  Raises KP404 for an unknown account.
 */
Datum
keep_freeze_account(PG_FUNCTION_ARGS)
{
	AccountCall call;
	Datum		params[2];

	keep_arg_require(fcinfo, 2, "frozen");
	begin(&call, fcinfo, "keep.freeze_account()", ACL_SELECT | ACL_UPDATE);
	lock(&call);
	params[0] = PointerGetDatum(call.account->id);
	params[1] = PG_GETARG_DATUM(2);
	write_account(&call, ACCOUNT_FREEZE, params, NULL);
	KEEP_FAULT("account: frozen");
	return answer(&call, fcinfo, false);
}
