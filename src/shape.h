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

extern const char *keep_shape_columns(Relation rel, const KeepColumn *columns, int ncolumns);
extern const char *keep_shape_rules(Relation rel);
extern bool keep_shape_primary_key(Relation rel, const char *const *names, int nnames);
extern Oid	keep_shape_column_sequence(Relation rel, const char *column);
extern const char *keep_shape_sequence(Relation rel, const char *column);
extern Oid	keep_creation_schema(text *name, const char *what, char **relname);
extern char *keep_relation_name(Oid relid);
extern void keep_run_ddl(const char *sql);

#endif							/* KEEP_SHAPE_H */
