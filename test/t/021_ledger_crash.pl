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

my $client = StressClient::build();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf',
	"max_connections = 60\ndeadlock_timeout = 20ms\nsynchronous_commit = on\nrestart_after_crash = off");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');

sub look
{
	my ($round) = @_;
	is($node->safe_psql('postgres', "SELECT rule, detail FROM keep.verify_ledger('load_crash') WHERE NOT ok"),
		'', "crash $round: the ledger is sound");
	return;
}

# The table is made by the client
StressClient::crash_under_load($client, 'no acknowledged transfer is lost, none was applied twice', $node, 'crash',
	StressClient::scaled(20), 'SELECT count(*) FROM load_crash_transfers', \&look);

$node->stop;
done_testing();
