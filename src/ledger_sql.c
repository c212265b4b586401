/*
 * ledger_sql.c
 *		The text of every statement on a ledger's two tables.
 *
 * Each names one table, so that the executor sees to privileges, row security,
 * triggers and constraints.  Operators and functions are qualified: no
 * search_path changes what they do.
 *
 * Rows of accounts are always locked by ACCOUNT_LOCK, in ascending order of
 * (id, shard), before anything is decided; a transfer's row needs no lock of
 * its own, since whoever changes its status holds the rows of its accounts.
 */
#include "postgres.h"

#include "ledger_sql.h"

#include "catalog/pg_type.h"

#define ACCOUNT_COLUMNS \
	"a.id, a.shard, a.shards, a.unit, a.frozen" \
	", a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending" \
	", a.version, a.created_at, a.min_balance, a.max_balance, a.floor, a.ceiling, a.opened_limits"

#define TRANSFER_COLUMNS \
	"t.id, t.status, t.reason, t.from_account, t.to_account, t.from_shard, t.to_shard" \
	", t.amount, t.from_balance, t.to_balance, t.created_at, t.expires_at, t.hold, t.held" \
	", t.part, t.reverses, t.force, t.reversed" \
	", t.settled_at, t.settled_from_balance, t.settled_to_balance" \
	", t.from_version, t.to_version, t.chain, t.metadata"

#define ACCOUNT_BY_ID	" WHERE a.id OPERATOR(pg_catalog.=) $1"
#define TRANSFER_BY_ID	" WHERE t.id OPERATOR(pg_catalog.=) $1"
#define OPEN_HOLD		"t.status OPERATOR(pg_catalog.=) 'pending'"
#define HOLD_COLUMNS	"t.id, t.from_account, t.to_account, t.from_shard, t.to_shard, t.held"

#define INSERT_TRANSFERS \
	"INSERT INTO {table} AS t (id, status, reason, from_account, to_account, from_shard" \
	", to_shard, amount, from_balance, to_balance, created_at, expires_at, hold, held, part" \
	", reverses, force, reversed, settled_at, settled_from_balance, settled_to_balance" \
	", from_version, to_version, chain, metadata) SELECT u.* FROM " LEDGER_ROWS " AS u"

#define UNNEST(n) "pg_catalog.unnest($" #n ")"

