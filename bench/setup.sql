-- setup.sql: what the scenarios share: the keys, the stores and their contents.
-- Autovacuum is off on all tables here, on both sides, so that it cannot fall
-- into one side's turn; a scenario is over before its first visit anyway.

-- The i-th key: eighteen or nineteen digits, neighbours far apart. The scripts
-- of pgbench compute the same.
CREATE FUNCTION bench.key(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT (100000000000000000 + (i * 7368787003 % 999999999989) * 9000011)::text $$;

-- The i-th value: the session of session.json, with a user of its own.
CREATE FUNCTION bench.value(i bigint, doc jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT jsonb_set(doc, '{user,id}', to_jsonb(i)) $$;

CREATE FUNCTION bench.create_store(name text, expire_after text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.create_store(name, ttl => interval '30 min', expire_after => expire_after);
	EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', name::regclass);
END $$;

-- Fills a store through put_many. The lives left run from `longest` down to
-- `shortest`, as in a store that has been in use for a while.
CREATE PROCEDURE bench.fill(store regclass, entries bigint, doc jsonb,
							longest interval, shortest interval)
LANGUAGE plpgsql AS $$
DECLARE
	first bigint := 1;
BEGIN
	WHILE first <= entries LOOP
		PERFORM count(*) FROM keep.put_many(
			store,
			ARRAY(SELECT bench.key(i) FROM generate_series(first, least(first + 999, entries)) i),
			ARRAY(SELECT bench.value(i, doc) FROM generate_series(first, least(first + 999, entries)) i),
			longest - (longest - shortest) * (first::float8 / entries));
		first := first + 1000;
		COMMIT;
	END LOOP;
END $$;

-- Lays a table out in the order of its (random) keys, so that neighbours on a
-- page have lives of different length, and gathers statistics.
CREATE FUNCTION bench.lay_out(relation regclass, index name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CLUSTER %s USING %I', relation, index);
END $$;

-- Expires the store and the rival's table to the end, batch by batch in turn, each
-- batch its own transaction. Gives back, for each tenth of the way, the
-- milliseconds both took; the ratio of the rates is their quotient.
CREATE PROCEDURE bench.expire_both(batch int, expected bigint, INOUT slices text)
LANGUAGE plpgsql AS $$
DECLARE
	total int := expected / batch;
	ours float8[] := array_fill(0.0::float8, ARRAY[10]);
	rivals float8[] := array_fill(0.0::float8, ARRAY[10]);
	removed bigint[] := '{0,0}';
	n bigint;
	slice int;
	started timestamptz;
BEGIN
	FOR turn IN 0 .. 2 * total - 1 LOOP
		slice := turn / 2 * 10 / total + 1;
		started := clock_timestamp();
		IF turn % 4 IN (0, 3) THEN
			n := keep.expire('bench.expired_store', batch);
			COMMIT;
			ours[slice] := ours[slice] + extract(epoch FROM clock_timestamp() - started) * 1000;
			removed[1] := removed[1] + n;
		ELSE
			n := bench.expire_by_hand(batch);
			COMMIT;
			rivals[slice] := rivals[slice] + extract(epoch FROM clock_timestamp() - started) * 1000;
			removed[2] := removed[2] + n;
		END IF;
	END LOOP;
	IF removed <> ARRAY[expected, expected] THEN
		RAISE EXCEPTION 'expired % entries, not % on each side', removed, expected;
	END IF;
	SELECT string_agg(o || ' ' || r, E'\n') INTO slices FROM unnest(ours, rivals) AS t (o, r);
END $$;
