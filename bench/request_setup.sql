-- request_setup.sql: what the scenarios of request logs and sagas share.
-- Autovacuum is off on all tables of both sides, as in setup.sql.

-- One request: what its function stores, and what an application sends with it.
CREATE TABLE bench.charge (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer text NOT NULL,
	amount bigint NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_enabled = off);
CREATE TABLE bench.charge_by_hand (LIKE bench.charge INCLUDING ALL) WITH (autovacuum_enabled = off);

CREATE FUNCTION bench.charge(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	charge bigint;
BEGIN
	INSERT INTO bench.charge (customer, amount)
	VALUES (args ->> 'customer', (args -> 'amount')::bigint)
	RETURNING id INTO charge;
	RETURN jsonb_build_object('charge', charge);
END $$;

CREATE FUNCTION bench.charge_sql(args jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO bench.charge (customer, amount)
	VALUES (args ->> 'customer', (args -> 'amount')::bigint)
	RETURNING jsonb_build_object('charge', id)
$$;

CREATE FUNCTION bench.refund(step jsonb) RETURNS jsonb LANGUAGE sql AS $$
	UPDATE bench.charge SET amount = 0
	WHERE id = (step -> 'result' -> 'charge')::bigint
	RETURNING to_jsonb(id)
$$;

CREATE FUNCTION bench.create_request_log() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.create_request_log('bench.requests');
	ALTER TABLE bench.requests SET (autovacuum_enabled = off);
END $$;

CREATE FUNCTION bench.create_saga_log() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM keep.create_saga_log('bench.sagas');
	ALTER TABLE bench.sagas SET (autovacuum_enabled = off);
	ALTER TABLE bench.sagas_steps SET (autovacuum_enabled = off);
	PERFORM keep.allow_saga_function('bench.sagas', 'bench.charge(jsonb)');
	PERFORM keep.allow_saga_function('bench.sagas', 'bench.refund(jsonb)');
END $$;

-- Fills the log with so many completed requests, through begin_request and complete_request or call_once,
-- and the rival's table with as many.
CREATE PROCEDURE bench.fill_requests(entries bigint, request jsonb, response jsonb, calls boolean)
LANGUAGE plpgsql AS $$
DECLARE
	first bigint := 1;
BEGIN
	WHILE first <= entries LOOP
		IF calls THEN
			PERFORM keep.call_once('bench.requests', bench.key(i), 'bench.charge(jsonb)', request)
			FROM generate_series(first, least(first + 999, entries)) i;
		ELSE
			PERFORM keep.complete_request('bench.requests', bench.key(i),
				(keep.begin_request('bench.requests', bench.key(i), request)).token, response)
			FROM generate_series(first, least(first + 999, entries)) i;
		END IF;
		first := first + 1000;
		COMMIT;
	END LOOP;
	INSERT INTO bench.request (key, state, request_hash, attempts, response, created_at, finished_at)
	SELECT key, state, sha256(convert_to(fill_requests.request::text, 'UTF8')), attempts, log.response,
		created_at, finished_at
	FROM bench.requests log;
END $$;
