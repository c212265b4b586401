-- ledger_rivals.sql: a ledger as a good engineer writes it by hand. Its tables, bench.by_hand and
-- bench.by_hand_transfers, are made by bench.copy_table: same columns, indexes, settings and rows.

-- A batch in SQL, for set against set: no limits, no balances in the rows, no result. It locks the
-- accounts in order, stores the transfers and moves the money with one UPDATE. Of the ways tried
-- the fastest: = ANY, not a join, for the locks (8 to 15 % of the whole); the UPDATE from the
-- arrays, not from the INSERT's RETURNING (7 to 15 %); plans that know how long the arrays are
-- (15 to 25 %). Where an id was there already, only the rows of this transaction count.
CREATE FUNCTION bench.transfer_many(p_ids text[], p_from text[], p_to text[], p_amounts bigint[])
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
	stored bigint;
BEGIN
	PERFORM FROM bench.by_hand
	WHERE id = ANY (p_from || p_to)
	ORDER BY id, shard FOR NO KEY UPDATE;

	INSERT INTO bench.by_hand_transfers
		(id, status, from_account, to_account, from_shard, to_shard, amount, created_at)
	SELECT id, 'posted', from_account, to_account, 0, 0, amount, now()
	FROM unnest(p_ids, p_from, p_to, p_amounts) AS t (id, from_account, to_account, amount)
	ON CONFLICT (id) DO NOTHING;
	GET DIAGNOSTICS stored = ROW_COUNT;

	IF stored < cardinality(p_ids) THEN
		SELECT array_agg(from_account), array_agg(to_account), array_agg(amount)
		INTO p_from, p_to, p_amounts
		FROM bench.by_hand_transfers
		WHERE id = ANY (p_ids) AND xmin = pg_current_xact_id()::xid;
	END IF;

	UPDATE bench.by_hand a
	SET debits_posted = a.debits_posted + moved.debits,
		credits_posted = a.credits_posted + moved.credits,
		version = a.version + 1
	FROM (
		SELECT account, sum(debit)::bigint, sum(credit)::bigint
		FROM (
			SELECT f.account, f.amount, 0::bigint FROM unnest(p_from, p_amounts) AS f (account, amount)
			UNION ALL
			SELECT t.account, 0::bigint, t.amount FROM unnest(p_to, p_amounts) AS t (account, amount)
		) AS side (account, debit, credit)
		GROUP BY account
	) AS moved (id, debits, credits)
	WHERE a.id = moved.id AND a.shard = 0;
END $$;

-- One transfer in plpgsql: limits, unit and frozen accounts are checked, a rejection is stored with
-- its reason, a retry is answered from the row; holds are counted, but not looked at for being over.
-- The common case is decided by the UPDATEs themselves: that was measured to be a tenth faster than
-- locking both rows first. It moves money in the order of the accounts, so that nobody waits in a circle.
-- Where two use one id at once and the second finds out late, it raises 40001, as pg_keep may.
CREATE FUNCTION bench.transfer(p_id text, p_from text, p_to text, p_amount bigint)
RETURNS keep.transfer_result LANGUAGE plpgsql AS $$
DECLARE
	answer keep.transfer_result;
	payer_unit text;
	payee_unit text;
BEGIN
	IF p_id IS NULL OR p_id = '' OR p_from IS NULL OR p_to IS NULL OR p_from = p_to
		OR p_amount IS NULL OR p_amount <= 0 THEN
		RAISE EXCEPTION 'not a transfer' USING ERRCODE = '22023';
	END IF;
	PERFORM FROM bench.by_hand_transfers WHERE id = p_id;
	IF FOUND THEN
		RETURN bench.transfer_again(p_id, p_from, p_to, p_amount);
	END IF;

	IF p_from < p_to THEN
		UPDATE bench.by_hand
		SET debits_posted = debits_posted + p_amount, version = version + 1
		WHERE id = p_from AND shard = 0 AND NOT frozen
			AND (min_balance IS NULL OR credits_posted - debits_posted - debits_pending - p_amount >= min_balance)
		RETURNING unit, credits_posted - debits_posted INTO payer_unit, answer.from_balance;
		UPDATE bench.by_hand
		SET credits_posted = credits_posted + p_amount, version = version + 1
		WHERE id = p_to AND shard = 0 AND NOT frozen AND unit = payer_unit
			AND (max_balance IS NULL OR credits_posted - debits_posted + credits_pending + p_amount <= max_balance)
		RETURNING unit, credits_posted - debits_posted INTO payee_unit, answer.to_balance;
	ELSE
		UPDATE bench.by_hand
		SET credits_posted = credits_posted + p_amount, version = version + 1
		WHERE id = p_to AND shard = 0 AND NOT frozen
			AND (max_balance IS NULL OR credits_posted - debits_posted + credits_pending + p_amount <= max_balance)
		RETURNING unit, credits_posted - debits_posted INTO payee_unit, answer.to_balance;
		UPDATE bench.by_hand
		SET debits_posted = debits_posted + p_amount, version = version + 1
		WHERE id = p_from AND shard = 0 AND NOT frozen AND unit = payee_unit
			AND (min_balance IS NULL OR credits_posted - debits_posted - debits_pending - p_amount >= min_balance)
		RETURNING unit, credits_posted - debits_posted INTO payer_unit, answer.from_balance;
	END IF;
	IF payer_unit IS NULL OR payee_unit IS NULL THEN
		IF payer_unit IS NOT NULL THEN
			UPDATE bench.by_hand SET debits_posted = debits_posted - p_amount, version = version - 1
			WHERE id = p_from AND shard = 0;
		ELSIF payee_unit IS NOT NULL THEN
			UPDATE bench.by_hand SET credits_posted = credits_posted - p_amount, version = version - 1
			WHERE id = p_to AND shard = 0;
		END IF;
		RETURN bench.transfer_carefully(p_id, p_from, p_to, p_amount);
	END IF;

	answer.id := p_id;
	answer.status := 'posted';
	answer.amount := p_amount;
	answer.replayed := false;
	answer.created_at := clock_timestamp();
	INSERT INTO bench.by_hand_transfers
		(id, status, from_account, to_account, from_shard, to_shard, amount, from_balance, to_balance, created_at)
	VALUES (p_id, answer.status, p_from, p_to, 0, 0, p_amount, answer.from_balance, answer.to_balance, answer.created_at)
	ON CONFLICT (id) DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'another call has just used this id' USING ERRCODE = '40001';
	END IF;
	RETURN answer;
