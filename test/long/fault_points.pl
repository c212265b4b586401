# The server is killed at every fault point that every function passes: behind each write that is
# followed by another or by the commit, before the commit, and after it, when the client has no
# answer yet. The client then asks again, as the docs tell. Nothing is lost, nothing there twice:
# the state is that of one execution. In the end every fault point of the sources has been one at
# which the server was killed, and amcheck finds nothing.
#
# Needs a build with fault points: make check PROVE_TESTS=test/long/fault_points.pl COPT=-DKEEP_FAULT_POINTS
# FAULT_CALLS='^transfer' has only those calls tried.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin", "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t";

use Amcheck;
use FaultCalls;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

my $wanted = $ENV{FAULT_CALLS};
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
autovacuum = off
restart_after_crash = on
shared_buffers = 16MB
max_connections = 20
log_statement = none
});
$node->start;
if (($node->psql('postgres', "LOAD 'pg_keep'; SHOW pg_keep.fault_at"))[0] != 0)
{
	$node->stop;
	plan skip_all => 'built without fault points';
}
$node->safe_psql('postgres', $FaultCalls::objects);

my $kills = 0;
my %killed_at;		# by the name of the point
my $number = 0;

# The log of a server from a place on; tells and counts at which points it was killed.
sub killed
{
	my ($server, $since) = @_;
	my @names = slurp_file($server->logfile, $since) =~ /^pg_keep: killed at fault point "(.*)"$/mg;
	$killed_at{$_}++ foreach @names;
	$kills += @names;
	return @names;
}

# Waits until the server has recovered, or starts it where all of it was killed.
sub come_back
{
	my ($server, $since) = @_;
	foreach my $try (1 .. 6000)
	{
		my $log = slurp_file($server->logfile, $since);
		return if $log =~ /all server processes terminated.*database system is ready to accept connections/s;
		usleep(5_000);
	}
	BAIL_OUT('the server does not come back');
	return;
}

# The text of a call for one name
sub for_name
{
	my ($sql, $k) = @_;
	$sql //= '';
	$sql =~ s/\{k\}/$k/g;
	return $sql eq '' ? '' : "$sql;\n";
}

# Runs it; what has come of it under that name. $answer is what the calls have returned.
my $answer;

sub run_and_look
{
	my ($call, $k, @sql) = @_;
	my $script = join('', map { for_name($_, $k) } @sql) .
	  "RESET pg_keep.test_clock_offset; RESET pg_keep.direct_access;\n\\echo == state\n" .
	  for_name($call->{state}, $k) . "SELECT wrong();\n";
	my ($ret, $out, $err) = $node->psql('postgres', $script, on_error_stop => 1);
	$answer = '';
	return "failed: $err" if $ret != 0;
	($answer = $out) =~ s/^== state.*//ms;
	$out =~ s/.*^== state\n?//ms;
	$out =~ s/\Q$k\E/K/g;
	return $out;
}

