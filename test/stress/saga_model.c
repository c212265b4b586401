/*
 * saga_model.c
 *		The rules of a saga log, for one caller.
 */
#include "saga_model.h"

#include <string.h>

static int64_t
now_of(const SagaModel *model)
{
	return model->now * MODEL_UNIT;
}

/* Is it, but for the compensation, something that may have happened? */
static bool
outstanding(const ModelStep *step)
{
	return step->status == T_RUNNING || step->status == T_DONE || step->status == T_COMPENSATING;
}

static bool
has_compensation(const ModelStep *step)
{
	return step->request % 2 == 1;
}

/* Which of two outstanding steps is compensated first? */
static bool
comes_before(const ModelStep *a, const ModelStep *b)
{
	if ((a->status == T_COMPENSATING) != (b->status == T_COMPENSATING))
		return a->status == T_COMPENSATING;
	if ((a->status == T_RUNNING) != (b->status == T_RUNNING))
		return a->status == T_RUNNING;
	if (a->status == T_RUNNING && a->lease != b->lease)
		return a->lease > b->lease;
	return a->place > b->place;
}

static void
pass_over(SagaModel *model, ModelSaga *saga)
{
	for (int i = 0; i < MODEL_STEPS; i++)
	{
		ModelStep  *step = &saga->steps[i];

		if (!has_compensation(step) &&
			(step->status == T_DONE ||
			 (step->status == T_RUNNING && step->lease <= now_of(model))))
			step->status = T_COMPENSATED;
	}
}

/* What comes next, and when; NULL: the saga is compensated. */
static ModelStep *
settle(SagaModel *model, ModelSaga *saga)
{
	for (;;)
	{
		ModelStep  *next = NULL;

		for (int i = 0; i < MODEL_STEPS; i++)
			if (outstanding(&saga->steps[i]) &&
				(next == NULL || comes_before(&saga->steps[i], next)))
				next = &saga->steps[i];
		if (next == NULL)
		{
			saga->state = S_COMPENSATED;
			return NULL;
		}
		saga->for_remote = next->remote && has_compensation(next);
		saga->due = next->status != T_DONE && next->lease > next->retry ? next->lease : next->retry;
		if (saga->due > now_of(model))
			return next;
		saga->due = now_of(model);
		if (has_compensation(next))
			return next;
		pass_over(model, saga);
	}
}

static void
turn(SagaModel *model, ModelSaga *saga)
{
	saga->state = S_COMPENSATING;
	(void) settle(model, saga);
}

static void
turn_if_overdue(SagaModel *model, ModelSaga *saga)
{
	if (saga->state == S_RUNNING && saga->deadline != NO_TIME && saga->deadline <= now_of(model))
		turn(model, saga);
}

static void
fail(SagaModel *model, ModelSaga *saga, ModelStep *step)
{
	int64_t		rest = step->attempts < 12 ? INT64_C(1) << step->attempts : 3600;

	step->attempts++;
	step->retry = now_of(model) + (rest > 3600 ? 3600 : rest);
	step->lease = NO_TIME;
	if (step->attempts >= model->max_attempts)
		saga->state = S_STUCK;
	else
		(void) settle(model, saga);
}

static void
go_back(SagaModel *model, ModelSaga *saga)
{
	ModelStep  *next;

	if (saga->state == S_RUNNING)
		turn(model, saga);
	while (saga->state == S_COMPENSATING && (next = settle(model, saga)) != NULL &&
		   !saga->for_remote && saga->due <= now_of(model))
	{
		if (model->fails)
		{
			fail(model, saga, next);
			return;
		}
		next->status = T_COMPENSATED;
		model->undoings++;
	}
}

static int
pending_remote(const ModelSaga *saga)
{
	int			count = 0;

	for (int i = 0; i < MODEL_STEPS; i++)
		count += outstanding(&saga->steps[i]) && saga->steps[i].remote &&
			has_compensation(&saga->steps[i]);
	return saga->state == S_COMPENSATED || saga->state == S_COMPLETED ? 0 : count;
}

/* run_step and enter_step up to where they find out whether there is something to do */
static const char *
find_step(SagaModel *model, const SagaOp *op, SagaReply *reply, bool *run)
{
	ModelSaga  *saga = &model->sagas[op->saga];
	ModelStep  *step = &saga->steps[op->step];
	bool		remote = op->kind == ENTER_STEP;

	turn_if_overdue(model, saga);
	if (step->status == NO_STEP && saga->state != S_RUNNING)
		*step = (ModelStep) {.status = T_REFUSED, .remote = remote};
	reply->status = T_REFUSED;
	if (step->status == T_REFUSED || (saga->state != S_RUNNING && saga->state != S_COMPLETED))
		return "";
	if (step->status != NO_STEP && (step->remote != remote || step->request != op->request ||
									(!remote && op->forbidden)))
		return "KP422";
	if (saga->state == S_COMPLETED && step->status != T_DONE)
		return "";
	reply->status = step->status == T_DONE ? T_DONE :
		step->status == T_RUNNING && step->lease > now_of(model) ? T_BUSY : T_RUN;
	reply->value = step->status == T_DONE ? step->value : 0;
	reply->replayed = !remote && step->status == T_DONE;
	*run = reply->status == T_RUN;
	return "";
}

