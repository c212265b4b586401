# Builds and runs the ledger's stress client, for the TAP tests.
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

my $sources = dirname(abs_path(__FILE__));
my $scale = $ENV{STRESS_SCALE} // 1;

our $seed = $ENV{STRESS_SEED} // (time() * 7919 + $$) % 1_000_000;

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
	return "$dir/ledger_stress";
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

1;
