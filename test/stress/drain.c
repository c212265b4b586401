/*
 * drain.c
 *		An account in shards is emptied by many into another that may fill up.
 *
 * Money goes one way only, so the balance at the end tells of each rejection
 * whether it was right: what could still be paid at the end could be paid before.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCE 0
#define SINK 1
#define BANK 2
#define MOST 7					/* in one go */

typedef struct Drain
{
	const char *info;
	int64_t		funds;
	Maybe		max;			/* of the sink */
	int			indirect;
	atomic_long next_id;
	atomic_bool done;
} Drain;

typedef struct Drainer
{
	pthread_t	thread;
	Drain	   *drain;
	Conn		conn;
	Random		random;
	int			number;
	int64_t		moved;
	int64_t		smallest[REASONS];	/* amount that was rejected for this */
	long		calls;
	bool		over;			/* not even one could be moved */
} Drainer;

static void
note_answer(Drainer *d, const Item *item, const Answer *answer)
{
	if (answer->replayed || answer->from_balance.set || answer->to_balance.set ||
		answer->id != item->id)
		complain("of an account in shards: %s", show_answer(answer));
	if (answer->status == REJECTED)
	{
		if (item->amount.v < d->smallest[answer->reason])
			d->smallest[answer->reason] = item->amount.v;
		d->over |= item->amount.v == 1;
		return;
	}
	d->moved += item->amount.v;
	if (answer->status == PENDING)
	{
		Item		post = {.kind = POST, .id = item->id};
		Answer		posted;

		if (!call_item(&d->conn, &post, &posted) || posted.status != POSTED)
			complain("cannot post: %s %s", d->conn.state, d->conn.message);
	}
}

static void *
drainer(void *arg)
{
	Drainer    *d = arg;
	Item		items[6];
	Answer		answers[6];

	if (!conn_open(&d->conn, d->drain->info, "drain"))
		die("cannot connect: %s", d->conn.message);
	conn_must(&d->conn, "SET pg_keep.direct_access = %s",
			  d->number < d->drain->indirect ? "off" : "on");
	while (!d->over && complaints() == 0)
	{
		int			most = chance(&d->random, 30) ? lengthof(items) : 1;
		int			count = draw_between(&d->random, 1, most);
		bool		good;

		for (int i = 0; i < count; i++)
			items[i] = (Item) {
				.kind = TRANSFER, .id = atomic_fetch_add(&d->drain->next_id, 1), .from = SOURCE,
				.to = SINK,
				.amount = SOME(draw_between(&d->random, 1, MOST)),
				.hold = chance(&d->random, 15) ? 3600000 : 0
			};
		good = count == 1 ? call_item(&d->conn, &items[0], &answers[0]) :
			call_batch(&d->conn, items, count, BY_ARRAYS, false, answers) == count;
		d->calls++;
		if (!good)
			complain("%s %s", d->conn.state, d->conn.message);
		for (int i = 0; i < count && good; i++)
			note_answer(d, &items[i], &answers[i]);
	}
	conn_close(&d->conn);
	return NULL;
}

/* The source only falls, to nothing at the least; the sink only rises, to its limit at the most. */
static void *
watcher(void *arg)
{
	Drain	   *drain = arg;
	Conn		conn;
	int64_t		source = drain->funds;
	int64_t		sink = 0;

	if (!conn_open(&conn, drain->info, "drain"))
		die("cannot connect: %s", conn.message);
	while (!atomic_load(&drain->done) && complaints() == 0)
	{
		Balance		balance;

		if (!call_balance(&conn, SINK, &balance) || balance.balance < sink ||
			(drain->max.set && balance.balance + balance.credits_pending > drain->max.v))
			complain("the sink went from %lld to %lld, with %lld on hold", (long long) sink,
					 (long long) balance.balance, (long long) balance.credits_pending);
		sink = balance.balance;
		if (!call_balance(&conn, SOURCE, &balance) || balance.available > source ||
			balance.available < 0)
			complain("the source went from %lld to %lld", (long long) source,
					 (long long) balance.available);
		source = balance.available;
		usleep(1000);
	}
	conn_close(&conn);
	return NULL;
}

