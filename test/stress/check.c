/*
 * check.c
 *		What is stored, against itself: account by account in the order of its
 *		versions, and what the rules say of each step.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>

/* One transfer as an account sees it */
typedef struct Move
{
	int			id;
	int			shard;
	int64_t		version;
	int64_t		amount;			/* signed */
	Maybe		balance;		/* that the transfer shows */
} Move;

static void
read_row(PGresult *rows, int i, Row *row)
{
	row->status = status_number(PQgetvalue(rows, i, 1));
	row->reason = PQgetisnull(rows, i, 2) ? NO_REASON : reason_number(PQgetvalue(rows, i, 2));
	row->from = name_number(PQgetvalue(rows, i, 3));
	row->to = name_number(PQgetvalue(rows, i, 4));
	row->from_shard = result_number(rows, i, 5).v;
	row->to_shard = result_number(rows, i, 6).v;
	row->amount = result_number(rows, i, 7);
	row->from_balance = result_number(rows, i, 8);
	row->to_balance = result_number(rows, i, 9);
	row->settled_from = result_number(rows, i, 10);
	row->settled_to = result_number(rows, i, 11);
	row->from_version = result_number(rows, i, 12);
	row->to_version = result_number(rows, i, 13);
	row->held = result_number(rows, i, 14);
	row->part = result_number(rows, i, 15);
	row->reversed = result_number(rows, i, 16);
	row->created = time_number(PQgetvalue(rows, i, 17));
	row->hold = result_number(rows, i, 18);
	row->reverses = PQgetisnull(rows, i, 19) ? 0 : name_number(PQgetvalue(rows, i, 19));
	row->chain = PQgetisnull(rows, i, 20) ? 0 : 1;
	row->force = PQgetvalue(rows, i, 21)[0] == 't';
	row->metadata = result_number(rows, i, 22);
}

static void
read_rows(Check *check)
{
	char		sql[1000];
	PGresult   *rows;

	check->nrows = atomic_load(&check->load->next_id);
	check->rows = allot(sizeof(Row) * check->nrows);
	for (int i = 0; i < check->nrows; i++)
		check->rows[i].known = INT64_MAX;
	snprintf(sql, sizeof(sql),
			 "SELECT id, status, reason, from_account, to_account, from_shard, to_shard, amount,"
			 " from_balance,"
			 " to_balance, settled_from_balance, settled_to_balance, from_version, to_version,"
			 " held, part,"
			 " reversed, created_at, (1000 * extract(epoch FROM hold))::bigint, reverses, chain,"
			 " force,"
			 " metadata ->> 'n' FROM %s_transfers", check->load->ledger);
	rows = PQexec(check->conn.pg, sql);
	if (PQresultStatus(rows) != PGRES_TUPLES_OK)
		die("%s", PQerrorMessage(check->conn.pg));
	for (int i = 0; i < PQntuples(rows); i++)
	{
		int			id = name_number(PQgetvalue(rows, i, 0));

		if (id < 1 || id >= check->nrows)
			complain("nobody asked for \"%s\"", PQgetvalue(rows, i, 0));
		else
			read_row(rows, i, &check->rows[id]);
	}
	PQclear(rows);
}

