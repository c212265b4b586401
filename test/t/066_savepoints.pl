# Savepoints, nested and left in any way, around calls of all kinds: what a model says that is left is what
# there is, also in the statistics. Errors in the middle of it, exception blocks of PL/pgSQL, and more than 64
# subtransactions in one transaction, while another session looks on.
#
# The program is drawn beforehand and runs in one psql, whose output is compared with what the model expects.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../stress", $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SavepointModel;
use ServerLog;
use Storable qw(dclone);
use StressClient;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_keep'\npg_keep.reaper = off\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_keep;
	SELECT keep.create_store('s'), keep.create_store('l'), keep.create_ledger('m'), keep.create_request_log('r'),
		keep.create_saga_log('g');
	SELECT keep.open_account('m', 'out', 'EUR', min_balance => NULL), keep.open_account('m', 'a', 'EUR'),
		keep.open_account('m', 'b', 'EUR', max_balance => 500), keep.open_account('m', 'c', 'EUR'),
		keep.open_account('m', 's', 'EUR', shards => 3);
	SELECT keep.transfer('m', 'first', 'out', 'a', 1000);
	CREATE TABLE effects (nr bigint GENERATED ALWAYS AS IDENTITY, what text);
	CREATE FUNCTION act(args jsonb) RETURNS jsonb LANGUAGE sql AS
		'INSERT INTO effects (what) VALUES (args #>> ''{}''); SELECT args';
	CREATE FUNCTION undo(args jsonb) RETURNS jsonb LANGUAGE sql AS
		'INSERT INTO effects (what) VALUES (''undo '' || (args ->> ''args'')); SELECT args';
	CREATE FUNCTION fail(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effects (what) VALUES ('never');
		RAISE EXCEPTION 'no';
	END $$;
	SELECT keep.allow_saga_function('g', fn) FROM unnest('{act(jsonb),undo(jsonb),fail(jsonb)}'::regprocedure[]) fn;

	-- runs one operation in an exception block, and perhaps another in a block inside, in which OUTER stands for
	-- the versions of the first
	CREATE FUNCTION attempt(sql text, inner_sql text, inner_fails bool, fails bool,
		OUT said text, OUT v text, OUT inner_said text, OUT inner_v text) LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE sql INTO said, v;
		IF inner_sql IS NOT NULL THEN
			BEGIN
				EXECUTE replace(inner_sql, 'OUTER', quote_nullable(v)) INTO inner_said, inner_v;
				IF inner_fails THEN
					RAISE EXCEPTION 'no';
				END IF;
			EXCEPTION WHEN OTHERS THEN
				inner_said := concat_ws(' ', inner_said, 'caught', SQLSTATE);
			END;
		END IF;
		IF fails THEN
			RAISE EXCEPTION 'no';
		END IF;
	EXCEPTION WHEN OTHERS THEN
		said := concat_ws(' ', said, 'caught', SQLSTATE);
	END $$;
	CREATE VIEW look AS SELECT concat_ws('; ',
		(SELECT string_agg(concat_ws(' ', key, value, CASE WHEN expires_at IS NULL THEN 'for ever' ELSE 'limited' END), '; '
			ORDER BY key) FROM s WHERE expires_at IS NULL OR expires_at > clock_timestamp()),
		(SELECT string_agg(key || ' ' || (value ->> 'owner'), '; ' ORDER BY key) FROM l WHERE expires_at > clock_timestamp()),
		(SELECT string_agg(concat_ws(' ', account, balance, debits_pending, credits_pending), '; ' ORDER BY account)
			FROM (SELECT DISTINCT id FROM m) a, keep.balance('m', id)),
		(SELECT string_agg(concat_ws(' ', key, state, coalesce(checkpoint::text, ''), coalesce(response::text, '')), '; '
			ORDER BY key) FROM r),
		(SELECT string_agg(saga || ' ' || state, '; ' ORDER BY saga) FROM g),
		(SELECT count(*) FROM effects),
		(SELECT string_agg(what, '; ' ORDER BY nr DESC) FROM (SELECT * FROM effects ORDER BY nr DESC LIMIT 20) e)) AS out,
		(SELECT coalesce(array_agg(version ORDER BY key), '{}') FROM s WHERE expires_at IS NULL OR expires_at > clock_timestamp()) AS v;
});
$node->safe_psql('postgres', 'SELECT keep.stat_reset()');

