/*
 * accident.c
 *		Calls whose answers are lost: the client goes away, or cancels; and
 *		waiting for the end of what has been started.
 */
#include "request.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* Microseconds since 1970, by the clock that the server goes by as well. */
int64_t
wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static PGresult *
last_result(Conn *conn)
{
	PGresult   *last = NULL;
	PGresult   *next;

	while ((next = PQgetResult(conn->pg)) != NULL)
	{
		PQclear(last);
		last = next;
	}
	return last;
}

static void
cancel(Conn *conn)
{
	PGcancel   *handle = PQgetCancel(conn->pg);
	char		error[256];

	if (handle != NULL)
		PQcancel(handle, error, sizeof(error));
	PQfreeCancel(handle);
}

/*
 * Run a query with an accident after so many microseconds. NULL where it
 * fails; after DROP that is certain, and the connection has to be opened anew.
 */
PGresult *
conn_accident(Conn *conn, const char *sql, int count, const char *const *params,
			  Accident accident, int delay)
{
	PGresult   *result;
	const char *state;

	conn->state[0] = '\0';
	if (!PQsendQueryParams(conn->pg, sql, count, NULL, params, NULL, NULL, 0))
		accident = DROP;
	else
		usleep(delay);
	if (accident == DROP)
	{
		conn_close(conn);
		snprintf(conn->state, sizeof(conn->state), "08006");
		snprintf(conn->message, sizeof(conn->message), "gone away");
		return NULL;
	}
	cancel(conn);
	result = last_result(conn);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	if (state == NULL || PQstatus(conn->pg) != CONNECTION_OK)
		state = "08006";
	snprintf(conn->state, sizeof(conn->state), "%s", state);
	snprintf(conn->message, sizeof(conn->message), "%s", PQerrorMessage(conn->pg));
	PQclear(result);
	return NULL;
}

/* Set *stop when the file is there whose name the caller has given. */
void
wait_for_stop(atomic_bool *stop, const char *path)
{
	for (int i = 0; i < 12000 && complaints() == 0; i++)
	{
		if (access(path, F_OK) == 0)
		{
			atomic_store(stop, true);
			return;
		}
		usleep(50000);
	}
	if (complaints() == 0)
		complain("nobody said when to stop");
	atomic_store(stop, true);
}

/* Calls whose clients have gone away may still be under way. */
void
wait_for_others(Conn *conn)
{
	for (int i = 0; i < 600; i++)
	{
		if (conn_number(conn, "SELECT count(*) FROM pg_stat_activity WHERE datname ="
						" current_database() AND pid <> pg_backend_pid() AND backend_type ="
						" 'client backend' AND state <> 'idle'") == 0)
			return;
		usleep(50000);
	}
	complain("a call of a client that has gone away does not come to an end");
}
