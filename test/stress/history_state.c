/*
 * history_state.c
 *		What each function may do to an entry in a given state, and what it may answer.
 *
 * This is what docs/store.md promises of each call, as a predicate: may the answer have been
 * given in this state, at a moment between the two times of the call?
 */
#include "history.h"

#include <string.h>

static const char *const calls[STORE_CALLS] = {
	"get", "get_entry", "get_many", "get_and_touch", "wait_for", "put", "put_many", "put_batch",
	"put_if_absent", "compare_and_swap", "increment", "merge", "touch", "persist", "delete",
	"acquire", "renew", "release", "assert_lease", "expire", "the lease asserted before"
};

static const char *const saids[SAIDS] = {
	"nothing", "entry", "fresh", "exists", "stale", "absent", "created", "updated", "touched",
	"persisted", "deleted", "renewed", "released", "acquired", "taken", "locked", "passed",
	"refused", "swept"
};

const char *
store_call_name(StoreCall call)
{
	return calls[call];
}

const char *
said_name(Said said)
{
	return saids[said];
}

bool
same_value(const StoreValue *a, const StoreValue *b)
{
	return a->has == b->has && (!(a->has & HAS_N) || a->n == b->n) &&
		(!(a->has & HAS_W) || a->w == b->w) && (!(a->has & HAS_M) || a->m == b->m) &&
		(!(a->has & HAS_OWNER) || a->owner == b->owner);
}

static char *
buffer(void)
{
	static __thread char buffers[40][300];
	static __thread int next = 0;

	next = (next + 1) % lengthof(buffers);
	return buffers[next];
}

static int
add_member(char *text, int used, bool there, const char *name, int64_t number)
{
	if (!there)
		return used;
	return used + sprintf(text + used, "%s%s %lld", used > 1 ? ", " : "", name,
						  (long long) number);
}

const char *
show_value(const StoreValue *value)
{
	char	   *text = buffer();
	int			used = sprintf(text, "{");

	used = add_member(text, used, value->has & HAS_N, "n", value->n);
	used = add_member(text, used, value->has & HAS_W, "w", value->w);
	used = add_member(text, used, value->has & HAS_M, "m", value->m);
	used = add_member(text, used, value->has & HAS_OWNER, "owner", value->owner);
	sprintf(text + used, "}");
	return text;
}

static const char *
show_time(int64_t time)
{
	char	   *text = buffer();

	if (time == FOREVER)
		return "never";
	/* the seconds of the hour are enough to tell them apart */
	snprintf(text, 300, "%.6f", (double) (time % INT64_C(3600000000)) / 1e6);
	return text;
}

const char *
show_op(const StoreOp *op)
{
	char	   *text = buffer();

	snprintf(text, 300, "%s of worker %d (expected %lld, ttl %lld, %s, by %lld): %s, version"
			 " %lld, %s, ends %s, created %s; called %s to %s, at %lld to %lld",
			 calls[op->call], op->worker, (long long) op->expected, (long long) op->ttl,
			 show_value(&op->value), (long long) op->by,
			 op->answered ? saids[op->said] : "no answer", (long long) op->version,
			 show_value(&op->answer), show_time(op->expires), show_time(op->created),
			 show_time(op->from),
			 show_time(op->to), (long long) op->inv / 1000, (long long) op->comp / 1000);
	return text;
}

const char *
show_state(const State *state)
{
	char	   *text = buffer();

	if (state->version == 0 && !state->there)
		return "nothing has been there";
	snprintf(text, 300, "%sversion %s%lld, %s, ends %s, created %s to %s",
			 state->there ? "" : "deleted ", state->hidden ? "above " : "",
			 (long long) state->version, show_value(&state->value),
			 show_time(state->expires_high), show_time(state->created_low),
			 show_time(state->created_high));
	return text;
}

/* Was it there and not over, at some time of the call? */
static bool
may_live(const State *state, const StoreOp *op)
{
	return state->there && state->expires_high > op->from;
}

