/*
 * entry_call.h
 *		The frame of a call on a store: its arguments, rights and result.
 */
#ifndef KEEP_ENTRY_CALL_H
#define KEEP_ENTRY_CALL_H

#include "postgres.h"

#include "store.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/timestamp.h"

/* In C an entry that never expires has this expiry; in SQL it is NULL. */
#define ENTRY_NEVER DT_NOEND

/* A call on a store; SPI is connected from entry_begin() to the result. */
typedef struct EntryCall
{
	KeepTable  *table;
	const StoreOptions *opt;
	text	   *given;			/* the key as the caller names it */
	Datum		key;			/* the key as the table has it */
	MemoryContext caller;		/* where results go */
} EntryCall;

/* A row of the store; its value is in SPI's memory. */
typedef struct EntryRow
{
	Datum		value;
	int64		version;
	TimestampTz created;
	TimestampTz updated;
	TimestampTz expires;
} EntryRow;

/* What came of a call that may write: see entry_call.c. */
typedef enum EntryStatus
{
	/* applied */
	STATUS_CREATED,
	STATUS_UPDATED,
	STATUS_DELETED,
	STATUS_TOUCHED,
	STATUS_PERSISTED,
	STATUS_RENEWED,
	STATUS_RELEASED,
	/* not applied */
	STATUS_FRESH,
	STATUS_EXISTS,
	STATUS_STALE,
	STATUS_ABSENT,
	STATUS_MISSED				/* absent, where nothing was asked of the entry */
} EntryStatus;

/* stands for a version that was not given */
#define ENTRY_ANY_VERSION	(-1)

extern void entry_open_store(EntryCall *call, FunctionCallInfo fcinfo, bool write,
							 const char *function, AclMode rights);
extern void entry_begin(EntryCall *call, FunctionCallInfo fcinfo, bool write,
						const char *function, AclMode rights);
extern Datum entry_stored_key(const EntryCall *call, text *key);
extern void entry_forget(void);
extern void entry_check_value(const EntryCall *call, Datum value);
extern int64 entry_version_arg(FunctionCallInfo fcinfo, int argno, const char *name);
extern void entry_count(EntryCall *call, EntryStatus status);
extern void entry_count_found(EntryCall *call, int64 hits, int64 misses);
extern Datum entry_outcome(EntryCall *call, FunctionCallInfo fcinfo, EntryStatus status,
						   const EntryRow *row);
extern Datum entry_result(EntryCall *call, FunctionCallInfo fcinfo, const EntryRow *row);
extern void entry_fill(const EntryRow *row, text *key, Datum *values, bool *nulls);

#endif							/* KEEP_ENTRY_CALL_H */
