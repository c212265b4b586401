/*
 * saga_log.c
 *		Saga logs: their two tables, their options, the functions they allow.
 *
 * The table of sagas is the handle that functions are given; steps are in a
 * table of their own.  Steps name functions that others will run, with their
 * own rights: so only those may be named that the owner of the log has allowed.
 * The list is in the catalog, which no writer of the tables can change.  It
 * goes by name, as an OID does not survive a dump, and by the name of the
 * function's owner, so that no other role can put a function under a name that
 * has become free.
 */
#include "postgres.h"

#include "arg.h"
#include "option.h"
#include "routine.h"
#include "saga_log.h"
#include "shape.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(keep_create_saga_log);
PG_FUNCTION_INFO_V1(keep_allow_saga_function);

#define NOUN "saga log"

#define DEFAULT_MAX_ATTEMPTS	10
#define LIMIT_MAX_ATTEMPTS		1000

static void *saga_parse_options(Relation rel, Jsonb *json);
static void *steps_parse_options(Relation rel, Jsonb *json);
static Jsonb *saga_normal_options(Relation rel, Jsonb *json);
static Jsonb *steps_normal_options(Relation rel, Jsonb *json);

static const KeepColumn saga_columns[] = {
	{"saga", TEXTOID, true, true},
	{"state", TEXTOID, true, true},
	{"last_place", INT8OID, true, false},
	{"steps", INT4OID, true, false},
	{"deadline_at", TIMESTAMPTZOID, false, false},
	{"waits_for", TEXTOID, false, true},
	{"due_at", TIMESTAMPTZOID, false, false},
	{"created_at", TIMESTAMPTZOID, true, false},
	{"updated_at", TIMESTAMPTZOID, true, false}
};

static const KeepShape saga_shape = {
	.columns = saga_columns,
	.ncolumns = lengthof(saga_columns),
	.key = {"saga"},
};

const KeepKind keep_saga_kind = {
	.name = "saga_log",
	.noun = NOUN,
	.maker = "keep.create_saga_log",
	.shape = &saga_shape,
	.parse_options = saga_parse_options,
	.normal_options = saga_normal_options,
	.statements = saga_statements,
	.nstatements = SAGA_NSTATEMENTS,
};

static const KeepColumn steps_columns[] = {
	{"saga", TEXTOID, true, true},
	{"step", TEXTOID, true, true},
	{"kind", TEXTOID, true, true},
	{"status", TEXTOID, true, true},
	{"place", INT8OID, false, false},
	{"action", TEXTOID, false, true},
	{"compensation", TEXTOID, false, true},
	{"args", JSONBOID, false, false},
	{"result", JSONBOID, false, false},
	{"token", INT8OID, true, false},
	{"lease_until", TIMESTAMPTZOID, false, false},
	{"worker", TEXTOID, false, true},
	{"attempts", INT4OID, true, false},
	{"retry_at", TIMESTAMPTZOID, false, false},
	{"last_error", TEXTOID, false, true},
	{"compensation_result", JSONBOID, false, false},
	{"created_at", TIMESTAMPTZOID, true, false},
	{"updated_at", TIMESTAMPTZOID, true, false}
};

static const KeepShape steps_shape = {
	.columns = steps_columns,
	.ncolumns = lengthof(steps_columns),
	.key = {"saga", "step"},
	.sequence = "token",
};

const KeepKind keep_steps_kind = {
	.name = "saga_steps",
	.noun = "table of steps",
	.maker = "keep.create_saga_log",
	.shape = &steps_shape,
	.parse_options = steps_parse_options,
	.normal_options = steps_normal_options,
	.statements = step_statements,
	.nstatements = STEP_NSTATEMENTS,
};

const KeepPair keep_saga_pair = {
	.first = &keep_saga_kind,
	.second = &keep_steps_kind,
	.option = "steps",
	.suffix = "_steps",
};

/* The number of attempts that an option or argument asks for; raises 22023. */
static int
check_max_attempts(int max_attempts)
{
	if (max_attempts < 1 || max_attempts > LIMIT_MAX_ATTEMPTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_attempts must be between 1 and %d", LIMIT_MAX_ATTEMPTS)));
	return max_attempts;
}

/* Option "functions": an object, of names and owners.  Raises 22023. */
static List *
functions_option(Jsonb *json)
{
	JsonbValue	member;
	JsonbIterator *it;
	JsonbIteratorToken token;
	List	   *functions = NIL;

	if (getKeyJsonValueFromContainer(&json->root, "functions", strlen("functions"),
									 &member) == NULL || member.type == jbvNull)
		return NIL;
	if (member.type != jbvBinary || !JsonContainerIsObject(member.val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s option \"functions\"", NOUN),
				 errhint("It is an object that gives the owner of each function; "
						 "keep.allow_saga_function() writes it.")));
	it = JsonbIteratorInit(member.val.binary.data);
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		SagaFunction *function;

		if (token != WJB_KEY)
			continue;
		function = palloc(sizeof(SagaFunction));
		function->name = pnstrdup(member.val.string.val, member.val.string.len);
		(void) JsonbIteratorNext(&it, &member, true);
		if (member.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("owner of function %s must be a string", function->name)));
		function->owner = pnstrdup(member.val.string.val, member.val.string.len);
		functions = lappend(functions, function);
	}
	return functions;
}

