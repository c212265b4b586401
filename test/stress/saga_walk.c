/*
 * saga_walk.c
 *		Goes through the events of each saga: is every one allowed after those before it?
 *
 * The rules here are the contract's: an action has its effect once, and only
 * while its saga is running; a compensation runs once, only after its action, in
 * strict reverse order of completion, and never while a step may be running.
 */
#include "saga_load.h"

#include <string.h>

/* What is known of a step after some of its saga's events. */
typedef struct Step
{
	StepStatus	status;
	int64_t		token;
	Maybe		lease;
	Maybe		retry;
	int			attempts;
	bool		compensation;
	int			place;			/* of its completion; 0: none */
	int			actions;		/* effects */
	int64_t		result;			/* of the action */
	int			undoings;
} Step;

typedef struct Walk
{
	const SagaEvents *all;
	int			saga;
	SagaState	state;			/* by the events so far */
	SagaState	before;			/* when the transaction began */
	SagaState	after;			/* and when it had ended */
	Step		steps[SAGA_STEPS + 1];
	int			last_place;
} Walk;

const char *
show_event(const Event *e)
{
	static __thread char buffers[2][500];
	static __thread int next = 0;
	char	   *buffer = buffers[next = 1 - next];

	snprintf(buffer, sizeof(buffers[0]), "event %lld (%c) at %lld of saga %d, step %d, transaction"
			 " %lld: %s -> %s, %s -> %s, token %lld -> %lld, lease %s -> %s, attempts %d -> %d,"
			 " result %lld", (long long) e->id, e->what, (long long) e->at, e->saga, e->step,
			 (long long) e->xid, saga_state_name(e->from), saga_state_name(e->to),
			 step_status_name(e->old_status), step_status_name(e->status),
			 (long long) e->old_token, (long long) e->token, show(e->old_lease), show(e->lease),
			 e->old_attempts, e->attempts, (long long) e->result);
	return buffer;
}

static bool
going_back(SagaState state)
{
	return state == S_COMPENSATING || state == S_COMPENSATED || state == S_STUCK;
}

/* Does everything go forward in this transaction? */
static bool
going_forward(const Walk *w)
{
	return w->before == S_RUNNING && w->after == S_RUNNING;
}

/* A saga's own row changes. */
static const char *
wrong_saga(Walk *w, const Event *e)
{
	SagaState	from = w->state;

	if (e->from != from)
		return "not the state that was left";
	w->state = e->to;
	if (e->to == NO_SAGA)
		return "a saga is gone";
	if (from == NO_SAGA)
		return e->to == S_RUNNING ? NULL : "a saga does not begin with running";
	if (from == e->to)
		return NULL;
	if (from == S_COMPLETED || from == S_COMPENSATED)
		return "a saga goes on after its end";
	if (e->to == S_RUNNING || (e->to == S_COMPLETED && from != S_RUNNING))
		return "not a state to come to from there";
	for (int i = 1; i <= SAGA_STEPS; i++)
	{
		StepStatus	status = w->steps[i].status;

		if (e->to == S_COMPLETED && status == T_RUNNING)
			return "completed while a step is running";
		if (e->to == S_COMPENSATED &&
			(status == T_RUNNING || status == T_DONE || status == T_COMPENSATING))
			return "compensated, but not all of it";
		if (e->to == S_STUCK && w->steps[i].attempts >= w->all->load->phase->max_attempts)
			return NULL;
	}
	return e->to == S_STUCK ? "stuck without a reason" : NULL;
}

/* Is it this step's turn to be compensated? */
static const char *
wrong_turn(const Walk *w, const Event *e)
{
	const Step *step = &w->steps[e->step];

	if (!going_back(w->after))
		return "compensated in a saga that goes forward";
	if (step->retry.set && step->retry.v > e->at)
		return "compensated before the rest is over";
	for (int i = 1; i <= SAGA_STEPS; i++)
	{
		const Step *other = &w->steps[i];

		if (i == e->step)
			continue;
		if (other->status == T_COMPENSATING)
			return "compensated while another compensation is under way";
		/* one that was claimed goes on, also when a step is left late that seemed lost by then */
		if (step->status == T_COMPENSATING)
			continue;
		if (other->status == T_RUNNING &&
			(step->status != T_RUNNING || other->lease.v > e->at))
			return "compensated while another step may be running";
		if (other->status == T_DONE && step->status != T_RUNNING && other->place > step->place)
			return "not in reverse order of completion";
	}
	return NULL;
}

