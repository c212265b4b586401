/*
 * ledger.c
 *		Ledgers: creating them, and their two tables.
 *
 * The accounts table is the handle that functions are given.  Its transfers
 * are in a table of their own.
 */
#include "postgres.h"

#include "arg.h"
#include "ledger.h"
#include "option.h"
#include "shape.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(keep_create_ledger);

static void *ledger_parse_options(Relation rel, Jsonb *json);
static void *transfers_parse_options(Relation rel, Jsonb *json);
static Jsonb *ledger_normal_options(Relation rel, Jsonb *json);
static Jsonb *transfers_normal_options(Relation rel, Jsonb *json);

/*
 * INSTEAD rules: with them the tables go by SQL statements, whose results are
 * looked at.
 */
static const KeepShape accounts_shape = {
	.columns = ledger_account_columns,
	.ncolumns = ACCOUNT_NCOLS,
	.key = {"id", "shard"},
	.ruled = true,
};

const KeepKind keep_ledger_kind = {
	.name = "ledger",
	.maker = "keep.create_ledger",
	.shape = &accounts_shape,
	.parse_options = ledger_parse_options,
	.normal_options = ledger_normal_options,
	.statements = account_statements,
	.nstatements = ACCOUNT_NSTATEMENTS,
};

static const KeepShape transfers_shape = {
	.columns = ledger_transfer_columns,
	.ncolumns = TRANSFER_NCOLS,
	.key = {"id"},
	.ruled = true,
};

const KeepKind keep_transfers_kind = {
	.name = "transfers",
	.noun = "table of transfers",
	.maker = "keep.create_ledger",
	.shape = &transfers_shape,
	.parse_options = transfers_parse_options,
	.normal_options = transfers_normal_options,
	.statements = transfer_statements,
	.nstatements = TRANSFER_NSTATEMENTS,
};

static const KeepPair ledger_pair = {
	.first = &keep_ledger_kind,
	.second = &keep_transfers_kind,
	.option = "transfers",
	.suffix = "_transfers",
};

/* The columns of accounts, in the order of ACCOUNT_COL_*. */
const KeepColumn ledger_account_columns[ACCOUNT_NCOLS] = {
	{"id", TEXTOID, true, true},
	{"shard", INT2OID, true, false},
	{"shards", INT2OID, true, false},
	{"unit", TEXTOID, true, true},
	{"frozen", BOOLOID, true, false},
	{"debits_posted", INT8OID, true, false},
	{"credits_posted", INT8OID, true, false},
	{"debits_pending", INT8OID, true, false},
	{"credits_pending", INT8OID, true, false},
	{"version", INT8OID, true, false},
	{"created_at", TIMESTAMPTZOID, true, false},
	{"min_balance", INT8OID, false, false},
	{"max_balance", INT8OID, false, false},
	{"floor", INT8OID, false, false},
	{"ceiling", INT8OID, false, false},
	{"opened_limits", TYPE_INT8S, false, false}
};

/* The columns of transfers, in the order of TRANSFER_COL_*. */
const KeepColumn ledger_transfer_columns[TRANSFER_NCOLS] = {
	{"id", TEXTOID, true, true},
	{"status", TEXTOID, true, true},
	{"reason", TEXTOID, false, true},
	{"from_account", TEXTOID, true, true},
	{"to_account", TEXTOID, true, true},
	{"from_shard", INT2OID, true, false},
	{"to_shard", INT2OID, true, false},
	{"amount", INT8OID, false, false},
	{"from_balance", INT8OID, false, false},
	{"to_balance", INT8OID, false, false},
	{"created_at", TIMESTAMPTZOID, true, false},
	{"expires_at", TIMESTAMPTZOID, false, false},
	{"hold", INTERVALOID, false, false},
	{"held", INT8OID, false, false},
	{"part", INT8OID, false, false},
	{"reverses", TEXTOID, false, true},
	{"force", BOOLOID, false, false},
	{"reversed", INT8OID, false, false},
	{"settled_at", TIMESTAMPTZOID, false, false},
	{"settled_from_balance", INT8OID, false, false},
	{"settled_to_balance", INT8OID, false, false},
	{"from_version", INT8OID, false, false},
	{"to_version", INT8OID, false, false},
	{"chain", TEXTOID, false, true},
	{"metadata", JSONBOID, false, false}
};