static bool
may_be_absent(const State *state, const StoreOp *op)
{
	return !state->there || state->expires_low <= op->to;
}

/* Of an entry that nobody saw the version is not known. */
static bool
may_be_version(const State *state, int64_t version)
{
	return state->hidden ? version > state->version : version == state->version;
}

static bool
within(int64_t number, int64_t low, int64_t high)
{
	return number == 0 || (number >= low && number <= high);
}

/* Is this the entry that the call has told of? */
static bool
same_entry(const State *state, const StoreOp *op)
{
	if (!same_value(&state->value, &op->answer))
		return false;
	if (op->call == DO_GET)
		return true;
	if (!may_be_version(state, op->version))
		return false;
	return op->expires >= state->expires_low && op->expires <= state->expires_high &&
		within(op->created, state->created_low, state->created_high) &&
		within(op->updated, state->updated_low, state->updated_high);
}

/* Does the answer say that it has written, whatever there was before? */
bool
writes_surely(const StoreOp *op)
{
	switch (op->said)
	{
		case SAID_CREATED:
		case SAID_UPDATED:
		case SAID_TOUCHED:
		case SAID_DELETED:
		case SAID_RENEWED:
		case SAID_RELEASED:
			return true;
		default:
			return false;
	}
}

/* No life is longer than the store allows, from its creation on. */
static int64_t
cap(const StoreRule *rule, int64_t created, int64_t expires)
{
	if (rule->longest == 0 || created == FOREVER || created + rule->longest > expires)
		return expires;
	return created + rule->longest;
}

/* May it have written? */
bool
may_write(const StoreRule *rule, const StoreOp *op)
{
	int64_t		ttl = op->ttl ? op->ttl : rule->access ? rule->ttl : 0;

	if (op->call == DO_GET_AND_TOUCH)
		return op->said == SAID_ENTRY && ttl > 0 && op->expires <= op->to + ttl &&
			op->expires >= cap(rule, op->created, op->from + ttl);
	return writes_surely(op) || op->said == SAID_PERSISTED || op->said == SAID_ACQUIRED;
}

/* The state that a write says it has left. */
State
state_said(const StoreOp *op)
{
	State		state = {.there = op->said != SAID_DELETED && op->said != SAID_RELEASED,
						 .version = op->version, .value = op->answer,
						 .expires_low = op->expires, .expires_high = op->expires,
						 .created_high = FOREVER, .updated_high = FOREVER};

	if (op->said == SAID_CREATED)
	{
		state.created_low = op->from;
		state.created_high = op->to;
	}
	if (op->said == SAID_CREATED || op->said == SAID_UPDATED)
	{
		state.updated_low = op->from;
		state.updated_high = op->to;
	}
	return state;
}

/* Set the end of a life: ttl from the time of the call on; 0: never. */
static void
live_for(const StoreRule *rule, State *state, const StoreOp *op, int64_t ttl)
{
	state->expires_low = cap(rule, state->created_low, ttl ? op->from + ttl : FOREVER);
	state->expires_high = cap(rule, state->created_high, ttl ? op->to + ttl : FOREVER);
}

static bool
predict_created(const StoreRule *rule, const State *before, const StoreOp *op, State *after)
{
	if (!may_be_absent(before, op))
		return false;
	after->there = true;
	after->hidden = true;
	after->value = op->value;
	if (op->call == DO_INCREMENT)
		after->value = (StoreValue) {.has = HAS_N, .n = op->by};
	after->created_low = after->updated_low = op->from;
	after->created_high = after->updated_high = op->to;
	live_for(rule, after, op, op->ttl ? op->ttl : rule->ttl);
	return true;
}

/* RFC 7396, as far as our values go */
static void
merge_value(StoreValue *value, const StoreValue *patch)
{
	if (patch->has & HAS_N)
		value->n = patch->n;
	if (patch->has & HAS_W)
		value->w = patch->w;
	if (patch->has & HAS_M)
		value->m = patch->m;
	value->has |= patch->has & (HAS_N | HAS_W | HAS_M);
	if (patch->has & DROPS_M)
		value->has &= ~HAS_M;
}

