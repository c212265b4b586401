/*
 * json.c
 *		JSON values: merge patch (RFC 7396), counters, building, hashing.
 *
 * Pure functions of their arguments; nothing here knows of tables.  Results
 * are palloc'd in the current memory context.
 */
#include "postgres.h"

#include "arg.h"
#include "json.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(keep_merge_patch);
PG_FUNCTION_INFO_V1(keep_json_increment_sql);

/* Push a member that is a string, into an object that has been begun. */
void
keep_json_push_string(JsonbParseState **state, const char *name, const char *string,
					  int length)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* Push a member that is any value, NULL standing for null, into an object. */
void
keep_json_push_json(JsonbParseState **state, const char *name, Jsonb *json)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	if (json == NULL)
		value.type = jbvNull;
	else if (!JsonbExtractScalar(&json->root, &value))
	{
		value.type = jbvBinary;
		value.val.binary.data = &json->root;
		value.val.binary.len = VARSIZE_ANY_EXHDR(json);
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* Append a string after a mark and its length.  (printf would cost more than hashing it.) */
static void
append_measured(StringInfo text, char mark, const char *string, int length)
{
	char		head[16] = {mark};
	int			n = 1 + pg_ltoa(length, head + 1);

	head[n++] = ':';
	appendBinaryStringInfo(text, head, n);
	appendBinaryStringInfo(text, string, length);
}

/* where numeric_send() puts the scale */
#define SCALE_AT	(3 * sizeof(int16))

/* Append a scalar or a key so that no two different ones look the same. */
static void
append_canonical(StringInfo text, const JsonbValue *value)
{
	bytea	   *number;

	switch (value->type)
	{
		case jbvNull:
			appendStringInfoChar(text, 'z');
			break;
		case jbvBool:
			appendStringInfoChar(text, value->val.boolean ? 't' : 'f');
			break;
		case jbvNumeric:
			/*
			 * As numeric_send() has it: number of digits, weight, sign, scale, and
			 * digits without zeros at either end.  Equal numbers differ in the
			 * scale alone, which is left out.
			 */
			number = DatumGetByteaP(DirectFunctionCall1(numeric_send,
														NumericGetDatum(value->val.numeric)));
			append_measured(text, 'n', VARDATA(number), VARSIZE(number) - VARHDRSZ);
			memset(text->data + text->len - (VARSIZE(number) - VARHDRSZ) + SCALE_AT, 0,
				   sizeof(int16));
			pfree(number);
			break;
		case jbvString:
			append_measured(text, 's', value->val.string.val, value->val.string.len);
			break;
		default:
			elog(ERROR, "unexpected type of JSON scalar: %d", (int) value->type);
	}
}

/*
 * SHA-256 of a prefix and a value, such that values that are equal as jsonb
 * have the same one.  Keys of objects are unique and in order in any jsonb.
 */
bytea *
keep_json_hash(const char *prefix, Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoSpaces(&text, VARHDRSZ);
	append_measured(&text, 'p', prefix, strlen(prefix));
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				appendStringInfoChar(&text, value.val.array.rawScalar ? '=' : '[');
				break;
			case WJB_END_ARRAY:
				appendStringInfoChar(&text, ']');
				break;
			case WJB_BEGIN_OBJECT:
				appendStringInfoChar(&text, '{');
				break;
			case WJB_END_OBJECT:
				appendStringInfoChar(&text, '}');
				break;
			default:
				append_canonical(&text, &value);
				break;
		}
	}
	SET_VARSIZE(text.data, text.len);
	return DatumGetByteaP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(text.data)));
}

/* The object that a value holds, or NULL where it is none. */
static JsonbContainer *
object_of(const JsonbValue *value)
{
	if (value != NULL && value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data))
		return value->val.binary.data;
	return NULL;
}

/* The member of that name, or NULL; "object" may be NULL (no members). */
static JsonbValue *
member_of(JsonbContainer *object, const JsonbValue *name)
{
	if (object == NULL)
		return NULL;
	return getKeyJsonValueFromContainer(object, name->val.string.val,
										name->val.string.len, NULL);
}

static JsonbValue *push_merged(JsonbParseState **state, JsonbContainer *target,
							   JsonbContainer *patch);

/* Push one member as the patch leaves it; a null in the patch removes it. */
static void
push_member(JsonbParseState **state, JsonbValue *name, JsonbValue *old, JsonbValue *change)
{
	if (change == NULL)
		change = old;
	else if (change->type == jbvNull)
		return;
	else if (object_of(change) != NULL)
	{
		pushJsonbValue(state, WJB_KEY, name);
		push_merged(state, object_of(old), object_of(change));
		return;
	}
	pushJsonbValue(state, WJB_KEY, name);
	pushJsonbValue(state, WJB_VALUE, change);
}

/*
 * Push MergePatch(target, patch) of RFC 7396, section 2, for a patch that is
 * an object.  "target" is NULL where the target is absent or no object.
 */
