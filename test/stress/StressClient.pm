# Builds and runs the stress client, for the TAP tests.
#
# STRESS_SEED repeats a run; STRESS_SCALE makes the runs that many times longer.

package StressClient;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $sources = dirname(abs_path(__FILE__));
my $scale = $ENV{STRESS_SCALE} || 1;

our $seed = $ENV{STRESS_SEED} || (time() * 7919 + $$) % 1_000_000;

# Builds the client; returns its name.
sub build
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $log = '';

	note("STRESS_SEED=$seed STRESS_SCALE=$scale repeats this run");
	IPC::Run::run(
		[ 'make', '-s', '-C', $sources, "OUT=$dir", 'PG_CONFIG=' . ($ENV{PG_CONFIG} // 'pg_config') ],
		'>&', \$log)
	  or BAIL_OUT("the stress client cannot be built:\n$log");
	return "$dir/keep_stress";
}

# A number of calls or operations, by the scale
sub scaled
{
	my ($number) = @_;
	return int($number * $scale);
}

# The client's arguments for a mode, with the settings given as name => value; each run has a seed of its own
my $runs = 0;

sub arguments
{
	my ($node, $mode, %settings) = @_;
	return ($mode, 'conninfo=' . $node->connstr('postgres'), 'seed=' . ($seed + $runs++),
		map { "$_=$settings{$_}" } sort keys %settings);
}

# Runs the client to its end: it must find nothing wrong.
sub check
{
	my ($client, $name, $node, $mode, %settings) = @_;
	my ($out, $err) = ('', '');
	my $good = IPC::Run::run([ $client, arguments($node, $mode, %settings) ],
		'>', \$out, '2>', \$err, IPC::Run::timeout(int(600 * ($scale > 1 ? $scale : 1))));

	note($out);
	ok($good, $name) or diag("seed $seed, scale $scale\n$out$err");
	return;
}

# The ids of all processes that this one has started, where the system tells
sub children
{
	my ($parent) = @_;
	my @children;
	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open my $stat, '<', $file or next;
		my ($pid, $ppid) = (<$stat> // '') =~ /^(\d+) \(.*\) \S (\d+)/s or next;
		push @children, $pid if $ppid == $parent;
	}
	return @children;
}

# Is there such a process, which has not ended?
sub running
{
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return 0;
	return (<$stat> // '') =~ /^\d+ \(.*\) [^ZX]/s;
}

# Ends all of a server at once; or these processes, which are what is left of it.
sub kill_all
{
	my ($node, @processes) = @_;
	if (!@processes)
	{
		my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
		@processes = ($pid, children($pid));
	}
	$node->kill9;
	kill 'KILL', grep { running($_) } @processes;
	foreach my $try (1 .. 1000)
	{
		# a server is not started while there is one of its number, be it a zombie, for which not to wait long
		last if !grep { $try < 500 ? kill 0, $_ : running($_) } @processes;
		usleep(5_000);
	}
	BAIL_OUT('the server does not end') if grep { running($_) } @processes;
	return;
}

# The same, and starts it again.
sub crash
{
	my ($node, @processes) = @_;
	kill_all($node, @processes);
	foreach my $try (1 .. 200)
	{
		return if $node->start(fail_ok => 1);
		usleep(50_000);
		$node->stop('fast', fail_ok => 1);
	}
	BAIL_OUT('the server does not start again');
	return;
}

# Runs a mode of the client that goes on until it is told to stop, and crashes the server under it, so many
# times. $sql says how far the work has got; before each crash it gets a little further. $look is called after
# each crash.
sub crash_under_load
{
	my ($client, $name, $node, $mode, $crashes, $sql, $look) = @_;
	my $stop = PostgreSQL::Test::Utils::tempdir . "/stop_$mode";
	my ($out, $err) = ('', '');
	my $load = IPC::Run::start([ $client, arguments($node, $mode, workers => 8), "stop=$stop" ],
		'>', \$out, '2>', \$err, IPC::Run::timeout(600 * ($crashes > 20 ? $crashes / 20 : 1)));
	my $aim = 0;

	srand($seed);
	foreach my $round (1 .. $crashes)
	{
		my $before = $aim;
		while ($load->pumpable)
		{
			my ($result, $done) = $node->psql('postgres', $sql);
			$done = $result == 0 && $done =~ /^\d+$/ ? $done : 0;
			$aim = $done + 50 + int(rand(200)) if $aim == $before;
			last if $done >= $aim;
			usleep(20_000);
			$load->pump_nb;
		}
		last if !$load->pumpable;
		usleep(int(rand(30_000)));
		crash($node);
		$look->($round) if $look;
	}
	append_to_file($stop, '');
	my $good = $load->finish;
	note($out);
	ok($good, $name) or diag("seed $seed\n$out$err");
	like($out, qr/ [1-9]\d* connections lost/, 'clients were cut off');
	return;
}

1;
