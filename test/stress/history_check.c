/*
 * history_check.c
 *		Is there an order of the calls that explains every answer? Key by key.
 *
 * The states of a key stand in a row, each left by one step. Every call that did not write, or
 * was rolled back, must have met one of them: not one from before what a call that had already
 * ended has met or left, and not one that was committed after it had ended itself. Taking the
 * calls as they began, and for each the first state that explains it, finds an order if there is
 * one, since a state further on can only make it harder for those that come later.
 */
#include "history.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A step, or a look */
typedef struct Event
{
	const Look *look;			/* NULL: a step */
	int			place;			/* the state it leaves, or has met */
	int64_t		inv;
	int64_t		comp;
} Event;

void
found(Findings *findings, const char *format, ...)
{
	va_list		args;
	char		text[1200];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (findings->count++ == 0)
		snprintf(findings->first, sizeof(findings->first), "%s", text);
	if (findings->loud)
		complain("%s", text);
}

static const State *
state_at(const KeyHistory *k, int place)
{
	static const State nothing = {0};

	return place == 0 ? &nothing : &k->steps[place - 1].state;
}

static int
compare_inv(const void *a, const void *b)
{
	int64_t		left = ((const Event *) a)->inv;
	int64_t		right = ((const Event *) b)->inv;

	return left < right ? -1 : left > right;
}

static int
compare_comp(const void *a, const void *b)
{
	int64_t		left = (*(Event *const *) a)->comp;
	int64_t		right = (*(Event *const *) b)->comp;

	return left < right ? -1 : left > right;
}

static int
list_events(const KeyHistory *k, Event *events, Event **ended)
{
	int			count = k->nsteps + k->nlooks;

	for (int i = 0; i < k->nsteps; i++)
		events[i] = (Event) {NULL, i + 1, k->steps[i].inv, k->steps[i].comp};
	for (int i = 0; i < k->nlooks; i++)
		events[k->nsteps + i] = (Event) {&k->looks[i], 0, k->looks[i].inv, k->looks[i].comp};
	qsort(events, count, sizeof(Event), compare_inv);
	for (int i = 0; i < count; i++)
		ended[i] = &events[i];
	qsort(ended, count, sizeof(Event *), compare_comp);
	return count;
}

/* The last state that can have been there before this time */
static int
last_before(const int64_t *begun, int nsteps, int64_t time)
{
	int			low = 0;

	while (low < nsteps)
	{
		int			middle = (low + nsteps) / 2;

		if (begun[middle] <= time)
			low = middle + 1;
		else
			nsteps = middle;
	}
	return low;
}

/*
 * Put each look in its place. False where a step has been added for a look
 * that had none: then the places have to be looked for again.
 */
static bool
place_events(KeyHistory *k, Event *events, Event **ended, const int64_t *begun)
{
	int			count = list_events(k, events, ended);
	int			low = 0;
	int			next = 0;

	for (int i = 0; i < count; i++)
	{
		Event	   *event = &events[i];
		int			high;

		while (next < count && ended[next]->comp < event->inv)
		{
			if (ended[next]->place > low)
				low = ended[next]->place;
			next++;
		}
		if (event->look == NULL)
		{
			if (low >= event->place)
				found(&k->history->findings, "key %d: after %s was there, %s was committed: %s",
					  k->key, show_state(state_at(k, low)), show_state(state_at(k, event->place)),
					  show_op(k->steps[event->place - 1].first));
			continue;
		}
		high = last_before(begun, k->nsteps, event->comp);
		for (event->place = low; event->place <= high; event->place++)
			if (fits_since(k->rule, state_at(k, event->place),
						   event->place > 0 ? k->steps[event->place - 1].inv : 0, event->look->op))
				break;
		if (event->place <= high)
			continue;
		if (assume_step(k, event->look, low, high < low ? low : high))
			return false;
		found(&k->history->findings, "key %d: neither %s nor what came after it, up to %s,"
			  " explains: %s", k->key, show_state(state_at(k, low)),
			  show_state(state_at(k, high)), show_op(event->look->op));
		event->place = low;
	}
	return true;
}

