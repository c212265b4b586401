/*
 * sequence.c
 *		One caller: every answer to thousands of operations is predicted.
 *
 * With two targets the same operations run on both: on one ledger with direct
 * access to the tables, on the other without.
 */
#include "modes.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TARGETS 2

typedef struct Sequence
{
	Generator	gen;
	Model	   *model;
	Target		targets[MAX_TARGETS];
	int			ntargets;
	bool		history;
	bool		dump;			/* show the batch that was answered wrongly */
	bool		in_transaction;
	int			begin_mark;
	long		operations;		/* items of batches count one by one */
	long		calls;			/* that are not batches */
	long		failures;		/* calls that failed, as they had to */
	char		doing[600];
} Sequence;

static Op	op;
static Answer expected[MAX_ITEMS];
static Answer got[MAX_ITEMS];

/* Times are the server's; they must stay what they were at first. */
static void
check_times(Sequence *s, Target *target, const Answer *answer)
{
	ModelTransfer *transfer = &s->model->transfers[answer->id];
	Maybe	   *created = &target->created[answer->id];
	Maybe	   *expires = &target->expires[answer->id];
	bool		first = transfer->created.set == false;

	if (answer->status == MISMATCH)
		return;
	if (first && !answer->replayed)
	{
		*created = answer->created;
		*expires = answer->expires;
		if (!answer->created.set || answer->expires.set != (answer->status == PENDING))
			complain("%s: times of a new transfer: %s", target->label, show_answer(answer));
		if (answer->expires.set && transfer->hold < 86400000 &&
			answer->expires.v - answer->created.v != transfer->hold * INT64_C(1000))
			complain("%s: a hold of %d ms: %s", target->label, transfer->hold, show_answer(answer));
	}
	else if (!created->set)
	{
		*created = answer->created;
		*expires = answer->expires;
	}
	else if (!same(*created, answer->created) || !same(*expires, answer->expires))
		complain("%s: was created %s and expires %s: %s", target->label, show(*created),
				 show(*expires),
				 show_answer(answer));
}

static void
check_answer(Sequence *s, Target *target, const Answer *want, const Answer *is)
{
	if (want->id != is->id || want->status != is->status || want->reason != is->reason ||
		want->replayed != is->replayed ||
		(want->status != MISMATCH &&
		 (!same(want->amount, is->amount) || !same(want->from_balance, is->from_balance) ||
		  !same(want->to_balance, is->to_balance))))
		complain("%s: %s\n  expected %s\n  got      %s", target->label, s->doing, show_answer(want),
				 show_answer(is));
	else
		check_times(s, target, is);
}

/* A call must succeed or fail as predicted. */
static bool
check_outcome(Sequence *s, Target *target, bool good)
{
	const char *state = good ? "" : target->conn.state;

	if (strcmp(state, s->model->error) == 0)
		return good;
	complain("%s: %s\n  expected SQLSTATE \"%s\", got \"%s\" %s", target->label, s->doing,
			 s->model->error,
			 state, good ? "" : target->conn.message);
	return false;
}

static void
check_balance(Sequence *s, Target *target, int account, const Balance *is)
{
	Balance		want = model_balance(s->model, account);

	if (want.balance != is->balance || want.available != is->available ||
		want.frozen != is->frozen ||
		want.debits_posted != is->debits_posted || want.credits_posted != is->credits_posted ||
		want.debits_pending != is->debits_pending || want.credits_pending != is->credits_pending)
		complain("%s: %s: account %d\n  expected %lld (available %lld, debits %lld + %lld,"
				 " credits %lld + %lld)\n"
				 "  got      %lld (available %lld, debits %lld + %lld, credits %lld + %lld)",
				 target->label, s->doing, account,
				 (long long) want.balance, (long long) want.available,
				 (long long) want.debits_posted,
				 (long long) want.debits_pending, (long long) want.credits_posted,
				 (long long) want.credits_pending, (long long) is->balance,
				 (long long) is->available,
				 (long long) is->debits_posted, (long long) is->debits_pending,
				 (long long) is->credits_posted, (long long) is->credits_pending);
}

