# The two ways to a ledger's tables, directly and through the executor: random
# operations run in step on two ledgers. Same results, same SQLSTATEs, same
# state in the end; and a model predicts both.

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
$node->append_conf('postgresql.conf', 'autovacuum_naptime = 1s');
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');

# 200,000 operations on each ledger, 6,000 of them single calls, at the least
foreach my $history (1, 0)
{
	StressClient::check($client, 'both ways lead to the same' . ($history ? ', with history' : ''),
		$node, 'sequence', direct => 2, history => $history, batches => 20, max_batch => 1500,
		calls => StressClient::scaled(3000), ops => StressClient::scaled(100000));
}

$node->stop;
done_testing();