static JsonbValue *
push_merged(JsonbParseState **state, JsonbContainer *target, JsonbContainer *patch)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);

	if (target != NULL)
	{
		it = JsonbIteratorInit(target);
		while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
		{
			if (token != WJB_KEY)
				continue;
			(void) JsonbIteratorNext(&it, &value, true);
			push_member(state, &name, &value, member_of(patch, &name));
		}
	}

	it = JsonbIteratorInit(patch);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (member_of(target, &name) == NULL)
			push_member(state, &name, NULL, &value);
	}

	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/*
 * Apply a merge patch.  "target" may be NULL (absent).  A patch that is not an
 * object replaces the target whole; a null member removes.
 */
Jsonb *
keep_json_merge(Jsonb *target, Jsonb *patch)
{
	JsonbParseState *state = NULL;
	JsonbContainer *object = NULL;

	if (!JB_ROOT_IS_OBJECT(patch))
		return patch;
	if (target != NULL && JB_ROOT_IS_OBJECT(target))
		object = &target->root;
	return JsonbValueToJsonb(push_merged(&state, object, &patch->root));
}

/* Say (22023) that no integer stands where a counter is asked for. */
static void
no_counter(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("cannot increment a value that is not an integer"),
			 errdetail_internal("%s", detail)));
}

/* The integer in a JSON number: 22023 for a fraction, 22003 past bigint. */
static int64
counter_value(const JsonbValue *number)
{
	Datum		numeric;
	int64		counter;

	if (number->type != jbvNumeric)
		no_counter("The path leads to something other than a number.");
	numeric = NumericGetDatum(number->val.numeric);
	counter = DatumGetInt64(DirectFunctionCall1(numeric_int8, numeric));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, numeric,
										  DirectFunctionCall1(int8_numeric,
															  Int64GetDatum(counter)))))
		no_counter("The number at the path has a fraction.");
	return counter;
}

/* The counter at "path" in "value"; 0 where nothing stands there yet. */
static int64
find_counter(Jsonb *value, Datum *path, int npath)
{
	JsonbValue	here;

	if (value == NULL)
		return 0;
	if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &here))
	{
		here.type = jbvBinary;
		here.val.binary.data = &value->root;
		here.val.binary.len = VARSIZE(value) - VARHDRSZ;
	}

	for (int i = 0; i < npath; i++)
	{
		text	   *step = DatumGetTextPP(path[i]);
		JsonbValue *next;

		if (object_of(&here) == NULL)
			no_counter("The path leads through something other than an object.");
		next = getKeyJsonValueFromContainer(here.val.binary.data, VARDATA_ANY(step),
											VARSIZE_ANY_EXHDR(step), NULL);
		if (next == NULL)
			return 0;
		here = *next;
	}
	return counter_value(&here);
}

/*
 * Add "by" to the integer at "path" (object members; none: the value itself).
 *
 * "value" may be NULL (absent).  A missing counter starts at 0, and missing
 * objects on the way to it are made.  Raises 22023 where something other than
 * an integer stands there or the path leads through something other than an
 * object, 22003 where the sum is out of bigint's range.
 */
Jsonb *
keep_json_increment(Jsonb *value, Datum *path, int npath, int64 by)
{
	JsonbParseState *state = NULL;
	JsonbValue	number;
	JsonbValue *patch = &number;
	int64		sum;

	if (pg_add_s64_overflow(find_counter(value, path, npath), by, &sum))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("bigint out of range")));

	number.type = jbvNumeric;
	number.val.numeric = int64_to_numeric(sum);
	if (npath == 0)
		return JsonbValueToJsonb(patch);

	/* The path is known to be free or a counter: set it as a merge patch. */
	for (int i = 0; i < npath; i++)
	{
		text	   *step = DatumGetTextPP(path[i]);
		JsonbValue	name;

		name.type = jbvString;
		name.val.string.val = VARDATA_ANY(step);
		name.val.string.len = VARSIZE_ANY_EXHDR(step);
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		pushJsonbValue(&state, WJB_KEY, &name);
	}
	pushJsonbValue(&state, WJB_VALUE, &number);
	for (int i = 0; i < npath; i++)
		patch = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return keep_json_merge(value, JsonbValueToJsonb(patch));
}

/*
 * keep.merge_patch(target jsonb, patch jsonb) returns jsonb
 *
 * RFC 7396.  A NULL target is an absent one; a NULL patch is refused (22004).
 */
Datum
keep_merge_patch(PG_FUNCTION_ARGS)
{
	keep_arg_require(fcinfo, 1, "patch");
	PG_RETURN_JSONB_P(keep_json_merge(PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0),
									  PG_GETARG_JSONB_P(1)));
}

/*
 * keep.json_increment(value jsonb, path text[], by bigint) returns jsonb
 *
 * See keep_json_increment().  A NULL value is an absent one.
 */
Datum
keep_json_increment_sql(PG_FUNCTION_ARGS)
{
	int			npath;
	Datum	   *path = keep_arg_array(fcinfo, 1, "path", TEXTOID, &npath);

	keep_arg_require(fcinfo, 2, "by");
	PG_RETURN_JSONB_P(keep_json_increment(PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0),
										  path, npath, PG_GETARG_INT64(2)));
}
