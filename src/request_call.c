/*
 * request_call.c
 *		SQL functions on a request log.
 *
 * begin_request and the four that end or renew it are for work outside of the
 * database, under a lease; call_once is for work inside, in one transaction.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "json.h"
#include "request.h"
#include "result.h"
#include "routine.h"
#include "wait.h"

#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"

PG_FUNCTION_INFO_V1(keep_begin_request);
PG_FUNCTION_INFO_V1(keep_checkpoint_request);
PG_FUNCTION_INFO_V1(keep_complete_request);
PG_FUNCTION_INFO_V1(keep_fail_request);
PG_FUNCTION_INFO_V1(keep_release_request);
PG_FUNCTION_INFO_V1(keep_call_once);

#define TAKE_RIGHTS		(ACL_SELECT | ACL_INSERT | ACL_UPDATE)
#define HOLD_RIGHTS		(ACL_SELECT | ACL_UPDATE)

/* Argument on_lapse: may a lease that is over be taken over? */
static bool
reclaim_arg(FunctionCallInfo fcinfo, int argno)
{
	char	   *value;

	keep_arg_require(fcinfo, argno, "on_lapse");
	value = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (strcmp(value, "reclaim") == 0)
		return true;
	if (strcmp(value, "indeterminate") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for on_lapse: \"%s\"", value),
				 errhint("Valid values are \"reclaim\" and \"indeterminate\".")));
	return false;
}

/* End keep.begin_request(). */
static Datum
begin_result(RequestCall *call, FunctionCallInfo fcinfo, RequestFound found,
			 const RequestRow *row)
{
	bool		mine = found == REQUEST_STARTED || found == REQUEST_RESUMED;
	const char *state = found == REQUEST_STARTED ? "started" :
		found == REQUEST_RESUMED ? "resumed" : found == REQUEST_BUSY ? "in_flight" : row->state;
	Datum		values[4] = {CStringGetTextDatum(state), Int64GetDatum(row->token),
	PointerGetDatum(row->checkpoint), PointerGetDatum(row->response)};
	bool		nulls[4] = {false, !mine, !mine || row->checkpoint == NULL,
	found != REQUEST_HAS_OUTCOME || row->response == NULL};
	Datum		result = keep_result_row(fcinfo, call->caller, values, nulls);

	SPI_finish();
	return result;
}

/*
 * keep.begin_request(log regclass, key text, request jsonb, lease interval,
 *					  wait interval, on_lapse text) returns keep.request
 *
 * State started or resumed: the request is the caller's until the lease ends,
 * under the token.  in_flight: another is at work on it, also after waiting up
 * to "wait".  completed or failed: the stored response.  Raises KP422 for
 * another request under the key, KP423 for a lease that ended without an
 * outcome where on_lapse is 'indeterminate'.
 */
Datum
keep_begin_request(PG_FUNCTION_ARGS)
{
	RequestCall call;
	RequestWork work;
	RequestRow	row;
	RequestFound found;
	KeepWait	wait;

	keep_arg_require(fcinfo, 2, "request");
	keep_arg_require(fcinfo, 3, "lease");
	keep_arg_require(fcinfo, 4, "wait");
	work.request = PG_GETARG_JSONB_P(2);
	work.lease = keep_arg_span(fcinfo, 3, "lease");
	work.reclaim = reclaim_arg(fcinfo, 5);
	keep_wait_begin(&wait, PG_GETARG_INTERVAL_P(4), "keep.begin_request()");
	work.hash = keep_json_hash("request", work.request);
	request_open(&call, fcinfo, "keep.begin_request()", TAKE_RIGHTS);

	keep_wait_on(&wait, call.table->relid, PointerGetDatum(call.key));
	while ((found = request_take(&call, &work, &row)) == REQUEST_BUSY &&
		   keep_wait_next(&wait, row.lease_until == DT_NOEND ? PG_INT64_MAX
						  : row.lease_until - keep_clock_now() + 1))
	{
		/* forget what this look has read */
		SPI_finish();
		SPI_connect();
	}
	keep_wait_end(&wait);
	return begin_result(&call, fcinfo, found, &row);
}

/* Begin a call of the holder's; returns the token, which is above 0 (22023). */
static int64
open_held(RequestCall *call, FunctionCallInfo fcinfo, const char *function)
{
	int64		token = keep_arg_token(fcinfo, 2);

	request_open(call, fcinfo, function, HOLD_RIGHTS);
	return token;
}

