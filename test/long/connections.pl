# What runs out: connections, background processes, locks, memory for a query, room for temporary files, the size
# of a value, and time. Callers are told which, the server stays up, and when there is enough again all goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t", $FindBin::RealBin;

use Amcheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetryLoad;
use ServerLog;
use StressClient;
use Test::More;

note("STRESS_SEED=$StressClient::seed repeats the draws of this run");

sub new_node
{
	my ($name, %settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my %all = (shared_preload_libraries => 'pg_keep', 'pg_keep.naptime' => '200ms', 'pg_keep.reaper_share' => 100,
		log_line_prefix => '%m [%p] %b %e ', log_statement => 'none', %settings);
	$node->init;
	$node->append_conf('postgresql.conf', join("\n", map { "$_ = '$all{$_}'" } sort keys %all));
	$node->start;
	return $node;
}

# The SQLSTATE of statements that fail, or none
sub state_of
{
	my ($node, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	return $err =~ /(?:ERROR|FATAL):\s+(\w{5})/ ? $1 : $status == 0 ? 'none' : 'lost';
}

sub is_sound
{
	my ($node, $name) = @_;
	is($node->safe_psql('postgres', "SELECT rule, detail FROM keep.verify_ledger('money') WHERE NOT ok"), '', "$name: the ledger adds up");
	return;
}

# Connections: more clients than there is room for, of which some is for superusers
my $node = new_node('connections', max_connections => 10, superuser_reserved_connections => 3, max_wal_senders => 0,
	max_locks_per_transaction => 10, max_worker_processes => 4, max_logical_replication_workers => 0, autovacuum_max_workers => 1);
setup_load($node);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
});
my $load = start_load($node, 18, $StressClient::seed, connstr => $node->connstr('postgres') . ' user=app');
ok(wait_for_refusals($load, 'lost', 100), 'connections run out');
ok(wait_for_progress($load, StressClient::scaled(1000)), 'those who have one go on');
finish_load($load, 'connections', '40001|40P01');
my %said;
$said{ (/FATAL: +(.*)/ ? $1 : $_) =~ s/".*?"|\d+/_/gr }++ foreach RetryLoad::noted($load, 'refused');
is(join('; ', grep { !/too many clients|connection slots are reserved/ } keys %said), '', 'nobody was told anything else');
check_load($load, $node, 'connections');
is($node->safe_psql('postgres', 'SELECT sum(errors) FROM keep.stat_reaper'), '0', 'the reaper needs none of them');

# Locks: a transaction that touches more tables than there is room for
my $many = 700;
$node->safe_psql('postgres', qq{
	CREATE PROCEDURE make(how_many int) LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR n IN 1 .. how_many LOOP
			PERFORM keep.create_store('store_' || n);
			PERFORM keep.put(('store_' || n)::regclass, 'over', '1', '1 ms');
			COMMIT;
		END LOOP;
	END \$\$;
	CALL make($many)});
my $touch_all = q{SELECT count(keep.put(('store_' || n)::regclass, 'all', '1')) FROM generate_series(1, %d) n};
is(state_of($node, sprintf($touch_all, 5)), 'none', 'a few stores in one transaction');
is(state_of($node, sprintf($touch_all, $many)), '53200', "$many stores in one transaction");
is($node->safe_psql('postgres', q{SELECT count(*) FROM store_1 WHERE key = 'all'}), '1', 'which writes nothing');
ok(wait_for('the reaper', sub { try_sql($node, qq{SELECT sum((xpath('/row/c/text()', query_to_xml(
	format('SELECT count(*) AS c FROM %I.%I WHERE expires_at < now()', schema_name, table_name), false, true, '')))[1]::text::int)
	FROM (SELECT * FROM keep.relation WHERE table_name LIKE 'store\_%' ORDER BY random() LIMIT 20) r}) eq '0' }), 'the reaper takes one after the other');
is(state_of($node, q{SELECT count(*) FROM keep.put_many('things', ARRAY(SELECT 'large ' || n FROM generate_series(1, 20000) n),
	array_fill('1'::jsonb, '{20000}'))}), 'none', 'a put_many of 20,000 takes as many locks as one of two');
