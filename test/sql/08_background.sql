-- The background seen from one session: settings, who may start and stop the reaper, who may reset
-- statistics, and that the views answer or say why not. It passes with and without
-- shared_preload_libraries. (What the reaper does and what is counted is in the TAP tests.)
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');

-- settings; pg_keep.stat_tables has another context where the server preloads the library
SELECT name, vartype, unit, context, boot_val, min_val, max_val
FROM pg_settings WHERE name LIKE 'pg\_keep.%' AND name NOT IN ('pg_keep.stat_tables', 'pg_keep.test_clock_offset')
ORDER BY name COLLATE "C";
SELECT name, boot_val FROM pg_settings WHERE name = 'pg_keep.stat_tables';
-- those of the reaper are the server's, not a session's
SELECT s, test.code(format('SET pg_keep.%s = %L', s, v)) FROM (VALUES
    ('reaper', 'off'), ('naptime', '1min'), ('reaper_batch', '10'), ('reaper_share', '50'), ('max_workers', '1')) v(s, v);
-- whether to count is a superuser's choice
SET pg_keep.track_statistics = off;
SELECT (keep.put('s', 'k', '1')).status AS "not counted, done all the same";
RESET pg_keep.track_statistics;
SET ROLE regress_keep_nobody;
SELECT test.code('SET pg_keep.track_statistics = off') AS "not an ordinary user's";
RESET ROLE;

-- starting, stopping and resetting are not for everybody, whatever they own
GRANT pg_read_all_stats TO regress_keep_user;
SELECT r, test.code('SET LOCAL ROLE ' || r || '; SELECT keep.start_reaper()') AS start,
    test.code('SET LOCAL ROLE ' || r || '; SELECT keep.stop_reaper()') AS stop,
    test.code('SET LOCAL ROLE ' || r || '; SELECT keep.stat_reset()') AS reset,
    test.code('SET LOCAL ROLE ' || r || '; SELECT keep.stat_reset(''s'')') AS "reset one"
FROM unnest('{regress_keep_owner,regress_keep_user,regress_keep_nobody}'::text[]) r;
REVOKE pg_read_all_stats FROM regress_keep_user;

-- start and stop say whether that was news; the first test has stopped it
SELECT keep.stop_reaper() AS stopped;
SELECT keep.start_reaper() AS started, keep.start_reaper() AS again;
SELECT backend_type, datname FROM pg_stat_activity WHERE backend_type = 'pg_keep reaper launcher';
SELECT keep.stop_reaper() AS stopped, keep.stop_reaper() AS again;
SELECT count(*) AS "gone when that returns" FROM pg_stat_activity WHERE backend_type LIKE 'pg_keep%';
SELECT keep.start_reaper() AS again;
-- it can be granted
GRANT EXECUTE ON FUNCTION keep.stop_reaper(), keep.start_reaper() TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT keep.start_reaper() AS running, keep.stop_reaper() AS stopped;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION keep.stop_reaper(), keep.start_reaper() FROM regress_keep_user;

-- the views: for everybody to read, for nobody to write; they answer, or say what is missing
SELECT table_name, count(*) AS columns, bool_and(col_description(format('keep.%I', table_name)::regclass, ordinal_position) IS NOT NULL) AS described
FROM information_schema.columns WHERE table_schema = 'keep' AND table_name LIKE 'stat\_%'
GROUP BY table_name ORDER BY table_name COLLATE "C";
SELECT current_setting('shared_preload_libraries') ~ '\mpg_keep\M' AS preloaded \gset
\pset format unaligned
\pset tuples_only on
SELECT v, test.code('SELECT count(*) FROM keep.' || v) = CASE WHEN :'preloaded' THEN 'ok' ELSE '55000' END
FROM unnest('{stat_stores,stat_ledgers,stat_reaper}'::text[]) v;
SELECT test.code('SELECT keep.stat_reset()') = CASE WHEN :'preloaded' THEN 'ok' ELSE '55000' END AS reset;
\pset tuples_only off
\pset format aligned
SET ROLE regress_keep_nobody;
SELECT test.code('SELECT * FROM keep.stat_stores') = CASE WHEN :'preloaded' THEN 'ok' ELSE '55000' END AS "the same for all";
SELECT c, test.code(c) FROM (VALUES ('INSERT INTO keep.stat_stores (hits) VALUES (1)'), ('UPDATE keep.stat_ledgers SET posted = 0'),
    ('DELETE FROM keep.stat_reaper')) v(c);
RESET ROLE;

DROP TABLE s;
