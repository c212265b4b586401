-- background: the reaper, and statistics.

CREATE FUNCTION keep.start_reaper() RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'keep_start_reaper'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION keep.start_reaper() FROM PUBLIC;
COMMENT ON FUNCTION keep.start_reaper() IS
	'Start the reaper of this server; false where it is running';

CREATE FUNCTION keep.stop_reaper() RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'keep_stop_reaper'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION keep.stop_reaper() FROM PUBLIC;
COMMENT ON FUNCTION keep.stop_reaper() IS
	'Stop the reaper of this server; false where it is not running';

CREATE FUNCTION keep.store_statistics(
		OUT relid pg_catalog.oid,
		OUT schema_name pg_catalog.name,
		OUT store_name pg_catalog.name,
		OUT hits pg_catalog.int8,
		OUT misses pg_catalog.int8,
		OUT creates pg_catalog.int8,
		OUT updates pg_catalog.int8,
		OUT deletes pg_catalog.int8,
		OUT condition_failures pg_catalog.int8,
		OUT touches_written pg_catalog.int8,
		OUT touches_skipped pg_catalog.int8,
		OUT expired pg_catalog.int8,
		OUT stats_since pg_catalog.timestamptz)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'keep_store_statistics'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100 ROWS 100;
COMMENT ON FUNCTION keep.store_statistics() IS
	'What keep.stat_stores shows';

CREATE VIEW keep.stat_stores AS
	SELECT s.relid, s.schema_name, s.store_name, s.hits, s.misses, s.creates,
		s.updates, s.deletes, s.condition_failures, s.touches_written, s.touches_skipped, s.expired,
		s.stats_since
	FROM keep.store_statistics() AS s;
COMMENT ON VIEW keep.stat_stores IS 'What has happened to stores, as far as it was committed';
COMMENT ON COLUMN keep.stat_stores.relid IS 'OID of the store';
COMMENT ON COLUMN keep.stat_stores.schema_name IS 'Its schema';
COMMENT ON COLUMN keep.stat_stores.store_name IS 'Its name';
COMMENT ON COLUMN keep.stat_stores.hits IS 'Reads that found a live entry';
COMMENT ON COLUMN keep.stat_stores.misses IS 'Reads and touches that found none';
COMMENT ON COLUMN keep.stat_stores.creates IS 'Entries created';
COMMENT ON COLUMN keep.stat_stores.updates IS 'Entries written again';
COMMENT ON COLUMN keep.stat_stores.deletes IS 'Live entries deleted';
COMMENT ON COLUMN keep.stat_stores.condition_failures IS 'Conditional writes that did not apply';
COMMENT ON COLUMN keep.stat_stores.touches_written IS 'Touches that renewed the entry';
COMMENT ON COLUMN keep.stat_stores.touches_skipped IS 'Touches that were not due';
COMMENT ON COLUMN keep.stat_stores.expired IS 'Expired entries deleted';
COMMENT ON COLUMN keep.stat_stores.stats_since IS 'Since when this is counted';

CREATE FUNCTION keep.ledger_statistics(
		OUT relid pg_catalog.oid,
		OUT schema_name pg_catalog.name,
		OUT ledger_name pg_catalog.name,
		OUT posted pg_catalog.int8,
		OUT pending pg_catalog.int8,
		OUT rejected pg_catalog.int8,
		OUT voided pg_catalog.int8,
		OUT expired pg_catalog.int8,
		OUT replayed pg_catalog.int8,
		OUT mismatched pg_catalog.int8,
		OUT stats_since pg_catalog.timestamptz)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'keep_ledger_statistics'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100 ROWS 100;
COMMENT ON FUNCTION keep.ledger_statistics() IS
	'What keep.stat_ledgers shows';

CREATE VIEW keep.stat_ledgers AS
	SELECT s.relid, s.schema_name, s.ledger_name, s.posted, s.pending, s.rejected,
		s.voided, s.expired, s.replayed, s.mismatched, s.stats_since
	FROM keep.ledger_statistics() AS s;
