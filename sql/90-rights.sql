-- Rights that default privileges have given when the objects above were created, and that nobody
-- is to have by accident: whoever writes keep.relation decides which functions others run.  The functions
-- are named, since default privileges may have closed the others to PUBLIC and opened them to somebody on purpose.

REVOKE ALL ON keep.relation, keep.stat_stores, keep.stat_ledgers, keep.stat_reaper FROM PUBLIC;
GRANT SELECT ON keep.relation, keep.stat_stores, keep.stat_ledgers, keep.stat_reaper TO PUBLIC;
REVOKE CREATE ON SCHEMA keep FROM PUBLIC;

DO $$
DECLARE
	statement pg_catalog.text;
BEGIN
	FOR statement IN
		SELECT pg_catalog.format('REVOKE ALL ON %s FROM %s', o.name, a.grantee::pg_catalog.regrole)
		FROM (
				SELECT pg_catalog.format('TABLE %s', c.oid::pg_catalog.regclass) AS name,
					c.relowner AS owner, c.relacl AS acl
				FROM pg_catalog.pg_class AS c
				WHERE c.oid OPERATOR(pg_catalog.=) ANY (ARRAY[
					'keep.relation', 'keep.stat_stores', 'keep.stat_ledgers',
					'keep.stat_reaper']::pg_catalog.regclass[])
			UNION ALL
				SELECT pg_catalog.format('FUNCTION %s', p.oid::pg_catalog.regprocedure), p.proowner, p.proacl
				FROM pg_catalog.pg_proc AS p
				WHERE p.oid OPERATOR(pg_catalog.=) ANY (ARRAY[
					'keep.relation_restored()', 'keep.table_dropped()', 'keep.table_altered()',
					'keep.start_reaper()', 'keep.stop_reaper()',
					'keep.stat_reset(pg_catalog.regclass)']::pg_catalog.regprocedure[])
			UNION ALL
				SELECT 'SCHEMA keep', n.nspowner, n.nspacl
				FROM pg_catalog.pg_namespace AS n
				WHERE n.oid OPERATOR(pg_catalog.=) 'keep'::pg_catalog.regnamespace
			) AS o,
			pg_catalog.aclexplode(o.acl) AS a
		WHERE a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
			AND a.grantee OPERATOR(pg_catalog.<>) o.owner
	LOOP
		EXECUTE statement;
	END LOOP;
END $$;
