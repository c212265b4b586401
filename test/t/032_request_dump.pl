# Request logs across pg_dump and pg_restore (whole, as a script, a part, one
# schema, data alone), new names, a restart, a crash and on a physical standby:
# what was answered is answered again, who holds a request holds it still, and
# tokens go on above the old ones.

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

# Request logs by name; "ever" retains for ever and keeps the requests.
my @logs = ('plain', 'ever', 'after', 'off.moved', '"Odd Schema"."A ""Log"""');

create_database('old');
sql('old', q{
	CREATE EXTENSION pg_keep;
	CREATE ROLE app;
	CREATE SCHEMA "Odd Schema" AUTHORIZATION app;
	CREATE SCHEMA off;
	SELECT keep.create_request_log('plain');
	SELECT keep.create_request_log('ever', retain => NULL, keep_request => true);
	SELECT keep.create_request_log('before', '7 days');
	SELECT keep.create_request_log('moved', '1 month 3 days');
	SELECT keep.create_request_log('dropped');
	SET ROLE app;
	SELECT keep.create_request_log('"Odd Schema"."A ""Log"""', '12 hours', true);
	RESET ROLE;
	ALTER TABLE before RENAME TO after;
	ALTER TABLE moved SET SCHEMA off;
	DROP TABLE dropped;
	ALTER TABLE after ADD COLUMN note text DEFAULT 'hello';
	CREATE FUNCTION twice(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(2 * a::int)';
	CREATE FUNCTION nothing(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
	CREATE FUNCTION fill(l regclass) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE t bigint;
	BEGIN
		SELECT token INTO t FROM keep.begin_request(l, 'done', '{"a": 1.0}');
		PERFORM keep.complete_request(l, 'done', t, '{"paid": true}');
		SELECT token INTO t FROM keep.begin_request(l, 'failed', '1');
		PERFORM keep.fail_request(l, 'failed', t, '"no money"');
		SELECT token INTO t FROM keep.begin_request(l, 'free', '1');
		PERFORM keep.checkpoint_request(l, 'free', t, '{"at": 1}');
		PERFORM keep.release_request(l, 'free', t);
		SELECT token INTO t FROM keep.begin_request(l, 'over', '1', '1 ms');
		PERFORM keep.checkpoint_request(l, 'over', t, '{"at": 2}');
		PERFORM keep.begin_request(l, 'open', '1', '10 days');
		PERFORM keep.call_once(l, 'called', 'twice(jsonb)', '21');
		PERFORM keep.call_once(l, 'nothing', 'nothing(jsonb)', '[]');
		SELECT token INTO t FROM keep.begin_request(l, 'old', '1');
		PERFORM keep.complete_request(l, 'old', t, '"old"');
		EXECUTE format('UPDATE %s SET finished_at = finished_at - interval ''1 year'','
			' reap_at = reap_at - interval ''1 year'' WHERE key = ''old''', l);
	END $$;
});
sql('old', "SELECT fill('$_'); SELECT pg_sleep(0.01)") foreach @logs;

# The records of a log as text
sub state_of
{
	my ($server, $db, $log) = @_;
	return $server->safe_psql($db, "SELECT l.* FROM $log AS l ORDER BY key");
}

sub highest
{
	my ($server, $db, $log) = @_;
	return $server->safe_psql($db, "SELECT max(token) FROM $log");
}

# A log goes on where it was; nothing of this stays
sub check_log
{
	my ($server, $db, $log, $highest) = @_;
	my $name = "$db: $log";
	my $ever = $log eq 'ever';
	is( $server->safe_psql($db, qq{
			SELECT state, token, checkpoint, response FROM keep.begin_request('$log', 'done', '{"a": 1}');
			SELECT state, token, checkpoint, response FROM keep.begin_request('$log', 'failed', '1');
			SELECT state, token, checkpoint, response FROM keep.begin_request('$log', 'open', '1');
			SELECT response, replayed FROM keep.call_once('$log', 'called', 'twice(jsonb)', '21.0');
			SELECT response IS NULL, replayed FROM keep.call_once('$log', 'nothing', 'nothing(jsonb)', '[]')}),
		qq(completed|||{"paid": true}
failed|||"no money"
in_flight|||
42|t
t|t), "$name: replays");
	foreach my $call ("keep.begin_request('$log', 'done', '{\"a\": 2}')", "keep.begin_request('$log', 'open', '2')",
		"keep.begin_request('$log', 'called', '21')", "keep.call_once('$log', 'called', 'twice(jsonb)', '22')",
		"keep.call_once('$log', 'called', 'nothing(jsonb)', '21')")
	{
		is(sqlstate($server, $db, "SELECT * FROM $call"), 'KP422', "$name: no other request: $call");
	}
	is( $server->safe_psql($db, qq{
			BEGIN;
			SELECT state, token > $highest, checkpoint, response FROM keep.begin_request('$log', 'free', '1');
			SELECT state, token > $highest, checkpoint, response FROM keep.begin_request('$log', 'over', '1');
			SELECT state, token > $highest, checkpoint, response FROM keep.begin_request('$log', 'new', '1');
			SELECT state, token > $highest, checkpoint, response FROM keep.begin_request('$log', 'old', '1');
			SELECT count(keep.complete_request('$log', key, token, '"end"')) FROM $log WHERE key IN ('open', 'free', 'over');
			SELECT state, response FROM keep.begin_request('$log', 'open', '1');
			SELECT response, replayed FROM keep.call_once('$log', 'called 2', 'twice(jsonb)', '4');
			ROLLBACK}),
		qq(resumed|t|{"at": 1}|
resumed|t|{"at": 2}|
started|t||
) . ($ever ? 'completed|||"old"' : 'started|t||') . qq(
3
completed|"end"
8|f), "$name: it goes on");
	is(sqlstate($server, $db, "SELECT keep.complete_request('$log', 'free', (SELECT token FROM $log WHERE key = 'free'), '1')"),
		'KP412', "$name: who has released it holds it no more");
	is(sqlstate($server, $db, "SELECT * FROM keep.begin_request('$log', 'over', '1', on_lapse => 'indeterminate')"),
		'KP423', "$name: nobody knows how far it got");
	is( $server->safe_psql($db, "BEGIN; SELECT keep.expire_requests('$log'), keep.expire_requests('$log'); ROLLBACK"),
		($ever ? '0' : '1') . '|0', "$name: what is out of retention goes");
	return;
}

my %old = map { $_ => state_of($node, 'old', $_) } @logs;
my %highest = map { $_ => highest($node, 'old', $_) } @logs;
check_log($node, 'old', $_, $highest{$_}) foreach @logs;

sub check_database
{
	my ($db, @there) = @_;
	foreach my $log (@there)
	{
		is(state_of($node, $db, $log), $old{$log}, "$db: $log came over");
		check_log($node, $db, $log, $highest{$log});
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
	check_database('new', @logs);
}
is(sql('new', q{SELECT tableowner FROM pg_tables WHERE schemaname = 'Odd Schema'}), 'app', 'the owner came over');
is(sql('new', q{SELECT note FROM after WHERE key = 'done'}), 'hello', "a user's column came over");

# Options hold there: the end of retention, and the requests that are kept
is( sql('new', q{
		SET pg_keep.test_clock_offset = '8d';
		SELECT state FROM keep.begin_request('after', 'done', '2');
		SELECT state FROM keep.begin_request('off.moved', 'done', '{"a": 1}');
		SELECT state FROM keep.begin_request('"Odd Schema"."A ""Log"""', 'done', '2');
		SELECT state FROM keep.begin_request('ever', 'done', '{"a": 1}');
		SELECT request FROM ever WHERE key = 'done';
		SELECT request FROM "Odd Schema"."A ""Log""" WHERE key = 'done';
		SELECT count(request) FROM after}),
	qq(started\ncompleted\nstarted\ncompleted\n{"a": 1.0}\n2\n0), 'the options hold');

# A log follows its new names
is( sql('new', q{
		ALTER TABLE after RENAME TO before;
		SELECT state FROM keep.begin_request('before', 'failed', '1');
		ALTER TABLE before SET SCHEMA off;
		SELECT state FROM keep.begin_request('off.before', 'failed', '1');
		ALTER SCHEMA off RENAME TO "Off 2";
		SELECT state FROM keep.begin_request('"Off 2".before', 'failed', '1');
		SELECT state FROM keep.begin_request('"Off 2".moved', 'failed', '1')}),
	"failed\nfailed\nfailed\nfailed", 'renamed logs are found');

# That again into another one
run_program('pg_dump of the copy', 'pg_dump', '-Fc', '-f', "$dir/second.dump", 'new');
create_database('second');
run_program('pg_restore of the copy', 'pg_restore', '-e', '-d', 'second', "$dir/second.dump");
is(sql('second', $catalog), sql('new', $catalog), 'the catalog came over from the copy');
check_log($node, 'second', 'plain', $highest{plain});
check_log($node, 'second', '"Off 2".moved', $highest{'off.moved'});

# A plain script, in one transaction, without owners
run_program('pg_dump as a script', 'pg_dump', '-O', '-x', '-f', "$dir/all.sql", 'old');
create_database('script');
run_program('the script runs in one transaction', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-1',
	'-o', '/dev/null', '-f', "$dir/all.sql", 'script');
is(sql('script', $catalog), sql('old', $catalog), 'the catalog came over by script');
check_database('script', @logs);

# All but one table: the others work, and it comes back later
my ($list, $stderr) = run_command([ 'pg_restore', '-l', $dump ]);
my @lines = split(/\n/, $list);
my $most = write_list("$dir/most", grep { !/ (after|before_\w+) / } @lines);
my $rest = write_list("$dir/rest", grep { / (after|before_\w+) / } @lines);
create_database('part');
run_program('pg_restore without one table', 'pg_restore', '-e', '-L', $most, '-d', 'part', $dump);
is(sql('part', "SELECT to_regclass('after') IS NULL"), 't', 'that table is not there');
check_database('part', grep { $_ ne 'after' } @logs);
is(sql('part', 'BEGIN; SELECT keep.expire_requests(); ROLLBACK'), scalar(@logs) - 2, 'expire_requests() passes over the missing one');
run_program('pg_restore of that table', 'pg_restore', '-e', '-L', $rest, '-d', 'part', $dump);
sql('part', q{SELECT keep.register('after', 'request_log', '{"retain": "7 days"}')});
check_database('part', 'after');
is(sql('part', $catalog), sql('old', $catalog), 'the catalog is complete, with one row for each');

# One schema into a database that has the extension: its log is registered by hand
run_program('pg_dump of a schema', 'pg_dump', '-Fc', '-n', 'off', '-f', "$dir/off.dump", 'old');
create_database('schema');
sql('schema', 'CREATE EXTENSION pg_keep');
run_program('pg_restore of the schema', 'pg_restore', '-e', '-d', 'schema', "$dir/off.dump");
is(sqlstate($node, 'schema', "SELECT keep.begin_request('off.moved', 'done', '1')"), '42809', 'a restored table alone is no request log');
sql('schema', q{SELECT keep.register('off.moved', 'request_log', '{"retain": "1 month 3 days"}')});
sql('schema', $_ . '(a jsonb) RETURNS jsonb LANGUAGE sql AS ' . "'SELECT to_jsonb(2 * a::int)'")
	foreach ('CREATE FUNCTION twice', 'CREATE FUNCTION nothing');
check_database('schema', 'off.moved');

# With its data only, over a table that was made there
run_program('pg_dump of data', 'pg_dump', '-Fc', '-a', '-t', 'plain', '-f', "$dir/data.dump", 'old');
create_database('data');
sql('data', q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_request_log('plain');
	CREATE FUNCTION twice(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(2 * a::int)';
	CREATE FUNCTION nothing(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'});
run_program('pg_restore of data', 'pg_restore', '-e', '-d', 'data', "$dir/data.dump");
check_database('data', 'plain');

# A restart, and one after a crash: nothing was said and not kept
foreach my $mode ('fast', 'immediate')
{
	my $token = sql('script', "SELECT token FROM keep.begin_request('plain', '$mode', '1', '1 hour')");
	sql('script', "SELECT keep.checkpoint_request('plain', '$mode', $token, '\"half\"');
		SELECT keep.call_once('plain', 'call $mode', 'twice(jsonb)', '1')");
	$node->stop($mode);
	$node->start;
	is( sql('script', qq{
			SELECT state FROM keep.begin_request('plain', '$mode', '1');
			SELECT keep.complete_request('plain', '$mode', $token, '"end"');
			SELECT state, response FROM keep.begin_request('plain', '$mode', '1');
			SELECT response, replayed FROM keep.call_once('plain', 'call $mode', 'twice(jsonb)', '1');
			SELECT state, token > $token FROM keep.begin_request('plain', 'after $mode', '1')}),
		qq(in_flight\n\ncompleted|"end"\n2|t\nstarted|t), "$mode restart: who held the request holds it still");
}

# A standby: the tables can be read, writes are refused as by the server itself
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sql('old', q{
	SELECT keep.create_request_log('young');
	SELECT fill('young');
	SELECT keep.call_once('plain', 'late', 'twice(jsonb)', '3')});
$node->wait_for_catchup($standby);
is(state_of($standby, 'old', $_), state_of($node, 'old', $_), "standby: $_ reads the same") foreach (@logs, 'young');
is($standby->safe_psql('old', $catalog), sql('old', $catalog), 'standby: the catalog reads the same');

my @writes = (
	"keep.begin_request('plain', 'done', '{\"a\": 1}')",
	"keep.begin_request('plain', 'open', '1')",
	"keep.begin_request('plain', 'open', '1', wait => '1 s')",
	"keep.begin_request('plain', 'new', '1')",
	"keep.begin_request('plain', 'done', '2')",
	"keep.checkpoint_request('plain', 'open', 1, '1')",
	"keep.complete_request('plain', 'done', 1, '{\"paid\": true}')",
	"keep.complete_request('plain', 'nobody', 1, '1')",
	"keep.fail_request('plain', 'open', 1, '1')",
	"keep.release_request('plain', 'open', 1)",
	"keep.call_once('plain', 'called', 'twice(jsonb)', '21')",
	"keep.call_once('plain', 'new', 'twice(jsonb)', '21')",
	"keep.expire_requests('plain')",
	"keep.expire_requests()",
	"keep.create_request_log('new')",
	"keep.register('plain', 'request_log', '{}')");

# On the standby, and on the primary in a read-only transaction
foreach my $write (@writes)
{
	is(sqlstate($standby, 'old', "SELECT * FROM $write"), '25006', "standby refuses $write");
	is(sqlstate($node, 'old', "BEGIN READ ONLY;\nSELECT * FROM $write"), '25006', "a read-only transaction refuses $write");
}
is(state_of($standby, 'old', 'plain'), state_of($node, 'old', 'plain'), 'standby: nothing has changed');

# Promotion: tokens go on above all that were given out, also those whose records are gone
my $given = sql('old', q{SELECT max(b.token) FROM generate_series(1, 40) AS i, keep.begin_request('plain', 'gone ' || i, '1') AS b});
sql('old', q{DELETE FROM plain WHERE key LIKE 'gone %'});
$node->wait_for_catchup($standby);
my $holder = sql('old', "SELECT token FROM plain WHERE key = 'open'");
$node->stop('immediate');
$standby->promote;
is( $standby->safe_psql('old', qq{
		SELECT state, token > $given FROM keep.begin_request('plain', 'gone 1', '1');
		SELECT state, token > $given FROM keep.begin_request('plain', 'free', '1');
		SELECT response, replayed FROM keep.call_once('plain', 'late', 'twice(jsonb)', '3');
		SELECT state FROM keep.begin_request('plain', 'open', '1');
		SELECT keep.complete_request('plain', 'open', $holder, '"end"');
		SELECT state, response FROM keep.begin_request('plain', 'open', '1');
		SELECT keep.expire_requests('plain');
		SELECT count(*), count(DISTINCT token) = count(*) FROM plain}),
	qq(started|t\nresumed|t\n6|t\nin_flight\n\ncompleted|"end"\n1\n9|t), 'after promotion it goes on');

$standby->stop;
done_testing();
