#!/usr/bin/perl
# Reads the log of the server that sqlsmith and the random caller were let loose on, and their counts. Prints
# what they met with, and a line "ok" or "not ok" for each thing that must hold.
#
#   report.pl LOG COUNTS...
#
# sqlsmith calls any function of PostgreSQL. What that itself raises as an internal error (XX000) when asked for
# nonsense is known by its message, and counted apart. The caller calls nothing but pg_keep.
use strict;
use warnings;

my @known = (
	qr/^cache lookup failed for (function|type|operator|relation|opclass|attribute) /,	# of an OID that a query made up
	qr/^invalid INTERVAL typmod: /,						# intervaltypmodout() of a made-up number
	qr/^expected \d-element int8 array$/,				# int8_avg() and the like, called as a function
	qr/^failed to find conversion function from unknown to /,
	qr/^aggregate function called in non-aggregate context$/,
	qr/^could not determine which collation to use/,
	);
my $leak = qr/leak|was not closed|don't own a lock|non-empty SPI stack|problem in alloc set|still active|out of shared memory/;

my ($log, @counts) = @ARGV;
my (%errors, %fatal, %warnings, %internal, %statement, %where, @crashes);
my ($level, $message, $user);

open my $in, '<', $log or die "$log: $!";
while (<$in>)
{
	if (/TRAP: |was terminated by signal/)
	{
		push @crashes, $_;
	}
	if (my ($state, $who, $kind, $text) = /^\d{4}-\S+ \S+ \S+ \[\d+\] (\w{5}) (\S*) (\w+):  (?:\w{5}: )?(.*)/)
	{
		if ($kind =~ /^(?:ERROR|FATAL|PANIC|WARNING|LOG)$/)
		{
			($user, $level, $message) = ($who || 'server', $kind, $text);
			$message =~ s/ at character \d+$//;
			push @crashes, $_ if $level eq 'PANIC';
			$errors{$user}{$state}++ if $level eq 'ERROR';
			# sqlsmith ends each query with a ROLLBACK
			# and finds pg_advisory_unlock().
			next if $message =~ /transaction in progress/ || $message =~ /don't own a lock/ && $user !~ /caller/;
			$warnings{$message}++ if $level eq 'WARNING';
			$internal{$message}{$user}++ if $state =~ /^XX/;
		}
		elsif ($kind eq 'LOCATION' && $internal{$message})
		{
			$where{$message} //= $text;
		}
		elsif ($kind =~ /^(?:STATEMENT|CONTEXT)$/ && $internal{$message} && !$statement{$message}{$kind})
		{
			$statement{$message}{$kind} = "$text\n";
			while (<$in>)
			{
				last unless /^\t/;
				$statement{$message}{$kind} .= $_ if length $statement{$message}{$kind} < 1000 && /\S/;
			}
			redo if defined $_;
		}
	}
}
close $in;

my (%calls, %good, $lost);
foreach my $file (@counts)
{
	open my $c, '<', $file or die "$file: $!";
	while (<$c>)
	{
		if (/^lost (\d+)/) { $lost += $1 }
		elsif (/^(\w+) (\w{5}) (\d+)/ && $1 ne 'other') { $calls{$2} += $3; $good{$1} += $2 eq '00000' ? $3 : 0 }
	}
	close $c;
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

my @ours;
foreach my $m (sort keys %internal)
{
	my ($pattern) = grep { $m =~ $_ } @known;
	my $known = $pattern && !grep({ /caller|server/ } keys %{ $internal{$m} }) && ($statement{$m}{CONTEXT} // '') !~ /keep\./;
	push @ours, $m unless $known;
	print(($known ? 'internal error of PostgreSQL' : 'internal error'), ' (', join(', ', map { "$_ $internal{$m}{$_}" } sort keys %{ $internal{$m} }),
		"): $m\n    at ", $where{$m} // '?', "\n", map { "    $_: $statement{$m}{$_}\n" } sort keys %{ $statement{$m} });
}

sub holds { my ($ok, $what) = @_; print $ok ? "ok - $what\n" : "not ok - $what\n" }

print @crashes;
holds(!@crashes && !$lost, 'no crash, no failed assertion, no lost connection');
holds(!@ours, 'no internal error');
holds(!(grep { /$leak/ } keys %warnings), 'no warning of a leak');
# A short run on a busy machine is not long enough for that.
my @never = grep { !$good{$_} } sort keys %good;
holds(!@never, 'all functions were called with success' . (@never ? ", but @never" : '')) if $total > 30_000 || !@never;