static const char *
do_step(SagaModel *model, const SagaOp *op, SagaReply *reply)
{
	ModelSaga  *saga = &model->sagas[op->saga];
	ModelStep  *step = &saga->steps[op->step];
	bool		run = false;
	const char *error = find_step(model, op, reply, &run);

	if (error[0] || !run)
		return error;
	if (op->kind == RUN_STEP && (op->forbidden || op->raises))
		return op->forbidden ? "42501" : "SG001";
	step->remote = op->kind == ENTER_STEP;
	step->request = op->request;
	step->place = ++saga->last_place;
	step->attempts = 0;
	step->retry = NO_TIME;
	step->lease = step->remote ? now_of(model) + op->span * MODEL_UNIT : NO_TIME;
	step->status = step->remote ? T_RUNNING : T_DONE;
	step->value = 0;
	reply->token = step->remote;
	if (!step->remote)
	{
		reply->status = T_DONE;
		reply->value = step->value = ++model->actions;
	}
	return "";
}

static const char *
leave(SagaModel *model, const SagaOp *op, SagaReply *reply)
{
	ModelSaga  *saga = &model->sagas[op->saga];
	ModelStep  *step = &saga->steps[op->step];

	reply->status = op->ok ? T_DONE : T_FAILED;
	if (step->status == NO_STEP)
		return "KP404";
	if (step->token == op->token && step->status == reply->status && step->value == op->value)
		return "";
	if (step->token != op->token || step->status != T_RUNNING)
		return "KP412";
	step->status = reply->status;
	step->value = op->value;
	step->place = ++saga->last_place;
	step->lease = NO_TIME;
	if (saga->state == S_COMPENSATING)
		(void) settle(model, saga);
	return "";
}

static const char *
finish(SagaModel *model, const SagaOp *op, SagaReply *reply)
{
	ModelSaga  *saga = &model->sagas[op->saga];
	ModelStep  *step = &saga->steps[op->step];
	bool		again = op->ok && step->token == op->token && step->status == T_COMPENSATED;

	if (step->status == NO_STEP)
		return "KP404";
	if (!again && (step->token != op->token || step->status != T_COMPENSATING))
		return "KP412";
	if (!again && op->ok)
	{
		step->status = T_COMPENSATED;
		(void) settle(model, saga);
	}
	else if (!again)
	{
		step->token = NO_VALUE;
		fail(model, saga, step);
	}
	reply->state = saga->state;
	return "";
}

static void
claim(SagaModel *model, const SagaOp *op, SagaReply *reply)
{
	for (int i = 0; i < MODEL_SAGAS; i++)
	{
		ModelSaga  *saga = &model->sagas[i];
		ModelStep  *next;

		turn_if_overdue(model, saga);
		if (saga->state != S_COMPENSATING || !saga->for_remote || saga->due > now_of(model))
			continue;
		next = settle(model, saga);
		if (next == NULL || !saga->for_remote || saga->due > now_of(model))
			continue;
		next->status = T_COMPENSATING;
		next->lease = now_of(model) + op->span * MODEL_UNIT;
		saga->due = next->lease;
		reply->claimed[i][next - saga->steps] = true;
		reply->count++;
	}
}

/* Sagas that are due: past their deadline, or with a local compensation next */
static void
run_due(SagaModel *model)
{
	for (int i = 0; i < MODEL_SAGAS; i++)
	{
		ModelSaga  *saga = &model->sagas[i];

		if ((saga->state == S_RUNNING && saga->deadline != NO_TIME &&
			 saga->deadline <= now_of(model)) ||
			(saga->state == S_COMPENSATING && !saga->for_remote && saga->due <= now_of(model)))
			go_back(model, saga);
	}
}

static void
begin(SagaModel *model, const SagaOp *op)
{
	ModelSaga  *saga = &model->sagas[op->saga];

	if (saga->state == NO_SAGA)
		*saga = (ModelSaga) {
			.state = S_RUNNING,
			.deadline = op->span ? now_of(model) + op->span * MODEL_UNIT : NO_TIME
		};
	turn_if_overdue(model, saga);
}

static void
complete(SagaModel *model, ModelSaga *saga)
{
	bool		running = false;

	turn_if_overdue(model, saga);
	for (int i = 0; i < MODEL_STEPS; i++)
		running = running || saga->steps[i].status == T_RUNNING;
	if (saga->state == S_RUNNING && !running)
		saga->state = S_COMPLETED;
}

static void
resume(SagaModel *model, ModelSaga *saga)
{
	if (saga->state != S_STUCK)
		return;
	for (int i = 0; i < MODEL_STEPS; i++)
		if (outstanding(&saga->steps[i]))
		{
			saga->steps[i].attempts = 0;
			saga->steps[i].retry = NO_TIME;
		}
	turn(model, saga);
}

/*
 * The SQLSTATE that a call must end with, empty where it succeeds; then also
 * the reply, but for tokens, which only the log can know.
 */
const char *
model_saga(SagaModel *model, const SagaOp *op, SagaReply *reply)
{
	ModelSaga  *saga = &model->sagas[op->saga];

	memset(reply, 0, sizeof(*reply));
	if (model->in_transaction && (op->kind == RUN_COMPENSATIONS || op->kind == RUN_DUE))
		return "2D000";
	if (op->kind == CLAIM)
		claim(model, op, reply);
	else if (op->kind == RUN_DUE)
		run_due(model);
	else if (op->kind == BEGIN_SAGA)
		begin(model, op);
	else if (saga->state == NO_SAGA)
		return "KP404";
	else if (op->kind == RUN_STEP || op->kind == ENTER_STEP)
		return do_step(model, op, reply);
	else if (op->kind == LEAVE_STEP)
		return leave(model, op, reply);
	else if (op->kind == FINISH)
		return finish(model, op, reply);
	else if (op->kind == COMPLETE_SAGA)
		complete(model, saga);
	else if (op->kind == RESUME)
		resume(model, saga);
	else
	{
		go_back(model, saga);
		reply->pending = pending_remote(saga);
	}
	if (op->kind != CLAIM && op->kind != RUN_DUE)
		reply->state = saga->state;
	return "";
}
