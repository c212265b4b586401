-- 40-ledger.sql: the functions on ledgers.

CREATE TYPE keep.account_balance AS (
	account pg_catalog.text,
	unit pg_catalog.text,
	balance pg_catalog.int8,
	available pg_catalog.int8,
	debits_posted pg_catalog.int8,
	credits_posted pg_catalog.int8,
	debits_pending pg_catalog.int8,
	credits_pending pg_catalog.int8,
	frozen pg_catalog.bool,
	version pg_catalog.int8
);
COMMENT ON TYPE keep.account_balance IS 'An account of a ledger; amounts are in minor units';
COMMENT ON COLUMN keep.account_balance.account IS 'Name of the account';
COMMENT ON COLUMN keep.account_balance.unit IS 'What it counts: a currency, points';
COMMENT ON COLUMN keep.account_balance.balance IS 'Credits less debits, as posted';
COMMENT ON COLUMN keep.account_balance.available IS 'The balance less what is held of it';
COMMENT ON COLUMN keep.account_balance.debits_posted IS 'All that ever went out';
COMMENT ON COLUMN keep.account_balance.credits_posted IS 'All that ever came in';
COMMENT ON COLUMN keep.account_balance.debits_pending IS 'What holds may take out';
COMMENT ON COLUMN keep.account_balance.credits_pending IS 'What holds may bring in';
COMMENT ON COLUMN keep.account_balance.frozen IS 'Does it refuse new transfers?';
COMMENT ON COLUMN keep.account_balance.version IS 'Rises with each change';

CREATE TYPE keep.transfer_result AS (
	id pg_catalog.text,
	status pg_catalog.text,
	reason pg_catalog.text,
	amount pg_catalog.int8,
	from_balance pg_catalog.int8,
	to_balance pg_catalog.int8,
	expires_at pg_catalog.timestamptz,
	replayed pg_catalog.bool,
	created_at pg_catalog.timestamptz
);
COMMENT ON TYPE keep.transfer_result IS 'What became of a transfer';
COMMENT ON COLUMN keep.transfer_result.id IS 'The id that the caller gave it';
COMMENT ON COLUMN keep.transfer_result.status IS 'posted, pending, rejected, voided or expired; mismatch in a batch';
COMMENT ON COLUMN keep.transfer_result.reason IS 'Why it was rejected';
COMMENT ON COLUMN keep.transfer_result.amount IS 'What was posted, or else asked';
COMMENT ON COLUMN keep.transfer_result.from_balance IS 'Balance of the payer after the first run; NULL for an account in shards';
COMMENT ON COLUMN keep.transfer_result.to_balance IS 'Balance of the payee after the first run; NULL for an account in shards';
COMMENT ON COLUMN keep.transfer_result.expires_at IS 'When the hold ends; NULL: no hold';
COMMENT ON COLUMN keep.transfer_result.replayed IS 'Was it done before, by the same call?';
COMMENT ON COLUMN keep.transfer_result.created_at IS 'When it was first done';

CREATE TYPE keep.ledger_check AS (
	rule pg_catalog.text,
	ok pg_catalog.bool,
	detail pg_catalog.text
);
COMMENT ON TYPE keep.ledger_check IS 'Does a rule hold over a ledger?';
COMMENT ON COLUMN keep.ledger_check.rule IS 'What must be so';
COMMENT ON COLUMN keep.ledger_check.ok IS 'Is it?';
COMMENT ON COLUMN keep.ledger_check.detail IS 'What breaks the rule';

CREATE TYPE keep.statement_line AS (
	cursor pg_catalog.text,
	transfer pg_catalog.text,
	counterparty pg_catalog.text,
	amount pg_catalog.int8,
	balance pg_catalog.int8,
	reverses pg_catalog.text,
	metadata pg_catalog.jsonb,
	posted_at pg_catalog.timestamptz
);
COMMENT ON TYPE keep.statement_line IS 'A posting on an account';
COMMENT ON COLUMN keep.statement_line.cursor IS 'Where the next statement goes on';
COMMENT ON COLUMN keep.statement_line.transfer IS 'Id of the transfer';
COMMENT ON COLUMN keep.statement_line.counterparty IS 'The other account';
COMMENT ON COLUMN keep.statement_line.amount IS 'Above zero: came in; below: went out';
COMMENT ON COLUMN keep.statement_line.balance IS 'The balance then; NULL for an account in shards';
COMMENT ON COLUMN keep.statement_line.reverses IS 'Id of the transfer that it gives back';
COMMENT ON COLUMN keep.statement_line.metadata IS 'What the caller noted on the transfer';
COMMENT ON COLUMN keep.statement_line.posted_at IS 'When';

CREATE FUNCTION keep.create_ledger(name pg_catalog.text, history pg_catalog.bool = false)
	RETURNS pg_catalog.regclass
	AS 'MODULE_PATHNAME', 'keep_create_ledger'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.create_ledger(pg_catalog.text, pg_catalog.bool) IS
	'Create a ledger: a table of accounts and one of transfers that the caller owns';

CREATE FUNCTION keep.open_account(ledger pg_catalog.regclass, account pg_catalog.text,
		unit pg_catalog.text, min_balance pg_catalog.int8 = 0,
		max_balance pg_catalog.int8 = NULL, shards pg_catalog.int4 = 1)
	RETURNS keep.account_balance
	AS 'MODULE_PATHNAME', 'keep_open_account'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.open_account(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.int8, pg_catalog.int4) IS
	'Open an account; again on the same terms is fine';

