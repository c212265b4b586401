/*
 * append_test.c
 *		Transactions of which it is known what is wrong with them.
 *
 * Each string is a transaction: r0:1,2 reads 1 and 2 under key 0, a0=3:1,2,3 appends 3 to them;
 * with a minus in front it was rolled back.
 */
#include "append.h"

#include <stdlib.h>
#include <string.h>

#define MOST_TXNS 5
#define MOST_SEEN 8
#define TEST_KEYS 3

typedef struct AppendCase
{
	const char *name;
	Anomaly		anomaly;		/* the least that must be found; ANOMALIES: none */
	const char *txns[MOST_TXNS];
} AppendCase;

static const AppendCase cases[] = {
	{"one after the other", ANOMALIES, {"r0: a0=1:1", "r0:1 a0=2:1,2 r0:1,2", "r0:1,2"}},
	{"beside each other", ANOMALIES, {"r0: a1=1:1", "a0=2:2", "r0:2 r1:1"}},
	{"rolled back and not seen", ANOMALIES, {"-r0: a0=1:1 r0:1", "a0=2:2", "r0:2"}},
	{"two in one place", LOST, {"a0=1:1", "a0=2:2"}},
	{"one is not seen any more", LOST, {"a0=1:1", "a0=2:1,2", "r0:2"}},
	{"two reads disagree on the order", LOST, {"a0=1:1", "a0=2:1,2", "r0:1", "r0:2"}},
	{"an append that nobody remembers", LOST, {"a0=1:1", "a0=3:1,2,3"}},
	{"seen under another key", LOST, {"a0=1:1", "r1:1"}},
	{"appends in two orders", G0, {"a0=1:1 a1=3:2,3", "a1=2:2 a0=4:1,4"}},
	{"three in a circle", G0, {"a0=1:1 a2=6:5,6", "a0=2:1,2 a1=3:3", "a1=4:3,4 a2=5:5"}},
	{"rolled back, but seen", G1A, {"-a0=1:1", "r0:1"}},
	{"rolled back, but appended to", G1A, {"-a0=1:1", "a0=2:1,2"}},
	{"half of a transaction is seen", G1B, {"a0=1:1 a0=2:1,2", "r0:1"}},
	{"each sees the other", G1C, {"a0=1:1 r1:2", "a1=2:2 r0:1"}},
	{"an append and a read", G1C, {"a0=1:1 r1:3", "a0=2:1,2 a1=3:3"}},
	{"an old and a new key", G_SINGLE, {"a0=1:1 a1=2:2", "r0: r1:2"}},
	{"a lost update", G_SINGLE, {"a0=1:1", "r0:1 a0=2:1,2,3", "a0=3:1,3"}},
	{"a snapshot that moves", G_SINGLE, {"a0=1:1", "r0: r0:1"}},
	{"write skew", G2, {"r0: a1=1:1", "r1: a0=2:2"}},
	{"write skew of three", G2, {"r0: a1=1:1", "r1: a2=2:2", "r2: a0=3:3"}},
	{"a read that sees what cannot be", G2, {"r0: a1=1:1", "a0=2:2", "r0:2 r1:"}},
};

static void
read_seen(AppendOp *op, const char *text)
{
	op->seen = allot(sizeof(int) * MOST_SEEN);
	while (*text >= '0' && *text <= '9')
	{
		char	   *end;

		op->seen[op->nseen++] = strtol(text, &end, 10);
		text = *end == ',' ? end + 1 : end;
	}
	op->place = op->nseen;
}

static AppendTxn *
read_txn(const char *text)
{
	AppendTxn  *txn = allot(sizeof(AppendTxn));
	char		copy[200];
	char	   *next;

	snprintf(copy, sizeof(copy), "%s", text + (*text == '-'));
	txn->txn.fate = *text == '-' ? ABORTED : COMMITTED;
	for (char *word = strtok_r(copy, " ", &next); word; word = strtok_r(NULL, " ", &next))
	{
		AppendOp   *op = &txn->ops[txn->nops++];

		op->append = *word == 'a';
		op->key = word[1] - '0';
		if (op->append)
			op->id = strtol(word + 3, NULL, 10);
		read_seen(op, strchr(word, ':') + 1);
	}
	return txn;
}

/* The anomaly that was meant must be found, and none that is less. */
static bool
run_case(const AppendCase *test)
{
	AppendTxn  *txns[MOST_TXNS];
	AppendHistory *history = allot(sizeof(AppendHistory));
	bool		right;

	*history = (AppendHistory) {.txns = txns, .keys = TEST_KEYS, .ids = 10};
	for (int i = 0; i < MOST_TXNS && test->txns[i] != NULL; i++)
		txns[history->count++] = read_txn(test->txns[i]);
	check_appends(history);
	right = test->anomaly == ANOMALIES || history->found[test->anomaly] > 0;
	for (int anomaly = 0; anomaly < ANOMALIES && anomaly < (int) test->anomaly; anomaly++)
		right = right && history->found[anomaly] == 0;
	if (!right)
		complain("appends \"%s\": lost %ld, G0 %ld, G1a %ld, G1b %ld, G1c %ld, G-single %ld, G2"
				 " %ld", test->name, history->found[LOST], history->found[G0],
				 history->found[G1A], history->found[G1B], history->found[G1C],
				 history->found[G_SINGLE], history->found[G2]);
	for (int i = 0; i < history->count; i++)
	{
		for (int op = 0; op < txns[i]->nops; op++)
			free(txns[i]->ops[op].seen);
		free(txns[i]);
	}
	free(history);
	return right;
}

int
append_selftest(void)
{
	int			good = 0;
	int			right = 0;

	for (int i = 0; i < lengthof(cases); i++)
	{
		good += cases[i].anomaly == ANOMALIES;
		right += run_case(&cases[i]);
	}
	printf("appends: %d good and %d bad histories, %d of %d judged right\n", good,
		   lengthof(cases) - good, right, lengthof(cases));
	return right < lengthof(cases);
}
