# 2,000 clients through PgBouncer in transaction mode onto 20 servers: no state crosses over. Each client checks
# that what it reads back is its own: sessions, leases, requests, settings of a transaction, and what it waited for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t", $FindBin::RealBin;

use Amcheck;
use File::Temp;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetryLoad;
use ServerLog;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

my ($program) = grep { -x $_ } map { "$_/pgbouncer" } '/usr/local/bin', '/usr/bin', '/usr/sbin', split /:/, $ENV{PATH};
plan skip_all => 'no PgBouncer here' if !$program;

my $servers = 20;
my ($files) = `ulimit -n` =~ /(\d+)/;
my $clients = 2000;
$clients = int(($files - 200) / 2) if $files && $files < 2 * $clients + 200;		# the pooler has two ends
plan skip_all => "only $files open files" if $clients < 100;

my $dir = File::Temp::tempdir(CLEANUP => 1);
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'pg_keep'
	pg_keep.naptime = 500ms
	max_connections = 40
	log_line_prefix = '%m [%p] %b %e '
	log_statement = none
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_keep;
	CREATE ROLE app LOGIN;
	SELECT keep.create_store('sessions', ttl => '1 hour', expire_after => 'access'), keep.create_store('leases'), keep.create_store('answers'),
		keep.create_request_log('requests'), keep.create_ledger('money');
	SELECT keep.open_account('money', 'outside', 'EUR', min_balance => NULL, shards => 32);
	SELECT count(keep.open_account('money', 'c' || n, 'EUR')) FROM generate_series(0, 1999) n;
	CREATE TABLE effects (id text);
	CREATE TABLE under_lease (nr bigint GENERATED ALWAYS AS IDENTITY, lease text, token bigint, owner text);
	CREATE FUNCTION effect(args jsonb) RETURNS jsonb LANGUAGE sql AS 'INSERT INTO effects VALUES (args ->> ''id''); SELECT args';
	-- ends the client where something is not as it must be
	CREATE FUNCTION must(good bool, what text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF good IS NOT TRUE THEN
			RAISE EXCEPTION 'not mine: %', what USING ERRCODE = 'PB001';
		END IF;
	END $$;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
});

append_to_file("$dir/ini", join("\n", '[databases]', 'postgres = host=' . $node->host . ' port=' . $node->port . ' user=app',
	'[pgbouncer]', 'pool_mode = transaction', 'auth_type = any', "unix_socket_dir = $dir", 'unix_socket_mode = 0700', 'listen_port = 6432',
	'max_client_conn = ' . ($clients + 50), "default_pool_size = $servers", 'server_round_robin = 1', 'query_wait_timeout = 0',
	'log_connections = 0', 'log_disconnections = 0', ''));
my $bouncer_log = '';
my $bouncer = IPC::Run::start([ $program, "$dir/ini" ], '<', \undef, '>&', \$bouncer_log);
my @through = ('-h', $dir, '-p', 6432);
wait_for('PgBouncer', sub { return IPC::Run::run([ 'psql', '-XAtqc', 'SELECT 1', @through, 'postgres' ], '>', \my $out, '2>', \my $err); })
  or BAIL_OUT("PgBouncer does not start:\n$bouncer_log");

