/*
 * plan.c
 *		Statements on a registered table, prepared once per backend.
 *
 * Each backend keeps, for every table that it has worked on, the parsed
 * options and the prepared plans, in the manner of ri_triggers.c.  A relcache
 * invalidation (ALTER, rename, changed options, DROP) marks the table's entry
 * invalid; the next call, which first takes its lock on the table and so has
 * seen all invalidations, makes another KeepTable.  The old one may be in use
 * further up the stack (the next call may come from a trigger), so it stays as
 * it is and is freed at the end of the transaction.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "plan.h"
#include "shape.h"
#include "textmap.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Of a table that the backend has worked on. */
typedef struct TableEntry
{
	Oid			relid;			/* hash key; must be first */
	bool		valid;			/* false: to be made anew before use */
	uint32		sequence;		/* hash value of what it draws from; 0: nothing */
	KeepTable  *table;			/* or NULL */
} TableEntry;

static HTAB *tables = NULL;
static bool any_invalid = false;

/* The catalog's own OID, as of the last build of an entry: see below. */
static Oid	catalog_relid = InvalidOid;

/* What waits to be freed at the end of the transaction. */
typedef struct Retired
{
	struct Retired *next;
	SPIPlanPtr	plan;			/* or NULL: a memory context */
	MemoryContext context;
} Retired;

static Retired *retired = NULL;

/*
 * Relcache callback.  InvalidOid means all; so does the catalog itself: it
 * goes away with the extension, and its rows with it.
 */
static void
invalidate_tables(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	TableEntry *entry;

	any_invalid = true;
	if (OidIsValid(relid) && relid != catalog_relid)
	{
		entry = hash_search(tables, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->valid = false;
		return;
	}
	hash_seq_init(&scan, tables);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->valid = false;
}

/* Syscache callback: a renamed schema changes the text of statements. */
static void
invalidate_all(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidate_tables(arg, InvalidOid);
}

/* Syscache callback: a sequence was altered, and may not rise one by one any more. */
static void
invalidate_sequence(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS scan;
	TableEntry *entry;

	hash_seq_init(&scan, tables);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->sequence != 0 && (hashvalue == 0 || hashvalue == entry->sequence))
		{
			entry->valid = false;
			any_invalid = true;
		}
}

static void
retire(SPIPlanPtr plan, MemoryContext context)
{
	Retired    *item = MemoryContextAlloc(TopMemoryContext, sizeof(Retired));

	item->plan = plan;
	item->context = context;
	item->next = retired;
	retired = item;
}

/* Retire the table of an entry, so that another can take its place. */
static void
empty_entry(TableEntry *entry)
{
	KeepTable  *table = entry->table;

	entry->valid = false;
	entry->table = NULL;
	if (table == NULL)
		return;
	table->retired = true;
	for (int i = 0; i < table->kind->nstatements; i++)
		if (table->plans[i] != NULL)
			retire(table->plans[i], NULL);
	retire(NULL, table->context);
}

static void
free_table(KeepTable *table)
{
	for (int i = 0; i < table->kind->nstatements; i++)
		if (table->plans[i] != NULL)
			SPI_freeplan(table->plans[i]);
	MemoryContextDelete(table->context);
}

/*
 * Transaction callback: no statement of ours can be running now, so free what
 * was retired and drop the entries of tables that have changed or gone.  This
 * must not allocate memory: an error after the commit would be a PANIC.
 */
static void
free_retired(XactEvent event, void *arg)
{
	HASH_SEQ_STATUS scan;
	TableEntry *entry;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;

	while (retired != NULL)
	{
		Retired    *next = retired->next;

		if (retired->plan != NULL)
			SPI_freeplan(retired->plan);
		else
			MemoryContextDelete(retired->context);
		pfree(retired);
		retired = next;
	}

	if (!any_invalid)
		return;
	hash_seq_init(&scan, tables);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->valid && entry->table != NULL)
			continue;
		if (entry->table != NULL)
			free_table(entry->table);
		(void) hash_search(tables, &entry->relid, HASH_REMOVE, NULL);
	}
	any_invalid = false;
}