/* Refuse (22023) options that are not those of a ledger. */
static void
check_options(Jsonb *json)
{
	static const char *const names[] = {"history", "transfers", "token"};

	keep_option_check(json, keep_ledger_kind.name, names, lengthof(names),
					  "Options are history and transfers.");
}

/* KeepKind.parse_options of the accounts. */
static void *
ledger_parse_options(Relation rel, Jsonb *json)
{
	LedgerOptions *opt = palloc0(sizeof(LedgerOptions));

	check_options(json);
	opt->history = keep_option_bool(json, keep_ledger_kind.name, "history");
	keep_pair_parse(&ledger_pair, true, rel, json, &opt->tie);
	return opt;
}

/* KeepKind.parse_options of the transfers: the same, as far as they have it. */
static void *
transfers_parse_options(Relation rel, Jsonb *json)
{
	LedgerOptions *opt = palloc0(sizeof(LedgerOptions));

	keep_pair_parse(&ledger_pair, false, rel, json, &opt->tie);
	return opt;
}

/* Options of the accounts as they are kept. */
static Jsonb *
options_json(bool history, const char *token)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_option_push(&state, "history", history ? "true" : NULL);
	keep_option_push(&state, "token", token);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * KeepKind.normal_options of the accounts, for keep.register(): registers the
 * transfers table too (option "transfers", else by its name).
 */
static Jsonb *
ledger_normal_options(Relation rel, Jsonb *json)
{
	bool		history;

	check_options(json);
	history = keep_option_bool(json, keep_ledger_kind.name, "history");
	return options_json(history, keep_pair_register(&ledger_pair, rel, json));
}

/* KeepKind.normal_options of the transfers: they cannot be registered alone. */
static Jsonb *
transfers_normal_options(Relation rel, Jsonb *json)
{
	keep_pair_refuse_second(&ledger_pair, rel);
	return NULL;
}

/* Create the accounts table as the current user. */
static Oid
create_accounts(Oid schema, const char *name)
{
	keep_run_ddl(psprintf("CREATE TABLE %s ("
						  "id pg_catalog.text COLLATE pg_catalog.\"C\","
						  "shard pg_catalog.int2,"
						  "shards pg_catalog.int2 NOT NULL,"
						  "unit pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "frozen pg_catalog.bool NOT NULL,"
						  "debits_posted pg_catalog.int8 NOT NULL,"
						  "credits_posted pg_catalog.int8 NOT NULL,"
						  "debits_pending pg_catalog.int8 NOT NULL,"
						  "credits_pending pg_catalog.int8 NOT NULL,"
						  "version pg_catalog.int8 NOT NULL,"
						  "created_at pg_catalog.timestamptz NOT NULL,"
						  "min_balance pg_catalog.int8,"
						  "max_balance pg_catalog.int8,"
						  "floor pg_catalog.int8,"
						  "ceiling pg_catalog.int8,"
						  "opened_limits pg_catalog.int8[],"
						  "PRIMARY KEY (id, shard)) WITH (fillfactor = 50)",
						  quote_qualified_identifier(get_namespace_name(schema), name)));
	return get_relname_relid(name, schema);
}

