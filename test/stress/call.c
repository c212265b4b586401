/*
 * call.c
 *		The calls that move money, alone and in batches.
 */
#include "stress.h"

#include <stdlib.h>
#include <string.h>

#define LONG_NAME 1025

/* The arguments of a request as texts; NULL is NULL. */
typedef struct Texts
{
	const char *id;
	const char *from;
	const char *to;
	const char *amount;
	const char *hold;
	const char *metadata;
	const char *chain;
	const char *original;
	char		buffer[8][48];
} Texts;

/* The SQLSTATE that a mistake in a request brings. */
const char *
mistake_state(Mistake mistake)
{
	switch (mistake)
	{
		case NO_MISTAKE:
			return "";
		case NULL_ID:
		case NULL_FROM:
		case NULL_TO:
		case NULL_AMOUNT:
			return "22004";
		default:
			return "22023";
	}
}

static const char *
long_name(void)
{
	static char name[LONG_NAME + 1];

	if (name[0] == '\0')
	{
		memset(name + 1, 'x', LONG_NAME - 1);
		name[0] = 'x';
	}
	return name;
}

static void
apply_mistake(const Item *item, Texts *texts)
{
	switch (item->mistake)
	{
		case NULL_ID: texts->id = NULL; break;
		case EMPTY_ID: texts->id = ""; break;
		case LONG_ID: texts->id = long_name(); break;
		case NULL_FROM: texts->from = NULL; break;
		case EMPTY_FROM: texts->from = ""; break;
		case LONG_FROM: texts->from = long_name(); break;
		case NULL_TO: texts->to = NULL; break;
		case EMPTY_TO: texts->to = ""; break;
		case SAME_ACCOUNT: texts->to = texts->from; break;
		case NULL_AMOUNT: texts->amount = NULL; break;
		case ZERO_AMOUNT: texts->amount = "0"; break;
		case NEGATIVE_AMOUNT: texts->amount = "-7"; break;
		case ZERO_HOLD: texts->hold = "0 ms"; break;
		case NEGATIVE_HOLD: texts->hold = "-1 ms"; break;
		case EMPTY_CHAIN: texts->chain = ""; break;
		case LONG_CHAIN: texts->chain = long_name(); break;
		default: break;
	}
}

static const char *
hold_text(const Item *item, char *buffer)
{
	int			minutes = item->hold / 60000;

	if (item->hold == 0)
		return NULL;
	if (!item->variant || item->hold % 60000 != 0)
		sprintf(buffer, "%d ms", item->hold);
	else if (minutes % 1440 == 0)
		sprintf(buffer, "%d days", minutes / 1440);
	else
		sprintf(buffer, "%02d:%02d:00", minutes / 60, minutes % 60);
	return buffer;
}

static void
make_texts(const Item *item, Texts *texts)
{
	id_name(texts->buffer[0], item->id);
	account_name(texts->buffer[1], item->from);
	account_name(texts->buffer[2], item->to);
	sprintf(texts->buffer[3], "%lld", (long long) item->amount.v);
	sprintf(texts->buffer[5], "{\"n\": %d}", item->id);
	sprintf(texts->buffer[6], "chain %d", item->chain);
	id_name(texts->buffer[7], item->original);
	texts->id = texts->buffer[0];
	texts->from = texts->buffer[1];
	texts->to = texts->buffer[2];
	texts->amount = item->amount.set ? texts->buffer[3] : NULL;
	texts->hold = hold_text(item, texts->buffer[4]);
	texts->metadata = item->metadata ? texts->buffer[5] : NULL;
	texts->chain = item->chain ? texts->buffer[6] : NULL;
	texts->original = texts->buffer[7];
	apply_mistake(item, texts);
}

static void
read_answer(PGresult *result, int row, Answer *answer)
{
	answer->id = name_number(PQgetvalue(result, row, 0));
	answer->status = status_number(PQgetvalue(result, row, 1));
	answer->reason = PQgetisnull(result, row, 2) ? NO_REASON :
		reason_number(PQgetvalue(result, row, 2));
	answer->amount = result_number(result, row, 3);
	answer->from_balance = result_number(result, row, 4);
	answer->to_balance = result_number(result, row, 5);
	answer->expires = PQgetisnull(result, row, 6) ? NOTHING :
		time_number(PQgetvalue(result, row, 6));
	answer->replayed = PQgetvalue(result, row, 7)[0] == 't';
	answer->created = PQgetisnull(result, row, 8) ? NOTHING :
		time_number(PQgetvalue(result, row, 8));
}

/* One call about one transfer; false where it fails. */
bool
call_item(Conn *conn, const Item *item, Answer *answer)
{
	Texts		texts;
	PGresult   *result = NULL;

	make_texts(item, &texts);
	if (item->kind == TRANSFER)
		result = conn_query(conn, "SELECT * FROM keep.transfer($1, $2, $3, $4, $5, $6, $7)", 7,
							(const char *[]) {conn->ledger, texts.id, texts.from, texts.to,
								texts.amount,
							texts.hold, texts.metadata});
	else if (item->kind == POST)
		result = conn_query(conn, "SELECT * FROM keep.post_transfer($1, $2, $3)", 3,
							(const char *[]) {conn->ledger, texts.id, texts.amount});
	else if (item->kind == VOID)
		result = conn_query(conn, "SELECT * FROM keep.void_transfer($1, $2)", 2,
							(const char *[]) {conn->ledger, texts.id});
	else
		result = conn_query(conn, "SELECT * FROM keep.reverse_transfer($1, $2, $3, $4, $5)", 5,
							(const char *[]) {conn->ledger, texts.id, texts.original, texts.amount,
							item->force ? "t" : "f"});
	if (result == NULL)
		return false;
	if (PQntuples(result) != 1 || PQnfields(result) != 9)
		die("keep.transfer_result has another shape than expected");
	read_answer(result, 0, answer);
	PQclear(result);
	return true;
}

