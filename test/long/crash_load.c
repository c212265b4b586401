/*
 * crash_load.c
 *		Load on a store while its server crashes, or another takes its place.
 *
 *	crash_load conninfo=CONNINFO stop=FILE [workers=N] [lossy=1] [seed=N]
 *
 * Works until the file is there; connects anew whenever the connection is lost. Checked is what
 * docs/store.md and docs/table.md promise:
 *
 *	- what was acknowledged is there: an entry that one worker alone writes is as its last
 *	  acknowledged write has left it, or as the one has whose answer was lost
 *	- a counter is not below the increments that were acknowledged, nor above those and the ones
 *	  whose answers were lost; the same for compare_and_swap
 *	- the versions of a key rise, over deletion and lost connections; so do the tokens of a lease
 *	- a version from before opens nothing afterwards
 *
 * With lossy=1 the new server may lack the last commits (a standby that follows asynchronously, or
 * synchronous_commit = off). What is there then counts as the truth: entries are as some earlier
 * write has left them, whole, and versions go on above those that are there.
 */
#include "../stress/stress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STORE "crash_load"
#define MAX_LOADERS 32
#define COUNTERS 4
#define LEASES 3
#define OWN 5

/* A counter of many: put up by increment or by compare_and_swap. */
typedef struct Counter
{
	atomic_long acknowledged;
	atomic_long unknown;
} Counter;

/* An entry that one worker alone writes. */
typedef struct Own
{
	long		value;			/* as it was acknowledged; 0: there is none */
	int64_t		version;		/* the highest that was seen; with lossy: since the last look */
	int64_t		highest;		/* the highest that was ever seen */
	bool		pending;		/* an answer was lost */
	long		pending_value;
} Own;

typedef struct Loader
{
	pthread_t	thread;
	Conn		conn;
	Random		random;
	int			number;
	long		next;			/* value of its next write */
	Own			own[OWN];
	long		calls;
	long		lost;
} Loader;

static const char *info;
static const char *stop_file;
static bool lossy;
static atomic_bool stopping;
static Counter counters[COUNTERS];
static atomic_long fallen_back;	/* entries that lacked acknowledged writes: with lossy only */
static atomic_long drawn_again;	/* versions and tokens that were given out before: likewise */
static pthread_mutex_t lease_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t tokens[LEASES];	/* the highest that was given out, acknowledged */

static bool
gone(const Loader *w)
{
	return w->conn.state[0] != '\0' && (failed_with(&w->conn, "08006") ||
										strncmp(w->conn.state, "57P0", 4) == 0 ||
										PQstatus(w->conn.pg) != CONNECTION_OK);
}

/* A call has failed: may it, here? */
static void
check_failure(Loader *w, const char *what)
{
	if (!gone(w))
		complain("%s: %s %s", what, w->conn.state, w->conn.message);
}

static void
connect_anew(Loader *w)
{
	for (int try = 0; try < 2400; try++)
	{
		if (w->conn.pg != NULL)
			conn_close(&w->conn);
		if (conn_open(&w->conn, info, ""))
			return;
		usleep(25000);
	}
	die("the server does not come back: %s", w->conn.message);
}

/* Call a function on a key, and one more parameter that may be NULL. */
static PGresult *
call(Loader *w, const char *sql, const char *key, const char *value)
{
	const char *params[2] = {key, value};

	w->calls++;
	return conn_query(&w->conn, sql, value ? 2 : 1, params);
}

/* The version in a column must be above the highest that was seen of the key. */
static void
check_rising(Own *own, const char *key, const char *what, PGresult *result, int column)
{
	int64_t		version = result_number(result, 0, column).v;

	if (version <= own->version)
		complain("%s of \"%s\": version %lld after %lld", what, key, (long long) version,
				 (long long) own->version);
	if (version <= own->highest)
		atomic_fetch_add(&drawn_again, 1);
	else
		own->highest = version;
	own->version = version;
}

/*
 * See what an own entry is: after a lost connection, and at the end. A stale version must not
 * open it.
 */
