/*
 * pair.h
 *		Kinds that are made of two tables: how these find each other.
 */
#ifndef KEEP_PAIR_H
#define KEEP_PAIR_H

#include "postgres.h"

#include "catalog.h"
#include "plan.h"

/*
 * What ties a table to another, in its options.  It stands first in the
 * options of both kinds, as parse_options makes them.
 */
typedef struct KeepTie
{
	const char *token;			/* NULL: tied to none */
	Oid			owner;			/* the same for both */
	Oid			other;			/* of the first table: the second, or InvalidOid */
} KeepTie;

/* The two kinds, and how the second table is called where nobody says. */
typedef struct KeepPair
{
	const KeepKind *first;
	const KeepKind *second;
	const char *option;			/* names the second table in keep.register() */
	const char *suffix;			/* of the second table's name */
} KeepPair;

extern const char *keep_pair_second_name(const KeepPair *pair, const char *name);
extern const char *keep_pair_tie(const KeepPair *pair, Relation second);
extern const char *keep_pair_register(const KeepPair *pair, Relation first, Jsonb *json);
extern void keep_pair_refuse_second(const KeepPair *pair, Relation rel);
extern void keep_pair_parse(const KeepPair *pair, bool is_first, Relation rel, Jsonb *json,
							KeepTie *tie);
extern void keep_pair_open(const KeepPair *pair, Oid relid, LOCKMODE lockmode,
						   KeepTable **first, KeepTable **second);

#endif							/* KEEP_PAIR_H */
