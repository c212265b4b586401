/*
 * sql.c
 *		Connections and the calls that concern accounts.
 */
#include "stress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void
ignore_notice(void *arg, const PGresult *result)
{
	(void) arg;
	(void) result;
}

/* Remember why the last call failed. */
static void
note_failure(Conn *conn, PGresult *result)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;

	if (state == NULL || PQstatus(conn->pg) != CONNECTION_OK)
		state = "08006";
	snprintf(conn->state, sizeof(conn->state), "%s", state);
	snprintf(conn->message, sizeof(conn->message), "%s", PQerrorMessage(conn->pg));
}

/* Connect; false where the server is not there. */
bool
conn_open(Conn *conn, const char *info, const char *ledger)
{
	memset(conn, 0, sizeof(*conn));
	conn->info = info;
	snprintf(conn->ledger, sizeof(conn->ledger), "%s", ledger);
	conn->pg = PQconnectdb(info);
	if (PQstatus(conn->pg) != CONNECTION_OK)
	{
		note_failure(conn, NULL);
		return false;
	}
	PQsetNoticeReceiver(conn->pg, ignore_notice, NULL);
	return conn_do(conn, "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET statement_timeout ="
						 " '50s'");
}

void
conn_close(Conn *conn)
{
	PQfinish(conn->pg);
	conn->pg = NULL;
	conn->nprepared = 0;
	for (int i = 0; i < lengthof(conn->text); i++)
	{
		free(conn->text[i]);
		conn->text[i] = NULL;
		conn->room[i] = 0;
	}
}

bool
failed_with(const Conn *conn, const char *state)
{
	return strcmp(conn->state, state) == 0;
}

/* The name of a prepared statement for this constant string; prepared when first used. */
static bool
prepare(Conn *conn, const char *sql, char *name)
{
	PGresult   *result;
	bool		good;
	int			i;

	for (i = 0; i < conn->nprepared; i++)
		if (conn->prepared[i] == sql)
			break;
	sprintf(name, "s%d", i);
	if (i < conn->nprepared)
		return true;
	if (i == lengthof(conn->prepared))
		die("too many statements");

	result = PQprepare(conn->pg, name, sql, 0, NULL);
	good = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (good)
		conn->prepared[conn->nprepared++] = sql;
	else
		note_failure(conn, result);
	PQclear(result);
	return good;
}

