# What the tests of the reaper share: servers on which it has little patience, tables of all kinds
# with much that is over and a little that lives, and ways to wait until it has come by.

package ReaperTest;

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use lib dirname(abs_path(__FILE__));

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ServerLog;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(new_server add_kinds add_living add_over left_over living_as_before add_store fill
  sql sqlstate becomes gone due_again set_reaper pause_reaper resume_reaper worker launcher_pid
  reaper_stat server_began wait_for_restart end_of_log check_log $launchers $workers $left_over);

our $launchers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_keep reaper launcher'";
our $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_keep reaper'";

# A server that is not started yet; preloaded unless preload => 0. Other settings as name => value.
sub new_server
{
	my ($name, %settings) = @_;
	my $preload = delete $settings{preload} // 1;
	my $streaming = delete $settings{streaming} // 0;
	my %all = (
		shared_preload_libraries => $preload ? 'pg_keep' : '',
		'pg_keep.naptime' => '100ms',
		autovacuum => 'off',
		restart_after_crash => 'on',
		max_connections => 50,
		# no more than errors, so that the log can be searched
		log_statement => 'none',
		log_line_prefix => '%m [%p] %b %e ',
		%settings);
	my $node = PostgreSQL::Test::Cluster->new($name);

	# roles are named in tests: the superuser is this one, whoever runs them
	$ENV{PGUSER} = 'postgres';
	$node->init(allows_streaming => $streaming, extra => ['--username=postgres']);
	$node->append_conf('postgresql.conf', join("\n", map { "$_ = '$all{$_}'" } sort keys %all));
	return $node;
}

sub sql
{
	my ($node, $db, $query) = @_;
	return $node->safe_psql($db, $query);
}

