/*
 * as_owner.h
 *		Work on a table as its owner, who is not trusted.
 */
#ifndef KEEP_AS_OWNER_H
#define KEEP_AS_OWNER_H

#include "postgres.h"

#include "utils/rel.h"

/* What to go back to. */
typedef struct KeepAsOwner
{
	Oid			user;
	int			context;
	int			guc_level;
} KeepAsOwner;

extern void keep_as_owner_begin(KeepAsOwner *state, Oid relid);
extern void keep_as_owner_end(const KeepAsOwner *state);
extern void keep_update_as_owner(Relation rel, const char *assignments, int nparams, Oid *types,
								 Datum *values);

#endif							/* KEEP_AS_OWNER_H */