/* Remember that these transfers are known by now. */
static void
note_known(Sequence *s, const Item *items, int count)
{
	for (int i = 0; i < count; i++)
		if (s->model->transfers[items[i].id].status != ABSENT)
			s->model->transfers[items[i].id].created = SOME(1);
}

static void
do_transfers(Sequence *s)
{
	bool		batch = op.kind == OP_BATCH;
	int			count;

	if (batch)
		snprintf(s->doing, sizeof(s->doing), "batch of %d (way %d%s), first %s", op.count, op.way,
				 op.exceptions ? ", exceptions" : "", op.count ? show_item(&op.items[0]) : "");
	else
		snprintf(s->doing, sizeof(s->doing), "%s", show_item(&op.items[0]));
	count = batch ? model_batch(s->model, op.items, op.count, op.way, op.exceptions, expected) :
		model_item(s->model, &op.items[0], &expected[0]) ? 1 : -1;
	s->operations += op.count;
	s->calls += !batch;
	s->failures += count < 0;
	for (int t = 0; t < s->ntargets; t++)
	{
		Target	   *target = &s->targets[t];
		int			answers = batch ?
			call_batch(&target->conn, op.items, op.count, op.way, op.exceptions, got) :
			call_item(&target->conn, &op.items[0], &got[0]) ? 1 : -1;

		if (!check_outcome(s, target, answers >= 0))
			continue;
		if (answers != count)
			complain("%s: %s: expected %d answers, got %d", target->label, s->doing, count,
					 answers);
		for (int i = 0; i < op.count; i++)
			if (!s->model->transfers[op.items[i].id].created.set)
				target->created[op.items[i].id] = NOTHING;
		for (int i = 0; i < count && i < answers && complaints() == 0; i++)
			check_answer(s, target, &expected[i], &got[i]);
	}
	if (s->dump && complaints() > 0)
		for (int i = 0; i < op.count; i++)
			printf("%d: %s\n\t%s\n", i + 1, show_item(&op.items[i]),
				   op.exceptions ? "" : show_answer(&expected[i]));
	if (count >= 0)
		note_known(s, op.items, op.count);
}

/* Open, change limits, freeze, or only look. */
static void
do_account(Sequence *s)
{
	Model	   *m = s->model;
	bool		known = m->accounts[op.account].open;

	snprintf(s->doing, sizeof(s->doing), "%s account %d: unit %d, %s to %s, %d shards",
			 op.kind == OP_OPEN ? "open" : op.kind == OP_LIMITS ? "limit" :
			 op.kind == OP_FREEZE ? "freeze" : "look at", op.account, op.unit, show(op.min),
			 show(op.max), op.shards);
	m->error = op.kind == OP_OPEN || known ? "" : "KP404";
	if ((op.kind == OP_OPEN || op.kind == OP_LIMITS) && op.min.set && op.max.set &&
		op.max.v < op.min.v)
		m->error = "22023";
	else if (op.kind == OP_OPEN && !model_open(m, op.account, op.unit, op.min, op.max, op.shards))
		m->error = "KP422";
	else if (op.kind == OP_LIMITS && known)
	{
		ModelAccount *account = model_account(m, op.account);

		account->min = op.min;
		account->max = op.max;
	}
	else if (op.kind == OP_FREEZE && known)
		model_account(m, op.account)->frozen = op.frozen;
	s->operations++;
	s->calls++;
	for (int t = 0; t < s->ntargets; t++)
	{
		Conn	   *conn = &s->targets[t].conn;
		Balance		balance;
		bool		good;

		if (op.kind == OP_OPEN)
			good = call_open(conn, op.account, unit_name(op.unit), op.min, op.max, op.shards,
							 &balance);
		else if (op.kind == OP_LIMITS)
			good = call_limits(conn, op.account, op.min, op.max, &balance);
		else if (op.kind == OP_FREEZE)
			good = call_freeze(conn, op.account, op.frozen, &balance);
		else
			good = call_balance(conn, op.account, &balance);
		if (check_outcome(s, &s->targets[t], good))
			check_balance(s, &s->targets[t], op.account, &balance);
	}
}

