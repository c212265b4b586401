/*
 * store_work.c
 *		What one connection does to the stores: single calls, and transactions of several that
 *		commit, roll back, or roll back to a savepoint.
 */
#include "store_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS INT64_C(1000)					/* microseconds */

/* How often each call is made, in all */
typedef struct Weight
{
	StoreCall	call;
	int			weight;
} Weight;

static const Weight entry_calls[] = {
	{DO_GET, 6}, {DO_GET_ENTRY, 10}, {DO_GET_MANY, 5}, {DO_GET_AND_TOUCH, 7}, {DO_WAIT_FOR, 2},
	{DO_PUT, 10}, {DO_PUT_MANY, 4}, {DO_PUT_BATCH, 3}, {DO_PUT_IF_ABSENT, 8}, {DO_SWAP, 14},
	{DO_INCREMENT, 12}, {DO_MERGE, 10}, {DO_TOUCH, 7}, {DO_PERSIST, 3}, {DO_DELETE, 8},
	{DO_EXPIRE, 1}
};

static const Weight lease_calls[] = {
	{DO_GET, 3}, {DO_GET_ENTRY, 8}, {DO_GET_MANY, 3}, {DO_WAIT_FOR, 2}, {DO_DELETE, 6},
	{DO_ACQUIRE, 36}, {DO_RENEW, 15}, {DO_RELEASE, 14}, {DO_ASSERT, 15}, {DO_EXPIRE, 1}
};

/* What of many keys could deadlock */
static const Weight batch_calls[] = {{DO_PUT_MANY, 6}, {DO_PUT_BATCH, 3}, {DO_EXPIRE, 1}};

static StoreCall
draw_call(Random *random, const Weight *weights, int count)
{
	int			sum = 0;
	int			left;

	for (int i = 0; i < count; i++)
		sum += weights[i].weight;
	left = draw_between(random, 0, sum - 1);
	for (int i = 0; i < count; i++)
		if ((left -= weights[i].weight) < 0)
			return weights[i].call;
	return weights[0].call;
}

/* A few keys are hot. */
static int
draw_key(StoreWorker *worker)
{
	int			key = draw_between(&worker->random, 0, worker->load->keys - 1);

	return chance(&worker->random, 40) ? key / 4 * 4 : key;
}

static bool
of_leases(const StoreWorker *worker, int key)
{
	return store_rules[worker->load->rule_of[key]].leases;
}

/* Mostly milliseconds, each order of magnitude as often */
static int64_t
draw_ttl(StoreWorker *worker)
{
	int64_t		longest = MS << draw_between(&worker->random, 0, 9);

	return draw_between(&worker->random, longest / 2, longest);
}

/* The version that is most likely there, one that was, or any */
static int64_t
draw_version(StoreWorker *worker, int key)
{
	Random	   *random = &worker->random;

	if (chance(random, 55))
		return atomic_load(&worker->load->newest[key]);
	if (chance(random, 80))
		return worker->seen[key];
	return draw_between(random, 1, 1000);
}

static int64_t
draw_token(StoreWorker *worker, int key)
{
	Random	   *random = &worker->random;

	if (worker->tokens[key] != 0 && chance(random, 85))
		return worker->tokens[key];
	return chance(random, 50) ? worker->seen[key] : INT64_C(1000000000000);
}

static void
fill_lease_op(StoreWorker *worker, StoreOp *op)
{
	Random	   *random = &worker->random;

	switch (op->call)
	{
		case DO_ACQUIRE:
			op->value = (StoreValue) {.has = HAS_OWNER, .owner = worker->number};
			op->ttl = draw_ttl(worker);
			op->wait = chance(random, 30) ? draw_between(random, 1, 5) * MS : 0;
			break;
		case DO_RENEW:
			op->ttl = draw_ttl(worker);
			op->expected = draw_token(worker, op->key);
			break;
		case DO_RELEASE:
		case DO_ASSERT:
			op->expected = draw_token(worker, op->key);
			break;
		default:
			break;
	}
	if (op->expected == 0)
		op->expected = 1;
}

