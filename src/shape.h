/*
 * shape.h
 *		Has a table the columns and the primary key that a kind needs?
 */
#ifndef KEEP_SHAPE_H
#define KEEP_SHAPE_H

#include "postgres.h"

#include "utils/rel.h"

/* A column that a kind of table has; text that is "key" has collation "C". */
typedef struct KeepColumn
{
	const char *name;
	Oid			type;
	bool		notnull;
	bool		key;
} KeepColumn;

#define KEEP_SHAPE_MAX_KEY	2

/* What a kind of table has to have. */
typedef struct KeepShape
{
	const KeepColumn *columns;
	int			ncolumns;
	const char *key[KEEP_SHAPE_MAX_KEY];	/* columns of the primary key, in order */
	const char *sequence;		/* column that versions or tokens are drawn by, or NULL */
	bool		unlogged;		/* may be unlogged */
	bool		ruled;			/* may have INSTEAD rules */
} KeepShape;

extern const char *keep_shape_flaw(Relation rel, const KeepShape *shape);
extern Oid	keep_shape_column_sequence(Relation rel, const char *column);
extern Oid	keep_creation_schema(text *name, const char *what, char **relname);
extern char *keep_relation_name(Oid relid);
extern void keep_run_ddl(const char *sql);

#endif							/* KEEP_SHAPE_H */
