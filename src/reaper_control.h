/*
 * reaper_control.h
 *		Starting the reaper: with the server, or by SQL functions.
 */
#ifndef KEEP_REAPER_CONTROL_H
#define KEEP_REAPER_CONTROL_H

extern void keep_reaper_preload(void);

#endif							/* KEEP_REAPER_CONTROL_H */
