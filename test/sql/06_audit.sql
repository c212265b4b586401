-- An audit of the catalogs and of the install script. Each query lists what breaks a rule, and so returns no row; the few
-- exceptions are named here, with the reason. Where a query could also be empty because it looks at nothing, a count
-- stands beside it.
\pset null '(null)'
\pset footer off
-- so that its settings are known where it is not preloaded
LOAD 'pg_keep';

CREATE TEMP VIEW ext AS SELECT * FROM pg_extension WHERE extname = 'pg_keep';
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, d.objsubid, pg_describe_object(d.classid, d.objid, d.objsubid) AS what
FROM pg_depend d JOIN ext e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e';
CREATE TEMP VIEW fn AS
SELECT p.*, l.lanname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'keep'::regnamespace;
SELECT (SELECT count(*) FROM member) > 80 AS members, (SELECT count(*) FROM fn) > 60 AS functions;

-- * What there is and whose it is

-- Everything in the schema is a member, or a part of one (index, TOAST table, row type, array type, domain constraint).
CREATE TEMP VIEW inside AS
SELECT 'pg_class'::regclass::oid AS classid, oid AS objid FROM pg_class WHERE relnamespace = 'keep'::regnamespace AND relkind <> 'i'
    AND NOT EXISTS (SELECT FROM pg_type t WHERE t.typrelid = pg_class.oid AND pg_class.relkind = 'c')
UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE typnamespace = 'keep'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) AND (c.oid IS NULL OR c.relkind = 'c')
UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass WHERE opcnamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE opfnamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation WHERE collnamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion WHERE connamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE cfgnamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE dictnamespace = 'keep'::regnamespace
UNION ALL SELECT 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext WHERE stxnamespace = 'keep'::regnamespace;
SELECT pg_describe_object(classid, objid, 0) AS "in the schema, not a member" FROM inside
WHERE (classid, objid) NOT IN (SELECT classid, objid FROM member) ORDER BY 1;
-- Members that are not in the schema: the schema, and event triggers, which have none.
SELECT what AS "not in the schema" FROM member m
WHERE (classid, objid) NOT IN (SELECT classid, objid FROM inside)
    AND what NOT IN ('schema keep', 'event trigger pg_keep_table_dropped', 'event trigger pg_keep_table_altered')
    -- listed by some server versions only: array types and row types
    AND NOT (classid = 'pg_type'::regclass AND (SELECT typnamespace = 'keep'::regnamespace FROM pg_type t WHERE t.oid = m.objid))
ORDER BY 1;
-- Nothing that changes what other people's statements mean: no operator, cast, operator class, transform, language, base type or domain.
SELECT what AS "of a kind that it must not have" FROM member
WHERE classid NOT IN ('pg_namespace'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_event_trigger'::regclass)
ORDER BY 1;
SELECT t.typname AS "not a composite type" FROM pg_type t WHERE t.typnamespace = 'keep'::regnamespace AND t.typtype <> 'c' AND t.typcategory <> 'A' ORDER BY 1;
SELECT c.relname AS "a relation that it must not have" FROM pg_class c WHERE c.relnamespace = 'keep'::regnamespace
    AND NOT (c.relname = 'relation' AND c.relkind = 'r' OR c.relname = 'relation_pkey' AND c.relkind = 'i' OR c.relkind IN ('c', 'v')) ORDER BY 1;
-- All belongs to the extension's owner, who is a superuser: no member can be altered by anybody else.
SELECT m.what AS "of another owner" FROM member m CROSS JOIN ext e
WHERE e.extowner IS DISTINCT FROM CASE
    WHEN m.classid = 'pg_namespace'::regclass THEN (SELECT nspowner FROM pg_namespace WHERE oid = m.objid)
    WHEN m.classid = 'pg_class'::regclass THEN (SELECT relowner FROM pg_class WHERE oid = m.objid)
    WHEN m.classid = 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc WHERE oid = m.objid)
    WHEN m.classid = 'pg_type'::regclass THEN (SELECT typowner FROM pg_type WHERE oid = m.objid)
    WHEN m.classid = 'pg_event_trigger'::regclass THEN (SELECT evtowner FROM pg_event_trigger WHERE oid = m.objid) END
