# kill -9 of the server under load, ten times: no acknowledged outcome is lost, and
# when clients ask again each request has its effect exactly once.

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

StressClient::crash_under_load($client, 'each request has its effect exactly once', $node, 'request_crash',
	StressClient::scaled(10), 'SELECT count(*) FROM request_effects');

$node->stop;
done_testing();
