/*
 * stress.h
 *		What all parts of the ledger's stress client share.
 *
 * Accounts and transfers are numbers here; their names are made from the
 * numbers, so that a name read back leads to its number again.
 */
#ifndef STRESS_H
#define STRESS_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))

#define MAX_ACCOUNTS 64
#define MAX_ITEMS 10000			/* in a batch */

/* A bigint that may be NULL. */
typedef struct Maybe
{
	bool		set;
	int64_t		v;
} Maybe;

#define NOTHING ((Maybe) {false, 0})
#define SOME(value) ((Maybe) {true, (value)})

typedef enum Status
{
	ABSENT, POSTED, PENDING, REJECTED, VOIDED, EXPIRED, MISMATCH, STATUSES
} Status;

/* In the order in which they are looked for. */
typedef enum Reason
{
	NO_REASON, NOT_POSTED, EXCEEDS_REMAINING, ACCOUNT_NOT_FOUND, UNIT_MISMATCH, ACCOUNT_FROZEN,
	INSUFFICIENT_FUNDS, LIMIT_EXCEEDED, CHAIN_FAILED, REASONS
} Reason;

typedef enum Kind
{
	TRANSFER, POST, VOID, REVERSE
} Kind;

/* What is wrong with a request on purpose. */
typedef enum Mistake
{
	NO_MISTAKE, NULL_ID, EMPTY_ID, LONG_ID, NULL_FROM, EMPTY_FROM, LONG_FROM, NULL_TO, EMPTY_TO,
	SAME_ACCOUNT,
	NULL_AMOUNT, ZERO_AMOUNT, NEGATIVE_AMOUNT, ZERO_HOLD, NEGATIVE_HOLD, EMPTY_CHAIN, LONG_CHAIN,
	UNEQUAL_ARRAYS, EMPTY_BATCH, BAD_REPORT, MISTAKES
} Mistake;

/* A request: a transfer, alone or in a batch, or what is done to one. */
typedef struct Item
{
	Kind		kind;
	Mistake		mistake;
	int			id;
	int			from;
	int			to;
	Maybe		amount;
	int			hold;			/* milliseconds, 0: none */
	int			chain;			/* 0: none */
	int			original;		/* of a reversal */
	bool		force;
	bool		metadata;
	bool		variant;		/* write the hold in another way */
} Item;

typedef struct Answer
{
	int			id;
	Status		status;
	Reason		reason;
	Maybe		amount;
	Maybe		from_balance;
	Maybe		to_balance;
	Maybe		expires;		/* microseconds since 1970 */
	bool		replayed;
	Maybe		created;
} Answer;

/* keep.account_balance */
typedef struct Balance
{
	int64_t		balance;
	int64_t		available;
	int64_t		debits_posted;
	int64_t		credits_posted;
	int64_t		debits_pending;
	int64_t		credits_pending;
	bool		frozen;
	int64_t		version;
} Balance;

/* How a batch is sent: to transfer_many, transfer_batch, or as many calls of transfer at once. */
typedef enum Way
{
	BY_ARRAYS, BY_JSON, BY_CALLS
} Way;

/* A connection. "state" is the SQLSTATE of the last call, empty where it went well. */
typedef struct Conn
{
	PGconn	   *pg;
	const char *info;
	char		ledger[64];
	char		state[6];
	char		message[400];
	const char *prepared[24];
	int			nprepared;
	char	   *text[8];		/* buffers for the arrays of a batch */
	size_t		room[8];
} Conn;

/* One line of statement() */
typedef struct Line
{
	int			id;
	int			other;
	int64_t		amount;
	Maybe		balance;
	int			reverses;		/* 0: none */
} Line;

typedef struct Random
{
	uint64_t	state;
} Random;

/* util.c */
extern _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern int	complaints(void);
extern void *allot(size_t size);
extern void *enlarge(void *old, size_t size);
extern uint64_t draw(Random *random);
extern int64_t draw_between(Random *random, int64_t low, int64_t high);
extern bool chance(Random *random, int percent);
extern void id_name(char *buffer, int id);
extern void account_name(char *buffer, int account);
extern int	name_number(const char *name);
extern Maybe time_number(const char *text);
extern const char *status_name(Status status);
extern const char *reason_name(Reason reason);
extern Status status_number(const char *name);
extern Reason reason_number(const char *name);
extern bool same(Maybe a, Maybe b);
extern const char *show(Maybe value);
extern const char *show_item(const Item *item);
extern const char *show_answer(const Answer *answer);
extern long setting(int argc, char **argv, const char *name, long standard);

#define NAME_ROOM 32

/* sql.c */
extern bool conn_open(Conn *conn, const char *info, const char *ledger);
extern void conn_close(Conn *conn);
extern bool failed_with(const Conn *conn, const char *state);
extern PGresult *conn_query(Conn *conn, const char *sql, int count, const char *const *params);
extern bool conn_do(Conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void conn_must(Conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern int64_t conn_number(Conn *conn, const char *format,
						   ...) __attribute__((format(printf, 2, 3)));
extern Maybe result_number(PGresult *result, int row, int column);
extern bool read_balance(PGresult *result, Balance *balance);
extern bool call_balance(Conn *conn, int account, Balance *balance);
extern bool call_open(Conn *conn, int account, const char *unit, Maybe min, Maybe max, int shards,
					  Balance *balance);
extern bool call_limits(Conn *conn, int account, Maybe min, Maybe max, Balance *balance);
extern bool call_freeze(Conn *conn, int account, bool frozen, Balance *balance);
extern int	call_statement(Conn *conn, int account, char *cursor, size_t room, int max,
						   Line *lines);
extern void check_verify(Conn *conn);

/* accident.c */
extern void wait_for_stop(atomic_bool *stop, const char *path);
extern void wait_for_others(Conn *conn);

/* call.c */
extern const char *mistake_state(Mistake mistake);
extern bool call_item(Conn *conn, const Item *item, Answer *answer);
extern int	call_batch(Conn *conn, const Item *items, int count, Way way, bool exceptions,
					   Answer *answers);

#endif							/* STRESS_H */
