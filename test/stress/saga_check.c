/*
 * saga_check.c
 *		Do the answers of the calls fit to the events of the sagas?
 */
#include "saga_load.h"

#include <stdlib.h>
#include <string.h>

#define LATE INT64_MAX

static int
by_saga(const void *a, const void *b)
{
	const Event *x = a;
	const Event *y = b;

	if (x->saga != y->saga)
		return x->saga < y->saga ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static StepStatus
status_of(PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NO_STEP :
		step_status_number(PQgetvalue(result, row, column));
}

static SagaState
state_of(PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NO_SAGA :
		saga_state_number(PQgetvalue(result, row, column));
}

static void
read_event(PGresult *result, int row, Event *e)
{
	bool		effect;

	memset(e, 0, sizeof(*e));
	e->id = result_number(result, row, 0).v;
	e->at = result_number(result, row, 1).v;
	e->xid = result_number(result, row, 2).v;
	e->what = PQgetvalue(result, row, 3)[0];
	effect = e->what == 'd' || e->what == 'u';
	e->saga = effect ? result_number(result, row, 4).v : name_number(PQgetvalue(result, row, 4));
	e->step = e->what == 's' ? 0 : effect ? result_number(result, row, 5).v :
		name_number(PQgetvalue(result, row, 5));
	if (e->saga < 0)
		die("whose event is that: %s", PQgetvalue(result, row, 4));
	if (e->what == 's')
	{
		e->from = state_of(result, row, 6);
		e->to = state_of(result, row, 7);
	}
	else if (e->what == 'p')
	{
		e->old_status = status_of(result, row, 6);
		e->status = status_of(result, row, 7);
	}
	e->old_token = result_number(result, row, 8).v;
	e->token = result_number(result, row, 9).v;
	e->old_lease = result_number(result, row, 10);
	e->lease = result_number(result, row, 11);
	e->old_retry = result_number(result, row, 12);
	e->retry = result_number(result, row, 13);
	e->old_attempts = result_number(result, row, 14).v;
	e->attempts = result_number(result, row, 15).v;
	e->compensation = PQgetvalue(result, row, 16)[0] == 't';
	e->result = PQgetisnull(result, row, 17) ? NO_VALUE : result_number(result, row, 17).v;
	e->other = result_number(result, row, 18).v == 1;
	e->known = LATE;
}

static void
read_events(SagaEvents *all, Conn *conn)
{
	static const char sql[] =
		"SELECT id, (extract(epoch FROM at) * 1000000)::bigint, xid::text, what, saga, step,"
		" old_status, status, old_token, token, (extract(epoch FROM old_lease) * 1000000)::bigint,"
		" (extract(epoch FROM lease) * 1000000)::bigint,"
		" (extract(epoch FROM old_retry) * 1000000)::bigint,"
		" (extract(epoch FROM retry) * 1000000)::bigint, old_attempts, attempts, compensation,"
		" nullif(result, 'null'), other FROM saga_events ORDER BY id";
	PGresult   *result = conn_query(conn, sql, 0, NULL);

	if (result == NULL)
		die("%s", conn->message);
	all->count = PQntuples(result);
	all->events = allot(sizeof(Event) * all->count);
	for (int i = 0; i < all->count; i++)
	{
		read_event(result, i, &all->events[i]);
		if (all->events[i].saga >= all->nsagas)
			all->nsagas = all->events[i].saga + 1;
	}
	PQclear(result);
	qsort(all->events, all->count, sizeof(Event), by_saga);
	all->first = allot(sizeof(int) * (all->nsagas + 1));
	for (int i = all->count - 1, saga = all->nsagas; saga >= 0; saga--)
	{
		while (i >= 0 && all->events[i].saga >= saga)
			i--;
		all->first[saga] = i + 1;
	}
}

/* The event that a call made by its answer, or NULL */
static Event *
event_of(const SagaEvents *all, const SagaFact *f)
{
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		Event	   *e = &all->events[i];
		bool		found = false;

		if (e->what != (f->kind == RUN_STEP ? 'd' : 'p') || e->step != f->step)
			continue;
		switch (f->kind)
		{
			case RUN_STEP:
				found = e->id == f->result;
				break;
			case ENTER_STEP:
				found = e->status == T_RUNNING && e->token == f->new_token;
				break;
			case LEAVE_STEP:
				found = e->old_status == T_RUNNING && e->status == f->status &&
					e->token == f->token && e->result == f->value;
				break;
			case CLAIM:
				found = e->status == T_COMPENSATING && e->token == f->new_token &&
					e->result == f->result;
				break;
			default:
				found = e->old_status == T_COMPENSATING && e->old_token == f->token &&
					(f->ok ? e->status == T_COMPENSATED : e->attempts == e->old_attempts + 1);
		}
		if (found)
			return e;
	}
	return NULL;
}

