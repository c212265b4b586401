# The primary is killed under load and a standby takes its place, while clients go on there.
#
# A standby that commits wait for (synchronous_commit = on, and remote_apply): nothing that was
# acknowledged is lost, nothing is there twice, versions go on rising. One that follows when it can:
# what is there is the beginning of what has happened, whole transactions of it, and versions go on
# above those that are there. Who asks again under the same ids has everything once, in both.
#
# PROMOTION_ROUNDS is how often each is done (2, times STRESS_SCALE).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin", "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t";

use Amcheck;
use Crashes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

my %clients = Crashes::build_clients();
my $workers = 4;

# All kinds in one transaction, under an id of the client's own: worker and number
my $objects = q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_store('counts'), keep.create_ledger('books', history => true), keep.create_request_log('reqs'),
		keep.create_saga_log('sagas'), keep.create_store('brief');
	SELECT keep.open_account('books', 'outside', 'EUR', NULL);
	SELECT keep.open_account('books', 'account ' || g, 'EUR') FROM generate_series(0, 9) AS g;
	CREATE TABLE effects (worker int, number int);
	CREATE FUNCTION step(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	SELECT keep.allow_saga_function('sagas', 'step(jsonb)');
	CREATE FUNCTION act(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
		INSERT INTO effects VALUES ((a->>'w')::int, (a->>'n')::int);
		SELECT keep.increment('counts', 'worker ' || (a->>'w'));
		SELECT keep.transfer('books', format('%s/%s', a->>'w', a->>'n'), 'outside', 'account ' || (a->>'w'), 1);
		SELECT keep.begin_saga('sagas', format('%s/%s', a->>'w', a->>'n'));
		SELECT to_jsonb((keep.run_step('sagas', format('%s/%s', a->>'w', a->>'n'), 'step', 'step(jsonb)')).status) $$;
	-- How many of each worker there are of each kind; they must be the same, and all up to the highest.
	CREATE VIEW there AS
		SELECT w, (SELECT count(*) || ' ' || count(DISTINCT number) || ' ' || coalesce(max(number), 0) FROM effects WHERE worker = w) AS effects,
			(SELECT count(*) FROM reqs WHERE key LIKE w || '/%' AND state = 'completed') AS requests,
			(SELECT count(*) FROM reqs WHERE key LIKE w || '/%') AS records,
			coalesce(keep.get('counts', 'worker ' || w)::text, '0') AS counted,
			(keep.balance('books', 'account ' || w)).balance AS balance,
			(SELECT count(*) FROM books_transfers WHERE id LIKE w || '/%' AND status = 'posted') AS transfers,
			(SELECT count(*) FROM sagas_steps WHERE saga LIKE w || '/%' AND status = 'done') AS steps
		FROM generate_series(0, 9) AS w;
};
my $script = q{
\set n :n + 1
SELECT keep.call_once('reqs', :client_id || '/' || :n, 'act(jsonb)', jsonb_build_object('w', :client_id, 'n', :n));
};

# Runs that script with pgbench, until the connection is lost or so many are done; returns how many each
# worker has had acknowledged.
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/script", $script);
my $bench = 0;

sub start_bench
{
	my ($node, @options) = @_;
	my %run = (log => "$dir/bench" . $bench++, out => '');
	$run{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', $workers, '-D', 'n=0', '-f', "$dir/script",
			'-l', "--log-prefix=$run{log}", @options, 'postgres' ],
		'>&', \$run{out}, IPC::Run::timeout(300));
	return \%run;
}

sub acknowledged
{
	my ($run) = @_;
	my %done = map { $_ => 0 } 0 .. $workers - 1;
	$run->{run}->finish;
	foreach my $file (glob "$run->{log}.*")
	{
		$done{$_}++ foreach slurp_file($file) =~ /^(\d+) /mg;
	}
	return %done;
}

# A primary and its standby
sub new_pair
{
	my ($name, $mode) = @_;
	my $primary = new_server("primary_$name", streaming => 1, synchronous_commit => $mode eq 'async' ? 'on' : $mode,
		shared_buffers => '32MB', max_connections => 60, deadlock_timeout => '20ms', 'pg_keep.reaper' => 'off');
	$primary->start;
	sql($primary, 'postgres', $objects);
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new("standby_$name");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $primary->connstr . " application_name=standby'\nhot_standby_feedback = on");
	$standby->start;
	if ($mode ne 'async')
	{
		$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'");
		$primary->reload;
		$primary->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
		  or BAIL_OUT('the standby does not become a synchronous one');
	}
	return ($primary, $standby);
}

# Both in one connection string: libpq goes to the one that takes writes
sub connstr_of
{
	my (@nodes) = @_;
	return sprintf('host=%s port=%s dbname=postgres target_session_attrs=read-write connect_timeout=10',
		join(',', map { $_->host } @nodes), join(',', map { $_->port } @nodes));
}

# What there is of each worker's transactions: how many; they are the first ones, and whole.
sub check_whole
{
	my ($node, $label, $acknowledged, $lossy) = @_;
	my @wrong;
	my %there;
	my $lost = 0;
	foreach my $line (split /\n/, sql($node, 'postgres', "SELECT * FROM there WHERE w < $workers ORDER BY w"))
	{
		my ($w, $effects, @rest) = split /\|/, $line;
		my ($count, $distinct, $highest) = split / /, $effects;
		$there{$w} = $count;
		push @wrong, "worker $w: $line" if grep { $_ != $count } $distinct, $highest, @rest;
		push @wrong, "worker $w: of $acknowledged->{$w} acknowledged only $count are there" if !$lossy && $count < $acknowledged->{$w};
		push @wrong, "worker $w: $count, with $acknowledged->{$w} acknowledged" if $count > $acknowledged->{$w} + 1;
		$lost += $acknowledged->{$w} - $count if $acknowledged->{$w} > $count;
	}
	is(join("\n", @wrong), '', "$label: the first transactions of each worker, all of each, once" . ($lossy ? " ($lost lost)" : ''));
	return $lost;
}

