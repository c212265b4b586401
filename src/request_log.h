/*
 * request_log.h
 *		Request logs: the kind of table that idempotency keys are kept in.
 */
#ifndef KEEP_REQUEST_LOG_H
#define KEEP_REQUEST_LOG_H

#include "postgres.h"

#include "plan.h"

#include "datatype/timestamp.h"

typedef struct RequestOptions
{
	Interval   *retain;			/* NULL: outcomes are kept for ever */
	bool		keep_request;
	Oid			sequence;		/* draws the tokens */
	bool		last_was_new;	/* the last call of this backend found no record */
} RequestOptions;

/* Statements on a request log: see request_log.c. */
typedef enum RequestStatement
{
	REQUEST_READ,
	REQUEST_LOCK,
	REQUEST_INSERT,
	REQUEST_RESUME,
	REQUEST_RESTART,
	REQUEST_CHECKPOINT,
	REQUEST_FINISH,
	REQUEST_DATE,
	REQUEST_RELEASE,
	REQUEST_EXPIRE,
	REQUEST_MORE_EXPIRED,
	REQUEST_POSTPONE,
	REQUEST_PUT_OFF,
	REQUEST_NEXT,
	REQUEST_NSTATEMENTS
} RequestStatement;

/* Columns that statements on one record return, in this order. */
enum
{
	REQUEST_COL_KEY,
	REQUEST_COL_STATE,
	REQUEST_COL_HASH,
	REQUEST_COL_TOKEN,
	REQUEST_COL_LEASE,
	REQUEST_COL_LEASE_UNTIL,
	REQUEST_COL_ATTEMPTS,
	REQUEST_COL_CHECKPOINT,
	REQUEST_COL_RESPONSE,
	REQUEST_COL_REQUEST,
	REQUEST_COL_CREATED,
	REQUEST_COL_FINISHED,
	REQUEST_COL_REAP,
	REQUEST_NCOLS
};

/* Values of column "state". */
#define REQUEST_IN_PROGRESS	"in_progress"
#define REQUEST_RELEASED	"released"
#define REQUEST_COMPLETED	"completed"
#define REQUEST_FAILED		"failed"

extern const KeepKind keep_request_kind;

#endif							/* KEEP_REQUEST_LOG_H */
