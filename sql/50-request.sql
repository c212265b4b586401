-- request logs: idempotency keys, and what came of their requests.

CREATE TYPE keep.request AS (
	state pg_catalog.text,
	token pg_catalog.int8,
	checkpoint pg_catalog.jsonb,
	response pg_catalog.jsonb
);
COMMENT ON TYPE keep.request IS 'Where a request stands';
COMMENT ON COLUMN keep.request.state IS 'started, resumed, in_flight, completed or failed';
COMMENT ON COLUMN keep.request.token IS 'Under which it is the caller''s; NULL unless started or resumed';
COMMENT ON COLUMN keep.request.checkpoint IS 'How far it had got, where resumed';
COMMENT ON COLUMN keep.request.response IS 'The stored response, where completed or failed';

CREATE TYPE keep.call_result AS (
	response pg_catalog.jsonb,
	replayed pg_catalog.bool
);
COMMENT ON TYPE keep.call_result IS 'The response of a function that runs once';
COMMENT ON COLUMN keep.call_result.response IS 'What the function returned when it ran';
COMMENT ON COLUMN keep.call_result.replayed IS 'Whether that was in an earlier call';

CREATE FUNCTION keep.create_request_log(name pg_catalog.text,
		retain pg_catalog.interval = '24 hours', keep_request pg_catalog.bool = false)
	RETURNS pg_catalog.regclass
	AS 'MODULE_PATHNAME', 'keep_create_request_log'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION keep.create_request_log(pg_catalog.text, pg_catalog.interval, pg_catalog.bool) IS
	'Create a table of idempotency keys, owned by the caller';

CREATE FUNCTION keep.begin_request(log pg_catalog.regclass, key pg_catalog.text,
		request pg_catalog.jsonb, lease pg_catalog.interval = '1 min',
		wait pg_catalog.interval = '0', on_lapse pg_catalog.text = 'reclaim')
	RETURNS keep.request
	AS 'MODULE_PATHNAME', 'keep_begin_request'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.begin_request(pg_catalog.regclass, pg_catalog.text, pg_catalog.jsonb, pg_catalog.interval, pg_catalog.interval, pg_catalog.text) IS
	'Take a request to work on it under a lease, or learn what came of it';

CREATE FUNCTION keep.checkpoint_request(log pg_catalog.regclass, key pg_catalog.text,
		token pg_catalog.int8, checkpoint pg_catalog.jsonb)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_checkpoint_request'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.checkpoint_request(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb) IS
	'Write down how far a request has got, and renew its lease';

CREATE FUNCTION keep.complete_request(log pg_catalog.regclass, key pg_catalog.text,
		token pg_catalog.int8, response pg_catalog.jsonb)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_complete_request'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.complete_request(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb) IS
	'Store the response of a request';

CREATE FUNCTION keep.fail_request(log pg_catalog.regclass, key pg_catalog.text,
		token pg_catalog.int8, response pg_catalog.jsonb)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_fail_request'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.fail_request(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb) IS
	'Store the response of a request that has failed for good';

CREATE FUNCTION keep.release_request(log pg_catalog.regclass, key pg_catalog.text,
		token pg_catalog.int8)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_release_request'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.release_request(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8) IS
	'Give a request back, to be resumed by the next caller';

CREATE FUNCTION keep.call_once(log pg_catalog.regclass, key pg_catalog.text,
		fn pg_catalog.regprocedure, args pg_catalog.jsonb)
	RETURNS keep.call_result
	AS 'MODULE_PATHNAME', 'keep_call_once'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION keep.call_once(pg_catalog.regclass, pg_catalog.text, pg_catalog.regprocedure, pg_catalog.jsonb) IS
	'Run a function and store its response, once for a key';

CREATE FUNCTION keep.expire_requests(log pg_catalog.regclass = NULL,
		batch pg_catalog.int4 = 1000)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'keep_expire_requests'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION keep.expire_requests(pg_catalog.regclass, pg_catalog.int4) IS
	'Delete records out of retention, of one request log or of all; returns how many';
