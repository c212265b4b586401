/*
 * request_load.c
 *		Sets up a request log, lets many connections work on it, and has the outcome checked.
 */
#include "request_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const RequestPhase phases[] = {
	{.name = "request_mixed", .keys = 10, .retain = 8, .lease = 12, .nap = 2000, .once = 35,
		.accidents = 3, .others = 5},
	/* leases end long before the work does */
	{.name = "request_zombies", .keys = 4, .retain = 4, .lease = 3, .nap = 5000, .accidents = 5,
		.others = 2},
	{.name = "request_once", .keys = 4, .uses = 12, .lease = 1, .nap = 300, .once = 100,
		.accidents = 8, .others = 3},
	/* outcomes are kept for ever: whatever happens, each key has one */
	{.name = "request_forever", .keys = 6, .uses = 15, .lease = 8, .nap = 2000, .once = 40,
		.accidents = 6, .others = 3},
	/* for a server that is killed now and then */
	{.name = "request_crash", .keys = 12, .uses = 12, .lease = 15, .nap = 2000, .once = 50,
		.accidents = 1, .others = 2, .crash = true},
};

static const RequestPhase *
find_phase(const char *name)
{
	for (int i = 0; i < lengthof(phases); i++)
		if (strcmp(phases[i].name, name) == 0)
			return &phases[i];
	die("unknown mode \"%s\"", name);
}

/* A key in use now; those of moving sets are left behind for good after a time. */
static int
pick_key(RequestWorker *worker)
{
	RequestLoad *load = worker->load;
	const RequestPhase *phase = load->phase;
	int			first = 0;

	if (phase->uses > 0)
		first = atomic_fetch_add(&load->uses, 1) / phase->uses;
	return first + draw_between(&worker->random, 0, phase->keys - 1);
}

static bool
key_is_once(const RequestPhase *phase, int key)
{
	return key * 37 % 100 < phase->once;
}

static void
nap(RequestWorker *worker)
{
	int			longest = worker->load->phase->nap;

	usleep(draw_between(&worker->random, 0, chance(&worker->random, 10) ? longest * 4 : longest));
}

/* After an outcome: the same again, and things that come too late. */
static void
come_late(RequestWorker *worker, RequestFact done)
{
	RequestFact again = {.kind = done.kind, .key = done.key, .request = done.request,
		.token = done.token, .value = done.value};

	if (chance(&worker->random, 40))
		request_send(worker, again);
	again.value = 0;
	again.kind = draw_between(&worker->random, CHECKPOINT, RELEASE);
	if (chance(&worker->random, 30))
		request_send(worker, again);
}

/* The handler of a request, which may be slow, give up, or forget about it. */
static void
handle(RequestWorker *worker, RequestFact call)
{
	RequestFact *fact = request_send(worker, call);
	RequestFact next = {.key = call.key, .request = call.request, .token = fact->new_token};
	int			lot;

	if (fact->unknown || fact->error[0] || (fact->state != STARTED && fact->state != RESUMED))
		return;
	for (;;)
	{
		nap(worker);
		lot = draw_between(&worker->random, 1, 100);
		next.kind = lot <= 25 ? CHECKPOINT : lot <= 75 ? COMPLETE : lot <= 83 ? FAIL : RELEASE;
		if (lot > 95)
			return;
		fact = request_send(worker, next);
		if (fact->unknown || (fact->error[0] && next.kind != CHECKPOINT))
			return;
		if (next.kind != CHECKPOINT)
			break;
	}
	if (next.kind != RELEASE || chance(&worker->random, 40))
		come_late(worker, *fact);
}

