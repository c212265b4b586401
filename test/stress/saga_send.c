/*
 * saga_send.c
 *		One call to a saga log in a transaction of its own, and what became of it.
 */
#include "saga_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_PARAMETERS 8

static const char *const kinds[SAGA_KINDS] = {
	"begin_saga", "run_step", "enter_step", "leave_step", "complete_saga", "compensate_saga",
	"run_compensations", "run_due_compensations", "claim_compensations", "finish_compensation",
	"resume_saga"
};

static const char *const states[SAGA_STATES] = {
	"none", "running", "completed", "compensating", "compensated", "stuck"
};

static const char *const statuses[STEP_STATUSES] = {
	"none", "running", "failed", "done", "compensating", "compensated", "refused", "run", "busy"
};

/* A query with its parameters as text. */
typedef struct Query
{
	const char *sql;
	const char *params[MOST_PARAMETERS];
	char		text[MOST_PARAMETERS][80];
	int			count;
} Query;

const char *
saga_kind_name(SagaKind kind)
{
	return kinds[kind];
}

const char *
saga_state_name(SagaState state)
{
	return states[state];
}

const char *
step_status_name(StepStatus status)
{
	return statuses[status];
}

SagaState
saga_state_number(const char *name)
{
	for (int i = 1; i < SAGA_STATES; i++)
		if (strcmp(name, states[i]) == 0)
			return i;
	die("unknown state of a saga \"%s\"", name);
}

StepStatus
step_status_number(const char *name)
{
	for (int i = 1; i < STEP_STATUSES; i++)
		if (strcmp(name, statuses[i]) == 0)
			return i;
	die("unknown status of a step \"%s\"", name);
}

const char *
show_saga_fact(const SagaFact *f)
{
	static __thread char buffers[2][500];
	static __thread int next = 0;
	char	   *buffer = buffers[next = 1 - next];

	snprintf(buffer, sizeof(buffers[0]), "%s of saga %d, step %d%s, %s, token %lld, value %lld,"
			 " from %lld until %lld: %s, %s, token %lld, result %lld%s %s",
			 kinds[f->kind], f->saga, f->step, f->other ? " with other args" : "",
			 f->ok ? "ok" : "not ok", (long long) f->token, (long long) f->value,
			 (long long) f->began, (long long) f->ended, states[f->state], statuses[f->status],
			 (long long) f->new_token, (long long) f->result, f->replayed ? ", replayed" : "",
			 f->error);
	return buffer;
}

/* What a step is like depends on nothing but its number and the saga's. */
static uint64_t
step_lot(int saga, int step, int salt)
{
	Random		random = {saga * 1000 + step * 10 + salt};

	return draw(&random) % 100;
}

bool
step_is_remote(const SagaLoad *load, int saga, int step)
{
	return (int) step_lot(saga, step, 1) < load->phase->remote;
}

bool
step_has_compensation(int saga, int step)
{
	return step_lot(saga, step, 2) < 80;
}

bool
saga_connect(SagaWorker *worker)
{
	static const char *const levels[] = {"read committed", "repeatable read", "serializable"};

	if (!conn_open(&worker->conn, worker->load->info, "saga_load"))
		return false;
	return conn_do(&worker->conn, "SET default_transaction_isolation = '%s'",
				   levels[worker->level]);
}

static void
reconnect(SagaWorker *worker)
{
	atomic_fetch_add(&worker->load->lost, 1);
	for (int try = 0; try < 1200; try++)
	{
		conn_close(&worker->conn);
		if (saga_connect(worker))
			return;
		usleep(50000);
	}
	die("the server does not come back: %s", worker->conn.message);
}

/* Add a parameter; NULL stays one. */
static void
add_text(Query *query, const char *text)
{
	int			n = query->count++;

	query->params[n] = text ? query->text[n] : NULL;
	if (text && snprintf(query->text[n], sizeof(query->text[n]), "%s", text) >=
		(int) sizeof(query->text[n]))
		die("too long for a parameter: %s", text);
}

static void
add_number(Query *query, int64_t number)
{
	char		text[24];

	sprintf(text, "%lld", (long long) number);
	add_text(query, text);
}

static void
add_step(Query *query, int step)
{
	char		text[24];

	sprintf(text, "step-%d", step);
	add_text(query, text);
}

static void
add_milliseconds(Query *query, int milliseconds)
{
	char		text[24];

	sprintf(text, "%d ms", milliseconds);
	add_text(query, text);
}

