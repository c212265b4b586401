# A hundred crashes of all sorts under mixed load: stores and leases, a ledger, a request log and
# sagas at once, with the reaper at work. Clients ask again. What was acknowledged is there, nothing
# is there twice, versions rise; amcheck finds nothing in the end.
#
# CRASH_ROUNDS is the number of crashes (100, times STRESS_SCALE); none counts in which nothing was hit. STRESS_SEED
# repeats their order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin", "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t";

use Amcheck;
use Crashes;
use List::Util qw(shuffle sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{CRASH_ROUNDS} || StressClient::scaled(100) || 1;
my $leg = 20;		# the clients are started anew after so many
my %clients = Crashes::build_clients();
my $node = new_server('main', max_connections => 60, shared_buffers => '32MB', 'pg_keep.naptime' => '300ms',
	autovacuum => 'on', autovacuum_naptime => '1s', synchronous_commit => 'on', deadlock_timeout => '20ms');
$node->start;
sql($node, 'postgres', 'CREATE EXTENSION pg_keep');

sub postmaster
{
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	return $pid;
}

# A process of the server, of this kind, when there is one. Workers of the reaper come and go.
sub process
{
	my ($kind) = @_;
	my ($ret, $pid) = $node->psql('postgres', qq{
		DO \$\$
		BEGIN
			FOR try IN 1 .. 3000 LOOP
				EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = '$kind' AND pid <> pg_backend_pid());
				PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001);
			END LOOP;
		END \$\$;
		SELECT pid FROM pg_stat_activity WHERE backend_type = '$kind' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
	return $ret == 0 && $pid =~ /^\d+$/ ? $pid : 0;
}

# Kills one process; the server then begins anew by itself. '' where it just had ended.
sub kill_process
{
	my ($kind) = @_;
	my $since = -s $node->logfile;
	foreach my $shot (1 .. 20)
	{
		my $pid = process($kind);
		last if $pid && kill 'KILL', $pid;
	}
	foreach my $try (1 .. 3000)
	{
		my $log = slurp_file($node->logfile, $since);
		return 'down' if $log =~ /terminated by signal 9.*all server processes terminated.*ready to accept connections/s;
		return '' if $try >= 200 && $log !~ /terminated by signal 9/;
		usleep(10_000);
	}
	BAIL_OUT("the server does not come back after the end of a $kind");
	return;
}

# What can happen to a server, and how often. Each returns what came of it: 'down', 'hit', or '' where it has hit nobody.
my @accidents = (
	[ 20, 'all of it killed', sub { StressClient::crash($node); return 'down'; } ],
	[ 15, 'stopped at once', sub { $node->stop('immediate'); $node->start; return 'down'; } ],
	[ 15, 'postmaster killed', sub {
		my $pid = postmaster();
		my @children = StressClient::children($pid);
		kill 'KILL', $pid;
		# the others notice
		foreach my $try (1 .. 500) { last if !grep { StressClient::running($_) } @children; usleep(10_000); }
		StressClient::crash($node, $pid, @children);
		return 'down';
	} ],
	[ 30, 'one backend killed', sub { kill_process('client backend') } ],
	[ 5, 'the launcher killed', sub { kill_process('pg_keep reaper launcher') } ],
	[ 5, 'a worker of the reaper killed', sub { kill_process('pg_keep reaper') } ],
	[ 5, 'the checkpointer killed', sub { kill_process('checkpointer') } ],
	[ 5, 'the WAL writer killed', sub { kill_process('walwriter') } ],
	[ 25, 'backends terminated', sub {
		my ($ret, $out) = $node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type IN ('client backend', 'pg_keep reaper', 'pg_keep reaper launcher')
				AND pid <> pg_backend_pid() AND random() < 0.4});
		return $out =~ /t/ ? 'hit' : '';
	} ]);
my $weights = sum(map { $_->[0] } @accidents);
my @first;			# each sort comes once before chance has its way

sub pick_accident
{
	return shift @first if @first;
	my $lot = int(rand($weights));
	foreach my $accident (@accidents)
	{
		$lot -= $accident->[0];
		return $accident if $lot < 0;
	}
	return;
}

# How far the clients have got
my $progress = q{
	SELECT (SELECT last_value FROM crash_load_version_seq) + (SELECT count(*) FROM load_crash_transfers)
		+ (SELECT last_value FROM request_ops)};

sub work_goes_on
{
	my ($loads, $least) = @_;
	my ($first, $done);
	foreach my $try (1 .. 3000)
	{
		return if grep { !$_->{run}->pumpable } @$loads;
		my ($ret, $out) = $node->psql('postgres', $progress);
		if ($ret == 0 && $out =~ /^\d+$/)
		{
			$first //= $out;
			return if $out >= $first + $least;
		}
		usleep(30_000);
		$_->{run}->pump_nb foreach @$loads;
	}
	fail('the clients do not go on');
	return;
}

srand($StressClient::seed);
@first = shuffle(@accidents);
my %happened;
my $round = 0;
while ($round < $rounds)
{
	my @loads = map { Crashes::start_client($clients{$_->[0]}, $node, $node->connstr('postgres'), @$_[ 1 .. $#$_ ]) } (
		[ 'load', '', workers => 3 ], [ 'stress', 'crash', workers => 3 ],
		[ 'stress', 'request_crash', workers => 3 ], [ 'stress', 'saga_crash', workers => 3 ]);
	my @unsound;

	for (my $i = 0; $i < $leg && $round < $rounds; $i++)
	{
		work_goes_on(\@loads, 50 + int(rand(300)));
		last if grep { !$_->{run}->pumpable } @loads;
		my $accident = pick_accident();
		usleep(int(rand(30_000)));
		my $came = $accident->[2]->();
		$round++ if $came eq 'down';
		$happened{ $accident->[1] }++ if $came;
		note("$round: $accident->[1]" . ($came eq 'down' ? '' : ', no crash'));
		my ($ret, $out, $err) = $node->psql('postgres', q{
			SELECT rule || ': ' || detail FROM keep.verify_ledger('load_crash') WHERE NOT ok
			UNION ALL
			SELECT 'a version is above the sequence' WHERE (SELECT max(version) FROM crash_load) > (SELECT last_value FROM crash_load_version_seq)});
		push @unsound, "$round: $out$err" if $ret != 0 || $out ne '';
	}
	is(join("\n", @unsound), '', "up to crash $round: the ledger is sound, versions are below their sequence");
	Crashes::finish_client($_) foreach @loads;
	last if !Test::More->builder->is_passing;
}
note(join(', ', map { "$_: $happened{$_}" } sort keys %happened));
is(join(', ', grep { !$happened{$_} } map { $_->[1] } @accidents), '', "$round crashes, and each sort of accident among them") if $rounds >= 10;
check_amcheck($node, 'postgres');
check_log($node);
$node->stop;
done_testing();
