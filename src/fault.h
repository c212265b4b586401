/*
 * fault.h
 *		Points at which a test has the server killed.
 *
 * They are compiled in with make COPT=-DKEEP_FAULT_POINTS only, and are nothing
 * otherwise.  One stands behind every write that is followed by another write
 * or by the commit.  Each name is there once.
 */
#ifndef KEEP_FAULT_H
#define KEEP_FAULT_H

#ifdef KEEP_FAULT_POINTS
extern void keep_fault_init(void);
extern void keep_fault(const char *name);
#define KEEP_FAULT(name)	keep_fault(name)
#else
#define keep_fault_init()	((void) 0)
#define KEEP_FAULT(name)	((void) 0)
#endif

#endif							/* KEEP_FAULT_H */
