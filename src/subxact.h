/*
 * subxact.h
 *		Work in a subtransaction of its own.
 */
#ifndef KEEP_SUBXACT_H
#define KEEP_SUBXACT_H

#include "postgres.h"

/* Does some work; false: it is to be undone, and its locks given back. */
typedef bool (*KeepWork) (void *arg);

extern ErrorData *keep_subxact(KeepWork work, void *arg, bool *done);
extern char *keep_error_text(const ErrorData *error);
extern bool keep_passes_through(const ErrorData *error);
extern bool keep_subxact_or_rethrow(KeepWork work, void *arg);

#endif							/* KEEP_SUBXACT_H */
