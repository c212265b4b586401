/*
 * saga_load.c
 *		Sets up a saga log, lets many connections work on it, brings all sagas to
 *		an end, and has the outcome checked.
 */
#include "saga_load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const SagaPhase phases[] = {
	{.name = "saga_mixed", .sagas = 4, .uses = 36, .max_attempts = 2, .lease = 12, .nap = 2000,
		.back = 8, .deadlines = 20, .remote = 40, .accidents = 3},
	/* nothing but local steps, and compensations from all sides */
	{.name = "saga_local", .sagas = 2, .uses = 40, .max_attempts = 1, .lease = 5, .nap = 500,
		.back = 18, .deadlines = 30, .accidents = 4},
	/* leases end long before the work does */
	{.name = "saga_zombies", .sagas = 4, .uses = 40, .max_attempts = 1, .lease = 2, .nap = 4000,
		.back = 12, .deadlines = 10, .remote = 90, .accidents = 4},
	/* for a server that is killed now and then */
	{.name = "saga_crash", .sagas = 6, .uses = 36, .max_attempts = 1, .lease = 10, .nap = 2000,
		.back = 10, .deadlines = 20, .remote = 45, .accidents = 1, .crash = true},
};

static const SagaPhase *
find_phase(const char *name)
{
	for (int i = 0; i < lengthof(phases); i++)
		if (strcmp(phases[i].name, name) == 0)
			return &phases[i];
	die("unknown mode \"%s\"", name);
}

static void
nap(SagaWorker *worker)
{
	int			longest = worker->load->phase->nap;

	usleep(draw_between(&worker->random, 0, chance(&worker->random, 10) ? longest * 4 : longest));
}

static SagaFact *
last_fact(SagaWorker *worker)
{
	return &worker->facts[worker->nfacts - 1];
}

/* A step outside of the database: enter, work, leave; some never do, and some leave twice. */
static void
do_remote(SagaWorker *worker, SagaFact call)
{
	SagaFact	leave = {.kind = LEAVE_STEP, .saga = call.saga, .step = call.step};
	SagaFact   *fact;

	call.kind = ENTER_STEP;
	saga_send(worker, call);
	fact = last_fact(worker);
	if (fact->unknown || fact->error[0] || fact->status != T_RUN)
		return;
	leave.token = fact->new_token;
	leave.ok = chance(&worker->random, 80);
	nap(worker);
	if (chance(&worker->random, 12))
		return;
	saga_send(worker, leave);
	leave.value = last_fact(worker)->value;
	if (chance(&worker->random, 20))
		saga_send(worker, leave);
	leave.value = 0;
	if (chance(&worker->random, 5))
		saga_send(worker, leave);
}

/* A worker that does remote compensations. */
static void
undo_remote(SagaWorker *worker)
{
	SagaFact	finishes[8];
	int			count = saga_send(worker, (SagaFact) {.kind = CLAIM});

	if (count == 0 || last_fact(worker)->unknown || last_fact(worker)->error[0])
		return;
	for (int i = 0; i < count; i++)
	{
		const SagaFact *claimed = &worker->facts[worker->nfacts - count + i];

		finishes[i] = (SagaFact) {.kind = FINISH, .saga = claimed->saga, .step = claimed->step,
			.token = claimed->new_token, .ok = chance(&worker->random, 85)};
	}
	for (int i = 0; i < count; i++)
	{
		nap(worker);
		if (chance(&worker->random, 10))
			continue;
		saga_send(worker, finishes[i]);
		if (chance(&worker->random, 20))
			saga_send(worker, finishes[i]);
	}
}

static void
go_back(SagaWorker *worker, int saga)
{
	static const SagaKind ways[] = {
		COMPENSATE_SAGA, COMPENSATE_SAGA, RUN_COMPENSATIONS, RUN_COMPENSATIONS, RUN_DUE, RESUME
	};

	saga_send(worker, (SagaFact) {
		.kind = ways[draw_between(&worker->random, 0, lengthof(ways) - 1)], .saga = saga
	});
}

static void
work(SagaWorker *worker)
{
	SagaLoad   *load = worker->load;
	const SagaPhase *phase = load->phase;
	int			saga = atomic_fetch_add(&load->uses, 1) / phase->uses +
		draw_between(&worker->random, 0, phase->sagas - 1);
	SagaFact	call = {
		.saga = saga, .step = draw_between(&worker->random, 1, SAGA_STEPS),
		.other = chance(&worker->random, 2)
	};
	int			lot = draw_between(&worker->random, 1, 100);

	if (lot <= 12)
		saga_send(worker, (SagaFact) {.kind = BEGIN_SAGA, .saga = saga});
	else if (lot <= 12 + phase->back)
		go_back(worker, saga);
	else if (lot <= 14 + phase->back)
		saga_send(worker, (SagaFact) {.kind = COMPLETE_SAGA, .saga = saga});
	else if (lot <= 14 + phase->back + phase->remote / 4)
		undo_remote(worker);
	else if (step_is_remote(load, saga, call.step))
		do_remote(worker, call);
	else
	{
		call.kind = RUN_STEP;
		saga_send(worker, call);
	}
}

