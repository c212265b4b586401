/*
 * ledger.c
 *		Ledgers: creating them, their two tables and how these find each other.
 *
 * The accounts table is the handle that functions are given.  Its transfers
 * are in a table of their own; both are registered, and the same token in the
 * options of both ties them together, so that each can be renamed, moved,
 * dumped and restored as any table.  The owner must be the same too: tokens can
 * be read by all, and nobody shall slip his table under another's accounts.
 */
#include "postgres.h"

#include "arg.h"
#include "json.h"
#include "ledger.h"
#include "shape.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#define TOKEN_BYTES 8

PG_FUNCTION_INFO_V1(keep_create_ledger);

static const char *accounts_check_shape(Relation rel);
static const char *transfers_check_shape(Relation rel);
static void *ledger_parse_options(Relation rel, Jsonb *json);
static void *transfers_parse_options(Relation rel, Jsonb *json);
static Jsonb *ledger_normal_options(Relation rel, Jsonb *json);
static Jsonb *transfers_normal_options(Relation rel, Jsonb *json);

static const char *
no_placeholder(Relation rel, const void *options, const char *clock, const char *name)
{
	return NULL;
}

const KeepKind keep_ledger_kind = {
	.name = "ledger",
	.maker = "keep.create_ledger",
	.check_shape = accounts_check_shape,
	.parse_options = ledger_parse_options,
	.normal_options = ledger_normal_options,
	.statements = account_statements,
	.nstatements = ACCOUNT_NSTATEMENTS,
	.expand = no_placeholder,
};

const KeepKind keep_transfers_kind = {
	.name = "transfers",
	.noun = "table of transfers",
	.maker = "keep.create_ledger",
	.check_shape = transfers_check_shape,
	.parse_options = transfers_parse_options,
	.normal_options = transfers_normal_options,
	.statements = transfer_statements,
	.nstatements = TRANSFER_NSTATEMENTS,
	.expand = no_placeholder,
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

/* What a table lacks to be a ledger's accounts, as a sentence, or NULL. */
static const char *
accounts_check_shape(Relation rel)
{
	static const char *const key[] = {"id", "shard"};
	const char *flaw = keep_shape_columns(rel, ledger_account_columns, ACCOUNT_NCOLS);

	if (flaw == NULL && !keep_shape_primary_key(rel, key, lengthof(key)))
		flaw = "It has no primary key on columns \"id\" and \"shard\".";
	return flaw;
}

/* What a table lacks to be a ledger's transfers, as a sentence, or NULL. */
static const char *
transfers_check_shape(Relation rel)
{
	static const char *const key[] = {"id"};
	const char *flaw = keep_shape_columns(rel, ledger_transfer_columns, TRANSFER_NCOLS);

	if (flaw == NULL && !keep_shape_primary_key(rel, key, lengthof(key)))
		flaw = "It has no primary key on column \"id\" alone.";
	return flaw;
}

/* A member of the options, palloc'd, or NULL. */
static char *
option_member(Jsonb *json, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&json->root, name, strlen(name), &value) == NULL ||
		value.type == jbvNull)
		return NULL;
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	if (value.type == jbvBool && strcmp(name, "history") == 0)
		return pstrdup(value.val.boolean ? "true" : "false");
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for ledger option \"%s\"", name)));
}

/* Refuse (22023) options that are no object or have a member that is not ours. */
static void
check_options(Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	member;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(member.val.string.val, member.val.string.len);
		if (strcmp(name, "history") != 0 && strcmp(name, "transfers") != 0 &&
			strcmp(name, "token") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown ledger option \"%s\"", name),
					 errhint("Options are history and transfers.")));
		(void) JsonbIteratorNext(&it, &member, true);
	}
}

/* The option "history"; raises 22023 for a value that is no boolean. */
static bool
history_option(Jsonb *json)
{
	char	   *text = option_member(json, "history");
	bool		history = false;

	if (text != NULL && !parse_bool(text, &history))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for ledger option \"history\": \"%s\"", text)));
	return history;
}

/* The owner of a table, or InvalidOid where it is gone; takes no lock. */
static Oid
owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The transfers table with this token and owner, or InvalidOid. */
static Oid
find_transfers(const char *token, Oid owner)
{
	List	   *relids = keep_catalog_list(keep_transfers_kind.name);
	ListCell   *cell;

	foreach(cell, relids)
	{
		Jsonb	   *options;
		const char *other;

		if (owner_of(lfirst_oid(cell)) == owner &&
			keep_catalog_find(lfirst_oid(cell), keep_transfers_kind.name, &options) &&
			(other = option_member(options, "token")) != NULL && strcmp(other, token) == 0)
			return lfirst_oid(cell);
	}
	return InvalidOid;
}

/* KeepKind.parse_options of the accounts. */
static void *
ledger_parse_options(Relation rel, Jsonb *json)
{
	LedgerOptions *opt = palloc0(sizeof(LedgerOptions));

	check_options(json);
	opt->history = history_option(json);
	opt->owner = rel->rd_rel->relowner;
	opt->token = option_member(json, "token");
	opt->transfers = opt->token ? find_transfers(opt->token, opt->owner) : InvalidOid;
	return opt;
}

