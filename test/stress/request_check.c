/*
 * request_check.c
 *		Do the changes of a request log, its effects and the answers fit together?
 *
 * The changes of a key come in the order in which they were made. Where a
 * change was still uncommitted for others is not known better than by the
 * answer of the call that made it; so all checks are for what must not be,
 * whatever the timing was.
 */
#include "request_load.h"

#include <stdlib.h>
#include <string.h>

#define LATE INT64_MAX

/* What one transaction did to a record. */
typedef struct Change
{
	int64_t		id;
	int64_t		at;
	int64_t		known;			/* some call's answer shows that it is committed */
	int64_t		xid;
	int			key;
	RequestState from;
	RequestState to;			/* NO_RECORD: deleted */
	Maybe		old_token;
	Maybe		token;
	Maybe		old_lease;
	Maybe		lease;
	Maybe		finished;		/* of the old outcome, or the new one */
	int64_t		old_checkpoint;
	int64_t		checkpoint;
	int64_t		old_response;
	int64_t		response;
	Maybe		old_hash;
	Maybe		hash;
	Maybe		old_attempts;
	Maybe		attempts;
	bool		effect;
	bool		explained;		/* by a call */
} Change;

typedef struct Check
{
	RequestLoad *load;
	RequestWorker *workers;
	Change	   *changes;		/* by key, then in order */
	int			nchanges;
	int			nkeys;
	int		   *first;			/* by key; one more at the end */
	Maybe	   *hashes;			/* by key, request, and whether by call_once */
	Maybe	   *repeats;		/* scratch */
} Check;

static int64_t
number_or(PGresult *result, int row, int column, int64_t standard)
{
	Maybe		number = result_number(result, row, column);

	return number.set ? number.v : standard;
}

static RequestState
state_of(PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? NO_RECORD :
		request_state_number(PQgetvalue(result, row, column));
}

static int
key_number(const char *name)
{
	int			number = name_number(name);

	if (number < 0)
		die("whose key is \"%s\"?", name);
	return number;
}

static void
read_change(PGresult *result, int row, Change *c)
{
	memset(c, 0, sizeof(*c));
	c->id = result_number(result, row, 0).v;
	c->at = result_number(result, row, 1).v;
	c->xid = result_number(result, row, 2).v;
	c->key = key_number(PQgetvalue(result, row, 3));
	c->from = state_of(result, row, 4);
	c->to = state_of(result, row, 5);
	c->old_token = result_number(result, row, 6);
	c->token = result_number(result, row, 7);
	c->old_lease = result_number(result, row, 8);
	c->lease = result_number(result, row, 9);
	c->finished = result_number(result, row, 10);
	c->old_checkpoint = number_or(result, row, 11, NO_VALUE);
	c->checkpoint = number_or(result, row, 12, NO_VALUE);
	c->old_response = number_or(result, row, 13, NO_VALUE);
	c->response = number_or(result, row, 14, NO_VALUE);
	c->old_hash = result_number(result, row, 15);
	c->hash = result_number(result, row, 16);
	c->old_attempts = result_number(result, row, 17);
	c->attempts = result_number(result, row, 18);
	c->known = LATE;
}

