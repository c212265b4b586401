/*
 * account.c
 *		Accounts in memory: what a call has locked, and arithmetic with it.
 *
 * An account whose limits may depend on several rows (shards) is in one of two
 * states.  Normally a call has locked one of its rows, and goes by that row's
 * floor and ceiling: parts of the account's limits, such that as long as each
 * row keeps to its own the account keeps to the whole (O'Neil, The Escrow
 * Transactional Method, 1986).  Where that does not do, all rows are locked,
 * the account as a whole decides, and what is left is shared out anew.
 *
 * No counter exceeds bigint, nor do the sums over all rows: each row may hold
 * its share of bigint's range and no more.
 */
#include "postgres.h"

#include "account.h"
#include "compat.h"

#include "common/int.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

/*
 * An invariant does not hold (27000).  It is the rows that are not what they
 * were: a trigger of the call's own may have changed them under it, or somebody
 * has written to them by plain SQL.
 */
void
ledger_check_failed(const char *condition)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("ledger invariant violated: %s", condition),
			 errhint("A trigger may have changed the rows under the call; "
					 "keep.verify_ledger() tells whether they are sound.")));
}

/* An empty set in the current memory context. */
void
account_set_init(AccountSet *set, int expected)
{
	set->context = CurrentMemoryContext;
	set->space = Max(expected, 2);
	set->map = keep_textmap_create(CurrentMemoryContext, set->space / 2);
	set->stubs = palloc(sizeof(AccountStub *) * set->space);
	set->sorted = NULL;
	set->count = 0;
	set->unit = NULL;
}

/*
 * Add an account, of which the call wants this shard or any or all; one that is
 * there and of which it wanted another is then wanted with all its shards.
 */
AccountStub *
account_set_add(AccountSet *set, text *id, int32 want)
{
	bool		found;
	void	  **entry = keep_textmap_insert(set->map, id, &found);
	AccountStub *stub = *entry;

	if (found)
	{
		if (stub->want != want)
			stub->want = ACCOUNT_ALL_SHARDS;
		return stub;
	}
	LEDGER_CHECK(set->sorted == NULL);
	*entry = stub = MemoryContextAlloc(set->context, sizeof(AccountStub));
	stub->id = id;
	stub->account = NULL;
	stub->want = want;
	if (set->count == set->space)
	{
		set->space *= 2;
		set->stubs = repalloc_huge(set->stubs, sizeof(AccountStub *) * set->space);
	}
	set->stubs[set->count++] = stub;
	return stub;
}

/* What a stub is sorted by: most names differ within a few bytes. */
typedef struct SortKey
{
	uint64		prefix;
	AccountStub *stub;
} SortKey;

#define ST_SORT sort_keys
#define ST_ELEMENT_TYPE SortKey
#define ST_COMPARE(a, b) \
	((a)->prefix != (b)->prefix ? ((a)->prefix < (b)->prefix ? -1 : 1) : \
	 keep_text_compare((a)->stub->id, (b)->stub->id))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* How many bytes all names have in common at their beginning. */
static int
common_bytes(const AccountSet *set)
{
	const text *first = set->stubs[0]->id;
	int			common = VARSIZE_ANY_EXHDR(first);

	for (int i = 1; i < set->count && common > 0; i++)
	{
		const text *id = set->stubs[i]->id;
		int			same = 0;

		common = Min(common, (int) VARSIZE_ANY_EXHDR(id));
		while (same < common && VARDATA_ANY(first)[same] == VARDATA_ANY(id)[same])
			same++;
		common = same;
	}
	return common;
}

/*
 * Put the accounts in the order in which they are locked, and make room for
 * what will be known of them.
 */
