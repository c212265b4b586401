/*
 * lease.c
 *		Leases: acquire, renew, release, assert_lease.
 *
 * A lease is an entry of a store whose value names the owner and whose version
 * is the token.  Versions rise over release, expiry and clean-up, so the token
 * is a fencing token: whoever sees a higher one knows that the lower is stale.
 */
#include "postgres.h"

#include "arg.h"
#include "clock.h"
#include "entry.h"
#include "error.h"
#include "fault.h"
#include "json.h"
#include "result.h"
#include "textmap.h"
#include "wait.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(keep_acquire);
PG_FUNCTION_INFO_V1(keep_renew);
PG_FUNCTION_INFO_V1(keep_release);
PG_FUNCTION_INFO_V1(keep_assert_lease);

#define OWNER "owner"

/* The value of a lease: {"owner": …} */
static Datum
lease_value(text *owner)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_json_push_string(&state, OWNER, VARDATA_ANY(owner), VARSIZE_ANY_EXHDR(owner));
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* The owner in a lease's value, or NULL where it is no lease. */
static text *
lease_owner(Datum value)
{
	Jsonb	   *json = DatumGetJsonbP(value);
	JsonbValue *owner;

	if (!JB_ROOT_IS_OBJECT(json))
		return NULL;
	owner = getKeyJsonValueFromContainer(&json->root, OWNER, strlen(OWNER), NULL);
	if (owner == NULL || owner->type != jbvString)
		return NULL;
	return cstring_to_text_with_len(owner->val.string.val, owner->val.string.len);
}

/* End keep.acquire(): "row" is the lease that is there, or NULL. */
static Datum
acquire_result(EntryCall *call, FunctionCallInfo fcinfo, bool acquired, const EntryRow *row)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};
	text	   *owner = row ? lease_owner(row->value) : NULL;
	Datum		result;

	values[0] = BoolGetDatum(acquired);
	if (row != NULL)
	{
		values[1] = Int64GetDatum(row->version);
		values[2] = PointerGetDatum(owner);
		values[3] = TimestampTzGetDatum(row->expires);
		nulls[1] = !acquired;
		nulls[2] = owner == NULL;
		nulls[3] = row->expires == ENTRY_NEVER;
	}
	if (!acquired)
		entry_count(call, STATUS_EXISTS);
	result = keep_result_row(fcinfo, call->caller, values, nulls);
	SPI_finish();
	return result;
}

/*
 * The same owner again, most likely after a lost reply: the same token, and
 * the time asked for where nobody has the row locked.  Returns false where the
 * lease has changed since "row" was read.
 */
static bool
acquire_again(EntryCall *call, const Interval *ttl, EntryRow *row)
{
	int64		token = row->version;
	TimestampTz expires;

	if (!entry_lock_by(call, STORE_LOCK_FREE, row))
	{
		/* locked, or gone */
		if (!entry_read(call, row, false) || row->version != token || !entry_live(row))
			return false;
		entry_count(call, STATUS_FRESH);
		return true;
	}
	KEEP_FAULT("lease: locked");
	if (row->version != token || !entry_live(row))
		return false;
	expires = entry_expiry(call->opt, keep_clock_now(), row->created, ttl);
	entry_count(call, expires > row->expires ? STATUS_TOUCHED : STATUS_FRESH);
	if (expires > row->expires)
		entry_set_expiry(call, expires, row);
	return true;
}

/*
 * Try once.  Returns true when the lease is ours; else *holder says whether
 * "row" is the lease of another, and not a row that somebody has locked.
 *
 * A row that is there and locked belongs to someone at work on it: the answer
 * is no, without waiting.  Only a rival who inserts the same key, uncommitted
 * and thus invisible, is waited for, as by any INSERT.
 */
static bool
try_acquire(EntryCall *call, text *owner, const Interval *ttl, bool *holder, EntryRow *row)
{
	for (int i = 0; i < KEEP_MAX_ATTEMPTS; i++)
	{
		bool		there = entry_read(call, row, false);

		CHECK_FOR_INTERRUPTS();
		*holder = there && entry_live(row) && !keep_text_same(lease_owner(row->value), owner);
		if (*holder)
			return false;
		if (there && entry_live(row))
		{
			if (acquire_again(call, ttl, row))
				return true;
			continue;
		}
		if (there && !entry_lock_by(call, STORE_LOCK_FREE, row))
		{
			if (entry_read(call, row, false))
				return false;
			continue;
		}
		if (entry_create(call, there, lease_value(owner), ttl, row))
		{
			entry_count(call, STATUS_CREATED);
			return true;
		}
	}
	entry_suppressed(call);
}

