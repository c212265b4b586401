/*
 * catalog.c
 *		Which tables pg_keep made, of what kind and with which options.
 *
 * keep.relation names tables by schema and name, as a dump does, and not by
 * OID: so it survives dump and restore, also of a part of the database (a name
 * that leads nowhere costs nothing; a regclass that leads nowhere would fail
 * the COPY of all rows).  The column relid beside the names is only there to
 * follow renames, and is set anew on restore.
 *
 * The table is read and written below the executor, as the system catalogs
 * are: no caller needs a right on it, none has one to write it, and no
 * search_path or trigger of a caller comes into play.  Who may have it changed
 * is checked before, in C.  Readers use a catalog snapshot, so that a change
 * of options counts at once, whatever the transaction's isolation level.
 *
 * Who writes keeps the lock on it until the end of the transaction, as on any
 * table but those of the system: VACUUM FULL and REINDEX are to wait.
 *
 * Every change sends a relcache invalidation for the table that it is about:
 * that is how the plans and options that other backends keep come to an end.
 */
#include "postgres.h"

#include "catalog.h"
#include "compat.h"
#include "fault.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define MAX_KINDS 8

static const KeepKind *kinds[MAX_KINDS];
static int	nkinds = 0;

/* Make a kind known; called by each room that has one, from _PG_init(). */
void
keep_kind_add(const KeepKind *kind)
{
	if (nkinds >= MAX_KINDS)
		elog(ERROR, "too many kinds of table");
	kinds[nkinds++] = kind;
}

/* The n-th kind, or NULL past the last. */
const KeepKind *
keep_kind_at(int n)
{
	return n < nkinds ? kinds[n] : NULL;
}

/* The kind of that name, or NULL. */
const KeepKind *
keep_kind_named(const char *name)
{
	for (int i = 0; i < nkinds; i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

/* OID of keep.relation, InvalidOid while the extension is not there. */
Oid
keep_catalog_relid(void)
{
	Oid			schema = get_namespace_oid("keep", true);

	return OidIsValid(schema) ? get_relname_relid("relation", schema) : InvalidOid;
}

/* Open keep.relation, or return NULL while it is not there. */
static Relation
catalog_open(LOCKMODE lockmode)
{
	Oid			relid = keep_catalog_relid();

	return OidIsValid(relid) ? try_table_open(relid, lockmode) : NULL;
}

/* The columns of a row, palloc'd; there may be more than we know of. */
static void
deform(Relation catalog, HeapTuple row, Datum **values, bool **nulls)
{
	int			natts = RelationGetNumberOfAttributes(catalog);

	*values = palloc0(sizeof(Datum) * natts);
	*nulls = palloc(sizeof(bool) * natts);
	memset(*nulls, true, sizeof(bool) * natts);
	if (row != NULL)
		heap_deform_tuple(row, RelationGetDescr(catalog), *values, *nulls);
}

/*
 * Copy of the row that names this table, or NULL.  The caller holds "catalog"
 * open; the copy is palloc'd in the current context.
 */
static HeapTuple
catalog_row(Relation catalog, const char *schema, const char *table)
{
	Oid			index = get_relname_relid("relation_pkey", RelationGetNamespace(catalog));
	NameData	names[2];
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	row;

	namestrcpy(&names[0], schema);
	namestrcpy(&names[1], table);
	ScanKeyInit(&keys[0], KEEP_RELATION_SCHEMA, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&names[0]));
	ScanKeyInit(&keys[1], KEEP_RELATION_TABLE, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(&names[1]));

	scan = systable_beginscan(catalog, index, OidIsValid(index), NULL, 2, keys);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	return row;
}

/* OID of the table that a row names, or InvalidOid. */
static Oid
named_table(const Datum *values)
{
	Oid			schema = get_namespace_oid(NameStr(*DatumGetName(values[KEEP_RELATION_SCHEMA - 1])),
										   true);

	if (!OidIsValid(schema))
		return InvalidOid;
	return get_relname_relid(NameStr(*DatumGetName(values[KEEP_RELATION_TABLE - 1])), schema);
}

/*
 * Copy of the row of this table, or NULL: the one of its name, or else one that
 * was written under a name which the table has lost since.
 */
static HeapTuple
row_of(Relation catalog, Oid relid, const char *schema, const char *table)
{
	HeapTuple	row = catalog_row(catalog, schema, table);
	SysScanDesc scan;

	if (HeapTupleIsValid(row))
		return row;
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Datum	   *values;
		bool	   *nulls;

		deform(catalog, row, &values, &nulls);
		if (nulls[KEEP_RELATION_RELID - 1] ||
			DatumGetObjectId(values[KEEP_RELATION_RELID - 1]) != relid ||
			OidIsValid(named_table(values)))
			continue;
		row = heap_copytuple(row);
		break;
	}
	systable_endscan(scan);
	return row;
}

