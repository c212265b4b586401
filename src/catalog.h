/*
 * catalog.h
 *		Which tables pg_keep made, of what kind and with which options.
 */
#ifndef KEEP_CATALOG_H
#define KEEP_CATALOG_H

#include "postgres.h"

#include "compat.h"
#include "shape.h"

#include "utils/jsonb.h"
#include "utils/rel.h"

/* Columns of keep.relation */
#define KEEP_RELATION_SCHEMA	1
#define KEEP_RELATION_TABLE		2
#define KEEP_RELATION_KIND		3
#define KEEP_RELATION_OPTIONS	4
#define KEEP_RELATION_RELID		5
#define KEEP_RELATION_NATTS		5

/*
 * A kind of table, as its room describes it to the rooms below.
 *
 * parse_options checks the options and raises 22023 for a bad one; its result
 * is palloc'd, and NULL stands for no options.  Statements are what plan.c
 * prepares on the table.
 */
typedef struct KeepStatement KeepStatement;

typedef struct KeepKind
{
	const char *name;			/* as in keep.relation.kind */
	const char *noun;			/* what messages call it, where not by its name */
	const char *maker;			/* the function that creates such a table */
	const KeepShape *shape;
	void	   *(*parse_options) (Relation rel, Jsonb *options);
	Jsonb	   *(*normal_options) (Relation rel, Jsonb *options);
	const KeepStatement *statements;
	int			nstatements;
	/* text for a placeholder of the kind's own, or NULL; NULL where it has none */
	const char *(*expand) (Relation rel, const void *options, const char *clock,
						   const char *name);
} KeepKind;

/* What messages call a table of the kind. */
static inline const char *
keep_kind_noun(const KeepKind *kind)
{
	return kind->noun ? kind->noun : kind->name;
}

extern void keep_kind_add(const KeepKind *kind);
extern const KeepKind *keep_kind_named(const char *name);
extern const KeepKind *keep_kind_at(int n);

extern Oid	keep_catalog_relid(void);
extern bool keep_catalog_find(Oid relid, const char *kind, Jsonb **options);
extern void keep_catalog_put(Oid relid, const char *kind, Jsonb *options);
extern void keep_catalog_remove(const char *schema, const char *table);
extern void keep_catalog_follow_renames(void);
extern List *keep_catalog_list(const char *kind);

extern Relation keep_open_owned(Oid relid);
pg_noreturn extern void keep_not_of_kind(Oid relid, const KeepKind *kind, const char *detail);

#endif							/* KEEP_CATALOG_H */
