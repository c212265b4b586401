# What the tests of crashes share: clients that put load on a server and check what comes of it.

package Crashes;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Utils;
use StressClient;
use Test::More;

my $here = dirname(abs_path(__FILE__));

# Builds the stress client and the load on a store; returns their names.
sub build_clients
{
	my $stress = StressClient::build();
	my $load = dirname($stress) . '/crash_load';
	my @objects = grep { !/\/main\.o$/ } glob(dirname($stress) . '/*.o');
	my $config = $ENV{PG_CONFIG} // 'pg_config';
	chomp(my $include = `$config --includedir`);
	chomp(my $lib = `$config --libdir`);
	my $log = '';

	IPC::Run::run(
		[ $ENV{CC} // 'cc', '-std=gnu11', '-Wall', '-Wextra', '-O2', '-g', '-pthread', "-I$include",
			'-o', $load, "$here/crash_load.c", @objects, "-L$lib", '-lpq' ],
		'>&', \$log)
	  or BAIL_OUT("the load on stores cannot be built:\n$log");
	return (stress => $stress, load => $load);
}

# Starts a client, with a mode where it has some, and settings as name => value. It works until finish_client().
my $clients = 0;

sub start_client
{
	my ($client, $node, $connstr, $mode, %settings) = @_;
	my %load = (name => $mode || basename($client), out => '', stop => PostgreSQL::Test::Utils::tempdir . '/stop');

	$load{run} = IPC::Run::start(
		[ $client, $mode || (), "conninfo=$connstr", 'seed=' . ($StressClient::seed + $clients++), "stop=$load{stop}",
			map { "$_=$settings{$_}" } sort keys %settings ],
		'>&', \$load{out}, IPC::Run::timeout(900));
	# it makes its tables first
	my %table = (crash_load => 'crash_load_version_seq', crash => 'load_crash_transfers', request_crash => 'request_ops', saga_crash => 'pg_class');
	$node->poll_query_until('postgres', "SELECT to_regclass('$table{$load{name}}') IS NOT NULL")
	  or BAIL_OUT("$load{name} does not begin: $load{out}");
	return \%load;
}

# Tells a client to stop; it must have found nothing wrong.
sub finish_client
{
	my ($load) = @_;
	append_to_file($load->{stop}, '');
	my $good = $load->{run}->finish;
	note($load->{out});
	ok($good, "$load->{name}: what was acknowledged is there, and nothing twice") or diag("seed $StressClient::seed\n$load->{out}");
	my ($lost) = $load->{out} =~ / (\d+) connections lost/;
	cmp_ok($lost // 0, '>', 0, "$load->{name}: clients were cut off " . ($lost // 0) . ' times');
	return;
}

1;
