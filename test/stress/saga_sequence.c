/*
 * saga_sequence.c
 *		One caller of a saga log: every answer to thousands of calls is predicted.
 */
#include "saga_model.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_OFFSET (-INT64_C(2147483647))
#define LAST_UNIT 7100			/* the clock cannot be moved on further */
#define PATIENCE 300000			/* microseconds in which the shortest rest is not over */

typedef struct Sequence
{
	Conn		conn;
	Random		random;
	SagaModel	model;
	SagaModel	begun;			/* at the start of the transaction */
	SagaModel	saved;			/* at the savepoint */
	int64_t		highest[MODEL_SAGAS][MODEL_STEPS];	/* tokens, also of what was rolled back */
	int64_t		moved;			/* wall clock */
	bool		stubborn;		/* compensations fail always, and many times */
	int64_t		first_action;	/* the number before that of the first action */
	long		calls;
	long		failures;
	long		kinds[SAGA_KINDS];
	char		doing[500];
} Sequence;

static void
move_clock(Sequence *s, int units)
{
	s->model.now += units;
	conn_must(&s->conn, "SET pg_keep.test_clock_offset = %lld",
			  (long long) (FIRST_OFFSET + s->model.now * MODEL_UNIT * 1000));
	s->moved = wall_clock();
}

static SagaKind
pick_kind(Sequence *s)
{
	static const SagaKind forward[] = {
		BEGIN_SAGA, BEGIN_SAGA, RUN_STEP, RUN_STEP, RUN_STEP, RUN_STEP, LEAVE_STEP, LEAVE_STEP
	};
	static const SagaKind back[] = {
		COMPENSATE_SAGA, COMPENSATE_SAGA, RUN_COMPENSATIONS, RUN_DUE, CLAIM, CLAIM, CLAIM, FINISH,
		FINISH, FINISH, FINISH, FINISH, RESUME, RESUME
	};

	if (s->stubborn && chance(&s->random, 30))
		return RUN_DUE;
	if (chance(&s->random, 1))
		return COMPLETE_SAGA;
	if (chance(&s->random, 60))
		return forward[draw_between(&s->random, 0, lengthof(forward) - 1)];
	return back[draw_between(&s->random, 0, lengthof(back) - 1)];
}

/* Mostly go back only where a saga goes back already; leave and finish what there is to. */
static void
aim(Sequence *s, SagaOp *op)
{
	const ModelSaga *saga = &s->model.sagas[op->saga];

	if ((op->kind == COMPENSATE_SAGA || op->kind == RUN_COMPENSATIONS) &&
		saga->state == S_RUNNING && chance(&s->random, s->stubborn ? 20 : 60))
		op->kind = RUN_STEP;
	for (int i = 0; (op->kind == LEAVE_STEP || op->kind == FINISH) && i < MODEL_SAGAS * MODEL_STEPS;
		 i++)
	{
		if (s->model.sagas[op->saga].steps[op->step].status ==
			(op->kind == LEAVE_STEP ? T_RUNNING : T_COMPENSATING))
			return;
		op->step = (op->step + 1) % MODEL_STEPS;
		op->saga = (op->saga + (op->step == 0)) % MODEL_SAGAS;
	}
}

static SagaOp
pick(Sequence *s)
{
	SagaOp		op = {
		.kind = pick_kind(s), .saga = draw_between(&s->random, 0, MODEL_SAGAS - 1),
		.step = draw_between(&s->random, 0, MODEL_STEPS - 1), .raises = chance(&s->random, 5),
		.forbidden = chance(&s->random, 2), .ok = chance(&s->random, 75),
		.value = draw_between(&s->random, 0, 3) * 1000000
	};
	ModelStep  *step;

	if (chance(&s->random, 85))
		aim(s, &op);
	step = &s->model.sagas[op.saga].steps[op.step];
	op.request = ((op.step + op.saga) % 4 == 0 ? 2 : 1) + (chance(&s->random, 3) ? 2 : 0);
	if (op.kind == RUN_STEP || op.kind == ENTER_STEP)
		op.kind = (op.step + op.saga) % 5 < 3 || chance(&s->random, 2) ? ENTER_STEP : RUN_STEP;
	op.span = op.kind == BEGIN_SAGA && chance(&s->random, 60) ? 0 : draw_between(&s->random, 1, 12);
	/* an old token, or one that nobody has */
	op.token = step->token > 0 && chance(&s->random, 85) ? step->token :
		s->highest[op.saga][op.step] > 0 && step->token != s->highest[op.saga][op.step] ?
		s->highest[op.saga][op.step] : 1000000 + draw_between(&s->random, 1, 5);
	return op;
}

