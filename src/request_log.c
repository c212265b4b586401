/*
 * request_log.c
 *		Request logs: creating them, their options and their statements.
 *
 * A record is created and finished within one life of its row: reap_at is
 * indexed and only set at the start, so that finishing it can be HOT.
 */
#include "postgres.h"

#include "arg.h"
#include "as_owner.h"
#include "clock.h"
#include "compat.h"
#include "json.h"
#include "option.h"
#include "request_log.h"
#include "shape.h"
#include "reap.h"
#include "sweep.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(keep_create_request_log);
PG_FUNCTION_INFO_V1(keep_expire_requests);

#define NOUN "request log"

/* as in the declaration of keep.create_request_log() */
#define DEFAULT_RETAIN "PT24H"

static void *request_parse_options(Relation rel, Jsonb *json);
static Jsonb *request_normal_options(Relation rel, Jsonb *json);
static const char *request_expand(Relation rel, const void *options, const char *clock,
								  const char *name);

/* all of them, in their order: the executor then hands out the row as it is */
#define COLUMNS \
	"r.key, r.state, r.request_hash, r.token, r.lease, r.lease_until, r.attempts," \
	" r.checkpoint, r.response, r.request, r.created_at, r.finished_at, r.reap_at"
#define BY_KEY " WHERE r.key OPERATOR(pg_catalog.=) $1"
/* the holder's record: the token is drawn anew whenever another takes it over */
#define IF_HELD \
	BY_KEY " AND r.token OPERATOR(pg_catalog.=) $2" \
	" AND r.state OPERATOR(pg_catalog.=) '" REQUEST_IN_PROGRESS "'"

#define PARAMS_NEW \
	TEXTOID, BYTEAOID, JSONBOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID

/* Was an outcome out of retention at $1? */
#define OVER(r) r ".finished_at OPERATOR(pg_catalog.+) {retain} OPERATOR(pg_catalog.<=) $1"

static const KeepStatement request_statements[REQUEST_NSTATEMENTS] = {
	[REQUEST_READ] = {
		"SELECT " COLUMNS " FROM {table} AS r" BY_KEY,
		{TEXTOID}
	},
	[REQUEST_LOCK] = {
		"SELECT " COLUMNS " FROM {table} AS r" BY_KEY " FOR NO KEY UPDATE",
		{TEXTOID}
	},
	/* no row back: there is a record, not locked */
	[REQUEST_INSERT] = {
		"INSERT INTO {table} AS r (key, state, request_hash, request, lease, lease_until,"
		" attempts, created_at, reap_at) VALUES ($1, '" REQUEST_IN_PROGRESS "', $2, $3, $4, $5,"
		" 1, $6, $7) ON CONFLICT (key) DO NOTHING RETURNING r.key, r.token",
		{PARAMS_NEW}
	},
	/* the next attempt of a record that is locked */
	[REQUEST_RESUME] = {
		"UPDATE {table} AS r SET state = '" REQUEST_IN_PROGRESS "', token = {version}, lease = $2,"
		" lease_until = $3, attempts = r.attempts OPERATOR(pg_catalog.+) 1" BY_KEY
		" RETURNING r.key, r.token",
		{TEXTOID, INTERVALOID, TIMESTAMPTZOID}
	},
	/* a new record in the place of one that is locked and out of retention */
	[REQUEST_RESTART] = {
		"UPDATE {table} AS r SET state = '" REQUEST_IN_PROGRESS "', token = {version},"
		" request_hash = $2, request = $3, lease = $4, lease_until = $5, attempts = 1,"
		" created_at = $6, reap_at = $7, finished_at = NULL, checkpoint = NULL, response = NULL"
		BY_KEY " RETURNING r.key, r.token",
		{PARAMS_NEW}
	},
	[REQUEST_CHECKPOINT] = {
		"UPDATE {table} AS r SET checkpoint = $3, lease_until = $4" IF_HELD "{returning}",
		{TEXTOID, INT8OID, JSONBOID, TIMESTAMPTZOID}
	},
	[REQUEST_FINISH] = {
		"UPDATE {table} AS r SET state = $3, response = $4, finished_at = $5, lease_until = NULL,"
		" checkpoint = NULL" IF_HELD "{returning}",
		{TEXTOID, INT8OID, TEXTOID, JSONBOID, TIMESTAMPTZOID}
	},
	/* the time of an outcome whose statement had to wait */
	[REQUEST_DATE] = {
		"UPDATE {table} AS r SET finished_at = $2" BY_KEY,
		{TEXTOID, TIMESTAMPTZOID}
	},
	[REQUEST_RELEASE] = {
		"UPDATE {table} AS r SET state = '" REQUEST_RELEASED "', lease_until = NULL" IF_HELD
		"{returning}",
		{TEXTOID, INT8OID}
	},
	[REQUEST_EXPIRE] = {
		KEEP_SWEEP_EXPIRE(OVER),
		{KEEP_SWEEP_EXPIRE_PARAMS}
	},
	[REQUEST_MORE_EXPIRED] = {
		KEEP_SWEEP_MORE(OVER),
		{KEEP_SWEEP_PARAMS}
	},
	[REQUEST_POSTPONE] = {
		KEEP_SWEEP_POSTPONE(OVER, "COALESCE(e.finished_at, $1) OPERATOR(pg_catalog.+) {retain}"),
		{KEEP_SWEEP_PARAMS}
	},
	[REQUEST_PUT_OFF] = {
		KEEP_SWEEP_PUT_OFF(OVER),
		{KEEP_SWEEP_PARAMS}
	},
	[REQUEST_NEXT] = {KEEP_SWEEP_NEXT, {InvalidOid}},
};

