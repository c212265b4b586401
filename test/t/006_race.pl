# Many connections at once, and no luck needed: one winner of put_if_absent, no
# increment lost, no deadlock between opposite put_many, and the versions of a
# key strictly rise over whatever is done to it.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Watched;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 60\ndeadlock_timeout = 20ms\nautovacuum_naptime = 1s");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

sub sql { return $node->safe_psql('postgres', shift); }

# Writes scripts for pgbench; returns its options for them.
sub scripts
{
	my @options;
	foreach my $script (@_)
	{
		my $name = "$dir/script" . scalar(@options) . '.sql';
		open my $file, '>', $name or die $!;
		print $file "$script\n";
		close $file;
		push @options, '-f', $name;
	}
	return @options;
}

# Runs pgbench with scripts of these texts: no client may fail.
sub pgbench
{
	my ($name, $options, @texts) = @_;
	my ($stdout, $stderr) = run_command([
		'pgbench', '-n', '-h', $node->host, '-p', $node->port, @$options, scripts(@texts), 'postgres' ]);
	unlike($stderr, qr/ERROR|error:|aborted|FATAL/, "$name: no error");
	return;
}

sql(q{
	CREATE EXTENSION pg_keep;
	CREATE TABLE said (client int, key text, status text, value jsonb, version bigint);
	SELECT keep.create_store('iso');
	SELECT keep.create_store('hot');
});

# put_if_absent: 20 connections wait at a gate, then all go for one key
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my $out = '';
my $racers = IPC::Run::start(
	[
		'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', '20', '-j', '2', '-t', '1',
		scripts(q{SELECT pg_advisory_lock_shared(1);
INSERT INTO said SELECT :client_id, 'gate', status, value, version FROM keep.put_if_absent('iso', 'gate', to_jsonb(:client_id));}),
		'postgres'
	],
	'>&', \$out);
ok( $node->poll_query_until('postgres',
		"SELECT count(*) = 20 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
	'20 connections stand at the gate');
$gate->query_safe('SELECT pg_advisory_unlock(1)');
$gate->quit;
ok($racers->finish, 'all run');
my $one_winner = q{
	SELECT count(*) FILTER (WHERE status = 'created'), count(*) FILTER (WHERE status = 'exists'),
		count(DISTINCT (value, version)) FROM said WHERE key = 'gate'};
is(sql($one_winner), '1|19|1', 'one created, all others were told which entry won');

# The same for many keys, one after the other, also over expired entries
foreach my $ttl ('NULL', "'1 ms'")
{
	sql("TRUNCATE said; DELETE FROM iso");
	sql("SELECT keep.put('iso', 'k' || n, '0', '1 ms') FROM generate_series(1, 60) AS n; SELECT pg_sleep(0.01)")
	  if $ttl ne 'NULL';
	pgbench("put_if_absent, " . ($ttl eq 'NULL' ? 'absent' : 'expired'),
		[ '-c', 20, '-j', 2, '-t', 60, '-M', 'prepared', '-D', 'n=0' ],
		q{\set n :n + 1
INSERT INTO said SELECT :client_id, 'k' || :n, status, value, version FROM keep.put_if_absent('iso', 'k' || :n, to_jsonb(:client_id::int));});
	is( sql(q{SELECT count(*), min(created), max(created), max(entries), min(answers), max(answers) FROM (
			SELECT count(*) FILTER (WHERE status = 'created') AS created, count(DISTINCT (value, version)) AS entries,
				count(*) AS answers FROM said GROUP BY key) AS k}),
		'60|1|1|1|20|20', 'one winner and 20 answers for each of 60 keys');
}

# Nothing lost: increments at all levels, merges of different members
pgbench('increment', [ '-c', 8, '-j', 2, '-t', 200 ], q{SELECT * FROM keep.increment('iso', 'sum', 3);});
is(sql("SELECT keep.get('iso', 'sum')"), 8 * 200 * 3, 'every increment counts');
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	pgbench("increment, $level", [ '-c', 4, '-j', 2, '-t', 50, '--max-tries=100000' ],
		"BEGIN ISOLATION LEVEL $level;\nSELECT * FROM keep.increment('iso', '$level');\nCOMMIT;");
	is(sql("SELECT keep.get('iso', '$level')"), 200, "every increment counts, $level");
}
sql(q{SELECT keep.put('iso', 'cart', '{}')});
pgbench('merge', [ '-c', 8, '-j', 2, '-t', 50, '-D', 'n=0' ],
	q{\set n :n + 1
SELECT * FROM keep.merge('iso', 'cart', jsonb_build_object('c' || :client_id || '-' || :n, 1));});
is(sql("SELECT count(*) FROM jsonb_object_keys(keep.get('iso', 'cart'))"), 8 * 50, 'every patch has landed');

