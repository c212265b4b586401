/*
 * request_sequence.c
 *		One caller of a request log: every answer to thousands of calls is predicted.
 */
#include "request_model.h"

#include <stdlib.h>
#include <string.h>

#define UNIT 600				/* seconds */
#define FIRST_OFFSET (-INT64_C(2147483647))
#define LAST_UNIT 7100			/* the clock cannot be moved on further */
#define KEPT_TOKENS 40

typedef struct Sequence
{
	Conn		conn;
	Random		random;
	RequestModel model;
	RequestModel begun;			/* at the start of the transaction */
	RequestModel saved;			/* at the savepoint */
	bool		in_transaction;
	bool		keeps_requests;
	int64_t		highest[MODEL_KEYS];	/* tokens, also of what was rolled back */
	int64_t		tokens[KEPT_TOKENS];	/* some that were given out */
	int			ntokens;
	int64_t		last_effect;
	long		calls;
	long		failures;
	long		states[REQUEST_STATES];
	char		doing[700];
} Sequence;

/* Equal requests are on one line. */
static const char *const requests[][3] = {
	{"{\"a\": 1, \"b\": [1.0, 2]}", "{ \"b\" : [1.00,2.000], \"a\": 1e0 }",
	"{\"a\": 5, \"a\": 1.0, \"b\": [1, 2]}"},
	{"{\"a\": 1, \"b\": [2, 1.0]}", "{\"b\": [2.0, 1], \"a\": 1}", "{\"b\":[2,1],\"a\":1}"},
	{"1", "1.0", "1.000"},
	{"[1]", "[1.0]", " [ 1 ] "},
	{"\"1\"", "\"\\u0031\"", " \"1\""},
	{"null", " null", "null "},
	{"{}", "{ }", "{}"},
	{"{\"a\": 1, \"b\": [\"1.0\", 2]}", "{\"b\": [\"1.0\", 2.0], \"a\": 1.00}",
	"{\"a\":1,\"b\":[\"1.0\",2]}"},
};

/* Equal values are on one line, as PostgreSQL prints them. */
static const char *const values[][2] = {
	{"{\"n\": 1}", "{\"n\": 1.0}"}, {"1", "1.00"}, {"null", "null"}, {"\"x\"", "\"x\""},
	{"[]", "[]"}, {"{\"n\": [1, 2]}", "{\"n\": [1.0, 2]}"}, {"false", "false"},
};

static const char *const functions[ONCE_FUNCTIONS] = {
	"rs_effect(jsonb)", "rs_other(jsonb)", "rs_nothing(jsonb)", "rs_raises(jsonb)",
	"rs_conflicts(jsonb)", "rs_nested(jsonb)"
};

/* A mistake in the arguments, and what it leads to. */
static void
make_mistake(Sequence *s, RequestOp *op, RequestCall *call)
{
	static char long_key[1026];
	static const char *const wrong[] = {
		"rs_text(text)", "rs_set(jsonb)", "rs_void(jsonb)", "rs_procedure(jsonb)", "max(integer)"
	};

	memset(long_key, 'k', sizeof(long_key) - 1);
	call->wait = "0";
	op->mistake = chance(&s->random, 50) ? "22004" : "22023";
	switch (draw_between(&s->random, 0, 3))
	{
		case 0:
			call->key = op->mistake[4] == '4' ? NULL : chance(&s->random, 50) ? "" : long_key;
			return;
		case 1:
			if (op->mistake[4] == '4')
				call->token = call->wait = call->request = NULL;
			else
			{
				call->token = chance(&s->random, 50) ? "0" : "-7";
				call->wait = "-1 ms";
				call->function = wrong[draw_between(&s->random, 0, lengthof(wrong) - 1)];
			}
			return;
		case 2:
			if (op->mistake[4] == '4' && op->kind != RELEASE)
				call->value = call->lease = call->function = NULL;
			else if (op->mistake[4] == '4')
				call->token = NULL;
			else
			{
				call->token = "-1";
				call->lease = chance(&s->random, 50) ? "0" : "-1 hour";
				call->function = wrong[draw_between(&s->random, 0, lengthof(wrong) - 1)];
			}
			return;
		default:
			if (op->mistake[4] == '4')
				call->token = call->on_lapse = call->request = NULL;
			else
			{
				call->token = "0";
				call->on_lapse = "Reclaim";
				op->mistake = op->kind == ONCE ? "42883" : op->mistake;
				call->function = chance(&s->random, 50) ? "rs_missing(jsonb)" : "999999";
			}
	}
}

