# Hostile objects: planted before CREATE EXTENSION by the owner of the database, and in tables that the reaper and other
# users come to. Whatever of an attacker's is run notes as whom, and tries to become more. It must have run, or the test
# proves nothing; it must never have had more rights than its owner, or than who asked for just that.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use RoleTable;
use Test::More;

my $node = new_server('main', 'pg_keep.reaper_share' => 100);
$node->start;
pause_reaper($node);

sub postgres { return sql($node, 'postgres', shift); }

# A session of that role: what it prints, errors included
sub as
{
	my ($role, $db, $query) = @_;
	my ($ret, $out, $err) = $node->psql($db, $query, extra_params => [ '-U', $role ], on_error_stop => 0);
	# a session that there was not has no errors either
	die "no session of $role in $db: $err" if $ret;
	return "$out$err";
}

# The same, where nothing may go wrong. Not SET ROLE in a session of a superuser's: what is planted would only have to RESET it.
sub eve { return $node->safe_psql('postgres', 'SET client_min_messages = error; ' . shift, extra_params => [ '-U', 'eve' ]); }

sub no_superuser
{
	my ($name) = @_;
	is(postgres(q{SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolsuper AND rolname !~ '^pg_'}), 'boss postgres', $name);
	return;
}

postgres('CREATE ROLE eve LOGIN; CREATE ROLE bob LOGIN');

# == 1. Before the extension is there: eve owns the database.
postgres('CREATE DATABASE trap OWNER eve');

# A schema keep of hers is not taken over.
like(as('eve', 'trap', 'CREATE SCHEMA keep; CREATE FUNCTION keep.put(regclass, text, jsonb) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
	CREATE TABLE keep.relation (schema_name name, table_name name)'), qr/^$/, 'a schema keep of somebody else');
foreach my $command ('CREATE EXTENSION pg_keep', 'CREATE EXTENSION IF NOT EXISTS pg_keep', 'CREATE EXTENSION pg_keep CASCADE',
	'CREATE EXTENSION pg_keep SCHEMA keep')
{
	like(as('postgres', 'trap', "\\set VERBOSITY sqlstate\n$command"), qr/ERROR:  (42P06|0A000)/, "$command is refused");
}
is(sql($node, 'trap', q{SELECT (SELECT count(*) FROM pg_extension WHERE extname = 'pg_keep'), (SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND refobjid > 16384),
	(SELECT count(*) FROM pg_proc WHERE pronamespace = 'keep'::regnamespace)}), '0|0|1', 'and leaves nothing');
like(as('eve', 'trap', 'CREATE EXTENSION pg_keep'), qr/permission denied to create extension/, 'who owns the database cannot install it');
is(as('eve', 'trap', 'CREATE FUNCTION keep.fire() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$'), '', 'she has a function for an event trigger');
like(as('eve', 'trap', 'CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION keep.fire()'), qr/permission denied to create event trigger/,
	'but cannot put one in its way');
as('eve', 'trap', 'DROP SCHEMA keep CASCADE');

# Names and operators that an install script, or a function, could mean; each warns where it is run.
is( as('eve', 'trap', q{
	SET client_min_messages = error;
	SET search_path = pg_catalog;
	CREATE FUNCTION public.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		RAISE WARNING 'TRAPPED: % ran %', current_user, what;
		RETURN true;
	END $$;
	DO $do$
	DECLARE
		name text;
		part text[];
	BEGIN
		FOREACH name IN ARRAY '{text,name,jsonb,int8,int4,int2,bool,oid,timestamptz,interval,bytea,regclass,regprocedure,regnamespace}'::text[] LOOP
			EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.%1$I CHECK (public.trap(%L))', name, 'type ' || name);
		END LOOP;
		FOREACH name IN ARRAY '{text,name,jsonb,bigint,integer,smallint,boolean,oid,timestamptz,interval,tid,xid,"\"char\"",numeric,"text[]"}'::text[] LOOP
			FOR part IN SELECT ARRAY[op] FROM unnest('{=,<>,<,<=,>,>=}'::text[]) op LOOP
				EXECUTE format('CREATE FUNCTION public.%I(pg_catalog.%s, pg_catalog.%2$s) RETURNS pg_catalog.bool LANGUAGE plpgsql AS %3$L', 'op ' || name || part[1],
					CASE name WHEN 'bigint' THEN 'int8' WHEN 'integer' THEN 'int4' WHEN 'smallint' THEN 'int2' WHEN 'boolean' THEN 'bool' ELSE name END,
					format('BEGIN PERFORM public.trap(%L); RETURN $1 OPERATOR(pg_catalog.%s) $2; END', 'operator ' || name || part[1],
						CASE WHEN name = 'xid' THEN '=' ELSE part[1] END));
				EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = pg_catalog.%2$s, RIGHTARG = pg_catalog.%2$s, FUNCTION = public.%3$I)', part[1],
					CASE name WHEN 'bigint' THEN 'int8' WHEN 'integer' THEN 'int4' WHEN 'smallint' THEN 'int2' WHEN 'boolean' THEN 'bool' ELSE name END,
					'op ' || name || part[1]);
			END LOOP;
		END LOOP;
		FOR part IN SELECT string_to_array(p, ' ') FROM unnest('{timestamptz + interval,timestamptz - timestamptz,interval * int4,jsonb || jsonb,text || text,'
			'int8 + int8,int8 + int4,int8 - int8,int4 + int4,jsonb -> text,jsonb ->> text,text ~ text,text ~~ text}'::text[]) p LOOP
			EXECUTE format('CREATE FUNCTION public.%I(pg_catalog.%s, pg_catalog.%s) RETURNS pg_catalog.%2$s LANGUAGE plpgsql AS %4$L', 'op ' || array_to_string(part, ''), part[1], part[3],
				format('BEGIN PERFORM public.trap(%L); RETURN NULL; END', 'operator ' || part[2]));
			EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = pg_catalog.%s, RIGHTARG = pg_catalog.%s, FUNCTION = public.%I)', part[2], part[1], part[3],
				'op ' || array_to_string(part, ''));
		END LOOP;
		FOR name IN SELECT * FROM unnest(string_to_array('clock_timestamp();now();pg_extension_config_dump(regclass,text);format(text,text);format(text,name,name);'
			'format(text,text,numeric,numeric,numeric,numeric);concat(text,text);quote_ident(text);unnest(text[]);unnest(int4[]);unnest(jsonb[]);sum(int8);count(text);max(int2);'
			'make_interval(int4);aclexplode(aclitem[]);pg_event_trigger_dropped_objects();jsonb_build_object(text,text);to_jsonb(text);nextval(regclass);sha256(bytea);'
			'merge_patch(jsonb,jsonb);json_increment(jsonb,text[],int8);transactions_ended();clock();get(regclass,text)', ';')) LOOP
			EXECUTE format('CREATE FUNCTION public.%s RETURNS pg_catalog.timestamptz LANGUAGE plpgsql AS %L',
				regexp_replace(name, '([(,])(?=[a-z])', '\1pg_catalog.', 'g'), format('BEGIN PERFORM public.trap(%L); RETURN NULL; END', name));
		END LOOP;
		FOREACH name IN ARRAY '{relation,relation_pkey,entry,outcome,lease,stat_stores,stat_ledgers,stat_reaper,pg_class,pg_proc,pg_namespace,pg_extension,pg_depend}'::text[] LOOP
			EXECUTE format('CREATE TABLE public.%I (oid pg_catalog.oid, a pg_catalog.text DEFAULT public.trap(%L)::pg_catalog.text)', name, 'table ' || name);
		END LOOP;
	END $do$;
	GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO eve; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO eve;
	ALTER DATABASE trap SET search_path = public, pg_catalog;
	ALTER DATABASE trap SET standard_conforming_strings = off; ALTER DATABASE trap SET escape_string_warning = off;
	ALTER DATABASE trap SET quote_all_identifiers = on; ALTER DATABASE trap SET array_nulls = off; ALTER DATABASE trap SET transform_null_equals = on;
	ALTER DATABASE trap SET check_function_bodies = off; ALTER DATABASE trap SET row_security = off; ALTER DATABASE trap SET default_transaction_isolation = 'serializable';
	ALTER DATABASE trap SET DateStyle = 'German'; ALTER DATABASE trap SET IntervalStyle = 'sql_standard';
}), '', 'traps in public, in front of pg_catalog');
my $start = end_of_log($node);
like(as('bob', 'trap', "SELECT 1 = 1, 'a'::text, now(), 1::int8 + 1"), qr/bob ran operator integer=.*bob ran type text.*bob ran now\(\).*bob ran operator \+/s, 'they work');