CREATE FUNCTION keep.set_account_limits(ledger pg_catalog.regclass, account pg_catalog.text,
		min_balance pg_catalog.int8, max_balance pg_catalog.int8)
	RETURNS keep.account_balance
	AS 'MODULE_PATHNAME', 'keep_set_account_limits'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.set_account_limits(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.int8) IS
	'Set the limits of an account''s balance; NULL: none';

CREATE FUNCTION keep.freeze_account(ledger pg_catalog.regclass, account pg_catalog.text,
		frozen pg_catalog.bool = true)
	RETURNS keep.account_balance
	AS 'MODULE_PATHNAME', 'keep_freeze_account'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.freeze_account(pg_catalog.regclass, pg_catalog.text, pg_catalog.bool) IS
	'Have an account refuse new transfers, or take them again';

CREATE FUNCTION keep.balance(ledger pg_catalog.regclass, account pg_catalog.text)
	RETURNS keep.account_balance
	AS 'MODULE_PATHNAME', 'keep_balance'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 10;
COMMENT ON FUNCTION keep.balance(pg_catalog.regclass, pg_catalog.text) IS
	'An account as it stands';

CREATE FUNCTION keep.transfer(ledger pg_catalog.regclass, id pg_catalog.text,
		from_account pg_catalog.text, to_account pg_catalog.text, amount pg_catalog.int8,
		hold pg_catalog.interval = NULL, metadata pg_catalog.jsonb = NULL)
	RETURNS keep.transfer_result
	AS 'MODULE_PATHNAME', 'keep_transfer'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.transfer(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.interval, pg_catalog.jsonb) IS
	'Move an amount between two accounts, or hold it for a time; once, however often it is called';

CREATE FUNCTION keep.transfer_many(ledger pg_catalog.regclass, ids pg_catalog.text[],
		from_accounts pg_catalog.text[], to_accounts pg_catalog.text[],
		amounts pg_catalog.int8[], holds pg_catalog.interval[] = NULL,
		metadata pg_catalog.jsonb[] = NULL, chains pg_catalog.text[] = NULL,
		report pg_catalog.text = 'all')
	RETURNS SETOF keep.transfer_result
	AS 'MODULE_PATHNAME', 'keep_transfer_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1000;
COMMENT ON FUNCTION keep.transfer_many(pg_catalog.regclass, pg_catalog.text[], pg_catalog.text[], pg_catalog.text[], pg_catalog.int8[], pg_catalog.interval[], pg_catalog.jsonb[], pg_catalog.text[], pg_catalog.text) IS
	'Many transfers in one call, decided in input order';

CREATE FUNCTION keep.transfer_batch(ledger pg_catalog.regclass, items pg_catalog.jsonb,
		report pg_catalog.text = 'all')
	RETURNS SETOF keep.transfer_result
	AS 'MODULE_PATHNAME', 'keep_transfer_batch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1000;
COMMENT ON FUNCTION keep.transfer_batch(pg_catalog.regclass, pg_catalog.jsonb, pg_catalog.text) IS
	'As transfer_many, from an array of JSON objects';

CREATE FUNCTION keep.post_transfer(ledger pg_catalog.regclass, id pg_catalog.text,
		amount pg_catalog.int8 = NULL)
	RETURNS keep.transfer_result
	AS 'MODULE_PATHNAME', 'keep_post_transfer'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.post_transfer(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8) IS
	'Post what is held, or a part of it and release the rest';

CREATE FUNCTION keep.void_transfer(ledger pg_catalog.regclass, id pg_catalog.text)
	RETURNS keep.transfer_result
	AS 'MODULE_PATHNAME', 'keep_void_transfer'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.void_transfer(pg_catalog.regclass, pg_catalog.text) IS
	'Release what is held';

CREATE FUNCTION keep.reverse_transfer(ledger pg_catalog.regclass, id pg_catalog.text,
		original_id pg_catalog.text, amount pg_catalog.int8 = NULL,
		force pg_catalog.bool = false)
	RETURNS keep.transfer_result
	AS 'MODULE_PATHNAME', 'keep_reverse_transfer'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.reverse_transfer(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.int8, pg_catalog.bool) IS
	'Give a posted transfer back, in whole or in part, under an id of its own';

CREATE FUNCTION keep.expire_holds(ledger pg_catalog.regclass, batch pg_catalog.int4 = 1000)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'keep_expire_holds'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION keep.expire_holds(pg_catalog.regclass, pg_catalog.int4) IS
	'Release holds that are over; returns how many';

CREATE FUNCTION keep.verify_ledger(ledger pg_catalog.regclass)
	RETURNS SETOF keep.ledger_check
	AS 'MODULE_PATHNAME', 'keep_verify_ledger'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 7
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION keep.verify_ledger(pg_catalog.regclass) IS
	'Does the ledger add up? One row a rule';

CREATE FUNCTION keep.statement(ledger pg_catalog.regclass, account pg_catalog.text,
		after pg_catalog.text = NULL, max_rows pg_catalog.int4 = 100)
	RETURNS SETOF keep.statement_line
	AS 'MODULE_PATHNAME', 'keep_statement'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 100 ROWS 100;
COMMENT ON FUNCTION keep.statement(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.int4) IS
	'What was posted on an account after a cursor, oldest first';
