# The reaper among faults: its processes are killed, terminated and cancelled, the server crashes, tables
# are broken, slow or locked, databases have odd settings, a standby is promoted. What can be dealt with is
# dealt with, sooner or later; what lives stays; and what stands in the way is reported.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin", "$FindBin::RealBin/../stress";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use StressClient;
use Test::More;

my $node = new_server('main', 'pg_keep.reaper_share' => 100);
$node->start;

# A trigger for each row that is deleted
sub add_trigger
{
	my ($db, $table, $body) = @_;
	sql($node, $db, qq{
		CREATE OR REPLACE FUNCTION on_delete_$table() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $body RETURN OLD; END \$\$;
		DROP TRIGGER IF EXISTS on_delete ON $table;
		CREATE TRIGGER on_delete BEFORE DELETE ON $table FOR EACH ROW EXECUTE FUNCTION on_delete_$table()});
	return;
}

sub drop_trigger
{
	my ($db, $table) = @_;
	sql($node, $db, "DROP TRIGGER on_delete ON $table");
	due_again($node, $db, $table);
	return;
}

# New work for the reaper in this store, and it has been done: it has been here.
sub comes_by
{
	my ($db, $store, $name) = @_;
	fill($node, $db, $store, 20);
	return gone($node, $db, $store, $name);
}

# A worker is killed in the middle of a batch; the server crashes with it and restarts.
sql($node, 'postgres', 'CREATE DATABASE second TEMPLATE template0');
add_kinds($node, $_) foreach 'postgres', 'second';
add_living($node, $_) foreach 'postgres', 'second';
add_store($node, 'postgres', 'slow', 0);
add_store($node, 'postgres', 'before', 0);
add_trigger('postgres', 'slow', 'PERFORM pg_sleep(0.01);');
add_trigger('postgres', 'sessions', 'PERFORM pg_sleep(0.01);');
foreach my $round (1, 2)
{
	pause_reaper($node);
	fill($node, 'postgres', 'slow', 150);
	add_over($node, $_, "over $round ", 60) foreach 'postgres', 'second';
	my $began = server_began($node);
	resume_reaper($node);
	kill 'KILL', worker($node, 'postgres', $round == 1 ? 'public.slow' : 'public.sessions');
	wait_for_restart($node, $began);
	living_as_before($node, 'postgres', "killed at work, $round");
	living_as_before($node, 'second', "killed at work, $round, another database");
	gone($node, 'postgres', 'slow', "killed at work, $round: the slow table");
}
becomes($node, 'postgres', $launchers, '1', 'and there is one launcher');

