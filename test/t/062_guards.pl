# Every function of pg_keep, under every condition that may stand against it: rights, row security, read-only, triggers, other
# tables and altered tables. Each cell is correct work, by its result and by what it changed, or the documented error; no
# cell is an internal error, ends the server or leaves a warning in its log. The calls and the conditions are in
# GuardTable.pm, and a function that is not there fails the test.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use GuardTable;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ServerLog;
use Test::More;

my @fields = qw(function kind args nulls columns rights rights2);
my ($nr, %call, %seen) = (0);
foreach (@calls)
{
	my %c = (nr => ++$nr);
	@c{@fields} = map { $_ // '' } @$_;
	$c{name} = $c{function} . ($seen{ $c{kind} . $c{function} }++ ? '#2' : '');
	$call{$nr} = \%c;
}
my %kinds = (s => 'store', l => 'ledger', r => 'request_log', g => 'saga_log', c => 'create', n => 'none', x => 'reaper', p => 'procedure');
my %groups = (T => 'slrg', P => 'lg', A => 'slrgcn', Ax => 'slrgcnx');

# A call, @ standing for the table; with NULL for one of the arguments
sub expression
{
	my ($call, $null) = @_;
	my @args = split /;\s*/, $call->{args};
	$args[$null] = 'NULL' if defined $null;
	return "keep.$call->{function}(" . join(', ', @args) . ')';
}

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'pg_keep'
	pg_keep.reaper = off
	autovacuum = off
	jit = off
	log_line_prefix = '%m [%p] %b %e '
	max_prepared_transactions = 5
});
$node->start;
my $began = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/guards.sql") . join '', map {
	my ($e, $columns) = (expression($_), $_->{columns} ? "\$q\$$_->{columns}\$q\$" : 'NULL');
	"INSERT INTO guard.call VALUES ($_->{nr}, '$_->{kind}', $columns, \$q\$$e\$q\$);\n"
} values %call);
$node->safe_psql('postgres', 'SELECT guard.make(kind) FROM guard.kind');

# Every function is in the table.
my %functions = map { $_ => 1 } split /\n/, $node->safe_psql('postgres',
	"SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'keep'::regnamespace");
is_deeply([ grep { my $f = $_; !grep { $_->{function} eq $f } values %call } sort keys %functions ], [], 'every function is called');

# GUARDS is a regular expression: only conditions of such a name then.
$ENV{GUARDS} //= '';
my $cells = 0;
my $found = '';
my @logs;
my $parallel = $node->pg_version < 16 ? 'force_parallel_mode' : 'debug_parallel_query';

# What cells are to be like that no rule says: by condition and call
my %file;
foreach (split /\n/, slurp_file("$FindBin::RealBin/guards.tsv"))
{
	my ($condition, $name, %cell);
	($condition, $name, @cell{qw(code result change)}) = split /\t/, $_, -1;
	$file{$condition}{$name} = \%cell;
}

# The SQL that runs a condition
sub sql_of
{
	my ($condition) = @_;
	my %c = (role => 'guard_owner', setup => '', target => q{'{t}'}, warm => 0, isolation => 'READ COMMITTED', prepared => 0, %$condition);
	my $list = join ',', map { $kinds{$_} } split //, $groups{ $c{kinds} } // $c{kinds};
	my $wrap = $c{wrap} ? ", \$q\$$c{wrap}\$q\$" : '';
	my $sql = '';
	foreach my $prepared (0 .. $c{prepared})
	{
		my ($w, $p) = map { $_ ? 'true' : 'false' } $c{warm} || $c{prepared}, $prepared;
		$sql .= "BEGIN ISOLATION LEVEL $c{isolation}; SELECT * FROM guard.run('{$list}', '$c{role}', \$t\$$c{target}\$t\$," .
		  "\$q\$$c{setup}\$q\$, $w, $p$wrap); COMMIT;\n";
	}
	$sql =~ s/\{parallel\}/$parallel/g;
	return $sql;
}

