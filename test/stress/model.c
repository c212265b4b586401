/*
 * model.c
 *		The rules of a ledger, one call at a time.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

typedef __int128 wide;

Model *
model_new(int room)
{
	Model	   *model = allot(sizeof(Model));

	model->room = room;
	model->transfers = allot(sizeof(ModelTransfer) * room);
	return model;
}

void
model_free(Model *model)
{
	for (int i = 0; i < MAX_ACCOUNTS; i++)
		free(model->lines[i]);
	free(model->transfers);
	free(model->holds);
	free(model->log);
	free(model);
}

static Undo *
new_undo(Model *model)
{
	if (model->logged == model->log_room)
	{
		model->log_room = model->log_room * 2 + 1000;
		model->log = enlarge(model->log, sizeof(Undo) * model->log_room);
	}
	return &model->log[model->logged++];
}

/* An account that is about to change */
ModelAccount *
model_account(Model *model, int account)
{
	Undo	   *undo = new_undo(model);

	undo->account = account;
	undo->old.account = model->accounts[account];
	return &model->accounts[account];
}

/* A transfer that is about to change */
ModelTransfer *
model_transfer(Model *model, int id)
{
	Undo	   *undo = new_undo(model);

	if (id >= model->room)
		die("no room for transfer #%d", id);
	undo->account = -1;
	undo->transfer = id;
	undo->old.transfer = model->transfers[id];
	return &model->transfers[id];
}

/* Take back all that was done since the log had "mark" entries. */
void
model_rollback(Model *model, int mark)
{
	while (model->logged > mark)
	{
		Undo	   *undo = &model->log[--model->logged];

		if (undo->account >= 0)
			model->accounts[undo->account] = undo->old.account;
		else
			model->transfers[undo->transfer] = undo->old.transfer;
	}
}

/* A hold is no longer one: it was posted, voided, or is over. */
static void
release(Model *model, ModelTransfer *transfer)
{
	model_account(model, transfer->from)->debits_pending -= transfer->asked.v;
	model_account(model, transfer->to)->credits_pending -= transfer->asked.v;
}

/* Let time go on: holds that are over count no longer. */
void
model_advance(Model *model, int64_t clock)
{
	int			kept = 0;

	model->clock = clock;
	for (int i = 0; i < model->nholds; i++)
	{
		int			id = model->holds[i];

		if (model->transfers[id].status != PENDING)
			continue;
		if (model->transfers[id].over_at <= clock)
		{
			ModelTransfer *transfer = model_transfer(model, id);

			transfer->status = EXPIRED;
			release(model, transfer);
		}
		else
			model->holds[kept++] = id;
	}
	model->nholds = kept;
	model->logged = 0;
}

static wide
balance_of(const ModelAccount *account)
{
	return (wide) account->credits_posted - account->debits_posted;
}

Balance
model_balance(Model *model, int account)
{
	ModelAccount *a = &model->accounts[account];

	return (Balance) {
		.balance = balance_of(a),
		.available = balance_of(a) - a->debits_pending,
		.debits_posted = a->debits_posted,
		.credits_posted = a->credits_posted,
		.debits_pending = a->debits_pending,
		.credits_pending = a->credits_pending,
		.frozen = a->frozen
	};
}

/* The balances as they stand, as far as an answer shows them. */
void
model_stand(Model *model, int from, int to, Answer *answer)
{
	ModelAccount *f = &model->accounts[from];
	ModelAccount *t = &model->accounts[to];

	answer->from_balance = f->open && f->shards == 1 ? SOME(balance_of(f)) : NOTHING;
	answer->to_balance = t->open && t->shards == 1 ? SOME(balance_of(t)) : NOTHING;
}

/* Why the accounts do not allow the transfer. */
Reason
model_decide(Model *model, int from, int to, Maybe amount, bool force)
{
	ModelAccount *f = &model->accounts[from];
	ModelAccount *t = &model->accounts[to];

	if (!f->open || !t->open)
		return ACCOUNT_NOT_FOUND;
	if (f->unit != t->unit)
		return UNIT_MISMATCH;
	if (f->frozen || t->frozen)
		return ACCOUNT_FROZEN;
	if (!force && f->min.set && balance_of(f) - f->debits_pending - amount.v < f->min.v)
		return INSUFFICIENT_FUNDS;
	if (t->max.set && balance_of(t) + t->credits_pending + amount.v > t->max.v)
		return LIMIT_EXCEEDED;
	return NO_REASON;
}

/* Do the sums stay within a bigint? */
bool
model_fits(Model *model, int from, int to, int64_t amount)
{
	ModelAccount *f = &model->accounts[from];
	ModelAccount *t = &model->accounts[to];

	return (wide) f->debits_posted + f->debits_pending + amount <= INT64_MAX / f->shards &&
		(wide) t->credits_posted + t->credits_pending + amount <= INT64_MAX / t->shards;
}