static PGresult *
send_call(Sequence *s, const SagaOp *op)
{
	static const char *const sql[SAGA_KINDS] = {
		[BEGIN_SAGA] = "SELECT state FROM keep.begin_saga($1, $2, $3)",
		[RUN_STEP] = "SELECT status, NULL, result, replayed FROM keep.run_step($1, $2, $3, $4, $5,"
		" $6)",
		[ENTER_STEP] = "SELECT status, token, result FROM keep.enter_step($1, $2, $3, $4, $5, $6)",
		[LEAVE_STEP] = "SELECT status FROM keep.leave_step($1, $2, $3, $4, $5, $6)",
		[COMPLETE_SAGA] = "SELECT state FROM keep.complete_saga($1, $2)",
		[COMPENSATE_SAGA] = "SELECT state, pending_remote FROM keep.compensate_saga($1, $2)",
		[RUN_COMPENSATIONS] = "CALL keep.run_compensations($1, $2)",
		[CLAIM] = "SELECT saga, step, token FROM keep.claim_compensations($1, 'w', 100, $2)",
		[FINISH] = "SELECT state FROM keep.finish_compensation($1, $2, $3, $4, $5, $6)",
		[RESUME] = "SELECT state FROM keep.resume_saga($1, $2)"
	};
	char		saga[20];
	char		step[20];
	char		span[20];
	char		args[40];
	char		token[24];
	char		value[20];
	const char *interval = op->span ? span : NULL;
	const char *ok = op->ok ? "t" : "f";
	const char *result = op->value ? value : NULL;
	const char *undo = op->request % 2 == 0 ? NULL : op->kind == RUN_STEP ? "sq_undo(jsonb)" : "u";
	const char *action = op->forbidden ? "sq_forbidden(jsonb)" : "sq_act(jsonb)";
	const char *run[] = {s->conn.ledger, saga, step, action, args, undo};
	const char *enter[] = {s->conn.ledger, saga, step, undo, args, span};
	const char *leave[] = {s->conn.ledger, saga, step, token, ok, result};
	const char *claim[] = {s->conn.ledger, span};
	const char *begin[] = {s->conn.ledger, saga, interval};

	sprintf(saga, "saga-%d", op->saga);
	sprintf(step, "step-%d", op->step);
	sprintf(span, "%d min", op->span * MODEL_UNIT / 60);
	sprintf(args, "{\"request\": %d}", op->request);
	sprintf(token, "%lld", (long long) op->token);
	sprintf(value, "%d", op->value);
	conn_must(&s->conn, "SELECT set_config('sq.raise', '%d', false)", op->raises);
	switch (op->kind)
	{
		case RUN_STEP:
			return conn_query(&s->conn, sql[op->kind], lengthof(run), run);
		case ENTER_STEP:
			return conn_query(&s->conn, sql[op->kind], lengthof(enter), enter);
		case LEAVE_STEP:
		case FINISH:
			return conn_query(&s->conn, sql[op->kind], lengthof(leave), leave);
		case CLAIM:
			return conn_query(&s->conn, sql[op->kind], lengthof(claim), claim);
		case BEGIN_SAGA:
			return conn_query(&s->conn, sql[op->kind], lengthof(begin), begin);
		default:
			return conn_query(&s->conn, sql[op->kind], 2, begin);
	}
}

