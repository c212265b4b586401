/*
 * ledger_driver.c
 *		Feeds batches of transfers to pg_keep and its rivals, over one connection, and times them.
 *
 * Both sides get binary parameters or binary COPY data from memory and answer in binary; only the
 * time from sending a call to having read its last row counts. See README.md.
 */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#define INT8OID		20
#define TEXTOID		25
#define ID_LENGTH	26
#define COPY_HEADER	19				/* signature, flags, length of the extension */
#define COPY_CHUNK	65536			/* see README.md */

typedef struct
{
	char	   *data;
	size_t		used;
	size_t		room;
} Buffer;

/* The arrays of one call */
typedef struct
{
	Buffer		ids;
	Buffer		from;
	Buffer		to;
	Buffer		amounts;
} Batch;

typedef double (*Call) (int n);

static PGconn *conn;
static char **accounts;
static int	accounts_count;
static int	batch_size = 8190;
static int	calls = 10;				/* in a turn */
static int	rounds = 7;
static bool exceptions;				/* report => 'exceptions' */
static int	seconds = 20;			/* of `alone` */

static Batch *batches;				/* of the next turn of a side that takes arrays */
static Buffer *copies;				/* of the next turn of COPY: the rows of our last turn */
static char last_id[ID_LENGTH + 1];	/* made */
static char last_fetched[ID_LENGTH + 1];
static uint64_t random_state = 42;
static uint64_t next_time;			/* of the next id */

/* ---- odds and ends ---- */

static void
fail(const char *what)
{
	fprintf(stderr, "ledger_driver: %s: %s\n", what, conn ? PQerrorMessage(conn) : "");
	exit(1);
}

static void *
allocate(size_t size)
{
	void	   *memory = calloc(1, size);

	if (memory == NULL)
		fail("out of memory");
	return memory;
}

static double
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* xorshift64*: the same pairs in each run */
static uint64_t
next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(2685821657736338717);
}

static void
append(Buffer *buffer, const void *data, size_t size)
{
	if (buffer->used + size > buffer->room)
	{
		buffer->room = (buffer->used + size) * 2;
		buffer->data = realloc(buffer->data, buffer->room);
		if (buffer->data == NULL)
			fail("out of memory");
	}
	memcpy(buffer->data + buffer->used, data, size);
	buffer->used += size;
}

static void
append_number(Buffer *buffer, uint64_t value, int bytes)
{
	unsigned char data[8];

	for (int i = 0; i < bytes; i++)
		data[i] = value >> (8 * (bytes - 1 - i));
	append(buffer, data, bytes);
}

static PGresult *
query(const char *text, ExecStatusType wanted)
{
	PGresult   *result = PQexec(conn, text);

	if (PQresultStatus(result) != wanted)
		fail(text);
	return result;
}

static void
command(const char *text)
{
	PQclear(query(text, PGRES_COMMAND_OK));
}

/* ---- what the calls take ---- */

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/*
 * An id as applications make them (ULID): ten digits of time, sixteen of chance. Each id is one
 * millisecond later than the one before, so they are in order, as they are when collected.
 */
static void
make_id(char *id)
{
	uint64_t	low = next_random();
	uint64_t	high = next_random();
	uint64_t	time = next_time++;

	for (int i = 9; i >= 0; i--, time >>= 5)
		id[i] = digits[time & 31];
	for (int i = 0; i < 8; i++)
	{
		id[10 + i] = digits[low >> (5 * i) & 31];
		id[18 + i] = digits[high >> (5 * i) & 31];
	}
	id[ID_LENGTH] = '\0';
	strcpy(last_id, id);
}

/* Begins with the time of day, or after the ids that an earlier run has left. */
static void
start_ids(void)
{
	PGresult   *result = query("SELECT greatest((SELECT max(id) FROM bench.ledger_transfers), "
							   "(SELECT max(id) FROM bench.by_hand_transfers))", PGRES_TUPLES_OK);
	const char *highest = PQgetvalue(result, 0, 0);
	uint64_t	left = 0;

	for (int i = 0; i < 10 && strlen(highest) == ID_LENGTH; i++)
		left = left << 5 | (strchr(digits, highest[i]) - digits);
	next_time = (uint64_t) time(NULL) * 1000;
	if (next_time <= left)
		next_time = left + 1;
	make_id(last_fetched);
	PQclear(result);
}

