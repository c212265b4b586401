/*
 * naming.h
 *		Statements that name the tables they are for, and find no others.
 */
#ifndef KEEP_NAMING_H
#define KEEP_NAMING_H

#include "postgres.h"

#include "compat.h"

extern void keep_naming_init(void);
pg_noreturn extern void keep_name_moved(Oid relid);
pg_noreturn extern void keep_no_such_relation(Oid relid);
extern char *keep_relation_name(Oid relid, bool missing_ok);
extern char *keep_statement_for(Oid relid, Oid other, const char *sql);

#endif							/* KEEP_NAMING_H */
