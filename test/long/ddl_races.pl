# DDL of all sorts under load on all kinds of tables: clients meet documented errors at most, answers stay right
# and nothing is lost; then the same of what may disturb nobody under the stress client, which takes no error at
# all. At the end the extension goes under load, and comes back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t", $FindBin::RealBin;

use Amcheck;
use IPC::Run;
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetryLoad;
use ServerLog;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

# What clients may be told meanwhile: the table or a column is not there, is of another kind, is not theirs;
# a lock or a deadlock; and what a concurrent change of the catalogs may say
my $allowed = '42P01|42809|42501|40001|40P01|3F000|42883|KP412';

my $client = StressClient::build();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'pg_keep'
	pg_keep.naptime = 200ms
	pg_keep.reaper_share = 50
	max_connections = 60
	deadlock_timeout = 50ms
	autovacuum_naptime = 1s
	log_line_prefix = '%m [%p] %b %e '
	log_statement = none
});
$node->start;
setup_load($node);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	CREATE ROLE another;
	CREATE SCHEMA elsewhere;
	GRANT USAGE, CREATE ON SCHEMA public, elsewhere TO app, another;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO app, another;
	CREATE FUNCTION as_it_is() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
});

my @stores = ('things', 'shortly', 'leases', 'sums');
my @logs = ('once', 'briefly', 'trips', 'trips_steps');
my @ledger = ('money', 'money_transfers');
my @all = (@stores, @logs, @ledger);

# What is done to a table, and what undoes it. It may not be there where the other failed.
my @harmless = (
	[ \@all, 'REINDEX TABLE %t' ],
	[ \@all, 'REINDEX TABLE CONCURRENTLY %t' ],
	[ \@all, 'VACUUM FULL %t' ],
	[ \@all, 'VACUUM (FREEZE, ANALYZE) %t' ],
	[ \@all, 'ANALYZE %t' ],
	[ \@all, 'CLUSTER %t USING %i' ],
	[ \@all, 'ALTER TABLE %t ADD COLUMN extra int DEFAULT 7', 'ALTER TABLE %t DROP COLUMN IF EXISTS extra' ],
	[ \@all, "ALTER TABLE %t ADD COLUMN extra text DEFAULT '1'; ALTER TABLE %t ALTER COLUMN extra DROP DEFAULT; ALTER TABLE %t ALTER COLUMN extra TYPE float8 USING extra::float8",
		'ALTER TABLE %t DROP COLUMN IF EXISTS extra' ],
	[ \@all, 'CREATE INDEX CONCURRENTLY extra_index ON %t (created_at)', 'DROP INDEX CONCURRENTLY IF EXISTS extra_index' ],
	[ \@all, 'CREATE INDEX extra_index ON %t (created_at)', 'DROP INDEX IF EXISTS extra_index' ],
	[ \@all, 'CREATE TRIGGER extra BEFORE INSERT OR UPDATE ON %t FOR EACH ROW EXECUTE FUNCTION as_it_is()',
		'DROP TRIGGER IF EXISTS extra ON %t' ],
	[ \@all, 'ALTER TABLE %t ADD CONSTRAINT extra CHECK (created_at > \'2000-01-01\')', 'ALTER TABLE %t DROP CONSTRAINT IF EXISTS extra' ],
	[ \@all, "CREATE POLICY extra ON %t USING (true); ALTER TABLE %t ENABLE ROW LEVEL SECURITY",
		'ALTER TABLE %t DISABLE ROW LEVEL SECURITY; DROP POLICY IF EXISTS extra ON %t' ],
	[ \@all, 'ALTER TABLE %t SET (fillfactor = 70)', 'ALTER TABLE %t RESET (fillfactor)' ],
	[ \@all, 'ALTER TABLE %t ALTER COLUMN created_at SET STATISTICS 10' ],
	[ \@stores, "SELECT keep.set_store_option('%t', 'renew_after', '1 s')", "SELECT keep.set_store_option('%t', 'renew_after', NULL)" ],
	[ ['things'], "SELECT keep.set_store_option('%t', 'max_value_bytes', '100000')" ]);
