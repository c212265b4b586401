/*
 * prune.h
 *		Making the room of deleted rows usable before the next vacuum.
 */
#ifndef KEEP_PRUNE_H
#define KEEP_PRUNE_H

#include "postgres.h"

#include "storage/block.h"
#include "utils/relcache.h"

/* Pages of a table from which rows were deleted. */
typedef struct KeepPages
{
	BlockNumber *blocks;		/* in TopMemoryContext; NULL: none yet */
	int			count;
	int			room;
} KeepPages;

extern void keep_pages_add(KeepPages *pages, BlockNumber block);
extern void keep_pages_prune(KeepPages *pages, Oid relid);

#endif							/* KEEP_PRUNE_H */