/* A token: mostly the record's, else an older one, or that of another key. */
static int64_t
pick_token(Sequence *s, int key)
{
	int64_t		token = s->model.records[key].token;
	int			kept = s->ntokens < KEPT_TOKENS ? s->ntokens : KEPT_TOKENS;

	if (token > 0 && chance(&s->random, 75))
		return token;
	if (kept > 0 && chance(&s->random, 80))
		return s->tokens[draw_between(&s->random, 0, kept - 1)];
	return s->highest[key] + 1000000;
}

/* What kind of call; those come more often that fit the record. */
static RequestKind
pick_kind(Sequence *s, int key)
{
	static const RequestKind steps[] = {CHECKPOINT, COMPLETE, COMPLETE, FAIL, RELEASE, RELEASE};
	int			lot = draw_between(&s->random, 1, 100);

	if (lot <= 3)
		return EXPIRE;
	if (s->model.records[key].state == IN_PROGRESS && lot <= 50)
		return steps[draw_between(&s->random, 0, lengthof(steps) - 1)];
	if (lot <= 65)
		return BEGIN;
	return lot <= 85 ? ONCE : steps[draw_between(&s->random, 0, lengthof(steps) - 1)];
}

static void
pick(Sequence *s, RequestOp *op, RequestCall *call)
{
	static char key[20];
	static char token[24];
	static char lease[60];
	static char batch[20];
	Record	   *record;

	*op = (RequestOp) {.key = draw_between(&s->random, 0, MODEL_KEYS - 1), .mistake = ""};
	record = &s->model.records[op->key];
	op->kind = pick_kind(s, op->key);
	op->request = draw_between(&s->random, 0, lengthof(requests) - 1);
	op->function = draw_between(&s->random, 0, ONCE_FUNCTIONS - 1);
	if (record->state != NO_RECORD && chance(&s->random, 85))
	{
		op->request = record->request;
		op->function = record->function;
	}
	op->token = pick_token(s, op->key);
	op->lease = draw_between(&s->random, 1, 20);
	op->indeterminate = chance(&s->random, 15);
	op->waits = op->kind == BEGIN && chance(&s->random, 4);
	op->value = draw_between(&s->random, 0, lengthof(values) - 1);
	if (record->state == COMPLETED && chance(&s->random, 60))
		op->value = record->value;
	op->batch = chance(&s->random, 60) ? 1000 : draw_between(&s->random, 1, 3);

	snprintf(key, sizeof(key), "key %d", op->key);
	snprintf(token, sizeof(token), "%lld", (long long) op->token);
	snprintf(lease, sizeof(lease), chance(&s->random, 50) ? "%d min" : "PT%dM",
			 op->lease * UNIT / 60);
	snprintf(batch, sizeof(batch), "%d", op->batch);
	*call = (RequestCall) {
		.kind = op->kind, .key = key,
		.request = requests[op->request][draw_between(&s->random, 0, 2)],
		.function = functions[op->function], .token = token, .lease = lease,
		.wait = op->waits ? "3 ms" : "0",
		.on_lapse = op->indeterminate ? "indeterminate" : "reclaim",
		.value = values[op->value][draw_between(&s->random, 0, 1)]
	};
	/* args that a function can look into, so that it knows its own key */
	if (op->kind == ONCE && op->function == NESTED)
	{
		static char args[40];

		op->request = 100 + op->key;
		snprintf(args, sizeof(args), "{\"key\": %d}", op->key);
		call->request = args;
	}
	if (op->kind == EXPIRE)
		call->value = batch;
	else if (chance(&s->random, 5))
		make_mistake(s, op, call);
}

/* A new token is above all that the key has had, and nobody else has it. */
static void
check_token(Sequence *s, const RequestOp *op, Maybe token)
{
	if (!token.set || token.v <= s->highest[op->key])
		complain("%s: token %s, there was %lld before", s->doing, show(token),
				 (long long) s->highest[op->key]);
	for (int i = 0; i < s->ntokens && i < KEPT_TOKENS; i++)
		if (s->tokens[i] == token.v)
			complain("%s: token %s is given out twice", s->doing, show(token));
	s->highest[op->key] = token.v;
	s->tokens[s->ntokens++ % KEPT_TOKENS] = token.v;
}

