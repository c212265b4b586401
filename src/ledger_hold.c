/*
 * ledger_hold.c
 *		Holds that are over: they count as nothing, released or not.
 *
 * A hold ends by the clock, and nobody need be there to note it.  Until it is
 * released it stays in the pending counters of both its accounts, so a call
 * that would reject a transfer for funds or limits first looks which of the
 * account's holds are over, and leaves them out.  It releases those of which it
 * has both accounts locked, or can lock the other one without waiting: whoever
 * holds that one may be waiting for ours.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "fault.h"
#include "ledger_hold.h"
#include "reap.h"
#include "stats.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(keep_expire_holds);

/* A call that needs the money of more holds than these leaves the rest to others. */
#define MAX_RELEASED 100

/* A hold, as the statements on holds return it. */
typedef struct Hold
{
	text	   *id;
	text	   *from;
	text	   *to;
	int16		from_shard;
	int16		to_shard;
	int64		held;
} Hold;

static void
read_hold(uint64 row, Hold *hold)
{
	Datum		values[6];
	bool		nulls[6];

	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
	keep_refuse_null(nulls[0] || nulls[1] || nulls[2] || nulls[5]);
	hold->id = DatumGetTextPCopy(values[0]);
	hold->from = DatumGetTextPCopy(values[1]);
	hold->to = DatumGetTextPCopy(values[2]);
	hold->from_shard = DatumGetInt16(values[3]);
	hold->to_shard = DatumGetInt16(values[4]);
	hold->held = DatumGetInt64(values[5]);
}

/*
 * The row of the account on the other side of a hold, locked; NULL where it is
 * not to be had.  Of other accounts than the call's own none at REPEATABLE READ:
 * that one has changed since is no reason to fail a call that can do without it.
 */
static AccountRow *
other_row(LedgerWork *work, text *id, int16 shard)
{
	Account    *other = account_set_find(&work->accounts, id);

	if (other == NULL && work->may_mark && !IsolationUsesXactSnapshot() &&
		list_length(work->expired) < MAX_RELEASED)
	{
		other = account_set_append(&work->accounts, id, shard);
		ledger_spi_lock_free(work, other, shard);
	}
	return other != NULL && other->found ? account_row(other, shard) : NULL;
}

/*
 * Lock a hold that is to be released, if it is still pending and nobody else
 * has locked it: who has may be waiting for one of its accounts.
 */
static bool
lock_hold(LedgerWork *work, const Hold *hold)
{
	Datum		param = PointerGetDatum(hold->id);
	bool		locked = keep_run(work->ledger.transfers, TRANSFER_LOCK_HOLD, &param, NULL,
								  false) == 1;

	SPI_freetuptable(SPI_tuptable);
	return locked;
}

/* A hold counts as nothing on this row from now on, though the table still has it. */
static void
leave_out(AccountRow *row, bool debit, int64 held)
{
	int64	   *locked = debit ? &row->locked.debits_pending : &row->locked.credits_pending;
	int64	   *now = debit ? &row->now.debits_pending : &row->now.credits_pending;

	*locked -= held;
	*now -= held;
	LEDGER_CHECK(*locked >= 0 && *now >= 0);
	*(debit ? &row->over_debits : &row->over_credits) += held;
}

/* ... and the table is to have it no longer. */
static void
write_out(AccountRow *row, bool debit, int64 held)
{
	*(debit ? &row->over_debits : &row->over_credits) -= held;
	row->locked.version++;
	row->now.version++;
	row->dirty = true;
}

/*
 * Leave out the holds of an account that are over, and release those that can
 * be.  Looks once a call.  Returns nothing: whoever asks looks at the counters.
 */
void
ledger_look_at_holds(LedgerWork *work, Account *account)
{
	Datum		params[2] = {PointerGetDatum(account->id), TimestampTzGetDatum(work->now)};
	uint64		nholds;
	Hold	   *holds;

	account->looked = true;
	nholds = keep_run(work->ledger.transfers, TRANSFER_HOLDS_OVER, params, NULL, false);
	holds = palloc(sizeof(Hold) * Max(nholds, 1));
	for (uint64 i = 0; i < nholds; i++)
		read_hold(i, &holds[i]);
	SPI_freetuptable(SPI_tuptable);

	for (uint64 i = 0; i < nholds; i++)
	{
		Hold	   *hold = &holds[i];
		bool		debit = keep_text_compare(hold->from, account->id) == 0;
		AccountRow *row = account_row(account, debit ? hold->from_shard : hold->to_shard);
		text	   *other_id = debit ? hold->to : hold->from;
		int16		other_shard = debit ? hold->to_shard : hold->from_shard;
		Account    *other = account_set_find(&work->accounts, other_id);
		AccountRow *other_side;

		CHECK_FOR_INTERRUPTS();
		/* not of the locked shard; or left out when the other one was looked at */
		if (row == NULL ||
			(other != NULL && other->looked && account_row(other, other_shard) != NULL))
			continue;
		other_side = other_row(work, other_id, other_shard);
		leave_out(row, debit, hold->held);
		if (other_side == NULL)
			continue;
		leave_out(other_side, !debit, hold->held);
		if (!work->may_mark || list_length(work->expired) >= MAX_RELEASED ||
			!lock_hold(work, hold))
			continue;
		write_out(row, debit, hold->held);
		write_out(other_side, !debit, hold->held);
		work->expired = lappend(work->expired, hold->id);
	}
}