# Runs SQL that returns cells: as hashes
sub cells
{
	my ($sql, $on) = @_;
	my ($out, $err);
	($on // $node)->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0,
		extra_params => [ '-F', "\x1f", '-R', "\x1e" ]);
	my @cells;
	foreach my $line (split /[\x1e\n]/, $out)
	{
		my %cell;
		@cell{qw(kind phase nr code result change message)} = split /\x1f/, $line, -1;
		push @cells, \%cell if defined $cell{message};
	}
	return (\@cells, $err);
}

sub is_of
{
	my ($call, $class) = @_;
	return 1 if $class eq '*' || $class eq $call->{function};
	# both go on with a warning
	return 1 if $class eq 'claim_compensations' && $call->{function} eq 'run_due_compensations';
	return $kinds{$class} eq ($call->{kind} eq 'procedure' ? 'saga_log' : $call->{kind}) if $kinds{$class};
	return index($call->{ $1 ? 'rights2' : 'rights' }, $2) >= 0 if $class =~ /^(2?)([SIUD])$/;
	return $call->{rights} eq $class if $class eq 'o' || $class eq 'a';
	return $call->{kind} eq 'create' || $call->{rights} =~ /^[ox]|S./ if $class eq 'w';
	if ($class =~ /^([tu])([-+~*])$/)
	{
		my $sign = $2 eq '*' ? '[-+]?' : $2 eq '~' ? '' : "\\$2";
		return $call->{change} =~ m{(^|; )$sign$1/};
	}
	return 0;
}

