/*
 * plan.h
 *		Statements on a registered table, prepared once per backend.
 */
#ifndef KEEP_PLAN_H
#define KEEP_PLAN_H

#include "postgres.h"

#include "catalog.h"

#include "datatype/timestamp.h"
#include "executor/spi.h"

#define KEEP_MAX_PARAMS 12

/*
 * A call on one row looks again where the row is never as it was a moment ago.
 * Others may change it all the time, but hardly that often in a row: what does
 * not come to an end is a write that is suppressed.
 */
#define KEEP_MAX_ATTEMPTS 20

/*
 * How a statement draws a version: under the row lock, and with no right on
 * the sequence.  This and the clock are substituted in the text of statements,
 * so that on a table where neither may be called (one distributed by Citus,
 * say) parameters could take their place.
 */
#define KEEP_VERSION_SQL	"DEFAULT"

/*
 * A statement of a kind of table.
 *
 * Its text may hold {table} (the qualified name), {clock} and {version} (what
 * gives the time and draws a version) and the placeholders that its kind
 * expands.  Types of parameters end with InvalidOid.
 */
struct KeepStatement
{
	const char *sql;
	Oid			params[KEEP_MAX_PARAMS + 1];
};

/* What a backend keeps of a registered table. */
typedef struct KeepTable
{
	Oid			relid;
	FullTransactionId altered_by;	/* has last changed its row of pg_class; or invalid */
	bool		retired;		/* another has taken its place: freed with the transaction */
	const KeepKind *kind;
	MemoryContext context;		/* holds all of this; a child of CacheMemoryContext */
	const char *clock;			/* what statements read the clock by */
	void	   *options;		/* of the kind's own type */
	SPIPlanPtr *plans;			/* one a statement, NULL until first used */
	void	   *local;			/* what else the kind keeps in "context", or NULL */
} KeepTable;

extern void keep_plan_init(void);
extern KeepTable *keep_table_open(Oid relid, const KeepKind *kind, LOCKMODE lockmode);
extern KeepTable *keep_table_try_open(Oid relid, const KeepKind *kind, LOCKMODE lockmode,
									  const char **flaw);
extern bool keep_push_newer_snapshot(const KeepTable *table);
extern void keep_table_forget(const KeepTable *table);
extern uint64 keep_run(KeepTable *table, int statement, Datum *values, const char *nulls,
					   bool read_only);
extern TimestampTz keep_run_time(KeepTable *table, int statement, Datum *values);
extern void keep_refuse_null(bool isnull);
extern bool keep_returned(int column, const text *key);
extern void keep_require_rights(Oid relid, AclMode rights);
pg_noreturn extern void keep_suppressed(Oid relid, const char *what);

#endif							/* KEEP_PLAN_H */