static int
by_key(const void *a, const void *b)
{
	const Change *x = a;
	const Change *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Several changes in one transaction are one for everybody else. */
static void
join_changes(Check *check)
{
	int			kept = 0;

	for (int i = 0; i < check->nchanges; i++)
	{
		Change	   *c = &check->changes[i];
		Change	   *last = kept ? &check->changes[kept - 1] : NULL;

		if (last && last->key == c->key && last->xid == c->xid)
		{
			Change		first = *last;

			*last = *c;
			last->from = first.from;
			last->old_token = first.old_token;
			last->old_lease = first.old_lease;
			last->old_checkpoint = first.old_checkpoint;
			last->old_response = first.old_response;
			last->old_hash = first.old_hash;
			last->old_attempts = first.old_attempts;
		}
		else
			check->changes[kept++] = *c;
	}
	check->nchanges = kept;
}

static void
read_changes(Check *check, Conn *conn)
{
	static const char sql[] =
		"SELECT id, (extract(epoch FROM at) * 1000000)::bigint, xid::text, key, old_state,"
		" new_state, old_token, new_token, (extract(epoch FROM old_lease) * 1000000)::bigint,"
		" (extract(epoch FROM new_lease) * 1000000)::bigint,"
		" (extract(epoch FROM finished) * 1000000)::bigint, nullif(old_checkpoint, 'null'),"
		" nullif(new_checkpoint, 'null'), nullif(old_response, 'null'),"
		" nullif(new_response, 'null'),"
		" ('x' || left(encode(old_hash, 'hex'), 15))::bit(60)::bigint,"
		" ('x' || left(encode(new_hash, 'hex'), 15))::bit(60)::bigint, old_attempts, new_attempts"
		" FROM request_changes ORDER BY id";
	PGresult   *result = conn_query(conn, sql, 0, NULL);

	if (result == NULL)
		die("%s", conn->message);
	check->nchanges = PQntuples(result);
	check->changes = allot(sizeof(Change) * check->nchanges);
	for (int i = 0; i < check->nchanges; i++)
	{
		read_change(result, i, &check->changes[i]);
		if (check->changes[i].key >= check->nkeys)
			check->nkeys = check->changes[i].key + 1;
	}
	PQclear(result);
	qsort(check->changes, check->nchanges, sizeof(Change), by_key);
	join_changes(check);
	check->first = allot(sizeof(int) * (check->nkeys + 1));
	for (int i = check->nchanges - 1, key = check->nkeys; key >= 0; key--)
	{
		while (i >= 0 && check->changes[i].key >= key)
			i--;
		check->first[key] = i + 1;
	}
	check->hashes = allot(sizeof(Maybe) * check->nkeys * REQUESTS * 2);
}

static const char *
show_change(const Change *c)
{
	static __thread char buffers[2][500];
	static __thread int next = 0;
	char	   *buffer = buffers[next = 1 - next];

	snprintf(buffer, sizeof(buffers[0]), "change %lld at %lld of key %d: %s -> %s, token %s -> %s,"
			 " lease %s -> %s, finished %s, checkpoint %lld -> %lld, response %lld",
			 (long long) c->id, (long long) c->at, c->key, request_state_name(c->from),
			 request_state_name(c->to), show(c->old_token), show(c->token), show(c->old_lease),
			 show(c->lease), show(c->finished), (long long) c->old_checkpoint,
			 (long long) c->checkpoint, (long long) c->response);
	return buffer;
}

static const char *
show_fact(const RequestFact *f)
{
	static __thread char buffer[500];

	snprintf(buffer, sizeof(buffer), "%s of key %d, request %d, token %lld, value %lld, from %lld"
			 " until %lld: %s, token %lld, checkpoint %lld, response %lld%s %s",
			 request_kind_name(f->kind), f->key, f->request, (long long) f->token,
			 (long long) f->value, (long long) f->began, (long long) f->ended,
			 request_state_name(f->state), (long long) f->new_token, (long long) f->checkpoint,
			 (long long) f->response, f->replayed ? ", replayed" : "", f->error);
	return buffer;
}

static bool
is_outcome(RequestState state)
{
	return state == COMPLETED || state == FAILED;
}

/* The sweeper may note that it need not look at a record again soon: nothing that matters. */
static bool
is_tidying(const Change *c)
{
	return c->from == c->to && same(c->old_token, c->token) && same(c->old_hash, c->hash) &&
		same(c->old_lease, c->lease) && c->old_checkpoint == c->checkpoint &&
		c->old_response == c->response;
}

/* When nobody has to know an outcome any more */
static int64_t
kept_until(const Check *check, const Change *c)
{
	return check->load->phase->retain ? c->finished.v + check->load->phase->retain * 1000 : LATE;
}

/* What a change may do to a record, by the states that it leads from and to. */
static const char *
wrong_change(const Check *check, const Change *c, int64_t highest)
{
	bool		new_token = !same(c->old_token, c->token);
	bool		fresh = c->from == NO_RECORD || is_outcome(c->from);

	if (c->to == NO_RECORD)
		return !is_outcome(c->from) ? "a record without an outcome is gone" :
			kept_until(check, c) > c->at ? "an outcome was swept early" : NULL;
	if (new_token && c->token.v <= highest)
		return "tokens do not rise";
	if (is_tidying(c))
		return NULL;
	if (is_outcome(c->from) && is_outcome(c->to) && !new_token)
		return "an outcome has changed";
	if (fresh && !new_token)
		return "the token stays";
	if (fresh)
		return c->to == RELEASED ? "released at once" :
			c->to == IN_PROGRESS && (c->checkpoint != NO_VALUE || c->response != NO_VALUE) ?
			"something is left of another request" : NULL;
	if (!same(c->old_hash, c->hash))
		return "the request has changed";
	if (c->to == IN_PROGRESS && new_token)
		return c->from == IN_PROGRESS && c->old_lease.v > c->at ?
			"taken over while the lease lives" :
			c->checkpoint != c->old_checkpoint ? "the checkpoint is lost" :
			c->attempts.v != c->old_attempts.v + 1 ? "an attempt is not counted" : NULL;
	if (new_token)
		return "a new token for an old holder";
	return c->from == RELEASED ? "a released record changes" : NULL;
}

/* The records' own history */
static void
walk(Check *check)
{
	for (int key = 0; key < check->nkeys; key++)
	{
		int64_t		highest = 0;

		for (int i = check->first[key]; i < check->first[key + 1]; i++)
		{
			Change	   *c = &check->changes[i];
			Change	   *last = i > check->first[key] ? c - 1 : NULL;
			const char *wrong = wrong_change(check, c, highest);

			if (c->from != (last ? last->to : NO_RECORD) ||
				(last && last->to != NO_RECORD && !same(last->token, c->old_token)))
				wrong = "not what the change before left";
			/* an outcome that is replaced: it must be over. Its time is the one before's. */
			if (last && is_outcome(c->from) && !same(c->token, c->old_token) &&
				kept_until(check, last) > c->at && c->to != NO_RECORD)
				wrong = "an outcome is replaced early";
			if (wrong)
				complain("%s: %s", wrong, show_change(c));
			if (c->token.set && c->token.v > highest)
				highest = c->token.v;
		}
	}
}

/* Each outcome has one effect, and each effect an outcome. */
static void
check_effects(Check *check, Conn *conn)
{
	PGresult   *result = conn_query(conn, "SELECT op, key, token FROM request_effects", 0, NULL);

	if (result == NULL)
		die("%s", conn->message);
	for (int row = 0; row < PQntuples(result); row++)
	{
		int64_t		op = result_number(result, row, 0).v;
		bool		once = op < FIRST_OP;
		int			key = once ? result_number(result, row, 1).v :
			key_number(PQgetvalue(result, row, 1));
		Change	   *found = NULL;

		for (int i = key < check->nkeys ? check->first[key] : 0;
			 key < check->nkeys && i < check->first[key + 1]; i++)
		{
			Change	   *c = &check->changes[i];

			if (is_outcome(c->to) && c->response == op && !is_tidying(c))
				found = c;
		}
		if (found == NULL)
			complain("an effect without an outcome: %lld of key %d", (long long) op, key);
		else if (found->effect || (!once && found->token.v != result_number(result, row, 2).v))
			complain("an effect too many, or with another token: %lld, %s", (long long) op,
					 show_change(found));
		else
			found->effect = true;
	}
	for (int i = 0; i < check->nchanges; i++)
	{
		Change	   *c = &check->changes[i];

		if (is_outcome(c->to) && !is_tidying(c) && !c->effect)
			complain("an outcome without an effect: %s", show_change(c));
	}
	PQclear(result);
}

/* The change that a call made, which has told so, or NULL */
static Change *
change_of(const Check *check, const RequestFact *f)
{
	for (int i = check->first[f->key]; i < check->first[f->key + 1]; i++)
	{
		Change	   *c = &check->changes[i];
		bool		new_token = !same(c->old_token, c->token);

		if (f->kind == BEGIN ? new_token && c->to == IN_PROGRESS && c->token.v == f->new_token :
			f->kind == CHECKPOINT ? c->to == IN_PROGRESS && c->checkpoint == f->value &&
			!new_token && c->token.v == f->token :
			f->kind == RELEASE ? c->to == RELEASED && c->token.v == f->token :
			f->kind == ONCE ? c->to == COMPLETED && c->response == f->response && new_token :
			c->to == (f->kind == COMPLETE ? COMPLETED : FAILED) && c->response == f->value &&
			c->token.v == f->token && c->from == IN_PROGRESS)
			return c;
	}
	return NULL;
}

static Maybe *
hash_of(Check *check, const RequestFact *f)
{
	return &check->hashes[(f->key * REQUESTS + f->request) * 2 + f->once];
}

/* A call that changed a record, and said so: it stands, and when. */
static void
check_maker(Check *check, const RequestFact *f)
{
	Change	   *c = change_of(check, f);
	Maybe	   *hash = hash_of(check, f);

	if (c == NULL)
	{
		complain("lost: %s", show_fact(f));
		return;
	}
	c->explained = true;
	/* an outcome told again says only that it was there by then */
	if (f->ended < c->known)
		c->known = f->ended;
	if ((f->kind == BEGIN || f->kind == ONCE) && c->at < f->began)
		complain("made before it was asked for: %s by %s", show_change(c), show_fact(f));
	if (c->at > f->ended)
		complain("answered before it was made: %s by %s", show_fact(f), show_change(c));
	if (f->kind == BEGIN)
	{
		bool		started = c->from == NO_RECORD || is_outcome(c->from);

		if (started != (f->state == STARTED) || f->response != NO_VALUE ||
			f->checkpoint != (started ? NO_VALUE : c->old_checkpoint))
			complain("%s, but it was %s", show_fact(f), show_change(c));
	}
	if (f->kind != BEGIN && f->kind != ONCE)
		return;
	if (hash->set && hash->v != c->hash.v)
		complain("another hash of the same request: %s", show_fact(f));
	*hash = c->hash;
}

/* Did a call change something, by its answer? */
static bool
made_change(const RequestFact *f)
{
	if (f->unknown || f->error[0] || f->kind == EXPIRE)
		return false;
	return f->kind == BEGIN ? f->state == STARTED || f->state == RESUMED :
		f->kind != ONCE || !f->replayed;
}

/* May the record have been what this change left, when the call looked? */
static bool
seen(const Check *check, const Change *c, const RequestFact *f)
{
	const Change *next = c + 1 < check->changes + check->first[c->key + 1] ? c + 1 : NULL;

	if (c->at > f->ended || (next && next->known < f->began))
		return false;
	return !is_outcome(c->to) || kept_until(check, c) > f->began;
}

/* Does what a call says about a record agree with what this change left? */
static bool
agrees(Check *check, const Change *c, const RequestFact *f)
{
	Maybe		hash = *hash_of(check, f);
	bool		other = hash.set && hash.v != c->hash.v;

	if (strcmp(f->error, "KP422") == 0)
		return c->to != NO_RECORD && (other || !hash.set);
	if (other)
		return false;
	if (strcmp(f->error, "KP423") == 0)
		return f->indeterminate && c->to == IN_PROGRESS && c->lease.v <= f->ended;
	if (f->kind == ONCE || is_outcome(f->state))
		return c->to == (f->kind == ONCE ? COMPLETED : f->state) && c->response == f->response;
	return c->to == IN_PROGRESS && c->lease.v > f->began;
}

/* A call that found a record: there must have been one like that. */
static void
check_finder(Check *check, const RequestFact *f)
{
	for (int i = check->first[f->key]; i < check->first[f->key + 1]; i++)
		if (seen(check, &check->changes[i], f) && agrees(check, &check->changes[i], f))
			return;
	complain("there was nothing like it: %s", show_fact(f));
}

/* KP412: somebody else must have had the record by then, or it had its outcome. */
static void
check_stale(const Check *check, const RequestFact *f)
{
	const Change *granted = NULL;

	for (int i = check->first[f->key]; i < check->first[f->key + 1]; i++)
	{
		const Change *c = &check->changes[i];
		bool		same_outcome = c->to == (f->kind == COMPLETE ? COMPLETED : FAILED) &&
			c->response == f->value;

		if (c->token.set && c->token.v == f->token && !same(c->token, c->old_token))
			granted = c;
		else if (granted == NULL || (c->to == IN_PROGRESS && same(c->token, c->old_token)))
			continue;
		else if (same_outcome && c->known < f->began && kept_until(check, c) > f->ended &&
				 (f->kind == COMPLETE || f->kind == FAIL))
			break;
		else if (c->at <= f->ended)
			return;
	}
	complain("refused, though nobody had taken over: %s", show_fact(f));
}

static void
check_answer(Check *check, const RequestFact *f)
{
	if (f->kind == EXPIRE || f->unknown)
		return;
	if (f->state == IN_FLIGHT && (f->checkpoint != NO_VALUE || f->response != NO_VALUE ||
								  f->new_token != 0))
		complain("in flight, and more: %s", show_fact(f));
	if (f->state == IN_FLIGHT && f->ended - f->began < f->waits * 1000)
		complain("did not wait %d ms: %s", f->waits, show_fact(f));
	if (strcmp(f->error, "KP412") == 0)
		check_stale(check, f);
	else if (f->error[0] ? strncmp(f->error, "KP42", 4) == 0 : !made_change(f))
		check_finder(check, f);
}

/* Changes that no answer tells of can only be those of calls whose answer was lost. */
static void
check_explained(const Check *check)
{
	long		unexplained = 0;
	long		lost = 0;

	for (int i = 0; i < check->nchanges; i++)
	{
		const Change *c = &check->changes[i];

		unexplained += c->to != NO_RECORD && !c->explained && !is_tidying(c);
	}
	for (int w = 0; w < check->load->workers; w++)
		for (int i = 0; i < check->workers[w].nfacts; i++)
			lost += check->workers[w].facts[i].unknown;
	if (unexplained > lost)
		complain("%ld changes that nobody made, and only %ld answers were lost", unexplained, lost);
}

void
check_requests(RequestLoad *load, RequestWorker *workers, Conn *conn)
{
	Check		check = {.load = load, .workers = workers};

	read_changes(&check, conn);
	for (int w = 0; w < load->workers; w++)
		for (int i = 0; i < workers[w].nfacts; i++)
			if (workers[w].facts[i].key >= check.nkeys)
				workers[w].facts[i].unknown = true;
	walk(&check);
	check_effects(&check, conn);
	for (int w = 0; w < load->workers; w++)
		for (int i = 0; i < workers[w].nfacts; i++)
			if (made_change(&workers[w].facts[i]))
				check_maker(&check, &workers[w].facts[i]);
	for (int w = 0; w < load->workers; w++)
		for (int i = 0; i < workers[w].nfacts; i++)
			check_answer(&check, &workers[w].facts[i]);
	check_explained(&check);
	free(check.changes);
	free(check.first);
	free(check.hashes);
}
