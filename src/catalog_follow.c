/*
 * catalog_follow.c
 *		How the catalog keeps in step with the tables that it names.
 *
 * keep.register() by the owner, event triggers on DDL by anybody, and a row
 * trigger for what a restore copies in.
 */
#include "postgres.h"

#include "arg.h"
#include "catalog.h"
#include "compat.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(keep_register);
PG_FUNCTION_INFO_V1(keep_relation_restored);
PG_FUNCTION_INFO_V1(keep_table_dropped);
PG_FUNCTION_INFO_V1(keep_table_altered);

/* The kind asked for by name, or 22023. */
static const KeepKind *
kind_argument(const char *name)
{
	const KeepKind *kind = keep_kind_named(name);
	StringInfoData known;

	if (kind != NULL)
		return kind;

	initStringInfo(&known);
	for (int i = 0; (kind = keep_kind_at(i)) != NULL; i++)
		appendStringInfo(&known, "%s\"%s\"", i > 0 ? ", " : "", kind->name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of table: \"%s\"", name),
			 errhint("Known kinds: %s.", known.data)));
}

/*
 * keep.register(relation regclass, kind text, options jsonb) returns void
 *
 * Makes a table that has the right shape known (again) to pg_keep.  Raises
 * 42501 for anybody but its owner, 42809 where the shape is another, 22023 for
 * a bad kind or option, 0A000 for a temporary table.
 */
Datum
keep_register(PG_FUNCTION_ARGS)
{
	const KeepKind *kind;
	Relation	rel;
	Jsonb	   *options;
	const char *flaw;

	keep_arg_require(fcinfo, 0, "relation");
	keep_arg_require(fcinfo, 1, "kind");
	keep_arg_require(fcinfo, 2, "options");
	keep_require_write("keep.register()");

	kind = kind_argument(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	options = PG_GETARG_JSONB_P(2);

	rel = keep_open_owned(PG_GETARG_OID(0));
	if (RelationUsesLocalBuffers(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a temporary table cannot be a %s", keep_kind_noun(kind))));
	flaw = keep_shape_flaw(rel, kind->shape);
	if (flaw != NULL)
		keep_not_of_kind(RelationGetRelid(rel), kind, flaw);

	keep_catalog_put(RelationGetRelid(rel), kind->name, kind->normal_options(rel, options));
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* Send the relcache invalidation for the table that a row is about. */
static void
invalidate_table(HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	Datum		relid = heap_getattr(row, KEEP_RELATION_RELID, desc, &isnull);

	if (!isnull && SearchSysCacheExists1(RELOID, relid))
		CacheInvalidateRelcacheByRelid(DatumGetObjectId(relid));
}

/*
 * Row trigger on keep.relation, for what comes in by SQL: a restore's COPY,
 * or a superuser's hand.  Sets relid to the table of those names, or NULL.
 */
Datum
keep_relation_restored(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	row;
	Datum		names[2];
	Datum		relid = ObjectIdGetDatum(InvalidOid);
	int			column = KEEP_RELATION_RELID;
	bool		isnull;
	bool		nulls[2];
	Oid			schema;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as a BEFORE ROW trigger",
						"relation_restored")));

	/* the columns are those of no other table */
	if (RelationGetRelid(trigger->tg_relation) != keep_catalog_relid())
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for the table keep.relation only",
						"relation_restored")));

	desc = RelationGetDescr(trigger->tg_relation);
	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		invalidate_table(trigger->tg_trigtuple, desc);
	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_trigtuple);

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
		: trigger->tg_trigtuple;
	names[0] = heap_getattr(row, KEEP_RELATION_SCHEMA, desc, &nulls[0]);
	names[1] = heap_getattr(row, KEEP_RELATION_TABLE, desc, &nulls[1]);
	/* that they are NOT NULL is checked after this trigger */
	if (nulls[0] || nulls[1])
		return PointerGetDatum(row);
	schema = get_namespace_oid(NameStr(*DatumGetName(names[0])), true);
	if (OidIsValid(schema))
		relid = ObjectIdGetDatum(get_relname_relid(NameStr(*DatumGetName(names[1])), schema));
	isnull = !OidIsValid(DatumGetObjectId(relid));
	row = heap_modify_tuple_by_cols(row, desc, 1, &column, &relid, &isnull);
	invalidate_table(row, desc);
	return PointerGetDatum(row);
}

/* Refuse a call that does not come from an event trigger. */
static void
check_event(FunctionCallInfo fcinfo, const char *event)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo) ||
		strcmp(((EventTriggerData *) fcinfo->context)->event, event) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called by an event trigger on %s", event)));
}

/*
 * Event trigger on sql_drop: forget dropped tables.
 *
 * Runs as whoever drops; the list is asked for with that user's rights, and
 * the catalog written in C.
 */
Datum
keep_table_dropped(PG_FUNCTION_ARGS)
{
	check_event(fcinfo, "sql_drop");

	SPI_connect();
	if (SPI_execute("SELECT object_type, schema_name, object_name"
					" FROM pg_catalog.pg_event_trigger_dropped_objects()",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the dropped objects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	object = SPI_tuptable->vals[i];
		char	   *type = SPI_getvalue(object, SPI_tuptable->tupdesc, 1);
		char	   *schema = SPI_getvalue(object, SPI_tuptable->tupdesc, 2);
		char	   *name = SPI_getvalue(object, SPI_tuptable->tupdesc, 3);

		if (strcmp(type, "table") == 0 && schema != NULL && name != NULL)
			keep_catalog_remove(schema, name);
	}
	SPI_finish();
	PG_RETURN_NULL();
}

/* Event trigger on ddl_command_end of ALTER …: follow renames and moves. */
Datum
keep_table_altered(PG_FUNCTION_ARGS)
{
	check_event(fcinfo, "ddl_command_end");
	keep_catalog_follow_renames();
	PG_RETURN_NULL();
}
