# What the tests of dumps share: a server, and programs and statements run against it.

package DumpTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_node sql run_program create_database sqlstate write_list $catalog);

# All that the catalog says, but for the OIDs, which must only fit.
our $catalog = q{
	SELECT schema_name, table_name, kind, options,
		relid = format('%I.%I', schema_name, table_name)::regclass
	FROM keep.relation ORDER BY schema_name, table_name COLLATE "C"};

my $node;

# The server that all below works on; a standby can follow it
sub start_node
{
	$node = PostgreSQL::Test::Cluster->new('main');
	$node->init(allows_streaming => 1);
	$node->start;
	return $node;
}

sub sql
{
	my ($db, $query) = @_;
	return $node->safe_psql($db, $query);
}

sub run_program
{
	my ($name, @command) = @_;
	my ($program, @rest) = @command;
	return command_ok([ $program, '-h', $node->host, '-p', $node->port, @rest ], $name);
}

sub create_database
{
	my ($db) = @_;
	return run_program("database $db", 'createdb', '-T', 'template0', $db);
}

# The SQLSTATE of a failing statement
sub sqlstate
{
	my ($server, $db, $query) = @_;
	my ($ret, $out, $err) = $server->psql($db, "\\set VERBOSITY sqlstate\n$query");
	return $err =~ /ERROR:\s+(\w+)/ ? $1 : "none: $out";
}

# A file with these lines; returns its name
sub write_list
{
	my ($file, @lines) = @_;
	open my $handle, '>', $file or die $!;
	print $handle join("\n", @lines), "\n";
	close $handle;
	return $file;
}

1;
