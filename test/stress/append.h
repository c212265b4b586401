/*
 * append.h
 *		Transactions of reads and appends, and in which order they can have been.
 *
 * Each append adds one number to what is under a key, and nothing is ever taken away. So the
 * answers tell which append came after which, what each read has seen and what it has missed:
 * dependencies between transactions, which must not go round in a circle.
 */
#ifndef APPEND_H
#define APPEND_H

#include "history.h"

#define APPEND_OPS 12			/* in a transaction */

typedef struct AppendOp
{
	bool		append;
	int			key;
	int			id;				/* that is appended */
	int			place;			/* of it under the key, counting from 1 */
	int			nseen;
	int		   *seen;			/* all that is under the key after it */
} AppendOp;

typedef struct AppendTxn
{
	Txn			txn;
	int			nops;
	AppendOp	ops[APPEND_OPS];
} AppendTxn;

/* Anomalies by the names that Adya gave them */
typedef enum Anomaly
{
	G1A,						/* read what was rolled back */
	G1B,						/* read what was not yet all of a transaction */
	LOST,						/* appends that are nowhere, or two in one place */
	G0,							/* a circle of appends */
	G1C,						/* a circle of appends and of reads of them */
	G_SINGLE,					/* a circle with one read that missed an append */
	G2,							/* a circle with any number of them */
	ANOMALIES
} Anomaly;

typedef struct AppendHistory
{
	AppendTxn **txns;
	int			count;
	int			keys;
	int			ids;			/* all are below it */
	long		found[ANOMALIES];
	long		edges;
	char		first[ANOMALIES][400];
} AppendHistory;

/* append_check.c */
extern const char *anomaly_name(Anomaly anomaly);
extern void check_appends(AppendHistory *history);

/* append_cycle.c */
typedef enum Dependency
{
	WRITE_WRITE, WRITE_READ, READ_WRITE
} Dependency;

typedef struct Edge
{
	int			from;
	int			to;
	Dependency	kind;
} Edge;

extern void find_cycles(AppendHistory *history, Edge *edges, int count);

/* append_test.c */
extern int	append_selftest(void);

#endif							/* APPEND_H */
