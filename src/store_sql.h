/*
 * store_sql.h
 *		The options of a store, and the statements that they shape.
 */
#ifndef KEEP_STORE_SQL_H
#define KEEP_STORE_SQL_H

#include "postgres.h"

#include "plan.h"

#include "datatype/timestamp.h"

/* What renews the life of an entry. */
typedef enum StorePolicy
{
	STORE_EXPIRE_AFTER_CREATE,
	STORE_EXPIRE_AFTER_WRITE,
	STORE_EXPIRE_AFTER_ACCESS
} StorePolicy;

typedef struct StoreOptions
{
	StorePolicy expire_after;
	Interval   *ttl;			/* NULL: entries without expiry */
	Interval   *max_lifetime;	/* NULL: no cap */
	Interval   *renew_after;	/* NULL: a tenth of the ttl */
	int			max_value_bytes;
	bool		hash_keys;
	bool		unlogged;		/* the table is; its sequence never is */
	Oid			sequence;		/* draws the versions */
} StoreOptions;

/* Statements on a store: see store_sql.c for their text and parameters. */
typedef enum StoreStatement
{
	STORE_READ,
	STORE_READ_MANY,
	STORE_COUNT_MANY,
	STORE_LOCK,
	STORE_LOCK_VERSION,
	STORE_LOCK_SHARE,
	STORE_LOCK_FREE,
	STORE_PUT,
	STORE_INSERT,
	STORE_CREATE,
	STORE_INCREMENT,
	STORE_UPDATE,
	STORE_RENEW,
	STORE_REDRAW,
	STORE_DELETE,
	STORE_DELETE_VERSION,
	STORE_PUT_MANY,
	STORE_CREATE_MANY,
	STORE_REDRAW_MANY,
	STORE_EXPIRE,
	STORE_MORE_EXPIRED,
	STORE_POSTPONE,
	STORE_PUT_OFF,
	STORE_NEXT,
	STORE_NSTATEMENTS
} StoreStatement;

/* Columns that statements on one entry return, in this order. */
enum
{
	STORE_COL_VALUE,
	STORE_COL_VERSION,
	STORE_COL_CREATED,
	STORE_COL_UPDATED,
	STORE_COL_EXPIRES,
	STORE_NCOLS
};

extern const KeepStatement store_statements[STORE_NSTATEMENTS];

extern const char *store_expand(Relation rel, const void *options, const char *clock,
								const char *name);

#endif							/* KEEP_STORE_SQL_H */
