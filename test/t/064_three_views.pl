# Every function as a superuser, the owner of the tables, a clerk with all rights on them and a stranger see it: what
# each may do is in RoleTable.pm, and a function that is not there fails the test. What the stranger tries leaves
# everything as it was and shows him nothing, whatever he passes. The same for pg_keep's own objects and for statistics.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RoleTable;
use ServerLog;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_keep'\npg_keep.reaper = off\nautovacuum = off\nmax_connections = 30");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_keep');
make_tables($node, 'postgres');
my @statements = calls($node, 'postgres');

sub sql { return $node->safe_psql('postgres', shift); }

# All that is stored, and the state of the catalogs
my $everything = q{
	SELECT md5(concat_ws(';', (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM app.s), (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM app.books s),
		(SELECT string_agg(s::text, ',' ORDER BY s::text) FROM app.books_transfers s), (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM app.log s),
		(SELECT string_agg(s::text, ',' ORDER BY s::text) FROM app.sagas s), (SELECT string_agg(s::text, ',' ORDER BY s::text) FROM app.sagas_steps s),
		(SELECT string_agg(s::text, ',' ORDER BY s::text) FROM keep.relation s WHERE schema_name <> 'lair'),
		(SELECT string_agg(concat_ws(' ', s.oid, s.xmin, s.proacl), ',' ORDER BY s.oid) FROM pg_proc s WHERE pronamespace = 'keep'::regnamespace),
		(SELECT string_agg(concat_ws(' ', s.oid, s.relacl, s.relhastriggers, s.relhasrules), ',' ORDER BY s.oid) FROM pg_class s WHERE relnamespace = 'keep'::regnamespace),
		(SELECT string_agg(concat_ws(' ', s.oid, s.evtenabled), ',' ORDER BY s.oid) FROM pg_event_trigger s)))};

# 1. The list is whole.
is( join(' ', sort { $a cmp $b } keys %{ { map { $_->[0] => 1 } @statements } }),
	sql(q{SELECT string_agg(DISTINCT proname::text COLLATE "C", ' ' ORDER BY proname::text COLLATE "C") FROM pg_proc WHERE pronamespace = 'keep'::regnamespace}),
	'each function has its expectations');