/* The response of a function that ran now: effects are counted by a sequence. */
static void
check_effect(Sequence *s, const RequestOp *op, const RequestAnswer *is)
{
	long		effect = 0;

	if (op->function == NOTHING_BACK)
	{
		if (is->response[0])
			complain("%s: a response where none was returned: %s", s->doing, is->response);
		return;
	}
	if (sscanf(is->response, "{\"effect\": %ld}", &effect) != 1 || effect <= s->last_effect)
		complain("%s: not the response of a new run: %s", s->doing, is->response);
	s->last_effect = effect;
}

static void
check_answer(Sequence *s, const RequestOp *op, const RequestAnswer *want, const RequestAnswer *is)
{
	bool		token = op->kind == BEGIN && (want->state == STARTED || want->state == RESUMED);
	bool		ran = op->kind == ONCE && !want->replayed;

	if (want->state != is->state || want->replayed != is->replayed || want->count != is->count ||
		(!ran && strcmp(want->response, is->response) != 0) ||
		strcmp(want->checkpoint, is->checkpoint) != 0 || token != is->token.set)
		complain("%s\n  expected %s\n  got      %s", s->doing, show_request_answer(want),
				 show_request_answer(is));
	else if (token)
		check_token(s, op, is->token);
	else if (ran)
		check_effect(s, op, is);
}

/* A sweep that was cut short may have taken any of those that are over: look which. */
static void
note_swept(Sequence *s)
{
	for (int key = 0; key < MODEL_KEYS; key++)
	{
		Record	   *record = &s->model.records[key];

		if (record->state != NO_RECORD &&
			conn_number(&s->conn, "SELECT count(*) FROM request_sequence WHERE key = 'key %d'",
						key) == 0)
		{
			if (!record_over(&s->model, record))
				complain("%s: the record of key %d was swept", s->doing, key);
			memset(record, 0, sizeof(*record));
		}
	}
}

static void
run_call(Sequence *s)
{
	RequestOp	op;
	RequestCall call;
	RequestAnswer want;
	RequestAnswer is;
	RequestModel before = s->model;
	const char *state;
	bool		good;

	pick(s, &op, &call);
	snprintf(s->doing, sizeof(s->doing), "%ld. %s %.20s, request %s, %s, token %s, lease %s,"
			 " wait %s, %s, value %s", s->calls, request_kind_name(op.kind),
			 call.key ? call.key : "null",
			 call.request, call.function, call.token, call.lease, call.wait, call.on_lapse,
			 call.value);
	state = model_request(&s->model, &op, call.value, &want);
	good = call_request(&s->conn, &call, &is);
	s->calls++;
	s->failures += !good;
	if (strcmp(state, good ? "" : s->conn.state) != 0)
	{
		complain("%s\n  expected SQLSTATE \"%s\" and %s, got \"%s\" %s%s", s->doing, state,
				 show_request_answer(&want), s->conn.state, good ? show_request_answer(&is) : "",
				 good ? "" : s->conn.message);
		return;
	}
	if (!good)
		return;
	check_answer(s, &op, &want, &is);
	if (op.kind == EXPIRE)
	{
		if (op.batch < MODEL_KEYS)
		{
			s->model = before;
			note_swept(s);
		}
		return;
	}
	model_answered(&s->model, &op, &is);
	s->states[is.state]++;
}

/* The record as the table has it. */
static void
check_record(Sequence *s, int key, PGresult *result, int row)
{
	const Record *record = &s->model.records[key];
	const char *state = PQgetvalue(result, row, 1);
	bool		outcome = record->state == COMPLETED || record->state == FAILED;

	if (record->state == NO_RECORD)
		complain("there is a record of key %d: %s", key, state);
	else if (strcmp(state, request_state_name(record->state)) != 0)
		complain("key %d is %s instead of %s", key, state, request_state_name(record->state));
	else if ((!record->once && result_number(result, row, 2).v != record->token) ||
			 (!record->once && result_number(result, row, 3).v != record->attempts) ||
			 (outcome && strcmp(PQgetvalue(result, row, 4), record->response) != 0) ||
			 (!outcome && strcmp(PQgetvalue(result, row, 5), record->checkpoint) != 0) ||
			 (record->state == IN_PROGRESS &&
			  result_number(result, row, 6).v != record->lease_until - s->model.now) ||
			 (outcome && result_number(result, row, 7).v != record->finished - s->model.now) ||
			 (PQgetvalue(result, row, 8)[0] == 't') != s->keeps_requests ||
			 PQgetvalue(result, row, 9)[0] != 't')
		complain("key %d: token %s, attempts %s, response %s, checkpoint %s, lease %s,"
				 " finished %s, request kept %s, in order %s,"
				 " where the model has %lld, %d, %s, %s, %lld, %lld",
				 key, PQgetvalue(result, row, 2), PQgetvalue(result, row, 3),
				 PQgetvalue(result, row, 4), PQgetvalue(result, row, 5),
				 PQgetvalue(result, row, 6), PQgetvalue(result, row, 7),
				 PQgetvalue(result, row, 8), PQgetvalue(result, row, 9),
				 (long long) record->token, record->attempts, record->response,
				 record->checkpoint, (long long) (record->lease_until - s->model.now),
				 (long long) (record->finished - s->model.now));
}