my @rough = (
	[ \@all, 'ALTER TABLE %t RENAME TO other_name', 'ALTER TABLE IF EXISTS other_name RENAME TO %t' ],
	[ \@all, 'ALTER TABLE %t SET SCHEMA elsewhere', 'ALTER TABLE IF EXISTS elsewhere.%t SET SCHEMA public' ],
	[ \@all, 'REVOKE ALL ON %t FROM app', 'GRANT ALL ON %t TO app' ],
	[ \@stores, 'ALTER TABLE %t SET UNLOGGED', 'ALTER TABLE %t SET LOGGED' ],
	[ [ @logs, @ledger ], 'ALTER TABLE %t SET UNLOGGED', 'ALTER TABLE %t SET LOGGED' ],
	[ [ 'things', 'sums', 'leases' ], 'ALTER TABLE %t ENABLE ROW LEVEL SECURITY', 'ALTER TABLE %t DISABLE ROW LEVEL SECURITY' ],
	[ [ @stores, 'once', 'briefly' ], 'ALTER TABLE %t OWNER TO another', 'ALTER TABLE %t OWNER TO CURRENT_USER' ],
	[ \@stores, 'ALTER TABLE %t RENAME COLUMN value TO what', 'ALTER TABLE %t RENAME COLUMN what TO value' ],
	[ [ 'shortly', 'leases', 'briefly' ], 'TRUNCATE %t' ],
	[ ['leases'], "DROP TABLE %t; SELECT pg_sleep(0.05); SELECT keep.create_store('%t'); GRANT ALL ON %t TO app" ],
	[ ['leases'], "BEGIN; DROP TABLE %t; SELECT keep.create_store('%t'); GRANT ALL ON %t TO app; COMMIT" ],
	[ ['shortly'], "BEGIN; DROP TABLE %t; SELECT keep.create_store('%t', ttl => '200 ms'); GRANT ALL ON %t TO app; COMMIT" ]);
my %primary = map { $_ => "${_}_pkey" } @all;
my %counted;
my %done;			# by the sort: what it does
my @never_undone;

# Sorts come in a random order, and none comes again before all the others did.
my %deck;

