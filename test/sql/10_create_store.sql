-- create_store: every option and every mistake in one; the table it makes, its
-- sequence, its owner; names that need quoting; what it refuses.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('plain') AS made, pg_typeof(keep.create_store('second')) AS type;
SELECT schema_name, table_name, kind, options, relid = 'plain'::regclass AS relid_is_right
FROM keep.relation ORDER BY table_name;

-- the table
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS "not null",
    a.attidentity AS identity, pg_get_expr(d.adbin, d.adrelid) AS "default", co.collname
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation co ON co.oid = a.attcollation
WHERE a.attrelid = 'plain'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT conname, contype, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid = 'plain'::regclass AND contype <> 'n' ORDER BY conname COLLATE "C";
SELECT pg_get_indexdef(indexrelid) AS index FROM pg_index WHERE indrelid = 'plain'::regclass
ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";
SELECT relkind, relpersistence, (SELECT option_value::int < 100 FROM pg_options_to_table(reloptions)
    WHERE option_name = 'fillfactor') AS "leaves room for HOT"
FROM pg_class WHERE oid = 'plain'::regclass;

-- the sequence of the versions: one draw at a time, never again from the start
CREATE TEMP VIEW sequence AS
SELECT c.oid::regclass::text AS store, c.relpersistence AS of_table, s.relpersistence AS of_sequence,
    q.seqcache, q.seqincrement, q.seqstart, q.seqcycle, format_type(q.seqtypid, NULL) AS type
FROM keep.relation r JOIN pg_class c ON c.oid = r.relid
    JOIN pg_sequence q ON q.seqrelid = pg_get_serial_sequence(c.oid::regclass::text, 'version')::regclass
    JOIN pg_class s ON s.oid = q.seqrelid;
SELECT keep.create_store('unlogged', persistence => 'unlogged');
SELECT keep.create_store('logged', persistence => 'logged');
SELECT * FROM sequence ORDER BY store COLLATE "C";

-- a new store works in the very statement that makes it
SELECT test.o(keep.put(keep.create_store('at_once'), 'k', '1'));
SELECT test.sound('at_once');

-- every option, and that each one does something
SELECT keep.create_store('o_ttl', ttl => '1 hour');
SELECT test.o(keep.put('o_ttl', 'k', '1'));
SELECT keep.create_store('o_create', ttl => '1 hour', expire_after => 'create');
SELECT keep.create_store('o_write', ttl => '1 hour', expire_after => 'write');
SELECT keep.create_store('o_access', ttl => '1 hour', expire_after => 'access');
SELECT (keep.put(s, 'k', '1')).status FROM unnest('{o_create,o_write,o_access}'::regclass[]) s;
SET pg_keep.test_clock_offset = 1800000;
SELECT s AS store, test.o(keep.touch(s, 'k')) AS touch
FROM unnest('{o_create,o_write,o_access}'::regclass[]) s;
SELECT s AS store, test.o(keep.put(s, 'k', '2')) AS put
FROM unnest('{o_create,o_write,o_access}'::regclass[]) s;
RESET pg_keep.test_clock_offset;
SELECT keep.create_store('o_max_lifetime', ttl => '1 hour', max_lifetime => '30 min');
SELECT test.o(keep.put('o_max_lifetime', 'k', '1'));
SELECT keep.create_store('o_renew_after', ttl => '1 hour', expire_after => 'access', renew_after => '0');
SELECT (keep.put('o_renew_after', 'k', '1')).status AS put;
SELECT (keep.touch('o_renew_after', 'k')).status AS "touched at once where renew_after is 0";
SELECT keep.create_store('o_max_value_bytes', max_value_bytes => 100);
SELECT test.sqlstate($$SELECT keep.put('o_max_value_bytes', 'k', to_jsonb(repeat('x', 101)))$$);
SELECT keep.create_store('o_hash_keys', hash_keys => true);
SELECT (keep.put('o_hash_keys', 'k', '1')).status AS put;
SELECT count(*) FILTER (WHERE key = 'k') AS bare, count(*) FROM o_hash_keys;
SELECT keep.create_store('o_all', '1 hour', 'access', '1 day', '1 min', 1000, true, 'unlogged');
SELECT table_name, options FROM keep.relation WHERE table_name LIKE 'o\_%' ORDER BY table_name;

