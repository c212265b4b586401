# The disk is full, of the data and then of the WAL, under load on all kinds of tables: callers are refused
# with 53100 or cut off, and when there is room again nothing is lost that was acknowledged, what clients send
# again is done once, ledger and indexes are sound, and the reaper goes on.
#
# The disks are two small file systems in memory. They are mounted in namespaces of our own, which the system
# must allow to ordinary users; or SMALL_DISKS names a directory with two of them mounted at data and wal in
# it, of 64 MB and 32 MB.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../stress", "$FindBin::RealBin/../t", $FindBin::RealBin;

# Starts this test again, inside; returns why that cannot be.
BEGIN
{
	if (!$ENV{SMALL_DISKS})
	{
		my $dir = `mktemp -d`;
		chomp $dir;
		mkdir "$dir/$_" foreach 'data', 'wal';
		my ($uid, $gid) = ($<, (split / /, $()[0]);
		my $inside = "unshare --user --map-root-user --mount -- sh -c '
			mount -t tmpfs -o size=64m,mode=777 none $dir/data && mount -t tmpfs -o size=32m,mode=777 none $dir/wal &&
			exec unshare --user --map-user=$uid --map-group=$gid -- \"\$\@\"' sh";
		$main::no_disks = `$inside true 2>&1`;
		if ($? == 0)
		{
			local $ENV{SMALL_DISKS} = $dir;
			my $status = system("$inside $^X " . join(' ', map { "-I$_" } @INC) . ' ' . abs_path($0));
			rmdir foreach "$dir/data", "$dir/wal", $dir;
			exit($status >> 8 || ($status ? 1 : 0));
		}
		rmdir foreach "$dir/data", "$dir/wal", $dir;
	}
}

use Amcheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetryLoad;
use ServerLog;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => "no small file systems here: " . ($main::no_disks =~ s/\s+$//r) if !$ENV{SMALL_DISKS};

my %disk = map { ($_ => "$ENV{SMALL_DISKS}/$_") } 'data', 'wal';
my $node = PostgreSQL::Test::Cluster->new('main');
my $log_seen = 0;

# Takes all room on a disk but so many kilobytes, and gives it back.
sub fill_disk
{
	my ($disk, $left) = @_;
	my ($free) = `df -k --output=avail $disk{$disk}` =~ /(\d+)\s*$/;
	return if $free <= $left;
	open my $file, '>>', "$disk{$disk}/ballast" or die $!;
	syswrite $file, "\0" x 1024 foreach 1 .. $free - $left;
	close $file;
	return;
}

sub free_disk { unlink "$disk{$_[0]}/ballast"; return; }

# What the server has logged since the last look
sub new_log
{
	my $text = slurp_file($node->logfile, $log_seen);
	$log_seen += length $text;
	return $text;
}

sub answers { return try_sql($node, 'SELECT 1') eq '1'; }

# Moves a directory, and leaves a link to it
sub move
{
	my ($from, $to) = @_;
	PostgreSQL::Test::Utils::system_or_bail('cp', '-a', $from, $to);
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $from);
	symlink $to, $from or die $!;
	return;
}

# Tables and indexes are on one of the disks, and the WAL on the other.
srand($StressClient::seed);
note("STRESS_SEED=$StressClient::seed repeats the draws of this run");
$node->init(extra => ['--wal-segsize=1']);
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'pg_keep'
	pg_keep.naptime = 200ms
	pg_keep.reaper_share = 100
	max_connections = 40
	fsync = on
	synchronous_commit = on
	full_page_writes = on
	restart_after_crash = on
	min_wal_size = 2MB
	max_wal_size = 8MB
	checkpoint_timeout = 30s
	autovacuum_naptime = 1s
	log_line_prefix = '%m [%p] %b %e '
	log_statement = none
});
move($node->data_dir . '/pg_wal', "$disk{wal}/pg_wal");
mkdir "$disk{data}/tables";
$node->start;
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disk{data}/tables'");
$node->safe_psql('postgres', "ALTER DATABASE postgres SET default_tablespace = 'small'");
setup_load($node);

my $load = start_load($node, 6, $StressClient::seed);
ok(wait_for_progress($load, 300), 'clients are at work');

# The data
foreach my $round (1 .. StressClient::scaled(4) || 1)
{
	fill_disk('data', int(rand(600)));
	ok(wait_for_refusals($load, '53100', 40), "data full, round $round: callers are told");
	is(try_sql($node, "SELECT count(*) > 0, bool_and(keep.get('things', key) IS NOT NULL) FROM things"), 't|t',
		'what is there can be read');
	is(try_sql($node, "SELECT rule FROM keep.verify_ledger('money') WHERE NOT ok"), '', 'and the ledger adds up');
	usleep(int(rand(1_000_000)));
	free_disk('data');
	ok(wait_for_progress($load, 200), 'there is room again: they go on');
	my $visits = "SELECT coalesce(sum(visits), 0) FROM keep.stat_reaper";
	my $before = try_sql($node, $visits);
	ok($node->poll_query_until('postgres', "SELECT ($visits) > $before"), 'and so does the reaper');
}
unlike(new_log(), qr/PANIC|terminated by signal/, 'the server never went down for that');
expect_in_log($node, ' 53100 PANIC: .*No space left on device');

# The WAL: the server goes down, as there is nothing else that it could do. Without checkpoints it does so sooner.
try_sql($node, "ALTER SYSTEM SET max_wal_size = '1GB'");
try_sql($node, 'SELECT pg_reload_conf()');
foreach my $round (1 .. StressClient::scaled(3) || 1)
{
	fill_disk('wal', int(rand(300)));
	ok(wait_for('a panic', sub { new_log() =~ /53100 PANIC:.*No space left on device/ }),
		"WAL full, round $round: the server goes down");
	usleep(int(rand(2_000_000)));
	free_disk('wal');
	ok( wait_for('the server', sub {
			return 1 if answers();
			return 0 if -e $node->data_dir . '/postmaster.pid' && kill 0, slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
			$node->stop('immediate', fail_ok => 1);
			return $node->start(fail_ok => 1);
		}), 'there is room again: it starts');
	ok(wait_for_progress($load, 200), 'and the clients go on');
}

finish_load($load, 'disk full', '53100');
check_load($load, $node, 'disk full');
check_amcheck($node, 'postgres', 'disk full');
$node->stop;
check_server_log($node, name => 'disk full');
done_testing();
