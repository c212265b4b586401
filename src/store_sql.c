/*
 * store_sql.c
 *		The text of every statement on a store.
 *
 * Each names one table and, but for the bulk ones, one key, so that the
 * executor sees to privileges, row security, triggers and constraints.
 * Operators and functions are qualified: no search_path changes what they do.
 *
 * An UPDATE or SELECT looks at its WHERE once, before it waits for a share
 * lock or for a rival that then rolls back; whatever depends on the clock is
 * therefore decided in C after a STORE_LOCK statement has returned the row, or
 * in the WHERE of ON CONFLICT DO UPDATE, which is looked at under the lock.
 */
#include "postgres.h"

#include "store_sql.h"
#include "sweep.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#define COLUMNS	"e.value, e.version, e.created_at, e.updated_at, e.expires_at"
#define BY_KEY	" WHERE e.key OPERATOR(pg_catalog.=) $1"
#define BY_KEYS " WHERE e.key OPERATOR(pg_catalog.=) ANY ($1)"
#define IS_VERSION	" AND e.version OPERATOR(pg_catalog.=) $2"

/* an ON CONFLICT DO UPDATE leaves its lock in xmax */
#define INSERTED	"e.xmax OPERATOR(pg_catalog.=) 0"

/*
 * An update of a live entry; "life" is its new expires_at.  reap_at stays at
 * or below expires_at; LEAST passes over NULLs.
 */
#define SET_LIVE(life, reap) \
	", version = {version}, updated_at = {clock}" \
	", expires_at = {" life "}, reap_at = {" reap "}"

/* An expired entry makes room for a new one, in all of its columns. */
#define SET_NEW \
	"value = EXCLUDED.value, version = {version}, created_at = EXCLUDED.created_at" \
	", updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at" \
	", reap_at = LEAST(e.reap_at, EXCLUDED.expires_at){excluded}"

/* $1 key, $2 value, $3 ttl, $4 max_lifetime, $5 now, $6 expiry of a new entry */
#define INSERT_ONE \
	"INSERT INTO {table} AS e (key, value, created_at, updated_at, expires_at, reap_at)" \
	" VALUES ($1, $2, $5, $5, $6, $6) ON CONFLICT (key) DO "
#define PARAMS_ONE \
	TEXTOID, JSONBOID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID

/* $1 keys, $2 values, $3 ttl, $4 max_lifetime; the clock is read row by row */
#define INSERT_MANY \
	"INSERT INTO {table} AS e (key, value, created_at, updated_at, expires_at, reap_at)" \
	" SELECT n.key, n.value, n.now, n.now, n.expiry, n.expiry FROM" \
	" (SELECT m.key, m.value, m.now," \
	" LEAST(m.now OPERATOR(pg_catalog.+) $3, m.now OPERATOR(pg_catalog.+) $4) AS expiry FROM" \
	" (SELECT u.key, u.value, {clock} AS now FROM ROWS FROM" \
	" (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS u(key, value)" \
	" OFFSET 0) AS m OFFSET 0) AS n" \
	" ON CONFLICT (key) DO UPDATE SET "
#define PARAMS_MANY TEXTARRAYOID, JSONBARRAYOID, INTERVALOID, INTERVALOID

/* Had an entry expired at $1? */
#define EXPIRED_AT(e) e ".expires_at OPERATOR(pg_catalog.<=) $1"