/* The arguments of a call */
static void
fill_op(StoreWorker *worker, StoreOp *op)
{
	Random	   *random = &worker->random;

	op->value.has = HAS_W;
	op->value.w = atomic_fetch_add(&worker->load->next_write, 1);
	switch (op->call)
	{
		case DO_SWAP:
			op->expected = chance(random, 25) ? 0 : draw_version(worker, op->key);
			/* FALLTHROUGH */
		case DO_PUT:
		case DO_PUT_MANY:
		case DO_PUT_BATCH:
		case DO_PUT_IF_ABSENT:
			op->value.n = draw_between(random, 0, 1000);
			op->value.has |= chance(random, 60) ? HAS_N : 0;
			op->ttl = chance(random, 40) ? draw_ttl(worker) : 0;
			break;
		case DO_INCREMENT:
			op->value = (StoreValue) {0};
			op->by = draw_between(random, 1, 1000000);
			op->ttl = chance(random, 30) ? draw_ttl(worker) : 0;
			break;
		case DO_MERGE:
			op->value.m = draw_between(random, 0, 9);
			op->value.has |= chance(random, 40) ? HAS_M : chance(random, 60) ? DROPS_M : 0;
			op->expected = chance(random, 30) ? draw_version(worker, op->key) : ANY_VERSION;
			break;
		case DO_TOUCH:
		case DO_GET_AND_TOUCH:
			op->ttl = chance(random, 60) ? draw_ttl(worker) : 0;
			break;
		case DO_DELETE:
			op->expected = chance(random, 30) ? draw_version(worker, op->key) : ANY_VERSION;
			break;
		case DO_WAIT_FOR:
			op->expected = chance(random, 80) ? atomic_load(&worker->load->newest[op->key]) : 0;
			op->wait = draw_between(random, 0, 4) * MS;
			break;
		default:
			fill_lease_op(worker, op);
			break;
	}
	if (worker->txn != NULL && worker->txn->repeatable)
		op->wait = 0;
}

static bool
takes_many(StoreCall call)
{
	return call == DO_GET_MANY || call == DO_PUT_MANY || call == DO_PUT_BATCH;
}

/* Keys of the same store, each once */
static int
draw_many(StoreWorker *worker, StoreOp **ops)
{
	const int  *rule_of = worker->load->rule_of;
	int			count = 1;
	int			many = draw_between(&worker->random, 1, STORE_MANY);

	for (int tries = 0; count < many && tries < 30; tries++)
	{
		int			key = draw_between(&worker->random, 0, worker->load->keys - 1);
		bool		good = rule_of[key] == rule_of[ops[0]->key] && !worker->soft[key];

		for (int i = 0; i < count; i++)
			good = good && ops[i]->key != key;
		if (!good)
			continue;
		ops[count] = new_op(worker, ops[0]->call, key);
		fill_op(worker, ops[count]);
		ops[count]->ttl = ops[0]->ttl;
		count++;
	}
	return count;
}

/*
 * In a transaction it must be known what is its own and what is not: after a get_and_touch, or an
 * acquire of what may already be one's own, that key is left alone.
 */
static bool
allowed(StoreWorker *worker, StoreCall call, int key)
{
	if (worker->txn == NULL)
		return true;
	if (call == DO_EXPIRE)
		return false;
	if (call == DO_GET_AND_TOUCH || call == DO_ACQUIRE)
		worker->soft[key] = true;
	return true;
}

static StoreCall
draw_call_of(StoreWorker *worker, int key)
{
	if (of_leases(worker, key))
		return draw_call(&worker->random, lease_calls, lengthof(lease_calls));
	if (worker->load->alone && chance(&worker->random, 60))
		return draw_call(&worker->random, batch_calls, lengthof(batch_calls));
	return draw_call(&worker->random, entry_calls, lengthof(entry_calls));
}

static bool
one_call(StoreWorker *worker, int key, Accident accident)
{
	StoreOp		   *ops[STORE_MANY];
	StoreCall	call;
	int			count = 1;

	if (worker->txn != NULL && worker->soft[key])
		return true;
	do
		call = draw_call_of(worker, key);
	while (!allowed(worker, call, key));
	ops[0] = new_op(worker, call, key);
	fill_op(worker, ops[0]);
	if (takes_many(call))
		count = draw_many(worker, ops);
	return store_call(worker, ops, count, accident);
}

