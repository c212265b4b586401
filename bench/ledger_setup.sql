-- ledger_setup.sql: the ledger that the scenarios share, and the same tables for the rivals.
-- Autovacuum is off on all of them, on both sides, as in setup.sql.

-- bench.ledger with so many accounts with limits, each with money to spend, and `till`, which has
-- none to lose and pays it out.
CREATE PROCEDURE bench.open_ledger(accounts int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.create_ledger('bench.ledger');
	ALTER TABLE bench.ledger SET (autovacuum_enabled = off);
	ALTER TABLE bench.ledger_transfers SET (autovacuum_enabled = off);
	PERFORM keep.open_account('bench.ledger', 'till', 'EUR', min_balance => NULL);
	PERFORM keep.open_account('bench.ledger', bench.key(i), 'EUR', 0, 1000000000000000)
	FROM generate_series(1, accounts) i;
	PERFORM bench.pay_in(ARRAY(SELECT bench.key(i) FROM generate_series(1, accounts) i));
END $$;

-- Money for each of the accounts. These ids come before all others.
CREATE FUNCTION bench.pay_in(accounts text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM keep.transfer_many('bench.ledger',
		ARRAY(SELECT '0-' || account FROM unnest(accounts) account),
		array_fill('till'::text, ARRAY[cardinality(accounts)]), accounts,
		array_fill(10000000000, ARRAY[cardinality(accounts)]), report => 'exceptions');
END $$;

-- A table with the same columns, constraints, indexes, settings and rows.
CREATE PROCEDURE bench.copy_table(original regclass, name text) LANGUAGE plpgsql AS $$
DECLARE
	setting text;
BEGIN
	EXECUTE format('CREATE TABLE bench.%I (LIKE %s INCLUDING ALL)', name, original);
	FOR setting IN SELECT unnest(reloptions) FROM pg_class WHERE oid = original LOOP
		EXECUTE format('ALTER TABLE bench.%I SET (%s)', name, setting);
	END LOOP;
	EXECUTE format('INSERT INTO bench.%I SELECT * FROM %s', name, original);
END $$;
