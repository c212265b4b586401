# A crash between any two commits of a saga, and in the middle of each: what is left is
# finished by compensate_saga, run_compensations or run_due_compensations, or by calling the
# handler again, with each effect exactly once.
#
# The saga is an order: stock is reserved, money moved in a ledger, a carrier called, points
# given, an invoice sent. The carrier and the post are outside: they keep their own table,
# and do the same only once for the same key.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StressClient;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 100\nautovacuum = off\nrestart_after_crash = on");
$node->start;

sub sql { return $node->safe_psql('postgres', shift); }

sql(q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_ledger('books');
	-- Each saga has its own stock and accounts, so that none waits for another.
	CREATE TABLE stock (saga text PRIMARY KEY, left_over int);
	CREATE TABLE effects (saga text, step text, what text);
	CREATE TABLE world (key text PRIMARY KEY, state text);
	CREATE TABLE pauses (saga text, step text);

	-- Each effect is also written down; then it waits for the lock, where a test asks for it.
	CREATE FUNCTION note_effect(saga text, step text, what text) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effects VALUES (saga, step, what);
		IF EXISTS (SELECT FROM pauses p WHERE p.saga = note_effect.saga AND p.step = note_effect.step) THEN
			PERFORM pg_advisory_xact_lock_shared(7);
		END IF;
		RETURN jsonb_build_object('step', step);
	END $$;

	CREATE FUNCTION must(r keep.transfer_result) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF r.status <> 'posted' OR r.replayed THEN
			RAISE EXCEPTION 'not a new transfer: %', r;
		END IF;
	END $$;

	CREATE FUNCTION reserve(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
		UPDATE stock SET left_over = left_over - 1 WHERE saga = a->>'saga';
		SELECT note_effect(a->>'saga', 'reserve', 'do') $$;
	CREATE FUNCTION unreserve(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		UPDATE stock SET left_over = left_over + 1 WHERE saga = c#>>'{args,saga}';
		SELECT note_effect(c#>>'{args,saga}', c#>>'{result,step}', 'undo') $$;
	CREATE FUNCTION pay(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT must(keep.transfer('books', a->>'saga' || '/pay', a->>'saga' || '/ann', a->>'saga' || '/shop', 10));
		SELECT note_effect(a->>'saga', 'pay', 'do') $$;
	CREATE FUNCTION refund(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT must(keep.reverse_transfer('books', c#>>'{args,saga}' || '/refund', c#>>'{args,saga}' || '/pay'));
		SELECT note_effect(c#>>'{args,saga}', c#>>'{result,step}', 'undo') $$;
	CREATE FUNCTION give_points(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT must(keep.transfer('books', a->>'saga' || '/points', a->>'saga' || '/program', a->>'saga' || '/points', 3));
		SELECT note_effect(a->>'saga', 'points', 'do') $$;
	CREATE FUNCTION take_points(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT must(keep.reverse_transfer('books', c#>>'{args,saga}' || '/unpoints', c#>>'{args,saga}' || '/points'));
		SELECT note_effect(c#>>'{args,saga}', c#>>'{result,step}', 'undo') $$;
	CREATE FUNCTION mail(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT note_effect(a->>'saga', 'mail', 'do') $$;

	CREATE FUNCTION create_log(name text) RETURNS void LANGUAGE sql AS $$
		SELECT keep.create_saga_log(name, max_attempts => 3);
		SELECT keep.allow_saga_function(name::regclass, f)
		FROM unnest('{reserve(jsonb),unreserve(jsonb),pay(jsonb),refund(jsonb),give_points(jsonb),take_points(jsonb),mail(jsonb)}'
			::regprocedure[]) AS f $$;
	CREATE FUNCTION prepare_saga(saga text) RETURNS void LANGUAGE sql AS $$
		INSERT INTO stock VALUES (saga, 10);
		SELECT keep.open_account('books', saga || '/ann', 'EUR', min_balance => -10);
		SELECT keep.open_account('books', saga || '/shop', 'EUR');
		SELECT keep.open_account('books', saga || '/program', 'points', min_balance => NULL);
		SELECT keep.open_account('books', saga || '/points', 'points') $$;
});

# The steps: local ones with their action and compensation, remote ones.
my @steps = (
	{ name => 'reserve', action => 'reserve', compensation => 'unreserve' },
	{ name => 'pay', action => 'pay', compensation => 'refund' },
	{ name => 'ship' },
	{ name => 'mail', action => 'mail' },
	{ name => 'points', action => 'give_points', compensation => 'take_points' },
	{ name => 'invoice' });

# All commits of an order that goes wrong at the very end: [ name, SQL for a log and a saga ]. Names are unique
# over all logs.
my @commits = ([ 'begin', sub { my ($log, $saga) = @_;
	my $deadline = $saga =~ /due/ ? "'1 hour'" : 'NULL';
	return "SELECT keep.begin_saga('$log', '$saga', $deadline);" } ]);

foreach my $step (@steps)
{
	my $name = $step->{name};
	if ($step->{action})
	{
		my $compensation = $step->{compensation} ? ", '$step->{compensation}(jsonb)'" : '';
		push @commits, [ $name, sub { my ($log, $saga) = @_;
			return qq{SELECT keep.run_step('$log', '$saga', '$name', '$step->{action}(jsonb)', '{"saga": "$saga"}'$compensation);} } ];
	}
	else
	{
		push @commits, [ "enter $name", sub { my ($log, $saga) = @_;
			return qq{SELECT keep.enter_step('$log', '$saga', '$name', 'cancel $name', '{"saga": "$saga"}', '1 min');} } ];
		push @commits, [ "call $name", sub { my ($log, $saga) = @_;
			return "INSERT INTO world VALUES ('$saga/$name', 'done') ON CONFLICT DO NOTHING;" } ];
		push @commits, [ "leave $name", sub { my ($log, $saga) = @_;
			return "SELECT keep.leave_step('$log', saga, step, token, true) FROM ${log}_steps" .
			  " WHERE saga = '$saga' AND step = '$name' AND status = 'running';" } ];
	}
}
my $forward = @commits;

# Past the deadlines
sub later { return "SET pg_keep.test_clock_offset = '2 h'; $_[0] RESET pg_keep.test_clock_offset;"; }

# How a saga is compensated is told by its name.
sub compensate
{
	my ($log, $saga) = @_;
	return later("CALL keep.run_due_compensations('$log');") if $saga =~ /due/;
	return "CALL keep.run_compensations('$log', '$saga');" if $saga =~ /run/;
	return "SELECT keep.compensate_saga('$log', '$saga');";
}

push @commits, [ 'compensate', \&compensate ];
foreach my $name ('invoice', 'ship')
{
	# A claim is for all sagas of the log, so the first of them makes it.
	push @commits, [ "claim $name", sub { my ($log, $saga) = @_;
		return $saga =~ /-0$/ ? later("SELECT count(*) FROM keep.claim_compensations('$log', 'worker', 100);") : '' } ];
	push @commits, [ "cancel $name", sub { my ($log, $saga) = @_;
		return "UPDATE world SET state = 'undone' WHERE key = '$saga/$name';" } ];
	push @commits, [ "finish $name", sub { my ($log, $saga) = @_;
		return "SELECT keep.finish_compensation('$log', saga, step, token, true) FROM ${log}_steps" .
		  " WHERE saga = '$saga' AND step = '$name';" } ];
	push @commits, [ "compensate up to $name", \&compensate ];
}

# After so many commits: what a saga has done.
sub has_happened
{
	my ($commits, $name) = @_;
	foreach my $i (0 .. $commits - 1)
	{
		return 1 if $commits[$i][0] eq $name;
	}
	return 0;
}

# Calls the handler again: all that has happened is replayed, the rest is done.
sub forward_sql
{
	my ($log, $saga) = @_;
	return join("\n", map { $_->[1]->($log, $saga) } @commits[ 0 .. $forward - 1 ]) .
	  "SELECT keep.complete_saga('$log', '$saga');";
}

# What a worker does with a remote compensation, each in its own transaction.
sub worker_sql
{
	my ($log) = @_;
	return qq{
		SELECT format('INSERT INTO world VALUES (%L, ''undone'') ON CONFLICT (key) DO UPDATE SET state = ''undone''',
				saga || '/' || step),
			format('SELECT keep.finish_compensation(%L, %L, %L, %s, true)', '$log', saga, step, token)
		FROM keep.claim_compensations('$log', 'other worker', 100) \\gexec
	};
}

# Finishes the sagas of a log after a crash. Leases of those who are gone are over.
sub finish_sql
{
	my ($log, @sagas) = @_;
	my $sql = "SET pg_keep.test_clock_offset = '4 h';\n";
	foreach my $saga (@sagas)
	{
		$sql .= forward_sql($log, $saga) if $saga =~ /again/;
	}
	foreach my $turn (1 .. 3)
	{
		foreach my $saga (@sagas)
		{
			$sql .= $saga =~ /due/ ? "CALL keep.run_due_compensations('$log');\n" :
			  $saga =~ /again/ ? "SELECT keep.compensate_saga('$log', '$saga') FROM $log WHERE saga = '$saga' AND state <> 'completed';\n" :
			  compensate($log, $saga) . "\n";
		}
		$sql .= worker_sql($log);
	}
	foreach my $saga (@sagas)
	{
		$sql .= compensate($log, $saga) . "\n" if $saga !~ /again|due/;
	}
	return $sql;
}

# What the saga's effects must be in the end, one line.
sub expected
{
	my ($commits, $saga) = @_;
	my $completed = $saga =~ /again/ && $commits <= $forward;
	my @effects;
	foreach my $step (sort { $a->{name} cmp $b->{name} } @steps)
	{
		my $name = $step->{name};
		my $done = $completed || has_happened($commits, $step->{action} ? $name : "enter $name");
		next if !$done;
		if ($step->{action})
		{
			push @effects, "$name do";
			push @effects, "$name undo" if $step->{compensation} && !$completed;
		}
		else { push @effects, "$name " . ($completed ? 'done' : 'undone'); }
	}
	return join(', ', $completed ? 'completed' : 'compensated', @effects);
}

my $completed = 0;

sub check_sagas
{
	my ($log, $label, $commits, @sagas) = @_;
	my @wrong;
	my %got = map { split(/\|/, $_, 2) } split(/\n/, sql(qq{
		SELECT g.saga, concat_ws(', ', g.state, (SELECT string_agg(e, ', ' ORDER BY e COLLATE "C") FROM (
				SELECT step || ' ' || what FROM effects e WHERE e.saga = g.saga
				UNION ALL
				SELECT split_part(key, '/', 2) || ' ' || w.state FROM world w WHERE starts_with(w.key, g.saga || '/')) AS x (e)))
		FROM $log AS g}));

	foreach my $saga (@sagas)
	{
		my $expected = expected($commits, $saga);
		$completed++ if $expected =~ /^completed/;
		push @wrong, "$saga: " . ($got{$saga} // 'none') . "\n  expected: $expected" if ($got{$saga} // '') ne $expected;
	}
	is(join("\n", @wrong), '', "$label: each effect once, nothing half-done");
	return;
}

# Money, points and stock
sub check_sums
{
	my ($label) = @_;
	is(sql("SELECT string_agg(rule || ': ' || detail, ', ') FROM keep.verify_ledger('books') WHERE NOT ok"),
		'', "$label: the ledger is sound");
	is(sql(q{SELECT concat_ws(' ', sum((keep.balance('books', saga || '/shop')).balance),
		sum((keep.balance('books', saga || '/points')).balance), sum(10 - left_over)) FROM stock}),
		join(' ', 10 * $completed, 3 * $completed, $completed), "$label: money, points and stock of $completed orders are gone");
	return;
}

# Ends the server in one of three ways, and starts it again.
my $crashes = 0;

sub crash
{
	my ($how) = @_;
	$crashes++;
	if ($how eq 'server') { StressClient::crash($node); }
	elsif ($how eq 'immediate')
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		my $victim = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = $victim->query_safe('SELECT pg_backend_pid()');
		my $began = sql("SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
		kill 'KILL', $pid;
		my $back = 0;
		# a psql that the server turns away may end before it has read its input: that is fatal to IPC::Run
		foreach my $try (1 .. 1200)
		{
			$back = eval { sql("SELECT backend_start > '$began' FROM pg_stat_activity WHERE backend_type = 'checkpointer'") eq 't' };
			last if $back;
			usleep(100_000);
		}
		$back or BAIL_OUT('the server does not come back');
		eval { $victim->quit; };
	}
	return;
}

sub start_call
{
	my ($sql) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/sent/, "\\echo sent\n$sql\n");
	return $session;
}

sub wait_for_pauses
{
	my ($number) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = $number FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	  or BAIL_OUT('the calls do not come to where they are to pause');
	return;
}

my @ways = ('due', 'call', 'run', 'again');

# The SQL that makes a log and what its sagas need
sub log_sql
{
	my ($log, @sagas) = @_;
	return "SELECT create_log('$log');\n" . join('', map { "SELECT prepare_saga('$_');\n" } @sagas);
}

sub sagas { my ($log) = @_; return map { "$log-$ways[$_]-$_" } 0 .. $#ways; }

# Every number of commits, for sagas that are finished in every way: the crash comes between
# two commits, or into the next commit, when all of it has been done.
foreach my $round ([ 'immediate', 0 ], [ 'server', 1 ], [ 'backend', 1 ])
{
	my ($how, $open) = @$round;
	my @sessions;
	my $script = '';
	foreach my $commits (0 .. $#commits + 1)
	{
		my $log = "${how}_$commits";
		$script .= log_sql($log, sagas($log));
		foreach my $i (0 .. $commits - 1)
		{
			$script .= join("\n", map { $commits[$i][1]->($log, $_) } sagas($log)) . "\n";
		}
	}
	sql($script);
	foreach my $commits (0 .. $#commits)
	{
		my $log = "${how}_$commits";
		my $sql = join('', map { $commits[$commits][1]->($log, $_) } sagas($log));
		next if !$open;
		$sql =~ s/CALL keep.run_compensations(.*?);/SELECT keep.compensate_saga$1;/g;
		$sql =~ s/CALL keep.run_due_compensations\('(.*?)'\);/SELECT keep.compensate_saga('$1', '$1-due-0');/g;
		my $session = $node->background_psql('postgres');
		$session->query_safe("BEGIN; $sql SELECT 1");
		push @sessions, $session;
	}
	crash($how);
	eval { $_->quit; } foreach @sessions;
	foreach my $commits (0 .. $#commits + 1)
	{
		my $log = "${how}_$commits";
		# one that was never begun can only be begun
		my @sagas = grep { $commits > 0 || /again/ } sagas($log);
		sql(finish_sql($log, @sagas));
		check_sagas($log, sprintf("%s, after %s%s", $how, $commits ? "\"$commits[$commits - 1][0]\"" : 'nothing',
				$open && $commits <= $#commits ? ", in \"$commits[$commits][0]\"" : ''), $commits, @sagas);
	}
	check_sums($how);
}

# In the middle of a function that has had its effect: an action, or a compensation within
# compensate_saga or run_compensations, when some before it are committed
my %paused = (reserve => 1, pay => 2, mail => 6, points => 7);
foreach my $how ('backend', 'server', 'immediate')
{
	my @sessions;
	my %commits;
	my $blocker = $node->background_psql('postgres');
	$blocker->query_safe('SELECT pg_advisory_lock(7)');
	foreach my $what ('do', 'undo')
	{
		foreach my $name (sort keys %paused)
		{
			next if $what eq 'undo' && $name eq 'mail';
			my $log = "${how}_${what}_$name";
			my $commits = $what eq 'do' ? $paused{$name} : $name eq 'points' ? $#commits - 4 : $#commits;
			my @sagas = sagas($log);
			$commits{$log} = $commits;
			sql(log_sql($log, @sagas) . join("\n", map { my $c = $_; map { $commits[$c][1]->($log, $_) } @sagas } 0 .. $commits - 1));
			sql(join("\n", map { "INSERT INTO pauses VALUES ('$_', '$name');" } @sagas));

			# the last one is to be called again, so leave it where it is
			pop @sagas if $what eq 'undo';
			foreach my $saga (@sagas)
			{
				push @sessions, start_call($commits[$commits][1]->($log, $saga));
				# those due may be taken by one session only, one after the other
				wait_for_pauses(scalar @sessions);
			}
		}
	}
	crash($how);
	eval { $_->quit; } foreach @sessions, $blocker;
	sql('DELETE FROM pauses');
	foreach my $log (sort keys %commits)
	{
		my ($what) = $log =~ /_((?:un)?do_.*)/;
		if ($what =~ /^undo/)
		{
			my $undone = sql("SELECT string_agg(step || ' ' || split_part(saga, '-', 2), ', ' ORDER BY step, saga COLLATE \"C\")" .
				" FROM effects WHERE starts_with(saga, '$log-') AND what = 'undo' AND step IN ('pay', 'reserve')");
			is($undone, $what eq 'undo_reserve' ? 'pay due, pay run' : '',
				"$how, in $what: what the procedures had committed is there");
		}
		sql(finish_sql($log, sagas($log)));
		check_sagas($log, "$how, in $what", $commits{$log}, sagas($log));
	}
	check_sums("$how, in a function");
}

# One saga that sees a crash after each of its commits
{
	my $log = 'survivor';
	my $saga = 'survivor-run-0';
	my @how = ('immediate', 'backend', 'server');
	sql(log_sql($log, $saga));
	foreach my $i (0 .. $#commits)
	{
		sql($commits[$i][1]->($log, $saga));
		crash($how[ $i % 3 ]);
	}
	check_sagas($log, 'a crash after each commit', scalar @commits, $saga);
	check_sums('a crash after each commit');
}
note("$crashes crashes");

$node->stop;
done_testing();
