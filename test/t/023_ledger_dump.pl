# Ledgers across pg_dump and pg_restore (whole, as a script, a part, one schema),
# a restart, a crash and on a physical standby: accounts, transfers and what they
# answer come over, the two tables of a ledger find each other whatever they are
# called, and the books balance.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use DumpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node();
my $dir = PostgreSQL::Test::Utils::tempdir;

# Ledgers by name, with their tables of transfers
my @ledgers = (
	[ 'bank', 'bank_transfers' ],
	[ 'after', 'moves' ],
	[ 'off.points', 'off.points_transfers' ],
	[ 'off.split', 'public.split_moves' ],
	[ '"Odd Schema"."A ""Ledger"""', '"Odd Schema"."A ""Ledger""_transfers"' ]);

create_database('old');
sql('old', q{
	CREATE EXTENSION pg_keep;
	CREATE ROLE app;
	CREATE SCHEMA "Odd Schema" AUTHORIZATION app;
	CREATE SCHEMA off;
	SELECT keep.create_ledger('bank', history => true);
	SELECT keep.create_ledger('before');
	SELECT keep.create_ledger('off.points');
	SELECT keep.create_ledger('split');
	SELECT keep.create_ledger('dropped');
	SET ROLE app;
	SELECT keep.create_ledger('"Odd Schema"."A ""Ledger"""', history => true);
	RESET ROLE;
	ALTER TABLE before RENAME TO after;
	ALTER TABLE before_transfers RENAME TO moves;
	ALTER TABLE split SET SCHEMA off;
	ALTER TABLE split_transfers RENAME TO split_moves;
	DROP TABLE dropped, dropped_transfers;
	ALTER TABLE moves ADD COLUMN note text DEFAULT 'hello';
	CREATE FUNCTION fill(l regclass) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM keep.open_account(l, 'world', 'EUR', NULL);
		PERFORM keep.open_account(l, a, 'EUR') FROM unnest('{a,b,c}'::text[]) AS a;
		PERFORM keep.open_account(l, 'usd', 'USD');
		PERFORM keep.open_account(l, 'pool', 'EUR', -50, 1000, 4);
		PERFORM keep.set_account_limits(l, 'c', -10, 500);
		PERFORM keep.transfer(l, 'fund', 'world', 'a', 100, metadata => '{"from": "outside"}');
		PERFORM keep.transfer(l, 'poor', 'b', 'a', 100);
		PERFORM keep.transfer(l, 'unit', 'a', 'usd', 1);
		PERFORM keep.transfer(l, 'nobody', 'a', 'nobody', 1);
		PERFORM keep.transfer(l, 'held', 'a', 'b', 30, '1 day');
		PERFORM keep.transfer(l, 'part', 'world', 'b', 50, '1 day');
		PERFORM keep.post_transfer(l, 'part', 20);
		PERFORM keep.transfer(l, 'void', 'world', 'b', 50, '1 day');
		PERFORM keep.void_transfer(l, 'void');
		PERFORM keep.reverse_transfer(l, 'back', 'fund', 25);
		PERFORM keep.transfer_many(l, '{p1,p2,k1,k2}', '{world,pool,a,b}', '{pool,c,b,c}', '{400,300,1,9999}',
			chains => '{NULL,NULL,k,k}');
		PERFORM keep.open_account(l, 'frozen', 'EUR');
		PERFORM keep.freeze_account(l, 'frozen');
		PERFORM keep.transfer(l, 'over', 'world', 'b', 40, '1 ms');
	END $$;
});
sql('old', "SELECT fill('$_->[0]'); SELECT pg_sleep(0.01)") foreach @ledgers;

# Accounts, transfers and checks of a ledger as text
sub state_of
{
	my ($server, $db, $ledger) = @_;
	my ($accounts, $transfers) = @$ledger;
	my $query = qq{
		SELECT b.* FROM (SELECT DISTINCT id FROM $accounts) AS a, keep.balance('$accounts', a.id) AS b ORDER BY b.account;
		SELECT a.* FROM $accounts AS a ORDER BY id, shard;
		SELECT t.* FROM $transfers AS t ORDER BY id;
		SELECT rule, ok FROM keep.verify_ledger('$accounts') ORDER BY rule};
	$query .= qq{;
		SELECT * FROM keep.statement('$accounts', 'a'); SELECT * FROM keep.statement('$accounts', 'pool', max_rows => 1)}
		if $accounts =~ /bank|Odd/;
	return $server->safe_psql($db, $query);
}

