# kill -9 of the server under load, twenty times: no acknowledged transfer is
# lost, and none is applied twice when clients ask again by its id.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

my $crashes = StressClient::scaled(20);
my $client = StressClient::build();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf',
	"max_connections = 60\ndeadlock_timeout = 20ms\nsynchronous_commit = on\nrestart_after_crash = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');
srand($StressClient::seed);

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

# Ends all of the server at once, and starts it again.
sub crash
{
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children = children($pid);

	$node->kill9;
	kill 'KILL', @children;
	foreach my $try (1 .. 200)
	{
		return if $node->start(fail_ok => 1);
		usleep(50_000);
		$node->stop('fast', fail_ok => 1);
	}
	BAIL_OUT('the server does not start again');
}

sub transfers { return $node->safe_psql('postgres', 'SELECT count(*) FROM load_crash_transfers'); }

# Waits for so many transfers; false where the client has ended, which it does when something is wrong.
sub wait_for_transfers
{
	my ($load, $aim) = @_;
	while ($load->pumpable)
	{
		return 1 if transfers() >= $aim;
		usleep(20_000);
		$load->pump_nb;
	}
	return 0;
}

my $stop = PostgreSQL::Test::Utils::tempdir . '/stop';
my ($out, $err) = ('', '');
my $load = IPC::Run::start([ $client, StressClient::arguments($node, 'crash', workers => 8), "stop=$stop" ],
	'>', \$out, '2>', \$err, IPC::Run::timeout(600 * ($crashes > 20 ? $crashes / 20 : 1)));

# Until the ledger is there
$node->poll_query_until('postgres', "SELECT to_regclass('load_crash_transfers') IS NOT NULL")
  or BAIL_OUT("no ledger: $out$err");

foreach my $round (1 .. $crashes)
{
	last if !wait_for_transfers($load, transfers() + 100 + int(rand(400)));
	usleep(int(rand(30_000)));
	crash();
	is($node->safe_psql('postgres', "SELECT rule, detail FROM keep.verify_ledger('load_crash') WHERE NOT ok"),
		'', "crash $round: the ledger is sound");
}

append_to_file($stop, '');
my $good = $load->finish;
note($out);
ok($good, 'no acknowledged transfer is lost, none was applied twice')
  or diag("seed $StressClient::seed\n$out$err");
like($out, qr/ [1-9]\d* connections lost/, 'clients were cut off');

$node->stop;
done_testing();
