/*
 * race.c
 *		Accounts in shards, where calls do not queue on one row: money goes to and
 *		fro between limits, and many reverse the same transfers piece by piece.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#define LEFT 0
#define RIGHT 1
#define BANK 2
#define SECOND_BANK 3
#define ORIGINAL 100			/* the amount that is reversed in pieces */

typedef struct Race
{
	const char *info;
	int64_t		funds;			/* of each side */
	int64_t		max;			/* that the left side may have */
	long		calls;
	int			originals;
	int			first_original;
	int			indirect;
	atomic_long next_id;
	atomic_bool done;
} Race;

typedef struct Racer
{
	pthread_t	thread;
	Race	   *race;
	Conn		conn;
	Random		random;
	int			number;
	int64_t		moved;			/* from left to right, less what went back */
	int64_t	   *reversed;		/* by original */
	long		refused[REASONS];
} Racer;

static void
must(Racer *r, bool good)
{
	if (!good)
		complain("%s %s", r->conn.state, r->conn.message);
}

/* What became of a transfer; a hold is ended at once. */
static void
count(Racer *r, const Item *item, const Answer *answer)
{
	int64_t		sign = item->from == LEFT ? 1 : -1;
	Item		end = {.kind = chance(&r->random, 60) ? POST : VOID, .id = item->id};
	Answer		ended;

	if (answer->status == REJECTED)
		r->refused[answer->reason]++;
	else if (answer->status == POSTED)
		r->moved += sign * item->amount.v;
	else
	{
		if (end.kind == POST && chance(&r->random, 70))
			end.amount = SOME(draw_between(&r->random, 1, item->amount.v));
		must(r, call_item(&r->conn, &end, &ended));
		if (ended.status != (end.kind == POST ? POSTED : VOIDED) || ended.replayed)
			complain("a hold of one's own: %s", show_answer(&ended));
		if (end.kind == POST)
			r->moved += sign * ended.amount.v;
	}
}

static void
move_to_and_fro(Racer *r)
{
	Item		items[8];
	Answer		answers[8];

	for (long call = 0; call < r->race->calls && complaints() == 0; call++)
	{
		/* for a while most go one way, then the other */
		bool		back = (call / 40 % 2 == 0) == chance(&r->random, 85);
		int			n = chance(&r->random, 20) ? draw_between(&r->random, 2, lengthof(items)) : 1;

		for (int i = 0; i < n; i++)
			items[i] = (Item) {
				.kind = TRANSFER, .id = atomic_fetch_add(&r->race->next_id, 1),
				.from = back ? RIGHT : LEFT, .to = back ? LEFT : RIGHT,
				.amount = SOME(draw_between(&r->random, 1, r->race->funds / 10)),
				.hold = chance(&r->random, 20) ? 3600000 : 0
			};
		if (n == 1)
			must(r, call_item(&r->conn, &items[0], &answers[0]));
		else
			must(r, call_batch(&r->conn, items, n, BY_ARRAYS, false, answers) == n);
		for (int i = 0; i < n && complaints() == 0; i++)
			count(r, &items[i], &answers[i]);
	}
}

/* Piece by piece, until nothing is left: all go through the same transfers in the same order. */
static void
reverse_in_pieces(Racer *r)
{
	for (int i = 0; i < r->race->originals && complaints() == 0; i++)
	{
		bool		over = false;

		while (!over && complaints() == 0)
		{
			Item		item = {
				.kind = REVERSE, .id = atomic_fetch_add(&r->race->next_id, 1),
				.original = r->race->first_original + i, .force = chance(&r->random, 20),
				.amount = SOME(draw_between(&r->random, 1, 9))
			};
			Answer		answer;

			must(r, call_item(&r->conn, &item, &answer));
			if (answer.status == POSTED)
				r->reversed[i] += item.amount.v;
			else if (answer.reason != EXCEEDS_REMAINING)
				complain("neither reversed nor too late: %s", show_answer(&answer));
			over = answer.status != POSTED && item.amount.v == 1;
		}
	}
}

static void *
racer(void *arg)
{
	Racer	   *r = arg;

	if (!conn_open(&r->conn, r->race->info, "race"))
		die("cannot connect: %s", r->conn.message);
	conn_must(&r->conn, "SET pg_keep.direct_access = %s",
			  r->number < r->race->indirect ? "off" : "on");
	move_to_and_fro(r);
	reverse_in_pieces(r);
	conn_close(&r->conn);
	return NULL;
}

/* In each snapshot both sides are within their limits, and nothing is lost between them. */
static void *
watcher(void *arg)
{
	Race	   *race = arg;
	Conn		conn;
	char		left[NAME_ROOM];
	char		right[NAME_ROOM];

	if (!conn_open(&conn, race->info, "race"))
		die("cannot connect: %s", conn.message);
	account_name(left, LEFT);
	account_name(right, RIGHT);
	while (!atomic_load(&race->done) && complaints() == 0)
	{
		int64_t		bad = conn_number(&conn,
									  "SELECT count(*) FROM keep.balance('race', '%s') AS l,"
									  " keep.balance('race', '%s') AS r WHERE l.balance +"
									  " r.balance <> %lld"
									  " OR l.available < 0 OR r.available < 0"
									  " OR l.balance + l.credits_pending > %lld", left, right,
									  (long long) race->funds * 2, (long long) race->max);

		if (bad != 0)
			complain("a side is beyond its limits, or money is missing");
	}
	conn_close(&conn);
	return NULL;
}

