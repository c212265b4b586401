/*
 * model_batch.c
 *		Batches in the model: items in order, and chains that stand or fall together.
 *
 * A chain that fails is taken back to its first item and what follows is gone
 * through again, so that nothing has seen money of a chain that failed. Chains
 * that failed on the way, with no other items among theirs, get another chance.
 */
#include "model.h"

#include <stdlib.h>
#include <string.h>

typedef struct Chain
{
	bool		known;
	bool		failed;
	bool		gone;			/* failed among items of others: never to be looked at again */
	int			first;			/* position of its first item */
	int			culprit;		/* position of the item that failed it */
	Reason		reason;
} Chain;

typedef struct Batch
{
	Model	   *model;
	const Item *items;
	int			count;
	Chain	   *chains;			/* by label */
	int		   *marks;			/* of the model's log, before each item */
	int		   *hold_marks;
	Answer	   *answers;
} Batch;

/* An item of a chain that has failed, or of none. */
static void
run_item(Batch *batch, int i)
{
	Model	   *model = batch->model;
	const Item *item = &batch->items[i];
	Answer	   *answer = &batch->answers[i];
	ModelTransfer *old = &model->transfers[item->id];
	Chain	   *chain = item->chain ? &batch->chains[item->chain] : NULL;
	Reason		reason;

	if (old->status != ABSENT && model_repeats(old, item))
	{
		model_replay(model, item->id, false, answer);
		return;
	}
	if (old->status != ABSENT)
	{
		*answer = (Answer) {.id = item->id, .status = MISMATCH};
		return;
	}
	if (chain && chain->failed)
		reason = i == chain->culprit ? chain->reason : CHAIN_FAILED;
	else
		reason = model_decide(model, item->from, item->to, item->amount, false);
	if (reason == NO_REASON && !model_fits(model, item->from, item->to, item->amount.v))
	{
		model->error = "22003";
		return;
	}
	model_store(model, item, reason, answer);
}

/* A chain fails with this item. Returns where to go on: at its first item. */
static int
fail_chain(Batch *batch, Chain *chain, int culprit)
{
	chain->failed = true;
	chain->culprit = culprit;
	chain->reason = batch->answers[culprit].reason;
	for (int i = chain->first; i < culprit; i++)
		if (batch->items[i].chain != batch->items[culprit].chain)
			chain->gone = true;
	for (int i = 0; i <= MAX_ITEMS && chain->gone; i++)
	{
		Chain	   *other = &batch->chains[i];

		if (other->failed && !other->gone && other->culprit >= chain->first)
			other->failed = false;
	}
	model_rollback(batch->model, batch->marks[chain->first]);
	batch->model->nholds = batch->hold_marks[chain->first];
	return chain->first;
}

/* Go through the batch, and back wherever a chain fails. */
static void
run_items(Batch *batch)
{
	Model	   *model = batch->model;

	for (int i = 0; i < batch->count; i++)
	{
		const Item *item = &batch->items[i];
		Chain	   *chain = item->chain ? &batch->chains[item->chain] : NULL;
		Answer	   *answer = &batch->answers[i];

		batch->marks[i] = model->logged;
		batch->hold_marks[i] = model->nholds;
		if (chain && !chain->known)
		{
			chain->known = true;
			chain->first = i;
		}
		run_item(batch, i);
		if (model->error[0])
			return;
		if (chain && !chain->failed && (answer->status == MISMATCH || answer->status == REJECTED))
			i = fail_chain(batch, chain, i) - 1;
	}
}

static const char *
batch_mistake(const Item *items, int count)
{
	if (count == 0)
		return "22023";
	for (int i = 0; i < count; i++)
		if (items[i].mistake)
			return mistake_state(items[i].mistake);
	return "";
}

/* As many calls of transfer() */
static int
run_calls(Model *model, const Item *items, int count, Answer *answers)
{
	int			mark = model->logged;

	for (int i = 0; i < count; i++)
		if (!model_item(model, &items[i], &answers[i]))
		{
			model_rollback(model, mark);
			return -1;
		}
	return count;
}

/* The answers to a batch; -1 where it must fail with model->error. */
int
model_batch(Model *model, const Item *items, int count, Way way, bool exceptions, Answer *answers)
{
	Batch		batch = {.model = model, .items = items, .count = count, .answers = answers};
	int			mark = model->logged;
	int			shown = 0;

	if (way == BY_CALLS)
		return run_calls(model, items, count, answers);
	model->error = batch_mistake(items, count);
	if (model->error[0])
		return -1;
	batch.chains = allot(sizeof(Chain) * (MAX_ITEMS + 1));
	batch.marks = allot(sizeof(int) * count);
	batch.hold_marks = allot(sizeof(int) * count);
	run_items(&batch);
	free(batch.chains);
	free(batch.marks);
	free(batch.hold_marks);
	if (model->error[0])
	{
		model_rollback(model, mark);
		return -1;
	}
	for (int i = 0; i < count; i++)
		if (!exceptions || answers[i].replayed || answers[i].status == REJECTED ||
			answers[i].status == MISMATCH)
			answers[shown++] = answers[i];
	return shown;
}