/* Set up the hash table and the callbacks; called once, from _PG_init(). */
void
keep_plan_init(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(TableEntry);
	tables = hash_create("pg_keep tables", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(invalidate_tables, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_all, (Datum) 0);
	CacheRegisterSyscacheCallback(SEQRELID, invalidate_sequence, (Datum) 0);
	RegisterXactCallback(free_retired, NULL);
}

/*
 * Which transaction has last changed the row of pg_class?  With its epoch, as a
 * session may keep this for longer than transaction ids take to come round.
 */
static FullTransactionId
altered_by(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId xid = InvalidTransactionId;

	if (HeapTupleIsValid(tuple))
	{
		xid = HeapTupleHeaderGetXmin(tuple->t_data);
		ReleaseSysCache(tuple);
	}
	if (!TransactionIdIsNormal(xid))
		return InvalidFullTransactionId;
	return FullTransactionIdFromU64(U64FromFullTransactionId(next) -
									(XidFromFullTransactionId(next) - xid));
}

/* Is it so long ago that its number may belong to another one by now? */
static bool
is_ancient(FullTransactionId fxid)
{
	return U64FromFullTransactionId(ReadNextFullTransactionId()) -
		U64FromFullTransactionId(fxid) > PG_INT32_MAX;
}

/*
 * Has the table been altered since the snapshot was taken?  ALTER TABLE and
 * TRUNCATE may have written it anew, and to an older snapshot it is empty then.
 */
static bool
altered_since(const KeepTable *table, Snapshot snapshot)
{
	TransactionId xid = XidFromFullTransactionId(table->altered_by);

	return TransactionIdIsNormal(xid) &&
		!TransactionIdPrecedes(xid, snapshot->xmin) &&
		!TransactionIdIsCurrentTransactionId(xid) &&
		XidInMVCCSnapshot(xid, snapshot) &&
		!is_ancient(table->altered_by);
}

pg_noreturn static void
refuse_altered(const KeepTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent change of table \"%s\"",
					get_rel_name(table->relid)),
			 errhint("The transaction might succeed if retried.")));
}

/* At REPEATABLE READ and above, refuse (40001) a table that was altered since. */
static KeepTable *
as_snapshot_has_it(KeepTable *table)
{
	if (table != NULL && IsolationUsesXactSnapshot() &&
		altered_since(table, GetTransactionSnapshot()))
		refuse_altered(table);
	return table;
}

/*
 * Where a table was altered since the query's own snapshot was taken, push one
 * that shows what is in it now, for the caller to pop; was it?  Beneath a
 * parallel plan there can be no other snapshot: raises 40001.
 */
bool
keep_push_newer_snapshot(const KeepTable *table)
{
	if (likely(!altered_since(table, GetActiveSnapshot())))
		return false;
	if (IsInParallelMode())
		refuse_altered(table);
	PushActiveSnapshot(GetLatestSnapshot());
	return true;
}

/* The hash value in the syscache of the sequence that a table draws from, or 0. */
static uint32
sequence_of(Relation rel, const KeepShape *shape)
{
	Oid			sequence = shape->sequence == NULL ? InvalidOid :
		keep_shape_column_sequence(rel, shape->sequence);

	return OidIsValid(sequence) ?
		GetSysCacheHashValue1(SEQRELID, ObjectIdGetDatum(sequence)) : 0;
}

/*
 * Make the table of an entry: is it registered, has it the shape, what are its
 * options?  Leaves NULL where it is not of the kind, with *flaw saying why, or
 * NULL where it is not registered.  The caller holds a lock on the table.
 */