/* What each row must be by itself and beside its original. */
static void
check_rows(Check *check)
{
	int64_t    *reversed = allot(sizeof(int64_t) * check->nrows);

	for (int id = 1; id < check->nrows; id++)
	{
		Row		   *row = &check->rows[id];
		Row		   *original = &check->rows[row->reverses];

		if (row->status == ABSENT)
			continue;
		if (row->hold.set && row->status != REJECTED)
			check->had_holds[row->from] = check->had_holds[row->to] = true;
		if (row->force && row->status == POSTED)
			check->forced[row->from] = true;
		if (row->status == POSTED &&
			(row->from == UNOPENED || row->to == UNOPENED ||
			 (row->from == OTHER_UNIT) != (row->to == OTHER_UNIT)))
			complain("#%d was posted between accounts that do not fit", id);
		if (row->reverses && row->status == POSTED)
		{
			reversed[row->reverses] += row->amount.v;
			if (original->status != POSTED || original->from != row->to ||
				original->to != row->from)
				complain("#%d does not reverse #%d", id, row->reverses);
		}
		if (row->reverses && row->reason == NOT_POSTED && original->status == POSTED &&
			!original->hold.set)
			complain("#%d was rejected as not_posted, but #%d was posted at once", id,
					 row->reverses);
		if ((row->status == REJECTED) != (row->reason != NO_REASON))
			complain("#%d is %s with reason %s", id, status_name(row->status),
					 reason_name(row->reason));
		if (row->part.set && !row->reverses &&
			(row->amount.v != row->part.v || row->held.v < row->part.v))
			complain("#%d was posted with more than it held", id);
		if (row->status == POSTED && check->load->phase->history != row->from_version.set)
			complain("#%d was posted, but has no version", id);
		if (row->status != POSTED && row->from_version.set)
			complain("#%d was not posted, but has a version", id);
	}
	for (int id = 1; id < check->nrows; id++)
	{
		Row		   *row = &check->rows[id];

		if (reversed[id] > row->amount.v || row->reversed.set != (reversed[id] > 0) ||
			row->reversed.v != reversed[id])
			complain("#%d of %s: reversed %lld, but says %s", id, show(row->amount),
					 (long long) reversed[id],
					 show(row->reversed));
	}
	free(reversed);
}

static int
compare_moves(const void *a, const void *b)
{
	const Move *x = a;
	const Move *y = b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return (x->version > y->version) - (x->version < y->version);
}

/* The money of an account that moved, in its order */
static int
collect_moves(Check *check, int account, Move *moves)
{
	int			count = 0;

	for (int id = 1; id < check->nrows; id++)
	{
		Row		   *row = &check->rows[id];

		if (row->status != POSTED)
			continue;
		if (row->from == account)
			moves[count++] = (Move) {id, row->from_shard, row->from_version.v, -row->amount.v,
				row->hold.set ? row->settled_from : row->from_balance};
		if (row->to == account)
			moves[count++] = (Move) {id, row->to_shard, row->to_version.v, row->amount.v,
				row->hold.set ? row->settled_to : row->to_balance};
	}
	qsort(moves, count, sizeof(Move), compare_moves);
	return count;
}

/* A step must leave the account within its limits, unless it was forced or held before. */
static void
check_limits(Check *check, int account, const Move *move, int64_t balance)
{
	Row		   *row = &check->rows[move->id];
	Op			terms;

	load_terms(account, &terms);
	if (terms.shards > 1)
		return;
	if (check->load->phase->administer && account >= 12 && account <= 14)
	{
		terms.min = SOME(-200);
		terms.max = NOTHING;
	}
	if (move->amount < 0 && terms.min.set && balance < terms.min.v && !row->force &&
		!(row->hold.set && check->forced[account]))
		complain("#%d left account %d with %lld, below %lld", move->id, account,
				 (long long) balance,
				 (long long) terms.min.v);
	if (move->amount > 0 && terms.max.set && balance > terms.max.v)
		complain("#%d left account %d with %lld, above %lld", move->id, account,
				 (long long) balance,
				 (long long) terms.max.v);
}

