/*
 * request_send.c
 *		One call to a request log in a transaction of its own, and what became of it.
 */
#include "request_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_PARAMETERS 8

/* A query with its parameters as text. */
typedef struct Query
{
	const char *sql;
	const char *params[MOST_PARAMETERS];
	char		text[MOST_PARAMETERS][80];
	int			count;
} Query;

bool
request_connect(RequestWorker *worker)
{
	static const char *const levels[] = {"read committed", "repeatable read", "serializable"};

	if (!conn_open(&worker->conn, worker->load->info, "request_load"))
		return false;
	return conn_do(&worker->conn, "SET default_transaction_isolation = '%s'",
				   levels[worker->level]);
}

static void
reconnect(RequestWorker *worker)
{
	atomic_fetch_add(&worker->load->lost, 1);
	for (int try = 0; try < 1200; try++)
	{
		conn_close(&worker->conn);
		if (request_connect(worker))
			return;
		usleep(50000);
	}
	die("the server does not come back: %s", worker->conn.message);
}

void
request_key(char *buffer, int key)
{
	id_name(buffer, key);
}

static void
add_text(Query *query, const char *text)
{
	if (snprintf(query->text[query->count], sizeof(query->text[0]), "%s", text) >=
		(int) sizeof(query->text[0]))
		die("too long for a parameter: %s", text);
	query->params[query->count] = query->text[query->count];
	query->count++;
}

static void
add_number(Query *query, int64_t number)
{
	char		text[24];

	sprintf(text, "%lld", (long long) number);
	add_text(query, text);
}

/* A request in one of several spellings that mean the same */
static void
add_request(Query *query, const RequestFact *fact, Random *random)
{
	char		text[80];

	snprintf(text, sizeof(text), chance(random, 50) ? "{\"key\": %d, \"request\": %d}" :
			 "{\"key\": %d.0, \"request\": %d.00}", fact->key, fact->request);
	add_text(query, text);
}

static void
make_begin(Query *query, const RequestWorker *worker, const RequestFact *fact, Random *random)
{
	const RequestPhase *phase = worker->load->phase;
	char		text[40];

	query->sql = "SELECT state, token, checkpoint, response"
		" FROM keep.begin_request($1, $2, $3, $4, $5, $6)";
	add_request(query, fact, random);
	snprintf(text, sizeof(text), "%d ms", (int) draw_between(random, 1, phase->lease));
	add_text(query, text);
	snprintf(text, sizeof(text), "%d ms", fact->waits);
	add_text(query, text);
	add_text(query, fact->indeterminate ? "indeterminate" : "reclaim");
}

/* An outcome, recorded together with its effect. */
static void
make_outcome(Query *query, const RequestFact *fact, bool effect)
{
	add_number(query, fact->token);
	add_number(query, fact->value);
	if (!effect)
		query->sql = fact->kind == COMPLETE ? "SELECT keep.complete_request($1, $2, $3, $4)" :
			"SELECT keep.fail_request($1, $2, $3, $4)";
	else
	{
		query->sql = fact->kind == COMPLETE ?
			"WITH e AS (INSERT INTO request_effects VALUES ($4::text::bigint, $2, $3))"
			" SELECT keep.complete_request($1, $2, $3, $4::text::jsonb)" :
			"WITH e AS (INSERT INTO request_effects VALUES ($4::text::bigint, $2, $3))"
			" SELECT keep.fail_request($1, $2, $3, $4::text::jsonb)";
	}
}

static void
make_query(Query *query, RequestWorker *worker, const RequestFact *fact, bool effect)
{
	char		key[NAME_ROOM];

	query->count = 0;
	add_text(query, "request_load");
	if (fact->kind == EXPIRE)
	{
		query->sql = "SELECT keep.expire_requests($1)";
		return;
	}
	request_key(key, fact->key);
	add_text(query, key);
	if (fact->kind == BEGIN)
		make_begin(query, worker, fact, &worker->random);
	else if (fact->kind == ONCE)
	{
		query->sql = "SELECT response, replayed FROM keep.call_once($1, $2,"
			" 'request_effect(jsonb)', $3)";
		add_request(query, fact, &worker->random);
	}
	else if (fact->kind == CHECKPOINT)
	{
		query->sql = "SELECT keep.checkpoint_request($1, $2, $3, $4)";
		add_number(query, fact->token);
		add_number(query, fact->value);
	}
	else if (fact->kind == RELEASE)
	{
		query->sql = "SELECT keep.release_request($1, $2, $3)";
		add_number(query, fact->token);
	}
	else
		make_outcome(query, fact, effect);
}

static int64_t
json_number(PGresult *result, int column)
{
	char	   *end;
	const char *text = PQgetvalue(result, 0, column);
	int64_t		number;

	if (PQgetisnull(result, 0, column))
		return NO_VALUE;
	number = strtoll(text, &end, 10);
	if (*end || end == text)
		complain("\"%s\" is not a value that anybody has stored", text);
	return number;
}

