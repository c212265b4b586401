/*
 * load_read.c
 *		A reader beside the load: statements must not miss a line, and no
 *		snapshot may show money that came from nowhere.
 */
#include "load.h"

#include <string.h>
#include <unistd.h>

#define LINES 50

/* Read on in an account's statement. Returns how many lines there were. */
static int
read_lines(Reader *r, int account, int max)
{
	Line		lines[LINES];
	int			count = call_statement(&r->conn, account, r->cursors[account],
									   sizeof(r->cursors[account]),
									   max, lines);

	if (count < 0)
	{
		complain("statement: %s %s", r->conn.state, r->conn.message);
		return 0;
	}
	if (r->nlines[account] + count > r->rooms[account])
	{
		r->rooms[account] = (r->nlines[account] + count) * 2;
		r->lines[account] = enlarge(r->lines[account], sizeof(Line) * r->rooms[account]);
	}
	memcpy(r->lines[account] + r->nlines[account], lines, sizeof(Line) * count);
	r->nlines[account] += count;
	return count;
}

/* Sums over the accounts, in one snapshot */
static void
look_at_sums(Reader *r)
{
	const char *ledger = r->load->ledger;

	if (chance(&r->random, 50) &&
		conn_number(&r->conn, "SELECT coalesce(sum((keep.balance('%s', id)).balance), 0) FROM %s"
							  " WHERE shard ="
					" (SELECT min(shard) FROM %s)", ledger, ledger, ledger) != 0)
		complain("the balances do not add up to zero");
	if (conn_number(&r->conn, "SELECT abs(sum(credits_posted - debits_posted))"
					" + abs(sum(credits_pending - debits_pending)) FROM %s", ledger) != 0)
		complain("the counters do not add up to zero");
	if (chance(&r->random, 10))
		check_verify(&r->conn);
}

void *
load_reader(void *arg)
{
	Reader	   *r = arg;

	if (!conn_open(&r->conn, r->load->info, r->load->ledger))
		die("cannot connect: %s", r->conn.message);
	while (!atomic_load(&r->load->readers_stop) && complaints() == 0)
	{
		if (r->load->phase->history)
			read_lines(r, draw_between(&r->random, 0, OTHER_UNIT),
					   draw_between(&r->random, 1, LINES));
		if (chance(&r->random, 10))
			look_at_sums(r);
		r->looks++;
		usleep(draw_between(&r->random, 0, 3000));
	}
	return NULL;
}

/* When all others are done: the rest of each statement. */
void
load_read_rest(Reader *r)
{
	for (int account = 0; account <= OTHER_UNIT && r->load->phase->history; account++)
		while (read_lines(r, account, LINES) > 0)
			;
	look_at_sums(r);
	conn_close(&r->conn);
}
