/*
 * generate.c
 *		Random operations, aimed at the edges by what the model knows.
 */
#include "generate.h"

#include <string.h>

const char *
unit_name(int unit)
{
	static const char *const units[] = {"USD", "\xe2\x82\xac", "points"};

	return units[unit];
}

/* On what terms each account is opened. */
void
generate_terms(int account, Op *op)
{
	op->kind = OP_OPEN;
	op->account = account;
	op->unit = account == 14 || account == 15;
	op->shards = 1;
	op->min = SOME(0);
	op->max = NOTHING;
	if (account < 2 || account == 18 || account == FIRST_BIG || account == FIRST_BIG + 1)
		op->min = NOTHING;
	if (account >= 10 && account < 14)
		op->max = SOME(account * 100);
	if (account == 14)
		op->min = SOME(-1000);
	if (account >= 16 && account < 19)
		op->shards = account == 16 ? 3 : account == 17 ? 8 : 2;
	if (account == 17)
		op->max = SOME(2500);
	if (account == 21)
	{
		op->min = SOME(-50);
		op->max = SOME(50);
	}
}

static int
some_account(Generator *g)
{
	if (chance(&g->random, 2))
		return draw_between(&g->random, 22, NEVER_OPENED);
	if (chance(&g->random, 4))
		return draw_between(&g->random, FIRST_BIG, FIRST_BIG + 1);
	if (chance(&g->random, 25))
		return draw_between(&g->random, 0, 1);
	return draw_between(&g->random, 0, 21);
}

/* An amount that is often just possible or just not. */
static int64_t
some_amount(Generator *g, int from, int to)
{
	ModelAccount *f = &g->model->accounts[from];
	ModelAccount *t = &g->model->accounts[to];
	Balance		fb = model_balance(g->model, from);
	Balance		tb = model_balance(g->model, to);
	int64_t		over = chance(&g->random, 50);
	int64_t		amount = 0;
	int			way = draw_between(&g->random, 0, 99);

	if (from >= FIRST_BIG && from <= FIRST_BIG + 1 && to >= FIRST_BIG && to <= FIRST_BIG + 1)
	{
		if (way < 40)
			return draw_between(&g->random, INT64_MAX / 4, INT64_MAX);
		if (way < 80)
			amount = INT64_MAX - f->debits_posted - f->debits_pending - g->margin;
		if (amount > 0 && amount < INT64_MAX)
			return amount + over;
	}
	else if (way < 12 && f->min.set && f->min.v > -1000000)
		amount = fb.available - f->min.v + over;
	else if (way < 24 && t->max.set && t->max.v < 1000000)
		amount = t->max.v - tb.balance - tb.credits_pending + over;
	else if (way < 34)
		amount = draw_between(&g->random, 1, 2000);
	if (amount > 0)
		return amount;
	return draw_between(&g->random, 1, 100);
}

static int
some_hold(Generator *g)
{
	if (!chance(&g->random, 30))
		return 0;
	if (chance(&g->random, 5))
		return 86400000 * draw_between(&g->random, 1, 3);
	return HOLD_UNIT * draw_between(&g->random, 1, 20);
}

/* A new transfer under this id */
static void
fresh_item(Generator *g, Item *item, int id)
{
	*item = (Item) {.kind = TRANSFER, .id = id};
	item->from = some_account(g);
	do
		item->to = some_account(g);
	while (item->to == item->from);
	item->amount = SOME(some_amount(g, item->from, item->to));
	item->hold = some_hold(g);
	item->metadata = chance(&g->random, 30);
	item->variant = chance(&g->random, 50);
}

/* Change one of the things that are compared. */
static void
alter_item(Generator *g, Item *item)
{
	int			old = item->from;

	switch (draw(&g->random) % 5)
	{
		case 0:
			item->amount.v = item->amount.v > 1 ? item->amount.v - 1 : 2;
			break;
		case 1:
			item->hold += HOLD_UNIT;
			break;
		case 2:
			item->from = item->to;
			item->to = old;
			break;
		case 3:
			item->hold = item->hold ? 0 : HOLD_UNIT;
			break;
		default:
			item->to = item->to == NEVER_OPENED || item->from == NEVER_OPENED ? 0 : NEVER_OPENED;
			if (item->to == item->from)
				item->to = 1;
	}
}