/* Create the transfers table and its indexes as the current user. */
static Oid
create_transfers(Oid schema, const char *name, bool history)
{
	static const char *const indexes[] = {
		"(from_account, expires_at) WHERE status OPERATOR(pg_catalog.=) 'pending'",
		"(to_account, expires_at) WHERE status OPERATOR(pg_catalog.=) 'pending'",
		"(expires_at) WHERE status OPERATOR(pg_catalog.=) 'pending'",
		"(from_account, from_shard, from_version) WHERE from_version IS NOT NULL",
		"(to_account, to_shard, to_version) WHERE to_version IS NOT NULL"
	};
	const char *table = quote_qualified_identifier(get_namespace_name(schema), name);

	keep_run_ddl(psprintf("CREATE TABLE %s ("
						  "id pg_catalog.text COLLATE pg_catalog.\"C\" PRIMARY KEY,"
						  "status pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "reason pg_catalog.text COLLATE pg_catalog.\"C\","
						  "from_account pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "to_account pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
						  "from_shard pg_catalog.int2 NOT NULL,"
						  "to_shard pg_catalog.int2 NOT NULL,"
						  "amount pg_catalog.int8,"
						  "from_balance pg_catalog.int8,"
						  "to_balance pg_catalog.int8,"
						  "created_at pg_catalog.timestamptz NOT NULL,"
						  "expires_at pg_catalog.timestamptz,"
						  "hold pg_catalog.interval,"
						  "held pg_catalog.int8,"
						  "part pg_catalog.int8,"
						  "reverses pg_catalog.text COLLATE pg_catalog.\"C\","
						  "force pg_catalog.bool,"
						  "reversed pg_catalog.int8,"
						  "settled_at pg_catalog.timestamptz,"
						  "settled_from_balance pg_catalog.int8,"
						  "settled_to_balance pg_catalog.int8,"
						  "from_version pg_catalog.int8,"
						  "to_version pg_catalog.int8,"
						  "chain pg_catalog.text COLLATE pg_catalog.\"C\","
						  "metadata pg_catalog.jsonb)", table));
	for (size_t i = 0; i < (history ? lengthof(indexes) : 3); i++)
		keep_run_ddl(psprintf("CREATE INDEX ON %s %s", table, indexes[i]));
	return get_relname_relid(name, schema);
}

/*
 * keep.create_ledger(name text, history boolean) returns regclass
 *
 * Creates a ledger as the caller, who then owns it: a table of accounts, and
 * beside it one of transfers, named with "_transfers" behind.  With history,
 * keep.statement() works, and a posted transfer costs two more index entries.
 * Raises 42622 for a name that leaves no room for the second one, 0A000 for a
 * temporary schema, and what CREATE TABLE raises.
 */
Datum
keep_create_ledger(PG_FUNCTION_ARGS)
{
	char	   *relname;
	const char *other;
	Oid			schema;
	Oid			accounts;
	Relation	transfers;
	bool		history;

	keep_arg_require(fcinfo, 0, "name");
	keep_arg_require(fcinfo, 1, "history");
	history = PG_GETARG_BOOL(1);
	schema = keep_creation_schema(PG_GETARG_TEXT_PP(0), keep_ledger_kind.name, &relname);
	other = keep_pair_second_name(&ledger_pair, relname);

	SPI_connect();
	accounts = create_accounts(schema, relname);
	transfers = relation_open(create_transfers(schema, other, history), NoLock);
	SPI_finish();
	keep_catalog_put(accounts, keep_ledger_kind.name,
					 options_json(history, keep_pair_tie(&ledger_pair, transfers)));
	relation_close(transfers, NoLock);
	PG_RETURN_OID(accounts);
}

/*
 * Open a ledger: lock both its tables as a statement would, and find what the
 * backend keeps of them.  Raises 42809 where it is not one.
 */
void
ledger_open(Ledger *ledger, Oid relid, LOCKMODE lockmode)
{
	keep_pair_open(&ledger_pair, relid, lockmode, &ledger->accounts, &ledger->transfers);
	ledger->opt = ledger->accounts->options;
}

/* Refuse (42501) a user who lacks one of these rights on the two tables. */
void
ledger_require(const Ledger *ledger, AclMode accounts, AclMode transfers)
{
	keep_require_rights(ledger->accounts->relid, accounts);
	keep_require_rights(ledger->transfers->relid, transfers);
}
