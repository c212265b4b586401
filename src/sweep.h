/*
 * sweep.h
 *		Deleting rows that are over, found by the hint in column reap_at.
 */
#ifndef KEEP_SWEEP_H
#define KEEP_SWEEP_H

#include "postgres.h"

#include "catalog.h"
#include "reap.h"

#include "fmgr.h"

/* What a kind of table has to be swept by: some of its statements. */
typedef struct KeepSweep
{
	const KeepKind *kind;
	const char *function;		/* as in messages: keep.expire() */
	int			expire;			/* KEEP_SWEEP_EXPIRE */
	int			more;			/* KEEP_SWEEP_MORE */
	int			postpone;		/* KEEP_SWEEP_POSTPONE */
	int			put_off;		/* KEEP_SWEEP_PUT_OFF */
	int			next;			/* KEEP_SWEEP_NEXT */
} KeepSweep;

/*
 * Delete up to $3 rows that were over at $1, of the first $2 of them from $4 on;
 * returns where they were.  (From the beginning, each batch would have to pass
 * over the index entries of those deleted before it.)
 * over(alias) is a macro, the condition on a row.  Rows are locked in ascending
 * order of keys and not as they are found, since even SKIP LOCKED waits for the
 * updater of a row's next version.
 */
#define KEEP_SWEEP_EXPIRE(over) \
	"DELETE FROM {table} AS e WHERE e.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT k.ctid FROM {table} AS k WHERE k.key OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT d.key FROM {table} AS d WHERE d.reap_at OPERATOR(pg_catalog.<=) $1" \
	" AND d.reap_at OPERATOR(pg_catalog.>=) $4" \
	" AND " over("d") " ORDER BY d.reap_at LIMIT $2))" \
	" AND " over("k") \
	" ORDER BY k.key LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING e.ctid, e.reap_at"

/* Are there more than $2 of them? */
#define KEEP_SWEEP_MORE(over) \
	"SELECT FROM {table} AS d WHERE d.reap_at OPERATOR(pg_catalog.<=) $1" \
	" AND " over("d") " OFFSET $2 LIMIT 1"

/* Look again at $2 others, met too early at $1, when they will be over. */
#define KEEP_SWEEP_POSTPONE(over, when) \
	"UPDATE {table} AS e SET reap_at = " when \
	" WHERE e.key OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT k.key FROM {table} AS k WHERE k.key OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT d.key FROM {table} AS d WHERE d.reap_at OPERATOR(pg_catalog.<=) $1" \
	" AND (" over("d") ") IS NOT TRUE ORDER BY d.reap_at LIMIT $2))" \
	" ORDER BY k.key FOR NO KEY UPDATE SKIP LOCKED))"

/* Look again later at the first $2, which were over at $1 and cannot be deleted. */
#define KEEP_SWEEP_PUT_OFF(over) \
	"UPDATE {table} AS e SET reap_at = $1 OPERATOR(pg_catalog.+)" \
	" pg_catalog.make_interval(mins => 10) WHERE e.key OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT k.key FROM {table} AS k WHERE k.key OPERATOR(pg_catalog.=) ANY (ARRAY(" \
	"SELECT d.key FROM {table} AS d WHERE d.reap_at OPERATOR(pg_catalog.<=) $1" \
	" AND " over("d") " ORDER BY d.reap_at LIMIT $2))" \
	" FOR NO KEY UPDATE SKIP LOCKED))"

/* When is the first to be looked at? */
#define KEEP_SWEEP_NEXT \
	"SELECT d.reap_at FROM {table} AS d WHERE d.reap_at IS NOT NULL ORDER BY d.reap_at LIMIT 1"

#define KEEP_SWEEP_PARAMS TIMESTAMPTZOID, INT8OID
#define KEEP_SWEEP_EXPIRE_PARAMS KEEP_SWEEP_PARAMS, INT8OID, TIMESTAMPTZOID

extern bool keep_sweep_put_off(const KeepSweep *sweep, Oid relid);
extern bool keep_sweep_reap(const KeepSweep *sweep, KeepReaping *work);
extern Datum keep_sweep(FunctionCallInfo fcinfo, const KeepSweep *sweep);

#endif							/* KEEP_SWEEP_H */
