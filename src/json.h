/*
 * json.h
 *		JSON values: merge patch (RFC 7396), counters, building, hashing.
 */
#ifndef KEEP_JSON_H
#define KEEP_JSON_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/jsonb.h"

extern void keep_json_push_string(JsonbParseState **state, const char *name,
								  const char *string, int length);
extern void keep_json_push_json(JsonbParseState **state, const char *name, Jsonb *json);
extern bytea *keep_json_hash(const char *prefix, Jsonb *json);
extern Jsonb *keep_json_merge(Jsonb *target, Jsonb *patch);
extern Jsonb *keep_json_increment(Jsonb *value, Datum *path, int npath, int64 by);

#endif							/* KEEP_JSON_H */
