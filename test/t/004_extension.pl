# DROP EXTENSION leaves the stores behind as plain tables, with all that is in
# them; CREATE EXTENSION and register() make them stores again.  An ordinary
# owner dumps its own stores, and drops them, without any other right.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;

sub sql { return $node->safe_psql('postgres', shift); }

sub sqlstate
{
	my ($query) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$query");
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'none';
}

sql(q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_store('carts', ttl => '1 hour');
	SELECT keep.create_store('fast', persistence => 'unlogged', hash_keys => true);
	SELECT keep.put('carts', 'k', '{"tea": 1}') FROM generate_series(1, 40);
	SELECT keep.put('fast', 'k', '1');
});
my $highest = sql('SELECT max(version) FROM carts');
my $columns = q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull, ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'carts'::regclass AND attnum > 0};
my $before = sql($columns);

# Nothing depends on the extension: it goes without CASCADE.
is(sqlstate('DROP EXTENSION pg_keep'), 'none', 'DROP EXTENSION is not refused');
is(sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'keep'"), '0', 'the schema is gone');
is(sql($columns), $before, 'the table is as it was');
is(sql('SELECT key, value FROM carts'), 'k|{"tea": 1}', 'so is what it holds');
is(sql("INSERT INTO carts (key, value, created_at, updated_at) VALUES ('by hand', '2', now(), now()) RETURNING version > $highest"),
	't', 'it can be written by hand');
is(sqlstate("INSERT INTO carts (key, value, created_at, updated_at) VALUES ('k', '2', now(), now())"), '23505', 'its constraints hold');

# Back again: the tables are there, but nobody knows them until registered.
is(sqlstate('CREATE EXTENSION pg_keep'), 'none', 'CREATE EXTENSION');
is(sql('SELECT count(*) FROM keep.relation'), '0', 'nothing is registered');
is(sqlstate("SELECT keep.get('carts', 'k')"), '42809', 'a table that is not registered is not a store');
my ($ret, $out, $err) = $node->psql('postgres', "SELECT keep.put('carts', 'k', '1')");
like($err, qr/HINT:.*register/, 'and the hint names register()');
sql(q{SELECT keep.register('carts', 'store', '{"ttl": "1 hour"}'), keep.register('fast', 'store', '{"hash_keys": true}')});
is(sql("SELECT keep.get('carts', 'k'), keep.get('carts', 'by hand'), keep.get('fast', 'k')"),
	'{"tea": 1}|2|1', 'registered again, all is there');
is(sql("SELECT status, version > $highest, expires_at > now() FROM keep.put('carts', 'k', '3')"),
	'updated|t|t', 'and written as before');

# A session that had its plans cached
my $session = $node->background_psql('postgres', on_error_stop => 0);
is($session->query("SELECT applied FROM keep.put('carts', 's', '1')"), 't', 'a session works');
sql('DROP EXTENSION pg_keep');
$session->query("SELECT applied FROM keep.put('carts', 's', '2')");
sql(q{CREATE EXTENSION pg_keep});
$session->query("SELECT applied FROM keep.put('carts', 's', '2')");
sql(q{SELECT keep.register('carts', 'store', '{"ttl": "1 hour"}')});
is($session->query("SELECT applied, value FROM keep.put('carts', 's', '3')"), 't|3', 'and works again after both');
$session->quit;

# An ordinary owner
$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, 'shared' ], 'a database');
$node->safe_psql('shared', q{
	CREATE EXTENSION pg_keep;
	CREATE ROLE app LOGIN;
	CREATE SCHEMA app AUTHORIZATION app;
	SET ROLE app;
	SELECT keep.create_store('app.carts', ttl => '1 hour');
	SELECT keep.create_store('app.other');
	SELECT keep.put('app.carts', 'k', '1');
});
my $dir = PostgreSQL::Test::Utils::tempdir;
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-U', 'app', '-Fc', '-f', "$dir/app.dump", 'shared' ],
	'an ordinary owner dumps the database');
$node->safe_psql('shared', 'SET ROLE app; DROP TABLE app.carts');
is($node->safe_psql('shared', 'SELECT table_name FROM keep.relation'), 'other', 'its DROP TABLE cleans the catalog');
my ($list, $stderr) = run_command([ 'pg_restore', '-l', "$dir/app.dump" ]);
open my $file, '>', "$dir/list" or die $!;
print $file join("\n", grep { / carts(_| )/ } split(/\n/, $list)), "\n";
close $file;
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-U', 'app', '-e', '-L', "$dir/list", '-d', 'shared', "$dir/app.dump" ],
	'and restores that table');
is( $node->safe_psql('shared', q{
	SET ROLE app;
	SELECT keep.register('app.carts', 'store', '{"ttl": "1 hour"}');
	SELECT keep.get('app.carts', 'k');
}), "\n1", 'which register() brings back');
$node->safe_psql('shared', 'DROP SCHEMA app CASCADE');
is($node->safe_psql('shared', 'SELECT count(*) FROM keep.relation'), '0', 'DROP SCHEMA cleans the catalog');

# In a new database, the ordinary owner's dump restored by an administrator
$node->command_ok([ 'createdb', '-h', $node->host, '-p', $node->port, '-T', 'template0', 'copy' ], 'a new database');
command_ok([ 'pg_restore', '-h', $node->host, '-p', $node->port, '-e', '-d', 'copy', "$dir/app.dump" ], 'and its restore');
is($node->safe_psql('copy', q{SELECT keep.get('app.carts', 'k'), expires_at > now() FROM keep.put('app.carts', 'l', '1')}),
	'1|t', 'with registration and options');

$node->stop;
done_testing();