/* Every now and then other time limits: mostly none */
static void
set_limits(StoreWorker *worker)
{
	Random	   *random = &worker->random;
	int			statement = chance(random, 30) ? draw_between(random, 2, 20) : 0;
	int			lock = chance(random, 30) ? draw_between(random, 1, 5) : 0;

	if (!conn_do(&worker->conn, "SET statement_timeout = 0; SET lock_timeout = %d;"
				 " SET statement_timeout = %d", lock, statement ? statement : 50000))
		store_failure(worker, "SET", false);
}

/* End somebody's connection, perhaps one's own. */
static void
terminate(StoreWorker *worker)
{
	int			victim = draw_between(&worker->random, 0, worker->load->workers - 1);

	if (!conn_do(&worker->conn, "SELECT pg_terminate_backend(%d)",
				 atomic_load(&worker->load->pids[victim])))
		store_failure(worker, "pg_terminate_backend", false);
}

static Accident
draw_accident(StoreWorker *worker)
{
	if (chance(&worker->random, 4))
		return CANCEL;
	return worker->load->lose && draw_between(&worker->random, 0, 999) < 10 ? DROP : NO_ACCIDENT;
}

/* The calls since the savepoint are undone. */
static void
undo_part(StoreWorker *worker, long since)
{
	for (long i = since; i < worker->nops; i++)
		if (worker->ops[i]->part == worker->part)
			worker->ops[i]->undone = true;
}

/* The calls of a transaction; false where it cannot be committed any more. */
static bool
run_calls(StoreWorker *worker)
{
	Random	   *random = &worker->random;
	int			calls = draw_between(random, 1, 5);
	int			parts = 0;
	int			hot = draw_key(worker);

	for (int i = 0; i < calls; i++)
	{
		bool		savepoint = chance(random, 25);
		long		since = worker->nops;
		bool		good = true;
		int			inner = savepoint ? draw_between(random, 1, 3) : 1;

		if (savepoint && !conn_do(&worker->conn, "SAVEPOINT a"))
		{
			store_failure(worker, "SAVEPOINT", false);
			return false;
		}
		worker->part = savepoint ? ++parts : 0;
		for (int j = 0; j < inner && good; j++)
			good = one_call(worker, chance(random, 50) ? hot : draw_key(worker),
							draw_accident(worker));
		if (!savepoint && !good)
			return false;
		if (savepoint && (!good || chance(random, 40)))
			undo_part(worker, since);
		if (savepoint && !conn_do(&worker->conn, worker->nops > since &&
								  worker->ops[since]->undone ?
								  "ROLLBACK TO a; RELEASE a" : "RELEASE a"))
		{
			store_failure(worker, "savepoint", false);
			return false;
		}
		worker->part = 0;
	}
	return true;
}

/* Whether a transaction was committed whose COMMIT was not answered */
static Fate
look_up_fate(StoreWorker *worker, int64_t xid)
{
	for (int try = 0; try < 10000; try++)
	{
		char		text[24];
		const char *params[] = {text};
		PGresult   *result;
		bool		committed;
		bool		over;

		sprintf(text, "%lld", (long long) xid);
		result = conn_query(&worker->conn, "SELECT pg_xact_status($1)", 1, params);
		over = result != NULL && strcmp(PQgetvalue(result, 0, 0), "in progress") != 0;
		committed = over && strcmp(PQgetvalue(result, 0, 0), "committed") == 0;
		PQclear(result);
		if (over)
			return committed ? COMMITTED : ABORTED;
		if (store_lost(worker))
			store_reconnect(worker);
		usleep(1000);
	}
	die("a transaction has no end");
}

/* Commit, at times without waiting for the answer. */
void
store_commit(StoreWorker *worker, Txn *txn)
{
	PGresult   *result = PQexec(worker->conn.pg, "SELECT pg_current_xact_id_if_assigned()");
	int64_t		xid;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		PQclear(result);
		conn_do(&worker->conn, "ROLLBACK");
		txn->fate = ABORTED;
		return;
	}
	xid = result_number(result, 0, 0).v;
	PQclear(result);
	txn->end_inv = ticks();
	txn->fate = COMMITTED;
	if (draw_between(&worker->random, 0, 99) < 2)
	{
		PQsendQuery(worker->conn.pg, "COMMIT");
		usleep(draw_between(&worker->random, 0, 300));
		conn_close(&worker->conn);
		snprintf(worker->conn.state, sizeof(worker->conn.state), "08006");
	}
	else if (conn_do(&worker->conn, "COMMIT"))
		return;
	store_failure(worker, "COMMIT", false);
	txn->fate = ABORTED;
	if (!store_lost(worker))
		return;
	store_reconnect(worker);
	if (xid != 0)
		txn->fate = look_up_fate(worker, xid);
}

