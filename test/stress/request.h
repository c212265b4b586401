/*
 * request.h
 *		What the modes for request logs share: the calls and what they answer.
 *
 * Keys, requests, checkpoints and responses are numbers here. Checkpoints and
 * responses are JSON numbers in the database, or JSON null for none.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include "modes.h"

#define NO_VALUE INT64_C(-1)	/* SQL NULL */

/* What a call says of a record, or the table does; NO_RECORD: nothing. */
typedef enum RequestState
{
	NO_RECORD, STARTED, RESUMED, IN_FLIGHT, IN_PROGRESS, RELEASED, COMPLETED, FAILED,
	REQUEST_STATES
} RequestState;

typedef enum RequestKind
{
	BEGIN, CHECKPOINT, COMPLETE, FAIL, RELEASE, ONCE, EXPIRE, REQUEST_KINDS
} RequestKind;

/* One call. */
typedef struct RequestCall
{
	RequestKind kind;
	const char *key;
	const char *request;		/* JSON; for ONCE the arguments */
	const char *function;
	const char *token;
	const char *lease;
	const char *wait;
	const char *on_lapse;
	const char *value;			/* checkpoint or response, JSON */
} RequestCall;

typedef struct RequestAnswer
{
	RequestState state;
	Maybe		token;
	char		checkpoint[120];	/* JSON text, empty for NULL */
	char		response[120];
	bool		replayed;
	int64_t		count;			/* of EXPIRE */
} RequestAnswer;

/* What happens to a call on its way. */
typedef enum Accident
{
	NO_ACCIDENT, DROP, CANCEL
} Accident;

/* request_call.c */
extern const char *request_state_name(RequestState state);
extern RequestState request_state_number(const char *name);
extern const char *request_kind_name(RequestKind kind);
extern const char *show_request_answer(const RequestAnswer *answer);
extern bool call_request(Conn *conn, const RequestCall *call, RequestAnswer *answer);

/* accident.c: calls that lose their answers */
extern PGresult *conn_accident(Conn *conn, const char *sql, int count, const char *const *params,
							   Accident accident, int delay);
extern int64_t wall_clock(void);

#endif							/* REQUEST_H */
