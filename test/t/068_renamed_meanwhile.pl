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

# Waits for them; returns the SQLSTATEs of their errors, each once.
sub errors_of
{
	my %states;
	foreach my $run (@_)
	{
		$run->{handle}->finish;
		$states{$1}++ while $run->{err} =~ /ERROR:  (\w{5})/g;
	}
	note(join ', ', map { "$_: $states{$_}" } sort keys %states);
	return join ' ', sort keys %states;
}

sql(q{
	CREATE EXTENSION pg_keep;
	CREATE SCHEMA blue;
	CREATE SCHEMA green;
	SELECT keep.create_ledger(s || '.books'), keep.create_store(s || '.items') FROM unnest('{blue,green}'::text[]) AS s;
	SELECT keep.open_account((s || '.books')::regclass, a, 'EUR') FROM unnest('{blue,green}'::text[]) AS s, unnest('{a,b}'::text[]) AS a;
});
my $books = sql("SELECT 'blue.books'::regclass::oid");
my $items = sql("SELECT 'blue.items'::regclass::oid");
my @ledgers = map { sql("SELECT '$_.books'::regclass::oid") } 'blue', 'green';

foreach my $direct ('on', 'off')
{
	my @swaps = ('BEGIN; ALTER SCHEMA blue RENAME TO red; ALTER SCHEMA green RENAME TO blue;'
		  . ' ALTER SCHEMA red RENAME TO green; COMMIT;') x 100;
	my @calls = map {
		my $worker = $_;
		[ map { ("SELECT status FROM keep.transfer($books\::regclass, '$direct $worker.$_', 'a', 'b', 1);",
			"SELECT status FROM keep.put($items\::regclass, '$direct $worker.$_', '1');") } 1 .. 600 ]
	} 1, 2;
	my @runs = (start_psql("swaps_$direct", '', @swaps),
		map { start_psql("calls_${direct}_$_", "-c pg_keep.direct_access=$direct", @{ $calls[$_ - 1] }) } 1, 2);

	like(errors_of(@runs), qr/^(40001|42P01|42809| )*$/, "direct access $direct: no error but those in the docs");
	my $posted = join("\n", map { $_->{out} } @runs);
	my $answers = () = $posted =~ /posted/g;
	my $created = () = $posted =~ /created/g;
	is(sql("SELECT count(*) FROM keep.verify_ledger($_) WHERE NOT ok"), 0, "direct access $direct: ledger $_ is sound")
	  foreach @ledgers;
	is(sql("SELECT -balance FROM keep.balance($books, 'a')") - ($direct eq 'off' ? $main::before : 0),
		$answers, "direct access $direct: each transfer that was posted is in its ledger");
	$main::before = sql("SELECT -balance FROM keep.balance($books, 'a')");
	is(sql("SELECT count(*) FROM keep.get_many($items, ARRAY(SELECT format('$direct %s.%s', w, n) FROM generate_series(1, 2) AS w, generate_series(1, 600) AS n))"),
		$created, "direct access $direct: each entry that was created is in its store");
}

# Many tables renamed at once: nobody's ALTER TABLE fails for another's
sql("SELECT keep.create_store('one' || n) FROM generate_series(1, 4) AS n");
my @runs = map {
	start_psql("rename$_", '', ("ALTER TABLE one$_ RENAME TO two$_;", "ALTER TABLE two$_ RENAME TO one$_;") x 120)
} 1 .. 4;
is(errors_of(@runs), '', 'renames do not fail');
is(sql("SELECT count(*) FROM keep.relation WHERE table_name LIKE 'one%' AND relid = table_name::text::regclass"),
	4, 'and the catalog has followed');

$node->stop;
done_testing();