static void
look_at(Loader *w, int i)
{
	Own		   *own = &w->own[i];
	char		key[32];
	long		value;
	int64_t		version;
	PGresult   *result;

	snprintf(key, sizeof(key), "own %d.%d", w->number, i);
	result = call(w, "SELECT value::text, version FROM keep.get_entry('" STORE "', $1)", key, NULL);
	if (result == NULL)
	{
		check_failure(w, "get_entry");
		return;
	}
	value = PQntuples(result) > 0 ? atol(PQgetvalue(result, 0, 0)) : 0;
	version = PQntuples(result) > 0 ? result_number(result, 0, 1).v : 0;
	PQclear(result);
	if (lossy)
	{
		/* deleted, or as it was at some time */
		if (labs(value) > w->next)
			complain("\"%s\" is %ld, which was never written", key, value);
		if (value != own->value && !(own->pending && value == own->pending_value))
			atomic_fetch_add(&fallen_back, 1);
		own->version = version;
	}
	else if (value != own->value && !(own->pending && value == own->pending_value))
		complain("\"%s\" is %ld, not %ld as acknowledged%s", key, value, own->value,
				 own->pending ? ", nor as the write whose answer was lost" : "");
	else if (value != 0 && (value == own->value ? version < own->version : version <= own->version))
		complain("\"%s\" has version %lld after %lld", key, (long long) version,
				 (long long) own->version);
	own->value = value;
	own->pending = false;
	if (version > own->version)
		own->version = version;
}

/* Write or delete an own entry. */
static void
write_own(Loader *w)
{
	int			i = draw_between(&w->random, 0, OWN - 1);
	Own		   *own = &w->own[i];
	bool		delete = own->value != 0 && chance(&w->random, 20);
	char		key[32];
	char		value[32];
	PGresult   *result;

	snprintf(key, sizeof(key), "own %d.%d", w->number, i);
	own->pending_value = delete ? 0 : ++w->next;
	snprintf(value, sizeof(value), "%ld", own->pending_value);
	if (delete)
		result = call(w, "SELECT applied, status FROM keep.delete('" STORE "', $1)", key, NULL);
	else if (chance(&w->random, 30))
		result = call(w, "SELECT true, key, version FROM keep.put_many('" STORE "',"
					  " ARRAY[$1], ARRAY[$2::jsonb], '1 hour')", key, value);
	else
		result = call(w, "SELECT applied, status, version FROM keep.put('" STORE "', $1,"
					  " $2::jsonb, '1 hour')", key, value);
	if (result == NULL)
	{
		own->pending = true;
		check_failure(w, "a write");
		return;
	}
	if (strcmp(PQgetvalue(result, 0, 0), "t") != 0)
		complain("\"%s\" was not written: %s", key, PQgetvalue(result, 0, 1));
	if (!delete)
		check_rising(own, key, "a write", result, 2);
	own->value = own->pending_value;
	PQclear(result);
}

/* Put up a counter that others put up as well. */
static void
count(Loader *w)
{
	int			i = draw_between(&w->random, 0, COUNTERS - 1);
	char		key[32];
	PGresult   *result;

	snprintf(key, sizeof(key), "counter %d", i);
	if (i % 2 == 0)
		result = call(w, "SELECT applied FROM keep.increment('" STORE "', $1)", key, NULL);
	else
		result = call(w, "SELECT s.applied FROM (SELECT coalesce(max(version), 0) AS version,"
					  " coalesce(max(value::text)::bigint, 0) AS value"
					  " FROM keep.get_entry('" STORE "', $1)) AS e,"
					  " keep.compare_and_swap('" STORE "', $1, e.version,"
					  " to_jsonb(e.value + 1)) AS s", key, NULL);
	if (result == NULL)
	{
		atomic_fetch_add(&counters[i].unknown, 1);
		check_failure(w, "counting");
		return;
	}
	if (strcmp(PQgetvalue(result, 0, 0), "t") == 0)
		atomic_fetch_add(&counters[i].acknowledged, 1);
	else if (i % 2 == 0)
		complain("increment was not applied");
	PQclear(result);
}

/* Take a lease, as a new owner each time, and mostly give it back. */
static void
take_lease(Loader *w)
{
	int			i = draw_between(&w->random, 0, LEASES - 1);
	char		key[32];
	char		owner[64];
	int64_t		before;
	int64_t		token;
	char		text[32];
	PGresult   *result;

	snprintf(key, sizeof(key), "lease %d", i);
	snprintf(owner, sizeof(owner), "%d/%ld", w->number, w->calls);
	pthread_mutex_lock(&lease_lock);
	before = tokens[i];
	pthread_mutex_unlock(&lease_lock);
	result = call(w, "SELECT acquired, token FROM keep.acquire('" STORE "', $1, $2, '20 ms')",
				  key, owner);
	if (result == NULL)
	{
		check_failure(w, "acquire");
		return;
	}
	if (strcmp(PQgetvalue(result, 0, 0), "t") == 0)
	{
		token = result_number(result, 0, 1).v;
		snprintf(text, sizeof(text), "%lld", (long long) token);
		if (token <= before && !lossy)
			complain("token %lld of \"%s\" was given out after %lld", (long long) token, key,
					 (long long) before);
		if (token <= before)
			atomic_fetch_add(&drawn_again, 1);
		pthread_mutex_lock(&lease_lock);
		if (token > tokens[i])
			tokens[i] = token;
		pthread_mutex_unlock(&lease_lock);
		PQclear(result);
		if (chance(&w->random, 30))
			return;
		result = call(w, "SELECT status FROM keep.release('" STORE "', $1, $2::bigint)", key, text);
		if (result == NULL)
			check_failure(w, "release");
	}
	PQclear(result);
}

