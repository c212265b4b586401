# What no server may say, whatever a test made of it: the one list of it, for all tests and for scripts/check-log.
#
# A test that brings something of the kind about says so beforehand, by expect_in_log(); who reads the log later
# knows it then, too. Nothing but perl-base is needed to read logs.

package ServerLog;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(expect_in_log check_server_log);

# Panics, failed assertions, crashes; what the C library says of memory that is not sound, and compilers' checks.
# Nothing but words: these are found fast in logs of hundreds of megabytes.
my $bad = qr/ PANIC: |TRAP: |terminated by signal |stuck spinlock|detected write past chunk|Transaction while in |shared memory exhausted|double free|free\(\): |malloc\(\): |realloc\(\): |munmap_chunk|corrupted |stack smashing detected|==ERROR: |: runtime error: /;

# Internal errors
my $internal = qr/\bXX\d{3} .*(?:ERROR|FATAL|PANIC|WARNING):  |(?:ERROR|FATAL|PANIC|WARNING):  XX\d{3}: /;

# Resources that were not given back
my $leak = qr/WARNING: .*(?:\bleak|not closed|still referenced|still active|left non-empty|you don't own a lock|problem in alloc set|seem to remain)/;

# The file with what is expected in a log, a pattern in each line
sub expected_file { return "$_[0].expected" }

# Says what will be in the log of a server on purpose.
sub expect_in_log
{
	my ($node, @patterns) = @_;
	open my $file, '>>', expected_file($node->logfile) or die $!;
	print $file "$_\n" foreach @patterns;
	close $file;
	return;
}

# The lines of a log that must not be there, and what is wrong with the log itself: one that is empty, or without
# SQLSTATEs, would look good whatever had happened. Expected is what these patterns find, and what the test has said.
sub bad_lines
{
	my ($log, @expected) = @_;
	my (@found, %panicked, $begins);

	if (open my $file, '<', expected_file($log))
	{
		chomp(my @lines = <$file>);
		push @expected, map { qr/$_/ } @lines;
	}
	open my $in, '<', $log or return "there is no log to read: $log: $!";
	while (my $line = <$in>)
	{
		$begins ||= $line =~ /LOG:  starting PostgreSQL/ && $line =~ / 00000 /;
		next if !($line =~ $bad || $line =~ /XX\d/ && $line =~ $internal || $line =~ /WARNING: / && $line =~ $leak);
		# what users have written may look like anything
		next if $line =~ /^\t/ || $line =~ /^\d{4}-.*? \[\d+\] .*?\b([A-Z]+:  \w*)/
		  && $1 !~ /^(?:LOG:  (?!statement|execute|duration)|WARNING|ERROR|FATAL|PANIC)/;
		if (grep { $line =~ $_ } @expected)
		{
			$panicked{$1} = 1 if $line =~ /\[(\d+)\].* PANIC: /;
			next;
		}
		# who panics as expected ends by this signal; others do not
		next if $line =~ /\(PID (\d+)\) was terminated by signal 6:/ && delete $panicked{$1};
		chomp $line;
		push @found, $line;
	}
	push @found, "this log has no start of a server, or no SQLSTATEs: $log" if !$begins;
	return @found;
}

# Nothing in the log of this server that must not be there; or in this file. signals: those that the test itself has
# sent to its processes; name: of the check
sub check_server_log
{
	my ($node, %options) = @_;
	my $log = ref $node ? $node->logfile : $node;
	my @found = bad_lines($log, map { qr/\bterminated by signal $_:/ } @{ $options{signals} // [] });
	Test::More::is(join("\n", @found), '', ($options{name} // ($log =~ s/.*\///r)) . ': nothing bad in the log of the server');
	return;
}

1;