# Scripts of pgbench. Each has variables of its own: n counts its turns.
my %scripts = (
	session => q{
\set n :n + 1
SELECT must(applied, 'put') FROM keep.put('sessions', 'c' || :client_id::int, jsonb_build_object('client', :client_id::int, 'n', :n::int));
SELECT must(value = jsonb_build_object('client', :client_id::int, 'n', :n::int), 'session') FROM keep.get_and_touch('sessions', 'c' || :client_id::int);
SELECT version FROM keep.get_entry('sessions', 'c' || :client_id::int) \gset
SELECT must(status = 'updated', 'swap') FROM keep.compare_and_swap('sessions', 'c' || :client_id::int, :version::bigint, jsonb_build_object('client', :client_id::int, 'n', :n::int));
SELECT must(keep.get('sessions', 'c' || :client_id::int) = jsonb_build_object('client', :client_id::int, 'n', :n::int), 'session, again');
},
	lease => q{
\set which :client_id % 100
SELECT acquired::int AS acquired, coalesce(token, 0) AS token FROM keep.acquire('leases', 'lease ' || :which::int, 'c' || :client_id::int, '10 min', wait => '20 ms') \gset
\if :acquired
SELECT must(owner = 'c' || :client_id::int AND token = :token::bigint, 'lease') FROM keep.acquire('leases', 'lease ' || :which::int, 'c' || :client_id::int, '10 min');
BEGIN;
SELECT keep.assert_lease('leases', 'lease ' || :which::int, :token::bigint);
INSERT INTO under_lease (lease, token, owner) VALUES ('lease ' || :which::int, :token::bigint, 'c' || :client_id::int);
COMMIT;
SELECT must(status = 'released', 'release') FROM keep.release('leases', 'lease ' || :which::int, :token::bigint);
\endif
},
	request => q{
\set n :n + 1
SELECT must(response ->> 'id' = :client_id::int || '/' || :n::int AND NOT replayed, 'call') FROM keep.call_once('requests', :client_id::int || '/' || :n::int, 'effect(jsonb)', jsonb_build_object('id', :client_id::int || '/' || :n::int));
SELECT must(response ->> 'id' = :client_id::int || '/' || :n::int AND replayed, 'replay') FROM keep.call_once('requests', :client_id::int || '/' || :n::int, 'effect(jsonb)', jsonb_build_object('id', :client_id::int || '/' || :n::int));
SELECT token FROM keep.begin_request('requests', 'r' || :client_id::int || '/' || :n::int, to_jsonb(:client_id::int)) \gset
SELECT keep.complete_request('requests', 'r' || :client_id::int || '/' || :n::int, :token::bigint, to_jsonb(:client_id::int));
SELECT must(response = to_jsonb(:client_id::int), 'response') FROM keep.begin_request('requests', 'r' || :client_id::int || '/' || :n::int, to_jsonb(:client_id::int));
},
	settings => q{
\set n :n + 1
BEGIN;
SET LOCAL pg_keep.direct_access = off;
SELECT set_config('application_name', 'c' || :client_id::int, true);
SELECT must(status = 'posted' AND from_balance IS NULL, 'transfer') FROM keep.transfer('money', 't' || :client_id::int || '/' || :n::int, 'outside', 'c' || :client_id::int, 3);
SELECT must(current_setting('pg_keep.direct_access') = 'off', 'SET LOCAL');
COMMIT;
SELECT must(current_setting('pg_keep.direct_access') = 'on', 'a setting of another transaction');
SELECT must(status = 'posted' AND replayed, 'transfer, again') FROM keep.transfer('money', 't' || :client_id::int || '/' || :n::int, 'outside', 'c' || :client_id::int, 3);
SELECT must(balance % 3 = 0, 'balance') FROM keep.balance('money', 'c' || :client_id::int);
},
	wait => q{
\set n :n + 1
SELECT count(*) AS none FROM keep.wait_for('answers', 'c' || :client_id::int || '/' || :n::int, timeout => '10 ms') \gset
SELECT must(:none::int = 0, 'an answer of another');
SELECT version FROM keep.put('answers', 'c' || :client_id::int || '/' || :n::int, to_jsonb(:client_id::int)) \gset
SELECT must(value = to_jsonb(:client_id::int) AND version = :version::bigint, 'answer') FROM keep.wait_for('answers', 'c' || :client_id::int || '/' || :n::int, timeout => '10 s');
BEGIN;
SELECT keep.put('answers', 'c' || :client_id::int || '/' || :n::int, '"rolled back"');
ROLLBACK;
SELECT must(value = to_jsonb(:client_id::int) AND version = :version::bigint, 'answer, again') FROM keep.get_entry('answers', 'c' || :client_id::int || '/' || :n::int);
});
my @files;
foreach my $name (sort keys %scripts)
{
	append_to_file("$dir/$name.sql", $scripts{$name});
	push @files, '-f', "$dir/$name.sql";
}

my $turns = StressClient::scaled(4) || 1;
my $n = 0;
foreach my $mode ('simple', 'extended')
{
	my $out = '';
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-M', $mode, '-c', $clients, '-j', 2, '-t', $turns, '-D', "n=$n", @files, @through, 'postgres' ],
		'<', \undef, '>&', \$out, IPC::Run::timeout(1200));
	my $most = 0;
	while ($bench->pumpable)
	{
		my $now = $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'");
		$most = $now if $now > $most;
		$bench->pump_nb;
		usleep(200_000);
	}
	ok($bench->finish, "$mode: $clients clients find what is theirs") or diag(substr($out, 0, 3000));
	unlike($out, qr/ERROR|FATAL|aborted|not mine/, "$mode: no error");
	my ($processed) = $out =~ /actually processed: (\d+)/;
	is($processed, $clients * $turns, "$mode: all had their turns");
	cmp_ok($most, '<=', $servers, "$mode: on $most servers");
	cmp_ok($most, '>', $servers / 2, "$mode: which is many");
	$n += 1000;
}

sub sql { return $node->safe_psql('postgres', $_[0]); }
is(sql('SELECT count(*) - count(DISTINCT id) FROM effects'), '0', 'each effect has happened once');
cmp_ok(sql('SELECT count(*) FROM effects'), '>', $clients * $turns / 5, 'and there are many');
is(sql("SELECT count(*) FROM sessions WHERE key <> 'c' || (value ->> 'client')"), '0', 'each session is that of its client');
is(sql('SELECT count(*) FROM (SELECT token, lag(token) OVER (PARTITION BY lease ORDER BY nr) AS before FROM under_lease) w WHERE token <= before'), '0',
	'each lease was held by one after the other');
is(sql("SELECT rule, detail FROM keep.verify_ledger('money') WHERE NOT ok"), '', 'the ledger adds up');
note(sql('SELECT (SELECT count(*) FROM effects), (SELECT count(*) FROM under_lease), (SELECT count(*) FROM money_transfers), (SELECT count(*) FROM answers)'));
check_amcheck($node, 'postgres', 'pooler');
$bouncer->signal('TERM');
eval { $bouncer->finish; };
$node->stop;
check_server_log($node, name => 'pooler');
done_testing();