/* What was asked under this id; something new where it is not in use. */
static void
repeated_item(Generator *g, Item *item, int id)
{
	ModelTransfer *old = &g->model->transfers[id];

	if (old->status == ABSENT || !old->asked.set)
	{
		fresh_item(g, item, id);
		return;
	}
	*item = (Item) {
		.kind = TRANSFER, .id = id, .from = old->from, .to = old->to, .amount = old->asked,
		.hold = old->hold,
		.metadata = chance(&g->random, 30), .variant = chance(&g->random, 50)
	};
	if (chance(&g->random, 25))
		alter_item(g, item);
}

/* An id that was used, more often of late. */
static int
some_id(Generator *g)
{
	int			last = g->next_id - 1;

	if (chance(&g->random, 70) && last > 300)
		return draw_between(&g->random, last - 300, last);
	return draw_between(&g->random, 1, last);
}

static Mistake
some_mistake(Generator *g, Kind kind, bool batch)
{
	static const Mistake of_post[] = {NULL_ID, EMPTY_ID, LONG_ID, ZERO_AMOUNT, NEGATIVE_AMOUNT};

	if (kind == TRANSFER)
		return draw_between(&g->random, NULL_ID, batch ? BAD_REPORT : NEGATIVE_HOLD);
	return of_post[draw(&g->random) % (kind == VOID ? 3 : lengthof(of_post))];
}

static void
make_transfer(Generator *g, Item *item)
{
	if (chance(&g->random, 15) && g->next_id > 1)
		repeated_item(g, item, some_id(g));
	else
		fresh_item(g, item, g->next_id++);
}

/* A pending transfer where there is one, at times any other. */
static void
make_settling(Generator *g, Item *item, Kind kind)
{
	ModelTransfer *hold;
	int			way = draw_between(&g->random, 0, 99);

	*item = (Item) {.kind = kind, .id = some_id(g)};
	if (way < 70 && g->model->nholds > 0)
		item->id = g->model->holds[draw(&g->random) % g->model->nholds];
	else if (way < 73)
		item->id = g->next_id + 3;
	hold = &g->model->transfers[item->id];
	if (kind == VOID || chance(&g->random, 40))
		return;
	if (hold->settled && chance(&g->random, 60))
		item->amount = hold->part;
	else if (!hold->amount.set || chance(&g->random, 40))
		item->amount = SOME(draw_between(&g->random, 1, 100));
	else
	{
		int64_t		low = hold->amount.v > 3 ? hold->amount.v - 2 : 1;
		int64_t		high = hold->amount.v < INT64_MAX ? hold->amount.v + 1 : INT64_MAX;

		item->amount = SOME(draw_between(&g->random, low, high));
	}
}

static void
make_reversal(Generator *g, Item *item)
{
	ModelTransfer *original;
	int64_t		rest;

	*item = (Item) {.kind = REVERSE, .id = g->next_id++, .original = some_id(g)};
	if (chance(&g->random, 20))
		item->id = some_id(g);
	if (g->model->transfers[item->id].reversal && chance(&g->random, 80))
	{
		ModelTransfer *old = &g->model->transfers[item->id];

		item->original = old->original;
		item->amount = old->asked;
		item->force = old->force ^ chance(&g->random, 10);
		if (chance(&g->random, 10))
			item->amount = item->amount.set ? NOTHING : SOME(1);
		return;
	}
	for (int try = 0; try < 5 && g->model->transfers[item->original].status != POSTED; try++)
		item->original = some_id(g);
	if (item->original == item->id)
		item->id = g->next_id++;
	if (g->model->transfers[item->id].status == ABSENT && chance(&g->random, 3))
		item->original = g->next_id + 3;
	original = &g->model->transfers[item->original];
	rest = original->amount.v - original->reversed;
	item->force = chance(&g->random, 25);
	if (chance(&g->random, 40) || original->status == ABSENT)
		return;
	item->amount = SOME(rest > 1 && chance(&g->random, 60) ? draw_between(&g->random, 1, rest) :
						rest < INT64_MAX ? rest + chance(&g->random, 50) : rest);
	if (item->amount.v < 1)
		item->amount.v = 1;
}

static void
make_item(Generator *g, Op *op)
{
	Item	   *item = &op->items[0];
	int			way = draw_between(&g->random, 0, 99);

	op->kind = OP_ITEM;
	op->count = 1;
	if (g->next_id < 20 || way < 50)
		make_transfer(g, item);
	else if (way < 68)
		make_settling(g, item, POST);
	else if (way < 78)
		make_settling(g, item, VOID);
	else
		make_reversal(g, item);
	if (chance(&g->random, 4))
		item->mistake = some_mistake(g, item->kind, false);
}