# Exactly one holder of a version: each version opens the entry once
sql(q{SELECT keep.put('iso', 'cas', '0')});
pgbench('compare_and_swap', [ '-c', 8, '-j', 2, '-t', 200 ],
	q{SELECT version, value::int + 1 AS next FROM keep.get_entry('iso', 'cas') \gset
INSERT INTO said SELECT :client_id, 'cas', status, value, version FROM keep.compare_and_swap('iso', 'cas', :version, to_jsonb(:next));});
is(sql("SELECT keep.get('iso', 'cas')::int = count(*) FROM said WHERE key = 'cas' AND status = 'updated'"),
	't', 'as many swaps as were said to have been made');

# The same at the strictest level, where a retry is the caller's business
sql("TRUNCATE said; DELETE FROM iso");
pgbench('put_if_absent, SERIALIZABLE', [ '-c', 8, '-j', 2, '-t', 20, '--max-tries=100000' ],
	q{SELECT count(*) + 1 AS n FROM said WHERE client = :client_id \gset
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO said SELECT :client_id, 'k' || :n, status, value, version FROM keep.put_if_absent('iso', 'k' || :n, to_jsonb(:client_id::int));
COMMIT;});
is( sql(q{SELECT count(*), min(created), max(created), max(entries), min(answers), max(answers) FROM (
		SELECT count(*) FILTER (WHERE status = 'created') AS created, count(DISTINCT (value, version)) AS entries,
			count(*) AS answers FROM said GROUP BY key) AS k}),
	'20|1|1|1|8|8', 'one winner and 8 answers for each of 20 keys');

# A lease that runs out all the time
watch_leases($node, 'iso', "'3 ms'", '100 ms');
pgbench('leases', [ '-c', 8, '-j', 2, '-T', 3 ], q{CALL work('c' || :client_id);});
check_leases($node);

# Opposite orders, overlapping, with single writes between: no deadlock
my @crossing = (
	q{SELECT * FROM keep.put_many('hot', '{a,b,c,d,e,f}', array_fill('1'::jsonb, '{6}'));},
	q{SELECT * FROM keep.put_many('hot', '{f,e,d,c,b,a}', array_fill('2'::jsonb, '{6}'));},
	q{SELECT * FROM keep.put_many('hot', '{d,a,f,c}', array_fill('3'::jsonb, '{4}'), '1 ms');},
	q{SELECT * FROM keep.put_batch('hot', '{"c": 1, "e": 2, "b": 3}');},
	q{SELECT * FROM keep.delete('hot', 'c');},
	q{SELECT * FROM keep.put('hot', 'e', '4', '1 ms');},
	q{SELECT keep.expire('hot');});
pgbench('opposite put_many', [ '-c', 8, '-j', 2, '-T', 4 ], @crossing);
is(sql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'"), '0', 'no deadlock');

# Versions
sql('DELETE FROM hot');
watch_versions($node, 'hot');
pgbench('everything', [ '-c', 10, '-j', 2, '-T', 6 ],
	@crossing,
	q{SELECT * FROM keep.put('hot', 'a', '1');},
	q{SELECT * FROM keep.put_if_absent('hot', 'a', '1');},
	q{SELECT * FROM keep.increment('hot', 'n', 1, '{}', '1 ms');},
	q{SELECT * FROM keep.delete('hot', 'a');},
	q{SELECT * FROM keep.compare_and_swap('hot', 'a', 0, '1', '1 ms');},
	"BEGIN;\nSELECT * FROM keep.put('hot', 'a', '1');\nSELECT * FROM keep.put('hot', 'a', '2');\nSELECT * FROM keep.delete('hot', 'a');\nCOMMIT;",
	"BEGIN;\nSELECT * FROM keep.put('hot', 'a', '1');\nSELECT * FROM keep.put('hot', 'a', '2');\nROLLBACK;",
	q{SELECT * FROM keep.acquire('hot', 'lease', 'c' || :client_id, '1 ms');},
	q{SELECT * FROM keep.merge('hot', 'b', '{"m": 1}');});
check_versions($node);

$node->stop;
done_testing();
