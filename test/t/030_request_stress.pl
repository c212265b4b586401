# Random load on request logs, with every answer checked: one connection whose answers
# a model predicts, and many connections whose answers, the changes of the records and
# the effects must fit together afterwards.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StressClient;
use Test::More;

my $client = StressClient::build();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 60\ndeadlock_timeout = 20ms\nautovacuum_naptime = 1s");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');

sub check
{
	my ($name, $mode, %settings) = @_;
	StressClient::check($client, $name, $node, $mode,
		map { $_ => $_ eq 'levels' ? $settings{$_} : StressClient::scaled($settings{$_}) } keys %settings);
	return;
}

check('each answer is as predicted', 'request_sequence', rounds => 12);

# Many connections, one call a transaction: nothing may fail
check('short leases, short retention, all calls', 'request_mixed', calls => 1200);
check('the same at READ COMMITTED', 'request_mixed', calls => 800, levels => 0);
check('holders that come too late', 'request_zombies', calls => 600);
check('call_once of the same few keys', 'request_once', calls => 800);
check('outcomes that are kept for ever', 'request_forever', calls => 1000);
is($node->safe_psql('postgres', "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"),
	'0', 'no deadlock');

$node->stop;
done_testing();