static int
compare_numbers(const void *a, const void *b)
{
	int64_t		x = *(const int64_t *) a;
	int64_t		y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* Go through the steps of an unsharded account. Returns the balances that it had, sorted. */
static int64_t *
check_order(Check *check, int account, const Move *moves, int count)
{
	int64_t    *balances = allot(sizeof(int64_t) * (count + 1));
	int64_t		balance = 0;
	int64_t		latest = -1;	/* when the latest of those before began */

	for (int i = 0; i < count; i++)
	{
		Row		   *row = &check->rows[moves[i].id];

		balance += moves[i].amount;
		balances[i + 1] = balance;
		if (i > 0 && moves[i].version == moves[i - 1].version)
			complain("#%d and #%d have the same version of account %d", moves[i - 1].id,
					 moves[i].id, account);
		if (!moves[i].balance.set || moves[i].balance.v != balance)
			complain("account %d, version %lld: #%d of %lld should leave %lld, says %s", account,
					 (long long) moves[i].version, moves[i].id, (long long) moves[i].amount,
					 (long long) balance,
					 show(moves[i].balance));
		check_limits(check, account, &moves[i], balance);
		if (row->ended > 0 && row->ended < latest)
			complain("account %d: #%d comes after one that began when it had ended", account,
					 moves[i].id);
		if (row->ended > 0 && row->began > latest)
			latest = row->began;
	}
	qsort(balances, count + 1, sizeof(int64_t), compare_numbers);
	return balances;
}

/* A balance that an answer showed must be one that the account had. */
static void
check_shown(const int64_t *balances, int count, int id, int account, Maybe shown)
{
	if (!shown.set)
		complain("#%d shows no balance of account %d", id, account);
	else if (!bsearch(&shown.v, balances, count, sizeof(int64_t), compare_numbers))
		complain("#%d shows %lld for account %d, which it never had", id, (long long) shown.v,
				 account);
}

/* Rejections and holds show balances as well; rejections must be justified, where one can tell. */
static void
check_others(Check *check, int account, const int64_t *balances, int count)
{
	bool		steady = !check->had_holds[account] &&
		!(check->load->phase->administer && account >= 12 && account <= 14);
	Op			terms;

	load_terms(account, &terms);
	for (int id = 1; id < check->nrows; id++)
	{
		Row		   *row = &check->rows[id];

		if (row->status == ABSENT || (row->from != account && row->to != account))
			continue;
		if (row->chain == 0 || row->status != REJECTED)
			check_shown(balances, count, id, account,
						row->from == account ? row->from_balance : row->to_balance);
		if (row->status == VOIDED || (row->status == POSTED && row->hold.set))
			check_shown(balances, count, id, account,
						row->from == account ? row->settled_from : row->settled_to);
		/* one in a chain may have been rejected for what the chain did before */
		if (row->status != REJECTED || !row->amount.set || row->chain)
			continue;
		if (row->reason == INSUFFICIENT_FUNDS && row->from == account &&
			(!terms.min.set || (steady && row->from_balance.v - row->amount.v >= terms.min.v)))
			complain("#%d was rejected for funds, but account %d had %s", id, account,
					 show(row->from_balance));
		if (row->reason == LIMIT_EXCEEDED && row->to == account &&
			(steady && (!terms.max.set || row->to_balance.v + row->amount.v <= terms.max.v)))
			complain("#%d was rejected for the limit, but account %d had %s", id, account,
					 show(row->to_balance));
		if (row->reason == ACCOUNT_NOT_FOUND && row->from != UNOPENED && row->to != UNOPENED)
			complain("#%d was rejected, but both accounts are there", id);
		if (row->reason == UNIT_MISMATCH && row->from != OTHER_UNIT && row->to != OTHER_UNIT)
			complain("#%d was rejected, but the units match", id);
		if (row->reason == ACCOUNT_FROZEN && row->from % 4 != 3 && row->to % 4 != 3)
			complain("#%d was rejected, but nobody freezes its accounts", id);
	}
}

/* What the reader has read is all there is, in the account's order. */
static void
check_lines(Check *check, int account, const Move *moves, int count, bool sharded)
{
	Reader	   *reader = check->reader;
	char	   *seen = allot(check->nrows);

	if (reader->nlines[account] != count)
		complain("the statement of account %d had %d lines, %d were posted", account,
				 reader->nlines[account],
				 count);
	for (int i = 0; i < reader->nlines[account]; i++)
	{
		Line	   *line = &reader->lines[account][i];

		if (line->id < 1 || line->id >= check->nrows || seen[line->id]++)
			complain("#%d is twice in the statement of %d, or never was", line->id, account);
		else if (!sharded && i < count && (line->id != moves[i].id ||
										   line->amount != moves[i].amount ||
										   !same(line->balance, moves[i].balance)))
			complain("line %d of account %d is #%d, should be #%d", i, account, line->id,
					 moves[i].id);
	}
	for (int i = 0; i < count; i++)
		if (!seen[moves[i].id])
			complain("#%d was missed in the statement of account %d", moves[i].id, account);
	free(seen);
}

/* The counters are the sums of what is stored. */
static void
check_counters(Check *check, int account)
{
	int64_t		want[4] = {0};	/* debits, credits; posted, pending */
	Balance		is;

	for (int id = 1; id < check->nrows; id++)
	{
		Row		   *row = &check->rows[id];

		if (row->status != POSTED && row->status != PENDING)
			continue;
		if (row->from == account)
			want[(row->status == PENDING) * 2] += row->amount.v;
		if (row->to == account)
			want[(row->status == PENDING) * 2 + 1] += row->amount.v;
	}
	if (!call_balance(&check->conn, account, &is))
		complain("balance: %s", check->conn.message);
	else if (is.debits_posted != want[0] || is.credits_posted != want[1] ||
			 is.debits_pending != want[2] ||
			 is.credits_pending != want[3] || is.balance != want[1] - want[0] ||
			 is.available != want[1] - want[0] - want[2])
		complain("account %d: debits %lld + %lld, credits %lld + %lld; should be %lld + %lld,"
				 " %lld + %lld", account,
				 (long long) is.debits_posted, (long long) is.debits_pending,
				 (long long) is.credits_posted,
				 (long long) is.credits_pending, (long long) want[0], (long long) want[2],
				 (long long) want[1],
				 (long long) want[3]);
}

void
check_accounts(Check *check)
{
	Move	   *moves = allot(sizeof(Move) * check->nrows * 2);

	for (int account = 0; account < UNOPENED; account++)
	{
		int			count = collect_moves(check, account, moves);
		Op			terms;

		load_terms(account, &terms);
		check_counters(check, account);
		if (!check->load->phase->history)
			continue;
		check_lines(check, account, moves, count, terms.shards > 1);
		if (terms.shards == 1)
		{
			int64_t    *balances = check_order(check, account, moves, count);

			check_others(check, account, balances, count + 1);
			free(balances);
			continue;
		}
		for (int i = 1; i < count; i++)
			if (moves[i].shard == moves[i - 1].shard && moves[i].version == moves[i - 1].version)
				complain("#%d and #%d have the same version of a shard of account %d",
						 moves[i - 1].id,
						 moves[i].id, account);
	}
	free(moves);
}

void
check_load(Load *load, Worker *workers, Reader *reader)
{
	Check		check = {.load = load, .workers = workers, .reader = reader};
	int			rounds = 0;

	if (!conn_open(&check.conn, load->info, load->ledger))
		die("cannot connect: %s", check.conn.message);
	conn_must(&check.conn, "SELECT pg_sleep(0.05)");	/* the last short holds are over then */
	while (conn_number(&check.conn, "SELECT keep.expire_holds('%s', 100000)", load->ledger) > 0)
		if (++rounds > 5)
			complain("expire_holds does not come to an end");
	check_verify(&check.conn);
	if (conn_number(&check.conn, "SELECT count(*) FROM %s_transfers WHERE status = 'pending' AND"
								 " expires_at <"
					" clock_timestamp()", load->ledger) != 0)
		complain("holds that are over are left");
	read_rows(&check);
	check_rows(&check);
	check_facts(&check);
	check_accounts(&check);
	conn_close(&check.conn);
	free(check.rows);
}