/*
 * Lock a row that is to be changed, and return its newest version, or NULL
 * where it has been deleted.
 *
 * A table's own lock does not protect its row: ALTER SCHEMA … RENAME changes
 * it without one.  Without this a rival's change would fail our user's DDL.
 */
static HeapTuple
lock_row(Relation catalog, HeapTuple row)
{
	TupleTableSlot *slot = table_slot_create(catalog, NULL);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TM_FailureData failure;
	TM_Result	result;
	HeapTuple	newest = NULL;

	result = table_tuple_lock(catalog, &row->t_self, snapshot, slot,
							  GetCurrentCommandId(false), LockTupleExclusive, LockWaitBlock,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	if (result == TM_Ok)
		newest = ExecCopySlotHeapTuple(slot);
	else if (result != TM_Deleted)
		elog(ERROR, "unexpected result of locking a row of keep.relation: %d", result);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	return newest;
}

/* The name of a table's schema as it is stored, or NULL: the syscache may lag behind. */
static char *
schema_as_stored(Oid relid)
{
	Relation	rel = table_open(NamespaceRelationId, AccessShareLock);
	char	   *name = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, Anum_pg_namespace_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(get_rel_namespace(relid)));
	scan = systable_beginscan(rel, NamespaceOidIndexId, true, NULL, 1, &key);
	if (HeapTupleIsValid(row = systable_getnext(scan)))
		name = pstrdup(NameStr(((Form_pg_namespace) GETSTRUCT(row))->nspname));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return name;
}

/*
 * The row of a table that the caller has locked, or NULL, and its names.  ALTER
 * SCHEMA ... RENAME does not wait for that lock: a row that was read while the
 * schema's name changed may be another table's.
 */
static HeapTuple
row_as_named(Relation catalog, Oid relid, char **schema, char **table)
{
	HeapTuple	row;
	char	   *schema_now;

	do
	{
		CHECK_FOR_INTERRUPTS();
		*table = get_rel_name(relid);
		*schema = schema_as_stored(relid);
		if (*table == NULL || *schema == NULL)
			return NULL;
		row = row_of(catalog, relid, *schema, *table);
		AcceptInvalidationMessages();
		schema_now = schema_as_stored(relid);
	} while (schema_now == NULL || strcmp(schema_now, *schema) != 0);
	return row;
}

/*
 * Find a table's registration.
 *
 * Returns false where there is none of that kind; else sets *options to a
 * palloc'd copy (never NULL).
 */
