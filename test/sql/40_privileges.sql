-- A caller can do through pg_keep what its rights on the table allow, no more and no less,
-- and whether it may does not depend on what stands in the table.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');

-- Runs a statement as a role that has exactly these rights, and undoes it.
CREATE FUNCTION test.may(rights text, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        REVOKE ALL ON s FROM regress_keep_user;
        IF rights <> '' THEN
            EXECUTE format('GRANT %s ON s TO regress_keep_user', rights);
        END IF;
        PERFORM set_config('role', 'regress_keep_user', true);
        result := test.code(stmt);
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
    RETURN result;
END $$;

-- The same with no entry, an entry and an expired entry: one answer, or all three.
CREATE FUNCTION test.may_always(rights text, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    absent text;
    present text;
    expired text;
BEGIN
    DELETE FROM s;
    absent := test.may(rights, stmt);
    PERFORM keep.put('s', 'k', '1', '1 hour');
    present := test.may(rights, stmt);
    PERFORM test.lapse('s', 'k');
    expired := test.may(rights, stmt);
    IF absent = present AND present = expired THEN
        RETURN absent;
    END IF;
    RETURN concat_ws('/', absent, present, expired);
END $$;

CREATE VIEW fn AS SELECT nr, fn, replace(stmt, '$1', '''s''') AS stmt FROM test.call
    WHERE fn NOT IN ('acquire', 'renew', 'release', 'assert_lease', 'increment', 'compare_and_swap')
    UNION ALL VALUES
    (100, 'increment', $$SELECT keep.increment('s', 'k')$$),
    (101, 'swap, 0', $$SELECT keep.compare_and_swap('s', 'k', 0, '1')$$),
    (102, 'swap, stale', $$SELECT keep.compare_and_swap('s', 'k', 1, '1')$$),
    (103, 'acquire', $$SELECT keep.acquire('s', 'k', 'me', '1 min')$$),
    (104, 'renew', $$SELECT keep.renew('s', 'k', 1, '1 min')$$),
    (105, 'release', $$SELECT keep.release('s', 'k', 1)$$),
    (106, 'assert_lease', $$DO 'BEGIN PERFORM keep.assert_lease(''s'', ''k'', 1); EXCEPTION WHEN SQLSTATE ''KP412'' THEN NULL; END'$$),
    (107, 'touch, ttl', $$SELECT keep.touch('s', 'k', '2 hours')$$),
    (108, 'delete, stale', $$SELECT keep.delete('s', 'k', 1)$$),
    (109, 'merge, stale', $$SELECT keep.merge('s', 'k', '{}', 1)$$);
SELECT fn, test.may_always('', stmt) AS "none", test.may_always('SELECT', stmt) AS sel,
    test.may_always('INSERT', stmt) AS ins, test.may_always('UPDATE', stmt) AS upd, test.may_always('DELETE', stmt) AS del
FROM fn ORDER BY nr;
SELECT fn, test.may_always('SELECT, INSERT', stmt) AS sel_ins, test.may_always('SELECT, UPDATE', stmt) AS sel_upd,
    test.may_always('SELECT, DELETE', stmt) AS sel_del, test.may_always('INSERT, UPDATE, DELETE', stmt) AS "all but sel"
FROM fn ORDER BY nr;
SELECT fn, test.may_always('SELECT, INSERT, UPDATE', stmt) AS sel_ins_upd,
    test.may_always('SELECT, UPDATE, DELETE', stmt) AS sel_upd_del,
    test.may_always('SELECT, INSERT, UPDATE, DELETE', stmt) AS four
FROM fn ORDER BY nr;
DROP VIEW fn;

-- rights on columns are rights: the six of an entry to read, the seven of the table (and xmax) to write
SELECT test.may_always('SELECT (key, value, version, created_at, updated_at, expires_at)', c) FROM (VALUES
    ($$SELECT keep.get('s', 'k')$$), ($$SELECT keep.get_entry('s', 'k')$$), ($$SELECT keep.get_many('s', '{k}')$$)) v(c);
ALTER TABLE s ADD COLUMN secret text;
SELECT test.may_always('SELECT (key, value, version, created_at, updated_at, expires_at)', c) AS "and no other column" FROM (VALUES
    ($$SELECT keep.get('s', 'k')$$), ($$SELECT keep.get_entry('s', 'k')$$), ($$SELECT keep.get_many('s', '{k}')$$)) v(c);
ALTER TABLE s DROP COLUMN secret;
SELECT c, test.may_always('SELECT (key, value, version, created_at, updated_at, expires_at, reap_at, xmax), INSERT (key, value, version,'
    ' created_at, updated_at, expires_at, reap_at), UPDATE (key, value, version, created_at, updated_at, expires_at, reap_at)', c) FROM (VALUES
    ($$SELECT keep.put('s', 'k', '1')$$), ($$SELECT keep.put_many('s', '{k}', '{1}')$$), ($$SELECT keep.touch('s', 'k')$$),
    ($$SELECT keep.merge('s', 'k', '{}')$$), ($$SELECT keep.increment('s', 'k')$$), ($$SELECT keep.acquire('s', 'k', 'me', '1 min')$$)) v(c);
DROP FUNCTION test.may_always(text, text);
DROP FUNCTION test.may(text, text);

-- with grants on the one table and nothing else, everything works
TRUNCATE s;
GRANT SELECT, INSERT, UPDATE, DELETE ON s TO regress_keep_user;
SELECT has_sequence_privilege('regress_keep_user', 's_version_seq', 'USAGE') AS "a right on the sequence";
SET ROLE regress_keep_user;
SELECT fn, result FROM test.try_all('''s''') WHERE result <> 'ok';
RESET ROLE;
-- and nothing without; the message names the table
SET ROLE regress_keep_nobody;
\pset format unaligned
SELECT * FROM test.try_all_grouped('''s''');
\pset format aligned
SELECT test.sqlstate($$SELECT keep.set_store_option('s', 'ttl', '1 hour')$$);
SELECT test.sqlstate($$SELECT keep.register('s', 'store')$$);
RESET ROLE;

-- plans cached for one role do not open the table to another, in one session and one transaction
BEGIN;
SELECT (keep.put('s', 'k', '1')).status AS put;
SELECT keep.get('s', 'k');
SET LOCAL ROLE regress_keep_nobody;
SELECT test.code($$SELECT keep.get('s', 'k')$$), test.code($$SELECT keep.put('s', 'k', '1')$$);
SET LOCAL ROLE regress_keep_user;
SELECT test.code($$SELECT keep.get('s', 'k')$$), test.code($$SELECT keep.put('s', 'k', '1')$$);
COMMIT;

-- granted and revoked with plans cached; by a role the caller is in
SET ROLE regress_keep_other;
SELECT test.code($$SELECT keep.get('s', 'k')$$);
RESET ROLE;
GRANT regress_keep_user TO regress_keep_other;
SET ROLE regress_keep_other;
SELECT test.code($$SELECT keep.get('s', 'k')$$), test.code($$SELECT keep.put('s', 'k', '1')$$);
RESET ROLE;
REVOKE regress_keep_user FROM regress_keep_other;
SET ROLE regress_keep_other;
SELECT test.code($$SELECT keep.get('s', 'k')$$), test.code($$SELECT keep.put('s', 'k', '1')$$);
RESET ROLE;
REVOKE ALL ON s FROM regress_keep_user;
SET ROLE regress_keep_user;
SELECT DISTINCT result FROM test.try_all('''s''');
RESET ROLE;
GRANT ALL ON s TO PUBLIC;
SET ROLE regress_keep_nobody;
SELECT DISTINCT result FROM test.try_all('''s''') WHERE fn NOT IN ('renew', 'release', 'assert_lease');
SELECT test.code($$SELECT keep.set_store_option('s', 'ttl', '1 hour')$$) AS "not an owner for that";
RESET ROLE;

-- the owner is another role than the caller; a function of the owner's lends its rights
CREATE SCHEMA shop AUTHORIZATION regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.create_store('shop.carts');
CREATE FUNCTION shop.mine(k text) RETURNS text SECURITY DEFINER LANGUAGE sql AS $$
    SELECT status FROM keep.put('shop.carts', k, '1')
$$;
GRANT USAGE ON SCHEMA shop TO regress_keep_user;
RESET ROLE;
SELECT 'shop.carts'::regclass::oid AS carts \gset
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.put('shop.carts', 'k', '1')$$) AS "by itself", shop.mine('k') AS "through the owner's function";
RESET ROLE;

-- the schema's rights count as for any statement, also where the table is named by its number
SET ROLE regress_keep_nobody;
SELECT test.code($$SELECT keep.get('shop.carts', 'k')$$) AS name;
RESET ROLE;
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.carts TO regress_keep_nobody;
SET ROLE regress_keep_nobody;
SELECT test.code($$SELECT keep.get('shop.carts', 'k')$$) AS name;
SELECT DISTINCT result FROM test.try_all(:'carts' || '::regclass');
RESET ROLE;
GRANT USAGE ON SCHEMA shop TO regress_keep_nobody;
SET ROLE regress_keep_nobody;
SELECT DISTINCT result FROM test.try_all('''shop.carts''') WHERE fn NOT IN ('renew', 'release', 'assert_lease');
RESET ROLE;

-- a role may be kept from the functions as from any
REVOKE EXECUTE ON FUNCTION keep.put FROM PUBLIC;
SET ROLE regress_keep_nobody;
SELECT test.sqlstate($$SELECT keep.put('s', 'k', '1')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION keep.put TO PUBLIC;

SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
DROP TABLE s;

-- expire() on all stores holds no lock on one that is not the caller's to clean up
SELECT keep.create_store('locked_out');
SET ROLE regress_keep_user;
BEGIN;
SELECT keep.expire();
SELECT count(*) FROM pg_locks WHERE relation = 'locked_out'::regclass;
COMMIT;
RESET ROLE;
DROP TABLE locked_out;
