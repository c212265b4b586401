/*
 * compare.c
 *		The tables at the end: against the model, and of two ledgers with each other.
 */
#include "modes.h"

#include <stdlib.h>
#include <string.h>

static const char transfers_query[] =
	"SELECT id, status, coalesce(reason, ''), from_account, to_account, amount, from_balance,"
	" to_balance,"
	" held, part, reverses, force, reversed, settled_from_balance, settled_to_balance, chain,"
	" metadata ->> 'n', (1000 * extract(epoch FROM hold))::bigint"
	" FROM %s_transfers";

static int
optional_name(PGresult *rows, int row, int column)
{
	return PQgetisnull(rows, row, column) ? 0 : name_number(PQgetvalue(rows, row, column));
}

/* NULL, or what is expected */
static bool
number_is(PGresult *rows, int row, int column, Maybe want)
{
	return same(result_number(rows, row, column), want);
}

static bool
compare_row(PGresult *rows, int row, Model *model)
{
	int			id = name_number(PQgetvalue(rows, row, 0));
	ModelTransfer *t = &model->transfers[id];
	char		chain[40] = "";
	bool		settled = t->settled;

	if (t->chain)
		snprintf(chain, sizeof(chain), "chain %d", t->chain);
	return status_number(PQgetvalue(rows, row, 1)) == t->status &&
		reason_number(PQgetvalue(rows, row, 2)) == t->reason &&
		name_number(PQgetvalue(rows, row, 3)) == t->from &&
			name_number(PQgetvalue(rows, row, 4)) == t->to &&
		number_is(rows, row, 5, t->amount) &&
		number_is(rows, row, 6, t->from_balance) && number_is(rows, row, 7, t->to_balance) &&
		(t->status == REJECTED || number_is(rows, row, 8, t->hold ? t->asked : NOTHING)) &&
		number_is(rows, row, 9, t->reversal ? t->asked : t->part) &&
		optional_name(rows, row, 10) == (t->reversal ? t->original : 0) &&
		(PQgetvalue(rows, row, 11)[0] == 't') == t->force &&
		number_is(rows, row, 12, t->reversed ? SOME(t->reversed) : NOTHING) &&
		(t->status == EXPIRED || (number_is(rows, row, 13, settled ? t->settled_from : NOTHING) &&
								  number_is(rows, row, 14, settled ? t->settled_to : NOTHING))) &&
		strcmp(PQgetvalue(rows, row, 15), chain) == 0 &&
		number_is(rows, row, 16, t->metadata ? SOME(id) : NOTHING) &&
		number_is(rows, row, 17, t->hold ? SOME(t->hold) : NOTHING);
}

static void
show_row(PGresult *rows, int row, Model *model)
{
	char		text[1000] = "";
	int			id = name_number(PQgetvalue(rows, row, 0));
	ModelTransfer *t = &model->transfers[id];

	for (int i = 1; i < PQnfields(rows); i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s=%s", PQfname(rows, i),
				 PQgetisnull(rows, row, i) ? "null" : PQgetvalue(rows, row, i));
	complain("row of #%d:%s\n  should be %s (%s) %d -> %d, amount %s, asked %s, balances %s %s,"
			 " settled %s %s,"
			 " part %s, reversed %lld, hold %d, chain %d", id, text, status_name(t->status),
			 reason_name(t->reason), t->from, t->to, show(t->amount), show(t->asked),
			 show(t->from_balance),
			 show(t->to_balance), show(t->settled_from), show(t->settled_to), show(t->part),
			 (long long) t->reversed, t->hold, t->chain);
}

static void
compare_transfers(Target *target, Model *model, int last_id)
{
	char		sql[1000];
	PGresult   *rows;
	int			known = 0;

	snprintf(sql, sizeof(sql), transfers_query, target->conn.ledger);
	rows = PQexec(target->conn.pg, sql);
	if (PQresultStatus(rows) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(target->conn.pg));
	for (int i = 0; i < PQntuples(rows); i++)
	{
		int			id = name_number(PQgetvalue(rows, i, 0));

		if (id < 1 || id >= last_id)
			complain("%s: a transfer \"%s\" that nobody made", target->label,
					 PQgetvalue(rows, i, 0));
		else if (!compare_row(rows, i, model))
			show_row(rows, i, model);
	}
	for (int i = 1; i < last_id; i++)
		known += model->transfers[i].status != ABSENT;
	if (known != PQntuples(rows))
		complain("%s: %d transfers instead of %d", target->label, PQntuples(rows), known);
	PQclear(rows);
}

/* The shares of a limit come to no more room than it leaves. */
static bool
shares_fit(Maybe shares, Maybe limit, int sign)
{
	return shares.set == limit.set && (!limit.set || (shares.v - limit.v) * sign >= 0);
}

