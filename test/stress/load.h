/*
 * load.h
 *		Many connections at work on one ledger, and the facts that they gather.
 */
#ifndef LOAD_H
#define LOAD_H

#include "modes.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOAD_ACCOUNTS 18
#define UNOPENED 17				/* this account is never opened */
#define OTHER_UNIT 16			/* this one has a unit of its own */
#define FIRST_SHARDED 14		/* this and the next are in shards */
#define MAX_WORKERS 32

/* What one call said about one transfer. */
typedef struct Fact
{
	Item		item;
	Answer		answer;
	bool		batch;
	bool		answered;		/* not by a report of exceptions only */
	bool		unknown;		/* the connection was lost */
	char		state[6];		/* SQLSTATE, where the call failed */
	int64_t		began;			/* stamps: what ended before another began came first */
	int64_t		ended;
} Fact;

/* For a time an account was frozen for sure. */
typedef struct Freeze
{
	int			account;
	int64_t		from;
	int64_t		until;
} Freeze;

/* What a run consists of; all but the name are percentages or numbers. */
typedef struct Phase
{
	const char *name;
	int			batches;		/* of the calls */
	int			settle;			/* post and void */
	int			transactions;	/* of several calls */
	int			old_ids;		/* ids that others use as well */
	int			others;			/* of those, with other parameters */
	int			chains;			/* of the batches */
	int			batch_max;
	int			holds;			/* of the transfers */
	int			window;			/* how far back old ids lie */
	bool		history;
	bool		administer;		/* freeze, change limits, sweep */
} Phase;

typedef struct Load
{
	const Phase *phase;
	const char *info;
	char		ledger[64];
	uint64_t	seed;
	int			workers;
	long		calls;			/* for each of them */
	int			levels;			/* percent of the connections that are not READ COMMITTED */
	int			indirect;		/* percent that do without direct access */
	bool		crash;			/* the server is killed at times */
	bool		deadlocks;		/* may happen */
	atomic_long next_id;
	atomic_long stamp;
	atomic_bool stop;
	atomic_bool readers_stop;
	atomic_int	crashes;		/* connections lost */
	atomic_long retries;
	atomic_long waits;
	Freeze	   *freezes;		/* of the first worker */
	int			nfreezes;
} Load;

typedef struct Worker
{
	pthread_t	thread;
	Load	   *load;
	Conn		conn;
	Random		random;
	int			number;
	int			level;			/* 0: READ COMMITTED */
	bool		committing;		/* the transaction's end was under way */
	Fact	   *facts;
	int			nfacts;
	int			room;
	int			committed;		/* facts that stand */
	bool		frozen[LOAD_ACCOUNTS];
	int64_t		calls;
} Worker;

/* A reader and what it has read of the statements. */
typedef struct Reader
{
	pthread_t	thread;
	Load	   *load;
	Conn		conn;
	Random		random;
	char		cursors[LOAD_ACCOUNTS][200];
	Line	   *lines[LOAD_ACCOUNTS];
	int			nlines[LOAD_ACCOUNTS];
	int			rooms[LOAD_ACCOUNTS];
	int64_t		looks;
} Reader;

/* load_items.c: what is asked under an id */
extern void load_terms(int account, Op *op);
extern void load_item(const Load *load, int id, bool other, Item *item);
extern void load_batch(Worker *worker, Item *items, int *count);
extern int	load_id(Worker *worker);
extern void load_settling(Worker *worker, Item *item);

/* load_work.c: a connection at work */
extern void *load_worker(void *arg);

/* load_read.c: a reader */
extern void *load_reader(void *arg);
extern void load_read_rest(Reader *reader);

/* drain.c: accounts in shards, emptied by many */
extern int	drain_main(const char *info, int argc, char **argv);

/* race.c: accounts in shards between limits, and reversals of the same transfers by many */
extern int	race_main(const char *info, int argc, char **argv);

/* check.c, check_facts.c: afterwards */
typedef struct Row
{
	Status		status;
	Reason		reason;
	int			from;
	int			to;
	int			from_shard;
	int			to_shard;
	Maybe		amount;
	Maybe		from_balance;
	Maybe		to_balance;
	Maybe		settled_from;
	Maybe		settled_to;
	Maybe		from_version;
	Maybe		to_version;
	Maybe		held;
	Maybe		part;
	Maybe		reversed;
	Maybe		created;
	Maybe		hold;			/* milliseconds */
	int			reverses;
	int			chain;
	bool		force;
	Maybe		metadata;
	/* from the facts */
	int			firsts;
	int			posts;
	int			voids;
	bool		unknown;
	bool		unknown_settling;
	int64_t		began;			/* when the money moved */
	int64_t		ended;
	int64_t		known;			/* a call had told of it by then */
} Row;

typedef struct Check
{
	Load	   *load;
	Row		   *rows;
	int			nrows;			/* ids below this */
	Worker	   *workers;
	Reader	   *reader;
	Conn		conn;
	bool		had_holds[LOAD_ACCOUNTS];
	bool		forced[LOAD_ACCOUNTS];
} Check;

extern bool row_repeats(const Row *row, const Item *item);
extern void check_facts(Check *check);
extern void check_accounts(Check *check);
extern void check_load(Load *load, Worker *workers, Reader *reader);

#endif							/* LOAD_H */
