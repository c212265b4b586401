/*
 * store.c
 *		Stores: creating them, their shape and their options.
 */
#include "postgres.h"

#include "arg.h"
#include "as_owner.h"
#include "clock.h"
#include "compat.h"
#include "naming.h"
#include "option.h"
#include "shape.h"
#include "store.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define DEFAULT_MAX_VALUE_BYTES	1048576

#define OPTIONS_HINT \
	"Options are ttl, expire_after, max_lifetime, renew_after, max_value_bytes and hash_keys; " \
	"keep.set_store_option() also takes persistence."

PG_FUNCTION_INFO_V1(keep_create_store);
PG_FUNCTION_INFO_V1(keep_set_store_option);

static void *store_parse_options(Relation rel, Jsonb *json);
static Jsonb *store_normal_options(Relation rel, Jsonb *json);

static const KeepColumn store_columns[] = {
	{"key", TEXTOID, true, true},
	{"value", JSONBOID, true, false},
	{"version", INT8OID, true, false},
	{"created_at", TIMESTAMPTZOID, true, false},
	{"updated_at", TIMESTAMPTZOID, true, false},
	{"expires_at", TIMESTAMPTZOID, false, false},
	{"reap_at", TIMESTAMPTZOID, false, false}
};

static const KeepShape store_shape = {
	.columns = store_columns,
	.ncolumns = lengthof(store_columns),
	.key = {"key"},
	.sequence = "version",
	.unlogged = true,
};

const KeepKind keep_store_kind = {
	.name = "store",
	.maker = "keep.create_store",
	.shape = &store_shape,
	.parse_options = store_parse_options,
	.normal_options = store_normal_options,
	.statements = store_statements,
	.nstatements = STORE_NSTATEMENTS,
	.expand = store_expand,
};

static void
bad_option(const char *option, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for store option \"%s\": \"%s\"", option, value),
			 errhint("%s", hint)));
}

/*
 * Set an option from its text; NULL stands for the default.  Raises 22023 for
 * an unknown option or a bad value.
 */
static void
set_option(StoreOptions *opt, const char *option, const char *value)
{
	if (strcmp(option, "ttl") == 0)
		opt->ttl = keep_option_span(option, value, false);
	else if (strcmp(option, "max_lifetime") == 0)
		opt->max_lifetime = keep_option_span(option, value, false);
	else if (strcmp(option, "renew_after") == 0)
		opt->renew_after = keep_option_span(option, value, true);
	else if (strcmp(option, "expire_after") == 0)
	{
		if (value == NULL || strcmp(value, "write") == 0)
			opt->expire_after = STORE_EXPIRE_AFTER_WRITE;
		else if (strcmp(value, "create") == 0)
			opt->expire_after = STORE_EXPIRE_AFTER_CREATE;
		else if (strcmp(value, "access") == 0)
			opt->expire_after = STORE_EXPIRE_AFTER_ACCESS;
		else
			bad_option(option, value, "Valid values are \"create\", \"write\" and \"access\".");
	}
	else if (strcmp(option, "max_value_bytes") == 0)
	{
		opt->max_value_bytes = value ? pg_strtoint32(value) : DEFAULT_MAX_VALUE_BYTES;
		if (opt->max_value_bytes < 1)
			bad_option(option, value, "It is a number of bytes, at least 1.");
	}
	else if (strcmp(option, "hash_keys") == 0)
	{
		opt->hash_keys = false;
		if (value != NULL && !parse_bool(value, &opt->hash_keys))
			bad_option(option, value, "Valid values are \"true\" and \"false\".");
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown store option \"%s\"", option),
				 errhint("%s", OPTIONS_HINT)));
}

/* Options from keep.relation or keep.register(), checked; palloc'd. */
static StoreOptions *
options_from_json(Jsonb *json)
{
	static const char *const names[] = {
		"ttl", "expire_after", "max_lifetime", "renew_after", "max_value_bytes", "hash_keys"
	};
	StoreOptions *opt = palloc0(sizeof(StoreOptions));

	keep_option_check(json, keep_store_kind.name, names, lengthof(names), OPTIONS_HINT);
	for (size_t i = 0; i < lengthof(names); i++)
		set_option(opt, names[i], keep_option_text(json, keep_store_kind.name, names[i]));
	return opt;
}