static void
set_up(Race *race)
{
	Conn		conn;
	Balance		balance;
	Answer		answer;
	Item		fund = {.kind = TRANSFER, .from = BANK, .amount = SOME(race->funds)};

	if (!conn_open(&conn, race->info, "race"))
		die("cannot connect: %s", conn.message);
	conn_must(&conn, "DROP TABLE IF EXISTS race, race_transfers");
	conn_must(&conn, "SELECT keep.create_ledger('race')");
	if (!call_open(&conn, LEFT, "USD", SOME(0), SOME(race->max), 8, &balance) ||
		!call_open(&conn, RIGHT, "USD", SOME(0), NOTHING, 5, &balance) ||
		!call_open(&conn, BANK, "USD", NOTHING, NOTHING, 8, &balance) ||
		!call_open(&conn, SECOND_BANK, "USD", NOTHING, NOTHING, 7, &balance))
		die("cannot open accounts: %s", conn.message);
	for (fund.to = LEFT; fund.to <= RIGHT; fund.to++)
	{
		fund.id = atomic_fetch_add(&race->next_id, 1);
		if (!call_item(&conn, &fund, &answer) || answer.status != POSTED)
			die("cannot fund: %s", conn.message);
	}
	race->first_original = atomic_load(&race->next_id);
	for (int i = 0; i < race->originals; i++)
	{
		Item		item = {
			.kind = TRANSFER, .id = atomic_fetch_add(&race->next_id, 1), .from = BANK,
			.to = SECOND_BANK,
			.amount = SOME(ORIGINAL)
		};

		if (!call_item(&conn, &item, &answer) || answer.status != POSTED)
			die("cannot transfer: %s", conn.message);
	}
	conn_close(&conn);
}

static void
check_end(Race *race, Racer *racers, int workers)
{
	int64_t		moved = 0;
	Balance		left;
	Balance		second;
	Conn		conn;

	if (!conn_open(&conn, race->info, "race") || !call_balance(&conn, LEFT, &left) ||
		!call_balance(&conn, SECOND_BANK, &second))
		die("%s", conn.message);
	for (int i = 0; i < race->originals; i++)
	{
		int64_t		reversed = 0;

		for (int w = 0; w < workers; w++)
			reversed += racers[w].reversed[i];
		if (reversed != ORIGINAL)
			complain("%lld of %d were reversed", (long long) reversed, ORIGINAL);
	}
	for (int w = 0; w < workers; w++)
		moved += racers[w].moved;
	if (left.balance != race->funds - moved || second.balance != 0)
		complain("%lld are on the left instead of %lld, %lld in the bank instead of none",
				 (long long) left.balance, (long long) (race->funds - moved),
				 (long long) second.balance);
	if (conn_number(&conn, "SELECT count(*) FROM race_transfers WHERE reversed = %d",
					ORIGINAL) != race->originals)
		complain("the originals do not say that they were reversed");
	check_verify(&conn);
	conn_close(&conn);
}

int
race_main(const char *info, int argc, char **argv)
{
	Race		race = {.info = info, .funds = setting(argc, argv, "funds", 500)};
	Racer	   *racers = allot(sizeof(Racer) * MAX_WORKERS);
	int			workers = setting(argc, argv, "workers", 8);
	long		refused[REASONS] = {0};
	pthread_t	watch;

	if (workers < 1 || workers > MAX_WORKERS)
		die("bad arguments");
	race.max = race.funds * 8 / 5;
	race.calls = setting(argc, argv, "calls", 500);
	race.originals = setting(argc, argv, "originals", 50);
	race.indirect = workers * setting(argc, argv, "indirect", 35) / 100;
	atomic_store(&race.next_id, 1);
	set_up(&race);
	for (int i = 0; i < workers; i++)
	{
		racers[i].race = &race;
		racers[i].number = i;
		racers[i].random.state = setting(argc, argv, "seed", 1) * 1000 + i;
		racers[i].reversed = allot(sizeof(int64_t) * race.originals);
		if (pthread_create(&racers[i].thread, NULL, racer, &racers[i]) != 0)
			die("cannot start a thread");
	}
	if (pthread_create(&watch, NULL, watcher, &race) != 0)
		die("cannot start a thread");
	for (int i = 0; i < workers; i++)
	{
		pthread_join(racers[i].thread, NULL);
		for (int reason = 0; reason < REASONS; reason++)
			refused[reason] += racers[i].refused[reason];
	}
	atomic_store(&race.done, true);
	pthread_join(watch, NULL);
	if (complaints() == 0)
		check_end(&race, racers, workers);
	printf("race: %ld transfers, %ld refused for funds, %ld for the limit\n",
		   atomic_load(&race.next_id) - 1,
		   refused[INSUFFICIENT_FUNDS], refused[LIMIT_EXCEEDED]);
	return complaints() > 0;
}
