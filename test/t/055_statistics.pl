# Statistics: each call counts as what came of it, once its transaction has committed, and nothing else
# does; from many sessions they add up. Who sees them, their reset, their end at a restart, their room.
# The expected numbers of the random tests come from a table that the calls' own transactions write.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ServerLog;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', q{
	shared_preload_libraries = 'pg_keep'
	pg_keep.reaper = off
	pg_keep.naptime = 100ms
	max_prepared_transactions = 5
	restart_after_crash = on
	deadlock_timeout = 10ms
	autovacuum = off
});
$node->start;

sub sql { return $node->safe_psql('postgres', shift); }

sub sqlstate
{
	my ($server, $query) = @_;
	my ($ret, $out, $err) = $server->psql('postgres', "\\set VERBOSITY sqlstate\n$query");
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : 'none';
}

# The counters of a table that are not zero
sub counted
{
	my ($table) = @_;
	return sql("SELECT counted('$table')");
}

# Runs a script in a session of its own, whatever errors it meets: this must have been counted for a table.
sub counts
{
	my ($name, $script, $expected, $table) = @_;
	$table //= 's';
	sql('SELECT keep.stat_reset(); CALL fresh()');
	sql('SELECT keep.stat_reset()');
	$node->psql('postgres', $script, on_error_stop => 0);
	is(counted($table), $expected, $name);
	return;
}

sql(q{
	CREATE EXTENSION pg_keep;

	CREATE FUNCTION counted(t regclass) RETURNS text LANGUAGE sql AS $$
		SELECT coalesce(string_agg(c.key || ' ' || coalesce(c.value, 'null'), ', ' ORDER BY c.key), '') FROM (
			SELECT to_jsonb(s) FROM keep.stat_stores s WHERE relid = t
			UNION ALL SELECT to_jsonb(l) FROM keep.stat_ledgers l WHERE relid = t) r(row),
			jsonb_each_text(r.row - '{relid,schema_name,store_name,ledger_name,stats_since}'::text[]) c
		WHERE c.value IS DISTINCT FROM '0'
	$$;

	SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access', renew_after => '1 microsecond');
	SELECT keep.create_store('slow', ttl => '1 hour', expire_after => 'access');
	SELECT keep.create_store('hashed', hash_keys => true, persistence => 'unlogged');
	-- an entry that lives, one that is over, a lease
	CREATE PROCEDURE fresh() LANGUAGE plpgsql AS $$
	DECLARE
		t text;
	BEGIN
		FOREACH t IN ARRAY '{s,slow,hashed}'::text[] LOOP
			EXECUTE format('DELETE FROM %s', t);
			PERFORM keep.put(t, 'k', '{"n": 1}', '1 hour'), keep.put(t, 'over', '{"n": 1}', '1 hour'), keep.acquire(t, 'lease', 'me', '1 hour');
			EXECUTE format('UPDATE %s SET expires_at = now(), reap_at = now() WHERE value ->> ''n'' = ''1'' AND version = 1 + (SELECT min(version) FROM %1$s)', t);
		END LOOP;
	END $$;
	CREATE FUNCTION version(k text) RETURNS bigint LANGUAGE sql AS 'SELECT version FROM s WHERE key = k';

	SELECT keep.create_ledger('l', history => true);
	SELECT keep.open_account('l', 'world', 'USD', NULL), keep.open_account('l', 'a', 'USD'), keep.open_account('l', 'b', 'USD'),
		keep.open_account('l', 'full', 'USD', 0, 1), keep.open_account('l', 'ice', 'USD'), keep.open_account('l', 'yen', 'JPY'),
		keep.open_account('l', 'hot', 'USD', 0, NULL, 4);
	SELECT keep.transfer('l', 'fund a', 'world', 'a', 1000000), keep.transfer('l', 'fund ice', 'world', 'ice', 1000);
	SELECT keep.transfer('l', 'held ice', 'ice', 'a', 10, '1 hour');
	SELECT keep.freeze_account('l', 'ice');
	CREATE FUNCTION hold(id text, seconds int = 3600, payer text = 'a') RETURNS text LANGUAGE sql AS
		$$ SELECT status FROM keep.transfer('l', id, payer, 'b', 10, make_interval(secs => seconds)) $$;
	CREATE FUNCTION over(id text, payer text = 'a') RETURNS text LANGUAGE sql SET pg_keep.test_clock_offset = '-1 h' AS
		$$ SELECT hold(id, 60, payer) $$;

	-- Runs each case in transactions of its own, and notes what was counted. ID stands for something unique.
	CREATE TABLE cases (nr int GENERATED ALWAYS AS IDENTITY, t regclass, before text, stmt text, counted text);
	CREATE PROCEDURE run_cases() LANGUAGE plpgsql AS $$
	DECLARE
		c cases;
	BEGIN
		FOR c IN SELECT * FROM cases WHERE counted IS NULL ORDER BY nr LOOP
			CALL fresh();
			IF c.before <> '' THEN
				EXECUTE replace(c.before, 'ID', 'case ' || c.nr);
			END IF;
			COMMIT;
			PERFORM keep.stat_reset();
			COMMIT;
			EXECUTE replace(c.stmt, 'ID', 'case ' || c.nr);
			COMMIT;
			UPDATE cases SET counted = counted(t) WHERE nr = c.nr;
			COMMIT;
		END LOOP;
	END $$;

	CREATE TABLE said (t regclass, counter text);
	CREATE FUNCTION said(t regclass) RETURNS text LANGUAGE sql AS $$
		SELECT coalesce(string_agg(counter || ' ' || n, ', ' ORDER BY counter), '')
		FROM (SELECT counter, count(*) AS n FROM said WHERE said.t = $1 GROUP BY 1) x
	$$;
	CREATE FUNCTION counter(status text) RETURNS text LANGUAGE sql AS $$
		SELECT CASE WHEN status IN ('created', 'updated', 'deleted') THEN replace(status || 's', 'ds', 's')
			WHEN status IN ('exists', 'stale', 'absent') THEN 'condition_failures'
			WHEN status = 'touched' THEN 'touches_written' WHEN status = 'persisted' THEN 'updates' ELSE status END
	$$;
});