const KeepStatement store_statements[STORE_NSTATEMENTS] = {
	/* what is there under a key, live or not */
	[STORE_READ] = {
		"SELECT " COLUMNS " FROM {table} AS e" BY_KEY,
		{TEXTOID}
	},
	/* the same for many keys, each with its place in the array */
	[STORE_READ_MANY] = {
		"SELECT " COLUMNS ", u.place FROM pg_catalog.unnest($1) WITH ORDINALITY AS u(key, place)"
		", LATERAL (SELECT " COLUMNS " FROM {table} AS e"
		" WHERE e.key OPERATOR(pg_catalog.=) u.key OFFSET 0) AS e ORDER BY u.place",
		{TEXTARRAYOID}
	},
	/* one row for each row that the snapshot sees under the keys */
	[STORE_COUNT_MANY] = {
		"SELECT FROM {table} AS e" BY_KEYS,
		{TEXTARRAYOID}
	},
	[STORE_LOCK] = {
		"SELECT " COLUMNS " FROM {table} AS e" BY_KEY " FOR NO KEY UPDATE",
		{TEXTOID}
	},
	[STORE_LOCK_VERSION] = {
		"SELECT " COLUMNS " FROM {table} AS e" BY_KEY IS_VERSION " FOR NO KEY UPDATE",
		{TEXTOID, INT8OID}
	},
	[STORE_LOCK_SHARE] = {
		"SELECT " COLUMNS " FROM {table} AS e" BY_KEY " FOR SHARE",
		{TEXTOID}
	},
	/* the row if nobody else has it locked; never waits */
	[STORE_LOCK_FREE] = {
		"SELECT " COLUMNS " FROM {table} AS e" BY_KEY " FOR NO KEY UPDATE SKIP LOCKED",
		{TEXTOID}
	},
	/* create, or write to a live entry; no row: an expired one is there, now locked */
	[STORE_PUT] = {
		INSERT_ONE "UPDATE SET value = EXCLUDED.value" SET_LIVE("put_life", "put_reap")
		" WHERE {live} RETURNING " COLUMNS ", " INSERTED,
		{PARAMS_ONE}
	},
	/* create where there is no row; no row back: there is one, not locked */
	[STORE_INSERT] = {
		INSERT_ONE "NOTHING RETURNING " COLUMNS ", " INSERTED,
		{PARAMS_ONE}
	},
	/* create where there is none or an expired one; no row: a live one, now locked */
	[STORE_CREATE] = {
		INSERT_ONE "UPDATE SET " SET_NEW " WHERE {expired} RETURNING " COLUMNS
		", " INSERTED,
		{PARAMS_ONE}
	},
	/* as STORE_PUT, counting on; $7 path, $8 by */
	[STORE_INCREMENT] = {
		INSERT_ONE "UPDATE SET value = keep.json_increment(e.value, $7, $8)"
		SET_LIVE("change_life", "put_reap")
		" WHERE {live} RETURNING " COLUMNS ", " INSERTED,
		{PARAMS_ONE, TEXTARRAYOID, INT8OID}
	},
	/* a new value for a locked row */
	[STORE_UPDATE] = {
		"UPDATE {table} AS e SET value = $2, version = {version}, updated_at = $3"
		", expires_at = $4, reap_at = LEAST(e.reap_at, $4)" BY_KEY " RETURNING " COLUMNS,
		{TEXTOID, JSONBOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	/* a new expiry for a locked row */
	[STORE_RENEW] = {
		"UPDATE {table} AS e SET expires_at = $2, reap_at = LEAST(e.reap_at, $2)" BY_KEY
		" RETURNING " COLUMNS,
		{TEXTOID, TIMESTAMPTZOID}
	},
	/* a new version and new times for a row that this call has created */
	[STORE_REDRAW] = {
		"UPDATE {table} AS e SET version = {version}, created_at = $2, updated_at = $2"
		", expires_at = $3, reap_at = LEAST(e.reap_at, $3)" BY_KEY " RETURNING " COLUMNS,
		{TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STORE_DELETE] = {
		"DELETE FROM {table} AS e" BY_KEY " RETURNING " COLUMNS,
		{TEXTOID}
	},
	[STORE_DELETE_VERSION] = {
		"DELETE FROM {table} AS e" BY_KEY IS_VERSION " RETURNING " COLUMNS,
		{TEXTOID, INT8OID}
	},
	/* as STORE_PUT, for keys in ascending order */
	[STORE_PUT_MANY] = {
		INSERT_MANY "value = EXCLUDED.value" SET_LIVE("put_life", "put_reap")
		" WHERE {live} RETURNING " COLUMNS ", e.key, " INSERTED ", keep.transactions_ended()",
		{PARAMS_MANY}
	},
	[STORE_CREATE_MANY] = {
		INSERT_MANY SET_NEW " WHERE {expired}"
		" RETURNING " COLUMNS ", e.key, " INSERTED ", keep.transactions_ended()",
		{PARAMS_MANY}
	},
	/* as STORE_REDRAW */
	[STORE_REDRAW_MANY] = {
		"UPDATE {table} AS e SET version = {version}, created_at = $2, updated_at = $2"
		", expires_at = $3, reap_at = LEAST(e.reap_at, $3)" BY_KEYS
		" RETURNING " COLUMNS ", e.key",
		{TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[STORE_EXPIRE] = {
		KEEP_SWEEP_EXPIRE(EXPIRED_AT),
		{KEEP_SWEEP_EXPIRE_PARAMS}
	},
	[STORE_MORE_EXPIRED] = {
		KEEP_SWEEP_MORE(EXPIRED_AT),
		{KEEP_SWEEP_PARAMS}
	},
	[STORE_POSTPONE] = {
		KEEP_SWEEP_POSTPONE(EXPIRED_AT, "e.expires_at"),
		{KEEP_SWEEP_PARAMS}
	},
	[STORE_PUT_OFF] = {
		KEEP_SWEEP_PUT_OFF(EXPIRED_AT),
		{KEEP_SWEEP_PARAMS}
	},
	[STORE_NEXT] = {KEEP_SWEEP_NEXT, {InvalidOid}},
};

/* ", column = EXCLUDED.column" for each column that the user has added */
static const char *
expand_excluded(Relation rel)
{
	static const char *const ours[] = {
		"key", "value", "version", "created_at", "updated_at", "expires_at", "reap_at"
	};
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);
		const char *name = quote_identifier(NameStr(attr->attname));
		bool		own = false;

		for (size_t j = 0; j < lengthof(ours); j++)
			own = own || strcmp(NameStr(attr->attname), ours[j]) == 0;
		if (own || attr->attisdropped || attr->attgenerated != '\0')
			continue;
		if (attr->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			appendStringInfo(&text, ", %s = DEFAULT", name);
		else
			appendStringInfo(&text, ", %s = EXCLUDED.%s", name, name);
	}
	return text.data;
}

/*
 * Text for a placeholder of the store's own, or NULL.
 *
 * An entry is live until expires_at, exactly, and never longer than
 * max_lifetime ($4): that may have been lowered since expires_at was set.
 *
 * put_life and change_life are the new expires_at of a live entry on a write
 * with ttl $3, which may be NULL.  Without a ttl put leaves no expiry but the
 * cap, the others the expiry that is there.  The clock counts from
 * EXCLUDED.updated_at on, the time of the call, so that put_reap, which goes by
 * that, is never later.
 */
const char *
store_expand(Relation rel, const void *options, const char *clock, const char *name)
{
	const StoreOptions *opt = options;
	bool		fixed = opt->expire_after == STORE_EXPIRE_AFTER_CREATE;
	bool		capped = opt->max_lifetime != NULL;
	const char *cap = capped ? ", e.created_at OPERATOR(pg_catalog.+) $4" : "";
	char	   *life = psprintf("%s(GREATEST(%s, EXCLUDED.updated_at)"
								" OPERATOR(pg_catalog.+) $3%s)", capped ? "LEAST" : "",
								clock, cap);
	const char *end = capped ? psprintf("LEAST(e.expires_at%s)", cap) : "e.expires_at";

	if (strcmp(name, "live") == 0)
		return psprintf("(%s IS NULL OR %s OPERATOR(pg_catalog.>) %s)", end, end, clock);
	if (strcmp(name, "expired") == 0)
		return psprintf("%s OPERATOR(pg_catalog.<=) %s", end, clock);
	if (strcmp(name, "excluded") == 0)
		return expand_excluded(rel);
	if (strcmp(name, "put_life") == 0)
		return fixed ? "e.expires_at" : life;
	if (strcmp(name, "change_life") == 0)
		return fixed ? "e.expires_at" :
			psprintf("CASE WHEN $3 IS NULL THEN e.expires_at ELSE %s END", life);
	if (strcmp(name, "put_reap") == 0)
		return fixed ? "e.reap_at" :
			psprintf("LEAST(e.reap_at, EXCLUDED.expires_at%s)", cap);
	return NULL;
}
