/*
 * ledger_verify.c
 *		keep.verify_ledger(): does a ledger add up?
 *
 * Each rule is a query of its own on the whole of both tables, which returns
 * what breaks the rule; all see the snapshot of the calling query.  The function
 * runs under a search_path of its own (see its declaration), so that nothing
 * here need be qualified but the two tables.
 */
#include "postgres.h"

#include "arg.h"
#include "ledger.h"
#include "naming.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(keep_verify_ledger);

#define MAX_SHOWN 5

/* {a} stands for the accounts, {t} for the transfers. */
typedef struct Rule
{
	const char *name;
	const char *query;
	bool		history;		/* only for a ledger with history */
} Rule;

/* What transfers have moved and hold, one row a shard of an account. */
#define MOVED \
	"WITH moved AS (SELECT account, shard, sum(dp) AS dp, sum(cp) AS cp, sum(dh) AS dh" \
	", sum(ch) AS ch FROM (SELECT from_account AS account, from_shard AS shard" \
	", CASE status WHEN 'posted' THEN amount ELSE 0 END AS dp, 0 AS cp" \
	", CASE status WHEN 'pending' THEN held ELSE 0 END AS dh, 0 AS ch" \
	" FROM {t} WHERE status IN ('posted', 'pending')" \
	" UNION ALL SELECT to_account, to_shard, 0, CASE status WHEN 'posted' THEN amount ELSE 0 END" \
	", 0, CASE status WHEN 'pending' THEN held ELSE 0 END" \
	" FROM {t} WHERE status IN ('posted', 'pending')) AS side GROUP BY account, shard)" \
	", both_sides AS (SELECT coalesce(a.id, m.account) AS id, coalesce(a.shard, m.shard) AS shard" \
	", a.*, coalesce(m.dp, 0) AS dp, coalesce(m.cp, 0) AS cp, coalesce(m.dh, 0) AS dh" \
	", coalesce(m.ch, 0) AS ch FROM (SELECT id, shard, debits_posted, credits_posted" \
	", debits_pending, credits_pending FROM {a}) AS a" \
	" FULL JOIN moved AS m ON m.account = a.id AND m.shard = a.shard)"

static const Rule rules[] = {
	{
		"debits equal credits",
		"SELECT format('unit %s: posted %s and %s, pending %s and %s', unit, sum(debits_posted)"
		", sum(credits_posted), sum(debits_pending), sum(credits_pending)) FROM {a} GROUP BY unit"
		" HAVING sum(debits_posted) <> sum(credits_posted)"
		" OR sum(debits_pending) <> sum(credits_pending) ORDER BY unit",
		false
	},
	{
		"balances are what transfers moved",
		MOVED " SELECT format('account %s, shard %s: debits %s and not %s, credits %s and not %s'"
		", who.id, who.shard, debits_posted, dp, credits_posted, cp)"
		" FROM both_sides AS who(id, shard, account_id, account_shard, debits_posted"
		", credits_posted, debits_pending, credits_pending, dp, cp, dh, ch)"
		" WHERE debits_posted IS DISTINCT FROM dp OR credits_posted IS DISTINCT FROM cp"
		" ORDER BY who.id, who.shard",
		false
	},
	{
		"pending is what holds hold",
		MOVED " SELECT format('account %s, shard %s: debits %s and not %s, credits %s and not %s'"
		", who.id, who.shard, debits_pending, dh, credits_pending, ch)"
		" FROM both_sides AS who(id, shard, account_id, account_shard, debits_posted"
		", credits_posted, debits_pending, credits_pending, dp, cp, dh, ch)"
		" WHERE debits_pending IS DISTINCT FROM dh OR credits_pending IS DISTINCT FROM ch"
		" ORDER BY who.id, who.shard",
		false
	},
	{
		"transfers stay within a unit",
		"SELECT format('transfer %s', t.id) FROM {t} AS t"
		" JOIN {a} AS f ON f.id = t.from_account AND f.shard = t.from_shard"
		" JOIN {a} AS o ON o.id = t.to_account AND o.shard = t.to_shard"
		" WHERE t.status IN ('posted', 'pending') AND f.unit <> o.unit ORDER BY t.id",
		false
	},
	{
		"reversals do not exceed what they reverse",
		"SELECT format('transfer %s: %s reversed, %s counted, of %s', coalesce(o.id, r.reverses)"
		", coalesce(r.amount, 0), coalesce(o.reversed, 0), coalesce(o.amount, 0)) FROM {t} AS o"
		" FULL JOIN (SELECT reverses, sum(amount) AS amount FROM {t}"
		" WHERE reverses IS NOT NULL AND status = 'posted' GROUP BY reverses) AS r"
		" ON r.reverses = o.id WHERE coalesce(r.amount, 0) <> coalesce(o.reversed, 0)"
		" OR coalesce(r.amount, 0) > coalesce(o.amount, 0) OR o.id IS NULL AND r.amount > 0"
		" ORDER BY coalesce(o.id, r.reverses)",
		false
	},
	{
		"shards have the account's terms",
		"SELECT format('account %s', id) FROM {a} GROUP BY id"
		" HAVING count(*) <> max(shards) OR min(shards) <> max(shards)"
		" OR max(shard) <> max(shards) - 1"
		" OR min(unit) <> max(unit) OR min(frozen::int4) <> max(frozen::int4)"
		" OR min(min_balance) <> max(min_balance) OR count(min_balance) NOT IN (0, count(*))"
		" OR min(max_balance) <> max(max_balance) OR count(max_balance) NOT IN (0, count(*))"
		" OR max(shards) > 1 AND ((sum(floor) >= min(min_balance)) IS NOT TRUE"
		" AND count(min_balance) > 0 OR (sum(ceiling) <= min(max_balance)) IS NOT TRUE"
		" AND count(max_balance) > 0) ORDER BY id",
		false
	},
	{
		"statements have every posted transfer",
		"SELECT format('transfer %s', id) FROM {t}"
		" WHERE (status = 'posted') <> (from_version IS NOT NULL)"
		" OR (status = 'posted') <> (to_version IS NOT NULL) ORDER BY id",
		true
	},
};