# The SQLSTATE of a failing statement
sub sqlstate
{
	my ($node, $db, $query) = @_;
	my ($ret, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$query");
	return $err =~ /(?:ERROR|FATAL):\s+(\w+)/ ? $1 : 'none';
}

# It comes to this sooner or later.
sub becomes
{
	my ($node, $db, $query, $expected, $name) = @_;
	return ok($node->poll_query_until($db, $query, $expected), $name);
}

# What tests need in a database besides the extension: fill() puts in entries that were over long ago.
my $helpers = q{
	CREATE EXTENSION pg_keep;
	CREATE SCHEMA test;
	CREATE FUNCTION test.fill(store regclass, prefix text, number int) RETURNS bigint LANGUAGE sql
	SET pg_keep.test_clock_offset = '-1 h' AS $$
		SELECT count(*) FROM keep.put_many(store,
			ARRAY(SELECT prefix || g FROM generate_series(1, number) g),
			array_fill('1'::jsonb, ARRAY[number]), '1 min') $$;
};

# A store with a number of entries that are over and one that lives; the extension as well where it is missing
sub add_store
{
	my ($node, $db, $store, $number) = @_;
	sql($node, $db, $helpers) if sql($node, $db, "SELECT to_regnamespace('test') IS NULL") eq 't';
	sql($node, $db, qq{
		SELECT keep.create_store('$store');
		SELECT keep.put('$store', 'live', '1', '1 hour');
		SELECT test.fill('$store', 'over ', $number);
	});
	return;
}

sub fill
{
	my ($node, $db, $store, $number) = @_;
	sql($node, $db, "SELECT test.fill('$store', 'over ', $number)");
	return;
}

# Of a store only the entry that lives is there, in the end.
sub gone
{
	my ($node, $db, $store, $name) = @_;
	return becomes($node, $db, "SELECT count(*), min(key) FROM $store", '1|live', $name);
}

# What could not be deleted is put off for a while. Not here.
sub due_again
{
	my ($node, $db, $store) = @_;
	sql($node, $db, "UPDATE $store SET reap_at = expires_at WHERE reap_at > expires_at");
	return;
}

# One table of each kind
sub add_kinds
{
	my ($node, $db) = @_;
	sql($node, $db, $helpers);
	sql($node, $db, q{
		SELECT keep.create_store('sessions');
		SELECT keep.create_request_log('requests', retain => '30 min');
		SELECT keep.create_ledger('books');
		SELECT keep.open_account('books', 'outside', 'EUR', min_balance => NULL);
		SELECT keep.open_account('books', 'ann', 'EUR');
		SELECT keep.create_saga_log('sagas');
		CREATE TABLE undone (saga text, xid xid8 DEFAULT pg_current_xact_id());
		CREATE FUNCTION act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
		CREATE FUNCTION undo(jsonb) RETURNS jsonb LANGUAGE sql AS
			$$ INSERT INTO public.undone (saga) VALUES ($1 #>> '{args,saga}') RETURNING 'true'::jsonb $$;
		SELECT keep.allow_saga_function('sagas', 'act(jsonb)'), keep.allow_saga_function('sagas', 'undo(jsonb)');
		CREATE FUNCTION test.fill_all(prefix text, number int) RETURNS void LANGUAGE sql
		SET pg_keep.test_clock_offset = '-1 h' AS $$
			SELECT test.fill('sessions', prefix, number);
			SELECT keep.call_once('requests', prefix || g, 'act(jsonb)', '1') FROM generate_series(1, number) g;
			SELECT keep.transfer('books', prefix || g, 'outside', 'ann', 1, hold => '1 min') FROM generate_series(1, number) g;
			SELECT keep.begin_saga('sagas', prefix || g, '1 min') FROM generate_series(1, number) g;
			SELECT keep.run_step('sagas', prefix || g, 'step', 'act(jsonb)',
				jsonb_build_object('saga', prefix || g), 'undo(jsonb)') FROM generate_series(1, number) g $$;
	});
	return;
}

# What must stay in them
sub add_living
{
	my ($node, $db) = @_;
	sql($node, $db, q{
		SELECT keep.put('sessions', 'live', '1', '1 hour'), keep.put('sessions', 'for ever', '1');
		SELECT keep.call_once('requests', 'live', 'act(jsonb)', '1'), keep.begin_request('requests', 'open', '1', '1 ms');
		SELECT keep.transfer('books', 'live', 'outside', 'ann', 7, hold => '1 hour');
		SELECT keep.begin_saga('sagas', 'live', '1 hour'), keep.begin_saga('sagas', 'open');
		SELECT keep.run_step('sagas', 'live', 'step', 'act(jsonb)', '{"saga": "live"}', 'undo(jsonb)');
	});
	return;
}

# So many of each kind that were over long ago, under keys that begin with the prefix
sub add_over
{
	my ($node, $db, $prefix, $number) = @_;
	sql($node, $db, "SELECT test.fill_all('$prefix', $number)");
	return;
}

# How many of all kinds are still to be dealt with
our $left_over = q{
	SELECT (SELECT count(*) FROM sessions WHERE key LIKE 'over%') + (SELECT count(*) FROM requests WHERE key LIKE 'over%') +
		(SELECT count(*) FROM books_transfers WHERE id LIKE 'over%' AND status = 'pending') +
		(SELECT count(*) FROM sagas WHERE saga LIKE 'over%' AND state <> 'compensated')};

sub left_over
{
	my ($node, $db) = @_;
	return sql($node, $db, $left_over);
}

# Sooner or later all of that is gone, and what lives is as it was.
sub living_as_before
{
	my ($node, $db, $name) = @_;
	becomes($node, $db, $left_over, '0', "$name: all that was over is dealt with");
	is( sql($node, $db, q{
		SELECT string_agg(key, ' ' ORDER BY key) FROM sessions;
		SELECT string_agg(key || ' ' || state, ', ' ORDER BY key) FROM requests;
		SELECT string_agg(id || ' ' || status, ', ' ORDER BY id) FROM books_transfers WHERE status <> 'expired';
		SELECT string_agg(debits_pending || ' ' || credits_pending, ', ' ORDER BY id) FROM books;
		SELECT bool_and(ok) FROM keep.verify_ledger('books');
		SELECT string_agg(saga || ' ' || state, ', ' ORDER BY saga) FROM sagas WHERE state <> 'compensated';
		SELECT count(*) - count(DISTINCT saga) FROM undone;
		SELECT count(*) FROM undone u FULL JOIN sagas s USING (saga) WHERE (u.saga IS NULL) <> (s.state <> 'compensated');
	}), join("\n", 'for ever live', 'live completed, open in_progress', 'live pending', '0 7, 7 0', 't',
			'live running, open running', '0', '0'), "$name: what lives is as it was, and each compensation ran once");
	return;
}

# Changes settings, of the whole server.
sub set_reaper
{
	my ($node, %settings) = @_;
	my $script = "LOAD 'pg_keep';\n";
	foreach my $name (sort keys %settings)
	{
		my $value = defined $settings{$name} ? "'$settings{$name}'" : 'DEFAULT';
		$script .= "ALTER SYSTEM SET pg_keep.$name = $value;\n";
	}
	sql($node, 'postgres', "${script}SELECT pg_reload_conf()");
	return;
}

# Has it rest, and waits until it does. A worker that was asked for just before may still come, so look twice.
sub pause_reaper
{
	my ($node) = @_;
	set_reaper($node, reaper => 'off');
	foreach my $look (1, 2)
	{
		usleep(200_000);
		$node->poll_query_until('postgres', $workers, '0') or BAIL_OUT('the reaper does not rest');
	}
	return;
}

sub resume_reaper
{
	my ($node, %settings) = @_;
	set_reaper($node, %settings, reaper => undef);
	return;
}

# Waits for a worker at this table of this database; returns its process id.
sub worker
{
	my ($node, $db, $table) = @_;
	my $condition = "backend_type = 'pg_keep reaper' AND datname = '$db' AND query = 'pg_keep: expiring $table'";
	foreach my $try (1 .. 1000)
	{
		my $pid = sql($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE $condition");
		return $pid if $pid ne '';
		usleep(50_000);
	}
	BAIL_OUT("no worker comes to $table of $db");
	return;
}

sub launcher_pid
{
	my ($node) = @_;
	return sql($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_keep reaper launcher'");
}

# Columns of keep.stat_reaper, of one table
sub reaper_stat
{
	my ($node, $db, $table, $columns) = @_;
	return sql($node, $db, "SELECT $columns FROM keep.stat_reaper WHERE relid = '$table'::regclass");
}

# Since when the server runs; it is another time after a crash that it recovers from by itself.
my $server_began = "SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer'";

sub server_began
{
	my ($node) = @_;
	return sql($node, 'postgres', $server_began);
}

sub wait_for_restart
{
	my ($node, $began) = @_;
	$node->poll_query_until('postgres', "SELECT ($server_began) > '$began'")
	  or BAIL_OUT('the server does not come back');
	return;
}

# What the server has logged since a place in its log; with none, that place now
sub end_of_log
{
	my ($node, $since) = @_;
	return -s $node->logfile if !defined $since;
	return slurp_file($node->logfile, $since);
}

# Nothing in the log that must never be there. Signal 9 is one of the tests' own.
sub check_log
{
	my ($node) = @_;
	check_server_log($node, signals => [9]);
	return;
}

1;