void
account_set_sort(AccountSet *set)
{
	SortKey    *keys = palloc(sizeof(SortKey) * Max(set->count, 1));
	Account    *accounts;
	int			common = set->count > 0 ? common_bytes(set) : 0;

	for (int i = 0; i < set->count; i++)
	{
		const text *id = set->stubs[i]->id;
		int			left = Min((int) VARSIZE_ANY_EXHDR(id) - common, (int) sizeof(uint64));

		keys[i].stub = set->stubs[i];
		keys[i].prefix = 0;
		for (int b = 0; b < left; b++)
			keys[i].prefix |= (uint64) (unsigned char) VARDATA_ANY(id)[common + b] << (56 - 8 * b);
	}
	sort_keys(keys, set->count);
	set->sorted = palloc(sizeof(Account *) * set->space);
	accounts = MemoryContextAllocHuge(set->context, sizeof(Account) * Max(set->count, 1));
	for (int i = 0; i < set->count; i++)
	{
		memset(&accounts[i], 0, sizeof(Account));
		accounts[i].id = keys[i].stub->id;
		accounts[i].want = keys[i].stub->want;
		set->sorted[i] = keys[i].stub->account = &accounts[i];
	}
	pfree(keys);
}

/* Add an account behind those that are sorted. */
Account *
account_set_append(AccountSet *set, text *id, int32 want)
{
	AccountStub *stub = MemoryContextAlloc(set->context, sizeof(AccountStub));
	bool		found;

	stub->id = id;
	stub->want = want;
	stub->account = MemoryContextAllocZero(set->context, sizeof(Account));
	stub->account->id = id;
	stub->account->want = want;
	stub->account->rows = &stub->account->one;
	*keep_textmap_insert(set->map, id, &found) = stub;
	LEDGER_CHECK(!found);
	if (set->count == set->space)
	{
		set->space *= 2;
		set->sorted = repalloc_huge(set->sorted, sizeof(Account *) * set->space);
	}
	set->sorted[set->count++] = stub->account;
	return stub->account;
}

/* The account of that name, or NULL. */
Account *
account_set_find(AccountSet *set, text *id)
{
	AccountStub *stub = keep_textmap_find(set->map, id);

	return stub ? stub->account : NULL;
}

/* Drop the accounts that were appended last. */
void
account_set_truncate(AccountSet *set, int count)
{
	while (set->count > count)
		keep_textmap_remove(set->map, set->sorted[--set->count]->id);
}

/* Forget what is known of the accounts' rows, before locking them (again). */
void
account_set_reset(AccountSet *set)
{
	for (int i = 0; i < set->count; i++)
	{
		Account    *account = set->sorted[i];

		account->found = account->looked = account->short_of = false;
		account->nrows = 0;
		account->rows = &account->one;
	}
}

/* Take in a locked row, as ACCOUNT_LOCK returns it; rows come in order of shard. */
void
account_from_values(AccountSet *set, Account *account, const Datum *values,
					const bool *nulls, ItemPointer tid)
{
	MemoryContext old = MemoryContextSwitchTo(set->context);
	text	   *unit;
	AccountRow *row;

	keep_refuse_null(nulls[ACCOUNT_COL_UNIT] || nulls[ACCOUNT_COL_DEBITS_POSTED] ||
					 nulls[ACCOUNT_COL_CREDITS_POSTED] || nulls[ACCOUNT_COL_DEBITS_PENDING] ||
					 nulls[ACCOUNT_COL_CREDITS_PENDING] || nulls[ACCOUNT_COL_VERSION]);
	unit = DatumGetTextPP(values[ACCOUNT_COL_UNIT]);
	if (!account->found)
	{
		if (set->unit == NULL || !keep_text_equal(set->unit, unit))
			set->unit = DatumGetTextPCopy(values[ACCOUNT_COL_UNIT]);
		account->found = true;
		account->unit = set->unit;
		account->frozen = DatumGetBool(values[ACCOUNT_COL_FROZEN]);
		account->shards = DatumGetInt16(values[ACCOUNT_COL_SHARDS]);
		account->min = ledger_get_int8(values, nulls, ACCOUNT_COL_MIN);
		account->max = ledger_get_int8(values, nulls, ACCOUNT_COL_MAX);
		account->rows = &account->one;
		if (account->shards > 1)
			account->rows = palloc(sizeof(AccountRow) * account->shards);
	}
	LEDGER_CHECK(account->nrows < Max(account->shards, 1));
	row = &account->rows[account->nrows++];
	row->shard = DatumGetInt16(values[ACCOUNT_COL_SHARD]);
	row->dirty = false;
	row->tuple = NULL;
	ItemPointerSetInvalid(&row->tid);
	if (tid != NULL)
		row->tid = *tid;
	row->floor = ledger_get_int8(values, nulls, ACCOUNT_COL_FLOOR);
	row->ceiling = ledger_get_int8(values, nulls, ACCOUNT_COL_CEILING);
	row->locked.debits_posted = DatumGetInt64(values[ACCOUNT_COL_DEBITS_POSTED]);
	row->locked.credits_posted = DatumGetInt64(values[ACCOUNT_COL_CREDITS_POSTED]);
	row->locked.debits_pending = DatumGetInt64(values[ACCOUNT_COL_DEBITS_PENDING]);
	row->locked.credits_pending = DatumGetInt64(values[ACCOUNT_COL_CREDITS_PENDING]);
	row->locked.version = DatumGetInt64(values[ACCOUNT_COL_VERSION]);
	row->now = row->locked;
	row->over_debits = row->over_credits = 0;
	row->created = DatumGetTimestampTz(values[ACCOUNT_COL_CREATED]);
	row->opened = nulls[ACCOUNT_COL_OPENED] ? 0 : datumCopy(values[ACCOUNT_COL_OPENED], false, -1);
	MemoryContextSwitchTo(old);
}