# A ledger goes on where it was: what was done is replayed, what was begun can be ended
sub check_ledger
{
	my ($server, $db, $ledger) = @_;
	my $l = $ledger->[0];
	my $name = "$db: $l";
	is($server->safe_psql($db, "SELECT bool_and(ok), count(*) > 0 FROM keep.verify_ledger('$l')"),
		't|t', "$name: the books balance");
	is( $server->safe_psql($db, qq{
			SELECT status, reason, from_balance, to_balance, replayed FROM keep.transfer('$l', 'fund', 'world', 'a', 100);
			SELECT status, reason, from_balance, to_balance, replayed FROM keep.transfer('$l', 'poor', 'b', 'a', 100);
			SELECT status, reason, replayed FROM keep.transfer('$l', 'held', 'a', 'b', 30, '24 hours');
			SELECT status, amount, replayed FROM keep.transfer('$l', 'over', 'world', 'b', 40, '1 ms');
			SELECT status, amount, from_balance, to_balance, replayed FROM keep.post_transfer('$l', 'part', 20);
			SELECT status, replayed FROM keep.void_transfer('$l', 'void');
			SELECT status, amount, from_balance, replayed FROM keep.reverse_transfer('$l', 'back', 'fund', 25);
			SELECT id, status, reason, replayed FROM keep.transfer_many('$l', '{k2,p2,p1,fund}', '{b,pool,world,world}', '{c,c,pool,b}', '{9999,300,400,100}')}),
		qq(posted||-100|100|t
rejected|insufficient_funds|0|100|t
pending||t
expired|40|t
posted|20|-120|20|t
voided|t
posted|25|75|t
k2|rejected|insufficient_funds|t
p2|posted||t
p1|posted||t
fund|mismatch||f), "$name: replays");
	is(sqlstate($server, $db, "SELECT keep.transfer('$l', 'fund', 'world', 'b', 100)"), 'KP422', "$name: no id twice");
	is(sqlstate($server, $db, "SELECT keep.open_account('$l', 'c', 'USD')"), 'KP422', "$name: terms of an account");
	is( $server->safe_psql($db, qq{
			BEGIN;
			SELECT status, amount FROM keep.post_transfer('$l', 'held', 10);
			SELECT keep.expire_holds('$l');
			SELECT status, reason, amount FROM keep.reverse_transfer('$l', 'rest', 'fund');
			SELECT status, amount FROM keep.reverse_transfer('$l', 'rest2', 'fund', 65);
			SELECT status, reason FROM keep.transfer('$l', 'new1', 'pool', 'world', 150);
			SELECT status, reason FROM keep.transfer('$l', 'new2', 'pool', 'world', 1);
			SELECT status, reason FROM keep.transfer('$l', 'new3', 'c', 'world', 311);
			SELECT status, reason FROM keep.transfer('$l', 'new4', 'world', 'frozen', 1);
			SELECT balance, available FROM keep.balance('$l', 'a');
			SELECT bool_and(ok) FROM keep.verify_ledger('$l');
			ROLLBACK}),
		qq(posted|10
1
rejected|insufficient_funds|
posted|65
posted|
rejected|insufficient_funds
rejected|insufficient_funds
rejected|account_frozen
0|0
t), "$name: it goes on");
	return;
}

my %old = map { $_->[0] => state_of($node, 'old', $_) } @ledgers;
check_ledger($node, 'old', $_) foreach @ledgers;

sub check_database
{
	my ($db, @there) = @_;
	foreach my $ledger (@there)
	{
		is(state_of($node, $db, $ledger), $old{ $ledger->[0] }, "$db: $ledger->[0] came over");
		check_ledger($node, $db, $ledger);
	}
	return;
}

# The whole database, and over the same one again
my $dump = "$dir/all.dump";
run_program('pg_dump', 'pg_dump', '-Fc', '-f', $dump, 'old');
create_database('new');
foreach my $again ([], [ '--clean', '--if-exists' ])
{
	run_program("pg_restore @$again", 'pg_restore', '-e', @$again, '-d', 'new', $dump);
	is(sql('new', $catalog), sql('old', $catalog), 'the catalog came over');
	check_database('new', @ledgers);
}
is(sql('new', q{SELECT tableowner FROM pg_tables WHERE schemaname = 'Odd Schema'}), "app\napp", 'owners came over');
is(sql('new', q{SELECT note FROM moves WHERE id = 'fund'}), 'hello', "a user's column came over");

