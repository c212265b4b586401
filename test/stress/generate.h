/*
 * generate.h
 *		Random operations, aimed at the edges by what the model knows.
 */
#ifndef GENERATE_H
#define GENERATE_H

#include "model.h"

typedef enum OpKind
{
	OP_ITEM, OP_BATCH, OP_OPEN, OP_LIMITS, OP_FREEZE, OP_BALANCE, OP_STATEMENT, OP_EXPIRE, OP_CLOCK,
		OP_VERIFY
} OpKind;

typedef struct Op
{
	OpKind		kind;
	Item		items[MAX_ITEMS];	/* one, or a batch */
	int			count;
	Way			way;
	bool		exceptions;
	int			account;
	int			unit;
	int			shards;
	Maybe		min;
	Maybe		max;
	bool		frozen;
	int			rows;
	int64_t		clock;
} Op;

typedef struct Generator
{
	Random		random;
	Model	   *model;
	int			next_id;		/* no id from here on was ever used */
	int			max_batch;
	int			batches;		/* percent of the operations that are batches */
	int64_t		margin;			/* what to leave to the end of bigint */
} Generator;

#define ACCOUNTS 25
#define NEVER_OPENED 24			/* this one */
#define FIRST_BIG 19			/* this and the next get sums near the end of bigint */
#define HOLD_UNIT 600000		/* holds last multiples of ten minutes, and so does time go on */

extern const char *unit_name(int unit);
extern void generate_terms(int account, Op *op);
extern void generate(Generator *generator, Op *op);

#endif							/* GENERATE_H */
