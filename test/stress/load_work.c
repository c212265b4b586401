/*
 * load_work.c
 *		A connection at work: it asks, and writes down each answer.
 *
 * Facts of a transaction stand once it has committed; until then a rollback
 * takes them back.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RETRIES 2000
#define CALLS_OF_TRANSACTION 5

static int64_t
stamp(Worker *w)
{
	return atomic_fetch_add(&w->load->stamp, 1);
}

static Fact *
new_fact(Worker *w, const Item *item, int64_t began)
{
	Fact	   *fact;

	if (w->nfacts == w->room)
	{
		w->room = w->room * 2 + 1000;
		w->facts = enlarge(w->facts, sizeof(Fact) * w->room);
	}
	fact = &w->facts[w->nfacts++];
	memset(fact, 0, sizeof(*fact));
	fact->item = *item;
	fact->began = began;
	return fact;
}

/* What has happened up to now stands. */
static void
commit_facts(Worker *w)
{
	int64_t		now = stamp(w);

	for (int i = w->committed; i < w->nfacts; i++)
		w->facts[i].ended = now;
	w->committed = w->nfacts;
}

static bool
connection_lost(Worker *w)
{
	return strcmp(w->conn.state, "08006") == 0 || strncmp(w->conn.state, "57P0", 4) == 0 ||
		PQstatus(w->conn.pg) != CONNECTION_OK;
}

static bool
open_worker(Worker *w)
{
	static const char *const levels[] = {"read committed", "repeatable read", "serializable"};
	Load	   *load = w->load;

	if (!conn_open(&w->conn, load->info, load->ledger))
		return false;
	return conn_do(&w->conn, "SET default_transaction_isolation = '%s';"
				   " SET pg_keep.direct_access = %s", levels[w->level],
				   w->number * 100 / load->workers < load->indirect ? "off" : "on");
}

static void
reconnect(Worker *w)
{
	atomic_fetch_add(&w->load->crashes, 1);
	for (int try = 0; try < 1200; try++)
	{
		conn_close(&w->conn);
		if (open_worker(w))
			return;
		usleep(50000);
	}
	die("the server does not come back: %s", w->conn.message);
}

/* Must the transaction be run again? */
static bool
retryable(Worker *w)
{
	if (w->level > 0 && failed_with(&w->conn, "40001"))
		return true;
	return w->load->deadlocks && failed_with(&w->conn, "40P01");
}

/* SQLSTATEs that tell something about the transfer */
static bool
meaningful(Worker *w)
{
	return failed_with(&w->conn, "KP404") || failed_with(&w->conn, "KP422") ||
		failed_with(&w->conn, "22023");
}

typedef enum Outcome
{
	DONE, AGAIN, LOST
} Outcome;

/*
 * Write down the answers to a batch. A report of exceptions leaves out what
 * newly ran; of items with one id that can only be the first, so the answers
 * are given out from the end.
 */
static void
note_batch(Worker *w, const Item *items, int count, bool exceptions, const Answer *answers,
		   int shown,
		   int64_t began)
{
	int			start = w->nfacts;

	for (int i = 0; i < count; i++)
		new_fact(w, &items[i], began)->batch = true;
	for (int i = count - 1; i >= 0; i--)
	{
		Fact	   *fact = &w->facts[start + i];

		if (shown == 0 || (exceptions && answers[shown - 1].id != items[i].id))
			continue;
		fact->answered = true;
		fact->answer = answers[--shown];
		if (fact->answer.id != items[i].id)
			complain("asked about #%d, answered about %s", items[i].id, show_answer(&fact->answer));
	}
	if (shown != 0)
		complain("%d answers belong to none of the %d items", shown, count);
}

/* Send a call, and write down what it says. */
static Outcome
send(Worker *w, const Item *items, int count, Way way, bool exceptions, int64_t began)
{
	static __thread Answer answers[MAX_ITEMS];
	bool		batch = count > 1;
	int			shown;

	shown = batch ? call_batch(&w->conn, items, count, way, exceptions, answers) :
		call_item(&w->conn, &items[0], &answers[0]) ? 1 : -1;
	w->calls++;
	if (shown < 0 && connection_lost(w))
		return LOST;
	if (shown < 0 && retryable(w))
		return AGAIN;
	if (shown < 0 && (batch || !meaningful(w)))
		complain("worker %d at level %d: %s %s(%d items, %s)", w->number, w->level, w->conn.state,
				 w->conn.message, count, show_item(&items[0]));
	else if (batch && !exceptions && shown != count)
		complain("%d answers to %d items", shown, count);
	else if (batch)
		note_batch(w, items, count, exceptions, answers, shown, began);
	else
	{
		Fact	   *fact = new_fact(w, &items[0], began);

		strcpy(fact->state, w->conn.state);
		fact->answered = shown == 1;
		fact->answer = answers[0];
	}
	return DONE;
}