sub deal
{
	my ($name, @sorts) = @_;
	$deck{$name} = [ shuffle(@sorts) ] if !@{ $deck{$name} // [] };
	return shift @{ $deck{$name} };
}

sub missing { return grep { !$done{ $_->[1] } } @_ }

# Runs statements, each a transaction of its own.
sub ddl
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET lock_timeout = '3s'; SET client_min_messages = error;\n" . join(";\n", split(/; /, $sql)) . ";\n");
	my ($error) = $err =~ /ERROR:  (.*)/;
	$counted{ defined $error ? "failed: " . ($error =~ s/"[^"]*"|\d+/_/gr) : 'done' }++;
	return !defined $error;
}

sub race
{
	my ($action, %names) = @_;
	my ($tables, $do, $undo) = @$action;
	my $table = $tables->[ int(rand(@$tables)) ];
	my $name = $names{prefix} ? $names{prefix}->($table) : $table;
	my $fill = sub { my ($sql) = @_; $sql =~ s/%t/$name/g; $sql =~ s/%i/$names{index} ? $names{index}->($name) : $primary{$table}/ge; return $sql; };

	my $done = ddl($fill->($do));
	$done{$do}++ if $done;
	usleep(int(rand(60_000)));
	if ($undo)
	{
		my ($tries, $sql) = (0, $fill->($undo));
		until (ddl($sql))
		{
			push @never_undone, $sql if ++$tries > 20 && $done;
			last if $tries > 20 || !$done && $undo !~ /IF EXISTS/ && $tries > 2;
			usleep(20_000);
		}
	}
	return;
}

# Each of these sorts was done at least once. If not, the test has not tested what it says.
sub check_done
{
	my ($name, @sorts) = @_;
	is(join("\n", map { $_->[1] } missing(@sorts)), '', "$name: all of the " . @sorts . ' sorts were done')
	  or diag(join("\n", map { "$counted{$_} times $_" } sort keys %counted));
	is(join("\n", @never_undone), '', "$name: and undone");
	note(join(', ', map { "$counted{$_} times $_" } sort keys %counted));
	%done = %counted = @never_undone = ();
	return;
}

# A table that ALTER TABLE writes anew looks empty to older snapshots. Nobody is told so.
$node->safe_psql('postgres', q{
	SELECT keep.put('things', 'there', '1'), keep.transfer('money', 'there', 'outside', 'account 0', 5),
		keep.call_once('once', 'there', 'echo(jsonb)', '1'), keep.begin_saga('trips', 'there', '30 days');
	SELECT keep.run_step('trips', 'there', 'a', 'echo(jsonb)', '1') FROM keep.allow_saga_function('trips', 'echo(jsonb)') });
my $rewrite = 'ALTER TABLE %s ADD COLUMN extra text DEFAULT random()::text';
my @calls = (
	[ 'things', "keep.get('things', 'there')", '1' ],
	[ 'things', "(SELECT status FROM keep.merge('things', 'there', '1'))", 'updated' ],
	[ 'things', "(SELECT status FROM keep.put_if_absent('things', 'there', '1'))", 'exists' ],
	[ 'things', "(SELECT count(*) FROM keep.get_many('things', '{there,nowhere}'))", '1' ],
	[ 'money', "(SELECT balance > 0 FROM keep.balance('money', 'account 0'))", 't' ],
	[ 'money', "(SELECT status || replayed FROM keep.transfer('money', 'there', 'outside', 'account 0', 5))", 'postedtrue' ],
	[ 'money', "(SELECT status FROM keep.transfer('money', 'new %d', 'outside', 'account 0', 5))", 'posted' ],
	[ 'money_transfers', "(SELECT bool_and(ok) FROM keep.verify_ledger('money'))", 't' ],
	[ 'once', "(SELECT replayed FROM keep.call_once('once', 'there', 'echo(jsonb)', '1'))", 't' ],
	[ 'trips', "(SELECT status || replayed FROM keep.run_step('trips', 'there', 'a', 'echo(jsonb)', '1'))", 'donetrue' ],
	[ 'trips_steps', "(SELECT state FROM keep.begin_saga('trips', 'there', '30 days'))", 'running' ]);
my $number = 0;

$node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM SET pg_keep.reaper = off', 'SELECT pg_reload_conf()';
foreach my $call (@calls)
{
	my ($table, $sql, $answer) = @$call;
	my $alter = sprintf($rewrite, $table);
	my $query = sprintf($sql, ++$number);

	# the snapshot stands still: 40001
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n"
		  . "\\! psql -XAtqc '$alter' postgres\nSELECT $query;\nCOMMIT;");
	like($err, qr/ERROR: +40001/, "an older snapshot, $table written anew: $query") or diag("$out$err");
	$node->safe_psql('postgres', "ALTER TABLE $table DROP COLUMN extra");

	# who waits for the table sees what is in it then
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; $alter");
	my ($got, $error) = ('', '');
	my $waiter = IPC::Run::start([ 'psql', '-XAtqc', 'SELECT ' . sprintf($sql, ++$number), 'postgres' ], '>', \$got, '2>', \$error);
	$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted");
	$holder->query_safe('COMMIT');
	$holder->quit;
	$waiter->finish;
	is($got . $error, "$answer\n", "who waited for $table: $query");
	$node->safe_psql('postgres', "ALTER TABLE $table DROP COLUMN extra");
}
$node->safe_psql('postgres', $_) foreach "SELECT keep.complete_saga('trips', 'there')", 'ALTER SYSTEM RESET pg_keep.reaper',
  'SELECT pg_reload_conf()';

srand($StressClient::seed);
note("STRESS_SEED=$StressClient::seed repeats the draws of this run");

