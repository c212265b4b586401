# Runs every SQL example of the documentation.
#
# In README.md and docs/*.md each ```sql block is run by psql, block after block
# in one database a file. A ```text block right behind it is what its queries
# must print: compared line by line, but for alignment and row counts. Functions
# that return nothing or the name of a new store may be left out of it.
# "-- ERROR <SQLSTATE>" in a block says that it must fail so, "-- a moment later"
# that it is to be run again until it prints this.
use strict;
use warnings;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $root = "$FindBin::RealBin/../..";

# functions whose results the documentation may leave out
my $silent = join('|',
	qw(create_store create_ledger create_request_log create_saga_log set_store_option allow_saga_function
	  checkpoint_request complete_request fail_request release_request register pg_sleep));

# The blocks of a file: { line, sql, text }, ...
sub blocks
{
	my ($file) = @_;
	my (@blocks, $kind, $body, $start);
	my ($number, $adjacent) = (0, 0);

	foreach my $line (split /\n/, slurp_file($file))
	{
		$number++;
		if (!defined $kind)
		{
			($kind, $body, $start) = ($1, '', $number) if $line =~ /^```(\w*)$/;
			$adjacent = 0 unless defined $kind;
		}
		elsif ($line ne '```')
		{
			$body .= "$line\n";
		}
		else
		{
			push @blocks, { line => $start, sql => $body } if $kind eq 'sql';
			$blocks[-1]{text} = $body if $kind eq 'text' && $adjacent;
			$adjacent = $kind eq 'sql';
			$kind = undef;
		}
	}
	return @blocks;
}

# What psql printed, or should print, without what may differ.
sub plain
{
	my ($text) = @_;
	my @lines;

	# a result of set-up, or of nothing: its header, its rule, its row
	$text =~ s/^ *(?:$silent) *\n-+\n[^\n]*\n(?:\(1 row\)\n)?//mg;
	foreach my $line (split /\n/, $text)
	{
		next if $line =~ /^\(\d+ rows?\)$/ || $line =~ /^\s*$/ || $line =~ /^[-+]+$/;
		$line =~ s/\s*\|\s*/|/g;
		$line =~ s/^\s+|\s+$//g;
		push @lines, $line;
	}
	return join("\n", @lines);
}

# What psql makes of a block: did it succeed, what did it print and complain of.
sub run_block
{
	my ($node, $name, $block) = @_;
	my ($stdout, $stderr) = ('', '');
	my $status = $node->run_log(
		[
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=sqlstate',
			'-d', $node->connstr($name)
		],
		'<', \$block->{sql}, '>', \$stdout, '2>', \$stderr);
	return ($status, plain($stdout), $stderr);
}

sub check_block
{
	my ($node, $name, $block, $where) = @_;
	my ($wanted) = $block->{sql} =~ /^-- ERROR (\w{5})$/m;
	my $text = defined $block->{text} ? plain($block->{text}) : undef;
	my ($status, $printed, $stderr) = run_block($node, $name, $block);

	if (defined $wanted)
	{
		ok(!$status, "$where fails");
		like($stderr, qr/ERROR:  $wanted/, "$where fails with $wanted");
		return;
	}
	if ($block->{sql} =~ /^-- a moment later$/m)
	{
		for (my $tries = 0; $printed ne $text && $tries < 600; $tries++)
		{
			usleep(100_000);
			($status, $printed, $stderr) = run_block($node, $name, $block);
		}
	}
	ok($status, "$where runs") or diag($stderr);
	is($printed, $text, "$where prints what it says") if defined $text;
}

# Files of other settings than those below. All other examples need no preloading;
# in the README are rows that the reaper would remove.
my %settings = (
	'README.md' => "shared_preload_libraries = 'pg_keep'\npg_keep.reaper = off\n",
	'docs/background.md' => "shared_preload_libraries = 'pg_keep'\npg_keep.naptime = 1s\n");

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\ninclude_if_exists = 'docs.conf'\n");
$node->start;

my ($database, $current) = (0, '');
foreach my $file ('README.md', map { s{^\Q$root\E/}{}r } sort glob("$root/docs/*.md"))
{
	my $name = 'docs' . $database++;
	my @blocks = blocks("$root/$file");
	my $settings = $settings{$file} // '';

	if ($settings ne $current)
	{
		unlink $node->data_dir . '/docs.conf';
		$node->append_conf('docs.conf', $settings);
		$node->restart;
		$current = $settings;
	}
	# one page tells of tests
	is(scalar @blocks, 0, "$file has no examples"), next if $file eq 'docs/trust.md';
	cmp_ok(scalar @blocks, '>', 3, "$file has examples");
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, 'CREATE EXTENSION pg_keep');
	check_block($node, $name, $_, "$file, line $_->{line}") foreach @blocks;
}

$node->stop;
done_testing();