# 2. What each role may do. Every call is undone.
sql(q{
	CREATE SCHEMA test;
	CREATE FUNCTION test.outcome(who name, statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('role', who, true);
		EXECUTE statement;
		RAISE EXCEPTION USING ERRCODE = 'ZZ999';
	EXCEPTION WHEN OTHERS THEN
		RETURN CASE SQLSTATE WHEN 'ZZ999' THEN 'ok' ELSE SQLSTATE END;
	END $$;
});
my $before = sql($everything);
my @plain = grep { $_->[1] !~ /^CALL/ } @statements;
foreach my $n (0 .. $#roles)
{
	my $role = $roles[$n];
	my @got = split(/\n/, sql(join("\n", map { "SELECT test.outcome('$role', \$call\$$_->[1]\$call\$);" } @plain)));
	my @wrong = map { $got[$_] eq $plain[$_][ 2 + $n ] ? () : "$plain[$_][1]: $got[$_], not $plain[$_][2 + $n]" } 0 .. $#plain;
	is(join("\n", @wrong), '', "what $role may do, in " . @got . ' calls');
}
is(sql($everything), $before, 'and all of it was undone');

# 3. The stranger in a session of his own, where nothing is undone. He sees no value of a row.
my $schema_oid = sql("SELECT 'app'::regnamespace::oid");
my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n" . join('', map { "$_->[1];\n" } @statements),
	extra_params => [ '-U', 'stranger' ], on_error_stop => 0);
my @errors = $err =~ /ERROR:\s+(\w{5})/g;
is(join(' ', @errors), join(' ', grep { $_ ne 'ok' } map { $_->[5] } @statements), 'in a session of his own the stranger gets the same');
unlike("$out$err", qr/secret|KP\d\d\d/, 'and learns nothing');
is(sql($everything), $before, 'and has changed nothing');

# 4. Procedures, which commit
foreach my $role (qw(clerk ann boss))
{
	($ret, $out, $err) = $node->psql('postgres', join('', map { "$_->[1];\n" } grep { $_->[1] =~ /^CALL/ } @statements),
		extra_params => [ '-U', $role ], on_error_stop => 0);
	is($err, '', "the procedures, as $role");
}
is(sql("SELECT state FROM app.sagas WHERE saga = 'local'"), 'compensated', 'they did their work');
$before = sql($everything);

# 5. The stranger calls each function that takes a table with every kind of relation there is, by its OID.
sql(q{
	CREATE SCHEMA lair AUTHORIZATION stranger;
	SET ROLE stranger;
	CREATE TABLE lair.plain (key text PRIMARY KEY, value jsonb); CREATE VIEW lair.view AS SELECT * FROM lair.plain;
	CREATE MATERIALIZED VIEW lair.matview AS SELECT * FROM lair.plain; CREATE SEQUENCE lair.sequence; CREATE TYPE lair.composite AS (a int);
	CREATE TABLE lair.parted (key text, value jsonb) PARTITION BY LIST (key); CREATE TABLE lair.part PARTITION OF lair.parted DEFAULT;
	CREATE FUNCTION lair.echo(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
});
sql(q{
	CREATE FUNCTION test.hostile_call(fn oid, relation oid) RETURNS text LANGUAGE sql AS $$
		SELECT format(CASE prokind WHEN 'p' THEN 'CALL %s(%s)' ELSE 'SELECT * FROM %s(%s)' END, fn::regproc,
			(SELECT string_agg(format('%L::%s', CASE t WHEN 'regclass'::regtype THEN relation::text WHEN 'regprocedure'::regtype THEN 'lair.echo(jsonb)'::regprocedure::oid::text
				WHEN 'jsonb'::regtype THEN '{"x": 1}' WHEN 'text[]'::regtype THEN '{x}' WHEN 'jsonb[]'::regtype THEN '{1}' WHEN 'bigint[]'::regtype THEN '{1}'
				WHEN 'interval[]'::regtype THEN '{1 s}' WHEN 'interval'::regtype THEN '1 s' WHEN 'boolean'::regtype THEN 't' WHEN 'text'::regtype THEN 'x' ELSE '1' END,
				t::regtype), ', ' ORDER BY n) FROM unnest(proargtypes::oid[]) WITH ORDINALITY a(t, n)))
		FROM pg_proc WHERE oid = fn $$;
	CREATE TABLE test.target AS
		SELECT min(oid::bigint)::oid AS relation, relkind::text AS what FROM pg_class WHERE relnamespace <> 'app'::regnamespace GROUP BY relkind, relnamespace
		UNION ALL SELECT oid, 'shared ' || relname FROM pg_class WHERE relname IN ('pg_authid', 'pg_database', 'pg_authid_oid_index')
		UNION ALL SELECT oid, 'own of pg_keep ' || relname FROM pg_class WHERE relnamespace = 'keep'::regnamespace
		UNION ALL SELECT oid, 'part of app ' || relname FROM pg_class WHERE relnamespace = 'app'::regnamespace
		UNION ALL VALUES (0::oid, 'none'), (1::oid, 'none'), (4294967295::oid, 'none');
	CREATE TABLE test.held (locktype text, relation oid, mode text);
	CREATE FUNCTION test.note_locks() RETURNS void LANGUAGE sql AS $$
		INSERT INTO test.held SELECT locktype, relation, mode FROM pg_locks WHERE pid = pg_backend_pid()
			AND (locktype IN ('advisory', 'tuple') OR relation IN (SELECT relation FROM test.target)) $$;
	-- in the transaction of the calls, each of which is taken back, and after it
	BEGIN;
	CREATE TABLE test.tried AS
		SELECT p.proname, g.what, test.outcome('stranger', test.hostile_call(p.oid, g.relation)) AS outcome
		FROM pg_proc p, test.target g WHERE p.pronamespace = 'keep'::regnamespace AND 'regclass'::regtype = ANY (p.proargtypes) AND p.prokind = 'f';
	SELECT test.note_locks();
	COMMIT;
	SELECT test.note_locks();
});
# procedures, which commit, in a session of his own
my $calls = sql(q{SELECT string_agg(test.hostile_call(p.oid, g.relation) || E';\n\\\\echo ' || concat_ws(' ', proname, replace(what, ' ', '_'), ':SQLSTATE'), E'\n')
	FROM pg_proc p, test.target g WHERE p.pronamespace = 'keep'::regnamespace AND p.prokind = 'p'});
($ret, $out, $err) = $node->psql('postgres', $calls, extra_params => [ '-U', 'stranger' ], on_error_stop => 0);
sql(join '', map { sprintf "INSERT INTO test.tried VALUES ('%s', '%s', '%s');", split / / } split /\n/, $out);
is(sql(q{SELECT count(DISTINCT proname), min(n) = (SELECT count(*) FROM test.target), max(n) = min(n) FROM (
	SELECT proname, count(*) AS n FROM test.tried GROUP BY 1) t}), sql(q{SELECT count(*), true, true FROM pg_proc
	WHERE pronamespace = 'keep'::regnamespace AND 'regclass'::regtype = ANY (proargtypes)}), 'each function and procedure that takes a table was tried with each');
is(sql('SELECT count(*) > 1000, count(DISTINCT proname) > 40, count(DISTINCT what) > 20 FROM test.tried'), 't|t|t', 'a table of every kind, for each function');
# by their kind and shape, as there is no such table, or for want of rights; 22023: its function is asked for before its table
is( sql(q{SELECT proname, what, outcome FROM test.tried WHERE outcome NOT IN ('42809', '42P01', '42501')
		AND NOT (outcome = '22023' AND proname IN ('register', 'transfer_batch', 'begin_request', 'transfer_many')) ORDER BY 1, 2}), '', 'all are refused for the right reason');
is(sql("SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) ~ '42501.*42809.*42P01' FROM test.tried"), 't', 'of which there are three');
is(sql('SELECT * FROM test.held'), '', 'no lock stays, not even in the session');
is(sql($everything), $before, 'nothing has changed');

# 6. pg_keep's own objects in the stranger's hands: SQLSTATE of each attempt
my @attempts = (
	[ 'CREATE TRIGGER t BEFORE INSERT ON lair.plain FOR EACH ROW EXECUTE FUNCTION keep.relation_restored()', '42501' ],
	[ 'CREATE TRIGGER t BEFORE INSERT ON keep.relation FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', '42501' ],
	[ 'CREATE EVENT TRIGGER t ON sql_drop EXECUTE FUNCTION keep.table_dropped()', '42501' ],
	[ 'ALTER EVENT TRIGGER pg_keep_table_dropped DISABLE', '42501' ],
	[ 'DROP EVENT TRIGGER pg_keep_table_altered', '42501' ],
	[ 'DROP EXTENSION pg_keep CASCADE', '42501' ],
	[ 'ALTER EXTENSION pg_keep UPDATE', '42501' ],
	[ 'ALTER EXTENSION pg_keep ADD TABLE lair.plain', '42501' ],
	[ 'ALTER EXTENSION pg_keep DROP FUNCTION keep.clock()', '42501' ],
	[ "COMMENT ON EXTENSION pg_keep IS 'mine'", '42501' ],
	[ 'CREATE OR REPLACE FUNCTION keep.clock() RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() $$', '42501' ],
	[ 'CREATE FUNCTION keep.put(regclass, text, jsonb) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$', '42501' ],
	[ q(CREATE FUNCTION lair.c() RETURNS trigger LANGUAGE c AS '$libdir/pg_keep', 'keep_relation_restored'), '42501' ],
	[ q(CREATE FUNCTION lair.c(jsonb) RETURNS jsonb LANGUAGE internal AS 'keep_merge_patch'), '42501' ],
	[ "LOAD 'pg_keep'", '42501' ],
	[ 'ALTER FUNCTION keep.clock() OWNER TO stranger', '42501' ],
	[ 'ALTER FUNCTION keep.clock() SECURITY DEFINER', '42501' ],
	[ 'DROP FUNCTION keep.clock()', '42501' ],
	[ 'ALTER SCHEMA keep RENAME TO kept', '42501' ],
	[ 'CREATE TABLE keep.x ()', '42501' ],
	[ 'ALTER TABLE keep.relation DISABLE TRIGGER ALL', '42501' ],
	[ 'ALTER TABLE keep.relation ADD COLUMN x int', '42501' ],
	[ 'CREATE INDEX ON keep.relation (kind)', '42501' ],
	[ 'CREATE RULE r AS ON SELECT TO keep.stat_stores DO INSTEAD SELECT 1', '42501' ],
	[ 'CREATE OR REPLACE VIEW keep.stat_stores AS SELECT 1', '42501' ],
	[ 'CREATE POLICY p ON keep.relation', '42501' ],
	[ 'CREATE STATISTICS lair.st ON kind, options FROM keep.relation', '42501' ],
	[ 'CREATE TABLE lair.child () INHERITS (keep.relation)', '42501' ],
	[ 'CREATE TABLE lair.refers (a name, b name, FOREIGN KEY (a, b) REFERENCES keep.relation)', '42501' ],
	[ 'CREATE TABLE lair.twin (LIKE keep.relation INCLUDING ALL)', 'ok' ],
	[ q(INSERT INTO keep.relation VALUES ('lair', 'plain', 'store', '{}')), '42501' ],
	[ q(UPDATE keep.relation SET options = '{"functions": {"lair.echo": "stranger"}}'), '42501' ],
	[ 'DELETE FROM keep.relation', '42501' ],
	[ 'TRUNCATE keep.relation', '42501' ],
	[ 'SELECT FROM keep.relation FOR SHARE', '42501' ],
	[ 'LOCK TABLE keep.relation IN SHARE MODE', '42501' ],
	[ 'SELECT count(*) FROM keep.relation', 'ok' ],
	[ 'INSERT INTO keep.stat_stores (relid) VALUES (1)', '42501|55000' ],
	[ 'GRANT ALL ON keep.relation TO stranger', '42501|ok' ],		# a warning that nothing was granted
	[ 'GRANT EXECUTE ON FUNCTION keep.stop_reaper() TO stranger', '42501' ],
	[ "SELECT keep.register('lair.plain', 'store')", '42809' ],
	[ q(SELECT keep.register('lair.plain', 'saga_log', '{"steps": "app.sagas_steps"}')), '42809|42501' ],
	(map { [ "SET pg_keep.$_ = DEFAULT", '42501|55P02' ] }
		qw(max_wait track_statistics test_clock_offset reaper naptime reaper_batch reaper_share max_workers stat_tables)),
	[ 'SET pg_keep.direct_access = off', 'ok' ],
	[ 'SET pg_keep.another = on', '42602' ],
	[ 'ALTER ROLE stranger SET pg_keep.test_clock_offset = 1000', '42501' ],
	[ 'ALTER DATABASE postgres SET pg_keep.test_clock_offset = 1000', '42501' ],
	[ "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'pg_keep%'", '42501|ok' ],
	[ "SECURITY LABEL ON TABLE keep.relation IS 'x'", '42501|22023' ]);
foreach my $attempt (@attempts)
{
	my ($statement, $expected) = @$attempt;
	my $got = sql("SELECT test.outcome('stranger', \$call\$$statement\$call\$)");
	like($got, qr/^(?:$expected)$/, $statement);
}
is(sql($everything), $before, 'and all is as it was');

# 7. A pair of tables cannot be made of one's own and another's, whatever its token.
sql(q{SET ROLE stranger; SELECT keep.create_saga_log('lair.sagas'), keep.create_ledger('lair.books'), keep.create_store('lair.s')});
my $tokens = q{SELECT table_name, options ->> 'token' FROM keep.relation WHERE schema_name = 'app' AND options ? 'token' ORDER BY 1};
like(sql($tokens), qr/^books\|\w{16}\nbooks_transfers\|\w{16}\nsagas\|\w{16}\nsagas_steps\|\w{16}$/, 'tokens are there to be read');
my $token = sql(q{SELECT options ->> 'token' FROM keep.relation WHERE schema_name = 'app' AND table_name = 'sagas'});
is(sql("SELECT test.outcome('stranger', \$\$SELECT keep.register('lair.sagas', 'saga_log', '{\"token\": \"$token\", \"steps\": \"app.sagas_steps\"}')\$\$)"),
	'42501', "another's steps under one's own sagas");
is(sql("SELECT test.outcome('stranger', \$\$SELECT keep.register('lair.sagas', 'saga_log', '{\"token\": \"$token\"}')\$\$)"), 'ok', 'a token of his choice');
sql("SET ROLE stranger; SELECT keep.register('lair.sagas', 'saga_log', '{\"token\": \"$token\"}')");
is(sql(q{SELECT count(*) FROM keep.relation WHERE options ? 'token' GROUP BY options ->> 'token' HAVING count(*) > 2}), '', 'is not taken');
# put there by a superuser's hand, as by a restore
sql(qq{UPDATE keep.relation SET options = options || '{"token": "$token"}' WHERE schema_name = 'lair' AND table_name LIKE 'sagas%'});
is(sql(q{SET ROLE ann; SELECT keep.begin_saga('app.sagas', 'whose'); SELECT (keep.enter_step('app.sagas', 'whose', 'a')).status;
	SELECT count(*) FROM app.sagas_steps WHERE saga = 'whose'}), "running\nrun\n1", 'the same token, another owner: each log has its own steps');
is(sql('SELECT count(*) FROM lair.sagas_steps'), '0', 'nothing of it went to the stranger');

# 8. Statistics: each sees the tables that he owns, who may read all statistics sees all.
sql('CREATE ROLE watcher LOGIN; GRANT pg_read_all_stats TO watcher');
my %sees = (
	boss => 'app lair', watcher => 'app lair', ann => 'app', clerk => '', stranger => 'lair');
foreach my $view (qw(stores ledgers reaper))
{
	foreach my $role (sort keys %sees)
	{
		is(sql("SET ROLE $role; SELECT string_agg(DISTINCT schema_name, ' ' ORDER BY schema_name) FROM keep.stat_$view"), $sees{$role}, "keep.stat_$view, as $role");
	}
}
is(sql("SET ROLE boss; SELECT hits >= 0, stats_since IS NOT NULL FROM keep.stat_stores WHERE schema_name = 'app'"), 't|t', 'with figures');
# also where the table has got another owner
sql('ALTER TABLE lair.s OWNER TO ann');
is(sql("SET ROLE stranger; SELECT count(*) FROM keep.stat_stores"), '0', 'a table that was given away is not seen any more');
is(sql("SET ROLE ann; SELECT string_agg(store_name, ' ' ORDER BY store_name) FROM keep.stat_stores"), 's s', 'but by its new owner');

$node->stop;
check_server_log($node);
done_testing();
