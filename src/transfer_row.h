/*
 * transfer_row.h
 *		A transfer as the table of transfers has it, and as an answer.
 */
#ifndef KEEP_TRANSFER_ROW_H
#define KEEP_TRANSFER_ROW_H

#include "postgres.h"

#include "account.h"
#include "ledger.h"

#include "fmgr.h"
#include "utils/timestamp.h"

typedef enum TransferStatus
{
	TRANSFER_POSTED,
	TRANSFER_PENDING,
	TRANSFER_REJECTED,
	TRANSFER_VOIDED,
	TRANSFER_EXPIRED,
	TRANSFER_MISMATCH			/* only ever an answer */
} TransferStatus;

/* Why a transfer was rejected; where several hold, the first of them. */
typedef enum TransferReason
{
	REASON_NONE,
	REASON_NOT_POSTED,
	REASON_EXCEEDS_REMAINING,
	REASON_ACCOUNT_NOT_FOUND,
	REASON_UNIT_MISMATCH,
	REASON_ACCOUNT_FROZEN,
	REASON_INSUFFICIENT_FUNDS,
	REASON_LIMIT_EXCEEDED,
	REASON_CHAIN_FAILED
} TransferReason;

/* Amounts, balances and versions are LEDGER_NULL for NULL, times 0, pointers NULL. */
typedef struct TransferRow
{
	text	   *id;
	TransferStatus status;
	TransferReason reason;
	text	   *from;
	text	   *to;
	int16		from_shard;
	int16		to_shard;
	bool		force;
	int64		amount;			/* posted, or else asked */
	int64		from_balance;	/* after the transfer's own first run */
	int64		to_balance;
	TimestampTz created;
	TimestampTz expires;
	Interval   *hold;
	int64		held;
	int64		part;			/* asked of a post or a reversal; LEDGER_NULL: all */
	text	   *reverses;
	int64		reversed;		/* by posted reversals of this one */
	int64		settled_from;	/* after the first run of what ended the hold */
	int64		settled_to;
	int64		from_version;
	int64		to_version;
	text	   *chain;
	Datum		metadata;		/* jsonb, or 0 */
} TransferRow;

#define NO_TIME ((TimestampTz) 0)

extern const char *transfer_status_name(TransferStatus status);
extern void transfer_row_init(TransferRow *row);
extern void transfer_from_values(TransferRow *row, const Datum *values, const bool *nulls);
extern void transfer_to_values(const TransferRow *row, Datum *values, bool *nulls);
extern TransferStatus transfer_status_at(const TransferRow *row, TimestampTz now);
extern bool transfer_same_hold(const Interval *a, const Interval *b);
extern void transfer_answer(const TransferRow *row, TransferStatus status, TransferReason reason,
							int64 from_balance, int64 to_balance, bool replayed,
							Datum *values, bool *nulls);

/* columns of keep.transfer_result */
#define TRANSFER_RESULT_NCOLS 9

#endif							/* KEEP_TRANSFER_ROW_H */
