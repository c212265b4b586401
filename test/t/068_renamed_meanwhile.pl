# Names that change while calls run: schemas that are swapped under transfers
# and puts, where no lock on a table keeps its name still, and tables renamed by
# many at once.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

sub sql { return $node->safe_psql('postgres', shift); }

# Starts psql on a script, which goes on after errors.
sub start_psql
{
	my ($name, $options, @lines) = @_;
	my %run = (name => $name, out => '', err => '');
	append_to_file("$dir/$name.sql", join("\n", @lines) . "\n");
	local $ENV{PGOPTIONS} = $options;
	$run{handle} = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'VERBOSITY=sqlstate', '-f', "$dir/$name.sql", $node->connstr('postgres') ],
		'>', \$run{out}, '2>', \$run{err});
	return \%run;
}

# Waits for them; returns how many errors of each SQLSTATE there were.
sub errors_of
{
	my %states;
	foreach my $run (@_)
	{
		$run->{handle}->finish;
		# psql itself, where it cannot go on, says something else
		$states{ $1 // 'another' }++ while $run->{err} =~ /^(?:\S+ ERROR:  (\w{5})$|.+)/gm;
	}
	note(join ', ', map { "$_: $states{$_}" } sort keys %states);
	return \%states;
}

# An account may go below zero, so every transfer is one that can be posted.
sql(q{
	CREATE EXTENSION pg_keep;
	CREATE SCHEMA blue;
	CREATE SCHEMA green;
	SELECT keep.create_ledger(s || '.books'), keep.create_store(s || '.items') FROM unnest('{blue,green}'::text[]) AS s;
	SELECT keep.open_account((s || '.books')::regclass, a, 'EUR', min_balance => NULL)
		FROM unnest('{blue,green}'::text[]) AS s, unnest('{a,b}'::text[]) AS a;
	CREATE TABLE over (direct text);
	-- swaps the schemas until nobody calls any more: how often
	CREATE PROCEDURE swap(round text, INOUT swaps int) LANGUAGE plpgsql AS $$
	BEGIN
		LOOP
			ALTER SCHEMA blue RENAME TO red;
			ALTER SCHEMA green RENAME TO blue;
			ALTER SCHEMA red RENAME TO green;
			COMMIT;
			swaps := swaps + 1;
			EXIT WHEN EXISTS (SELECT FROM over WHERE direct = round);
		END LOOP;
	END $$;
});
my ($books, $others_books) = map { sql("SELECT '$_.books'::regclass::oid") } 'blue', 'green';
my ($items, $others_items) = map { sql("SELECT '$_.items'::regclass::oid") } 'blue', 'green';
my $round_calls = 1200;

# What has come of all calls so far: the balance, the transfers and the entries of one pair of tables, by their numbers
sub state_of
{
	my ($ledger, $store) = @_;
	return sql(sprintf(q{SELECT (SELECT -balance FROM keep.balance(%s, 'a')), (SELECT count(*) FROM %s), (SELECT count(*) FROM %s)},
		$ledger, split(/\|/, sql(q{SELECT format('%s_transfers', } . "$ledger\::regclass), $store\::regclass"))));
}

my ($posted, $created, $conflicts) = (0, 0, 0);
foreach my $direct ('on', 'off')
{
	my $swaps = start_psql("swaps_$direct", '', "CALL swap('$direct', 0);");
	my @calls = map {
		my $worker = $_;
		start_psql("calls_${direct}_$worker", "-c pg_keep.direct_access=$direct",
			map { ("SELECT status FROM keep.transfer($books\::regclass, '$direct $worker.$_', 'a', 'b', 1);",
				"SELECT status FROM keep.put($items\::regclass, '$direct $worker.$_', '1');") } 1 .. $round_calls / 2)
	} 1, 2;
	my $errors = errors_of(@calls);
	sql("INSERT INTO over VALUES ('$direct')");
	is_deeply(errors_of($swaps), {}, "direct access $direct: no swap fails");
	note("swaps: $swaps->{out}");

	my $answers = join '', map { $_->{out} } @calls;
	my ($now_posted, $now_created) = map { my $n = () = $answers =~ /^$_$/gm; $n } 'posted', 'created';
	$posted += $now_posted;
	$created += $now_created;
	$conflicts += $errors->{40001} // 0;
	my $failed = 0;
	$failed += delete $errors->{$_} // 0 foreach qw(40001 42P01 42809);
	is_deeply($errors, {}, "direct access $direct: no error but those in the docs");
	is($now_posted + $now_created + $failed, 2 * $round_calls, "direct access $direct: an answer to each call, and no other than posted and created");
	cmp_ok($_->[1], '>', 100, "direct access $direct: many are $_->[0]") foreach [ posted => $now_posted ], [ created => $now_created ];
	is(state_of($books, $items), "$posted|$posted|$created", "direct access $direct: all of them are in their ledger and in their store");
	is(state_of($others_books, $others_items), '0|0|0', "direct access $direct: and nothing in the others");
	is(sql("SELECT count(*) FROM keep.verify_ledger($_) WHERE NOT ok"), 0, "direct access $direct: ledger $_ is sound")
	  foreach $books, $others_books;
}
cmp_ok($conflicts, '>', 0, 'calls have met swaps');

# Many tables renamed at once: nobody's ALTER TABLE fails for another's
sql("SELECT keep.create_store('one' || n) FROM generate_series(1, 4) AS n");
my @runs = map {
	start_psql("rename$_", '', ("ALTER TABLE one$_ RENAME TO two$_;", "ALTER TABLE two$_ RENAME TO one$_;") x 120)
} 1 .. 4;
is_deeply(errors_of(@runs), {}, 'renames do not fail');
is(sql("SELECT count(*) FROM keep.relation WHERE table_name LIKE 'one%' AND relid = table_name::text::regclass"),
	4, 'and the catalog has followed');

$node->stop;
done_testing();