# Both tables follow new names there, each on its own
is( sql('new', q{
		ALTER TABLE after RENAME TO before;
		SELECT replayed FROM keep.transfer('before', 'fund', 'world', 'a', 100);
		ALTER TABLE moves SET SCHEMA off;
		ALTER TABLE off.moves RENAME TO fund;
		SELECT replayed FROM keep.transfer('before', 'fund', 'world', 'a', 100);
		ALTER SCHEMA off RENAME TO "Off 2";
		SELECT replayed FROM keep.transfer('before', 'fund', 'world', 'a', 100);
		SELECT replayed FROM keep.transfer('"Off 2".split', 'fund', 'world', 'a', 100);
		SELECT replayed FROM keep.transfer('"Off 2".points', 'fund', 'world', 'a', 100);
		ALTER TABLE before RENAME TO after;
		SELECT bool_and(ok) FROM keep.verify_ledger('after')}),
	"t\nt\nt\nt\nt\nt", 'renamed tables are found');

# That again into another one
run_program('pg_dump of the copy', 'pg_dump', '-Fc', '-f', "$dir/second.dump", 'new');
create_database('second');
run_program('pg_restore of the copy', 'pg_restore', '-e', '-d', 'second', "$dir/second.dump");
is(sql('second', $catalog), sql('new', $catalog), 'the catalog came over from the copy');
check_ledger($node, 'second', [$_]) foreach ('after', 'bank', '"Off 2".split');

# A plain script, in one transaction, without owners
run_program('pg_dump as a script', 'pg_dump', '-O', '-x', '-f', "$dir/all.sql", 'old');
create_database('script');
run_program('the script runs in one transaction', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-1',
	'-o', '/dev/null', '-f', "$dir/all.sql", 'script');
is(sql('script', $catalog), sql('old', $catalog), 'the catalog came over by script');
check_database('script', @ledgers);

# Without the transfers of one ledger: that one is refused, the others work
my ($list, $stderr) = run_command([ 'pg_restore', '-l', $dump ]);
my @lines = split(/\n/, $list);
my $most = write_list("$dir/most", grep { !/ (moves|before_transfers_\w+) / } @lines);
my $rest = write_list("$dir/rest", grep { / (moves|before_transfers_\w+) / } @lines);
create_database('part');
run_program('pg_restore without one table', 'pg_restore', '-e', '-L', $most, '-d', 'part', $dump);
check_database('part', grep { $_->[0] ne 'after' } @ledgers);
is(sqlstate($node, 'part', "SELECT keep.balance('after', 'a')"), '42809', 'an account without transfers is refused');
is(sqlstate($node, 'part', "SELECT keep.transfer('after', 'fund', 'world', 'a', 100)"), '42809', 'a transfer, too');
run_program('pg_restore of that table', 'pg_restore', '-e', '-L', $rest, '-d', 'part', $dump);
sql('part', q{SELECT keep.register('after', 'ledger', '{"transfers": "moves"}')});
check_database('part', $ledgers[1]);
is(sql('part', "SELECT count(*), count(*) FILTER (WHERE relid = format('%I.%I', schema_name, table_name)::regclass) FROM keep.relation"),
	scalar(2 * @ledgers) . '|' . scalar(2 * @ledgers), 'the catalog is complete, with one row for each table');

# One schema into a database that has the extension: its ledgers are registered by hand
run_program('pg_dump of a schema', 'pg_dump', '-Fc', '-n', 'off', '-f', "$dir/off.dump", 'old');
create_database('schema');
sql('schema', 'CREATE EXTENSION pg_keep');
run_program('pg_restore of the schema', 'pg_restore', '-e', '-d', 'schema', "$dir/off.dump");
is(sqlstate($node, 'schema', "SELECT keep.balance('off.points', 'a')"), '42809', 'a restored table alone is no ledger');
is(sqlstate($node, 'schema', "SELECT keep.register('off.split', 'ledger', '{}')"), '42P01', 'half a ledger cannot be registered');
is(sqlstate($node, 'schema', "SELECT keep.register('off.points', 'ledger', '{\"transfers\": \"off.split\"}')"), '42809',
	'nor one with a table that holds something else');
sql('schema', "SELECT keep.register('off.points', 'ledger', '{}')");
check_database('schema', $ledgers[2]);

# With its data only, over tables that were made there
run_program('pg_dump of data', 'pg_dump', '-Fc', '-a', '-t', 'off.points', '-t', 'off.points_transfers', '-f', "$dir/data.dump", 'old');
create_database('data');
sql('data', "CREATE EXTENSION pg_keep; CREATE SCHEMA off; SELECT keep.create_ledger('off.points')");
run_program('pg_restore of data', 'pg_restore', '-e', '-d', 'data', "$dir/data.dump");
check_database('data', $ledgers[2]);