/* Chains: blocks one after the other, or a few labels anywhere. */
static void
make_chains(Generator *g, Op *op)
{
	bool		mixed = chance(&g->random, 40);
	int			label = 1;
	int			left = draw_between(&g->random, 1, 6);

	for (int i = 0; i < op->count; i++)
	{
		if (mixed)
		{
			op->items[i].chain = draw_between(&g->random, 0, 5);
			continue;
		}
		op->items[i].chain = label % 3 ? label : 0;
		if (--left == 0)
		{
			label++;
			left = draw_between(&g->random, 1, 6);
		}
	}
}

static void
make_batch(Generator *g, Op *op)
{
	int			size = draw_between(&g->random, 0, 99);
	int			most;

	op->kind = OP_BATCH;
	op->way = chance(&g->random, 65) ? BY_ARRAYS : chance(&g->random, 60) ? BY_JSON : BY_CALLS;
	op->exceptions = op->way != BY_CALLS && chance(&g->random, 30);
	most = size < 50 ? 8 : size < 90 || op->way == BY_CALLS ? 60 : g->max_batch;
	op->count = draw_between(&g->random, 1, most);
	for (int i = 0; i < op->count; i++)
	{
		if (i > 0 && chance(&g->random, 5))
		{
			op->items[i] = op->items[draw_between(&g->random, 0, i - 1)];
			if (chance(&g->random, 30))
				alter_item(g, &op->items[i]);
		}
		else if (chance(&g->random, 5) && g->next_id > 1)
			repeated_item(g, &op->items[i], some_id(g));
		else
			fresh_item(g, &op->items[i], g->next_id++);
	}
	if (op->way != BY_CALLS && chance(&g->random, 50))
		make_chains(g, op);
	if (op->way != BY_CALLS && chance(&g->random, 5))
	{
		Mistake		mistake = some_mistake(g, TRANSFER, true);

		if (mistake == UNEQUAL_ARRAYS && op->way != BY_ARRAYS)
			mistake = EMPTY_ID;
		if (mistake == EMPTY_BATCH)
			op->count = 0;
		else if (mistake == BAD_REPORT)
			op->items[0].mistake = mistake;
		else
			op->items[draw_between(&g->random, 0, op->count - 1)].mistake = mistake;
	}
}

static void
make_limits(Generator *g, Op *op)
{
	Balance		now;

	op->kind = OP_LIMITS;
	op->account = draw_between(&g->random, 2, chance(&g->random, 3) ? NEVER_OPENED : 18);
	generate_terms(op->account, op);
	op->kind = OP_LIMITS;
	if (chance(&g->random, 60))
		return;					/* back to what it was */
	now = model_balance(g->model, op->account);
	op->min = SOME(now.balance - draw_between(&g->random, -20, 200));
	op->max = SOME(now.balance + draw_between(&g->random, -20, 400));
	if (chance(&g->random, 20))
		op->min = NOTHING;
	if (chance(&g->random, 40))
		op->max = NOTHING;
	if (op->min.set && op->max.set && chance(&g->random, 90) && op->max.v < op->min.v)
		op->max = op->min;
}

/* The next operation */
void
generate(Generator *g, Op *op)
{
	int			way = draw_between(&g->random, 0, 99);

	if (way < g->batches)
	{
		make_batch(g, op);
		return;
	}
	way = draw_between(&g->random, 0, 199);
	op->account = draw_between(&g->random, 0, chance(&g->random, 5) ? NEVER_OPENED : 21);
	op->rows = draw_between(&g->random, 1, 40);
	op->frozen = chance(&g->random, g->model->accounts[op->account].frozen ? 20 : 60);
	op->clock = g->model->clock + HOLD_UNIT * draw_between(&g->random, 1, 3);
	if (way < 12)
		op->kind = OP_BALANCE;
	else if (way < 22)
		op->kind = OP_STATEMENT;
	else if (way < 29)
		op->kind = OP_FREEZE;
	else if (way < 35)
		make_limits(g, op);
	else if (way < 39)
	{
		generate_terms(draw_between(&g->random, 0, 23), op);
		if (chance(&g->random, 20))
			op->max = SOME(12345);
		if (chance(&g->random, 20))
			op->shards++;
	}
	else if (way < 42)
		op->kind = OP_EXPIRE;
	else if (way < 50)
		op->kind = OP_CLOCK;
	else if (way < 51)
		op->kind = OP_VERIFY;
	else
		make_item(g, op);
}
