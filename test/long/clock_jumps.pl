# The server's clock jumps by an hour and a day, forwards and backwards, under load: what is decided by the clock
# (leases, lives, holds) is decided by the new time; tokens and versions still rise, nobody works under a stale
# lease, waits take as long as was asked for, and the reaper neither stops nor spins.
#
# The clock is that of libfaketime (Debian: libfaketime), preloaded into the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t", $FindBin::RealBin;

use Amcheck;
use File::Temp;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetryLoad;
use ServerLog;
use StressClient;
use Test::More;
use Time::HiRes qw(time usleep);
use Watched;

my ($library) = grep { -e $_ } glob '/usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib*/faketime/libfaketimeMT.so.1 /usr/local/lib/faketime/libfaketimeMT.so.1';
plan skip_all => 'no libfaketime here' if !$library;

my $dir = File::Temp::tempdir(CLEANUP => 1);
my $offset = 0;

# Sets the server's clock so many seconds ahead of the real one, and waits until all see it.
sub set_clock
{
	my ($node, $seconds) = @_;
	open my $file, '>', "$dir/new" or die $!;
	printf $file "%+d\n", $seconds;
	close $file;
	rename "$dir/new", "$dir/clock" or die $!;
	$offset = $seconds;
	usleep(1_500_000) if $node;		# they read the file once a second
	return;
}

set_clock(undef, 0);
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'pg_keep'
	pg_keep.naptime = 500ms
	pg_keep.reaper_share = 100
	pg_keep.max_wait = 10min
	max_connections = 60
	log_line_prefix = '%m [%p] %b %e '
	log_statement = none
});
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{FAKETIME_TIMESTAMP_FILE} = "$dir/clock";
	local $ENV{FAKETIME_CACHE_DURATION} = 0;
	local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
	local $ENV{DONT_FAKE_MONOTONIC} = 1;
	$node->start;
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

my ($hour, $day) = (3600, 86400);
my @jumps = ($hour, -$hour, $day, -$day);
setup_load($node);
set_clock($node, $hour);
is(sql("SELECT abs(extract(epoch FROM clock_timestamp()) - " . time() . " - $hour) < 100"), 't', 'the clock can be set');
is(sql("SELECT abs(extract(epoch FROM keep.clock()) - " . time() . " - $hour) < 100"), 't', 'also that of pg_keep');
set_clock($node, 0);

# A wait lasts as long as was asked for, whatever the clock says. The other one holds the lease for a week.
sub lasts
{
	my ($name, $query, $answer, $jump) = @_;
	my $session = $node->background_psql('postgres');
	my $began = time();

	$session->{stdin} .= "$query;\n\\echo over\n";
	$session->{run}->pump_nb;
	usleep(300_000);
	set_clock($node, $offset + $jump);
	$session->{run}->pump until $session->{stdout} =~ /over/;
	my $took = time() - $began;
	like($session->{stdout}, $answer, "$name, the clock jumps by $jump s: the answer");
	cmp_ok($took, '>', 2.9, 'it did not come early');
	cmp_ok($took, '<', 60, 'nor very late');
	$session->{stdout} = '';
	$session->quit;
	return;
}

sql(q{SELECT keep.acquire('leases', 'long', 'another', '7 days'), keep.begin_request('once', 'long', '1', '7 days')});
foreach my $jump (@jumps)
{
	lasts('wait_for', "SELECT count(*) FROM keep.wait_for('things', 'nothing', timeout => '3 s')", qr/^0$/m, $jump);
	lasts('acquire', "SELECT acquired FROM keep.acquire('leases', 'long', 'one', '1 min', wait => '3 s')", qr/^f$/m, -$jump);
	lasts('begin_request', "SELECT state FROM keep.begin_request('once', 'long', '1', '1 min', wait => '3 s')", qr/^in_flight$/m, $jump);
	set_clock($node, 0);
}

# Who waits for what ends by the clock has it when the clock has got there.
sql(q{SELECT keep.acquire('leases', 'short', 'another', '30 min'), keep.begin_request('once', 'short', '1', '30 min')});
foreach my $wait ([ "SELECT owner FROM keep.acquire('leases', 'short', 'one', '1 day', wait => '100 s')", 'one' ],
	[ "SELECT state FROM keep.begin_request('once', 'short', '1', '1 day', wait => '100 s')", 'resumed' ])
{
	my ($query, $answer) = @$wait;
	my $session = $node->background_psql('postgres');
	my $began = time();
	$session->{stdin} .= "$query;\n\\echo over\n";
	$session->{run}->pump_nb;
	usleep(300_000);
	set_clock($node, $hour);
	$session->{run}->pump until $session->{stdout} =~ /over/;
	like($session->{stdout}, qr/^$answer$/m, "$answer: the clock gets past the end of a lease");
	cmp_ok(time() - $began, '<', 60, 'whoever waits has it soon');
	$session->{stdout} = '';
	$session->quit;
	set_clock($node, 0);
}