static void
set_up(Drain *drain)
{
	Conn		conn;
	Balance		balance;
	Answer		answer;
	Item		fund = {
		.kind = TRANSFER, .id = atomic_fetch_add(&drain->next_id, 1), .from = BANK, .to = SOURCE,
		.amount = SOME(drain->funds)
	};

	if (!conn_open(&conn, drain->info, "drain"))
		die("cannot connect: %s", conn.message);
	conn_must(&conn, "DROP TABLE IF EXISTS drain, drain_transfers");
	conn_must(&conn, "SELECT keep.create_ledger('drain')");
	if (!call_open(&conn, SOURCE, "USD", SOME(0), NOTHING, 8, &balance) ||
		!call_open(&conn, SINK, "USD", NOTHING, drain->max, 5, &balance) ||
		!call_open(&conn, BANK, "USD", NOTHING, NOTHING, 1, &balance) ||
		!call_item(&conn, &fund, &answer) || answer.status != POSTED)
		die("cannot set up: %s", conn.message);
	conn_close(&conn);
}

static void
check_end(Drain *drain, Drainer *drainers, int workers)
{
	int64_t		moved = 0;
	bool		fills = drain->max.set && drain->max.v < drain->funds;
	int64_t		left = fills ? drain->funds - drain->max.v : 0;
	Balance		source;
	Balance		sink;
	Conn		conn;

	if (!conn_open(&conn, drain->info, "drain") || !call_balance(&conn, SOURCE, &source) ||
		!call_balance(&conn, SINK, &sink))
		die("%s", conn.message);
	for (int i = 0; i < workers; i++)
	{
		moved += drainers[i].moved;
		for (int reason = 0; reason < REASONS; reason++)
		{
			int64_t		amount = drainers[i].smallest[reason];

			if (amount == INT64_MAX)
				continue;
			if (!(reason == INSUFFICIENT_FUNDS && source.balance < amount) &&
				!(reason == LIMIT_EXCEEDED && drain->max.set &&
				  sink.balance + amount > drain->max.v))
				complain("%lld was rejected with %s, with %lld in the source and %lld in the sink",
						 (long long) amount, reason_name(reason), (long long) source.balance,
						 (long long) sink.balance);
		}
	}
	if (source.balance != left || sink.balance != drain->funds - left || moved != sink.balance ||
		source.debits_pending != 0 || sink.credits_pending != 0)
		complain("%lld are left of %lld, %lld arrived, %lld were moved", (long long) source.balance,
				 (long long) drain->funds, (long long) sink.balance, (long long) moved);
	check_verify(&conn);
	conn_close(&conn);
}

int
drain_main(const char *info, int argc, char **argv)
{
	Drain		drain = {.info = info, .funds = setting(argc, argv, "funds", 6000)};
	Drainer    *drainers = allot(sizeof(Drainer) * MAX_WORKERS);
	int			workers = setting(argc, argv, "workers", 8);
	long		max = setting(argc, argv, "max", 0);
	long		calls = 0;
	pthread_t	watch;

	if (workers < 1 || workers > MAX_WORKERS)
		die("bad arguments");
	drain.max = max ? SOME(max) : NOTHING;
	drain.indirect = workers * setting(argc, argv, "indirect", 35) / 100;
	atomic_store(&drain.next_id, 1);
	set_up(&drain);
	for (int i = 0; i < workers; i++)
	{
		drainers[i].drain = &drain;
		drainers[i].number = i;
		drainers[i].random.state = setting(argc, argv, "seed", 1) * 1000 + i;
		for (int reason = 0; reason < REASONS; reason++)
			drainers[i].smallest[reason] = INT64_MAX;
		if (pthread_create(&drainers[i].thread, NULL, drainer, &drainers[i]) != 0)
			die("cannot start a thread");
	}
	if (pthread_create(&watch, NULL, watcher, &drain) != 0)
		die("cannot start a thread");
	for (int i = 0; i < workers; i++)
	{
		pthread_join(drainers[i].thread, NULL);
		calls += drainers[i].calls;
	}
	atomic_store(&drain.done, true);
	pthread_join(watch, NULL);
	if (complaints() == 0)
		check_end(&drain, drainers, workers);
	printf("drain: %ld calls, %ld transfers\n", calls, atomic_load(&drain.next_id) - 1);
	return complaints() > 0;
}
