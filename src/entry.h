/*
 * entry.h
 *		One entry of a store: its life, reading, locking and writing it.
 */
#ifndef KEEP_ENTRY_H
#define KEEP_ENTRY_H

#include "postgres.h"

#include "compat.h"
#include "entry_call.h"

typedef enum EntryLock
{
	ENTRY_LOCKED,				/* live, and ours until the transaction ends */
	ENTRY_ABSENT,
	ENTRY_STALE					/* live, but of another version; not locked */
} EntryLock;

extern Datum entry_not_applied(EntryCall *call, FunctionCallInfo fcinfo, EntryLock lock,
							   const EntryRow *row);

/* its life */
extern bool entry_live(const EntryRow *row);
extern TimestampTz entry_expiry(const StoreOptions *opt, TimestampTz now,
								TimestampTz created, const Interval *ttl);
extern TimestampTz entry_kept_expiry(const EntryCall *call, const EntryRow *row,
									 TimestampTz now, const Interval *ttl);

/* reading, locking, writing */
extern void entry_row_at(const EntryCall *call, uint64 n, EntryRow *row);
extern Datum entry_column_at(uint64 n, int column);
extern bool entry_read(EntryCall *call, EntryRow *row, bool read_only);
extern EntryLock entry_lock(EntryCall *call, int64 version, EntryRow *row);
extern bool entry_lock_by(EntryCall *call, StoreStatement statement, EntryRow *row);
extern bool entry_create(EntryCall *call, bool expired, Datum value,
						 const Interval *ttl, EntryRow *row);
extern bool entry_upsert(EntryCall *call, StoreStatement statement, Datum value,
						 const Interval *ttl, Datum path, Datum by, EntryRow *row);
extern void entry_update(EntryCall *call, Datum value, TimestampTz now,
						 TimestampTz expires, EntryRow *row);
extern void entry_set_expiry(EntryCall *call, TimestampTz expires, EntryRow *row);
extern EntryLock entry_delete(EntryCall *call, int64 version, EntryRow *row);
pg_noreturn extern void entry_suppressed(const EntryCall *call);

/* for writes in bulk */
pg_noreturn extern void entry_deleted_since(void);
pg_noreturn extern void entry_overtaken(const EntryCall *call);
extern void entry_versions_drawn(const EntryCall *call);

#endif							/* KEEP_ENTRY_H */
