-- set_store_option: each option takes effect at the next call, also where plans are
-- cached; NULL goes back to the default; unknown options and bad values are refused;
-- the owner alone may; hash_keys stays; persistence leaves the sequence logged.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');
SELECT options FROM keep.relation WHERE table_name = 's' \gset was_
-- plans are cached from here on
SELECT test.o(keep.put('s', 'k', '1'));
SELECT keep.get('s', 'k'), test.o(keep.touch('s', 'k'));

-- ttl
SELECT keep.set_store_option('s', 'ttl', '1 hour');
SELECT test.o(keep.put('s', 'k', '2'));
SELECT keep.set_store_option('s', 'ttl', '2 hours');
SELECT test.o(keep.put('s', 'k', '2'));
SELECT test.o(keep.increment('s', 'k'));
SELECT test.o(keep.merge('s', 'k', '{}'));

-- expire_after
SELECT keep.set_store_option('s', 'expire_after', 'access');
SELECT keep.set_store_option('s', 'ttl', '4 hours');
SELECT test.o(keep.touch('s', 'k'));
SELECT keep.set_store_option('s', 'expire_after', 'create');
SELECT keep.set_store_option('s', 'ttl', '8 hours');
SELECT test.o(keep.touch('s', 'k'));
SELECT test.o(keep.put('s', 'k', '3'));
SELECT keep.set_store_option('s', 'expire_after', 'write');
SELECT test.o(keep.put('s', 'k', '3'));
SELECT keep.set_store_option('s', 'expire_after', 'create');
SELECT keep.set_store_option('s', 'expire_after', NULL);
SELECT keep.set_store_option('s', 'ttl', '3 hours');
SELECT test.o(keep.put('s', 'k', '3')) AS "NULL is write again";

-- max_lifetime
SELECT keep.set_store_option('s', 'max_lifetime', '1 hour');
SELECT test.o(keep.put('s', 'k', '4'));
SELECT test.o(keep.put('s', 'new', '4'));
SELECT test.o(keep.persist('s', 'new'));
SELECT keep.set_store_option('s', 'max_lifetime', NULL);
SELECT test.o(keep.put('s', 'k', '4'));
SELECT test.o(keep.persist('s', 'new'));

-- renew_after
SELECT keep.set_store_option('s', 'expire_after', 'access');
SELECT test.o(keep.put('s', 'k', '5'));
SET pg_keep.test_clock_offset = 300000;
SELECT test.o(keep.touch('s', 'k')) AS "5 of 180 minutes: not due";
SELECT keep.set_store_option('s', 'renew_after', '4 min');
SELECT test.o(keep.touch('s', 'k')) AS "due now";
SELECT keep.set_store_option('s', 'renew_after', NULL);
RESET pg_keep.test_clock_offset;
SELECT test.o(keep.put('s', 'k', '5'));
SET pg_keep.test_clock_offset = 300000;
SELECT test.o(keep.touch('s', 'k')) AS "not due again";
RESET pg_keep.test_clock_offset;

-- ttl off
SELECT keep.set_store_option('s', 'ttl', NULL);
SELECT test.o(keep.put('s', 'k', '6'));

-- max_value_bytes
SELECT keep.set_store_option('s', 'max_value_bytes', '64');
SELECT test.code($$SELECT keep.put('s', 'k', to_jsonb(repeat('x', 65)))$$);
SELECT test.code($$SELECT keep.put('s', 'k', '1')$$);
SELECT keep.set_store_option('s', 'max_value_bytes', NULL);
SELECT test.code($$SELECT keep.put('s', 'k', to_jsonb(repeat('x', 1000000)))$$);
SELECT test.code($$SELECT keep.put('s', 'k', to_jsonb(repeat('x', 1048577)))$$) AS "the default is 1 MiB";

-- everything is back at its default
SELECT options = :'was_options' AS "as new" FROM keep.relation WHERE table_name = 's';

-- persistence, and what it does to table, index and sequence
CREATE TEMP VIEW persistence AS
SELECT c.relname, c.relpersistence FROM pg_class c
WHERE c.oid = 's'::regclass OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 's'::regclass)
    OR c.oid = pg_get_serial_sequence('s', 'version')::regclass