static void
take_token(Sequence *s, int saga, int step, int64_t token)
{
	if (token <= s->highest[saga][step])
		complain("%s: token %lld, there was %lld before", s->doing, (long long) token,
				 (long long) s->highest[saga][step]);
	s->highest[saga][step] = token;
	s->model.sagas[saga].steps[step].token = token;
}

static void
check_claims(Sequence *s, const SagaReply *want, PGresult *result)
{
	if (PQntuples(result) != want->count)
		complain("%s: %d claimed instead of %d", s->doing, PQntuples(result), want->count);
	for (int row = 0; row < PQntuples(result) && complaints() == 0; row++)
	{
		int			saga = name_number(PQgetvalue(result, row, 0));
		int			step = name_number(PQgetvalue(result, row, 1));

		if (!want->claimed[saga][step])
			complain("%s: step %d of saga %d is claimed", s->doing, step, saga);
		take_token(s, saga, step, result_number(result, row, 2).v);
	}
}

/* What a step's call answers: status, token, result, replayed */
static void
check_step(Sequence *s, const SagaOp *op, const SagaReply *want, PGresult *result)
{
	StepStatus	status = step_status_number(PQgetvalue(result, 0, 0));
	Maybe		value = NOTHING;
	bool		replayed = false;
	bool		token = false;

	if (op->kind != LEAVE_STEP)
	{
		value = result_number(result, 0, 2);
		token = !PQgetisnull(result, 0, 1);
	}
	if (op->kind == RUN_STEP)
	{
		replayed = PQgetvalue(result, 0, 3)[0] == 't';
		/* actions that were rolled back have used up a number */
		if (status == T_DONE && !replayed && want->status == T_DONE && !want->replayed)
		{
			if (!value.set || value.v <= s->first_action)
				complain("%s: an old result: %s", s->doing, show(value));
			s->first_action = value.v;
			s->model.sagas[op->saga].steps[op->step].value = value.v;
			value = SOME(want->value);
		}
	}
	if (status != want->status || token != want->token || replayed != want->replayed ||
		value.set != (want->value != 0) || (value.set && value.v != want->value))
		complain("%s\n  expected %s, %s token, result %lld, %s\n  got      %s, %s token, result %s,"
				 " %s", s->doing, step_status_name(want->status), want->token ? "a" : "no",
				 (long long) want->value, want->replayed ? "replayed" : "first",
				 step_status_name(status), token ? "a" : "no", show(value),
				 replayed ? "replayed" : "first");
	else if (token)
		take_token(s, op->saga, op->step, result_number(result, 0, 1).v);
}

static void
check_reply(Sequence *s, const SagaOp *op, const SagaReply *want, PGresult *result)
{
	if (op->kind == CLAIM)
		check_claims(s, want, result);
	else if (op->kind == RUN_STEP || op->kind == ENTER_STEP || op->kind == LEAVE_STEP)
		check_step(s, op, want, result);
	else if (strcmp(PQgetvalue(result, 0, 0), saga_state_name(want->state)) != 0 ||
			 ((op->kind == COMPENSATE_SAGA || op->kind == RUN_COMPENSATIONS) &&
			  result_number(result, 0, 1).v != want->pending))
		complain("%s\n  expected %s, %d pending\n  got      %s, %s", s->doing,
				 saga_state_name(want->state), want->pending, PQgetvalue(result, 0, 0),
				 PQnfields(result) > 1 ? PQgetvalue(result, 0, 1) : "");
}