/* The head of a binary array of one dimension */
static void
start_array(Buffer *buffer, uint32_t type, int items)
{
	buffer->used = 0;
	append_number(buffer, 1, 4);
	append_number(buffer, 0, 4);
	append_number(buffer, type, 4);
	append_number(buffer, items, 4);
	append_number(buffer, 1, 4);
}

static void
append_text(Buffer *buffer, const char *text)
{
	size_t		length = strlen(text);

	append_number(buffer, length, 4);
	append(buffer, text, length);
}

static void
make_batch(Batch *batch, int items)
{
	char		id[ID_LENGTH + 1];

	start_array(&batch->ids, TEXTOID, items);
	start_array(&batch->from, TEXTOID, items);
	start_array(&batch->to, TEXTOID, items);
	start_array(&batch->amounts, INT8OID, items);
	for (int i = 0; i < items; i++)
	{
		int			from = next_random() % accounts_count;
		int			to = next_random() % (accounts_count - 1);

		if (to >= from)
			to++;
		make_id(id);
		append_text(&batch->ids, id);
		append_text(&batch->from, accounts[from]);
		append_text(&batch->to, accounts[to]);
		append_number(&batch->amounts, 8, 4);
		append_number(&batch->amounts, 1 + next_random() % 1000, 8);
	}
}

static void
make_turn(void)
{
	for (int i = 0; i < calls; i++)
		make_batch(&batches[i], batch_size);
}

/*
 * Takes the rows that our last turn has stored as data for COPY, batch_size rows a call: the rival
 * then stores the same rows, byte for byte. Each message is a row, the first with the header
 * before it, the last is the end mark.
 */
static void
fetch_copies(void)
{
	char		text[256];
	char	   *row;
	int			length;
	int			n = 0;

	snprintf(text, sizeof(text), "COPY (SELECT * FROM bench.ledger_transfers WHERE id > '%s' "
			 "ORDER BY id) TO STDOUT WITH (FORMAT binary)", last_fetched);
	PQclear(query(text, PGRES_COPY_OUT));
	for (; (length = PQgetCopyData(conn, &row, 0)) > 2; n++)
	{
		Buffer	   *copy = &copies[n / batch_size];

		if (n == calls * batch_size)
			fail("too many rows");
		if (n == 0)
			append(&copies[calls], row, COPY_HEADER);
		if (n % batch_size == 0)
		{
			copy->used = 0;
			append(copy, copies[calls].data, COPY_HEADER);
		}
		append(copy, n == 0 ? row + COPY_HEADER : row, n == 0 ? length - COPY_HEADER : length);
		if (n % batch_size == batch_size - 1)
			append_number(copy, 0xffff, 2);
		PQfreemem(row);
	}
	if (n != calls * batch_size)
		fail("fewer rows are stored than were sent");
	while (length == 2)
	{
		PQfreemem(row);
		length = PQgetCopyData(conn, &row, 0);
	}
	PQclear(PQgetResult(conn));
	PQclear(PQgetResult(conn));
	copies[calls].used = 0;
	strcpy(last_fetched, last_id);
}

/* ---- the sides: each call gives back how long it took ---- */

static PGresult *
run_prepared(const char *name, const Batch *batch)
{
	const char *values[] = {batch->ids.data, batch->from.data, batch->to.data, batch->amounts.data};
	int			lengths[] = {batch->ids.used, batch->from.used, batch->to.used,
	batch->amounts.used};
	int			formats[] = {1, 1, 1, 1};

	return PQexecPrepared(conn, name, 4, values, lengths, formats, 1);
}

static double
call_keep(int n)
{
	double		start = now_ms();
	PGresult   *result = run_prepared("keep", &batches[n]);
	int			posted = 0;
	double		end;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail("transfer_many");
	for (int i = 0; i < PQntuples(result); i++)
		posted += strcmp(PQgetvalue(result, i, 1), "posted") == 0;
	end = now_ms();
	if (posted != (exceptions ? 0 : batch_size) || PQntuples(result) != posted)
		fail("transfers were not posted");
	PQclear(result);
	return end - start;
}