# Clients that try again
my $load = start_load($node, 6, $StressClient::seed, connstr => $node->connstr('postgres') . ' user=app');
ok(wait_for_progress($load, 100), 'clients are at work');
my $changes = StressClient::scaled(150);
for (my $i = 1; $i <= $changes || missing(@harmless, @rough) && $i <= $changes + 100; $i++)
{
	race($i % 2 ? deal('harmless', @harmless) : deal('rough', @rough));
	if ($i % 25 == 0)
	{
		is($node->safe_psql('postgres', "SELECT rule, detail FROM keep.verify_ledger('money') WHERE NOT ok"), '',
			"after $i changes: the ledger adds up");
		ok(wait_for_progress($load, 10), 'the clients go on');
	}
}
is( $node->safe_psql('postgres', q{
	SELECT string_agg(relname, ' ') FROM pg_class WHERE relname ~ 'other_name|extra' OR relnamespace = 'elsewhere'::regnamespace}),
	'', 'all is as it was before');

check_done('DDL', @harmless, @rough);
finish_load($load, 'DDL', $allowed);
check_server_log($node, name => 'DDL');

# The extension goes, and comes back; its tables are registered again. A call whose statement is just being
# parsed then may be told by PostgreSQL that a type of the extension cannot be opened (XX000).
expect_in_log($node, ' XX000 ERROR: +could not open relation with OID');
$load = start_load($node, 6, $StressClient::seed + 1000, connstr => $node->connstr('postgres') . ' user=app', name => 'again',
	internal => qr/could not open relation with OID/);
my $register = q{
	BEGIN;
	DROP EXTENSION pg_keep;
	CREATE EXTENSION pg_keep;
	SELECT keep.register(s, 'store') FROM unnest('{things,leases,sums}'::regclass[]) s;
	SELECT keep.register('shortly', 'store', '{"ttl": "200 ms"}');
	SELECT keep.register('money', 'ledger', '{"history": true}');
	SELECT keep.register('once', 'request_log', '{"retain": null}'), keep.register('briefly', 'request_log', '{"retain": "200 ms"}');
	SELECT keep.register('trips', 'saga_log', '{"max_attempts": 1000}');
	SELECT keep.allow_saga_function('trips', 'effect(jsonb)'), keep.allow_saga_function('trips', 'undo(jsonb)');
	COMMIT;
};
foreach my $round (1 .. 3)
{
	ok(wait_for('DROP EXTENSION', sub { (eval { $node->psql('postgres', $register, on_error_stop => 1) })[0] == 0 }), "the extension goes and comes back, round $round");
	ok(wait_for_progress($load, 20), 'the clients go on');
}
finish_load($load, 'DROP EXTENSION', "$allowed|XX000");
check_load($load, $node, 'DDL', tokens_anew => 1);
check_amcheck($node, 'postgres', 'DDL');

# What disturbs nobody
my @gentle = grep { $_->[1] !~ /renew_after|max_value/ } @harmless;
$node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM SET pg_keep.reaper = off', 'SELECT pg_reload_conf()';

# Runs the stress client while all goes on.
sub stress
{
	my ($mode) = @_;
	my ($out, $err) = ('', '');
	my $stress = IPC::Run::start([ $client, StressClient::arguments($node, $mode, calls => StressClient::scaled(1500)) ],
		'>', \$out, '2>', \$err, IPC::Run::timeout(int(600 * (StressClient::scaled(100) / 100 + 1))));
	while ($stress->pumpable)
	{
		$stress->pump_nb;
		my @tables = split /\n/, $node->safe_psql('postgres', q{
			SELECT relname FROM pg_class JOIN keep.relation ON relid = oid
			WHERE relname LIKE ANY ('{load_%,request_load%,saga_load%}')});
		if (!@tables) { usleep(20_000); next; }
		my $action = deal($mode, @gentle);
		race([ \@tables, @$action[ 1, 2 ] ], index => sub { "$_[0]_pkey" });
	}
	my $good = eval { $stress->finish };
	note($out);
	return $good || diag("STRESS_SEED=$StressClient::seed\n$out$err");
}

foreach my $mode ('mixed', 'request_mixed', 'saga_mixed')
{
	# again, where it was done before all sorts were
	my ($good, $runs) = (1, 0);
	do { $good &&= stress($mode); } while ($good && missing(@gentle) && ++$runs < 20);
	ok($good, "$mode, under DDL: no error, and each answer is right");
	check_done($mode, @gentle);
}
check_amcheck($node, 'postgres', 'stress');
$node->stop;
check_server_log($node, name => 'DROP EXTENSION, and stress');
done_testing();
