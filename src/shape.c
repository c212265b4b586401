/*
 * shape.c
 *		Tables of the kinds that pg_keep makes: their columns, their primary key,
 *		and what making one takes.
 */
#include "postgres.h"

#include "compat.h"
#include "fault.h"
#include "shape.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_sequence.h"
#include "executor/spi.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/*
 * The name of a relation, qualified and quoted (palloc'd), for statements and
 * messages; NULL where it is gone.
 */
char *
keep_relation_name(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = name != NULL ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	return schema != NULL ? quote_qualified_identifier(schema, name) : NULL;
}

/* What a table lacks of these columns, as a sentence (palloc'd), or NULL. */
static const char *
columns_flaw(Relation rel, const KeepColumn *columns, int ncolumns)
{
	if (rel->rd_rel->relhassubclass &&
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		return "It has child tables.";
	for (int i = 0; i < ncolumns; i++)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), columns[i].name);
		Form_pg_attribute attr;

		if (attnum <= 0)
			return psprintf("It has no column \"%s\".", columns[i].name);
		attr = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
		if (attr->attgenerated != '\0')
			return psprintf("Column \"%s\" is a generated column.", columns[i].name);
		if (attr->atttypid != columns[i].type)
			return psprintf("Column \"%s\" is not of type %s.", columns[i].name,
							format_type_be(columns[i].type));
		if (columns[i].notnull ? !keep_is_not_null(rel, attnum - 1) : attr->attnotnull)
			return psprintf("Column \"%s\" must %sbe NOT NULL.", columns[i].name,
							columns[i].notnull ? "" : "not ");
		if (columns[i].key && attr->attcollation != C_COLLATION_OID)
			return psprintf("Column \"%s\" does not have collation \"C\".", columns[i].name);
	}
	return NULL;
}

/* Has it a rule of which nobody knows what it would answer instead of the table? */
static bool
has_instead_rule(Relation rel)
{
	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
		if (rel->rd_rules->rules[i]->isInstead &&
			rel->rd_rules->rules[i]->enabled != RULE_DISABLED)
			return true;
	return false;
}

/* Is there a primary key on these columns alone, to serve ON CONFLICT? */
static bool
has_primary_key(Relation rel, const char *const *names)
{
	int			nnames = names[1] != NULL ? 2 : 1;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		Form_pg_index form = index->rd_index;
		bool		matches = form->indisprimary && form->indisvalid && form->indimmediate &&
			form->indnkeyatts == nnames;

		for (int i = 0; matches && i < nnames; i++)
			matches = form->indkey.values[i] == get_attnum(RelationGetRelid(rel), names[i]);
		found = found || matches;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

/* The sequence of an identity column, or InvalidOid. */
Oid
keep_shape_column_sequence(Relation rel, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);

	return attnum == InvalidAttrNumber ? InvalidOid : keep_identity_sequence(rel, attnum);
}

/*
 * Does the sequence rise with each draw, one by one, also over a crash?
 * Versions and tokens promise no less.
 */
static bool
sequence_rises(Oid sequence)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence form;
	bool		rises;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	rises = form->seqcache == 1 && form->seqincrement == 1 && form->seqmin > 0 &&
		!form->seqcycle && get_rel_persistence(sequence) == RELPERSISTENCE_PERMANENT;
	ReleaseSysCache(tuple);
	return rises;
}

/* What a column lacks that versions or tokens are drawn by, as a sentence, or NULL. */
static const char *
sequence_flaw(Relation rel, const char *column)
{
	Oid			sequence = keep_shape_column_sequence(rel, column);

	if (!OidIsValid(sequence))
		return psprintf("Column \"%s\" is not an identity column.", column);
	if (!sequence_rises(sequence))
		return psprintf("The sequence of column \"%s\" must be logged, rise by 1 and "
						"have no cache.", column);
	return NULL;
}

/* What a table lacks of a shape, as a sentence (it may be palloc'd), or NULL. */
const char *
keep_shape_flaw(Relation rel, const KeepShape *shape)
{
	const char *flaw;

	if (rel->rd_rel->relkind != RELKIND_RELATION)
		return "It is not an ordinary table.";
	if ((flaw = columns_flaw(rel, shape->columns, shape->ncolumns)) != NULL)
		return flaw;
	if (!shape->ruled && has_instead_rule(rel))
		return "It has an INSTEAD rule.";
	if (!shape->unlogged && rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		return "It is unlogged: a crash would empty it.";
	if (!has_primary_key(rel, shape->key))
		return shape->key[1] == NULL ?
			psprintf("It has no primary key on column \"%s\" alone.", shape->key[0]) :
			psprintf("It has no primary key on columns \"%s\" and \"%s\".",
					 shape->key[0], shape->key[1]);
	return shape->sequence != NULL ? sequence_flaw(rel, shape->sequence) : NULL;
}

/*
 * The schema in which a table of that name would be created, and the name
 * without it.  Raises 0A000 for a temporary one; "what" is what it would be.
 */
Oid
keep_creation_schema(text *name, const char *what, char **relname)
{
	RangeVar   *range = makeRangeVarFromNameList(textToQualifiedNameList(name));
	Oid			schema = RangeVarGetCreationNamespace(range);

	if (isAnyTempNamespace(schema))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a temporary table cannot be a %s", what)));
	*relname = range->relname;
	return schema;
}

/* Run a statement of DDL as the current user; the caller is connected to SPI. */
void
keep_run_ddl(const char *sql)
{
	int			result = SPI_execute(sql, false, 0);

	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(result));
	KEEP_FAULT("DDL run");
}
