# Transactions of reads and appends on several keys, through the functions of stores. What they have seen says
# in which order they can have been. SERIALIZABLE must have an order of all of them; REPEATABLE READ and READ
# COMMITTED must keep out what they forbid, and the check must find there what they allow.

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

my @levels = ('READ COMMITTED: no G0, no G1', 'REPEATABLE READ: no G-single either, but G2', 'SERIALIZABLE: not even G2');
my @txns = (150, 200, 400);
foreach my $level (0 .. 2)
{
	StressClient::check($client, $levels[$level], $node, 'store_append',
		level => $level, txns => StressClient::scaled($txns[$level]));
}
# What is read by one call is what was there at one time, also at READ COMMITTED.
StressClient::check($client, 'get_many reads all keys at one time', $node, 'store_append',
	level => 0, blind => 1, txns => StressClient::scaled(250));

$node->stop;
done_testing();
