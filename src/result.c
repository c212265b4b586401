/*
 * result.c
 *		Composite results of SQL functions.
 */
#include "postgres.h"

#include "compat.h"
#include "result.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/memutils.h"

/*
 * Descriptor of the composite type that the function returns, kept for the
 * whole session: looking it up costs as much as a read.  Types of ours do not
 * change; another OID (the extension made anew) is another descriptor.
 */
TupleDesc
keep_result_desc(FunctionCallInfo fcinfo)
{
	static TupleDesc kept[16];
	static int	next = 0;
	Oid			type = get_fn_expr_rettype(fcinfo->flinfo);
	MemoryContext old;
	TupleDesc	desc;

	for (size_t i = 0; i < lengthof(kept); i++)
		if (kept[i] != NULL && kept[i]->tdtypeid == type)
			return kept[i];

	if (get_call_result_type(fcinfo, &type, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "function must return a composite type");
	/* of no type of its own: the result of a procedure */
	if (desc->tdtypeid == RECORDOID)
		return BlessTupleDesc(desc);
	old = MemoryContextSwitchTo(TopMemoryContext);
	desc = CreateTupleDescCopy(desc);
	MemoryContextSwitchTo(old);
	if (kept[next] != NULL)
		FreeTupleDesc(kept[next]);
	kept[next] = BlessTupleDesc(desc);
	desc = kept[next];
	next = (next + 1) % lengthof(kept);
	return desc;
}

/* A row of the type that the function returns, in "context". */
Datum
keep_result_row(FunctionCallInfo fcinfo, MemoryContext context,
				const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	HeapTuple	tuple = heap_form_tuple(keep_result_desc(fcinfo), unconstify(Datum *, values),
										unconstify(bool *, nulls));
	/* copies what is stored out of line, and so must run in "context" too */
	Datum		result = HeapTupleGetDatum(tuple);

	MemoryContextSwitchTo(old);
	return result;
}
