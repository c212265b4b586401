-- register: a table of the right shape becomes a store again, with the options given;
-- everything else is refused with the reason; the owner alone may.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s', ttl => '1 hour');
SELECT test.o(keep.put('s', 'k', '1'));

-- a copy of the shape is no store until it is registered
CREATE TABLE c (LIKE s INCLUDING ALL);
SELECT test.code($$SELECT keep.get('c', 'k')$$);
SELECT keep.register('c', 'store');
SELECT test.o(keep.put('c', 'k', '1')), keep.get('c', 'k');
SELECT test.sound('c');
SELECT schema_name, table_name, kind, options, relid = 'c'::regclass AS relid_is_right
FROM keep.relation WHERE table_name = 'c';

-- again, with other options: the last word counts
SELECT keep.register('c', 'store', '{"ttl": "2 hours", "expire_after": "access"}');
SELECT test.o(keep.put('c', 'k', '2'));
SELECT options FROM keep.relation WHERE table_name = 'c';
SELECT keep.register('c', 'store', (SELECT options FROM keep.relation WHERE table_name = 's'));
SELECT test.o(keep.put('c', 'k', '2')) AS "options taken from another store";
SELECT keep.register('c', 'store', '{"ttl": null}');
SELECT test.o(keep.put('c', 'k', '2')) AS "null is the default";
SELECT keep.register('c', 'store');
SELECT count(*) FROM keep.relation WHERE table_name = 'c';

-- every option
CREATE TABLE o (LIKE s INCLUDING ALL);
SELECT keep.register('o', 'store', '{"ttl": "1 hour", "expire_after": "access", "max_lifetime": "90 min",
	"renew_after": "1 min", "max_value_bytes": 50, "hash_keys": true}');
SELECT test.o(keep.put('o', 'k', '1')), keep.get('o', 'k');
SELECT count(*) FILTER (WHERE key = 'k') AS bare, count(*) FROM o;
SELECT test.code($$SELECT keep.put('o', 'k', to_jsonb(repeat('x', 51)))$$);
SET pg_keep.test_clock_offset = 3000000;
SELECT test.o(keep.touch('o', 'k')) AS "40 minutes to the cap";
RESET pg_keep.test_clock_offset;

-- extra columns are welcome; so are other columns' order and names of constraints
CREATE TABLE extra (
	note text DEFAULT 'none',
	reap_at timestamptz,
	expires_at timestamptz,
	version bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT now(),
	created_at timestamptz NOT NULL DEFAULT now(),
	value jsonb NOT NULL,
	key text COLLATE "C" CONSTRAINT the_key PRIMARY KEY
);
SELECT test.sqlstate($$SELECT keep.register('extra', 'store')$$);
SELECT test.sqlstate($$SELECT keep.put('extra', 'k', '1')$$);

-- mistakes
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate(format('SELECT keep.register(%s)', c)) FROM (VALUES
	($$NULL, 'store'$$),
	($$'s', NULL$$),
	($$'s', 'store', NULL$$),
	($$'s', 'shop'$$),
	($$'s', ''$$),
	($$'s', 'Store'$$),
	($$'s', 'store', '[]'$$),
	($$'s', 'store', '1'$$),
	($$'s', 'store', 'null'$$),
	($$'s', 'store', '{"colour": "red"}'$$),
	($$'s', 'store', '{"ttl": "soon"}'$$),
	($$'s', 'store', '{"ttl": "-1 hour"}'$$),
	($$'s', 'store', '{"ttl": {}}'$$),
	($$'s', 'store', '{"ttl": 5}'$$),
	($$'s', 'store', '{"expire_after": "never"}'$$),
	($$'s', 'store', '{"max_value_bytes": 0}'$$),
	($$'s', 'store', '{"max_value_bytes": "x"}'$$),
	($$'s', 'store', '{"hash_keys": "perhaps"}'$$),
	($$'pg_class', 'store'$$),
	($$'keep.relation', 'store'$$)
) v(c);
SELECT test.o(keep.put('s', 'k', '2')) AS "s is as it was";

