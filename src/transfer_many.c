/*
 * transfer_many.c
 *		The SQL functions that move money in batches.
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "arg.h"
#include "transfer.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(keep_transfer_many);
PG_FUNCTION_INFO_V1(keep_transfer_batch);

/* An element of an array argument, or NULL. */
typedef struct Elements
{
	Datum	   *values;			/* NULL: the argument was not given */
	bool	   *nulls;
} Elements;

/* Error context callback: which item of a batch is being read? */
static void
item_context(void *arg)
{
	errcontext("item %d of the batch", *(int *) arg);
}

/* Refuse (22023) a batch of no items, or of too many. */
static void
check_count(int n)
{
	if (n >= 1 && n <= TRANSFER_MAX_ITEMS)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a batch must have 1 to %d transfers", TRANSFER_MAX_ITEMS),
			 errdetail("It has %d.", n)));
}

/* The elements of an array argument, which may be missing where it is optional. */
static Elements
array_arg(FunctionCallInfo fcinfo, int argno, const char *name, Oid type, bool required, int *count)
{
	Elements	elements = {NULL, NULL};
	ArrayType  *array;
	int16		length;
	bool		byval;
	char		align;
	int			n;

	if (required)
		keep_arg_require(fcinfo, argno, name);
	else if (PG_ARGISNULL(argno))
		return elements;
	array = keep_arg_vector(fcinfo, argno, name);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (*count < 0)
		*count = n;
	if (n != *count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arrays must have the same number of elements"),
				 errdetail("\"ids\" has %d, \"%s\" has %d.", *count, name, n)));
	check_count(n);
	get_typlenbyvalalign(type, &length, &byval, &align);
	deconstruct_array(array, type, length, byval, align, &elements.values, &elements.nulls, &n);
	for (int i = 0; required && i < n; i++)
		if (elements.nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", name),
					 errdetail("Element %d is null.", i + 1)));
	return elements;
}

static Datum
element(const Elements *elements, int i)
{
	return elements->values == NULL || elements->nulls[i] ? (Datum) 0 : elements->values[i];
}

/* Number the chains of a batch by their labels. */
static void
number_chains(TransferBatch *batch)
{
	KeepTextMap *labels = keep_textmap_create(CurrentMemoryContext, 16);

	batch->chains = palloc0(sizeof(TransferChain) * batch->nitems);
	for (int i = 0; i < batch->nitems; i++)
	{
		TransferItem *item = &batch->items[i];
		TransferChain *chain;
		void	  **entry;
		bool		found;

		if (item->row.chain == NULL)
			continue;
		entry = keep_textmap_insert(labels, item->row.chain, &found);
		if (!found)
		{
			*entry = chain = &batch->chains[batch->nchains++];
			chain->first = i;
		}
		chain = *entry;
		item->chain = chain - batch->chains;
	}
}

/* Fill in the items of a batch from the arguments, and check them. */
static void
read_items(TransferBatch *batch, FunctionCallInfo fcinfo)
{
	ErrorContextCallback context;
	int			number = 0;
	int			n = -1;
	Elements	ids = array_arg(fcinfo, 1, "ids", TEXTOID, true, &n);
	Elements	froms = array_arg(fcinfo, 2, "from_accounts", TEXTOID, true, &n);
	Elements	tos = array_arg(fcinfo, 3, "to_accounts", TEXTOID, true, &n);
	Elements	amounts = array_arg(fcinfo, 4, "amounts", INT8OID, true, &n);
	Elements	holds = array_arg(fcinfo, 5, "holds", INTERVALOID, false, &n);
	Elements	metadata = array_arg(fcinfo, 6, "metadata", JSONBOID, false, &n);
	Elements	chains = array_arg(fcinfo, 7, "chains", TEXTOID, false, &n);

	transfer_batch_init(batch, n);
	context.callback = item_context;
	context.arg = &number;
	context.previous = error_context_stack;
	error_context_stack = &context;
	for (int i = 0; i < n; i++)
	{
		TransferItem *item = &batch->items[i];

		number = i + 1;
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		item->row.id = DatumGetTextPP(ids.values[i]);
		item->row.from = DatumGetTextPP(froms.values[i]);
		item->row.to = DatumGetTextPP(tos.values[i]);
		item->row.amount = item->asked = DatumGetInt64(amounts.values[i]);
		item->row.hold = DatumGetIntervalP(element(&holds, i));
		item->row.metadata = element(&metadata, i);
		if (element(&chains, i) != 0)
			item->row.chain = DatumGetTextPP(element(&chains, i));
		transfer_check_request(item);
	}
	error_context_stack = context.previous;
	if (chains.values != NULL)
		number_chains(batch);
}