/* Options as they are kept: those that differ from the default. */
static Jsonb *
options_to_json(const StoreOptions *opt)
{
	static const char *const policies[] = {"create", NULL, "access"};
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_option_push(&state, "ttl", keep_span_text(opt->ttl));
	keep_option_push(&state, "expire_after", policies[opt->expire_after]);
	keep_option_push(&state, "max_lifetime", keep_span_text(opt->max_lifetime));
	keep_option_push(&state, "renew_after", keep_span_text(opt->renew_after));
	keep_option_push(&state, "max_value_bytes",
					 opt->max_value_bytes == DEFAULT_MAX_VALUE_BYTES ? NULL :
					 psprintf("%d", opt->max_value_bytes));
	keep_option_push(&state, "hash_keys", opt->hash_keys ? "true" : NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* KeepKind.parse_options: what the functions on a store go by. */
static void *
store_parse_options(Relation rel, Jsonb *json)
{
	StoreOptions *opt = options_from_json(json);

	opt->unlogged = rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;
	opt->sequence = keep_shape_column_sequence(rel, "version");
	return opt;
}

/* KeepKind.normal_options: options checked, in the form that is kept. */
static Jsonb *
store_normal_options(Relation rel, Jsonb *json)
{
	return options_to_json(options_from_json(json));
}

/* Is the table to be unlogged?  Raises 22023 for a bad value. */
static bool
unlogged_option(const char *value)
{
	if (value == NULL || strcmp(value, "logged") == 0)
		return false;
	if (strcmp(value, "unlogged") != 0)
		bad_option("persistence", value, "Valid values are \"logged\" and \"unlogged\".");
	return true;
}

/*
 * The sequence stays logged whatever the table is: after a crash an unlogged
 * table is empty, and a sequence emptied with it would draw the same versions
 * again.
 */
static void
log_sequence(Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);
	Oid			sequence = keep_shape_column_sequence(rel, "version");

	relation_close(rel, NoLock);
	if (!OidIsValid(sequence))
		keep_not_of_kind(relid, &keep_store_kind, "Column \"version\" is not an identity column.");
	keep_run_ddl(psprintf("ALTER SEQUENCE %s SET LOGGED", keep_relation_name(sequence, false)));
	if (get_rel_persistence(sequence) != RELPERSISTENCE_PERMANENT)
		keep_name_moved(relid);
}

/*
 * Create the table and its index in "schema", as the current user.
 *
 * No CHECK on the length of the key: the executor parses and prepares each
 * CHECK anew in each statement that writes, and the functions check it anyway.
 */
static Oid
create_table(Oid schema, const char *name, bool unlogged)
{
	static const char definition[] =
		"(key pg_catalog.text COLLATE pg_catalog.\"C\" PRIMARY KEY,"
		"value pg_catalog.jsonb NOT NULL,"
		"version pg_catalog.int8 GENERATED ALWAYS AS IDENTITY,"
		"created_at pg_catalog.timestamptz NOT NULL"
		" DEFAULT pg_catalog.clock_timestamp(),"
		"updated_at pg_catalog.timestamptz NOT NULL"
		" DEFAULT pg_catalog.clock_timestamp(),"
		"expires_at pg_catalog.timestamptz,"
		"reap_at pg_catalog.timestamptz) WITH (fillfactor = 80)";
	Oid			relid;

	SPI_connect();
	relid = keep_create_table(schema, name, unlogged ? "UNLOGGED " : "", definition);
	keep_create_index(relid, "(reap_at) WHERE reap_at IS NOT NULL");
	if (unlogged)
		log_sequence(relid);
	SPI_finish();
	return relid;
}

/*
 * keep.create_store(name text, ttl interval, expire_after text,
 *					 max_lifetime interval, renew_after interval,
 *					 max_value_bytes int, hash_keys bool, persistence text)
 *		returns regclass
 *
 * Creates a store as the caller, who then owns it.  Raises 22023 for a bad
 * option, 0A000 for a temporary schema, and what CREATE TABLE raises.
 */
Datum
keep_create_store(PG_FUNCTION_ARGS)
{
	StoreOptions opt = {0};
	char	   *relname;
	Oid			schema;
	Oid			relid;
	bool		unlogged;

	keep_arg_require(fcinfo, 0, "name");
	keep_arg_require(fcinfo, 2, "expire_after");
	keep_arg_require(fcinfo, 5, "max_value_bytes");
	keep_arg_require(fcinfo, 6, "hash_keys");
	keep_arg_require(fcinfo, 7, "persistence");

	opt.ttl = unconstify(Interval *, keep_arg_span(fcinfo, 1, "ttl"));
	set_option(&opt, "expire_after", text_to_cstring(PG_GETARG_TEXT_PP(2)));
	opt.max_lifetime = unconstify(Interval *, keep_arg_span(fcinfo, 3, "max_lifetime"));
	if (!PG_ARGISNULL(4))
	{
		opt.renew_after = PG_GETARG_INTERVAL_P(4);
		keep_clock_check_span(opt.renew_after, "renew_after", true);
	}
	set_option(&opt, "max_value_bytes", psprintf("%d", PG_GETARG_INT32(5)));
	opt.hash_keys = PG_GETARG_BOOL(6);
	unlogged = unlogged_option(text_to_cstring(PG_GETARG_TEXT_PP(7)));

	schema = keep_creation_schema(PG_GETARG_TEXT_PP(0), keep_store_kind.name, &relname);
	relid = create_table(schema, relname, unlogged);
	keep_catalog_put(relid, keep_store_kind.name, options_to_json(&opt));
	PG_RETURN_OID(relid);
}

/*
 * Change the persistence of a store's table, but not of its sequence.  The lock
 * comes first, as the name may pass to another table while ALTER TABLE waits
 * for it; and if it does so all the same, nothing has happened (40001).
 */
static void
set_persistence(Relation rel, bool unlogged)
{
	Oid			relid = RelationGetRelid(rel);

	relation_close(rel, NoLock);
	LockRelationOid(relid, AccessExclusiveLock);
	SPI_connect();
	keep_run_ddl(psprintf("ALTER TABLE %s SET %s", keep_relation_name(relid, false),
						  unlogged ? "UNLOGGED" : "LOGGED"));
	if (get_rel_persistence(relid) !=
		(unlogged ? RELPERSISTENCE_UNLOGGED : RELPERSISTENCE_PERMANENT))
		keep_name_moved(relid);
	log_sequence(relid);
	SPI_finish();
}

/*
 * Bring the entries that are there under a new max_lifetime, so that those that
 * have outlived it are found by keep.expire(), and stay gone when the option is
 * changed again.
 */
static void
cap_lifetimes(Relation rel, const Interval *max_lifetime)
{
	Oid			type = INTERVALOID;
	Datum		value = IntervalPGetDatum(max_lifetime);
	const char *cap = "created_at OPERATOR(pg_catalog.+) $1";

	keep_update_as_owner(rel, psprintf("expires_at = LEAST(expires_at, %s),"
									   " reap_at = LEAST(reap_at, %s)"
									   " WHERE expires_at IS NULL"
									   " OR expires_at OPERATOR(pg_catalog.>) (%s)",
									   cap, cap, cap),
						 1, &type, &value);
}

/*
 * keep.set_store_option(store regclass, option text, value text) returns void
 *
 * NULL sets the default.  Only the owner may (42501).  Counts for calls that
 * start after the commit.  max_lifetime shortens the lives that are longer; the
 * other options leave lives already given out as they are.  Raises 22023 for an
 * unknown option or a bad value, 0A000 for hash_keys, since the keys that are
 * there could not be found again.
 */
Datum
keep_set_store_option(PG_FUNCTION_ARGS)
{
	const char *option;
	const char *value;
	const char *flaw;
	StoreOptions *opt;
	Relation	rel;
	Jsonb	   *json;
	Oid			relid;

	keep_arg_require(fcinfo, 0, "store");
	keep_arg_require(fcinfo, 1, "option");
	keep_require_write("keep.set_store_option()");
	relid = PG_GETARG_OID(0);
	option = text_to_cstring(PG_GETARG_TEXT_PP(1));
	value = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));

	rel = keep_open_owned(relid);
	if (!keep_catalog_find(relid, keep_store_kind.name, &json))
		keep_not_of_kind(relid, &keep_store_kind, NULL);

	if (strcmp(option, "persistence") == 0)
	{
		/* whatever its shape: this also mends a sequence that ALTER TABLE has made unlogged */
		set_persistence(rel, unlogged_option(value));
		PG_RETURN_VOID();
	}
	if ((flaw = keep_shape_flaw(rel, keep_store_kind.shape)) != NULL)
		keep_not_of_kind(relid, &keep_store_kind, flaw);
	if (strcmp(option, "hash_keys") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"hash_keys\" cannot be changed"),
				 errhint("Create another store and put the entries there.")));
	opt = options_from_json(json);
	set_option(opt, option, value);
	keep_catalog_put(relid, keep_store_kind.name, options_to_json(opt));
	if (strcmp(option, "max_lifetime") == 0 && opt->max_lifetime != NULL)
		cap_lifetimes(rel, opt->max_lifetime);
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}
