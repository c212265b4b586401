# wait_for, and the waiting of acquire and begin_request, between many sessions: on a server that
# preloads pg_keep and on one that does not.  Every commit is seen by those who wait for it, and by
# nobody else; a wait ends by cancel, terminate, a time limit, a crash and a shutdown as any statement
# does, and those who wait later wait as before.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ServerLog;
use Test::More;
use Time::HiRes qw(usleep);

my $dir = PostgreSQL::Test::Utils::tempdir;
my ($node, $name);

# backends that are in a function of pg_keep and wait there
my $waiters = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND backend_type = 'client backend'"
  . " AND query ~ 'keep\\.(wait_for|acquire|begin_request)|CALL ' AND pid <> pg_backend_pid()";

sub sql { return $node->safe_psql('postgres', shift); }

sub becomes
{
	my ($query, $expected, $what) = @_;
	return ok($node->poll_query_until('postgres', $query, $expected), "$name: $what");
}

sub waiting
{
	my ($number, $what) = @_;
	return becomes($waiters =~ s/count\(\*\)/count(*) >= $number/r, 't', $what // "$number wait");
}

# Writes a script to a file; returns its name.
my $scripts = 0;

sub script
{
	my ($text) = @_;
	my $file = "$dir/script" . $scripts++;
	append_to_file($file, "$text\n");
	return $file;
}

# Runs a script in a psql of its own, in the background.
sub start_psql
{
	my ($script) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres'), '-f', script($script) ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	return { run => $run, out => \$out, err => \$err };
}

# What it has printed, errors included, when it has ended
sub printed
{
	my ($psql) = @_;
	$psql->{run}->finish;
	my $text = ${ $psql->{out} } . ${ $psql->{err} };
	$text =~ s/^psql:\S+:\d+: //mg;
	chomp $text;
	return $text;
}

# Runs pgbench in the background, with a script of this text.
sub start_pgbench
{
	my ($clients, $transactions, $text) = @_;
	my $out = '';
	my $run = IPC::Run::start(
		[
			'pgbench', '-n', '-h', $node->host, '-p', $node->port,
			'-c', $clients, '-j', '2', '-t', $transactions, '-f', script($text), 'postgres'
		],
		'>&', \$out, IPC::Run::timeout(180));
	return { run => $run, out => \$out };
}

sub finish_pgbench
{
	my ($pgbench, $what) = @_;
	my $good = $pgbench->{run}->finish;
	return ok($good && ${ $pgbench->{out} } !~ /ERROR|error:|aborted|FATAL/, "$name: $what") || diag(${ $pgbench->{out} });
}

sub new_server
{
	my ($preload) = @_;
	my $server = PostgreSQL::Test::Cluster->new($preload ? 'preloaded' : 'not_preloaded');
	$server->init(allows_streaming => 1);
	$server->append_conf('postgresql.conf', q{
		max_connections = 100
		max_prepared_transactions = 5
		restart_after_crash = on
		autovacuum = off
		pg_keep.reaper = off
		pg_keep.max_wait = '10min'
	} . ($preload ? "shared_preload_libraries = 'pg_keep'" : ''));
	$server->start;
	return $server;
}

sub set_up
{
	sql(q{
		CREATE EXTENSION pg_keep;
		SELECT keep.create_store('s');
		SELECT keep.create_store('hashed', hash_keys => true);
		SELECT keep.create_request_log('r');
		CREATE TABLE said (who int, key text, value jsonb, version bigint);

		-- Takes a ball and gives it back: each time 'ping' has a new version, "act" is done to a key with
		-- the number of the round.
		CREATE PROCEDURE echo(rounds int, act text) LANGUAGE plpgsql AS $$
		DECLARE
			v bigint = (SELECT version FROM keep.get_entry('s', 'ping'));
		BEGIN
			FOR i IN 1 .. rounds LOOP
				v := (SELECT version FROM keep.wait_for('s', 'ping', v, '60 s'));
				COMMIT;
				PERFORM pg_sleep(0.002);
				EXECUTE act USING 'pong ' || i;
				COMMIT;
			END LOOP;
		END $$;

		-- The other side: "wait" has to find what the echo did. The waits go on at the commit, and not at
		-- some later look: a hundred times as long as that takes is enough, and far from what it takes to look.
		CREATE PROCEDURE play(rounds int, prepare text, wait text) LANGUAGE plpgsql AS $$
		DECLARE
			came text;
			before bigint;
			started timestamptz = clock_timestamp();
		BEGIN
			FOR i IN 1 .. rounds LOOP
				EXECUTE prepare USING 'pong ' || i;
				before := coalesce((SELECT version FROM keep.wait_for('s', 'pong ' || i, 0, '0')), 0);
				COMMIT;
				PERFORM keep.put('s', 'ping', to_jsonb(i));
				COMMIT;
				EXECUTE wait INTO came USING 'pong ' || i, before;
				IF came IS NULL OR clock_timestamp() - started > rounds * interval '500 ms' THEN
					RAISE EXCEPTION 'round % after %: %', i, clock_timestamp() - started, came;
				END IF;
				COMMIT;
			END LOOP;
		END $$;

		-- Two of these play without a pause. A wait that is not ended by the commit it waits for, but by the next
		-- look at the latest a second later, is a late one. The machine may have its moments, too.
		CREATE PROCEDURE rally(mine text, theirs text, rounds int, serves boolean) LANGUAGE plpgsql AS $$
		DECLARE
			v bigint = 0;
			late int = 0;
			started timestamptz;
		BEGIN
			FOR i IN 1 .. rounds LOOP
				IF serves OR i > 1 THEN
					PERFORM keep.put('s', mine, to_jsonb(i));
					COMMIT;
				END IF;
				started := clock_timestamp();
				v := (SELECT version FROM keep.wait_for('s', theirs, v, '60 s'));
				IF clock_timestamp() - started > '700 ms' THEN
					late := late + 1;
				END IF;
				IF v IS NULL OR late > 8 THEN
					RAISE EXCEPTION 'round %, % late', i, late;
				END IF;
				COMMIT;
			END LOOP;
			PERFORM keep.put('s', mine, '"end"');
		END $$;

		-- Follows a counter up to a number; the versions that it sees rise.
		CREATE PROCEDURE follow(me int, k text, goal int) LANGUAGE plpgsql AS $$
		DECLARE
			e keep.entry;
			seen bigint = 0;
		BEGIN
			LOOP
				SELECT * INTO e FROM keep.wait_for('s', k, seen, '60 s');
				IF e.version IS NULL OR e.version <= seen THEN
					RAISE EXCEPTION 'after %: %', seen, e;
				END IF;
				seen := e.version;
				EXIT WHEN e.value::int >= goal;
				COMMIT;
			END LOOP;
			INSERT INTO said VALUES (me, k, e.value, e.version);
		END $$;
	});
	return;
}

# Many waiters, one key each and more keys than there are condition variables: each is told of its own.
sub many_waiters
{
	sql('TRUNCATE said');
	my $pgbench = start_pgbench(60, 1, q{INSERT INTO said SELECT :client_id, key, value, version
		FROM keep.wait_for('s', 'many ' || :client_id, 0, '100 s');});
	waiting(60);
	sql(q{SELECT keep.put('s', 'no one''s ' || i, '1') FROM generate_series(1, 600) i});
	sql(q{SELECT count(*) FROM keep.put_many('s', (SELECT array_agg('nor this ' || i) FROM generate_series(1, 600) i),
		(SELECT array_agg('1'::jsonb) FROM generate_series(1, 600) i))});
	is(sql('SELECT count(*) FROM said'), '0', "$name: no waiter is told of other keys");
	waiting(60, 'all still wait');
	foreach my $key (7, 0, 59)
	{
		sql("SELECT keep.put('s', 'many $key', '$key')");
		becomes("SELECT string_agg(key || ' ' || value, ', ' ORDER BY value) FROM said WHERE who = $key", "many $key $key", "waiter $key");
	}
	is(sql('SELECT count(*) FROM said'), '3', "$name: no other with them");
	sql(q{SELECT count(*) FROM generate_series(0, 59) i, keep.put_if_absent('s', 'many ' || i, to_jsonb(i)) p WHERE p.applied});
	finish_pgbench($pgbench, 'all are told');
	is(sql("SELECT count(*), count(DISTINCT who) FROM said WHERE key = 'many ' || who AND value = to_jsonb(who)"),
		'60|60', "$name: each of its own key, once");

	# one commit each, one after the other, then one commit for all
	sql('TRUNCATE said');
	$pgbench = start_pgbench(20, 1, q{INSERT INTO said SELECT :client_id, key, value, version
		FROM keep.wait_for('s', 'each ' || :client_id, 0, '100 s');
INSERT INTO said SELECT :client_id, key, value, version FROM keep.wait_for('s', 'all', 0, '100 s');});
	waiting(20);
	sql("SELECT keep.put('s', 'each $_', '$_')") foreach (0 .. 19);
	becomes('SELECT count(*) FROM said', 20, 'one commit each');
	waiting(20, '20 wait for the same');
	sql(q{SELECT keep.put('s', 'all', '"all"')});
	finish_pgbench($pgbench, 'one commit for 20 waiters');
	is(sql(q{SELECT count(*), count(DISTINCT version) FROM said WHERE key = 'all' AND value = '"all"'}), '20|1', "$name: the same entry");
	return;
}

# Whatever function writes it, those who wait are woken at the commit: 20 looks of a second each would take longer.
sub woken_by_each
{
	my $none = 'SELECT $1';
	my $old = q{SELECT keep.put('s', $1, '{"n": 1}')};
	my $wait = q{SELECT value FROM keep.wait_for('s', $1, $2, '60 s')};
	my $lease = q{SELECT keep.acquire('s', $1, 'me', '1 hour')};
	my $lock = q{SELECT token FROM keep.acquire('s', $1, 'you', '1 hour', '60 s') WHERE acquired};
	my $begun = q{SELECT keep.begin_request('r', $1, '1', '1 hour')};
	my $begin = q{SELECT state FROM keep.begin_request('r', $1, '1', wait => '60 s') WHERE state <> 'in_flight'};
	my @rounds = (
		[ 'put, absent', $none, q{SELECT keep.put('s', $1, '1')}, $wait ],
		[ 'put_many', $none, q{SELECT keep.put_many('s', ARRAY['x', $1, 'a'], '{1,2,3}')}, $wait ],
		[ 'put_batch', $none, q{SELECT keep.put_batch('s', jsonb_build_object('x', 1, $1, 2))}, $wait ],
		[ 'put_if_absent', $none, q{SELECT keep.put_if_absent('s', $1, '1')}, $wait ],
		[ 'compare_and_swap, 0', $none, q{SELECT keep.compare_and_swap('s', $1, 0, '1')}, $wait ],
		[ 'increment, absent', $none, q{SELECT keep.increment('s', $1)}, $wait ],
		[ 'acquire', $none, q{SELECT keep.acquire('s', $1, 'me', '1 hour')}, $wait ],
		[ 'hashed keys', q{SELECT keep.delete('hashed', $1)}, q{SELECT keep.put('hashed', $1, '1')},
			q{SELECT value FROM keep.wait_for('hashed', $1, 0, '60 s')} ],
		[ 'put', $old, q{SELECT keep.put('s', $1, '2')}, $wait ],
		[ 'put_many, over it', $old, q{SELECT keep.put_many('s', ARRAY[$1], '{2}')}, $wait ],
		[ 'compare_and_swap', $old, q{SELECT keep.compare_and_swap('s', $1, (SELECT version FROM s WHERE key = $1), '2')}, $wait ],
		[ 'merge', $old, q{SELECT keep.merge('s', $1, '{"m": 2}')}, $wait ],
		[ 'increment', $old, q{SELECT keep.increment('s', $1, 1, '{n}')}, $wait ],
		[ 'release', $lease, q{SELECT keep.release('s', $1, (SELECT version FROM s WHERE key = $1))}, $lock ],
		[ 'delete', $lease, q{SELECT keep.delete('s', $1)}, $lock ],
		[ 'complete_request', $begun, q{SELECT keep.complete_request('r', $1, (SELECT token FROM r WHERE key = $1), '1')}, $begin ],
		[ 'fail_request', $begun, q{SELECT keep.fail_request('r', $1, (SELECT token FROM r WHERE key = $1), '1')}, $begin ],
		[ 'release_request', $begun, q{SELECT keep.release_request('r', $1, (SELECT token FROM r WHERE key = $1))}, $begin ]);
	foreach my $round (@rounds)
	{
		my ($function, $prepare, $act, $wait_for) = @$round;
		sql(q{DELETE FROM s; DELETE FROM r; SELECT keep.put('s', 'ping', '0')});
		my $echo = start_psql("CALL echo(20, \$x\$$act\$x\$);");
		waiting(1, "$function: the other session waits");
		my $player = start_psql("CALL play(20, \$x\$$prepare\$x\$, \$x\$$wait_for\$x\$);");
		is(printed($player), '', "$name: $function wakes the other session");
		is(printed($echo), '', "$name: $function, and so on");
	}
	return;
}

# Two sessions and no pauses, so that commits come before, between and after the looks: none is missed.
sub back_and_forth
{
	my $rounds = $name eq 'preloaded' ? 30_000 : 300;
	sql('DELETE FROM s');
	my $one = start_psql("CALL rally('one', 'two', $rounds, false);");
	waiting(1);
	my $two = start_psql("CALL rally('two', 'one', $rounds, true);");
	is(printed($_), '', "$name: $rounds times to and fro") foreach ($one, $two);

	# followers of a counter, which others increase: all arrive
	sql(q{DELETE FROM s; TRUNCATE said});
	my $followers = start_pgbench(6, 1, q{CALL follow(:client_id, 'counter', 600);});
	waiting(6);
	my $writers = start_pgbench(4, 150, q{SELECT keep.increment('s', 'counter');});
	finish_pgbench($writers, 'four writers');
	finish_pgbench($followers, 'six followers');
	is(sql('SELECT count(*), min(value::int), max(value::int) FROM said'), '6|600|600', "$name: none misses the last");
	return;
}

# A wait ends as any statement does, and the session goes on.
sub ends
{
	my $again = q{SELECT value FROM keep.wait_for('s', 'after', 0, '100 s');};
	my @sessions;
	sql(q{DELETE FROM s});
	push @sessions, start_psql("SELECT keep.wait_for('s', 'never', 0, '500 s');\n$again") foreach (1 .. 3);
	waiting(3);
	sql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query ~ 'never' AND pid <> pg_backend_pid()");
	push @sessions, start_psql("SET statement_timeout = '200 ms';\nSELECT keep.wait_for('s', 'never', 0, '500 s');\nRESET statement_timeout;\n$again");
	push @sessions, start_psql("BEGIN;\nSAVEPOINT a;\nSET LOCAL statement_timeout = '200 ms';\nSELECT keep.wait_for('s', 'never', 0, '500 s');\n"
		  . "ROLLBACK TO a;\n$again\nCOMMIT;");
	becomes("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'after' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()", 5,
		'five wait again');
	sql(q{SELECT keep.put('s', 'after', '"came"')});
	is(printed($_), qq("came"\nERROR:  57014), "$name: cancelled, and waited again") foreach @sessions;

	my $ended = start_psql("SELECT keep.wait_for('s', 'never', 0, '500 s');");
	waiting(1);
	sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query ~ 'never' AND pid <> pg_backend_pid()");
	like(printed($ended), qr/^FATAL:  57P01/, "$name: terminated");
	my $later = start_psql(q{SELECT value FROM keep.wait_for('s', 'later', 0, '100 s')});
	waiting(1);
	sql(q{SELECT keep.put('s', 'later', '1')});
	is(printed($later), '1', "$name: who waits later is told");

	# a client that is gone
	my $gone = start_psql("SET client_connection_check_interval = '20 ms';\nSELECT keep.wait_for('s', 'never', 0, '500 s');");
	waiting(1);
	$gone->{run}->kill_kill;
	becomes("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'never' AND pid <> pg_backend_pid()", 0, 'a client that is gone does not wait');
	return;
}

# Thousands of waits that end by an error in the middle, each caught: the next one works.
sub errors_inside
{
	sql(q{
		DELETE FROM s;
		SELECT keep.put('s', 'trap', '1');
		CREATE ROLE guest LOGIN;
		GRANT SELECT ON s TO guest;
		ALTER TABLE s ENABLE ROW LEVEL SECURITY;
		CREATE SEQUENCE looks;
		GRANT USAGE ON looks TO guest;
		-- hides the row at the first look of a wait, raises at the second
		CREATE POLICY p ON s USING (CASE WHEN key = 'trap' THEN 1 / (nextval('looks') % 2) < 0 ELSE true END);
		CREATE PROCEDURE trapped(times int) LANGUAGE plpgsql AS $$
		DECLARE
			caught int = 0;
		BEGIN
			FOR i IN 1 .. 2 * times LOOP
				BEGIN
					PERFORM keep.wait_for('s', 'trap', 0, '50 ms');
				EXCEPTION WHEN division_by_zero THEN
					caught := caught + 1;
				END;
				EXIT WHEN caught = times;
			END LOOP;
			IF caught < times THEN
				RAISE EXCEPTION '% of % caught', caught, times;
			END IF;
		END $$;
	});
	my $guest = start_psql("SET ROLE guest;\nCALL trapped(1500);\nSELECT value FROM keep.wait_for('s', 'after', 0, '100 s');");
	is(printed(start_psql("SET statement_timeout = '1 ms';\n" . "SELECT keep.wait_for('s', 'never', 0, '9 s');\n" x 500)),
		join("\n", ('ERROR:  57014') x 500), "$name: 500 waits cut off");
	becomes("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'after' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()", 1,
		'1500 errors caught, and waiting again');
	sql(q{SELECT keep.put('s', 'after', '"came"')});
	is(printed($guest), '"came"', "$name: and told");
	sql('DROP POLICY p ON s; ALTER TABLE s DISABLE ROW LEVEL SECURITY; DROP SEQUENCE looks; REVOKE ALL ON s FROM guest; DROP ROLE guest');

	# one wait in another, by way of a policy
	sql(q{
		CREATE ROLE guest; GRANT SELECT ON s, hashed TO guest;
		SELECT keep.put('s', 'in', '1');
		CREATE FUNCTION nested() RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN
			BEGIN
				PERFORM 1 / count(*) FROM keep.wait_for('hashed', 'none', 0, '5 ms');
			EXCEPTION WHEN division_by_zero THEN NULL; END;
			RETURN true;
		END $$;
		ALTER TABLE s ENABLE ROW LEVEL SECURITY;
		CREATE POLICY p ON s USING (CASE WHEN key = 'nest' THEN nested() ELSE true END);
	});
	my $nested = start_psql("SET ROLE guest;\nSELECT value FROM keep.wait_for('s', 'nest', 0, '100 s');\n"
		  . "SELECT value FROM keep.wait_for('s', 'nest 2', 0, '100 s');");
	waiting(1);
	sql(q{SELECT keep.put('s', 'nest', '"in"')});
	becomes("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'nest 2' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()", 1,
		'a wait in a wait');
	sql(q{SELECT keep.put('s', 'nest 2', '"out"')});
	is(printed($nested), qq("in"\n"out"), "$name: both waits are told");
	sql('DROP POLICY p ON s; ALTER TABLE s DISABLE ROW LEVEL SECURITY; REVOKE ALL ON s, hashed FROM guest; DROP ROLE guest');
	return;
}

# Commits of other kinds: of a prepared transaction, in a procedure, of one that drops a store, of very many keys
sub other_commits
{
	sql('DELETE FROM s');
	my $waiter = start_psql("SELECT value FROM keep.wait_for('s', 'p', 0, '100 s');\n");
	my $second = start_psql("SELECT value FROM keep.wait_for('s', 'q', 0, '100 s');\n");
	waiting(2);
	sql(q{BEGIN; SELECT keep.put('s', 'p', '"back"'); PREPARE TRANSACTION 'one'});
	sql(q{ROLLBACK PREPARED 'one'});
	sql(q{BEGIN; SELECT keep.put('s', 'p', '"kept"'), keep.put('s', 'q', '"too"'); PREPARE TRANSACTION 'two'});
	waiting(2, 'nobody is told of a prepared transaction');
	sql(q{COMMIT PREPARED 'two'});
	is(printed($waiter), '"kept"', "$name: COMMIT PREPARED is seen");
	is(printed($second), '"too"', "$name: by all");

	sql(q{
		CREATE PROCEDURE count_up() LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 1 .. 40 LOOP
				PERFORM keep.increment('s', 'steps');
				IF i % 4 = 0 THEN
					ROLLBACK;
				ELSE
					COMMIT;
				END IF;
			END LOOP;
		END $$;
		TRUNCATE said;
	});
	my $follower = start_psql("CALL follow(1, 'steps', 30);");
	waiting(1);
	sql('CALL count_up()');
	is(printed($follower), '', "$name: a procedure that commits and rolls back in turn is followed");
	is(sql("SELECT value FROM said WHERE key = 'steps'"), '30', "$name: to its end");

	$waiter = start_psql("SELECT value FROM keep.wait_for('s', 'with a drop', 0, '100 s');");
	waiting(1);
	sql(q{
		BEGIN;
		SELECT keep.create_store('brief');
		SELECT keep.put('brief', 'with a drop', '1');
		SELECT keep.put('s', 'with a drop', '1');
		DROP TABLE brief;
		ALTER TABLE hashed RENAME TO hashed2;
		COMMIT;
		ALTER TABLE hashed2 RENAME TO hashed;
	});
	is(printed($waiter), '1', "$name: a transaction that also drops a store");

	$waiter = start_psql("SELECT value FROM keep.wait_for('s', 'key 19999', 0, '100 s');");
	waiting(1);
	sql(q{SELECT count(*) FROM keep.put_many('s', (SELECT array_agg('key ' || i) FROM generate_series(1, 20000) i),
		(SELECT array_agg('1'::jsonb) FROM generate_series(1, 20000) i))});
	is(printed($waiter), '1', "$name: one of 20,000 keys");
	return;
}

# A synchronous request, answered by an asynchronous worker
sub rendezvous
{
	sql(q{
		DELETE FROM s;
		TRUNCATE said;
		CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client int);
		-- takes a job, and puts effect and answer into one transaction, a failed first attempt among them
		CREATE PROCEDURE work(number int) LANGUAGE plpgsql AS $$
		DECLARE
			job jobs;
			seen bigint = 0;
			done int = 0;
		BEGIN
			WHILE done < number LOOP
				DELETE FROM jobs WHERE id = (SELECT min(id) FROM jobs) RETURNING * INTO job;
				IF job.id IS NULL THEN
					seen := coalesce((SELECT version FROM keep.wait_for('s', 'bell', seen, '1 s')), seen);
					COMMIT;
					CONTINUE;
				END IF;
				PERFORM keep.put('s', 'answer ' || job.id, to_jsonb(job.client));
				IF random() < 0.2 THEN
					ROLLBACK;
				ELSE
					done := done + 1;
					COMMIT;
				END IF;
			END LOOP;
		END $$;
	});
	my $worker = start_psql('CALL work(120);');
	my $requests = start_pgbench(8, 15, q{INSERT INTO jobs (client) VALUES (:client_id) RETURNING id \gset
SELECT keep.put('s', 'bell', '1');
INSERT INTO said SELECT :client_id, key, value, version FROM keep.wait_for('s', 'answer ' || :id, 0, '100 s');});
	finish_pgbench($requests, 'requests of eight clients');
	is(printed($worker), '', "$name: the worker");
	is(sql('SELECT count(*), count(DISTINCT key), bool_and(value = to_jsonb(who)) FROM said'), '120|120|t', "$name: each has its own answer");
	return;
}