/* A step that has nothing to undo may be passed over at any time. */
static const char *
wrong_passing(const Walk *w)
{
	return going_back(w->after) ? NULL : "compensated in a saga that goes forward";
}

/* Nothing but the attempts and the back-off changes. */
static const char *
wrong_failure(const Walk *w, const Event *e)
{
	int64_t		rest = INT64_C(1000000) << (e->attempts > 20 ? 20 : e->attempts - 1);

	if (e->attempts == 0)
		return e->retry.set ? "resumed, but not at once" : NULL;
	if (e->attempts != e->old_attempts + 1)
		return "attempts are miscounted";
	if (!e->retry.set || e->retry.v > e->at + rest)
		return "the rest is too long";
	if (e->attempts >= w->all->load->phase->max_attempts && w->after != S_STUCK)
		return "not stuck after its last attempt";
	return wrong_turn(w, e);
}

/* A local action has its effect, and the step is stored; or a remote one is entered. */
static const char *
wrong_new_step(const Walk *w, const Event *e)
{
	if (e->status == T_REFUSED)
		return w->before == S_RUNNING && w->after == S_RUNNING ? "refused in a running saga" : NULL;
	if (!going_forward(w))
		return "a step begins in a saga that does not go forward";
	if (e->status == T_DONE)
		return w->steps[e->step].actions == 1 && w->steps[e->step].result == e->result ? NULL :
			"done without its action, or with another result";
	return e->status == T_RUNNING ? NULL : "not a status to begin with";
}

static const char *
wrong_running_step(const Walk *w, const Event *e)
{
	bool		over = e->old_lease.v <= e->at;

	switch (e->status)
	{
		case T_RUNNING:
			return !over ? "entered while the lease lives" : e->token <= e->old_token ?
				"tokens do not rise" : going_forward(w) ? NULL : "entered, but too late";
		case T_FAILED:
		case T_DONE:
			return e->token != e->old_token ? "the token changes" :
				w->before == S_COMPLETED || w->before == S_COMPENSATED ? "left after the end" :
				NULL;
		case T_COMPENSATING:
			return !over ? "claimed while the lease lives" : e->token <= e->old_token ?
				"tokens do not rise" : wrong_turn(w, e);
		case T_COMPENSATED:
			return !over ? "passed over while the lease lives" : e->compensation ?
				"passed over, though there is something to undo" : wrong_passing(w);
		default:
			return "not a status to come to from there";
	}
}

static const char *
wrong_done_step(const Walk *w, const Event *e, bool remote)
{
	const Step *step = &w->steps[e->step];

	if (e->status == T_DONE && !remote)
		return wrong_failure(w, e);
	/* claimed; or its compensation is about to run in the same transaction */
	if (e->status == T_COMPENSATING)
		return e->token <= e->old_token ? "tokens do not rise" : wrong_turn(w, e);
	if (e->status != T_COMPENSATED)
		return "not a status to come to from there";
	if (e->compensation && remote)
		return "compensated without being claimed";
	if (!e->compensation)
		return wrong_passing(w);
	return step->undoings == 1 ? wrong_turn(w, e) : "compensated without its compensation";
}

static const char *
wrong_claimed_step(const Walk *w, const Event *e)
{
	if (e->status == T_COMPENSATED && !step_is_remote(w->all->load, e->saga, e->step))
		return w->steps[e->step].undoings == 1 ? NULL : "compensated without its compensation";
	if (e->status == T_COMPENSATED)
		return e->token != e->old_token ? "the token changes" : going_back(w->before) ? NULL :
			"compensated in a saga that goes forward";
	if (e->status != T_COMPENSATING)
		return "not a status to come to from there";
	if (e->attempts != e->old_attempts)
		return wrong_failure(w, e);
	if (same(e->old_lease, e->lease) && e->token == e->old_token)
		return NULL;
	return e->old_lease.set && e->old_lease.v > e->at ? "claimed while a claim lives" :
		e->token <= e->old_token ? "tokens do not rise" : wrong_turn(w, e);
}