/* As a holder works: first make sure that the lease is still held, then write elsewhere. */
static bool
assert_first(StoreWorker *worker, int lease)
{
	StoreOp    *op = new_op(worker, DO_ASSERT, lease);

	op->expected = worker->tokens[lease];
	worker->soft[lease] = true;
	return store_call(worker, &op, 1, NO_ACCIDENT);
}

/* A transaction; "lease" is one that it asserts first, or -1. */
static void
one_txn(StoreWorker *worker, int lease)
{
	Txn		   *txn = allot(sizeof(Txn));
	bool		good;

	txn->repeatable = chance(&worker->random, 15);
	if (!conn_do(&worker->conn, "BEGIN ISOLATION LEVEL %s",
				 txn->repeatable ? "REPEATABLE READ" : "READ COMMITTED"))
	{
		store_failure(worker, "BEGIN", false);
		return;
	}
	worker->txn = txn;
	memset(worker->soft, 0, sizeof(worker->soft));
	good = (lease < 0 || assert_first(worker, lease)) && run_calls(worker);
	if (good && lease >= 0)
		usleep(draw_between(&worker->random, 0, 3000));
	if (good && chance(&worker->random, 75))
		store_commit(worker, txn);
	else
	{
		txn->end_inv = ticks();
		txn->fate = ABORTED;
		if (worker->conn.pg != NULL && !conn_do(&worker->conn, "ROLLBACK"))
			store_failure(worker, "ROLLBACK", false);
	}
	/* a connection that was lost may hold its locks a little longer */
	store_recover(worker);
	txn->end_comp = ticks();
	worker->part = 0;
	worker->txn = NULL;
}

/* Take a lease, and work under it for longer than it may last. */
static void
work_under_lease(StoreWorker *worker)
{
	int			key = draw_key(worker);
	StoreOp    *op;

	if (!of_leases(worker, key))
		return;
	op = new_op(worker, DO_ACQUIRE, key);
	fill_op(worker, op);
	if (store_call(worker, &op, 1, NO_ACCIDENT) && op->said == SAID_ACQUIRED)
		one_txn(worker, key);
}

/* No transaction must be left open, and no connection lost. */
void
store_recover(StoreWorker *worker)
{
	while (worker->conn.pg == NULL || PQstatus(worker->conn.pg) != CONNECTION_OK ||
		   PQtransactionStatus(worker->conn.pg) != PQTRANS_IDLE)
		if (worker->conn.pg == NULL || PQstatus(worker->conn.pg) != CONNECTION_OK)
			store_reconnect(worker);
		else
			conn_do(&worker->conn, "ROLLBACK");
}

void *
store_worker(void *arg)
{
	StoreWorker *worker = arg;

	store_reconnect(worker);
	while (worker->nops < worker->load->calls && complaints() == 0)
	{
		store_recover(worker);
		if (chance(&worker->random, 4))
			set_limits(worker);
		else if (worker->load->lose && draw_between(&worker->random, 0, 999) < 3)
			terminate(worker);
		else if (!worker->load->alone && chance(&worker->random, 25))
			one_txn(worker, -1);
		else if (!worker->load->alone && chance(&worker->random, 15))
			work_under_lease(worker);
		else
			one_call(worker, draw_key(worker), draw_accident(worker));
	}
	store_recover(worker);
	return NULL;
}

/* What is there in the end */
void
store_read_all(StoreWorker *worker)
{
	conn_close(&worker->conn);
	store_reconnect(worker);
	for (int key = 0; key < worker->load->keys; key++)
	{
		StoreOp		   *op = new_op(worker, DO_GET_ENTRY, key);

		store_call(worker, &op, 1, NO_ACCIDENT);
	}
}