/* The connection is gone: nobody knows what became of these. Ask again until there is an answer. */
static void
recover(Worker *w, const Item *items, int count, Way way, bool exceptions, int64_t began)
{
	int			until = w->committed;
	Outcome		outcome;

	if (!w->load->crash)
		die("worker %d: connection lost: %s", w->number, w->conn.message);
	for (int i = 0; i < count; i++)
		new_fact(w, &items[i], began)->unknown = true;
	do
	{
		reconnect(w);
		outcome = send(w, items, count, way, exceptions, stamp(w));
		if (outcome == AGAIN)
			outcome = LOST;
	} while (outcome == LOST);
	commit_facts(w);

	/* And what was acknowledged before: it must be a replay. */
	for (int i = until > 40 ? until - 40 : 0; i < until && outcome == DONE; i++)
	{
		Fact		old = w->facts[i];

		if (!old.answered || old.unknown || old.answer.status == MISMATCH ||
			old.item.kind == POST ||
			old.item.kind == VOID)
			continue;
		outcome = send(w, &old.item, 1, BY_ARRAYS, false, stamp(w));
		if (outcome == DONE && !w->facts[w->nfacts - 1].answer.replayed)
			complain("lost after a crash: %s, now %s", show_answer(&old.answer),
					 show_answer(&w->facts[w->nfacts - 1].answer));
		if (outcome == DONE)
			commit_facts(w);
	}
	w->nfacts = w->committed;
}

/* Something random to ask */
static int
make_call(Worker *w, Item *items, Way *way, bool *exceptions)
{
	const Phase *phase = w->load->phase;
	int			what = draw_between(&w->random, 0, 99);
	int			count = 1;

	*way = BY_ARRAYS;
	*exceptions = false;
	if (what < phase->batches)
	{
		load_batch(w, items, &count);
		*way = chance(&w->random, 70) ? BY_ARRAYS : BY_JSON;
		*exceptions = count > 1 && chance(&w->random, 25);
	}
	else if (what < phase->batches + phase->settle && atomic_load(&w->load->next_id) > 10)
		load_settling(w, &items[0]);
	else
	{
		int			id = load_id(w);

		load_item(w->load, id, chance(&w->random, phase->others), &items[0]);
	}
	return count;
}

/* One call, as a transaction of its own */
static void
work_alone(Worker *w, Item *items)
{
	Way			way;
	bool		exceptions;
	int			count = make_call(w, items, &way, &exceptions);
	Outcome		outcome;
	int			tries = 0;
	int64_t		began;

	do
	{
		began = stamp(w);
		outcome = send(w, items, count, way, exceptions, began);
		atomic_fetch_add(&w->load->retries, outcome == AGAIN);
	} while (outcome == AGAIN && ++tries < MAX_RETRIES);
	if (tries == MAX_RETRIES)
		complain("worker %d: %s %d times, %s", w->number, w->conn.state, tries,
				 show_item(&items[0]));
	if (outcome == LOST)
		recover(w, items, count, way, exceptions, began);
	else
		commit_facts(w);
}

/* Several calls, some under savepoints that are rolled back. */
static Outcome
try_transaction(Worker *w, Item *items)
{
	int			calls = draw_between(&w->random, 2, CALLS_OF_TRANSACTION);
	int64_t		began = stamp(w);
	Way			way;
	bool		exceptions;
	Outcome		outcome;

	w->committing = false;
	if (!conn_do(&w->conn, "BEGIN"))
		return LOST;
	for (int i = 0; i < calls; i++)
	{
		int			before = w->nfacts;
		int			count = make_call(w, items, &way, &exceptions);

		if (!conn_do(&w->conn, "SAVEPOINT s"))
			return LOST;
		outcome = send(w, items, count, way, exceptions, began);
		if (outcome != DONE)
			return outcome;
		if (PQtransactionStatus(w->conn.pg) != PQTRANS_INERROR && chance(&w->random, 80))
			continue;
		if (PQtransactionStatus(w->conn.pg) != PQTRANS_INERROR)
			w->nfacts = before;
		if (!conn_do(&w->conn, "ROLLBACK TO s"))
			return LOST;
	}
	if (chance(&w->random, 15))
	{
		w->nfacts = w->committed;
		return conn_do(&w->conn, "ROLLBACK") ? DONE : LOST;
	}
	w->committing = true;
	if (conn_do(&w->conn, "COMMIT"))
		return DONE;
	return retryable(w) ? AGAIN : LOST;
}

