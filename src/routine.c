/*
 * routine.c
 *		Functions of the user that pg_keep calls: f(jsonb) returns jsonb.
 *
 * They run as they would in a query of the caller: with his rights, or their
 * owner's where they are SECURITY DEFINER.  In tables they go by their name
 * with the schema, since an OID does not survive a dump.
 */
#include "postgres.h"

#include "compat.h"
#include "fault.h"
#include "routine.h"

#include "access/htup_details.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

pg_noreturn static void
no_such_routine(Oid fn)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("function with OID %u does not exist", fn)));
}

/* The row of pg_proc; raises 42883 where there is none.  To be released. */
static HeapTuple
routine_tuple(Oid fn)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fn));

	if (!HeapTupleIsValid(tuple))
		no_such_routine(fn);
	return tuple;
}

/* Refuse (22023) what is not a plain function from jsonb to jsonb. */
void
keep_routine_check_shape(Oid fn)
{
	HeapTuple	tuple = routine_tuple(fn);
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	bool		fits = form->prokind == PROKIND_FUNCTION && !form->proretset &&
		form->prorettype == JSONBOID && form->pronargs == 1 &&
		form->proargtypes.values[0] == JSONBOID;

	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("function %s cannot be called from here", format_procedure(fn)),
				 errdetail("It must be a plain function that takes one jsonb and returns jsonb.")));
}

/* The same, and refuse (42501) a user who may not execute it. */
void
keep_routine_check(Oid fn)
{
	AclResult	result;

	keep_routine_check_shape(fn);
	result = keep_function_aclcheck(fn, GetUserId(), ACL_EXECUTE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, get_func_name(fn));
}

/*
 * Quote a name for keeping.  quote_identifier() will not do: what it quotes
 * depends on quote_all_identifiers, and on the keywords of this version.
 */
static void
append_identifier(StringInfo out, const char *name)
{
	size_t		plain = strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789");

	if (name[plain] == '\0' && (*name < '0' || *name > '9'))
	{
		appendStringInfoString(out, name);
		return;
	}
	appendStringInfoChar(out, '"');
	for (; *name != '\0'; name++)
	{
		if (*name == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, *name);
	}
	appendStringInfoChar(out, '"');
}

/*
 * Its name as it is kept, with schema and quoted, always in the same way; the
 * argument goes unsaid.
 */
char *
keep_routine_name(Oid fn)
{
	HeapTuple	tuple = routine_tuple(fn);
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
	char	   *schema = get_namespace_name(form->pronamespace);
	StringInfoData name;

	/* nothing is locked: the schema may be gone, and the function with it */
	if (schema == NULL)
		no_such_routine(fn);
	initStringInfo(&name);
	append_identifier(&name, schema);
	appendStringInfoChar(&name, '.');
	append_identifier(&name, NameStr(form->proname));
	ReleaseSysCache(tuple);
	return name.data;
}

/* The name of its owner. */
char *
keep_routine_owner(Oid fn)
{
	HeapTuple	tuple = routine_tuple(fn);
	char	   *owner = GetUserNameFromId(((Form_pg_proc) GETSTRUCT(tuple))->proowner, false);

	ReleaseSysCache(tuple);
	return owner;
}

/* The function of that name, as keep_routine_name() has it; raises 42883. */
Oid
keep_routine_named(const char *name)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));
	Oid			type = JSONBOID;

	return LookupFuncName(names, 1, &type, false);
}

/*
 * Call it.  Its errors pass through.  The caller has checked it, and has an
 * active snapshot; the result is in the current memory context.
 */
Datum
keep_routine_call(Oid fn, Datum args, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo	flinfo;
	PgStat_FunctionCallUsage usage;
	Datum		result;

	KEEP_FAULT("routine: to be called");
	InvokeFunctionExecuteHook(fn);
	fmgr_info(fn, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = args;
	fcinfo->args[0].isnull = false;
	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	KEEP_FAULT("routine: called");
	pgstat_end_function_usage(&usage, true);
	*isnull = fcinfo->isnull;
	return result;
}
