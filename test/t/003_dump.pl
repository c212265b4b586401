# pg_dump and pg_restore of a database with stores: tables, contents, options
# and registration come over, versions go on above the old ones, an unlogged
# store keeps its logged sequence; one missing table does not cost the others
# their registration; a restore over the same database works.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

sub sql
{
	my ($db, $query) = @_;
	return $node->safe_psql($db, $query);
}

# All that the catalog says, but for the OIDs, which must only fit.
my $catalog = q{
	SELECT schema_name, table_name, kind, options,
		relid = format('%I.%I', schema_name, table_name)::regclass
	FROM keep.relation ORDER BY schema_name, table_name COLLATE "C"};
my $persistence = q{
	SELECT t.oid::regclass, t.relpersistence, s.relpersistence
	FROM keep.relation r JOIN pg_class t ON t.oid = relid
	JOIN pg_class s ON s.oid = pg_get_serial_sequence(t.oid::regclass::text, 'version')::regclass
	ORDER BY t.relname COLLATE "C"};

$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, 'old' ], 'a database');
sql('old', q{
	CREATE EXTENSION pg_keep;
	CREATE ROLE app;
	CREATE SCHEMA "Odd Schema" AUTHORIZATION app;
	CREATE SCHEMA off;
	SELECT keep.create_store('plain');
	SELECT keep.create_store('sessions', ttl => '30 min', expire_after => 'access', max_lifetime => '12 hours',
		renew_after => '90 s', max_value_bytes => 200, hash_keys => true);
	SELECT keep.create_store('gone', ttl => '1 day', expire_after => 'create');
	SELECT keep.create_store('off.fast', ttl => '2 hours', persistence => 'unlogged');
	SELECT keep.create_store('before', ttl => '3 hours');
	SELECT keep.create_store('moved', ttl => '4 hours');
	SELECT keep.create_store('turned', ttl => '5 hours');
	SELECT keep.create_store('dropped');
	SET ROLE app;
	SELECT keep.create_store('"Odd Schema"."A ""Store"""', ttl => '1 hour');
	RESET ROLE;
	ALTER TABLE before RENAME TO after;
	ALTER TABLE moved SET SCHEMA off;
	DROP TABLE dropped;
	SELECT keep.set_store_option('turned', 'persistence', 'unlogged');
	ALTER TABLE plain ADD COLUMN note text DEFAULT 'hello';
});
my @stores = ('plain', 'sessions', 'gone', 'off.fast', 'after', 'off.moved', 'turned', '"Odd Schema"."A ""Store"""');
foreach my $store (@stores)
{
	sql('old', "SELECT keep.put('$store', 'k', '{\"old\": true}') FROM generate_series(1, 40);
		SELECT keep.put('$store', 'over', '1', '1 ms');
		SELECT keep.delete('$store', 'none')");
}

sub highest
{
	my ($db, $store) = @_;
	return sql($db, "SELECT max(version) FROM $store");
}

# What must hold in a database that came out of a dump
sub check_database
{
	my ($db, @there) = @_;
	foreach my $store (@there)
	{
		my $old = highest('old', $store);
		is(sql($db, "SELECT keep.get('$store', 'k'), keep.get('$store', 'over') IS NULL"),
			'{"old": true}|t', "$db: $store has its entries");
		is(sql($db, "BEGIN; SELECT status, version > $old FROM keep.put('$store', 'new', '1'); ROLLBACK"),
			'created|t', "$db: versions of $store go on above the old ones");
		is(sql($db, "BEGIN; SELECT status, version > $old FROM keep.put('$store', 'k', '1'); ROLLBACK"),
			'updated|t', "$db: $store knows its entries");
		is(sql($db, "BEGIN; SELECT keep.expire('$store'); ROLLBACK"), '1', "$db: expire works on $store");
	}
	return;
}

# The whole database
my $dump = "$dir/all.dump";
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-Fc', '-f', $dump, 'old' ], 'pg_dump');
$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, '-T', 'template0', 'new' ], 'an empty database');
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '-d', 'new', $dump ], 'pg_restore');
is(sql('new', $catalog), sql('old', $catalog), 'the catalog came over');
is(sql('new', $persistence), sql('old', $persistence), 'persistence came over');
is(sql('new', "SELECT relpersistence FROM pg_class
		WHERE oid = pg_get_serial_sequence('off.fast', 'version')::regclass"),
	'p', 'the sequence of an unlogged store is logged');
check_database('new', @stores);

# Options work, not just stand in the catalog
is( sql('new', q{
	SELECT expires_at BETWEEN now() + '29 min' AND now() + '31 min' FROM keep.put('sessions', 'x', '1');
	SELECT length(key) FROM sessions WHERE value = '1' AND expires_at > now();
	SELECT status FROM keep.touch('sessions', 'x');
	SELECT expires_at BETWEEN now() + '11 hours' AND now() + '12 hours 1 min' FROM keep.put('sessions', 'x', '1', '3 days');
	SELECT expires_at BETWEEN now() + '1 hour' AND now() + '3 hours' FROM keep.put('off.fast', 'x', '1');
	SELECT expires_at > now() + '3 hours' FROM keep.put('off.moved', 'x', '1');
}), "t\n64\nfresh\nt\nt\nt", 'the options hold in the new database');
my ($ret, $out, $err) = $node->psql('new', "\\set VERBOSITY sqlstate\nSELECT keep.put('sessions', 'x', to_jsonb(repeat('x', 300)))");
like($err, qr/ERROR:\s+54000/, 'max_value_bytes holds in the new database');

# Over the same database again: drops everything, the extension too, first
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '--clean', '--if-exists', '-d', 'new', $dump ],
	'pg_restore --clean');