ORDER BY 1;
SELECT r.rolsuper AS "owner is a superuser" FROM ext e JOIN pg_roles r ON r.oid = e.extowner;
-- Only a superuser can install it, it cannot be moved, and it needs nothing else.
SELECT v.superuser, v.trusted, v.relocatable, v.schema, v.requires, e.extrelocatable, e.extnamespace::regnamespace,
    e.extconfig = ARRAY['keep.relation'::regclass::oid] AS dumped, e.extcondition
FROM pg_available_extension_versions v, ext e WHERE v.name = 'pg_keep' AND v.version = e.extversion;
-- What has no membership of its own has a comment as well.
SELECT pg_describe_object('pg_trigger'::regclass, oid, 0) AS "without a comment" FROM pg_trigger
WHERE tgrelid = 'keep.relation'::regclass AND NOT tgisinternal AND obj_description(oid, 'pg_trigger') IS NULL
UNION ALL SELECT pg_describe_object('pg_constraint'::regclass, oid, 0) FROM pg_constraint
WHERE connamespace = 'keep'::regnamespace AND contype <> 'n' AND obj_description(oid, 'pg_constraint') IS NULL
UNION ALL SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indrelid = 'keep.relation'::regclass AND obj_description(i.indexrelid, 'pg_class') IS NULL
UNION ALL SELECT what FROM member m WHERE NOT EXISTS (SELECT FROM pg_description s WHERE (s.classoid, s.objoid, s.objsubid) = (m.classid, m.objid, 0))
    AND (classid, objid) IN (SELECT classid, objid FROM inside)
ORDER BY 1;

-- * Functions

-- Written in C, in our library, with the rights of the caller, and not leakproof.
SELECT proname AS "not a plain C function of ours" FROM fn
WHERE lanname <> 'c' OR probin <> '$libdir/pg_keep' OR prosrc !~ '^keep_[a-z_]+$' OR proleakproof OR prosupport <> 0 OR prokind NOT IN ('f', 'p') ORDER BY 1;
SELECT proname AS "security definer" FROM fn WHERE prosecdef ORDER BY 1;
-- Settings. verify_ledger() has queries that are not qualified, and therefore a path of its own. A function that is
-- not in C would need one as well, or a body that was parsed when it was created.
SELECT proname, proconfig AS "settings of its own" FROM fn
WHERE proconfig IS DISTINCT FROM CASE WHEN proname = 'verify_ledger' THEN ARRAY['search_path=pg_catalog, pg_temp'] END ORDER BY 1;
SELECT proname AS "looks names up when it runs" FROM fn
WHERE lanname NOT IN ('c', 'internal') AND prosqlbody IS NULL AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false) ORDER BY 1;
-- Arguments are of types of pg_catalog or of ours; nothing is polymorphic, variadic or internal. A default is a constant.
SELECT f.proname, t.oid::regtype AS "argument of an odd type" FROM fn f, unnest(f.proargtypes::oid[] || f.prorettype || coalesce(f.proallargtypes, '{}')) a
    JOIN pg_type t ON t.oid = a
WHERE t.typnamespace NOT IN ('pg_catalog'::regnamespace, 'keep'::regnamespace)
    OR t.typtype = 'p' AND t.typname NOT IN ('void', 'record', 'trigger', 'event_trigger') OR f.provariadic <> 0 ORDER BY 1;
SELECT proname AS "default that is computed" FROM fn
WHERE regexp_replace(proargdefaults::text, '\{FUNCEXPR :funcid 481 ', '', 'g') ~ 'FUNCEXPR|OPEXPR|SQLVALUE|SUBLINK|COERCEVIAIO' ORDER BY 1;
-- Two functions of one name could be mistaken for each other.
SELECT proname AS "overloaded" FROM fn GROUP BY 1 HAVING count(*) > 1;

