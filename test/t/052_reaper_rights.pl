# Whose rights the reaper works with: triggers and compensations run as the owner of the table, who is not
# trusted. They get a security-restricted operation and a fixed search_path, leave nothing behind for
# the next table, and what they may not do is reported. Nobody else's functions and operators are run.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReaperTest;
use Test::More;

my $node = new_server('main', 'pg_keep.reaper_share' => 100);
$node->start;

sub postgres { return sql($node, 'postgres', shift); }

sub reported
{
	my ($table, $error, $name) = @_;
	becomes($node, 'postgres', "SELECT errors > 0 AND last_error ~ '$error' AND last_error_at IS NOT NULL" .
		" FROM keep.stat_reaper WHERE relid = '$table'::regclass", 't', "$name: reported");
	return;
}

# The stores of a schema that belong to its owner: filled by a superuser, as only he may move the clock
sub add_owned
{
	my ($owner, @stores) = @_;
	postgres(join('', map { "SET ROLE $owner; SELECT keep.create_store('$_'); RESET ROLE;
		SELECT keep.put('$_', 'live', '1', '1 hour');" } @stores));
	return;
}

# Starting, stopping
add_store($node, 'postgres', 'beside', 0);
postgres('CREATE ROLE joe LOGIN; CREATE ROLE eve LOGIN;
	CREATE SCHEMA app AUTHORIZATION joe; CREATE SCHEMA eve AUTHORIZATION eve;
	GRANT CREATE ON SCHEMA public TO eve; CREATE ROLE "Owner ""of"" much" NOLOGIN');
foreach my $function ('start_reaper', 'stop_reaper')
{
	is(sqlstate($node, 'postgres', "SET ROLE joe; SELECT keep.$function()"), '42501', "$function() is not for everybody");
	postgres("GRANT EXECUTE ON FUNCTION keep.$function() TO joe");
}
is(postgres('SET ROLE joe; SELECT keep.stop_reaper(), keep.start_reaper()'), 't|t', 'but can be granted');
is(postgres("SELECT count(*) FROM pg_proc p, aclexplode(proacl) a WHERE proname IN ('start_reaper', 'stop_reaper')
	AND pronamespace = 'keep'::regnamespace AND a.grantee = 0"), '0', 'nothing of PUBLIC');
becomes($node, 'postgres', $launchers, '1', 'it runs');

# What a trigger and a compensation are, and what they try
pause_reaper($node);
add_owned('joe', 'app.carts');
postgres(q{
	SET ROLE joe;
	CREATE TABLE app.notes (what text, users text, settings text, restricted text);
	CREATE FUNCTION app.try(VARIADIC statements text[]) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		statement text;
		states text = '';
	BEGIN
		FOREACH statement IN ARRAY statements LOOP
			BEGIN
				EXECUTE statement;
				states = states || ' none:' || statement;
			EXCEPTION WHEN OTHERS THEN
				states = states || ' ' || SQLSTATE;
			END;
		END LOOP;
		RETURN substr(states, 2);
	END $$;
	CREATE FUNCTION app.note(what text) RETURNS void LANGUAGE sql AS $$
		INSERT INTO app.notes
		SELECT what, current_user, concat_ws(';', current_setting('search_path'), current_setting('session_replication_role'),
			current_setting('transaction_isolation'), current_setting('transaction_read_only')),
			app.try('SET ROLE eve', 'RESET ROLE', 'SET SESSION AUTHORIZATION joe', 'RESET SESSION AUTHORIZATION',
				'CREATE TEMPORARY TABLE t (a int)', 'ALTER ROLE joe SUPERUSER', 'CREATE ROLE another', 'DELETE FROM eve.secret',
				'SET LOCAL session_replication_role = replica', 'SELECT pg_read_file(''PG_VERSION'')') $$;
	CREATE FUNCTION app.on_delete() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM app.note(concat_ws(' ', TG_OP, TG_WHEN, TG_TABLE_NAME));
		RETURN CASE WHEN TG_WHEN = 'BEFORE' THEN OLD END;
	END $$;
	CREATE TRIGGER before BEFORE DELETE ON app.carts FOR EACH ROW EXECUTE FUNCTION app.on_delete();
	CREATE TRIGGER after AFTER DELETE ON app.carts FOR EACH STATEMENT EXECUTE FUNCTION app.on_delete();
	SELECT keep.create_request_log('app.requests', retain => '30 min');
	CREATE FUNCTION app.act(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION app.undo(jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT app.note('undo'); SELECT $1 $$;
	CREATE TRIGGER before BEFORE DELETE ON app.requests FOR EACH ROW EXECUTE FUNCTION app.on_delete();
	SELECT keep.create_ledger('app.books');
	SELECT keep.open_account('app.books', 'outside', 'EUR', NULL), keep.open_account('app.books', 'ann', 'EUR');
	CREATE FUNCTION app.on_expiry() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM app.note('hold');
		RETURN NULL;
	END $$;
	CREATE TRIGGER after AFTER UPDATE ON app.books_transfers FOR EACH ROW WHEN (NEW.status = 'expired')
		EXECUTE FUNCTION app.on_expiry();
	SELECT keep.create_saga_log('app.sagas');
	SELECT keep.allow_saga_function('app.sagas', 'app.act(jsonb)'), keep.allow_saga_function('app.sagas', 'app.undo(jsonb)');
	RESET ROLE;
	SET ROLE eve;
	CREATE TABLE eve.secret (a int);
	RESET ROLE;
	SELECT test.fill('app.carts', 'over ', 1);
	SET pg_keep.test_clock_offset = '-1 h';
	SELECT keep.call_once('app.requests', 'over', 'app.act(jsonb)', '1');
	SELECT keep.transfer('app.books', 'over', 'outside', 'ann', 1, hold => '1 min');
	SELECT keep.begin_saga('app.sagas', 'over', '1 min');
	SELECT keep.run_step('app.sagas', 'over', 'step', 'app.act(jsonb)', '{}', 'app.undo(jsonb)');
});
postgres("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	ALTER DATABASE postgres SET session_replication_role = 'replica'");
resume_reaper($node);
gone($node, 'postgres', 'app.carts', "joe's store");
becomes($node, 'postgres', 'SELECT count(*) FROM app.requests', '0', "joe's request log");
becomes($node, 'postgres', 'SELECT status FROM app.books_transfers', 'expired', "joe's ledger");
becomes($node, 'postgres', 'SELECT state FROM app.sagas', 'compensated', "joe's saga log");
postgres('ALTER DATABASE postgres RESET ALL');
is( postgres('SELECT DISTINCT what FROM app.notes ORDER BY 1'),
	join("\n", 'DELETE AFTER carts', 'DELETE BEFORE carts', 'DELETE BEFORE requests', 'hold', 'undo'),
	'triggers and compensation did run');
is(postgres('SELECT DISTINCT users, settings FROM app.notes'), 'joe|pg_catalog, pg_temp;origin;read committed;off',
	'as the owner, in a fixed search_path');
is(postgres('SELECT DISTINCT restricted FROM app.notes'), join(' ', ('42501') x 10), 'in a security-restricted operation');
is(postgres("SELECT rolsuper FROM pg_roles WHERE rolname = 'joe'"), 'f', 'joe is who he was');

# The owner has a strange name, may not log in, or has a database's search_path full of traps.
postgres(q{
	CREATE SCHEMA "its ""own"" Schema" AUTHORIZATION "Owner ""of"" much";
	SET ROLE "Owner ""of"" much";
	SELECT keep.create_store('"its ""own"" Schema"."a table's ""name"""');
	SELECT keep.put('"its ""own"" Schema"."a table''s ""name"""', 'live', '1');
} =~ s/a table's/a table''s/r);
postgres(q{SELECT test.fill('"its ""own"" Schema"."a table''s ""name"""', 'over ', 10)});
gone($node, 'postgres', '"its ""own"" Schema"."a table\'s ""name"""', 'names that want quotes');

# Traps of eve in public, which every name and operator leads to that is not qualified
pause_reaper($node);
postgres(q{
	SET ROLE eve;
	CREATE TABLE public.trapped (who text, what text);
	GRANT INSERT ON public.trapped TO PUBLIC;
	CREATE FUNCTION public.trap(what text) RETURNS void LANGUAGE sql AS
		'INSERT INTO public.trapped VALUES (current_user, what)';
	CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT public.trap('count'); SELECT 1::bigint $$;
	CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
		$$ SELECT public.trap('clock'); SELECT pg_catalog.now() $$;
	CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS
		$$ SELECT public.trap('now'); SELECT pg_catalog.now() $$;
	CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE sql AS
		$$ SELECT public.trap('format'); SELECT '' $$;
	CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE sql AS
		$$ SELECT public.trap('quote_ident'); SELECT '' $$;
	CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS
		$$ SELECT public.trap('set_config'); SELECT '' $$;
	CREATE TABLE public.pg_class (oid oid, relname name, relnamespace oid, relowner oid, relkind "char");
	CREATE TABLE public.pg_extension (oid oid, extname name);
	CREATE TABLE public.pg_database (oid oid, datname name, datallowconn bool, datconnlimit int);
	DO $$
	DECLARE
		type text;
		op text;
	BEGIN
		FOREACH type IN ARRAY '{text,name,oid,timestamptz,bigint,int,jsonb,"char",tid,boolean}'::text[] LOOP
			FOREACH op IN ARRAY '{=,<>,<=,<,>,>=}'::text[] LOOP
				EXECUTE pg_catalog.format('CREATE FUNCTION public.%I(%2$s, %2$s) RETURNS boolean LANGUAGE sql AS ' ||
					$f$ $b$ SELECT public.trap(%3$L); SELECT $1 OPERATOR(pg_catalog.%4$s) $2 $b$ $f$,
					'op ' || type || op, type, type || op, op);
				EXECUTE pg_catalog.format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = public.%I)',
					op, type, 'op ' || type || op);
			END LOOP;
		END LOOP;
	END $$;
	RESET ROLE;
	ALTER DATABASE postgres SET search_path = public, eve, pg_catalog;
});
fill($node, 'postgres', 'app.carts', 20);
postgres(q{
	SET pg_keep.test_clock_offset = '-1 h';
	SELECT keep.call_once('app.requests', 'over 2', 'app.act(jsonb)', '1');
	SELECT keep.transfer('app.books', 'over 2', 'outside', 'ann', 1, hold => '1 min');
	SELECT keep.begin_saga('app.sagas', 'over 2', '1 min');
	SELECT keep.run_step('app.sagas', 'over 2', 'step', 'app.act(jsonb)', '{}', 'app.undo(jsonb)');
	TRUNCATE public.trapped;
});
resume_reaper($node);
gone($node, 'postgres', 'app.carts', 'a store among traps');
becomes($node, 'postgres', 'SELECT pg_catalog.count(*) FROM app.requests', '0', 'a request log');
becomes($node, 'postgres', "SELECT pg_catalog.string_agg(status, ' ') FROM app.books_transfers", 'expired expired',
	'a ledger');
becomes($node, 'postgres', "SELECT pg_catalog.string_agg(state, ' ') FROM app.sagas", 'compensated compensated',
	'a saga log');
$node->psql('postgres', 'SELECT pg_sleep(0.5)');
is(postgres('SELECT DISTINCT who, what FROM public.trapped'), '', 'nobody was caught');
postgres('ALTER DATABASE postgres RESET search_path');
postgres('DROP OWNED BY eve; CREATE SCHEMA eve AUTHORIZATION eve');

# Triggers that change settings for the session: each one first notes what it finds.
pause_reaper($node);
postgres(q{
	CREATE TABLE found (who text, settings text);
	GRANT INSERT ON found TO PUBLIC;
	CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
	DECLARE
		setting text[];
	BEGIN
		INSERT INTO public.found
		SELECT current_user, string_agg(s || '=' || current_setting(s), '; ' ORDER BY s)
		FROM unnest('{search_path,role,session_replication_role,row_security,work_mem,lock_timeout,
			DateStyle,application_name,synchronous_commit,my.own,pg_keep.test_clock_offset}'::text[]) s
		WHERE current_setting(s, true) <> '' AND (s <> 'pg_keep.test_clock_offset' OR current_user = session_user);
		FOREACH setting SLICE 1 IN ARRAY '{{search_path,public},{role,eve},{session_replication_role,replica},{row_security,off},
			{work_mem,1MB},{lock_timeout,1ms},{DateStyle,German},{application_name,mine},
			{synchronous_commit,local},{my.own,thing},{pg_keep.test_clock_offset,-10h}}'::text[] LOOP
			BEGIN
				PERFORM set_config(setting[1], setting[2], false);
			EXCEPTION WHEN insufficient_privilege OR undefined_object OR invalid_parameter_value THEN
			END;
		END LOOP;
		RETURN OLD;
	END $$;
});
postgres(q{
	CREATE FUNCTION poison_writes() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '1ms', false);
		RETURN OLD;
	END $$;
});
add_owned('joe', 'app.p1', 'app.p2', 'app.writes');
add_store($node, 'postgres', $_, 0) foreach 'p3', 'p4';
foreach my $store ('app.p1', 'app.p2', 'p3', 'p4')
{
	postgres("CREATE TRIGGER poison BEFORE DELETE ON $store FOR EACH ROW EXECUTE FUNCTION poison()");
	fill($node, 'postgres', $store, 10);
}
my $errors = postgres('SELECT sum(errors) FROM keep.stat_reaper');
resume_reaper($node, reaper_batch => 1);
gone($node, 'postgres', $_, "triggers that change settings: $_") foreach 'app.p1', 'app.p2', 'p3', 'p4';
postgres('CREATE TRIGGER poison BEFORE DELETE ON app.writes FOR EACH ROW EXECUTE FUNCTION poison_writes()');
fill($node, 'postgres', $_, 20) foreach 'app.writes', 'beside';
gone($node, 'postgres', $_, "triggers that would keep it from writing: $_") foreach 'app.writes', 'beside';
is(postgres('SELECT sum(errors) FROM keep.stat_reaper'), $errors, 'no error came of that');
is(postgres('SELECT count(*) FROM found'), '40', 'each row was noted');
is(postgres('SELECT count(DISTINCT settings) FROM found GROUP BY who'), "1\n1", 'each trigger finds the same');
is( postgres(q{
	SELECT DISTINCT split_part(s, '=', 1) AS setting, split_part(s, '=', 2) FROM found, string_to_table(settings, '; ') s
	WHERE s ~ '^(search_path|session_rep|row_sec|my|pg_keep|role)' ORDER BY 1}),
	join("\n", 'pg_keep.test_clock_offset|0', 'role|none', 'row_security|on', 'search_path|pg_catalog, pg_temp',
		'session_replication_role|origin'), 'nothing of the others');
set_reaper($node, reaper_batch => undef);

# What it cannot do, and says
my $log_start = end_of_log($node);
add_owned('joe', "app.$_") foreach 'at_once', 'deferred', 'hidden', 'seen', 'no_delete', 'a_first', 'z_last';
postgres('CREATE SCHEMA locked; GRANT CREATE, USAGE ON SCHEMA locked TO joe');
add_owned('joe', 'locked.away');
postgres(q{
	REVOKE ALL ON SCHEMA locked FROM joe;
	SET ROLE joe;
	CREATE CONSTRAINT TRIGGER late AFTER DELETE ON app.at_once DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION app.on_delete();
	CREATE CONSTRAINT TRIGGER late AFTER DELETE ON app.deferred DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION app.on_delete();
	CREATE FUNCTION app.defer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN OLD; END $$;
	CREATE TRIGGER defer BEFORE DELETE ON app.deferred FOR EACH ROW EXECUTE FUNCTION app.defer();
	TRUNCATE app.notes;
	CREATE POLICY even ON app.hidden USING (key !~ '[13579]$');
	ALTER TABLE app.hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	CREATE POLICY even ON app.seen USING (key !~ '[13579]$');
	ALTER TABLE app.seen ENABLE ROW LEVEL SECURITY;
	REVOKE DELETE ON app.no_delete FROM joe;
});
fill($node, 'postgres', "app.$_", 10) foreach 'at_once', 'deferred', 'hidden', 'seen', 'no_delete', 'a_first', 'z_last';
fill($node, 'postgres', 'locked.away', 10);
gone($node, 'postgres', "app.$_", "among tables that cannot be dealt with: $_") foreach 'a_first', 'z_last';
gone($node, 'postgres', 'app.seen', 'row-level security that does not hold for the owner');
gone($node, 'postgres', 'app.at_once', 'a deferred trigger');
is( postgres(q{
	SELECT count(*), count(DISTINCT (users, settings, restricted)), min(users), min(restricted)
	FROM app.notes WHERE what ~ 'at_once'}),
	'10|1|joe|' . join(' ', ('42501') x 10), 'is fired, as the owner and restricted, too');
reported('app.deferred', 'deferred', 'a trigger that defers');
reported('app.no_delete', 'permission denied', 'an owner who may not delete');
reported('locked.away', 'permission denied', 'an owner who may not look into the schema');
becomes($node, 'postgres', "SELECT count(*), count(*) FILTER (WHERE key ~ '[13579]\$') FROM app.hidden", '6|5',
	'row-level security that holds for the owner: he deletes what he sees');
reported('app.hidden', 'row.(level.)?security hides', 'and that it hides rows');
is(postgres("SELECT count(*) FROM $_"), '11', "$_ is as it was") foreach 'app.deferred', 'app.no_delete', 'locked.away';
my $log = end_of_log($node, $log_start);
like($log, qr/LOG:.*pg_keep could not expire.*$_/, "$_ is in the log") foreach 'deferred', 'no_delete', 'away';
unlike($log, qr/ERROR:|FATAL:/, 'at no other level');

# As soon as it can it does.
postgres('DROP TRIGGER late ON app.deferred; GRANT DELETE ON app.no_delete TO joe;
	GRANT USAGE ON SCHEMA locked TO joe; ALTER ROLE joe BYPASSRLS');
due_again($node, 'postgres', $_) foreach 'app.deferred', 'app.no_delete', 'locked.away', 'app.hidden';
gone($node, 'postgres', $_, "$_, mended") foreach 'app.deferred', 'app.no_delete', 'locked.away', 'app.hidden';

# A table that was given away, and what it does with the tables of others
postgres('CREATE ROLE ann; GRANT CREATE, USAGE ON SCHEMA app TO ann; ALTER TABLE app.carts OWNER TO ann;
	GRANT ALL ON app.notes TO ann; TRUNCATE app.notes');
fill($node, 'postgres', 'app.carts', 1);
gone($node, 'postgres', 'app.carts', 'a table that was given away');
is(postgres('SELECT DISTINCT users FROM app.notes'), 'ann', 'its triggers run as the new owner');
$node->stop;
check_log($node);

done_testing();
