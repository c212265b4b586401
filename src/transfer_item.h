/*
 * transfer_item.h
 *		One transfer of a batch: what it asks for, and the answer to it.
 */
#ifndef KEEP_TRANSFER_ITEM_H
#define KEEP_TRANSFER_ITEM_H

#include "postgres.h"

#include "ledger_path.h"

#define TRANSFER_MAX_ITEMS	100000

/* One transfer of a batch. */
typedef struct TransferItem
{
	TransferRow row;			/* as asked, then as it is to be stored */
	int64		asked;			/* LEDGER_NULL: what remains (a reversal) */
	struct TransferItem *first; /* the earlier one with the same id, or NULL */
	TransferRow *stored;		/* what was there under the id, or NULL */
	TransferRow *original;		/* what it reverses, or NULL */
	Account    *from;
	Account    *to;
	AccountRow *from_row;
	AccountRow *to_row;
	int			number;			/* place in the batch, from 0 */
	int			chain;			/* number of its chain, or -1 */
	int			previous;		/* the chain's item before it, or -1 */
	bool		applied;		/* its amount is in the accounts' counters */
	bool		culprit;		/* its chain failed for it */
} TransferItem;

/* Items with the same label, which succeed or fail together. */
typedef struct TransferChain
{
	int			first;			/* its first item */
	int			last;			/* the latest item that was passed, or -1 */
	int			passed;			/* how many were */
	bool		failed;
	bool		gone;			/* from this pass on: it failed among other items */
} TransferChain;

typedef struct TransferBatch
{
	LedgerWork	work;
	TransferItem *items;
	TransferItem **by_id;		/* ascending by (id, number) */
	int			nitems;
	TransferChain *chains;
	int			nchains;
} TransferBatch;

/* Is this an item that is to be stored? */
static inline bool
transfer_is_new(const TransferItem *item)
{
	return item->stored == NULL && item->first == NULL;
}

extern void transfer_batch_init(TransferBatch *batch, int nitems);
extern void transfer_check_name(const text *name, const char *what);
extern void transfer_check_request(const TransferItem *item);
extern bool transfer_same_request(const TransferItem *item, const TransferRow *stored);
extern bool transfer_same_items(const TransferItem *a, const TransferItem *b);
extern void transfer_mismatch_error(const text *id, const TransferRow *stored);
extern bool transfer_item_answer(const LedgerWork *work, const TransferItem *item,
								 Datum *values, bool *nulls);
extern void transfer_count(const LedgerWork *work, TransferStatus status, int64 n);
extern void transfer_count_replay(const LedgerWork *work);

#endif							/* KEEP_TRANSFER_ITEM_H */
