/*
 * request_model.c
 *		The rules of a request log, for one caller.
 */
#include "request_model.h"

#include <string.h>

/* Has its outcome been kept long enough? Then it is as good as gone. */
bool
record_over(const RequestModel *model, const Record *record)
{
	return (record->state == COMPLETED || record->state == FAILED) && model->retain != NEVER &&
		record->finished + model->retain <= model->now;
}

/* The record of this key that counts, or NULL */
static Record *
live_record(RequestModel *model, int key)
{
	Record	   *record = &model->records[key];

	return record->state == NO_RECORD || record_over(model, record) ? NULL : record;
}

static bool
same_request(const Record *record, const RequestOp *op)
{
	return record->once == (op->kind == ONCE) && record->request == op->request &&
		(!record->once || record->function == op->function);
}

static const char *
model_begin(RequestModel *model, const RequestOp *op, RequestAnswer *answer)
{
	Record	   *record = live_record(model, op->key);

	if (op->waits && model->no_waiting)
		return "0A000";
	if (record == NULL)
	{
		answer->state = STARTED;
		return "";
	}
	if (!same_request(record, op))
		return "KP422";
	if (record->state == IN_PROGRESS && record->lease_until > model->now)
	{
		answer->state = IN_FLIGHT;
		return "";
	}
	if (record->state == IN_PROGRESS && op->indeterminate)
		return "KP423";
	if (record->state == COMPLETED || record->state == FAILED)
	{
		answer->state = record->state;
		strcpy(answer->response, record->response);
		return "";
	}
	answer->state = RESUMED;
	strcpy(answer->checkpoint, record->checkpoint);
	return "";
}

/* What only the holder may do: checkpoint, complete, fail, release. */
static const char *
model_holder(RequestModel *model, const RequestOp *op, const char *value)
{
	Record	   *record = live_record(model, op->key);
	RequestState outcome = op->kind == COMPLETE ? COMPLETED : FAILED;

	if (record == NULL || record->once || record->token != op->token)
		return "KP412";
	if ((op->kind == COMPLETE || op->kind == FAIL) && record->state == outcome)
		return record->value == op->value ? "" : "KP412";
	if (record->state != IN_PROGRESS)
		return "KP412";
	if (op->kind == CHECKPOINT)
	{
		strcpy(record->checkpoint, value);
		record->lease_until = model->now + record->lease;
	}
	else if (op->kind == RELEASE)
		record->state = RELEASED;
	else
	{
		record->state = outcome;
		strcpy(record->response, value);
		record->value = op->value;
		record->finished = model->now;
	}
	return "";
}

static const char *
model_once(RequestModel *model, const RequestOp *op, RequestAnswer *answer)
{
	Record	   *record = live_record(model, op->key);

	if (record != NULL && !same_request(record, op))
		return "KP422";
	if (record != NULL)
	{
		answer->replayed = true;
		strcpy(answer->response, record->response);
		return "";
	}
	if (op->function == RAISES)
		return "RS001";
	if (op->function == CONFLICTS)
		return "40001";
	if (op->function == NESTED)
		return "55006";
	return "";
}

static void
model_expire(RequestModel *model, const RequestOp *op, RequestAnswer *answer)
{
	for (int key = 0; key < MODEL_KEYS; key++)
	{
		Record	   *record = &model->records[key];

		if (record_over(model, record) && answer->count < op->batch)
		{
			answer->count++;
			memset(record, 0, sizeof(*record));
		}
	}
}

/*
 * The SQLSTATE that a call must end with, empty where it succeeds; then also
 * the answer, but for a token or a response that only the log can know.
 */
const char *
model_request(RequestModel *model, const RequestOp *op, const char *value, RequestAnswer *answer)
{
	memset(answer, 0, sizeof(*answer));
	if (op->mistake[0])
		return op->mistake;
	switch (op->kind)
	{
		case BEGIN:
			return model_begin(model, op, answer);
		case ONCE:
			return model_once(model, op, answer);
		case EXPIRE:
			model_expire(model, op, answer);
			return "";
		default:
			return model_holder(model, op, value);
	}
}

/* Go on from the answer that has been found to be right. */
void
model_answered(RequestModel *model, const RequestOp *op, const RequestAnswer *answer)
{
	Record	   *record = &model->records[op->key];

	if (op->kind == BEGIN && (answer->state == STARTED || answer->state == RESUMED))
	{
		int			attempts = answer->state == STARTED ? 0 : record->attempts;

		if (answer->state == STARTED)
			memset(record, 0, sizeof(*record));
		record->state = IN_PROGRESS;
		record->request = op->request;
		record->token = answer->token.v;
		record->attempts = attempts + 1;
		record->lease = op->lease;
		record->lease_until = model->now + op->lease;
	}
	else if (op->kind == ONCE && !answer->replayed)
	{
		memset(record, 0, sizeof(*record));
		record->state = COMPLETED;
		record->once = true;
		record->request = op->request;
		record->function = op->function;
		record->token = NO_VALUE;
		record->finished = model->now;
		strcpy(record->response, answer->response);
		model->effects += op->function != NOTHING_BACK;
	}
}
