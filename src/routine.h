/*
 * routine.h
 *		Functions of the user that pg_keep calls: f(jsonb) returns jsonb.
 */
#ifndef KEEP_ROUTINE_H
#define KEEP_ROUTINE_H

#include "postgres.h"

extern void keep_routine_check(Oid fn);
extern void keep_routine_check_shape(Oid fn);
extern char *keep_routine_name(Oid fn);
extern char *keep_routine_owner(Oid fn);
extern Oid	keep_routine_named(const char *name);
extern Datum keep_routine_call(Oid fn, Datum args, bool *isnull);

#endif							/* KEEP_ROUTINE_H */
