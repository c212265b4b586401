/*
 * textmap.c
 *		A hash table from texts to pointers.
 *
 * Texts are equal where their bytes are, and ordered as collation "C" does.
 * Keys are not copied: they must live as long as the table.
 */
#include "postgres.h"

#include "compat.h"
#include "textmap.h"

#include "common/hashfn.h"

typedef struct TextEntry
{
	const text *key;
	void	   *value;
	uint32		hash;
	char		status;
} TextEntry;

static inline uint32
hash_text(const text *key)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
}

bool
keep_text_equal(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* As collation "C" orders: byte by byte. */
int
keep_text_compare(const text *a, const text *b)
{
	Size		length_a = VARSIZE_ANY_EXHDR(a);
	Size		length_b = VARSIZE_ANY_EXHDR(b);
	int			order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(length_a, length_b));

	if (order != 0)
		return order;
	return length_a < length_b ? -1 : length_a > length_b;
}

#define SH_PREFIX textmap
#define SH_ELEMENT_TYPE TextEntry
#define SH_KEY_TYPE const text *
#define SH_KEY key
#define SH_HASH_KEY(tb, key) hash_text(key)
#define SH_EQUAL(tb, a, b) keep_text_equal(a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* An empty table in "context". */
KeepTextMap *
keep_textmap_create(MemoryContext context, int expected)
{
	return textmap_create(context, expected, NULL);
}

/* The place for the value of a key, which is added where it is not there. */
void **
keep_textmap_insert(KeepTextMap *map, const text *key, bool *found)
{
	return &textmap_insert(map, key, found)->value;
}

/* The value of a key, or NULL. */
void *
keep_textmap_find(KeepTextMap *map, const text *key)
{
	TextEntry  *entry = textmap_lookup(map, key);

	return entry ? entry->value : NULL;
}

/* Remove a key if it is there. */
void
keep_textmap_remove(KeepTextMap *map, const text *key)
{
	(void) textmap_delete(map, key);
}
