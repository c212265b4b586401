/*
 * history_steps.c
 *		The writes of one key, in order, each of which leads from one state to the next.
 *
 * What a transaction does to a key is one step, from the state that others left to the one that
 * it leaves. In between it is alone with the key, as it holds the row: each of its answers
 * follows from the one before.
 *
 * A call of which nobody knows whether it has happened is a step where somebody saw what it
 * wrote, or where what came after cannot be explained without it.
 */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#define MOST_ASSUMED 3			/* that nobody saw, between two that somebody did */

static const Said writes[] = {
	SAID_CREATED, SAID_UPDATED, SAID_TOUCHED, SAID_PERSISTED, SAID_DELETED, SAID_RENEWED,
	SAID_RELEASED
};

/* What the transaction has made of the key so far. */
typedef struct Own
{
	bool		set;
	bool		sure;
	bool		version;		/* is its own */
	State		state;
	int64_t		moment;
	const StoreOp *first;
} Own;

static void
add_look(KeyHistory *k, const StoreOp *op, int64_t inv, int64_t comp)
{
	k->looks[k->nlooks++] = (Look) {op, inv, comp};
}

/* A look at what others have left: at one's snapshot, if that stands still. */
static void
add_look_of(KeyHistory *k, const StoreOp *op)
{
	if (op->txn->repeatable)
		add_look(k, op, op->txn->snapshot_inv, op->txn->snapshot_comp);
	else
		add_look(k, op, op->inv, op->comp);
}

static bool
new_version(const StoreOp *op)
{
	return op->said == SAID_CREATED || op->said == SAID_UPDATED;
}

/* An acquire does not say whether the lease is new, but its token does. */
static void
set_age(State *state, const StoreOp *op)
{
	state->created_low = state->updated_low = op->from;
	state->created_high = state->updated_high = op->to;
}

static void
take_write(KeyHistory *k, Own *own, const StoreOp *op)
{
	State		state = state_said(op);

	if (own->set && own->version && !op->undone &&
		(new_version(op) || op->said == SAID_DELETED || op->said == SAID_RELEASED))
		k->dirty[k->ndirty++] = own->state.version;
	if (own->set && op->said == SAID_ACQUIRED && own->state.version != op->version)
		set_age(&state, op);
	else if (own->set && op->said != SAID_CREATED)
	{
		state.created_low = own->state.created_low;
		state.created_high = own->state.created_high;
		if (op->said != SAID_UPDATED)
		{
			state.updated_low = own->state.updated_low;
			state.updated_high = own->state.updated_high;
		}
	}
	if (!own->set)
		own->first = op;
	own->version = new_version(op) || (own->set && own->version && state.there);
	own->sure = own->sure || writes_surely(op);
	own->state = state;
	/* one that has only met the state has done so when it was there */
	own->moment = op->expires - op->ttl < op->to ? op->expires - op->ttl : op->to;
	own->set = true;
}

static void
take_op(KeyHistory *k, Own *own, const StoreOp *op)
{
	bool		lost = op->undone || op->txn->fate != COMMITTED;

	if (own->set && !fits(k->rule, &own->state, op))
		found(&k->history->findings, "key %d: the transaction itself has left %s, and then: %s",
			  k->key, show_state(&own->state), show_op(op));
	if (!may_write(k->rule, op))
	{
		if (!own->set)
			add_look_of(k, op);
		return;
	}
	if (lost && new_version(op))
		k->dirty[k->ndirty++] = op->version;
	if (lost && !own->set)
		add_look_of(k, op);
	take_write(k, own, op);
}

/* At the end of a transaction that has asserted a lease it must still be that lease. */
static void
add_hold(KeyHistory *k, const StoreOp *assert)
{
	StoreOp		   *hold = &k->made[k->nmade++];

	*hold = *assert;
	hold->call = DO_HOLD;
	add_look(k, hold, assert->txn->end_inv, assert->txn->end_comp);
}