static void
check_table(Sequence *s)
{
	static const char sql[] =
		"SELECT split_part(key, ' ', 2), state, token, attempts, response, checkpoint,"
		" ceil(extract(epoch FROM lease_until - keep.clock()) / 600)::bigint,"
		" ceil(extract(epoch FROM finished_at - keep.clock()) / 600)::bigint, request IS NOT NULL,"
		" octet_length(request_hash) = 32 AND created_at <= keep.clock() AND"
		" (finished_at IS NULL) = (state NOT IN ('completed', 'failed')) AND"
		" (finished_at IS NULL OR NOT $1 OR reap_at IS NOT NULL) FROM request_sequence";
	const char *params[] = {s->model.retain == NEVER ? "f" : "t"};
	PGresult   *result = conn_query(&s->conn, sql, 1, params);
	int			records = 0;

	if (result == NULL)
		die("%s", s->conn.message);
	for (int row = 0; row < PQntuples(result) && complaints() == 0; row++)
		check_record(s, result_number(result, row, 0).v, result, row);
	for (int key = 0; key < MODEL_KEYS; key++)
		records += s->model.records[key].state != NO_RECORD;
	if (records != PQntuples(result))
		complain("%d records instead of %d after %s", PQntuples(result), records, s->doing);
	PQclear(result);
	if (conn_number(&s->conn, "SELECT count(*) FROM rs_effects") != s->model.effects)
		complain("not %lld effects after %s", (long long) s->model.effects, s->doing);
}

static void
set_clock(Sequence *s)
{
	conn_must(&s->conn, "SET pg_keep.test_clock_offset = %lld",
			  (long long) (FIRST_OFFSET + s->model.now * UNIT * 1000));
}

/* One call; in a transaction under a savepoint, to which some go back. */
static void
step(Sequence *s)
{
	long		failures = s->failures;

	if (chance(&s->random, 20))
	{
		s->model.now += draw_between(&s->random, 1, 6);
		set_clock(s);
	}
	if (!s->in_transaction && chance(&s->random, 5))
	{
		conn_must(&s->conn, "BEGIN");
		s->in_transaction = true;
		s->begun = s->model;
	}
	if (s->in_transaction)
	{
		conn_must(&s->conn, "SAVEPOINT s");
		s->saved = s->model;
	}
	run_call(s);
	if (s->in_transaction && (s->failures > failures || chance(&s->random, 15)))
	{
		int64_t		now = s->model.now;

		conn_must(&s->conn, "ROLLBACK TO s");
		s->model = s->saved;
		s->model.now = now;
	}
	if (s->in_transaction && chance(&s->random, 20))
	{
		int64_t		now = s->model.now;
		bool		back = chance(&s->random, 30);

		conn_must(&s->conn, back ? "ROLLBACK" : "COMMIT");
		s->in_transaction = false;
		if (back)
			s->model = s->begun;
		s->model.now = now;
		set_clock(s);
	}
	if (chance(&s->random, 4) && complaints() == 0)
		check_table(s);
}