static void
add_line(Model *model, int account, int id, int other, int64_t amount, int reverses)
{
	ModelAccount *a = model_account(model, account);
	Line	   *line;

	if (a->lines == model->line_room[account])
	{
		model->line_room[account] = a->lines * 2 + 100;
		model->lines[account] = enlarge(model->lines[account],
										sizeof(Line) * model->line_room[account]);
	}
	line = &model->lines[account][a->lines++];
	*line = (Line) {id, other, amount, a->shards == 1 ? SOME(balance_of(a)) : NOTHING, reverses};
}

/* Money moves. */
static void
move(Model *model, int id, int from, int to, int64_t amount, int reverses)
{
	model_account(model, from)->debits_posted += amount;
	model_account(model, to)->credits_posted += amount;
	add_line(model, from, id, to, -amount, reverses);
	add_line(model, to, id, from, amount, reverses);
}

static void
begin_hold(Model *model, int id, ModelTransfer *transfer)
{
	transfer->over_at = model->clock + transfer->hold;
	model_account(model, transfer->from)->debits_pending += transfer->asked.v;
	model_account(model, transfer->to)->credits_pending += transfer->asked.v;
	if (model->nholds == model->hold_room)
	{
		model->hold_room = model->hold_room * 2 + 1000;
		model->holds = enlarge(model->holds, sizeof(int) * model->hold_room);
	}
	model->holds[model->nholds++] = id;
}

/* Run a new transfer or reversal whose fate is decided, and store it. */
void
model_store(Model *model, const Item *item, Reason reason, Answer *answer)
{
	ModelTransfer *transfer = model_transfer(model, item->id);

	*transfer = (ModelTransfer) {
		.status = reason ? REJECTED : item->hold ? PENDING : POSTED,
		.reason = reason,
		.reversal = item->kind == REVERSE,
		.metadata = item->metadata,
		.force = item->force,
		.from = item->from,
		.to = item->to,
		.original = item->original,
		.chain = item->chain,
		.hold = item->hold,
		.asked = item->amount,
		.amount = item->amount
	};
	if (transfer->status == PENDING)
		begin_hold(model, item->id, transfer);
	else if (transfer->status == POSTED)
		move(model, item->id, item->from, item->to, item->amount.v,
			 transfer->reversal ? item->original : 0);
	*answer = (Answer) {
		.id = item->id, .status = transfer->status, .reason = reason, .amount = transfer->amount
	};
	model_stand(model, item->from, item->to, answer);
	transfer->from_balance = answer->from_balance;
	transfer->to_balance = answer->to_balance;
}

/* Does a transfer ask for what was asked for before? */
bool
model_repeats(const ModelTransfer *old, const Item *item)
{
	return !old->reversal && old->from == item->from && old->to == item->to &&
		same(old->asked, item->amount) && old->hold == item->hold;
}

/* The answer of an earlier run, or of the post or void that settled the hold. */
void
model_replay(Model *model, int id, bool settling, Answer *answer)
{
	ModelTransfer *t = &model->transfers[id];

	*answer = (Answer) {
		.id = id,
		.status = t->status,
		.reason = t->reason,
		.amount = t->amount,
		.from_balance = settling ? t->settled_from : t->from_balance,
		.to_balance = settling ? t->settled_to : t->to_balance,
		.expires = t->expires,
		.replayed = true,
		.created = t->created
	};
}

static bool
fail(Model *model, const char *state)
{
	model->error = state;
	return false;
}

/* Post or void did not apply. */
static bool
as_it_is(Model *model, int id, Answer *answer)
{
	model_replay(model, id, false, answer);
	answer->from_balance = answer->to_balance = NOTHING;
	answer->replayed = false;
	return true;
}

static void
settle(Model *model, const Item *item, Status status, Answer *answer)
{
	ModelTransfer *t = model_transfer(model, item->id);

	release(model, t);
	t->status = status;
	t->settled = true;
	if (status == POSTED)
	{
		t->part = item->amount;
		if (item->amount.set)
			t->amount = item->amount;
		move(model, item->id, t->from, t->to, t->amount.v, 0);
	}
	model_replay(model, item->id, false, answer);
	model_stand(model, t->from, t->to, answer);
	answer->replayed = false;
	t->settled_from = answer->from_balance;
	t->settled_to = answer->to_balance;
}

