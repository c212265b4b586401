-- rivals.sql: what a good engineer writes by hand today, without pg_keep.
-- Only what each job needs, and as fast as we know how to write it. Where a rival
-- may be cheaper than pg_keep because it promises less, it is left cheaper:
-- versions are old + 1 (pg_keep: never reused after a delete), now() stands for
-- the clock (pg_keep: the clock after the row is locked), created_at is kept
-- when an expired entry is written again (pg_keep: a new entry).

-- Entries with a version and an expiry. The sweep needs the index on expires_at.
CREATE TABLE bench.entry (
	key text COLLATE "C" PRIMARY KEY,
	value jsonb NOT NULL,
	version bigint NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	expires_at timestamptz
) WITH (autovacuum_enabled = off);
CREATE INDEX ON bench.entry (expires_at);

-- The answer both functions give back: the same row as keep.outcome.
CREATE TYPE bench.answer AS (
	applied boolean, status text, value jsonb, version bigint, expires_at timestamptz
);

-- Compare-and-swap: one UPDATE where it succeeds, one more look where it does not.
CREATE FUNCTION bench.compare_and_swap(p_key text, p_expected bigint, p_value jsonb, p_ttl interval)
RETURNS bench.answer LANGUAGE plpgsql AS $$
DECLARE
	answer bench.answer;
BEGIN
	UPDATE bench.entry e
	SET value = p_value, version = e.version + 1, updated_at = now(), expires_at = now() + p_ttl
	WHERE e.key = p_key AND e.version = p_expected AND (e.expires_at IS NULL OR e.expires_at > now())
	RETURNING true, 'updated', e.value, e.version, e.expires_at INTO answer;
	IF FOUND THEN
		RETURN answer;
	END IF;
	SELECT false, 'stale', e.value, e.version, e.expires_at INTO answer
	FROM bench.entry e
	WHERE e.key = p_key AND (e.expires_at IS NULL OR e.expires_at > now());
	IF NOT FOUND THEN
		answer := (false, 'absent', NULL, NULL, NULL);
	END IF;
	RETURN answer;
END $$;

-- Put-if-absent: looks first, then inserts, and looks again where a race was lost.
-- Inserting first locks the row of a live entry, and so writes; where half of the
-- keys are present it was measured to be slower by a third.
CREATE FUNCTION bench.put_if_absent(p_key text, p_value jsonb, p_ttl interval)
RETURNS bench.answer LANGUAGE plpgsql AS $$
DECLARE
	answer bench.answer;
BEGIN
	LOOP
		SELECT false, 'exists', e.value, e.version, e.expires_at INTO answer
		FROM bench.entry e
		WHERE e.key = p_key AND (e.expires_at IS NULL OR e.expires_at > now());
		IF FOUND THEN
			RETURN answer;
		END IF;
		INSERT INTO bench.entry AS e
		VALUES (p_key, p_value, 1, now(), now(), now() + p_ttl)
		ON CONFLICT (key) DO UPDATE
		SET value = EXCLUDED.value, version = e.version + 1, created_at = EXCLUDED.created_at,
			updated_at = EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at
		WHERE e.expires_at <= now()
		RETURNING true, 'created', e.value, e.version, e.expires_at INTO answer;
		IF FOUND THEN
			RETURN answer;
		END IF;
	END LOOP;
END $$;

-- The session table of connect-pg-simple (Express), as its table.sql makes it.
CREATE TABLE bench.session (
	sid varchar NOT NULL COLLATE "default",
	sess json NOT NULL,
	expire timestamp(6) NOT NULL
) WITH (autovacuum_enabled = off);
ALTER TABLE bench.session ADD CONSTRAINT session_pkey PRIMARY KEY (sid);
CREATE INDEX "IDX_session_expire" ON bench.session (expire);

-- Expiry by hand: DELETE by primary key, a batch at a time, on a table of its own.
-- `= ANY (ARRAY(...))` and not `IN (...)`: that reads the whole table for a batch of
-- 10,000, and was measured to be slower by a third there.
CREATE TABLE bench.expired_entry (LIKE bench.entry INCLUDING ALL) WITH (autovacuum_enabled = off);

CREATE FUNCTION bench.expire_by_hand(batch int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	removed bigint;
BEGIN
	DELETE FROM bench.expired_entry
	WHERE key = ANY (ARRAY(
		SELECT key FROM bench.expired_entry
		WHERE expires_at <= now()
		ORDER BY expires_at
		LIMIT batch
	));
	GET DIAGNOSTICS removed = ROW_COUNT;
	RETURN removed;
END $$;