static const KeepColumn request_columns[] = {
	{"key", TEXTOID, true, true},
	{"state", TEXTOID, true, true},
	{"request_hash", BYTEAOID, true, false},
	{"token", INT8OID, true, false},
	{"lease", INTERVALOID, false, false},
	{"lease_until", TIMESTAMPTZOID, false, false},
	{"attempts", INT4OID, true, false},
	{"checkpoint", JSONBOID, false, false},
	{"response", JSONBOID, false, false},
	{"request", JSONBOID, false, false},
	{"created_at", TIMESTAMPTZOID, true, false},
	{"finished_at", TIMESTAMPTZOID, false, false},
	{"reap_at", TIMESTAMPTZOID, false, false}
};

static const KeepShape request_shape = {
	.columns = request_columns,
	.ncolumns = lengthof(request_columns),
	.key = {"key"},
	.sequence = "token",
};

const KeepKind keep_request_kind = {
	.name = "request_log",
	.noun = NOUN,
	.maker = "keep.create_request_log",
	.shape = &request_shape,
	.parse_options = request_parse_options,
	.normal_options = request_normal_options,
	.statements = request_statements,
	.nstatements = REQUEST_NSTATEMENTS,
	.expand = request_expand,
};

/* KeepKind.parse_options: what the functions on a request log go by. */
static void *
request_parse_options(Relation rel, Jsonb *json)
{
	static const char *const names[] = {"retain", "keep_request"};
	RequestOptions *opt = palloc0(sizeof(RequestOptions));

	keep_option_check(json, NOUN, names, lengthof(names), "Options are retain and keep_request.");
	opt->retain = keep_option_span("retain", keep_option_there(json, "retain") ?
								   keep_option_text(json, NOUN, "retain") : DEFAULT_RETAIN, false);
	opt->keep_request = keep_option_bool(json, NOUN, "keep_request");
	opt->sequence = keep_shape_column_sequence(rel, "token");
	return opt;
}