/* Mark the holds that were released as expired. */
void
ledger_mark_expired(LedgerWork *work)
{
	Datum		params[2];

	if (work->expired == NIL)
		return;
	params[0] = ledger_texts(work->expired);
	params[1] = TimestampTzGetDatum(work->now);
	if (keep_run(work->ledger.transfers, TRANSFER_EXPIRE, params, NULL, false) !=
		(uint64) list_length(work->expired))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("holds in \"%s\" were not released",
						get_rel_name(work->ledger.transfers->relid)),
				 errdetail("A trigger suppressed it.")));
	KEEP_FAULT("hold: marked as expired");
	keep_count(work->ledger.accounts->relid, KEEP_EXPIRED, list_length(work->expired));
}

/* The holds that are over, the first ones first, and the accounts they are on. */
static List *
due_holds(LedgerWork *work, int64 batch)
{
	Datum		params[2] = {TimestampTzGetDatum(work->now), Int64GetDatum(batch)};
	uint64		n = keep_run(work->ledger.transfers, TRANSFER_HOLDS_DUE, params, NULL, false);
	List	   *holds = NIL;

	account_set_init(&work->accounts, 2 * Min(n, 1000));
	for (uint64 i = 0; i < n; i++)
	{
		Hold	   *hold = palloc(sizeof(Hold));

		read_hold(i, hold);
		account_set_add(&work->accounts, hold->from, hold->from_shard);
		account_set_add(&work->accounts, hold->to, hold->to_shard);
		holds = lappend(holds, hold);
	}
	SPI_freetuptable(SPI_tuptable);
	return holds;
}

/* Lock what nobody else has locked of the accounts in the set, in order. */
static void
lock_free(LedgerWork *work)
{
	account_set_sort(&work->accounts);
	account_set_reset(&work->accounts);
	for (int i = 0; i < work->accounts.count; i++)
	{
		Account    *account = work->accounts.sorted[i];

		CHECK_FOR_INTERRUPTS();
		if (account->want >= 0)
		{
			ledger_spi_lock_free(work, account, account->want);
			continue;
		}
		for (int shard = 0; shard < (account->found ? account->shards : LEDGER_MAX_SHARDS); shard++)
			ledger_spi_lock_free(work, account, shard);
	}
}

/* Release a hold if it is still there and both its accounts are locked. */
static void
release_due(LedgerWork *work, Hold *hold)
{
	Account    *from = account_set_find(&work->accounts, hold->from);
	Account    *to = account_set_find(&work->accounts, hold->to);
	AccountRow *from_row = from->found ? account_row(from, hold->from_shard) : NULL;
	AccountRow *to_row = to->found ? account_row(to, hold->to_shard) : NULL;

	/* it may have been posted or voided before its accounts were locked */
	if (from_row == NULL || to_row == NULL || !lock_hold(work, hold))
		return;
	leave_out(from_row, true, hold->held);
	leave_out(to_row, false, hold->held);
	write_out(from_row, true, hold->held);
	write_out(to_row, false, hold->held);
	work->expired = lappend(work->expired, hold->id);
}

/*
 * Release up to "batch" holds that are over; how many are.  Where all that was
 * looked at is on accounts that others have locked, look at twice as many.
 */
static int
release_all_due(LedgerWork *work, int batch)
{
	List	   *holds;
	ListCell   *cell;
	int64		look = batch;

	work->path = &ledger_spi_path;
	work->now = keep_clock_now();
	for (;; look *= 2)
	{
		holds = due_holds(work, look);
		lock_free(work);
		foreach(cell, holds)
		{
			CHECK_FOR_INTERRUPTS();
			if (list_length(work->expired) < batch)
				release_due(work, lfirst(cell));
		}
		if (work->expired != NIL || list_length(holds) < look)
			break;
	}
	work->path->write(work);
	KEEP_FAULT("hold: counters written");
	ledger_mark_expired(work);
	return list_length(work->expired);
}

/*
 * keep.expire_holds(ledger regclass, batch int) returns bigint
 *
 * Releases up to "batch" holds that are over, and returns how many.  Never
 * needed for right answers: it tidies.  Passes over holds on accounts that
 * others have locked.
 */
Datum
keep_expire_holds(PG_FUNCTION_ARGS)
{
	LedgerWork	work;
	int			released;

	ledger_begin(&work, fcinfo, "keep.expire_holds()", ACL_SELECT | ACL_UPDATE,
				 ACL_SELECT | ACL_UPDATE);
	released = release_all_due(&work, keep_arg_count(fcinfo, 1, "batch"));
	SPI_finish();
	PG_RETURN_INT64(released);
}

/* The same for the reaper: see reap.h. */
bool
ledger_reap(KeepReaping *reaping)
{
	LedgerWork	work = {.caller = CurrentMemoryContext};

	ledger_open(&work.ledger, reaping->relid, RowExclusiveLock);
	reaping->ended = release_all_due(&work, reaping->batch);
	if (reaping->ended > 0)
		return true;
	reaping->next = keep_run_time(work.ledger.transfers, TRANSFER_HOLDS_NEXT, NULL);
	return false;
}
