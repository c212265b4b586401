/*
 * store_load.c
 *		Histories of stores and leases: many connections at once, and then the checker.
 *
 *	store_selftest		the checker alone, on histories that are good or bad on purpose
 *	store_append		see append_load.c
 *	store_histories		workers, calls (of each), keys, dump: calls under cancels, timeouts, lost
 *						connections and lives of milliseconds
 *						alone=1: each in autocommit, of which none can deadlock
 *						lose=0: no connection is lost, so all is known to have happened or not
 *						reaper=0: none runs beside, so that it is known who locks what
 */
#include "append.h"
#include "store_load.h"

#include <string.h>
#include <time.h>

const StoreRule store_rules[] = {
	{.name = "history_plain"},
	{.name = "history_access", .ttl = 30000, .access = true},
	{.name = "history_create", .ttl = 25000, .fixed = true},
	{.name = "history_leases", .leases = true},
	{.name = "history_capped", .longest = 60000},
};

static void
set_up(StoreLoad *load)
{
	Conn		conn;

	if (!conn_open(&conn, load->info, ""))
		die("cannot connect: %s", conn.message);
	conn_must(&conn, "DROP TABLE IF EXISTS history_plain, history_access, history_create,"
			  " history_leases, history_capped");
	conn_must(&conn, "SELECT keep.create_store('history_plain'),"
			  " keep.create_store('history_access', ttl => '30 ms', expire_after => 'access'),"
			  " keep.create_store('history_create', ttl => '25 ms', expire_after => 'create'),"
			  " keep.create_store('history_leases'),"
			  " keep.create_store('history_capped', max_lifetime => '60 ms', hash_keys => true)");
	conn_close(&conn);
}

/* The first ones are the hot ones. */
static void
deal_keys(StoreLoad *load, int *rule_of)
{
	static const int deal[] = {0, 0, 3, 1, 4, 3, 0, 2};

	for (int key = 0; key < load->keys; key++)
		rule_of[key] = deal[key % lengthof(deal)];
	load->rule_of = rule_of;
}

static void
run(StoreLoad *load, StoreWorker *workers)
{
	Conn		conn;

	for (int i = 0; i < load->workers; i++)
	{
		workers[i].load = load;
		workers[i].number = i;
		workers[i].random.state = load->seed * 1000 + i;
		if (pthread_create(&workers[i].thread, NULL, store_worker, &workers[i]) != 0)
			die("cannot start a thread");
	}
	for (int i = 0; i < load->workers; i++)
		pthread_join(workers[i].thread, NULL);
	if (!conn_open(&conn, load->info, ""))
		die("cannot connect: %s", conn.message);
	wait_for_others(&conn);
	conn_close(&conn);
	store_read_all(&workers[0]);
}

static void
join_histories(History *history, StoreLoad *load, StoreWorker *workers)
{
	for (int i = 0; i < load->workers; i++)
		history->count += workers[i].nops;
	history->ops = allot(sizeof(StoreOp *) * history->count);
	history->count = 0;
	for (int i = 0; i < load->workers; i++)
	{
		memcpy(history->ops + history->count, workers[i].ops, sizeof(StoreOp *) * workers[i].nops);
		history->count += workers[i].nops;
	}
	history->rules = store_rules;
	history->rule_of = load->rule_of;
	history->keys = load->keys;
	history->findings.loud = true;
}