END $$;

-- A retry
CREATE FUNCTION bench.transfer_again(p_id text, p_from text, p_to text, p_amount bigint)
RETURNS keep.transfer_result LANGUAGE plpgsql AS $$
DECLARE
	stored bench.by_hand_transfers;
BEGIN
	SELECT * INTO stored FROM bench.by_hand_transfers WHERE id = p_id;
	IF (stored.from_account, stored.to_account, stored.amount) IS DISTINCT FROM (p_from, p_to, p_amount) THEN
		RAISE EXCEPTION 'another transfer has this id' USING ERRCODE = 'KP422';
	END IF;
	RETURN (stored.id, stored.status, stored.reason, stored.amount, stored.from_balance, stored.to_balance,
		stored.expires_at, true, stored.created_at)::keep.transfer_result;
END $$;

-- What does not go through at once: locks both accounts in order, then decides and says why.
CREATE FUNCTION bench.transfer_carefully(p_id text, p_from text, p_to text, p_amount bigint)
RETURNS keep.transfer_result LANGUAGE plpgsql AS $$
DECLARE
	payer bench.by_hand;
	payee bench.by_hand;
	account bench.by_hand;
	answer keep.transfer_result;
BEGIN
	FOR account IN
		SELECT * FROM bench.by_hand WHERE id IN (p_from, p_to) AND shard = 0 ORDER BY id FOR NO KEY UPDATE
	LOOP
		IF account.id = p_from THEN
			payer := account;
		ELSE
			payee := account;
		END IF;
	END LOOP;
	answer.id := p_id;
	answer.amount := p_amount;
	answer.replayed := false;
	answer.created_at := clock_timestamp();
	answer.from_balance := payer.credits_posted - payer.debits_posted;
	answer.to_balance := payee.credits_posted - payee.debits_posted;
	answer.reason := CASE
		WHEN payer.id IS NULL OR payee.id IS NULL THEN 'account_not_found'
		WHEN payer.unit <> payee.unit THEN 'unit_mismatch'
		WHEN payer.frozen OR payee.frozen THEN 'account_frozen'
		WHEN answer.from_balance - payer.debits_pending - p_amount < payer.min_balance THEN 'insufficient_funds'
		WHEN answer.to_balance + payee.credits_pending + p_amount > payee.max_balance THEN 'limit_exceeded'
	END;
	answer.status := CASE WHEN answer.reason IS NULL THEN 'posted' ELSE 'rejected' END;
	IF answer.status = 'posted' THEN
		UPDATE bench.by_hand SET debits_posted = debits_posted + p_amount, version = version + 1
		WHERE id = p_from AND shard = 0 RETURNING credits_posted - debits_posted INTO answer.from_balance;
		UPDATE bench.by_hand SET credits_posted = credits_posted + p_amount, version = version + 1
		WHERE id = p_to AND shard = 0 RETURNING credits_posted - debits_posted INTO answer.to_balance;
	END IF;
	INSERT INTO bench.by_hand_transfers
		(id, status, reason, from_account, to_account, from_shard, to_shard, amount, from_balance, to_balance, created_at)
	VALUES (p_id, answer.status, answer.reason, p_from, p_to, 0, 0, p_amount,
		answer.from_balance, answer.to_balance, answer.created_at)
	ON CONFLICT (id) DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'another call has just used this id' USING ERRCODE = '40001';
	END IF;
	RETURN answer;
END $$;
