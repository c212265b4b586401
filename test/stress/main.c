/*
 * main.c
 *		The stress client of the ledger: puts load on it and checks every answer and every balance.
 *
 *	ledger_stress MODE conninfo=CONNINFO [name=number...]
 *
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
 * seed=number repeats a run, as far as other connections do not interfere. Status 1: an answer or
 * a balance was wrong; 2: something else went wrong.
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
		die("usage: ledger_stress MODE conninfo=CONNINFO [name=number...]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s, seed %ld\n", argv[1], setting(argc, argv, "seed", 1));
	if (strcmp(argv[1], "sequence") == 0)
		return sequence_main(info, argc, argv);
	if (strcmp(argv[1], "drain") == 0)
		return drain_main(info, argc, argv);
	if (strcmp(argv[1], "race") == 0)
		return race_main(info, argc, argv);
	return load_main(info, argc, argv);
}
