-- stores: entries under a key, with a value, a version and an expiry.

CREATE TYPE keep.entry AS (
	key pg_catalog.text,
	value pg_catalog.jsonb,
	version pg_catalog.int8,
	created_at pg_catalog.timestamptz,
	updated_at pg_catalog.timestamptz,
	expires_at pg_catalog.timestamptz
);
COMMENT ON TYPE keep.entry IS 'An entry of a store';
COMMENT ON COLUMN keep.entry.key IS 'The key as the caller gave it';
COMMENT ON COLUMN keep.entry.value IS 'The value';
COMMENT ON COLUMN keep.entry.version IS 'Rises with every write; never used again';
COMMENT ON COLUMN keep.entry.created_at IS 'When this life of the entry began';
COMMENT ON COLUMN keep.entry.updated_at IS 'When the value was last written';
COMMENT ON COLUMN keep.entry.expires_at IS 'From when on it is absent; NULL: never';

CREATE TYPE keep.outcome AS (
	applied pg_catalog.bool,
	status pg_catalog.text,
	value pg_catalog.jsonb,
	version pg_catalog.int8,
	expires_at pg_catalog.timestamptz
);
COMMENT ON TYPE keep.outcome IS 'What a write did, and the entry as it stands after it';
COMMENT ON COLUMN keep.outcome.applied IS 'Whether the write was done';
COMMENT ON COLUMN keep.outcome.status IS 'What was done, or why not';
COMMENT ON COLUMN keep.outcome.value IS 'The value now; after a delete, what was deleted';
COMMENT ON COLUMN keep.outcome.version IS 'The version now';
COMMENT ON COLUMN keep.outcome.expires_at IS 'From when on the entry is absent; NULL: never';

CREATE FUNCTION keep.create_store(name pg_catalog.text, ttl pg_catalog.interval = NULL,
		expire_after pg_catalog.text = 'write', max_lifetime pg_catalog.interval = NULL,
		renew_after pg_catalog.interval = NULL, max_value_bytes pg_catalog.int4 = 1048576,
		hash_keys pg_catalog.bool = false, persistence pg_catalog.text = 'logged')
	RETURNS pg_catalog.regclass
	AS 'MODULE_PATHNAME', 'keep_create_store'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.create_store(pg_catalog.text, pg_catalog.interval, pg_catalog.text, pg_catalog.interval, pg_catalog.interval, pg_catalog.int4, pg_catalog.bool, pg_catalog.text) IS
	'Create a store: a table of entries that the caller owns';

CREATE FUNCTION keep.set_store_option(store pg_catalog.regclass, option pg_catalog.text,
		value pg_catalog.text)
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_set_store_option'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.set_store_option(pg_catalog.regclass, pg_catalog.text, pg_catalog.text) IS
	'Change an option of a store that the caller owns; NULL sets the default';

CREATE FUNCTION keep.get(store pg_catalog.regclass, key pg_catalog.text)
	RETURNS pg_catalog.jsonb
	AS 'MODULE_PATHNAME', 'keep_get'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 10;
COMMENT ON FUNCTION keep.get(pg_catalog.regclass, pg_catalog.text) IS
	'The value of a live entry, or NULL';

CREATE FUNCTION keep.get_entry(store pg_catalog.regclass, key pg_catalog.text)
	RETURNS SETOF keep.entry
	AS 'MODULE_PATHNAME', 'keep_get_entry'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 10 ROWS 1;
COMMENT ON FUNCTION keep.get_entry(pg_catalog.regclass, pg_catalog.text) IS
	'The live entry, or no row';

CREATE FUNCTION keep.get_many(store pg_catalog.regclass, keys pg_catalog.text[])
	RETURNS SETOF keep.entry
	AS 'MODULE_PATHNAME', 'keep_get_many'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 10 ROWS 100;
COMMENT ON FUNCTION keep.get_many(pg_catalog.regclass, pg_catalog.text[]) IS
	'The live entries under these keys, in the order asked';

CREATE FUNCTION keep.get_and_touch(store pg_catalog.regclass, key pg_catalog.text,
		ttl pg_catalog.interval = NULL)
	RETURNS SETOF keep.entry
	AS 'MODULE_PATHNAME', 'keep_get_and_touch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10 ROWS 1;
COMMENT ON FUNCTION keep.get_and_touch(pg_catalog.regclass, pg_catalog.text, pg_catalog.interval) IS
	'The live entry, kept alive; or no row';

