-- The SQL surface: every object of the extension has a comment; the functions'
-- signatures, volatility and parallel labels are those of the contract; nothing is
-- SECURITY DEFINER; PUBLIC may call all but what concerns the whole server, read the views, and write
-- nothing of pg_keep's own.
\pset null '(null)'

-- every member of the extension has a comment
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, d.objsubid, pg_describe_object(d.classid, d.objid, d.objsubid) AS what
FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
    LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE d.deptype = 'e' AND e.extname = 'pg_keep'
    -- array types and the row types of tables are listed by some server versions only
    AND (t.oid IS NULL OR (t.typcategory <> 'A' AND (c.oid IS NULL OR c.relkind = 'c')));

SELECT m.what AS "without a comment"
FROM member m
WHERE NOT EXISTS (SELECT FROM pg_description s
    WHERE s.classoid = m.classid AND s.objoid = m.objid AND s.objsubid = m.objsubid)
ORDER BY m.what COLLATE "C";

SELECT count(*) > 20 AS "and there are members" FROM member;

SELECT a.attrelid::regclass, a.attname AS "column without a comment"
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'keep' AND c.relkind IN ('r', 'c', 'v') AND a.attnum > 0 AND NOT a.attisdropped
    AND col_description(a.attrelid, a.attnum) IS NULL
ORDER BY 1, a.attnum;

-- what is in the schema but not of the extension
SELECT p.oid::regprocedure AS stray FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep'
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid);

-- signatures
\pset format unaligned
SELECT p.proname AS fn, pg_get_function_arguments(p.oid) AS arguments,
    pg_get_function_result(p.oid) AS result
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep'
ORDER BY p.proname COLLATE "C";
\pset format aligned

-- labels
SELECT CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
    CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel,
    p.prosecdef AS "security definer", p.proisstrict AS strict, p.proname AS fn
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep'
ORDER BY 1, 2, 3, 4, p.proname COLLATE "C";

SELECT count(*) AS "functions with security definer" FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'keep' AND p.prosecdef;

-- no function of the extension is written in a language that looks names up when it runs
SELECT p.proname, l.lanname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname = 'keep' AND l.lanname <> 'c' ORDER BY 1;

-- columns of the types, of the catalog and of the views
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'keep' AND c.relkind IN ('r', 'c', 'v') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname COLLATE "C", a.attnum;

-- the catalog's rows are dumped with the database
SELECT extconfig = ARRAY['keep.relation'::regclass::oid] AS dumped FROM pg_extension WHERE extname = 'pg_keep';

-- what PUBLIC may do: call all but these, read the catalog and the views, write nothing
SELECT p.oid::regprocedure AS "not for everybody" FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep' AND NOT has_function_privilege('regress_keep_nobody', p.oid, 'EXECUTE')
ORDER BY p.proname COLLATE "C";
SELECT has_schema_privilege('regress_keep_nobody', 'keep', 'USAGE') AS usage,
    has_schema_privilege('regress_keep_nobody', 'keep', 'CREATE') AS "create";
SELECT c.relname, c.relkind, p.privilege,
    has_table_privilege('regress_keep_nobody', c.oid, p.privilege) AS public_may
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
    unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p(privilege)
WHERE n.nspname = 'keep' AND c.relkind IN ('r', 'v', 'S', 'm')
ORDER BY c.relname COLLATE "C", p.privilege COLLATE "C";

SET ROLE regress_keep_nobody;
SELECT test.code($$SELECT * FROM keep.relation$$) AS "select";
SELECT test.code($$INSERT INTO keep.relation VALUES ('public', 'x', 'store', '{}')$$) AS "insert";
SELECT test.code($$UPDATE keep.relation SET kind = 'store'$$) AS "update";
SELECT test.code($$DELETE FROM keep.relation$$) AS "delete";
SELECT test.code($$TRUNCATE keep.relation$$) AS "truncate";
SELECT test.code($$CREATE TABLE keep.x ()$$) AS "create table";
SELECT test.code($$CREATE TRIGGER x BEFORE INSERT ON keep.relation
    FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()$$) AS "create trigger";
RESET ROLE;

-- an owner of a store may not write its row in the catalog either
CREATE SCHEMA own AUTHORIZATION regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.create_store('own.s');
SELECT test.code($$UPDATE keep.relation SET options = '{"hash_keys": true}'$$) AS "update";
SELECT test.code($$DELETE FROM keep.relation$$) AS "delete";
DROP TABLE own.s;
SELECT count(*) AS registered FROM keep.relation;
RESET ROLE;
DROP SCHEMA own;

-- settings; pg_keep.stat_tables is there only where the server preloads the library
SELECT name, vartype, unit, context, short_desc IS NOT NULL AS described
FROM pg_settings WHERE name LIKE 'pg\_keep.%' AND name <> 'pg_keep.stat_tables' ORDER BY name COLLATE "C";
SET ROLE regress_keep_nobody;
SELECT test.code('SET pg_keep.test_clock_offset = 1000') AS "the clock is not everybody's";
SELECT test.code('SET pg_keep.max_wait = 1000') AS "nor is the cap on waits";
RESET ROLE;

-- the time pg_keep goes by
SELECT abs(extract(epoch FROM keep.clock() - clock_timestamp())) < 10 AS "as the server's clock";
SET pg_keep.test_clock_offset = 3600000;
SELECT test.code('SELECT 1'), round(extract(epoch FROM keep.clock() - clock_timestamp()) / 60) AS minutes_ahead;
SET pg_keep.test_clock_offset = -3600000;
SELECT round(extract(epoch FROM keep.clock() - clock_timestamp()) / 60) AS minutes_ahead;
RESET pg_keep.test_clock_offset;
SELECT round(extract(epoch FROM keep.clock() - clock_timestamp()) / 60) AS minutes_ahead;
BEGIN;
SELECT pg_sleep(0.01);
SELECT keep.clock() > now() AS "and it does not stand still in a transaction";
COMMIT;