# A restart, and one after a crash: nothing was said and not kept
foreach my $mode ('fast', 'immediate')
{
	sql('new', "SELECT keep.transfer('bank', '$mode', 'world', 'c', 1)");
	my $before = state_of($node, 'new', $ledgers[0]);
	$node->stop($mode);
	$node->start;
	is(state_of($node, 'new', $ledgers[0]), $before, "$mode restart: the same as before");
	is(sql('new', "SELECT status, replayed FROM keep.transfer('bank', '$mode', 'world', 'c', 1)"), 'posted|t',
		"$mode restart: the last transfer is replayed");
}
check_database('script', $ledgers[0], $ledgers[3]);

# A standby: reads work there, writes are refused as by the server itself
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sql('old', q{
	SELECT keep.transfer('bank', 'late', 'world', 'a', 5);
	SELECT keep.create_ledger('young', history => true);
	SELECT fill('young')});
$node->wait_for_catchup($standby);
foreach my $ledger (@ledgers, [ 'young', 'young_transfers' ])
{
	is(state_of($standby, 'old', $ledger), state_of($node, 'old', $ledger), "standby: $ledger->[0] reads the same");
}
is( $standby->safe_psql('old', q{
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT balance, available FROM keep.balance('bank', 'a');
		SELECT transfer, amount, balance FROM keep.statement('bank', 'a') OFFSET 2;
		SELECT bool_and(ok) FROM keep.verify_ledger('bank')}),
	"80|50\nlate|5|80\nt", 'standby: one state in a transaction');
is($standby->safe_psql('old', "SET pg_keep.test_clock_offset = 172800000; SELECT available FROM keep.balance('bank', 'a')"),
	'80', 'standby: a hold that is over there counts as nothing');
is(sqlstate($standby, 'old', "SELECT keep.balance('bank', 'nobody')"), 'KP404', 'standby: unknown account');

my @writes = (
	"keep.transfer('bank', 'fund', 'world', 'a', 100)",
	"keep.transfer('bank', 'new', 'world', 'a', 100)",
	"keep.transfer('bank', 'new', 'none', 'nobody', 100)",
	"keep.transfer('bank', 'new', 'world', 'pool', 100, '1 hour')",
	"keep.transfer_many('bank', '{fund,new}', '{world,world}', '{a,a}', '{100,100}')",
	"keep.transfer_batch('bank', '[{\"id\": \"new\", \"from_account\": \"world\", \"to_account\": \"a\", \"amount\": 1}]')",
	"keep.post_transfer('bank', 'held')",
	"keep.post_transfer('bank', 'part', 20)",
	"keep.post_transfer('bank', 'nobody')",
	"keep.void_transfer('bank', 'held')",
	"keep.void_transfer('bank', 'void')",
	"keep.reverse_transfer('bank', 'back', 'fund', 25)",
	"keep.reverse_transfer('bank', 'new', 'fund', 25)",
	"keep.open_account('bank', 'new', 'EUR')",
	"keep.open_account('bank', 'a', 'EUR')",
	"keep.set_account_limits('bank', 'a', 0, 100)",
	"keep.freeze_account('bank', 'a')",
	"keep.freeze_account('bank', 'nobody', false)",
	"keep.expire_holds('bank')",
	"keep.create_ledger('new')",
	"keep.register('bank', 'ledger', '{}')");

# On the standby, and on the primary in a read-only transaction, on either path
foreach my $write (@writes)
{
	is(sqlstate($standby, 'old', "SELECT * FROM $write"), '25006', "standby refuses $write");
	is(sqlstate($node, 'old', "BEGIN READ ONLY;\nSELECT * FROM $write"), '25006', "a read-only transaction refuses $write");
	is(sqlstate($node, 'old', "SET pg_keep.direct_access = off;\nBEGIN READ ONLY;\nSELECT * FROM $write"), '25006',
		"... and through SPI");
}
is(state_of($standby, 'old', $ledgers[0]), state_of($node, 'old', $ledgers[0]), 'standby: nothing has changed');

# Promotion
$node->stop('immediate');
$standby->promote;
is( $standby->safe_psql('old', q{
		SELECT status, replayed FROM keep.transfer('bank', 'late', 'world', 'a', 5);
		SELECT status, from_balance FROM keep.transfer('bank', 'promoted', 'a', 'c', 5);
		SELECT status, from_balance FROM keep.post_transfer('bank', 'held');
		SELECT keep.expire_holds('bank'), keep.expire_holds('bank');
		SELECT transfer, amount, balance FROM keep.statement('bank', 'a') OFFSET 2;
		SELECT bool_and(ok) FROM keep.verify_ledger('bank')}),
	"posted|t\nposted|75\nposted|45\n1|0\nlate|5|80\npromoted|-5|75\nheld|-30|45\nt", 'after promotion it goes on');

$standby->stop;
done_testing();
