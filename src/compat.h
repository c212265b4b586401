/*
 * compat.h
 *		The one place that knows which PostgreSQL this is built for.
 *
 * Supported are the majors 15 to 18.  Where a server API differs between
 * them, the newest spelling is defined here for the older ones.
 */
#ifndef KEEP_COMPAT_H
#define KEEP_COMPAT_H

#include "postgres.h"

#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/rel.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "pg_keep needs PostgreSQL 15 or newer"
#endif

/* have the processor load what is wanted soon */
#ifdef __GNUC__
#define keep_prefetch(address)	__builtin_prefetch(address)
#else
#define keep_prefetch(address)	((void) 0)
#endif

#if PG_VERSION_NUM < 160000
#define keep_owns_relation(relid, role)	pg_class_ownercheck((relid), (role))
#define keep_function_aclcheck(fn, role, mode)	pg_proc_aclcheck((fn), (role), (mode))
#else
#define keep_function_aclcheck(fn, role, mode) \
	object_aclcheck(ProcedureRelationId, (fn), (role), (mode))
#define keep_owns_relation(relid, role) \
	object_ownercheck(RelationRelationId, (relid), (role))
#endif

/* does an update that says so call for new index entries, and for which? */
#if PG_VERSION_NUM < 160000
typedef bool KeepIndexUpdate;
#define KEEP_INDEX_UPDATE_NONE	(false)
#define KEEP_INDEX_UPDATE_ALL	(true)
#define keep_insert_index_tuples(rri, slot, estate, update, conflict, arbiters, which) \
	ExecInsertIndexTuples((rri), (slot), (estate), (update), (conflict) != NULL, (conflict), \
						  (arbiters))
#else
typedef TU_UpdateIndexes KeepIndexUpdate;
#define KEEP_INDEX_UPDATE_NONE	TU_None
#define KEEP_INDEX_UPDATE_ALL	TU_All
#define keep_insert_index_tuples(rri, slot, estate, update, conflict, arbiters, which) \
	ExecInsertIndexTuples((rri), (slot), (estate), (update), (conflict) != NULL, (conflict), \
						  (arbiters), (update) && (which) == TU_Summarizing)
#endif

#if PG_VERSION_NUM < 180000
#define keep_check_index_constraints(rri, slot, estate, conflict, arbiters) \
	ExecCheckIndexConstraints((rri), (slot), (estate), (conflict), (arbiters))
#define keep_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), (nkeys), 0)
#define keep_primary_key(rel)	RelationGetPrimaryKeyIndex(rel)
#else
#define keep_primary_key(rel)	RelationGetPrimaryKeyIndex((rel), false)
#define keep_check_index_constraints(rri, slot, estate, conflict, arbiters) \
	ExecCheckIndexConstraints((rri), (slot), (estate), (conflict), &(slot)->tts_tid, (arbiters))
#define keep_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0)
#endif

/* may no row have a NULL there?  Since 18 a constraint need not hold for older rows. */
#if PG_VERSION_NUM < 180000
#define keep_is_not_null(rel, i) \
	(TupleDescAttr(RelationGetDescr(rel), (i))->attnotnull)
#else
#define keep_is_not_null(rel, i) \
	(TupleDescCompactAttr(RelationGetDescr(rel), (i))->attnullability == ATTNULLABLE_VALID)
#endif

#if PG_VERSION_NUM < 170000
#define keep_identity_sequence(rel, attnum) \
	getIdentitySequence(RelationGetRelid(rel), (attnum), true)
/* intervals have had no infinity before 17 */
#define INTERVAL_NOT_FINITE(i)	(false)
#define TransamVariables ShmemVariableCache
#define MyProcNumber	MyBackendId
#define SearchPathMatchesCurrentEnvironment(path) OverrideSearchPathMatchesCurrent(path)
#else
#define keep_identity_sequence(rel, attnum) \
	getIdentitySequence((rel), (attnum), true)
#endif

#if PG_VERSION_NUM < 180000
/* stands in front of a declaration since 18 */
#define pg_noreturn	__attribute__((noreturn))
#endif

#endif							/* KEEP_COMPAT_H */
