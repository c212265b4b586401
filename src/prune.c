/*
 * prune.c
 *		Making the room of deleted rows usable before the next vacuum.
 *
 * Autovacuum visits a database once a minute.  Where rows live for half a
 * minute, there would be more dead ones than live ones by then, on pages that
 * nobody reads any more, so that nobody tidies them.  What is done here to a
 * page is what any reader of it may do: remove rows that nobody can see any
 * more; and the room is entered in the free space map.  Line pointers and index
 * entries are left to vacuum.
 */
#include "postgres.h"

#include "prune.h"

#include "access/heapam.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/freespace.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Note a page; one that was noted the last time is not noted again. */
void
keep_pages_add(KeepPages *pages, BlockNumber block)
{
	if (pages->count > 0 && pages->blocks[pages->count - 1] == block)
		return;
	if (pages->count == pages->room)
	{
		pages->room = Max(pages->room * 2, 64);
		pages->blocks = pages->blocks == NULL
			? MemoryContextAlloc(TopMemoryContext, pages->room * sizeof(BlockNumber))
			: repalloc(pages->blocks, pages->room * sizeof(BlockNumber));
	}
	pages->blocks[pages->count++] = block;
}

static int
compare_blocks(const void *a, const void *b)
{
	BlockNumber left = *(const BlockNumber *) a;
	BlockNumber right = *(const BlockNumber *) b;

	return left < right ? -1 : left > right;
}

/* Prune one page, unless it is in use, and return the room that it has. */
static Size
prune_page(Relation rel, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Size		room;

	heap_page_prune_opt(rel, buffer);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	room = PageGetHeapFreeSpace(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	return room;
}

/*
 * Prune the pages that have been noted and forget them.  The table is locked as
 * by a statement that writes.  Rows that somebody may still see stay; those who
 * deleted them have to have committed.
 */
void
keep_pages_prune(KeepPages *pages, Oid relid)
{
	Relation	rel;
	BlockNumber end;
	int			count = pages->count;

	if (count == 0)
		return;
	pages->count = 0;
	rel = table_open(relid, NoLock);
	if (rel->rd_rel->relam == HEAP_TABLE_AM_OID)
	{
		qsort(pages->blocks, count, sizeof(BlockNumber), compare_blocks);
		end = RelationGetNumberOfBlocks(rel);
		for (int i = 0; i < count; i++)
		{
			BlockNumber block = pages->blocks[i];

			CHECK_FOR_INTERRUPTS();
			if ((i == 0 || block != pages->blocks[i - 1]) && block < end)
				RecordPageWithFreeSpace(rel, block, prune_page(rel, block));
		}
		FreeSpaceMapVacuumRange(rel, pages->blocks[0], pages->blocks[count - 1] + 1);
	}
	table_close(rel, NoLock);
}