/* Answers that are given often, at least one of each call */
static const struct
{
	StoreCall	call;
	Said		said;
}			usual[] = {
	{DO_GET, SAID_NOTHING}, {DO_GET, SAID_ENTRY}, {DO_GET_ENTRY, SAID_NOTHING},
	{DO_GET_ENTRY, SAID_ENTRY}, {DO_GET_MANY, SAID_NOTHING}, {DO_GET_MANY, SAID_ENTRY},
	{DO_GET_AND_TOUCH, SAID_NOTHING}, {DO_GET_AND_TOUCH, SAID_ENTRY},
	{DO_WAIT_FOR, SAID_NOTHING}, {DO_WAIT_FOR, SAID_ENTRY}, {DO_PUT, SAID_CREATED},
	{DO_PUT, SAID_UPDATED}, {DO_PUT_MANY, SAID_CREATED}, {DO_PUT_MANY, SAID_UPDATED},
	{DO_PUT_BATCH, SAID_CREATED}, {DO_PUT_BATCH, SAID_UPDATED}, {DO_PUT_IF_ABSENT, SAID_CREATED},
	{DO_PUT_IF_ABSENT, SAID_EXISTS}, {DO_SWAP, SAID_CREATED}, {DO_SWAP, SAID_UPDATED},
	{DO_SWAP, SAID_EXISTS}, {DO_SWAP, SAID_STALE}, {DO_SWAP, SAID_ABSENT},
	{DO_INCREMENT, SAID_CREATED}, {DO_INCREMENT, SAID_UPDATED}, {DO_MERGE, SAID_UPDATED},
	{DO_MERGE, SAID_STALE}, {DO_MERGE, SAID_ABSENT}, {DO_TOUCH, SAID_TOUCHED},
	{DO_TOUCH, SAID_FRESH}, {DO_TOUCH, SAID_ABSENT}, {DO_PERSIST, SAID_PERSISTED},
	{DO_PERSIST, SAID_ABSENT}, {DO_DELETE, SAID_DELETED}, {DO_DELETE, SAID_STALE},
	{DO_DELETE, SAID_ABSENT}, {DO_ACQUIRE, SAID_ACQUIRED}, {DO_ACQUIRE, SAID_TAKEN},
	{DO_RENEW, SAID_RENEWED}, {DO_RENEW, SAID_STALE}, {DO_RENEW, SAID_ABSENT},
	{DO_RELEASE, SAID_RELEASED}, {DO_RELEASE, SAID_STALE}, {DO_RELEASE, SAID_ABSENT},
	{DO_ASSERT, SAID_PASSED}, {DO_ASSERT, SAID_REFUSED}
};

/* What came of all calls */
typedef struct Tally
{
	long		answers[STORE_CALLS][SAIDS];
	long		by_call[STORE_CALLS];
	long		answered;
	StoreWorker failures;
} Tally;

static void
count_all(Tally *tally, const History *history, StoreLoad *load, const StoreWorker *workers)
{
	for (long i = 0; i < history->count; i++)
		if (history->ops[i]->answered)
		{
			tally->answers[history->ops[i]->call][history->ops[i]->said]++;
			tally->by_call[history->ops[i]->call]++;
			tally->answered++;
		}
	for (int i = 0; i < load->workers; i++)
		store_add_failures(&tally->failures, &workers[i]);
}

static void
report(const History *history, StoreLoad *load, const Tally *tally, int64_t ran, int64_t checked)
{
	const StoreWorker *failures = &tally->failures;

	for (int call = 0; call < STORE_CALLS; call++)
	{
		int			used = 0;
		char		line[400] = "";

		for (int said = 0; said < SAIDS; said++)
			if (tally->answers[call][said] > 0)
				used += snprintf(line + used, sizeof(line) - used, " %s %ld", said_name(said),
								 tally->answers[call][said]);
		if (used > 0)
			printf("  %s:%s\n", store_call_name(call), line);
	}
	printf("%ld calls on %d keys, %ld answered; %ld cancelled, %ld timed out, %ld waiting for a"
		   " lock, %ld conflicts, %ld deadlocks; %ld connections lost, %ld unknown, %ld of them"
		   " happened, %ld unseen\n", history->count, history->keys, tally->answered,
		   failures->cancels, failures->timeouts, failures->lock_timeouts, failures->conflicts,
		   failures->deadlocks, atomic_load(&load->lost), history->unknown, history->happened,
		   history->unseen);
	printf("%ld writes and %ld looks in order; %ld locked, %ld of them by the reaper; %ld of %ld"
		   " rows swept; ran %.1f s, checked %.1f s\n", history->writes, history->looks,
		   history->locked, history->by_reaper, history->swept, history->nrows, ran / 1e9,
		   checked / 1e9);
}

