# Random load on ledgers, with every answer checked: one connection whose answers
# a model predicts, and many connections whose facts must fit together afterwards.

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
	StressClient::check($client, $name, $node, $mode, %settings);
	return;
}

sub deadlocks
{
	return $node->safe_psql('postgres', "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'");
}

# One connection
my $calls = StressClient::scaled(4000);
check('each answer is as predicted', 'sequence', calls => $calls);
check('without direct access', 'sequence', calls => $calls, direct => 0, history => 0);
check('REPEATABLE READ', 'sequence', calls => $calls, level => 1);
check('SERIALIZABLE', 'sequence', calls => $calls, level => 2, history => 0);
check('long batches', 'sequence', calls => StressClient::scaled(300), batches => 50, max_batch => 3000);

# Many connections, one call a transaction: nothing may fail
check('transfers, holds, reversals and batches at once', 'mixed', calls => StressClient::scaled(2500));
check('nothing but READ COMMITTED and direct access', 'mixed_read_committed',
	calls => StressClient::scaled(2000), levels => 0, indirect => 0);
check('the same few ids from all sides', 'ids', calls => StressClient::scaled(2500));
check('long batches against each other', 'batches', calls => StressClient::scaled(150));
my $before = deadlocks();
check('holds that run out while others end them', 'holds', calls => StressClient::scaled(2500));
my $of_holds = deadlocks() - $before;
cmp_ok($of_holds, '<=', StressClient::scaled(10), 'hardly a deadlock over holds that are over');
check('accounts in shards, emptied', 'drain', funds => StressClient::scaled(12000), indirect => 0);
check('accounts in shards, emptied on both paths', 'drain', funds => StressClient::scaled(6000), indirect => 50);
check('accounts in shards, filled', 'drain', funds => StressClient::scaled(12000), max => StressClient::scaled(9000));
check('accounts in shards, emptied just when full', 'drain', funds => 3000, max => 3000);
check('accounts in shards between limits, and reversals of the same transfers by many', 'race',
	calls => StressClient::scaled(1000), originals => StressClient::scaled(60));
is(deadlocks() - $of_holds, 0, 'no other deadlock');

# Several calls a transaction, in any order: deadlocks may end some of them, but nothing is lost
check('transactions of several calls', 'transactions', calls => StressClient::scaled(400));

$node->stop;
done_testing();