static void
fill_entry(TableEntry *entry, const KeepKind *kind, const char **flaw)
{
	Relation	rel = try_relation_open(entry->relid, NoLock);
	MemoryContext context;
	MemoryContext old;
	Jsonb	   *options;
	KeepTable  *table;

	if (rel == NULL)
		return;

	/* first: an invalidation while we look must count */
	catalog_relid = keep_catalog_relid();
	entry->valid = true;
	entry->sequence = sequence_of(rel, kind->shape);
	if (!keep_catalog_find(entry->relid, kind->name, &options) ||
		(*flaw = keep_shape_flaw(rel, kind->shape)) != NULL)
	{
		relation_close(rel, NoLock);
		return;
	}

	/* under the current context until all has gone well, then kept */
	context = AllocSetContextCreate(CurrentMemoryContext, "pg_keep table",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	table = palloc0(sizeof(KeepTable));
	table->relid = entry->relid;
	table->kind = kind;
	table->context = context;
	table->clock = keep_clock_sql();
	table->options = kind->parse_options(rel, options);
	table->plans = palloc0(sizeof(SPIPlanPtr) * kind->nstatements);
	table->altered_by = altered_by(entry->relid);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->table = table;
	relation_close(rel, NoLock);
}

/*
 * What the backend keeps of a registered table, locked until the end of the
 * transaction as by a statement on it; NoLock where the caller has done that.
 * Returns NULL where it is not of that kind.  Good until the end of the
 * transaction, whatever happens to the table.  Raises 40001 where the table
 * was altered since the snapshot of a transaction at REPEATABLE READ or above.
 */
KeepTable *
keep_table_try_open(Oid relid, const KeepKind *kind, LOCKMODE lockmode, const char **flaw)
{
	TableEntry *entry;
	bool		found;

	*flaw = NULL;
	if (lockmode != NoLock)
		LockRelationOid(relid, lockmode);
	entry = hash_search(tables, &relid, HASH_FIND, NULL);
	if (entry != NULL && entry->valid && entry->table != NULL &&
		entry->table->clock == keep_clock_sql())
		return entry->table->kind == kind ? as_snapshot_has_it(entry->table) : NULL;

	if (get_rel_name(relid) == NULL)
		return NULL;
	entry = hash_search(tables, &relid, HASH_ENTER, &found);
	if (!found)
	{
		entry->table = NULL;
		entry->sequence = 0;
	}
	empty_entry(entry);
	any_invalid = true;
	fill_entry(entry, kind, flaw);
	return as_snapshot_has_it(entry->table);
}

/* The same, but raises 42809 where the table is not of that kind. */
KeepTable *
keep_table_open(Oid relid, const KeepKind *kind, LOCKMODE lockmode)
{
	const char *flaw;
	KeepTable  *table = keep_table_try_open(relid, kind, lockmode, &flaw);

	if (table == NULL)
		keep_not_of_kind(relid, kind, flaw);
	return table;
}

/* Copy a statement's text, with its placeholders replaced. */
static char *
expand_text(KeepTable *table, Relation rel, const char *sql)
{
	StringInfoData text;
	const char *open;

	initStringInfo(&text);
	while ((open = strchr(sql, '{')) != NULL)
	{
		const char *close = strchr(open, '}');
		char	   *name = pnstrdup(open + 1, close - open - 1);
		const char *value;

		appendBinaryStringInfo(&text, sql, open - sql);
		if (strcmp(name, "table") == 0)
			value = keep_relation_name(table->relid);
		else if (strcmp(name, "clock") == 0)
			value = table->clock;
		else if (strcmp(name, "version") == 0)
			value = KEEP_VERSION_SQL;
		else
			value = table->kind->expand == NULL ? NULL :
				table->kind->expand(rel, table->options, table->clock, name);
		if (value == NULL)
			elog(ERROR, "unknown placeholder \"%s\" in a statement", name);
		appendStringInfoString(&text, value);
		sql = close + 1;
	}
	appendStringInfoString(&text, sql);
	return text.data;
}

/*
 * Have a statement planned, as it is to be run from now on.
 *
 * Every statement finds its rows by an index.  The plan is made generic and
 * with scans of the whole table priced out, since a plan made while a table
 * was small must still be right when it has grown.  Compiling it would cost
 * more than running it.
 */
static void
make_plan(SPIPlanPtr plan)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"}, {"enable_bitmapscan", "off"}, {"enable_mergejoin", "off"},
		{"enable_hashjoin", "off"}, {"jit", "off"}, {"enable_indexscan", "on"},
		{"enable_tidscan", "on"}, {"enable_nestloop", "on"}
	};
	int			guc_level = NewGUCNestLevel();

	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plan), CurrentResourceOwner);
	AtEOXact_GUC(true, guc_level);
}

/*
 * Would the plan cache run the plan that is there?  It makes another one after
 * an invalidation, under another search_path, and for another role where row
 * security depends on that: then make_plan() must be the one to do so.
 */
static bool
is_planned(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	CachedPlan *generic = source->gplan;

	return source->is_valid && generic != NULL && generic->is_valid &&
		!TransactionIdIsValid(generic->saved_xmin) &&
		(!generic->dependsOnRole || generic->planRoleId == GetUserId()) &&
		(!source->dependsOnRLS || (source->rewriteRoleId == GetUserId() &&
								   source->rewriteRowSecurity == row_security)) &&
		SearchPathMatchesCurrentEnvironment(source->search_path);
}

/* Prepare a statement, and keep it with the table. */
static SPIPlanPtr
prepare(KeepTable *table, int statement)
{
	const KeepStatement *source = &table->kind->statements[statement];
	Relation	rel = relation_open(table->relid, NoLock);
	char	   *sql = expand_text(table, rel, source->sql);
	SPIPlanPtr	plan;
	int			nparams = 0;

	relation_close(rel, NoLock);
	while (OidIsValid(source->params[nparams]))
		nparams++;

	plan = SPI_prepare_cursor(sql, nparams, (Oid *) source->params,
							  CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql,
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep the plan of \"%s\"", sql);
	table->plans[statement] = plan;
	if (table->retired)
		retire(plan, NULL);
	return plan;
}

/* Has it changed since the call has opened it: by a trigger, say? */
static bool
is_stale(const KeepTable *table)
{
	const TableEntry *entry;

	if (!any_invalid)
		return false;
	entry = hash_search(tables, &table->relid, HASH_FIND, NULL);
	return entry == NULL || entry->table != table || !entry->valid;
}

