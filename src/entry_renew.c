/*
 * entry_renew.c
 *		SQL functions about how long an entry lives: touch, get_and_touch,
 *		persist; and expire, for those whose life is over.
 *
 * None changes the value, the version or updated_at.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "entry.h"
#include "reap.h"
#include "sweep.h"

#include "utils/acl.h"

PG_FUNCTION_INFO_V1(keep_touch);
PG_FUNCTION_INFO_V1(keep_get_and_touch);
PG_FUNCTION_INFO_V1(keep_persist);
PG_FUNCTION_INFO_V1(keep_expire);

/*
 * Is a touch due, and to which expiry?
 *
 * With a ttl of the call's own, wherever that lengthens the life.  Else in a
 * store that expires after access, once renew_after (or a tenth of the ttl)
 * has passed since the last renewal, so that a busy session is not written at
 * every request; and once to reach the cap.
 */
static bool
touch_due(const EntryCall *call, const EntryRow *row, const Interval *ttl,
		  TimestampTz *expires)
{
	const StoreOptions *opt = call->opt;
	TimestampTz now = keep_clock_now();
	TimestampTz uncapped;
	int64		step;

	if (row->expires == ENTRY_NEVER)
		return false;
	if (ttl != NULL)
	{
		*expires = entry_expiry(opt, now, row->created, ttl);
		return *expires > row->expires;
	}
	if (opt->ttl == NULL || opt->expire_after != STORE_EXPIRE_AFTER_ACCESS)
		return false;

	*expires = entry_expiry(opt, now, row->created, opt->ttl);
	if (*expires <= row->expires)
		return false;
	uncapped = keep_clock_after(now, opt->ttl);
	step = opt->renew_after ? keep_clock_after(now, opt->renew_after) - now
		: (uncapped - now) / 10;
	return *expires < uncapped || *expires - row->expires >= step;
}

/*
 * Touch the entry: look first, and lock and write only when due.  Returns
 * false where there is no live entry; *written says whether it was renewed.
 */
static bool
touch(EntryCall *call, const Interval *ttl, bool *written, EntryRow *row)
{
	TimestampTz expires;

	*written = false;
	if (!entry_read(call, row, false) || !entry_live(row))
		return false;
	if (!touch_due(call, row, ttl, &expires))
		return true;

	if (entry_lock(call, ENTRY_ANY_VERSION, row) != ENTRY_LOCKED)
		return false;
	if (touch_due(call, row, ttl, &expires))
	{
		entry_set_expiry(call, expires, row);
		*written = true;
	}
	return true;
}

/*
 * keep.touch(store regclass, key text, ttl interval) returns keep.outcome
 *
 * Status touched; fresh where it is not due; absent.  Never revives an entry
 * and never shortens its life.
 */
Datum
keep_touch(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	const Interval *ttl = keep_arg_span(fcinfo, 2, "ttl");
	bool		written;

	entry_begin(&call, fcinfo, true, "keep.touch()", ACL_SELECT | ACL_UPDATE);
	if (!touch(&call, ttl, &written, &row))
		return entry_outcome(&call, fcinfo, STATUS_MISSED, NULL);
	return entry_outcome(&call, fcinfo, written ? STATUS_TOUCHED : STATUS_FRESH, &row);
}

/*
 * keep.get_and_touch(store regclass, key text, ttl interval)
 *		returns setof keep.entry
 *
 * The live entry, kept alive as by keep.touch(); or no row.
 */
Datum
keep_get_and_touch(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	const Interval *ttl = keep_arg_span(fcinfo, 2, "ttl");
	bool		written;
	bool		live;

	entry_begin(&call, fcinfo, true, "keep.get_and_touch()", ACL_SELECT | ACL_UPDATE);
	live = touch(&call, ttl, &written, &row);
	entry_count_found(&call, live, !live);
	if (live)
		entry_count(&call, written ? STATUS_TOUCHED : STATUS_FRESH);
	return entry_result(&call, fcinfo, live ? &row : NULL);
}

/*
 * keep.persist(store regclass, key text) returns keep.outcome
 *
 * Removes the expiry, or moves it to created_at + max_lifetime where the store
 * has one.  Status persisted or absent.
 */
Datum
keep_persist(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	TimestampTz expires;

	entry_begin(&call, fcinfo, true, "keep.persist()", 0);
	if (entry_lock(&call, ENTRY_ANY_VERSION, &row) != ENTRY_LOCKED)
		return entry_outcome(&call, fcinfo, STATUS_ABSENT, NULL);
	expires = entry_expiry(call.opt, keep_clock_now(), row.created, NULL);
	if (expires != row.expires)
		entry_set_expiry(&call, expires, &row);
	return entry_outcome(&call, fcinfo, STATUS_PERSISTED, &row);
}

/* How they are found and deleted. */
static const KeepSweep sweep = {
	.kind = &keep_store_kind,
	.function = "keep.expire()",
	.expire = STORE_EXPIRE,
	.more = STORE_MORE_EXPIRED,
	.postpone = STORE_POSTPONE,
	.put_off = STORE_PUT_OFF,
	.next = STORE_NEXT,
};

/*
 * keep.expire(store regclass, batch int) returns bigint
 *
 * Deletes up to "batch" expired entries now, of one store or of all that are the
 * caller's, and returns how many.  0: nothing is left that has expired and is not
 * locked.
 */
Datum
keep_expire(PG_FUNCTION_ARGS)
{
	return keep_sweep(fcinfo, &sweep);
}

/* The same for the reaper: see reap.h. */
bool
entry_reap(KeepReaping *work)
{
	return keep_sweep_reap(&sweep, work);
}

bool
entry_put_off(Oid relid)
{
	return keep_sweep_put_off(&sweep, relid);
}
