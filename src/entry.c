/*
 * entry.c
 *		One entry of a store: its life, reading, locking and writing it.
 *
 * Rules that hold for all that is built on this:
 *
 * - An entry lives until expires_at, exactly.  Whether it does is decided by
 *   the clock after the row is held: first lock, then look at the clock.
 * - A version is a raw draw from the store's sequence.  Per key versions rise,
 *   because they are drawn under the row lock; the one draw that cannot be,
 *   that of an INSERT, is done over where it may have been overtaken.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "draw.h"
#include "entry.h"
#include "fault.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "utils/lsyscache.h"

/* The outcome of a write that did not find the entry as it should be. */
Datum
entry_not_applied(EntryCall *call, FunctionCallInfo fcinfo, EntryLock lock,
				  const EntryRow *row)
{
	if (lock == ENTRY_STALE)
		return entry_outcome(call, fcinfo, STATUS_STALE, row);
	return entry_outcome(call, fcinfo, STATUS_ABSENT, NULL);
}

/* Is it live now? */
bool
entry_live(const EntryRow *row)
{
	return row->expires > keep_clock_now();
}

/* now + ttl, at most created + max_lifetime; ttl may be NULL. */
TimestampTz
entry_expiry(const StoreOptions *opt, TimestampTz now, TimestampTz created,
			 const Interval *ttl)
{
	TimestampTz expires = ttl ? keep_clock_after(now, ttl) : ENTRY_NEVER;
	TimestampTz cap = opt->max_lifetime ? keep_clock_after(created, opt->max_lifetime)
		: ENTRY_NEVER;

	return Min(expires, cap);
}

/*
 * Expiry of a live entry after a write that keeps it where nothing is said:
 * "ttl" is the call's, or NULL.
 */
TimestampTz
entry_kept_expiry(const EntryCall *call, const EntryRow *row, TimestampTz now,
				  const Interval *ttl)
{
	if (ttl == NULL)
		ttl = call->opt->ttl;
	if (ttl == NULL || call->opt->expire_after == STORE_EXPIRE_AFTER_CREATE)
		return row->expires;
	return entry_expiry(call->opt, now, row->created, ttl);
}

/*
 * The n-th row that the last statement returned.  It lives no longer than
 * max_lifetime allows, which may have been lowered since it was written.
 */
void
entry_row_at(const EntryCall *call, uint64 n, EntryRow *row)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	HeapTuple	tuple = SPI_tuptable->vals[n];
	Datum		values[STORE_NCOLS];
	bool		nulls[STORE_NCOLS];

	for (int i = 0; i < STORE_NCOLS; i++)
		values[i] = heap_getattr(tuple, i + 1, desc, &nulls[i]);
	keep_refuse_null(nulls[STORE_COL_VALUE] || nulls[STORE_COL_VERSION] ||
					 nulls[STORE_COL_CREATED] || nulls[STORE_COL_UPDATED]);
	row->value = values[STORE_COL_VALUE];
	row->version = DatumGetInt64(values[STORE_COL_VERSION]);
	row->created = DatumGetTimestampTz(values[STORE_COL_CREATED]);
	row->updated = DatumGetTimestampTz(values[STORE_COL_UPDATED]);
	row->expires = nulls[STORE_COL_EXPIRES] ? ENTRY_NEVER
		: DatumGetTimestampTz(values[STORE_COL_EXPIRES]);
	if (call->opt->max_lifetime != NULL)
		row->expires = Min(row->expires,
						   keep_clock_after(row->created, call->opt->max_lifetime));
}

/* A column of that row beyond those of every statement, counting from 1. */
Datum
entry_column_at(uint64 n, int column)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[n], SPI_tuptable->tupdesc,
						 STORE_NCOLS + column, &isnull);
}

/* Run a statement on one key; is there a row? */
static bool
run_one(EntryCall *call, StoreStatement statement, Datum *values, const char *nulls,
		bool read_only, EntryRow *row)
{
	if (keep_run(call->table, statement, values, nulls, read_only) == 0)
		return false;
	entry_row_at(call, 0, row);
	return true;
}

/*
 * What is there under the key, live or not.  read_only: see keep_run().
 */
bool
entry_read(EntryCall *call, EntryRow *row, bool read_only)
{
	return run_one(call, STORE_READ, &call->key, NULL, read_only, row);
}

/* Lock the row by one of the statements that take only the key. */
bool
entry_lock_by(EntryCall *call, StoreStatement statement, EntryRow *row)
{
	return run_one(call, statement, &call->key, NULL, false, row);
}

