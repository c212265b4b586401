-- catalog: which tables pg_keep made, of what kind and with which options.
--
-- By name and not by OID, so that a dump can be restored whole or in part.
-- Everybody may read it, nobody may write it: the C code does, for owners.

CREATE TABLE keep.relation (
	schema_name pg_catalog.name NOT NULL,
	table_name pg_catalog.name NOT NULL,
	kind pg_catalog.text NOT NULL,
	options pg_catalog.jsonb NOT NULL,
	relid pg_catalog.oid,
	CONSTRAINT relation_pkey PRIMARY KEY (schema_name, table_name)
);
COMMENT ON TABLE keep.relation IS 'Tables made by pg_keep, and their options';
COMMENT ON COLUMN keep.relation.schema_name IS 'Schema of the table';
COMMENT ON COLUMN keep.relation.table_name IS 'Name of the table';
COMMENT ON COLUMN keep.relation.kind IS 'Kind of the table: store, ledger, transfers, request_log, saga_log or saga_steps';
COMMENT ON COLUMN keep.relation.options IS 'Options that differ from the default';
COMMENT ON COLUMN keep.relation.relid IS
	'OID of the table, to follow it when it is renamed; set anew on restore';
COMMENT ON CONSTRAINT relation_pkey ON keep.relation IS 'One row a table';
COMMENT ON INDEX keep.relation_pkey IS 'One row a table';
SELECT pg_catalog.pg_extension_config_dump('keep.relation', '');

CREATE FUNCTION keep.relation_restored() RETURNS pg_catalog.trigger
	AS 'MODULE_PATHNAME', 'keep_relation_restored'
	LANGUAGE C;
REVOKE ALL ON FUNCTION keep.relation_restored() FROM PUBLIC;
COMMENT ON FUNCTION keep.relation_restored() IS
	'Row trigger of keep.relation: finds the table of a restored row';

CREATE TRIGGER restored
	BEFORE INSERT OR UPDATE OR DELETE ON keep.relation
	FOR EACH ROW EXECUTE FUNCTION keep.relation_restored();
ALTER TABLE keep.relation ENABLE ALWAYS TRIGGER restored;
COMMENT ON TRIGGER restored ON keep.relation IS 'Finds the table of a restored row';

CREATE FUNCTION keep.register(relation pg_catalog.regclass, kind pg_catalog.text,
							  options pg_catalog.jsonb = '{}')
	RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_register'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION keep.register(pg_catalog.regclass, pg_catalog.text, pg_catalog.jsonb) IS
	'Make a table of the right shape known to pg_keep again';

CREATE FUNCTION keep.table_dropped() RETURNS pg_catalog.event_trigger
	AS 'MODULE_PATHNAME', 'keep_table_dropped'
	LANGUAGE C;
REVOKE ALL ON FUNCTION keep.table_dropped() FROM PUBLIC;
COMMENT ON FUNCTION keep.table_dropped() IS
	'Event trigger: forgets dropped tables';

CREATE FUNCTION keep.table_altered() RETURNS pg_catalog.event_trigger
	AS 'MODULE_PATHNAME', 'keep_table_altered'
	LANGUAGE C;
REVOKE ALL ON FUNCTION keep.table_altered() FROM PUBLIC;
COMMENT ON FUNCTION keep.table_altered() IS
	'Event trigger: follows tables to their new names';

CREATE EVENT TRIGGER pg_keep_table_dropped ON sql_drop
	EXECUTE FUNCTION keep.table_dropped();
ALTER EVENT TRIGGER pg_keep_table_dropped ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER pg_keep_table_dropped IS
	'pg_keep: forgets dropped tables';

-- ALTER INDEX, ALTER VIEW and the like rename tables too
CREATE EVENT TRIGGER pg_keep_table_altered ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA', 'ALTER INDEX', 'ALTER VIEW',
				 'ALTER SEQUENCE', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE',
				 'ALTER EXTENSION')
	EXECUTE FUNCTION keep.table_altered();
ALTER EVENT TRIGGER pg_keep_table_altered ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER pg_keep_table_altered IS
	'pg_keep: follows tables to their new names';
