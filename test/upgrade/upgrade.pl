# From one major version to another: by pg_dumpall, by pg_dump and pg_restore, by pg_upgrade with copies and with
# links. Before and after, all that reads answers the same; and then all goes on where it was: what was done is
# replayed, what is held is posted, sagas go forward and back, versions and tokens rise above the old ones,
# the reaper and the statistics work. Run by scripts/check-upgrade.
#
# OLD_PATH and NEW_PATH are the two PostgreSQLs, which have pg_keep. UPGRADE_WAYS names some of the ways only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t";

use Amcheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ServerLog;
use Test::More;

my ($old_path, $new_path) = @ENV{qw(OLD_PATH NEW_PATH)};
my $tmp = PostgreSQL::Test::Utils::tempdir;
my $here = $FindBin::RealBin;

# The reaper is quick where it runs. It must not run while pg_upgrade does, whatever the settings are.
my $settings = "shared_preload_libraries = 'pg_keep'\npg_keep.naptime = '100ms'\nfsync = off\nautovacuum = off\nlog_line_prefix = '%m [%p] %e '\n";

sub new_server
{
	my ($name, $path) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $path);
	$node->init;
	$node->append_conf('postgresql.conf', $settings);
	return $node;
}

# Runs a program of the new version
sub run_new
{
	my ($name, $program, @args) = @_;
	return command_ok([ "$new_path/bin/$program", @args ], $name);
}