/* Raise: a row that is there did not take a write. */
void
entry_suppressed(const EntryCall *call)
{
	keep_suppressed(call->table->relid, "entry");
}

/*
 * Take the live entry by a statement that takes the key, and the version where
 * one is asked for.
 *
 * The clock is read after the row is held.  A row that the statement did not
 * find is looked at once more, to tell stale from absent.
 */
static EntryLock
take(EntryCall *call, StoreStatement statement, int64 version, EntryRow *row)
{
	Datum		values[2] = {call->key, Int64GetDatum(version)};

	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		if (run_one(call, statement, values, NULL, false, row))
		{
			KEEP_FAULT("entry: locked or deleted");
			return entry_live(row) ? ENTRY_LOCKED : ENTRY_ABSENT;
		}
		if (!entry_read(call, row, false) || !entry_live(row))
			return ENTRY_ABSENT;
		if (version != ENTRY_ANY_VERSION && row->version != version)
			return ENTRY_STALE;
		CHECK_FOR_INTERRUPTS();
	}
	entry_suppressed(call);
}

/* Lock the live entry, of a version or of any, for an update. */
EntryLock
entry_lock(EntryCall *call, int64 version, EntryRow *row)
{
	return take(call, version == ENTRY_ANY_VERSION ? STORE_LOCK : STORE_LOCK_VERSION,
				version, row);
}

/*
 * Delete the entry, of a version or of any.  ENTRY_LOCKED: it was live, and is
 * gone.  One that has expired goes as well, and is ENTRY_ABSENT.
 */
EntryLock
entry_delete(EntryCall *call, int64 version, EntryRow *row)
{
	return take(call, version == ENTRY_ANY_VERSION ? STORE_DELETE : STORE_DELETE_VERSION,
				version, row);
}

/*
 * To be called after versions have been drawn.
 *
 * A commit that has written to an unlogged table only does not wait for WAL,
 * not even for that of the sequence, which may be another transaction's.  Were
 * that lost in a crash, the versions would be drawn again; and so they would by
 * a synchronous standby that takes over without it.  To have logged something
 * makes the commit wait for the standby.
 */
void
entry_versions_drawn(const EntryCall *call)
{
	XLogRecPtr	lsn;

	if (!call->opt->unlogged || synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		return;
	(void) keep_last_draw(call->opt->sequence, &lsn);
	if (XLogNeedsFlush(lsn))
		XLogFlush(lsn);
	if (SyncRepRequested() && SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0' &&
		WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH] < lsn && XactLastRecEnd < lsn)
		XactLastRecEnd = lsn;
}

/* As run_one(), for a statement that draws a version. */
static bool
run_drawing(EntryCall *call, StoreStatement statement, Datum *values, const char *nulls,
			EntryRow *row)
{
	bool		found = run_one(call, statement, values, nulls, false, row);

	if (found)
	{
		KEEP_FAULT("entry: version drawn");
		entry_versions_drawn(call);
	}
	return found;
}

/*
 * Raise: the transaction's snapshot sees two rows under a key, one that was
 * deleted since it was taken and one that this transaction has inserted.  The
 * server lets such an INSERT pass; a read would find the wrong one of the two.
 */
void
entry_deleted_since(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent delete")));
}

/*
 * Raise: the version of a new entry cannot be drawn again, as its row may be
 * inserted but not updated.  Without a rival there is no need to: retry.
 */
void
entry_overtaken(const EntryCall *call)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access to \"%s\" due to concurrent writes",
					get_rel_name(call->table->relid)),
			 errdetail("The version of the new entry may have been overtaken, and row-level "
					   "security or a trigger does not let it be drawn again."),
			 errhint("The transaction might succeed if retried.")));
}

/*
 * An INSERT draws its version and reads the clock before it may have to wait
 * for a rival under the same key.  Where that rival wrote higher versions and
 * then deleted the key, ours would fall behind; where it took long, the entry
 * would be born old.  The latter holds for one in the place of an expired row
 * as well.
 *
 * No transaction has ended since: no rival's delete has come through, and
 * nobody has been waited for.  Nobody has drawn since: ours is the highest.
 * Otherwise draw again; now we hold the row.  "ended" is keep_clock_ended()
 * from before the INSERT.
 */
