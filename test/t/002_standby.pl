# A hot standby: get, get_entry and get_many work there on logged stores, every
# writing function gives the server's own read-only error, and after promotion
# the writes go on with versions above the old ones.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->safe_psql('postgres', q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_store('sessions', ttl => '1 hour', expire_after => 'access');
	SELECT keep.create_store('hidden', hash_keys => true);
	SELECT keep.create_store('fast', persistence => 'unlogged');
	SELECT keep.put('fast', 'a', '1');
});
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# Written after the standby was made, read there
$primary->safe_psql('postgres', q{
	SELECT keep.put('sessions', 'alice', '{"cart": [1, 2]}');
	SELECT keep.put('sessions', 'bob', 'null');
	SELECT keep.put('sessions', 'over', '1', '1 ms');
	SELECT keep.put('hidden', 'secret', '"s"');
	SELECT keep.create_store('late');
	SELECT keep.put('late', 'k', '1');
	SELECT keep.acquire('sessions', 'job', 'me', '1 hour');
	SELECT pg_sleep(0.01);
});
$primary->wait_for_catchup($standby);

sub standby_is
{
	my ($query, $expected, $name) = @_;
	is($standby->safe_psql('postgres', $query), $expected, "standby: $name");
	return;
}

standby_is("SELECT keep.get('sessions', 'alice')", '{"cart": [1, 2]}', 'get');
standby_is("SELECT keep.get('sessions', 'bob') = 'null'", 't', 'get of a JSON null');
standby_is("SELECT keep.get('sessions', 'over') IS NULL, keep.get('sessions', 'nobody') IS NULL",
	't|t', 'get of what has expired and of what never was');
standby_is("SELECT key, value, expires_at > now() FROM keep.get_entry('sessions', 'alice')",
	'alice|{"cart": [1, 2]}|t', 'get_entry');
standby_is("SELECT key, value FROM keep.get_many('sessions', '{bob,over,alice}')",
	qq(bob|null\nalice|{"cart": [1, 2]}), 'get_many');
standby_is("SELECT key, value FROM keep.get_entry('hidden', 'secret')",
	'secret|"s"', 'get_entry where keys are hashed');
standby_is("SELECT keep.get('late', 'k')", '1', 'get in a store made after the standby');
standby_is("SET pg_keep.test_clock_offset = 7200000; SELECT keep.get('sessions', 'alice') IS NULL",
	't', 'expiry goes by the clock there');
standby_is("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT keep.get('late', 'k'); COMMIT",
	'1', 'get in REPEATABLE READ');

my @writes = (
	"keep.put('sessions', 'alice', '1')",
	"keep.put('sessions', 'nobody', '1')",
	"keep.put_many('sessions', '{alice}', ARRAY['1']::jsonb[])",
	"keep.put_many('sessions', '{}', '{}')",
	"keep.put_batch('sessions', '{\"alice\": 1}')",
	"keep.put_if_absent('sessions', 'alice', '1')",
	"keep.put_if_absent('sessions', 'nobody', '1')",
	"keep.compare_and_swap('sessions', 'alice', 1, '1')",
	"keep.compare_and_swap('sessions', 'alice', 999999, '1')",
	"keep.compare_and_swap('sessions', 'nobody', 1, '1')",
	"keep.merge('sessions', 'alice', '{}')",
	"keep.merge('sessions', 'nobody', '{}')",
	"keep.increment('sessions', 'n')",
	"keep.touch('sessions', 'alice')",
	"keep.touch('sessions', 'nobody')",
	"keep.get_and_touch('sessions', 'alice')",
	"keep.get_and_touch('sessions', 'nobody')",
	"keep.persist('sessions', 'alice')",
	"keep.persist('sessions', 'nobody')",
	"keep.delete('sessions', 'alice')",
	"keep.delete('sessions', 'nobody')",
	"keep.expire('sessions')",
	"keep.expire()",
	"keep.acquire('sessions', 'job', 'me', '1 hour')",
	"keep.acquire('sessions', 'job', 'other', '1 hour')",
	"keep.acquire('sessions', 'job', 'other', '1 hour', '1 s')",
	"keep.renew('sessions', 'job', 1, '1 hour')",
	"keep.renew('sessions', 'nobody', 1, '1 hour')",
	"keep.release('sessions', 'job', 1)",
	"keep.release('sessions', 'nobody', 1)",
	"keep.assert_lease('sessions', 'job', 1)",
	"keep.create_store('new')",
	"keep.set_store_option('sessions', 'ttl', '1 min')",
	"keep.register('sessions', 'store', '{}')");

# On the standby, and on the primary in a read-only transaction: the same.
foreach my $write (@writes)
{
	my ($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT * FROM $write");
	like($err, qr/ERROR:\s+25006/, "standby refuses $write");
	($ret, $out, $err) = $primary->psql('postgres',
		"\\set VERBOSITY sqlstate\nBEGIN READ ONLY;\nSELECT * FROM $write");
	like($err, qr/ERROR:\s+25006/, "a read-only transaction refuses $write");
}

# The message is the server's own, and names the function.
my ($ret, $out, $err) = $standby->psql('postgres', "SELECT * FROM keep.put('sessions', 'alice', '1')");
like($err, qr/cannot execute .*put.* (during recovery|in a read-only transaction)/, 'the message says why');

# An unlogged store has nothing there; PostgreSQL says so.
($ret, $out, $err) = $standby->psql('postgres', "SELECT keep.get('fast', 'a')");
like($err, qr/cannot access temporary or unlogged relations during recovery/, 'unlogged store on a standby');

# Promotion
my $before = $standby->safe_psql('postgres', "SELECT max(version) FROM sessions");
$primary->stop('immediate');
$standby->promote;
standby_is("SELECT applied, status, version > $before FROM keep.put('sessions', 'alice', '2')",
	't|updated|t', 'a write after promotion');
standby_is("SELECT status, version > $before FROM keep.put_if_absent('sessions', 'carol', '3')",
	'created|t', 'a new entry after promotion');
standby_is("SELECT keep.expire('sessions')", '1', 'expire after promotion');
standby_is("SELECT status FROM keep.put('fast', 'a', '1')", 'created', 'an unlogged store begins empty');
standby_is("SELECT keep.get('sessions', 'alice'), keep.get('sessions', 'carol')", '2|3', 'get after promotion');

$standby->stop;
done_testing();