-- mistakes: nothing is made
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate(format('SELECT keep.create_store(%s)', c)) FROM (VALUES
    ($$'bad', expire_after => 'never'$$),
    ($$'bad', expire_after => ''$$),
    ($$'bad', expire_after => 'Write'$$),
    ($$'bad', expire_after => NULL$$),
    ($$'bad', ttl => '0'$$),
    ($$'bad', ttl => '-1 hour'$$),
    ($$'bad', max_lifetime => '0'$$),
    ($$'bad', max_lifetime => '-1 s'$$),
    ($$'bad', renew_after => '-1 s'$$),
    ($$'bad', max_value_bytes => 0$$),
    ($$'bad', max_value_bytes => -1$$),
    ($$'bad', max_value_bytes => NULL$$),
    ($$'bad', hash_keys => NULL$$),
    ($$'bad', persistence => 'temp'$$),
    ($$'bad', persistence => 'temporary'$$),
    ($$'bad', persistence => ''$$),
    ($$'bad', persistence => NULL$$),
    ($$NULL$$),
    ($$''$$),
    ($$' '$$),
    ($$'"'$$),
    ($$'""'$$),
    ($$'a.'$$),
    ($$'.a'$$),
    ($$'a b'$$),
    ($$'a.b.c.d'$$),
    ($$'x; DROP TABLE plain'$$),
    ($$'plain'$$),
    ($$'public.plain'$$),
    ($$'nowhere.bad'$$),
    ($$'elsewhere.public.bad'$$),
    ($$'pg_temp.bad'$$),
    ($$'pg_catalog.bad'$$)
) v(c);
\pset tuples_only off
\pset format aligned
SELECT count(*) FILTER (WHERE relname IN ('bad', 'a', 'b', 'a b', 'x', '', ' ')) AS made
FROM pg_class WHERE relnamespace = 'public'::regnamespace;
SELECT test.code($$SELECT keep.create_store('bad', ttl => 'nonsense')$$);
-- known as an interval from 17 on, and no lifetime anywhere
SELECT test.code($$SELECT keep.create_store('bad', ttl => 'infinity')$$) IN ('22007', '22023') AS refused,
    test.code($$SELECT keep.create_store('bad', max_lifetime => 'infinity')$$) IN ('22007', '22023') AS refused,
    test.code($$SELECT keep.create_store('bad', renew_after => 'infinity')$$) IN ('22007', '22023') AS refused;

-- a temporary schema in front of the search_path is not taken either
SET search_path = pg_temp, public;
SELECT test.code($$SELECT keep.create_store('bad')$$) IN ('0A000', '42P16') AS refused;
SET search_path = '';
SELECT test.code($$SELECT keep.create_store('bad')$$) AS "no schema to create in";
RESET search_path;

-- names
CREATE SCHEMA "Odd Schema";
SELECT keep.create_store('Folded') AS "as PostgreSQL folds it";
SELECT keep.create_store('"Folded"');
SELECT keep.create_store('"Odd Schema"."Odd.Table ""x"""');
SELECT keep.create_store('"Odd Schema".select');
SELECT keep.create_store('"it''s"');
SELECT keep.create_store(repeat('n', 63));
SELECT keep.create_store(repeat('n', 62) || 'o');
SELECT schema_name, table_name FROM keep.relation
WHERE table_name IN ('folded', 'Folded', 'it''s', 'select') OR schema_name = 'Odd Schema'
    OR length(table_name) = 63 ORDER BY 1, 2;
SELECT relid::regclass AS store, test.o(keep.put(relid, 'k', '{"a": 1}')) AS put,
    test.o(keep.merge(relid, 'k', '{"b": 2}')) AS merge, test.o(keep.delete(relid, 'k')) AS delete
FROM keep.relation
WHERE table_name IN ('folded', 'Folded', 'it''s', 'select') OR schema_name = 'Odd Schema'
    OR length(table_name) = 63 ORDER BY schema_name, table_name;
SELECT keep.get('"Odd Schema"."Odd.Table ""x"""', 'k');
DO $$
DECLARE s regclass;
BEGIN
    FOR s IN SELECT relid FROM keep.relation WHERE table_name IN ('folded', 'Folded', 'it''s', 'select')
        OR schema_name = 'Odd Schema' OR length(table_name) = 63
    LOOP
        EXECUTE format('DROP TABLE %s', s);
    END LOOP;
END $$;
DROP SCHEMA "Odd Schema";

-- rights are the caller's, and so is the table
CREATE SCHEMA shop;
GRANT USAGE ON SCHEMA shop TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.sqlstate($$SELECT keep.create_store('shop.carts')$$);
SELECT test.sqlstate($$SELECT keep.create_store('public.carts')$$);
SELECT test.sqlstate($$SELECT keep.create_store('keep.carts')$$);
RESET ROLE;
GRANT CREATE ON SCHEMA shop TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.create_store('shop.carts');
SELECT test.o(keep.put('shop.carts', 'k', '1'));
RESET ROLE;
SELECT tableowner FROM pg_tables WHERE schemaname = 'shop' AND tablename = 'carts';
SELECT count(*) AS granted FROM pg_class WHERE oid = 'shop.carts'::regclass AND relacl IS NOT NULL;
SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
RESET client_min_messages;

-- a rollback takes the store and its registration with it
BEGIN;
SELECT keep.create_store('undone');
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT keep.create_store('undone');
SELECT test.o(keep.put('undone', 'k', '1'));
ROLLBACK TO a;
COMMIT;
SELECT count(*) FROM keep.relation WHERE table_name = 'undone';
SELECT to_regclass('undone');
BEGIN READ ONLY;
SELECT test.code($$SELECT keep.create_store('undone')$$) AS "in a read-only transaction";
COMMIT;

DROP TABLE plain, second, unlogged, logged, at_once, o_ttl, o_create, o_write, o_access,
    o_max_lifetime, o_renew_after, o_max_value_bytes, o_hash_keys, o_all;
SELECT count(*) AS registered FROM keep.relation;
