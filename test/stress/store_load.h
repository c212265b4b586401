/*
 * store_load.h
 *		Many connections that call the functions of stores and leases, and remember every answer.
 */
#ifndef STORE_LOAD_H
#define STORE_LOAD_H

#include "history.h"
#include "request.h"

#include <pthread.h>

#define STORE_WORKERS 32
#define STORE_KEYS 64
#define STORE_MANY 4			/* keys in one call */

typedef struct StoreLoad
{
	const char *info;
	uint64_t	seed;
	int			workers;
	long		calls;			/* of each worker */
	const int  *rule_of;		/* by key */
	int			keys;
	bool		alone;			/* calls in autocommit only */
	bool		lose;			/* connections are lost */
	atomic_long next_write;
	_Atomic int64_t newest[STORE_KEYS];	/* versions that somebody has seen */
	atomic_int	pids[STORE_WORKERS];
	atomic_long lost;
} StoreLoad;

typedef struct StoreWorker
{
	pthread_t	thread;
	StoreLoad  *load;
	int			number;
	Conn		conn;
	Random		random;
	StoreOp		  **ops;
	long		nops;
	long		room;
	Txn		   *txn;			/* that is open, or NULL */
	int			part;
	int64_t		tokens[STORE_KEYS];	/* of the leases last acquired */
	int64_t		seen[STORE_KEYS];	/* versions */
	bool		soft[STORE_KEYS];	/* in this transaction: not known if it has been written */
	long		failures;
	long		cancels;		/* 57014 */
	long		timeouts;		/* 57014, of a statement_timeout */
	long		lock_timeouts;	/* 55P03 */
	long		conflicts;		/* 40001 */
	long		deadlocks;		/* 40P01 */
} StoreWorker;

extern const StoreRule store_rules[];

/* store_call.c */
extern int64_t ticks(void);
extern StoreOp  *new_op(StoreWorker *worker, StoreCall call, int key);
extern bool store_call(StoreWorker *worker, StoreOp **ops, int count, Accident accident);
extern bool store_lost(const StoreWorker *worker);
extern void store_reconnect(StoreWorker *worker);
extern void at_least(long least, long number, const char *what);
extern void store_add_failures(StoreWorker *sum, const StoreWorker *worker);
extern void store_failure(StoreWorker *worker, const char *what, bool deadlocks);

/* store_work.c */
extern void *store_worker(void *arg);
extern void store_read_all(StoreWorker *worker);
extern void store_commit(StoreWorker *worker, Txn *txn);
extern void store_recover(StoreWorker *worker);

/* append_load.c */
extern int	append_main(const char *info, int argc, char **argv);

#endif							/* STORE_LOAD_H */