static double
call_sql(int n)
{
	double		start = now_ms();
	PGresult   *result = run_prepared("sql", &batches[n]);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail("the rival's function");
	PQclear(result);
	return now_ms() - start;
}

static double
call_copy(int n)
{
	const Buffer *copy = &copies[n];
	double		start = now_ms();
	PGresult   *result = query("COPY bench.copied_transfers FROM STDIN WITH (FORMAT binary)",
							   PGRES_COPY_IN);

	PQclear(result);
	for (size_t sent = 0; sent < copy->used; sent += COPY_CHUNK)
	{
		size_t		left = copy->used - sent;

		if (PQputCopyData(conn, copy->data + sent, left < COPY_CHUNK ? left : COPY_CHUNK) != 1)
			fail("COPY");
	}
	if (PQputCopyEnd(conn, NULL) != 1)
		fail("COPY");
	result = PQgetResult(conn);
	if (PQresultStatus(result) != PGRES_COMMAND_OK || atoi(PQcmdTuples(result)) != batch_size)
		fail("COPY");
	PQclear(result);
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
	return now_ms() - start;
}

/* ---- turns ---- */

static double
wal_position(void)
{
	PGresult   *result = query("SELECT pg_current_wal_insert_lsn() - '0/0'", PGRES_TUPLES_OK);
	double		position = atof(PQgetvalue(result, 0, 0));

	PQclear(result);
	return position;
}

/* Sets rate (transfers a second) and wal (bytes a transfer). */
static void
turn(const char *side, Call call, bool counts, double *rate, double *wal)
{
	double		took = 0;
	double		start;

	if (call != call_copy)
		make_turn();
	start = wal_position();
	for (int i = 0; i < calls; i++)
	{
		double		ms = call(i);

		took += ms;
		if (counts)
			printf("call %s %.3f\n", side, ms);
	}
	*wal = (wal_position() - start) / calls / batch_size;
	*rate = calls * batch_size / took * 1e3;
}

/*
 * Turns of both in alternating order, after one that does not count. COPY takes the rows of our
 * turn one round before, so that either side can be first.
 */
static void
duel(Call rival)
{
	double		rate[2];
	double		wal[2];

	if (rival == call_copy)
	{
		turn("ours", call_keep, false, &rate[0], &wal[0]);
		fetch_copies();
	}
	for (int round = 0; round <= rounds; round++)
	{
		if (round % 2)
			turn("ours", call_keep, round > 0, &rate[0], &wal[0]);
		turn("rival", rival, round > 0, &rate[1], &wal[1]);
		if (round % 2 == 0)
			turn("ours", call_keep, round > 0, &rate[0], &wal[0]);
		if (rival == call_copy)
			fetch_copies();
		if (round > 0)
			printf("round %.0f %.0f %.1f %.1f 1\n", rate[0], rate[1], wal[0], wal[1]);
	}
}

/* Processor time of the server's process so far, in microseconds; 0 where it cannot be seen */
static double
processor_time(void)
{
	char		path[64];
	double		nanoseconds = 0;
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", PQbackendPID(conn));
	file = fopen(path, "r");
	if (file != NULL)
	{
		if (fscanf(file, "%lf", &nanoseconds) != 1)
			nanoseconds = 0;
		fclose(file);
	}
	return nanoseconds / 1e3;
}

/* One side for some time, to look at with perf. */
static void
alone(Call call)
{
	double		end = now_ms() + seconds * 1e3;
	double		start;
	double		rate;
	double		wal;

	if (call == call_copy)
	{
		turn("ours", call_keep, false, &rate, &wal);
		fetch_copies();
	}
	fprintf(stderr, "the server's process is %d\n", PQbackendPID(conn));
	while (now_ms() < end)
	{
		if (call == call_copy)
			command("TRUNCATE bench.copied_transfers");
		start = processor_time();
		turn("alone", call, false, &rate, &wal);
		printf("%.0f transfers a second; each: %.2f us of processor time, %.0f bytes of WAL\n",
			   rate, (processor_time() - start) / calls / batch_size, wal);
	}
}

/* ---- memory ---- */

static atomic_bool sampling;

/* Memory of the server's process that it shares with nobody, in kB */
static long
private_memory(void)
{
	char		path[64];
	char		line[256];
	long		kb = -1;
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/status", PQbackendPID(conn));
	file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "RssAnon: %ld", &kb) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return kb;
}