# The launcher is killed, all of the server is, or stopped at once, under its work.
foreach my $how ('launcher', 'kill', 'immediate')
{
	pause_reaper($node);
	fill($node, 'postgres', 'slow', 100);
	add_over($node, 'postgres', "over $how ", 50);
	my $began = server_began($node);
	resume_reaper($node);
	worker($node, 'postgres', 'public.slow');
	if ($how eq 'launcher')
	{
		kill 'KILL', launcher_pid($node);
		wait_for_restart($node, $began);
	}
	elsif ($how eq 'kill')
	{
		StressClient::crash($node);
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	living_as_before($node, 'postgres', "server down, $how");
	gone($node, 'postgres', 'slow', "server down, $how: the slow table");
}
drop_trigger('postgres', 'sessions');

# Worker and launcher are terminated and cancelled.
foreach my $what ('pg_terminate_backend', 'pg_cancel_backend')
{
	pause_reaper($node);
	fill($node, 'postgres', $_, 100) foreach 'slow', 'before';
	resume_reaper($node);
	my $pid = worker($node, 'postgres', 'public.slow');
	sql($node, 'postgres', "SELECT $what($pid)");
	gone($node, 'postgres', 'slow', "$what of a worker: its table");
	gone($node, 'postgres', 'before', "$what of a worker: another table");

	my $launcher = launcher_pid($node);
	sql($node, 'postgres', "SELECT $what($launcher)");
	if ($what eq 'pg_terminate_backend')
	{
		becomes($node, 'postgres', "SELECT pid <> $launcher FROM pg_stat_activity WHERE backend_type = 'pg_keep reaper launcher'",
			't', "$what of the launcher: another comes");
	}
	comes_by('postgres', 'slow', "$what of the launcher");
	becomes($node, 'postgres', $launchers, '1', "$what: there is one launcher");
}

# A worker is cancelled for certain while it is at a row: that table has had an error, and the next one its turn.
pause_reaper($node);
add_trigger('postgres', 'slow', 'PERFORM pg_sleep(1);');
fill($node, 'postgres', $_, 5) foreach 'slow', 'before';
my $errors = reaper_stat($node, 'postgres', 'slow', 'errors');
resume_reaper($node);
worker($node, 'postgres', 'public.slow');
foreach my $try (1 .. 100)
{
	sql($node, 'postgres', q{
		SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE query = 'pg_keep: expiring public.slow' AND wait_event = 'PgSleep'});
	last if reaper_stat($node, 'postgres', 'slow', 'errors') > $errors;
	sql($node, 'postgres', 'SELECT pg_sleep(0.05)');
}
is( reaper_stat($node, 'postgres', 'slow', "errors > $errors, last_error ~ 'cancel', last_error_at > now() - interval '5 min'"),
	't|t|t', 'a cancel counts as an error of the table');
gone($node, 'postgres', 'before', 'and another table has its turn');
drop_trigger('postgres', 'slow');
gone($node, 'postgres', 'slow', 'and so has this one later');

# A trigger that raises: in the middle of others
add_store($node, 'second', $_, 0) foreach 'a', 'm', 'z';
add_trigger('second', 'm', "RAISE EXCEPTION 'not while I live';");
my $log_start = end_of_log($node);
fill($node, 'second', $_, 20) foreach 'a', 'm', 'z';
gone($node, 'second', $_, "beside a table whose trigger raises: $_") foreach 'a', 'z';
becomes($node, 'second', "SELECT errors > 2 FROM keep.stat_reaper WHERE relid = 'm'::regclass", 't',
	'it is tried again, and errors are counted');
is(reaper_stat($node, 'second', 'm', "last_error ~ 'not while I live', last_error_at > now() - interval '5 min', reaped"),
	't|t|0', 'it is reported');
comes_by('second', $_, "beside it, again: $_") foreach 'a', 'z';
is(reaper_stat($node, 'second', 'a', 'errors, last_error IS NULL'), '0|t', 'the others have no error');
my @lines = grep { /LOG:.*pg_keep could not expire/ } split(/\n/, end_of_log($node, $log_start));
is(scalar @lines, 1, 'and once in the log');
like($lines[0], qr/\bm\b/, 'with the name of the table');
unlike(end_of_log($node, $log_start), qr/ERROR:|FATAL:/, 'at no other level');

# It does not end the visit: the first one after the start is enough, though the next one is tomorrow.
set_reaper($node, naptime => '1d');
sql($node, 'postgres', 'SELECT keep.stop_reaper()');
due_again($node, 'second', 'm');
fill($node, 'second', $_, 500) foreach 'a', 'm', 'z';
sql($node, 'postgres', 'SELECT keep.start_reaper()');
gone($node, 'second', $_, "in the same visit: $_") foreach 'a', 'z';
drop_trigger('second', 'm');
set_reaper($node, naptime => '100ms');
gone($node, 'second', 'm', 'without the trigger');

# Rows that cannot be deleted, as others refer to them
sql($node, 'second', 'CREATE TABLE child (key text REFERENCES m)');
pause_reaper($node);
fill($node, 'second', 'm', 300);
sql($node, 'second', "INSERT INTO child SELECT key FROM m WHERE key IN ('over 1', 'over 17', 'over 299')");
resume_reaper($node);
becomes($node, 'second', "SELECT string_agg(key, ',' ORDER BY key) FROM m", 'live,over 1,over 17,over 299',
	'beside rows that cannot be deleted');
is(reaper_stat($node, 'second', 'm', "last_error ~ 'foreign key'"), 't', 'which are reported');
sql($node, 'second', 'DROP TABLE child');
due_again($node, 'second', 'm');
gone($node, 'second', 'm', 'until they can be');

# A compensation that raises is noted in its step, and another saga has its turn.
sql($node, 'second', q{
	CREATE FUNCTION undo_not(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cannot be undone'; END $$;
	SELECT keep.allow_saga_function('sagas', 'undo_not(jsonb)');
	SELECT keep.begin_saga('sagas', 'bad', '1 ms');
});
sql($node, 'second', q{
	SET pg_keep.test_clock_offset = '-1 h';
	SELECT keep.begin_saga('sagas', 'over bad', '1 min');
	SELECT keep.run_step('sagas', 'over bad', 'step', 'act(jsonb)', '{}', 'undo_not(jsonb)');
});
add_over($node, 'second', 'over good ', 5);
becomes($node, 'second', "SELECT count(*) FROM sagas WHERE saga LIKE 'over good%' AND state = 'compensated'", '5',
	'beside a compensation that raises');
becomes($node, 'second', "SELECT attempts > 1 AND last_error ~ 'cannot be undone' FROM sagas_steps WHERE saga = 'over bad'",
	't', 'which is noted and retried');
is(sql($node, 'second', "SELECT state, waits_for FROM sagas WHERE saga = 'over bad'"), 'compensating|local', 'the saga waits');
sql($node, 'second', "CREATE OR REPLACE FUNCTION undo_not(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT \$1'");
becomes($node, 'second', "SELECT state FROM sagas WHERE saga = 'over bad'", 'compensated', 'until it succeeds');
sql($node, 'second', "DELETE FROM sagas_steps WHERE saga = 'over bad'; DELETE FROM sagas WHERE saga IN ('bad', 'over bad')");

# A trigger that never ends: others have their turn, in other databases, too. So it is with one that no cancel
# can end: its worker is ended.
set_reaper($node, max_workers => 1);
foreach my $catch ('', 'EXCEPTION WHEN query_canceled THEN NULL;')
{
	my $name = $catch ? 'a trigger that cannot be cancelled' : 'a trigger that never ends';
	add_trigger('second', 'm', "LOOP BEGIN PERFORM pg_sleep(3600); $catch END; END LOOP;");
	fill($node, 'second', $_, 200) foreach 'a', 'm', 'z';
	my $stuck = worker($node, 'second', 'public.m');
	becomes($node, 'postgres', "$workers AND pid = $stuck", '0',
		"$name: the worker ends");
	gone($node, 'second', $_, "beside $name: $_") foreach 'a', 'z';
	comes_by('postgres', 'before', "beside $name: another database");
	comes_by('second', $_, "beside $name, again: $_") foreach 'a', 'z';
	becomes($node, 'second', "SELECT errors > 0 AND last_error_at > now() - interval '1 min'" .
		" FROM keep.stat_reaper WHERE relid = 'm'::regclass", 't', "$name: reported");
	is(sql($node, 'second', "SELECT count(*) FROM m WHERE key LIKE 'over%'"), '200', "$name: its rows stay");
	drop_trigger('second', 'm');

	# which has been left out for a while; a new launcher does not know
	sql($node, 'postgres', 'SELECT keep.stop_reaper(), keep.start_reaper()');
	gone($node, 'second', 'm', "$name is gone: they are dealt with");
	sql($node, 'second', 'SELECT keep.stat_reset()');
}

# A slow trigger: all rows of a batch would take longer than a worker may.
pause_reaper($node);
add_trigger('second', 'm', 'PERFORM pg_sleep(0.06);');
fill($node, 'second', 'm', 70);
resume_reaper($node);
gone($node, 'second', 'm', 'rows under a slow trigger are dealt with in the end');
drop_trigger('second', 'm');
set_reaper($node, max_workers => undef);

# Rows that are locked are passed over.
pause_reaper($node);
fill($node, 'second', 'a', 100);
add_over($node, 'second', 'over l ', 20);
my $holder = $node->background_psql('second');
$holder->query_safe(q{
	BEGIN;
	SELECT FROM a WHERE key IN ('over 1', 'over 50') FOR UPDATE;
	SELECT FROM sessions WHERE key = 'over l 3' FOR NO KEY UPDATE;
	SELECT FROM requests WHERE key = 'over l 4' FOR SHARE;
	SELECT FROM sagas WHERE saga = 'over l 5' FOR UPDATE});
$log_start = end_of_log($node);
$errors = sql($node, 'second', 'SELECT sum(errors) FROM keep.stat_reaper');
resume_reaper($node);
becomes($node, 'second', "SELECT string_agg(key, ',' ORDER BY key) FROM a", 'live,over 1,over 50',
	'locked rows of a store are passed over');
becomes($node, 'second', $left_over, '3', 'locked entries, records and sagas are');
$holder->query_safe('COMMIT');
living_as_before($node, 'second', 'locked rows, released');
gone($node, 'second', 'a', 'as is the store');

# So are tables that are locked, without an error.
pause_reaper($node);
fill($node, 'second', $_, 20) foreach 'a', 'm', 'z';
$holder->query_safe('BEGIN; LOCK TABLE m, requests, books_transfers, sagas_steps IN ACCESS EXCLUSIVE MODE');
resume_reaper($node);
gone($node, 'second', $_, "beside a locked table: $_") foreach 'a', 'z';
comes_by('second', $_, "beside a locked table, again: $_") foreach 'a', 'z';
is($holder->query_safe('SELECT count(*) FROM m'), '21', 'it is as it was');
is(sql($node, 'second', 'SELECT sum(errors) FROM keep.stat_reaper'), $errors, 'and no error');
unlike(end_of_log($node, $log_start), qr/pg_keep could not|ERROR:|FATAL:/, 'nor in the log');
$holder->query_safe('ROLLBACK');
gone($node, 'second', 'm', 'unlocked');
$holder->quit;

# Settings of a database and of the role, which hold for every other backend there
my $superuser = sql($node, 'postgres', 'SELECT current_user');
sql($node, 'postgres', 'CREATE ROLE weak; CREATE DATABASE odd TEMPLATE template0');
add_kinds($node, 'odd');
add_living($node, 'odd');
add_store($node, 'odd', 'broken', 1);
add_trigger('odd', 'broken', "RAISE EXCEPTION 'broken';");
my @settings = (
	[ 'default_transaction_read_only = on', "default_transaction_isolation = 'serializable'",
		'default_transaction_deferrable = on' ],
	[ "default_transaction_isolation = 'repeatable read'", 'session_replication_role = replica', 'row_security = off' ],
	[ map { "$_ = '1ms'" } 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
		$node->pg_version >= 17 ? 'transaction_timeout' : () ],
	[ 'role = weak', 'exit_on_error = on', 'search_path = nowhere' ]);

# An option of a connection: a setting as it is in another database
sub own_setting
{
	my ($name) = @_;
	my $value = sql($node, 'postgres', "SHOW $name");
	return "-c $name=" . ($value =~ s/ /\\ /gr);
}

foreach my $settings (@settings)
{
	my $name = join(', ', @$settings);
	pause_reaper($node);
	sql($node, 'postgres', "ALTER DATABASE odd SET $_; ALTER ROLE \"$superuser\" IN DATABASE odd SET $_") foreach @$settings;

	# not for this session
	local $ENV{PGOPTIONS} = join(' ', map { own_setting(/^(\w+)/) } @$settings);
	add_over($node, 'odd', 'over ' . ($name =~ s/\W+/ /gr), 10);
	resume_reaper($node);
	living_as_before($node, 'odd', $name);
	sql($node, 'postgres', "ALTER DATABASE odd RESET ALL; ALTER ROLE \"$superuser\" IN DATABASE odd RESET ALL");
}
sql($node, 'postgres', 'DROP DATABASE odd');

# Databases that nobody may connect to, templates, and one whose DROP DATABASE was interrupted
pause_reaper($node);
foreach my $db ('closed', 'pattern', 'crowded', 'invalid')
{
	sql($node, 'postgres', "CREATE DATABASE $db TEMPLATE template0");
	add_store($node, $db, 's', 20);
}
sql($node, 'postgres', q{
	ALTER DATABASE closed ALLOW_CONNECTIONS false;
	ALTER DATABASE pattern IS_TEMPLATE true;
	ALTER DATABASE crowded CONNECTION LIMIT 0;
	UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'invalid';
});
$log_start = end_of_log($node);
resume_reaper($node);
gone($node, 'pattern', 's', 'a template is looked after');
gone($node, 'crowded', 's', 'one whose connections are limited is');
comes_by('second', 'a', 'a database beside all these');
comes_by('postgres', 'before', 'another');
unlike(end_of_log($node, $log_start), qr/ERROR:|FATAL:/, 'no attempt at those that are closed');
sql($node, 'postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
gone($node, 'closed', 's', 'one that is opened again is looked after');
sql($node, 'postgres', 'DROP DATABASE invalid');
$node->stop;
check_log($node);

# No slots for workers: they are taken by parallel ones for a while.
my $small = new_server('small', max_worker_processes => 2, max_logical_replication_workers => 0);
$small->start;
add_store($small, 'postgres', 's', 20);
gone($small, 'postgres', 's', 'one slot besides the launcher');
pause_reaper($small);
my $parallel = $small->background_psql('postgres', on_error_stop => 0);
my $force = $small->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';
$parallel->query_until(qr/begun/, "\\echo begun\nSET $force = on; SELECT pg_sleep(3600);\n");
$small->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'", '1')
  or BAIL_OUT('there is no parallel worker');
fill($small, 'postgres', 's', 20);
my $launcher = launcher_pid($small);
resume_reaper($small);
sql($small, 'postgres', 'SELECT pg_sleep(1.5)');
is(sql($small, 'postgres', 'SELECT count(*) FROM s'), '21', 'no slot: nothing happens');
sql($small, 'postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '3600' AND pid <> pg_backend_pid()");
gone($small, 'postgres', 's', 'it goes on once there is one');
is(launcher_pid($small), $launcher, 'the same launcher');
unlike(end_of_log($small, 0), qr/pg_keep reaper.*(ERROR|FATAL):/, 'and no failed worker');
eval { $parallel->quit; };
$small->stop;
check_log($small);

# A standby does nothing before its promotion, and all of it after.
my $primary = new_server('primary', streaming => 1, max_connections => 20);
$primary->start;
add_kinds($primary, 'postgres');
add_living($primary, 'postgres');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
pause_reaper($primary);
add_over($primary, 'postgres', 'over a', 20);
$primary->wait_for_catchup($standby);
sql($standby, 'postgres', 'SELECT pg_sleep(1)');
is(sql($standby, 'postgres', $workers) . ' ' . left_over($standby, 'postgres'), '0 80', 'a standby: no workers, nothing is done');
is(sqlstate($standby, 'postgres', 'SELECT keep.start_reaper()'), '55000', 'start_reaper() on a standby');
$primary->stop('immediate');
$standby->promote;
living_as_before($standby, 'postgres', 'promoted');
becomes($standby, 'postgres', $launchers, '1', 'there is a launcher');
add_over($standby, 'postgres', 'over b', 20);
living_as_before($standby, 'postgres', 'after that');
unlike(end_of_log($standby, 0), qr/pg_keep could not/, 'no error');
$standby->stop;
check_log($standby);

done_testing();