/* Run a constant query; NULL where it fails. */
PGresult *
conn_query(Conn *conn, const char *sql, int count, const char *const *params)
{
	PGresult   *result;
	char		name[16];

	conn->state[0] = '\0';
	if (!prepare(conn, sql, name))
		return NULL;
	result = PQexecPrepared(conn->pg, name, count, params, NULL, NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	note_failure(conn, result);
	PQclear(result);
	return NULL;
}

static bool
run_text(Conn *conn, const char *format, va_list args, PGresult **answer)
{
	char		sql[2000];
	PGresult   *result;
	bool		good;

	if (vsnprintf(sql, sizeof(sql), format, args) >= (int) sizeof(sql))
		die("statement too long");
	conn->state[0] = '\0';
	result = PQexec(conn->pg, sql);
	good = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
	if (!good)
		note_failure(conn, result);
	if (answer != NULL && good)
		*answer = result;
	else
		PQclear(result);
	return good;
}

/* Run a statement; false where it fails. */
bool
conn_do(Conn *conn, const char *format, ...)
{
	va_list		args;
	bool		good;

	va_start(args, format);
	good = run_text(conn, format, args, NULL);
	va_end(args);
	return good;
}

/* Run a statement that must not fail. */
void
conn_must(Conn *conn, const char *format, ...)
{
	va_list		args;

	va_start(args, format);
	if (!run_text(conn, format, args, NULL))
		die("%s: %s(%s)", conn->state, conn->message, format);
	va_end(args);
}

/* The single number that a query yields. */
int64_t
conn_number(Conn *conn, const char *format, ...)
{
	va_list		args;
	PGresult   *result = NULL;
	int64_t		number;

	va_start(args, format);
	if (!run_text(conn, format, args, &result))
		die("%s: %s(%s)", conn->state, conn->message, format);
	va_end(args);
	if (PQntuples(result) != 1 || PQnfields(result) != 1)
		die("not a single value: %s", format);
	number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return number;
}

Maybe
result_number(PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return NOTHING;
	return SOME(strtoll(PQgetvalue(result, row, column), NULL, 10));
}

/* Take a row of keep.account_balance, and free it. */
bool
read_balance(PGresult *result, Balance *balance)
{
	if (result == NULL)
		return false;
	if (PQntuples(result) != 1 || PQnfields(result) != 10)
		die("keep.account_balance has another shape than expected");
	balance->balance = result_number(result, 0, 2).v;
	balance->available = result_number(result, 0, 3).v;
	balance->debits_posted = result_number(result, 0, 4).v;
	balance->credits_posted = result_number(result, 0, 5).v;
	balance->debits_pending = result_number(result, 0, 6).v;
	balance->credits_pending = result_number(result, 0, 7).v;
	balance->frozen = PQgetvalue(result, 0, 8)[0] == 't';
	balance->version = result_number(result, 0, 9).v;
	PQclear(result);
	return true;
}

bool
call_balance(Conn *conn, int account, Balance *balance)
{
	char		name[NAME_ROOM];
	const char *params[] = {conn->ledger, name};

	account_name(name, account);
	return read_balance(conn_query(conn, "SELECT * FROM keep.balance($1, $2)", 2, params), balance);
}

/* A bigint as a parameter */
static const char *
number_text(char *buffer, Maybe value)
{
	if (!value.set)
		return NULL;
	sprintf(buffer, "%lld", (long long) value.v);
	return buffer;
}

bool
call_open(Conn *conn, int account, const char *unit, Maybe min, Maybe max, int shards,
		  Balance *balance)
{
	char		name[NAME_ROOM];
	char		text[3][24];
	const char *params[] = {
		conn->ledger, name, unit, number_text(text[0], min), number_text(text[1], max),
		number_text(text[2], SOME(shards))
	};

	account_name(name, account);
	return read_balance(conn_query(conn, "SELECT * FROM keep.open_account($1, $2, $3, $4, $5, $6)",
								   lengthof(params), params), balance);
}

bool
call_limits(Conn *conn, int account, Maybe min, Maybe max, Balance *balance)
{
	char		name[NAME_ROOM];
	char		text[2][24];
	const char *params[] = {
		conn->ledger, name, number_text(text[0], min), number_text(text[1], max)
	};

	account_name(name, account);
	return read_balance(conn_query(conn, "SELECT * FROM keep.set_account_limits($1, $2, $3, $4)",
								   lengthof(params), params), balance);
}

bool
call_freeze(Conn *conn, int account, bool frozen, Balance *balance)
{
	char		name[NAME_ROOM];
	const char *params[] = {conn->ledger, name, frozen ? "t" : "f"};

	account_name(name, account);
	return read_balance(conn_query(conn, "SELECT * FROM keep.freeze_account($1, $2, $3)",
								   lengthof(params), params), balance);
}

/*
 * Up to "max" lines of an account's statement after the cursor (empty: from
 * the start), which moves on.  Returns how many, -1 where the call fails.
 */
int
call_statement(Conn *conn, int account, char *cursor, size_t room, int max, Line *lines)
{
	char		name[NAME_ROOM];
	char		number[24];
	const char *params[] = {conn->ledger, name, cursor[0] ? cursor : NULL, number};
	PGresult   *result;
	int			count;

	account_name(name, account);
	sprintf(number, "%d", max);
	result = conn_query(conn, "SELECT * FROM keep.statement($1, $2, $3, $4)", lengthof(params),
						params);
	if (result == NULL)
		return -1;
	count = PQntuples(result);
	if (PQnfields(result) != 8 || count > max)
		die("statement() answers with %d columns and %d rows", PQnfields(result), count);
	for (int i = 0; i < count; i++)
	{
		lines[i].id = name_number(PQgetvalue(result, i, 1));
		lines[i].other = name_number(PQgetvalue(result, i, 2));
		lines[i].amount = result_number(result, i, 3).v;
		lines[i].balance = result_number(result, i, 4);
		lines[i].reverses = PQgetisnull(result, i, 5) ? 0 : name_number(PQgetvalue(result, i, 5));
	}
	if (count > 0)
		snprintf(cursor, room, "%s", PQgetvalue(result, count - 1, 0));
	PQclear(result);
	return count;
}

/* verify_ledger() must find nothing. */
void
check_verify(Conn *conn)
{
	const char *params[] = {conn->ledger};
	PGresult   *result = conn_query(conn, "SELECT rule, ok, detail FROM keep.verify_ledger($1)", 1,
									params);

	if (result == NULL)
	{
		complain("verify_ledger: %s %s", conn->state, conn->message);
		return;
	}
	if (PQntuples(result) == 0)
		complain("verify_ledger looks at nothing");
	for (int i = 0; i < PQntuples(result); i++)
		if (PQgetvalue(result, i, 1)[0] != 't')
			complain("verify_ledger: %s: %s", PQgetvalue(result, i, 0), PQgetvalue(result, i, 2));
	PQclear(result);
}
