/*
 * result.h
 *		Composite results of SQL functions.
 */
#ifndef KEEP_RESULT_H
#define KEEP_RESULT_H

#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/tuplestore.h"

extern TupleDesc keep_result_desc(FunctionCallInfo fcinfo);
extern Datum keep_result_row(FunctionCallInfo fcinfo, MemoryContext context,
							 const Datum *values, const bool *nulls);

#endif							/* KEEP_RESULT_H */
