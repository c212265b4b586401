/*
 * preload.h
 *		Shared memory, where the server loads the library at its start.
 */
#ifndef KEEP_PRELOAD_H
#define KEEP_PRELOAD_H

#include "postgres.h"

#include "compat.h"

#include "storage/lwlock.h"

extern void keep_preload_init(void);
extern void keep_preload_add(Size size, void (*startup) (void));
extern LWLock *keep_preload_lock(void);
pg_noreturn extern void keep_preload_missing(const char *what);

#endif							/* KEEP_PRELOAD_H */
