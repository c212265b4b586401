/*
 * saga_sql.c
 *		The text of every statement on the two tables of a saga log.
 *
 * Those on steps run while the saga's row is locked, so that nobody else
 * changes its steps meanwhile.
 */
#include "postgres.h"

#include "saga_sql.h"

#include "catalog/pg_type.h"

#define SAGA_COLUMNS \
	"s.saga, s.state, s.last_place, s.steps, s.deadline_at, s.waits_for, s.due_at"
#define BY_SAGA " WHERE s.saga OPERATOR(pg_catalog.=) $1"

const KeepStatement saga_statements[SAGA_NSTATEMENTS] = {
	[SAGA_READ] = {
		"SELECT " SAGA_COLUMNS " FROM {table} AS s" BY_SAGA,
		{TEXTOID}
	},
	[SAGA_LOCK] = {
		"SELECT " SAGA_COLUMNS " FROM {table} AS s" BY_SAGA " FOR NO KEY UPDATE",
		{TEXTOID}
	},
	[SAGA_LOCK_FREE] = {
		"SELECT " SAGA_COLUMNS " FROM {table} AS s" BY_SAGA " FOR NO KEY UPDATE SKIP LOCKED",
		{TEXTOID}
	},
	/* no row back: there is one, not locked */
	[SAGA_INSERT] = {
		"INSERT INTO {table} AS s (saga, state, last_place, steps, deadline_at, waits_for, due_at,"
		" created_at, updated_at) VALUES ($1, '" SAGA_RUNNING "', 0, 0, $2, $3, $2, $4, $4)"
		" ON CONFLICT (saga) DO NOTHING RETURNING " SAGA_COLUMNS,
		{TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID}
	},
	/* a row that this call has inserted, after waiting */
	[SAGA_DATE] = {
		"UPDATE {table} AS s SET deadline_at = $2, due_at = $2, created_at = $3, updated_at = $3"
		BY_SAGA,
		{TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[SAGA_WRITE] = {
		"UPDATE {table} AS s SET state = $2, last_place = $3, waits_for = $4, due_at = $5,"
		" updated_at = $6, steps = $7" BY_SAGA " RETURNING s.saga",
		{TEXTOID, TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID}
	},
	/* $4 of those that wait for $1 and are due at $2, without the first $3; not locked */
	[SAGA_DUE] = {
		"SELECT s.saga FROM {table} AS s WHERE s.waits_for OPERATOR(pg_catalog.=) $1"
		" AND s.due_at OPERATOR(pg_catalog.<=) $2 ORDER BY s.due_at OFFSET $3 LIMIT $4",
		{TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID}
	},
	[SAGA_NEXT] = {
		"SELECT s.due_at FROM {table} AS s WHERE s.waits_for OPERATOR(pg_catalog.=) $1"
		" AND s.due_at IS NOT NULL ORDER BY s.due_at LIMIT 1",
		{TEXTOID}
	},
};

#define STEP_COLUMNS \
	"p.step, p.kind, p.status, p.action, p.compensation, p.args, p.result, p.token," \
	" p.lease_until, p.attempts, p.retry_at"
#define OF_SAGA " WHERE p.saga OPERATOR(pg_catalog.=) $1"
#define BY_STEP OF_SAGA " AND p.step OPERATOR(pg_catalog.=) $2"
#define RETURNING " RETURNING p.step, p.saga, p.token"
#define IS_STATUS(status) "p.status OPERATOR(pg_catalog.=) '" status "'"
/* there is, or may be, something to undo */
#define OUTSTANDING \
	" AND (" IS_STATUS(STEP_IS_DONE) " OR " IS_STATUS(STEP_IS_RUNNING) \
	" OR " IS_STATUS(STEP_IS_COMPENSATING) ")"

const KeepStatement step_statements[STEP_NSTATEMENTS] = {
	[STEP_READ] = {
		"SELECT " STEP_COLUMNS " FROM {table} AS p" BY_STEP,
		{TEXTOID, TEXTOID}
	},
	/*
	 * The step whose compensation comes next: one that is being compensated, then
	 * those that may still be running, or of which nobody knows (they count as
	 * the latest), then the others in the reverse order of their completion.
	 */
	[STEP_NEXT] = {
		"SELECT " STEP_COLUMNS " FROM {table} AS p" OF_SAGA OUTSTANDING
		" ORDER BY CASE WHEN " IS_STATUS(STEP_IS_COMPENSATING) " THEN 0"
		" WHEN " IS_STATUS(STEP_IS_RUNNING) " THEN 1 ELSE 2 END,"
		" p.lease_until DESC NULLS LAST, p.place DESC LIMIT 1",
		{TEXTOID}
	},
	[STEP_RUNNING] = {
		"SELECT FROM {table} AS p" OF_SAGA " AND " IS_STATUS(STEP_IS_RUNNING) " LIMIT 1",
		{TEXTOID}
	},
	[STEP_RECORDED] = {
		"SELECT FROM {table} AS p" OF_SAGA " AND NOT " IS_STATUS(STEP_IS_REFUSED),
		{TEXTOID}
	},
	[STEP_PENDING_REMOTE] = {
		"SELECT FROM {table} AS p" OF_SAGA OUTSTANDING
		" AND p.kind OPERATOR(pg_catalog.=) '" STEP_REMOTE "' AND p.compensation IS NOT NULL",
		{TEXTOID}
	},
	/* no row back: there is one */
	[STEP_INSERT] = {
		"INSERT INTO {table} AS p (saga, step, kind, status, place, action, compensation, args,"
		" result, lease_until, attempts, created_at, updated_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, $11)"
		" ON CONFLICT (saga, step) DO NOTHING" RETURNING,
		{TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, JSONBOID, JSONBOID,
		TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STEP_ENTER_AGAIN] = {
		"UPDATE {table} AS p SET status = '" STEP_IS_RUNNING "', token = {version}, place = $3,"
		" lease_until = $4, result = NULL, updated_at = $5" BY_STEP RETURNING,
		{TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STEP_LEAVE] = {
		"UPDATE {table} AS p SET status = $3, place = $4, result = $5, lease_until = NULL,"
		" updated_at = $6" BY_STEP RETURNING,
		{TEXTOID, TEXTOID, TEXTOID, INT8OID, JSONBOID, TIMESTAMPTZOID}
	},
	[STEP_CLAIM] = {
		"UPDATE {table} AS p SET status = '" STEP_IS_COMPENSATING "', token = {version},"
		" worker = $3, lease_until = $4, updated_at = $5" BY_STEP RETURNING,
		{TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	/* those with nothing to undo, at $2 */
	[STEP_PASS_OVER] = {
		"UPDATE {table} AS p SET status = '" STEP_IS_COMPENSATED "', lease_until = NULL,"
		" updated_at = $2" OF_SAGA OUTSTANDING " AND p.compensation IS NULL"
		" AND (p.lease_until IS NULL OR p.lease_until OPERATOR(pg_catalog.<=) $2)",
		{TEXTOID, TIMESTAMPTZOID}
	},
	/* no row back: it was not there to be compensated any more */
	[STEP_COMPENSATED] = {
		"UPDATE {table} AS p SET status = '" STEP_IS_COMPENSATED "', compensation_result = $3,"
		" lease_until = NULL, retry_at = NULL, updated_at = $4" BY_STEP OUTSTANDING
		RETURNING,
		{TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID}
	},
	/* a new token: whoever has failed once does not fail twice */
	[STEP_NOT_COMPENSATED] = {
		"UPDATE {table} AS p SET attempts = $3, last_error = $4, retry_at = $5,"
		" token = {version}, lease_until = NULL, updated_at = $6" BY_STEP RETURNING,
		{TEXTOID, TEXTOID, INT4OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STEP_RESET] = {
		"UPDATE {table} AS p SET attempts = 0, retry_at = NULL, updated_at = $2" OF_SAGA
		OUTSTANDING " AND p.attempts OPERATOR(pg_catalog.>) 0",
		{TEXTOID, TIMESTAMPTZOID}
	},
};
