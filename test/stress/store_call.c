/*
 * store_call.c
 *		One call of a function of stores or leases, and what became of it.
 */
#include "store_load.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What comes back */
typedef enum Shape
{
	VALUE, ENTRIES, OUTCOME, LEASE, NONE, COUNT
} Shape;

static const struct
{
	const char *sql;
	Shape		shape;
}			calls[STORE_CALLS] = {
	[DO_GET] = {"SELECT keep.get($1, $2)", VALUE},
	[DO_GET_ENTRY] = {"SELECT * FROM keep.get_entry($1, $2)", ENTRIES},
	[DO_GET_MANY] = {"SELECT * FROM keep.get_many($1, $2)", ENTRIES},
	[DO_GET_AND_TOUCH] = {"SELECT * FROM keep.get_and_touch($1, $2, $3)", ENTRIES},
	[DO_WAIT_FOR] = {"SELECT * FROM keep.wait_for($1, $2, $3, $4)", ENTRIES},
	[DO_PUT] = {"SELECT * FROM keep.put($1, $2, $3, $4)", OUTCOME},
	[DO_PUT_MANY] = {"SELECT * FROM keep.put_many($1, $2, $3, $4)", ENTRIES},
	[DO_PUT_BATCH] = {"SELECT * FROM keep.put_batch($1, $2, $3)", ENTRIES},
	[DO_PUT_IF_ABSENT] = {"SELECT * FROM keep.put_if_absent($1, $2, $3, $4)", OUTCOME},
	[DO_SWAP] = {"SELECT * FROM keep.compare_and_swap($1, $2, $3, $4, $5)", OUTCOME},
	[DO_INCREMENT] = {"SELECT * FROM keep.increment($1, $2, $3, '{n}', $4)", OUTCOME},
	[DO_MERGE] = {"SELECT * FROM keep.merge($1, $2, $3, $4)", OUTCOME},
	[DO_TOUCH] = {"SELECT * FROM keep.touch($1, $2, $3)", OUTCOME},
	[DO_PERSIST] = {"SELECT * FROM keep.persist($1, $2)", OUTCOME},
	[DO_DELETE] = {"SELECT * FROM keep.delete($1, $2, $3)", OUTCOME},
	[DO_ACQUIRE] = {"SELECT * FROM keep.acquire($1, $2, $3, $4, $5)", LEASE},
	[DO_RENEW] = {"SELECT * FROM keep.renew($1, $2, $3, $4)", OUTCOME},
	[DO_RELEASE] = {"SELECT * FROM keep.release($1, $2, $3)", OUTCOME},
	[DO_ASSERT] = {"SELECT keep.assert_lease($1, $2, $3)", NONE},
	[DO_EXPIRE] = {"SELECT keep.expire($1, 10)", COUNT},
};

static const char *const outcomes[SAIDS] = {
	[SAID_FRESH] = "fresh", [SAID_EXISTS] = "exists", [SAID_STALE] = "stale",
	[SAID_ABSENT] = "absent", [SAID_CREATED] = "created", [SAID_UPDATED] = "updated",
	[SAID_TOUCHED] = "touched", [SAID_PERSISTED] = "persisted", [SAID_DELETED] = "deleted",
	[SAID_RENEWED] = "renewed", [SAID_RELEASED] = "released",
};

/* Nanoseconds of a clock that nobody sets */
int64_t
ticks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

StoreOp *
new_op(StoreWorker *worker, StoreCall call, int key)
{
	StoreOp		   *op = allot(sizeof(StoreOp));

	op->call = call;
	op->key = key;
	op->worker = worker->number;
	op->part = worker->part;
	op->expected = ANY_VERSION;
	return op;
}

/* The parameters of a call, as text */
typedef struct Parameters
{
	const char *list[6];
	char		text[6][600];
	int			count;
} Parameters;

static void
add_text(Parameters *params, const char *text)
{
	if (text == NULL)
		params->list[params->count++] = NULL;
	else
	{
		snprintf(params->text[params->count], sizeof(params->text[0]), "%s", text);
		params->list[params->count] = params->text[params->count];
		params->count++;
	}
}