/* The argument "report": are all items to be answered, or exceptions only? */
static bool
report_all(FunctionCallInfo fcinfo, int argno)
{
	char	   *report;

	keep_arg_require(fcinfo, argno, "report");
	report = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (strcmp(report, "all") != 0 && strcmp(report, "exceptions") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"report\": \"%s\"", report),
				 errhint("Valid values are \"all\" and \"exceptions\".")));
	return strcmp(report, "all") == 0;
}

/*
 * A large batch takes some megabytes and frees them.  The C library gives them
 * back to the kernel, which has to zero them page by page for the next batch: a
 * tenth of its time.  From the first one on, this process keeps as much.
 */
static void
keep_freed_memory(int nitems)
{
#ifdef __GLIBC__
	static bool done = false;

	if (done || nitems < 500)
		return;
	done = true;
	(void) mallopt(M_MMAP_THRESHOLD, 4 * 1024 * 1024);
	(void) mallopt(M_TRIM_THRESHOLD, 8 * 1024 * 1024);
#endif
}

/* Run a batch that is filled in, and put its answers into the result. */
static void
run_many(TransferBatch *batch, ReturnSetInfo *rsinfo, bool all)
{
	keep_freed_memory(batch->nitems);
	transfer_batch_run(batch);
	for (int i = 0; i < batch->nitems; i++)
	{
		Datum		values[TRANSFER_RESULT_NCOLS];
		bool		nulls[TRANSFER_RESULT_NCOLS];

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		if (transfer_item_answer(&batch->work, &batch->items[i], values, nulls) || all)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/*
 * keep.transfer_many(ledger regclass, ids text[], from_accounts text[],
 *					  to_accounts text[], amounts bigint[], holds interval[],
 *					  metadata jsonb[], chains text[], report text)
 *		returns setof keep.transfer_result
 *
 * 1 to 100,000 transfers at once, decided in input order; one answer an item,
 * in that order, or with report 'exceptions' only for those not newly posted or
 * held.  Items with the same label in "chains" succeed or fail together.  An id
 * that was used with other parameters is answered as `mismatch`.  Raises 22023,
 * 22004 and 22003 for what cannot be, and stores nothing then.
 */
Datum
keep_transfer_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		all = report_all(fcinfo, 8);
	TransferBatch batch;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ledger_begin(&batch.work, fcinfo, "keep.transfer_many()",
				 ACL_SELECT | ACL_UPDATE, ACL_SELECT | ACL_INSERT);
	read_items(&batch, fcinfo);
	run_many(&batch, rsinfo, all);
	SPI_finish();
	return (Datum) 0;
}

/* A member of an item, as text; NULL where it is missing or null. */
static text *
text_member(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, name, strlen(name), &value) == NULL ||
		value.type == jbvNull)
		return NULL;
	if (value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of a transfer must be a string", name)));
	return cstring_to_text_with_len(value.val.string.val, value.val.string.len);
}

/* The same, but required. */
static text *
required_member(JsonbContainer *object, const char *name)
{
	text	   *value = text_member(object, name);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a transfer must have \"%s\"", name)));
	return value;
}

