/*
 * history.h
 *		Histories of calls on stores and leases, and what each call may do to an entry.
 *
 * A history holds every call with its answer and the time between which and which it ran. The
 * checker looks for an order of all calls on a key that explains every answer. The versions of
 * the key give the order of the writes; a call that came after another had ended stands behind it.
 *
 * Two clocks: the order of calls goes by one that nobody sets (inv, comp: nanoseconds), lives by
 * the one that the server goes by as well (from, to: microseconds since 1970).
 */
#ifndef HISTORY_H
#define HISTORY_H

#include "stress.h"

#define FOREVER INT64_MAX
#define CLOCKS_APART 200		/* microseconds, at most, within one call */
#define ANY_VERSION INT64_C(-1)

typedef enum StoreCall
{
	DO_GET, DO_GET_ENTRY, DO_GET_MANY, DO_GET_AND_TOUCH, DO_WAIT_FOR, DO_PUT, DO_PUT_MANY,
	DO_PUT_BATCH, DO_PUT_IF_ABSENT, DO_SWAP, DO_INCREMENT, DO_MERGE, DO_TOUCH, DO_PERSIST,
	DO_DELETE, DO_ACQUIRE, DO_RENEW, DO_RELEASE, DO_ASSERT, DO_EXPIRE,
	DO_HOLD,					/* not a call: at the end of a transaction that asserted a lease */
	STORE_CALLS
} StoreCall;

/* What a call answered. */
typedef enum Said
{
	SAID_NOTHING,				/* no row, or NULL */
	SAID_ENTRY,
	SAID_FRESH, SAID_EXISTS, SAID_STALE, SAID_ABSENT,
	SAID_CREATED, SAID_UPDATED, SAID_TOUCHED, SAID_PERSISTED, SAID_DELETED, SAID_RENEWED,
	SAID_RELEASED,
	SAID_ACQUIRED, SAID_TAKEN,	/* by another owner */
	SAID_LOCKED,				/* somebody is at work on it */
	SAID_PASSED, SAID_REFUSED,	/* assert_lease */
	SAID_SWEPT,					/* expire; how many stands in "n" of the answer */
	SAIDS
} Said;

/* A value: {"m": m, "n": n, "w": w}, each of them or not; or that of a lease. */
typedef struct StoreValue
{
	unsigned	has;
	int64_t		n;				/* what increment counts */
	int64_t		w;				/* who wrote it: each call has its own number */
	int64_t		m;				/* what some patches set or remove */
	int			owner;
} StoreValue;

#define HAS_N 1
#define HAS_W 2
#define HAS_M 4
#define HAS_OWNER 8
#define DROPS_M 16				/* of a patch: "m": null */

/* What renews an entry's life, and for how long. */
typedef struct StoreRule
{
	const char *name;			/* of the store */
	int64_t		ttl;			/* microseconds, 0: none */
	int64_t		longest;		/* microseconds, 0: no limit */
	bool		access;			/* touches renew it */
	bool		fixed;			/* nothing does */
	bool		leases;
} StoreRule;

typedef enum Fate
{
	OPEN, COMMITTED, ABORTED
} Fate;

typedef struct Txn
{
	Fate		fate;
	bool		repeatable;
	bool		single;			/* one call in autocommit */
	int64_t		snapshot_inv;	/* of its first statement */
	int64_t		snapshot_comp;
	int64_t		end_inv;		/* of its COMMIT or ROLLBACK */
	int64_t		end_comp;
} Txn;

/* A call on one key; a call on many keys is several of them, and expire is on any of its store. */
typedef struct StoreOp
{
	StoreCall	call;
	int			key;
	int			worker;
	int			part;			/* of the transaction, between savepoints; 0: outside of them */
	bool		undone;			/* its savepoint has been rolled back */
	bool		answered;
	bool		unknown;		/* nobody knows whether it has happened */
	Txn		   *txn;
	int64_t		inv;
	int64_t		comp;
	int64_t		from;
	int64_t		to;
	/* arguments */
	int64_t		expected;		/* version or token */
	int64_t		ttl;			/* microseconds, 0: none */
	int64_t		by;
	int64_t		wait;			/* microseconds */
	StoreValue	value;
	/* answer */
	Said		said;
	int64_t		version;		/* 0: not told */
	StoreValue	answer;
	int64_t		expires;
	int64_t		created;		/* 0: not told */
	int64_t		updated;
} StoreOp;

