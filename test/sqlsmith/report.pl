#!/usr/bin/perl
# Reads the log of the server that sqlsmith and the random caller were let loose on, and their counts. Prints
# what they met with, and a line "ok" or "not ok" for each thing that must hold.
#
#   report.pl MINUTES FUNCTIONS LOG COUNTS...
#
# MINUTES is how long they ran, FUNCTIONS a file with the names that the caller has to call. sqlsmith calls any function
# of PostgreSQL. What that itself raises as an internal error (XX000) when asked for nonsense is known by its message,
# and counted apart, if nothing of pg_keep was at work. The caller calls nothing but pg_keep.
use strict;
use warnings;

my @known = (
	qr/^invalid INTERVAL typmod: /,						# intervaltypmodout() of a made-up number
	qr/^expected \d-element int8 array$/,				# int8_avg() and the like, called as a function
	qr/^failed to find conversion function from unknown to /,
	qr/^aggregate function called in non-aggregate context$/,
	qr/^could not determine which collation to use/,
	);
# Of an OID that a query made up; it may as well be raised beneath a function in C that was given one.
my $lookup = qr/^cache lookup failed for (function|type|operator|relation|opclass|attribute) /;
my $least = 500;		# calls of each caller in a minute; 2,700 to 7,600 were seen
my $leak = qr/leak|was not closed|don't own a lock|non-empty SPI stack|problem in alloc set|still active|out of shared memory/;

my ($minutes, $functions, $log, @counts) = @ARGV;
my (%errors, %warnings, @internal, @crashes);
my (%open, $more);		# internal errors by the process that was the last to raise one; where what is read goes on

open my $in, '<', $log or die "$log: $!";
while (<$in>)
{
	push @crashes, $_ if /TRAP: |was terminated by signal/;
	if (my ($process, $state, $who, $kind, $text) = /^\d{4}-\S+ \S+ \S+ \[(\d+)\] (\w{5}) (.*?) ([A-Z]+):  (?:\w{5}: )?(.*)/)
	{
		undef $more;
		if ($kind =~ /^(?:ERROR|FATAL|PANIC|WARNING|LOG)$/)
		{
			delete $open{$process};
			$text =~ s/ at character \d+$//;
			push @crashes, $_ if $kind eq 'PANIC';
			$errors{$who}{$state}++ if $kind eq 'ERROR';
			# sqlsmith ends each query with a ROLLBACK
			# and finds pg_advisory_unlock().
			next if $text =~ /transaction in progress/ || $text =~ /don't own a lock/ && $who =~ /sqlsmith/;
			$warnings{$text}++ if $kind eq 'WARNING';
			push @internal, $open{$process} = { user => $who, message => $text } if $state =~ /^XX/;
		}
		elsif ($open{$process} && $kind =~ /^(?:LOCATION|CONTEXT|STATEMENT)$/)
		{
			$open{$process}{$kind} = "$text\n";
			$more = \$open{$process}{$kind};
		}
	}
	elsif ($more && /^\t/)
	{
		$$more .= $_ if /\S/;
	}
}
close $in;

# Did PostgreSQL itself raise it, in a query of sqlsmith's? Its own statements and functions show in the CONTEXT; what is
# raised beneath a function in C does not, and so there must be none in the query where that could be.
sub of_postgres
{
	my ($e) = @_;
	return 0 if $e->{user} !~ m{/sqlsmith::} || !$e->{STATEMENT} || ($e->{CONTEXT} // '') =~ /keep\.|SQL statement|_rows"/;
	return 1 if grep { $e->{message} =~ $_ } @known;
	return $e->{message} =~ $lookup && $e->{STATEMENT} !~ /\bkeep\.|_rows\b/;
}

open my $list, '<', $functions or die "$functions: $!";
chomp(my @functions = <$list>);
close $list;

my (%calls, %good, $lost, @idle);
foreach my $file (@counts)
{
	my $of_file = 0;
	open my $c, '<', $file or die "$file: $!";
	while (<$c>)
	{
		if (/^lost (\d+)/) { $lost += $1 }
		elsif (/^(\w+) (\w{5}) (\d+)/ && $1 ne 'other')
		{
			$calls{$2} += $3;
			$of_file += $3;
			$good{$1} += $3 if $2 eq '00000';
		}
	}
	close $c;
	push @idle, "$file made $of_file" if $of_file < $least * $minutes;
}

foreach my $u (sort keys %errors)
{
	my $e = $errors{$u};
	print "errors of $u: ", join(', ', map { "$_ $e->{$_}" } sort { $e->{$b} <=> $e->{$a} } keys %$e), "\n";
}
my $total = 0;
$total += $_ for values %calls;
print "the caller's $total calls: ", join(', ', map { "$_ $calls{$_}" } sort { $calls{$b} <=> $calls{$a} } keys %calls), "\n";
print "of these succeeded: ", join(', ', map { "$_ $good{$_}" } sort keys %good), "\n";
print "warning ($warnings{$_}): $_\n" for sort keys %warnings;

my (%seen, @ours);
foreach my $e (@internal)
{
	my $whose = of_postgres($e) ? 'internal error of PostgreSQL' : 'internal error';
	push @ours, $e if $whose eq 'internal error';
	next if $seen{"$whose $e->{user} $e->{message}"}++;		# is shown once
	print "$whose ($e->{user}): $e->{message}\n", map { "    $_: " . substr($e->{$_}, 0, 1000) . "\n" } grep { $e->{$_} } qw(LOCATION CONTEXT STATEMENT);
}
print "seen $seen{$_} times: $_\n" for grep { $seen{$_} > 1 } sort keys %seen;

sub holds { my ($ok, $what) = @_; print $ok ? "ok - $what\n" : "not ok - $what\n" }

print @crashes;
holds(!@crashes && !$lost, 'no crash, no failed assertion, no lost connection');
holds(!@ours, 'no internal error');
holds(!(grep { /$leak/ } keys %warnings), 'no warning of a leak');
holds(!@idle, "each caller made at least $least calls a minute" . (@idle ? ', but ' . join(', ', @idle) : ''));
my @never = grep { !$good{$_} } @functions;
holds(@functions > 40 && !@never, 'all ' . @functions . ' functions were called with success' . (@never ? ", but @never" : ''));
