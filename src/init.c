/*
 * init.c
 *		Start of the library: makes the rooms known to each other.
 */
#include "postgres.h"

#include "catalog.h"
#include "clock.h"
#include "fault.h"
#include "ledger.h"
#include "ledger_work.h"
#include "naming.h"
#include "plan.h"
#include "preload.h"
#include "reaper.h"
#include "reaper_control.h"
#include "request_log.h"
#include "saga_log.h"
#include "stats.h"
#include "store.h"
#include "wait.h"

#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* Called once when the library is loaded. */
void
_PG_init(void)
{
	keep_clock_init();
	keep_fault_init();
	keep_preload_init();
	keep_wait_init();
	keep_stats_init();
	keep_reaper_init();
	ledger_work_init();
	MarkGUCPrefixReserved("pg_keep");
	keep_kind_add(&keep_store_kind);
	keep_kind_add(&keep_ledger_kind);
	keep_kind_add(&keep_transfers_kind);
	keep_kind_add(&keep_request_kind);
	keep_kind_add(&keep_saga_kind);
	keep_kind_add(&keep_steps_kind);
	keep_plan_init();
	keep_naming_init();
	keep_reaper_preload();
}