/* The order in time, once that of the writes is known */
static void
check_order(KeyHistory *k)
{
	/* each unknown call can become a step */
	int			room = k->nsteps + k->nlooks + k->nunknown + 1;
	Event	   *events = allot(sizeof(Event) * room);
	Event	  **ended = allot(sizeof(Event *) * room);
	int64_t    *begun = allot(sizeof(int64_t) * room);
	int			before;

	do
	{
		before = k->history->findings.count;
		for (int i = 0; i < k->nsteps; i++)
		{
			begun[i] = k->steps[i].inv;
			if (i > 0 && begun[i] < begun[i - 1])
				begun[i] = begun[i - 1];
		}
	} while (!place_events(k, events, ended, begun) && k->history->findings.count == before);
	free(events);
	free(ended);
	free(begun);
}

static int
compare_ops(const void *a, const void *b)
{
	int64_t		left = (*(StoreOp *const *) a)->inv;
	int64_t		right = (*(StoreOp *const *) b)->inv;

	return left < right ? -1 : left > right;
}

/* All calls on a key as they began, to look for the reason of a finding */
static void
dump_key(StoreOp **ops, int count)
{
	qsort(ops, count, sizeof(StoreOp *), compare_ops);
	for (int i = 0; i < count; i++)
		fprintf(stderr, "%s%s%s%s\n", show_op(ops[i]),
				ops[i]->txn->single ? "" : "; in a transaction", ops[i]->undone ? ", undone" : "",
				ops[i]->txn->fate == ABORTED ? ", rolled back" : "");
}

static void
check_key(History *history, int key, StoreOp **ops, int count)
{
	KeyHistory	k = {.history = history, .key = key,
					 .rule = &history->rules[history->rule_of[key]]};
	int			before = history->findings.count;

	collect_key(&k, ops, count);
	order_steps(&k);
	if (chain_steps(&k))
		check_order(&k);
	check_locked(&k, ops, count);
	collect_rows(&k);
	if (history->dump && before == 0 && history->findings.count > 0)
		dump_key(ops, count);
	history->writes += k.nsteps;
	history->looks += k.nlooks;
	history->unknown += k.nunknown;
	for (int i = 0; i < k.nunknown; i++)
		history->happened += k.unknown[i].used;
	free(k.steps);
	free(k.looks);
	free(k.unknown);
	free(k.dirty);
	free(k.made);
}

typedef struct Drawn
{
	int			rule;
	int64_t		version;
	const StoreOp *op;
} Drawn;

static int
compare_drawn(const void *a, const void *b)
{
	const Drawn *left = a;
	const Drawn *right = b;

	if (left->rule != right->rule)
		return left->rule < right->rule ? -1 : 1;
	return left->version < right->version ? -1 : left->version > right->version;
}

/* A store gives no version to two writes, whatever their keys, committed or not. */
static void
check_versions(History *history)
{
	Drawn	   *drawn = allot(sizeof(Drawn) * history->count);
	long		count = 0;

	for (long i = 0; i < history->count; i++)
		if (history->ops[i]->answered && (history->ops[i]->said == SAID_CREATED ||
										  history->ops[i]->said == SAID_UPDATED))
			drawn[count++] = (Drawn) {history->rule_of[history->ops[i]->key],
									  history->ops[i]->version, history->ops[i]};
	qsort(drawn, count, sizeof(Drawn), compare_drawn);
	for (long i = 1; i < count; i++)
		if (compare_drawn(&drawn[i - 1], &drawn[i]) == 0)
			found(&history->findings, "a version was given twice: key %d, %s; key %d, %s",
				  drawn[i - 1].op->key, show_op(drawn[i - 1].op), drawn[i].op->key,
				  show_op(drawn[i].op));
	free(drawn);
}

/* Check the whole history; what is wrong with it stands in its findings. */
void
check_history(History *history)
{
	StoreOp		  **ops = allot(sizeof(StoreOp *) * history->count);

	collect_sweeps(history);
	for (int key = 0; key < history->keys; key++)
	{
		int			count = 0;

		for (long i = 0; i < history->count; i++)
			if (history->ops[i]->key == key && history->ops[i]->call != DO_EXPIRE)
				ops[count++] = history->ops[i];
		check_key(history, key, ops, count);
	}
	check_versions(history);
	check_sweeps(history);
	free(ops);
}
