/*
 * saga_sql.h
 *		The statements on the two tables of a saga log.
 */
#ifndef KEEP_SAGA_SQL_H
#define KEEP_SAGA_SQL_H

#include "postgres.h"

#include "plan.h"

/* Statements on the sagas. */
typedef enum SagaStatement
{
	SAGA_READ,
	SAGA_LOCK,
	SAGA_LOCK_FREE,
	SAGA_INSERT,
	SAGA_DATE,
	SAGA_WRITE,
	SAGA_DUE,
	SAGA_NEXT,
	SAGA_NSTATEMENTS
} SagaStatement;

/* Statements on the steps. */
typedef enum StepStatement
{
	STEP_READ,
	STEP_NEXT,
	STEP_RUNNING,
	STEP_RECORDED,
	STEP_PENDING_REMOTE,
	STEP_INSERT,
	STEP_ENTER_AGAIN,
	STEP_LEAVE,
	STEP_CLAIM,
	STEP_PASS_OVER,
	STEP_COMPENSATED,
	STEP_NOT_COMPENSATED,
	STEP_RESET,
	STEP_NSTATEMENTS
} StepStatement;

/* Columns that statements on sagas return, in this order. */
enum
{
	SAGA_COL_SAGA,
	SAGA_COL_STATE,
	SAGA_COL_LAST_PLACE,
	SAGA_COL_STEPS,
	SAGA_COL_DEADLINE,
	SAGA_COL_WAITS_FOR,
	SAGA_COL_DUE,
	SAGA_NCOLS
};

/* Columns that STEP_READ and STEP_NEXT return, in this order. */
enum
{
	STEP_COL_STEP,
	STEP_COL_KIND,
	STEP_COL_STATUS,
	STEP_COL_ACTION,
	STEP_COL_COMPENSATION,
	STEP_COL_ARGS,
	STEP_COL_RESULT,
	STEP_COL_TOKEN,
	STEP_COL_LEASE_UNTIL,
	STEP_COL_ATTEMPTS,
	STEP_COL_RETRY_AT,
	STEP_NCOLS
};

/* Values of column "state" of a saga. */
#define SAGA_RUNNING		"running"
#define SAGA_COMPLETED		"completed"
#define SAGA_COMPENSATING	"compensating"
#define SAGA_COMPENSATED	"compensated"
#define SAGA_STUCK			"stuck"

/* Values of column "waits_for" of a saga. */
#define SAGA_FOR_DEADLINE	"deadline"
#define SAGA_FOR_LOCAL		"local"
#define SAGA_FOR_REMOTE		"remote"

/* Values of column "kind" of a step. */
#define STEP_LOCAL			"local"
#define STEP_REMOTE			"remote"

/* Values of column "status" of a step. */
#define STEP_IS_RUNNING			"running"
#define STEP_IS_FAILED			"failed"
#define STEP_IS_DONE			"done"
#define STEP_IS_COMPENSATING	"compensating"
#define STEP_IS_COMPENSATED		"compensated"
#define STEP_IS_REFUSED			"refused"

extern const KeepStatement saga_statements[SAGA_NSTATEMENTS];
extern const KeepStatement step_statements[STEP_NSTATEMENTS];

#endif							/* KEEP_SAGA_SQL_H */