/* A rule's query, with the names of the tables in it. */
static char *
query_text(const Rule *rule, const Ledger *ledger)
{
	Oid			accounts = ledger->accounts->relid;
	Oid			transfers = ledger->transfers->relid;
	StringInfoData text;

	AcceptInvalidationMessages();
	initStringInfo(&text);
	for (const char *c = rule->query; *c != '\0'; c++)
		if (strncmp(c, "{a}", 3) == 0 || strncmp(c, "{t}", 3) == 0)
		{
			appendStringInfoString(&text, keep_relation_name(c[1] == 'a' ? accounts : transfers,
															 false));
			c += 2;
		}
		else
			appendStringInfoChar(&text, *c);
	return keep_statement_for(accounts, transfers, text.data);
}

/* What the query has found, the first of it by name; NULL for nothing. */
static Datum
findings(void)
{
	StringInfoData text;

	if (SPI_processed == 0)
		return (Datum) 0;
	initStringInfo(&text);
	for (uint64 i = 0; i < Min(SPI_processed, MAX_SHOWN); i++)
		appendStringInfo(&text, "%s%s", i > 0 ? "; " : "",
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	if (SPI_processed > MAX_SHOWN)
		appendStringInfo(&text, "; and " UINT64_FORMAT " more", SPI_processed - MAX_SHOWN);
	return CStringGetTextDatum(text.data);
}

/*
 * keep.verify_ledger(ledger regclass) returns setof keep.ledger_check
 *
 * One row a rule: does it hold, and if not, what breaks it.  Reads both tables
 * whole.  Raises 40001 where other tables have come under their names.
 */
Datum
keep_verify_ledger(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Ledger		ledger;
	bool		newer;

	keep_arg_require(fcinfo, 0, "ledger");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	ledger_open(&ledger, PG_GETARG_OID(0), AccessShareLock);
	newer = ledger_push_newer_snapshot(&ledger);
	for (size_t i = 0; i < lengthof(rules); i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		if (rules[i].history && !ledger.opt->history)
			continue;
		if (SPI_execute(query_text(&rules[i], &ledger), true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not check rule \"%s\"", rules[i].name);
		values[0] = CStringGetTextDatum(rules[i].name);
		values[1] = BoolGetDatum(SPI_processed == 0);
		values[2] = findings();
		nulls[2] = values[2] == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		SPI_freetuptable(SPI_tuptable);
	}
	if (newer)
		PopActiveSnapshot();
	SPI_finish();
	return (Datum) 0;
}
