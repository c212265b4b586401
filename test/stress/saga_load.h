/*
 * saga_load.h
 *		Many connections at work on the sagas of one log, and the facts that they gather.
 *
 * Triggers on both tables write down every change while the saga is locked, and
 * local actions and compensations write their effects into the same table: so
 * the events of a saga have an order. Sagas and steps are numbers here.
 */
#ifndef SAGA_LOAD_H
#define SAGA_LOAD_H

#include "request.h"

#include <pthread.h>
#include <stdatomic.h>

#define SAGA_WORKERS 32
#define SAGA_STEPS 5

typedef enum SagaState
{
	NO_SAGA, S_RUNNING, S_COMPLETED, S_COMPENSATING, S_COMPENSATED, S_STUCK, SAGA_STATES
} SagaState;

/* What a step is in the table, and what calls say of one. */
typedef enum StepStatus
{
	NO_STEP, T_RUNNING, T_FAILED, T_DONE, T_COMPENSATING, T_COMPENSATED, T_REFUSED, T_RUN, T_BUSY,
	STEP_STATUSES
} StepStatus;

typedef enum SagaKind
{
	BEGIN_SAGA, RUN_STEP, ENTER_STEP, LEAVE_STEP, COMPLETE_SAGA, COMPENSATE_SAGA, RUN_COMPENSATIONS,
	RUN_DUE, CLAIM, FINISH, RESUME, SAGA_KINDS
} SagaKind;

typedef struct SagaPhase
{
	const char *name;
	int			sagas;			/* in use at once */
	int			uses;			/* of a saga before another takes its place */
	int			max_attempts;
	int			lease;			/* milliseconds at most */
	int			nap;			/* microseconds of work at most */
	int			back;			/* percent of the calls go back */
	int			deadlines;		/* percent of the sagas */
	int			remote;			/* percent of the steps */
	int			accidents;		/* percent of the calls */
	bool		crash;			/* the server is killed at times */
} SagaPhase;

/* What one call said; of a claim, about one compensation. */
typedef struct SagaFact
{
	SagaKind	kind;
	int			saga;
	int			step;
	bool		other;			/* with other arguments than the step has */
	bool		ok;
	int64_t		token;
	int64_t		value;			/* result that was sent */
	SagaState	state;
	StepStatus	status;
	int64_t		new_token;		/* and these it answered */
	int64_t		result;
	bool		replayed;
	bool		unknown;		/* the connection was lost */
	Accident	accident;
	char		error[6];
	int64_t		began;
	int64_t		ended;
} SagaFact;

typedef struct SagaLoad
{
	const SagaPhase *phase;
	const char *info;
	uint64_t	seed;
	int			workers;
	long		calls;			/* for each of them */
	int			levels;			/* percent of the connections that are not READ COMMITTED */
	atomic_long uses;			/* of sagas, by all */
	atomic_long next_value;
	atomic_bool stop;
	atomic_long lost;			/* connections */
} SagaLoad;

typedef struct SagaWorker
{
	pthread_t	thread;
	SagaLoad   *load;
	Conn		conn;
	Random		random;
	int			number;
	int			level;			/* 0: READ COMMITTED */
	SagaFact   *facts;
	int			nfacts;
	int			room;
	long		calls;
} SagaWorker;

/* saga_send.c: one call, and its facts */
extern const char *saga_kind_name(SagaKind kind);
extern const char *saga_state_name(SagaState state);
extern SagaState saga_state_number(const char *name);
extern const char *step_status_name(StepStatus status);
extern StepStatus step_status_number(const char *name);
extern const char *show_saga_fact(const SagaFact *fact);
extern bool step_is_remote(const SagaLoad *load, int saga, int step);
extern bool step_has_compensation(int saga, int step);
extern bool saga_connect(SagaWorker *worker);
extern int	saga_send(SagaWorker *worker, SagaFact fact);

/* saga_load.c */
extern int	saga_main(const char *info, int argc, char **argv);

/* saga_check.c, saga_walk.c: afterwards */
typedef struct Event
{
	int64_t		id;
	int64_t		at;
	int64_t		xid;
	int			saga;
	int			step;			/* 0: of the saga itself */
	char		what;			/* s: a saga, p: a step, d: an action's effect, u: an undoing */
	SagaState	from;
	SagaState	to;
	StepStatus	old_status;
	StepStatus	status;
	int64_t		old_token;
	int64_t		token;
	Maybe		old_lease;
	Maybe		lease;			/* of a saga: its deadline */
	Maybe		old_retry;
	Maybe		retry;
	int			old_attempts;
	int			attempts;
	bool		compensation;	/* has one */
	int64_t		result;
	bool		other;			/* with other arguments */
	int64_t		known;			/* some call's answer shows that it is committed */
} Event;

typedef struct SagaEvents
{
	SagaLoad   *load;
	Event	   *events;			/* by saga, then in order */
	int			count;
	int			nsagas;
	int		   *first;			/* by saga; one more at the end */
} SagaEvents;

extern const char *show_event(const Event *event);
extern void walk_sagas(SagaEvents *all);
extern void check_sagas(SagaLoad *load, SagaWorker *workers, Conn *conn);

#endif							/* SAGA_LOAD_H */
