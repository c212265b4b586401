-- pg_keep's catalog follows its tables: renamed, moved, given to another owner, dropped
-- in every way an ordinary owner can drop, and back again by a rollback.
\pset null '(null)'
\set VERBOSITY terse
SET client_min_messages = warning;

CREATE SCHEMA shop AUTHORIZATION regress_keep_owner;
CREATE SCHEMA "Depot 2" AUTHORIZATION regress_keep_owner;
CREATE TEMP VIEW catalog AS
SELECT r.schema_name, r.table_name, r.kind,
    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = r.relid AND c.relname = r.table_name AND n.nspname = r.schema_name) AS relid_is_right
FROM keep.relation r ORDER BY r.schema_name, r.table_name;
GRANT SELECT ON catalog TO PUBLIC;
SET ROLE regress_keep_owner;

-- off the search_path
SELECT keep.create_store('shop.carts', ttl => '1 hour');
SELECT test.o(keep.put('shop.carts', 'k', '1'));
SELECT keep.get('shop.carts', 'k');
SELECT * FROM catalog;

-- renamed
ALTER TABLE shop.carts RENAME TO "Baskets";
SELECT * FROM catalog;
SELECT keep.get('shop."Baskets"', 'k'), test.o(keep.put('shop."Baskets"', 'k', '2'));
SELECT test.code($$SELECT keep.get('shop.carts', 'k')$$) AS "the old name";

-- moved
ALTER TABLE shop."Baskets" SET SCHEMA "Depot 2";
SELECT * FROM catalog;
SELECT keep.get('"Depot 2"."Baskets"', 'k'), test.o(keep.put('"Depot 2"."Baskets"', 'k', '3'));

-- its schema renamed
RESET ROLE;
GRANT CREATE ON DATABASE :"DBNAME" TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.create_store('"Depot 2".other');
ALTER SCHEMA "Depot 2" RENAME TO depot;
SELECT * FROM catalog;
SELECT keep.get('depot."Baskets"', 'k'), test.o(keep.put('depot."Baskets"', 'k', '4'));

-- two that change names; one that takes the name a registered one had
ALTER TABLE depot.other RENAME TO third;
ALTER TABLE depot."Baskets" RENAME TO other;
ALTER TABLE depot.third RENAME TO "Baskets";
SELECT * FROM catalog;
SELECT keep.get('depot.other', 'k'), keep.get('depot."Baskets"', 'k');
ALTER TABLE depot.other RENAME TO carts;
CREATE TABLE depot.other (x int);
SELECT * FROM catalog;
SELECT test.code($$SELECT keep.get('depot.other', 'k')$$) AS "a plain table";
DROP TABLE depot.other;

-- taken back
BEGIN;
ALTER TABLE depot.carts RENAME TO x;
SELECT test.o(keep.put('depot.x', 'k', '5'));
ROLLBACK;
BEGIN;
ALTER TABLE depot.carts SET SCHEMA shop;
SELECT test.o(keep.put('shop.carts', 'k', '5'));
ROLLBACK;
BEGIN;
ALTER SCHEMA depot RENAME TO x;
SELECT test.o(keep.put('x.carts', 'k', '5'));
ROLLBACK;
SELECT * FROM catalog;
SELECT keep.get('depot.carts', 'k');
RESET ROLE;
REVOKE CREATE ON DATABASE :"DBNAME" FROM regress_keep_owner;

-- moved by a function, with more than one command in it
SET ROLE regress_keep_owner;
DO $$ BEGIN
    ALTER TABLE depot.carts RENAME TO y;
    ALTER TABLE depot.y SET SCHEMA shop;
    ALTER TABLE shop.y RENAME TO z;
    PERFORM keep.put('shop.z', 'k', '6');
END $$;
SELECT * FROM catalog;
ALTER TABLE shop.z SET SCHEMA depot;
ALTER TABLE depot.z RENAME TO carts;
RESET ROLE;

-- another owner
ALTER TABLE depot.carts OWNER TO regress_keep_other;
SET ROLE regress_keep_owner;
SELECT test.code($$SELECT keep.get('depot.carts', 'k')$$) AS "the old owner",
    test.code($$SELECT keep.set_store_option('depot.carts', 'ttl', '2 hours')$$) AS "and options";
RESET ROLE;
GRANT USAGE, CREATE ON SCHEMA depot TO regress_keep_other;
SET ROLE regress_keep_other;
SELECT keep.get('depot.carts', 'k');
SELECT keep.set_store_option('depot.carts', 'ttl', '2 hours');
SELECT test.o(keep.put('depot.carts', 'k', '7'));
SELECT * FROM catalog;

-- DROP TABLE by an ordinary owner, rolled back and not
BEGIN;
DROP TABLE depot.carts;
SELECT * FROM catalog;
ROLLBACK;
SELECT * FROM catalog;
SELECT keep.get('depot.carts', 'k');
DROP TABLE depot.carts;
SELECT * FROM catalog;
RESET ROLE;
SET ROLE regress_keep_owner;
DROP TABLE depot."Baskets";
SELECT count(*) FROM catalog;

