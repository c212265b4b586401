#!/usr/bin/perl
# Calls every function and procedure of pg_keep with random arguments, good and evil, in random
# surroundings: bare, prepared, through cursors, in transactions, subtransactions and read-only ones, under
# odd settings. Counts the calls by function and SQLSTATE. What must not happen shows in the server's log.
#
#   caller.pl SEED SECONDS USER FILE        writes the counts to FILE; $PGHOST and so on say where
#
# Each session is one psql with some hundreds of statements, after each of which it says what came of it.
use strict;
use warnings;

my ($seed, $seconds, $user, $file) = @ARGV;
srand($seed);
my $until = time + $seconds;
my $super = $user eq 'smith_super';
my $base = "$file.session";
my $version = `psql -XAtq -U $user -d smith -c 'SHOW server_version_num'`;

# What to call: name, kind, whether it returns a set, the arguments' names and types, how many have defaults
my @functions = map { my @f = split /\|/; { name => $f[0], kind => $f[1], set => $f[2] eq 't', defaults => $f[3],
		args => [ map { [ split /=/ ] } split /;/, $f[4] // '' ] } }
	split /\n/, `psql -XAtq -U $user -d smith -f - <<'END'
SELECT proname, prokind, proretset, pronargdefaults,
	(SELECT string_agg(proargnames[n] || '=' || format_type(t, NULL), ';' ORDER BY n)
		FROM unnest(proargtypes) WITH ORDINALITY a (t, n))
FROM pg_catalog.pg_proc WHERE pronamespace = 'keep'::regnamespace
	AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND proname <> 'stop_reaper'
ORDER BY proname
END
`;
die "no functions" unless @functions > 40;

sub one { return $_[ rand @_ ] }
sub chance { return rand() < $_[0] }
sub quote { my $s = shift; $s =~ s/'/''/g; return "'$s'" }

my @stores = map { "s_$_" } qw(plain plain hash unlogged slide once small extra secure private stripped);
my @ledgers = map { "l_$_" } qw(plain plain history trigger secure);
my @requests = qw(r_plain r_short);
my @sagas = qw(g_plain g_few);
my @strange = qw(n_plain n_parted n_parted_0 n_view n_matview n_sequence n_type n_pretender s_plain_pkey s_children
	l_plain_transfers g_plain_steps keep.relation pg_catalog.pg_class keep.stat_stores);

# The table that a function is about, most of the time
sub relation
{
	my ($function, $arg) = @_;
	my $saga = $function =~ /saga|step|compensation/;
	my $pool = $arg eq 'store' ? \@stores : $arg eq 'ledger' ? \@ledgers
		: $arg eq 'log' ? ($saga ? \@sagas : \@requests) : [ @stores, @ledgers, @requests, @sagas, @strange ];
	return quote(one(@$pool)) if chance(0.9);
	return quote('made_' . int rand 10) if chance(0.2);
	return one('NULL', '0', '4294967295', "'16384'", '(SELECT reltoastrelid FROM pg_class WHERE relname = \'s_plain\')::regclass')
		if chance(0.3);
	return quote(one(@strange, @stores, @ledgers, @requests, @sagas, 'no_such_table'));
}

my @evil_texts = ("''", "repeat('x', 1024)", "repeat('x', 1025)", "repeat(U&'\\20AC', 341)", "repeat('x', 1000000)", 'NULL', "' '",
	"'Ω\x{2028}'", "E'\\x01\\n\\t\\\\'", "'\"'", "''''", "'%s%n%d'", "U&'\\+01F600'", "'NaN'", "'../../etc'", "chr(1114111)", "'k1 '",
	"' k1'", "'K1'", "repeat('\\', 600)", "'null'", "'pg_temp.x'", "'a.b.c.d'", "'\"'", "quote_ident(repeat('ü', 63))");
my %texts = (
	key => sub { 'k' . int rand 20 }, saga => sub { 'g' . int rand 13 }, step => sub { 'p' . int rand 4 },
	id => sub { one('t', 't', 'c', 'n' . int(rand 50) . '-') . int rand 20 }, original_id => sub { 't' . int rand 20 },
	account => sub { 'a' . int rand 10 }, from_account => sub { 'a' . int rand 9 }, to_account => sub { 'a' . int rand 9 },
	name => sub { 'lease' . int rand 5 }, owner => sub { one('me', 'you') }, unit => sub { one('EUR', 'EUR', 'USD') },
	option => sub { one(qw(ttl expire_after max_lifetime renew_after max_value_bytes hash_keys persistence)) },
	value => sub { one('1 s', '50 ms', '20', 'write', 'access', 'create', 'true', 'logged', 'unlogged') },
	kind => sub { one(qw(store ledger transfers request_log saga_log saga_steps)) },
	expire_after => sub { one(qw(write access create)) }, persistence => sub { one(qw(logged unlogged)) },
	on_lapse => sub { one(qw(reclaim indeterminate)) }, report => sub { one(qw(all exceptions)) },
	worker => sub { 'w' . int rand 3 }, compensation => sub { 'undo' }, after => sub { int rand 100 },
	state => sub { 'running' });

sub text
{
	my ($function, $arg) = @_;
	return one(@evil_texts) if chance(0.06);
	return quote('made_' . int rand 10) if $arg eq 'name' && $function =~ /^create_/;
	return "(SELECT cursor FROM keep.statement('l_history', 'a1', NULL, 9) ORDER BY random() LIMIT 1)"
		if $arg eq 'after' && chance(0.7);
	return quote($texts{$arg} ? $texts{$arg}->() : 'k1');
}

my @evil_intervals = ("'-1 s'", "'0'", "'1 us'", "'-1 us'", "'178000000 years'", "'-178000000 years'", "'2147483647 months'",
	"'-2147483648 days'", "make_interval(secs => 9223372036854)", "'9223372036854775807 us'", "'-9223372036854775808 us'", "'290000 years'",
	"'1 month -30 days'", "'1 month -31 days 1 s'", "'100000 years'", "'2147483647 days'", "'294000 years'", "NULL");
push @evil_intervals, "'infinity'", "'-infinity'" if $version >= 170000;
sub interval
{
	my ($function, $arg) = @_;
	return one(@evil_intervals) if chance(0.12);
	return "'" . int(rand 60) . " ms'" if $arg =~ /^(wait|timeout)$/;
	return one('NULL', "'" . int(rand 100) . " ms'", "'" . int(rand 10) . " s'", "'1 hour'", "'1 day'", "'1 month'");
}

my @evil_json = ('NULL', "'null'", "'\"\"'", "(repeat('[', 4000) || repeat(']', 4000))::jsonb", "'\"\\u0001\\ud83d\\ude00\"'",
	"(repeat('{\"a\":', 2000) || '1' || repeat('}', 2000))::jsonb", "to_jsonb(repeat('y', 1000000))", "'1e308'", "'-0'", "'1e-300'",
	"'1.0000000000000000000000000000000000000000000000001'", "('1' || repeat('0', 5000))::jsonb", "'{\"\": null}'", "'9223372036854775807'",
	"'9223372036854775808'", "'[[], {}, [null]]'", "(SELECT jsonb_object_agg('k' || n, n) FROM generate_series(1, 2000) n)",
	"(SELECT jsonb_agg(n) FROM generate_series(1, 2000) n)", "'{\"a\": {\"b\": null}, \"c\": null}'", "'\"\\u0000\"'", "to_jsonb('NaN'::float8)",
	"'{\"k1\": 1, \"k1\": 2}'", "to_jsonb(NULL::text)", "'{\"ttl\": -1}'", "'{\"ttl\": \"infinity\", \"hash_keys\": 3}'");
my @plain_json = ('1', '{}', '[]', '"x"', 'true', '{"a": 1}', '{"a": {"b": 2}}', '{"n": 1}', '{"n": 3}', '-5', '[1, 2]');

# An item of transfer_batch, mostly right
sub item
{
	my %item = (id => '"' . $texts{id}->() . '"', from_account => '"a' . int(1 + rand 8) . '"',
		to_account => '"a' . int(1 + rand 8) . '"', amount => int(rand 20) + 1);
	$item{hold} = one('"1 s"', '"5 ms"', 'null') if chance(0.3);
	$item{chain} = one('"c"', '"d"', 'null') if chance(0.3);
	$item{metadata} = one('{}', 'null', '1') if chance(0.2);
	$item{ one(sort keys %item) } = one('null', '[]', '1.5', '1e30', '""', 'true', '-9223372036854775809', '"1"', '"-1 s"') if chance(0.03);
	$item{ one('extra', 'ID') } = 1 if chance(0.01);
	delete $item{ one(sort keys %item) } if chance(0.02);
	return '{' . join(',', map { "\"$_\":$item{$_}" } sort keys %item) . '}';
}

sub json
{
	my ($function, $arg) = @_;
	return one(@evil_json) if chance(0.1);
	return quote('[' . join(',', map { item() } 1 .. rand 12) . ']') if $arg eq 'items';
	return quote('{' . join(',', map { "\"k$_\":" . one(@plain_json) } 1 .. rand 12) . '}') if $arg eq 'entries';
	return quote(one('{"ttl": "1 s"}', '{"hash_keys": true}', '{"history": true}', '{}', '{"retain": "1 s"}', '{"ttl": null}'))
		if $arg eq 'options';
	return quote(one(@plain_json));
}

my @evil_numbers = qw(NULL 0 -1 9223372036854775807 -9223372036854775808 9223372036854775806 4611686018427387904 2147483648);
sub bigint
{
	my ($function, $arg) = @_;
	return one(@evil_numbers) if chance(0.1);
	if ($arg =~ /token|version/ && chance(0.9))
	{
		my ($column, $table) = $function =~ /step|compensation/ ? ('token', one('g_plain_steps', 'g_few_steps'))
			: $function =~ /request/ ? ('token', one(@requests)) : ('version', one('s_plain', 's_hash', 's_slide', 's_small'));
		return "(SELECT $column FROM $table ORDER BY random() LIMIT 1)";
	}
	return int rand 10 if chance(0.9);
	return int(rand(2) * 1e15) - int 1e15;
}

my @evil_arrays = ('NULL', "'{}'", "'{NULL}'", "'[5:7]={1,2,3}'", "'{{1,2},{3,4}}'", "'{{{1}}}'", "'[-2147483648:-2147483647]={1,2}'",
	"'{NULL,NULL}'", "array_fill('1'::text, ARRAY[3000])");
sub array
{
	my ($type, $function, $arg, $length) = @_;
	return one(@evil_arrays) . "::$type\[]" if chance(0.06);
	$length += int(rand 3) - 1 if chance(0.06);
	my $of = { ids => 'id', from_accounts => 'from_account', to_accounts => 'to_account', amounts => 'amount', keys => 'key',
		holds => 'hold', chains => 'chain', path => 'owner' }->{$arg} // $arg;
	return 'ARRAY[' . join(', ', map { value($type, $function, $of, 0) } 1 .. $length) . "]::$type\[]";
}
$texts{chain} = sub { one('c', 'd', 'e') };

sub regprocedure
{
	return one('NULL', '0', "'now()'", "'fn_wrong(text)'", "'fn_procedure(jsonb)'", "'no_such(jsonb)'", '4294967295', "'jsonb_typeof(jsonb)'")
		if chance(0.06);
	return "'" . one(qw(fn_ok fn_ok fn_null fn_raise fn_some fn_put fn_again fn_caught fn_strict)) . "(jsonb)'";
}

sub value
{
	my ($type, $function, $arg, $length) = @_;
	return array($1, $function, $arg, $length) if $type =~ /^(.*)\[\]$/;
	return relation($function, $arg) . '::regclass' if $type eq 'regclass';
	return text($function, $arg) . ($function =~ /^create_/ && $arg eq 'name' ? '' : '::text') if $type eq 'text';
	return interval($function, $arg) . '::interval' if $type eq 'interval';
	return json($function, $arg) . '::jsonb' if $type eq 'jsonb';
	return bigint($function, $arg) . '::bigint' if $type eq 'bigint';
	return one(1, 2, 5, 10, 100, 100, 1000, 0, -1, 'NULL', '2147483647', "'-2147483648'") . '::integer' if $type eq 'integer';
	return one('true', 'false', 'false', 'NULL') . '::boolean' if $type eq 'boolean';
	return regprocedure() . '::regprocedure' if $type eq 'regprocedure';
	die "no values of type $type for $function($arg)";
}

# A call, with some or all arguments that have a default left out
sub call
{
	my ($f) = @_;
	my @args = @{ $f->{args} };
	my $length = chance(0.1) ? int rand 200 : int rand 6;
	my $required = @args - $f->{defaults};
	my $given = $required + int rand($f->{defaults} + 1);
	my @values = map { my ($arg, $type) = @{ $args[$_] };
		value($type, $f->{name}, $arg, $length) } 0 .. $given - 1;
	@values = map { "\"$args[$_][0]\" => $values[$_]" } 0 .. $#values if chance(0.2);
	return "keep.\"$f->{name}\"(" . join(', ', @values) . ')';
}

# Calls with arguments that belong together, which chance alone brings about too seldom
my $step = 'SELECT * FROM g_plain_steps WHERE token IS NOT NULL AND status = ';
my %fitting = (
	assert_lease => sub { my $s = one('s_plain', 's_hash'); my $l = "lease" . int(1 + rand 3);
		"SELECT keep.assert_lease('$s', '$l', (SELECT token FROM keep.acquire('$s', '$l', 'me', '1 s')))" },
	renew => sub { my $s = one('s_plain', 's_hash'); my $l = "lease" . int(1 + rand 3);
		"SELECT keep.renew('$s', '$l', (SELECT token FROM keep.acquire('$s', '$l', 'me', '1 s')), '1 s')" },
	release => sub { "SELECT keep.release('s_plain', 'lease1', (SELECT version FROM keep.get_entry('s_plain', 'lease1')))" },
	leave_step => sub { "SELECT keep.leave_step('g_plain', saga, step, token, " . one('true', 'false') . ") FROM (${step}'running' LIMIT 1) s" },
	finish_compensation => sub { "SELECT keep.finish_compensation('g_plain', saga, step, token, " . one('true', 'false')
			. ") FROM keep.claim_compensations('g_plain', 'w', 2) s" },
	map { my $f = $_; $f => sub { my $r = one('r_plain', 'r_short'); "SELECT keep.$f('$r', key, token"
			. ($f eq 'release_request' ? '' : ", '{}'") . ") FROM (SELECT * FROM $r WHERE state = 'in_progress' LIMIT 1) s" } }
		qw(checkpoint_request complete_request fail_request release_request));

my (%calls, $sessions, $lost);
my $number = 0;
sub statement
{
	my ($inside) = @_;
	my $f = one(@functions);
	# rather one that has not succeeded yet
	$f = one(grep { !$calls{"$_->{name} 00000"} } @functions) // $f if chance(0.1);
	my $call = call($f);
	my $name = $f->{name};
	my @lines;
	if ($fitting{$name} && chance(0.4))
	{
		@lines = ($fitting{$name}->());
	}
	elsif ($f->{kind} eq 'p')
	{
		@lines = ("CALL $call");
		@lines = ("DO \$q\$ BEGIN $lines[0]; END \$q\$") if chance(0.2);
	}
	elsif (chance(0.6)) { @lines = ("SELECT * FROM $call") }
	elsif (chance(0.2)) { @lines = ("SELECT $call") }
	elsif (chance(0.2)) { @lines = ("SELECT $call FROM generate_series(1, 3)") }
	elsif (chance(0.2)) { @lines = ("SELECT * FROM generate_series(1, 3) g LEFT JOIN LATERAL $call f ON true LIMIT 2") }
	elsif (chance(0.2)) { @lines = ("SELECT EXISTS (SELECT FROM $call)") }
	elsif (chance(0.2)) { @lines = ("SELECT x FROM (SELECT row_to_json(f) AS x FROM $call f) s WHERE x IS NOT NULL UNION ALL SELECT NULL") }
	elsif (chance(0.2)) { @lines = ("CREATE TEMP TABLE IF NOT EXISTS t$$ AS SELECT $call AS x WITH NO DATA") }
	elsif (chance(0.3))
	{
		my $p = 'p' . ++$number;
		@lines = ("PREPARE $p AS SELECT * FROM $call", ("EXECUTE $p") x (1 + rand 8), "DEALLOCATE $p");
	}
	elsif (chance(0.4))
	{
		# A set that is not read to its end
		@lines = ('BEGIN', "DECLARE c CURSOR " . one('', 'WITH HOLD ') . "FOR SELECT * FROM $call", 'FETCH 1 FROM c',
			one('CLOSE c', 'FETCH ALL FROM c', 'SELECT 1'), one('COMMIT', 'ROLLBACK'), 'CLOSE ALL');
		my $c = 'c' . ++$number;
		@lines = ("DECLARE $c CURSOR FOR SELECT * FROM $call", "FETCH 1 FROM $c", "CLOSE $c") if $inside;
	}
	else
	{
		@lines = ("DO \$q\$ BEGIN FOR i IN 1.." . int(1 + rand 3) . " LOOP BEGIN PERFORM * FROM $call; " . one('', "RAISE 'x'; ")
			. "EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END \$q\$");
	}
	# What a block catches counts by itself
	return map { my $counts = /^DO/ ? 'block' : /keep\.|^EXECUTE|^FETCH 1/ && !/^DECLARE|^PREPARE/ ? $name : 'other';
		($_, "\\echo @@ $counts :SQLSTATE") } @lines;
}

# Several statements in a transaction, with savepoints
sub transaction
{
	my @lines = ('BEGIN ' . one('', '', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE', '', '', 'READ ONLY'));
	for (1 .. 1 + rand 8)
	{
		if (chance(0.85)) { push @lines, 'SAVEPOINT a', statement(1), one('ROLLBACK TO a', 'ROLLBACK TO a', 'RELEASE a') }
		else { push @lines, statement(1) }
	}
	return (@lines, one('COMMIT', 'COMMIT', 'ROLLBACK', "PREPARE TRANSACTION 'x$$'"));
}

# What happens beside the calls
my @settings = ('pg_keep.direct_access = off', 'plan_cache_mode = force_generic_plan', 'plan_cache_mode = force_custom_plan',
	"IntervalStyle = 'sql_standard'", "DateStyle = 'German'", "TimeZone = 'Asia/Kathmandu'", 'enable_indexscan = off', 'enable_seqscan = off',
	'row_security = off', 'client_encoding = LATIN1', 'transform_null_equals = on', 'extra_float_digits = -15',
	'jit_above_cost = 0', 'default_transaction_read_only = on', "search_path = ''", 'synchronous_commit = off',
	"default_transaction_isolation = 'serializable'", 'quote_all_identifiers = on', 'check_function_bodies = off');
push @settings, 'session_replication_role = replica', "pg_keep.test_clock_offset = '1 s'", 'zero_damaged_pages = on',
	($version >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode') . ' = on', 'role = smith_app' if $super;
my @events = ('DISCARD PLANS', 'DISCARD ALL', 'RESET ALL', 'SELECT count(*) FROM keep.stat_stores, keep.stat_ledgers', 'TABLE keep.stat_reaper',
	'DELETE FROM n_plain', 'LOAD \'pg_keep\'', 'SELECT pg_stat_clear_snapshot()');
push @events, 'VACUUM s_plain', 'VACUUM FULL s_slide', 'REINDEX TABLE s_hash', 'ANALYZE l_plain', 'TRUNCATE s_once', 'TRUNCATE r_short',
	'ALTER TABLE s_hash ADD COLUMN added int', 'ALTER TABLE s_hash DROP COLUMN IF EXISTS added', 'CHECKPOINT',
	'ALTER TABLE s_slide RENAME TO s_slid', 'ALTER TABLE s_slid RENAME TO s_slide', 'DROP TABLE IF EXISTS made_' . int(rand 10),
	'ALTER TABLE s_plain SET UNLOGGED', 'ALTER TABLE s_plain SET LOGGED', 'CLUSTER l_history USING l_history_pkey',
	'CREATE OR REPLACE FUNCTION fn_ok(jsonb) RETURNS jsonb LANGUAGE sql AS \'SELECT jsonb_build_object(\'\'got\'\', $1)\'',
	'ALTER TABLE l_history ADD COLUMN added int', 'ALTER TABLE l_history DROP COLUMN IF EXISTS added' if $super;

sub session
{
	my $n = 100 + int rand 300;
	my @lines = ('\set VERBOSITY sqlstate', '\o /dev/null', "SET statement_timeout = '2s'", "SET lock_timeout = '100ms'",
		"SET deadlock_timeout = '50ms'", "SET pg_keep.max_wait = '50ms'", "SET application_name = 'caller'", 'SET search_path = public');
	@lines = grep { !/deadlock_timeout|max_wait/ } @lines unless $super;
	push @lines, 'SET ' . one(@settings) for 1 .. rand 3;
	while (@lines < $n)
	{
		my $what = rand;
		push @lines, $what < 0.8 ? statement() : $what < 0.97 ? transaction() : one(@events);
	}
	return @lines;
}

my $flush = sub {
	open my $out, '>', "$file.new" or die $!;
	print $out "sessions $sessions\nlost ", $lost // 0, "\n", map { "$_ $calls{$_}\n" } sort keys %calls;
	close $out;
	rename "$file.new", $file;
};
while (time < $until)
{
	open my $script, '>:utf8', "$base.sql" or die $!;
	print $script map { /^\\/ ? "$_\n" : "$_;\n" } session();
	close $script;
	open my $psql, '-|', "psql -Xq -U $user -d smith -f $base.sql 2>$base.err" or die $!;
	while (<$psql>) { $calls{"$1 $2"}++ if /^@@ (\w+) (\w+)/ }
	close $psql;
	$sessions++;
	if ($? != 0)
	{
		# gone without having been asked to
		$lost++;
		rename "$base.sql", "$base.lost.$lost.sql";
		sleep 2;
	}
	$flush->();
}
unlink "$base.sql", "$base.err";