/* The connection went with a transaction: ask again for each thing that it may have done. */
static void
recover_transaction(Worker *w)
{
	int			count = w->nfacts - w->committed;
	Item	   *items = allot(sizeof(Item) * (count + 1));

	for (int i = 0; i < count; i++)
	{
		items[i] = w->facts[w->committed + i].item;
		items[i].chain = 0;
	}
	w->nfacts = w->committed;
	if (count == 0 || !w->committing)
		reconnect(w);
	else
		for (int i = 0; i < count; i++)
			recover(w, &items[i], 1, BY_ARRAYS, false, 0);
	free(items);
}

static void
work_in_transaction(Worker *w, Item *items)
{
	Outcome		outcome = AGAIN;

	for (int tries = 0; outcome == AGAIN && tries < MAX_RETRIES; tries++)
	{
		outcome = try_transaction(w, items);
		if (outcome == AGAIN)
		{
			w->nfacts = w->committed;
			atomic_fetch_add(&w->load->retries, 1);
			if (!conn_do(&w->conn, "ROLLBACK"))
				outcome = LOST;
		}
	}
	if (outcome != LOST)
		commit_facts(w);
	else if (w->load->crash && connection_lost(w))
		recover_transaction(w);
	else
		die("worker %d: %s in a transaction: %s", w->number, w->conn.state, w->conn.message);
}

/* Freeze and thaw; the first worker alone does it, so it knows when an account was frozen. */
static void
freeze_or_thaw(Worker *w)
{
	Load	   *load = w->load;
	int			account = draw_between(&w->random, 0, 3) * 4 + 3;
	bool		freeze = !w->frozen[account];
	int64_t		began = stamp(w);
	Balance		balance;

	if (!call_freeze(&w->conn, account, freeze, &balance))
	{
		if (!retryable(w))
			complain("freeze_account: %s %s", w->conn.state, w->conn.message);
		return;
	}
	if (balance.frozen != freeze)
		complain("account %d: frozen is not %d", account, freeze);
	w->frozen[account] = freeze;
	if (freeze)
	{
		load->freezes = enlarge(load->freezes, sizeof(Freeze) * (load->nfreezes + 1));
		load->freezes[load->nfreezes++] = (Freeze) {account, stamp(w), INT64_MAX};
		return;
	}
	for (int i = load->nfreezes - 1; i >= 0; i--)
		if (load->freezes[i].account == account)
		{
			load->freezes[i].until = began;
			return;
		}
}

/* What is not about transfers: the limits of two accounts, sweeping, looking. */
static void
administer(Worker *w)
{
	int			what = draw_between(&w->random, 0, 9);
	Balance		balance;
	bool		good = true;

	if (what < 2)
		good = conn_do(&w->conn, "SELECT keep.expire_holds('%s', %d)", w->load->ledger,
					   (int) draw_between(&w->random, 1, 50));
	else if (what < 4)
		good = call_balance(&w->conn, draw_between(&w->random, 0, OTHER_UNIT), &balance);
	else if (w->number == 0)
		freeze_or_thaw(w);
	else if (w->number == 1)
	{
		Maybe		min = SOME(draw_between(&w->random, -200, 100));
		Maybe		max = SOME(draw_between(&w->random, 200, 900));

		good = call_limits(&w->conn, draw_between(&w->random, 12, 14), min,
						   chance(&w->random, 50) ? NOTHING : max, &balance);
	}
	if (!good && !retryable(w) && !(w->load->crash && connection_lost(w)))
		complain("worker %d: %s %s", w->number, w->conn.state, w->conn.message);
}

void *
load_worker(void *arg)
{
	Worker	   *w = arg;
	Load	   *load = w->load;
	Item	   *items = allot(sizeof(Item) * MAX_ITEMS);

	if (!open_worker(w))
		die("cannot connect: %s", w->conn.message);
	while ((load->crash || w->calls < load->calls) && !atomic_load(&load->stop))
	{
		if (complaints() > 0)
			break;
		if (load->phase->administer && chance(&w->random, 5))
			administer(w);
		else if (chance(&w->random, load->phase->transactions))
			work_in_transaction(w, items);
		else
			work_alone(w, items);
	}
	free(items);
	conn_close(&w->conn);
	return NULL;
}
