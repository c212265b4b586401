/*
 * draw.c
 *		The last number that was drawn from a sequence.
 *
 * Versions and tokens rise because they are drawn under the lock of their row.
 * An INSERT draws before it may have to wait for a rival under the same key;
 * where others have drawn since, it draws once more when the row is its own.
 */
#include "postgres.h"

#include "draw.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/*
 * The last number drawn by anybody, from the page of the sequence, and the LSN
 * of that page.  This transaction has drawn one, and so holds a lock on it.
 */
int64
keep_last_draw(Oid sequence, XLogRecPtr *lsn)
{
	Relation	rel = relation_open(sequence, NoLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	Page		page;
	HeapTupleHeader tuple;
	int64		last;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	last = ((Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff))->last_value;
	*lsn = PageGetLSN(page);
	UnlockReleaseBuffer(buffer);
	relation_close(rel, NoLock);
	return last;
}
