# The life of the reaper: it looks after every database that has the extension, with no set-up where it is
# preloaded and after start_reaper() where it is not, in short transactions of bounded size, and keeps
# nobody from his work.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use Test::More;

my $node = new_server('main');
$node->start;

sub create_database { return sql($node, 'postgres', "CREATE DATABASE $_[0] TEMPLATE " . ($_[1] // 'template0')); }

# Lets both kinds of backend be looked at, so many times, from within one statement: pg_stat_activity into table "seen"
sub look
{
	my ($times) = @_;
	sql($node, 'postgres', qq{
		DROP TABLE IF EXISTS seen;
		CREATE TABLE seen AS SELECT 0 AS look, a.* FROM pg_stat_activity a LIMIT 0;
		DO \$\$
		BEGIN
			FOR look IN 1..$times LOOP
				PERFORM pg_stat_clear_snapshot();
				INSERT INTO seen SELECT look, a.* FROM pg_stat_activity a WHERE starts_with(backend_type, 'pg_keep');
				PERFORM pg_sleep(0.004);
			END LOOP;
		END \$\$});
	return;
}

# The most workers that were there at one time
sub most_workers
{
	return sql($node, 'postgres', q{
		SELECT max(n) FROM (SELECT count(*) AS n FROM seen WHERE backend_type = 'pg_keep reaper' GROUP BY look) s});
}

# Preloaded: there from the start, connected to no database, and only once.
is( sql($node, 'postgres', q{
	SELECT name, setting, unit, context, min_val, max_val FROM pg_settings
	WHERE name IN ('pg_keep.reaper', 'pg_keep.reaper_batch', 'pg_keep.reaper_share', 'pg_keep.max_workers') ORDER BY name}),
	join("\n", 'pg_keep.max_workers|2||sighup|1|16', 'pg_keep.reaper|on||sighup||',
		'pg_keep.reaper_batch|1000||sighup|1|100000', 'pg_keep.reaper_share|25||sighup|1|100'), 'settings');
is( sql($node, 'postgres', q{
	SELECT boot_val, unit, context, min_val, max_val FROM pg_settings WHERE name = 'pg_keep.naptime'}),
	'10000|ms|sighup|100|86400000', 'naptime');
becomes($node, 'postgres', "$launchers AND datid IS NULL", '1', 'preloaded: a launcher, in no database');

# A database where CREATE EXTENSION has just run, two, one that comes later, and one without
add_kinds($node, 'postgres');
add_living($node, 'postgres');
add_over($node, 'postgres', 'over a', 100);
living_as_before($node, 'postgres', 'no set-up');
create_database($_) foreach 'second', 'bare';
add_kinds($node, 'second');
add_living($node, 'second');
add_over($node, 'second', 'over a', 100);
add_over($node, 'postgres', 'over b', 100);
living_as_before($node, 'second', 'two databases, the second');
living_as_before($node, 'postgres', 'two databases, the first');
create_database('later');
add_store($node, 'later', 's', 100);
gone($node, 'later', 's', 'a database that came later');
is(sql($node, 'bare', 'SELECT count(*) FROM pg_extension'), '1', 'nothing comes into one without the extension');
add_store($node, 'bare', 's', 100);
gone($node, 'bare', 's', 'one that gets the extension is looked after from then on');
is(sql($node, 'postgres', 'SELECT keep.start_reaper()'), 'f', 'start_reaper() where it runs');

# Off and on
pause_reaper($node);
my $launcher = launcher_pid($node);
add_over($node, 'postgres', 'over c', 50);
fill($node, 'second', 'sessions', 5000);
sql($node, 'postgres', 'SELECT pg_sleep(1)');
is(left_over($node, 'postgres'), '200', 'off: it does nothing');
is(sql($node, 'postgres', $workers), '0', 'and has no workers');
resume_reaper($node);
living_as_before($node, 'postgres', 'on again');
living_as_before($node, 'second', 'it catches up');
is(launcher_pid($node), $launcher, 'the launcher stayed');

# After a restart: what is over by then, and what will be
pause_reaper($node);
add_over($node, 'postgres', 'over d', 50);
sql($node, 'postgres', 'ALTER SYSTEM RESET pg_keep.reaper');
$node->restart;
living_as_before($node, 'postgres', 'after a restart');
add_over($node, 'second', 'over d', 50);
living_as_before($node, 'second', 'what comes after it');

# Batches: each row and compensation tells its transaction, and no transaction deals with more than 50 of one table.
pause_reaper($node);
sql($node, 'second', q{
	CREATE TABLE batches (xid xid8 DEFAULT pg_current_xact_id(), source text, rows bigint);
	CREATE FUNCTION note_batch() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.batches (source, rows) SELECT TG_TABLE_NAME, count(*) FROM old_rows;
		RETURN NULL;
	END $$;
	CREATE FUNCTION note_hold() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.batches (source, rows) VALUES (TG_TABLE_NAME, 1);
		RETURN NULL;
	END $$;
	CREATE TRIGGER note AFTER DELETE ON sessions REFERENCING OLD TABLE AS old_rows
		FOR EACH STATEMENT EXECUTE FUNCTION note_batch();
	CREATE TRIGGER note AFTER DELETE ON requests REFERENCING OLD TABLE AS old_rows
		FOR EACH STATEMENT EXECUTE FUNCTION note_batch();
	CREATE TRIGGER note AFTER UPDATE ON books_transfers FOR EACH ROW WHEN (NEW.status = 'expired')
		EXECUTE FUNCTION note_hold();
	TRUNCATE undone;
	DELETE FROM sagas_steps WHERE saga NOT IN ('live', 'open');
	DELETE FROM sagas WHERE saga NOT IN ('live', 'open');
});
add_over($node, 'second', 'over e', 300);
fill($node, 'second', 'sessions', 2000);
resume_reaper($node, reaper_batch => 50, reaper_share => 100);
living_as_before($node, 'second', 'batches of 50');
sql($node, 'second', "INSERT INTO batches SELECT xid, 'undone', 1 FROM undone; DELETE FROM batches WHERE rows = 0");
is( sql($node, 'second', 'SELECT source, sum(rows) FROM batches GROUP BY 1 ORDER BY 1'),
	join("\n", 'books_transfers|300', 'requests|300', 'sessions|2300', 'undone|300'), 'all of them went that way');
is(sql($node, 'second', 'SELECT xid, source, sum(rows) FROM batches GROUP BY 1, 2 HAVING sum(rows) > 50'), '',
	'no batch is larger');
is(sql($node, 'second', 'SELECT xid FROM batches GROUP BY 1 HAVING count(DISTINCT source) > 1'), '', 'each is of one table');

# A backlog that lasts: the worker sleeps most of the time. Everything that follows happens under it.
pause_reaper($node);
add_store($node, 'postgres', $_, 4000) foreach 'crowd', 'gets_column', 'old_name', 'dropped';
sql($node, 'postgres', 'CREATE SCHEMA app');
add_store($node, 'postgres', 'app.carts', 4000);
my $log_start = end_of_log($node);
resume_reaper($node, reaper_batch => 10, reaper_share => 2);
ok(worker($node, 'postgres', $_), "pg_stat_activity shows what it is at: $_") foreach 'public.crowd', 'app.carts';
look(300);
is( sql($node, 'postgres', q{
	SELECT count(DISTINCT pid), count(DISTINCT datname) FROM seen WHERE backend_type = 'pg_keep reaper launcher'}),
	'1|0', 'and the launcher');

# One that went to sleep just between two looks at it is seen at most once or twice; one that sleeps within a
# transaction again and again.
my $sleeps = "wait_event_type IN ('Extension', 'Timeout', 'Activity')";
is( sql($node, 'postgres', qq{
	SELECT backend_type, query, wait_event, count(*) FROM seen
	WHERE $sleeps AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
	GROUP BY pid, xact_start, backend_type, query, wait_event HAVING count(*) > 2}), '',
	'nobody sleeps in a transaction, or with a snapshot');
is( sql($node, 'postgres', qq{
	SELECT count(*) > 20 FROM seen WHERE $sleeps AND backend_type = 'pg_keep reaper' AND datname = 'postgres'}), 't',
	'workers were seen asleep');
cmp_ok(most_workers(), '<=', 2, 'never more than two workers');

$node->safe_psql('postgres', 'CREATE INDEX CONCURRENTLY ON crowd (updated_at)');
$node->safe_psql('postgres', 'VACUUM crowd');
$node->safe_psql('postgres', 'REINDEX TABLE CONCURRENTLY crowd');
sql($node, 'postgres', 'ALTER TABLE gets_column ADD COLUMN note text DEFAULT random()::text');
sql($node, 'postgres', 'ALTER TABLE old_name RENAME TO new_name');
sql($node, 'postgres', 'ALTER SCHEMA app RENAME TO shop');
sql($node, 'postgres', 'DROP TABLE dropped');
is(sql($node, 'postgres', 'SELECT count(*) > 100 FROM crowd'), 't', 'all that went through while there was a backlog');
is(sql($node, 'postgres', "SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid = 'crowd'::regclass"), '3|t',
	'the indexes are good');
resume_reaper($node, reaper_batch => undef, reaper_share => undef);
gone($node, 'postgres', $_->[0], $_->[1])
  foreach [ 'crowd', 'after CREATE INDEX CONCURRENTLY, REINDEX and VACUUM' ], [ 'gets_column', 'after ADD COLUMN' ],
  [ 'new_name', 'under a new name' ], [ 'shop.carts', 'in a renamed schema' ];
unlike(end_of_log($node, $log_start), qr/pg_keep could not|ERROR|FATAL/, 'none of it was an error');

# DROP EXTENSION while it works
pause_reaper($node);
fill($node, 'bare', 's', 4000);
resume_reaper($node, reaper_batch => 10, reaper_share => 2);
worker($node, 'bare', 'public.s');
sql($node, 'bare', 'DROP EXTENSION pg_keep');
my $left = sql($node, 'bare', 'SELECT count(*) FROM s');
sql($node, 'bare', 'SELECT pg_sleep(1)');
is(sql($node, 'bare', 'SELECT count(*) FROM s'), $left, 'DROP EXTENSION ends the work in that database');
cmp_ok($left, '>', 100, 'which was under way');

# Databases that are being worked at can be copied and dropped.
pause_reaper($node);
add_store($node, 'later', "busy$_", 4000) foreach 1 .. 2;
add_store($node, 'second', 'busy', 4000);
create_database('fourth');
add_store($node, 'fourth', 'busy', 4000);
resume_reaper($node, max_workers => 3);
becomes($node, 'postgres', q{
	SELECT count(DISTINCT datname) FROM pg_stat_activity WHERE query ~ '^pg_keep: expiring public.busy'},
	'3', 'max_workers = 3: three databases at once');
look(150);
is(most_workers(), '3', 'and no more');
is( sql($node, 'postgres', q{
	SELECT look, datname FROM seen WHERE query LIKE 'pg_keep: exp%' GROUP BY 1, 2 HAVING count(*) > 1}), '', 'each in another');
foreach my $round (1, 2)
{
	worker($node, 'later', 'public.busy1');
	create_database("copy$round", 'later');
	worker($node, "copy$round", 'public.busy1');
	sql($node, 'postgres', "DROP DATABASE copy$round");
}
worker($node, 'later', 'public.busy1');
is(sql($node, 'later', 'SELECT count(*) > 100 FROM busy1'), 't',
	'a database that it is at was copied, and the copies dropped');
sql($node, 'postgres', 'DROP DATABASE later');
is(sql($node, 'postgres', "SELECT count(*) FROM pg_database WHERE datname ~ 'later|copy'"), '0', 'all were dropped');
fill($node, $_, 'busy', 4000) foreach 'second', 'fourth';
set_reaper($node, max_workers => 1);
becomes($node, 'postgres', $workers, '1', 'max_workers = 1: one worker');
look(150);
is(most_workers(), '1', 'and no more');
is(sql($node, 'second', 'SELECT count(*) > 100 FROM busy') . sql($node, 'fourth', 'SELECT count(*) > 100 FROM busy'), 'tt',
	'though there is work for more');
set_reaper($node, max_workers => undef, reaper_batch => undef, reaper_share => undef);
gone($node, $_, 'busy', "$_ is looked after") foreach 'second', 'fourth';

# stop_reaper() waits for the end of all, which lasts until start_reaper() or a restart.
pause_reaper($node);
fill($node, 'second', 'busy', 4000);
resume_reaper($node, reaper_batch => 10, reaper_share => 2);
worker($node, 'second', 'public.busy');
is(sql($node, 'postgres', "SELECT keep.stop_reaper(); $launchers; $workers"), "t\n0\n0",
	'stop_reaper() ends launcher and workers');
set_reaper($node, reaper_batch => undef, reaper_share => undef);
is(sql($node, 'postgres', 'SELECT keep.stop_reaper()'), 'f', 'stop_reaper() again');
add_over($node, 'postgres', 'over f', 10);
sql($node, 'postgres', 'SELECT pg_sleep(1.5)');
is(left_over($node, 'postgres') . sql($node, 'postgres', $launchers), '400', 'it stays away');
is(sql($node, 'postgres', 'SELECT keep.start_reaper()'), 't', 'start_reaper()');
living_as_before($node, 'postgres', 'started');
is(sql($node, 'second', 'SELECT keep.stop_reaper()'), 't', 'stopped from another database');
$node->restart;
add_over($node, 'postgres', 'over g', 10);
living_as_before($node, 'postgres', 'a restart starts it');
$node->stop;
check_log($node);

# Without preload nothing runs until it is started, which then lasts for as long as the server runs.
my $plain = new_server('plain', preload => 0);
$plain->start;
add_kinds($plain, 'postgres');
add_living($plain, 'postgres');
add_over($plain, 'postgres', 'over a', 50);
sql($plain, 'postgres', 'SELECT pg_sleep(1)');
is(sql($plain, 'postgres', $launchers) . ' ' . left_over($plain, 'postgres'), '0 200', 'not preloaded: nothing runs');
is(sql($plain, 'postgres', 'SELECT keep.stop_reaper()'), 'f', 'there is nothing to stop');
is(sql($plain, 'postgres', 'SELECT keep.start_reaper()'), 't', 'start_reaper()');
is(sql($plain, 'postgres', 'SELECT keep.start_reaper()'), 'f', 'it runs already');
living_as_before($plain, 'postgres', 'not preloaded, started');
sql($plain, 'postgres', 'CREATE DATABASE second TEMPLATE template0');
add_store($plain, 'second', 's', 50);
gone($plain, 'second', 's', 'in other databases, too');
becomes($plain, 'postgres', "$launchers AND datid IS NULL", '1', 'a launcher, in no database');

# The settings hold there, too.
pause_reaper($plain);
add_over($plain, 'postgres', 'over b', 10);
sql($plain, 'postgres', 'SELECT pg_sleep(1)');
is(left_over($plain, 'postgres'), '40', 'not preloaded, off');
resume_reaper($plain);
living_as_before($plain, 'postgres', 'not preloaded, on');

# The server crashes and restarts by itself.
my $began = server_began($plain);
my $session = $plain->background_psql('postgres', on_error_stop => 0);
kill 'KILL', $session->query_safe('SELECT pg_backend_pid()');
wait_for_restart($plain, $began);
eval { $session->quit; };
becomes($plain, 'postgres', $launchers, '1', 'it is back after a crash of the server');
add_over($plain, 'postgres', 'over c', 10);
living_as_before($plain, 'postgres', 'after a crash of the server');
is(sql($plain, 'postgres', 'SELECT keep.start_reaper()'), 'f', 'it knows that it runs');

# Stopped and started, also by many at once: there is one launcher.
is(sql($plain, 'second', 'SELECT keep.stop_reaper()'), 't', 'stop_reaper()');
becomes($plain, 'postgres', $launchers, '0', 'ends the launcher');
becomes($plain, 'postgres', $workers, '0', 'and its workers');
add_over($plain, 'postgres', 'over d', 10);
sql($plain, 'postgres', 'SELECT pg_sleep(1.5)');
is(left_over($plain, 'postgres') . sql($plain, 'postgres', $launchers), '400', 'it stays away');
my $script = PostgreSQL::Test::Utils::tempdir . '/start.sql';
append_to_file($script, 'INSERT INTO started SELECT keep.start_reaper();');
sql($plain, 'postgres', 'CREATE TABLE started (it bool)');
$plain->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '4', '-f', $script, 'postgres' ],
	'started by many at once');
living_as_before($plain, 'postgres', 'started again');
is(sql($plain, 'postgres', 'SELECT count(*), sum(it::int) FROM started'), '32|1', 'one has done it');
becomes($plain, 'postgres', $launchers, '1', 'there is one launcher');
sql($plain, 'postgres', 'SELECT pg_sleep(1.5)');
is(sql($plain, 'postgres', $launchers), '1', 'and it stays with that');
is(sql($plain, 'postgres', 'SELECT keep.stop_reaper()'), 't', 'stop_reaper() ends that one');
becomes($plain, 'postgres', $launchers, '0', 'and there is none');

# It does not outlast the server, and is not in the way of its end.
is(sql($plain, 'postgres', 'SELECT keep.start_reaper()'), 't', 'start_reaper() once more');
$plain->restart;
sql($plain, 'postgres', 'SELECT pg_sleep(1)');
is(sql($plain, 'postgres', $launchers), '0', 'after a restart nothing runs');
$plain->stop;
check_log($plain);
done_testing();