/* A step's row changes. */
static const char *
wrong_step(Walk *w, const Event *e)
{
	Step	   *step = &w->steps[e->step];
	bool		remote = step_is_remote(w->all->load, e->saga, e->step);
	const char *wrong;

	if (e->old_status != step->status || (step->status != NO_STEP && e->old_token != step->token))
		return "not what the event before left";
	switch (step->status)
	{
		case NO_STEP:
			wrong = wrong_new_step(w, e);
			break;
		case T_RUNNING:
			wrong = wrong_running_step(w, e);
			break;
		case T_FAILED:
			wrong = e->status != T_RUNNING ? "a failed step is not to be touched" :
				going_forward(w) ? NULL : "entered, but too late";
			break;
		case T_DONE:
			wrong = wrong_done_step(w, e, remote);
			break;
		case T_COMPENSATING:
			wrong = wrong_claimed_step(w, e);
			break;
		default:
			wrong = "this was the end of it";
	}
	/* one whose outcome is unknown counts as the latest */
	if ((e->status == T_DONE && step->status != T_DONE) ||
		(e->status == T_COMPENSATING && step->status == T_RUNNING))
		step->place = ++w->last_place;
	step->status = e->status;
	step->token = e->token;
	step->lease = e->lease;
	step->retry = e->retry;
	step->attempts = e->attempts;
	step->compensation = e->compensation;
	return wrong;
}

/* The effect of an action or of a compensation */
static const char *
wrong_effect(Walk *w, const Event *e)
{
	Step	   *step = &w->steps[e->step];

	if (step_is_remote(w->all->load, e->saga, e->step))
		return "a function ran for a remote step";
	if (e->what == 'd')
		step->result = e->id;
	if (e->what == 'd')
		return ++step->actions > 1 ? "an action has run twice" : step->status != NO_STEP ?
			"an action has run for a step that is known" : going_forward(w) ? NULL :
			"an action has run in a saga that does not go forward";
	if (++step->undoings > 1)
		return "a compensation has run twice";
	if (e->result != step->result)
		return "a compensation was not told what the action returned";
	return step->status != T_DONE && step->status != T_COMPENSATING ?
		"a compensation of a step that has not happened" : wrong_turn(w, e);
}

/* After the transaction: what it has run, it has recorded. */
static void
end_transaction(Walk *w, const Event *last)
{
	for (int i = 1; i <= SAGA_STEPS; i++)
	{
		const Step *step = &w->steps[i];

		if (step->actions > 0 && step->status == NO_STEP)
			complain("an action without a record: step %d, %s", i, show_event(last));
		bool		remote = step_is_remote(w->all->load, w->saga, i);

		if ((step->undoings > 0 && step->status != T_COMPENSATED) ||
			(step->status == T_COMPENSATING && !remote))
			complain("a compensation without a record: step %d, %s", i, show_event(last));
	}
}

static void
walk_saga(Walk *w)
{
	const SagaEvents *all = w->all;
	int			until = all->first[w->saga + 1];

	for (int i = all->first[w->saga]; i < until; i++)
	{
		const Event *e = &all->events[i];
		const char *wrong;

		if (i == all->first[w->saga] || e->xid != e[-1].xid)
		{
			w->before = w->after = w->state;
			for (int n = i; n < until && all->events[n].xid == e->xid; n++)
				if (all->events[n].what == 's')
					w->after = all->events[n].to;
		}
		wrong = e->what == 's' ? wrong_saga(w, e) : e->step < 1 || e->step > SAGA_STEPS ?
			"there is no such step" : e->what == 'p' ? wrong_step(w, e) : wrong_effect(w, e);
		if (wrong)
			complain("%s: %s", wrong, show_event(e));
		if (i + 1 == until || e[1].xid != e->xid)
			end_transaction(w, e);
	}
	if (w->state != NO_SAGA && w->state != S_COMPLETED && w->state != S_COMPENSATED)
		complain("saga %d ends %s", w->saga, saga_state_name(w->state));
}

void
walk_sagas(SagaEvents *all)
{
	for (int saga = 0; saga < all->nsagas; saga++)
	{
		Walk		walk = {.all = all, .saga = saga};

		walk_saga(&walk);
	}
}