static void
redraw_if_overtaken(EntryCall *call, uint64 ended, const Interval *ttl, EntryRow *row)
{
	TimestampTz now;
	TimestampTz expires;
	XLogRecPtr	lsn;
	bool		overtaken;
	Datum		values[3];

	if (keep_clock_ended() == ended)
		return;
	now = keep_clock_now();
	overtaken = keep_last_draw(call->opt->sequence, &lsn) != row->version;
	if (!overtaken && now - row->updated <= KEEP_LATE_USECS)
		return;

	expires = entry_expiry(call->opt, now, now, ttl);
	values[0] = call->key;
	values[1] = TimestampTzGetDatum(now);
	values[2] = TimestampTzGetDatum(expires);
	if (!run_drawing(call, STORE_REDRAW, values, expires == ENTRY_NEVER ? "  n" : NULL, row) &&
		overtaken)
		entry_overtaken(call);
	KEEP_FAULT("entry: drawn again");
}

/*
 * Run one of the INSERT statements: no row where the entry that is there is
 * not in the state that the statement writes to.  Then we hold that row.
 */
static bool
run_insert(EntryCall *call, StoreStatement statement, Datum value, const Interval *ttl,
		   Datum path, Datum by, bool *created, EntryRow *row)
{
	uint64		ended = keep_clock_ended();
	TimestampTz now = keep_clock_now();
	TimestampTz expires;
	Datum		values[8];
	char		nulls[] = "        ";
	bool		inserted;

	if (ttl == NULL)
		ttl = call->opt->ttl;
	expires = entry_expiry(call->opt, now, now, ttl);

	values[0] = call->key;
	values[1] = value;
	values[2] = IntervalPGetDatum(ttl);
	values[3] = IntervalPGetDatum(call->opt->max_lifetime);
	values[4] = TimestampTzGetDatum(now);
	values[5] = TimestampTzGetDatum(expires);
	values[6] = path;
	values[7] = by;
	nulls[2] = ttl ? ' ' : 'n';
	nulls[3] = call->opt->max_lifetime ? ' ' : 'n';
	nulls[5] = expires == ENTRY_NEVER ? 'n' : ' ';

	if (!run_drawing(call, statement, values, nulls, row))
		return false;

	inserted = DatumGetBool(entry_column_at(0, 1));
	*created = inserted || statement == STORE_CREATE;
	KEEP_FAULT("entry: put");
	if (!*created)
		return true;
	redraw_if_overtaken(call, ended, ttl, row);
	if (IsolationUsesXactSnapshot() &&
		keep_run(call->table, STORE_READ, values, NULL, false) > 1)
		entry_deleted_since();
	return true;
}

/*
 * Create the entry; "expired" where an expired one has been seen in its place.
 * False where a row is in the way after all.
 */
bool
entry_create(EntryCall *call, bool expired, Datum value, const Interval *ttl, EntryRow *row)
{
	bool		created;

	return run_insert(call, expired ? STORE_CREATE : STORE_INSERT, value, ttl,
					  (Datum) 0, (Datum) 0, &created, row);
}

/*
 * Create the entry or write to the live one, by STORE_PUT or STORE_INCREMENT
 * (path, by).  Returns whether it was created.
 */
bool
entry_upsert(EntryCall *call, StoreStatement statement, Datum value, const Interval *ttl,
			 Datum path, Datum by, EntryRow *row)
{
	bool		created;

	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		if (run_insert(call, statement, value, ttl, path, by, &created, row))
			return created;
		/* an expired entry is there, and its row is ours: make it a new one */
		if (entry_create(call, true, value, ttl, row))
			return true;
		CHECK_FOR_INTERRUPTS();
	}
	entry_suppressed(call);
}

/* Give the locked entry a new value, and with it a new version. */
void
entry_update(EntryCall *call, Datum value, TimestampTz now, TimestampTz expires,
			 EntryRow *row)
{
	Datum		values[4] = {call->key, value, TimestampTzGetDatum(now),
	TimestampTzGetDatum(expires)};

	if (!run_drawing(call, STORE_UPDATE, values, expires == ENTRY_NEVER ? "   n" : NULL, row))
		entry_suppressed(call);
	KEEP_FAULT("entry: updated");
}

/* Give the locked entry another expiry; value and version stay. */
void
entry_set_expiry(EntryCall *call, TimestampTz expires, EntryRow *row)
{
	Datum		values[2] = {call->key, TimestampTzGetDatum(expires)};

	if (!run_one(call, STORE_RENEW, values, expires == ENTRY_NEVER ? " n" : NULL, false, row))
		entry_suppressed(call);
	KEEP_FAULT("entry: renewed");
}
