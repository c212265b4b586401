/*
 * util.c
 *		Small things: messages, random numbers, names and numbers.
 */
#include "stress.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SHOWN 25

static pthread_mutex_t message_lock = PTHREAD_MUTEX_INITIALIZER;
static int	complained = 0;

static const char *const statuses[STATUSES] = {
	"absent", "posted", "pending", "rejected", "voided", "expired", "mismatch"
};

static const char *const reasons[REASONS] = {
	"", "not_posted", "exceeds_remaining", "account_not_found", "unit_mismatch", "account_frozen",
	"insufficient_funds", "limit_exceeded", "chain_failed"
};

void
die(const char *format, ...)
{
	va_list		args;

	va_start(args, format);
	fputs("keep_stress: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

/* Say what is wrong and go on; the first few are shown. */
void
complain(const char *format, ...)
{
	va_list		args;

	pthread_mutex_lock(&message_lock);
	if (complained++ < MAX_SHOWN)
	{
		va_start(args, format);
		fputs("WRONG: ", stderr);
		vfprintf(stderr, format, args);
		fputc('\n', stderr);
		va_end(args);
	}
	pthread_mutex_unlock(&message_lock);
}

int
complaints(void)
{
	return complained;
}

void *
allot(size_t size)
{
	void	   *memory = calloc(1, size ? size : 1);

	if (memory == NULL)
		die("out of memory");
	return memory;
}

void *
enlarge(void *old, size_t size)
{
	void	   *memory = realloc(old, size);

	if (memory == NULL)
		die("out of memory");
	return memory;
}

/* splitmix64 */
uint64_t
draw(Random *random)
{
	uint64_t	x = (random->state += UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* A number from low to high, both included; low where the range is empty. */
int64_t
draw_between(Random *random, int64_t low, int64_t high)
{
	uint64_t	range = (uint64_t) high - (uint64_t) low;

	if (high <= low)
		return low;
	if (range == UINT64_MAX)
		return (int64_t) draw(random);
	return (int64_t) ((uint64_t) low + draw(random) % (range + 1));
}

bool
chance(Random *random, int percent)
{
	return (int) (draw(random) % 100) < percent;
}

/* Names that sort differently from their numbers, and by bytes differently than by language. */
static void
make_name(char *buffer, int number)
{
	static const char *const prefixes[] = {"m", "B", "\xc3\xa9", "~", "0", " ", "b\"\\", "{,}"};

	snprintf(buffer, NAME_ROOM, "%s%x-%d", prefixes[number % lengthof(prefixes)],
			 (unsigned int) (number * 2654435761u) >> 20, number);
}

void
id_name(char *buffer, int id)
{
	make_name(buffer, id);
}

void
account_name(char *buffer, int account)
{
	make_name(buffer, account);
}

/* The number that a name was made from. */
int
name_number(const char *name)
{
	const char *dash = strrchr(name, '-');

	return dash ? atoi(dash + 1) : -1;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t		era;
	int64_t		of_era;
	int64_t		of_year;

	year -= month <= 2;
	era = year / 400;
	of_era = year - era * 400;
	of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* Microseconds since 1970 of a timestamptz as printed in UTC. */
Maybe
time_number(const char *text)
{
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			used = 0;
	int64_t		micros = 0;
	int64_t		unit = 100000;

	if (sscanf(text, "%d-%d-%d %d:%d:%d%n", &year, &month, &day, &hour, &minute, &second,
			   &used) != 6)
		die("not a time: \"%s\"", text);
	if (text[used] == '.')
		for (used++; text[used] >= '0' && text[used] <= '9'; used++, unit /= 10)
			micros += (text[used] - '0') * unit;
	if (strcmp(text + used, "+00") != 0)
		die("not a time in UTC: \"%s\"", text);
	return SOME((((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) *
				1000000 + micros);
}

const char *
status_name(Status status)
{
	return statuses[status];
}

const char *
reason_name(Reason reason)
{
	return reason == NO_REASON ? "none" : reasons[reason];
}

Status
status_number(const char *name)
{
	for (int i = 1; i < STATUSES; i++)
		if (strcmp(name, statuses[i]) == 0)
			return i;
	die("unknown status \"%s\"", name);
}

Reason
reason_number(const char *name)
{
	for (int i = 0; i < REASONS; i++)
		if (strcmp(name, reasons[i]) == 0)
			return i;
	die("unknown reason \"%s\"", name);
}

bool
same(Maybe a, Maybe b)
{
	return a.set == b.set && (!a.set || a.v == b.v);
}

/* Some buffers in turn, so that a message can show several things. */
static char *
next_buffer(void)
{
	static __thread char buffers[8][400];
	static __thread int next = 0;

	next = (next + 1) % lengthof(buffers);
	return buffers[next];
}

const char *
show(Maybe value)
{
	char	   *buffer = next_buffer();

	if (!value.set)
		return "null";
	snprintf(buffer, 400, "%lld", (long long) value.v);
	return buffer;
}

const char *
show_item(const Item *item)
{
	static const char *const kinds[] = {"transfer", "post", "void", "reverse"};
	char	   *buffer = next_buffer();

	snprintf(buffer, 400, "%s #%d: %d -> %d, amount %s, hold %d ms, chain %d, original #%d%s,"
						  " mistake %d",
			 kinds[item->kind], item->id, item->from, item->to, show(item->amount), item->hold,
			 item->chain,
			 item->original, item->force ? " forced" : "", item->mistake);
	return buffer;
}

const char *
show_answer(const Answer *answer)
{
	char	   *buffer = next_buffer();

	snprintf(buffer, 400, "#%d %s (%s), amount %s, balances %s and %s, expires %s, %s, created %s",
			 answer->id, status_name(answer->status), reason_name(answer->reason),
			 show(answer->amount),
			 show(answer->from_balance), show(answer->to_balance), show(answer->expires),
			 answer->replayed ? "replayed" : "first", show(answer->created));
	return buffer;
}

/* The value of NAME=number on the command line. */
long
setting(int argc, char **argv, const char *name, long standard)
{
	size_t		length = strlen(name);

	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
			return strtol(argv[i] + length + 1, NULL, 10);
	return standard;
}