/* A text that grows */
typedef struct Text
{
	char	  **data;
	size_t	   *room;
	size_t		length;
} Text;

static void
append(Text *text, const char *more)
{
	size_t		length = strlen(more);

	if (text->length + length + 1 > *text->room)
	{
		*text->room = (text->length + length + 1) * 2;
		*text->data = enlarge(*text->data, *text->room);
	}
	memcpy(*text->data + text->length, more, length + 1);
	text->length += length;
}

/* In double quotes, as arrays and JSON both have it. */
static void
append_quoted(Text *text, const char *more)
{
	char		one[3] = {'\\', 0, 0};

	append(text, "\"");
	for (; *more; more++)
	{
		one[1] = *more;
		append(text, *more == '"' || *more == '\\' ? one : one + 1);
	}
	append(text, "\"");
}

static Text
begin_text(Conn *conn, int number, const char *opening)
{
	Text		text = {&conn->text[number], &conn->room[number], 0};

	append(&text, opening);
	return text;
}

/* The batch as the arrays of transfer_many() */
static void
make_arrays(Conn *conn, const Item *items, int count)
{
	Text		texts[7];

	for (int j = 0; j < 7; j++)
		texts[j] = begin_text(conn, j, "{");
	for (int i = 0; i < count; i++)
	{
		Texts		item;

		make_texts(&items[i], &item);
		const char *const values[] = {
			item.id, item.from, item.to, item.amount, item.hold, item.metadata, item.chain
		};

		for (int j = 0; j < 7; j++)
		{
			if (items[i].mistake == UNEQUAL_ARRAYS && j == items[i].id % 7)
				continue;
			if (texts[j].length > 1)
				append(&texts[j], ",");
			if (values[j])
				append_quoted(&texts[j], values[j]);
			else
				append(&texts[j], "NULL");
		}
	}
	for (int j = 0; j < 7; j++)
		append(&texts[j], "}");
}

/* The batch as the JSON of transfer_batch() */
static void
make_json(Conn *conn, const Item *items, int count)
{
	static const char *const names[] = {"id", "from_account", "to_account", "hold", "chain"};
	Text		text = begin_text(conn, 0, "[");

	for (int i = 0; i < count; i++)
	{
		Texts		item;

		make_texts(&items[i], &item);
		const char *const values[] = {item.id, item.from, item.to, item.hold, item.chain};

		append(&text, i == 0 ? "{" : ",{");
		append(&text, "\"amount\":");
		append(&text, item.amount ? item.amount : "null");
		for (int j = 0; j < lengthof(names); j++)
		{
			if (values[j] == NULL && j > 2)
				continue;
			append(&text, ",\"");
			append(&text, names[j]);
			append(&text, "\":");
			if (values[j])
				append_quoted(&text, values[j]);
			else
				append(&text, "null");
		}
		if (item.metadata)
		{
			append(&text, ",\"metadata\":");
			append(&text, item.metadata);
		}
		append(&text, "}");
	}
	append(&text, "]");
}

static PGresult *
send_batch(Conn *conn, const Item *items, int count, Way way, bool exceptions)
{
	const char *report = exceptions ? "exceptions" : "all";
	char	  **t = conn->text;

	if (count > 0 && items[0].mistake == BAD_REPORT)
		report = "some";
	if (way == BY_JSON)
	{
		make_json(conn, items, count);
		return conn_query(conn, "SELECT * FROM keep.transfer_batch($1, $2, $3)", 3,
						  (const char *[]) {conn->ledger, t[0], report});
	}
	make_arrays(conn, items, count);
	if (way == BY_ARRAYS)
		return conn_query(conn, "SELECT * FROM keep.transfer_many($1, $2, $3, $4, $5, $6, $7, $8,"
								" $9)", 9,
						  (const char *[]) {conn->ledger, t[0], t[1], t[2], t[3], t[4], t[5], t[6],
							  report});
	return conn_query(conn,
					  "SELECT r.* FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[],"
					  " $6::interval[], $7::jsonb[]) AS u(id, f, t, a, h, m),"
					  " LATERAL keep.transfer($1, u.id, u.f, u.t, u.a, u.h, u.m) AS r", 7,
					  (const char *[]) {conn->ledger, t[0], t[1], t[2], t[3], t[4], t[5]});
}

/* A batch. Returns how many answers there are, -1 where the call fails. */
int
call_batch(Conn *conn, const Item *items, int count, Way way, bool exceptions, Answer *answers)
{
	PGresult   *result = send_batch(conn, items, count, way, exceptions);
	int			rows;

	if (result == NULL)
		return -1;
	rows = PQntuples(result);
	if (PQnfields(result) != 9 || rows > count)
		die("a batch of %d is answered with %d columns and %d rows", count, PQnfields(result),
			rows);
	for (int i = 0; i < rows; i++)
		read_answer(result, i, &answers[i]);
	PQclear(result);
	return rows;
}