static void
run_call(Sequence *s)
{
	SagaOp		op = pick(s);
	SagaModel	before = s->model;
	SagaReply	want;
	const char *state = model_saga(&s->model, &op, &want);
	PGresult   *result = NULL;
	bool		good;

	snprintf(s->doing, sizeof(s->doing), "%ld. %s saga %d, step %d, request %d, span %d,"
			 " token %lld, %s, value %d%s%s%s", s->calls, saga_kind_name(op.kind), op.saga, op.step,
			 op.request, op.span, (long long) op.token, op.ok ? "ok" : "not ok", op.value,
			 op.raises ? ", raises" : "", op.forbidden ? ", forbidden" : "",
			 s->model.fails ? ", compensations fail" : "");
	if (op.kind == RUN_DUE)
		good = conn_do(&s->conn, "CALL keep.run_due_compensations('saga_sequence')");
	else
	{
		result = send_call(s, &op);
		good = result != NULL;
	}
	s->calls++;
	s->failures += !good;
	s->kinds[op.kind] += good;
	if (strcmp(state, good ? "" : s->conn.state) != 0)
		complain("%s\n  expected SQLSTATE \"%s\", got \"%s\" %s", s->doing, state, s->conn.state,
				 good ? "" : s->conn.message);
	else if (good && result != NULL)
		check_reply(s, &op, &want, result);
	else if (!good)
		s->model = before;
	PQclear(result);
}

static void
check_tables(Sequence *s)
{
	for (int i = 0; i < MODEL_SAGAS; i++)
	{
		const ModelSaga *saga = &s->model.sagas[i];
		const char *state = saga->state == NO_SAGA ? "none" : saga_state_name(saga->state);

		if (conn_number(&s->conn, "SELECT count(*) FROM saga_sequence WHERE saga = 'saga-%d'"
						" AND state <> '%s' OR '%s' = 'none' AND saga = 'saga-%d'", i, state, state,
						i) != 0)
			complain("saga %d is not %s after %s", i, state, s->doing);
		for (int j = 0; j < MODEL_STEPS; j++)
			if (saga->steps[j].status != NO_STEP &&
				conn_number(&s->conn, "SELECT count(*) FROM saga_sequence_steps WHERE saga ="
							" 'saga-%d' AND step = 'step-%d' AND status = '%s' AND attempts = %d",
							i, j, step_status_name(saga->steps[j].status),
							saga->steps[j].attempts) != 1)
				complain("step %d of saga %d is not %s, with %d attempts, after %s", j, i,
						 step_status_name(saga->steps[j].status), saga->steps[j].attempts,
						 s->doing);
	}
	if (conn_number(&s->conn, "SELECT count(*) FROM sq_effects WHERE what = 'do'") !=
		s->model.actions ||
		conn_number(&s->conn, "SELECT count(*) FROM sq_effects WHERE what = 'undo'") !=
		s->model.undoings)
		complain("not %lld actions and %lld compensations after %s", (long long) s->model.actions,
				 (long long) s->model.undoings, s->doing);
}

static void
go_back_to(Sequence *s, const SagaModel *model)
{
	int64_t		now = s->model.now;
	bool		fails = s->model.fails;

	s->model = *model;
	s->model.now = now;
	s->model.fails = fails;
}

static void
begin_call(Sequence *s)
{
	if (chance(&s->random, s->stubborn ? 40 : 15) || wall_clock() - s->moved > PATIENCE)
		move_clock(s, draw_between(&s->random, 1, 4));
	if (chance(&s->random, 10))
	{
		s->model.fails = s->stubborn || chance(&s->random, 40);
		conn_must(&s->conn, "SET sq.fail = %d", s->model.fails);
	}
	if (!s->model.in_transaction && chance(&s->random, 5))
	{
		conn_must(&s->conn, "BEGIN");
		s->begun = s->model;
		s->model.in_transaction = true;
	}
	if (s->model.in_transaction)
	{
		conn_must(&s->conn, "SAVEPOINT s");
		s->saved = s->model;
	}
}

/* One call; in a transaction under a savepoint, to which some go back. */
static void
step(Sequence *s)
{
	long		failures = s->failures;

	begin_call(s);
	run_call(s);
	if (s->model.in_transaction && (s->failures > failures || chance(&s->random, 15)))
	{
		conn_must(&s->conn, "ROLLBACK TO s");
		go_back_to(s, &s->saved);
	}
	if (s->model.in_transaction && chance(&s->random, 20))
	{
		bool		back = chance(&s->random, 30);

		conn_must(&s->conn, back ? "ROLLBACK" : "COMMIT");
		if (back)
			go_back_to(s, &s->begun);
		s->model.in_transaction = false;
		move_clock(s, 0);
		conn_must(&s->conn, "SET sq.fail = %d", s->model.fails);
	}
	if (chance(&s->random, 4) && complaints() == 0)
		check_tables(s);
}