-- Labels. What computes: IMMUTABLE, SAFE. What reads tables: STABLE, RESTRICTED (the clock, a plan cache, and temporary state of the backend). What
-- reads something else that changes: VOLATILE, RESTRICTED. All else writes, or might: VOLATILE, UNSAFE. A new function is to be put in here if it does not write.
CREATE TEMP TABLE label (proname name PRIMARY KEY, provolatile "char", proparallel "char", why text);
INSERT INTO label VALUES
    ('merge_patch', 'i', 's', 'computes'), ('json_increment', 'i', 's', 'computes'),
    ('get', 's', 'r', 'reads'), ('get_entry', 's', 'r', 'reads'), ('get_many', 's', 'r', 'reads'), ('balance', 's', 'r', 'reads'),
    ('statement', 's', 'r', 'reads'), ('verify_ledger', 's', 'r', 'reads'),
    ('clock', 'v', 'r', 'the time'), ('transactions_ended', 'v', 'r', 'shared memory'),
    ('store_statistics', 'v', 'r', 'shared memory'), ('ledger_statistics', 'v', 'r', 'shared memory'), ('reaper_statistics', 'v', 'r', 'shared memory');
SELECT f.proname, f.provolatile, f.proparallel, coalesce(l.why, 'writes, or might') AS "but it" FROM fn f LEFT JOIN label l USING (proname)
WHERE (f.provolatile, f.proparallel) IS DISTINCT FROM (coalesce(l.provolatile, 'v'), coalesce(l.proparallel, 'u')) ORDER BY 1;
SELECT proname AS "no such function" FROM label WHERE proname NOT IN (SELECT proname FROM fn);
-- A NULL is an error that names the argument (22004) or has a meaning, so nothing is STRICT but what has no argument.
SELECT proname, pronargs, proisstrict FROM fn WHERE proisstrict <> (pronargs = 0 AND NOT proretset AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)) ORDER BY 1;
-- What a planner is told: a set has a number of rows, a function that runs a statement has a cost.
SELECT proname FROM fn WHERE proretset AND prorows NOT BETWEEN 1 AND 1000 OR NOT proretset AND prorows <> 0 ORDER BY 1;

-- * Rights

-- Who holds what, but for the owner. PUBLIC may use the schema, call what is not listed here, look at table and views, use the types.
CREATE TEMP TABLE closed (proname name PRIMARY KEY, why text);
INSERT INTO closed VALUES
    ('relation_restored', 'trigger of keep.relation alone'), ('table_dropped', 'event trigger'), ('table_altered', 'event trigger'),
    ('start_reaper', 'the whole server'), ('stop_reaper', 'the whole server'), ('stat_reset', 'the whole database');
CREATE TEMP VIEW held AS
SELECT 'function'::text AS kind, f.proname::text AS name, f.proowner AS owner, a.* FROM fn f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
UNION ALL SELECT 'schema', n.nspname, n.nspowner, a.* FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE n.nspname = 'keep'
UNION ALL SELECT 'relation', c.relname, c.relowner, a.* FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
    WHERE c.relnamespace = 'keep'::regnamespace AND c.relkind NOT IN ('i', 'c')
UNION ALL SELECT 'type', t.typname, t.typowner, a.* FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
    WHERE t.typnamespace = 'keep'::regnamespace AND t.typtype = 'c' AND t.typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c')
UNION ALL SELECT 'column', c.relname || '.' || t.attname, c.relowner, a.* FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) a
    WHERE c.relnamespace = 'keep'::regnamespace;
SELECT kind, name, privilege_type, grantee::regrole AS "held by somebody" FROM held WHERE grantee NOT IN (0, owner) ORDER BY 1, 2, 3;
SELECT kind, name, privilege_type, is_grantable AS "PUBLIC must not have" FROM held
WHERE grantee = 0 AND (is_grantable OR (kind, privilege_type) NOT IN (('function', 'EXECUTE'), ('schema', 'USAGE'), ('relation', 'SELECT'), ('type', 'USAGE'))
    OR kind = 'function' AND name IN (SELECT proname FROM closed)) ORDER BY 1, 2, 3;
SELECT o.kind, o.name AS "closed to PUBLIC" FROM (SELECT DISTINCT kind, name FROM held) o
WHERE NOT EXISTS (SELECT FROM held h WHERE (h.kind, h.name) = (o.kind, o.name) AND h.grantee = 0)
    AND NOT (o.kind = 'function' AND o.name IN (SELECT proname FROM closed)) ORDER BY 1, 2;