/* The connection is lost: look at all own entries on a new one. */
static void
begin_again(Loader *w)
{
	w->lost++;
	do
	{
		connect_anew(w);
		for (int i = 0; i < OWN && !gone(w); i++)
			look_at(w, i);
	} while (gone(w));
}

static void *
load(void *arg)
{
	Loader	   *w = arg;

	connect_anew(w);
	while (!atomic_load(&stopping) && complaints() == 0)
	{
		int			lot = draw_between(&w->random, 1, 100);

		if (lot <= 50)
			write_own(w);
		else if (lot <= 80)
			count(w);
		else
			take_lease(w);
		if (gone(w))
			begin_again(w);
	}
	for (int i = 0; i < OWN; i++)
		look_at(w, i);
	if (gone(w))
		begin_again(w);
	conn_close(&w->conn);
	return NULL;
}

/* What the counters are in the end. */
static void
check_counters(void)
{
	Conn		conn;

	if (!conn_open(&conn, info, ""))
		die("cannot connect: %s", conn.message);
	for (int i = 0; i < COUNTERS; i++)
	{
		long		low = atomic_load(&counters[i].acknowledged);
		long		high = low + atomic_load(&counters[i].unknown);
		long		value = conn_number(&conn, "SELECT coalesce(max(value::text)::bigint, 0) FROM"
										" keep.get_entry('" STORE "', 'counter %d')", i);

		printf("counter %d: %ld acknowledged, %ld lost, is %ld\n", i, low, high - low, value);
		if (value > high || (value < low && !lossy))
			complain("counter %d is %ld, with %ld acknowledged and %ld answers lost", i, value,
					 low, high - low);
	}
	if (conn_number(&conn, "SELECT count(*) FROM " STORE " WHERE version > (SELECT last_value FROM "
					STORE "_version_seq)") != 0)
		complain("versions are above their sequence");
	conn_close(&conn);
}

int
main(int argc, char **argv)
{
	static Loader loaders[MAX_LOADERS];
	int			nloaders = setting(argc, argv, "workers", 4);
	Conn		conn;
	long		calls = 0;
	long		lost = 0;

	for (int i = 1; i < argc; i++)
	{
		if (strncmp(argv[i], "conninfo=", 9) == 0)
			info = argv[i] + 9;
		if (strncmp(argv[i], "stop=", 5) == 0)
			stop_file = argv[i] + 5;
	}
	if (info == NULL || stop_file == NULL || nloaders > MAX_LOADERS)
		die("usage: crash_load conninfo=CONNINFO stop=FILE [name=number...]");
	lossy = setting(argc, argv, "lossy", 0) != 0;
	if (!conn_open(&conn, info, ""))
		die("cannot connect: %s", conn.message);
	conn_must(&conn, "DROP TABLE IF EXISTS " STORE);
	conn_must(&conn, "SELECT keep.create_store('" STORE "')");
	conn_close(&conn);

	for (int i = 0; i < nloaders; i++)
	{
		loaders[i].number = i;
		loaders[i].random.state = setting(argc, argv, "seed", 1) * 1000 + i;
		if (pthread_create(&loaders[i].thread, NULL, load, &loaders[i]) != 0)
			die("cannot start a thread");
	}
	wait_for_stop(&stopping, stop_file);
	for (int i = 0; i < nloaders; i++)
	{
		pthread_join(loaders[i].thread, NULL);
		calls += loaders[i].calls;
		lost += loaders[i].lost;
	}
	check_counters();
	printf("store: %ld calls, %ld connections lost\n", calls, lost);
	if (lossy)
		printf("%ld entries had fallen back, %ld versions and tokens were given out again\n",
			   atomic_load(&fallen_back), atomic_load(&drawn_again));
	return complaints() > 0;
}