static void
compare_accounts(Target *target, Model *model)
{
	for (int i = 0; i < MAX_ACCOUNTS; i++)
	{
		ModelAccount *a = &model->accounts[i];
		char		name[NAME_ROOM];
		const char *params[] = {name};
		char		sql[600];
		PGresult   *row;

		account_name(name, i);
		snprintf(sql, sizeof(sql),
				 "SELECT sum(debits_posted), sum(credits_posted), sum(debits_pending),"
				 " sum(credits_pending),"
				 " count(*), min(min_balance), max(max_balance), bool_and(frozen)::int,"
				 " count(DISTINCT (unit, min_balance, max_balance, frozen)),"
				 " sum(floor), sum(ceiling) FROM %s WHERE id = $1", target->conn.ledger);
		row = PQexecParams(target->conn.pg, sql, 1, NULL, params, NULL, NULL, 0);
		if (PQresultStatus(row) != PGRES_TUPLES_OK)
			die("%s", PQerrorMessage(target->conn.pg));
		if (result_number(row, 0, 4).v != (a->open ? a->shards : 0))
			complain("%s: account %d has %s rows", target->label, i, PQgetvalue(row, 0, 4));
		else if (a->open &&
				 (!number_is(row, 0, 0, SOME(a->debits_posted)) ||
				  !number_is(row, 0, 1, SOME(a->credits_posted)) ||
				  !number_is(row, 0, 2, SOME(a->debits_pending)) ||
				  !number_is(row, 0, 3, SOME(a->credits_pending)) ||
				  !number_is(row, 0, 5, a->min) || !number_is(row, 0, 6, a->max) ||
				  !number_is(row, 0, 7, SOME(a->frozen)) || !number_is(row, 0, 8, SOME(1)) ||
				  !shares_fit(result_number(row, 0, 9), a->shards > 1 ? a->min : NOTHING, 1) ||
				  !shares_fit(result_number(row, 0, 10), a->shards > 1 ? a->max : NOTHING, -1)))
			complain("%s: account %d: debits %s + %s, credits %s + %s, limits %s to %s (floors"
					 " %s, ceilings %s)\n"
					 "  should be %lld + %lld, %lld + %lld, %s to %s", target->label, i,
					 PQgetvalue(row, 0, 0), PQgetvalue(row, 0, 2), PQgetvalue(row, 0, 1),
					 PQgetvalue(row, 0, 3),
					 PQgetvalue(row, 0, 5), PQgetvalue(row, 0, 6), PQgetvalue(row, 0, 9),
					 PQgetvalue(row, 0, 10),
					 (long long) a->debits_posted, (long long) a->debits_pending,
					 (long long) a->credits_posted, (long long) a->credits_pending, show(a->min),
					 show(a->max));
		PQclear(row);
	}
}

/* A statement is a list of lines; of an account in shards, in an order of its own. */
static void
compare_statement(Target *target, Model *model, int account)
{
	ModelAccount *a = &model->accounts[account];
	char	   *seen = allot(model->room * 2);
	Line		lines[500];
	char		cursor[200] = "";
	int			done = 0;
	int			count;

	while ((count = call_statement(&target->conn, account, cursor, sizeof(cursor), lengthof(lines),
								   lines)) > 0)
	{
		for (int i = 0; i < count; i++)
		{
			Line	   *line = &model->lines[account][done];

			if (seen[lines[i].id]++)
				complain("%s: #%d is twice in the statement of %d", target->label, lines[i].id,
						 account);
			if (done++ >= a->lines)
				continue;
			if (a->shards == 1 && (line->id != lines[i].id || line->amount != lines[i].amount ||
								   !same(line->balance, lines[i].balance)))
				complain("%s: statement of %d, line %d: #%d, should be #%d", target->label, account,
						 done,
						 lines[i].id, line->id);
		}
	}
	if (count < 0 || done != a->lines)
		complain("%s: the statement of %d has %d lines instead of %d (%s)", target->label, account,
				 done,
				 a->lines, target->conn.state);
	for (int i = 0; i < a->lines; i++)
		if (!seen[model->lines[account][i].id])
			complain("%s: #%d is missing in the statement of %d", target->label,
					 model->lines[account][i].id,
					 account);
	free(seen);
}

/* All that is stored must be what the model says. */
void
compare_with_model(Target *target, Model *model, int last_id)
{
	compare_transfers(target, model, last_id);
	compare_accounts(target, model);
	if (conn_number(&target->conn, "SELECT (options ->> 'history')::boolean::int FROM keep.relation"
					" WHERE table_name = '%s'", target->conn.ledger) == 0)
		return;
	for (int i = 0; i < ACCOUNTS; i++)
		if (model->accounts[i].open)
			compare_statement(target, model, i);
}

/*
 * Both ledgers must have come to the same state, but for times and the choice
 * of shards. On that choice depends when a hold that is over is released, and so
 * how versions count; their order has been checked by the statements.
 */
void
compare_targets(Target *a, Target *b)
{
	static const char transfers[] =
		"id, status, reason, from_account, to_account, amount, from_balance, to_balance, hold,"
		" held, part,"
		" reverses, force, reversed, settled_from_balance, settled_to_balance, chain, metadata,"
		" from_shard IS NULL, to_shard IS NULL, expires_at IS NULL, settled_at IS NULL,"
		" from_version IS NULL, to_version IS NULL";
	static const char accounts[] =
		"id, shard, shards, unit, frozen, min_balance, max_balance, opened_limits, version,"
		" debits_posted,"
		" credits_posted, debits_pending, credits_pending, floor, ceiling";
	const char *one = a->conn.ledger;
	const char *other = b->conn.ledger;

	for (int turn = 0; turn < 2; turn++)
	{
		int64_t		odd = conn_number(&a->conn,
									  "SELECT count(*) FROM (SELECT %s FROM %s_transfers EXCEPT ALL"
									  " SELECT %s FROM %s_transfers) AS d", transfers, one,
									  transfers, other);

		if (odd != 0)
			complain("%lld transfers of %s are not in %s", (long long) odd, one, other);
		odd = conn_number(&a->conn,
						  "SELECT count(*) FROM (SELECT %s FROM %s WHERE shards = 1 EXCEPT ALL"
						  " SELECT %s FROM %s WHERE shards = 1) AS d", accounts, one, accounts,
						  other);
		if (odd != 0)
			complain("%lld accounts of %s are not in %s", (long long) odd, one, other);
		one = b->conn.ledger;
		other = a->conn.ledger;
	}
}