/* Read on in a statement, or again from the start. */
static void
do_statement(Sequence *s)
{
	Model	   *m = s->model;
	ModelAccount *account = &m->accounts[op.account];
	Line		lines[40];

	snprintf(s->doing, sizeof(s->doing), "statement of account %d, %d rows", op.account, op.rows);
	m->error = !s->history ? "55000" : account->open ? "" : "KP404";
	s->operations++;
	s->calls++;
	for (int t = 0; t < s->ntargets; t++)
	{
		Target	   *target = &s->targets[t];
		char		cursor[200] = "";
		int			done = 0;
		int			want;
		int			count;

		if (op.rows % 4 != 0 && account->shards == 1)
		{
			strcpy(cursor, target->cursors[op.account]);
			done = target->read[op.account];
		}
		count = call_statement(&target->conn, op.account, cursor, sizeof(cursor), op.rows, lines);
		if (!check_outcome(s, target, count >= 0))
			continue;
		want = account->lines - done < op.rows ? account->lines - done : op.rows;
		if (count != want)
			complain("%s: %s: expected %d lines, got %d", target->label, s->doing, want, count);
		for (int i = 0; i < count && i < want && account->shards == 1; i++)
		{
			Line	   *line = &m->lines[op.account][done + i];

			if (line->id != lines[i].id || line->other != lines[i].other ||
				line->amount != lines[i].amount ||
				!same(line->balance, lines[i].balance) || line->reverses != lines[i].reverses)
				complain("%s: %s: line %d should be #%d %lld, is #%d %lld", target->label, s->doing,
						 done + i,
						 line->id, (long long) line->amount, lines[i].id,
						 (long long) lines[i].amount);
		}
		if (!s->in_transaction && account->shards == 1)
		{
			strcpy(target->cursors[op.account], cursor);
			target->read[op.account] = done + count;
		}
	}
}

static void
set_clock(Sequence *s)
{
	model_advance(s->model, op.clock);
	for (int t = 0; t < s->ntargets; t++)
		conn_must(&s->targets[t].conn, "SET pg_keep.test_clock_offset = %lld",
				  (long long) op.clock - INT32_MAX);
}

static void
run_op(Sequence *s)
{
	switch (op.kind)
	{
		case OP_ITEM:
		case OP_BATCH:
			do_transfers(s);
			break;
		case OP_STATEMENT:
			do_statement(s);
			break;
		case OP_CLOCK:
			if (!s->in_transaction)
				set_clock(s);
			break;
		case OP_EXPIRE:
			for (int t = 0; t < s->ntargets; t++)
				conn_must(&s->targets[t].conn, "SELECT keep.expire_holds('%s', %d)",
						  s->targets[t].conn.ledger, op.rows);
			break;
		case OP_VERIFY:
			for (int t = 0; t < s->ntargets; t++)
				check_verify(&s->targets[t].conn);
			break;
		default:
			do_account(s);
	}
}

static void
all_must(Sequence *s, const char *sql)
{
	for (int t = 0; t < s->ntargets; t++)
		conn_must(&s->targets[t].conn, "%s", sql);
}

/* One operation; in a transaction under a savepoint, to which some go back. */
static void
step(Sequence *s)
{
	int			mark;

	if (!s->in_transaction)
	{
		s->model->logged = 0;
		if (chance(&s->gen.random, 2))
		{
			all_must(s, "BEGIN");
			s->in_transaction = true;
		}
	}
	s->model->error = "";
	mark = s->model->logged;
	if (s->in_transaction)
		all_must(s, "SAVEPOINT s");
	generate(&s->gen, &op);
	run_op(s);
	model_check(s->model);
	if (!s->in_transaction)
		return;
	if (s->model->error[0] || chance(&s->gen.random, 15))
	{
		all_must(s, "ROLLBACK TO s");
		model_rollback(s->model, mark);
	}
	if (chance(&s->gen.random, 80))
		all_must(s, "RELEASE s");
	if (!chance(&s->gen.random, 20))
		return;
	s->in_transaction = false;
	if (chance(&s->gen.random, 30))
		model_rollback(s->model, 0);
	all_must(s, s->model->logged == 0 ? "ROLLBACK" : "COMMIT");
}