static void
create_functions(Conn *conn)
{
	conn_must(conn, "SET client_min_messages = warning;"
			  " DROP TABLE IF EXISTS request_sequence, rs_effects;"
			  " CREATE TABLE rs_effects (id bigserial, args jsonb);"
			  " CREATE OR REPLACE FUNCTION rs_effect(a jsonb) RETURNS jsonb LANGUAGE sql AS"
			  " $$ INSERT INTO rs_effects (args) VALUES (a)"
			  " RETURNING jsonb_build_object('effect', id) $$;"
			  " CREATE OR REPLACE FUNCTION rs_other(a jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ DECLARE i bigint; BEGIN INSERT INTO rs_effects (args) VALUES (a) RETURNING id"
			  " INTO i; RETURN jsonb_build_object('effect', i); END $$");
	conn_must(conn,
			  "CREATE OR REPLACE FUNCTION rs_nothing(jsonb) RETURNS jsonb LANGUAGE sql AS"
			  " 'SELECT NULL::jsonb';"
			  " CREATE OR REPLACE FUNCTION rs_raises(jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ BEGIN PERFORM rs_effect($1); RAISE SQLSTATE 'RS001'; END $$;"
			  " CREATE OR REPLACE FUNCTION rs_conflicts(jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ BEGIN PERFORM rs_effect($1); RAISE SQLSTATE '40001'; END $$;"
			  " CREATE OR REPLACE FUNCTION rs_nested(a jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ BEGIN RETURN (SELECT response FROM keep.call_once('request_sequence',"
			  " 'key ' || (a->>'key'), 'rs_nested(jsonb)', a)); END $$");
	conn_must(conn,
			  "CREATE OR REPLACE FUNCTION rs_text(text) RETURNS jsonb LANGUAGE sql AS"
			  " 'SELECT NULL::jsonb';"
			  " CREATE OR REPLACE FUNCTION rs_set(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS"
			  " 'SELECT $1';"
			  " CREATE OR REPLACE FUNCTION rs_void(jsonb) RETURNS void LANGUAGE sql AS '';"
			  " CREATE OR REPLACE PROCEDURE rs_procedure(jsonb) LANGUAGE sql AS ''");
}

static void
start(Sequence *s, int level)
{
	static const char *const levels[] = {"read committed", "repeatable read", "serializable"};
	static const int retains[] = {1, 5, 12, 30};

	memset(&s->model, 0, sizeof(s->model));
	memset(s->highest, 0, sizeof(s->highest));
	s->ntokens = 0;
	s->last_effect = 0;
	s->in_transaction = false;
	s->model.no_waiting = level > 0;
	s->model.retain = chance(&s->random, 20) ? NEVER :
		retains[draw_between(&s->random, 0, lengthof(retains) - 1)];
	s->keeps_requests = chance(&s->random, 30);
	create_functions(&s->conn);
	if (s->model.retain == NEVER)
		conn_must(&s->conn, "SELECT keep.create_request_log('request_sequence', retain => NULL,"
				  " keep_request => %s)", s->keeps_requests ? "true" : "false");
	else
		conn_must(&s->conn, "SELECT keep.create_request_log('request_sequence',"
				  " retain => '%lld s', keep_request => %s)", (long long) s->model.retain * UNIT,
				  s->keeps_requests ? "true" : "false");
	set_clock(s);
	conn_must(&s->conn, "SET default_transaction_isolation = '%s'", levels[level]);
}

/* Rounds of so many calls, each with a log of its own. */
int
request_sequence_main(const char *info, int argc, char **argv)
{
	Sequence   *s = allot(sizeof(Sequence));
	long		calls = setting(argc, argv, "calls", 1000);
	long		rounds = setting(argc, argv, "rounds", 3);

	s->random.state = setting(argc, argv, "seed", 1);
	if (!conn_open(&s->conn, info, "request_sequence"))
		die("cannot connect: %s", s->conn.message);
	for (int round = 0; round < rounds && complaints() == 0; round++)
	{
		long		until = s->calls + calls;

		start(s, round % 3);
		while ((s->calls < until || s->in_transaction) && s->model.now < LAST_UNIT &&
			   complaints() == 0)
			step(s);
		if (s->in_transaction && complaints() == 0)
			conn_must(&s->conn, "COMMIT");
		if (complaints() == 0)
			check_table(s);
		conn_must(&s->conn, "RESET default_transaction_isolation");
	}
	printf("%ld calls, %ld refused, %ld started, %ld resumed, %ld in flight, %ld replayed\n",
		   s->calls, s->failures, s->states[STARTED], s->states[RESUMED], s->states[IN_FLIGHT],
		   s->states[COMPLETED] + s->states[FAILED]);
	conn_close(&s->conn);
	free(s);
	return complaints() > 0;
}