/*
 * A run that does little proves little: each sort of answer and of failure must have been there.
 * The numbers are far below those that are usual, also on a busy machine; of small runs nothing is
 * asked. Cancels are for calls that wait, so that a fast machine has few of them.
 */
static void
judge_amounts(const History *history, StoreLoad *load, const Tally *tally)
{
	const StoreWorker *failures = &tally->failures;
	long		count = history->count;

	at_least(load->calls * load->workers, count, "calls");
	at_least(count / 2, tally->answered, "answers");
	for (int call = 0; call < DO_HOLD; call++)
		at_least(count / 3000, tally->by_call[call], store_call_name(call));
	if (load->lose)
	{
		at_least(count / 3000, history->unknown, "calls of which nothing is known");
		at_least(count / 3000, atomic_load(&load->lost), "connections lost");
	}
	at_least(count / 20, history->writes, "writes in order");
	if (load->alone)
	{
		at_least(count / 3000, history->swept, "rows swept");
		return;
	}
	for (int i = 0; i < lengthof(usual); i++)
	{
		char		what[80];

		snprintf(what, sizeof(what), "%s: %s", store_call_name(usual[i].call),
				 said_name(usual[i].said));
		at_least(count / 10000, tally->answers[usual[i].call][usual[i].said], what);
	}
	at_least(count / 200, failures->cancels + failures->timeouts + failures->lock_timeouts,
			 "calls cancelled or timed out");
	at_least(count / 10000, failures->cancels, "calls cancelled");
	at_least(count / 3000, failures->timeouts, "calls that took too long");
	at_least(count / 3000, failures->lock_timeouts, "calls that waited too long for a lock");
	at_least(count / 3000, failures->conflicts, "conflicts");
	if (load->lose)
		at_least(count / 10000, history->happened, "unknown writes that have happened");
	if (!history->reaper)
		at_least(count / 8000, history->locked, "acquire: locked");
}

int
store_main(const char *info, int argc, char **argv)
{
	StoreLoad  *load = allot(sizeof(StoreLoad));
	StoreWorker *workers = allot(sizeof(StoreWorker) * STORE_WORKERS);
	History		history = {0};
	int			rule_of[STORE_KEYS];
	Tally	   *tally = allot(sizeof(Tally));
	int64_t		start = ticks();
	int64_t		ran;

	if (strcmp(argv[1], "store_selftest") == 0)
		return history_selftest() | append_selftest();
	if (strcmp(argv[1], "store_append") == 0)
		return append_main(info, argc, argv);
	if (strcmp(argv[1], "store_histories") != 0)
		die("unknown mode \"%s\"", argv[1]);
	load->info = info;
	load->seed = setting(argc, argv, "seed", 1);
	load->workers = setting(argc, argv, "workers", 8);
	load->calls = setting(argc, argv, "calls", 1000);
	load->keys = setting(argc, argv, "keys", 16);
	load->alone = setting(argc, argv, "alone", 0);
	load->lose = setting(argc, argv, "lose", 1);
	if (load->workers < 1 || load->workers > STORE_WORKERS || load->keys < 1 ||
		load->keys > STORE_KEYS)
		die("bad arguments");
	atomic_store(&load->next_write, 1);
	deal_keys(load, rule_of);
	set_up(load);
	run(load, workers);
	ran = ticks() - start;
	join_histories(&history, load, workers);
	history.reaper = setting(argc, argv, "reaper", 1);
	history.dump = setting(argc, argv, "dump", 0);
	check_history(&history);
	count_all(tally, &history, load, workers);
	report(&history, load, tally, ran, ticks() - start - ran);
	judge_amounts(&history, load, tally);
	return complaints() > 0;
}