/* The response in argument 3 becomes the outcome of the request. */
static Datum
finish(FunctionCallInfo fcinfo, const char *function, const char *state)
{
	RequestCall call;
	int64		token;

	keep_arg_require(fcinfo, 3, "response");
	token = open_held(&call, fcinfo, function);
	request_finish(&call, token, state, PG_GETARG_JSONB_P(3));
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * keep.complete_request(log regclass, key text, token bigint, response jsonb)
 *		returns void
 *
 * The response is what a retry gets, until retention is over.  Raises KP412
 * where the token's holder has lost the request.
 */
Datum
keep_complete_request(PG_FUNCTION_ARGS)
{
	return finish(fcinfo, "keep.complete_request()", REQUEST_COMPLETED);
}

/*
 * keep.fail_request(log regclass, key text, token bigint, response jsonb)
 *		returns void
 *
 * The same for a failure that is final: a retry is told so.
 */
Datum
keep_fail_request(PG_FUNCTION_ARGS)
{
	return finish(fcinfo, "keep.fail_request()", REQUEST_FAILED);
}

/*
 * keep.checkpoint_request(log regclass, key text, token bigint, checkpoint jsonb)
 *		returns void
 *
 * Whoever resumes the request is given the checkpoint.  Renews the lease.
 * Raises KP412.
 */
Datum
keep_checkpoint_request(PG_FUNCTION_ARGS)
{
	RequestCall call;
	int64		token;

	keep_arg_require(fcinfo, 3, "checkpoint");
	token = open_held(&call, fcinfo, "keep.checkpoint_request()");
	request_checkpoint(&call, token, PG_GETARG_JSONB_P(3));
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * keep.release_request(log regclass, key text, token bigint) returns void
 *
 * For a holder who cannot go on: the next caller resumes at once.  Raises
 * KP412.
 */
Datum
keep_release_request(PG_FUNCTION_ARGS)
{
	RequestCall call;
	int64		token = open_held(&call, fcinfo, "keep.release_request()");

	request_release(&call, token);
	SPI_finish();
	PG_RETURN_VOID();
}

/* The request of a call: the function and its arguments. */
static Jsonb *
call_request(const char *name, Jsonb *args)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_json_push_string(&state, "function", name, strlen(name));
	keep_json_push_json(&state, "args", args);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Call the function, whose record is the caller's, and store its response. */
static Jsonb *
call_and_store(RequestCall *call, Oid relid, Oid fn, Jsonb *args, int64 token)
{
	bool		isnull;
	Datum		value;
	Jsonb	   *response;

	/* again, as of now: the caller may have waited for the record */
	AcceptInvalidationMessages();
	keep_routine_check(fn);
	value = keep_routine_call(fn, JsonbPGetDatum(args), &isnull);
	response = isnull ? NULL : DatumGetJsonbP(value);

	/* it may have done anything, even to our table */
	call->table = keep_table_open(relid, &keep_request_kind, NoLock);
	call->opt = call->table->options;
	request_finish(call, token, REQUEST_COMPLETED, response);
	return response;
}

/*
 * keep.call_once(log regclass, key text, fn regprocedure, args jsonb)
 *		returns keep.call_result
 *
 * Runs fn(args) and stores its response, in this transaction: both or neither.
 * The uncommitted record is the lock: a concurrent call with the key waits, and
 * then replays.  A crash or an error frees it.  Raises KP422 for another
 * function or other arguments under the key, 55006 from within its own call,
 * and what the function raises.
 */
Datum
keep_call_once(PG_FUNCTION_ARGS)
{
	RequestCall call;
	RequestWork work = {.lease = NULL, .reclaim = true};
	RequestRow	row;
	RequestFound found;
	const char *name;
	Jsonb	   *args;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	Datum		result;

	keep_arg_require(fcinfo, 2, "fn");
	keep_arg_require(fcinfo, 3, "args");
	args = PG_GETARG_JSONB_P(3);
	request_open(&call, fcinfo, "keep.call_once()", TAKE_RIGHTS);
	keep_routine_check(PG_GETARG_OID(2));
	name = keep_routine_name(PG_GETARG_OID(2));
	work.request = call.opt->keep_request ? call_request(name, args) : NULL;
	work.hash = keep_json_hash(psprintf("call %s", name), args);

	found = request_take(&call, &work, &row);
	if (found == REQUEST_BUSY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("request \"%s\" is being run", text_to_cstring(call.key)),
				 errdetail("A function that call_once() runs cannot call itself under the same "
						   "key.")));
	if (found != REQUEST_HAS_OUTCOME)
		row.response = call_and_store(&call, PG_GETARG_OID(0), PG_GETARG_OID(2), args, row.token);
	values[0] = PointerGetDatum(row.response);
	nulls[0] = row.response == NULL;
	values[1] = BoolGetDatum(found == REQUEST_HAS_OUTCOME);
	result = keep_result_row(fcinfo, call.caller, values, nulls);
	SPI_finish();
	return result;
}
