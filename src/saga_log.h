/*
 * saga_log.h
 *		Saga logs: their two tables, their options, the functions they allow.
 */
#ifndef KEEP_SAGA_LOG_H
#define KEEP_SAGA_LOG_H

#include "postgres.h"

#include "pair.h"
#include "saga_sql.h"

/* A function that the owner has allowed. */
typedef struct SagaFunction
{
	const char *name;			/* as keep_routine_name() has it */
	const char *owner;			/* to whom it must belong */
} SagaFunction;

/* Options of either table, as parsed. */
typedef struct SagaOptions
{
	KeepTie		tie;			/* must be first */
	int			max_attempts;	/* of one compensation */
	List	   *functions;		/* of SagaFunction */
} SagaOptions;

extern const KeepKind keep_saga_kind;
extern const KeepKind keep_steps_kind;
extern const KeepPair keep_saga_pair;

extern void saga_check_function(const KeepTable *sagas, Oid fn);

#endif							/* KEEP_SAGA_LOG_H */
