/*
 * append_load.c
 *		Many connections whose transactions read and append, at one level of isolation.
 *
 *	store_append	workers, txns (of each), level: 0 READ COMMITTED, 1 REPEATABLE READ,
 *					2 SERIALIZABLE; blind
 *
 * Under a key stands an object; each append adds a member whose name is a number of its own. READ
 * COMMITTED must keep out G0 and G1, REPEATABLE READ G-single as well, and G2 must be found there,
 * as nothing forbids it and many try; at SERIALIZABLE there must be none of them. With blind=1
 * there must be none at READ COMMITTED either: transactions then append without having read, or
 * read all by one call of get_many.
 */
#include "append.h"
#include "store_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 5					/* keys in use at one time */
#define MOST_APPENDS 40			/* then the slot gets another key */

typedef struct AppendLoad
{
	StoreLoad	store;
	int			level;
	bool		blind;
	long		txns;
	atomic_int	next_id;
	atomic_int	next_key;
	atomic_int	keys[SLOTS];
} AppendLoad;

typedef struct AppendWorker
{
	StoreWorker store;
	AppendLoad *load;
	AppendTxn **txns;
	int			count;
} AppendWorker;

static const char *const levels[] = {"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};

/* The numbers in {"3": 1, "5": 1} */
static void
read_members(AppendOp *op, const char *text)
{
	op->seen = allot(sizeof(int) * (strlen(text) / 6 + 1));
	for (const char *c = strchr(text, '"'); c != NULL; c = strchr(c, '"'))
	{
		char	   *end;

		op->seen[op->nseen++] = strtol(c + 1, &end, 10);
		if (strncmp(end, "\": 1", 4) != 0)
			die("not a value of ours: %s", text);
		c = end + 1;
	}
}

/* Run one call, at times with an accident. Those that lock rows can be in a deadlock. */
static PGresult *
call(AppendWorker *worker, bool locks, const char *sql, int count, const char *const *params)
{
	StoreWorker *store = &worker->store;
	PGresult   *result;

	if (chance(&store->random, 1))
		result = conn_accident(&store->conn, sql, count, params, CANCEL,
							   draw_between(&store->random, 0, 500));
	else
		result = conn_query(&store->conn, sql, count, params);
	if (result == NULL)
		store_failure(store, sql, locks);
	return result;
}

static AppendOp *
new_append_op(AppendTxn *txn, int key, int id)
{
	AppendOp   *op = &txn->ops[txn->nops++];

	*op = (AppendOp) {.append = id != 0, .key = key, .id = id};
	return op;
}

/* Read a key. Returns false where the call fails; the version, 0 for none, and the value. */
static bool
read_key(AppendWorker *worker, AppendTxn *txn, int key, int64_t *version, char *value, size_t room)
{
	char		name[24];
	const char *params[] = {name};
	PGresult   *result;
	AppendOp   *op;

	sprintf(name, "k%d", key);
	result = call(worker, false, "SELECT * FROM keep.get_entry('history_append', $1)", 1, params);
	if (result == NULL)
		return false;
	op = new_append_op(txn, key, 0);
	*version = 0;
	snprintf(value, room, "{}");
	if (PQntuples(result) > 0)
	{
		read_members(op, PQgetvalue(result, 0, 1));
		*version = result_number(result, 0, 2).v;
		snprintf(value, room, "%s", PQgetvalue(result, 0, 1));
	}
	PQclear(result);
	return true;
}

/* Read some keys by one call. */
static bool
read_many(AppendWorker *worker, AppendTxn *txn, const int *keys, int count)
{
	char		names[200] = "{";
	const char *params[] = {names};
	PGresult   *result;

	for (int i = 0; i < count; i++)
		sprintf(names + strlen(names), "%sk%d", i > 0 ? "," : "", keys[i]);
	strcat(names, "}");
	result = call(worker, false, "SELECT * FROM keep.get_many('history_append', $1)", 1, params);
	if (result == NULL)
		return false;
	for (int i = 0; i < count; i++)
	{
		AppendOp   *op = new_append_op(txn, keys[i], 0);

		for (int row = 0; row < PQntuples(result); row++)
			if (atoi(PQgetvalue(result, row, 0) + 1) == op->key)
				read_members(op, PQgetvalue(result, row, 1));
	}
	PQclear(result);
	return true;
}

/* What an append answered; it may not have applied. */
static void
take_append(AppendLoad *load, AppendTxn *txn, int key, int id, PGresult *result)
{
	if (PQgetvalue(result, 0, 0)[0] == 't')
	{
		AppendOp   *op = new_append_op(txn, key, id);

		read_members(op, PQgetvalue(result, 0, 2));
		op->place = op->nseen;
		if (op->nseen >= MOST_APPENDS)
			for (int slot = 0; slot < SLOTS; slot++)
			{
				int			old = key;

				if (atomic_load(&load->keys[slot]) == key)
					atomic_compare_exchange_strong(&load->keys[slot], &old,
												   atomic_fetch_add(&load->next_key, 1));
			}
	}
	PQclear(result);
}

/* Append without a look before */
static bool
append_blindly(AppendWorker *worker, AppendTxn *txn, int key)
{
	int			id = atomic_fetch_add(&worker->load->next_id, 1);
	char		name[24];
	char		text[40];
	const char *params[] = {name, text};
	PGresult   *result;

	sprintf(name, "k%d", key);
	if (chance(&worker->store.random, 50))
	{
		sprintf(text, "{%d}", id);
		result = call(worker, true, "SELECT * FROM keep.increment('history_append', $1, 1, $2)",
					  2, params);
	}
	else
	{
		sprintf(text, "{\"%d\": 1}", id);
		result = call(worker, true, "SELECT * FROM keep.merge('history_append', $1, $2)", 2,
					  params);
	}
	if (result == NULL)
		return false;
	take_append(worker->load, txn, key, id, result);
	return true;
}

/* Read, and append to what was read */
static bool
append_to_read(AppendWorker *worker, AppendTxn *txn, int key)
{
	int			id = atomic_fetch_add(&worker->load->next_id, 1);
	char		name[24];
	char		number[24];
	char		value[4000];
	size_t		length;
	const char *params[] = {name, number, value};
	int64_t		version;
	PGresult   *result;

	sprintf(name, "k%d", key);
	if (!read_key(worker, txn, key, &version, value, sizeof(value) - 40))
		return false;
	sprintf(number, "%lld", (long long) version);
	length = strlen(value);
	sprintf(value + length - 1, "%s\"%d\": 1}", length > 2 ? ", " : "", id);
	result = call(worker, true, "SELECT * FROM keep.compare_and_swap('history_append', $1, $2, $3)",
				  3, params);
	if (result == NULL)
		return false;
	take_append(worker->load, txn, key, id, result);
	return true;
}

static int
draw_slot(AppendWorker *worker)
{
	return atomic_load(&worker->load->keys[draw_between(&worker->store.random, 0, SLOTS - 1)]);
}

/* All keys in use, or what has been used before them, by one call */
static bool
read_all(AppendWorker *worker, AppendTxn *txn)
{
	int			keys[SLOTS];

	for (int slot = 0; slot < SLOTS; slot++)
		keys[slot] = atomic_load(&worker->load->keys[slot]);
	return read_many(worker, txn, keys, SLOTS);
}

static bool
run_blindly(AppendWorker *worker, AppendTxn *txn)
{
	int			calls = draw_between(&worker->store.random, 1, SLOTS);
	bool		good = true;

	if (chance(&worker->store.random, 50))
		return read_all(worker, txn);
	for (int i = 0; i < calls && good; i++)
		good = append_blindly(worker, txn, draw_slot(worker));
	return good;
}

static bool
run_ops(AppendWorker *worker, AppendTxn *txn)
{
	Random	   *random = &worker->store.random;
	int			calls = draw_between(random, 1, 5);
	bool		good = true;
	int64_t		version;
	char		value[4000];

	if (worker->load->blind)
		return run_blindly(worker, txn);
	for (int i = 0; i < calls && good; i++)
	{
		int			keys[2] = {draw_slot(worker), draw_slot(worker)};

		if (chance(random, 35))
			good = read_key(worker, txn, keys[0], &version, value, sizeof(value));
		else if (chance(random, 20) && keys[0] != keys[1])
			good = read_many(worker, txn, keys, 2);
		else if (chance(random, 60))
			good = append_blindly(worker, txn, keys[0]);
		else
			good = append_to_read(worker, txn, keys[0]);
	}
	return good;
}

static void
one_append_txn(AppendWorker *worker)
{
	StoreWorker *store = &worker->store;
	AppendTxn  *txn = allot(sizeof(AppendTxn));

	txn->txn.repeatable = worker->load->level > 0;
	txn->txn.fate = ABORTED;
	store->txn = &txn->txn;
	worker->txns[worker->count++] = txn;
	if (!conn_do(&store->conn, "BEGIN ISOLATION LEVEL %s", levels[worker->load->level]))
		store_failure(store, "BEGIN", false);
	else if (run_ops(worker, txn) && chance(&store->random, 95))
		store_commit(store, &txn->txn);
	else if (store->conn.pg != NULL && !conn_do(&store->conn, "ROLLBACK"))
		store_failure(store, "ROLLBACK", false);
	store->txn = NULL;
}

static void *
append_worker(void *arg)
{
	AppendWorker *worker = arg;

	store_reconnect(&worker->store);
	while (worker->count < worker->load->txns && complaints() == 0)
	{
		store_recover(&worker->store);
		one_append_txn(worker);
	}
	store_recover(&worker->store);
	conn_close(&worker->store.conn);
	return NULL;
}

static void
run(AppendLoad *load, AppendWorker *workers)
{
	Conn		conn;

	if (!conn_open(&conn, load->store.info, ""))
		die("cannot connect: %s", conn.message);
	conn_must(&conn, "DROP TABLE IF EXISTS history_append");
	conn_must(&conn, "SELECT keep.create_store('history_append')");
	for (int i = 0; i < load->store.workers; i++)
	{
		workers[i].load = load;
		workers[i].txns = allot(sizeof(AppendTxn *) * load->txns);
		workers[i].store.load = &load->store;
		workers[i].store.number = i;
		workers[i].store.random.state = load->store.seed * 1000 + i;
		if (pthread_create(&workers[i].store.thread, NULL, append_worker, &workers[i]) != 0)
			die("cannot start a thread");
	}
	for (int i = 0; i < load->store.workers; i++)
		pthread_join(workers[i].store.thread, NULL);
	conn_close(&conn);
}

/* What the level forbids must not be there; what it allows, others rely on. */
static void
judge(const AppendHistory *history, int level, bool blind)
{
	for (int anomaly = 0; anomaly < ANOMALIES; anomaly++)
	{
		bool		allowed = !blind &&
			((level < 2 && anomaly == G2) || (level < 1 && anomaly == G_SINGLE));

		printf("%s%s %ld", anomaly > 0 ? ", " : "", anomaly_name(anomaly),
			   history->found[anomaly]);
		if (history->found[anomaly] > 0 && !allowed)
			complain("%ld of %s at %s:%s", history->found[anomaly], anomaly_name(anomaly),
					 levels[level], history->first[anomaly]);
	}
	printf("\n");
	if (level < 2 && !blind && history->found[G2] == 0)
		complain("no G2 at %s: the check does not see it", levels[level]);
}

/* As of the calls on stores: a run that does little proves little. */
static void
judge_amounts(AppendLoad *load, const AppendHistory *history, long committed, long ops,
			  const StoreWorker *failures)
{
	long		count = history->count;

	at_least(load->txns * load->store.workers, count, "transactions");
	at_least(count / 3, committed, "transactions committed");
	at_least(count, ops, "calls answered");
	at_least(committed / 2, history->edges, "dependencies");
	at_least(count / 500, atomic_load(&load->store.lost), "connections lost");
	if (load->level > 0)
		at_least(count / 50, failures->conflicts, "conflicts");
}

int
append_main(const char *info, int argc, char **argv)
{
	AppendLoad *load = allot(sizeof(AppendLoad));
	AppendWorker *workers = allot(sizeof(AppendWorker) * STORE_WORKERS);
	AppendHistory *history = allot(sizeof(AppendHistory));
	long		committed = 0;
	StoreWorker all = {0};
	long		ops = 0;
	int64_t		start = ticks();

	load->store.info = info;
	load->store.seed = setting(argc, argv, "seed", 1);
	load->store.workers = setting(argc, argv, "workers", 8);
	load->txns = setting(argc, argv, "txns", 300);
	load->level = setting(argc, argv, "level", 2);
	load->blind = setting(argc, argv, "blind", 0);
	if (load->store.workers < 1 || load->store.workers > STORE_WORKERS || load->level < 0 ||
		load->level > 2 || load->txns < 1)
		die("bad arguments");
	atomic_store(&load->next_id, 1);
	for (int slot = 0; slot < SLOTS; slot++)
		atomic_store(&load->keys[slot], slot);
	atomic_store(&load->next_key, SLOTS);
	run(load, workers);

	history->txns = allot(sizeof(AppendTxn *) * load->store.workers * load->txns);
	for (int i = 0; i < load->store.workers; i++)
	{
		for (int t = 0; t < workers[i].count; t++)
		{
			history->txns[history->count++] = workers[i].txns[t];
			committed += workers[i].txns[t]->txn.fate == COMMITTED;
			ops += workers[i].txns[t]->nops;
		}
		store_add_failures(&all, &workers[i].store);
	}
	history->keys = atomic_load(&load->next_key);
	history->ids = atomic_load(&load->next_id);
	check_appends(history);
	printf("%s%s: %d transactions, %ld committed, %ld conflicts, %ld deadlocks, %ld cancelled, %ld"
		   " calls on %d keys, %ld connections lost, %ld dependencies; %.1f s\n",
		   levels[load->level], load->blind ? ", blindly" : "", history->count, committed,
		   all.conflicts, all.deadlocks, all.cancels, ops, history->keys,
		   atomic_load(&load->store.lost), history->edges, (ticks() - start) / 1e9);
	judge(history, load->level, load->blind);
	judge_amounts(load, history, committed, ops, &all);
	return complaints() > 0;
}
