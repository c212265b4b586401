/*
 * load.c
 *		Sets up a ledger, lets many connections work on it, and has the outcome checked.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>

static const Phase phases[] = {
	/* one call a transaction: no deadlock is excused */
	{.name = "mixed", .batches = 15, .settle = 20, .old_ids = 15, .others = 10, .chains = 40,
		.batch_max = 40, .holds = 25, .window = 200, .history = true, .administer = true},
	{.name = "mixed_read_committed", .batches = 15, .settle = 20, .old_ids = 15, .others = 10,
		.chains = 40,
		.batch_max = 40, .holds = 25, .window = 200, .history = true, .administer = true},
	/* several calls a transaction, savepoints, rollbacks */
	{.name = "transactions", .batches = 15, .settle = 20, .transactions = 60, .old_ids = 15,
		.others = 10,
		.chains = 40, .batch_max = 20, .holds = 25, .window = 200, .history = true},
	/* the same few ids from all sides */
	{.name = "ids", .batches = 30, .settle = 10, .old_ids = 80, .others = 25, .chains = 30,
		.batch_max = 12,
		.holds = 10, .window = 12, .history = true},
	/* long batches against each other */
	{.name = "batches", .batches = 90, .settle = 5, .old_ids = 3, .others = 5, .chains = 30,
		.batch_max = 400,
		.holds = 10, .window = 2000, .history = false, .administer = true},
	/* holds that run out while others post and void them */
	{.name = "holds", .batches = 10, .settle = 45, .old_ids = 10, .others = 5, .chains = 30,
		.batch_max = 10,
		.holds = 90, .window = 100, .history = true, .administer = true},
	/* for a server that is killed now and then */
	{.name = "crash", .batches = 15, .settle = 20, .transactions = 10, .old_ids = 10, .others = 5,
		.chains = 30,
		.batch_max = 40, .holds = 25, .window = 200, .history = true},
};

static const Phase *
find_phase(const char *name)
{
	for (int i = 0; i < lengthof(phases); i++)
		if (strcmp(phases[i].name, name) == 0)
			return &phases[i];
	die("unknown phase \"%s\"", name);
}

static void
set_up(Load *load)
{
	Conn		conn;

	if (!conn_open(&conn, load->info, load->ledger))
		die("cannot connect: %s", conn.message);
	conn_must(&conn, "DROP TABLE IF EXISTS %s, %s_transfers", load->ledger, load->ledger);
	conn_must(&conn, "SELECT keep.create_ledger('%s', history => %s)", load->ledger,
			  load->phase->history ? "true" : "false");
	for (int i = 0; i < UNOPENED; i++)
	{
		Op			terms;
		Balance		balance;

		load_terms(i, &terms);
		if (!call_open(&conn, i, unit_name(terms.unit), terms.min, terms.max, terms.shards,
					   &balance))
			die("open_account: %s", conn.message);
	}
	conn_close(&conn);
}

static void
run(Load *load, Worker *workers, Reader *reader, const char *stop)
{
	reader->load = load;
	reader->random.state = load->seed * 77;
	for (int i = 0; i < load->workers; i++)
	{
		workers[i].load = load;
		workers[i].number = i;
		workers[i].random.state = load->seed * 1000 + i;
		if (i * 100 / load->workers >= 100 - load->levels)
			workers[i].level = 1 + i % 2;
		if (pthread_create(&workers[i].thread, NULL, load_worker, &workers[i]) != 0)
			die("cannot start a thread");
	}
	if (!load->crash && pthread_create(&reader->thread, NULL, load_reader, reader) != 0)
		die("cannot start a thread");
	if (load->crash)
		wait_for_stop(&load->stop, stop);
	for (int i = 0; i < load->workers; i++)
		pthread_join(workers[i].thread, NULL);
	if (load->crash)
	{
		atomic_store(&load->readers_stop, true);
		load_reader(reader);
	}
	atomic_store(&load->readers_stop, true);
	if (!load->crash)
		pthread_join(reader->thread, NULL);
	load_read_rest(reader);
}

int
load_main(const char *info, int argc, char **argv)
{
	Load	   *load = allot(sizeof(Load));
	Worker	   *workers = allot(sizeof(Worker) * MAX_WORKERS);
	Reader	   *reader = allot(sizeof(Reader));
	const char *stop = NULL;
	long		calls = 0;
	long		facts = 0;

	load->phase = find_phase(argv[1]);
	load->info = info;
	load->seed = setting(argc, argv, "seed", 1);
	load->workers = setting(argc, argv, "workers", 8);
	load->calls = setting(argc, argv, "calls", 500);
	load->levels = setting(argc, argv, "levels", 25);
	load->indirect = setting(argc, argv, "indirect", 35);
	/* SKIP LOCKED, which takes the other sides of holds that are over, may wait: see ledger.md */
	load->deadlocks = load->phase->transactions > 0 || strcmp(load->phase->name, "holds") == 0;
	load->crash = strcmp(load->phase->name, "crash") == 0;
	atomic_store(&load->next_id, 1);
	snprintf(load->ledger, sizeof(load->ledger), "load_%s", load->phase->name);
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "stop=", 5) == 0)
			stop = argv[i] + 5;
	if (load->workers < 2 || load->workers > MAX_WORKERS || (load->crash && stop == NULL))
		die("bad arguments");

	set_up(load);
	run(load, workers, reader, stop);
	for (int i = 0; i < load->workers; i++)
	{
		calls += workers[i].calls;
		facts += workers[i].nfacts;
	}
	if (complaints() == 0)
		check_load(load, workers, reader);
	printf("%s: %ld calls about %ld transfers, %ld ids, %ld transactions run again, %d"
		   " connections lost,"
		   " %ld looks by the reader\n", load->phase->name, calls, facts,
		   atomic_load(&load->next_id) - 1,
		   atomic_load(&load->retries), atomic_load(&load->crashes), (long) reader->looks);
	return complaints() > 0;
}