sub check_sound
{
	my ($node, $label) = @_;
	is( sql($node, 'postgres', q{
		SELECT string_agg(c.relname || ' ' || rule || ': ' || detail, ', ')
		FROM pg_class AS c, keep.verify_ledger(c.oid) WHERE c.relname IN ('books', 'load_crash') AND NOT ok}),
		'', "$label: the ledgers are sound");
	check_amcheck($node, 'postgres');
	return;
}

# Its last moments. Where commits do not wait for the standby, the sender stands still in these, so that
# some commits do not get there for sure.
sub end_primary
{
	my ($primary, $mode) = @_;
	kill 'STOP', sql($primary, 'postgres', 'SELECT pid FROM pg_stat_replication') if $mode eq 'async';
	usleep(300_000 + int(rand(200_000)));
	StressClient::kill_all($primary);
	return;
}

# An unlogged store is empty on the new primary; its versions go on all the same, also where the draw of the
# last one was logged by a transaction that is still open and has not got to the standby.
sub check_unlogged
{
	my ($primary, $standby) = new_pair('unlogged', 'on');
	my ($seen, $ended) = ('', 0);

	sql($primary, 'postgres', "SELECT keep.create_store('fast', persistence => 'unlogged'); SELECT keep.put('fast', 'a', '1')");
	$primary->wait_for_catchup('standby');
	kill 'STOP', sql($primary, 'postgres', 'SELECT pid FROM pg_stat_replication');
	my $other = $primary->background_psql('postgres', on_error_stop => 0);
	$other->query_safe("BEGIN; SELECT count(keep.put('fast', 'x' || g, '1')) FROM generate_series(1, 40) AS g");
	# this is either not acknowledged while the standby does not answer, or has a version that is safe
	$primary->psql('postgres', "SELECT version FROM keep.put('fast', 'a', '1')", stdout => \$seen, timeout => 5, timed_out => \$ended);
	StressClient::kill_all($primary);
	eval { $other->quit; };
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$standby->reload;
	$standby->promote;
	is(sql($standby, 'postgres', 'SELECT count(*) FROM fast'), '0', 'an unlogged store is empty on the new primary');
	cmp_ok(sql($standby, 'postgres', "SELECT version FROM keep.put('fast', 'a', '1')"), '>', $seen || 0,
		'its versions are above all that were acknowledged');
	$standby->stop;
	return;
}

check_unlogged();
my $lost = 0;
my $promotions = 1;
srand($StressClient::seed);
foreach my $mode ('on', 'remote_apply', 'async')
{
	foreach my $round (1 .. ($ENV{PROMOTION_ROUNDS} || StressClient::scaled(2) || 1))
	{
		my $label = ($mode eq 'async' ? 'asynchronous' : "synchronous_commit $mode") . ", $round";
		my ($primary, $standby) = new_pair("${mode}_$round", $mode);
		my $both = connstr_of($primary, $standby);

		# what lives only briefly is for the reaper of the new primary
		sql($primary, 'postgres', q{SELECT count(*) FROM keep.put_many('brief',
			ARRAY(SELECT 'k' || g FROM generate_series(1, 100) AS g), array_fill('1'::jsonb, '{100}'), '1 ms')});
		my @loads = (Crashes::start_client($clients{load}, $primary, $both, '', workers => 3, lossy => $mode eq 'async' ? 1 : 0));
		push @loads, map { Crashes::start_client($clients{stress}, $primary, $both, $_, workers => 2) } 'crash', 'request_crash', 'saga_crash'
		  if $mode ne 'async';
		my $run = start_bench($primary, '-T', 200);
		$primary->poll_query_until('postgres', 'SELECT count(*) > 100 FROM effects');
		usleep(int(rand(1_000_000)));

		end_primary($primary, $mode);
		my %acknowledged = acknowledged($run);
		$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\npg_keep.reaper = on");
		$standby->reload;
		$standby->promote;
		$promotions++;
		$lost += check_whole($standby, $label, \%acknowledged, $mode eq 'async');

		# Who got no answer asks again, for all that he has ever asked for and some more.
		my $most = 50;
		foreach my $number (values %acknowledged) { $most = $number + 50 if $number + 50 > $most; }
		my %again = acknowledged(start_bench($standby, '-t', $most));
		is(join(' ', map { $again{$_} } sort keys %again), join(' ', ($most) x $workers), "$label: all is asked for again");
		check_whole($standby, "$label, asked again", \%again, 0);
		usleep(1_000_000);
		Crashes::finish_client($_) foreach @loads;
		becomes($standby, 'postgres', 'SELECT count(*) FROM brief', '0', "$label: the reaper is at work on the new primary");
		check_sound($standby, $label);
		check_log($_) foreach $primary, $standby;
		$standby->stop;
	}
}
note("$promotions promotions, $lost acknowledged transactions lost by those that do not wait");
cmp_ok($lost, '>', 0, 'a standby that follows when it can has lacked something: it has been tested');
done_testing();
