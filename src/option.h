/*
 * option.h
 *		Options of a table as JSON: members, spans of time, unknown names.
 */
#ifndef KEEP_OPTION_H
#define KEEP_OPTION_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

extern void keep_option_check(Jsonb *json, const char *kind, const char *const *names,
							  int nnames, const char *hint);
extern char *keep_option_text(Jsonb *json, const char *kind, const char *name);
extern char *keep_option_string(Jsonb *json, const char *kind, const char *name);
extern bool keep_option_there(Jsonb *json, const char *name);
extern bool keep_option_bool(Jsonb *json, const char *kind, const char *name);
extern Interval *keep_option_span(const char *option, const char *value, bool or_zero);
extern const char *keep_span_text(const Interval *span);
extern void keep_option_push(JsonbParseState **state, const char *option, const char *value);

#endif							/* KEEP_OPTION_H */