sub answers
{
	my ($node) = @_;
	my ($out, $err) = run_command([ "$new_path/bin/psql", '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('keep'), '-f', "$here/questions.sql" ]);
	is($err, '', $node->name . ': all questions are answered');
	return $out;
}

sub rows { my ($node, $query) = @_; return $node->safe_psql('keep', $query) }

sub sqlstate
{
	my ($node, $query) = @_;
	my ($ret, $out, $err) = $node->psql('keep', "\\set VERBOSITY sqlstate\n$query");
	return $err =~ /ERROR:\s+(\w+)/ ? $1 : "none: $out";
}

# The old one, filled once; pg_upgrade works on copies of its files
my $old = new_server('old', $old_path);
$old->append_conf('postgresql.conf', "pg_keep.reaper = off\n");
$old->start;
rows_in($old, 'template1', 'CREATE EXTENSION pg_keep');
$old->safe_psql('postgres', 'CREATE DATABASE keep TEMPLATE template0');
$old->safe_psql('postgres', 'CREATE DATABASE second');
command_ok([ "$new_path/bin/psql", '-Xq', '-o', '/dev/null', '-d', $old->connstr('keep'), '-f', "$here/world.sql" ], 'the old database is filled');
my $before = answers($old);
cmp_ok(length $before, '>', 100_000, 'there is much to be asked');
is(answers($old), $before, 'asking changes nothing');

my @stores = split /\n/, rows($old, "SELECT relid::regclass FROM keep.relation WHERE kind = 'store'");
my %highest = map { $_ => rows($old, "SELECT coalesce(max(version), 0) FROM $_") } @stores;
my @requests = split /\n/, rows($old, "SELECT relid::regclass FROM keep.relation WHERE kind = 'request_log'");
my %highest_token = map { $_ => rows($old, "SELECT max(token) FROM $_") } @requests;
my %sagas = ('orders' => 'orders_steps', 'saga_after' => 'steps', '"Odd Schema"."A ""Saga"""' => '"Odd Schema"."A ""Saga""_steps"');
my @ledgers = ('bank', 'ledger_after', '"Odd Schema"."A ""Ledger"""');

sub rows_in { my ($node, $db, $query) = @_; return $node->safe_psql($db, $query) }

sub quoted { my $name = shift; $name =~ s/'/''/g; return $name }

sub check_stores
{
	my ($node) = @_;
	my $n = $node->name;
	foreach my $store (@stores)
	{
		my $s = quoted($store);
		my $highest = $highest{$store};
		is( rows($node, "SELECT status, version > $highest FROM keep.put('$s', 'k1', '2');
				SELECT status, version > $highest FROM keep.put('$s', 'new', '1');
				SELECT status FROM keep.compare_and_swap('$s', 'app1', $highest, '1');
				SELECT status FROM keep.delete('$s', 'new');
				SELECT status, version > $highest FROM keep.put_if_absent('$s', 'new', '1')"),
			"updated|t\ncreated|t\nstale\ndeleted\ncreated|t", "$n: versions of $store go on above the old ones");
	}
	is( rows($node, q{
			SELECT expires_at BETWEEN now() + '29 min' AND now() + '31 min' FROM keep.put('sessions', 'x', '1');
			SELECT bool_and(length(key) = 64) FROM sessions;
			SELECT status FROM keep.touch('sessions', 'x');
			SELECT expires_at BETWEEN now() + '11 hours' AND now() + '12 hours 1 min' FROM keep.put('sessions', 'x', '1', '3 days');
			SELECT expires_at BETWEEN now() + '1 hour' AND now() + '3 hours' FROM keep.put('off.fast', 'x', '1');
			SELECT expires_at > now() + '1 month 2 days' FROM keep.put('after', 'x', '1');
			SELECT relpersistence FROM pg_class WHERE oid IN ('turned'::regclass, pg_get_serial_sequence('turned', 'version')::regclass) ORDER BY relkind;
			SELECT note, customer FROM extra WHERE key = 'k2';
			SELECT value FROM keep.increment('plain', 'count')}), "t\nt\nfresh\nt\nt\nt\np\nu\nhello|2\n42", "$n: options hold");
	is(sqlstate($node, q{SELECT keep.put('sessions', 'x', to_jsonb(repeat('x', 300)))}), '54000', "$n: so does a limit");
	is( rows($node, q{
			SELECT acquired, owner FROM keep.acquire('plain', 'lease', 'you', '1 s');
			SELECT keep.assert_lease('plain', 'lease', (SELECT token FROM keep.acquire('plain', 'lease', 'me', '1 s')));
			SELECT status FROM keep.release('plain', 'lease', (SELECT version FROM keep.get_entry('plain', 'lease')))}),
		"f|me\n\nreleased", "$n: a lease is still held");
	# Rights
	is(sqlstate($node, q{SET ROLE guest; SELECT keep.put('plain', 'x', '1')}), '42501', "$n: who may read may not write");
	is(rows($node, q{SET ROLE guest; SELECT keep.get('plain', 'k2') -> 'n'}), 2, "$n: but read");
	is(sqlstate($node, q{SET ROLE guest; SELECT keep.wait_for('plain', 'k2')}), '42501', "$n: nor call what was revoked");
	is(sqlstate($node, q{SET ROLE guest; SELECT keep.stat_reset('plain')}), '42501', "$n: or never was granted");
	is(rows($node, q{SET ROLE app; SELECT keep.stat_reset('"Odd Schema"."A ""Store"""')}), '', "$n: what was granted, is");
	is( rows($node, q{SET ROLE app; SELECT keep.get('secure', 'app2'), keep.get('secure', 'k2')}), '"x"|', "$n: row security holds");
	return;
}

sub check_ledgers
{
	my ($node) = @_;
	my $n = $node->name;
	foreach my $ledger (@ledgers)
	{
		my $l = quoted($ledger);
		is( rows($node, qq{
				SELECT status, from_balance, to_balance, replayed FROM keep.transfer('$l', 'fund', 'world', 'a', 100);
				SELECT status, reason, replayed FROM keep.transfer('$l', 'poor', 'b', 'a', 100);
				SELECT status, replayed FROM keep.transfer('$l', 'held', 'a', 'b', 30, '10 days');
				SELECT status, amount, replayed FROM keep.post_transfer('$l', 'part', 20);
				SELECT status, replayed FROM keep.void_transfer('$l', 'void');
				SELECT status, amount, replayed FROM keep.reverse_transfer('$l', 'back', 'fund', 25);
				SELECT id, status, reason, replayed FROM keep.transfer_many('$l', '{k2,p2,fund}', '{b,pool,world}', '{c,c,b}', '{9999,300,100}')}),
			"posted|-100|100|t\nrejected|insufficient_funds|t\npending|t\nposted|20|t\nvoided|t\nposted|25|t\n"
			. "k2|rejected|insufficient_funds|t\np2|posted||t\nfund|mismatch||f", "$n: $ledger replays");
		is(sqlstate($node, "SELECT keep.transfer('$l', 'fund', 'world', 'b', 100)"), 'KP422', "$n: $ledger: no id twice");
		is( rows($node, qq{
				SELECT status, amount FROM keep.post_transfer('$l', 'held', 10);
				SELECT status, amount FROM keep.reverse_transfer('$l', 'rest2', 'fund', 65);
				SELECT status, reason FROM keep.transfer('$l', 'new1', 'pool', 'world', 250);
				SELECT status, reason FROM keep.transfer('$l', 'new2', 'pool', 'world', 1);
				SELECT status, reason FROM keep.transfer('$l', 'new3', 'world', 'frozen', 1);
				SELECT count(*) FILTER (WHERE status = 'posted' AND replayed) FROM keep.transfer_many('$l', ARRAY(SELECT 'm' || g FROM generate_series(1, 100) g),
					array_fill('world'::text, '{100}'), array_fill('pool'::text, '{100}'), array_fill(1::bigint, '{100}'));
				SELECT balance, available FROM keep.balance('$l', 'a')}),
			"posted|10\nposted|65\nposted|\nrejected|insufficient_funds\nrejected|account_frozen\n100\n0|0", "$n: $ledger goes on");
	}
	is(rows($node, q{SELECT bool_and(ok), count(*) > 0 FROM unnest('{bank,ledger_after,"\"Odd Schema\".\"A \"\"Ledger\"\"\""}'::regclass[]) l, keep.verify_ledger(l)}),
		't|t', "$n: the books balance");
	is(rows($node, q{SELECT count(*), count(DISTINCT transfer) FROM keep.statement('bank', 'pool', NULL, 1000)}), '103|103', "$n: and have their history");
	return;
}

sub check_requests
{
	my ($node) = @_;
	my $n = $node->name;
	foreach my $log (@requests)
	{
		my $l = quoted($log);
		my $highest = $highest_token{$log};
		is( rows($node, qq{
				SELECT state, response FROM keep.begin_request('$l', 'done', '{"a": 1}');
				SELECT state, response FROM keep.begin_request('$l', 'failed', '1');
				SELECT state, response FROM keep.begin_request('$l', 'open', '1');
				SELECT response, replayed FROM keep.call_once('$l', 'called', 'fn.twice(jsonb)', '21.0');
				SELECT response, replayed FROM keep.call_once('$l', 'word', 'fn.json_value(jsonb)', '21.0');
				SELECT keep.complete_request('$l', 'open', token, '"end"') FROM $log WHERE key = 'open';
				SELECT state, response FROM keep.begin_request('$l', 'open', '1');
				SELECT state, token > $highest, checkpoint FROM keep.begin_request('$l', 'free', '1');
				SELECT state, token > $highest, checkpoint FROM keep.begin_request('$l', 'over', '1');
				SELECT state, token > $highest, checkpoint FROM keep.begin_request('$l', 'new', '1');
				SELECT response, replayed FROM keep.call_once('$l', 'called 2', 'fn.twice(jsonb)', '4')}),
			qq(completed|{"paid": true}\nfailed|"no money"\nin_flight|\n42|t\n21|t\n\ncompleted|"end"\n)
			. qq(resumed|t|{"at": 1}\nresumed|t|{"at": 2}\nstarted|t|\n8|f), "$n: $log goes on");
		is(sqlstate($node, qq{SELECT keep.begin_request('$l', 'done', '{"a": 2}')}), 'KP422', "$n: $log: no other request");
	}
	return;
}

sub check_sagas
{
	my ($node) = @_;
	my $n = $node->name;
	foreach my $log (sort keys %sagas)
	{
		my $steps = $sagas{$log};
		my $l = quoted($log);
		my ($undo, $did) = $log =~ /Odd/ ? (q("Odd Schema"."App''s Undo"(jsonb)), 'app undid a') : ('fn.undo(jsonb)', 'undid a');
		is( rows($node, qq{
				SET ROLE } . ($log =~ /Odd/ ? 'app' : 'postgres') . qq{;
				SELECT status, replayed FROM keep.run_step('$l', 'run', 'a', 'fn.act(jsonb)', '["a"]', '$undo');
				SELECT status, replayed FROM keep.run_step('$l', 'undone', 'b', 'fn.act(jsonb)', '["b"]', '$undo');
				SELECT status FROM keep.enter_step('$l', 'run', 'q', 'undo q');
				SELECT keep.leave_step('$l', 'run', step, token, true) FROM $steps WHERE saga = 'run' AND step IN ('q', 'r') ORDER BY step;
				SELECT * FROM keep.run_step('$l', 'run', 'b', 'fn.act(jsonb)', '["b"]', '$undo');
				SELECT keep.complete_saga('$l', 'run');
				SELECT keep.finish_compensation('$l', 'back', 'p', token, true) FROM $steps WHERE saga = 'back' AND step = 'p';
				SELECT * FROM keep.compensate_saga('$l', 'back');
				SELECT compensation_result FROM $steps WHERE saga = 'back' AND step = 'a';
				SELECT compensation_result -> 'args' FROM $steps WHERE saga = 'back' AND step = 'word'}),
			qq(done|t\nrefused|f\nrun\ndone\ndone\ndone|"did b"|f\ncompleted\ncompensating\ncompensated|0\n"$did"\n["w"]), "$n: $log goes on");
		is(sqlstate($node, "SELECT keep.begin_saga('$l', 'x'); SELECT keep.run_step('$l', 'x', 'new', 'fn.twice(jsonb)', '1')"), '42501', "$n: $log: others are not allowed");
	}
	return;
}

# What comes by itself, once the reaper runs
sub check_background
{
	my ($node) = @_;
	my $n = $node->name;
	$node->safe_psql('postgres', 'ALTER SYSTEM SET pg_keep.reaper = on');
	$node->reload;
	$node->poll_query_until('keep', q{
		SELECT count(*) = 0 FROM (
			SELECT FROM plain WHERE expires_at <= now() UNION ALL SELECT FROM sessions WHERE expires_at <= now()
			UNION ALL SELECT FROM off.fast WHERE expires_at <= now() UNION ALL SELECT FROM "Odd Schema"."A ""Store""" WHERE expires_at <= now()
			UNION ALL SELECT FROM bank_transfers WHERE status = 'pending' AND expires_at <= now()
			UNION ALL SELECT FROM "Odd Schema"."A ""Ledger""_transfers" WHERE status = 'pending' AND expires_at <= now()
			UNION ALL SELECT FROM orders WHERE saga = 'late' AND state <> 'compensated'
			UNION ALL SELECT FROM saga_after WHERE saga = 'late' AND state <> 'compensated'
			UNION ALL SELECT FROM "Odd Schema"."A ""Saga""" WHERE saga = 'late' AND state <> 'compensated') AS t}) or die 'the reaper does not work';
	pass("$n: the reaper works");
	is(rows($node, 'SELECT sum(errors) FROM keep.stat_reaper WHERE kind <> \'saga_log\''), 0, "$n: without an error");
	is(rows($node, q{SELECT count(*) FROM fn.done WHERE what = 'undid a' OR what = 'app undid a'}), 9, "$n: everything is undone once");
	# guest reads, too: what it reads is counted
	cmp_ok(rows($node, q{SELECT updates FROM keep.stat_stores WHERE store_name = 'plain'}), '>=', 1, "$n: stores are counted");
	cmp_ok(rows($node, q{SELECT posted FROM keep.stat_ledgers WHERE ledger_name = 'bank'}), '>=', 2, "$n: ledgers are counted");
	return;
}

# DDL, indexes, and a crash
sub check_server
{
	my ($node) = @_;
	my $n = $node->name;
	is( rows($node, q{
			ALTER TABLE plain RENAME TO plain2;
			SELECT keep.get('plain2', 'k2') -> 'n';
			SELECT keep.set_store_option('plain2', 'ttl', '1 hour');
			SELECT expires_at > now() FROM keep.put('plain2', 'ttl', '1');
			DROP TABLE turned;
			SELECT count(*) FROM keep.relation WHERE table_name IN ('turned', 'plain');
			SELECT keep.create_store('turned');
			SELECT status FROM keep.put('turned', 'a', '1')}), "2\n\nt\n0\nturned\ncreated", "$n: the catalog follows the tables");
	check_amcheck($node, 'keep');
	my $highest = rows($node, "SELECT max(version) FROM off.fast");
	$node->stop('immediate');
	$node->start;
	is( rows($node, qq{SELECT count(*) FROM off.fast;
			SELECT status, version > $highest FROM keep.put('off.fast', 'k1', '1');
			SELECT bool_and(ok) FROM keep.verify_ledger('bank')}), "0\ncreated|t\nt", "$n: after a crash as well");
	is( rows($node, q{
			SET client_min_messages = error;
			CREATE TABLE kept AS SELECT * FROM keep.relation;
			DROP EXTENSION pg_keep;
			CREATE EXTENSION pg_keep;
			SELECT keep.register(format('%I.%I', schema_name, table_name)::regclass, kind, options - 'allowed' || CASE table_name
				WHEN 'ledger_after' THEN '{"transfers": "public.moves"}' WHEN 'saga_after' THEN '{"steps": "public.steps"}' ELSE '{}' END::jsonb)
				FROM kept WHERE kind NOT IN ('transfers', 'saga_steps');
			SELECT count(*) FROM keep.relation JOIN kept USING (schema_name, table_name, kind);
			SELECT count(*) FROM kept;
			SELECT keep.get('extra', 'k2') -> 'n'}) =~ /^\n*(\d+)\n(\d+)\n2$/ && $1 == $2 && $1 > 20, 1, "$n: the extension can be dropped and come back");
	return;
}

sub check_log
{
	my ($node) = @_;
	my @bad = grep { /WARNING/ && !/there is no transaction/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile);
	is("@bad", '', $node->name . ': no warning in the log');
	check_server_log($node);
	return;
}

sub check_all
{
	my ($node) = @_;
	my $after = answers($node);
	if ($after ne $before)
	{
		my ($x, $y) = ("$tmp/before", $tmp . '/' . $node->name);
		append_to_file($x, $before) unless -e $x;
		append_to_file($y, $after);
		diag(scalar `diff $x $y | head -n 40`);
	}
	ok($after eq $before, $node->name . ': all answers are the same');
	check_stores($node);
	check_ledgers($node);
	check_requests($node);
	check_sagas($node);
	check_background($node);
	check_server($node);
	check_log($node);
	$node->stop;
	return;
}

my %ways = map { $_ => 1 } split ' ', $ENV{UPGRADE_WAYS} || 'dumpall restore copy link';

# Everything, as a script
sub by_dumpall
{
	my $new = new_server('dumpall', $new_path);
	$new->append_conf('postgresql.conf', "pg_keep.reaper = off\n");
	$new->start;
	run_new('pg_dumpall of the old server', 'pg_dumpall', '-d', $old->connstr('postgres'), '-f', "$tmp/all.sql");
	# goes on after what is there already: the superuser
	run_new('is restored', 'psql', '-Xq', '-o', '/dev/null', '-d', $new->connstr('postgres'), '-f', "$tmp/all.sql");
	check_all($new);
	return;
}

# A database, in parallel
sub by_restore
{
	my $new = new_server('restore', $new_path);
	$new->append_conf('postgresql.conf', "pg_keep.reaper = off\n");
	$new->start;
	run_new('pg_dump of the old server', 'pg_dump', '-Fd', '-j2', '-d', $old->connstr('keep'), '-f', "$tmp/dump");
	$new->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE guest LOGIN; CREATE DATABASE keep TEMPLATE template0');
	run_new('is restored in parallel', 'pg_restore', '-e', '-j2', '-d', $new->connstr('keep'), "$tmp/dump");
	check_all($new);
	return;
}

# On a copy of the files, in which the reaper is on: it must wait until pg_upgrade is done
sub by_pg_upgrade
{
	my ($mode) = @_;
	my $copy = "$tmp/old_$mode";
	system_or_bail('cp', '-a', $old->data_dir, $copy);
	append_to_file("$copy/postgresql.conf", "pg_keep.reaper = on\n");		# the last one counts
	my $new = new_server($mode, $new_path);
	chdir $tmp or die $!;		# pg_upgrade leaves files where it is called
	run_new("pg_upgrade --$mode", 'pg_upgrade', '-d', $copy, '-D', $new->data_dir, '-b', "$old_path/bin", '-B', "$new_path/bin",
		'-s', $new->host, '-p', $old->port, '-P', $new->port, "--$mode", '-j2');
	$new->append_conf('postgresql.conf', "pg_keep.reaper = off\n");
	$new->start;
	is($new->safe_psql('second', 'SELECT count(*) FROM keep.relation'), 0, "$mode: a second database has the extension");
	check_all($new);
	return;
}

by_dumpall() if $ways{dumpall};
by_restore() if $ways{restore};
is(answers($old), $before, 'the old database is as it was');
$old->stop;
check_server_log($old);

foreach my $mode ('copy', 'link')
{
	by_pg_upgrade($mode) if $ways{$mode};
}

done_testing();