static bool
predict_updated(const StoreRule *rule, const State *before, const StoreOp *op, State *after)
{
	bool		put = op->call == DO_PUT || op->call == DO_PUT_MANY || op->call == DO_PUT_BATCH;
	int64_t		ttl = op->ttl ? op->ttl : rule->ttl;

	if (!may_live(before, op))
		return false;
	if ((op->call == DO_SWAP || op->call == DO_MERGE) && op->expected != ANY_VERSION &&
		!may_be_version(before, op->expected))
		return false;
	after->hidden = true;
	if (op->call == DO_MERGE)
		merge_value(&after->value, &op->value);
	else if (op->call == DO_INCREMENT)
	{
		after->value.n = (before->value.has & HAS_N ? before->value.n : 0) + op->by;
		after->value.has |= HAS_N;
	}
	else
		after->value = op->value;
	if (!rule->fixed && (put || ttl > 0))
		live_for(rule, after, op, ttl);
	after->updated_low = op->from;
	after->updated_high = op->to;
	return true;
}

/* A touch of one's own ttl whenever it prolongs, another when a tenth of the ttl has passed. */
static bool
predict_touched(const StoreRule *rule, const State *before, const StoreOp *op, State *after)
{
	int64_t		ttl = op->ttl ? op->ttl : rule->access ? rule->ttl : 0;

	if (!may_live(before, op) || ttl == 0 ||
		(op->call == DO_ACQUIRE && !same_value(&before->value, &op->value)))
		return false;
	live_for(rule, after, op, ttl);
	if (after->expires_high <= before->expires_low)
		return false;
	return op->ttl > 0 || after->expires_high - before->expires_low >= ttl / 10;
}

/* A touch that answers "fresh" must not have been due. */
static bool
surely_due(const StoreRule *rule, const State *state, const StoreOp *op)
{
	if (state->expires_high == FOREVER)
		return false;
	if (op->ttl > 0)
		return cap(rule, state->created_low, op->from + op->ttl) > state->expires_high;
	return rule->access && op->from + rule->ttl - state->expires_high >= rule->ttl / 10;
}

/* Which answers there are to a call that writes */
bool
can_say(StoreCall call, int64_t expected, Said how)
{
	switch (how)
	{
		case SAID_CREATED:
			return call == DO_PUT || call == DO_PUT_MANY || call == DO_PUT_BATCH ||
				call == DO_PUT_IF_ABSENT || (call == DO_SWAP && expected == 0) ||
				call == DO_INCREMENT || call == DO_ACQUIRE;
		case SAID_UPDATED:
			return call == DO_PUT || call == DO_PUT_MANY || call == DO_PUT_BATCH ||
				(call == DO_SWAP && expected != 0) || call == DO_INCREMENT || call == DO_MERGE;
		case SAID_TOUCHED:
			return call == DO_TOUCH || call == DO_GET_AND_TOUCH || call == DO_ACQUIRE;
		case SAID_PERSISTED:
			return call == DO_PERSIST;
		case SAID_DELETED:
			return call == DO_DELETE;
		case SAID_RENEWED:
			return call == DO_RENEW;
		case SAID_RELEASED:
			return call == DO_RELEASE;
		default:
			return false;
	}
}

/*
 * What becomes of a state by a call that answers "how". False where it cannot answer that.
 */
bool
predict(const StoreRule *rule, const State *before, const StoreOp *op, Said how, State *after)
{
	bool		held = may_live(before, op) &&
		(op->expected == ANY_VERSION || may_be_version(before, op->expected));

	*after = *before;
	if (!can_say(op->call, op->expected, how))
		return false;
	switch (how)
	{
		case SAID_CREATED:
			return predict_created(rule, before, op, after);
		case SAID_UPDATED:
			return predict_updated(rule, before, op, after);
		case SAID_TOUCHED:
			return predict_touched(rule, before, op, after);
		case SAID_PERSISTED:
			live_for(rule, after, op, 0);
			return may_live(before, op);
		case SAID_RENEWED:
			live_for(rule, after, op, op->ttl);
			return held;
		case SAID_DELETED:
		case SAID_RELEASED:
			after->there = false;
			return held;
		default:
			return false;
	}
}

