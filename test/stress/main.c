/*
 * main.c
 *		The stress client: puts load on ledgers, request logs and sagas, and checks every answer.
 *
 *	keep_stress MODE conninfo=CONNINFO [name=number...]
 *
 * Ledgers:
 *	sequence	one connection; a model predicts each answer. direct=1 with direct access to the
 *				tables, 0 without, 2 both in step on two ledgers; history, level, calls, ops,
 *				batches, max_batch
 *	drain		accounts in shards: funds, max, workers, indirect
 *	race		accounts in shards, and reversals: funds, calls, originals, workers, indirect
 *	mixed, mixed_read_committed, transactions, ids, batches, holds, crash
 *				many connections at once, checked afterwards: workers, calls (of each),
 *				levels (percent of the connections that are not READ COMMITTED), indirect
 *				(percent without direct access); crash runs until the file of stop=FILE
 *				is there
 *
 * Request logs:
 *	request_sequence
 *				one connection; a model predicts each answer: calls (of each round), rounds
 *	request_mixed, request_zombies, request_once, request_forever, request_crash
 *				many connections: workers, calls (of each), levels; crash as above
 *
 * Sagas:
 *	saga_sequence
 *				one connection; a model predicts each answer: calls (of each round), rounds
 *	saga_mixed, saga_local, saga_zombies, saga_crash
 *				the same
 *
 * Stores and leases:
 *	store_selftest
 *				no connection; the checker of histories on good and bad ones
 *	store_histories
 *				many connections; is there an order of all calls that explains every
 *				answer: workers, calls (of each), keys
 *	store_append
 *				many connections; transactions of reads and appends have an order, if their
 *				level promises one: workers, txns (of each), level (0 READ COMMITTED, 1, 2
 *				SERIALIZABLE), blind
 *
 * seed=number repeats a run, as far as other connections do not interfere. Status 1: an answer or
 * an effect was wrong; 2: something else went wrong.
 */
#include "load.h"

#include <string.h>

int
main(int argc, char **argv)
{
	const char *info = NULL;

	for (int i = 2; i < argc; i++)
		if (strncmp(argv[i], "conninfo=", 9) == 0)
			info = argv[i] + 9;
	if (info == NULL)
		die("usage: keep_stress MODE conninfo=CONNINFO [name=number...]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s, seed %ld\n", argv[1], setting(argc, argv, "seed", 1));
	if (strcmp(argv[1], "sequence") == 0)
		return sequence_main(info, argc, argv);
	if (strcmp(argv[1], "drain") == 0)
		return drain_main(info, argc, argv);
	if (strcmp(argv[1], "race") == 0)
		return race_main(info, argc, argv);
	if (strcmp(argv[1], "request_sequence") == 0)
		return request_sequence_main(info, argc, argv);
	if (strncmp(argv[1], "request_", 8) == 0)
		return request_main(info, argc, argv);
	if (strcmp(argv[1], "saga_sequence") == 0)
		return saga_sequence_main(info, argc, argv);
	if (strncmp(argv[1], "saga_", 5) == 0)
		return saga_main(info, argc, argv);
	if (strncmp(argv[1], "store_", 6) == 0)
		return store_main(info, argc, argv);
	return load_main(info, argc, argv);
}