static void
add_span(Parameters *params, int64_t micros, bool or_zero)
{
	char		text[40];

	sprintf(text, "%lld us", (long long) micros);
	add_text(params, micros > 0 || or_zero ? text : NULL);
}

static void
add_version(Parameters *params, int64_t version)
{
	char		text[24];

	sprintf(text, "%lld", (long long) version);
	add_text(params, version == ANY_VERSION ? NULL : text);
}

static void
write_value(char *text, const StoreValue *value)
{
	int			used = 0;

	used += sprintf(text + used, "{");
	if (value->has & HAS_M)
		used += sprintf(text + used, "\"m\": %lld, ", (long long) value->m);
	if (value->has & DROPS_M)
		used += sprintf(text + used, "\"m\": null, ");
	if (value->has & HAS_N)
		used += sprintf(text + used, "\"n\": %lld, ", (long long) value->n);
	sprintf(text + used, "\"w\": %lld}", (long long) value->w);
}

static void
add_value(Parameters *params, const StoreValue *value)
{
	char		text[200];

	write_value(text, value);
	add_text(params, text);
}

/* The keys and the values of a call on many */
static void
add_many(Parameters *params, StoreOp **ops, int count)
{
	char		keys[600] = "{";
	char		values[600] = "{";
	char		batch[600] = "{";
	int			nkeys = 1;
	int			nvalues = 1;
	int			nbatch = 1;

	for (int i = 0; i < count; i++)
	{
		const char *comma = i > 0 ? ", " : "";
		char		value[200];

		write_value(value, &ops[i]->value);
		nkeys += sprintf(keys + nkeys, "%sk%d", comma, ops[i]->key);
		nbatch += sprintf(batch + nbatch, "%s\"k%d\": %s", comma, ops[i]->key, value);
		nvalues += sprintf(values + nvalues, "%s\"", comma);
		for (char *c = value; *c; c++)
			nvalues += sprintf(values + nvalues, *c == '"' ? "\\\"" : "%c", *c);
		nvalues += sprintf(values + nvalues, "\"");
	}
	strcat(keys, "}");
	strcat(values, "}");
	strcat(batch, "}");
	if (ops[0]->call == DO_PUT_BATCH)
		add_text(params, batch);
	else
		add_text(params, keys);
	if (ops[0]->call == DO_PUT_MANY)
		add_text(params, values);
}

static bool
has_many(StoreCall call)
{
	return call == DO_GET_MANY || call == DO_PUT_MANY || call == DO_PUT_BATCH;
}

static void
add_owner(Parameters *params, int worker)
{
	char		owner[24];

	sprintf(owner, "w%d", worker);
	add_text(params, owner);
}

static void
make_parameters(Parameters *params, StoreWorker *worker, StoreOp **ops, int count)
{
	const StoreOp *op = ops[0];
	char		key[24];

	memset(params, 0, sizeof(*params));
	add_text(params, store_rules[worker->load->rule_of[op->key]].name);
	sprintf(key, "k%d", op->key);
	if (has_many(op->call))
		add_many(params, ops, count);
	else if (op->call != DO_EXPIRE)
		add_text(params, key);

	switch (op->call)
	{
		case DO_WAIT_FOR:
		case DO_SWAP:
		case DO_RENEW:
		case DO_RELEASE:
		case DO_ASSERT:
		case DO_DELETE:
			add_version(params, op->expected);
			break;
		case DO_INCREMENT:
			add_version(params, op->by);
			break;
		case DO_ACQUIRE:
			add_owner(params, worker->number);
			break;
		default:
			break;
	}
	if (op->call == DO_PUT || op->call == DO_PUT_IF_ABSENT || op->call == DO_SWAP ||
		op->call == DO_MERGE)
		add_value(params, &op->value);
	if (op->call == DO_MERGE)
		add_version(params, op->expected);
	switch (op->call)
	{
		case DO_PUT:
		case DO_PUT_MANY:
		case DO_PUT_BATCH:
		case DO_PUT_IF_ABSENT:
		case DO_SWAP:
		case DO_INCREMENT:
		case DO_TOUCH:
		case DO_GET_AND_TOUCH:
		case DO_RENEW:
		case DO_ACQUIRE:
			add_span(params, op->ttl, false);
			break;
		default:
			break;
	}
	if (op->call == DO_ACQUIRE || op->call == DO_WAIT_FOR)
		add_span(params, op->wait, true);
}