ORDER BY c.relname COLLATE "C";
SELECT test.o(keep.put('s', 'k', '7'));
SELECT version AS v FROM keep.get_entry('s', 'k') \gset
SELECT keep.set_store_option('s', 'persistence', 'unlogged');
SELECT * FROM persistence;
SELECT options FROM keep.relation WHERE table_name = 's';
SELECT test.o(keep.put('s', 'k', '7'));
SELECT version > :v AS "versions go on" FROM keep.get_entry('s', 'k');
SELECT keep.set_store_option('s', 'persistence', 'unlogged');
SELECT keep.set_store_option('s', 'persistence', 'logged');
SELECT * FROM persistence;
SELECT keep.set_store_option('s', 'persistence', 'unlogged');
SELECT keep.set_store_option('s', 'persistence', NULL);
SELECT * FROM persistence;
SELECT options = :'was_options' AS "as new" FROM keep.relation WHERE table_name = 's';
SELECT version > :v AS "versions go on" FROM keep.put('s', 'k', '8');

-- mistakes change nothing
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate(format('SELECT keep.set_store_option(''s'', %s)', c)) FROM (VALUES
    ($$'colour', 'red'$$),
    ($$'', 'red'$$),
    ($$'TTL', '1 hour'$$),
    ($$NULL, '1 hour'$$),
    ($$'ttl', 'soon'$$),
    ($$'ttl', '0'$$),
    ($$'ttl', '-1 hour'$$),
    ($$'ttl', ''$$),
    ($$'expire_after', 'never'$$),
    ($$'max_lifetime', '0'$$),
    ($$'max_lifetime', 'x'$$),
    ($$'renew_after', '-1 s'$$),
    ($$'renew_after', 'x'$$),
    ($$'max_value_bytes', '0'$$),
    ($$'max_value_bytes', '-5'$$),
    ($$'max_value_bytes', 'many'$$),
    ($$'max_value_bytes', '99999999999'$$),
    ($$'hash_keys', 'true'$$),
    ($$'hash_keys', NULL$$),
    ($$'persistence', 'temporary'$$)
) v(c);
\pset tuples_only off
\pset format aligned
SELECT options = :'was_options' AS "as new" FROM keep.relation WHERE table_name = 's';
SELECT test.code($$SELECT keep.set_store_option(NULL, 'ttl', '1 hour')$$) AS "no table";
SELECT test.code($$SELECT keep.set_store_option('pg_class', 'ttl', '1 hour')$$) AS "not a store";

-- a rollback takes a change back
BEGIN;
SELECT keep.set_store_option('s', 'ttl', '1 hour');
SELECT test.o(keep.put('s', 'k', '9'));
ROLLBACK;
SELECT test.o(keep.put('s', 'k', '9'));
BEGIN;
SAVEPOINT a;
SELECT keep.set_store_option('s', 'ttl', '1 hour');
ROLLBACK TO a;
SELECT test.o(keep.put('s', 'k', '9'));
COMMIT;

-- the owner, whoever has the owner's rights, and nobody else
ALTER TABLE s OWNER TO regress_keep_owner;
GRANT ALL ON s TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.o(keep.put('s', 'k', '9'));
SELECT test.sqlstate($$SELECT keep.set_store_option('s', 'ttl', '1 hour')$$);
RESET ROLE;
SET ROLE regress_keep_owner;
SELECT keep.set_store_option('s', 'ttl', '1 hour');
RESET ROLE;
GRANT regress_keep_owner TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT keep.set_store_option('s', 'ttl', '2 hours');
SELECT test.o(keep.put('s', 'k', '9'));
RESET ROLE;
REVOKE regress_keep_owner FROM regress_keep_user;
BEGIN READ ONLY;
SELECT test.code($$SELECT keep.set_store_option('s', 'ttl', '3 hours')$$) AS "in a read-only transaction";
COMMIT;

-- hash_keys, on a store that has it
SELECT keep.create_store('h', hash_keys => true);
SELECT test.code($$SELECT keep.set_store_option('h', 'hash_keys', 'false')$$) IN ('22023', '0A000') AS refused;
SELECT (keep.put('h', 'k', '1')).status AS put;
SELECT keep.set_store_option('h', 'ttl', '1 hour');
SELECT keep.get('h', 'k') AS "still found";
SELECT test.sound('s'), test.sound('h');
DROP VIEW persistence;
DROP TABLE s, h;