-- wrong shapes, each with the reason; what makes a table right is checked piece by piece
CREATE FUNCTION test.shape(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	CREATE TABLE shape (LIKE s INCLUDING ALL);
	EXECUTE change;
	result := test.sqlstate($q$SELECT keep.register('shape', 'store')$q$);
	DROP TABLE shape;
	RETURN result;
END $$;
SELECT c, test.shape(c) FROM (VALUES
	('SELECT 1'),
	('ALTER TABLE shape DROP COLUMN key'),
	('ALTER TABLE shape DROP COLUMN value'),
	('ALTER TABLE shape DROP COLUMN version'),
	('ALTER TABLE shape DROP COLUMN created_at'),
	('ALTER TABLE shape DROP COLUMN updated_at'),
	('ALTER TABLE shape DROP COLUMN expires_at'),
	('ALTER TABLE shape DROP COLUMN reap_at'),
	('ALTER TABLE shape DROP CONSTRAINT shape_pkey'),
	('ALTER TABLE shape DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (version)'),
	('ALTER TABLE shape DROP CONSTRAINT shape_pkey, ADD PRIMARY KEY (key, version)'),
	('ALTER TABLE shape ALTER key TYPE varchar(1024) COLLATE "C"'),
	('ALTER TABLE shape ALTER key TYPE text COLLATE "POSIX"'),
	('ALTER TABLE shape ALTER value TYPE json'),
	('ALTER TABLE shape ALTER version TYPE int'),
	('ALTER TABLE shape ALTER version DROP IDENTITY'),
	('ALTER TABLE shape ALTER expires_at TYPE timestamp'),
	('ALTER TABLE shape ALTER reap_at TYPE date'),
	('ALTER TABLE shape ALTER created_at TYPE timestamp'),
	('ALTER TABLE shape RENAME key TO k'),
	('ALTER TABLE shape RENAME value TO v'),
	('ALTER TABLE shape ADD COLUMN note text')
) v(c);
\pset tuples_only off
\pset format aligned

-- other kinds of relation
CREATE VIEW v AS SELECT * FROM s;
CREATE MATERIALIZED VIEW m AS SELECT * FROM s;
CREATE TEMP TABLE t (LIKE s INCLUDING ALL);
SELECT test.sqlstate($$SELECT keep.register('v', 'store')$$);
SELECT test.sqlstate($$SELECT keep.register('m', 'store')$$);
SELECT test.sqlstate($$SELECT keep.register('s_pkey', 'store')$$);
SELECT test.sqlstate($$SELECT keep.register('s_version_seq', 'store')$$);
SELECT test.code($$SELECT keep.register('t', 'store')$$) IN ('0A000', '42P16', '42809') AS "temporary: refused";
DROP VIEW v;
DROP MATERIALIZED VIEW m;
DROP TABLE t;

-- the owner alone may
GRANT ALL ON c TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.register('c', 'store')$$);
RESET ROLE;
ALTER TABLE c OWNER TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.sqlstate($$SELECT keep.register('c', 'store')$$);
SELECT test.sqlstate($$SELECT keep.register('s', 'store')$$);
RESET ROLE;
BEGIN READ ONLY;
SELECT test.code($$SELECT keep.register('c', 'store')$$) AS "in a read-only transaction";
COMMIT;

-- rolled back, it was never registered
CREATE TABLE r (LIKE s INCLUDING ALL);
BEGIN;
SELECT keep.register('r', 'store');
SELECT test.code($$SELECT keep.put('r', 'k', '1')$$);
ROLLBACK;
SELECT test.code($$SELECT keep.put('r', 'k', '1')$$);

-- a superuser may lose a row of the catalog; register brings the table back with its entries
SELECT keep.get('s', 'k');
DELETE FROM keep.relation WHERE table_name = 's';
SELECT test.code($$SELECT keep.get('s', 'k')$$);
SELECT keep.register('s', 'store', '{"ttl": "1 hour"}');
SELECT keep.get('s', 'k'), test.o(keep.put('s', 'k', '3'));
SELECT test.sound('s'), test.sound('c'), test.sound('o');

DROP FUNCTION test.shape(text);
DROP TABLE s, c, o, extra, r;
SELECT count(*) AS registered FROM keep.relation;
