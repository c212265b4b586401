/*
 * request_call.c
 *		The functions of a request log.
 */
#include "request.h"

#include <string.h>

static const char *const states[REQUEST_STATES] = {
	"no record", "started", "resumed", "in_flight", "in_progress", "released", "completed", "failed"
};

static const char *const kinds[REQUEST_KINDS] = {
	"begin", "checkpoint", "complete", "fail", "release", "call_once", "expire"
};

const char *
request_state_name(RequestState state)
{
	return states[state];
}

RequestState
request_state_number(const char *name)
{
	for (int i = 1; i < REQUEST_STATES; i++)
		if (strcmp(name, states[i]) == 0)
			return i;
	die("unknown state of a request \"%s\"", name);
}

const char *
request_kind_name(RequestKind kind)
{
	return kinds[kind];
}

const char *
show_request_answer(const RequestAnswer *answer)
{
	static __thread char buffers[2][500];
	static __thread int next = 0;
	char	   *buffer = buffers[next = 1 - next];

	snprintf(buffer, sizeof(buffers[0]), "%s, token %s, checkpoint %s, response %s, %s, count %lld",
			 request_state_name(answer->state), show(answer->token), answer->checkpoint,
			 answer->response, answer->replayed ? "replayed" : "first", (long long) answer->count);
	return buffer;
}

static void
take_text(char *buffer, size_t room, PGresult *result, int column)
{
	if (PQgetisnull(result, 0, column))
		buffer[0] = '\0';
	else if (snprintf(buffer, room, "%s", PQgetvalue(result, 0, column)) >= (int) room)
		die("a value is too long: %s", PQgetvalue(result, 0, column));
}

static PGresult *
send_begin(Conn *conn, const RequestCall *call)
{
	const char *params[] = {
		conn->ledger, call->key, call->request, call->lease, call->wait, call->on_lapse
	};

	return conn_query(conn, "SELECT state, token, checkpoint, response"
							" FROM keep.begin_request($1, $2, $3, $4, $5, $6)", lengthof(params),
					  params);
}

/* Checkpoint, complete and fail have the same arguments. */
static PGresult *
send_value(Conn *conn, const RequestCall *call)
{
	const char *params[] = {conn->ledger, call->key, call->token, call->value};
	const char *sql = call->kind == CHECKPOINT ?
		"SELECT keep.checkpoint_request($1, $2, $3, $4)" :
		call->kind == COMPLETE ? "SELECT keep.complete_request($1, $2, $3, $4)" :
		"SELECT keep.fail_request($1, $2, $3, $4)";

	return conn_query(conn, sql, lengthof(params), params);
}

static PGresult *
send_other(Conn *conn, const RequestCall *call)
{
	const char *release[] = {conn->ledger, call->key, call->token};
	const char *once[] = {conn->ledger, call->key, call->function, call->request};
	const char *expire[] = {conn->ledger, call->value};

	if (call->kind == RELEASE)
		return conn_query(conn, "SELECT keep.release_request($1, $2, $3)", lengthof(release),
						  release);
	if (call->kind == ONCE)
		return conn_query(conn, "SELECT response, replayed FROM keep.call_once($1, $2, $3, $4)",
						  lengthof(once), once);
	return conn_query(conn, "SELECT keep.expire_requests($1, $2)", lengthof(expire), expire);
}

/* Make a call; false where it fails. */
bool
call_request(Conn *conn, const RequestCall *call, RequestAnswer *answer)
{
	PGresult   *result;

	memset(answer, 0, sizeof(*answer));
	result = call->kind == BEGIN ? send_begin(conn, call) :
		call->kind == CHECKPOINT || call->kind == COMPLETE || call->kind == FAIL ?
		send_value(conn, call) : send_other(conn, call);
	if (result == NULL)
		return false;
	if (PQntuples(result) != 1)
		die("%s answers with %d rows", request_kind_name(call->kind), PQntuples(result));
	if (call->kind == BEGIN)
	{
		answer->state = request_state_number(PQgetvalue(result, 0, 0));
		answer->token = result_number(result, 0, 1);
		take_text(answer->checkpoint, sizeof(answer->checkpoint), result, 2);
		take_text(answer->response, sizeof(answer->response), result, 3);
	}
	else if (call->kind == ONCE)
	{
		take_text(answer->response, sizeof(answer->response), result, 0);
		answer->replayed = PQgetvalue(result, 0, 1)[0] == 't';
	}
	else if (call->kind == EXPIRE)
		answer->count = result_number(result, 0, 0).v;
	PQclear(result);
	return true;
}
