# Random load on sagas. One connection whose answers a model predicts; and many that run steps,
# go back, claim, finish and resume in any order, with accidents of all kinds: afterwards the
# changes of each saga and the effects must be allowed one after the other, and the answers
# must fit to them.

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
$node->append_conf('postgresql.conf',
	"max_connections = 60\ndeadlock_timeout = 20ms\nautovacuum_naptime = 1s\nrestart_after_crash = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');

sub check
{
	my ($name, $mode, $calls, %settings) = @_;
	StressClient::check($client, $name, $node, $mode, calls => StressClient::scaled($calls), %settings);
	return;
}

check('each answer is as predicted', 'saga_sequence', 200, rounds => 20);

# Many connections, one call a transaction: nothing may fail
check('local and remote steps, deadlines, back-off, stuck sagas', 'saga_mixed', 900);
check('the same at READ COMMITTED', 'saga_mixed', 600, levels => 0);
check('local steps, undone from all sides', 'saga_local', 900);
check('holders that come too late', 'saga_zombies', 600);
is($node->safe_psql('postgres', "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"),
	'0', 'no deadlock');

# The server is killed under load
StressClient::crash_under_load($client, 'sagas survive crashes at any time', $node, 'saga_crash',
	StressClient::scaled(5), "SELECT 2 * count(*) FROM saga_events WHERE what IN ('d', 'u')");

$node->stop;
done_testing();