/*
 * keep.acquire(store regclass, name text, owner text, ttl interval,
 *				wait interval) returns keep.lease
 *
 * Takes the lease if it is free, or waits up to "wait" until it is.  The token
 * is NULL unless acquired; owner and expires_at are those of the holder.
 */
Datum
keep_acquire(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	KeepWait	wait;
	text	   *owner;
	const Interval *ttl;
	bool		holder;
	bool		acquired;

	keep_arg_require(fcinfo, 1, "name");
	keep_arg_require(fcinfo, 2, "owner");
	keep_arg_require(fcinfo, 3, "ttl");
	keep_arg_require(fcinfo, 4, "wait");
	owner = PG_GETARG_TEXT_PP(2);
	if (VARSIZE_ANY_EXHDR(owner) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("owner must not be empty")));
	ttl = keep_arg_span(fcinfo, 3, "ttl");
	keep_wait_begin(&wait, PG_GETARG_INTERVAL_P(4), "keep.acquire()");
	entry_begin(&call, fcinfo, true, "keep.acquire()",
				ACL_SELECT | ACL_INSERT | ACL_UPDATE);
	entry_check_value(&call, lease_value(owner));

	keep_wait_on(&wait, call.table->relid, call.key);
	while (!(acquired = try_acquire(&call, owner, ttl, &holder, &row)))
	{
		int64		at_most = PG_INT64_MAX;

		/* nobody tells of the end of a lock */
		if (!holder)
			at_most = KEEP_WAIT_PAUSE;
		else if (row.expires != ENTRY_NEVER)
			at_most = row.expires - keep_clock_now() + 1;
		if (!keep_wait_next(&wait, at_most))
			break;
		entry_forget();
	}
	keep_wait_end(&wait);
	return acquire_result(&call, fcinfo, acquired, acquired || holder ? &row : NULL);
}

/* The name and the token, which are required. */
static int64
token_arg(FunctionCallInfo fcinfo)
{
	keep_arg_require(fcinfo, 1, "name");
	return keep_arg_token(fcinfo, 2);
}

/*
 * keep.renew(store regclass, name text, token bigint, ttl interval)
 *		returns keep.outcome
 *
 * The holder's lease now ends ttl from now, sooner or later than before.
 * Status renewed, stale or absent.
 */
Datum
keep_renew(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	EntryLock	lock;
	int64		token = token_arg(fcinfo);
	const Interval *ttl;

	keep_arg_require(fcinfo, 3, "ttl");
	ttl = keep_arg_span(fcinfo, 3, "ttl");
	entry_begin(&call, fcinfo, true, "keep.renew()", 0);
	lock = entry_lock(&call, token, &row);
	if (lock != ENTRY_LOCKED)
		return entry_not_applied(&call, fcinfo, lock, &row);
	entry_set_expiry(&call, entry_expiry(call.opt, keep_clock_now(), row.created, ttl), &row);
	return entry_outcome(&call, fcinfo, STATUS_RENEWED, &row);
}

/*
 * keep.release(store regclass, name text, token bigint) returns keep.outcome
 *
 * Status released, stale or absent.
 */
Datum
keep_release(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	EntryLock	lock;
	int64		token = token_arg(fcinfo);

	entry_begin(&call, fcinfo, true, "keep.release()", 0);
	lock = entry_delete(&call, token, &row);
	if (lock != ENTRY_LOCKED)
		return entry_not_applied(&call, fcinfo, lock, &row);
	return entry_outcome(&call, fcinfo, STATUS_RELEASED, &row);
}

/*
 * keep.assert_lease(store regclass, name text, token bigint) returns void
 *
 * Raises KP412 unless the token's lease lives, and keeps it from changing
 * hands until this transaction ends: the row stays share-locked, so that what
 * the transaction does is done under the lease or not at all.
 */
Datum
keep_assert_lease(PG_FUNCTION_ARGS)
{
	EntryCall	call;
	EntryRow	row;
	int64		token = token_arg(fcinfo);
	bool		there;

	entry_begin(&call, fcinfo, true, "keep.assert_lease()", 0);
	there = entry_lock_by(&call, STORE_LOCK_SHARE, &row) && entry_live(&row);
	KEEP_FAULT("lease: asserted");
	if (!there || row.version != token)
		ereport(ERROR,
				(errcode(ERRCODE_KEEP_STALE),
				 errmsg("lease \"%s\" is no longer held under token " INT64_FORMAT,
						text_to_cstring(call.given), token),
				 there ? errdetail("It is held under token " INT64_FORMAT " now.", row.version)
				 : errdetail("It has been released or has expired."),
				 errhint("Stop this work; acquire the lease again before starting over.")));
	SPI_finish();
	PG_RETURN_VOID();
}