CREATE FUNCTION keep.put(store pg_catalog.regclass, key pg_catalog.text,
		value pg_catalog.jsonb, ttl pg_catalog.interval = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_put'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.put(pg_catalog.regclass, pg_catalog.text, pg_catalog.jsonb, pg_catalog.interval) IS
	'Write an entry, whatever is there';

CREATE FUNCTION keep.put_many(store pg_catalog.regclass, keys pg_catalog.text[],
		"values" pg_catalog.jsonb[], ttl pg_catalog.interval = NULL)
	RETURNS SETOF keep.entry
	AS 'MODULE_PATHNAME', 'keep_put_many'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10 ROWS 100;
COMMENT ON FUNCTION keep.put_many(pg_catalog.regclass, pg_catalog.text[], pg_catalog.jsonb[], pg_catalog.interval) IS
	'Write many entries in one call';

CREATE FUNCTION keep.put_batch(store pg_catalog.regclass, entries pg_catalog.jsonb,
		ttl pg_catalog.interval = NULL)
	RETURNS SETOF keep.entry
	AS 'MODULE_PATHNAME', 'keep_put_batch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10 ROWS 100;
COMMENT ON FUNCTION keep.put_batch(pg_catalog.regclass, pg_catalog.jsonb, pg_catalog.interval) IS
	'Write an entry for each member of a JSON object';

CREATE FUNCTION keep.put_if_absent(store pg_catalog.regclass, key pg_catalog.text,
		value pg_catalog.jsonb, ttl pg_catalog.interval = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_put_if_absent'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.put_if_absent(pg_catalog.regclass, pg_catalog.text, pg_catalog.jsonb, pg_catalog.interval) IS
	'Create an entry unless there is a live one';

CREATE FUNCTION keep.compare_and_swap(store pg_catalog.regclass, key pg_catalog.text,
		expected_version pg_catalog.int8, value pg_catalog.jsonb,
		ttl pg_catalog.interval = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_compare_and_swap'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.compare_and_swap(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.jsonb, pg_catalog.interval) IS
	'Write only over the version that the caller has seen; 0: only if absent';

CREATE FUNCTION keep.merge(store pg_catalog.regclass, key pg_catalog.text,
		patch pg_catalog.jsonb, expected_version pg_catalog.int8 = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_merge'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.merge(pg_catalog.regclass, pg_catalog.text, pg_catalog.jsonb, pg_catalog.int8) IS
	'Apply a merge patch (RFC 7396) to a live entry';

CREATE FUNCTION keep.increment(store pg_catalog.regclass, key pg_catalog.text,
		by pg_catalog.int8 = 1, path pg_catalog.text[] = '{}',
		ttl pg_catalog.interval = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_increment'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.increment(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.text[], pg_catalog.interval) IS
	'Add to the integer at a path of an entry, from 0 if there is none';

CREATE FUNCTION keep.touch(store pg_catalog.regclass, key pg_catalog.text,
		ttl pg_catalog.interval = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_touch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.touch(pg_catalog.regclass, pg_catalog.text, pg_catalog.interval) IS
	'Keep a live entry alive';

CREATE FUNCTION keep.persist(store pg_catalog.regclass, key pg_catalog.text)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_persist'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.persist(pg_catalog.regclass, pg_catalog.text) IS
	'Remove the expiry of a live entry';

CREATE FUNCTION keep.delete(store pg_catalog.regclass, key pg_catalog.text,
		expected_version pg_catalog.int8 = NULL)
	RETURNS keep.outcome
	AS 'MODULE_PATHNAME', 'keep_delete'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.delete(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8) IS
	'Delete a live entry';

CREATE FUNCTION keep.expire(store pg_catalog.regclass = NULL, batch pg_catalog.int4 = 1000)
	RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'keep_expire'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10;
COMMENT ON FUNCTION keep.expire(pg_catalog.regclass, pg_catalog.int4) IS
	'Delete entries that have expired, of one store or of all';

CREATE FUNCTION keep.wait_for(store pg_catalog.regclass, key pg_catalog.text,
		after_version pg_catalog.int8 = 0, timeout pg_catalog.interval = '30 s')
	RETURNS SETOF keep.entry
	AS 'MODULE_PATHNAME', 'keep_wait_for'
	LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10 ROWS 1;
COMMENT ON FUNCTION keep.wait_for(pg_catalog.regclass, pg_catalog.text, pg_catalog.int8, pg_catalog.interval) IS
	'The live entry once its version is above one that was seen; no row at the timeout';
