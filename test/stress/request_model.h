/*
 * request_model.h
 *		What a request log must answer, by the rules alone.
 *
 * Time is counted in units so long that a run takes much less than one: what
 * is over at a unit is over from its very start.
 */
#ifndef REQUEST_MODEL_H
#define REQUEST_MODEL_H

#include "request.h"

#define MODEL_KEYS 8
#define NEVER INT64_MAX

/* A call, its texts still numbers. */
typedef struct RequestOp
{
	RequestKind kind;
	int			key;
	int			request;		/* equal numbers: equal requests; of ONCE: the arguments */
	int			function;		/* of ONCE */
	int64_t		token;
	int			lease;			/* in units */
	bool		waits;
	bool		indeterminate;
	int			value;			/* equal numbers: equal values */
	const char *mistake;		/* the SQLSTATE that the arguments alone lead to, or empty */
	int			batch;			/* of EXPIRE */
} RequestOp;

/* The functions that are called once; BROKEN ones and after have mistakes of their own. */
typedef enum OnceFunction
{
	EFFECT, OTHER_EFFECT, NOTHING_BACK, RAISES, CONFLICTS, NESTED, ONCE_FUNCTIONS
} OnceFunction;

typedef struct Record
{
	RequestState state;			/* NO_RECORD, IN_PROGRESS, RELEASED, COMPLETED, FAILED */
	bool		once;
	int			function;
	int			request;
	int64_t		token;			/* NO_VALUE where no call has told it */
	int			lease;
	int64_t		lease_until;
	int			attempts;
	char		checkpoint[120];
	char		response[120];
	int			value;			/* of the response */
	int64_t		finished;
} Record;

typedef struct RequestModel
{
	Record		records[MODEL_KEYS];
	int64_t		now;
	int64_t		retain;			/* NEVER: no end */
	bool		no_waiting;		/* not READ COMMITTED */
	int64_t		effects;		/* rows that the functions have inserted */
} RequestModel;

/* request_model.c */
extern bool record_over(const RequestModel *model, const Record *record);
extern const char *model_request(RequestModel *model, const RequestOp *op, const char *value,
								 RequestAnswer *answer);
extern void model_answered(RequestModel *model, const RequestOp *op, const RequestAnswer *answer);

#endif							/* REQUEST_MODEL_H */