# What was installed, in words that do not depend on the settings
my $installed = q{
	SET search_path = pg_catalog; SET quote_all_identifiers = off; SET standard_conforming_strings = on; SET IntervalStyle = 'postgres';
	SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM pg_proc WHERE pronamespace = 'keep'::regnamespace ORDER BY proname;
	SELECT c.relname, c.relkind, c.relacl, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = 'keep'::regnamespace AND a.attnum > 0 ORDER BY c.relname, a.attnum;
	SELECT pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = 'keep'::regnamespace AND relkind = 'v' ORDER BY relname;
	SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'keep'::regnamespace ORDER BY conname;
	SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'keep.relation'::regclass;
	SELECT evtname, evtevent, evtfoid::regproc, evtenabled, evttags FROM pg_event_trigger ORDER BY 1;
	SELECT nspacl, nspowner::regrole FROM pg_namespace WHERE nspname = 'keep';
	SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_keep')};
postgres('CREATE EXTENSION pg_keep');
unlike(as('postgres', 'trap', 'CREATE EXTENSION pg_keep'), qr/ERROR|WARNING|TRAPPED/, 'CREATE EXTENSION between them');
is(as('postgres', 'trap', $installed), as('postgres', 'postgres', $installed), 'makes what it makes in an empty database');
is(sql($node, 'trap', q{SET search_path = pg_catalog; SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
	WHERE d.deptype = 'e' AND c.relnamespace = 'public'::regnamespace}), '0', 'and takes over none of what was there');

# Each function, called by a superuser with the traps in front, and by ann
{
	local $ENV{PGOPTIONS} = '-c search_path=pg_catalog -c standard_conforming_strings=on -c default_transaction_isolation=read\ committed';
	make_tables($node, 'trap');
}
{
	my @statements = do { local $ENV{PGOPTIONS} = '-c search_path=pg_catalog'; calls($node, 'trap') };
	sql($node, 'trap', 'GRANT USAGE, CREATE ON SCHEMA public TO ann');
	foreach my $n (0, 1)
	{
		my $role = $roles[$n];
		my @run = grep { $_->[ 2 + $n ] eq 'ok' && $_->[1] !~ /wait_for|_reaper\(/ } @statements;
		my $out = as($role, 'trap', join('', map {
			my $call = "$_->[1];\n\\echo answered :SQLSTATE\n";
			$_->[1] =~ /^CALL/ ? $call : "BEGIN ISOLATION LEVEL READ COMMITTED; $call ROLLBACK;\n" } @run));
		unlike($out, qr/ERROR|TRAPPED/, @run . " calls by $role between the traps");
		is(scalar(() = $out =~ /^answered 00000$/gm), scalar(@run), 'each was answered');
	}
	unlike(as('ann', 'trap', q{ALTER TABLE app.s RENAME TO renamed; ALTER TABLE app.renamed RENAME TO s; DROP TABLE app.log}), qr/ERROR|TRAPPED/, 'and DDL that the event triggers follow');
}
# the reaper there, on ann's tables and its own list of them
{
	local $ENV{PGOPTIONS} = '-c search_path=pg_catalog -c standard_conforming_strings=on';
	sql($node, 'trap', q{UPDATE app.s SET expires_at = now() - interval '1 h', reap_at = now() - interval '1 h' WHERE key = 'k';
		UPDATE app.books_transfers SET expires_at = now() - interval '1 h' WHERE id = 'held';
		UPDATE app.sagas SET deadline_at = now() - interval '1 h', due_at = now() - interval '1 h', waits_for = 'deadline' WHERE saga = 'remote'});
	resume_reaper($node);
	becomes($node, 'trap', "SELECT count(*) FROM app.s WHERE key = 'k'", '0', 'the reaper between the traps: an entry');
	becomes($node, 'trap', "SELECT status FROM app.books_transfers WHERE id = 'held'", 'expired', 'a hold');
	becomes($node, 'trap', "SELECT state <> 'running' FROM app.sagas WHERE saga = 'remote'", 't', 'a saga');
	pause_reaper($node);
}
unlike(join('', grep { !/bob ran/ } split(/^/m, end_of_log($node, $start))), qr/TRAPPED/, 'nothing else was trapped');

# == 2. Planted in eve's tables. What is run notes as whom, and what it could do.
postgres(q{CREATE SCHEMA eve AUTHORIZATION eve; GRANT USAGE ON SCHEMA eve TO PUBLIC; GRANT CONNECT, TEMP ON DATABASE postgres TO eve});
my $prepare = q{
	CREATE TABLE eve.log (what text, who name, session name, could text, path text DEFAULT current_setting('search_path'));
	GRANT INSERT ON eve.log TO PUBLIC;
	-- to become more; and to leave something behind for who comes after
	CREATE FUNCTION eve.attempts() RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY['ALTER ROLE eve SUPERUSER', 'GRANT boss TO eve', 'SET ROLE boss',
		'SET SESSION AUTHORIZATION boss', 'SET SESSION AUTHORIZATION DEFAULT', 'SELECT set_config(''session_authorization'', ''boss'', false)',
		'RESET ROLE', 'SET ROLE NONE', 'SELECT set_config(''role'', ''none'', false)',
		'CREATE TEMPORARY TABLE left_behind (a int)', 'PREPARE left_behind AS SELECT 1', 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1', 'LISTEN left_behind',
		'COPY eve.log TO PROGRAM ''true''', 'SELECT pg_read_file(''PG_VERSION'')', 'SET session_replication_role = replica',
		'UPDATE keep.relation SET options = ''{}''', 'SELECT keep.stop_reaper()', 'SELECT keep.stat_reset()',
		'SELECT keep.set_store_option(''carol.s'', ''ttl'', ''1 s'')', 'TABLE carol.s', 'COMMIT'] $$;
	CREATE FUNCTION eve.note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
	DECLARE
		attempt text;
		could text = '';
	BEGIN
		IF current_setting('eve.inside', true) = 'yes' THEN
			RETURN true;
		END IF;
		PERFORM set_config('eve.inside', 'yes', true);
		FOREACH attempt IN ARRAY eve.attempts() LOOP
			BEGIN
				EXECUTE attempt;
				could := could || '; ' || attempt;
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		-- settings, which must be as they were afterwards
		PERFORM set_config('work_mem', '4321', false), set_config('eve.mark', 'left behind', false),
			set_config('statement_timeout', '0', false), set_config('DateStyle', 'German', false);
		INSERT INTO eve.log (what, who, session, could) VALUES (note.what, current_user, session_user, substr(could, 3));
		PERFORM set_config('eve.inside', '', true);
		RETURN true;
	END $$;
	-- immutable, or so it says
	CREATE FUNCTION eve.lie(what text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.note(what); RETURN true; END $$;
	CREATE FUNCTION eve.lie(what text, value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.note(what); RETURN value; END $$;
	CREATE FUNCTION eve.on_row() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM eve.note(concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_LEVEL));
		RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
	END $$;
	CREATE DOMAIN eve.odd AS text CHECK (eve.lie('domain'));
	CREATE FUNCTION eve.echo(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION eve.undo(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.note('compensation'); RETURN $1; END $$;
	CREATE FUNCTION eve.plant(tab regclass, key text, moment text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE format('ALTER TABLE %s ADD COLUMN dom eve.odd DEFAULT ''x'', ADD COLUMN def text DEFAULT eve.lie(''default'', ''x''),'
			' ADD COLUMN gen text GENERATED ALWAYS AS (eve.lie(''generated'', %I)) STORED, ADD CHECK (eve.lie(''check'', %2$I) IS NOT NULL)', tab, key);
		EXECUTE format('CREATE INDEX ON %s (eve.lie(''index'', %I))', tab, key);
		EXECUTE format('CREATE INDEX ON %s (%I) WHERE eve.lie(''predicate'', %2$I) IS NOT NULL', tab, key);
		EXECUTE format('CREATE STATISTICS eve.st%s ON eve.lie(''statistics'', %I), %2$I FROM %3$s', tab::oid, key, tab);
		EXECUTE format('CREATE TRIGGER row_before BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION eve.on_row()', moment, tab);
		EXECUTE format('CREATE TRIGGER row_after AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION eve.on_row()', moment, tab);
		EXECUTE format('CREATE TRIGGER all_before BEFORE %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION eve.on_row()', moment, tab);
		EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER %s ON %s DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION eve.on_row()', moment, tab);
		EXECUTE format('CREATE POLICY p ON %s USING (eve.lie(''policy'', %I) IS NOT NULL)', tab, key);
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tab);
	END $$;
	SELECT keep.create_store('eve.s'), keep.create_store('eve.alone'), keep.create_request_log('eve.rq', '1 ms'), keep.create_ledger('eve.books'), keep.create_saga_log('eve.sagas');
	CREATE TABLE eve.child (key text REFERENCES eve.s ON DELETE CASCADE);
	CREATE TRIGGER child BEFORE DELETE ON eve.child FOR EACH ROW EXECUTE FUNCTION eve.on_row();
	SELECT keep.open_account('eve.books', 'outside', 'EUR', NULL), keep.open_account('eve.books', 'a', 'EUR');
	SELECT keep.allow_saga_function('eve.sagas', 'eve.echo(jsonb)'), keep.allow_saga_function('eve.sagas', 'eve.undo(jsonb)');
	SELECT eve.plant('eve.s', 'key', 'DELETE OR UPDATE'), eve.plant('eve.alone', 'key', 'DELETE OR UPDATE'), eve.plant('eve.rq', 'key', 'DELETE OR UPDATE'), eve.plant('eve.books', 'id', 'UPDATE'),
		eve.plant('eve.books_transfers', 'id', 'UPDATE'), eve.plant('eve.sagas', 'saga', 'UPDATE'), eve.plant('eve.sagas_steps', 'saga', 'UPDATE')};
# what is over, made by eve herself
my $fill = q{
	SET eve.inside = 'yes';
	SELECT keep.put('eve.s', 'over ' || g, '1', '1 ms') FROM generate_series(1, 2) g; SELECT keep.put('eve.s', 'live', '1', '2 days'), keep.put('eve.alone', 'live', '1');
	INSERT INTO eve.child SELECT key FROM eve.s ON CONFLICT DO NOTHING;
	SELECT keep.call_once('eve.rq', 'over ' || g, 'eve.echo(jsonb)', '1') FROM generate_series(1, 2) g;
	SELECT keep.transfer('eve.books', gen_random_uuid()::text, 'outside', 'a', 1, '1 ms');
	SELECT keep.begin_saga('eve.sagas', 'over', '1 s'), keep.run_step('eve.sagas', 'over', 'a', 'eve.echo(jsonb)', '{}', 'eve.undo(jsonb)');
	SELECT pg_sleep(0.01); TRUNCATE eve.log};
sub fill_eve { eve($fill); return; }
postgres(q{CREATE ROLE boss LOGIN SUPERUSER}) if postgres("SELECT count(*) FROM pg_roles WHERE rolname = 'boss'") eq '0';
postgres("CREATE ROLE carol; CREATE SCHEMA carol AUTHORIZATION carol; GRANT USAGE ON SCHEMA carol TO PUBLIC; SET ROLE carol; SELECT keep.create_store('carol.s')");
eve($prepare);

# What ran as whom since eve's log was emptied: all of it as eve, nothing of what it tried, and at least this
sub noted
{
	my ($name, @least) = @_;
	is(postgres('SELECT DISTINCT who, could FROM eve.log'), 'eve|', "$name: as eve, and it could do nothing more");
	is(postgres("SELECT DISTINCT path FROM eve.log"), 'pg_catalog, pg_temp', "$name: in a path that is nobody's") if $name !~ /persistence/;
	my %ran = map { $_ => 1 } split(/\n/, postgres('SELECT DISTINCT what FROM eve.log'));
	is(join(', ', grep { !$ran{$_} } @least), '', "$name: it did run") or diag(join(', ', sort keys %ran));
	is(postgres("SELECT to_regclass('pg_temp.left_behind') IS NULL, rolsuper FROM pg_roles WHERE rolname = 'eve'"), 't|f', "$name: eve is who she was");
	return;
}
# The state of a session, which must be the same before and after
my $state = q{SELECT current_user, session_user, current_setting('search_path'), current_setting('work_mem'), current_setting('role'), current_setting('DateStyle'),
	current_setting('statement_timeout'), coalesce(current_setting('eve.mark', true), ''), (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
	(SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())};

foreach my $visit (
	[ 'SELECT keep.expire()', 'row_before BEFORE DELETE ROW', 'row_after AFTER DELETE ROW', 'all_before BEFORE DELETE STATEMENT', 'late AFTER DELETE ROW',
		'child BEFORE DELETE ROW', 'policy' ],
	[ 'SELECT keep.expire_requests()', 'row_before BEFORE DELETE ROW', 'row_after AFTER DELETE ROW', 'late AFTER DELETE ROW', 'policy' ],
	[ q{SELECT keep.set_store_option('eve.s', 'max_lifetime', '1 day')}, 'generated', 'check', 'row_before BEFORE UPDATE ROW', 'late AFTER UPDATE ROW', 'policy' ],
	[ q{SELECT keep.register('eve.rq', 'request_log', '{"retain": "1 us"}')}, 'generated', 'check', 'row_before BEFORE UPDATE ROW', 'policy' ],
	[ q{SELECT keep.set_store_option('eve.alone', 'persistence', 'unlogged')}, 'index', 'predicate' ])
{
	my ($command, @least) = @$visit;
	fill_eve();
	my $out = as('boss', 'postgres', "$state;\n$command;\n$state;\nBEGIN; $command; $state; COMMIT");
	unlike($out, qr/ERROR|WARNING/, "$command by a superuser");
	my @states = grep { /^boss\|/ } split(/\n/, $out);
	is("$states[1]\n$states[2]", "$states[0]\n$states[0]", 'his session is as it was');
	noted($command, @least);
	my $table = $command =~ /expire\(/ ? 's' : $command =~ /expire_requests/ ? 'rq' : next;
	is(postgres("SELECT count(*) FROM eve.$table WHERE key LIKE 'over%'"), '0', 'and it did its work');
}

# The reaper
fill_eve();
resume_reaper($node);
becomes($node, 'postgres', $_->[0], $_->[1], "the reaper: $_->[0]")
  foreach [ 'SELECT count(*) FROM eve.s', '1' ], [ 'SELECT count(*) FROM eve.rq', '0' ],
  [ "SELECT count(*) FROM eve.books_transfers WHERE status = 'pending'", '0' ], [ "SELECT state FROM eve.sagas WHERE saga = 'over'", 'compensated' ];
pause_reaper($node);
noted('the reaper', 'row_before BEFORE DELETE ROW', 'row_after AFTER DELETE ROW', 'all_before BEFORE DELETE STATEMENT', 'late AFTER DELETE ROW', 'child BEFORE DELETE ROW',
	'generated', 'check', 'index', 'policy', 'row_before BEFORE UPDATE ROW', 'compensation');

# bob, who was given rights on the table and uses it: planted code has his rights, as in any statement, and can do what bob can
eve('GRANT ALL ON eve.s TO bob; TRUNCATE eve.log; ALTER TABLE eve.s DISABLE ROW LEVEL SECURITY');
unlike(as('bob', 'postgres', "SELECT keep.put('eve.s', 'of bob', '1'); SELECT keep.put('eve.s', 'of bob', '2', '1 ms'); SELECT pg_sleep(0.01); SELECT keep.expire('eve.s')"), qr/ERROR/,
	'a user of the table');
is(postgres("SELECT DISTINCT who, could ~ 'SUPERUSER|boss|keep|pg_read|PROGRAM|replica' FROM eve.log"), 'bob|f', 'has it run as himself');
eve('ALTER TABLE eve.s ENABLE ROW LEVEL SECURITY; TRUNCATE eve.log');
no_superuser('nobody has become a superuser');

# == 3. The other way round: who may delete from a table has its owner's trigger run, but not with the owner's rights.
postgres(q{
	CREATE TABLE public.audit (what text, who name DEFAULT current_user);
	GRANT INSERT ON public.audit TO bob;
	CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (OLD.key); RETURN OLD; END $$;
	SELECT keep.create_store('public.sessions'), keep.create_request_log('public.requests', '1 ms');
	CREATE TRIGGER audit BEFORE DELETE ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.audit();
	CREATE TRIGGER audit BEFORE DELETE ON public.requests FOR EACH ROW EXECUTE FUNCTION public.audit();
	GRANT SELECT, INSERT, UPDATE, DELETE ON public.sessions, public.requests TO bob;
	CREATE FUNCTION public.echo(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	SELECT keep.put('public.sessions', 'over', '1', '1 ms'), keep.call_once('public.requests', 'over', 'public.echo(jsonb)', '1');
	SELECT pg_sleep(0.01)});
my $lure = q{
	CREATE TEMPORARY TABLE audit (what text);
	CREATE FUNCTION pg_temp.lure() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE WARNING 'LURED: %', current_user;
		IF current_user <> 'bob' THEN
			EXECUTE 'ALTER ROLE bob SUPERUSER';
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER lure BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION pg_temp.lure();
};
foreach my $expire ([ 'keep.expire', 'public.sessions' ], [ 'keep.expire_requests', 'public.requests' ])
{
	my ($function, $table) = @$expire;
	unlike(as('bob', 'postgres', "$lure SELECT $function()"), qr/LURED/, "$function() of all tables is for the owner's own");
	is(postgres("SELECT count(*) FROM $table"), '1', 'and leaves those of others');
	like(as('bob', 'postgres', "$lure SELECT $function('$table')"), qr/LURED: bob/, 'with the table it is a DELETE of his own');
	is(postgres("SELECT count(*) FROM $table"), '0', 'which he may');
}
no_superuser('nobody was lured');

# == 4. Default privileges of who installs, which would open the catalog
postgres('CREATE DATABASE generous');
sql($node, 'generous', q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO bob; ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO bob; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO bob;
	ALTER DEFAULT PRIVILEGES GRANT INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT CREATE ON SCHEMAS TO PUBLIC;
	CREATE EXTENSION pg_keep;
	SELECT keep.create_store('public.s');
	CREATE SCHEMA bob AUTHORIZATION bob});
foreach my $role ('bob', 'eve')
{
	foreach my $attempt (q(INSERT INTO keep.relation VALUES ('public', 'x', 'store', '{}')), q(UPDATE keep.relation SET options = '{}'), 'DELETE FROM keep.relation', 'TRUNCATE keep.relation',
		'CREATE TRIGGER t BEFORE INSERT ON keep.relation FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
		'CREATE TABLE keep.x ()', 'CREATE FUNCTION keep.put(regclass, text, jsonb) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
		'SELECT keep.stop_reaper()', 'SELECT keep.start_reaper()', 'SELECT keep.stat_reset()')
	{
		like(as($role, 'generous', "\\set VERBOSITY sqlstate\n$attempt"), qr/ERROR:  42501/, "$role, generous default privileges: $attempt");
	}
}
like(as('bob', 'generous', "SELECT keep.clock() IS NOT NULL, count(*) FROM keep.relation"), qr/^t\|1$/, 'what is open is open');
# the row trigger on another table than its own
sql($node, 'generous', 'GRANT EXECUTE ON FUNCTION keep.relation_restored() TO bob');
foreach my $columns ('a int, b int', 'a int, b int, c text, d jsonb, e oid', 'schema_name name, table_name name, kind text, options jsonb, relid oid')
{
	like(as('bob', 'generous', "\\set VERBOSITY sqlstate\nCREATE TABLE bob.t ($columns); CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON bob.t FOR EACH ROW" .
			' EXECUTE FUNCTION keep.relation_restored(); INSERT INTO bob.t DEFAULT VALUES; DROP TABLE bob.t'), qr/ERROR:  39P01/, "its trigger on a table ($columns)");
}

# == 5. Functions that pg_keep calls for somebody
eve(q{
	SELECT keep.create_saga_log('eve.work'), keep.create_request_log('eve.calls');
	CREATE FUNCTION eve.act(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.note('action'); RETURN $1; END $$;
	CREATE FUNCTION eve.quiet(jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO eve.log VALUES ('quiet', current_user, session_user); SELECT $1 $$;
	CREATE FUNCTION eve.lent(jsonb) RETURNS jsonb SECURITY DEFINER SET search_path = pg_catalog LANGUAGE plpgsql AS $$ BEGIN PERFORM eve.note('lent'); RETURN $1; END $$;
	SELECT keep.allow_saga_function('eve.work', f) FROM unnest('{eve.act(jsonb),eve.undo(jsonb),eve.lent(jsonb),eve.echo(jsonb),eve.quiet(jsonb)}'::regprocedure[]) f;
	GRANT SELECT, INSERT, UPDATE ON eve.work, eve.work_steps, eve.calls TO bob;
	-- a door of eve's for those who have no rights at all
	CREATE FUNCTION eve.door(saga text) RETURNS text SECURITY DEFINER SET search_path = pg_catalog LANGUAGE sql AS
		$$ SELECT keep.begin_saga('eve.work', saga); SELECT status FROM keep.run_step('eve.work', saga, 'a', 'eve.act(jsonb)', '{}', 'eve.undo(jsonb)') $$;
	CREATE FUNCTION eve.back_door(saga text) RETURNS text SECURITY DEFINER SET search_path = pg_catalog LANGUAGE sql AS
		$$ SELECT state FROM keep.compensate_saga('eve.work', saga) $$;
	TRUNCATE eve.log});
unlike(as('bob', 'postgres', q{
	SELECT keep.call_once('eve.calls', 'k', 'eve.act(jsonb)', '1'); SELECT keep.begin_saga('eve.work', 's');
	SELECT keep.run_step('eve.work', 's', 'a', 'eve.act(jsonb)', '{}', 'eve.undo(jsonb)'), keep.run_step('eve.work', 's', 'b', 'eve.lent(jsonb)', '{}', 'eve.lent(jsonb)');
	SELECT keep.compensate_saga('eve.work', 's')}), qr/ERROR/, 'actions and compensations');
is(postgres("SELECT what, who, count(*) FROM eve.log GROUP BY 1, 2 ORDER BY 1, 2"), "action|bob|2\ncompensation|bob|1\nlent|eve|2", 'run as the caller, or their owner if they say so');
is(postgres("SELECT count(*) FROM eve.log WHERE could ~ 'SUPERUSER|boss|keep|pg_read|PROGRAM|replica'"), '0', 'with no other rights');
is(postgres("SELECT DISTINCT could FROM eve.log WHERE what = 'lent'") =~ /ROLE|AUTHORIZATION/ ? 'escaped' : '', '', 'nor out of a SECURITY DEFINER function');
postgres('CREATE ROLE guest LOGIN');
eve('GRANT USAGE ON SCHEMA eve TO guest; TRUNCATE eve.log');
is(as('guest', 'postgres', "SELECT eve.door('g'), eve.back_door('g')"), 'done|compensated', 'a SECURITY DEFINER function around them');
is(postgres("SELECT what, who, session, could ~ 'ROLE|AUTHORIZATION' FROM eve.log ORDER BY 1"), "action|eve|guest|f\ncompensation|eve|guest|f", 'lends its rights, and those alone');
# SET ROLE in the session of a superuser: a procedure that commits must not go on as the superuser
eve(q{SELECT keep.begin_saga('eve.work', 'p'); SELECT keep.run_step('eve.work', 'p', n::text, 'eve.echo(jsonb)', '{}', 'eve.quiet(jsonb)') FROM generate_series(1, 3) n; TRUNCATE eve.log});
like(as('boss', 'postgres', q{\set VERBOSITY sqlstate
	DO $$ DECLARE a text; b int; BEGIN PERFORM set_config('role', 'bob', true); CALL keep.run_compensations('eve.work', 'p', a, b); END $$}), qr/ERROR:  2D000/, 'a role that was set for a transaction');
like(postgres('SELECT string_agg(DISTINCT who, $$ $$) FROM eve.log'), qr/^(bob)?$/, 'nothing ran with more than it');
unlike(as('boss', 'postgres', "SET ROLE bob; CALL keep.run_compensations('eve.work', 'p')"), qr/ERROR/, 'one that was set for the session');
is(postgres('SELECT DISTINCT who FROM eve.log'), 'bob', 'stays');
# what is called goes away, or is closed, after it was asked for
eve(q{
	CREATE FUNCTION eve.gone(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1'; CREATE FUNCTION eve.shut(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION eve.remove() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN
		EXECUTE CASE NEW.key WHEN 'gone' THEN 'DROP FUNCTION eve.gone(jsonb)' ELSE 'REVOKE ALL ON FUNCTION eve.shut(jsonb) FROM PUBLIC' END; RETURN NEW; END $$;
	CREATE TRIGGER remove BEFORE INSERT ON eve.calls FOR EACH ROW EXECUTE FUNCTION eve.remove()});
like(as('bob', 'postgres', "\\set VERBOSITY sqlstate\nSELECT keep.call_once('eve.calls', 'gone', 'eve.gone(jsonb)', '1')"), qr/ERROR:  42883/, 'a function that is dropped meanwhile');
like(as('bob', 'postgres', "\\set VERBOSITY sqlstate\nSELECT keep.call_once('eve.calls', 'shut', 'eve.shut(jsonb)', '1')"), qr/ERROR:  42501/, 'a function that is closed meanwhile');
is(postgres("SELECT count(*) FROM eve.calls WHERE key IN ('gone', 'shut')"), '0', 'nothing is stored');

# == 6. What can be learnt: rows that a policy hides are as rows that are not there
eve(q{
	SELECT keep.create_store('eve.private'), keep.create_ledger('eve.bank', true), keep.create_request_log('eve.asked', '1 day', true), keep.create_saga_log('eve.plans');
	SELECT keep.allow_saga_function('eve.plans', 'eve.echo(jsonb)');
	SELECT keep.put('eve.private', 'hidden', '{"n": "a secret"}'), keep.put('eve.private', 'hidden2', '"a secret"', '1 hour'), keep.acquire('eve.private', 'hidden3', 'a secret', '1 hour'),
		keep.put('eve.private', 'hidden4', '"a secret"', '1 ms');
	SELECT keep.open_account('eve.bank', a, 'EUR', NULL) FROM unnest('{hidden,hidden2,my1,my2}'::text[]) a;
	SELECT keep.transfer('eve.bank', 'hidden', 'hidden', 'hidden2', 5, metadata => '"a secret"'), keep.transfer('eve.bank', 'hidden2', 'hidden', 'hidden2', 5, '1 hour');
	SELECT keep.begin_request('eve.asked', 'hidden', '"a secret"'), keep.call_once('eve.asked', 'hidden2', 'eve.echo(jsonb)', '"a secret"');
	SELECT keep.begin_saga('eve.plans', s) FROM unnest('{hidden,hidden2}'::text[]) s;
	SELECT keep.run_step('eve.plans', 'hidden', 'a', 'eve.echo(jsonb)', '"a secret"', 'eve.echo(jsonb)'), keep.enter_step('eve.plans', 'hidden2', 'a', 'a secret');
	GRANT SELECT, INSERT, UPDATE, DELETE ON eve.private, eve.bank, eve.bank_transfers, eve.asked, eve.plans, eve.plans_steps TO guest;
	CREATE POLICY p ON eve.private TO guest USING (key LIKE 'my%'); CREATE POLICY p ON eve.asked TO guest USING (key LIKE 'my%');
	CREATE POLICY p ON eve.bank TO guest USING (id LIKE 'my%'); CREATE POLICY p ON eve.bank_transfers TO guest USING (from_account LIKE 'my%');
	CREATE POLICY p ON eve.plans TO guest USING (saga LIKE 'my%'); CREATE POLICY p ON eve.plans_steps TO guest USING (saga LIKE 'my%');
	ALTER TABLE eve.private ENABLE ROW LEVEL SECURITY; ALTER TABLE eve.bank ENABLE ROW LEVEL SECURITY; ALTER TABLE eve.bank_transfers ENABLE ROW LEVEL SECURITY;
	ALTER TABLE eve.asked ENABLE ROW LEVEL SECURITY; ALTER TABLE eve.plans ENABLE ROW LEVEL SECURITY; ALTER TABLE eve.plans_steps ENABLE ROW LEVEL SECURITY});
my @looks = map { s/^\s+|\s+$//gr } grep { /\S/ } split(/\n/, q{
	keep.get('eve.private', 'KEY')
	keep.get_entry('eve.private', 'KEY')
	keep.get_many('eve.private', '{KEY}')
	keep.get_and_touch('eve.private', 'KEY', '2 h')
	keep.wait_for('eve.private', 'KEY', 0, '0')
	keep.put('eve.private', 'KEY', '1')
	keep.put_many('eve.private', '{KEY}', '{1}')
	keep.put_batch('eve.private', '{"KEY": 1}')
	keep.put_if_absent('eve.private', 'KEY', '1')
	keep.compare_and_swap('eve.private', 'KEY', 0, '1')
	keep.compare_and_swap('eve.private', 'KEY', 1, '1')
	keep.merge('eve.private', 'KEY', '{"n": 1}')
	keep.increment('eve.private', 'KEY', 1, '{n}')
	keep.touch('eve.private', 'KEY', '2 h')
	keep.persist('eve.private', 'KEY')
	keep.delete('eve.private', 'KEY')
	keep.acquire('eve.private', 'KEY', 'guest', '1 h')
	keep.renew('eve.private', 'KEY', 1, '1 h')
	keep.release('eve.private', 'KEY', 1)
	keep.assert_lease('eve.private', 'KEY', 1)
	keep.expire('eve.private')
	keep.balance('eve.bank', 'KEY')
	keep.statement('eve.bank', 'KEY')
	keep.open_account('eve.bank', 'KEY', 'EUR')
	keep.set_account_limits('eve.bank', 'KEY', 0, 1)
	keep.freeze_account('eve.bank', 'KEY')
	keep.transfer('eve.bank', 'mine', 'my1', 'KEY', 1)
	keep.transfer('eve.bank', 'mine', 'KEY', 'my1', 1)
	keep.transfer_many('eve.bank', '{mine}', '{my1}', '{KEY}', '{1}')
	keep.post_transfer('eve.bank', 'KEY')
	keep.void_transfer('eve.bank', 'KEY')
	keep.reverse_transfer('eve.bank', 'mine', 'KEY')
	keep.begin_request('eve.asked', 'KEY', '1')
	keep.checkpoint_request('eve.asked', 'KEY', 1, '1')
	keep.complete_request('eve.asked', 'KEY', 1, '1')
	keep.fail_request('eve.asked', 'KEY', 1, '1')
	keep.release_request('eve.asked', 'KEY', 1)
	keep.call_once('eve.asked', 'KEY', 'eve.echo(jsonb)', '1')
	keep.begin_saga('eve.plans', 'KEY')
	keep.run_step('eve.plans', 'KEY', 'a', 'eve.echo(jsonb)')
	keep.enter_step('eve.plans', 'KEY', 'a')
	keep.leave_step('eve.plans', 'KEY', 'a', 1, true)
	keep.complete_saga('eve.plans', 'KEY')
	keep.compensate_saga('eve.plans', 'KEY')
	keep.finish_compensation('eve.plans', 'KEY', 'a', 1, true)
	keep.resume_saga('eve.plans', 'KEY')
	keep.claim_compensations('eve.plans', 'KEY')
	keep.expire_requests('eve.asked')});
postgres(q{CREATE SCHEMA test; GRANT USAGE ON SCHEMA test TO PUBLIC;
	CREATE FUNCTION test.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		answer text;
		detail text;
		hint text;
		context text;
	BEGIN
		EXECUTE format('SELECT string_agg(r::text, $q$, $q$) FROM %s r', call) INTO answer;
		RAISE EXCEPTION USING ERRCODE = 'ZZ999', MESSAGE = coalesce(answer, 'no row');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
		RETURN replace(concat_ws(' / ', SQLSTATE, answer, detail, hint, context), E'\n', ' ');
	END $$});
my %answers;
foreach my $key ('hidden', 'hidden2', 'hidden3', 'hidden4', 'nobody')
{
	my $out = as('guest', 'postgres', join('', map { 'SELECT test.answer($call$' . s/KEY/$key/r . "\$call\$);\n" } @looks));
	unlike($out, qr/secret/, "$key: no value is shown");
	$answers{$key} = [ map { s/\b$key\b/KEY/gr =~ s/20\d\d-\d\d-\d\d [0-9:.+]+/TIME/gr } split(/\n/, $out) ];
}
my @nobody = @{ $answers{nobody} };
is(scalar(@nobody), scalar(@looks), 'an answer to each call');
foreach my $key ('hidden', 'hidden2', 'hidden3', 'hidden4')
{
	my @hidden = @{ $answers{$key} };
	is(join("\n", map { $hidden[$_] eq $nobody[$_] ? () : "$looks[$_]: $hidden[$_] and not $nobody[$_]" } 0 .. $#looks), '',
		"$key: a hidden row answers as one that is not there, in " . @looks . ' calls');
}
is(scalar(grep { /^XX/ } @nobody), 0, 'by no internal error');
# what the reaper is at, in the list of processes
is(as('guest', 'postgres', "SELECT count(*) FILTER (WHERE query ~ 'pg_keep') FROM pg_stat_activity WHERE backend_type LIKE 'pg_keep%'"), '0', 'what the reaper does is not shown to all');
is(as('guest', 'postgres', 'SELECT (SELECT count(*) FROM keep.stat_stores) + (SELECT count(*) FROM keep.stat_ledgers) + (SELECT count(*) FROM keep.stat_reaper)'), '0', 'nor are statistics');

# == 7. Names that want quotes, whatever the settings of strings
my $odd = q{b\\'; DROP "q" $x$ {table} {clock} %s %n é};
my $name = sub { return '"' . (shift =~ s/"/""/gr) . '"' };
my $literal = sub { return '$lit$' . shift . '$lit$' };
my $schema = $name->($odd);
foreach my $strings ('on', 'off')
{
	my $table = sub { return $literal->("$schema." . $name->("$_[0] $odd")) };
	my $fn = $literal->("$schema." . $name->("fn $odd") . '(jsonb)');
	my $out = as('boss', 'postgres', "SET client_min_messages = error; DROP SCHEMA IF EXISTS $schema CASCADE; CREATE SCHEMA $schema AUTHORIZATION bob; SET ROLE bob;
		SET standard_conforming_strings = $strings; SET backslash_quote = on; SET escape_string_warning = off;
		SELECT keep.create_store(" . $table->('s') . ", '1 h', max_lifetime => '1 d', persistence => 'unlogged');
		SELECT keep.create_ledger(" . $table->('l') . ", true); SELECT keep.create_request_log(" . $table->('r') . "); SELECT keep.create_saga_log(" . $table->('g') . ");
		CREATE FUNCTION $schema." . $name->("fn $odd") . "(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT \$1';
		SELECT status FROM keep.put(" . $table->('s') . ", \$k\$$odd\$k\$, '1');
		SELECT keep.get(" . $table->('s') . ", \$k\$$odd\$k\$);
		SELECT count(*) FROM keep.put_many(" . $table->('s') . ", '{a,b}', '{1,2}');
		SELECT keep.set_store_option(" . $table->('s') . ", 'max_lifetime', '1 s'), keep.set_store_option(" . $table->('s') . ", 'persistence', 'logged'), keep.expire(" . $table->('s') . ");
		SELECT keep.open_account(" . $table->('l') . ", 'a', 'EUR', NULL, NULL, 2), keep.open_account(" . $table->('l') . ", 'b', 'EUR');
		SELECT status FROM keep.transfer(" . $table->('l') . ", 't1', 'a', 'b', 1); SET pg_keep.direct_access = off; SELECT status FROM keep.transfer(" . $table->('l') . ", 't2', 'a', 'b', 1);
		SELECT count(*) FROM keep.statement(" . $table->('l') . ", 'a'); SELECT bool_and(ok) FROM keep.verify_ledger(" . $table->('l') . ");
		SELECT response FROM keep.call_once(" . $table->('r') . ", 'k', $fn, '7');
		SELECT keep.register(" . $table->('r') . ", 'request_log', '{\"retain\": \"1 day\"}');
		SELECT keep.allow_saga_function(" . $table->('g') . ", $fn); SELECT keep.begin_saga(" . $table->('g') . ", 's');
		SELECT status FROM keep.run_step(" . $table->('g') . ", 's', 'a', $fn, '{}', $fn);
		SELECT state FROM keep.compensate_saga(" . $table->('g') . ", 's')");
	like($out =~ s/\n+/ /gr, qr/created 1 2 .*posted posted 2 t 7 .*running done compensated$/s, "names that want quotes, standard_conforming_strings = $strings") or diag($out);
}
is(postgres(q{SELECT count(*) FROM keep.relation WHERE schema_name LIKE 'b\\\\''%'}), '6', 'all are registered under their names');

no_superuser('nobody has become a superuser in the end');
$node->stop;
check_log($node);
done_testing();