# Has the call the rights that it needs?
sub allowed
{
	my ($call, @given) = @_;
	foreach my $i (0, 1)
	{
		foreach my $right (split //, $call->{ $i ? 'rights2' : 'rights' })
		{
			return 0 if index($given[$i], $right) < 0;
		}
	}
	return 1;
}

# What is expected of a call under a condition
sub expected
{
	my ($condition, $call) = @_;
	foreach my $rule (split ' ', $condition->{expected})
	{
		return allowed($call, @{ $condition->{rights} }) ? 'same' : '42501' if $rule eq 'rights';
		my ($class, $outcome) = split /=/, $rule;
		return $outcome if is_of($call, $class);
	}
	return 'same';
}

# Is a cell as expected?
sub judge
{
	my ($expected, $call, $cell, $condition) = @_;
	foreach my $outcome (split /\//, $expected)
	{
		my $is = $outcome eq 'file' ? $file{ $condition->{file} // $condition->{name} }{"$call->{kind}.$call->{name}"} // {} : $call;
		if ($outcome eq 'same' || $outcome eq 'file')
		{
			return 1 if !grep { ($is->{$_} // '?') ne $cell->{$_} } qw(code result change);
		}
		elsif ($outcome eq 'change') { return 1 if $cell->{code} eq $call->{code} && $cell->{change} eq $call->{change}; }
		elsif ($outcome eq 'clean') { return 1 if $cell->{code} =~ /^(?!XX)\w{5}$|^ok$/; }
		elsif ($outcome eq 'none') { return 1 if $cell->{code} eq 'ok' && $cell->{result} eq ''; }
		elsif ($outcome eq 'marked')
		{
			my $marks = ($cell->{change} =~ s/ mark=x//g);
			return 1 if $marks && !grep { $is->{$_} ne $cell->{$_} } qw(code result change);
		}
		elsif ($outcome eq $cell->{code}) { return 1; }
	}
	return 0;
}

sub show
{
	my ($cell) = @_;
	return "$cell->{kind} " . ($cell->{nr} ? $call{ $cell->{nr} }{function} : '') . " ($cell->{phase}): $cell->{code} " .
	  ($cell->{code} eq 'ok' ? "$cell->{result} | $cell->{change}" : $cell->{message});
}

# Takes note of a cell for a file like guards.tsv, which is left in the directory of logs
sub note_cell
{
	my ($condition, $cell) = @_;
	my $call = $call{ $cell->{nr} };
	my $line = join("\t", $condition, "$call->{kind}.$call->{name}", @$cell{qw(code result change)}, '.') . "\n";
	$found .= $line if index($found, $line) < 0;
	return;
}

# The plain calls: what the others are compared with
my ($plain, $error) = cells(sql_of({ kinds => 'Ax' }));
is($error, '', 'the plain calls, without a warning');
my @wrong;
foreach my $cell (@$plain)
{
	my $call = $call{ $cell->{nr} };
	note_cell('plain', $cell);
	@$call{qw(code result change)} = @$cell{qw(code result change)};
	push @wrong, show($cell) unless judge('file', $call, $cell, { name => 'plain' });
}
ok(!@wrong, 'what they do') or diag(join "\n", @wrong);

# The kinds of table for which this PostgreSQL refuses the SQL of a condition, by SQLSTATE
sub refused
{
	my ($since, $refused, $code) = @{ shift->{impossible} // return };
	return $node->pg_version >= $since ? map { $kinds{$_} => $code } split //, $refused : ();
}

# How many calls there are of some kinds of table
sub calls_of
{
	my @of = @_;
	return scalar grep { my $call = $_; grep { $call->{kind} eq $_ } @of } values %call;
}

# How many cells sql_of() is to return; where the SQL is refused there are those from before it.
sub number_of
{
	my ($condition) = @_;
	my %refused = refused($condition);
	my @of = map { $kinds{$_} } split //, $groups{ $condition->{kinds} } // $condition->{kinds};
	my $before = $condition->{prepared} ? 2 : $condition->{warm} ? 1 : 0;
	return $before * calls_of(@of) + ($condition->{prepared} ? 2 : 1) * calls_of(grep { !$refused{$_} } @of);
}

# Judges the cells of a condition; no other number of them is right than "number" or number_of().
sub check
{
	my ($condition, $rows, $warnings) = @_;
	my %refused = refused($condition);
	my ($is, $number) = (0, $condition->{number} // number_of($condition));
	my @bad;
	push @bad, $warnings if $warnings =~ /ERROR|FATAL/ || ($warnings ne '' && $condition->{expected} !~ /none|file|clean/);
	foreach my $cell (@$rows)
	{
		my $call = $call{ $cell->{nr} };
		if ($cell->{phase} eq 'setup')
		{
			push @bad, show($cell) unless $cell->{code} eq ($refused{ $cell->{kind} } // '');
			next;
		}
		$is++;
		my $expected = $cell->{phase} eq 'before' ? 'same' : $cell->{expected} // expected($condition, $call);
		push @bad, show($cell) . " -- expected $expected" unless judge($expected, $call, $cell, $condition);
		# 42809 as well, but not ours
		push @bad, show($cell) if $cell->{message} =~ /is a procedure|is not a procedure/;
		note_cell($condition->{file} // $condition->{name}, $cell) if $expected =~ /file/ && $cell->{phase} ne 'before';
	}
	unshift @bad, "$is cells, not $number" if $is != $number || !$number;
	$cells += $is;
	splice @bad, 50, @bad, '...' if @bad > 50;
	return ok(!@bad, "$condition->{name} ($condition->{kinds})") || diag(join "\n", @bad);
}

foreach my $condition (grep { $_->{name} =~ /$ENV{GUARDS}/ } @conditions)
{
	check($condition, cells(sql_of($condition)));
}

# A call that commits, as a cell; $sql makes it, on tables of that kind, and $after comes behind it
sub committed
{
	my ($call, $sql, $kind, $after) = @_;
	return "SELECT guard.rows('$kind') AS before \\gset\n$sql\n\\set code :SQLSTATE\n\\set message :LAST_ERROR_MESSAGE\n" .
	  ($after // '') . "RESET ROLE;\nSELECT '$call->{kind}', 'cell', $call->{nr}, CASE :'code' WHEN '00000' THEN 'ok' ELSE :'code' END, ''," .
	  " guard.change(:'before', guard.rows('$kind')), :'message';\n";
}

# The procedures commit, so they are called by psql, and so is what a condition takes committed.
my @procedures = grep { $_->{kind} eq 'procedure' } map { $call{$_} } 1 .. $nr;

# SQL that calls the procedures under a condition: "do" is what a DO block has around the call, "place" what a routine that
# makes it begins with, "around" what is around the statement, "calls" what to call instead of each once.
sub procedures_sql
{
	my %c = (role => 'guard_owner', target => q('{t}'), setup => '', isolation => '', calls => [ map { [ $_ ] } @procedures ], @_);
	my $sql = "SELECT 'app.g'::regclass::oid AS oid \\gset\n";
	$c{setup} =~ s/SET LOCAL /SET /g;
	$c{setup} =~ s/SET transaction_/SET default_transaction_/;
	$c{setup} .= "; SET default_transaction_isolation = '" . lc($c{isolation} =~ s/, READ ONLY//r) . '\'' if $c{isolation};
	$c{setup} .= '; SET default_transaction_read_only = on' if $c{isolation} =~ /READ ONLY/;
	$sql .= "DO \$setup\$ BEGIN EXECUTE \$as_is\$$c{setup}\$as_is\$; END \$setup\$;\n\\if :ERROR\n" .
	  "SELECT 'procedure', 'setup', 0, :'SQLSTATE', '$c{name}', '', :'LAST_ERROR_MESSAGE';\n\\else\n" if $c{setup};
	foreach (@{ $c{calls} })
	{
		my ($call, $null) = @$_;
		my $e = expression($call, $null);
		my $target = $c{target};
		if ($target eq q('{t}'))
		{
			$sql .= "SELECT t AS target FROM guard.kind WHERE kind = 'saga_log' \\gset\n";
			$target = q(:'target');
		}
		elsif ($target =~ /SELECT/)
		{
			$sql .= "SELECT $target\::oid AS target \\gset\n";
			$target = ':target';
		}
		$target =~ s/\{oid\}/:oid/;
		my $statement = 'CALL ' . $e =~ s/@/$target/r;
		if ($c{do} || $c{place})
		{
			# INOUT arguments must be variables in PL/pgSQL
			$statement = ($c{place} ? "CREATE OR REPLACE $c{place} LANGUAGE plpgsql AS" : 'DO') . ' $do$ DECLARE s text; n int; BEGIN ' .
			  sprintf($c{do} // '%s', $statement =~ s/:'target'/'app.g'/r =~ s/'undo'\)/'undo', s, n)/r) . '; END $do$';
			$statement .= $c{place} =~ /PROCEDURE/ ? ";\nCALL app.place()" : ";\nSELECT app.place()" if $c{place};
		}
		$sql .= committed($call, "SET ROLE $c{role};\n" . sprintf($c{around} // '%s', $statement) . ';', 'saga_log', $c{around} ? "ROLLBACK;\n" : '');
	}
	$sql .= "\\endif\n" if $c{setup};
	$sql .= "RESET ALL;\n$c{undo};\n" if $c{undo};
	my %fill = (t => 'app.g', u => 'app.g_steps', tu => 'app.g, app.g_steps', kind => 'saga_log', key => 'saga', parallel => $parallel);
	$sql =~ s/\{($_)\}/$fill{$1}/g foreach keys %fill;
	return $sql;
}

# Runs it, with the tables made anew for each: cells, and what else there is to read than errors, which are the cells'
sub procedure_cells
{
	my ($more, @conditions) = @_;
	my $sql = join '', map { "SET client_min_messages = warning;\nSELECT guard.found(), guard.make('saga_log');\n$more" . procedures_sql(%$_) } @conditions;
	my ($rows, $warnings) = cells($sql);
	return ($rows, join("\n", grep { /FATAL|PANIC|WARNING|closed/ } split /\n/, $warnings));
}

# Every argument as NULL
{
	my $sql = '';
	foreach my $call (map { $call{$_} } 1 .. $nr)
	{
		foreach my $i (0 .. length($call->{nulls}) - 1)
		{
			my $expected = substr($call->{nulls}, $i, 1) eq 'r' ? '22004' : 'ok';
			my $e = expression($call, $i);
			$sql .= $call->{kind} eq 'procedure' ? procedures_sql(calls => [ [ $call, $i ] ]) :
			  "SELECT * FROM guard.with_null($call->{nr}, '$expected', \$q\$$e\$q\$);\n";
		}
	}
	my ($rows, $warnings) = cells($sql);
	# procedures need each of theirs
	$_->{expected} = $_->{kind} eq 'procedure' ? '22004' : $_->{phase} foreach @$rows;
	$warnings =~ s/^\S+ ERROR:  argument "\w+" must not be null\n?//gm;
	check({ name => 'NULL for an argument', kinds => 'Ax', expected => '', number => length(join '', map { $_->{nulls} } values %call) },
		$rows, $warnings);
}

# Columns, one after the other. For which a change is not possible is said in the table, too.
foreach my $change (@column_changes)
{
	my ($name, $statements, @refused) = @$change;
	my @columns = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', "SELECT kind, name FROM guard.columns(\$q\$$statements\$q\$)");
	my %refused;
	@refused{ map { s/ .*//r } @refused } = map { s/.* //r } @refused;
	my $number = 0;
	$number += calls_of($_->[0]) foreach grep { !$refused{ $_->[1] } } @columns;
	my ($rows, $warnings) = cells("SELECT * FROM guard.each_column(\$q\$$statements\$q\$)");
	is_deeply({ map { $_->{result} => $_->{code} } grep { $_->{phase} eq 'setup' } @$rows }, \%refused, "a column $name: where it is refused");
	check({ name => "a column $name", kinds => 'T', expected => 'stat_reset=ok allow_saga_function=42809/same *=42809', number => $number },
		[ grep { $_->{phase} ne 'setup' } @$rows ], $warnings);
}

# In a transaction that has failed in a call: it is PostgreSQL that refuses the next one, whatever that is. What pg_keep has
# to do with it is that the same call is right again as soon as the failure is taken back.
{
	my $sql = join '', map { "BEGIN;\nSELECT replace(query, '\@', guard.fill(\$q\$'{t}'\$q\$, kind)) AS query FROM guard.call WHERE nr = $_->{nr} \\gset\n" .
		"SAVEPOINT s;\nSET LOCAL ROLE guard_owner;\nSELECT keep.get('guard.one', 'a');\n:query;\n\\set code :SQLSTATE\nROLLBACK TO s;\n" .
		"SELECT '$_->{kind}', '25P02', $_->{nr}, :'code', '', '', '';\n" .
		"SELECT * FROM guard.cell('guard_owner', :'query', false, guard.rows('$_->{kind}'), ROW('$_->{kind}', 'same', $_->{nr}, NULL, NULL, NULL, NULL));\n" .
		"ROLLBACK;\n" } grep { $_->{kind} ne 'procedure' } map { $call{$_} } 1 .. $nr;
	my ($rows) = cells($sql);
	$_->{expected} = $_->{phase} foreach @$rows;
	check({ name => 'a transaction that has failed', kinds => 'Ax', expected => '', number => 2 * ($nr - @procedures) }, $rows, '');
}

# A temporary table of another session
{
	my ($in, $out) = ("CREATE TEMP TABLE other_temp (key text COLLATE \"C\" PRIMARY KEY, value jsonb); SELECT 'made';\n", '');
	my $other = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$other->pump until $out =~ /made/;
	my %c = (name => 'a temporary table of another session', kinds => 'T', role => 'none',
		expected => 'stat_reset=ok register=0A000 *=42809', target => q((SELECT oid FROM pg_class WHERE relname = 'other_temp')::regclass));
	check(\%c, cells(sql_of(\%c)));
	check({ %c, name => "$c{name}: procedures", number => scalar @procedures }, (cells(procedures_sql(%c)))[0], '');
	$in .= "\\q\n";
	$other->finish;
}

# A hot standby
{
	$node->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	foreach my $condition ({ name => 'a standby', kinds => 'Ax', expected => 'start_reaper=55000 w=25006 *=same' },
		{ name => 'a standby, no rights', kinds => 'A', role => 'guard_user', expected => 'a=42501 w=25006 n=same *=42501' })
	{
		check($condition, cells(sql_of($condition), $standby));
	}
	check({ name => 'a standby: procedures', kinds => 'g', expected => '*=25006', number => scalar @procedures }, (cells(procedures_sql(), $standby))[0], '');
	$standby->stop;
	push @logs, $standby->logfile;
}

# Cursors that outlive their transaction: the call is made by its commit.
{
	my $sql = "SET client_min_messages = warning;\n" . join '', map { "SELECT guard.anew('$_->{kind}');\nSELECT replace(query, '\@', guard.fill(\$q\$'{t}'\$q\$, kind)) AS query FROM guard.call " .
		"WHERE nr = $_->{nr} \\gset\n" . committed($_, "SET ROLE guard_owner;\nBEGIN;\nDECLARE c CURSOR WITH HOLD FOR :query;\nCOMMIT;", $_->{kind}) .
		"FETCH 1 FROM c; CLOSE c;\nSELECT guard.anew('$_->{kind}');\n" } grep { $_->{kind} =~ /^(store|ledger|request_log|saga_log)$/ } map { $call{$_} } 1 .. $nr;
	my ($rows, $warnings) = cells($sql);
	check({ name => 'a cursor WITH HOLD', kinds => 'T', expected => '*=change' }, $rows, $warnings);
}

# The procedures, under the conditions: not where something is made of the expression that a call is, which a CALL is not, nor
# where the table says why.
my %once;
foreach my $condition ({ name => 'plain', kinds => 'g', expected => '*=file' },
	{ name => 'a DO block', kinds => 'g', expected => '*=same', do => 'NULL; BEGIN %s; END' },
	{ name => 'a DO block with an exception handler', kinds => 'g', expected => '*=2D000', do => '%s; EXCEPTION WHEN division_by_zero THEN NULL' },
	{ name => 'a procedure', kinds => 'g', expected => '*=same', place => 'PROCEDURE app.place()' },
	{ name => 'a procedure with a setting', kinds => 'g', expected => '*=2D000', place => 'PROCEDURE app.place() SET work_mem = 100' },
	{ name => 'a SECURITY DEFINER procedure', kinds => 'g', expected => '*=2D000', place => 'PROCEDURE app.place() SECURITY DEFINER' },
	{ name => 'a function', kinds => 'g', expected => '*=2D000', place => 'FUNCTION app.place() RETURNS void' },
	{ name => 'a transaction', kinds => 'g', expected => '*=2D000', around => "BEGIN;\n%s" },
	{ name => 'a transaction that has failed', kinds => 'g', expected => '*=25P02', around => "BEGIN;\nSELECT keep.get('guard.one', 'a');\n%s" },
	grep { $_->{name} =~ /$ENV{GUARDS}/ && ($groups{ $_->{kinds} } // $_->{kinds}) =~ /g/ } @conditions)
{
	my %c = (setup => '', role => '', target => '', isolation => '', %$condition);
	next if $c{wrap} || $c{no_procedure} || (!grep { $c{$_} } qw(do place around)) && $once{"$c{setup}$c{role}$c{target}$c{isolation}"}++;
	my ($rows, $warnings) = procedure_cells($c{name} =~ /another kind/ ? "SELECT guard.make(kind) FROM guard.kind WHERE kind <> 'saga_log';\n" : '', $condition);
	if ($c{name} eq 'plain')
	{
		@{ $call{ $_->{nr} } }{qw(code result change)} = @$_{qw(code result change)} foreach @$rows;
	}
	check({ %c, name => "$c{name}: procedures", file => $c{file} // $c{name}, number => scalar @procedures }, $rows, $warnings);
}
foreach my $change (@column_changes)
{
	my ($name, $statements, @refused) = @$change;
	my %refused = map { s/ .*//r => 1 } @refused;
	my @columns = map { [ split /\|/ ] } split /\n/,
	  $node->safe_psql('postgres', "SELECT guard.found(), guard.make('saga_log'); SELECT name, statements FROM guard.columns(\$q\$$statements\$q\$) WHERE kind = 'saga_log'");
	@columns = map { { name => $_->[0], setup => $_->[1] } } grep { @$_ == 2 && !$refused{ $_->[0] } } @columns;
	check({ name => "a column $name: procedures", kinds => 'g', expected => '*=42809', number => @columns * @procedures }, procedure_cells('', @columns));
}

open my $out, '>', "$PostgreSQL::Test::Utils::log_path/guards.tsv" or die;
print $out $found;
close $out;
note("$cells cells of " . @conditions . " conditions and " . @column_changes . " changes of columns");
cmp_ok($cells, '>', 28_000, 'cells') if $ENV{GUARDS} eq '';

# The server is the same one, and has nothing to complain of: besides what its log says at once, that is what it says when
# sessions end.
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $began, 'the server is the one that was started');
$node->stop;
check_server_log($_) foreach $node->logfile, @logs;
done_testing();