/* The calls of one transaction on the key, in order */
static void
collect_txn(KeyHistory *k, StoreOp **ops, int count)
{
	Txn		   *txn = ops[0]->txn;
	Own			own = {0};
	Own			saved = {0};
	const StoreOp *assert = NULL;
	int			part = 0;
	bool		undone = false;

	for (int i = 0; i < count; i++)
	{
		if (ops[i]->part != part)
		{
			if (undone)
				own = saved;
			saved = own;
			part = ops[i]->part;
			undone = ops[i]->undone;
		}
		if (ops[i]->unknown)
			k->unknown[k->nunknown++].op = ops[i];
		if (!ops[i]->answered)
			continue;
		take_op(k, &own, ops[i]);
		if (ops[i]->said == SAID_PASSED && !ops[i]->undone && !txn->single)
			assert = ops[i];
	}
	if (undone)
		own = saved;
	if (txn->fate != COMMITTED)
		return;
	if (own.set)
		k->steps[k->nsteps++] = (Step) {own.state, own.first, own.sure, false, txn->end_inv,
										txn->end_comp, own.moment, false};
	else if (assert != NULL)
		add_hold(k, assert);
}

/* What was seen of an entry that a write before must have left, or NULL */
static bool
tells_of_entry(KeyHistory *k, const StoreOp *op)
{
	if (op->version == 0 || op->said == SAID_ACQUIRED)
		return false;
	if (op->said == SAID_DELETED || op->said == SAID_RELEASED)
		return true;
	return !may_write(k->rule, op) && op->said != SAID_TAKEN;
}

/*
 * By version; what was deleted last; in between others by their end, as it is only put off. A
 * lease can also be shortened: but its end tells by what time, under the lock of its row, it was.
 */
static int
compare_steps(const Step *a, const Step *b, bool leases)
{
	int64_t		left = leases ? a->moment : a->state.expires_low;
	int64_t		right = leases ? b->moment : b->state.expires_low;

	if (a->state.version != b->state.version)
		return a->state.version < b->state.version ? -1 : 1;
	if (a->state.there != b->state.there)
		return a->state.there ? -1 : 1;
	if (!a->state.there)
		return a->inv < b->inv ? -1 : a->inv > b->inv;
	return left < right ? -1 : left > right;
}

static int
compare_plain(const void *a, const void *b)
{
	return compare_steps(a, b, false);
}

static int
compare_leases(const void *a, const void *b)
{
	return compare_steps(a, b, true);
}

static void
sort_steps(KeyHistory *k)
{
	qsort(k->steps, k->nsteps, sizeof(Step), k->rule->leases ? compare_leases : compare_plain);
}

