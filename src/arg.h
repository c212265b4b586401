/*
 * arg.h
 *		What SQL functions check first: may they write?  Required arguments, lifetimes,
 *		arrays.
 */
#ifndef KEEP_ARG_H
#define KEEP_ARG_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/array.h"

extern void keep_require_write(const char *function);
extern void keep_arg_require(FunctionCallInfo fcinfo, int argno, const char *name);
extern const Interval *keep_arg_span(FunctionCallInfo fcinfo, int argno, const char *name);
extern int64 keep_arg_amount(FunctionCallInfo fcinfo, int argno, int64 none);
extern int	keep_arg_count(FunctionCallInfo fcinfo, int argno, const char *name);
extern int64 keep_arg_token(FunctionCallInfo fcinfo, int argno);
extern text *keep_arg_name(FunctionCallInfo fcinfo, int argno, const char *name, Size limit);
extern ArrayType *keep_arg_vector(FunctionCallInfo fcinfo, int argno, const char *name);
extern Datum *keep_arg_array(FunctionCallInfo fcinfo, int argno, const char *name,
							 Oid elemtype, int *count);

#endif							/* KEEP_ARG_H */