static void *
request_worker(void *arg)
{
	RequestWorker *worker = arg;
	RequestLoad *load = worker->load;
	const RequestPhase *phase = load->phase;

	if (!request_connect(worker))
		die("cannot connect: %s", worker->conn.message);
	while ((phase->crash ? !atomic_load(&load->stop) : worker->calls < load->calls) &&
		   complaints() == 0)
	{
		RequestFact call = {.key = pick_key(worker)};

		if (chance(&worker->random, phase->others))
			call.request = draw_between(&worker->random, 1, REQUESTS - 1);
		call.once = key_is_once(phase, call.key) != chance(&worker->random, 2);
		call.kind = call.once ? ONCE : BEGIN;
		call.indeterminate = chance(&worker->random, 10);
		if (worker->level == 0 && chance(&worker->random, 20))
			call.waits = draw_between(&worker->random, 1, 12);
		if (chance(&worker->random, 3))
			request_send(worker, (RequestFact) {.kind = EXPIRE});
		else if (call.once)
			request_send(worker, call);
		else
			handle(worker, call);
	}
	conn_close(&worker->conn);
	return NULL;
}

static void
create_effects(Conn *conn)
{
	conn_must(conn, "SET client_min_messages = warning;"
			  " DROP TABLE IF EXISTS request_load, request_effects, request_changes;"
			  " CREATE TABLE request_effects (op bigint, key text, token bigint);"
			  " DROP SEQUENCE IF EXISTS request_ops; CREATE SEQUENCE request_ops");
	conn_must(conn,
			  "CREATE OR REPLACE FUNCTION request_effect(jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ DECLARE o bigint := nextval('request_ops'); BEGIN"
			  " INSERT INTO request_effects VALUES (o, $1->>'key', NULL);"
			  " IF random() < 0.2 THEN PERFORM pg_sleep(random() * 0.004); END IF;"
			  " IF random() < 0.1 THEN RAISE SQLSTATE 'RS001'; END IF;"
			  " RETURN to_jsonb(o); END $$");
}

/* What happens to the records is written down while they are locked. */
static void
create_trigger(Conn *conn)
{
	conn_must(conn,
			  "CREATE TABLE request_changes (id bigserial, at timestamptz, xid xid8, key text,"
			  " op text, old_state text, new_state text, old_token bigint, new_token bigint,"
			  " old_lease timestamptz, new_lease timestamptz, finished timestamptz,"
			  " old_checkpoint jsonb, new_checkpoint jsonb, old_response jsonb,"
			  " new_response jsonb, old_hash bytea,"
			  " new_hash bytea, old_attempts int, new_attempts int)");
	conn_must(conn,
			  "CREATE OR REPLACE FUNCTION request_change() RETURNS trigger LANGUAGE plpgsql AS $$"
			  " BEGIN INSERT INTO request_changes VALUES (DEFAULT, clock_timestamp(),"
			  " pg_current_xact_id(), coalesce(NEW.key, OLD.key), TG_OP, OLD.state, NEW.state,"
			  " OLD.token, NEW.token, OLD.lease_until, NEW.lease_until,"
			  " coalesce(NEW.finished_at, OLD.finished_at), OLD.checkpoint, NEW.checkpoint,"
			  " OLD.response, NEW.response, OLD.request_hash, NEW.request_hash,"
			  " OLD.attempts, NEW.attempts); RETURN NULL; END $$;"
			  " CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON request_load"
			  " FOR EACH ROW EXECUTE FUNCTION request_change()");
}

static void
set_up(RequestLoad *load, Conn *conn)
{
	create_effects(conn);
	if (load->phase->retain > 0)
		conn_must(conn, "SELECT keep.create_request_log('request_load', retain => '%d ms')",
				  load->phase->retain);
	else
		conn_must(conn, "SELECT keep.create_request_log('request_load', retain => NULL)");
	create_trigger(conn);
}

/* Ask about a key until its request has an outcome, whichever request it is. */
static void
settle(RequestLoad *load, RequestWorker *worker, int key)
{
	int			guess = key_is_once(load->phase, key) ? 0 : REQUESTS;

	for (int attempt = 0; complaints() == 0; attempt++)
	{
		RequestFact call = {
			.kind = guess < REQUESTS ? ONCE : BEGIN, .key = key, .request = guess % REQUESTS,
			.once = guess < REQUESTS
		};
		RequestFact *fact = request_send(worker, call);
		bool		good = !fact->error[0];

		if (good && (call.once || fact->state == COMPLETED || fact->state == FAILED))
			return;
		if (strcmp(fact->error, "KP422") == 0)
			guess = (guess + 1) % (2 * REQUESTS);
		else if (good && (fact->state == STARTED || fact->state == RESUMED))
			request_send(worker, (RequestFact) {.kind = COMPLETE, .key = key,
						 .request = call.request, .token = fact->new_token});
		else
			usleep(1000);
		if (attempt > 5000)
			complain("key %d gets no outcome", key);
	}
}