SELECT kind, count(DISTINCT name) FILTER (WHERE grantee = 0) > 0 AS "PUBLIC holds some" FROM held GROUP BY 1 ORDER BY 1;
-- Who may set what. Users: nothing that changes what is stored or who waits how long.
SELECT name, context FROM pg_settings WHERE name LIKE 'pg\_keep.%'
    AND context NOT IN ('sighup', 'superuser', 'postmaster') AND name NOT IN ('pg_keep.direct_access') ORDER BY 1;
SELECT name, context FROM pg_settings WHERE name IN ('pg_keep.test_clock_offset', 'pg_keep.max_wait', 'pg_keep.track_statistics') AND context <> 'superuser' ORDER BY 1;
SET ROLE regress_keep_nobody;
SELECT s.name, test.code(format('SET %s = DEFAULT', s.name)) AS "set by anybody" FROM pg_settings s
WHERE s.name LIKE 'pg\_keep.%' AND test.code(format('SET %s = DEFAULT', s.name)) = 'ok' AND s.name <> 'pg_keep.direct_access' ORDER BY 1;
SELECT test.code('SET pg_keep.no_such_setting = 1') AS "a name under our prefix";
RESET ROLE;

-- * The table, the views, the triggers

-- The catalog is an ordinary logged table: no rules, row security, children, defaults or foreign keys; no OID type that pg_upgrade refuses; one trigger, which fires always.
SELECT relpersistence, relhasrules, relrowsecurity, relforcerowsecurity, relhassubclass, relispartition, reloptions, relreplident
FROM pg_class WHERE oid = 'keep.relation'::regclass;
SELECT attname, format_type(atttypid, atttypmod) AS "odd column" FROM pg_attribute WHERE attrelid = 'keep.relation'::regclass AND attnum > 0
    AND (atthasdef OR attidentity <> '' OR attgenerated <> '' OR atttypid NOT IN ('name'::regtype, 'text'::regtype, 'jsonb'::regtype, 'oid'::regtype));
SELECT conname AS "odd constraint" FROM pg_constraint WHERE conrelid = 'keep.relation'::regclass AND contype NOT IN ('p', 'n');
SELECT tgname, tgfoid::regproc, tgenabled, tgtype, tgqual IS NULL AS "always", tgisinternal FROM pg_trigger WHERE tgrelid = 'keep.relation'::regclass ORDER BY 1;
SELECT evtname, evtevent, evtfoid::regproc, evtenabled, array_length(evttags, 1) AS tags FROM pg_event_trigger WHERE evtname LIKE 'pg\_keep%' ORDER BY 1;
-- The views show what functions of ours return, which decide for the caller; they read no table, so it makes no difference with whose rights they would.
SELECT c.relname AS "view that reads a table", d.refobjid::regclass
FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
WHERE c.relnamespace = 'keep'::regnamespace ORDER BY 1;
SELECT c.relname AS "view that can be written to" FROM pg_class c WHERE c.relnamespace = 'keep'::regnamespace AND c.relkind = 'v'
    AND (pg_relation_is_updatable(c.oid, true) <> 0 OR (SELECT count(*) FROM pg_rewrite r WHERE r.ev_class = c.oid) <> 1 OR c.relhastriggers);
SELECT c.relname, f.proname FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_proc'::regclass JOIN fn f ON f.oid = d.refobjid WHERE c.relnamespace = 'keep'::regnamespace ORDER BY 1;

-- * The install script, and upgrade scripts where there are any