# A standby sees what it replays, also where the whole transaction is read-only
sub standby
{
	my $primary = $node;
	my $standby = PostgreSQL::Test::Cluster->new('standby_' . $primary->name);
	$primary->backup('base');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	sql(q{SELECT keep.put('s', 'there', '1')});
	$primary->wait_for_catchup($standby);
	my $v = sql("SELECT version FROM s WHERE key = 'there'");

	$node = $standby;
	is(sql("SELECT value FROM keep.wait_for('s', 'there')"), '1', "$name: standby, what is there");
	is(sql("SELECT count(*) FROM keep.wait_for('s', 'there', $v, '20 ms')"), '0', "$name: standby, no news");
	is(sql("SELECT hits, misses, creates FROM keep.stat_stores WHERE store_name = 's'"), '1|1|0', "$name: a standby counts its own")
	  if $name eq 'preloaded';
	my $waiter = start_psql("SELECT value FROM keep.wait_for('s', 'there', $v, '100 s');\n"
		  . "SELECT value FROM keep.wait_for('s', 'promoted', 0, '100 s');\nSELECT value FROM keep.wait_for('s', 'again', 0, '100 s');");
	waiting(1, 'standby, one waits');
	$primary->safe_psql('postgres', "SELECT keep.put('s', 'there', '2')");
	becomes("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'promoted' AND pid <> pg_backend_pid()", 1, 'standby, a replayed write is seen');
	$primary->wait_for_catchup($standby);
	$primary->stop('fast');

	# promoted under a wait
	$standby->promote;
	sql("SELECT keep.put('s', 'promoted', '3')");
	becomes("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'again' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()", 1,
		'promoted while one waits');
	sql("SELECT keep.put('s', 'again', '4')");
	is(printed($waiter), "2\n3\n4", "$name: standby and promoted");
	$standby->stop('fast');
	$node = $primary;
	$primary->start;
	return;
}