/* Refuse (42809) to go on with a table that has lost its shape meanwhile. */
static void
check_again(const KeepTable *table)
{
	Relation	rel = try_relation_open(table->relid, NoLock);
	const char *flaw = rel != NULL ? keep_shape_flaw(rel, table->kind->shape) : NULL;

	if (rel == NULL || flaw != NULL)
		keep_not_of_kind(table->relid, table->kind, flaw);
	relation_close(rel, NoLock);
}

/* Look at the table anew at the next call, though nothing says that it has changed. */
void
keep_table_forget(const KeepTable *table)
{
	invalidate_tables((Datum) 0, table->relid);
}

/*
 * Has the statement, whose text names the table, been parsed for another one?
 * ALTER SCHEMA ... RENAME waits for no lock on a table, so the name may have
 * become another table's after the caller has opened this one.  Where a rule
 * does something else instead, the statement need not be about it at all.
 */
static void
check_same_table(const KeepTable *table, SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	HeapTuple	tuple;
	bool		ruled;

	if (list_member_oid(source->relationOids, table->relid))
		return;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table->relid));
	ruled = HeapTupleIsValid(tuple) && ((Form_pg_class) GETSTRUCT(tuple))->relhasrules;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (ruled)
		return;
	keep_table_forget(table);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s\" was renamed or moved during the call",
					get_rel_name(table->relid)),
			 errhint("The transaction might succeed if retried.")));
}

/*
 * Run a statement of the table's kind; the caller is connected to SPI and
 * finds the rows in SPI_tuptable.  Returns how many there are.
 *
 * read_only is for functions that are STABLE: the statement then sees what the
 * calling query sees; unless the table was altered since, as the call had to
 * wait for that, then what there is now.  Else it sees all that is committed (at
 * READ COMMITTED) and all that this transaction has written, also earlier in the
 * same query.
 */
uint64
keep_run(KeepTable *table, int statement, Datum *values, const char *nulls, bool read_only)
{
	SPIPlanPtr	plan = table->plans[statement];
	int			result;
	bool		newer;

	if (is_stale(table))
		check_again(table);
	if (plan == NULL)
		plan = prepare(table, statement);
	if (!is_planned(plan))
		make_plan(plan);

	newer = read_only && keep_push_newer_snapshot(table);
	result = SPI_execute_plan(plan, values, nulls, read_only, 0);
	if (newer)
		PopActiveSnapshot();
	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	/* behind it, as it may parse again: what it has done is rolled back */
	check_same_table(table, plan);
	return SPI_processed;
}

/*
 * Refuse (23502) a null where the table can have none.  A snapshot from before
 * the column became NOT NULL still shows one.
 */
void
keep_refuse_null(bool isnull)
{
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in a column that is NOT NULL"),
				 errdetail("The row is from before the column became NOT NULL.")));
}

/* Run a statement that returns a time, or no row: DT_NOEND. */
TimestampTz
keep_run_time(KeepTable *table, int statement, Datum *values)
{
	bool		isnull;

	if (keep_run(table, statement, values, NULL, false) == 0)
		return DT_NOEND;
	return DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											 &isnull));
}

/*
 * Has the last statement returned a row with this key in a column?  A trigger
 * may have suppressed the row, or given it another key.
 */
bool
keep_returned(int column, const text *key)
{
	bool		isnull;
	Datum		value;

	if (SPI_processed == 0)
		return false;
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);
	return !isnull && keep_text_equal(DatumGetTextPP(value), key);
}

/*
 * Refuse (42501) a user who lacks one of these rights on the table, counting
 * a right on any column as one.
 *
 * The executor checks each statement anyway.  This is for functions whose
 * first statement only reads: that a right is missing must not come to light
 * only when there is something to write.
 */
void
keep_require_rights(Oid relid, AclMode rights)
{
	Oid			role = GetUserId();

	for (AclMode right = 1; right <= rights; right <<= 1)
	{
		if ((rights & right) == 0 ||
			pg_class_aclcheck(relid, role, right) == ACLCHECK_OK ||
			pg_attribute_aclcheck_all(relid, role, right, ACLMASK_ANY) == ACLCHECK_OK)
			continue;
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
	}
}

/*
 * Raise: a row that is there did not take a write.  Row security hides it from
 * this command (42501), or a trigger has suppressed the write (09000).
 */
void
keep_suppressed(Oid relid, const char *what)
{
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security of \"%s\" does not let this %s be written",
						get_rel_name(relid), what)));
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("write to \"%s\" was suppressed", get_rel_name(relid)),
			 errhint("A trigger or rule of the table keeps the %s from being written.", what)));
}
