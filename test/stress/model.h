/*
 * model.h
 *		What a ledger must answer: a model of its rules, for one caller at a time.
 *
 * Written from the description of the ledger alone; it shares no code and no
 * idea with the extension.  Everything is undone by a log of old states, so
 * that it can follow savepoints.
 */
#ifndef MODEL_H
#define MODEL_H

#include "stress.h"

typedef struct ModelAccount
{
	bool		open;
	int			unit;
	int			shards;
	bool		frozen;
	Maybe		min;
	Maybe		max;
	Maybe		opened_min;
	Maybe		opened_max;
	int64_t		debits_posted;
	int64_t		credits_posted;
	int64_t		debits_pending; /* of holds that are not over */
	int64_t		credits_pending;
	int			lines;			/* of the statement */
} ModelAccount;

typedef struct ModelTransfer
{
	Status		status;
	Reason		reason;
	bool		reversal;
	bool		metadata;
	bool		force;
	bool		settled;		/* by post or void */
	int			from;
	int			to;
	int			original;
	int			chain;
	int			hold;
	Maybe		asked;
	Maybe		amount;			/* posted, or else asked */
	Maybe		part;			/* asked of post_transfer */
	Maybe		from_balance;	/* after the first run */
	Maybe		to_balance;
	Maybe		settled_from;	/* after post or void */
	Maybe		settled_to;
	Maybe		created;		/* as answered */
	Maybe		expires;
	int64_t		reversed;
	int64_t		over_at;		/* of a hold, by the model's clock */
} ModelTransfer;

typedef struct Undo
{
	int			account;		/* or -1 */
	int			transfer;
	union
	{
		ModelAccount account;
		ModelTransfer transfer;
	}			old;
} Undo;

typedef struct Model
{
	ModelAccount accounts[MAX_ACCOUNTS];
	Line	   *lines[MAX_ACCOUNTS];
	int			line_room[MAX_ACCOUNTS];
	ModelTransfer *transfers;	/* by id */
	int			room;
	int		   *holds;			/* ids that were pending at some time */
	int			nholds;
	int			hold_room;
	Undo	   *log;
	int			logged;
	int			log_room;
	int64_t		clock;			/* milliseconds */
	const char *error;			/* the SQLSTATE that is expected, or NULL */
} Model;

/* model.c */
extern Model *model_new(int room);
extern void model_free(Model *model);
extern void model_rollback(Model *model, int mark);
extern void model_advance(Model *model, int64_t clock);
extern ModelAccount *model_account(Model *model, int account);
extern ModelTransfer *model_transfer(Model *model, int id);
extern Reason model_decide(Model *model, int from, int to, Maybe amount, bool force);
extern void model_stand(Model *model, int from, int to, Answer *answer);
extern bool model_fits(Model *model, int from, int to, int64_t amount);
extern void model_store(Model *model, const Item *item, Reason reason, Answer *answer);
extern bool model_repeats(const ModelTransfer *old, const Item *item);
extern void model_replay(Model *model, int id, bool settling, Answer *answer);
extern bool model_item(Model *model, const Item *item, Answer *answer);
extern Balance model_balance(Model *model, int account);
extern bool model_open(Model *model, int account, int unit, Maybe min, Maybe max, int shards);
extern void model_check(Model *model);

/* model_batch.c */
extern int	model_batch(Model *model, const Item *items, int count, Way way, bool exceptions,
						Answer *answers);

#endif							/* MODEL_H */