static void *
saga_worker(void *arg)
{
	SagaWorker *worker = arg;
	SagaLoad   *load = worker->load;

	if (!saga_connect(worker))
		die("cannot connect: %s", worker->conn.message);
	while ((load->phase->crash ? !atomic_load(&load->stop) : worker->calls < load->calls) &&
		   complaints() == 0)
		work(worker);
	conn_close(&worker->conn);
	return NULL;
}

static void
create_functions(Conn *conn)
{
	conn_must(conn, "SET client_min_messages = warning;"
			  " DROP TABLE IF EXISTS saga_load, saga_load_steps, saga_events, saga_calm;"
			  " CREATE TABLE saga_calm (calm boolean);"
			  " CREATE TABLE saga_events (id bigserial, at timestamptz DEFAULT clock_timestamp(),"
			  " xid xid8 DEFAULT pg_current_xact_id(), what text, saga text, step text,"
			  " old_status text, status text, old_token bigint, token bigint,"
			  " old_lease timestamptz, lease timestamptz, old_retry timestamptz,"
			  " retry timestamptz, old_attempts int, attempts int, compensation boolean,"
			  " result jsonb, other int)");
	conn_must(conn, "CREATE OR REPLACE FUNCTION saga_act(a jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ DECLARE i bigint; BEGIN INSERT INTO saga_events (what, saga, step)"
			  " VALUES ('d', a->>'saga', a->>'step') RETURNING id INTO i;"
			  " IF random() < 0.2 THEN PERFORM pg_sleep(random() * 0.004); END IF;"
			  " IF random() < 0.1 THEN RAISE SQLSTATE 'SG001'; END IF;"
			  " RETURN to_jsonb(i); END $$");
	/* it must get what the action got and gave */
	conn_must(conn,
			  "CREATE OR REPLACE FUNCTION saga_undo(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
			  " $$ DECLARE a jsonb := c->'args'; BEGIN"
			  " INSERT INTO saga_events (what, saga, step, result)"
			  " VALUES ('u', a->>'saga', a->>'step', c->'result');"
			  " IF random() < 0.2 THEN PERFORM pg_sleep(random() * 0.004); END IF;"
			  " IF random() < 0.2 AND NOT EXISTS (SELECT FROM saga_calm) THEN"
			  " RAISE SQLSTATE 'SG002'; END IF; RETURN NULL; END $$");
}

/* What happens to sagas and steps is written down while the saga is locked. */
static void
create_triggers(Conn *conn)
{
	conn_must(conn,
			  "CREATE OR REPLACE FUNCTION saga_change() RETURNS trigger LANGUAGE plpgsql AS $$"
			  " BEGIN INSERT INTO saga_events (what, saga, old_status, status, lease) VALUES ('s',"
			  " coalesce(NEW.saga, OLD.saga), OLD.state, NEW.state, NEW.deadline_at);"
			  " RETURN NULL; END $$;"
			  " CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON saga_load"
			  " FOR EACH ROW EXECUTE FUNCTION saga_change();"
			  " CREATE OR REPLACE FUNCTION step_change() RETURNS trigger LANGUAGE plpgsql AS $$"
			  " BEGIN INSERT INTO saga_events (what, saga, step, old_status, status, old_token,"
			  " token, old_lease, lease, old_retry, retry, old_attempts, attempts, compensation,"
			  " result, other)"
			  " VALUES ('p', coalesce(NEW.saga, OLD.saga), coalesce(NEW.step, OLD.step),"
			  " OLD.status, NEW.status, OLD.token, NEW.token, OLD.lease_until, NEW.lease_until,"
			  " OLD.retry_at, NEW.retry_at, OLD.attempts, NEW.attempts,"
			  " NEW.compensation IS NOT NULL, NEW.result, (NEW.args->>'other')::int); RETURN NULL;"
			  " END $$;"
			  " CREATE TRIGGER change AFTER INSERT OR UPDATE OR DELETE ON saga_load_steps"
			  " FOR EACH ROW EXECUTE FUNCTION step_change()");
}

static void
set_up(SagaLoad *load, Conn *conn)
{
	create_functions(conn);
	conn_must(conn, "SELECT keep.create_saga_log('saga_load', %d)", load->phase->max_attempts);
	conn_must(conn, "SELECT keep.allow_saga_function('saga_load', 'saga_act(jsonb)'),"
			  " keep.allow_saga_function('saga_load', 'saga_undo(jsonb)')");
	create_triggers(conn);
}

