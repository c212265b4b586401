/*
 * clock.h
 *		What time it is, and arithmetic with lifetimes.
 */
#ifndef KEEP_CLOCK_H
#define KEEP_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* What took longer than this had to wait, and is dated anew. */
#define KEEP_LATE_USECS	10000

extern void keep_clock_init(void);
extern TimestampTz keep_clock_now(void);
extern int64 keep_clock_ticks(void);
extern const char *keep_clock_sql(void);
extern uint64 keep_clock_ended(void);
extern TimestampTz keep_clock_after(TimestampTz start, const Interval *span);
extern void keep_clock_check_span(const Interval *span, const char *what, bool or_zero);

#endif							/* KEEP_CLOCK_H */