/* Is the state that was predicted the one that the call has told of? */
bool
agrees(const State *after, const StoreOp *op)
{
	State		state = *after;

	/* what was deleted is told as it was */
	state.there = true;
	return same_entry(&state, op);
}

/* The same owner keeps the token, and the end of the lease or a later one. */
static bool
fits_acquired(const StoreRule *rule, const State *before, const StoreOp *op)
{
	State		after;

	if (may_live(before, op) && same_value(&before->value, &op->value) && same_entry(before, op))
		return true;
	if (predict(rule, before, op, SAID_TOUCHED, &after) && agrees(&after, op))
		return true;
	return predict(rule, before, op, SAID_CREATED, &after) && agrees(&after, op);
}

static bool
fits_entry(const StoreRule *rule, const State *before, const StoreOp *op)
{
	State		after;

	if (op->call == DO_WAIT_FOR && op->version <= op->expected)
		return false;
	if (op->call == DO_GET_AND_TOUCH && predict(rule, before, op, SAID_TOUCHED, &after) &&
		agrees(&after, op))
		return true;
	if (!may_live(before, op) || !same_entry(before, op))
		return false;
	return op->call != DO_GET_AND_TOUCH || !surely_due(rule, before, op);
}

/* May the call have met this state? */
bool
fits(const StoreRule *rule, const State *before, const StoreOp *op)
{
	bool		same = may_live(before, op) && same_entry(before, op);
	bool		expected = before->there && may_be_version(before, op->expected);
	State		after;

	switch (op->said)
	{
		case SAID_NOTHING:
			return may_be_absent(before, op) ||
				(op->call == DO_WAIT_FOR && before->version <= op->expected);
		case SAID_ENTRY:
			return fits_entry(rule, before, op);
		case SAID_FRESH:
			return same && !surely_due(rule, before, op);
		case SAID_EXISTS:
			return same && (op->call == DO_PUT_IF_ABSENT || op->expected == 0);
		case SAID_STALE:
			return same && op->expected != ANY_VERSION && op->version != op->expected;
		case SAID_ABSENT:
			return may_be_absent(before, op) && !(op->call == DO_SWAP && op->expected == 0);
		case SAID_ACQUIRED:
			return fits_acquired(rule, before, op);
		case SAID_TAKEN:
			return may_live(before, op) && before->value.has == HAS_OWNER &&
				before->value.owner == op->answer.owner &&
				op->answer.owner != op->value.owner && op->expires >= before->expires_low &&
				op->expires <= before->expires_high;
		case SAID_LOCKED:
			/* a row that is over; who has locked it is looked for by check_locked() */
			return before->there && may_be_absent(before, op);
		case SAID_PASSED:
			return op->call == DO_HOLD ? expected : expected && may_live(before, op);
		case SAID_REFUSED:
			return !expected || before->hidden || may_be_absent(before, op);
		default:
			return predict(rule, before, op, op->said, &after) && agrees(&after, op);
	}
}

/* Does the answer say that the entry was live when the call met it? */
static bool
says_live(const StoreOp *op)
{
	switch (op->said)
	{
		case SAID_NOTHING:
		case SAID_ABSENT:
		case SAID_CREATED:
		case SAID_ACQUIRED:
		case SAID_LOCKED:
		case SAID_REFUSED:
			return false;
		default:
			return op->call != DO_HOLD;
	}
}

/*
 * The same of a state that was not there before "inv". A call that has waited for it must not go
 * by what the time was when it began.
 */
bool
fits_since(const StoreRule *rule, const State *before, int64_t inv, const StoreOp *op)
{
	if (inv > op->inv && says_live(op) &&
		before->expires_high <= op->from + (inv - op->inv) / 1000 - CLOCKS_APART)
		return false;
	return fits(rule, before, op);
}