srand($StressClient::seed);
note("STRESS_SEED=$StressClient::seed repeats this run");

my $model = SavepointModel->new;
my $state = SavepointModel::state_at_first();		# as it is now
my $committed = dclone($state);
my @savepoints;					# each with a name and the state then
my $in_transaction = 0;
my $aborted = 0;
my @script;
my @expected;					# for each item: code, out, and number and v of up to two operations
my %counted;

# {12, 1} in a statement, and in a string constant of one
sub plain { return $_[0] =~ s/\{(\d+), (\d+)\}/(:'v$1'::bigint[])[$2]/gr; }
sub constant { return "\$q\$$_[0]\$q\$" =~ s/\{(\d+), (\d+)\}/(\$q\$ || quote_literal(:'v$1') || \$q\$::bigint[])[$2]/gr; }

# Adds a query of the columns given, as out and v, and what it is to answer.
sub item
{
	my ($sql, @expect) = @_;
	my @variables = map { "v$_->[0]" } grep { ref } @expect[ 2 .. $#expect ];

	push @script, "$sql \\gset", "\\echo $#{[@expected, 1]} :SQLSTATE |:out|" . join('|', map { ":$_" } @variables);
	push @expected, \@expect;
	return;
}

# A statement that returns nothing
sub command
{
	my ($sql, $code) = @_;
	push @script, "$sql;", "\\echo $#{[@expected, 1]} :SQLSTATE ||";
	push @expected, [ $code, '' ];
	return;
}

sub columns { my ($operation) = @_; return "SELECT out, coalesce(v, '{}') AS v$operation->{number} FROM (" . plain($operation->{sql}) . ') q'; }

# Number and versions of an operation, and of which table they are
sub answer_of { my ($operation) = @_; return [ @$operation{ 'number', 'v' }, $operation->{sql} =~ /keep\.\w+\('([slrg])'/ ]; }

# What an error does to the transaction
sub failed
{
	if ($in_transaction) { $aborted = 1; }
	return;
}

sub one_operation
{
	my $operation = $model->operation($state);
	$counted{ $operation->{code} }++;
	item(columns($operation), $operation->{code}, $operation->{out}, answer_of($operation));
	failed() if $operation->{code} ne '00000';
	$committed = dclone($state) if !$in_transaction;
	return;
}

# One or two operations in PL/pgSQL, where errors are caught
sub attempt
{
	my $before = dclone($state);
	my $operation = $model->operation($state);
	my ($inner, $inner_fails, $inner_out);
	my $fails = rand() < 0.3;
	my $out = $operation->{code} eq '00000' ? $operation->{out} : "caught $operation->{code}";
	my @answers = (answer_of($operation));

	if ($operation->{code} eq '00000' && rand() < 0.6)
	{
		my $outside = dclone($state);
		$inner = $model->operation($state);
		# psql does not know the versions of the operation outside yet
		$inner->{sql} =~ s/\{$operation->{number}, (\d+)\}/(OUTER::bigint[])[$1]/g;
		$inner_fails = rand() < 0.4;
		my $code = $inner->{code} ne '00000' ? $inner->{code} : $inner_fails ? 'P0001' : '';
		$inner_out = join ' ', $inner->{out} // (), $code ? "caught $code" : ();
		$state = $outside if $code;
		push @answers, answer_of($inner);
	}
	if ($operation->{code} ne '00000' || $fails)
	{
		$state = $before;
		$out .= ' caught P0001' if $operation->{code} eq '00000';
	}
	item("SELECT concat_ws(' / ', said, inner_said) AS out, coalesce(v, '{}') AS v$operation->{number}"
		  . ($inner ? ", coalesce(inner_v, '{}') AS v$inner->{number}" : '') . ' FROM attempt('
		  . join(', ', constant($operation->{sql}), $inner ? constant($inner->{sql}) : 'NULL',
			$inner_fails ? 'true' : 'false', $fails ? 'true' : 'false') . ')',
		'00000', join(' / ', $out, $inner_out // ()), @answers);
	$counted{attempt}++;
	$committed = dclone($state) if !$in_transaction;
	return;
}

# The tables, and the versions of all entries
sub look
{
	item("SELECT out, v AS v0 FROM look", '00000', $model->show($state),
		[ 0, [ map { $state->{entries}{$_}{version} } sort keys %{ $state->{entries} } ] ]);
	return;
}

sub savepoint
{
	my ($name) = @_;
	command("SAVEPOINT $name", '00000');
	push @savepoints, { name => $name, state => dclone($state) };
	return;
}

# The last savepoint of a name that there is, and with it the place
sub find_savepoint
{
	my ($name) = @_;
	foreach my $i (reverse 0 .. $#savepoints)
	{
		return $i if $savepoints[$i]{name} eq $name;
	}
	return undef;
}

sub roll_back_to
{
	my ($name) = @_;
	my $i = find_savepoint($name);
	command("ROLLBACK TO $name", '00000');
	$#savepoints = $i;
	$state = dclone($savepoints[$i]{state});
	$aborted = 0;
	look() if rand() < 0.5;
	return;
}

sub release
{
	my ($name) = @_;
	command("RELEASE $name", '00000');
	$#savepoints = find_savepoint($name) - 1;
	return;
}

sub any_savepoint { return $savepoints[ int(rand(@savepoints)) ]{name}; }

sub begin
{
	my $level = ('', '', ' ISOLATION LEVEL REPEATABLE READ', ' ISOLATION LEVEL SERIALIZABLE')[ int(rand(4)) ];
	command("BEGIN$level", '00000');
	command("SET LOCAL pg_keep.direct_access = off", '00000') if rand() < 0.4;
	($in_transaction, $aborted, @savepoints) = (1, 0);
	return;
}

# The end, as we like or as it must be
sub end
{
	my $commit = rand() < 0.75;
	command($commit ? 'COMMIT' : 'ROLLBACK', '00000');
	$committed = dclone($state) if $commit && !$aborted;
	$state = dclone($committed);
	($in_transaction, $aborted, @savepoints) = (0, 0);
	look();
	foreach my $view ([ 'stats', 'stores', "store_name = 's'" ], [ 'lease_stats', 'stores', "store_name = 'l'" ],
		[ 'money', 'ledgers', 'true' ])
	{
		my ($counts, $table, $condition) = @$view;
		my @names = sort keys %{ $state->{$counts} };
		item("SELECT concat_ws(' ', " . join(', ', map { "'$_', $_" } @names) . ") AS out FROM keep.stat_$table WHERE $condition",
			'00000', join(' ', map { "$_ $state->{$counts}{$_}" } @names));
	}
	return;
}

# What can be done where the transaction is aborted: nothing but to go back
sub when_aborted
{
	my $draw = rand();
	if ($draw < 0.3) { command("SELECT FROM keep.put('s', 'k0', '1')", '25P02'); }
	elsif ($draw < 0.4) { command('SAVEPOINT x', '25P02'); }
	elsif ($draw < 0.5 && @savepoints) { command('RELEASE ' . any_savepoint(), '25P02'); }
	elsif (@savepoints) { roll_back_to(any_savepoint()); }
	else { end(); }
	return;
}

# A transaction of so many steps
sub transaction
{
	my ($steps) = @_;
	begin();
	while ($in_transaction && $steps-- > 0)
	{
		my $draw = rand();
		if ($aborted) { when_aborted(); }
		elsif ($draw < 0.45) { one_operation(); }
		elsif ($draw < 0.6) { attempt(); }
		elsif ($draw < 0.78) { savepoint(('a' .. 'e')[ int(rand(5)) ]); }
		elsif ($draw < 0.88 && @savepoints) { roll_back_to(any_savepoint()); }
		elsif ($draw < 0.94 && @savepoints) { release(any_savepoint()); }
		elsif ($draw < 0.95) { command('SELECT 1/0', '22012'); failed(); }
		elsif ($draw < 0.96) { command('RELEASE nowhere', '3B001'); failed(); }
	}
	end() if $in_transaction;
	return;
}

# Another session sees nothing of it, and waits for who has written a key.
sub look_from_outside
{
	my $outside = "SELECT string_agg(key || value, ' ' ORDER BY key) FROM s WHERE expires_at IS NULL OR expires_at > now()";
	my $entries = $committed->{entries};
	push @script, "\\echo $#{[@expected, 1]} 00000 |", "\\! psql -XAtq -c \"$outside\"", '\\echo ||';
	push @expected, [ '00000', join(' ', map { "$_$entries->{$_}{value}" } sort keys %$entries) ];
	return;
}

# One of more than 64 subtransactions, each with something written
sub deep_transaction
{
	begin();
	foreach my $level (1 .. 90)
	{
		savepoint("deep$level");
		one_operation();
		roll_back_to("deep$level") if $aborted;
		item("SELECT status AS out, ARRAY[version] AS v" . ++$model->{number} . " FROM keep.put('s', 'k0', '$level')", '00000',
			$state->{entries}{k0} ? 'updated' : 'created', [ $model->{number}, ['new'], 's' ]);
		$model->set_entry($state, 'k0', $level, 'NULL');
	}
	look();
	look_from_outside();
	foreach my $turn (1 .. 12)
	{
		last if !@savepoints;
		my $name = $savepoints[ int(@savepoints * (0.7 + rand(0.3))) ]{name};
		$turn % 2 ? roll_back_to($name) : release($name);
		look();
		one_operation();
		last if $aborted;
	}
	look_from_outside();
	end();
	return;
}

# The program
foreach my $round (1 .. StressClient::scaled(120) || 1)
{
	transaction(5 + int(rand(45)));
	one_operation() foreach 1 .. 3;
	attempt();
	deep_transaction() if $round % 40 == 10;
}
my $file = "$PostgreSQL::Test::Utils::log_path/066_savepoints.sql";
unlink $file;
append_to_file($file, join("\n", '\\set ON_ERROR_STOP off', '\\set VERBOSITY sqlstate', @script, ''));
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
my ($answers, $errors) = run_command([ 'psql', '-XAtq', '-f', $file ]);
$answers =~ s/ \|\n(.*)\n\|\|$/ |$1|/gm;

# What it answered. A version is above all that were drawn before by the same table.
my %drawn;
my %highest;
my @wrong;
my @lines = split /\n/, $answers;

foreach my $i (0 .. $#expected)
{
	my ($code, $out, @operations) = @{ $expected[$i] };
	my ($number, $got, $got_out, @versions) = ($lines[$i] // 'none none') =~ /^(\d+) (\w+) \|/
	  ? ("$1", "$2", split_answer($lines[$i], scalar @operations)) : (-1, 'none', '');
	my $bad = $number != $i ? 'no answer' : $got ne $code ? "$got, not $code" : '';
	if (!$bad && $code eq '00000')
	{
		$bad = "answer\n$got_out\nexpected\n$out" if $got_out ne $out;
		$bad ||= check_versions($_->[0], $_->[1], $_->[2], shift @versions) foreach @operations;
	}
	push @wrong, "$i: $bad" if $bad;
	last if @wrong > 3;
}

# The rest of a line: the text, and as many arrays of versions as there are operations
sub split_answer
{
	my ($line, $count) = @_;
	my ($rest) = $line =~ /^\d+ \w+ \|(.*)$/;
	my @parts = split /\|/, $rest, -1;
	my @versions = $count ? splice(@parts, -$count) : ();
	pop @parts if !$count && @parts > 1;
	return (join('|', @parts), @versions);
}

sub check_versions
{
	my ($number, $expected, $table, $text) = @_;
	return '' if !defined $expected;
	my @got = grep { $_ ne 'NULL' } ($text // '') =~ /(\d+|NULL)/g;
	$drawn{$number} = [ ($text // '') =~ /(\d+|NULL)/g ] if $number;
	return "versions $text, not " . @$expected if @got != @$expected;
	my $before = defined $table ? $highest{$table} // 0 : 0;
	foreach my $i (0 .. $#got)
	{
		my $wanted = $expected->[$i];
		if (ref $wanted)
		{
			my $right = $drawn{ $wanted->[0] }[ $wanted->[1] - 1 ] // 'unknown';
			return "version $got[$i], not $right" if $got[$i] ne $right;
		}
		elsif ($got[$i] <= $before)
		{
			return "version $got[$i] after $before";
		}
		$highest{$table} = $got[$i] if defined $table && $got[$i] > ($highest{$table} // 0);
	}
	return '';
}

is(join("\n", @wrong), '', scalar(@expected) . ' statements answer what the model says')
  or diag("STRESS_SEED=$StressClient::seed\n$file");
note(join(', ', map { "$counted{$_} times $_" } sort keys %counted));
is($node->safe_psql('postgres', "SELECT rule, detail FROM keep.verify_ledger('m') WHERE NOT ok"), '', 'the ledger adds up');
$node->stop;
check_server_log($node);
done_testing();