/* What may be under a key; of what was not seen only bounds are known. */
typedef struct State
{
	bool		there;			/* if it lives is a matter of the clock */
	bool		hidden;			/* its version is not known, but above "version" */
	int64_t		version;		/* also where it has been deleted */
	StoreValue	value;
	int64_t		expires_low;
	int64_t		expires_high;
	int64_t		created_low;
	int64_t		created_high;
	int64_t		updated_low;
	int64_t		updated_high;
} State;

/* What is wrong with a history. */
typedef struct Findings
{
	bool		loud;
	int			count;
	char		first[1200];
} Findings;

typedef struct History
{
	const StoreRule *rules;		/* by key */
	const int  *rule_of;
	int			keys;
	StoreOp		  **ops;			/* of each worker in the order in which it called */
	long		count;
	Findings	findings;
	bool		dump;			/* show the calls on the first key with findings */
	bool		reaper;			/* it has run beside */
	StoreOp   **sweeps;			/* the calls of expire */
	long		nsweeps;
	struct Row *rows;			/* that they may have deleted */
	long		nrows;
	long		rows_room;
	/* counts of what has been checked */
	long		writes;
	long		looks;
	long		unseen;			/* writes that nobody saw, but that must have been */
	long		unknown;
	long		happened;		/* of them: that must have */
	long		locked;
	long		by_reaper;		/* of them: by nobody else */
	long		swept;
} History;

/* history_state.c: what an answer says of a state */
extern const char *store_call_name(StoreCall call);
extern const char *said_name(Said said);
extern bool same_value(const StoreValue *a, const StoreValue *b);
extern const char *show_value(const StoreValue *value);
extern const char *show_op(const StoreOp *op);
extern const char *show_state(const State *state);
extern bool writes_surely(const StoreOp *op);
extern bool may_write(const StoreRule *rule, const StoreOp *op);
extern State state_said(const StoreOp *op);
extern bool can_say(StoreCall call, int64_t expected, Said how);
extern bool predict(const StoreRule *rule, const State *before, const StoreOp *op, Said how,
					State *after);
extern bool agrees(const State *after, const StoreOp *op);
extern bool fits(const StoreRule *rule, const State *before, const StoreOp *op);
extern bool fits_since(const StoreRule *rule, const State *before, int64_t inv,
					   const StoreOp *op);

/* history_check.c */
extern void found(Findings *findings, const char *format,
				  ...) __attribute__((format(printf, 2, 3)));
extern void check_history(History *history);

/* history_steps.c: the writes of one key, in order */
typedef struct Step
{
	State		state;			/* that it led to */
	const StoreOp *first;			/* of its writes; NULL: not known yet */
	bool		sure;			/* it did write */
	bool		assumed;		/* nobody saw it */
	int64_t		inv;			/* when it was committed */
	int64_t		comp;
	int64_t		moment;			/* of a lease: when the server set its end */
	bool		swapped;		/* with the one before it, already */
} Step;

/* A state that a call saw, or NULL in "op" */
typedef struct Look
{
	const StoreOp *op;
	int64_t		inv;
	int64_t		comp;
} Look;

typedef struct Unknown
{
	const StoreOp *op;
	bool		used;
} Unknown;

/* The calls on one key. */
typedef struct KeyHistory
{
	History    *history;
	const StoreRule *rule;
	int			key;
	Step	   *steps;
	int			nsteps;
	Look	   *looks;
	int			nlooks;
	Unknown    *unknown;
	int			nunknown;
	int64_t    *dirty;			/* versions that nobody should have seen */
	int			ndirty;
	StoreOp		   *made;			/* ops that are no calls */
	int			nmade;
} KeyHistory;

extern void collect_key(KeyHistory *k, StoreOp **ops, int count);
extern void order_steps(KeyHistory *k);
extern bool chain_steps(KeyHistory *k);
extern bool assume_step(KeyHistory *k, const Look *look, int low, int high);

/* history_beside.c: who may have held a row, and what an expire may have deleted */
extern bool may_lock(const StoreOp *op);
extern void collect_sweeps(History *history);
extern void check_locked(const KeyHistory *k, StoreOp **ops, int count);
extern void collect_rows(const KeyHistory *k);
extern void check_sweeps(History *history);

/* history_test.c: histories of which it is known whether they are good */
extern int	history_selftest(void);

#endif							/* HISTORY_H */