static void
take_answer(RequestFact *fact, PGresult *result)
{
	fact->checkpoint = fact->response = NO_VALUE;
	if (PQntuples(result) != 1)
		complain("%s answers with %d rows", request_kind_name(fact->kind), PQntuples(result));
	else if (fact->kind == BEGIN)
	{
		fact->state = request_state_number(PQgetvalue(result, 0, 0));
		fact->new_token = result_number(result, 0, 1).v;
		fact->checkpoint = json_number(result, 2);
		fact->response = json_number(result, 3);
	}
	else if (fact->kind == ONCE)
	{
		fact->response = json_number(result, 0);
		fact->replayed = PQgetvalue(result, 0, 1)[0] == 't';
	}
}

/* Errors that say something, and those that an accident or the isolation level excuse. */
static bool
expected_error(const RequestWorker *worker, const RequestFact *fact)
{
	static const char *const told[] = {"KP412", "KP422", "KP423"};

	for (int i = 0; i < lengthof(told); i++)
		if (strcmp(fact->error, told[i]) == 0)
			return true;
	return (worker->level > 0 && strcmp(fact->error, "40001") == 0) ||
		(fact->accident == CANCEL && strcmp(fact->error, "57014") == 0) ||
		(fact->kind == ONCE && strcmp(fact->error, "RS001") == 0);
}

/* The call in one statement, which is the transaction. */
static PGresult *
run_statement(RequestWorker *worker, const Query *query, Accident accident)
{
	if (accident == NO_ACCIDENT)
		return conn_query(&worker->conn, query->sql, query->count, query->params);
	return conn_accident(&worker->conn, query->sql, query->count, query->params, accident,
						 draw_between(&worker->random, 0, 1500));
}

/* The effect, some work, the call, and the commit one by one. */
static PGresult *
run_transaction(RequestWorker *worker, const RequestFact *fact, const Query *query)
{
	Conn	   *conn = &worker->conn;
	PGresult   *result;
	char		key[NAME_ROOM];
	char		op[24];
	char		token[24];
	const char *params[] = {op, key, token};

	request_key(key, fact->key);
	sprintf(op, "%lld", (long long) fact->value);
	sprintf(token, "%lld", (long long) fact->token);
	if (!conn_do(conn, "BEGIN"))
		return NULL;
	result = conn_query(conn, "INSERT INTO request_effects VALUES ($1, $2, $3) RETURNING 1",
						lengthof(params), params);
	if (result == NULL)
		return NULL;
	PQclear(result);
	usleep(draw_between(&worker->random, 0, worker->load->phase->nap));
	result = run_statement(worker, query, fact->accident);
	if (result == NULL)
	{
		if (conn->pg != NULL)
			PQclear(PQexec(conn->pg, "ROLLBACK"));
		return NULL;
	}
	usleep(draw_between(&worker->random, 0, 500));
	if (conn_do(conn, "COMMIT"))
		return result;
	PQclear(result);
	return NULL;
}

/*
 * Make the call that "fact" describes, and keep the fact with its answer; it
 * stands until the next call. Outcomes that are told for the first time (a
 * value of their own) come with an effect.
 */
RequestFact *
request_send(RequestWorker *worker, RequestFact fact)
{
	Query		query;
	bool		outcome = fact.kind == COMPLETE || fact.kind == FAIL;
	bool		effect = outcome && fact.value == 0;
	PGresult   *result;

	if (worker->nfacts == worker->room)
	{
		worker->room = worker->room * 2 + 1000;
		worker->facts = enlarge(worker->facts, sizeof(RequestFact) * worker->room);
	}
	if (fact.value == 0 && (outcome || fact.kind == CHECKPOINT))
		fact.value = atomic_fetch_add(&worker->load->next_op, 1);
	if (chance(&worker->random, worker->load->phase->accidents))
		fact.accident = chance(&worker->random, 50) ? DROP : CANCEL;
	make_query(&query, worker, &fact, effect);
	worker->calls++;
	fact.began = wall_clock();
	if (effect && chance(&worker->random, 40))
	{
		make_query(&query, worker, &fact, false);
		result = run_transaction(worker, &fact, &query);
	}
	else
		result = run_statement(worker, &query, fact.accident);
	fact.ended = wall_clock();
	if (result != NULL)
		take_answer(&fact, result);
	PQclear(result);
	strcpy(fact.error, result ? "" : worker->conn.state);
	if (result == NULL && (worker->conn.pg == NULL || PQstatus(worker->conn.pg) != CONNECTION_OK ||
						   strcmp(fact.error, "08006") == 0 || strncmp(fact.error, "57P0", 4) == 0))
	{
		if (fact.accident != DROP && !worker->load->phase->crash)
			complain("worker %d: connection lost: %s", worker->number, worker->conn.message);
		fact.unknown = true;
		reconnect(worker);
	}
	else if (result == NULL && !expected_error(worker, &fact))
		complain("worker %d at level %d: %s of key %d, request %d: %s %s", worker->number,
				 worker->level, request_kind_name(fact.kind), fact.key, fact.request, fact.error,
				 worker->conn.message);
	worker->facts[worker->nfacts] = fact;
	return &worker->facts[worker->nfacts++];
}
