/*
 * account.h
 *		Accounts in memory: what a call has locked, and arithmetic with it.
 */
#ifndef KEEP_ACCOUNT_H
#define KEEP_ACCOUNT_H

#include "postgres.h"

#include "ledger_sql.h"
#include "textmap.h"

#include "access/htup.h"
#include "storage/itemptr.h"
#include "utils/timestamp.h"

#define LEDGER_MAX_SHARDS	256

/*
 * Stands for SQL's NULL among amounts, balances and limits: no counter is
 * negative, so no balance is as low as this.
 */
#define LEDGER_NULL			PG_INT64_MIN

pg_noreturn extern void ledger_check_failed(const char *condition);

/* An invariant of the ledger; checked in every build, as money depends on it. */
#define LEDGER_CHECK(condition) \
	do { \
		if (unlikely(!(condition))) \
			ledger_check_failed(#condition); \
	} while (0)

typedef struct Counters
{
	int64		debits_posted;
	int64		credits_posted;
	int64		debits_pending;
	int64		credits_pending;
	int64		version;
} Counters;

/* A locked row: an account, or one of the shards of one. */
typedef struct AccountRow
{
	int16		shard;
	bool		dirty;			/* to be written */
	ItemPointerData tid;		/* direct access only, as is "tuple" */
	HeapTuple	tuple;			/* copy of the row, or NULL */
	int64		floor;			/* this shard's part of the limits, or LEDGER_NULL */
	int64		ceiling;
	Counters	locked;			/* as locked, less holds that are over */
	Counters	now;
	int64		over_debits;	/* holds that are over but still in the table */
	int64		over_credits;
	TimestampTz created;
	Datum		opened;			/* int8[] of opened_limits, or 0 for NULL */
} AccountRow;

typedef struct Account
{
	text	   *id;
	int32		want;			/* a shard, ACCOUNT_ANY_SHARD or ACCOUNT_ALL_SHARDS */
	bool		found;
	bool		frozen;
	bool		looked;			/* at its holds that are over */
	bool		short_of;		/* its shard alone does not do */
	int16		shards;
	int			nrows;
	text	   *unit;
	int64		min;			/* LEDGER_NULL: unlimited */
	int64		max;
	AccountRow *rows;			/* in order of shard; &one where it is one */
	AccountRow	one;
} Account;

/* An account that a call is about, before the order of all of them is known. */
typedef struct AccountStub
{
	text	   *id;
	Account    *account;		/* NULL until account_set_sort() */
	int32		want;
} AccountStub;

/*
 * The accounts of a call, found by name.  Named first, then sorted: the accounts
 * then lie in memory in the order in which they are locked and written.
 */
typedef struct AccountSet
{
	KeepTextMap *map;			/* of stubs */
	AccountStub **stubs;
	Account   **sorted;			/* NULL until account_set_sort() */
	int			count;
	int			space;
	text	   *unit;			/* of the account that was read last */
	MemoryContext context;		/* lives as long as the call */
} AccountSet;

/* A column of a row; LEDGER_NULL stands for NULL. */
static inline int64
ledger_get_int8(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? LEDGER_NULL : DatumGetInt64(values[column]);
}

static inline void
ledger_set_int8(Datum *values, bool *nulls, int column, int64 value)
{
	values[column] = Int64GetDatum(value);
	nulls[column] = value == LEDGER_NULL;
}

extern void account_set_init(AccountSet *set, int expected);
extern AccountStub *account_set_add(AccountSet *set, text *id, int32 want);
extern Account *account_set_append(AccountSet *set, text *id, int32 want);
extern Account *account_set_find(AccountSet *set, text *id);
extern void account_set_sort(AccountSet *set);
extern void account_set_truncate(AccountSet *set, int count);
extern void account_set_reset(AccountSet *set);

extern void account_from_values(AccountSet *set, Account *account, const Datum *values,
								const bool *nulls, ItemPointer tid);
extern void account_to_values(const Account *account, const AccountRow *row, Datum *values,
							  bool *nulls);
extern AccountRow *account_row(Account *account, int16 shard);

extern int64 account_balance_of(const AccountRow *row);
extern bool account_same_unit(const Account *a, const Account *b);
extern bool account_can_pay(const Account *account, const AccountRow *row, int64 amount);
extern bool account_can_take(const Account *account, const AccountRow *row, int64 amount);
extern bool account_can_debit(const Account *account, const AccountRow *row, int64 amount);
extern bool account_can_credit(const Account *account, const AccountRow *row, int64 amount);
extern void account_share_out(Account *account);
extern void account_shares(int64 limit, bool lower, int shards, const int64 *used,
						   int64 *shares);

#endif							/* KEEP_ACCOUNT_H */
