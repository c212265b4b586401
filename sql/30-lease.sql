-- leases: entries of a store that one owner holds for a time.

CREATE TYPE keep.lease AS (
	acquired pg_catalog.bool,
	token pg_catalog.int8,
	owner pg_catalog.text,
	expires_at pg_catalog.timestamptz
);
COMMENT ON TYPE keep.lease IS 'What became of an attempt to acquire a lease';
COMMENT ON COLUMN keep.lease.acquired IS 'Whether the lease is the caller''s now';
COMMENT ON COLUMN keep.lease.token IS 'Fencing token, rising from holder to holder; NULL unless acquired';
COMMENT ON COLUMN keep.lease.owner IS 'Who holds it';
COMMENT ON COLUMN keep.lease.expires_at IS 'Until when it is held';

CREATE FUNCTION keep.acquire(store pg_catalog.regclass, name pg_catalog.text,
		owner pg_catalog.text, ttl pg_catalog.interval, wait pg_catalog.interval = '0')
	RETURNS keep.lease
	AS 'MODULE_PATHNAME', 'keep_acquire'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.acquire(pg_catalog.regclass, pg_catalog.text, pg_catalog.text, pg_catalog.interval, pg_catalog.interval) IS
	'Take a lease if it is free, or wait until it is';

CREATE FUNCTION keep.renew(store pg_catalog.regclass, name pg_catalog.text,
		token pg_catalog.int8, ttl pg_catalog.interval)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_renew'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.renew(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.interval) IS
	'Hold a lease until ttl from now';

CREATE FUNCTION keep.release(store pg_catalog.regclass, name pg_catalog.text,
		token pg_catalog.int8)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_release'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.release(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8) IS
	'Give a lease back';

CREATE FUNCTION keep.assert_lease(store pg_catalog.regclass, name pg_catalog.text,
		token pg_catalog.int8)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_assert_lease'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.assert_lease(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8) IS
	'Raise KP412 unless the lease is held, and hold it fast until the transaction ends';