static void
start(Sequence *s, const char *info, int argc, char **argv, int room)
{
	static const char *const levels[] = {"read committed", "repeatable read", "serializable"};
	int			direct = setting(argc, argv, "direct", 1);

	s->ntargets = direct == 2 ? 2 : 1;
	s->history = setting(argc, argv, "history", 1);
	for (int t = 0; t < s->ntargets; t++)
	{
		Target	   *target = &s->targets[t];
		char		name[64];

		snprintf(name, sizeof(name), "sequence_%c", 'a' + t);
		target->label = s->ntargets == 1 ? "ledger" : t == 0 ? "direct access" :
			"without direct access";
		target->created = allot(sizeof(Maybe) * room);
		target->expires = allot(sizeof(Maybe) * room);
		if (!conn_open(&target->conn, info, name))
			die("cannot connect: %s", target->conn.message);
		conn_must(&target->conn, "SET pg_keep.direct_access = %s",
				  (s->ntargets == 1 ? direct : t == 0) ? "on" : "off");
		conn_must(&target->conn, "SET default_transaction_isolation = '%s'",
				  levels[setting(argc, argv, "level", 0)]);
		conn_must(&target->conn, "DROP TABLE IF EXISTS %s, %s_transfers", name, name);
		conn_must(&target->conn, "SELECT keep.create_ledger('%s', history => %s)", name,
				  s->history ? "true" : "false");
	}
}

/* Sweep, and look at all that is stored. */
static void
finish(Sequence *s)
{
	for (int t = 0; t < s->ntargets; t++)
	{
		Target	   *target = &s->targets[t];
		int			rounds = 0;

		while (conn_number(&target->conn, "SELECT keep.expire_holds('%s', 100000)",
						   target->conn.ledger) > 0)
			if (++rounds > 3)
				complain("%s: expire_holds does not come to an end", target->label);
		check_verify(&target->conn);
		compare_with_model(target, s->model, s->gen.next_id);
	}
	if (s->ntargets == 2)
		compare_targets(&s->targets[0], &s->targets[1]);
	for (int t = 0; t < s->ntargets; t++)
	{
		conn_close(&s->targets[t].conn);
		free(s->targets[t].created);
		free(s->targets[t].expires);
	}
}

int
sequence_main(const char *info, int argc, char **argv)
{
	Sequence   *s = allot(sizeof(Sequence));
	long		calls = setting(argc, argv, "calls", 3000);
	long		operations = setting(argc, argv, "ops", 0);
	int			room = operations * 2 + calls * 100 + MAX_ITEMS * 4;

	s->model = model_new(room);
	s->dump = setting(argc, argv, "dump", 0);
	s->gen.model = s->model;
	s->gen.next_id = 1;
	s->gen.max_batch = setting(argc, argv, "max_batch", 500);
	s->gen.batches = setting(argc, argv, "batches", 10);
	s->gen.random.state = setting(argc, argv, "seed", 1);
	/* there, holds that are over may have to stay in the sums: see docs/ledger.md */
	s->gen.margin = setting(argc, argv, "level", 0) > 0 ? 100000000 : 0;
	start(s, info, argc, argv, room);
	op.clock = HOLD_UNIT;
	set_clock(s);
	for (int i = 0; i < 22; i++)
	{
		generate_terms(i, &op);
		run_op(s);
	}
	while ((s->calls < calls || s->operations < operations || s->in_transaction) &&
		   complaints() == 0)
	{
		if (s->gen.next_id + MAX_ITEMS + 10 > room)
			die("no room for more transfers");
		if (s->model->clock > UINT32_MAX - 10 * (int64_t) HOLD_UNIT)
			die("the clock has run down");
		step(s);
	}
	if (complaints() == 0)
		finish(s);
	printf("%ld operations, %ld of them single calls, %ld refused\n", s->operations, s->calls,
		   s->failures);
	model_free(s->model);
	free(s);
	return complaints() > 0;
}
