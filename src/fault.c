/*
 * fault.c
 *		Points at which a test has the server killed.
 *
 * pg_keep.fault_at = n: the n-th point that the backend passes from then on is
 * where it kills itself, as kill -9 does.  The postmaster then ends all other
 * backends and recovers from the log; what was in shared memory and in the
 * buffers of the log is lost.  pg_keep.fault_server has it kill the postmaster
 * as well: then somebody has to start the server again.  With
 * pg_keep.fault_flush all that the transaction has logged so far is written
 * before, so that recovery finds a transaction that ends in its middle.
 *
 * A transaction that has passed a point passes one more before its commit, and
 * one after that, when the client has no answer yet.
 */
#include "postgres.h"

#include "fault.h"

#ifdef KEEP_FAULT_POINTS

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/guc.h"

static int	fault_at = 0;
static bool fault_server = false;
static bool fault_flush = false;
static bool fault_trace = false;

static int	passed = 0;
static bool passed_in_transaction = false;

/* To set pg_keep.fault_at, to whatever value, begins to count anew. */
static void
count_anew(int newval, void *extra)
{
	passed = 0;
}

/* Pass a point, or die there. */
void
keep_fault(const char *name)
{
	passed_in_transaction = true;
	if (fault_at == 0)
		return;
	passed++;
	if (fault_trace)
		write_stderr("pg_keep: passed fault point %d \"%s\"\n", passed, name);
	if (passed != fault_at)
		return;
	write_stderr("pg_keep: killed at fault point \"%s\"\n", name);
	if (fault_flush && XactLastRecEnd != InvalidXLogRecPtr)
		XLogFlush(XactLastRecEnd);
	if (fault_server)
		kill(PostmasterPid, SIGKILL);
	kill(MyProcPid, SIGKILL);
	for (;;)
		pg_usleep(1000000L);
}

/* Transaction callback */
static void
pass_commit(XactEvent event, void *arg)
{
	if (passed_in_transaction && event == XACT_EVENT_PRE_COMMIT)
		KEEP_FAULT("before the commit");
	if (passed_in_transaction && event == XACT_EVENT_COMMIT)
		KEEP_FAULT("after the commit");
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		passed_in_transaction = false;
}

/* Called once, from _PG_init(). */
void
keep_fault_init(void)
{
	DefineCustomIntVariable("pg_keep.fault_at",
							"Number of the fault point at which the backend kills itself; 0: none.",
							NULL, &fault_at, 0, 0, PG_INT32_MAX, PGC_SUSET, 0,
							NULL, count_anew, NULL);
	DefineCustomBoolVariable("pg_keep.fault_server",
							 "Has a fault point kill the whole server.",
							 NULL, &fault_server, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("pg_keep.fault_flush",
							 "Has a fault point write the log before.",
							 NULL, &fault_flush, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("pg_keep.fault_trace",
							 "Logs the fault points that are passed.",
							 NULL, &fault_trace, false, PGC_SUSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(pass_commit, NULL);
}

#endif							/* KEEP_FAULT_POINTS */
