/*
 * append_check.c
 *		What the answers of reads and appends say of the order of their transactions.
 *
 * How much stands under a key after an append says in which place it stands. A read has seen all
 * up to one place: it comes after the append there, and before the one in the next place.
 */
#include "append.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[ANOMALIES] = {
	"G1a", "G1b", "lost appends", "G0", "G1c", "G-single", "G2"
};

/* An append, by its number */
typedef struct Element
{
	int			txn;			/* -1: none */
	int			key;
	int			place;
} Element;

typedef struct Checker
{
	AppendHistory *history;
	Element    *elements;		/* by number */
	int		  **order;			/* by key: the numbers in their places, those committed */
	int		   *count;			/* by key */
	Edge	   *edges;
	int			nedges;
	int			room;
} Checker;

const char *
anomaly_name(Anomaly anomaly)
{
	return names[anomaly];
}

static void
note(Checker *c, Anomaly anomaly, int txn, const AppendOp *op, int id)
{
	if (c->history->found[anomaly]++ == 0)
		snprintf(c->history->first[anomaly], sizeof(c->history->first[0]),
				 " transaction %d, key %d, %s of %d, which sees %d, number %d", txn, op->key,
				 op->append ? "append" : "read", op->id, op->nseen, id);
}

static void
add_edge(Checker *c, int from, int to, Dependency kind)
{
	if (from == to)
		return;
	if (c->nedges == c->room)
	{
		c->room = c->room * 2 + 1024;
		c->edges = enlarge(c->edges, sizeof(Edge) * c->room);
	}
	c->edges[c->nedges++] = (Edge) {from, to, kind};
}

/* Enter the appends, those that were committed in their places. */
static void
place_appends(Checker *c)
{
	for (int t = 0; t < c->history->count; t++)
	{
		AppendTxn  *txn = c->history->txns[t];

		for (int i = 0; i < txn->nops; i++)
		{
			AppendOp   *op = &txn->ops[i];

			if (!op->append)
				continue;
			c->elements[op->id] = (Element) {t, op->key, op->place};
			if (txn->txn.fate != COMMITTED)
				continue;
			if (c->order[op->key][op->place] != 0)
				note(c, LOST, t, op, c->order[op->key][op->place]);
			c->order[op->key][op->place] = op->id;
			if (op->place > c->count[op->key])
				c->count[op->key] = op->place;
		}
	}
}

/* All places must be taken. Each append comes after the one before. */
static void
link_appends(Checker *c)
{
	for (int key = 0; key < c->history->keys; key++)
		for (int place = 1; place <= c->count[key]; place++)
		{
			int			id = c->order[key][place];
			int			before = c->order[key][place - 1];

			if (id == 0)
				note(c, LOST, -1, &(AppendOp) {.key = key, .nseen = c->count[key]}, place);
			else if (before != 0)
				add_edge(c, c->elements[before].txn, c->elements[id].txn, WRITE_WRITE);
		}
}

/* What a read, or the answer to an append, has seen */
static void
check_seen(Checker *c, int t, const AppendOp *op)
{
	const int  *order = c->order[op->key];
	int			others = op->nseen;
	bool		committed = c->history->txns[t]->txn.fate == COMMITTED;
	int			last;

	for (int i = 0; i < op->nseen; i++)
		if (c->elements[op->seen[i]].txn == t)
			others--;
	for (int i = 0; i < op->nseen; i++)
	{
		const Element *e = &c->elements[op->seen[i]];

		if (e->txn == t)
			continue;
		if (e->txn >= 0 && c->history->txns[e->txn]->txn.fate != COMMITTED)
			note(c, G1A, t, op, op->seen[i]);
		else if (e->txn < 0 || e->key != op->key || e->place > others)
			note(c, LOST, t, op, op->seen[i]);
	}
	last = others <= c->count[op->key] ? order[others] : 0;
	if (others < c->count[op->key] && last != 0 && order[others + 1] != 0 &&
		c->elements[last].txn == c->elements[order[others + 1]].txn)
		note(c, G1B, t, op, order[others + 1]);
	if (!committed || op->append)
		return;
	if (last != 0)
		add_edge(c, c->elements[last].txn, t, WRITE_READ);
	if (others < c->count[op->key] && order[others + 1] != 0)
		add_edge(c, t, c->elements[order[others + 1]].txn, READ_WRITE);
}

/* Look for all anomalies. */
void
check_appends(AppendHistory *history)
{
	Checker		c = {.history = history};

	c.elements = allot(sizeof(Element) * (history->ids + 1));
	c.order = allot(sizeof(int *) * history->keys);
	c.count = allot(sizeof(int) * history->keys);
	for (int i = 0; i <= history->ids; i++)
		c.elements[i].txn = -1;
	for (int t = 0; t < history->count; t++)
		for (int i = 0; i < history->txns[t]->nops; i++)
			if (history->txns[t]->ops[i].nseen > c.count[history->txns[t]->ops[i].key])
				c.count[history->txns[t]->ops[i].key] = history->txns[t]->ops[i].nseen;
	for (int key = 0; key < history->keys; key++)
	{
		c.order[key] = allot(sizeof(int) * (c.count[key] + 2));
		c.count[key] = 0;
	}
	place_appends(&c);
	link_appends(&c);
	for (int t = 0; t < history->count; t++)
		for (int i = 0; i < history->txns[t]->nops; i++)
			check_seen(&c, t, &history->txns[t]->ops[i]);
	find_cycles(history, c.edges, c.nedges);
	history->edges = c.nedges;
	for (int key = 0; key < history->keys; key++)
		free(c.order[key]);
	free(c.order);
	free(c.count);
	free(c.elements);
	free(c.edges);
}
