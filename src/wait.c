/*
 * wait.c
 *		Waiting for what other transactions commit.
 *
 * The caller looks with a fresh snapshot, calls keep_wait_next(), and looks
 * again.  While it waits, the snapshot of the statement that called it holds
 * vacuum back, which is why pg_keep.max_wait caps every wait.
 *
 * Where the library is preloaded, whoever commits a change of what is waited
 * for wakes the waiter.  There is a fixed number of condition variables in
 * shared memory; a table and a key belong to one of them by their hash.  A
 * waiter first counts itself in there and then looks.  A writer makes its
 * commit visible and then looks at the count.  So one of the two sees the
 * other: both go through ProcArrayLock in between.  Keys that share a condition
 * variable wake each other's waiters for nothing.
 *
 * What does not go through keep_wake() (writes by other statements, the second
 * phase of a prepared transaction) is seen at the next look, which is never far
 * off.  Elsewhere the pause between two looks grows, up to a bound.
 */
#include "postgres.h"

#include <limits.h>

#include "clock.h"
#include "preload.h"
#include "wait.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define FIRST_PAUSE_USECS	2000
#define WOKEN_PAUSE_USECS	1000000

#define NSLOTS				256
#define WORD_BITS			64

/* What is waited for, in shared memory. */
typedef struct WaitSlot
{
	pg_atomic_uint32 waiters;
	ConditionVariable changed;
} WaitSlot;

static WaitSlot *slots = NULL;	/* NULL: not preloaded */

/* slots that this transaction has changed something of */
static uint64 changed[NSLOTS / WORD_BITS];
static bool any_changed = false;

/* the wait for which this backend is counted in, and its level of nesting */
static KeepWait *counted = NULL;
static int	counted_slot;
static int	counted_level;

/* pg_keep.max_wait, in milliseconds */
static int	max_wait = 60000;

/* Make or find the shared memory. */
static void
start(void)
{
	bool		found;

	slots = ShmemInitStruct("pg_keep waits", NSLOTS * sizeof(WaitSlot), &found);
	if (found)
		return;
	for (int i = 0; i < NSLOTS; i++)
	{
		pg_atomic_init_u32(&slots[i].waiters, 0);
		ConditionVariableInit(&slots[i].changed);
	}
}

/* The backend no longer waits. */
static void
count_out(void)
{
	if (counted == NULL)
		return;
	counted = NULL;
	ConditionVariableCancelSleep();
	pg_atomic_fetch_sub_u32(&slots[counted_slot].waiters, 1);
}

/* Wake those who wait for what has been changed. */
static void
wake_all(void)
{
	for (int word = 0; word < NSLOTS / WORD_BITS; word++)
		while (changed[word] != 0)
		{
			int			bit = pg_rightmost_one_pos64(changed[word]);
			WaitSlot   *slot = &slots[word * WORD_BITS + bit];

			changed[word] &= changed[word] - 1;
			if (pg_atomic_read_u32(&slot->waiters) > 0)
				ConditionVariableBroadcast(&slot->changed);
		}
}

/*
 * Transaction callback.  The commit is visible to others by now; after a
 * rollback there may be a lock to be had.  A wait that ended by an error is
 * still counted in.
 */
static void
end_transaction(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	count_out();
	if (!any_changed)
		return;
	any_changed = false;
	if (event == XACT_EVENT_PREPARE)
		memset(changed, 0, sizeof(changed));
	else
		wake_all();
}

/* Subtransaction callback, for a wait whose error was caught further out. */
static void
end_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && counted != NULL &&
		GetCurrentTransactionNestLevel() <= counted_level)
		count_out();
}

/* Define the GUC and ask for memory; called once, from _PG_init(). */
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
	if (!process_shared_preload_libraries_in_progress)
		return;
	keep_preload_add(NSLOTS * sizeof(WaitSlot), start);
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/* The slot of a key of a table. */
static int
slot_of(Oid relid, Datum key)
{
	const text *t = (const text *) DatumGetPointer(key);
	uint32		hash = hash_bytes((const unsigned char *) VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));

	hash = hash_combine(hash, hash_bytes_uint32(relid));
	return hash_combine(hash, hash_bytes_uint32(MyDatabaseId)) % NSLOTS;
}

/* This transaction has changed what is under a key: wake who waits, when it ends. */
void
keep_wake(Oid relid, Datum key)
{
	int			slot;

	if (slots == NULL)
		return;
	slot = slot_of(relid, key);
	changed[slot / WORD_BITS] |= UINT64CONST(1) << (slot % WORD_BITS);
	any_changed = true;
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
	TimestampTz asked = keep_clock_after(now, limit);

	if (asked < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time to wait must not be negative")));
	if (asked > now && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s can wait only at isolation level READ COMMITTED", function),
				 errdetail("The snapshot of this transaction does not see what others commit.")));
	wait->deadline = keep_clock_ticks() + Min(asked - now, max_wait * INT64CONST(1000));
	wait->pause = FIRST_PAUSE_USECS;
	wait->slot = -1;
}

/* What is waited for is under this key of this table. */
void
keep_wait_on(KeepWait *wait, Oid relid, Datum key)
{
	if (slots != NULL)
		wait->slot = slot_of(relid, key);
}

/* Can the wait be counted in?  One wait inside another is not; it polls. */
static bool
can_be_woken(const KeepWait *wait)
{
	return wait->slot >= 0 && (counted == NULL || counted == wait) && !RecoveryInProgress();
}

/*
 * Sleep until the next look, for at most "at_most" microseconds.  Returns
 * false, without sleeping, where the time is over.  Answers to cancel.
 */
bool
keep_wait_next(KeepWait *wait, int64 at_most)
{
	int64		left = wait->deadline - keep_clock_ticks();
	bool		woken = can_be_woken(wait);
	long		millis;

	if (left <= 0)
		return false;
	if (woken && counted == NULL)
	{
		/* from now on commits are told to us; look again for those before */
		WaitSlot   *slot = &slots[wait->slot];

		counted = wait;
		counted_slot = wait->slot;
		counted_level = GetCurrentTransactionNestLevel();
		pg_atomic_fetch_add_u32(&slot->waiters, 1);
		ConditionVariablePrepareToSleep(&slot->changed);
		return true;
	}

	/* a full millisecond at least, else the last look would be a busy loop */
	left = Min(Min(left, at_most), woken ? WOKEN_PAUSE_USECS : wait->pause);
	millis = (Max(left, 1) + 999) / 1000;
	if (woken)
		(void) ConditionVariableTimedSleep(&slots[wait->slot].changed, millis,
										   PG_WAIT_EXTENSION);
	else
	{
		wait->pause = Min(wait->pause * 2, KEEP_WAIT_PAUSE);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 millis, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* Wait no longer; an error does the same by itself. */
void
keep_wait_end(KeepWait *wait)
{
	if (counted == wait)
		count_out();
}
