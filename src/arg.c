/*
 * arg.c
 *		What SQL functions check first: may they write?  Required arguments, lifetimes,
 *		arrays.
 *
 * pg_keep's functions are not STRICT: a NULL where a value is needed is a
 * mistake in the request and says so, instead of doing nothing in silence.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/timestamp.h"

/* Refuse (22004) a NULL argument. */
void
keep_arg_require(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

/* An optional lifetime: NULL where not given, 22023 where not above zero. */
const Interval *
keep_arg_span(FunctionCallInfo fcinfo, int argno, const char *name)
{
	Interval   *span;

	if (PG_ARGISNULL(argno))
		return NULL;

	span = PG_GETARG_INTERVAL_P(argno);
	keep_clock_check_span(span, name, false);
	return span;
}

/* An optional amount, "none" where NULL; raises 22023 where it is not above zero. */
int64
keep_arg_amount(FunctionCallInfo fcinfo, int argno, int64 none)
{
	int64		amount;

	if (PG_ARGISNULL(argno))
		return none;
	amount = PG_GETARG_INT64(argno);
	if (amount <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("amount must be above zero"),
				 errdetail("It is " INT64_FORMAT ".", amount)));
	return amount;
}

/* A required number of things, of which there is one at least (22023). */
int
keep_arg_count(FunctionCallInfo fcinfo, int argno, const char *name)
{
	keep_arg_require(fcinfo, argno, name);
	if (PG_GETARG_INT32(argno) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name)));
	return PG_GETARG_INT32(argno);
}

/* A required token, which is above 0 as every one that is drawn (22023). */
int64
keep_arg_token(FunctionCallInfo fcinfo, int argno)
{
	keep_arg_require(fcinfo, argno, "token");
	if (PG_GETARG_INT64(argno) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("token must be greater than zero")));
	return PG_GETARG_INT64(argno);
}

/* A required text of at most that many bytes, and not empty (22023). */
text *
keep_arg_name(FunctionCallInfo fcinfo, int argno, const char *name, Size limit)
{
	text	   *value;

	keep_arg_require(fcinfo, argno, name);
	value = PG_GETARG_TEXT_PP(argno);
	if (VARSIZE_ANY_EXHDR(value) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be empty", name)));
	if (VARSIZE_ANY_EXHDR(value) > limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("It has %zu bytes, the limit is %zu.",
						   VARSIZE_ANY_EXHDR(value), limit)));
	return value;
}

/* An array argument that is not NULL; raises 22023 for more than one dimension. */
ArrayType *
keep_arg_vector(FunctionCallInfo fcinfo, int argno, const char *name)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(argno);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be a one-dimensional array", name)));
	return array;
}

/*
 * Refuse to write in a read-only transaction and on a standby (25006), and
 * beneath a function that is wrongly labelled PARALLEL SAFE (25000): the
 * executor would notice some writes only when it is too late for a good answer.
 */
void
keep_require_write(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
}

/*
 * The elements of a required one-dimensional array without NULLs, palloc'd.
 * Raises 22004 for a NULL array or element, 22023 for more dimensions.
 */
Datum *
keep_arg_array(FunctionCallInfo fcinfo, int argno, const char *name,
			   Oid elemtype, int *count)
{
	ArrayType  *array;
	Datum	   *elems;
	bool	   *nulls;

	keep_arg_require(fcinfo, argno, name);
	array = keep_arg_vector(fcinfo, argno, name);

	/* text, jsonb: variable length, int alignment */
	deconstruct_array(array, elemtype, -1, false, TYPALIGN_INT, &elems, &nulls, count);
	for (int i = 0; i < *count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", name)));
	return elems;
}
