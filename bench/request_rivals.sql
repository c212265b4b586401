-- request_rivals.sql: idempotency keys and sagas as a good engineer writes them by hand.
-- Cheaper where they promise less: requests are compared as jsonb prints them (pg_keep: 1.0 equals 1.00),
-- how long a lease lasts and how long an outcome is kept stands in the statements, a lease cannot be renewed,
-- a retry of the second statement is told nothing and has to look, and a saga knows no action but those in
-- its statements.

-- One row a request. Its token tells a holder whose lease is over from the one who came after. created_at
-- never changes and finds rows to clean up; an index on finished_at would cost the second statement an entry
-- in both indexes (it was measured, see README.md).
CREATE TABLE bench.request (
	key text COLLATE "C" PRIMARY KEY,
	state text NOT NULL,
	request_hash bytea NOT NULL,
	token bigint GENERATED ALWAYS AS IDENTITY,
	attempts int NOT NULL,
	lease_until timestamptz,
	checkpoint jsonb,
	response jsonb,
	created_at timestamptz NOT NULL,
	finished_at timestamptz
) WITH (autovacuum_enabled = off);
CREATE INDEX ON bench.request (created_at);

-- What the saga's statements write: sagas, and the steps that they have done.
CREATE TABLE bench.saga (
	saga text COLLATE "C" PRIMARY KEY,
	state text NOT NULL,
	last_place int NOT NULL,
	deadline_at timestamptz,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
) WITH (autovacuum_enabled = off);
CREATE INDEX ON bench.saga (deadline_at) WHERE state <> 'completed';

CREATE TABLE bench.saga_step (
	saga text COLLATE "C",
	step text COLLATE "C",
	place int NOT NULL,
	compensation text,
	args jsonb,
	result jsonb,
	created_at timestamptz NOT NULL,
	PRIMARY KEY (saga, step)
) WITH (autovacuum_enabled = off);
