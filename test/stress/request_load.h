/*
 * request_load.h
 *		Many connections at work on one request log, and the facts that they gather.
 *
 * A trigger on the log writes down every change of a record while the record
 * is locked, so that the changes of a key have an order; every effect is a row
 * of a table of ours. Times are microseconds since 1970 by the one clock that
 * both sides have.
 */
#ifndef REQUEST_LOAD_H
#define REQUEST_LOAD_H

#include "request.h"

#include <pthread.h>
#include <stdatomic.h>

#define REQUEST_WORKERS 32
#define REQUESTS 3				/* under one key */
#define FIRST_OP INT64_C(1000000000)	/* responses below are those of call_once */

typedef struct RequestPhase
{
	const char *name;
	int			keys;			/* in use at once */
	int			uses;			/* of a key before another takes its place; 0: no end */
	int			retain;			/* milliseconds; 0: for ever */
	int			lease;			/* milliseconds at most */
	int			nap;			/* microseconds of work at most, between two calls */
	int			once;			/* percent of the keys are for call_once */
	int			accidents;		/* percent of the calls */
	int			others;			/* percent of the calls come with another request */
	bool		crash;			/* the server is killed at times */
} RequestPhase;

/* What one call said. */
typedef struct RequestFact
{
	RequestKind kind;
	int			key;
	int			request;
	bool		once;			/* a request by way of call_once */
	bool		indeterminate;
	int64_t		token;
	int64_t		value;			/* checkpoint or response that was sent */
	int			waits;			/* milliseconds */
	RequestState state;
	int64_t		new_token;		/* and these it answered */
	int64_t		checkpoint;
	int64_t		response;
	bool		replayed;
	bool		unknown;		/* the connection was lost */
	Accident	accident;
	char		error[6];
	int64_t		began;
	int64_t		ended;
} RequestFact;

typedef struct RequestLoad
{
	const RequestPhase *phase;
	const char *info;
	uint64_t	seed;
	int			workers;
	long		calls;			/* for each of them */
	int			levels;			/* percent of the connections that are not READ COMMITTED */
	atomic_long uses;			/* of keys, by all */
	atomic_long next_op;
	atomic_bool stop;
	atomic_long lost;			/* connections */
} RequestLoad;

typedef struct RequestWorker
{
	pthread_t	thread;
	RequestLoad *load;
	Conn		conn;
	Random		random;
	int			number;
	int			level;			/* 0: READ COMMITTED */
	RequestFact *facts;
	int			nfacts;
	int			room;
	long		calls;
} RequestWorker;

/* request_send.c: one call, and its fact */
extern bool request_connect(RequestWorker *worker);
extern RequestFact *request_send(RequestWorker *worker, RequestFact fact);
extern void request_key(char *buffer, int key);

/* request_load.c */
extern int	request_main(const char *info, int argc, char **argv);

/* request_check.c: afterwards */
extern void check_requests(RequestLoad *load, RequestWorker *workers, Conn *conn);

#endif							/* REQUEST_LOAD_H */