static void
add_args(Query *query, const SagaFact *fact)
{
	char		text[80];

	snprintf(text, sizeof(text), "{\"saga\": %d, \"step\": %d, \"other\": %d}", fact->saga,
			 fact->step, fact->other);
	add_text(query, text);
}

static void
make_forward(Query *query, SagaWorker *worker, const SagaFact *fact)
{
	const SagaPhase *phase = worker->load->phase;
	bool		compensation = step_has_compensation(fact->saga, fact->step);

	add_step(query, fact->step);
	if (fact->kind == RUN_STEP)
	{
		query->sql = "SELECT status, result, replayed"
			" FROM keep.run_step($1, $2, $3, 'saga_act(jsonb)', $4, $5)";
		add_args(query, fact);
		add_text(query, compensation ? "saga_undo(jsonb)" : NULL);
	}
	else
	{
		query->sql = "SELECT status, token, result FROM keep.enter_step($1, $2, $3, $4, $5, $6)";
		add_text(query, compensation ? "undo" : NULL);
		add_args(query, fact);
		add_milliseconds(query, draw_between(&worker->random, 1, phase->lease));
	}
}

static void
make_query(Query *query, SagaWorker *worker, const SagaFact *fact)
{
	static const char *const plain[SAGA_KINDS] = {
		[COMPLETE_SAGA] = "SELECT state FROM keep.complete_saga($1, $2)",
		[COMPENSATE_SAGA] = "SELECT state, pending_remote FROM keep.compensate_saga($1, $2)",
		[RUN_COMPENSATIONS] = "CALL keep.run_compensations($1, $2)",
		[RESUME] = "SELECT state FROM keep.resume_saga($1, $2)"
	};
	const SagaPhase *phase = worker->load->phase;
	char		name[NAME_ROOM];

	query->count = 0;
	add_text(query, "saga_load");
	if (fact->kind == CLAIM)
	{
		query->sql = "SELECT saga, step, compensation, args, result, token"
			" FROM keep.claim_compensations($1, 'worker', $2, $3)";
		add_number(query, draw_between(&worker->random, 1, 4));
		add_milliseconds(query, draw_between(&worker->random, 1, phase->lease));
		return;
	}
	id_name(name, fact->saga);
	add_text(query, name);
	query->sql = plain[fact->kind];
	if (fact->kind == BEGIN_SAGA)
	{
		query->sql = "SELECT state FROM keep.begin_saga($1, $2, $3)";
		if ((int) step_lot(fact->saga, 0, 3) < phase->deadlines)
			add_milliseconds(query, draw_between(&worker->random, 1, 80));
		else
			add_text(query, NULL);
	}
	else if (fact->kind == RUN_STEP || fact->kind == ENTER_STEP)
		make_forward(query, worker, fact);
	else if (query->sql == NULL)
	{
		query->sql = fact->kind == LEAVE_STEP ?
			"SELECT status FROM keep.leave_step($1, $2, $3, $4, $5, $6)" :
			"SELECT state FROM keep.finish_compensation($1, $2, $3, $4, $5, $6)";
		add_step(query, fact->step);
		add_number(query, fact->token);
		add_text(query, fact->ok ? "t" : "f");
		add_number(query, fact->value);
	}
}

/* A result: a number that somebody has made up */
static int64_t
json_number(PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column) || strcmp(PQgetvalue(result, row, column), "null") == 0)
		return NO_VALUE;
	return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

static void
take_claimed(SagaFact *fact, PGresult *result, int row)
{
	int			saga = -1;
	int			step = -1;

	fact->saga = name_number(PQgetvalue(result, row, 0));
	fact->step = name_number(PQgetvalue(result, row, 1));
	/* jsonb keeps shorter keys first, then goes by their bytes */
	sscanf(PQgetvalue(result, row, 3), "{\"saga\": %d, \"step\": %d", &saga, &step);
	fact->result = json_number(result, row, 4);
	fact->new_token = result_number(result, row, 5).v;
	if (saga != fact->saga || step != fact->step || strcmp(PQgetvalue(result, row, 2), "undo") != 0)
		complain("claimed with other arguments: %s, %s", PQgetvalue(result, row, 3),
				 show_saga_fact(fact));
}

