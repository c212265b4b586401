# A crash: what was committed in a logged store is there afterwards, an
# unlogged store is empty, and in both every version drawn afterwards is above
# every version that a call returned before.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;

# Nothing but a commit writes WAL out in time.
$node->append_conf('postgresql.conf', "wal_writer_delay = 10s\nautovacuum = off");
$node->start;

sub sql { return $node->safe_psql('postgres', shift); }

sub put_version
{
	my ($store, $key) = @_;
	return sql("SELECT version FROM keep.put('$store', '$key', '1')");
}

# Ends the server without a chance to write anything, and starts it again.
sub crash
{
	my ($how) = @_;
	if ($how eq 'kill')
	{
		$node->kill9;

		# The others notice within moments; until then a start is refused.
		foreach my $try (1 .. 100)
		{
			last if $node->start(fail_ok => 1);
			usleep(200_000);
			$node->stop('fast', fail_ok => 1);
		}
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	return;
}

sql(q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_store('logged', ttl => '1 hour');
	SELECT keep.create_store('fast', persistence => 'unlogged', ttl => '1 hour');
	SELECT keep.create_store('turned');
});
sql("SELECT keep.set_store_option('turned', 'persistence', 'unlogged')");

is( sql(q{
	SELECT string_agg(concat(c.relname, ' ', c.relpersistence, s.relpersistence), ', ' ORDER BY c.relname COLLATE "C")
	FROM pg_class c
	JOIN pg_class s ON s.oid = pg_get_serial_sequence(quote_ident(c.relname), 'version')::regclass
	WHERE c.relname IN ('logged', 'fast', 'turned')
}), 'fast up, logged pp, turned up', 'an unlogged store has a logged sequence');

foreach my $how ('immediate', 'kill')
{
	# Draws and rolls back, deletes and expires, so that no row shows the highest version.
	my %highest;
	foreach my $store ('logged', 'fast', 'turned')
	{
		put_version($store, "kept $how");
		sql("SELECT keep.put('$store', 'gone', '1') FROM generate_series(1, 40)");
		sql("SELECT keep.put('$store', 'over', '1', '1 ms') FROM generate_series(1, 40)");
		$highest{$store} = put_version($store, 'gone');
		sql("SELECT keep.delete('$store', 'gone')");
		sql("SELECT keep.expire('$store')");
	}

	# A write under way at the crash.
	my $open = $node->background_psql('postgres');
	$open->query_safe("BEGIN; SELECT keep.put('logged', 'open $how', '1')");

	crash($how);
	eval { $open->quit; };

	is(sql("SELECT count(*) FROM keep.get_many('logged', '{kept $how,open $how,gone,over}')"),
		1, "$how: the logged store has what was committed, and no more");
	is(sql("SELECT count(*) FROM fast") . sql("SELECT count(*) FROM turned"),
		'00', "$how: the unlogged stores are empty");
	foreach my $store ('logged', 'fast', 'turned')
	{
		my $next = put_version($store, 'gone');
		cmp_ok($next, '>', $highest{$store}, "$how: versions of $store go on above the old ones");
		is(sql("SELECT applied, status FROM keep.compare_and_swap('$store', 'gone', $highest{$store}, '2')"),
			'f|stale', "$how: a version from before the crash opens nothing in $store");
	}
	is(sql("SELECT expires_at > now() FROM keep.get_entry('fast', 'gone')"),
		't', "$how: the unlogged store has its options");
}

# One session draws and logs draws ahead for all; its transaction is still open.
# Another draws from those: its own commit writes no WAL that would make the
# first one's safe, but its version has been returned.
foreach my $store ('fast', 'turned')
{
	foreach my $call (
		"keep.put('$store', 'b', '1')",
		"keep.put_if_absent('$store', 'c', '1')",
		"keep.increment('$store', 'd')",
		"keep.put_many('$store', '{e}', ARRAY['1']::jsonb[])",
		"keep.compare_and_swap('$store', 'f', 0, '1')")
	{
		sql('CHECKPOINT');
		my $other = $node->background_psql('postgres');
		$other->query_safe("BEGIN; SELECT keep.put('$store', 'a', '1')");
		my $seen = sql("SELECT version FROM $call");
		crash('immediate');
		eval { $other->quit; };
		cmp_ok(put_version($store, 'b'),
			'>', $seen, "$call: its version is not drawn again after the crash");
	}
}

$node->stop;
done_testing();