/* The first of the "count" sorted steps of a version or a higher one */
static int
find_version(KeyHistory *k, int count, int64_t version)
{
	int			low = 0;

	while (low < count)
	{
		int			middle = (low + count) / 2;

		if (k->steps[middle].state.version < version)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

static bool
is_state_of(const Step *step, const StoreOp *op)
{
	return step->state.there && step->state.version == op->version &&
		step->state.expires_low == op->expires;
}

/* The unknown call on a lease that may have given it this end */
static const StoreOp *
unknown_of_lease(KeyHistory *k, const StoreOp *op)
{
	for (int i = 0; i < k->nunknown; i++)
	{
		const StoreOp *u = k->unknown[i].op;

		if (op->expires >= u->from + u->ttl && op->expires <= u->to + u->ttl &&
			((u->call == DO_ACQUIRE && same_value(&u->value, &op->answer)) ||
			 (u->call == DO_RENEW && u->expected == op->version)))
			return u;
	}
	return NULL;
}

/*
 * Somebody has seen this entry, at "comp" at the latest: if no known call has written it, an
 * unknown one has, which had begun by then.
 */
static void
account_for(KeyHistory *k, int known, const StoreOp *op, int64_t comp)
{
	const StoreOp *u = NULL;

	if (!tells_of_entry(k, op))
		return;
	for (int i = 0; i < k->ndirty; i++)
		if (k->dirty[i] == op->version)
		{
			found(&k->history->findings, "key %d: a version that was never committed was seen: %s",
				  k->key, show_op(op));
			return;
		}
	for (int i = find_version(k, known, op->version);
		 i < known && k->steps[i].state.version == op->version; i++)
		if (is_state_of(&k->steps[i], op))
			return;
	for (int i = known; i < k->nsteps; i++)
		if (is_state_of(&k->steps[i], op))
		{
			if (comp < k->steps[i].comp)
				k->steps[i].comp = comp;
			return;
		}
	if (k->rule->leases)
		u = unknown_of_lease(k, op);
	if (k->rule->leases ? u == NULL : k->nunknown == 0)
	{
		found(&k->history->findings, "key %d: an entry that nobody wrote was seen: %s", k->key,
			  show_op(op));
		return;
	}
	k->steps[k->nsteps++] = (Step) {
		.state = {
			.there = true, .version = op->version, .value = op->answer,
			.expires_low = op->expires, .expires_high = op->expires, .created_high = FOREVER,
			.updated_high = FOREVER
		},
		.inv = u ? u->inv : 0, .comp = comp, .moment = u ? op->expires - u->ttl : 0
	};
}

/*
 * Of two that say to have left the same state, the one that was committed later has only met it.
 */
static void
merge_steps(KeyHistory *k)
{
	int			kept = 0;

	for (int i = 0; i < k->nsteps; i++)
	{
		Step	   *step = &k->steps[i];
		int			j;

		for (j = kept - 1; j >= 0 && k->steps[j].state.version == step->state.version; j--)
			if (k->steps[j].state.there && step->state.there &&
				k->steps[j].state.expires_low == step->state.expires_low)
				break;
		if (j < 0 || k->steps[j].state.version != step->state.version)
		{
			k->steps[kept++] = *step;
			continue;
		}
		if (k->steps[j].sure && step->sure)
			found(&k->history->findings, "key %d: the same version twice: %s; and %s", k->key,
				  show_op(k->steps[j].first), show_op(step->first));
		if (step->sure || (!k->steps[j].sure && step->inv < k->steps[j].inv))
		{
			Step		other = k->steps[j];

			k->steps[j] = *step;
			*step = other;
		}
		add_look_of(k, step->first);
	}
	k->nsteps = kept;
}

/* Bring the writes into order, also those that only the reads tell of. */
void
order_steps(KeyHistory *k)
{
	int			known;
	int			looks = k->nlooks;

	sort_steps(k);
	merge_steps(k);
	known = k->nsteps;
	for (int i = 0; i < looks; i++)
		account_for(k, known, k->looks[i].op, k->looks[i].comp);
	for (int i = 0; i < known; i++)
		account_for(k, known, k->steps[i].first, k->steps[i].comp);
	sort_steps(k);
}

/* Take the calls on the key, which are those of one worker after the other. */
void
collect_key(KeyHistory *k, StoreOp **ops, int count)
{
	/* a call can leave a look twice, a step and what it was seen of, or a step that is assumed */
	k->steps = allot(sizeof(Step) * (3 * count + 1));
	k->looks = allot(sizeof(Look) * (3 * count + 1));
	k->unknown = allot(sizeof(Unknown) * (count + 1));
	k->dirty = allot(sizeof(int64_t) * (2 * count + 1));
	k->made = allot(sizeof(StoreOp) * (3 * count + 1));
	for (int i = 0, next; i < count; i = next)
	{
		for (next = i + 1; next < count && ops[next]->txn == ops[i]->txn; next++)
			;
		collect_txn(k, ops + i, next - i);
	}
}

static void
insert_step(KeyHistory *k, int at, const State *state, const StoreOp *op)
{
	memmove(&k->steps[at + 1], &k->steps[at], sizeof(Step) * (k->nsteps - at));
	k->steps[at] = (Step) {*state, op, true, true, op->inv, op->comp, 0, false};
	k->nsteps++;
	k->history->unseen++;
}

/* An unknown call may have met a live entry as well as none: then it is not known how old it is. */
static void
blur_age(State *state, const StoreOp *op, const State *before)
{
	if (before->there && before->created_low < state->created_low)
		state->created_low = before->created_low;
	if (state->created_high < op->to)
		state->created_high = op->to;
}

/* Can the unknown call have happened after the step before this one, and by the time of it? */
static bool
in_time(const KeyHistory *k, const StoreOp *op, int at)
{
	return (at == 0 || op->comp >= k->steps[at - 1].inv) &&
		(at == k->nsteps || op->inv <= k->steps[at].comp);
}

/* Take an unknown call for the one that wrote what was seen. */
static bool
resolve(KeyHistory *k, int at, const State *before)
{
	Step	   *target = &k->steps[at];

	for (int i = 0; i < k->nunknown; i++)
		for (int w = 0; w < lengthof(writes) && !k->unknown[i].used; w++)
		{
			StoreOp			op = *k->unknown[i].op;
			State		after;

			op.said = writes[w];
			op.answered = true;
			op.version = target->state.version;
			op.answer = target->state.value;
			op.expires = target->state.expires_low;
			if (!in_time(k, &op, at) || !predict(k->rule, before, &op, writes[w], &after) ||
				!agrees(&after, &op))
				continue;
			k->unknown[i].used = true;
			k->made[k->nmade] = op;
			target->first = &k->made[k->nmade++];
			target->sure = true;
			target->inv = op.inv;
			target->comp = op.comp;
			after.expires_low = after.expires_high = op.expires;
			after.version = op.version;
			after.hidden = false;
			blur_age(&after, &op, before);
			target->state = after;
			return true;
		}
	return false;
}

/* Does the step follow on this state, if need be with unknown calls before it? */
static bool
follows(KeyHistory *k, int at, const State *before, int depth)
{
	Step	   *target = &k->steps[at];

	if (target->first != NULL ?
		fits_since(k->rule, before, at > 0 ? k->steps[at - 1].inv : 0, target->first) :
		resolve(k, at, before))
		return true;
	for (int i = 0; i < k->nunknown && depth > 0; i++)
		for (int w = 0; w < lengthof(writes); w++)
		{
			Unknown    *unknown = &k->unknown[i];
			State		between;

			if (unknown->used || !in_time(k, unknown->op, at) ||
				!predict(k->rule, before, unknown->op, writes[w], &between))
				continue;
			unknown->used = true;
			blur_age(&between, unknown->op, before);
			insert_step(k, at, &between, unknown->op);
			if (follows(k, at + 1, &between, depth - 1))
				return true;
			memmove(&k->steps[at], &k->steps[at + 1], sizeof(Step) * (k->nsteps - at - 1));
			k->nsteps--;
			k->history->unseen--;
			unknown->used = false;
		}
	return false;
}

/*
 * What the write itself could not tell. An unknown call may have made the entry anew before it,
 * which nobody saw.
 */
static void
complete_state(KeyHistory *k, int at, const State *before)
{
	State	   *state = &k->steps[at].state;
	const StoreOp *first = k->steps[at].first;

	if (first->said == SAID_ACQUIRED && first->version == state->version && !before->hidden &&
		before->version != state->version)
		set_age(state, first);
	if (state->created_high == FOREVER)
	{
		state->created_low = before->created_low;
		state->created_high = before->created_high;
		for (int i = 0; i < k->nunknown; i++)
			if (!k->unknown[i].used && in_time(k, k->unknown[i].op, at) &&
				state->created_high < k->unknown[i].op->to)
				state->created_high = k->unknown[i].op->to;
	}
	if (state->updated_high == FOREVER)
	{
		state->updated_low = before->updated_low;
		state->updated_high = before->updated_high;
	}
}

static const State nothing = {0};

/*
 * Two calls at the same time that leave the version as it is: each may have been the first. Has
 * another order been tried?
 */
static bool
swap_back(KeyHistory *k, int i)
{
	Step		later = k->steps[i];

	if (i == 0 || later.swapped || !later.state.there ||
		k->steps[i - 1].state.version != later.state.version || later.inv > k->steps[i - 1].comp)
		return false;
	later.swapped = true;
	k->steps[i] = k->steps[i - 1];
	k->steps[i - 1] = later;
	return true;
}

/*
 * Of those that say to have left the same state, one that has waited for the other may stand for
 * both (see merge_steps()), or one whose end is the same by chance. Then nothing explains it:
 * take another one.
 */
static bool
take_other(KeyHistory *k, int i)
{
	Step	   *step = &k->steps[i];
	const State *before = i > 0 ? &k->steps[i - 1].state : &nothing;
	const StoreOp *old = step->first;

	for (int l = 0; l < k->nlooks && old != NULL; l++)
	{
		const StoreOp *op = k->looks[l].op;

		if (op->undone || op->txn->fate != COMMITTED || !step->state.there ||
			!may_write(k->rule, op) || op->version != step->state.version ||
			op->expires != step->state.expires_low ||
			!fits_since(k->rule, before, i > 0 ? k->steps[i - 1].inv : 0, op))
			continue;
		step->first = op;
		step->inv = op->txn->end_inv;
		step->comp = op->txn->end_comp;
		k->looks[l] = k->looks[--k->nlooks];
		add_look_of(k, old);
		return true;
	}
	return false;
}

/* What a call may only have met an unknown one may have left, and that before this time. */
static bool
may_be_older(const KeyHistory *k, const Step *step, int64_t time)
{
	for (int i = 0; i < k->nunknown && !step->sure; i++)
		if (k->unknown[i].op->inv <= time && may_lock(k->unknown[i].op))
			return true;
	return false;
}

/*
 * Was there surely a row in the transaction's snapshot? One whose end has not come even now: nobody
 * can have swept it before.
 */
static bool
row_in_snapshot(const KeyHistory *k, int at, const StoreOp *op)
{
	while (--at >= 0)
	{
		const Step *step = &k->steps[at];

		if (step->inv > op->txn->snapshot_comp)
			continue;
		if (!step->state.there || step->state.expires_low <= op->to)
			return false;
		if (step->comp < op->txn->snapshot_inv)
			return true;
	}
	return false;
}

/*
 * At REPEATABLE READ nothing may be written over what came after the snapshot. A new entry is not
 * written over anything where the row has gone again, deleted or swept, and there was none in the
 * snapshot either: the server then sees neither. With one in the snapshot it is a conflict.
 */
static bool
overlooks(const KeyHistory *k, int at)
{
	const StoreOp *first = k->steps[at].first;
	const Step *before = &k->steps[at - 1];
	int64_t		snapshot = first->txn->snapshot_comp;

	if (!first->txn->repeatable || before->inv <= snapshot ||
		may_be_older(k, before, snapshot))
		return false;
	if (first->said == SAID_CREATED ||
		(first->said == SAID_ACQUIRED && first->version != before->state.version))
		return row_in_snapshot(k, at, first);
	return true;
}

/* Does each write follow on the state that the one before has left? */
bool
chain_steps(KeyHistory *k)
{
	for (int i = 0; i < k->nsteps; i++)
	{
		const StoreOp *first;
		int			n = k->nsteps;

		if (!follows(k, i, i > 0 ? &k->steps[i - 1].state : &nothing, MOST_ASSUMED))
		{
			if (take_other(k, i))
			{
				i--;
				continue;
			}
			if (swap_back(k, i))
			{
				i -= 2;
				continue;
			}
			found(&k->history->findings, "key %d: over %s no call can leave %s; it was: %s", k->key,
				  show_state(i > 0 ? &k->steps[i - 1].state : &nothing),
				  show_state(&k->steps[i].state),
				  k->steps[i].first ? show_op(k->steps[i].first) : "nobody");
			if (k->steps[i].first == NULL)
				return false;
		}
		i += k->nsteps - n;
		first = k->steps[i].first;
		complete_state(k, i, i > 0 ? &k->steps[i - 1].state : &nothing);
		if (i > 0 && overlooks(k, i))
			found(&k->history->findings, "key %d: at REPEATABLE READ over a write that came"
				  " later: %s; over %s", k->key, show_op(first),
				  show_op(k->steps[i - 1].first));
	}
	return true;
}

/* May the step have been done in this state? An unknown call may then have done another thing. */
static bool
can_follow(KeyHistory *k, const State *before, const Step *step)
{
	if (!step->first->unknown)
		return fits(k->rule, before, step->first);
	for (int w = 0; w < lengthof(writes); w++)
	{
		State		after;

		if (predict(k->rule, before, step->first, writes[w], &after) &&
			after.there == step->state.there && same_value(&after.value, &step->state.value))
			return true;
	}
	return false;
}

/*
 * Nobody can have seen what this look tells of, unless an unknown call has happened: after one of
 * the states from "low" to "high".
 */
bool
assume_step(KeyHistory *k, const Look *look, int low, int high)
{
	for (int i = 0; i < k->nunknown; i++)
		for (int at = low; at <= high && !k->unknown[i].used; at++)
			for (int w = 0; w < lengthof(writes); w++)
			{
				const StoreOp *op = k->unknown[i].op;
				const State *before = at > 0 ? &k->steps[at - 1].state : &nothing;
				State		after;

				if (op->inv > look->comp || !in_time(k, op, at) ||
					!predict(k->rule, before, op, writes[w], &after) ||
					!fits(k->rule, &after, look->op) ||
					(at < k->nsteps && !can_follow(k, &after, &k->steps[at])))
					continue;
				k->unknown[i].used = true;
				blur_age(&after, op, before);
				insert_step(k, at, &after, op);
				return true;
			}
	return false;
}
