/*
 * history_beside.c
 *		What ran beside a call: who may have held the row that it found locked, and which rows
 *		an expire may have deleted.
 */
#include "history.h"

#include <stdlib.h>

/* A row as it stood for a while, and whose life was over at some time. */
typedef struct Row
{
	int			rule;
	int64_t		over;			/* microseconds since 1970: not before */
	int64_t		inv;			/* it came not before, and was there until "end" at the latest */
	int64_t		end;
	bool		swept;
} Row;

/* May the call have locked the row of its key? */
bool
may_lock(const StoreOp *op)
{
	switch (op->call)
	{
		case DO_GET:
		case DO_GET_ENTRY:
		case DO_GET_MANY:
		case DO_WAIT_FOR:
			return false;
		case DO_ACQUIRE:
			/* this is what it answers when it did not get the lock */
			return !op->answered || op->said != SAID_LOCKED;
		default:
			return true;
	}
}

/* Another's call: its locks may be held from its beginning to the end of its transaction. */
static bool
is_beside(const StoreOp *op, const StoreOp *other)
{
	int64_t		end = other->txn->single ? other->comp : other->txn->end_comp;

	return other->worker != op->worker && other->inv <= op->comp && end >= op->inv &&
		may_lock(other);
}

static bool
has_rival(const KeyHistory *k, StoreOp **ops, int count, const StoreOp *op)
{
	const History *history = k->history;

	for (int i = 0; i < count; i++)
		if (is_beside(op, ops[i]))
			return true;
	for (long i = 0; i < history->nsweeps; i++)
		if (history->rule_of[history->sweeps[i]->key] == history->rule_of[k->key] &&
			is_beside(op, history->sweeps[i]))
			return true;
	return false;
}

/*
 * Somebody must have held the row that an acquire has found locked. When the reaper does it is not
 * known: where it runs they are only counted.
 */
void
check_locked(const KeyHistory *k, StoreOp **ops, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (!ops[i]->answered || ops[i]->said != SAID_LOCKED)
			continue;
		k->history->locked++;
		if (has_rival(k, ops, count, ops[i]))
			continue;
		k->history->by_reaper++;
		if (!k->history->reaper)
			found(&k->history->findings, "key %d: nobody can have held the row: %s", k->key,
				  show_op(ops[i]));
	}
}

static int
compare_comp(const void *a, const void *b)
{
	int64_t		left = (*(StoreOp *const *) a)->comp;
	int64_t		right = (*(StoreOp *const *) b)->comp;

	return left < right ? -1 : left > right;
}

/* Take the calls of expire out of the history, as they ended. */
void
collect_sweeps(History *history)
{
	history->sweeps = allot(sizeof(StoreOp *) * history->count);
	for (long i = 0; i < history->count; i++)
		if (history->ops[i]->call == DO_EXPIRE)
			history->sweeps[history->nsweeps++] = history->ops[i];
	qsort(history->sweeps, history->nsweeps, sizeof(StoreOp *), compare_comp);
}

static void
add_row(const KeyHistory *k, int64_t over, int64_t inv, int64_t end)
{
	History    *history = k->history;

	if (history->nrows == history->rows_room)
	{
		history->rows_room = history->rows_room * 2 + 64;
		history->rows = enlarge(history->rows, sizeof(Row) * history->rows_room);
	}
	history->rows[history->nrows++] = (Row) {history->rule_of[k->key], over, inv, end, false};
}

/*
 * Note each row that may have been there when its life was over: until another entry stands there,
 * or it is deleted. An unknown call may have left one that nobody saw.
 */
void
collect_rows(const KeyHistory *k)
{
	for (int i = 0; i < k->nsteps; i++)
	{
		const State *state = &k->steps[i].state;
		int			next = i + 1;

		if (!state->there || state->expires_low == FOREVER)
			continue;
		/* of those that only prolong it may not be known which came last */
		while (next < k->nsteps && k->steps[next].state.there &&
			   k->steps[next].state.version == state->version)
			next++;
		add_row(k, state->expires_low, k->steps[i].inv,
				next < k->nsteps ? k->steps[next].comp : FOREVER);
	}
	for (int i = 0; i < k->nunknown; i++)
		if (may_lock(k->unknown[i].op))
			add_row(k, k->unknown[i].op->from, k->unknown[i].op->inv, FOREVER);
}

static int
compare_ends(const void *a, const void *b)
{
	int64_t		left = ((const Row *) a)->end;
	int64_t		right = ((const Row *) b)->end;

	return left < right ? -1 : left > right;
}

/*
 * No expire can have deleted more than was there and over, and no row is deleted twice. Each, as
 * they ended, takes what is gone first: what it leaves is at least as good for those that come
 * after it. (It may delete less than that: the reaper was there first, or a row is locked.)
 */
void
check_sweeps(History *history)
{
	if (history->nrows > 0)
		qsort(history->rows, history->nrows, sizeof(Row), compare_ends);
	for (long i = 0; i < history->nsweeps; i++)
	{
		const StoreOp *op = history->sweeps[i];
		int64_t		left = op->answered ? op->answer.n : 0;

		history->swept += left;
		for (long r = 0; r < history->nrows && left > 0; r++)
		{
			Row		   *row = &history->rows[r];

			if (row->swept || row->rule != history->rule_of[op->key] || row->end < op->inv ||
				row->inv > op->comp || row->over > op->to)
				continue;
			row->swept = true;
			left--;
		}
		if (left > 0)
			found(&history->findings, "%lld more than were there and over: %s", (long long) left,
				  show_op(op));
	}
	free(history->sweeps);
	free(history->rows);
}