# A shutdown does not wait for those who wait; nor does a restart after a crash
sub stops
{
	my @sessions = map { start_psql("SELECT keep.wait_for('s', 'never', 0, '10 min');") } (1 .. 5);
	waiting(5);
	ok($node->stop('fast', fail_ok => 1), "$name: a fast shutdown ends waits");
	like(printed($_), qr/^FATAL:  57P01/, "$name: they are told why") foreach @sessions;
	$node->start;

	my $victim = start_psql("SELECT keep.wait_for('s', 'never', 0, '10 min');");
	my $beside = start_psql("SELECT keep.wait_for('s', 'never', 0, '10 min');");
	waiting(2);
	kill 'KILL', sql("SELECT min(pid) FROM pg_stat_activity WHERE query ~ 'never' AND pid <> pg_backend_pid()");
	printed($_) foreach ($victim, $beside);
	$node->poll_query_until('postgres', 'SELECT 1', '1');
	my $waiter = start_psql(q{SELECT value FROM keep.wait_for('s', 'risen', 0, '100 s')});
	waiting(1);
	sql(q{SELECT keep.put('s', 'risen', '1')});
	is(printed($waiter), '1', "$name: after a crash it works as before");
	check_server_log($node, name => $name, signals => [9]);
	return;
}

foreach my $preload (1, 0)
{
	$name = $preload ? 'preloaded' : 'not preloaded';
	$node = new_server($preload);
	set_up();
	many_waiters();
	woken_by_each() if $preload;
	back_and_forth();
	ends();
	errors_inside();
	other_commits();
	rendezvous();
	standby();
	stops();
	$node->stop;
}

done_testing();