# One call, killed at every point in turn
sub try_call
{
	my ($call, %settings) = @_;
	my $set = join('', map { "SET $_ = $settings{$_};\n" } sort keys %settings);
	my $retry = $call->{retry} // $call->{call};
	my @wrong;

	# once without being killed, and the same again: what there must be in the end, and the points on the way
	my $k = sprintf('q%dx', $number++);
	my $before = run_and_look($call, $k, $call->{setup}, $call->{first});
	my $since = -s $node->logfile;
	my $after = run_and_look($call, $k, $call->{first}, 'SET pg_keep.fault_trace = on; SET pg_keep.fault_at = 1000000',
		$call->{call}, 'SET pg_keep.fault_at = 0');
	my @points = slurp_file($node->logfile, $since) =~ /passed fault point \d+ "(.*)"$/mg;
	my $again = run_and_look($call, $k, $call->{first}, $retry);
	push @wrong, "asked again without a kill: $again instead of $after" if $again ne $after;
	my $says = $call->{says} // qr//;
	push @wrong, "asked again without a kill: is told $answer" if $answer !~ $says;
	push @wrong, 'no point on the way' if !@points;

	# A call may pass one point more or less than the last time, as a machine that is slow has it draw again.
	my $count = 0;
	for (my $point = 1; $point <= 3 * @points + 3; $point++)
	{
		next if $call->{only} && ($points[ $point - 1 ] // '') ne $call->{only};
		my $flush = ($point + $number) % 2 ? 'on' : 'off';

		$k = sprintf('q%dx', $number++);
		my $now = run_and_look($call, $k, $call->{setup}, $call->{first});
		push @wrong, "$point: begins with $now instead of $before" if $now ne $before;
		$since = -s $node->logfile;
		my ($ret, $out, $err) = $node->psql('postgres', $set . for_name($call->{first}, $k) .
			  "SET pg_keep.fault_flush = $flush;\nSET pg_keep.fault_at = $point;\n" .
			  for_name($call->{call}, $k), on_error_stop => 1);
		last if $ret == 0;
		if ($ret != 2)
		{
			push @wrong, "$point: $err";
			last;
		}
		come_back($node, $since);
		my ($died, @more) = killed($node, $since);
		$count++;
		$died //= 'none';
		my $where = "killed at $point, \"$died\"";
		push @wrong, "$where: and at @more" if @more || $died eq 'none';

		# all or nothing, where there is one commit
		my $left = run_and_look($call, $k);
		push @wrong, "$where: leaves $left, which is neither $before nor $after"
		  if !$call->{steps} && $left ne $before && $left ne $after;
		push @wrong, "$where: commits before the commit"
		  if !$call->{steps} && $left ne $before && $died ne 'after the commit';
		push @wrong, "$where: loses what is committed, leaves $left"
		  if !$call->{steps} && $left ne $after && $died eq 'after the commit' && !%settings && !$call->{passing};
		$left = run_and_look($call, $k, $call->{first}, $retry);
		push @wrong, "$where, and asked again: $left instead of $after" if $left ne $after;
		push @wrong, "$where, and asked again: is told $answer" if $answer !~ $says;
	}
	push @wrong, "only $count kills for " . @points . ' points' if !$call->{only} && $count + 1 < @points;
	is(join("\n", @wrong), '', "$call->{name}: $count kills" . ($set ? ', ' . join(' ', %settings) : ''));
	return;
}

# Of each room some are tried where a commit need not be safe.
my @unsafe = ('put, new', 'increment', 'acquire', 'create_ledger, history => true', 'transfer directly', 'transfer_many directly',
	'post_transfer directly', 'call_once', 'run_step', 'run_compensations', 'leave_step');
my @calls = FaultCalls::all();
my %call = map { $_->{name} => $_ } @calls;
is(join('; ', grep { !$call{$_} } @unsafe), '', 'there are the ' . @unsafe . ' calls to be tried with synchronous_commit = off');
is(scalar(keys %call), scalar(@calls), @calls . ' calls, no two of one name');
my $began = time;
foreach my $call (@calls)
{
	try_call($call) if !$wanted || $call->{name} =~ /$wanted/;
}
foreach my $name (grep { !$wanted || /$wanted/ } @unsafe)
{
	try_call($call{$name}, synchronous_commit => 'off') if $call{$name};
}
note("$kills kills of backends in " . (time - $began) . ' s');
check_amcheck($node, 'postgres');
is($node->safe_psql('postgres', 'SELECT wrong()'), '', 'ledgers are sound, versions below their sequence');
$node->stop;

# The reaper: the n-th point of a worker kills all of the server.
my $reaper = new_server('reaper', shared_buffers => '16MB', 'pg_keep.reaper' => 'off');
my $conf = $reaper->data_dir . '/postgresql.auto.conf';
my $plain = slurp_file($conf);
$reaper->start;
add_kinds($reaper, 'postgres');
add_living($reaper, 'postgres');
# an entry that is over and cannot be deleted, and one that is kept alive
sql($reaper, 'postgres', q{
	CREATE TABLE blocks (key text REFERENCES sessions (key));
	SELECT keep.create_store('kept');
});

# What is over, of all kinds
sub add_overdue
{
	my ($name) = @_;
	sql($reaper, 'postgres', qq{
		SELECT test.fill_all('over $name ', 2);
		BEGIN; SET LOCAL pg_keep.test_clock_offset = '-1 h';
		SELECT keep.put('sessions', 'stuck $name', '1', '1 min');
		INSERT INTO blocks VALUES ('stuck $name');
		SELECT keep.put('kept', 'kept $name', '1', '1 min'); COMMIT;
		UPDATE kept SET expires_at = clock_timestamp() + '1 hour';
		CHECKPOINT;
	});
	return;
}

# Has it dealt with all that it can?
sub has_tidied
{
	my ($ret, $left) = $reaper->psql('postgres',
		"$left_over + (SELECT count(*) FROM sessions WHERE reap_at < now() AND expires_at < now())");
	return $ret == 0 && $left eq '0';
}

# Changes the settings of a server that runs or does not, to these and no others
sub set_conf
{
	my (@lines) = @_;
	unlink $conf;
	append_to_file($conf, $plain . join('', map { "pg_keep.$_\n" } @lines));
	return;
}

sub have_rest
{
	sql($reaper, 'postgres', "DELETE FROM blocks; DELETE FROM sessions WHERE key LIKE 'stuck%'");
	set_conf();
	$reaper->reload;
	pause_reaper($reaper);
	return;
}

# A visit in which it lives tells what the points are; of each name the first three are tried.
sub points_of_visit
{
	my $since = -s $reaper->logfile;
	my (%times, %chosen);
	add_overdue('traced');
	set_conf('fault_at = 1000000', 'fault_trace = on', 'reaper = on');
	$reaper->reload;
	foreach my $try (1 .. 600)
	{
		last if has_tidied();
		usleep(100_000);
	}
	have_rest();
	my $log = slurp_file($reaper->logfile, $since);
	while ($log =~ /passed fault point (\d+) "(.*)"$/mg)
	{
		$chosen{$1} = 1 if ++$times{$2} <= 3;
	}
	return sort { $a <=> $b } keys %chosen;
}

my $with_reaper = !$wanted || $wanted =~ /reaper/;
my @tried = $with_reaper ? points_of_visit() : ();
cmp_ok(scalar(@tried), '>', 20, 'the reaper passes ' . @tried . ' points that are worth trying') if $with_reaper;
foreach my $point (@tried)
{
	add_overdue($point);
	my $since = -s $reaper->logfile;
	my ($pid) = slurp_file($reaper->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children = StressClient::children($pid);
	set_conf("fault_at = $point", 'fault_server = on', 'reaper = on', 'fault_flush = ' . ($point % 2 ? 'on' : 'off'));
	$reaper->reload;
	foreach my $try (1 .. 3000)
	{
		last if !StressClient::running($pid) || ($try % 50 == 0 && has_tidied());
		usleep(10_000);
	}
	if (StressClient::running($pid))
	{
		fail("reaper: not killed at point $point");
	}
	else
	{
		is(scalar(killed($reaper, $since)), 1, "reaper: killed at point $point");
		set_conf('reaper = on');
		StressClient::crash($reaper, $pid, @children);
	}
	becomes($reaper, 'postgres', $left_over, '0', "reaper, killed at point $point: all that was over is dealt with");
	is( sql($reaper, 'postgres', q{SELECT count(*) - count(DISTINCT saga), count(*) FILTER (WHERE NOT saga LIKE 'over%') FROM undone}),
		'0|0', "reaper, killed at point $point: each compensation ran once");
	is( sql($reaper, 'postgres', "SELECT string_agg(rule || ': ' || detail, ', ') FROM keep.verify_ledger('books') WHERE NOT ok"),
		'', "reaper, killed at point $point: the ledger is sound");
	have_rest();
}
note("$kills kills in " . (time - $began) . ' s');
check_amcheck($reaper, 'postgres') if $with_reaper;
$reaper->stop('immediate');
check_log($_) foreach $node, $reaper;

# Every point of the sources has been one at which the server was killed.
my %points;
foreach my $file (glob "$FindBin::RealBin/../../src/*.c")
{
	$points{$_}++ foreach slurp_file($file) =~ /\bKEEP_FAULT\("([^"]*)"\)/g;
}
note(join("\n", map { sprintf('%5d kills at %s', $killed_at{$_} // 0, $_) } sort keys %points));
if (!$wanted)
{
	is(join(', ', grep { !$killed_at{$_} } sort keys %points), '', 'every fault point of the sources was hit: ' . keys %points);
}
is(join(', ', grep { !$points{$_} } sort keys %killed_at), '', 'no other point was');
is(join(', ', grep { $points{$_} > 1 } sort keys %points), '', 'no name stands for two points');

done_testing();
