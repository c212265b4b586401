/*
 * saga_model.h
 *		What a saga log must answer, by the rules alone.
 *
 * Time is counted in units of 600 s, so long that a run takes much less than
 * one; what rests after a failure does so in seconds.
 */
#ifndef SAGA_MODEL_H
#define SAGA_MODEL_H

#include "saga_load.h"

#define MODEL_SAGAS 6
#define MODEL_STEPS 5
#define MODEL_UNIT 600
#define NO_TIME INT64_C(-1)

/* One call, its texts still numbers. */
typedef struct SagaOp
{
	SagaKind	kind;
	int			saga;
	int			step;
	int			request;		/* equal numbers are equal steps; even: no compensation */
	bool		raises;			/* the action does */
	bool		forbidden;		/* the action is not allowed */
	int			span;			/* deadline or lease, in units; 0: none */
	int64_t		token;
	bool		ok;
	int			value;			/* result; 0: none */
} SagaOp;

typedef struct SagaReply
{
	SagaState	state;
	StepStatus	status;
	bool		token;			/* there is a new one */
	int64_t		value;			/* result; 0: none */
	bool		replayed;
	int			pending;
	int			count;			/* compensations that were claimed */
	bool		claimed[MODEL_SAGAS][MODEL_STEPS];
} SagaReply;

typedef struct ModelStep
{
	StepStatus	status;
	bool		remote;
	int			request;
	int64_t		token;
	int64_t		lease;			/* seconds, or NO_TIME */
	int64_t		retry;
	int64_t		place;
	int			attempts;
	int64_t		value;
} ModelStep;

typedef struct ModelSaga
{
	SagaState	state;
	int64_t		deadline;
	int64_t		last_place;
	bool		for_remote;		/* what it waits for, while being compensated */
	int64_t		due;
	ModelStep	steps[MODEL_STEPS];
} ModelSaga;

typedef struct SagaModel
{
	ModelSaga	sagas[MODEL_SAGAS];
	int64_t		now;			/* in units */
	int			max_attempts;
	bool		fails;			/* local compensations do, for now */
	bool		in_transaction;
	int64_t		actions;
	int64_t		undoings;
} SagaModel;

/* saga_model.c */
extern const char *model_saga(SagaModel *model, const SagaOp *op, SagaReply *reply);

#endif							/* SAGA_MODEL_H */