static bool
post(Model *model, const Item *item, Answer *answer)
{
	ModelTransfer *t = &model->transfers[item->id];

	if (t->status == ABSENT)
		return fail(model, "KP404");
	if (t->status == POSTED)
	{
		bool		fits = t->settled ? same(t->part, item->amount) :
			!item->amount.set || same(t->amount, item->amount);

		if (!fits)
			return fail(model, "KP422");
		model_replay(model, item->id, t->settled, answer);
		return true;
	}
	if (t->status != PENDING)
		return as_it_is(model, item->id, answer);
	if (item->amount.set && item->amount.v > t->asked.v)
		return fail(model, "22023");
	if (model->accounts[t->from].frozen || model->accounts[t->to].frozen)
	{
		as_it_is(model, item->id, answer);
		answer->reason = ACCOUNT_FROZEN;
		return true;
	}
	settle(model, item, POSTED, answer);
	return true;
}

static bool
void_hold(Model *model, const Item *item, Answer *answer)
{
	ModelTransfer *t = &model->transfers[item->id];

	if (t->status == ABSENT)
		return fail(model, "KP404");
	if (t->status == VOIDED)
		model_replay(model, item->id, true, answer);
	else if (t->status == PENDING)
		settle(model, item, VOIDED, answer);
	else
	{
		as_it_is(model, item->id, answer);
		answer->replayed = t->status == EXPIRED;
	}
	return true;
}

static bool
reverse(Model *model, const Item *item, Answer *answer)
{
	ModelTransfer *old = &model->transfers[item->id];
	ModelTransfer *original = &model->transfers[item->original];
	int64_t		rest = original->amount.v - original->reversed;
	Item		run = *item;
	Reason		reason;

	if (original->status == ABSENT)
		return fail(model, old->status == ABSENT ? "KP404" : "KP422");
	if (original->reversal)
		return fail(model, "22023");
	if (old->status != ABSENT)
	{
		if (!old->reversal || old->original != item->original || !same(old->asked, item->amount) ||
			old->force != item->force)
			return fail(model, "KP422");
		model_replay(model, item->id, false, answer);
		return true;
	}
	run.from = original->to;
	run.to = original->from;
	if (original->status != POSTED)
		reason = NOT_POSTED;
	else if (rest == 0 || (item->amount.set && item->amount.v > rest))
		reason = EXCEEDS_REMAINING;
	else
	{
		Maybe		amount = item->amount.set ? item->amount : SOME(rest);

		reason = model_decide(model, run.from, run.to, amount, item->force);
		if (reason == NO_REASON)
		{
			if (!model_fits(model, run.from, run.to, amount.v))
				return fail(model, "22003");
			run.amount = amount;
			model_transfer(model, item->original)->reversed += amount.v;
		}
	}
	model_store(model, &run, reason, answer);
	model_transfer(model, item->id)->asked = item->amount;
	return true;
}

static bool
transfer(Model *model, const Item *item, Answer *answer)
{
	ModelTransfer *old = &model->transfers[item->id];
	Reason		reason;

	if (old->status != ABSENT)
	{
		if (!model_repeats(old, item))
			return fail(model, "KP422");
		model_replay(model, item->id, false, answer);
		return true;
	}
	reason = model_decide(model, item->from, item->to, item->amount, false);
	if (reason == NO_REASON && !model_fits(model, item->from, item->to, item->amount.v))
		return fail(model, "22003");
	model_store(model, item, reason, answer);
	return true;
}

/* The answer to one call; false where it must fail with model->error. */
bool
model_item(Model *model, const Item *item, Answer *answer)
{
	int			mark = model->logged;
	bool		good;

	model->error = "";
	if (item->mistake)
		return fail(model, mistake_state(item->mistake));
	if (item->kind == TRANSFER)
		good = transfer(model, item, answer);
	else if (item->kind == POST)
		good = post(model, item, answer);
	else if (item->kind == VOID)
		good = void_hold(model, item, answer);
	else
		good = reverse(model, item, answer);
	if (!good)
		model_rollback(model, mark);
	return good;
}

/* Open an account; false (KP422) where it is open on other terms. */
bool
model_open(Model *model, int account, int unit, Maybe min, Maybe max, int shards)
{
	ModelAccount *a = &model->accounts[account];

	if (a->open)
		return a->unit == unit && a->shards == shards && same(a->opened_min, min) &&
			same(a->opened_max, max);
	a = model_account(model, account);
	a->open = true;
	a->unit = unit;
	a->shards = shards;
	a->min = a->opened_min = min;
	a->max = a->opened_max = max;
	return true;
}

/* What must hold of the model itself. */
void
model_check(Model *model)
{
	wide		posted = 0;
	wide		pending = 0;

	for (int i = 0; i < MAX_ACCOUNTS; i++)
	{
		posted += balance_of(&model->accounts[i]);
		pending += (wide) model->accounts[i].credits_pending - model->accounts[i].debits_pending;
		if (model->accounts[i].debits_pending < 0 || model->accounts[i].credits_pending < 0)
			die("the model is wrong: account %d holds less than nothing", i);
	}
	if (posted != 0 || pending != 0)
		die("the model is wrong: money appeared or was lost");
}
