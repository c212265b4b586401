/*
 * clock.c
 *		What time it is, and arithmetic with lifetimes.
 *
 * Expiry goes by the wall clock at the moment of the decision, never by now(),
 * which stands still in a long transaction.  Every statement of pg_keep and
 * every decision in C reads the clock here, so that tests can move it.
 */
#include "postgres.h"

#include <limits.h>

#include "clock.h"
#include "compat.h"

#include "access/transam.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* pg_keep.test_clock_offset: milliseconds added to the clock, for tests */
static int	test_clock_offset = 0;

PG_FUNCTION_INFO_V1(keep_clock);
PG_FUNCTION_INFO_V1(keep_transactions_ended);

/* Define the clock's GUC; called once, from _PG_init(). */
void
keep_clock_init(void)
{
	DefineCustomIntVariable("pg_keep.test_clock_offset",
							"Shifts the clock that pg_keep goes by.",
							"For tests: makes entries expire without waiting.",
							&test_clock_offset,
							0, INT_MIN + 1, INT_MAX,
							PGC_SUSET,
							GUC_UNIT_MS | GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL,
							NULL, NULL, NULL);
}

/* The time by which pg_keep decides what has expired. */
TimestampTz
keep_clock_now(void)
{
	return GetCurrentTimestamp() + (int64) test_clock_offset * 1000;
}

/* Microseconds of a clock that nobody sets, to measure how long something takes. */
int64
keep_clock_ticks(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/*
 * How a statement reads the clock.  The server's own function is the quicker
 * one to call; ours takes its place while a test shifts the clock.
 */
const char *
keep_clock_sql(void)
{
	return test_clock_offset == 0 ? "pg_catalog.clock_timestamp()" : "keep.clock()";
}

/*
 * How many transactions that wrote anything have ended, in the whole cluster.
 *
 * While this stands still, nobody's writes have become visible.  Read without
 * ProcArrayLock: whoever has found a rival's transaction to have ended has
 * taken that lock since, and so reads a count that includes it.
 */
uint64
keep_clock_ended(void)
{
	return TransamVariables->xactCompletionCount;
}

/*
 * start + span, in the session's time zone for spans of days and months.
 * Raises 22008 where the sum is out of range.
 */
TimestampTz
keep_clock_after(TimestampTz start, const Interval *span)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(start),
												   IntervalPGetDatum(span)));
}

/*
 * Refuse (22023) a span of time that is negative, zero (unless "or_zero") or
 * not finite.  "what" names the argument or option in the message.
 */
void
keep_clock_check_span(const Interval *span, const char *what, bool or_zero)
{
	TimestampTz now;
	TimestampTz later;

	if (INTERVAL_NOT_FINITE(span))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be finite", what),
				 errhint("Use NULL where nothing should expire.")));

	now = keep_clock_now();
	later = keep_clock_after(now, span);
	if (later < now || (later == now && !or_zero))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 or_zero ? errmsg("%s must not be negative", what)
				 : errmsg("%s must be greater than zero", what)));
}

/*
 * keep.clock() returns timestamptz
 *
 * The time pg_keep goes by.  Volatile: it moves on within a statement.
 */
Datum
keep_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(keep_clock_now());
}

/*
 * keep.transactions_ended() returns bigint
 *
 * See keep_clock_ended(); for pg_keep's own statements.
 */
Datum
keep_transactions_ended(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) keep_clock_ended());
}
