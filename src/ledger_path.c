/*
 * ledger_path.c
 *		A call on a ledger: its accounts, and the path on which it reads and writes.
 */
#include "postgres.h"

#include "arg.h"
#include "ledger_path.h"

#include "executor/spi.h"

/* stands for a transfer that is there but not for this user to see */
TransferRow ledger_hidden;

/*
 * Begin a call on the ledger in argument 0 that writes: check the rights, which
 * are those needed in every case, connect to SPI and lock the tables.
 */
void
ledger_begin(LedgerWork *work, FunctionCallInfo fcinfo, const char *function,
			 AclMode accounts, AclMode transfers)
{
	keep_arg_require(fcinfo, 0, "ledger");
	keep_require_write(function);
	memset(work, 0, sizeof(LedgerWork));
	work->caller = CurrentMemoryContext;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	ledger_open(&work->ledger, PG_GETARG_OID(0), RowExclusiveLock);
	ledger_require(&work->ledger, accounts, transfers);
}
