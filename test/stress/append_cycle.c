/*
 * append_cycle.c
 *		Circles in the dependencies between transactions.
 *
 * All that lie on circles fall into groups in which each can be reached from each other. Tarjan's
 * algorithm finds them, without recursion as the graph is deep.
 */
#include "append.h"

#include <stdlib.h>
#include <string.h>

typedef struct Graph
{
	int			nodes;
	const int  *first;			/* by node: its edges begin there */
	const Edge *edges;			/* in order of "from" */
	Dependency	most;			/* edges up to this kind count */
	int		   *number;			/* 0: not seen yet */
	int		   *low;
	int		   *group;			/* -1: still open */
	int		   *next;			/* edge to be followed */
	int		   *stack;
	int			nstack;
	int			numbered;
} Graph;

/* Close the group that begins with this node; returns how many are in it. */
static int
close_group(Graph *g, int node)
{
	int			count = 0;
	int			top;

	do
	{
		top = g->stack[--g->nstack];
		g->group[top] = node;
		count++;
	} while (top != node);
	return count;
}

static void
open_node(Graph *g, int node)
{
	g->number[node] = g->low[node] = ++g->numbered;
	g->next[node] = g->first[node];
	g->stack[g->nstack++] = node;
}

/* Visit all that can be reached from a node. Returns how many groups of two and more there are. */
static int
visit(Graph *g, int start, int *path)
{
	int			depth = 0;
	int			circles = 0;

	path[depth++] = start;
	open_node(g, start);
	while (depth > 0)
	{
		int			node = path[depth - 1];

		if (g->next[node] < g->first[node + 1])
		{
			const Edge *edge = &g->edges[g->next[node]++];

			if (edge->kind > g->most)
				continue;
			if (g->number[edge->to] == 0)
			{
				open_node(g, edge->to);
				path[depth++] = edge->to;
			}
			else if (g->group[edge->to] < 0 && g->number[edge->to] < g->low[node])
				g->low[node] = g->number[edge->to];
			continue;
		}
		depth--;
		if (depth > 0 && g->low[node] < g->low[path[depth - 1]])
			g->low[path[depth - 1]] = g->low[node];
		if (g->low[node] == g->number[node])
			circles += close_group(g, node) > 1;
	}
	return circles;
}

/* The groups by edges up to a kind; "group" says for each node in which it is. */
static int
find_groups(int nodes, const int *first, const Edge *edges, Dependency most, int *group)
{
	Graph		g = {.nodes = nodes, .first = first, .edges = edges, .most = most,
					 .group = group};
	int		   *path = allot(sizeof(int) * (nodes + 1));
	int			circles = 0;

	g.number = allot(sizeof(int) * (nodes + 1));
	g.low = allot(sizeof(int) * (nodes + 1));
	g.next = allot(sizeof(int) * (nodes + 1));
	g.stack = allot(sizeof(int) * (nodes + 1));
	for (int i = 0; i < nodes; i++)
		group[i] = -1;
	for (int i = 0; i < nodes; i++)
		if (g.number[i] == 0)
			circles += visit(&g, i, path);
	free(path);
	free(g.number);
	free(g.low);
	free(g.next);
	free(g.stack);
	return circles;
}

/* Is there a way from one to the other, within a group, by edges that are not READ_WRITE? */
static bool
reaches(const int *first, const Edge *edges, const int *group, int from, int to, int *seen,
		int mark, int *stack)
{
	int			depth = 0;

	stack[depth++] = from;
	seen[from] = mark;
	while (depth > 0)
	{
		int			node = stack[--depth];

		if (node == to)
			return true;
		for (int i = first[node]; i < first[node + 1]; i++)
			if (edges[i].kind != READ_WRITE && group[edges[i].to] == group[to] &&
				seen[edges[i].to] != mark)
			{
				seen[edges[i].to] = mark;
				stack[depth++] = edges[i].to;
			}
	}
	return false;
}

static int
compare_edges(const void *a, const void *b)
{
	const Edge *left = a;
	const Edge *right = b;

	return left->from != right->from ? (left->from < right->from ? -1 : 1) :
		left->to < right->to ? -1 : left->to > right->to;
}

static void
tell(AppendHistory *history, Anomaly anomaly, const Edge *edges, int count, const int *group)
{
	int			used = 0;
	char	   *text = history->first[anomaly];

	for (int i = 0; i < count && used < 330; i++)
		if (edges[i].from != edges[i].to && group[edges[i].from] == group[edges[i].to])
			used += sprintf(text + used, " %d -%s-> %d", edges[i].from,
							edges[i].kind == WRITE_WRITE ? "ww" :
							edges[i].kind == WRITE_READ ? "wr" : "rw", edges[i].to);
}

/* Look for circles of each kind. */
void
find_cycles(AppendHistory *history, Edge *edges, int count)
{
	static const Anomaly anomalies[] = {G0, G1C, G2};
	int			nodes = history->count;
	int		   *first = allot(sizeof(int) * (nodes + 2));
	int		   *group = allot(sizeof(int) * (nodes + 1));
	int		   *seen = allot(sizeof(int) * (nodes + 1));
	int		   *stack = allot(sizeof(int) * (nodes + 1));

	qsort(edges, count, sizeof(Edge), compare_edges);
	for (int node = 0, i = 0; node <= nodes; node++)
	{
		while (i < count && edges[i].from < node)
			i++;
		first[node] = i;
	}
	for (Dependency most = WRITE_WRITE; most <= READ_WRITE; most++)
	{
		history->found[anomalies[most]] = find_groups(nodes, first, edges, most, group);
		if (history->found[anomalies[most]] > 0)
			tell(history, anomalies[most], edges, count, group);
	}
	for (int i = 0; i < count; i++)
		if (edges[i].kind == READ_WRITE && group[edges[i].from] == group[edges[i].to] &&
			reaches(first, edges, group, edges[i].to, edges[i].from, seen, i + 1, stack) &&
			history->found[G_SINGLE]++ == 0)
			sprintf(history->first[G_SINGLE], " %d -rw-> %d, which comes before it",
					edges[i].from, edges[i].to);
	free(first);
	free(group);
	free(seen);
	free(stack);
}