# Runs a table of cases: [ call, expected ] or [ call, expected, what is done before ].
sub run_table
{
	my ($table, $name, @cases) = @_;
	sql('TRUNCATE cases RESTART IDENTITY') if $table ne 'l';
	sql('DELETE FROM cases');
	my $script = '';
	foreach my $case (@cases)
	{
		my ($stmt, undef, $before) = @$case;
		$script .= "INSERT INTO cases (t, before, stmt) VALUES ('$table', \$x\$" . ($before // '') . "\$x\$, \$x\$SELECT * FROM $stmt\$x\$);\n";
	}
	sql($script);
	sql('CALL run_cases()');
	my @got = split /\n/, sql('SELECT counted FROM cases ORDER BY nr'), -1;
	is($got[$_] // 'not run', $cases[$_][1], "$name: $cases[$_][0]") foreach (0 .. $#cases);
	return;
}

run_table('s', 'store',
	[ q{keep.get('s', 'k')}, 'hits 1' ],
	[ q{keep.get('s', 'none')}, 'misses 1' ],
	[ q{keep.get('s', 'over')}, 'misses 1' ],
	[ q{(SELECT count(keep.get('s', 'k')) FROM generate_series(1, 10)) x}, 'hits 10' ],
	[ q{keep.get_entry('s', 'k')}, 'hits 1' ],
	[ q{keep.get_entry('s', 'over')}, 'misses 1' ],
	[ q{keep.get_many('s', '{k,none,over,k,lease}')}, 'hits 3, misses 2' ],
	[ q{keep.get_many('s', '{}')}, '' ],
	[ q{keep.get_and_touch('s', 'k')}, 'hits 1, touches_written 1' ],
	[ q{keep.get_and_touch('s', 'none')}, 'misses 1' ],
	[ q{keep.get_and_touch('s', 'over')}, 'misses 1' ],
	[ q{keep.wait_for('s', 'k')}, 'hits 1' ],
	[ q{keep.wait_for('s', 'k', 0, '0')}, 'hits 1' ],
	[ q{keep.wait_for('s', 'none', 0, '0')}, 'misses 1' ],
	[ q{keep.wait_for('s', 'over', 0, '30 ms')}, 'misses 1' ],
	[ q{keep.wait_for('s', 'k', version('k'), '30 ms')}, 'misses 1' ],
	[ q{keep.touch('s', 'k')}, 'touches_written 1' ],
	[ q{keep.touch('s', 'none')}, 'misses 1' ],
	[ q{keep.touch('s', 'over')}, 'misses 1' ],
	[ q{keep.put('s', 'new', '1')}, 'creates 1' ],
	[ q{keep.put('s', 'k', '1')}, 'updates 1' ],
	[ q{keep.put('s', 'over', '1')}, 'creates 1' ],
	[ q{keep.put_many('s', '{k,new,over,new2}', '{1,2,3,4}')}, 'creates 3, updates 1' ],
	[ q{keep.put_many('s', '{}', '{}')}, '' ],
	[ q{keep.put_batch('s', '{"k": 1, "new": 1, "lease": 3}')}, 'creates 1, updates 2' ],
	[ q{keep.put_if_absent('s', 'new', '1')}, 'creates 1' ],
	[ q{keep.put_if_absent('s', 'over', '1')}, 'creates 1' ],
	[ q{keep.put_if_absent('s', 'k', '1')}, 'condition_failures 1' ],
	[ q{keep.compare_and_swap('s', 'k', version('k'), '1')}, 'updates 1' ],
	[ q{keep.compare_and_swap('s', 'k', version('k') + 1, '1')}, 'condition_failures 1' ],
	[ q{keep.compare_and_swap('s', 'none', 5, '1')}, 'condition_failures 1' ],
	[ q{keep.compare_and_swap('s', 'over', version('over'), '1')}, 'condition_failures 1' ],
	[ q{keep.compare_and_swap('s', 'new', 0, '1')}, 'creates 1' ],
	[ q{keep.compare_and_swap('s', 'k', 0, '1')}, 'condition_failures 1' ],
	[ q{keep.merge('s', 'k', '{"m": 1}')}, 'updates 1' ],
	[ q{keep.merge('s', 'k', '{"m": 1}', version('k') + 1)}, 'condition_failures 1' ],
	[ q{keep.merge('s', 'none', '1')}, 'condition_failures 1' ],
	[ q{keep.increment('s', 'k', 1, '{n}')}, 'updates 1' ],
	[ q{keep.increment('s', 'new')}, 'creates 1' ],
	[ q{keep.increment('s', 'over')}, 'creates 1' ],
	[ q{keep.persist('s', 'k')}, 'updates 1' ],
	[ q{keep.persist('s', 'over')}, 'condition_failures 1' ],
	[ q{keep.delete('s', 'k')}, 'deletes 1' ],
	[ q{keep.delete('s', 'k', version('k') + 1)}, 'condition_failures 1' ],
	[ q{keep.delete('s', 'over')}, 'condition_failures 1' ],
	[ q{keep.expire('s')}, 'expired 1' ],
	[ q{keep.expire()}, 'expired 1' ],
	[ q{keep.expire('s')}, '', q{DELETE FROM s WHERE key = 'over'} ],
	[ q{keep.acquire('s', 'new', 'me', '1 hour')}, 'creates 1' ],
	[ q{keep.acquire('s', 'over', 'me', '1 hour')}, 'creates 1' ],
	[ q{keep.acquire('s', 'lease', 'me', '2 hours')}, 'touches_written 1' ],
	[ q{keep.acquire('s', 'lease', 'me', '1 min')}, 'touches_skipped 1' ],
	[ q{keep.acquire('s', 'lease', 'you', '1 hour')}, 'condition_failures 1' ],
	[ q{keep.acquire('s', 'lease', 'you', '1 hour', '30 ms')}, 'condition_failures 1' ],
	[ q{keep.acquire('s', 'k', 'me', '1 hour')}, 'condition_failures 1' ],
	[ q{keep.renew('s', 'lease', version('lease'), '1 min')}, 'touches_written 1' ],
	[ q{keep.renew('s', 'lease', version('lease') + 1, '1 min')}, 'condition_failures 1' ],
	[ q{keep.renew('s', 'none', 1, '1 min')}, 'condition_failures 1' ],
	[ q{keep.assert_lease('s', 'lease', version('lease'))}, '' ],
	[ q{keep.release('s', 'lease', version('lease'))}, 'deletes 1' ],
	[ q{keep.release('s', 'lease', version('lease') + 1)}, 'condition_failures 1' ],
	[ q{keep.release('s', 'none', 1)}, 'condition_failures 1' ],
	[ q{keep.set_store_option('s', 'max_value_bytes', '1000')}, '' ],
	[ q{s WHERE keep.put('slow', key, '1') IS NULL}, '' ]);
run_table('slow', 'store',
	[ q{keep.touch('slow', 'k')}, 'touches_skipped 1' ],
	[ q{keep.get_and_touch('slow', 'k')}, 'hits 1, touches_skipped 1' ],
	[ q{keep.touch('slow', 'k', '2 hours')}, 'touches_written 1' ]);
run_table('hashed', 'hashed keys, unlogged',
	[ q{keep.get('hashed', 'k')}, 'hits 1' ],
	[ q{keep.put_many('hashed', '{k,new}', '{1,2}')}, 'creates 1, updates 1' ],
	[ q{keep.get_many('hashed', '{k,none}')}, 'hits 1, misses 1' ],
	[ q{keep.expire('hashed')}, 'expired 1' ]);

# Ledgers, on both ways to the table
my $old = q{SELECT keep.transfer('l', 'ID', 'a', 'b', 10)};
my $many = q{'l', '{ID new,ID old,ID other,ID poor,ID hold,ID new}', '{a,a,a,b,a,a}', '{b,b,b,yen,b,b}', '{1,10,99,5,7,1}',
	ARRAY[NULL, NULL, NULL, NULL, '1 hour', NULL]::interval[]};
my $before_many = q{SELECT keep.transfer('l', 'ID old', 'a', 'b', 10), keep.transfer('l', 'ID other', 'a', 'b', 10)};
foreach my $direct ('on', 'off')
{
	sql("ALTER DATABASE postgres SET pg_keep.direct_access = $direct");
	run_table('l', "ledger, direct access $direct",
		[ q{keep.transfer('l', 'ID', 'a', 'b', 10)}, 'posted 1' ],
		[ q{keep.transfer('l', 'ID', 'a', 'b', 10)}, 'replayed 1', $old ],
		[ q{keep.transfer('l', 'ID', 'a', 'hot', 10)}, 'posted 1' ],
		[ q{keep.transfer('l', 'ID', 'a', 'b', 10, '1 hour')}, 'pending 1' ],
		[ q{keep.transfer('l', 'ID', 'a', 'b', 10, '1 hour')}, 'replayed 1', q{SELECT hold('ID')} ],
		[ q{keep.transfer('l', 'ID', 'a', 'b', 10, '60 s')}, 'replayed 1', q{SELECT over('ID')} ],
		[ q{keep.transfer('l', 'ID', 'a', 'b', 100000000)}, 'rejected 1', q{SELECT keep.expire_holds('l')} ],
		[ q{keep.transfer('l', 'ID', 'a', 'b', 100000000)}, 'replayed 1', q{SELECT keep.transfer('l', 'ID', 'a', 'b', 100000000)} ],
		[ q{keep.transfer('l', 'ID', 'a', 'nobody', 10)}, 'rejected 1' ],
		[ q{keep.transfer('l', 'ID', 'a', 'yen', 10)}, 'rejected 1' ],
		[ q{keep.transfer('l', 'ID', 'a', 'ice', 10)}, 'rejected 1' ],
		[ q{keep.transfer('l', 'ID', 'a', 'full', 10, '1 hour')}, 'rejected 1' ],
		[ q{keep.post_transfer('l', 'ID')}, 'posted 1', q{SELECT hold('ID')} ],
		[ q{keep.post_transfer('l', 'ID', 3)}, 'posted 1', q{SELECT hold('ID')} ],
		[ q{keep.post_transfer('l', 'ID')}, 'replayed 1', q{SELECT hold('ID'), keep.post_transfer('l', 'ID')} ],
		[ q{keep.post_transfer('l', 'ID')}, 'replayed 1', $old ],
		[ q{keep.post_transfer('l', 'ID')}, '', q{SELECT hold('ID'), keep.void_transfer('l', 'ID')} ],
		[ q{keep.post_transfer('l', 'held ice')}, '' ],
		[ q{keep.post_transfer('l', 'ID')}, 'expired 1', q{SELECT over('ID')} ],
		[ q{keep.post_transfer('l', 'ID')}, '', q{SELECT over('ID'), keep.post_transfer('l', 'ID')} ],
		[ q{keep.void_transfer('l', 'ID')}, 'voided 1', q{SELECT hold('ID')} ],
		[ q{keep.void_transfer('l', 'ID')}, 'replayed 1', q{SELECT hold('ID'), keep.void_transfer('l', 'ID')} ],
		[ q{keep.void_transfer('l', 'ID')}, '', $old ],
		[ q{keep.void_transfer('l', 'ID')}, 'expired 1', q{SELECT over('ID')} ],
		[ q{keep.void_transfer('l', 'ID')}, 'replayed 1', q{SELECT over('ID'), keep.void_transfer('l', 'ID')} ],
		[ q{keep.reverse_transfer('l', 'ID back', 'ID')}, 'posted 1', $old ],
		[ q{keep.reverse_transfer('l', 'ID back', 'ID', 4)}, 'replayed 1', "$old, keep.reverse_transfer('l', 'ID back', 'ID', 4)" ],
		[ q{keep.reverse_transfer('l', 'ID back', 'ID', 11)}, 'rejected 1', $old ],
		[ q{keep.reverse_transfer('l', 'ID back', 'ID')}, 'rejected 1', q{SELECT hold('ID')} ],
		[ q{keep.transfer('l', 'ID pays', 'ID', 'b', 10)}, 'expired 1, posted 1',
			q{SELECT keep.expire_holds('l'), keep.open_account('l', 'ID', 'USD'), keep.transfer('l', 'ID fund', 'a', 'ID', 10), over('ID', 'ID')} ],
		[ q{keep.expire_holds('l')}, 'expired 3', q{SELECT keep.expire_holds('l'), over('ID 1'), over('ID 2'), over('ID 3')} ],
		[ q{keep.expire_holds('l')}, '', q{SELECT keep.expire_holds('l')} ],
		[ "keep.transfer_many($many)", 'mismatched 1, pending 1, posted 1, rejected 1, replayed 2', $before_many ],
		[ "keep.transfer_many($many, report => 'exceptions')", 'mismatched 1, pending 1, posted 1, rejected 1, replayed 2', $before_many ],
		[ q{keep.transfer_many('l', '{ID 1,ID 2,ID 3}', '{a,b,a}', '{b,yen,b}', '{1,1,1}', chains => '{x,x,NULL}')}, 'posted 1, rejected 2' ],
		[ q{keep.transfer_batch('l', '[{"id": "ID 1", "from_account": "a", "to_account": "b", "amount": 1},
			{"id": "ID 2", "from_account": "a", "to_account": "nobody", "amount": 1}]')}, 'posted 1, rejected 1' ],
		[ q{keep.open_account('l', 'ID', 'USD')}, '' ],
		[ q{keep.set_account_limits('l', 'b', 0, NULL)}, '' ],
		[ q{keep.balance('l', 'a')}, '' ],
		[ q{keep.statement('l', 'a')}, '' ],
		[ q{keep.verify_ledger('l')}, '' ]);
}
sql('ALTER DATABASE postgres RESET pg_keep.direct_access');

# What is rolled back was not counted, reads included.
counts('rolled back', q{BEGIN; SELECT keep.put('s', 'new', '1'), keep.get('s', 'k'); ROLLBACK}, '');
counts('failed', q{BEGIN; SELECT keep.put('s', 'new', '1'); SELECT 1 / 0; COMMIT}, '');
counts('failed in the same statement', q{SELECT 1 / (version - version) FROM keep.put('s', 'new', '1')}, '');
counts('an error of the call', q{SELECT keep.increment('s', 'lease'); SELECT keep.assert_lease('s', 'lease', 1);}, '');
counts('errors of ledgers', q{
	SELECT keep.transfer('l', 'fund a', 'a', 'b', 1);
	SELECT keep.post_transfer('l', 'none');
	BEGIN; SELECT keep.transfer('l', 'rolled back', 'a', 'b', 1); ROLLBACK}, '', 'l');
sql(q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
	CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.key = 'bad') EXECUTE FUNCTION refuse();
});
counts('failed at the commit', q{SELECT keep.put('s', 'bad', '1'); SELECT keep.put_many('s', '{good,bad}', '{1,1}')}, '');
sql('DROP TRIGGER refuse ON s');
counts('and the next transaction of the session is', q{
	BEGIN; SELECT keep.put('s', 'new', '1'); ROLLBACK;
	SELECT keep.put('s', 'new', '1');
	BEGIN; SAVEPOINT a; SELECT keep.get('s', 'k'); SELECT 1 / 0; ROLLBACK;
	SELECT keep.delete('s', 'new')}, 'creates 1, deletes 1');
my $savepoints = q{
	BEGIN;
	SELECT keep.put('s', 'a', '1');
	SAVEPOINT x;
	SELECT keep.put('s', 'b', '1'), keep.get('s', 'k'), keep.put('slow', 'b', '1');
	SAVEPOINT y;
	SELECT keep.delete('s', 'k');
	RELEASE y;
	ROLLBACK TO x;
	SELECT keep.put('s', 'd', '1'), keep.touch('s', 'a');
	SAVEPOINT z;
	SAVEPOINT z2;
	SELECT keep.put('s', 'e', '1'), keep.put('slow', 'e', '1');
	RELEASE z;
	SAVEPOINT u;
	SELECT keep.get('s', 'none');
	ROLLBACK TO u;
	SELECT keep.get('s', 'none');
	COMMIT};
counts('savepoints', $savepoints, 'creates 3, misses 1, touches_written 1');
counts('savepoints, another store', $savepoints, 'creates 1', 'slow');
counts('an exception block', q{DO $$
	BEGIN
		BEGIN
			PERFORM keep.put('s', 'a', '1'), keep.transfer('l', 'caught', 'a', 'b', 1);
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			PERFORM keep.get('s', 'a');
		END;
		BEGIN
			PERFORM keep.put('s', 'b', '1');
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END $$}, 'creates 1, misses 1');
counts('a prepared transaction is not', q{
	BEGIN; SELECT keep.put('s', 'new', '1'); PREPARE TRANSACTION 'one';
	SELECT keep.get('s', 'k');
	COMMIT PREPARED 'one';
	SELECT keep.get('s', 'k')}, 'hits 2');
counts('a procedure that commits', q{DO $$ BEGIN
	PERFORM keep.put('s', 'a', '1'); COMMIT; PERFORM keep.put('s', 'b', '1'); ROLLBACK; PERFORM keep.put('s', 'c', '1'); END $$}, 'creates 2');
counts('read-only, repeatable read', q{
	BEGIN READ ONLY; SELECT keep.get('s', 'k'); COMMIT;
	BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT keep.get('s', 'k'); COMMIT}, 'hits 2');
counts('writes past pg_keep are not', q{INSERT INTO s (key, value, created_at, updated_at) VALUES ('x', '1', now(), now()); DELETE FROM s}, '');
counts('a table that is dropped in between', q{
	BEGIN; SELECT keep.create_store('brief'), keep.put('s', 'a', '1'); SELECT keep.put('brief', 'a', '1'); DROP TABLE brief; COMMIT;
	SELECT keep.create_store('brief'); SELECT keep.put('brief', 'a', '1'); DROP TABLE brief}, 'creates 1');
counts('a session that does not count', q{
	SET pg_keep.track_statistics = off; SELECT keep.put('s', 'a', '1');
	RESET pg_keep.track_statistics; SELECT keep.put('s', 'b', '1');
	BEGIN; SET LOCAL pg_keep.track_statistics = off; SELECT keep.put('s', 'c', '1'); COMMIT; SELECT keep.put('s', 'd', '1')}, 'creates 2');

# Another session's, once it has committed
my $session = $node->background_psql('postgres');
sql('CALL fresh()');
sql('SELECT keep.stat_reset()');
$session->query_safe("BEGIN; SELECT keep.put('s', 'one', '1')");
sql("SELECT keep.put('s', 'two', '1')");
is(counted('s'), 'creates 1', 'an open transaction does not count yet');
$session->query_safe('COMMIT');
is(counted('s'), 'creates 2', 'two sessions add up');
$session->quit;

# Random nesting of blocks that end well or not
sql(q{
	CREATE FUNCTION act(k text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		t regclass = (ARRAY['s', 'slow'])[1 + floor(random() * 2)::int];
	BEGIN
		CASE floor(random() * 5)
			WHEN 0 THEN INSERT INTO said SELECT t, counter(status) FROM keep.put(t, k, '{"n": 1}');
			WHEN 1 THEN INSERT INTO said SELECT t, counter(status) FROM keep.delete(t, k);
			WHEN 2 THEN INSERT INTO said SELECT t, CASE WHEN keep.get(t, k) IS NULL THEN 'misses' ELSE 'hits' END;
			WHEN 3 THEN INSERT INTO said SELECT t, counter(status) FROM keep.put_if_absent(t, k, '{"n": 1}');
			ELSE INSERT INTO said SELECT 'l', CASE WHEN replayed THEN 'replayed' ELSE status END
				FROM keep.transfer('l', 'random ' || floor(random() * 500), 'a', 'b', 1);
		END CASE;
	END $$;
	CREATE FUNCTION nest(depth int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 3 LOOP
			PERFORM act('k' || floor(random() * 5));
			IF depth < 5 AND random() < 0.6 THEN
				BEGIN
					PERFORM nest(depth + 1);
					IF random() < 0.4 THEN
						RAISE division_by_zero;
					END IF;
				EXCEPTION WHEN division_by_zero THEN
					IF random() < 0.5 THEN
						PERFORM act('caught');
					END IF;
				END;
			END IF;
		END LOOP;
	END $$;
	CREATE PROCEDURE nests(times int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. times LOOP
			PERFORM nest(1);
			IF random() < 0.3 THEN
				ROLLBACK;
			ELSE
				COMMIT;
			END IF;
		END LOOP;
	END $$;
});
sql('TRUNCATE said; CALL fresh()');
sql('SELECT keep.stat_reset()');
sql('CALL nests(60)');
is(counted($_), sql("SELECT said('$_')"), "$_: random nesting of blocks") foreach ('s', 'slow', 'l');
cmp_ok(sql('SELECT count(*) FROM said'), '>', 200, 'and there was something to count');

# Many sessions at once, a part of them rolled back, on both paths of the ledger
sub script
{
	my ($name, $text) = @_;
	append_to_file("$dir/$name", "$text\n");
	return ('-f', "$dir/$name");
}
my @scripts = (
	script('store', q{\set k random(1, 5)
INSERT INTO said SELECT 's', counter(status) FROM keep.increment('s', 'n' || :k);
INSERT INTO said SELECT 's', counter(status) FROM keep.put_if_absent('s', 'p' || :k, '1');
INSERT INTO said SELECT 's', counter(status) FROM keep.delete('s', 'p' || :k);
INSERT INTO said SELECT 's', CASE WHEN keep.get('s', 'p' || :k) IS NULL THEN 'misses' ELSE 'hits' END;}),
	script('block', q{SELECT nest(3);}),
	script('rolled', q{BEGIN;
SELECT keep.increment('s', 'n1'), keep.transfer('l', 'rolled ' || random(), 'a', 'b', 1);
ROLLBACK;}),
	script('ledger', q{\set i random(1, 1000000)
\set j random(1, 300)
SET pg_keep.direct_access = off;
INSERT INTO said SELECT 'l', CASE WHEN replayed THEN 'replayed' ELSE status END FROM keep.transfer('l', 'same ' || :j, 'a', 'b', 1);
RESET pg_keep.direct_access;
INSERT INTO said SELECT 'l', CASE WHEN replayed THEN 'replayed' ELSE status END FROM keep.transfer('l', :client_id || ' held ' || :i, 'a', 'b', 1, '1 hour');
INSERT INTO said SELECT 'l', CASE WHEN replayed THEN 'replayed' ELSE status END FROM keep.void_transfer('l', :client_id || ' held ' || :i);
INSERT INTO said SELECT 'l', CASE WHEN replayed THEN 'replayed' ELSE status END
FROM keep.transfer_many('l', ARRAY['many ' || :i, 'same ' || :j], '{a,a}', '{b,nobody}', '{1,1}') WHERE status <> 'mismatch';
INSERT INTO said VALUES ('l', 'mismatched');}));
sql('TRUNCATE said; CALL fresh()');
sql('SELECT keep.stat_reset()');
my ($out, $err) = run_command([
	'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 6, '-j', 2, '-t', 80, '--max-tries=1000', @scripts, 'postgres' ]);
unlike($err, qr/ERROR|error:|aborted|FATAL/, 'six sessions');
is(counted($_), sql("SELECT said('$_')"), "$_: six sessions add up") foreach ('s', 'slow', 'l');
cmp_ok(sql("SELECT keep.stat_reset(); SELECT count(*) FROM said WHERE t = 'l'::regclass"), '>', 200, 'and there was something to count');

# The counters of a ledger against its rows
sql(q{SELECT keep.create_ledger('rows'); SELECT keep.open_account('rows', 'w', 'USD', NULL), keep.open_account('rows', 'a', 'USD', 0, 500)});
script('rows', q{\set i random(1, 400)
\set amount random(1, 40)
SELECT keep.transfer('rows', 't' || :i, 'w', 'a', :amount), keep.transfer('rows', 'h' || :i, 'w', 'a', 1, '1 hour') FROM (SELECT 1) x WHERE NOT EXISTS (SELECT FROM rows_transfers WHERE id = 't' || :i);
SELECT keep.void_transfer('rows', id) FROM rows_transfers WHERE id = 'h' || :i AND :amount < 15;
SELECT keep.post_transfer('rows', id) FROM rows_transfers WHERE id = 'h' || :i AND :amount > 25;
SELECT keep.reverse_transfer('rows', 'r' || :i, id) FROM rows_transfers WHERE id = 't' || :i AND :amount > 20;});
($out, $err) = run_command([
	'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 6, '-j', 2, '-t', 100, '-f', "$dir/rows", 'postgres' ]);
is( sql("SELECT posted, rejected, voided, pending, expired FROM keep.stat_ledgers WHERE ledger_name = 'rows'"),
	sql(q{SELECT count(*) FILTER (WHERE status = 'posted'), count(*) FILTER (WHERE status = 'rejected'), count(*) FILTER (WHERE status = 'voided'),
		count(*) FILTER (WHERE hold IS NOT NULL AND status <> 'rejected'), 0 FROM rows_transfers}), 'counters are as the rows of a ledger');

# Reset: of one table, of all, and since when
sql(q{SELECT keep.stat_reset(); SELECT keep.get('s', 'k'), keep.get('slow', 'k'), keep.transfer('l', 'reset', 'a', 'b', 1)});
my $since = sql("SELECT stats_since FROM keep.stat_stores WHERE store_name = 'slow'");
sql("SELECT keep.stat_reset('s')");
is(counted('s') . '|' . counted('slow') . '|' . counted('l'), '|hits 1|posted 1', 'one table is reset');
is(sql("SELECT string_agg((stats_since > '$since')::text, ' ' ORDER BY store_name) FROM keep.stat_stores WHERE store_name IN ('s', 'slow')"),
	'true false', 'and counts since then');
sql("SELECT keep.get('s', 'k')");
sql('SELECT keep.stat_reset()');
is(counted('s') . '|' . counted('slow') . '|' . counted('l'), '||', 'all are reset');
is(sql("SELECT bool_and(stats_since > '$since') FROM (SELECT stats_since FROM keep.stat_stores WHERE store_name IN ('s', 'slow')
	UNION ALL SELECT stats_since FROM keep.stat_ledgers WHERE ledger_name = 'l') x"), 't', 'all count since then');
sql("SELECT keep.get('s', 'k')");
is(counted('s'), 'hits 1', 'and go on');

# Who sees what
sql(q{
	CREATE ROLE owner; CREATE ROLE member IN ROLE owner; CREATE ROLE stranger; CREATE ROLE watcher IN ROLE pg_read_all_stats;
	CREATE SCHEMA own AUTHORIZATION owner;
	SET ROLE owner;
	SELECT keep.create_store('own.o'), keep.create_ledger('own.ol'), keep.create_request_log('own.or'), keep.create_saga_log('own.og');
	SELECT keep.put('own.o', 'k', '1');
	RESET ROLE;
	GRANT USAGE ON SCHEMA own TO stranger, watcher; GRANT SELECT ON own.o TO stranger;
});
my $seen = "SELECT string_agg(schema_name || '.' || n, ' ' ORDER BY n) FROM (SELECT schema_name, store_name AS n FROM keep.stat_stores
	UNION ALL SELECT schema_name, ledger_name FROM keep.stat_ledgers) x";
my $all = 'public.hashed public.l own.o own.ol public.rows public.s public.slow';
is(sql("SET ROLE owner; $seen"), 'own.o own.ol', 'an owner sees what it owns');
is(sql("SET ROLE member; $seen"), 'own.o own.ol', 'and so do its members');
is(sql("SET ROLE stranger; SELECT keep.get('own.o', 'k'); $seen"), "1\n", 'a stranger sees nothing, also of what it reads');
is(sql("SET ROLE watcher; $seen"), $all, 'pg_read_all_stats sees all');
is(sql($seen), $all, 'so does a superuser');
is(sql("SELECT hits FROM keep.stat_stores WHERE store_name = 'o'"), '1', 'whoever reads is counted');
my $kinds = "SELECT string_agg(table_name || ' ' || kind, ', ' ORDER BY table_name) FROM keep.stat_reaper WHERE schema_name = 'own'";
is(sql("SET ROLE owner; $kinds"), 'o store, og saga_log, ol ledger, or request_log', 'stat_reaper has tables of all kinds');
is(sql("SET ROLE stranger; $kinds"), '', 'for their owners');
is(sqlstate($node, "SET ROLE $_; SELECT keep.stat_reset('own.o')"), '42501', "$_ may not reset") foreach ('owner', 'watcher', 'stranger');
sql('GRANT EXECUTE ON FUNCTION keep.stat_reset(regclass) TO watcher');
is(sqlstate($node, "SET ROLE watcher; SELECT keep.stat_reset('own.o')"), 'none', 'unless it is granted');
is(counted('own.o'), '', 'and is done');

# Tables that are renamed, moved, dropped and made again
sql(q{SELECT keep.put('own.o', 'k', '1'); ALTER TABLE own.o RENAME TO p; ALTER SCHEMA own RENAME TO own2; ALTER TABLE own2.p SET SCHEMA public;});
is(sql("SELECT schema_name, store_name, updates FROM keep.stat_stores WHERE relid = 'p'::regclass"), 'public|p|1', 'renamed and moved, it counts on');
sql('BEGIN; DROP TABLE p; ROLLBACK');
is(counted('p'), 'updates 1', 'a drop that is rolled back');
sql('TRUNCATE p; DROP TABLE p');
is(sql("SELECT count(*) FROM keep.stat_stores WHERE store_name = 'p'"), '0', 'dropped, it is gone');
sql(q{SELECT keep.create_store('p')});
is(counted('p'), '', 'a new table of the name begins at zero');
is(sql("SELECT hits FROM keep.stat_stores WHERE store_name = 'p'"), '0', 'which is a number, not NULL');

# Two databases, with tables of the same OIDs
sql(q{SELECT keep.stat_reset(); SELECT keep.get('s', 'k')});
sql('CREATE DATABASE two TEMPLATE postgres');
is($node->safe_psql('two', "SELECT counted('s')"), '', 'a copy of a database begins at zero');
$node->safe_psql('two', "SELECT keep.put('s', 'k', '1')");
is(counted('s') . '|' . $node->safe_psql('two', "SELECT counted('s')"), 'hits 1|updates 1', 'databases count apart');
$node->safe_psql('two', 'SELECT keep.stat_reset()');
is(counted('s'), 'hits 1', 'and are reset apart');
sql('DROP DATABASE two');

# The reaper counts
sql(q{CALL fresh(); SELECT keep.expire(), keep.expire_holds('l')});
sql('SELECT keep.stat_reset()');
sql(q{SELECT count(*) FROM keep.put_many('s', (SELECT array_agg('over ' || i) FROM generate_series(1, 2500) i),
		(SELECT array_agg('1'::jsonb) FROM generate_series(1, 2500) i), '1 ms');
	SELECT count(over('reap ' || i)) FROM generate_series(1, 7) i;
	ALTER SYSTEM SET pg_keep.reaper = on; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', "SELECT counted('s') = 'creates 2500, expired 2500' AND counted('l') = 'expired 7, pending 7'"),
	'what the reaper deletes and releases is counted as expired');
ok( $node->poll_query_until('postgres', q{SELECT bool_and(visits > 0 AND errors = 0 AND NOT behind AND last_visit >= stats_since AND last_error IS NULL)
		AND string_agg(table_name || ' ' || reaped, ', ' ORDER BY table_name) = 'l 7, s 2500'
	FROM keep.stat_reaper WHERE relid IN ('s'::regclass, 'l'::regclass)}), 'and as reaped');
sql('ALTER SYSTEM RESET pg_keep.reaper; SELECT pg_reload_conf()');

# A restart, after a crash and without one
foreach my $how ('crash', 'restart')
{
	sql("SELECT keep.get('s', 'k')");
	my $now = sql('SELECT clock_timestamp()');
	if ($how eq 'crash')
	{
		my $victim = $node->background_psql('postgres', on_error_stop => 0);
		kill 'KILL', $victim->query_safe('SELECT pg_backend_pid()');
		eval { $victim->quit };
		$node->poll_query_until('postgres', 'SELECT pg_postmaster_start_time() IS NOT NULL', 't');
		ok($node->poll_query_until('postgres', "SELECT counted('s') = ''"), "$how: counters are lost");
	}
	else
	{
		$node->append_conf('postgresql.conf', 'pg_keep.stat_tables = 3');
		$node->restart;
		is(counted('s'), '', "$how: counters are lost");
	}
	is(sql("SELECT bool_and(stats_since > '$now') FROM keep.stat_stores"), 't', "$how: and say since when they count");
	sql("SELECT keep.get('s', 'k')");
	is(counted('s'), 'hits 1', "$how: they go on");
}

# Room for three tables
sql("SELECT keep.get('slow', 'k'); SELECT keep.get('hashed', 'k'); SELECT keep.get('p', 'k'); SELECT keep.transfer('l', 'no room', 'a', 'b', 1)");
is( sql("SELECT string_agg(store_name || ' ' || coalesce(hits::text, 'NULL'), ', ' ORDER BY store_name) FROM keep.stat_stores"),
	'hashed 0, p NULL, s 1, slow 1', 'without room the counters are NULL');
is(sql("SELECT count(*), count(posted), count(replayed), count(stats_since) FROM keep.stat_ledgers WHERE ledger_name = 'l'"),
	'1|0|0|0', 'of a ledger, too');
is(sql("SELECT count(visits), count(reaped), count(errors), count(last_visit) FROM keep.stat_reaper WHERE table_name = 'p'"), '0|0|0|0', 'of the reaper, too');
sql("SELECT keep.get('s', 'k'); SELECT keep.stat_reset('p')");
is(counted('s'), 'hits 2', 'those that have room count on');
sql(q{DROP TABLE hashed; ALTER SYSTEM SET pg_keep.reaper = on; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', "SELECT keep.get('p', 'none') IS NULL; SELECT misses > 0 FROM keep.stat_stores WHERE store_name = 'p'", "t\nt"),
	'a table that is dropped makes room');
is(sqlstate($node, "SET pg_keep.stat_tables = 10"), '55P02', 'which is fixed while the server runs');
is(sql("SELECT setting, context, boot_val FROM pg_settings WHERE name = 'pg_keep.stat_tables'"), '3|postmaster|1000', 'by this setting');
$node->stop;
check_server_log($node, signals => [9]);

# Where the library is not preloaded nothing is counted, and the views say so.
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->start;
$plain->safe_psql('postgres', q{CREATE EXTENSION pg_keep; SELECT keep.create_store('s'); SELECT keep.put('s', 'k', '1')});
foreach my $query ('SELECT * FROM keep.stat_stores', 'SELECT count(*) FROM keep.stat_ledgers', 'SELECT relid FROM keep.stat_reaper',
	'SELECT keep.stat_reset()', "SELECT keep.stat_reset('s')")
{
	is(sqlstate($plain, $query), '55000', "not preloaded: $query");
	my ($ret, $stdout, $stderr) = $plain->psql('postgres', $query);
	like($stderr, qr/HINT:.*shared_preload_libraries/, 'with a hint');
}
$plain->stop;

done_testing();