const KeepStatement account_statements[ACCOUNT_NSTATEMENTS] = {
	/* all rows of an account, as the snapshot has them */
	[ACCOUNT_READ] = {
		"SELECT " ACCOUNT_COLUMNS " FROM {table} AS a" ACCOUNT_BY_ID " ORDER BY a.shard",
		{TEXTOID}
	},
	/*
	 * $1 accounts, ascending; $2 which rows of each; $3 picks one where any
	 * will do.  LATERAL makes for one descent of the index an account, in this
	 * order, whatever the planner thinks of the table's size.
	 */
	[ACCOUNT_LOCK] = {
		"SELECT a.* FROM ROWS FROM (" UNNEST(1) ", " UNNEST(2) ") AS u(id, shard), LATERAL"
		" (SELECT " ACCOUNT_COLUMNS " FROM {table} AS a WHERE a.id OPERATOR(pg_catalog.=) u.id"
		" AND CASE WHEN u.shard OPERATOR(pg_catalog.=) -2 THEN true"
		" WHEN u.shard OPERATOR(pg_catalog.=) -1 THEN a.shard OPERATOR(pg_catalog.=)"
		" ($3 OPERATOR(pg_catalog.%) a.shards::pg_catalog.int4)"
		" ELSE a.shard OPERATOR(pg_catalog.=) u.shard END"
		" ORDER BY a.shard FOR NO KEY UPDATE OF a) AS a",
		{TEXTARRAYOID, INT4ARRAYOID, INT4OID}
	},
	/* one row if nobody has it locked; never waits for a transaction */
	[ACCOUNT_LOCK_FREE] = {
		"SELECT " ACCOUNT_COLUMNS " FROM {table} AS a" ACCOUNT_BY_ID
		" AND a.shard OPERATOR(pg_catalog.=) $2 FOR NO KEY UPDATE SKIP LOCKED",
		{TEXTOID, INT4OID}
	},
	/* a row if any of the accounts is there */
	[ACCOUNT_EXISTS] = {
		"SELECT FROM {table} AS a WHERE a.id OPERATOR(pg_catalog.=) ANY ($1)"
		" AND a.shard OPERATOR(pg_catalog.=) 0 LIMIT 1",
		{TEXTARRAYOID}
	},
	/*
	 * New counters for locked rows; these are in the named tuplestore.  ANY
	 * (ARRAY[]) is an equality that the planner cannot turn round into a scan
	 * of the whole index, as it would while the table is small.
	 */
	[ACCOUNT_UPDATE] = {
		"UPDATE {table} AS a SET debits_posted = u.debits_posted"
		", credits_posted = u.credits_posted, debits_pending = u.debits_pending"
		", credits_pending = u.credits_pending, version = u.version"
		", floor = u.floor, ceiling = u.ceiling FROM " LEDGER_ROWS " AS u"
		" WHERE a.id OPERATOR(pg_catalog.=) ANY (ARRAY[u.id])"
		" AND a.shard OPERATOR(pg_catalog.=) u.shard",
		{InvalidOid}
	},
	/* $2 unit, $3 min, $4 max, $5 number of shards, $6 shards, $7 floors, $8 ceilings */
	[ACCOUNT_OPEN] = {
		"INSERT INTO {table} AS a (id, unit, min_balance, max_balance, shards, shard, floor"
		", ceiling, frozen, debits_posted, credits_posted, debits_pending, credits_pending, version"
		", created_at)"
		" SELECT $1, $2, $3, $4, $5, u.shard, u.floor, u.ceiling, false, 0, 0, 0, 0, 0, {clock}"
		" FROM ROWS FROM (" UNNEST(6) ", " UNNEST(7) ", " UNNEST(8) ") AS u(shard, floor, ceiling)"
		" ON CONFLICT (id, shard) DO NOTHING RETURNING a.shard",
		{TEXTOID, TEXTOID, INT8OID, INT8OID, INT2OID, INT2ARRAYOID, INT8ARRAYOID, INT8ARRAYOID}
	},
	/* for locked rows; $4 shards, $5 floors, $6 ceilings, $7 the limits at opening */
	[ACCOUNT_SET_LIMITS] = {
		"UPDATE {table} AS a SET min_balance = $2, max_balance = $3, floor = u.floor"
		", ceiling = u.ceiling, opened_limits = $7"
		", version = a.version OPERATOR(pg_catalog.+) 1::pg_catalog.int8"
		" FROM ROWS FROM (" UNNEST(4) ", " UNNEST(5) ", " UNNEST(6) ") AS u(shard, floor, ceiling)"
		ACCOUNT_BY_ID " AND a.shard OPERATOR(pg_catalog.=) u.shard",
		{TEXTOID, INT8OID, INT8OID, INT2ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID}
	},
	[ACCOUNT_FREEZE] = {
		"UPDATE {table} AS a SET frozen = $2"
		", version = a.version OPERATOR(pg_catalog.+) 1::pg_catalog.int8" ACCOUNT_BY_ID,
		{TEXTOID, BOOLOID}
	},
};