/* Did a call change a step, by its answer? */
static bool
made_event(const SagaFact *f)
{
	if (f->unknown || f->error[0])
		return false;
	return f->kind == RUN_STEP ? f->status == T_DONE : f->kind == ENTER_STEP ? f->status == T_RUN :
		f->kind == LEAVE_STEP || f->kind == CLAIM || f->kind == FINISH;
}

static void
check_maker(const SagaEvents *all, const SagaFact *f)
{
	Event	   *e = event_of(all, f);

	if (f->kind == LEAVE_STEP && f->status != (f->ok ? T_DONE : T_FAILED))
		complain("left in another way: %s", show_saga_fact(f));
	if (e == NULL)
	{
		complain("lost: %s", show_saga_fact(f));
		return;
	}
	if (f->ended < e->known)
		e->known = f->ended;
	if (e->at > f->ended)
		complain("answered before it was made: %s by %s", show_saga_fact(f), show_event(e));
	if (e->at < f->began && !f->replayed && f->kind != LEAVE_STEP && f->kind != FINISH)
		complain("made before it was asked for: %s by %s", show_event(e), show_saga_fact(f));
}

/* Did the saga leave this state before, so that others knew it? */
static bool
was_visible(const SagaEvents *all, const SagaFact *f, SagaState state)
{
	bool		entered = false;

	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		if (e->what == 's' && e->to == state && e->from != state && e->at <= f->ended)
			entered = true;
		else if (e->what == 's' && e->from == state && e->to != state && e->known < f->began)
			entered = false;
	}
	return entered;
}

/* What an answer says of the state of a saga */
static void
check_state(const SagaEvents *all, const SagaFact *f)
{
	if (!was_visible(all, f, f->state))
		complain("the saga was not %s then: %s", saga_state_name(f->state), show_saga_fact(f));
}

/* A step that was done, or was to be: the saga must have gone forward, in time. */
static void
check_forward(const SagaEvents *all, const SagaFact *f)
{
	bool		runs = f->kind == ENTER_STEP ? f->status != T_DONE : !f->replayed;
	Maybe		deadline = NOTHING;

	if (!was_visible(all, f, S_RUNNING) && (runs || !was_visible(all, f, S_COMPLETED)))
		complain("a step of a saga that does not go forward: %s", show_saga_fact(f));
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
		if (all->events[i].what == 's')
			deadline = all->events[i].lease;
	if (deadline.set && deadline.v < f->began && runs)
		complain("past the deadline %s: %s", show(deadline), show_saga_fact(f));
}

/* A step that was refused: the saga no longer ran. It is known from then on. */
static void
check_refused(const SagaEvents *all, const SagaFact *f)
{
	bool		known = false;

	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		known = known || (e->what == 'p' && e->step == f->step && e->at <= f->ended);
	}
	if (!known)
		complain("refused without a trace: %s", show_saga_fact(f));
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		if (e->what == 's' && e->to != S_RUNNING && e->at <= f->ended)
			return;
	}
	complain("refused for no reason: %s", show_saga_fact(f));
}

/* Another has the step, or it is done. */
static void
check_found(const SagaEvents *all, const SagaFact *f)
{
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		if (e->what != 'p' || e->step != f->step || e->at > f->ended)
			continue;
		if (f->status == T_BUSY ? e->status == T_RUNNING && e->lease.v > f->began :
			e->status == T_DONE && e->result == f->result)
			return;
	}
	complain("there was nothing like it: %s", show_saga_fact(f));
}

/* Is this what the call asked for, done before it was asked? Then it had to say so again. */
static bool
is_done_before(const Event *e, const SagaFact *f)
{
	bool		same_answer = f->kind == LEAVE_STEP ?
		e->status == (f->ok ? T_DONE : T_FAILED) && e->result == f->value :
		f->ok && e->status == T_COMPENSATED;

	return same_answer && e->token == f->token && e->known < f->began;
}

