/*
 * saga.h
 *		One saga and its steps: locking, reading and writing them.
 */
#ifndef KEEP_SAGA_H
#define KEEP_SAGA_H

#include "postgres.h"

#include "saga_log.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#define SAGA_MAX_NAME	1024	/* bytes of a saga, a step, a worker, a label */

/* A call on a saga log; SPI is connected until its end. */
typedef struct SagaCall
{
	Oid			relid;			/* of the sagas, as given */
	Oid			user;			/* who calls a procedure of several transactions */
	KeepTable  *sagas;
	KeepTable  *steps;
	const SagaOptions *opt;
	MemoryContext caller;		/* where results go */
	TimestampTz now;			/* read after the saga was locked */
} SagaCall;

/* A row of the sagas. */
typedef struct Saga
{
	text	   *id;
	const char *state;			/* SAGA_…, a constant */
	int64		last_place;
	int			steps;			/* how many there are, without tombstones */
	TimestampTz deadline;		/* DT_NOEND: none */
	const char *waits_for;		/* SAGA_FOR_…, or NULL */
	TimestampTz due;			/* meaningful where it waits for something */
} Saga;

/* A row of the steps; what is not inline is in SPI's memory, or NULL. */
typedef struct SagaStep
{
	text	   *id;
	const char *kind;			/* STEP_LOCAL or STEP_REMOTE */
	const char *status;			/* STEP_IS_… */
	const char *action;
	const char *compensation;
	Jsonb	   *args;
	Jsonb	   *result;
	int64		token;
	TimestampTz lease_until;	/* DT_NOBEGIN: no lease */
	int			attempts;
	TimestampTz retry_at;		/* DT_NOBEGIN: at once */
} SagaStep;

/* What the holder of a step, or of its compensation, reports. */
typedef struct SagaReport
{
	text	   *step;
	int64		token;
	bool		ok;
	Jsonb	   *result;			/* or NULL */
} SagaReport;

extern void saga_begin(SagaCall *call, FunctionCallInfo fcinfo, const char *function,
					   AclMode sagas, AclMode steps);
extern void saga_open(SagaCall *call);
extern bool saga_is(const Saga *saga, const char *state);
extern bool saga_read(SagaCall *call, SagaStatement statement, text *id, Saga *saga);
extern List *saga_due_ids(SagaCall *call, MemoryContext context, const char *waits_for,
						  int64 offset, int64 max);
extern void saga_lock(SagaCall *call, text *id, Saga *saga);
extern void saga_write(SagaCall *call, const Saga *saga);
extern void saga_turn_back(SagaCall *call, Saga *saga);
extern bool saga_overdue(SagaCall *call, Saga *saga);
extern void saga_check_whole(SagaCall *call, const Saga *saga);
extern bool saga_settle(SagaCall *call, Saga *saga, SagaStep *next);
extern void saga_step_failed(SagaCall *call, Saga *saga, SagaStep *step, const char *error);
extern int	saga_pending_remote(SagaCall *call, const Saga *saga);

extern bool saga_step_is(const SagaStep *step, const char *status);
extern bool saga_step_read(SagaCall *call, const Saga *saga, text *id, SagaStep *step);
extern void saga_step_find(SagaCall *call, const Saga *saga, text *id, SagaStep *step);
extern bool saga_step_insert(SagaCall *call, const Saga *saga, const SagaStep *step,
							 int64 *token);
extern bool saga_step_run(SagaCall *call, StepStatement statement, Datum *values,
						  const char *nulls, int64 *token);
extern bool saga_step_compensated(SagaCall *call, const Saga *saga, const SagaStep *step,
								  Jsonb *result);
extern void saga_report_begin(SagaCall *call, FunctionCallInfo fcinfo, const char *function,
							  Saga *saga, SagaStep *step, SagaReport *report);
pg_noreturn extern void saga_step_stale(const Saga *saga, text *step, int64 token);

extern Datum saga_state_result(SagaCall *call, const char *state);

#endif							/* KEEP_SAGA_H */