/* Each key that was used is asked about again: nothing is lost. */
static void
settle_all(RequestLoad *load, RequestWorker *worker)
{
	int			keys = load->phase->keys + atomic_load(&load->uses) / load->phase->uses;

	for (int key = 0; key < keys && complaints() == 0; key++)
		settle(load, worker, key);
}

static void
run(RequestLoad *load, RequestWorker *workers, const char *stop)
{
	for (int i = 0; i < load->workers; i++)
	{
		workers[i].load = load;
		workers[i].number = i;
		workers[i].random.state = load->seed * 1000 + i;
		if (i * 100 / load->workers >= 100 - load->levels)
			workers[i].level = 1 + i % 2;
		if (pthread_create(&workers[i].thread, NULL, request_worker, &workers[i]) != 0)
			die("cannot start a thread");
	}
	if (load->phase->crash)
		wait_for_stop(&load->stop, stop);
	for (int i = 0; i < load->workers; i++)
		pthread_join(workers[i].thread, NULL);
}

static void
report(RequestLoad *load, RequestWorker *workers)
{
	long		calls = 0;
	long		states[REQUEST_STATES] = {0};
	long		once = 0;
	long		refused = 0;
	long		unknown = 0;

	for (int i = 0; i < load->workers; i++)
	{
		calls += workers[i].calls;
		for (int f = 0; f < workers[i].nfacts; f++)
		{
			RequestFact *fact = &workers[i].facts[f];

			states[fact->state]++;
			once += fact->kind == ONCE && !fact->error[0];
			refused += strncmp(fact->error, "KP4", 3) == 0;
			unknown += fact->unknown;
		}
	}
	printf("%s: %ld calls, %ld started, %ld resumed, %ld in flight, %ld replayed, %ld once,"
		   " %ld refused, %ld lost, %ld connections lost\n", load->phase->name, calls,
		   states[STARTED], states[RESUMED], states[IN_FLIGHT], states[COMPLETED] + states[FAILED],
		   once, refused, unknown, atomic_load(&load->lost));
}

int
request_main(const char *info, int argc, char **argv)
{
	RequestLoad *load = allot(sizeof(RequestLoad));
	RequestWorker *workers = allot(sizeof(RequestWorker) * REQUEST_WORKERS);
	const char *stop = NULL;
	Conn		conn;

	load->phase = find_phase(argv[1]);
	load->info = info;
	load->seed = setting(argc, argv, "seed", 1);
	load->workers = setting(argc, argv, "workers", 8);
	load->calls = setting(argc, argv, "calls", 500);
	load->levels = setting(argc, argv, "levels", 25);
	atomic_store(&load->next_op, FIRST_OP);
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "stop=", 5) == 0)
			stop = argv[i] + 5;
	if (load->workers < 2 || load->workers > REQUEST_WORKERS - 1 ||
		(load->phase->crash && stop == NULL))
		die("bad arguments");
	if (!conn_open(&conn, info, "request_load"))
		die("cannot connect: %s", conn.message);
	set_up(load, &conn);
	conn_close(&conn);

	run(load, workers, stop);
	if (!conn_open(&conn, info, "request_load"))
		die("cannot connect: %s", conn.message);
	wait_for_others(&conn);
	if (load->phase->uses > 0 && complaints() == 0)
	{
		RequestWorker *last = &workers[load->workers++];

		last->load = load;
		last->number = load->workers;
		if (!request_connect(last))
			die("cannot connect: %s", last->conn.message);
		settle_all(load, last);
		wait_for_others(&conn);
	}
	if (complaints() == 0)
		check_requests(load, workers, &conn);
	report(load, workers);
	conn_close(&conn);
	return complaints() > 0;
}
