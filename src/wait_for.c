/*
 * wait_for.c
 *		SQL function wait_for: the entry, once another session has written it.
 *
 * The rendezvous of a synchronous caller with work that is done elsewhere: the
 * worker puts its result under the key that the caller waits on.
 */
#include "postgres.h"

#include "arg.h"
#include "entry.h"
#include "wait.h"

PG_FUNCTION_INFO_V1(keep_wait_for);

/*
 * keep.wait_for(store regclass, key text, after_version bigint,
 *				 timeout interval) returns setof keep.entry
 *
 * The live entry once its version is above after_version; no row where it is
 * not within "timeout" (cut to pg_keep.max_wait).  Each look has a snapshot of
 * its own, so it sees what others commit meanwhile.  Raises 0A000 where it
 * would have to wait at REPEATABLE READ or above, 22023 for a negative version
 * or time.
 */
Datum
keep_wait_for(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	KeepWait	wait;
	int64		after;
	bool		there;

	keep_arg_require(fcinfo, 2, "after_version");
	keep_arg_require(fcinfo, 3, "timeout");
	after = entry_version_arg(fcinfo, 2, "after_version");
	keep_wait_begin(&wait, PG_GETARG_INTERVAL_P(3), "keep.wait_for()");
	entry_begin(&call, fcinfo, false, NULL, 0);

	keep_wait_on(&wait, call.table->relid, call.key);
	while (!(there = entry_read(&call, &row, false) && entry_live(&row) && row.version > after) &&
		   keep_wait_next(&wait, PG_INT64_MAX))
		entry_forget();
	keep_wait_end(&wait);
	entry_count_found(&call, there, !there);
	return entry_result(&call, fcinfo, there ? &row : NULL);
}
