/*
 * textmap.h
 *		A hash table from texts to pointers.
 */
#ifndef KEEP_TEXTMAP_H
#define KEEP_TEXTMAP_H

#include "postgres.h"

typedef struct textmap_hash KeepTextMap;

extern KeepTextMap *keep_textmap_create(MemoryContext context, int expected);
extern void **keep_textmap_insert(KeepTextMap *map, const text *key, bool *found);
extern void *keep_textmap_find(KeepTextMap *map, const text *key);
extern void keep_textmap_remove(KeepTextMap *map, const text *key);
extern bool keep_text_equal(const text *a, const text *b);
extern int	keep_text_compare(const text *a, const text *b);

/* Are both there, and equal? */
static inline bool
keep_text_same(const text *a, const text *b)
{
	return a != NULL && b != NULL && keep_text_equal(a, b);
}

#endif							/* KEEP_TEXTMAP_H */