-- DROP SCHEMA ... CASCADE
SELECT keep.create_store('depot.one');
SELECT keep.create_store('depot.two');
SELECT keep.create_store('shop.three');
CREATE TABLE depot.plain ();
BEGIN;
DROP SCHEMA depot CASCADE;
SELECT * FROM catalog;
ROLLBACK;
SELECT * FROM catalog;
SELECT test.o(keep.put('depot.one', 'k', '1'));
DROP SCHEMA depot CASCADE;
SELECT * FROM catalog;
RESET ROLE;

-- DROP OWNED, and REASSIGN OWNED before it
CREATE SCHEMA depot AUTHORIZATION regress_keep_other;
SET ROLE regress_keep_other;
SELECT keep.create_store('depot.one');
SELECT keep.create_store('depot.two');
RESET ROLE;
BEGIN;
REASSIGN OWNED BY regress_keep_other TO regress_keep_owner;
SET LOCAL ROLE regress_keep_owner;
SELECT test.o(keep.put('depot.one', 'k', '1'));
SELECT keep.set_store_option('depot.one', 'ttl', '2 hours');
RESET ROLE;
ROLLBACK;
SET ROLE regress_keep_other;
BEGIN;
DROP OWNED BY regress_keep_other;
SELECT * FROM catalog;
ROLLBACK;
SELECT * FROM catalog;
DROP OWNED BY regress_keep_other;
SELECT * FROM catalog;
RESET ROLE;

-- DROP TABLE of several, among them plain ones; and one with what depends on it
SET ROLE regress_keep_owner;
SELECT keep.create_store('shop.four');
CREATE TABLE shop.plain ();
CREATE VIEW shop.seen AS SELECT key FROM shop.four;
SELECT test.code('DROP TABLE shop.four') AS "a view depends on it";
SELECT * FROM catalog;
DROP TABLE shop.three, shop.plain, shop.four CASCADE;
SELECT * FROM catalog;

-- made and dropped in one transaction, and made again
BEGIN;
SELECT keep.create_store('shop.five');
DROP TABLE shop.five;
SELECT keep.create_store('shop.five', ttl => '1 hour');
SELECT test.o(keep.put('shop.five', 'k', '1'));
COMMIT;
SELECT * FROM catalog;

-- whatever the owner's search_path hides
SET search_path = '';
ALTER TABLE shop.five RENAME TO six;
SELECT * FROM pg_temp.catalog;
DROP TABLE shop.six;
SELECT * FROM pg_temp.catalog;
RESET search_path;

-- dropping other things does not disturb, nor do commands that fail
SELECT keep.create_store('shop.seven');
ALTER TABLE shop.seven ADD COLUMN a int, ADD COLUMN b int DEFAULT 1;
ALTER TABLE shop.seven DROP COLUMN a;
ALTER INDEX shop.seven_pkey RENAME TO seven_primary;
ALTER TABLE shop.seven RENAME COLUMN b TO c;
DROP INDEX shop.seven_reap_at_idx;
ALTER SEQUENCE shop.seven_version_seq RENAME TO seven_versions;
ALTER TABLE shop.seven RENAME TO pg_class;
ALTER TABLE shop.pg_class RENAME TO seven;
SELECT test.code('ALTER TABLE shop.seven RENAME TO nowhere; SELECT 1/0');
SELECT * FROM catalog;
SELECT test.o(keep.put('shop.seven', 'k', '1')), test.o(keep.put('shop.seven', 'k', '2'));
SELECT test.o(keep.put('shop.seven', 'k', '3', '1 hour')), test.o(keep.merge('shop.seven', 'k', '{}'));

-- a table in two places at once: inheritance, and a copy
CREATE TABLE shop.child () INHERITS (shop.seven);
CREATE TABLE shop.copy AS SELECT * FROM shop.seven;
SELECT test.code($$SELECT keep.get('shop.child', 'k')$$), test.code($$SELECT keep.get('shop.copy', 'k')$$);
SELECT * FROM catalog;
RESET ROLE;
DROP SCHEMA shop CASCADE;
SELECT * FROM catalog;

-- replication's role changes nothing about that
SELECT keep.create_store('replica_role');
SET session_replication_role = replica;
ALTER TABLE replica_role RENAME TO replica_role2;
RESET session_replication_role;
SELECT (keep.put('replica_role2', 'k', '1')).status;
SET session_replication_role = replica;
DROP TABLE replica_role2;
RESET session_replication_role;
SELECT count(*) FROM keep.relation WHERE table_name LIKE 'replica_role%';

-- renamed while the event trigger is off: still found, and written down at the next change
SELECT keep.create_store('unfollowed');
ALTER EVENT TRIGGER pg_keep_table_altered DISABLE;
ALTER TABLE unfollowed RENAME TO unfollowed2;
SELECT (keep.put('unfollowed2', 'k', '1')).status;
SELECT keep.set_store_option('unfollowed2', 'ttl', '1 hour');
SELECT table_name, options FROM keep.relation WHERE table_name LIKE 'unfollowed%';
-- but not where another table has taken the name that is written down
ALTER TABLE unfollowed2 RENAME TO unfollowed3;
CREATE TABLE unfollowed2 (LIKE unfollowed3 INCLUDING ALL);
SELECT test.sqlstate($$SELECT keep.get('unfollowed3', 'k')$$);
ALTER EVENT TRIGGER pg_keep_table_altered ENABLE ALWAYS;
DROP TABLE unfollowed2, unfollowed3;
SELECT count(*) FROM keep.relation WHERE table_name LIKE 'unfollowed%';