COMMENT ON VIEW keep.stat_ledgers IS 'What has happened to ledgers, as far as it was committed';
COMMENT ON COLUMN keep.stat_ledgers.relid IS 'OID of the ledger';
COMMENT ON COLUMN keep.stat_ledgers.schema_name IS 'Its schema';
COMMENT ON COLUMN keep.stat_ledgers.ledger_name IS 'Its name';
COMMENT ON COLUMN keep.stat_ledgers.posted IS 'Transfers posted';
COMMENT ON COLUMN keep.stat_ledgers.pending IS 'Transfers held';
COMMENT ON COLUMN keep.stat_ledgers.rejected IS 'Transfers rejected';
COMMENT ON COLUMN keep.stat_ledgers.voided IS 'Holds voided';
COMMENT ON COLUMN keep.stat_ledgers.expired IS 'Holds released as they were over';
COMMENT ON COLUMN keep.stat_ledgers.replayed IS 'Calls answered by what was stored';
COMMENT ON COLUMN keep.stat_ledgers.mismatched IS 'Items of batches whose id was used with other parameters';
COMMENT ON COLUMN keep.stat_ledgers.stats_since IS 'Since when this is counted';

CREATE FUNCTION keep.reaper_statistics(
		OUT relid pg_catalog.oid,
		OUT schema_name pg_catalog.name,
		OUT table_name pg_catalog.name,
		OUT kind pg_catalog.text,
		OUT visits pg_catalog.int8,
		OUT reaped pg_catalog.int8,
		OUT errors pg_catalog.int8,
		OUT last_visit pg_catalog.timestamptz,
		OUT behind pg_catalog.bool,
		OUT last_error pg_catalog.text,
		OUT last_error_at pg_catalog.timestamptz,
		OUT stats_since pg_catalog.timestamptz)
	RETURNS SETOF pg_catalog.record
	AS 'MODULE_PATHNAME', 'keep_reaper_statistics'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100 ROWS 100;
COMMENT ON FUNCTION keep.reaper_statistics() IS
	'What keep.stat_reaper shows';

CREATE VIEW keep.stat_reaper AS
	SELECT s.relid, s.schema_name, s.table_name, s.kind, s.visits, s.reaped,
		s.errors, s.last_visit, s.behind, s.last_error, s.last_error_at, s.stats_since
	FROM keep.reaper_statistics() AS s;
COMMENT ON VIEW keep.stat_reaper IS 'What the reaper has done to each table';
COMMENT ON COLUMN keep.stat_reaper.relid IS 'OID of the table';
COMMENT ON COLUMN keep.stat_reaper.schema_name IS 'Its schema';
COMMENT ON COLUMN keep.stat_reaper.table_name IS 'Its name';
COMMENT ON COLUMN keep.stat_reaper.kind IS 'store, ledger, request_log or saga_log';
COMMENT ON COLUMN keep.stat_reaper.visits IS 'Visits of the reaper';
COMMENT ON COLUMN keep.stat_reaper.reaped IS 'Rows deleted, holds released, compensations run';
COMMENT ON COLUMN keep.stat_reaper.errors IS 'Visits that ended in an error';
COMMENT ON COLUMN keep.stat_reaper.last_visit IS 'When the last one ended';
COMMENT ON COLUMN keep.stat_reaper.behind IS 'Whether it left work behind';
COMMENT ON COLUMN keep.stat_reaper.last_error IS 'The last error';
COMMENT ON COLUMN keep.stat_reaper.last_error_at IS 'When that was';
COMMENT ON COLUMN keep.stat_reaper.stats_since IS 'Since when this is counted';

CREATE FUNCTION keep.stat_reset(relation pg_catalog.regclass = NULL) RETURNS pg_catalog.void
	AS 'MODULE_PATHNAME', 'keep_stat_reset'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION keep.stat_reset(pg_catalog.regclass) FROM PUBLIC;
COMMENT ON FUNCTION keep.stat_reset(pg_catalog.regclass) IS
	'Set the statistics of a table, or of all of this database, to zero';
