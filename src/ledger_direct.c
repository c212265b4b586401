/*
 * ledger_direct.c
 *		The path of a ledger's calls that reaches the tables directly.
 */
#include "postgres.h"

#include "ledger_path.h"

/* Can the tables of this call be reached directly? */
bool
ledger_direct_can(LedgerWork *work)
{
	return false;
}

const LedgerPath ledger_direct_path = {NULL};