/* The columns of a row as it is to be written; they point into it. */
void
account_to_values(const Account *account, const AccountRow *row, Datum *values, bool *nulls)
{
	memset(nulls, false, sizeof(bool) * ACCOUNT_NCOLS);
	values[ACCOUNT_COL_ID] = PointerGetDatum(account->id);
	values[ACCOUNT_COL_SHARD] = Int16GetDatum(row->shard);
	values[ACCOUNT_COL_SHARDS] = Int16GetDatum(account->shards);
	values[ACCOUNT_COL_UNIT] = PointerGetDatum(account->unit);
	values[ACCOUNT_COL_FROZEN] = BoolGetDatum(account->frozen);
	values[ACCOUNT_COL_DEBITS_POSTED] = Int64GetDatum(row->now.debits_posted);
	values[ACCOUNT_COL_CREDITS_POSTED] = Int64GetDatum(row->now.credits_posted);
	values[ACCOUNT_COL_DEBITS_PENDING] = Int64GetDatum(row->now.debits_pending +
													   row->over_debits);
	values[ACCOUNT_COL_CREDITS_PENDING] = Int64GetDatum(row->now.credits_pending +
														row->over_credits);
	values[ACCOUNT_COL_VERSION] = Int64GetDatum(row->now.version);
	values[ACCOUNT_COL_CREATED] = TimestampTzGetDatum(row->created);
	ledger_set_int8(values, nulls, ACCOUNT_COL_MIN, account->min);
	ledger_set_int8(values, nulls, ACCOUNT_COL_MAX, account->max);
	ledger_set_int8(values, nulls, ACCOUNT_COL_FLOOR, row->floor);
	ledger_set_int8(values, nulls, ACCOUNT_COL_CEILING, row->ceiling);
	values[ACCOUNT_COL_OPENED] = row->opened;
	nulls[ACCOUNT_COL_OPENED] = row->opened == 0;
}

/* The locked row of that shard, or NULL. */
AccountRow *
account_row(Account *account, int16 shard)
{
	for (int i = 0; i < account->nrows; i++)
		if (account->rows[i].shard == shard)
			return &account->rows[i];
	return NULL;
}

/* Credits less debits, as posted. */
int64
account_balance_of(const AccountRow *row)
{
	return row->now.credits_posted - row->now.debits_posted;
}

bool
account_same_unit(const Account *a, const Account *b)
{
	return a->unit == b->unit || keep_text_equal(a->unit, b->unit);
}

/* What a row can spend before it is at zero: its balance less what is held of it. */
static int64
row_available(const AccountRow *row)
{
	return row->now.credits_posted - (row->now.debits_posted + row->now.debits_pending);
}

/* What a row would have if all that is on hold for it came in. */
static int64
row_expected(const AccountRow *row)
{
	return row->now.credits_posted + row->now.credits_pending - row->now.debits_posted;
}

/*
 * May the amount leave the account, of which "row" is the row to book it on?
 * False for an account in shards of which one is locked says nothing yet.
 */
