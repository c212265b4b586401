/*
 * load_items.c
 *		What the connections ask for: the same under an id, whoever asks.
 */
#include "load.h"

/* On what terms accounts are opened here. */
void
load_terms(int account, Op *op)
{
	op->account = account;
	op->unit = account == OTHER_UNIT;
	op->shards = account == FIRST_SHARDED ? 4 : account == FIRST_SHARDED + 1 ? 3 : 1;
	op->min = account < 2 ? NOTHING : SOME(account % 4 == 1 ? -100 : 0);
	op->max = account >= 2 && account % 3 == 2 ? SOME(600) : NOTHING;
}

/* Holds stay on accounts of their own, so that rejections on the others can be checked exactly. */
static int
some_account(const Load *load, Random *random, bool hold)
{
	int			account;

	(void) load;
	if (chance(random, 2))
		return draw_between(random, OTHER_UNIT, UNOPENED);
	if (chance(random, 20))
		return draw_between(random, 0, 1);
	account = draw_between(random, 2, OTHER_UNIT - 1);
	while (hold && account % 2)
		account = draw_between(random, 2, OTHER_UNIT - 1);
	return account;
}

/*
 * What is asked under an id; with "other" something else than most ask. Every
 * tenth is a reversal of an earlier one.
 */
void
load_item(const Load *load, int id, bool other, Item *item)
{
	Random		random = {load->seed * 1000003 + id * 2 + other};

	draw(&random);
	*item = (Item) {.kind = TRANSFER, .id = id};
	if (id % 10 == 0 && id > 40)
	{
		item->kind = REVERSE;
		item->original = id - draw_between(&random, 1, 40);
		item->force = chance(&random, 25);
		if (chance(&random, 70))
			item->amount = SOME(draw_between(&random, 1, 40));
		return;
	}
	if (chance(&random, load->phase->holds))
		item->hold = chance(&random, 70) ? draw_between(&random, 1, 30) : 3600000;
	item->from = some_account(load, &random, item->hold > 0);
	do
		item->to = some_account(load, &random, item->hold > 0);
	while (item->to == item->from);
	item->amount = SOME(draw_between(&random, 1, chance(&random, 20) ? 400 : 60));
	item->metadata = chance(&random, 20);
}

/* A new id, or one that others use as well. */
int
load_id(Worker *worker)
{
	Load	   *load = worker->load;
	long		last;
	long		first;

	if (!chance(&worker->random, load->phase->old_ids))
		return atomic_fetch_add(&load->next_id, 1);
	last = atomic_load(&load->next_id);
	if (chance(&worker->random, 3))
		return draw_between(&worker->random, 1, last - 1);
	first = last > load->phase->window ? last - load->phase->window : 1;
	return draw_between(&worker->random, first, last - 1);
}

/* Transfers for a batch; reversals have no place there. */
void
load_batch(Worker *worker, Item *items, int *count)
{
	Load	   *load = worker->load;
	int			most = chance(&worker->random, 70) ? 10 : load->phase->batch_max;
	int			size = draw_between(&worker->random, 1, most);
	bool		chains = chance(&worker->random, load->phase->chains);
	bool		mixed = chance(&worker->random, 40);

	*count = 0;
	while (*count < size)
	{
		int			id = load_id(worker);
		Item	   *item = &items[*count];

		load_item(load, id, false, item);
		if (item->kind == TRANSFER && chance(&worker->random, load->phase->others))
			load_item(load, id, true, item);
		if (item->kind != TRANSFER)
			continue;
		if (chains)
			item->chain = mixed ? draw_between(&worker->random, 0, 3) : *count / 4 + 1;
		(*count)++;
		if (*count < size && chance(&worker->random, 2))
		{
			items[*count] = *item;
			(*count)++;
		}
	}
	if (*count == 1)
		items[0].chain = 0;
}

/* Post or void a transfer of late that holds. */
void
load_settling(Worker *worker, Item *item)
{
	Load	   *load = worker->load;
	long		last = atomic_load(&load->next_id);
	Item		hold = {0};

	for (int try = 0; try < 30 && !hold.hold; try++)
		load_item(load, draw_between(&worker->random, last > 150 ? last - 150 : 1, last - 1), false,
				  &hold);
	*item = (Item) {.kind = chance(&worker->random, 60) ? POST : VOID, .id = hold.id};
	if (item->kind == POST && chance(&worker->random, 60))
	{
		int64_t		most = hold.amount.v + chance(&worker->random, 20);

		item->amount = SOME(draw_between(&worker->random, 1, most));
	}
}