# What was over counts again where the clock goes back, unless somebody has acted on it; money is never spent twice.
sql(q{
	SELECT keep.open_account('money', 'purse', 'EUR');
	SELECT keep.transfer('money', 'fill', 'outside', 'purse', 100), keep.transfer('money', 'held', 'purse', 'account 1', 80, hold => '30 min');
	SELECT keep.put('things', 'half an hour', '1', '30 min'); });
is(sql("SELECT available FROM keep.balance('money', 'purse')"), '20', 'a hold of half an hour');
$node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM SET pg_keep.reaper = off', 'SELECT pg_reload_conf()';
set_clock($node, $hour);
is(sql("SELECT available, keep.get('things', 'half an hour') IS NULL FROM keep.balance('money', 'purse')"), '100|t', 'an hour later both are over');
set_clock($node, 0);
is(sql("SELECT available, keep.get('things', 'half an hour') IS NULL FROM keep.balance('money', 'purse')"), '20|f', 'an hour back they are not');
set_clock($node, $hour);
is(sql("SELECT status FROM keep.transfer('money', 'spend', 'purse', 'account 2', 90)"), 'posted', 'when it is over, the money is spent');
set_clock($node, 0);
is(sql("SELECT balance, available FROM keep.balance('money', 'purse')"), '10|10', 'an hour back, the hold is gone all the same');
is(sql("SELECT status FROM keep.post_transfer('money', 'held')"), 'expired', 'and cannot be posted');
$node->safe_psql('postgres', $_) foreach 'ALTER SYSTEM RESET pg_keep.reaper', 'SELECT pg_reload_conf()';

# Under load: clients that try again, workers under leases, and writers whose versions are watched
watch_leases($node, 'leases', "CASE WHEN random() < 0.5 THEN '20 ms' ELSE '30 min' END::interval", '300 ms');
sql(q{SELECT keep.create_store('hot')});
watch_versions($node, 'hot');

my $scripts = 0;

sub pgbench
{
	my ($clients, $seconds, @texts) = @_;
	my @options;
	foreach my $text (@texts)
	{
		my $file = "$dir/script" . $scripts++;
		append_to_file($file, "$text\n");
		push @options, '-f', $file;
	}
	my $run = { out => '' };
	$run->{handle} = IPC::Run::start([ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', $clients, '-T', $seconds, @options, 'postgres' ],
		'>&', \$run->{out});
	return $run;
}

my $rounds = StressClient::scaled(8) || 1;
srand($StressClient::seed);
note("STRESS_SEED=$StressClient::seed repeats the draws of this run");
my $load = start_load($node, 4, $StressClient::seed);
my @runs = (pgbench(4, 5 * $rounds, q{CALL work('c' || :client_id);}),
	pgbench(4, 5 * $rounds,
		q{SELECT * FROM keep.put('hot', 'a', '1', '10 ms');}, q{SELECT * FROM keep.put('hot', 'a', '1', '30 min');}, q{SELECT * FROM keep.increment('hot', 'a');},
		q{SELECT * FROM keep.put_if_absent('hot', 'a', '1', '12 hours');}, q{SELECT * FROM keep.delete('hot', 'a');},
		q{SELECT * FROM keep.acquire('hot', 'lease', 'c' || :client_id, '10 min');}));
foreach my $round (1 .. $rounds)
{
	set_clock($node, $round % 4 == 0 ? 0 : $jumps[ int(rand(4)) ]);
	sql("SELECT keep.put('shortly', 'round $round', '1')");
	my $visits = sql('SELECT sum(visits) FROM keep.stat_reaper');
	my $began = time();
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM shortly WHERE key = 'round $round'", '0'), "the clock is at $offset s: the reaper goes on");
	ok(wait_for_progress($load, 30), 'and so do the clients');
	my $turns = sql('SELECT sum(visits) FROM keep.stat_reaper') - $visits;
	my $tables = sql("SELECT count(*) FROM keep.relation");
	# two a second are right
	my $most = 2 * $tables * (time() - $began + 1);
	note(sprintf('%d visits, of %.0f', $turns, $most));
	cmp_ok($turns, '<', 2 * $most, 'and the reaper does not spin');
}
foreach my $run (@runs)
{
	$run->{handle}->finish;
	unlike($run->{out}, qr/ERROR|error:|aborted|FATAL/, 'no error');
}
check_leases($node);
check_versions($node);
note(sql('SELECT (SELECT count(*) FROM work), (SELECT count(*) FROM history)'));

# To a time at which all is over
set_clock($node, 3 * $day);
finish_load($load, 'clock', 'KP412|55P03|40001|40P01');
set_clock($node, 9 * $day);
check_load($load, $node, 'clock');
check_amcheck($node, 'postgres', 'clock');
$node->stop;
check_server_log($node, name => 'clock');
done_testing();