bool
keep_catalog_find(Oid relid, const char *kind, Jsonb **options)
{
	Relation	catalog = catalog_open(AccessShareLock);
	HeapTuple	row;
	char	   *schema;
	char	   *table;
	bool		found = false;

	if (catalog == NULL)
		return false;
	row = row_as_named(catalog, relid, &schema, &table);
	if (HeapTupleIsValid(row))
	{
		Datum	   *values;
		bool	   *nulls;

		deform(catalog, row, &values, &nulls);
		found = strcmp(TextDatumGetCString(values[KEEP_RELATION_KIND - 1]), kind) == 0;
		if (found)
			*options = DatumGetJsonbPCopy(values[KEEP_RELATION_OPTIONS - 1]);
	}
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * Register a table, or change its kind and options.  The caller has checked
 * that the user owns it, and holds a lock on it that excludes itself.
 */
void
keep_catalog_put(Oid relid, const char *kind, Jsonb *options)
{
	char	   *table;
	char	   *schema;
	Relation	catalog = catalog_open(RowExclusiveLock);
	Datum	   *values;
	bool	   *nulls;
	NameData	names[2];
	HeapTuple	old;
	HeapTuple	row;

	if (catalog == NULL)
		elog(ERROR, "catalog of extension pg_keep is missing");

	old = row_as_named(catalog, relid, &schema, &table);
	if (HeapTupleIsValid(old))
	{
		old = lock_row(catalog, old);
		AcceptInvalidationMessages();
	}

	deform(catalog, old, &values, &nulls);
	memset(nulls, false, sizeof(bool) * KEEP_RELATION_NATTS);
	if (old == NULL || named_table(values) != relid)
	{
		schema = schema_as_stored(relid);
		table = get_rel_name(relid);
		namestrcpy(&names[0], schema);
		namestrcpy(&names[1], table);
		values[KEEP_RELATION_SCHEMA - 1] = NameGetDatum(&names[0]);
		values[KEEP_RELATION_TABLE - 1] = NameGetDatum(&names[1]);
	}
	values[KEEP_RELATION_KIND - 1] = CStringGetTextDatum(kind);
	values[KEEP_RELATION_OPTIONS - 1] = JsonbPGetDatum(options);
	values[KEEP_RELATION_RELID - 1] = ObjectIdGetDatum(relid);

	row = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(catalog, &old->t_self, row);
	else
		CatalogTupleInsert(catalog, row);
	KEEP_FAULT("catalog: put");

	table_close(catalog, NoLock);
	CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
}

/* Forget a table that has been dropped; fine where it is not known. */
void
keep_catalog_remove(const char *schema, const char *table)
{
	Relation	catalog = catalog_open(RowExclusiveLock);
	HeapTuple	row;

	if (catalog == NULL)
		return;
	row = catalog_row(catalog, schema, table);
	if (HeapTupleIsValid(row) && (row = lock_row(catalog, row)) != NULL)
	{
		CatalogTupleDelete(catalog, &row->t_self);
		KEEP_FAULT("catalog: removed");
		CommandCounterIncrement();
	}
	table_close(catalog, NoLock);
}

/*
 * Write down the new name of a row's table, where it has one; has it?
 *
 * relid decides only while no table stands under the names in the row: after
 * a restore that set no relid it may be any number.
 */
static bool
follow_row(Relation catalog, HeapTuple row)
{
	Datum	   *values;
	bool	   *nulls;
	NameData	names[2];
	char	   *schema;
	char	   *table;
	Oid			relid;

	deform(catalog, row, &values, &nulls);
	if (nulls[KEEP_RELATION_RELID - 1] || OidIsValid(named_table(values)))
		return false;
	relid = DatumGetObjectId(values[KEEP_RELATION_RELID - 1]);
	table = get_rel_name(relid);
	schema = table ? schema_as_stored(relid) : NULL;
	if (schema == NULL || (row = lock_row(catalog, row)) == NULL)
		return false;

	/* whoever renamed the table may have written it down while we looked or waited */
	AcceptInvalidationMessages();
	deform(catalog, row, &values, &nulls);
	if (nulls[KEEP_RELATION_RELID - 1] || OidIsValid(named_table(values)))
		return false;
	relid = DatumGetObjectId(values[KEEP_RELATION_RELID - 1]);
	table = get_rel_name(relid);
	schema = table ? schema_as_stored(relid) : NULL;
	if (schema == NULL)
		return false;

	/* a row of that name would be about a table that is gone */
	keep_catalog_remove(schema, table);
	KEEP_FAULT("catalog: name freed");

	namestrcpy(&names[0], schema);
	namestrcpy(&names[1], table);
	values[KEEP_RELATION_SCHEMA - 1] = NameGetDatum(&names[0]);
	values[KEEP_RELATION_TABLE - 1] = NameGetDatum(&names[1]);
	CatalogTupleUpdate(catalog, &row->t_self,
					   heap_form_tuple(RelationGetDescr(catalog), values, nulls));
	CacheInvalidateRelcacheByRelid(relid);
	KEEP_FAULT("catalog: renamed");
	return true;
}

/* After DDL: follow tables and schemas to their new names. */
void
keep_catalog_follow_renames(void)
{
	Relation	catalog = catalog_open(RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple	row;
	bool		changed = false;

	if (catalog == NULL)
		return;
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		changed = follow_row(catalog, row) || changed;
	}
	systable_endscan(scan);
	table_close(catalog, changed ? NoLock : RowExclusiveLock);
	if (changed)
		CommandCounterIncrement();
}

/* OIDs of the registered tables of a kind that are there, in order of OID. */
List *
keep_catalog_list(const char *kind)
{
	Relation	catalog = catalog_open(AccessShareLock);
	List	   *relids = NIL;
	SysScanDesc scan;
	HeapTuple	row;

	if (catalog == NULL)
		return NIL;
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Datum	   *values;
		bool	   *nulls;
		Oid			relid;

		deform(catalog, row, &values, &nulls);
		if (strcmp(TextDatumGetCString(values[KEEP_RELATION_KIND - 1]), kind) != 0)
			continue;
		relid = named_table(values);
		if (OidIsValid(relid))
			relids = lappend_oid(relids, relid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	list_sort(relids, list_oid_cmp);
	return relids;
}

/* Refuse (42501) a user who is not the table's owner. */
static void
check_owner(Oid relid)
{
	if (!keep_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
}

static void
no_such_table(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation with OID %u does not exist", relid)));
}

/*
 * Open a table that the user owns, for a change of its registration, under a
 * lock that excludes itself.  Checked before the lock as well, so that nobody
 * holds up a table that is not his.
 */
Relation
keep_open_owned(Oid relid)
{
	Relation	rel;

	/* versions differ in what they say of the owner of nothing */
	if (get_rel_name(relid) == NULL)
		no_such_table(relid);
	check_owner(relid);
	rel = try_relation_open(relid, ShareUpdateExclusiveLock);
	if (rel == NULL)
		no_such_table(relid);
	check_owner(relid);
	return rel;
}

/*
 * Raise 42809: the table is not of the kind that the function works on.
 * "detail" says why, or is NULL where it was never registered.
 */
void
keep_not_of_kind(Oid relid, const KeepKind *kind, const char *detail)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		no_such_table(relid);
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a %s", name, keep_kind_noun(kind)),
			 detail ? errdetail_internal("%s", detail) : 0,
			 errhint("Create one with %s(), or have the owner call keep.register() "
					 "on a table of that shape.", kind->maker)));
}
