/*
 * stats_view.h
 *		The counters of this database's tables, as shown in SQL.
 */
#ifndef KEEP_STATS_VIEW_H
#define KEEP_STATS_VIEW_H

extern void keep_stats_forget_dropped(void);

#endif							/* KEEP_STATS_VIEW_H */
