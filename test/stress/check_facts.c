/*
 * check_facts.c
 *		Each answer that a connection got, against what is stored in the end.
 */
#include "load.h"

#include <string.h>

static void
wrong(const Fact *fact, const char *what)
{
	complain("%s\n  asked    %s\n  answered %s%s%s", what, show_item(&fact->item),
			 fact->state[0] ? fact->state : show_answer(&fact->answer),
			 fact->batch ? " in a batch" : "",
			 fact->unknown ? " (connection lost)" : "");
}

/* Does the request ask for what is stored under its id? */
bool
row_repeats(const Row *row, const Item *item)
{
	if (item->kind == REVERSE)
		return row->reverses == item->original && same(row->part, item->amount) &&
			row->force == item->force;
	return row->reverses == 0 && row->from == item->from && row->to == item->to &&
		row->hold.set == (item->hold > 0) && row->hold.v == item->hold &&
		(row->status == POSTED && row->part.set ? row->held.v : row->amount.v) == item->amount.v;
}

/* A status at some time, and the one at the end */
static bool
may_become(Status then, const Row *row)
{
	if (then == PENDING)
		return row->hold.set && row->status != REJECTED;
	return then == row->status;
}

/* The first run of a transfer or reversal, or a replay of it */
static void
check_run(Fact *fact, Row *row)
{
	Answer	   *a = &fact->answer;
	bool		newly = fact->answered && !a->replayed;

	if (!row_repeats(row, &fact->item))
		wrong(fact, "accepted under an id that belongs to another transfer");
	if (!fact->answered)
	{
		if (row->status == REJECTED)
			wrong(fact, "a rejection was left out of a report of exceptions");
		row->firsts++;
	}
	else if (newly)
	{
		row->firsts++;
		if (a->status != POSTED && a->status != PENDING && a->status != REJECTED)
			wrong(fact, "no outcome of a first run");
		if (a->status == POSTED && fact->item.hold)
			wrong(fact, "a hold that posted at once");
	}
	if ((newly || !fact->answered) && !fact->item.hold && row->status == POSTED)
	{
		row->began = fact->began;
		row->ended = fact->ended;
	}
	if (!fact->answered)
		return;
	if (!may_become(a->status, row))
		wrong(fact, "another status is stored");
	if (a->status == REJECTED && a->reason != row->reason)
		wrong(fact, "another reason is stored");
	if (!same(a->from_balance, row->from_balance) || !same(a->to_balance, row->to_balance))
		wrong(fact, "the balances of the first run are stored differently");
	if (!same(a->created, row->created))
		wrong(fact, "another time of creation is stored");
	if ((newly || a->status != PENDING) && !same(a->amount, row->amount) &&
		!(newly && row->hold.set))
		wrong(fact, "another amount is stored");
}

static void
check_settling(Fact *fact, Row *row)
{
	Answer	   *a = &fact->answer;
	Status		aim = fact->item.kind == POST ? POSTED : VOIDED;
	bool		plain = row->status == POSTED && !row->hold.set;

	if (a->status == PENDING)
	{
		if (a->reason != ACCOUNT_FROZEN || fact->item.kind != POST)
			wrong(fact, "neither settled nor refused");
		return;
	}
	if (a->status != row->status)
		wrong(fact, "another status is stored");
	if (a->status != aim)
	{
		/* to void what is over is a replay */
		if (a->replayed != (a->status == EXPIRED && aim == VOIDED) || a->from_balance.set ||
			a->to_balance.set)
			wrong(fact, "it did not apply, but shows balances or is a replay");
		return;
	}
	if (plain && !a->replayed)
		wrong(fact, "posted again");
	if (!a->replayed)
	{
		if (aim == POSTED)
		{
			row->posts++;
			row->began = fact->began;
			row->ended = fact->ended;
		}
		else
			row->voids++;
	}
	if (aim == POSTED && (plain ? fact->item.amount.set && !same(fact->item.amount, row->amount) :
						  !same(fact->item.amount, row->part)))
		wrong(fact, "posted with another amount than is stored");
	if (!same(a->amount, row->amount))
		wrong(fact, "another amount is stored");
	if (!same(a->from_balance, plain ? row->from_balance : row->settled_from) ||
		!same(a->to_balance, plain ? row->to_balance : row->settled_to))
		wrong(fact, "the balances of the post or void are stored differently");
}

