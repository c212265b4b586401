# pg_upgrade of a cluster with stores (from and to the same major version):
# nothing in the catalog is of a type that it refuses, and registration,
# options, contents and the course of the versions come over.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = PostgreSQL::Test::Cluster->new('old');
$old->init;
$old->start;
$old->safe_psql('postgres', q{
	CREATE EXTENSION pg_keep;
	CREATE SCHEMA "Off";
	SELECT keep.create_store('sessions', ttl => '1 hour', expire_after => 'access', hash_keys => true);
	SELECT keep.create_store('"Off"."Fast"', ttl => '2 hours', persistence => 'unlogged');
	SELECT keep.create_store('before', ttl => '3 hours');
	ALTER TABLE before RENAME TO after;
	SELECT keep.put(s, 'k', '{"old": true}') FROM unnest('{sessions,"\"Off\".\"Fast\"",after}'::regclass[]) AS s, generate_series(1, 40);
	SELECT keep.put(s, 'gone', '1') FROM unnest('{sessions,"\"Off\".\"Fast\"",after}'::regclass[]) AS s;
});
my $catalog = q{SELECT schema_name, table_name, kind, options, relid = format('%I.%I', schema_name, table_name)::regclass
	FROM keep.relation ORDER BY table_name COLLATE "C"};
my $registered = $old->safe_psql('postgres', $catalog);
my $highest = $old->safe_psql('postgres',
	q{SELECT greatest((SELECT max(version) FROM sessions), (SELECT max(version) FROM "Off"."Fast"), (SELECT max(version) FROM after))});
$old->safe_psql('postgres', q{SELECT keep.delete(s, 'gone') FROM unnest('{sessions,"\"Off\".\"Fast\"",after}'::regclass[]) AS s});
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
my $bindir = $new->config_data('--bindir');
chdir PostgreSQL::Test::Utils::tempdir;
command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $bindir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');
$new->start;

is($new->safe_psql('postgres', $catalog), $registered, 'the catalog came over');
foreach my $store ('sessions', '"Off"."Fast"', 'after')
{
	is($new->safe_psql('postgres', "SELECT keep.get('$store', 'k')"), '{"old": true}', "$store has its entries");
	is($new->safe_psql('postgres', "SELECT status, version > $highest, expires_at > now() FROM keep.put('$store', 'gone', '1')"),
		'created|t|t', "versions and options of $store go on");
}
is($new->safe_psql('postgres', q{SELECT relpersistence FROM pg_class
		WHERE oid = pg_get_serial_sequence('"Off"."Fast"', 'version')::regclass}),
	'p', 'the sequence of the unlogged store is logged');
is($new->safe_psql('postgres', q{ALTER TABLE after RENAME TO later; SELECT status FROM keep.put('later', 'k', '1');
		DROP TABLE later; SELECT count(*) FROM keep.relation}),
	"updated\n2", 'renames and drops are followed');

$new->stop;
done_testing();
