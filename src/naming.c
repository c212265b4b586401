/*
 * naming.c
 *		Statements that name the tables they are for, and find no others.
 *
 * A statement has names in it, and names change hands: ALTER SCHEMA ... RENAME
 * waits for no lock on a table, and a backend that takes no new lock does not
 * even hear of it.  When the statement is parsed, now or again by the plan
 * cache, its names may stand for other tables, or for views over the right one.
 * So each statement carries the OIDs of its tables in a comment at its front,
 * and once it is parsed, before anything is made of it, a hook compares.
 */
#include "postgres.h"

#include "naming.h"

#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define MARK "/*pg_keep %u %u*/ "

/* as much of it as tells our statements from others */
static const char mark[] = "/*pg_keep ";

static post_parse_analyze_hook_type previous_hook = NULL;

/* The tables that a statement is for; the second may be InvalidOid. */
typedef struct Tables
{
	Oid			relid;
	Oid			other;
} Tables;

/* Raise 40001: a statement for this relation would have been, or was, for another. */
void
keep_name_moved(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table \"%s\" was renamed or moved during the call", get_rel_name(relid)),
			 errhint("The transaction might succeed if retried.")));
}

/* Tree walker: raises 40001 where the query is about another table. */
static bool
check_tables(Node *node, void *context)
{
	const Tables *tables = context;
	ListCell   *cell;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, check_tables, context);
	foreach(cell, ((Query *) node)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind == RTE_RELATION && rte->relid != tables->relid &&
			rte->relid != tables->other)
			keep_name_moved(tables->relid);
	}
	return query_tree_walker((Query *) node, check_tables, context, 0);
}

/* Hook: a statement has been parsed, and not been rewritten yet. */
static void
check_statement(ParseState *pstate, Query *query, JumbleState *jstate)
{
	Tables		tables;

	if (previous_hook != NULL)
		previous_hook(pstate, query, jstate);
	if (pstate->p_sourcetext != NULL &&
		strncmp(pstate->p_sourcetext, mark, sizeof(mark) - 1) == 0 &&
		sscanf(pstate->p_sourcetext, MARK, &tables.relid, &tables.other) == 2)
		(void) check_tables((Node *) query, &tables);
}

/* Called once, from _PG_init(). */
void
keep_naming_init(void)
{
	previous_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = check_statement;
}

/*
 * The text of a statement that is about these tables and no others (palloc'd);
 * "other" may be InvalidOid.
 */
char *
keep_statement_for(Oid relid, Oid other, const char *sql)
{
	return psprintf(MARK "%s", relid, other, sql);
}

/* Raise 42P01: nothing has this OID, or not any more. */
void
keep_no_such_relation(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation with OID %u does not exist", relid)));
}

/*
 * The name of a relation, qualified and quoted (palloc'd), as of now: good for
 * a message, and for a statement that is checked as above.  Where it is gone,
 * raises 42P01 or returns NULL.
 */
char *
keep_relation_name(Oid relid, bool missing_ok)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = name != NULL ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	if (schema != NULL)
		return quote_qualified_identifier(schema, name);
	if (!missing_ok)
		keep_no_such_relation(relid);
	return NULL;
}