bool
account_can_pay(const Account *account, const AccountRow *row, int64 amount)
{
	int64		left = row_available(row);
	int64		limit = account->min;

	if (account->min == LEDGER_NULL)
		return true;
	if (account->shards > 1 && account->want != ACCOUNT_ALL_SHARDS)
		limit = row->floor;
	else if (account->shards > 1)
	{
		left = 0;
		for (int i = 0; i < account->nrows; i++)
			left += row_available(&account->rows[i]);
	}
	return !pg_sub_s64_overflow(left, amount, &left) && left >= limit;
}

/* May the amount come into the account? */
bool
account_can_take(const Account *account, const AccountRow *row, int64 amount)
{
	int64		sum = row_expected(row);
	int64		limit = account->max;

	if (account->max == LEDGER_NULL)
		return true;
	if (account->shards > 1 && account->want != ACCOUNT_ALL_SHARDS)
		limit = row->ceiling;
	else if (account->shards > 1)
	{
		sum = 0;
		for (int i = 0; i < account->nrows; i++)
			sum += row_expected(&account->rows[i]);
	}
	return !pg_add_s64_overflow(sum, amount, &sum) && sum <= limit;
}

/*
 * Does a sum of these stay within the row's part of bigint's range?  Holds that
 * are over count as long as the table has them.
 */
static bool
fits(const Account *account, int64 posted, int64 pending, int64 over, int64 amount)
{
	int64		sum;

	return !pg_add_s64_overflow(posted, pending, &sum) &&
		!pg_add_s64_overflow(sum, over, &sum) &&
		!pg_add_s64_overflow(sum, amount, &sum) &&
		sum <= PG_INT64_MAX / Max(account->shards, 1);
}

/* Would the row's debits stay within range with the amount added? */
bool
account_can_debit(const Account *account, const AccountRow *row, int64 amount)
{
	return fits(account, row->now.debits_posted, row->now.debits_pending, row->over_debits,
				amount);
}

/* Would its credits? */
bool
account_can_credit(const Account *account, const AccountRow *row, int64 amount)
{
	return fits(account, row->now.credits_posted, row->now.credits_pending, row->over_credits,
				amount);
}

/*
 * Parts of a limit: to each shard what it has used, and an even part of what is
 * left to the limit.  Where the account is beyond it (it was set so, or passed
 * over), each shard is as far from its part as the whole is from the limit: it
 * has room of its own only when it alone has made up for all of that.
 *
 * "lower" is for min_balance: what is used must not fall below its part.  The
 * parts' sum is the limit then, or else on the safe side of it.
 */
void
account_shares(int64 limit, bool lower, int shards, const int64 *used, int64 *shares)
{
	int128		left = limit;
	bool		beyond;

	for (int i = 0; i < shards; i++)
		left -= used[i];
	beyond = lower ? left > 0 : left < 0;
	for (int i = 0; i < shards; i++)
	{
		int128		share = used[i] + (beyond ? left : left / shards);

		/* what division leaves over goes to the first one */
		if (!beyond && i == 0)
			share += left % shards;
		shares[i] = Max(Min(share, PG_INT64_MAX), -PG_INT64_MAX);
	}
}

/*
 * Share out anew what an account in shards, all locked, has left to its limits.
 * Its rows are then to be written.
 */
void
account_share_out(Account *account)
{
	int64		used[LEDGER_MAX_SHARDS] = {0};
	int64		shares[LEDGER_MAX_SHARDS] = {0};

	LEDGER_CHECK(account->nrows == account->shards && account->shards <= LEDGER_MAX_SHARDS);
	for (int side = 0; side < 2; side++)
	{
		int64		limit = side == 0 ? account->min : account->max;

		for (int i = 0; i < account->nrows; i++)
			used[i] = side == 0 ? row_available(&account->rows[i])
				: row_expected(&account->rows[i]);
		if (limit != LEDGER_NULL)
			account_shares(limit, side == 0, account->nrows, used, shares);
		for (int i = 0; i < account->nrows; i++)
		{
			int64	   *share = side == 0 ? &account->rows[i].floor : &account->rows[i].ceiling;

			*share = limit == LEDGER_NULL ? LEDGER_NULL : shares[i];
			account->rows[i].dirty = true;
		}
	}
}
