/*
 * draw.h
 *		The last number that was drawn from a sequence.
 */
#ifndef KEEP_DRAW_H
#define KEEP_DRAW_H

#include "postgres.h"

#include "access/xlogdefs.h"

extern int64 keep_last_draw(Oid sequence, XLogRecPtr *lsn);

#endif							/* KEEP_DRAW_H */