const KeepStatement transfer_statements[TRANSFER_NSTATEMENTS] = {
	[TRANSFER_FIND] = {
		"SELECT " TRANSFER_COLUMNS " FROM {table} AS t"
		" WHERE t.id OPERATOR(pg_catalog.=) ANY ($1)",
		{TEXTARRAYOID}
	},
	[TRANSFER_LOCK] = {
		"SELECT " TRANSFER_COLUMNS " FROM {table} AS t" TRANSFER_BY_ID " FOR NO KEY UPDATE",
		{TEXTOID}
	},
	/* a row if it is still pending and nobody else has it locked */
	[TRANSFER_LOCK_HOLD] = {
		"SELECT FROM {table} AS t" TRANSFER_BY_ID " AND " OPEN_HOLD
		" FOR NO KEY UPDATE SKIP LOCKED",
		{TEXTOID}
	},
	/* ids ascending: calls that insert the same ones wait for each other, but not in a circle */
	[TRANSFER_INSERT] = {
		INSERT_TRANSFERS,
		{InvalidOid}
	},
	/* the same, and it says which were inserted */
	[TRANSFER_INSERT_FREE] = {
		INSERT_TRANSFERS " ON CONFLICT (id) DO NOTHING RETURNING t.id",
		{InvalidOid}
	},
	/* the end of a hold whose accounts are locked */
	[TRANSFER_SETTLE] = {
		"UPDATE {table} AS t SET status = $2, amount = $3, part = $4, settled_at = $5"
		", settled_from_balance = $6, settled_to_balance = $7, from_version = $8, to_version = $9"
		TRANSFER_BY_ID " AND " OPEN_HOLD,
		{TEXTOID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT8OID}
	},
	[TRANSFER_EXPIRE] = {
		"UPDATE {table} AS t SET status = 'expired', settled_at = $2"
		" WHERE t.id OPERATOR(pg_catalog.=) ANY ($1) AND " OPEN_HOLD,
		{TEXTARRAYOID, TIMESTAMPTZOID}
	},
	[TRANSFER_REVERSED] = {
		"UPDATE {table} AS t SET reversed ="
		" COALESCE(t.reversed, 0::pg_catalog.int8) OPERATOR(pg_catalog.+) $2" TRANSFER_BY_ID,
		{TEXTOID, INT8OID}
	},
	/* an account's holds that are over at $2 but not released */
	[TRANSFER_HOLDS_OVER] = {
		"SELECT " HOLD_COLUMNS " FROM {table} AS t"
		" WHERE t.from_account OPERATOR(pg_catalog.=) $1 AND " OPEN_HOLD
		" AND t.expires_at OPERATOR(pg_catalog.<=) $2"
		" UNION ALL SELECT " HOLD_COLUMNS " FROM {table} AS t"
		" WHERE t.to_account OPERATOR(pg_catalog.=) $1 AND " OPEN_HOLD
		" AND t.expires_at OPERATOR(pg_catalog.<=) $2",
		{TEXTOID, TIMESTAMPTZOID}
	},
	/* the first $2 of all holds that are over at $1 */
	[TRANSFER_HOLDS_DUE] = {
		"SELECT " HOLD_COLUMNS " FROM {table} AS t WHERE " OPEN_HOLD
		" AND t.expires_at OPERATOR(pg_catalog.<=) $1 ORDER BY t.expires_at LIMIT $2",
		{TIMESTAMPTZOID, INT8OID}
	},
	/* when the first hold is over */
	[TRANSFER_HOLDS_NEXT] = {
		"SELECT t.expires_at FROM {table} AS t WHERE " OPEN_HOLD
		" AND t.expires_at IS NOT NULL ORDER BY t.expires_at LIMIT 1",
		{InvalidOid}
	},
	/* what was posted on a shard of an account after a version of it; the first $4 */
	[TRANSFER_STATEMENT] = {
		"SELECT s.* FROM ("
		"(SELECT t.from_version AS version, t.id, t.to_account AS counterparty"
		", OPERATOR(pg_catalog.-) t.amount AS amount"
		", CASE WHEN t.held IS NULL THEN t.from_balance ELSE t.settled_from_balance END AS balance"
		", t.reverses, t.metadata, COALESCE(t.settled_at, t.created_at) AS posted_at"
		" FROM {table} AS t WHERE t.from_account OPERATOR(pg_catalog.=) $1"
		" AND t.from_shard OPERATOR(pg_catalog.=) $2 AND t.from_version OPERATOR(pg_catalog.>) $3"
		" ORDER BY t.from_version LIMIT $4)"
		" UNION ALL "
		"(SELECT t.to_version, t.id, t.from_account, t.amount"
		", CASE WHEN t.held IS NULL THEN t.to_balance ELSE t.settled_to_balance END"
		", t.reverses, t.metadata, COALESCE(t.settled_at, t.created_at)"
		" FROM {table} AS t WHERE t.to_account OPERATOR(pg_catalog.=) $1"
		" AND t.to_shard OPERATOR(pg_catalog.=) $2 AND t.to_version OPERATOR(pg_catalog.>) $3"
		" ORDER BY t.to_version LIMIT $4)) AS s ORDER BY s.version LIMIT $4",
		{TEXTOID, INT2OID, INT8OID, INT8OID}
	},
};