is(state_of($node, q{SELECT count(*) FROM keep.transfer_many('money', ARRAY(SELECT 'large ' || n FROM generate_series(1, 20000) n),
	array_fill('outside'::text, '{20000}'), ARRAY(SELECT 'account ' || n % 10 FROM generate_series(1, 20000) n), array_fill(1::bigint, '{20000}'))}),
	'none', 'and so does a transfer_many');
like(state_of($node, 'SELECT keep.expire(batch => 10)'), qr/^(none|53200)$/, 'keep.expire() of all stores');
is_sound($node, 'locks');
check_amcheck($node, 'postgres', 'connections and locks');
$node->stop;
check_server_log($node, name => 'connections and locks');

# Background processes: none at all, and none but the launcher's
foreach my $workers (0, 1)
{
	my $small = new_node("workers$workers", max_worker_processes => $workers, max_parallel_workers => 0, max_logical_replication_workers => 0);
	$small->safe_psql('postgres', "CREATE EXTENSION pg_keep; SELECT keep.create_store('s'); SELECT keep.put('s', 'over', '1', '1 ms')");
	if ($workers == 0)
	{
		is($small->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'reaper'"), '0', 'no background process: no reaper');
		like(slurp_file($small->logfile), qr/too many background workers/, 'as the log says');
		is(state_of($small, 'SELECT keep.start_reaper()'), '53000', 'nor can it be started');
	}
	else
	{
		ok(wait_for('a line in the log', sub { slurp_file($small->logfile) =~ /pg_keep could not start a worker of its reaper: too many background/ }),
			'one background process: the launcher says what it misses');
	}
	is($small->safe_psql('postgres', "SELECT count(*), count(keep.get('s', 'over')) FROM s"), '1|0', 'what is over is absent all the same');
	is($small->safe_psql('postgres', "SELECT keep.expire()"), '1', 'and can be removed by hand');
	$small->append_conf('postgresql.conf', 'max_worker_processes = 4');
	$small->safe_psql('postgres', "SELECT keep.put('s', 'over', '1', '1 ms')");
	$small->restart;
	ok($small->poll_query_until('postgres', 'SELECT count(*) FROM s', '0'), 'with more of them the reaper works');
	$small->stop;
	check_server_log($small, name => "$workers background processes");
}

# Memory and files for a query, and sizes
$node = new_node('sizes', work_mem => '64kB', maintenance_work_mem => '1MB', temp_file_limit => '256kB', max_connections => 40, fsync => 'off', max_wal_size => '4GB');
setup_load($node);
my $fits = qr/^(none|53400)$/;
like(state_of($node, q{SELECT count(*) FROM keep.put_many('things', ARRAY(SELECT 'k' || n FROM generate_series(1, 50000) n),
	array_fill('{"a": 1}'::jsonb, '{50000}'))}), $fits, 'a put_many of 50,000, with little memory and no room for files');
like(state_of($node, q{SELECT count(*) FROM keep.get_many('things', ARRAY(SELECT 'k' || n FROM generate_series(1, 50000) n))}), $fits, 'a get_many');
like(state_of($node, q{SELECT count(*) FROM keep.transfer_many('money', ARRAY(SELECT 'k' || n FROM generate_series(1, 50000) n),
	array_fill('outside'::text, '{50000}'), ARRAY(SELECT 'account ' || n % 10 FROM generate_series(1, 50000) n), array_fill(1::bigint, '{50000}'))}), $fits, 'a transfer_many');
like(state_of($node, q{SELECT count(*) FROM keep.verify_ledger('money')}), $fits, 'verify_ledger');
is($node->safe_psql('postgres', "SET temp_file_limit = -1; SELECT bool_and(ok) FROM keep.verify_ledger('money')"), 't', 'the ledger adds up');
$node->append_conf('postgresql.conf', 'temp_file_limit = -1');
$node->reload;
is(state_of($node, q{SELECT count(*) FROM keep.transfer_many('money', ARRAY(SELECT 'x' || n FROM generate_series(1, 100001) n),
	array_fill('outside'::text, '{100001}'), array_fill('account 1'::text, '{100001}'), array_fill(1::bigint, '{100001}'))}), '22023', 'a batch of more than 100,000');

is(state_of($node, "SELECT keep.put('things', 'big', to_jsonb(repeat('x', 2000000)))"), '54000', 'a value over max_value_bytes');
$node->safe_psql('postgres', "SELECT keep.set_store_option('things', 'max_value_bytes', '1073741823')");
my $big = 200_000_000;
is(state_of($node, "SELECT status FROM keep.put('things', 'big', to_jsonb(repeat('x', $big)))"), 'none', 'a value of 200 MB');
is($node->safe_psql('postgres', "SELECT length(keep.get('things', 'big')::text)"), $big + 2, 'comes back whole');
is(state_of($node, "SELECT status FROM keep.merge('things', 'big', jsonb_build_object('a', repeat('x', $big)))"), 'none', 'merged');
is(state_of($node, "SELECT status FROM keep.merge('things', 'big', jsonb_build_object('b', repeat('y', $big)))"), '54000', 'merged to more than jsonb can hold');
is($node->safe_psql('postgres', "SELECT length(keep.get('things', 'big') ->> 'a')"), $big, 'which changes nothing');
is(state_of($node, "SELECT status FROM keep.increment('things', 'big', 1, '{b}')"), 'none', 'a counter beside 200 MB');
my $control = "to_jsonb(repeat(chr(1), $big))";			# as text it has six times the length
foreach my $call (
	[ 'a request', "SELECT state FROM keep.begin_request('once', 'big', $control)" ],
	[ 'arguments of a call', "SELECT replayed FROM keep.call_once('once', 'big too', 'echo(jsonb)', $control)" ],
	[ 'arguments of a step', "SELECT keep.begin_saga('trips', 'big'); SELECT status FROM keep.run_step('trips', 'big', 'a', 'effect(jsonb)', jsonb_build_object('id', 'big', 'what', 'big', 'x', $control))" ],
	[ 'the value of a put', "SELECT status FROM keep.put('things', 'control', $control)" ],
	[ 'metadata', "SELECT status FROM keep.transfer('money', 'big', 'outside', 'account 1', 1, metadata => $control)" ])
{
	my ($what, $sql) = @$call;
	my $state = state_of($node, $sql);
	like($state, qr/^(none|54000|53200)$/, "$what of 200 MB, which as text would be more than 1 GB: $state");
}
is(state_of($node, "SELECT keep.complete_saga('trips', 'big')"), 'none', 'the saga can be completed');
is(state_of($node, "SELECT count(*) FROM keep.get_many('things', ARRAY['big', 'control', 'big' || 1])"), 'none', 'several of these values at once');
is_sound($node, 'sizes');

# Time: every call is cancelled at some moment or other
my %limits = (
	statement_timeout => '57014',
	lock_timeout => '55P03',
	$node->pg_version >= 17 ? (transaction_timeout => '25P04') : ());
$node->safe_psql('postgres', 'TRUNCATE things');
foreach my $limit (sort keys %limits)
{
	my $timed = start_load($node, 6, $StressClient::seed, name => $limit,
		prelude => "SELECT set_config('$limit', (1 + random() ^ 3 * 60)::int || 'ms', false) \\g /dev/null");
	ok(wait_for_progress($timed, StressClient::scaled(300)), "$limit: operations are done");
	ok(wait_for_refusals($timed, $limits{$limit}, StressClient::scaled(30) || 1), "$limit: and others end by $limits{$limit}");
	finish_load($timed, $limit, "$limits{$limit}|40001|40P01");
	check_load($timed, $node, $limit);
}

# Who is idle in a transaction is sent away, with all that the transaction held.
foreach my $call ("keep.put('things', 'idle', '1')", "keep.acquire('leases', 'idle', 'me', '1 hour')", "keep.transfer('money', 'idle', 'outside', 'account 1', 1)",
	"keep.begin_request('once', 'idle', '1')", "keep.begin_saga('trips', 'idle')")
{
	my ($status, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET idle_in_transaction_session_timeout = '50ms'; BEGIN; SELECT $call; \\! sleep 1\nCOMMIT;");
	like($err, qr/25P03/, "idle after $call: sent away");
}
is($node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM things WHERE key = 'idle') + (SELECT count(*) FROM leases WHERE key = 'idle') +
	(SELECT count(*) FROM money_transfers WHERE id = 'idle') + (SELECT count(*) FROM once WHERE key = 'idle') + (SELECT count(*) FROM trips WHERE saga = 'idle')}),
	'0', 'and nothing is left of it');
check_amcheck($node, 'postgres', 'sizes and time');
$node->stop;
check_server_log($node, name => 'sizes and time');
done_testing();