static void
start(Sequence *s, int level)
{
	static const char *const levels[] = {"read committed", "repeatable read", "serializable"};
	static const int attempts[] = {1, 2, 3};

	memset(&s->model, 0, sizeof(s->model));
	memset(s->highest, 0, sizeof(s->highest));
	s->first_action = 0;
	s->stubborn = chance(&s->random, 25);
	s->model.max_attempts = s->stubborn ? 20 :
		attempts[draw_between(&s->random, 0, lengthof(attempts) - 1)];
	conn_must(&s->conn, "SET client_min_messages = warning;"
			  " DROP TABLE IF EXISTS saga_sequence, saga_sequence_steps, sq_effects;"
			  " CREATE TABLE sq_effects (id bigserial, what text);"
			  " CREATE OR REPLACE FUNCTION sq_act(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$"
			  " DECLARE i bigint; BEGIN INSERT INTO sq_effects (what) VALUES ('do') RETURNING id"
			  " INTO i; IF current_setting('sq.raise') = '1' THEN RAISE SQLSTATE 'SG001'; END IF;"
			  " RETURN to_jsonb(i); END $$;"
			  " CREATE OR REPLACE FUNCTION sq_forbidden(jsonb) RETURNS jsonb LANGUAGE sql AS"
			  " 'SELECT $1'");
	conn_must(&s->conn, "CREATE OR REPLACE FUNCTION sq_undo(jsonb) RETURNS jsonb LANGUAGE plpgsql"
			  " AS $$ BEGIN INSERT INTO sq_effects (what) VALUES ('undo');"
			  " IF current_setting('sq.fail') = '1' THEN RAISE SQLSTATE 'SG002'; END IF;"
			  " RETURN $1; END $$; SET sq.fail = %d", s->stubborn);
	s->model.fails = s->stubborn;
	conn_must(&s->conn, "SELECT keep.create_saga_log('saga_sequence', %d)", s->model.max_attempts);
	conn_must(&s->conn, "SELECT keep.allow_saga_function('saga_sequence', 'sq_act(jsonb)'),"
			  " keep.allow_saga_function('saga_sequence', 'sq_undo(jsonb)')");
	move_clock(s, 0);
	conn_must(&s->conn, "SET default_transaction_isolation = '%s'", levels[level]);
}

/* Rounds of so many calls, each with a log of its own. */
int
saga_sequence_main(const char *info, int argc, char **argv)
{
	Sequence   *s = allot(sizeof(Sequence));
	long		calls = setting(argc, argv, "calls", 200);
	long		rounds = setting(argc, argv, "rounds", 30);

	s->random.state = setting(argc, argv, "seed", 1);
	if (!conn_open(&s->conn, info, "saga_sequence"))
		die("cannot connect: %s", s->conn.message);
	for (int round = 0; round < rounds && complaints() == 0; round++)
	{
		long		until = s->calls + calls;

		start(s, round % 3);
		while ((s->calls < until || s->model.in_transaction) && s->model.now < LAST_UNIT &&
			   complaints() == 0)
			step(s);
		if (s->model.in_transaction && complaints() == 0)
			conn_must(&s->conn, "COMMIT");
		if (complaints() == 0)
			check_tables(s);
		conn_must(&s->conn, "RESET default_transaction_isolation");
	}
	printf("%ld calls, %ld refused, %ld run_step, %ld enter_step, %ld leave_step,"
		   " %ld compensate_saga, %ld finish_compensation\n", s->calls, s->failures,
		   s->kinds[RUN_STEP], s->kinds[ENTER_STEP], s->kinds[LEAVE_STEP],
		   s->kinds[COMPENSATE_SAGA], s->kinds[FINISH]);
	conn_close(&s->conn);
	free(s);
	return complaints() > 0;
}
