-- pg_keep: correct state for stateless services, in plain SQL.
--
-- Put together from the fragments in sql/, one a room.  Everything lives in
-- the schema keep.  Functions run with the rights of their caller and are open
-- to all, as built-in ones are: what a call may do is decided by the rights on
-- the table that it names.

\echo Use "CREATE EXTENSION pg_keep" to load this file. \quit

CREATE SCHEMA keep;
COMMENT ON SCHEMA keep IS 'pg_keep: state for stateless services';
GRANT USAGE ON SCHEMA keep TO PUBLIC;

CREATE FUNCTION keep.clock() RETURNS pg_catalog.timestamptz
	AS 'MODULE_PATHNAME', 'keep_clock'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1;
COMMENT ON FUNCTION keep.clock() IS
	'The time by which pg_keep decides what has expired';

CREATE FUNCTION keep.transactions_ended() RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'keep_transactions_ended'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1;
COMMENT ON FUNCTION keep.transactions_ended() IS
	'A count that rises whenever a transaction ends; for statements of pg_keep itself';

CREATE FUNCTION keep.merge_patch(target pg_catalog.jsonb, patch pg_catalog.jsonb)
	RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'keep_merge_patch'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION keep.merge_patch(pg_catalog.jsonb, pg_catalog.jsonb) IS
	'Apply a JSON merge patch (RFC 7396)';

CREATE FUNCTION keep.json_increment(value pg_catalog.jsonb, path pg_catalog.text[],
									by pg_catalog.int8)
	RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'keep_json_increment_sql'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION keep.json_increment(pg_catalog.jsonb, pg_catalog.text[], pg_catalog.int8) IS
	'Add to the integer at a path, from 0 where none is there yet';
