# Histories of all functions of stores and leases: many connections at once, with calls that are cancelled or
# time out, entries that live for milliseconds, transactions that roll back, and the reaper beside; in long runs
# with connections that are lost as well. For each key there must be an order of all calls that explains every answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StressClient;
use Test::More;

my $client = StressClient::build();

# The checker first: it must tell good histories from bad ones.
my ($out, $err) = run_command([ $client, 'store_selftest', 'conninfo=' ]);
note($out);
is($err, '', 'every good and every bad history is judged right');
like($out, qr/[1-9]\d bad histories/, 'there are many bad ones');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_keep'
pg_keep.naptime = 100ms
max_connections = 60
deadlock_timeout = 20ms
autovacuum_naptime = 1s
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');

sub check
{
	my ($name, %settings) = @_;
	$settings{calls} = StressClient::scaled($settings{calls});
	StressClient::check($client, $name, $node, 'store_histories', %settings);
	return;
}

check('16 keys', calls => 1800, lose => 0);
check('3 hot keys', calls => 700, keys => 3, lose => 0);
check('calls in autocommit alone: none deadlocks', calls => 600, alone => 1, lose => 0);
# Of a call whose connection is lost nobody knows whether it has happened. The checker has to guess, and on a busy
# machine about one run in fifty is refused for a wrong guess: runs for a person, who looks at it (dump => 1).
if (StressClient::scaled(1) >= 3)
{
	check('16 keys, connections are lost', calls => 1800);
	check('3 hot keys, connections are lost', calls => 700, keys => 3);
}
# The reaper does not tell which rows it has locked. Without it, it is known of each who can have.
$node->safe_psql('postgres', 'SELECT keep.stop_reaper()');
check('6 keys, no reaper', calls => 1000, keys => 6, reaper => 0, lose => 0);

$node->stop;
done_testing();