/* KeepKind.parse_options of the sagas. */
static void *
saga_parse_options(Relation rel, Jsonb *json)
{
	static const char *const names[] = {"max_attempts", "functions", "steps", "token"};
	SagaOptions *opt = palloc0(sizeof(SagaOptions));
	char	   *text;

	keep_option_check(json, NOUN, names, lengthof(names),
					  "Options are max_attempts, functions and steps.");
	text = keep_option_text(json, NOUN, "max_attempts");
	opt->max_attempts = text ? check_max_attempts(pg_strtoint32(text)) : DEFAULT_MAX_ATTEMPTS;
	opt->functions = functions_option(json);
	keep_pair_parse(&keep_saga_pair, true, rel, json, &opt->tie);
	return opt;
}

/* KeepKind.parse_options of the steps: the same, as far as they have it. */
static void *
steps_parse_options(Relation rel, Jsonb *json)
{
	SagaOptions *opt = palloc0(sizeof(SagaOptions));

	keep_pair_parse(&keep_saga_pair, false, rel, json, &opt->tie);
	return opt;
}

/* Options of the sagas as they are kept. */
static Jsonb *
options_json(const SagaOptions *opt)
{
	JsonbParseState *state = NULL;
	JsonbValue	key = {.type = jbvString};
	ListCell   *cell;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_option_push(&state, "max_attempts", opt->max_attempts == DEFAULT_MAX_ATTEMPTS ? NULL :
					 psprintf("%d", opt->max_attempts));
	keep_option_push(&state, "token", opt->tie.token);
	if (opt->functions != NIL)
	{
		key.val.string.val = "functions";
		key.val.string.len = strlen("functions");
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		foreach(cell, opt->functions)
		{
			const SagaFunction *function = lfirst(cell);

			keep_option_push(&state, function->name, function->owner);
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * KeepKind.normal_options of the sagas, for keep.register(): registers the
 * steps too (option "steps", else by their name).  Functions that are allowed
 * stay so unless others are named.
 */
static Jsonb *
saga_normal_options(Relation rel, Jsonb *json)
{
	SagaOptions *opt = saga_parse_options(rel, json);
	Jsonb	   *old;

	if (!keep_option_there(json, "functions") &&
		keep_catalog_find(RelationGetRelid(rel), keep_saga_kind.name, &old))
		opt->functions = functions_option(old);
	opt->tie.token = keep_pair_register(&keep_saga_pair, rel, json);
	return options_json(opt);
}

/* KeepKind.normal_options of the steps: they cannot be registered alone. */
static Jsonb *
steps_normal_options(Relation rel, Jsonb *json)
{
	keep_pair_refuse_second(&keep_saga_pair, rel);
	return NULL;
}

/* Create the table of sagas as the current user. */
static Oid
create_sagas(Oid schema, const char *name)
{
	const char *table = quote_qualified_identifier(get_namespace_name(schema), name);

	keep_run_ddl(psprintf("CREATE TABLE %s ("
						  "saga pg_catalog.text COLLATE pg_catalog.\"C\" PRIMARY KEY,"
						  "state pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "last_place pg_catalog.int8 NOT NULL,"
						  "steps pg_catalog.int4 NOT NULL,"
						  "deadline_at pg_catalog.timestamptz,"
						  "waits_for pg_catalog.text COLLATE pg_catalog.\"C\","
						  "due_at pg_catalog.timestamptz,"
						  "created_at pg_catalog.timestamptz NOT NULL,"
						  "updated_at pg_catalog.timestamptz NOT NULL) WITH (fillfactor = 50)",
						  table));
	keep_run_ddl(psprintf("CREATE INDEX ON %s (waits_for, due_at) WHERE due_at IS NOT NULL",
						  table));
	return get_relname_relid(name, schema);
}

/* Create the table of steps as the current user. */
static Oid
create_steps(Oid schema, const char *name)
{
	keep_run_ddl(psprintf("CREATE TABLE %s ("
						  "saga pg_catalog.text COLLATE pg_catalog.\"C\","
						  "step pg_catalog.text COLLATE pg_catalog.\"C\","
						  "kind pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "status pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "place pg_catalog.int8,"
						  "action pg_catalog.text COLLATE pg_catalog.\"C\","
						  "compensation pg_catalog.text COLLATE pg_catalog.\"C\","
						  "args pg_catalog.jsonb,"
						  "result pg_catalog.jsonb,"
						  "token pg_catalog.int8 GENERATED ALWAYS AS IDENTITY,"
						  "lease_until pg_catalog.timestamptz,"
						  "worker pg_catalog.text COLLATE pg_catalog.\"C\","
						  "attempts pg_catalog.int4 NOT NULL,"
						  "retry_at pg_catalog.timestamptz,"
						  "last_error pg_catalog.text COLLATE pg_catalog.\"C\","
						  "compensation_result pg_catalog.jsonb,"
						  "created_at pg_catalog.timestamptz NOT NULL,"
						  "updated_at pg_catalog.timestamptz NOT NULL,"
						  "PRIMARY KEY (saga, step)) WITH (fillfactor = 80)",
						  quote_qualified_identifier(get_namespace_name(schema), name)));
	return get_relname_relid(name, schema);
}

/*
 * keep.create_saga_log(name text, max_attempts int) returns regclass
 *
 * Creates a saga log as the caller, who then owns it: a table of sagas, and
 * beside it one of their steps, named with "_steps" behind.  Raises 42622 for a
 * name that leaves no room for the second one, 22023 for max_attempts that are
 * not between 1 and 1000, 0A000 for a temporary schema, and what CREATE TABLE
 * raises.
 */
Datum
keep_create_saga_log(PG_FUNCTION_ARGS)
{
	SagaOptions opt = {0};
	char	   *relname;
	const char *other;
	Oid			schema;
	Oid			sagas;
	Relation	steps;

	keep_arg_require(fcinfo, 0, "name");
	keep_arg_require(fcinfo, 1, "max_attempts");
	opt.max_attempts = check_max_attempts(PG_GETARG_INT32(1));
	schema = keep_creation_schema(PG_GETARG_TEXT_PP(0), NOUN, &relname);
	other = keep_pair_second_name(&keep_saga_pair, relname);

	SPI_connect();
	sagas = create_sagas(schema, relname);
	steps = relation_open(create_steps(schema, other), NoLock);
	SPI_finish();
	opt.tie.token = keep_pair_tie(&keep_saga_pair, steps);
	keep_catalog_put(sagas, keep_saga_kind.name, options_json(&opt));
	relation_close(steps, NoLock);
	PG_RETURN_OID(sagas);
}

static SagaFunction *
find_function(const SagaOptions *opt, const char *name)
{
	ListCell   *cell;

	foreach(cell, opt->functions)
	{
		SagaFunction *function = lfirst(cell);

		if (strcmp(function->name, name) == 0)
			return function;
	}
	return NULL;
}

/*
 * keep.allow_saga_function(log regclass, fn regprocedure, allowed boolean)
 *		returns void
 *
 * Lets steps of the log name the function, as action or as compensation, or
 * ends that.  Only the owner of the log may (42501).  It counts for as long as
 * the function keeps its name and its owner.  Raises 22023 for one that is not
 * (jsonb) returns jsonb.
 */
Datum
keep_allow_saga_function(PG_FUNCTION_ARGS)
{
	Relation	rel;
	Jsonb	   *json;
	SagaOptions *opt;
	SagaFunction *function;
	const char *name;
	const char *flaw;
	Oid			fn;

	keep_arg_require(fcinfo, 0, "log");
	keep_arg_require(fcinfo, 1, "fn");
	keep_arg_require(fcinfo, 2, "allowed");
	keep_require_write("keep.allow_saga_function()");
	rel = keep_open_owned(PG_GETARG_OID(0));
	if (!keep_catalog_find(PG_GETARG_OID(0), keep_saga_kind.name, &json))
		keep_not_of_kind(PG_GETARG_OID(0), &keep_saga_kind, NULL);
	if ((flaw = keep_shape_flaw(rel, keep_saga_kind.shape)) != NULL)
		keep_not_of_kind(PG_GETARG_OID(0), &keep_saga_kind, flaw);
	opt = saga_parse_options(rel, json);

	fn = PG_GETARG_OID(1);
	keep_routine_check_shape(fn);
	name = keep_routine_name(fn);
	function = find_function(opt, name);
	if (function != NULL)
		opt->functions = list_delete_ptr(opt->functions, function);
	if (PG_GETARG_BOOL(2))
	{
		function = palloc(sizeof(SagaFunction));
		function->name = name;
		function->owner = keep_routine_owner(fn);
		opt->functions = lappend(opt->functions, function);
	}
	keep_catalog_put(PG_GETARG_OID(0), keep_saga_kind.name, options_json(opt));
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}

/*
 * Refuse a function that may not be run for this log: not allowed by the log's
 * owner, or the user may not execute it (42501), or it is not (jsonb) returns
 * jsonb (22023).
 */
void
saga_check_function(const KeepTable *sagas, Oid fn)
{
	const char *name = keep_routine_name(fn);
	const SagaFunction *function = find_function(sagas->options, name);

	if (function == NULL || strcmp(function->owner, keep_routine_owner(fn)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s is not allowed in saga log \"%s\"", name,
						get_rel_name(sagas->relid)),
				 function ? errdetail("It has another owner than when it was allowed.") : 0,
				 errhint("Have the owner of the log call keep.allow_saga_function().")));
	keep_routine_check(fn);
}