/* KeepKind.parse_options of the transfers: the same, as far as they have it. */
static void *
transfers_parse_options(Relation rel, Jsonb *json)
{
	LedgerOptions *opt = palloc0(sizeof(LedgerOptions));

	opt->owner = rel->rd_rel->relowner;
	opt->token = option_member(json, "token");
	return opt;
}

/* Options as they are kept, of either table. */
static Jsonb *
options_json(bool history, const char *token)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (history)
		keep_json_push_string(&state, "history", "true", strlen("true"));
	keep_json_push_string(&state, "token", token, strlen(token));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Tie two tables, both open and owned by the user; returns the accounts' options. */
static Jsonb *
tie(Relation transfers, bool history)
{
	unsigned char bytes[TOKEN_BYTES];
	char		token[2 * TOKEN_BYTES + 1];

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < TOKEN_BYTES; i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	keep_catalog_put(RelationGetRelid(transfers), keep_transfers_kind.name,
					 options_json(false, token));
	return options_json(history, token);
}

/*
 * KeepKind.normal_options of the accounts, for keep.register(): finds the
 * transfers table (option "transfers", else by its name), registers it too and
 * ties both together.
 */
static Jsonb *
ledger_normal_options(Relation rel, Jsonb *json)
{
	bool		history;
	char	   *name;
	RangeVar   *range;
	Relation	transfers;
	const char *flaw;
	Jsonb	   *options;

	check_options(json);
	history = history_option(json);
	name = option_member(json, "transfers");
	if (name != NULL)
		range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	else
		range = makeRangeVar(get_namespace_name(RelationGetNamespace(rel)),
							 psprintf("%s_transfers", RelationGetRelationName(rel)), -1);
	transfers = keep_open_owned(RangeVarGetRelid(range, NoLock, false));
	flaw = transfers->rd_rel->relkind == RELKIND_RELATION ? transfers_check_shape(transfers)
		: "It is not an ordinary table.";
	if (flaw == NULL && transfers->rd_rel->relowner != rel->rd_rel->relowner)
		flaw = "It does not have the owner of the accounts.";
	if (flaw != NULL)
		keep_not_of_kind(RelationGetRelid(transfers), &keep_transfers_kind, flaw);
	options = tie(transfers, history);
	relation_close(transfers, NoLock);
	return options;
}

/* KeepKind.normal_options of the transfers: they cannot be registered alone. */
static Jsonb *
transfers_normal_options(Relation rel, Jsonb *json)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a table of transfers cannot be registered alone"),
			 errhint("Register its accounts as a ledger: keep.register(accounts, 'ledger', "
					 "'{\"transfers\": \"%s\"}').", RelationGetRelationName(rel))));
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
	char	   *other;
	Oid			schema;
	Oid			accounts;
	Relation	transfers;
	bool		history;

	keep_arg_require(fcinfo, 0, "name");
	keep_arg_require(fcinfo, 1, "history");
	history = PG_GETARG_BOOL(1);
	schema = keep_creation_schema(PG_GETARG_TEXT_PP(0), keep_ledger_kind.name, &relname);
	other = psprintf("%s_transfers", relname);
	if (strlen(other) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("ledger name \"%s\" is too long", relname),
				 errdetail("Its table of transfers would be \"%s\"; names have at most %d bytes.",
						   other, NAMEDATALEN - 1)));

	SPI_connect();
	accounts = create_accounts(schema, relname);
	transfers = relation_open(create_transfers(schema, other, history), NoLock);
	SPI_finish();
	keep_catalog_put(accounts, keep_ledger_kind.name, tie(transfers, history));
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
	const LedgerOptions *other;
	const char *flaw;

	ledger->accounts = keep_table_open(relid, &keep_ledger_kind, lockmode);
	ledger->opt = ledger->accounts->options;
	ledger->transfers = OidIsValid(ledger->opt->transfers) ?
		keep_table_try_open(ledger->opt->transfers, &keep_transfers_kind, lockmode, &flaw) : NULL;
	other = ledger->transfers ? ledger->transfers->options : NULL;
	if (other != NULL && other->owner == ledger->opt->owner && other->token != NULL &&
		strcmp(other->token, ledger->opt->token) == 0)
		return;

	/* it may come back without a word to us: look again next time */
	ledger->accounts->valid = false;
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("ledger \"%s\" has no table of transfers", get_rel_name(relid)),
			 errdetail("It was dropped or changed, has another owner than the accounts, "
					   "or was registered with others."),
			 errhint("Have the owner call keep.register(accounts, 'ledger', "
					 "'{\"transfers\": \"name\"}').")));
}

/* Refuse (42501) a user who lacks one of these rights on the two tables. */
void
ledger_require(const Ledger *ledger, AclMode accounts, AclMode transfers)
{
	keep_require_rights(ledger->accounts->relid, accounts);
	keep_require_rights(ledger->transfers->relid, transfers);
}