is(sql('new', $catalog), sql('old', $catalog), 'the catalog came over again');
check_database('new', @stores);

# A plain script, in one transaction, without owners
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-O', '-x', '-f', "$dir/all.sql", 'old' ], 'pg_dump as a script');
$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, '-T', 'template0', 'script' ], 'another database');
$node->command_ok([ 'psql', '-XqAt', '-h', $node->host, '-p', $node->port, '-v', 'ON_ERROR_STOP=1', '-1',
		'-o', '/dev/null', '-f', "$dir/all.sql", 'script' ], 'the script runs in one transaction');
is(sql('script', $catalog), sql('old', $catalog), 'the catalog came over by script');
check_database('script', @stores);

# A part: all but one table
my ($list, $stderr) = run_command([ 'pg_restore', '-l', $dump ]);
open my $file, '>', "$dir/list" or die $!;
print $file join("\n", grep { !/ gone(_| )/ } split(/\n/, $list)), "\n";
close $file;
$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, '-T', 'template0', 'part' ], 'a third database');
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '-L', "$dir/list", '-d', 'part', $dump ],
	'pg_restore without one table');
is(sql('part', "SELECT to_regclass('gone') IS NULL"), 't', 'that table is not there');
check_database('part', grep { $_ ne 'gone' } @stores);
is(sql('part', 'SELECT keep.expire()'), scalar(@stores) - 1, 'expire() on all stores passes over the missing one');

# It comes back by hand
sql('part', q{
	CREATE TABLE gone (LIKE plain INCLUDING ALL);
	SELECT keep.register('gone', 'store', '{"ttl": "1 day", "expire_after": "create"}')});
is(sql('part', q{SELECT status, expires_at > now() + '23 hours' FROM keep.put('gone', 'k', '1')}),
	'created|t', 'the table made by hand is a store');
is(sql('part', $catalog), sql('old', $catalog), 'and the catalog is complete, with one row for each');

# Or by a later restore of that table, on which it is registered anew
sql('part', 'DROP TABLE gone');
is(sql('part', "SELECT count(*) FROM keep.relation WHERE table_name = 'gone'"), '0', 'DROP TABLE cleans the catalog');
open $file, '>', "$dir/rest" or die $!;
print $file join("\n", grep { / gone(_| )/ } split(/\n/, $list)), "\n";
close $file;
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '-L', "$dir/rest", '-d', 'part', $dump ],
	'pg_restore of that table alone');
sql('part', q{SELECT keep.register('gone', 'store', '{"ttl": "1 day", "expire_after": "create"}')});
check_database('part', 'gone');

$node->stop;
done_testing();
