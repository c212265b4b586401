/*
 * wait_driver.c
 *		Measures how long keep.wait_for() takes to see the commit of another session.
 *
 *		wait_driver ROUNDS
 *
 * In each round a few sessions wait, each for a key of its own. After a time at random, one more
 * writes to these keys, each in a transaction of its own. Printed are, for each, the milliseconds
 * from sending COMMIT to having read the answer of wait_for(), and those that a COMMIT alone took.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libpq-fe.h>

#define WAITERS		8
#define SHORTEST	200				/* ms that a session waits before the first write */
#define LONGEST		1000
#define BETWEEN		200				/* two writes: not in step with those who poll */

static PGconn *writer;
static PGconn *waiters[WAITERS];

static void
fail(const char *what, PGconn *conn)
{
	fprintf(stderr, "wait_driver: %s: %s\n", what, conn ? PQerrorMessage(conn) : "");
	exit(1);
}

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void
pause_ms(int ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

static PGconn *
connect_one(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		fail("connecting", conn);
	return conn;
}

static void
run(const char *sql)
{
	PGresult   *result = PQexec(writer, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(sql, writer);
	PQclear(result);
}

static void
start_waiting(int i, int round)
{
	char		sql[200];

	snprintf(sql, sizeof(sql), "SELECT key FROM keep.wait_for('bench.wait', '%d/%d')", round, i);
	if (!PQsendQuery(waiters[i], sql))
		fail("sending", waiters[i]);
	while (PQflush(waiters[i]) > 0)
		;
}

/* Reads the whole answer; the time when its row was there */
static double
finish_waiting(int i)
{
	PGconn	   *conn = waiters[i];
	struct pollfd fd = {PQsocket(conn), POLLIN, 0};
	PGresult   *result;
	double		seen;

	while (PQisBusy(conn))
	{
		if (poll(&fd, 1, -1) < 0 || !PQconsumeInput(conn))
			fail("reading", conn);
	}
	seen = now_ms();
	result = PQgetResult(conn);
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		fail("wait_for", conn);
	PQclear(result);
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
	return seen;
}

/*
 * One write and the end of the wait for it, which may come before the answer to COMMIT; then
 * another COMMIT, of the same work, that nobody waits for.
 */
static void
write_one(int i, int round)
{
	char		sql[200];
	PGresult   *result;
	double		sent;
	double		seen;
	double		committed;

	run("BEGIN");
	snprintf(sql, sizeof(sql), "SELECT status FROM keep.put('bench.wait', '%d/%d', '1')", round, i);
	run(sql);
	if (!PQconsumeInput(waiters[i]) || !PQisBusy(waiters[i]))
		fail("wait_for has ended before the commit", waiters[i]);
	sent = now_ms();
	if (!PQsendQuery(writer, "COMMIT"))
		fail("COMMIT", writer);
	seen = finish_waiting(i);
	result = PQgetResult(writer);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail("COMMIT", writer);
	PQclear(result);
	while ((result = PQgetResult(writer)) != NULL)
		PQclear(result);
	run("BEGIN");
	run("SELECT status FROM keep.put('bench.wait', 'alone', '1')");
	committed = now_ms();
	run("COMMIT");
	printf("%.3f %.3f\n", seen - sent, now_ms() - committed);
}

int
main(int argc, char **argv)
{
	int			rounds = argc > 1 ? atoi(argv[1]) : 0;

	if (rounds <= 0)
	{
		fprintf(stderr, "usage: wait_driver ROUNDS\n");
		return 2;
	}
	srandom(42);
	writer = connect_one();
	for (int i = 0; i < WAITERS; i++)
		waiters[i] = connect_one();
	for (int round = 1; round <= rounds; round++)
	{
		for (int i = 0; i < WAITERS; i++)
			start_waiting(i, round);
		pause_ms(SHORTEST + random() % (LONGEST - SHORTEST));
		for (int i = 0; i < WAITERS; i++)
		{
			write_one(i, round);
			pause_ms(random() % BETWEEN);
		}
	}
	return 0;
}
