/*
 * ledger_path.h
 *		A call on a ledger: its accounts, and the path on which it reads and writes.
 */
#ifndef KEEP_LEDGER_PATH_H
#define KEEP_LEDGER_PATH_H

#include "postgres.h"

#include "transfer_row.h"

typedef struct LedgerWork LedgerWork;

/*
 * How rows are read and written: through SPI, or directly.  Rows of transfers
 * come and go in ascending order of ids.
 */
typedef struct LedgerPath
{
	/* once a call: says whether it needs a subtransaction */
	void		(*begin) (LedgerWork *work);
	/* begins an attempt: lock the accounts of the work's set, in order, and take them in */
	void		(*lock) (LedgerWork *work);
	/* find which of the ids are there: found[i] is set to the row of rows[i]->id, or NULL */
	void		(*find) (LedgerWork *work, TransferRow **rows, TransferRow **found, int n);
	/* false: somebody else has stored one of the ids; nothing of ours may stay */
	bool		(*insert) (LedgerWork *work, TransferRow **rows, int n);
	/* write the accounts' dirty rows */
	void		(*write) (LedgerWork *work);
	/* ends an attempt of which something stays */
	void		(*end) (LedgerWork *work);
} LedgerPath;

struct LedgerWork
{
	Ledger		ledger;
	const LedgerPath *path;
	void	   *path_state;
	AccountSet	accounts;
	TimestampTz now;			/* read after the locks were had */
	MemoryContext caller;		/* where results go */
	bool		single;			/* at most one transfer is inserted */
	bool		subtransaction; /* can locks be given back? */
	bool		again;			/* a row was another account's once it was locked */
	bool		written;		/* the accounts are */
	bool		subtransaction_next;	/* the next attempt needs one */
	bool		guarded;		/* triggers or row security on transfers */
	int			attempts;
	int			looks;			/* how often an account had appeared */
	bool		may_mark;		/* may holds that are over be marked as such? */
	bool		tentative;		/* the attempt will be done again with more accounts */
	List	   *expired;		/* ids (text) of holds that are over, to be marked */
	List	   *refused;		/* ids (text) that could not be inserted */
};

/* what LedgerPath.find returns for an id that is there but not for this user to see */
extern TransferRow ledger_hidden;

extern const LedgerPath ledger_spi_path;
extern const LedgerPath ledger_direct_path;

extern void ledger_begin(LedgerWork *work, FunctionCallInfo fcinfo, const char *function,
						 AclMode accounts, AclMode transfers);
extern bool ledger_direct_can(LedgerWork *work);

extern TransferRow *ledger_find_one(LedgerWork *work, text *id);
extern void ledger_spi_lock_free(LedgerWork *work, Account *account, int16 shard);
extern Datum ledger_texts(List *texts);

#endif							/* KEEP_LEDGER_PATH_H */
