/*
 * wait.c
 *		Waiting for what other transactions commit.
 *
 * The caller looks with a fresh snapshot, calls keep_wait_next(), and looks
 * again.  The pause between two looks grows, up to a bound.  While it waits,
 * the snapshot of the statement that called it holds vacuum back, which is why
 * pg_keep.max_wait caps every wait.
 */
#include "postgres.h"

#include <limits.h>

#include "wait.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define FIRST_PAUSE_USECS	2000
#define LAST_PAUSE_USECS	100000

/* pg_keep.max_wait, in milliseconds */
static int	max_wait = 60000;

/* Define the GUC; called once, from _PG_init(). */
void
keep_wait_init(void)
{
	DefineCustomIntVariable("pg_keep.max_wait",
							"Longest time that a function of pg_keep waits.",
							"Longer waits are cut to this. A waiting statement holds vacuum back.",
							&max_wait,
							60000, 0, INT_MAX,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

/*
 * Begin to wait for at most "limit".  Raises 22023 for a negative limit, and
 * 0A000 where waiting is asked for in a transaction whose snapshot stands
 * still: it would never see what it waits for.
 */
void
keep_wait_begin(KeepWait *wait, const Interval *limit, const char *function)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz cap = TimestampTzPlusMilliseconds(now, max_wait);
	TimestampTz asked;

	asked = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now),
													IntervalPGetDatum(limit)));
	if (asked < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time to wait must not be negative")));
	if (asked > now && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s can wait only at isolation level READ COMMITTED", function),
				 errdetail("The snapshot of this transaction does not see what others commit.")));
	wait->deadline = Min(asked, cap);
	wait->pause = FIRST_PAUSE_USECS;
}

/*
 * Sleep until the next look, for at most "at_most" microseconds.  Returns
 * false, without sleeping, where the time is over.  Answers to cancel.
 */
bool
keep_wait_next(KeepWait *wait, int64 at_most)
{
	int64		left = wait->deadline - GetCurrentTimestamp();
	int64		sleep;

	if (left <= 0)
		return false;
	sleep = Max(Min(Min(wait->pause, left), at_most), 0);
	wait->pause = Min(wait->pause * 2, LAST_PAUSE_USECS);

	/* a full millisecond at least, else the last look would be a busy loop */
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 (sleep + 999) / 1000, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}