/* The amount of an item: a whole number that fits bigint. */
static int64
amount_member(JsonbContainer *object)
{
	JsonbValue	value;
	Numeric		amount;

	if (getKeyJsonValueFromContainer(object, "amount", strlen("amount"), &value) == NULL ||
		value.type == jbvNull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a transfer must have \"amount\"")));
	amount = value.type == jbvNumeric ? value.val.numeric : NULL;
	if (amount == NULL ||
		!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(amount),
										  DirectFunctionCall2(numeric_trunc,
															  NumericGetDatum(amount),
															  Int32GetDatum(0)))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"amount\" of a transfer must be a whole number"),
				 errhint("Amounts are in minor units.")));
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(amount)));
}

/* Refuse (22023) a member that is none of an item's: a misspelt one would be missed. */
static void
check_members(JsonbContainer *object)
{
	static const char *const names[] = {
		"id", "from_account", "to_account", "amount", "hold", "metadata", "chain"
	};
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	member;

	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		for (size_t i = 0; i < lengthof(names); i++)
			known = known || ((int) strlen(names[i]) == member.val.string.len &&
							  memcmp(names[i], member.val.string.val, member.val.string.len) == 0);
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown member of a transfer: \"%s\"",
							pnstrdup(member.val.string.val, member.val.string.len)),
					 errhint("Members are id, from_account, to_account, amount, hold, metadata "
							 "and chain.")));
		(void) JsonbIteratorNext(&it, &member, true);
	}
}

/* Fill in an item from a JSON object, and check it. */
static void
read_object(TransferItem *item, JsonbContainer *object)
{
	text	   *hold;
	JsonbValue	metadata;

	check_members(object);
	item->row.id = required_member(object, "id");
	item->row.from = required_member(object, "from_account");
	item->row.to = required_member(object, "to_account");
	item->row.amount = item->asked = amount_member(object);
	hold = text_member(object, "hold");
	if (hold != NULL)
	{
		Datum		span = DirectFunctionCall3(interval_in, CStringGetDatum(text_to_cstring(hold)),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

		item->row.hold = DatumGetIntervalP(span);
	}
	if (getKeyJsonValueFromContainer(object, "metadata", strlen("metadata"), &metadata) != NULL &&
		metadata.type != jbvNull)
		item->row.metadata = JsonbPGetDatum(JsonbValueToJsonb(&metadata));
	item->row.chain = text_member(object, "chain");
	transfer_check_request(item);
}

/* Fill in the items of a batch from an array of JSON objects. */
static void
read_json(TransferBatch *batch, Jsonb *items)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	ErrorContextCallback context;
	int			number = 0;

	if (!JB_ROOT_IS_ARRAY(items) || JB_ROOT_IS_SCALAR(items))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("items must be a JSON array of objects")));
	check_count(JB_ROOT_COUNT(items));
	transfer_batch_init(batch, JB_ROOT_COUNT(items));
	context.callback = item_context;
	context.arg = &number;
	context.previous = error_context_stack;
	error_context_stack = &context;
	it = JsonbIteratorInit(&items->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		number++;
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("items must be a JSON array of objects")));
		read_object(&batch->items[number - 1], value.val.binary.data);
	}
	error_context_stack = context.previous;
	number_chains(batch);
}

/*
 * keep.transfer_batch(ledger regclass, items jsonb, report text)
 *		returns setof keep.transfer_result
 *
 * keep.transfer_many() from one JSON array of objects with the members id,
 * from_account, to_account, amount, and where wanted hold, metadata and chain.
 */
Datum
keep_transfer_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		all = report_all(fcinfo, 2);
	TransferBatch batch;

	keep_arg_require(fcinfo, 1, "items");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ledger_begin(&batch.work, fcinfo, "keep.transfer_batch()",
				 ACL_SELECT | ACL_UPDATE, ACL_SELECT | ACL_INSERT);
	read_json(&batch, PG_GETARG_JSONB_P(1));
	run_many(&batch, rsinfo, all);
	SPI_finish();
	return (Datum) 0;
}
