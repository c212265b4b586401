/*
 * as_owner.c
 *		Work on a table as its owner, who is not trusted.
 *
 * A statement fires the triggers, policies and expressions that the owner of
 * the table has put there.  Where the caller did not choose the table, or asked
 * for nothing that writes to it, they must not run with his rights: they run
 * with the owner's, in a security-restricted operation and under a search_path
 * that the owner's functions cannot be surprised by, as autovacuum has it.
 */
#include "postgres.h"

#include "as_owner.h"
#include "fault.h"
#include "naming.h"

#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"

/* The caller holds a lock on the table.  An error ends it by itself. */
void
keep_as_owner_begin(KeepAsOwner *state, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	GetUserIdAndSecContext(&state->user, &state->context);
	SetUserIdAndSecContext(owner, state->context | SECURITY_RESTRICTED_OPERATION);
	state->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
keep_as_owner_end(const KeepAsOwner *state)
{
	AtEOXact_GUC(false, state->guc_level);
	SetUserIdAndSecContext(state->user, state->context);
}

/*
 * UPDATE an open table by what stands behind SET, with parameters that are not
 * NULL.  Raises 40001 where its name has passed to another table.
 */
void
keep_update_as_owner(Relation rel, const char *assignments, int nparams, Oid *types,
					 Datum *values)
{
	Oid			relid = RelationGetRelid(rel);
	KeepAsOwner state;
	char	   *sql;

	AcceptInvalidationMessages();
	sql = psprintf("UPDATE %s SET %s", keep_relation_name(relid, false), assignments);
	keep_as_owner_begin(&state, relid);
	SPI_connect();
	if (SPI_execute_with_args(keep_statement_for(relid, InvalidOid, sql), nparams, types,
							  values, NULL, false, 0) != SPI_OK_UPDATE)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("update of \"%s\" was suppressed by a rule",
						RelationGetRelationName(rel))));
	KEEP_FAULT("owner: updated");
	SPI_finish();
	keep_as_owner_end(&state);
}
