/*
 * pair.c
 *		Kinds that are made of two tables: how these find each other.
 *
 * The first table is the handle that functions are given.  Both are registered,
 * and the same token in the options of both ties them together, so that each
 * can be renamed, moved, dumped and restored as any table.  The owner must be
 * the same too: tokens can be read by all, and nobody shall slip his table
 * under another's.
 */
#include "postgres.h"

#include "fault.h"
#include "option.h"
#include "pair.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#define TOKEN_BYTES 8

/* The name of the second table; raises 42622 where it would be too long. */
const char *
keep_pair_second_name(const KeepPair *pair, const char *name)
{
	char	   *other = psprintf("%s%s", name, pair->suffix);

	if (strlen(other) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("%s name \"%s\" is too long", keep_kind_noun(pair->first), name),
				 errdetail("Its %s would be \"%s\"; names have at most %d bytes.",
						   keep_kind_noun(pair->second), other, NAMEDATALEN - 1)));
	return other;
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

static char *
token_in(const KeepKind *kind, Jsonb *json)
{
	return keep_option_string(json, keep_kind_noun(kind), "token");
}

/* The second table with this token and owner, or InvalidOid. */
static Oid
find_second(const KeepPair *pair, const char *token, Oid owner)
{
	List	   *relids = keep_catalog_list(pair->second->name);
	ListCell   *cell;

	foreach(cell, relids)
	{
		Jsonb	   *options;
		const char *other;

		if (owner_of(lfirst_oid(cell)) == owner &&
			keep_catalog_find(lfirst_oid(cell), pair->second->name, &options) &&
			(other = token_in(pair->second, options)) != NULL && strcmp(other, token) == 0)
			return lfirst_oid(cell);
	}
	return InvalidOid;
}

/* What ties this table, from its options; the token is palloc'd. */
void
keep_pair_parse(const KeepPair *pair, bool is_first, Relation rel, Jsonb *json, KeepTie *tie)
{
	tie->owner = rel->rd_rel->relowner;
	tie->token = token_in(is_first ? pair->first : pair->second, json);
	tie->other = is_first && tie->token ? find_second(pair, tie->token, tie->owner) : InvalidOid;
}

/*
 * Register the second table, open and owned by the user, under a new token;
 * returns that, for the options of the first.
 */
const char *
keep_pair_tie(const KeepPair *pair, Relation second)
{
	unsigned char bytes[TOKEN_BYTES];
	char	   *token = palloc(2 * TOKEN_BYTES + 1);
	JsonbParseState *state = NULL;

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < TOKEN_BYTES; i++)
		snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	keep_option_push(&state, "token", token);
	keep_catalog_put(RelationGetRelid(second), pair->second->name,
					 JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	return token;
}

/*
 * For keep.register() of the first table: find the second (named in the
 * options, else by its suffix), register it and tie it; returns the token.
 */
const char *
keep_pair_register(const KeepPair *pair, Relation first, Jsonb *json)
{
	char	   *name = keep_option_string(json, keep_kind_noun(pair->first), pair->option);
	RangeVar   *range;
	Relation	second;
	const char *flaw;
	const char *token;

	if (name != NULL)
		range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	else
		range = makeRangeVar(get_namespace_name(RelationGetNamespace(first)),
							 psprintf("%s%s", RelationGetRelationName(first), pair->suffix), -1);
	second = keep_open_owned(RangeVarGetRelid(range, NoLock, false));
	flaw = keep_shape_flaw(second, pair->second->shape);
	if (flaw == NULL && second->rd_rel->relowner != first->rd_rel->relowner)
		flaw = psprintf("It does not have the owner of the %s.", keep_kind_noun(pair->first));
	if (flaw != NULL)
		keep_not_of_kind(RelationGetRelid(second), pair->second, flaw);
	token = keep_pair_tie(pair, second);
	KEEP_FAULT("pair: tied");
	relation_close(second, NoLock);
	return token;
}

/* Raise 22023: the second table cannot be registered alone. */
void
keep_pair_refuse_second(const KeepPair *pair, Relation rel)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a %s cannot be registered alone", keep_kind_noun(pair->second)),
			 errhint("Register the table that it belongs to: keep.register(table, '%s', "
					 "'{\"%s\": \"%s\"}').", pair->first->name, pair->option,
					 RelationGetRelationName(rel))));
}

/*
 * Open both tables: lock them as a statement would, and find what the backend
 * keeps of them.  Raises 42809 where they are not what they should be.
 */
void
keep_pair_open(const KeepPair *pair, Oid relid, LOCKMODE lockmode,
			   KeepTable **first, KeepTable **second)
{
	const KeepTie *tie;
	const KeepTie *other;
	const char *flaw;

	*first = keep_table_open(relid, pair->first, lockmode);
	tie = (*first)->options;
	*second = OidIsValid(tie->other) ?
		keep_table_try_open(tie->other, pair->second, lockmode, &flaw) : NULL;
	other = *second ? (*second)->options : NULL;
	if (other != NULL && other->owner == tie->owner && other->token != NULL &&
		strcmp(other->token, tie->token) == 0)
		return;

	/* it may come back without a word to us: look again next time */
	keep_table_forget(*first);
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("%s \"%s\" has no %s", keep_kind_noun(pair->first), get_rel_name(relid),
					keep_kind_noun(pair->second)),
			 errdetail("It was dropped or changed, has another owner than the %s, "
					   "or was registered with another one.", keep_kind_noun(pair->first)),
			 errhint("Have the owner call keep.register(table, '%s', '{\"%s\": \"name\"}').",
					 pair->first->name, pair->option)));
}
