/*
 * store.h
 *		Stores: the kind of table whose entries are kept under a key.
 */
#ifndef KEEP_STORE_H
#define KEEP_STORE_H

#include "postgres.h"

#include "store_sql.h"

extern const KeepKind keep_store_kind;

#endif							/* KEEP_STORE_H */