/* KP412: somebody else must have had the step by then, or it was left or finished. */
static void
check_stale(const SagaEvents *all, const SagaFact *f)
{
	const Event *granted = NULL;
	const Event *last = NULL;

	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		if (e->what != 'p' || e->step != f->step || e->at > f->ended)
			continue;
		if (e->token == f->token && e->old_token != f->token)
			granted = e;
		last = e;
	}
	if (granted == NULL || last == granted || is_done_before(last, f))
		complain("refused, though nobody had taken over: %s", show_saga_fact(f));
}

/* KP422: the step has other arguments. */
static void
check_mismatch(const SagaEvents *all, const SagaFact *f)
{
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		if (e->what == 'p' && e->step == f->step && e->at <= f->ended && e->other != f->other)
			return;
	}
	complain("not another step: %s", show_saga_fact(f));
}

/* KP404: the saga, or the step, may have been there only since. */
static void
check_missing(const SagaEvents *all, const SagaFact *f)
{
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		const Event *e = &all->events[i];

		if (e->what == 's' && e->from == NO_SAGA && e->known < f->began)
			complain("there is such a saga: %s", show_saga_fact(f));
	}
}

static void
check_answer(const SagaEvents *all, const SagaFact *f)
{
	if (f->unknown || f->kind == RUN_DUE || f->kind == CLAIM)
		return;
	if (strcmp(f->error, "KP412") == 0)
		check_stale(all, f);
	else if (strcmp(f->error, "KP422") == 0)
		check_mismatch(all, f);
	else if (strcmp(f->error, "KP404") == 0)
		check_missing(all, f);
	else if (f->error[0])
		return;
	else if (f->status == T_REFUSED)
		check_refused(all, f);
	else if (f->kind == RUN_STEP || f->kind == ENTER_STEP)
	{
		check_forward(all, f);
		if (f->kind == ENTER_STEP && f->status != T_RUN)
			check_found(all, f);
	}
	else if (f->state != NO_SAGA)
		check_state(all, f);
}

/* Each step that was done says so once for the first time. */
static void
check_firsts(const SagaEvents *all, const SagaWorker *workers)
{
	char	   *firsts = allot((size_t) all->nsagas * (SAGA_STEPS + 1));

	for (int w = 0; w < all->load->workers; w++)
		for (int i = 0; i < workers[w].nfacts; i++)
		{
			const SagaFact *f = &workers[w].facts[i];

			if (f->kind == RUN_STEP && made_event(f) && !f->replayed &&
				firsts[f->saga * (SAGA_STEPS + 1) + f->step]++ > 0)
				complain("done for the first time, again: %s", show_saga_fact(f));
		}
	free(firsts);
}

/* An answer that tells a state shows that all that led to it was committed. */
static void
note_known(const SagaEvents *all, const SagaFact *f)
{
	for (int i = all->first[f->saga]; i < all->first[f->saga + 1]; i++)
	{
		Event	   *e = &all->events[i];
		bool		shown = e->from == NO_SAGA || (e->from == S_RUNNING && f->state != S_RUNNING) ||
			((e->to == S_COMPLETED || e->to == S_COMPENSATED) && f->state == e->to);

		if (e->what == 's' && e->from != e->to && shown && f->ended < e->known)
			e->known = f->ended;
	}
}

void
check_sagas(SagaLoad *load, SagaWorker *workers, Conn *conn)
{
	SagaEvents	all = {.load = load};

	read_events(&all, conn);
	walk_sagas(&all);
	for (int w = 0; w < load->workers; w++)
		for (int i = 0; i < workers[w].nfacts; i++)
		{
			SagaFact   *f = &workers[w].facts[i];

			/* nothing ever happened to it */
			if (f->saga >= all.nsagas)
				f->unknown = true;
			else if (f->state != NO_SAGA && !f->error[0] && !f->unknown)
				note_known(&all, f);
			if (made_event(f))
				check_maker(&all, f);
		}
	check_firsts(&all, workers);
	for (int w = 0; w < load->workers && complaints() == 0; w++)
		for (int i = 0; i < workers[w].nfacts; i++)
			check_answer(&all, &workers[w].facts[i]);
	free(all.events);
	free(all.first);
}
