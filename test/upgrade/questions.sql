-- What all functions that only read answer in the database of test/upgrade, and what its tables, their rights and
-- the catalogs say of it: the same before and after. What may differ, such as OIDs, is left out.

\pset format unaligned
\pset tuples_only on

-- tables and options
SELECT schema_name, table_name, kind, options, relid = format('%I.%I', schema_name, table_name)::regclass
FROM keep.relation ORDER BY schema_name COLLATE "C", table_name COLLATE "C";
-- version 17 knows a right more
SELECT relname, relkind, relpersistence, replace(relacl::text, 'arwdDxtm', 'arwdDxt'), reloptions, relrowsecurity, pg_get_userbyid(relowner)
FROM pg_class WHERE relnamespace::regnamespace::text IN ('public', 'keep', 'off', 'fn', '"Odd Schema"')
ORDER BY relnamespace::regnamespace::text COLLATE "C", relname COLLATE "C";
SELECT oid::regprocedure, proacl, pg_get_userbyid(proowner), provolatile, proparallel FROM pg_proc
WHERE pronamespace = 'keep'::regnamespace ORDER BY proname COLLATE "C";
SELECT evtname, evtenabled, evtfoid::regproc FROM pg_event_trigger ORDER BY 1;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'keep.relation'::regclass;
SELECT attrelid::regclass, attname, attidentity, attgenerated FROM pg_attribute
WHERE attrelid IN (SELECT relid FROM keep.relation) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid::regclass::text COLLATE "C", attname;
SELECT extname, extversion, classid::regclass, count(*) FROM pg_extension e JOIN pg_depend d ON d.refobjid = e.oid AND d.deptype = 'e'
WHERE extname = 'pg_keep' AND classid <> 'pg_type'::regclass GROUP BY 1, 2, 3 ORDER BY 3;
SELECT schema_name, table_name, nspname, relname FROM keep.relation
	JOIN pg_class c ON c.oid = relid JOIN pg_namespace n ON n.oid = relnamespace ORDER BY 1, 2;

-- stores
SELECT format('SELECT %L, e.* FROM keep.get_many(%L, ARRAY(SELECT ''k'' || n FROM generate_series(0, 40) n)) e', relid::regclass, relid::regclass),
	format('SELECT key, value, version, created_at, updated_at, expires_at FROM keep.get_entry(%L, ''app1'')', relid::regclass),
	format('SELECT keep.get(%L, ''count''), keep.get(%L, ''over''), md5(keep.get(%L, ''big'')::text)', relid::regclass, relid::regclass, relid::regclass),
	format('SELECT * FROM keep.get_entry(%L, ''lease'')', relid::regclass),
	format('SELECT t.* FROM %s t ORDER BY key', relid::regclass)
FROM keep.relation WHERE kind = 'store' ORDER BY schema_name COLLATE "C", table_name COLLATE "C" \gexec

-- ledgers
SELECT format('SELECT b.* FROM (SELECT DISTINCT id FROM %s) a, keep.balance(%L, a.id) b ORDER BY account COLLATE "C"', relid::regclass, relid::regclass),
	format('SELECT a.* FROM %s a ORDER BY id, shard', relid::regclass),
	CASE WHEN options ? 'history' THEN format('SELECT s.* FROM unnest(''{a,b,c,pool,world}''::text[]) a, keep.statement(%L, a, NULL, 1000) s', relid::regclass) END,
	format('SELECT rule, ok FROM keep.verify_ledger(%L) ORDER BY rule', relid::regclass)
FROM keep.relation WHERE kind = 'ledger' ORDER BY schema_name COLLATE "C", table_name COLLATE "C" \gexec
SELECT format('SELECT t.* FROM %s t ORDER BY id', relid::regclass)
FROM keep.relation WHERE kind = 'transfers' ORDER BY schema_name COLLATE "C", table_name COLLATE "C" \gexec

-- logs
SELECT format('SELECT t.* FROM %s t ORDER BY t', relid::regclass)
FROM keep.relation WHERE kind IN ('request_log', 'saga_log', 'saga_steps') ORDER BY schema_name COLLATE "C", table_name COLLATE "C" \gexec
SELECT * FROM fn.done ORDER BY ctid;