CREATE TEMP TABLE script AS
SELECT f.name, pg_read_file(d.dir || f.name) AS source, NULL::text AS code
FROM (SELECT setting || '/extension/' AS dir FROM pg_config WHERE name = 'SHAREDIR') d, LATERAL pg_ls_dir(d.dir) AS f(name)
WHERE f.name ~ '^pg_keep--.*\.sql$';
-- without comments, the words of comments on objects, other strings, and psql's line
UPDATE script SET code = regexp_replace(regexp_replace(regexp_replace(source, '--[^\n]*', '', 'g'), '^\\echo[^\n]*', '', 'n'),
    '\mIS\s+''(?:[^'']|'''')*'';', ';', 'g');
UPDATE script SET code = regexp_replace(code, '''(?:[^'']|'''')*''', '''''', 'g');
SELECT (SELECT count(*) FROM script, ext WHERE name = 'pg_keep--' || extversion || '.sql') AS "script is there",
    (SELECT count(*) FROM script, regexp_matches(code, '\mCREATE FUNCTION keep\.', 'g')) > 60 AS "and was read";
-- Nothing takes over what somebody else has put there before (CVE-2022-2625), or runs with more rights.
SELECT name, m[1] AS "must not be in it" FROM script, regexp_matches(code, '(OR\s+REPLACE|IF\s+NOT\s+EXISTS|IF\s+EXISTS|SECURITY\s+DEFINER|\mDROP\M|CASCADE'
    '|ALTER\s+DEFAULT|SET\s+SESSION|SET\s+ROLE|SET\s+LOCAL|set_config|WITH\s+GRANT|LEAKPROOF|@extschema|\mINHERIT|CREATE\s+(?:ROLE|USER|CAST|OPERATOR|LANGUAGE|RULE))', 'gi') m;
-- Everything is made in keep, by a name that says so; all else that has no schema is an event trigger, or a part of a table.
SELECT name, m[1] || ' ' || m[2] AS "without its schema" FROM script,
    regexp_matches(code, '\m(CREATE\s+(?:TABLE|TYPE|FUNCTION|PROCEDURE|VIEW|SEQUENCE|INDEX|AGGREGATE|DOMAIN)|ALTER\s+(?:TABLE|FUNCTION|TYPE)'
    '|EXECUTE\s+FUNCTION|COMMENT\s+ON\s+(?:TABLE|TYPE|FUNCTION|PROCEDURE|VIEW|COLUMN|INDEX)|ON\s+FUNCTION|(?:SELECT|INSERT)\s+ON|FROM|JOIN|RETURNS|SETOF)\s+([^\s;]+)', 'g') m
WHERE m[2] !~ '^(keep|pg_catalog)\.' AND m[2] NOT IN ('SETOF', 'PUBLIC', '(');
-- Every function that is called, and every type that is named, is qualified (CVE-2018-1058).
SELECT name, m[1] AS "call without a schema" FROM script, regexp_matches(regexp_replace(code, '\mAS\s+\w+\s*\(', '', 'g'), '([^\s(,]*[a-z_]+)\s*\(', 'g') m
WHERE m[1] !~ '^(keep|pg_catalog)\.[a-z_]+$' AND m[1] !~ '^[A-Z]+$';
-- A type is every word that is the name of one, or one of SQL's other names of it. It is none as the name of an argument, which
-- has its type behind it, of a column, or as a keyword.
CREATE TEMP TABLE word AS
SELECT typname::text AS word FROM pg_type WHERE typnamespace IN ('pg_catalog'::regnamespace, 'keep'::regnamespace)
UNION SELECT unnest('{int,integer,smallint,bigint,boolean,real,double,precision,decimal,dec,character,varying,nchar,national}'::text[]);
SELECT count(*) > 150 AS "types to look for" FROM word;
CREATE FUNCTION pg_temp.types_in(code text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT m[1] FROM regexp_matches(regexp_replace(code, '\mAS\s+\w+\s*,', '', 'g'), '(?<![.\w"])("?\w+"?)(?![\w".])(?!\s+(?:pg_catalog|keep)\.)', 'g') m
    WHERE lower(trim('"' FROM m[1])) IN (SELECT word FROM word) AND m[1] NOT IN ('TRIGGER', 'ANY') $$;
SELECT string_agg(t, ' ' ORDER BY t COLLATE "C") AS "found where they are" FROM pg_temp.types_in('(name pg_catalog.text, a xid, b uuid[] = ''''::UUID[], c "char", d numeric(2),'
    ' e double precision) RETURNS SETOF float8; CAST(x AS name); SELECT name.a, ''''::keep.lease, a AS name, b::timestamp with time zone') t;
SELECT name, t AS "type without a schema" FROM script, pg_temp.types_in(code) t;
-- An operator would be looked up. There is none but the = of a default or of SET, and such as say their schema.
SELECT name, m[1] AS "operator" FROM script, regexp_matches(regexp_replace(code,
    'OPERATOR\(pg_catalog\.[^)]+\)|SET search_path =|\m[a-z0-9_]+(\[\])?\s+=\s+(NULL|true|false|-?[0-9]+|'''')', '', 'g'), '([-+*/<>=~!@#%^&|`?]+)', 'g') m;
DROP TABLE script, word, label, closed;
