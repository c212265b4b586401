/*
 * modes.h
 *		What the client can do: one function for each mode.
 */
#ifndef MODES_H
#define MODES_H

#include "generate.h"

/* A ledger that is driven by one connection, and what it answered. */
typedef struct Target
{
	Conn		conn;
	const char *label;
	Maybe	   *created;		/* by id, as first answered */
	Maybe	   *expires;
	char		cursors[ACCOUNTS][200];
	int			read[ACCOUNTS]; /* lines of the statement */
} Target;

/* sequence.c: one connection, every answer predicted; one ledger, or several in step */
extern int	sequence_main(const char *info, int argc, char **argv);

/* compare.c: the tables at the end */
extern void compare_with_model(Target *target, Model *model, int last_id);
extern void compare_targets(Target *a, Target *b);

/* load.c: many connections, checked afterwards */
extern int	load_main(const char *info, int argc, char **argv);

/* request_sequence.c, request_load.c: the same for request logs */
extern int	request_sequence_main(const char *info, int argc, char **argv);
extern int	request_main(const char *info, int argc, char **argv);

/* saga_sequence.c, saga_load.c: the same for sagas */
extern int	saga_sequence_main(const char *info, int argc, char **argv);
extern int	saga_main(const char *info, int argc, char **argv);

/* store_load.c: histories of stores and leases */
extern int	store_main(const char *info, int argc, char **argv);

#endif							/* MODES_H */
