/*
 * ledger_work.c
 *		The course of a call on a ledger: lock, decide, write; again if need be.
 *
 * All locks on accounts are taken at once and in order, so that calls cannot
 * wait for each other in a circle.  Where it turns out only then that more of
 * them are needed (all shards of an account), or that somebody else has stored
 * one of the ids in the meantime, the call starts over; an internal
 * subtransaction around it gives its locks back, and undoes what it wrote.
 * There is one a call, not one an item.  A plain single transfer needs none: it
 * writes nothing before its id is in.
 */
#include "postgres.h"

#include "clock.h"
#include "fault.h"
#include "ledger_hold.h"
#include "ledger_work.h"
#include "subxact.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

/* A call that has started over this often has met a rival each time. */
#define MAX_ATTEMPTS	1000

/* So often it does because an account has appeared. */
#define MAX_LOOKS		3

static bool direct_access = true;

/* Define pg_keep.direct_access; called once, from _PG_init(). */
void
ledger_work_init(void)
{
	DefineCustomBoolVariable("pg_keep.direct_access",
							 "Lets transfers reach the tables of a ledger directly where they can.",
							 "Off, every statement goes through the executor.",
							 &direct_access, true, PGC_USERSET, 0, NULL, NULL, NULL);
}

/*
 * Is one of the accounts there that were not found?  It may have been opened in
 * a transaction that we have waited for, whose other writes we have seen.
 */
static bool
has_appeared(LedgerWork *work)
{
	List	   *missing = NIL;
	Datum		param;
	bool		appeared;

	for (int i = 0; i < work->accounts.count; i++)
		if (!work->accounts.sorted[i]->found)
			missing = lappend(missing, work->accounts.sorted[i]->id);
	if (missing == NIL)
		return false;
	param = ledger_texts(missing);
	appeared = keep_run(work->ledger.accounts, ACCOUNT_EXISTS, &param, NULL, false) > 0;
	SPI_freetuptable(SPI_tuptable);
	/* a snapshot that stays as it is had it all the time */
	if (appeared && (IsolationUsesXactSnapshot() || work->looks++ >= MAX_LOOKS))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("an account of ledger \"%s\" can be seen but not be locked",
						get_rel_name(work->ledger.accounts->relid)),
				 errhint("A row-level security policy for UPDATE must let its row pass too.")));
	return appeared;
}

/*
 * Write what has become of the accounts.  Before any statement on transfers
 * that could fire a trigger, where the call need not be able to do without: a
 * trigger may call us again, and must find the accounts as we leave them.
 */
void
ledger_work_write(LedgerWork *work)
{
	AccountSet *set = &work->accounts;

	for (int i = 0; i < set->count; i++)
	{
		Account    *account = set->sorted[i];

		if (account->shards > 1 && account->want == ACCOUNT_ALL_SHARDS && account->found)
			account_share_out(account);
		for (int r = 0; r < account->nrows; r++)
		{
			Counters   *now = &account->rows[r].now;

			LEDGER_CHECK(now->debits_posted >= 0 && now->credits_posted >= 0 &&
						 now->debits_pending >= 0 && now->credits_pending >= 0);
		}
	}
	work->path->write(work);
	KEEP_FAULT("ledger: accounts written");
	work->written = true;
}

/* One attempt: lock, read the clock, decide, write. */
static bool
attempt(LedgerWork *work, LedgerDecide decide, void *arg)
{
	AccountSet *set = &work->accounts;

	account_set_reset(set);
	work->expired = NIL;
	work->again = work->written = false;
	work->path->lock(work);
	KEEP_FAULT("ledger: accounts locked");
	if (work->again || has_appeared(work))
		return false;
	work->now = keep_clock_now();
	if (!decide(work, arg))
		return false;

	if (!work->written)
		ledger_work_write(work);
	ledger_mark_expired(work);
	return true;
}

/* Is this the error of a second row with the id of a transfer? */
static bool
is_duplicate_id(LedgerWork *work, ErrorData *error)
{
	Relation	rel;
	Oid			index;
	bool		result;

	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION || error->constraint_name == NULL)
		return false;
	rel = RelationIdGetRelation(work->ledger.transfers->relid);
	(void) RelationGetIndexList(rel);
	index = rel->rd_pkindex;
	result = OidIsValid(index) && strcmp(get_rel_name(index), error->constraint_name) == 0 &&
		error->table_name != NULL && strcmp(RelationGetRelationName(rel), error->table_name) == 0 &&
		error->schema_name != NULL &&
		strcmp(get_namespace_name(RelationGetNamespace(rel)), error->schema_name) == 0;
	RelationClose(rel);
	return result;
}

/* What an attempt in a subtransaction takes. */
typedef struct Attempt
{
	LedgerWork *work;
	LedgerDecide decide;
	void	   *arg;
} Attempt;

static bool
attempt_and_end(void *arg)
{
	Attempt    *it = arg;

	if (!attempt(it->work, it->decide, it->arg))
		return false;
	it->work->path->end(it->work);
	return true;
}

/* One attempt, of which nothing stays where it returns false. */
static bool
attempt_in_subtransaction(LedgerWork *work, LedgerDecide decide, void *arg)
{
	Attempt		it = {work, decide, arg};
	bool		done;
	ErrorData  *error = keep_subxact(attempt_and_end, &it, &done);

	KEEP_FAULT("ledger: subtransaction ended");
	if (error != NULL)
	{
		if (!is_duplicate_id(work, error))
			ReThrowError(error);
		FreeErrorData(error);
	}
	return done;
}

/*
 * Do a call's work, with the accounts that are in the work's set, sorted.  All in the
 * caller's transaction: what it has written is seen by its next command.
 */
void
ledger_work_run(LedgerWork *work, LedgerDecide decide, void *arg)
{
	Oid			transfers = work->ledger.transfers->relid;
	int			naccounts = work->accounts.count;
	bool		done = false;

	work->may_mark = pg_class_aclcheck(transfers, GetUserId(), ACL_UPDATE) == ACLCHECK_OK &&
		check_enable_rls(transfers, InvalidOid, true) != RLS_ENABLED;
	work->path = direct_access && ledger_direct_can(work) ? &ledger_direct_path : &ledger_spi_path;
	work->path->begin(work);
	while (!done)
	{
		CHECK_FOR_INTERRUPTS();
		if (work->attempts++ > MAX_ATTEMPTS)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not store transfers"),
					 errdetail("Others keep storing the same ones.")));
		/* without those that were only locked because they were free */
		account_set_truncate(&work->accounts, naccounts);
		work->subtransaction = work->subtransaction || work->subtransaction_next;
		if (work->subtransaction)
			done = attempt_in_subtransaction(work, decide, arg);
		else
		{
			done = attempt(work, decide, arg);
			work->path->end(work);
		}
	}
	CommandCounterIncrement();
}