/* {"m": 1, "n": 2, "w": 3} or {"owner": "w1"}, as jsonb prints it */
static StoreValue
read_value(const char *text)
{
	StoreValue	value = {0};
	const char *rest = text;
	int			used;

	if (sscanf(rest, "{\"owner\": \"w%d\"}%n", &value.owner, &used) == 1)
	{
		value.has = HAS_OWNER;
		return value;
	}
	while (*rest == '{' || (*rest == ',' && rest[1] == ' '))
	{
		char		name;
		long long	number;

		rest += *rest == '{' ? 1 : 2;
		if (sscanf(rest, "\"%c\": %lld%n", &name, &number, &used) != 2)
			break;
		rest += used;
		if (name == 'm')
			value.m = number;
		else if (name == 'n')
			value.n = number;
		else if (name == 'w')
			value.w = number;
		value.has |= name == 'm' ? HAS_M : name == 'n' ? HAS_N : name == 'w' ? HAS_W : 64;
	}
	if (strcmp(rest, "}") != 0 || (value.has & 64))
		complain("a value that nobody wrote: %s", text);
	return value;
}

static int64_t
read_time(PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return FOREVER;
	return time_number(PQgetvalue(result, row, column)).v;
}

static void
read_outcome(PGresult *result, StoreOp *op)
{
	const char *status = PQgetvalue(result, 0, 1);
	bool		applied = PQgetvalue(result, 0, 0)[0] == 't';

	for (op->said = SAID_FRESH; op->said < SAIDS; op->said++)
		if (outcomes[op->said] != NULL && strcmp(status, outcomes[op->said]) == 0)
			break;
	if (PQntuples(result) != 1 || op->said == SAIDS || applied != (op->said >= SAID_CREATED))
		die("%s: status \"%s\", applied \"%s\"", store_call_name(op->call), status,
			PQgetvalue(result, 0, 0));
	if (PQgetisnull(result, 0, 3) != (op->said == SAID_ABSENT))
		complain("%s: %s, and version %s", store_call_name(op->call), status,
				 PQgetvalue(result, 0, 3));
	if (op->said == SAID_ABSENT)
		return;
	op->answer = read_value(PQgetvalue(result, 0, 2));
	op->version = result_number(result, 0, 3).v;
	op->expires = read_time(result, 0, 4);
}

/* The row of an entry; what a put has created is told from what it has updated by its times. */
static void
read_entry(PGresult *result, int row, StoreOp *op)
{
	op->answer = read_value(PQgetvalue(result, row, 1));
	op->version = result_number(result, row, 2).v;
	op->created = read_time(result, row, 3);
	op->updated = read_time(result, row, 4);
	op->expires = read_time(result, row, 5);
	op->said = SAID_ENTRY;
	if (op->call == DO_PUT_MANY || op->call == DO_PUT_BATCH)
		op->said = op->created == op->updated ? SAID_CREATED : SAID_UPDATED;
}

static void
read_entries(PGresult *result, StoreOp **ops, int count)
{
	int			rows = 0;

	for (int i = 0; i < count; i++)
	{
		char		key[24];

		sprintf(key, "k%d", ops[i]->key);
		ops[i]->said = SAID_NOTHING;
		for (int row = 0; row < PQntuples(result); row++)
			if (strcmp(PQgetvalue(result, row, 0), key) == 0)
			{
				read_entry(result, row, ops[i]);
				rows++;
			}
	}
	if (rows != PQntuples(result) ||
		((ops[0]->call == DO_PUT_MANY || ops[0]->call == DO_PUT_BATCH) && rows != count))
		complain("%s: %d rows for %d keys", store_call_name(ops[0]->call), PQntuples(result),
				 count);
}

