/*
 * subxact.c
 *		Work in a subtransaction of its own.
 *
 * For what has to be undone while the caller goes on: locks can be given back
 * in no other way.
 */
#include "postgres.h"

#include "subxact.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/*
 * Do the work in a subtransaction.  Nothing of it stays where it returns false
 * or raises an error; *done is then false, and the error, copied into the
 * current memory context, is returned.  Else NULL.
 */
ErrorData *
keep_subxact(KeepWork work, void *arg, bool *done)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	*done = false;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*done = work(arg);
		if (*done)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		*done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* The same, but errors pass through; was it done? */
bool
keep_subxact_or_rethrow(KeepWork work, void *arg)
{
	bool		done;
	ErrorData  *error = keep_subxact(work, arg, &done);

	if (error != NULL)
		ReThrowError(error);
	return done;
}

/* What went wrong, in one line: the SQLSTATE and the message; palloc'd. */
char *
keep_error_text(const ErrorData *error)
{
	return psprintf("%s: %s", unpack_sql_state(error->sqlerrcode),
					error->message ? error->message : "");
}

/*
 * Is the error one that says nothing about the work, but something about
 * rivals, the server or the user's patience?  Of class 57 that is a cancel alone:
 * the others end the backend, and where they are mere errors they come from
 * another server.
 */
bool
keep_passes_through(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_T_R_SERIALIZATION_FAILURE) ||
		category == ERRCODE_INSUFFICIENT_RESOURCES ||
		error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}
