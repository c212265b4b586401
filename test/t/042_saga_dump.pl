# Saga logs across pg_dump and pg_restore (whole, as a script, a part, one schema,
# data alone), new names, a restart, a crash and on a physical standby: sagas are
# in the state that they were in and go on from there, forward or back; tokens
# hold; the list of allowed functions comes over, and holds for the same functions
# of the same owners; the two tables of a log find each other whatever they are
# called.

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

# Saga logs by name, with their tables of steps
my @logs = (
	[ 'orders', 'orders_steps' ],
	[ 'after', 'moves' ],
	[ 'off.trips', 'off.trips_steps' ],
	[ 'off.split', 'public.split_moves' ],
	[ '"Odd Schema"."A ""Log"""', '"Odd Schema"."A ""Log""_steps"' ]);

my $functions = q{
	CREATE FUNCTION act(a jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb('did ' || (a ->> 0)) $$;
	CREATE FUNCTION undo(a jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb('undid ' || (a #>> '{args,0}')) $$;
	CREATE FUNCTION fails(a jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no way back'; END $$;
	CREATE FUNCTION other(a jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '1'::jsonb $$;
};
my $allow = q{FROM unnest('{act,undo,fails}'::text[]) AS n, to_regprocedure(n || '(jsonb)') AS f};

create_database('old');
sql('old', qq{
	$functions
	CREATE EXTENSION pg_keep;
	CREATE ROLE app;
	CREATE SCHEMA "Odd Schema" AUTHORIZATION app;
	CREATE SCHEMA off;
	SELECT keep.create_saga_log('orders', 2);
	SELECT keep.create_saga_log('before', 2);
	SELECT keep.create_saga_log('off.trips', 2);
	SELECT keep.create_saga_log('split', 2);
	SELECT keep.create_saga_log('dropped');
	SET ROLE app;
	SELECT keep.create_saga_log('"Odd Schema"."A ""Log"""', 2);
	CREATE FUNCTION "Odd Schema"."App's Undo"(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT ''"by app"''::jsonb';
	SELECT keep.allow_saga_function('"Odd Schema"."A ""Log"""', f) $allow;
	SELECT keep.allow_saga_function('"Odd Schema"."A ""Log"""', '"Odd Schema"."App''s Undo"(jsonb)');
	RESET ROLE;
	ALTER TABLE before RENAME TO after;
	ALTER TABLE before_steps RENAME TO moves;
	ALTER TABLE split SET SCHEMA off;
	ALTER TABLE split_steps RENAME TO split_moves;
	DROP TABLE dropped, dropped_steps;
	ALTER TABLE moves ADD COLUMN note text DEFAULT 'hello';
	SELECT keep.allow_saga_function('orders', f) $allow;
	SELECT keep.allow_saga_function('after', f) $allow;
	SELECT keep.allow_saga_function('off.trips', f) $allow;
	SELECT keep.allow_saga_function('off.split', f) $allow});
sql('old', q{
	CREATE FUNCTION fill(l regclass, steps regclass) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE t bigint;
	BEGIN
		PERFORM keep.begin_saga(l, s), keep.run_step(l, s, 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)') FROM unnest('{full,undone,back}'::text[]) AS s;
		PERFORM keep.complete_saga(l, 'full');
		PERFORM keep.compensate_saga(l, 'undone');
		PERFORM keep.run_step(l, 'undone', 'b', 'act(jsonb)', '["b"]', 'undo(jsonb)');
		SELECT token INTO t FROM keep.enter_step(l, 'back', 'p', 'undo p', '["p"]');
		PERFORM keep.leave_step(l, 'back', 'p', t, true, '"p done"');
		PERFORM keep.compensate_saga(l, 'back');
		PERFORM keep.claim_compensations(l, 'worker 1', lease => '10 days');
		PERFORM keep.begin_saga(l, s), keep.run_step(l, s, 'a', 'act(jsonb)', '["a"]', 'fails(jsonb)') FROM unnest('{resting,stuck}'::text[]) AS s;
		PERFORM keep.compensate_saga(l, s) FROM unnest('{resting,stuck}'::text[]) AS s;
		EXECUTE format('UPDATE %s SET retry_at = NULL WHERE saga = $1', steps) USING 'stuck';
		PERFORM keep.compensate_saga(l, 'stuck');
		PERFORM keep.begin_saga(l, 'run', '10 days'), keep.run_step(l, 'run', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		SELECT token INTO t FROM keep.enter_step(l, 'run', 'p', 'undo p', '["p"]');
		PERFORM keep.leave_step(l, 'run', 'p', t, true, '"p done"');
		PERFORM keep.enter_step(l, 'run', 'q', 'undo q', lease => '1 ms');
		PERFORM keep.enter_step(l, 'run', 'r', 'undo r', lease => '10 days');
		PERFORM keep.begin_saga(l, 'late'), keep.run_step(l, 'late', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		EXECUTE format('UPDATE %s SET deadline_at = created_at, due_at = created_at, waits_for = $1 WHERE saga = $2', l)
			USING 'deadline', 'late';
	END $$;
});
sql('old', "SELECT fill('$_->[0]', '$_->[1]')") foreach @logs;

# The sagas and steps of a log as text
sub state_of
{
	my ($server, $db, $log) = @_;
	return $server->safe_psql($db, "SELECT s.* FROM $log->[0] AS s ORDER BY saga; SELECT p.* FROM $log->[1] AS p ORDER BY saga, step");
}

sub highest
{
	my ($server, $db, $log) = @_;
	return $server->safe_psql($db, "SELECT max(token) FROM $log->[1]");
}

# A log goes on where it was; nothing of this stays
sub check_log
{
	my ($server, $db, $log, $highest) = @_;
	my ($l, $steps) = @$log;
	my $name = "$db: $l";
	is( $server->safe_psql($db, qq{
			SELECT string_agg(saga || ' ' || state, ', ' ORDER BY saga) FROM $l;
			SELECT s, r.* FROM unnest('{run,full,undone}'::text[]) AS s, keep.run_step('$l', s, 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)') AS r;
			SELECT * FROM keep.enter_step('$l', 'run', 'p', 'undo p', '["p"]');
			SELECT * FROM keep.enter_step('$l', 'run', 'r', 'undo r');
			SELECT * FROM keep.run_step('$l', 'undone', 'b', 'act(jsonb)', '["b"]', 'undo(jsonb)');
			SELECT keep.begin_saga('$l', 'run'), keep.begin_saga('$l', 'full'), keep.complete_saga('$l', 'stuck');
			SELECT * FROM keep.compensate_saga('$l', 'full')}),
		qq(back compensating, full completed, late running, resting compensating, run running, stuck stuck, undone compensated
run|done|"did a"|t
full|done|"did a"|t
undone|refused||f
done||"p done"
busy||
refused||f
running|completed|stuck
completed|0), "$name: as it was");
	is(sqlstate($server, $db, "SELECT keep.run_step('$l', 'run', 'a', 'act(jsonb)', '[\"x\"]', 'undo(jsonb)')"), 'KP422', "$name: no step twice");
	is(sqlstate($server, $db, "SELECT keep.run_step('$l', 'run', 'new', 'other(jsonb)', '[]')"), '42501', "$name: another function is not allowed");
	is(sqlstate($server, $db, "SELECT keep.leave_step('$l', 'run', 'p', 1000000, true)"), 'KP412', "$name: a token of nobody's");
	is(sqlstate($server, $db, "SELECT keep.run_step('$l', 'nobody', 'a', 'act(jsonb)')"), 'KP404', "$name: no such saga");
	is( $server->safe_psql($db, qq{
			BEGIN;
			SELECT status, token > $highest FROM keep.enter_step('$l', 'run', 'q', 'undo q');
			SELECT keep.leave_step('$l', 'run', step, token, true) FROM $steps WHERE saga = 'run' AND step IN ('q', 'r') ORDER BY step;
			SELECT * FROM keep.run_step('$l', 'run', 'b', 'act(jsonb)', '["b"]', 'undo(jsonb)');
			SELECT keep.complete_saga('$l', 'run');
			ROLLBACK}),
		qq(run|t
done
done
done|"did b"|f
completed), "$name: it goes on forward");
	is( $server->safe_psql($db, qq{
			BEGIN;
			SELECT keep.leave_step('$l', 'run', 'r', token, false) FROM $steps WHERE saga = 'run' AND step = 'r';
			SELECT * FROM keep.compensate_saga('$l', 'run');
			SELECT step, compensation, args, result, token > $highest FROM keep.claim_compensations('$l', 'worker 2') WHERE saga = 'run';
			SELECT keep.finish_compensation('$l', 'run', 'q', token, true) FROM $steps WHERE saga = 'run' AND step = 'q';
			SELECT step, compensation, args, result, token > $highest FROM keep.claim_compensations('$l', 'worker 2');
			SELECT keep.finish_compensation('$l', 'run', 'p', token, true) FROM $steps WHERE saga = 'run' AND step = 'p';
			SELECT * FROM keep.compensate_saga('$l', 'run');
			SELECT * FROM keep.compensate_saga('$l', 'back');
			SELECT keep.finish_compensation('$l', 'back', 'p', token, true, '"back"') FROM $steps WHERE saga = 'back' AND step = 'p';
			SELECT * FROM keep.compensate_saga('$l', 'back');
			SELECT keep.begin_saga('$l', 'late'), keep.complete_saga('$l', 'late');
			SELECT * FROM keep.compensate_saga('$l', 'late');
			SELECT * FROM keep.compensate_saga('$l', 'resting');
			SELECT keep.resume_saga('$l', 'stuck');
			SELECT * FROM keep.compensate_saga('$l', 'stuck');
			SELECT string_agg(saga || ' ' || state, ', ' ORDER BY saga) FROM $l;
			SELECT saga, step, status, compensation_result, attempts, last_error FROM $steps WHERE saga IN ('back', 'late', 'resting', 'stuck') ORDER BY saga, step;
			ROLLBACK}),
		qq(failed
compensating|2
q|undo q|{}||t
compensating
p|undo p|["p"]|"p done"|t
compensating
compensated|0
compensating|1
compensating
compensated|0
compensating|compensating
compensated|0
stuck|0
compensating
compensating|0
back compensated, full completed, late compensated, resting stuck, run compensated, stuck compensating, undone compensated
back|a|compensated|"undid a"|0|
back|p|compensated|"back"|0|
late|a|compensated|"undid a"|0|
resting|a|done||2|P0001: no way back
stuck|a|done||1|P0001: no way back), "$name: and back");
	return;
}

# The rest of those that have failed once
sql('old', 'SELECT pg_sleep(1.1)');
my %old = map { $_->[0] => state_of($node, 'old', $_) } @logs;
my %highest = map { $_->[0] => highest($node, 'old', $_) } @logs;
check_log($node, 'old', $_, $highest{ $_->[0] }) foreach @logs;

sub check_database
{
	my ($db, @there) = @_;
	foreach my $log (@there)
	{
		is(state_of($node, $db, $log), $old{ $log->[0] }, "$db: $log->[0] came over");
		check_log($node, $db, $log, $highest{ $log->[0] });
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
is(sql('new', q{SELECT tableowner FROM pg_tables WHERE schemaname = 'Odd Schema'}), "app\napp", 'owners came over');
is(sql('new', q{SELECT note FROM moves WHERE saga = 'full'}), 'hello', "a user's column came over");
my $app_step = q{SELECT status FROM keep.run_step('"Odd Schema"."A ""Log"""', 'run', 'app', 'act(jsonb)', '["app"]', '"Odd Schema"."App''s Undo"(jsonb)')};
is(sql('new', "BEGIN; $app_step; ROLLBACK"), 'done', 'a function of another owner is allowed there too');

# What is due is undone there
is( sql('new', q{
		CALL keep.run_due_compensations('orders');
		SELECT string_agg(saga || ' ' || state, ', ' ORDER BY saga) FROM orders WHERE saga IN ('late', 'resting', 'run')}),
	'late compensated, resting stuck, run running', 'what is due is undone');

# Both tables follow new names there, each on its own
is( sql('new', q{
		ALTER TABLE after RENAME TO before;
		SELECT replayed FROM keep.run_step('before', 'run', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		ALTER TABLE moves SET SCHEMA off;
		ALTER TABLE off.moves RENAME TO run;
		SELECT replayed FROM keep.run_step('before', 'run', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		ALTER SCHEMA off RENAME TO "Off 2";
		SELECT replayed FROM keep.run_step('before', 'run', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		SELECT replayed FROM keep.run_step('"Off 2".split', 'run', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		SELECT replayed FROM keep.run_step('"Off 2".trips', 'run', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		ALTER TABLE before RENAME TO after}),
	"t\nt\nt\nt\nt", 'renamed tables are found');

# That again into another one
run_program('pg_dump of the copy', 'pg_dump', '-Fc', '-f', "$dir/second.dump", 'new');
create_database('second');
run_program('pg_restore of the copy', 'pg_restore', '-e', '-d', 'second', "$dir/second.dump");
is(sql('second', $catalog), sql('new', $catalog), 'the catalog came over from the copy');
check_log($node, 'second', [ 'after', '"Off 2".run' ], $highest{after});
check_log($node, 'second', [ '"Off 2".split', 'split_moves' ], $highest{'off.split'});

# A plain script, in one transaction, without owners: a function that is somebody else's now is not allowed any more
run_program('pg_dump as a script', 'pg_dump', '-O', '-x', '-f', "$dir/all.sql", 'old');
create_database('script');
run_program('the script runs in one transaction', 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-1',
	'-o', '/dev/null', '-f', "$dir/all.sql", 'script');
is(sql('script', $catalog), sql('old', $catalog), 'the catalog came over by script');
check_database('script', @logs);
is(sqlstate($node, 'script', $app_step), '42501', 'a function that has another owner there is not allowed');
sql('script', q{SELECT keep.allow_saga_function('"Odd Schema"."A ""Log"""', '"Odd Schema"."App''s Undo"(jsonb)')});
is(sql('script', "BEGIN; $app_step; ROLLBACK"), 'done', 'until it is allowed again');

# Without the steps of one log: that one is refused, the others work
my ($list, $stderr) = run_command([ 'pg_restore', '-l', $dump ]);
my @lines = split(/\n/, $list);
my $most = write_list("$dir/most", grep { !/ (moves|before_steps_\w+) / } @lines);
my $rest = write_list("$dir/rest", grep { / (moves|before_steps_\w+) / } @lines);
create_database('part');
run_program('pg_restore without one table', 'pg_restore', '-e', '-L', $most, '-d', 'part', $dump);
check_database('part', grep { $_->[0] ne 'after' } @logs);
foreach my $call ("begin_saga('after', 'run')", "run_step('after', 'run', 'a', 'act(jsonb)', '[\"a\"]', 'undo(jsonb)')", "compensate_saga('after', 'run')",
	"claim_compensations('after', 'w')")
{
	is(sqlstate($node, 'part', "SELECT keep.$call"), '42809', "without steps: $call");
}
run_program('pg_restore of that table', 'pg_restore', '-e', '-L', $rest, '-d', 'part', $dump);
sql('part', q{SELECT keep.register('after', 'saga_log', '{"max_attempts": 2, "steps": "moves"}')});
check_database('part', $logs[1]);
is(sql('part', "SELECT count(*), count(*) FILTER (WHERE relid = format('%I.%I', schema_name, table_name)::regclass) FROM keep.relation"),
	scalar(2 * @logs) . '|' . scalar(2 * @logs), 'the catalog is complete, with one row for each table');

# One schema into a database that has the extension: its logs are registered by hand, their functions allowed again
run_program('pg_dump of a schema', 'pg_dump', '-Fc', '-n', 'off', '-f', "$dir/off.dump", 'old');
create_database('schema');
sql('schema', "CREATE EXTENSION pg_keep; $functions");
run_program('pg_restore of the schema', 'pg_restore', '-e', '-d', 'schema', "$dir/off.dump");
is(sqlstate($node, 'schema', "SELECT keep.begin_saga('off.trips', 'run')"), '42809', 'a restored table alone is no saga log');
is(sqlstate($node, 'schema', "SELECT keep.register('off.split', 'saga_log', '{}')"), '42P01', 'half a log cannot be registered');
is(sqlstate($node, 'schema', "SELECT keep.register('off.trips', 'saga_log', '{\"steps\": \"off.split\"}')"), '42809',
	'nor one with a table that holds something else');
sql('schema', q{SELECT keep.register('off.trips', 'saga_log', '{"max_attempts": 2}')});
is(sqlstate($node, 'schema', "SELECT keep.run_step('off.trips', 'run', 'b', 'act(jsonb)')"), '42501', 'no function is allowed yet');
is(sqlstate($node, 'schema', "SELECT keep.compensate_saga('off.trips', 'late')"), '42501', 'nor a compensation');
sql('schema', "SELECT keep.allow_saga_function('off.trips', f) $allow");
check_database('schema', $logs[2]);

# With its data only, over tables that were made there
run_program('pg_dump of data', 'pg_dump', '-Fc', '-a', '-t', 'orders', '-t', 'orders_steps', '-f', "$dir/data.dump", 'old');
create_database('data');
sql('data', "CREATE EXTENSION pg_keep; $functions SELECT keep.create_saga_log('orders', 2); SELECT keep.allow_saga_function('orders', f) $allow");
run_program('pg_restore of data', 'pg_restore', '-e', '-d', 'data', "$dir/data.dump");
check_database('data', $logs[0]);

# A restart, and one after a crash: nothing was said and not kept
foreach my $mode ('fast', 'immediate')
{
	my $token = sql('script', qq{
		DO \$\$ BEGIN
			PERFORM keep.begin_saga('orders', '$mode'), keep.run_step('orders', '$mode', 'a', 'act(jsonb)', '["a"]', 'undo(jsonb)');
		END \$\$;
		SELECT token FROM keep.enter_step('orders', '$mode', 'r', 'undo r', lease => '1 hour')});
	sql('script', "SELECT keep.compensate_saga('orders', '$mode')");
	$node->stop($mode);
	$node->start;
	is( sql('script', qq{
			SELECT * FROM keep.compensate_saga('orders', '$mode');
			SELECT keep.leave_step('orders', '$mode', 'r', $token, true);
			SELECT token > $token FROM keep.claim_compensations('orders', 'w') WHERE saga = '$mode';
			SELECT keep.finish_compensation('orders', '$mode', 'r', token, true) FROM orders_steps WHERE saga = '$mode' AND step = 'r';
			CALL keep.run_compensations('orders', '$mode');
			SELECT string_agg(step || ' ' || status, ', ' ORDER BY step) FROM orders_steps WHERE saga = '$mode'}),
		qq(compensating|1\ndone\nt\ncompensating\ncompensated|0\na compensated, r compensated), "$mode restart: it goes on");
}

# A standby: the tables can be read, writes are refused as by the server itself
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sql('old', qq{
	SELECT keep.create_saga_log('young', 2);
	SELECT keep.allow_saga_function('young', f) $allow;
	SELECT fill('young', 'young_steps')});
$node->wait_for_catchup($standby);
is(state_of($standby, 'old', $_), state_of($node, 'old', $_), "standby: $_->[0] reads the same") foreach (@logs, [ 'young', 'young_steps' ]);
is($standby->safe_psql('old', $catalog), sql('old', $catalog), 'standby: the catalog reads the same');

my @writes = (
	"keep.begin_saga('orders', 'run')",
	"keep.begin_saga('orders', 'new')",
	"keep.run_step('orders', 'run', 'a', 'act(jsonb)', '[\"a\"]', 'undo(jsonb)')",
	"keep.run_step('orders', 'run', 'new', 'act(jsonb)', '[\"a\"]', 'undo(jsonb)')",
	"keep.run_step('orders', 'undone', 'new', 'act(jsonb)')",
	"keep.run_step('orders', 'nobody', 'new', 'act(jsonb)')",
	"keep.enter_step('orders', 'run', 'r', 'undo r')",
	"keep.enter_step('orders', 'full', 'new')",
	"keep.leave_step('orders', 'run', 'r', 1, true)",
	"keep.complete_saga('orders', 'run')",
	"keep.complete_saga('orders', 'full')",
	"keep.compensate_saga('orders', 'run')",
	"keep.compensate_saga('orders', 'undone')",
	"keep.claim_compensations('orders', 'w')",
	"keep.finish_compensation('orders', 'back', 'p', 1, true)",
	"keep.resume_saga('orders', 'stuck')",
	"keep.resume_saga('orders', 'run')",
	"keep.create_saga_log('new')",
	"keep.allow_saga_function('orders', 'other(jsonb)')",
	"keep.register('orders', 'saga_log', '{}')");

# On the standby, and on the primary in a read-only transaction
foreach my $write (@writes)
{
	is(sqlstate($standby, 'old', "SELECT $write"), '25006', "standby refuses $write");
	is(sqlstate($node, 'old', "BEGIN READ ONLY;\nSELECT $write"), '25006', "a read-only transaction refuses $write");
}
foreach my $call ("CALL keep.run_compensations('orders', 'undone')", "CALL keep.run_due_compensations('orders')")
{
	is(sqlstate($standby, 'old', $call), '25006', "standby refuses $call");
	is(sqlstate($node, 'old', "SET default_transaction_read_only = on;\n$call"), '25006', "a read-only session refuses $call");
}
is(state_of($standby, 'old', $logs[0]), state_of($node, 'old', $logs[0]), 'standby: nothing has changed');

# Promotion: tokens go on above all that were given out, also those whose steps are gone
my $given = sql('old', q{SELECT max(e.token) FROM generate_series(1, 40) AS i, keep.enter_step('orders', 'run', 'gone ' || i) AS e});
sql('old', q{DELETE FROM orders_steps WHERE step LIKE 'gone %'});
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
check_log($standby, 'old', $logs[0], $given);
is( $standby->safe_psql('old', qq{
		CALL keep.run_compensations('orders', 'late');
		SELECT keep.leave_step('orders', 'run', 'r', token, true) FROM orders_steps WHERE saga = 'run' AND step = 'r';
		SELECT status, token > $given FROM keep.enter_step('orders', 'run', 'gone 1');
		CALL keep.run_due_compensations('orders');
		SELECT string_agg(saga || ' ' || state, ', ' ORDER BY saga) FROM orders}),
	qq(compensated|0\ndone\nrun|t
back compensating, full completed, late compensated, resting stuck, run running, stuck stuck, undone compensated), 'after promotion it goes on');

$standby->stop;
done_testing();