static void
read_lease(PGresult *result, StoreOp *op)
{
	bool		acquired = PQgetvalue(result, 0, 0)[0] == 't';

	if (acquired != !PQgetisnull(result, 0, 1) ||
		(PQgetisnull(result, 0, 2) && (acquired || !PQgetisnull(result, 0, 3))))
		complain("acquire: acquired %s, token %s, owner %s, until %s", PQgetvalue(result, 0, 0),
				 PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2), PQgetvalue(result, 0, 3));
	op->said = acquired ? SAID_ACQUIRED : PQgetisnull(result, 0, 2) ? SAID_LOCKED : SAID_TAKEN;
	op->version = result_number(result, 0, 1).v;
	op->expires = read_time(result, 0, 3);
	op->answer.has = HAS_OWNER;
	op->answer.owner = atoi(PQgetvalue(result, 0, 2) + (op->said != SAID_LOCKED));
}

static void
read_answer(PGresult *result, StoreOp **ops, int count)
{
	switch (calls[ops[0]->call].shape)
	{
		case VALUE:
			ops[0]->said = PQgetisnull(result, 0, 0) ? SAID_NOTHING : SAID_ENTRY;
			if (ops[0]->said == SAID_ENTRY)
				ops[0]->answer = read_value(PQgetvalue(result, 0, 0));
			break;
		case ENTRIES:
			read_entries(result, ops, count);
			break;
		case OUTCOME:
			read_outcome(result, ops[0]);
			break;
		case LEASE:
			read_lease(result, ops[0]);
			break;
		case NONE:
			ops[0]->said = SAID_PASSED;
			break;
		case COUNT:
			ops[0]->said = SAID_SWEPT;
			ops[0]->answer = (StoreValue) {.has = HAS_N, .n = result_number(result, 0, 0).v};
			break;
	}
	PQclear(result);
}

bool
store_lost(const StoreWorker *worker)
{
	return failed_with(&worker->conn, "08006") || failed_with(&worker->conn, "57P01");
}

/*
 * Can the call be in a deadlock? Not by itself, as each locks one row, or its rows in one order.
 * But where others have transactions of several calls it can, even if it wants but one row: in
 * the line for it, it stands before one who holds what it waits for.
 */
static bool
can_deadlock(const StoreWorker *worker, const StoreOp *op)
{
	return may_lock(op) && !worker->load->alone;
}

/*
 * Count why something failed; only what has been provoked may happen, and a deadlock only to what
 * can be in one.
 */
void
store_failure(StoreWorker *worker, const char *what, bool deadlocks)
{
	const char *state = worker->conn.state;

	worker->failures++;
	if (strcmp(state, "57014") == 0 && strstr(worker->conn.message, "statement timeout") != NULL)
		worker->timeouts++;
	else if (strcmp(state, "57014") == 0)
		worker->cancels++;
	else if (strcmp(state, "55P03") == 0)
		worker->lock_timeouts++;
	else if (strcmp(state, "40P01") == 0 && deadlocks)
		worker->deadlocks++;
	else if (strcmp(state, "40001") == 0 && worker->txn != NULL && worker->txn->repeatable)
		worker->conflicts++;
	else if (strcmp(state, "42P05") == 0)
		conn_close(&worker->conn);	/* a statement was prepared, and then the call cancelled */
	else if (!store_lost(worker))
		complain("%s: %s %s", what, state, worker->conn.message);
}

void
at_least(long least, long number, const char *what)
{
	if (number < least)
		complain("%s: %ld, which should have been at least %ld", what, number, least);
}

void
store_add_failures(StoreWorker *sum, const StoreWorker *worker)
{
	sum->cancels += worker->cancels;
	sum->timeouts += worker->timeouts;
	sum->lock_timeouts += worker->lock_timeouts;
	sum->conflicts += worker->conflicts;
	sum->deadlocks += worker->deadlocks;
}

