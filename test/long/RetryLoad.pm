# A load on all kinds of tables by clients that never give up: each sends an operation again, under the same
# id, until it is told that it was done. Whatever happens to the server meanwhile, in the end each was done,
# and was done once.
#
# A client is a process that runs psql on some operations at a time, and notes what was acknowledged.

package RetryLoad;

use strict;
use warnings;

use Exporter 'import';
use File::Temp;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(setup_load start_load acknowledged refused wait_for_refusals wait_for_progress wait_for
  finish_load check_load try_sql);

my $operations = 25;			# of one psql
my $patience = 180;				# seconds that anything may take

# Each effect is a row, so that two of one id can be told.
my $setup = q{
	CREATE EXTENSION IF NOT EXISTS pg_keep;
	SELECT keep.create_store('things'), keep.create_store('shortly', ttl => '200 ms'),
		keep.create_store('leases'), keep.create_store('sums');
	SELECT keep.create_ledger('money', history => true);
	SELECT keep.open_account('money', 'outside', 'EUR', min_balance => NULL),
		keep.open_account('money', 'spread', 'EUR', shards => 4);
	SELECT count(keep.open_account('money', 'account ' || n, 'EUR')) FROM generate_series(0, 9) n;
	SELECT keep.create_request_log('once', retain => NULL), keep.create_request_log('briefly', retain => '200 ms');
	SELECT keep.create_saga_log('trips', max_attempts => 1000);
	CREATE TABLE effects (id text, what text);
	CREATE FUNCTION effect(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.effects VALUES (args ->> 'id', args ->> 'what');
		PERFORM keep.increment('public.sums', args ->> 'what');
		RETURN args -> 'id';
	END $$;
	CREATE FUNCTION undo(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.effects VALUES (args #>> '{args,id}', 'undo ' || (args #>> '{args,what}'));
		RETURN 'true';
	END $$;
	CREATE FUNCTION echo(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';
	CREATE FUNCTION finish(id text, state text, token bigint) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		IF state NOT IN ('started', 'resumed') THEN
			RETURN state;
		END IF;
		PERFORM public.effect(jsonb_build_object('id', id, 'what', 'request'));
		PERFORM keep.complete_request('public.once', id, token, to_jsonb(id));
		RETURN 'completed';
	END $$;
	-- The lease was taken in a transaction of its own, and may be over or taken away since.
	CREATE TABLE under_lease (nr bigint GENERATED ALWAYS AS IDENTITY, lease text, token bigint, owner text);
	CREATE FUNCTION work_under_lease(id text, name text, token bigint) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM keep.assert_lease('public.leases', name, token);
		INSERT INTO public.under_lease (lease, token, owner) VALUES (name, token, id);
		PERFORM keep.release('public.leases', name, token);
		RETURN 'yes';
	EXCEPTION WHEN SQLSTATE 'KP412' THEN
		RETURN 'lost';
	END $$;
	SELECT keep.allow_saga_function('trips', 'effect(jsonb)'), keep.allow_saga_function('trips', 'undo(jsonb)');
};

sub args
{
	my ($id, $what) = @_;
	return qq('{"id": "$id", "what": "$what"}');
}

# The statements of an operation, and what the last of them answers in the end
my @kinds = (
	put => sub {
		my ($id) = @_;
		return ($id, "SELECT value #>> '{}' AS answer FROM keep.put_if_absent('things', '$id', '\"$id\"')");
	},
	many => sub {
		my ($id) = @_;
		return (20, "SELECT count(*) AS answer FROM keep.put_many('things',
			ARRAY(SELECT '$id/' || n FROM generate_series(1, 20) n), array_fill(to_jsonb('$id'::text), '{20}'))");
	},
	shortly => sub {
		my ($id) = @_;
		return ('t', "SELECT applied AS answer FROM keep.put('shortly', '$id', to_jsonb(repeat('x', 500)))");
	},
	lease => sub {
		my ($id) = @_;
		my $lease = 'lease ' . ($id =~ /(\d+)$/)[0] % 3;
		return (qr/^(yes|no|lost)$/,
			"SELECT CASE WHEN acquired THEN token ELSE 0 END AS token FROM keep.acquire('leases', '$lease', '$id', '10 s', '2 s')",
			"SELECT CASE WHEN :token = 0 THEN 'no' ELSE work_under_lease('$id', '$lease', :token) END AS answer");
	},
	transfer => sub {
		my ($id) = @_;
		return ('posted', "SELECT status AS answer FROM keep.transfer('money', '$id', 'outside', 'account 3', 7)");
	},
	batch => sub {
		my ($id) = @_;
		return ('posted 30', "SELECT string_agg(DISTINCT status, '') || ' ' || count(*) AS answer
			FROM keep.transfer_many('money', ARRAY(SELECT '$id/' || n FROM generate_series(1, 30) n),
				array_fill('outside'::text, '{30}'), ARRAY(SELECT 'account ' || n % 10 FROM generate_series(1, 30) n),
				array_fill(2::bigint, '{30}'))");
	},
	hold => sub {
		my ($id) = @_;
		return (qr/^(pending|expired)$/,
			"SELECT status AS answer FROM keep.transfer('money', '$id', 'outside', 'spread', 5, hold => '200 ms')");
	},
	call => sub {
		my ($id) = @_;
		return ($id, "SELECT response #>> '{}' AS answer FROM keep.call_once('once', '$id', 'effect(jsonb)', "
			  . args($id, 'call') . ')');
	},
	forget => sub {
		my ($id) = @_;
		return ($id, "SELECT response #>> '{}' AS answer FROM keep.call_once('briefly', '$id', 'echo(jsonb)', '\"$id\"')");
	},
	request => sub {
		my ($id) = @_;
		return ('completed',
			"SELECT state AS reached, coalesce(token, 0) AS token FROM keep.begin_request('once', '$id', '1', lease => '1 ms')",
			"SELECT finish('$id', :'reached', :token) AS answer");
	},
	saga => sub {
		my ($id) = @_;
		return ('completed', "SELECT state FROM keep.begin_saga('trips', '$id', '30 days')",
			(map { "SELECT status FROM keep.run_step('trips', '$id', '$_', 'effect(jsonb)', "
				  . args($id, "saga $_") . ", 'undo(jsonb)')" } 'a', 'b'),
			"SELECT state AS answer FROM keep.complete_saga('trips', '$id')");
	},
	# for the reaper
	abandon => sub {
		my ($id) = @_;
		return (qr/^(done|refused)$/, "SELECT state FROM keep.begin_saga('trips', '$id', '300 ms')",
			"SELECT status AS answer FROM keep.run_step('trips', '$id', 'a', 'effect(jsonb)', "
			  . args($id, 'abandon') . ", 'undo(jsonb)')");
	});
my %make = @kinds;
my @names = map { $kinds[ 2 * $_ ] } 0 .. @kinds / 2 - 1;

# The statement, or '' where it cannot be had now
sub try_sql
{
	my ($node, $sql) = @_;
	my ($status, $out) = eval { $node->psql('postgres', $sql) };
	return defined $status && $status == 0 ? $out : '';
}

# Makes tables and functions.
sub setup_load
{
	my ($node) = @_;
	$node->safe_psql('postgres', $setup);
	return;
}

sub append_line
{
	my ($file, $line) = @_;
	open my $out, '>>', $file or POSIX::_exit(1);
	syswrite $out, "$line\n";
	close $out;
	return;
}

# One psql for these operations; returns what is still to be done.
sub run_some
{
	my ($load, $base, @ids) = @_;
	my %expected;
	my %done;
	my %said;

	open my $script, '>', "$base.sql" or POSIX::_exit(1);
	print $script "\\set VERBOSITY verbose\n";
	print $script "$load->{prelude}\n" if !-e "$load->{dir}/stop";
	foreach my $id (@ids)
	{
		my ($name) = $id =~ /^(\w+)/;
		my ($answer, @statements) = $make{$name}->($id);
		$expected{$id} = $answer;
		print $script "\\set bad 00000\n\\set go on\n";
		print $script "\\if :go\n$_ \\gset\n\\if :ERROR\n\\set bad :SQLSTATE\n\\set go off\n\\endif\n\\endif\n"
		  foreach @statements;
		print $script "\\echo $id :bad :answer\n";
	}
	close $script;
	system("psql -XAtq -d '$load->{connstr}' -f $base.sql >$base.out 2>$base.err </dev/null");

	foreach (split /\n/, slurp_file("$base.out"))
	{
		my ($id, $state, $answer) = /^(\w+ \w+ \d+) (\w{5}) (.*)$/ or next;
		$said{$id} = 1;
		if ($state ne '00000')
		{
			append_line("$load->{dir}/refused", "$state $id");
		}
		elsif (ref $expected{$id} ? $answer !~ $expected{$id} : $answer ne $expected{$id})
		{
			append_line("$load->{dir}/odd", "$id: $answer");
		}
		else
		{
			append_line("$load->{dir}/done", $id);
			$done{$id} = 1;
		}
	}
	append_line("$load->{dir}/internal", $_) foreach slurp_file("$base.err") =~ /(?:ERROR|FATAL): +(XX\d\d\d: .*)/g;
	append_line("$load->{dir}/refused", 'lost ' . (slurp_file("$base.err") =~ s/\s+/ /gr)) if grep { !$said{$_} } @ids;
	return grep { !$done{$_} } @ids;
}

sub run_client
{
	my ($load, $client) = @_;
	my $base = "$load->{dir}/client$client";
	my @waiting;
	my $next = 0;
	my $end;

	srand($load->{seed} + $client);
	while (1)
	{
		my $stop = -e "$load->{dir}/stop";
		$end //= time() + $patience if $stop;
		last if $stop && (!@waiting || time() > $end);
		if (!$stop)
		{
			push @waiting, $load->{kinds}[ int(rand(@{ $load->{kinds} })) ] . " $client$load->{name} " . $next++
			  while @waiting < $operations;
		}
		my $before = @waiting;
		@waiting = run_some($load, $base, @waiting);
		usleep(50_000) if @waiting == $before;
	}
	append_line("$load->{dir}/left", $_) foreach @waiting;
	POSIX::_exit(0);
}

# Starts so many clients. connstr: where they connect to; kinds: what they do; name: of this load, where there
# are several; prelude: what they say first, until they are to finish; internal: errors of class XX that may be
sub start_load
{
	my ($node, $clients, $seed, %options) = @_;
	my $load = {
		dir => File::Temp::tempdir(CLEANUP => 1),
		connstr => $node->connstr('postgres'),
		kinds => \@names,
		prelude => '',
		seed => $seed,
		name => '',
		pids => [],
		%options };

	append_line("$load->{dir}/$_", '') foreach 'done', 'refused', 'odd', 'left', 'internal';
	foreach my $client (1 .. $clients)
	{
		my $pid = fork() // BAIL_OUT('no more processes');
		if ($pid == 0)
		{
			eval { run_client($load, $client); };
			append_line("$load->{dir}/odd", "client $client: $@");
			POSIX::_exit(1);
		}
		push @{ $load->{pids} }, $pid;
	}
	return $load;
}

sub noted
{
	my ($load, $what) = @_;
	return grep { $_ ne '' } split /\n/, slurp_file("$load->{dir}/$what");
}

# How many operations are done; the SQLSTATEs of those that were refused, with their number
sub acknowledged { return scalar noted($_[0], 'done'); }

sub refused
{
	my ($load) = @_;
	my %refused;
	$refused{ (split / /)[0] }++ foreach noted($load, 'refused');
	return \%refused;
}

# Waits until something is so.
sub wait_for
{
	my ($what, $is_so) = @_;
	my $end = time() + $patience;
	while (time() < $end)
	{
		return 1 if $is_so->();
		usleep(50_000);
	}
	diag("waited in vain: $what");
	return 0;
}

sub wait_for_progress
{
	my ($load, $number) = @_;
	my $aim = acknowledged($load) + $number;
	return wait_for("$number more operations", sub { acknowledged($load) >= $aim });
}

# Also where the connection was lost with it
sub wait_for_refusals
{
	my ($load, $state, $number) = @_;
	my $told = sub { return scalar grep { /\b$state\b/ } noted($load, 'refused') };
	my $aim = $told->() + $number;
	return wait_for("$number more times $state", sub { $told->() >= $aim });
}

# Lets the clients finish what they have begun. $allowed: SQLSTATEs that they may have been refused with
sub finish_load
{
	my ($load, $name, $allowed) = @_;
	append_line("$load->{dir}/stop", '');
	waitpid $_, 0 foreach @{ $load->{pids} };
	my $refused = refused($load);
	note("$name: " . acknowledged($load) . ' operations, '
		  . join(', ', map { "$refused->{$_} times $_" } sort keys %$refused));
	is(join("\n", noted($load, 'left')), '', "$name: all operations were done in the end");
	is(join("\n", noted($load, 'odd')), '', "$name: with the right answers");
	is(join(' ', grep { !/^(lost|$allowed)$/ } sort keys %$refused), '', "$name: refused with no other errors than $allowed")
	  or diag(join "\n", grep { !/^(lost|$allowed) / } noted($load, 'refused'));
	is(join("\n", grep { !defined $load->{internal} || !/$load->{internal}/ } noted($load, 'internal')), '', "$name: no internal error");
	return;
}

# What the acknowledged operations must have left behind: each once. tokens_anew: the leases were dropped meanwhile
sub check_load
{
	my ($load, $node, $name, %options) = @_;
	my $dir = $load->{dir};
	my $sql = sub { return $node->safe_psql('postgres', shift); };

	# what is over is not there any more, or soon will not be: what only failed for want of room is not put off
	ok($node->poll_query_until('postgres', q{
		SELECT (SELECT count(*) FROM shortly) + (SELECT count(*) FROM briefly) +
			(SELECT count(*) FROM money_transfers WHERE status = 'pending') +
			(SELECT count(*) FROM trips WHERE state NOT IN ('completed', 'compensated')) = 0}),
		"$name: the reaper goes on until nothing is left to do");
	is( $sql->(q{
		SELECT string_agg(DISTINCT id || ' ' || what || ' ' || n, ', ') FROM (
			SELECT id, what, count(*) AS n FROM effects GROUP BY id, what HAVING count(*) <> 1) AS twice}), '',
		"$name: each effect has happened once");
	is($sql->("SELECT count(*) FROM effects e FULL JOIN (SELECT * FROM effects WHERE what LIKE 'undo %') u USING (id)
		WHERE e.what = 'abandon' AND u.what IS DISTINCT FROM 'undo abandon' OR e.what = 'undo saga'"), '0',
		"$name: each abandoned step was undone");
	is($sql->("SELECT string_agg(what, ' ') FROM (SELECT what, count(*) AS n FROM effects WHERE what NOT LIKE 'undo%' GROUP BY what) AS e
		FULL JOIN sums ON what = key WHERE n IS DISTINCT FROM value::bigint"), '', "$name: as often as was counted");
	is($sql->("SELECT rule, detail FROM keep.verify_ledger('money') WHERE NOT ok"), '', "$name: the ledger adds up");

	my ($held, $wrongly) = split /\|/, $sql->(q{
		SELECT count(*), count(*) FILTER (WHERE token < before OR token = before AND owner <> previous) FROM (
			SELECT token, owner, lag(token) OVER one AS before, lag(owner) OVER one AS previous FROM under_lease
			WINDOW one AS (PARTITION BY lease ORDER BY nr)) AS l});
	cmp_ok($held, '>', 0, "$name: $held times there was work under a lease");
	is($wrongly, '0', "$name: of one after the other") if !$options{tokens_anew};

	# acknowledged, and not there
	my $acknowledged = join ",\n", map { my ($kind, $id) = /^(\w+) (.*)/; "('$kind', '$_')" } noted($load, 'done');
	is( $sql->(qq{
		CREATE TEMP TABLE done (kind text, id text);
		} . ($acknowledged ? "INSERT INTO done VALUES $acknowledged;" : '') . q{
		ANALYZE done;
		SELECT kind, id FROM done WHERE
			kind = 'put' AND NOT EXISTS (SELECT FROM things WHERE key = id) OR
			kind = 'many' AND (SELECT count(*) FROM things WHERE key >= id || '/' AND key < id || '0') <> 20 OR
			kind IN ('transfer', 'hold') AND NOT EXISTS (SELECT FROM money_transfers t WHERE t.id = done.id) OR
			kind = 'batch' AND (SELECT count(*) FROM money_transfers t WHERE t.id >= done.id || '/' AND t.id < done.id || '0') <> 30 OR
			kind IN ('call', 'request') AND NOT EXISTS (SELECT FROM once WHERE key = id AND state = 'completed') OR
			kind IN ('call', 'request') AND NOT EXISTS (SELECT FROM effects e WHERE e.id = done.id) OR
			kind = 'saga' AND NOT EXISTS (SELECT FROM trips WHERE saga = id AND state = 'completed') OR
			kind = 'saga' AND (SELECT count(*) FROM effects e WHERE e.id = done.id) <> 2
	}), '', "$name: nothing is lost that was acknowledged");
	return;
}

1;