/* A call that failed, or a mismatch: was there reason to? */
static void
check_failure(Check *check, Fact *fact, Row *row)
{
	Item	   *item = &fact->item;
	Row		   *original = item->kind == REVERSE ? &check->rows[item->original] : row;

	if (strcmp(fact->state, "KP404") == 0)
	{
		if (item->kind == TRANSFER || (original->status != ABSENT && original->known < fact->began))
			wrong(fact, "not found, though it was known before");
	}
	else if (strcmp(fact->state, "22023") == 0)
	{
		if (item->kind == POST ? !row->held.set || item->amount.v <= row->held.v :
			item->kind != REVERSE || original->reverses == 0)
			wrong(fact, "refused without need");
	}
	else if (item->kind == POST)
	{
		if (row->status != POSTED || same(row->part, item->amount) ||
			(!row->hold.set && (!item->amount.set || same(row->amount, item->amount))))
			wrong(fact, "a mismatch that is none");
	}
	else if (item->kind == VOID || row->status == ABSENT || row_repeats(row, item))
		wrong(fact, "a mismatch that is none");
}

/* Nothing runs on an account while it is frozen. */
static void
check_frozen(Check *check, Fact *fact, Row *row)
{
	Load	   *load = check->load;

	if (fact->answered && (fact->answer.replayed || fact->answer.status == REJECTED ||
						   (fact->item.kind == POST && fact->answer.status != POSTED)))
		return;
	if (fact->item.kind == VOID || fact->state[0] || fact->unknown ||
		(fact->answered && fact->answer.status == MISMATCH))
		return;
	for (int i = 0; i < load->nfreezes; i++)
		if ((load->freezes[i].account == row->from || load->freezes[i].account == row->to) &&
			load->freezes[i].from < fact->began && fact->ended < load->freezes[i].until)
			wrong(fact, "it ran on a frozen account");
}

static void
check_fact(Check *check, Fact *fact)
{
	Row		   *row = &check->rows[fact->item.id];
	bool		failed = fact->state[0] || (fact->answered && fact->answer.status == MISMATCH);

	if (fact->unknown)
		return;
	if (failed)
	{
		check_failure(check, fact, row);
		return;
	}
	if (row->status == ABSENT)
	{
		wrong(fact, "nothing is stored");
		return;
	}
	if (fact->item.kind == POST || fact->item.kind == VOID)
		check_settling(fact, row);
	else
		check_run(fact, row);
	check_frozen(check, fact, row);
}

/* What is stored must have been answered, once. */
static void
check_row(Check *check, int id)
{
	Row		   *row = &check->rows[id];
	bool		posted = row->status == POSTED && row->hold.set;
	bool		voided = row->status == VOIDED;

	if (row->status == ABSENT)
		return;
	if (row->firsts > 1 || (row->firsts == 0 && !row->unknown))
		complain("#%d ran %d times", id, row->firsts);
	if (row->posts > 1 || (row->posts == 0 && posted && !row->unknown_settling))
		complain("#%d was posted %d times", id, row->posts);
	if (row->voids > 1 || (row->voids == 0 && voided && !row->unknown_settling))
		complain("#%d was voided %d times", id, row->voids);
	if (row->metadata.set && row->metadata.v != id)
		complain("#%d has the metadata of #%lld", id, (long long) row->metadata.v);
}

/* All facts of all connections */
void
check_facts(Check *check)
{
	for (int pass = 0; pass < 2; pass++)
		for (int w = 0; w < check->load->workers; w++)
			for (int i = 0; i < check->workers[w].nfacts; i++)
			{
				Fact	   *fact = &check->workers[w].facts[i];
				Row		   *row = &check->rows[fact->item.id];

				if (pass == 1)
					check_fact(check, fact);
				else if (fact->unknown && (fact->item.kind == POST || fact->item.kind == VOID))
					row->unknown_settling = true;
				else if (fact->unknown)
					row->unknown = true;
				else if (!fact->state[0] && fact->ended < row->known)
					row->known = fact->ended;
			}
	for (int id = 1; id < check->nrows; id++)
		check_row(check, id);
}
