/*
 * error.h
 *		SQLSTATEs of pg_keep's own class KP.
 *
 * The numbers are those of the HTTP status that a service would answer with.
 * Everything else is reported under PostgreSQL's standard codes.
 */
#ifndef KEEP_ERROR_H
#define KEEP_ERROR_H

#include "postgres.h"

#define ERRCODE_KEEP_NOT_FOUND			MAKE_SQLSTATE('K', 'P', '4', '0', '4')
#define ERRCODE_KEEP_STALE				MAKE_SQLSTATE('K', 'P', '4', '1', '2')
#define ERRCODE_KEEP_MISMATCH			MAKE_SQLSTATE('K', 'P', '4', '2', '2')
#define ERRCODE_KEEP_UNKNOWN_OUTCOME	MAKE_SQLSTATE('K', 'P', '4', '2', '3')

#endif							/* KEEP_ERROR_H */