static void
take_answer(SagaFact *fact, PGresult *result, int row)
{
	const char *first = PQgetvalue(result, row, 0);

	fact->result = NO_VALUE;
	switch (fact->kind)
	{
		case RUN_STEP:
			fact->status = step_status_number(first);
			fact->result = json_number(result, row, 1);
			fact->replayed = PQgetvalue(result, row, 2)[0] == 't';
			break;
		case ENTER_STEP:
			fact->status = step_status_number(first);
			fact->new_token = result_number(result, row, 1).v;
			fact->result = json_number(result, row, 2);
			break;
		case LEAVE_STEP:
			fact->status = step_status_number(first);
			break;
		case CLAIM:
			take_claimed(fact, result, row);
			break;
		default:
			fact->state = saga_state_number(first);
			if ((fact->kind == COMPENSATE_SAGA || fact->kind == RUN_COMPENSATIONS) &&
				(fact->state == S_COMPENSATED || fact->state == S_COMPLETED) &&
				strcmp(PQgetvalue(result, row, 1), "0") != 0)
				complain("%s remote steps are left: %s", PQgetvalue(result, row, 1),
						 show_saga_fact(fact));
	}
}

/* Errors that say something, and those that an accident or the isolation level excuse. */
static bool
expected_error(const SagaWorker *worker, const SagaFact *fact)
{
	bool		goes_back = fact->kind >= COMPENSATE_SAGA && fact->kind <= RUN_DUE;

	return strcmp(fact->error, "KP404") == 0 || strcmp(fact->error, "KP412") == 0 ||
		strcmp(fact->error, "KP422") == 0 ||
		(worker->level > 0 && strcmp(fact->error, "40001") == 0) ||
		(fact->accident == CANCEL && strcmp(fact->error, "57014") == 0) ||
		(fact->kind == RUN_STEP && strcmp(fact->error, "SG001") == 0) ||
		(goes_back && strcmp(fact->error, "55P03") == 0);
}

static void
keep_fact(SagaWorker *worker, const SagaFact *fact)
{
	if (worker->nfacts == worker->room)
	{
		worker->room = worker->room * 2 + 1000;
		worker->facts = enlarge(worker->facts, sizeof(SagaFact) * worker->room);
	}
	worker->facts[worker->nfacts++] = *fact;
}

static void
note_failure(SagaWorker *worker, SagaFact *fact)
{
	strcpy(fact->error, worker->conn.state);
	if (worker->conn.pg == NULL || PQstatus(worker->conn.pg) != CONNECTION_OK ||
		strcmp(fact->error, "08006") == 0 || strncmp(fact->error, "57P0", 4) == 0)
	{
		if (fact->accident != DROP && !worker->load->phase->crash)
			complain("worker %d: connection lost: %s", worker->number, worker->conn.message);
		fact->unknown = true;
		reconnect(worker);
	}
	else if (!expected_error(worker, fact))
		complain("worker %d at level %d: %s %s", worker->number, worker->level,
				 show_saga_fact(fact), worker->conn.message);
}

/*
 * Make the call that "fact" describes. Keeps its facts, one unless it claims,
 * and returns how many; they stand until the next call.
 */
int
saga_send(SagaWorker *worker, SagaFact fact)
{
	Conn	   *conn = &worker->conn;
	Query		query;
	PGresult   *result = NULL;
	bool		good;
	int			before = worker->nfacts;

	fact.result = NO_VALUE;
	if (fact.value == 0)
		fact.value = atomic_fetch_add(&worker->load->next_value, 1);
	if (fact.kind != RUN_DUE && chance(&worker->random, worker->load->phase->accidents))
		fact.accident = chance(&worker->random, 50) ? DROP : CANCEL;
	worker->calls++;
	fact.began = wall_clock();
	if (fact.kind == RUN_DUE)
		good = conn_do(conn, "CALL keep.run_due_compensations('saga_load', %d)",
					   (int) draw_between(&worker->random, 1, 10));
	else
	{
		make_query(&query, worker, &fact);
		result = fact.accident == NO_ACCIDENT ?
			conn_query(conn, query.sql, query.count, query.params) :
			conn_accident(conn, query.sql, query.count, query.params, fact.accident,
						  draw_between(&worker->random, 0, 1500));
		good = result != NULL;
	}
	fact.ended = wall_clock();
	if (!good)
		note_failure(worker, &fact);
	for (int row = 0; result != NULL && row < PQntuples(result); row++)
	{
		take_answer(&fact, result, row);
		keep_fact(worker, &fact);
	}
	if (result == NULL)
		keep_fact(worker, &fact);
	else if (PQntuples(result) != 1 && fact.kind != CLAIM)
		complain("%d rows: %s", PQntuples(result), show_saga_fact(&fact));
	PQclear(result);
	return worker->nfacts - before;
}