/* Connect again; until then the old connection's last call may still happen. */
void
store_reconnect(StoreWorker *worker)
{
	int			old = atomic_load(&worker->load->pids[worker->number]);

	atomic_fetch_add(&worker->load->lost, old != 0);
	for (int try = 0; try < 60000; try++)
	{
		PGresult   *result = NULL;
		char		pid[24];
		const char *params[] = {pid};
		bool		gone = old == 0;

		sprintf(pid, "%d", old);
		if (worker->conn.pg == NULL || PQstatus(worker->conn.pg) != CONNECTION_OK)
		{
			conn_close(&worker->conn);
			if (!conn_open(&worker->conn, worker->load->info, ""))
			{
				usleep(10000);
				continue;
			}
		}
		if (!gone)
		{
			result = conn_query(&worker->conn, "SELECT FROM pg_stat_activity WHERE pid = $1", 1,
								params);
			gone = result != NULL && PQntuples(result) == 0;
		}
		PQclear(result);
		if (gone && PQstatus(worker->conn.pg) == CONNECTION_OK)
		{
			atomic_store(&worker->load->pids[worker->number], PQbackendPID(worker->conn.pg));
			return;
		}
		usleep(1000);
	}
	die("no new connection: %s", worker->conn.message);
}

/* Enter a call into the history. */
static void
record(StoreWorker *worker, StoreOp **ops, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (worker->nops == worker->room)
		{
			worker->room = worker->room ? worker->room * 2 : 1024;
			worker->ops = enlarge(worker->ops, sizeof(StoreOp *) * worker->room);
		}
		worker->ops[worker->nops++] = ops[i];
		if (!ops[i]->answered || ops[i]->version == 0)
			continue;
		worker->seen[ops[i]->key] = ops[i]->version;
		atomic_store(&worker->load->newest[ops[i]->key], ops[i]->version);
		if (ops[i]->said == SAID_ACQUIRED)
			worker->tokens[ops[i]->key] = ops[i]->version;
	}
}

/* The times of a call, and of a transaction around it */
static void
set_times(StoreWorker *worker, StoreOp **ops, int count, const StoreOp *first)
{
	Txn		   *txn = worker->txn;

	if (txn == NULL)
	{
		txn = allot(sizeof(Txn));
		*txn = (Txn) {.fate = COMMITTED, .single = true, .end_inv = first->inv,
					  .end_comp = first->comp};
	}
	else if (txn->snapshot_comp == 0)
	{
		txn->snapshot_inv = first->inv;
		txn->snapshot_comp = first->comp;
	}
	for (int i = 0; i < count; i++)
	{
		ops[i]->inv = first->inv;
		ops[i]->comp = first->comp;
		ops[i]->from = first->from;
		ops[i]->to = first->to;
		ops[i]->txn = txn;
	}
}

/*
 * Make a call, on as many keys as there are ops. Returns whether there was an answer. Without one
 * it has certainly not happened, unless it was alone and the connection was lost.
 */
bool
store_call(StoreWorker *worker, StoreOp **ops, int count, Accident accident)
{
	Parameters	params;
	PGresult   *result;
	const char *sql = calls[ops[0]->call].sql;
	StoreOp			times = {0};
	bool		refused;
	bool		unknown;

	make_parameters(&params, worker, ops, count);
	times.from = wall_clock();
	times.inv = ticks();
	if (accident == NO_ACCIDENT)
		result = conn_query(&worker->conn, sql, params.count, params.list);
	else
		result = conn_accident(&worker->conn, sql, params.count, params.list, accident,
							   draw_between(&worker->random, 0, 1500));
	refused = result == NULL && failed_with(&worker->conn, "KP412") && ops[0]->call == DO_ASSERT;
	unknown = result == NULL && store_lost(worker) && worker->txn == NULL;
	if (result == NULL && !refused)
		store_failure(worker, store_call_name(ops[0]->call), can_deadlock(worker, ops[0]));
	if (unknown)
		store_reconnect(worker);
	times.comp = ticks();
	times.to = wall_clock() + 1;
	set_times(worker, ops, count, &times);
	for (int i = 0; i < count; i++)
	{
		ops[i]->answered = result != NULL || refused;
		ops[i]->unknown = unknown;
	}
	if (refused)
		ops[0]->said = SAID_REFUSED;
	if (result != NULL)
		read_answer(result, ops, count);
	if (result != NULL && ops[0]->call == DO_WAIT_FOR && ops[0]->said == SAID_NOTHING &&
		times.comp - times.inv < ops[0]->wait * 1000)
		complain("wait_for gave up too early: %s", show_op(ops[0]));
	record(worker, ops, count);
	return result != NULL;
}
