/*
 * transfer.h
 *		The engine: a batch of transfers; a single one is a batch of one.
 */
#ifndef KEEP_TRANSFER_H
#define KEEP_TRANSFER_H

#include "postgres.h"

#include "transfer_item.h"

extern void transfer_batch_run(TransferBatch *batch);

#endif							/* KEEP_TRANSFER_H */