/* Bring each saga to its end, as those would do who come after a breakdown. */
static void
settle_all(SagaWorker *worker, Conn *conn)
{
	int			nsagas = worker->load->phase->sagas +
		atomic_load(&worker->load->uses) / worker->load->phase->uses;

	conn_must(conn, "INSERT INTO saga_calm VALUES (true)");
	for (int turn = 0; complaints() == 0; turn++)
	{
		if (conn_number(conn, "SELECT count(*) FROM saga_load WHERE state NOT IN ('completed',"
						" 'compensated')") == 0)
			return;
		for (int saga = 0; saga < nsagas && complaints() == 0; saga++)
		{
			char		name[NAME_ROOM];
			const char *params[] = {name};
			PGresult   *result;
			bool		open;

			id_name(name, saga);
			result = conn_query(conn, "SELECT FROM saga_load WHERE saga = $1 AND state NOT IN"
								" ('completed', 'compensated')", 1, params);
			open = result != NULL && PQntuples(result) > 0;
			PQclear(result);
			if (!open)
				continue;
			if (saga % 2 == 0)
				saga_send(worker, (SagaFact) {.kind = COMPLETE_SAGA, .saga = saga});
			saga_send(worker, (SagaFact) {.kind = RESUME, .saga = saga});
			go_back(worker, saga);
		}
		undo_remote(worker);
		if (turn > 3000)
			complain("there are sagas that do not come to an end");
		usleep(10000);
	}
}

static void
run(SagaLoad *load, SagaWorker *workers, const char *stop)
{
	for (int i = 0; i < load->workers; i++)
	{
		workers[i].load = load;
		workers[i].number = i;
		workers[i].random.state = load->seed * 1000 + i;
		if (i * 100 / load->workers >= 100 - load->levels)
			workers[i].level = 1 + i % 2;
		if (pthread_create(&workers[i].thread, NULL, saga_worker, &workers[i]) != 0)
			die("cannot start a thread");
	}
	if (load->phase->crash)
		wait_for_stop(&load->stop, stop);
	for (int i = 0; i < load->workers; i++)
		pthread_join(workers[i].thread, NULL);
}

static void
report(SagaLoad *load, SagaWorker *workers, Conn *conn)
{
	long		calls = 0;
	long		kinds[SAGA_KINDS] = {0};
	long		errors = 0;

	for (int i = 0; i < load->workers; i++)
	{
		calls += workers[i].calls;
		for (int f = 0; f < workers[i].nfacts; f++)
		{
			kinds[workers[i].facts[f].kind] += !workers[i].facts[f].error[0];
			errors += workers[i].facts[f].error[0] != '\0';
		}
	}
	printf("%s: %ld calls, %ld failed, %ld claimed, %ld connections lost; %ld sagas completed, %ld"
		   " compensated, %ld stuck in between; %ld actions and %ld compensations ran, %ld steps"
		   " refused\n", load->phase->name, calls, errors, kinds[CLAIM], atomic_load(&load->lost),
		   (long) conn_number(conn, "SELECT count(*) FROM saga_load WHERE state = 'completed'"),
		   (long) conn_number(conn, "SELECT count(*) FROM saga_load WHERE state = 'compensated'"),
		   (long) conn_number(conn, "SELECT count(*) FROM saga_events WHERE what = 's' AND status ="
							  " 'stuck' AND old_status <> 'stuck'"),
		   (long) conn_number(conn, "SELECT count(*) FROM saga_events WHERE what = 'd'"),
		   (long) conn_number(conn, "SELECT count(*) FROM saga_events WHERE what = 'u'"),
		   (long) conn_number(conn, "SELECT count(*) FROM saga_events WHERE what = 'p' AND status ="
							  " 'refused'"));
}

int
saga_main(const char *info, int argc, char **argv)
{
	SagaLoad   *load = allot(sizeof(SagaLoad));
	SagaWorker *workers = allot(sizeof(SagaWorker) * SAGA_WORKERS);
	SagaWorker *last;
	const char *stop = NULL;
	Conn		conn;

	load->phase = find_phase(argv[1]);
	load->info = info;
	load->seed = setting(argc, argv, "seed", 1);
	load->workers = setting(argc, argv, "workers", 8);
	load->calls = setting(argc, argv, "calls", 500);
	load->levels = setting(argc, argv, "levels", 25);
	atomic_store(&load->next_value, 1000000000);
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "stop=", 5) == 0)
			stop = argv[i] + 5;
	if (load->workers < 2 || load->workers > SAGA_WORKERS - 1 ||
		(load->phase->crash && stop == NULL))
		die("bad arguments");
	if (!conn_open(&conn, info, "saga_load"))
		die("cannot connect: %s", conn.message);
	set_up(load, &conn);
	conn_close(&conn);

	run(load, workers, stop);
	if (!conn_open(&conn, info, "saga_load"))
		die("cannot connect: %s", conn.message);
	wait_for_others(&conn);
	last = &workers[load->workers++];
	last->load = load;
	last->number = load->workers;
	if (!saga_connect(last))
		die("cannot connect: %s", last->conn.message);
	settle_all(last, &conn);
	wait_for_others(&conn);
	if (complaints() == 0)
		check_sagas(load, workers, &conn);
	report(load, workers, &conn);
	conn_close(&last->conn);
	conn_close(&conn);
	return complaints() > 0;
}
