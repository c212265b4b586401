/*
 * option.c
 *		Options of a table as JSON: members, spans of time, unknown names.
 *
 * They come from keep.register() or from the catalog, as a JSON object whose
 * members are scalars; all of them can be read as text.
 */
#include "postgres.h"

#include "clock.h"
#include "json.h"
#include "option.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/*
 * Refuse (22023) options that are no object or have a member of another name
 * than these; "hint" says which there are.
 */
void
keep_option_check(Jsonb *json, const char *kind, const char *const *names, int nnames,
				  const char *hint)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	member;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		char	   *name;
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(member.val.string.val, member.val.string.len);
		for (int i = 0; i < nnames; i++)
			known = known || strcmp(name, names[i]) == 0;
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown %s option \"%s\"", kind, name),
					 errhint("%s", hint)));
		(void) JsonbIteratorNext(&it, &member, true);
	}
}

/*
 * A member as text, palloc'd; NULL where it is not there or null.  Raises
 * 22023 for an array or an object.
 */
char *
keep_option_text(Jsonb *json, const char *kind, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&json->root, name, strlen(name), &value) == NULL)
		return NULL;
	switch (value.type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value.val.string.val, value.val.string.len);
		case jbvBool:
			return pstrdup(value.val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value.val.numeric)));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for %s option \"%s\"", kind, name),
					 errhint("It is a string, a number or a boolean.")));
	}
	return NULL;
}

/* Is there such a member, null or not? */
bool
keep_option_there(Jsonb *json, const char *name)
{
	JsonbValue	value;

	return getKeyJsonValueFromContainer(&json->root, name, strlen(name), &value) != NULL;
}

/* A member that is a string, or NULL; raises 22023 for another value. */
char *
keep_option_string(Jsonb *json, const char *kind, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&json->root, name, strlen(name), &value) != NULL &&
		value.type != jbvString && value.type != jbvNull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s option \"%s\"", kind, name),
				 errhint("It is a string.")));
	return keep_option_text(json, kind, name);
}

/* A member that is a boolean, false where not there; raises 22023 for another value. */
bool
keep_option_bool(Jsonb *json, const char *kind, const char *name)
{
	char	   *text = keep_option_text(json, kind, name);
	bool		value = false;

	if (text != NULL && !parse_bool(text, &value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for %s option \"%s\": \"%s\"", kind, name, text)));
	return value;
}

/* An option's interval; NULL for none.  Raises 22007 or 22023 for a bad one. */
Interval *
keep_option_span(const char *option, const char *value, bool or_zero)
{
	Interval   *span;

	if (value == NULL)
		return NULL;
	span = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(value),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1)));
	keep_clock_check_span(span, option, or_zero);
	return span;
}

/* ISO 8601, which reads back the same under every IntervalStyle. */
const char *
keep_span_text(const Interval *span)
{
	struct pg_itm itm;
	char		text[MAXDATELEN + 1];

	if (span == NULL)
		return NULL;
	interval2itm(*span, &itm);
	EncodeInterval(&itm, INTSTYLE_ISO_8601, text);
	return pstrdup(text);
}

/* Add an option to those that are kept, unless it is NULL: the default. */
void
keep_option_push(JsonbParseState **state, const char *option, const char *value)
{
	if (value != NULL)
		keep_json_push_string(state, option, value, strlen(value));
}