/* Options as they are kept. */
static Jsonb *
options_json(const RequestOptions *opt)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (opt->retain == NULL)
		keep_json_push_json(&state, "retain", NULL);
	keep_option_push(&state, "retain", keep_span_text(opt->retain));
	keep_option_push(&state, "keep_request", opt->keep_request ? "true" : NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * Bring the records that are there under another retention, so that
 * keep.expire_requests() finds them in time.
 */
static void
cap_retention(Relation rel, const Interval *retain)
{
	Oid			types[2] = {INTERVALOID, TIMESTAMPTZOID};
	Datum		values[2] = {IntervalPGetDatum(retain), TimestampTzGetDatum(keep_clock_now())};
	const char *end = "COALESCE(finished_at, $2) OPERATOR(pg_catalog.+) $1";

	keep_update_as_owner(rel, psprintf("reap_at = %s WHERE reap_at IS NULL"
									   " OR reap_at OPERATOR(pg_catalog.>) (%s)", end, end),
						 2, types, values);
}

/* KeepKind.normal_options: options checked, in the form that is kept. */
static Jsonb *
request_normal_options(Relation rel, Jsonb *json)
{
	RequestOptions *opt = request_parse_options(rel, json);

	if (opt->retain != NULL)
		cap_retention(rel, opt->retain);
	return options_json(opt);
}

/*
 * KeepKind.expand: {retain} is how long outcomes are kept, NULL for ever;
 * {returning} asks for the key where a trigger could have changed it.
 */
static const char *
request_expand(Relation rel, const void *options, const char *clock, const char *name)
{
	const RequestOptions *opt = options;

	if (strcmp(name, "returning") == 0)
		return rel->trigdesc != NULL ? " RETURNING r.key" : "";
	if (strcmp(name, "retain") != 0)
		return NULL;
	if (opt->retain == NULL)
		return "NULL::pg_catalog.interval";
	return psprintf("%s::pg_catalog.interval", quote_literal_cstr(keep_span_text(opt->retain)));
}

/*
 * keep.create_request_log(name text, retain interval, keep_request boolean)
 *		returns regclass
 *
 * Creates a request log as the caller, who then owns it.  Raises 22023 for a
 * retain that is not above zero, 0A000 for a temporary schema, and what CREATE
 * TABLE raises.
 */
Datum
keep_create_request_log(PG_FUNCTION_ARGS)
{
	RequestOptions opt;
	const char *table;
	char	   *relname;
	Oid			schema;
	Oid			relid;

	keep_arg_require(fcinfo, 0, "name");
	opt.retain = unconstify(Interval *, keep_arg_span(fcinfo, 1, "retain"));
	keep_arg_require(fcinfo, 2, "keep_request");
	opt.keep_request = PG_GETARG_BOOL(2);

	schema = keep_creation_schema(PG_GETARG_TEXT_PP(0), NOUN, &relname);
	table = quote_qualified_identifier(get_namespace_name(schema), relname);
	SPI_connect();
	keep_run_ddl(psprintf("CREATE TABLE %s ("
						  "key pg_catalog.text COLLATE pg_catalog.\"C\" PRIMARY KEY,"
						  "state pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "request_hash pg_catalog.bytea NOT NULL,"
						  "token pg_catalog.int8 GENERATED ALWAYS AS IDENTITY,"
						  "lease pg_catalog.interval,"
						  "lease_until pg_catalog.timestamptz,"
						  "attempts pg_catalog.int4 NOT NULL,"
						  "checkpoint pg_catalog.jsonb,"
						  "response pg_catalog.jsonb,"
						  "request pg_catalog.jsonb,"
						  "created_at pg_catalog.timestamptz NOT NULL,"
						  "finished_at pg_catalog.timestamptz,"
						  "reap_at pg_catalog.timestamptz) WITH (fillfactor = 80)", table));
	keep_run_ddl(psprintf("CREATE INDEX ON %s (reap_at) WHERE reap_at IS NOT NULL", table));
	SPI_finish();
	relid = get_relname_relid(relname, schema);
	keep_catalog_put(relid, keep_request_kind.name, options_json(&opt));
	PG_RETURN_OID(relid);
}

/* How records are found and deleted. */
static const KeepSweep sweep = {
	.kind = &keep_request_kind,
	.function = "keep.expire_requests()",
	.expire = REQUEST_EXPIRE,
	.more = REQUEST_MORE_EXPIRED,
	.postpone = REQUEST_POSTPONE,
	.put_off = REQUEST_PUT_OFF,
	.next = REQUEST_NEXT,
};

/*
 * keep.expire_requests(log regclass, batch int) returns bigint
 *
 * Deletes up to "batch" records whose outcome is older than the log retains,
 * and returns how many.  Records without an outcome stay.
 */
Datum
keep_expire_requests(PG_FUNCTION_ARGS)
{
	return keep_sweep(fcinfo, &sweep);
}

/* The same for the reaper: see reap.h. */
bool
request_reap(KeepReaping *work)
{
	return keep_sweep_reap(&sweep, work);
}

bool
request_put_off(Oid relid)
{
	return keep_sweep_put_off(&sweep, relid);
}