static void *
sample(void *highest)
{
	while (atomic_load(&sampling))
	{
		long		kb = private_memory();

		if (kb > *(long *) highest)
			*(long *) highest = kb;
		usleep(500);
	}
	return NULL;
}

/* By how many MB one call makes the server's process grow, at its highest */
static void
memory(Call call)
{
	int			items = batch_size;
	long		highest = 0;
	long		before;
	double		ms;
	pthread_t	thread;

	batch_size = 100;
	make_batch(&batches[0], batch_size);
	call(0);
	batch_size = items;
	make_batch(&batches[0], items);
	before = private_memory();
	if (before < 0)
		fail("cannot see the server's process in /proc");
	atomic_store(&sampling, true);
	if (pthread_create(&thread, NULL, sample, &highest) != 0)
		fail("no thread");
	ms = call(0);
	atomic_store(&sampling, false);
	pthread_join(thread, NULL);
	printf("memory %.1f %.0f\n", (highest - before) / 1024.0, items / ms * 1e3);
}

/* ---- what was asked for ---- */

static void
usage(void)
{
	fprintf(stderr, "usage: ledger_driver [options] duel copy|sql\n"
			"       ledger_driver [options] alone keep|copy|sql\n"
			"       ledger_driver [options] memory keep|sql\n"
			"options: -b items a call, -c calls a turn, -r rounds, -t seconds,\n"
			"         -e report exceptions only, -s SQL to begin with\n");
	exit(2);
}

static Call
side(const char *name)
{
	if (strcmp(name, "keep") == 0)
		return call_keep;
	if (strcmp(name, "sql") == 0)
		return call_sql;
	if (strcmp(name, "copy") == 0)
		return call_copy;
	usage();
	return NULL;
}

static void
prepare(void)
{
	static const Oid types[] = {1009, 1009, 1009, 1016};	/* text[], bigint[] */
	char		text[256];
	PGresult   *result;

	snprintf(text, sizeof(text),
			 "SELECT * FROM keep.transfer_many('bench.ledger', $1, $2, $3, $4%s)",
			 exceptions ? ", report => 'exceptions'" : "");
	result = PQprepare(conn, "keep", text, 4, types);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail(text);
	PQclear(result);
	result = PQprepare(conn, "sql", "SELECT bench.transfer_many($1, $2, $3, $4)", 4, types);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail("bench.transfer_many");
	PQclear(result);
	result = query("SELECT id FROM bench.ledger WHERE min_balance IS NOT NULL ORDER BY id",
				   PGRES_TUPLES_OK);
	accounts_count = PQntuples(result);
	if (accounts_count < 2)
		fail("there are no accounts");
	accounts = allocate(accounts_count * sizeof(char *));
	for (int i = 0; i < accounts_count; i++)
		accounts[i] = strdup(PQgetvalue(result, i, 0));
	PQclear(result);
	batches = allocate(calls * sizeof(Batch));
	copies = allocate((calls + 1) * sizeof(Buffer));	/* one more for the header */
	start_ids();
}

int
main(int argc, char **argv)
{
	const char *begin = NULL;
	int			option;

	while ((option = getopt(argc, argv, "b:c:r:t:es:")) != -1)
	{
		if (option == 'b')
			batch_size = atoi(optarg);
		else if (option == 'c')
			calls = atoi(optarg);
		else if (option == 'r')
			rounds = atoi(optarg);
		else if (option == 't')
			seconds = atoi(optarg);
		else if (option == 'e')
			exceptions = true;
		else if (option == 's')
			begin = optarg;
		else
			usage();
	}
	if (argc - optind != 2)
		usage();
	conn = PQconnectdb("");
	if (PQstatus(conn) != CONNECTION_OK)
		fail("no connection");
	if (begin != NULL)
		command(begin);
	prepare();
	if (strcmp(argv[optind], "duel") == 0)
		duel(side(argv[optind + 1]));
	else if (strcmp(argv[optind], "alone") == 0)
		alone(side(argv[optind + 1]));
	else if (strcmp(argv[optind], "memory") == 0)
		memory(side(argv[optind + 1]));
	else
		usage();
	PQfinish(conn);
	return 0;
}
