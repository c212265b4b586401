/*
 * request.h
 *		One record of a request log: taking it, finishing it.
 */
#ifndef KEEP_REQUEST_H
#define KEEP_REQUEST_H

#include "postgres.h"

#include "request_log.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* A call on a request log; SPI is connected until its end. */
typedef struct RequestCall
{
	KeepTable  *table;
	RequestOptions *opt;
	text	   *key;
	MemoryContext caller;		/* where results go */
} RequestCall;

/* A record; what is not inline is in SPI's memory. */
typedef struct RequestRow
{
	const char *state;
	bytea	   *hash;
	int64		token;
	const Interval *lease;		/* NULL: none, of call_once */
	TimestampTz lease_until;	/* DT_NOEND: no lease */
	Jsonb	   *checkpoint;		/* or NULL */
	Jsonb	   *response;		/* or NULL */
	TimestampTz finished;		/* DT_NOEND: without an outcome */
} RequestRow;

/* What a caller asks for. */
typedef struct RequestWork
{
	bytea	   *hash;
	Jsonb	   *request;
	const Interval *lease;		/* NULL: none, of call_once */
	bool		reclaim;		/* of a lease that is over; else KP423 */
} RequestWork;

/* What it finds. */
typedef enum RequestFound
{
	REQUEST_STARTED,			/* it is the caller's, from the start */
	REQUEST_RESUMED,			/* it is the caller's, at the checkpoint */
	REQUEST_BUSY,				/* somebody is at work on it */
	REQUEST_HAS_OUTCOME
} RequestFound;

extern void request_open(RequestCall *call, FunctionCallInfo fcinfo, const char *function,
						 AclMode rights);
extern RequestFound request_take(RequestCall *call, const RequestWork *work, RequestRow *row);
extern void request_finish(RequestCall *call, int64 token, const char *state, Jsonb *response);
extern void request_checkpoint(RequestCall *call, int64 token, Jsonb *checkpoint);
extern void request_release(RequestCall *call, int64 token);

#endif							/* KEEP_REQUEST_H */
