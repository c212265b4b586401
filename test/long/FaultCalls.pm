# The calls that fault_points.pl has the server killed in: every function that writes.
#
# Each is a hash: name, setup (committed before), first (in the session of the call, before the
# points are counted), call, retry (what a client does that got no answer; the call again where it
# is not said), state (what has come of it), says (what the retry answers, a pattern). {k} is a name
# of the call's own. only: the one point that is of interest. steps: the call commits more than once.
# passing: what is left goes away with time.

package FaultCalls;

use strict;
use warnings;

# What all calls need. Tables "rival..." let another transaction come in between the draw of an INSERT
# and its row; "slow..." take their time.
our $objects = q{
	CREATE EXTENSION pg_keep;
	CREATE EXTENSION dblink;
	CREATE TABLE seen (k text PRIMARY KEY, version bigint);
	CREATE TABLE effects (nr bigint GENERATED ALWAYS AS IDENTITY, k text, what text);
	CREATE FUNCTION see(k text, version bigint) RETURNS void LANGUAGE sql AS 'INSERT INTO seen VALUES ($1, $2)';
	CREATE FUNCTION last_seen(k text) RETURNS bigint LANGUAGE sql AS 'SELECT version FROM seen s WHERE s.k = $1';

	SELECT keep.create_store('s');
	SELECT keep.create_store('idle', ttl => '1 hour', expire_after => 'access', renew_after => '0');
	SELECT keep.create_store('fast', persistence => 'unlogged');
	SELECT keep.create_store('rival_s');
	SELECT keep.create_ledger('books'), keep.create_ledger('hist', history => true);
	SELECT keep.create_request_log('reqs'), keep.create_request_log('rival_reqs'), keep.create_request_log('slow_reqs');
	SELECT keep.create_saga_log('sagas', max_attempts => 2), keep.create_saga_log('slow_sagas');

	CREATE FUNCTION rival() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM dblink_exec(format('dbname=%s host=%s port=%s', current_database(),
				split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')),
			'INSERT INTO effects (k, what) VALUES (''rival'', ''came in between'')');
		PERFORM nextval(pg_get_serial_sequence(TG_RELID::regclass::text, TG_ARGV[0]));
		PERFORM pg_sleep(0.02);
		RETURN NEW;
	END $$;
	CREATE TRIGGER rival BEFORE INSERT ON rival_s FOR EACH ROW EXECUTE FUNCTION rival('version');
	CREATE TRIGGER rival BEFORE INSERT ON rival_reqs FOR EACH ROW EXECUTE FUNCTION rival('token');
	CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
	CREATE TRIGGER slow BEFORE UPDATE ON slow_reqs FOR EACH ROW EXECUTE FUNCTION slow();
	CREATE TRIGGER slow BEFORE INSERT ON slow_sagas FOR EACH ROW EXECUTE FUNCTION slow();
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.state = 'compensating' THEN RAISE 'not now'; END IF;
		RETURN NEW;
	END $$;

	CREATE FUNCTION act(a jsonb) RETURNS jsonb LANGUAGE sql AS
		$$ INSERT INTO effects (k, what) VALUES (a->>'k', 'do') RETURNING to_jsonb(what) $$;
	CREATE FUNCTION undo(c jsonb) RETURNS jsonb LANGUAGE sql AS
		$$ INSERT INTO effects (k, what) VALUES (c#>>'{args,k}', 'undo') RETURNING to_jsonb(what) $$;
	CREATE FUNCTION fail(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'it fails'; END $$;
	-- work in all other rooms
	CREATE FUNCTION act_all(a jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT keep.increment('s', a->>'k');
		SELECT keep.transfer('books', (a->>'k') || 'once', (a->>'k') || 'o', (a->>'k') || 'a', 5);
		SELECT act(a) $$;
	CREATE FUNCTION drop_stores() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE t text;
	BEGIN
		FOR t IN SELECT table_name FROM keep.relation WHERE kind = 'store' AND table_name ~ '^q\d+x' LOOP
			EXECUTE format('DROP TABLE %I', t);
		END LOOP;
	END $$;
	CREATE FUNCTION allow(log regclass) RETURNS void LANGUAGE sql AS $$
		SELECT keep.allow_saga_function(log, f)
		FROM unnest('{act(jsonb),undo(jsonb),fail(jsonb)}'::regprocedure[]) AS f $$;
	CREATE FUNCTION new_saga_log(name text) RETURNS void LANGUAGE sql AS $$
		SELECT keep.create_saga_log(name, max_attempts => 2);
		SELECT allow(name::regclass) $$;
	SELECT allow('sagas'), allow('slow_sagas');

	-- What must be so whenever one looks; NULL where it is.
	CREATE FUNCTION wrong() RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(what, '; ') FROM (
			SELECT l || ': ' || rule || ': ' || detail AS what
			FROM unnest('{books,hist}'::regclass[]) AS l, keep.verify_ledger(l) WHERE NOT ok
			UNION ALL
			SELECT 'version ' || version || ' of s is above its sequence'
			FROM s WHERE version > (SELECT last_value FROM s_version_seq)
			UNION ALL
			SELECT k || ' has been undone without having been done, or twice'
			FROM effects GROUP BY k HAVING k <> 'rival'
				AND count(*) FILTER (WHERE what = 'undo') > count(*) FILTER (WHERE what = 'do')) AS x $$;
};

my $caught = sub { "DO \$\$ BEGIN PERFORM $_[0]; EXCEPTION WHEN SQLSTATE 'KP412' THEN NULL; END \$\$" };

sub entries
{
	my ($store) = @_;
	return "SELECT string_agg(concat_ws(' ', key, value, version > last_seen('{k}'), expires_at IS NULL,"
	  . " coalesce(reap_at <= expires_at, expires_at IS NULL)), ', ' ORDER BY key) FROM $store WHERE starts_with(key, '{k}')";
}

sub stores
{
	my $put = "SELECT keep.put('s', '{k}', '1')";
	my $known = "$put; SELECT see('{k}', (SELECT version FROM s WHERE key = '{k}'))";
	my $over = "SELECT keep.put('s', '{k}', '0', '1 ms'); SELECT pg_sleep(0.002)";
	my $lease = "SELECT see('{k}', token) FROM keep.acquire('s', '{k}', 'me', '1 hour')";
	my $three = qq{SELECT count(*) FROM keep.%s};
	my $increment = "SELECT keep.increment('s', '{k}', 5)";
	my @calls = (
		[ 'put, new', '', $put ],
		[ 'put, again', $known, "SELECT keep.put('s', '{k}', '2')" ],
		[ 'put, over', $over, "$put" ],
		[ 'put_if_absent', '', "SELECT keep.put_if_absent('s', '{k}', '1', '1 day')" ],
		[ 'put_if_absent, over', $over, "SELECT keep.put_if_absent('s', '{k}', '1')" ],
		[ 'compare_and_swap, new', '', "SELECT keep.compare_and_swap('s', '{k}', 0, '1')" ],
		[ 'compare_and_swap', $known, "SELECT keep.compare_and_swap('s', '{k}', last_seen('{k}'), '2')" ],
		[ 'merge', "SELECT keep.put('s', '{k}', '{\"a\": 1}')", "SELECT keep.merge('s', '{k}', '{\"b\": 2}')" ],
		# who got no answer to this looks whether the version is still the one that he knows
		[ 'increment', $known, $increment, "$increment WHERE last_seen('{k}') = (SELECT version FROM s WHERE key = '{k}')" ],
		[ 'increment, new', '', $increment, "$increment WHERE NOT EXISTS (SELECT FROM s WHERE key = '{k}')" ],
		[ 'increment, over', $over, $increment, "$increment WHERE keep.get('s', '{k}') IS NULL" ],
		[ 'delete', $known, "SELECT keep.delete('s', '{k}')" ],
		[ 'delete, version', $known, "SELECT keep.delete('s', '{k}', last_seen('{k}'))" ],
		[ 'touch', "SELECT keep.put('s', '{k}', '1', '1 hour')", "SELECT keep.touch('s', '{k}', '1 day')" ],
		[ 'persist', "SELECT keep.put('s', '{k}', '1', '1 hour')", "SELECT keep.persist('s', '{k}')" ],
		[ 'put_many', $over, sprintf($three, "put_many('s', '{{k}c,{k}a,{k}}', ARRAY['1', '2', '3']::jsonb[])") ],
		[ 'put_batch', $known, sprintf($three, qq(put_batch('s', '{"{k}b": 1, "{k}": 2}', '1 day'))) ],
		[ 'acquire', '', "SELECT keep.acquire('s', '{k}', 'me', '1 hour')" ],
		[ 'acquire, again', $lease, "SELECT keep.acquire('s', '{k}', 'me', '1 day')" ],
		[ 'renew', $lease, "SELECT keep.renew('s', '{k}', last_seen('{k}'), '1 day')" ],
		[ 'release', $lease, "SELECT keep.release('s', '{k}', last_seen('{k}'))" ],
		[ 'work under a lease', $lease,
			"BEGIN; SELECT keep.assert_lease('s', '{k}', last_seen('{k}')); SELECT keep.put('s', '{k}work', '1'); COMMIT" ],
		[ 'two writes', $known, "BEGIN; $increment; SELECT keep.put('s', '{k}b', '1'); COMMIT",
			"BEGIN; $increment WHERE keep.get('s', '{k}b') IS NULL; SELECT keep.put('s', '{k}b', '1'); COMMIT" ]);
	my @all = map { { name => $_->[0], setup => $_->[1], call => $_->[2], retry => $_->[3], state => entries('s') } } @calls;

	# others than the plain one
	push @all, { name => 'get_and_touch', setup => "SELECT keep.put('idle', '{k}', '1')", passing => 1,
		first => "SET pg_keep.test_clock_offset = '30 min'", call => "SELECT count(*) FROM keep.get_and_touch('idle', '{k}')",
		state => "SELECT expires_at > clock_timestamp() + '70 min' FROM idle WHERE key = '{k}'" };
	push @all, { name => 'put, unlogged', call => "SELECT keep.put('fast', '{k}', '1')", state => entries('fast'), passing => 1 };
	push @all, { name => 'put_many, unlogged', state => entries('fast'), passing => 1,
		call => sprintf($three, "put_many('fast', '{{k}c,{k}a}', ARRAY['1', '2']::jsonb[])") };
	push @all, { name => 'put, overtaken', call => "SELECT keep.put('rival_s', '{k}', '1')", state => entries('rival_s') };
	push @all, { name => 'put_many, overtaken', state => entries('rival_s'),
		call => sprintf($three, "put_many('rival_s', '{{k}c,{k}a}', ARRAY['1', '2']::jsonb[])") };

	my $own = "SELECT keep.create_store('{k}'); SELECT count(*) FROM keep.put_many('{k}', '{a,b,c}', ARRAY['1', '2', '3']::jsonb[], '1 ms');"
	  . "SELECT keep.put('{k}', 'live', '1', '1 hour'); SELECT keep.touch('{k}', 'live', '1 day'); SELECT pg_sleep(0.002)";
	my $left = "SELECT string_agg(concat_ws(' ', key, reap_at = expires_at), ', ' ORDER BY key) FROM {k}";
	push @all, { name => 'expire', setup => $own, call => "SELECT keep.expire('{k}')", state => $left };
	push @all, { name => 'expire, nothing', setup => $own, first => "SELECT keep.expire('{k}'); SET pg_keep.test_clock_offset = '2 h'",
		call => "SELECT keep.expire('{k}')", state => $left, passing => 1 };
	push @all, { name => 'expire, all', setup => "SELECT drop_stores(); $own", call => "SELECT keep.expire()", state => $left };
	return @all;
}

sub tables
{
	my $registered = "SELECT string_agg(concat_ws(' ', r.kind, r.options - 'token', r.table_name, c.relpersistence,"
	  . " (SELECT s.relpersistence FROM pg_class s WHERE s.relname = r.table_name || '_version_seq')), ', ' ORDER BY r.kind)"
	  . " FROM keep.relation AS r LEFT JOIN pg_class AS c ON c.oid = to_regclass(format('%I.%I', r.schema_name, r.table_name))"
	  . " WHERE starts_with(r.table_name, '{k}')";
	my $use = "SELECT keep.put('{k}', 'a', '1', '1 day')";
	my $some = "SELECT keep.create_store('{k}'); $use";
	my @all;
	foreach my $make ([ 'create_store', ", ttl => '1 hour'" ], [ 'create_store', ", persistence => 'unlogged'" ],
		[ 'create_ledger', ', history => true' ], [ 'create_request_log', '' ], [ 'create_saga_log', ', max_attempts => 7' ])
	{
		my $call = "SELECT keep.$make->[0]('{k}'$make->[1])";
		push @all, { name => "$make->[0]$make->[1]", call => $call, state => $registered,
			retry => "$call WHERE to_regclass('{k}') IS NULL" };
	}
	push @all, { name => 'set_store_option', setup => $some, call => "SELECT keep.set_store_option('{k}', 'ttl', '1 hour')" };
	push @all, { name => 'set_store_option, max_lifetime', setup => $some,
		call => "SELECT keep.set_store_option('{k}', 'max_lifetime', '1 hour')",
		state => "$registered; SELECT expires_at < clock_timestamp() + '2 hours', expires_at = reap_at FROM {k}" };
	push @all, { name => 'set_store_option, unlogged', setup => $some,
		call => "SELECT keep.set_store_option('{k}', 'persistence', 'unlogged')" };
	push @all, { name => 'set_store_option, logged', setup => "SELECT keep.create_store('{k}', persistence => 'unlogged'); $use",
		call => "SELECT keep.set_store_option('{k}', 'persistence', 'logged')" };
	push @all, { name => 'register, store', setup => "$some; DELETE FROM keep.relation WHERE table_name = '{k}'",
		call => "SELECT keep.register('{k}', 'store', '{\"ttl\": \"1 hour\"}')" };
	push @all, { name => 'register, ledger', setup => "SELECT keep.create_ledger('{k}'); DELETE FROM keep.relation WHERE starts_with(table_name, '{k}')",
		call => "SELECT keep.register('{k}', 'ledger', '{}')", state => "$registered; SELECT bool_and(ok) FROM keep.verify_ledger('books')" };
	push @all, { name => 'register, requests', call => "SELECT keep.register('{k}', 'request_log', '{\"retain\": \"1 min\"}')",
		setup => "SELECT keep.create_request_log('{k}'); SELECT keep.call_once('{k}', 'a', 'act(jsonb)', '{\"k\": \"{k}\"}')",
		state => "$registered; SELECT reap_at < clock_timestamp() + '1 hour' FROM {k}" };
	push @all, { name => 'register, sagas', setup => "SELECT keep.create_saga_log('{k}')",
		call => "SELECT keep.register('{k}', 'saga_log', '{\"max_attempts\": 3}')" };
	push @all, { name => 'allow_saga_function', setup => "SELECT keep.create_saga_log('{k}')",
		call => "SELECT keep.allow_saga_function('{k}', 'act(jsonb)')" };
	push @all, { name => 'rename', setup => $some, call => "ALTER TABLE IF EXISTS {k} RENAME TO {k}new" };
	push @all, { name => 'drop', setup => $some, call => "DROP TABLE IF EXISTS {k}" };
	$_->{state} //= $registered foreach @all;
	return @all;
}

# The calls on a ledger; shards: of its accounts
sub ledger
{
	my ($ledger, $label, $shards, $first) = @_;
	my $accounts = join('; ', map { "SELECT keep.open_account('$ledger', '{k}$_', 'EUR'" . ($_ eq 'o' ? ', NULL' : '') . ", shards => $shards)" } 'o', 'a', 'b')
	  . "; SELECT keep.transfer('$ledger', '{k}fund', '{k}o', '{k}a', 100)";
	my $hold = "$accounts; SELECT keep.transfer('$ledger', '{k}h', '{k}a', '{k}b', 80, '1 hour')";
	my $later = "SET pg_keep.test_clock_offset = '2 h'";
	my $posted = "$accounts; SELECT keep.transfer('$ledger', '{k}t', '{k}a', '{k}b', 80)";
	my $state = "SELECT string_agg(concat_ws(' ', x.*), ', ' ORDER BY id) FROM (SELECT id, sum(debits_posted), sum(credits_posted),"
	  . " sum(debits_pending), sum(credits_pending), sum(version), bool_or(frozen), max(min_balance), max(max_balance) FROM $ledger"
	  . " WHERE starts_with(id, '{k}') GROUP BY id) AS x;"
	  . " SELECT string_agg(concat_ws(' ', id, status, reason, amount, held, part, reversed, chain), ', ' ORDER BY id)"
	  . " FROM ${ledger}_transfers WHERE starts_with(id, '{k}')";
	my @calls = (
		[ 'open_account', '', "SELECT keep.open_account('$ledger', '{k}a', 'EUR', shards => $shards)" ],
		[ 'set_account_limits', $accounts, "SELECT keep.set_account_limits('$ledger', '{k}a', -50, 500)" ],
		[ 'freeze_account', $accounts, "SELECT keep.freeze_account('$ledger', '{k}a')" ],
		[ 'transfer', $accounts, "SELECT keep.transfer('$ledger', '{k}t', '{k}a', '{k}b', 60)" ],
		[ 'transfer, rejected', $accounts, "SELECT keep.transfer('$ledger', '{k}t', '{k}a', '{k}b', 600)" ],
		[ 'transfer, held', $accounts, "SELECT keep.transfer('$ledger', '{k}t', '{k}a', '{k}b', 60, '1 day')" ],
		[ 'transfer, releases', $hold, "SELECT keep.transfer('$ledger', '{k}t', '{k}a', '{k}b', 60)", $later ],
		[ 'post_transfer', $hold, "SELECT keep.post_transfer('$ledger', '{k}h')" ],
		[ 'post_transfer, part', $hold, "SELECT keep.post_transfer('$ledger', '{k}h', 30)" ],
		[ 'post_transfer, over', $hold, "SELECT keep.post_transfer('$ledger', '{k}h')", $later ],
		[ 'void_transfer', $hold, "SELECT keep.void_transfer('$ledger', '{k}h')" ],
		[ 'reverse_transfer', $posted, "SELECT keep.reverse_transfer('$ledger', '{k}r', '{k}t')" ],
		[ 'reverse_transfer, part', $posted, "SELECT keep.reverse_transfer('$ledger', '{k}r', '{k}t', 10)" ],
		[ 'transfer_many', $accounts, "SELECT count(*) FROM keep.transfer_many('$ledger', '{{k}1,{k}2,{k}3,{k}4,{k}5}',"
			. " '{{k}a,{k}a,{k}b,{k}a,{k}a}', '{{k}b,{k}b,{k}a,{k}b,{k}b}', '{10,20,5,7,900}', chains => '{x,x,NULL,y,y}')" ],
		[ 'transfer_batch', $accounts, "SELECT count(*) FROM keep.transfer_batch('$ledger',"
			. q( '[{"id": "{k}1", "from_account": "{k}a", "to_account": "{k}b", "amount": 10, "hold": "1 day"},)
			. q~ {"id": "{k}2", "from_account": "{k}o", "to_account": "{k}b", "amount": 10}]')~ ],
		[ 'expire_holds', $hold, "SELECT keep.expire_holds('$ledger')", $later ],
		[ 'two transfers', $accounts, "BEGIN; SELECT keep.transfer('$ledger', '{k}t', '{k}a', '{k}b', 60);"
			. " SELECT keep.transfer('$ledger', '{k}u', '{k}b', '{k}o', 50); COMMIT" ]);
	# where there are shards, the rest is as without them; what a call releases there depends on the backend
	@calls = grep { $_->[0] =~ /^(open|set|transfer$|transfer, [^r]|transfer, rej|post_transfer$|transfer_many)/ } @calls
	  if $shards > 1;
	# these write again what is there
	(my $unversioned = $state) =~ s/ sum\(version\),//;
	return map { {
			name => "$_->[0] $label", setup => $_->[1], call => $_->[2],
			state => $_->[0] =~ /^(set_account|freeze)/ ? $unversioned : $state,
			first => join('; ', grep { $_ } $first, $_->[3]) } } @calls;
}

# An account that is written so often in one transaction that its row has to move to another page
sub moving
{
	my $long = "rpad('{k}', 200, 'x')";
	my $many = sub { "SELECT count(*) FROM generate_series($_[0], $_[1]) AS g,"
		  . " keep.transfer('books', '{k}' || g, $long || 'o', $long || 'a', 1)" };
	return { name => 'transfer, row moves', only => 'direct: account indexed',
		setup => "SELECT keep.open_account('books', $long || 'o', 'EUR', NULL), keep.open_account('books', $long || 'a', 'EUR')",
		call => 'BEGIN; ' . $many->(1, 40) . '; COMMIT',
		state => "SELECT sum(debits_posted), sum(credits_posted) FROM books WHERE starts_with(id, '{k}')" };
}

sub requests
{
	my $begin = sub { my ($log, $lease) = @_; "SELECT see('{k}', token) FROM keep.begin_request('$log', '{k}', '1', '$lease')" };
	my $held = $begin->('reqs', '1 hour');
	my $args = "'{\"k\": \"{k}\"}'";
	my $short = "SELECT keep.begin_request('%s', '{k}', '1', '1 ms')";
	my $state = "SELECT string_agg(concat_ws(' ', state, checkpoint, response, finished_at IS NULL), ', ') FROM %s WHERE key = '{k}';"
	  . " SELECT string_agg(what, ' ' ORDER BY nr) FROM effects WHERE k = '{k}'";
	my $wait = 'SELECT pg_sleep(0.002); ';
	my $all = "; SELECT sum(debits_posted) FROM books WHERE starts_with(id, '{k}'); SELECT keep.get('s', '{k}')";
	my $open = "SELECT keep.open_account('books', '{k}o', 'EUR', NULL), keep.open_account('books', '{k}a', 'EUR')";
	my @calls = (
		# the lease of who got no answer has to end
		[ 'begin_request', 'reqs', '', sprintf($short, 'reqs'), $wait . sprintf($short, 'reqs') ],
		[ 'begin_request, released', 'reqs', "$held; SELECT keep.release_request('reqs', '{k}', last_seen('{k}'))",
			sprintf($short, 'reqs'), $wait . sprintf($short, 'reqs') ],
		[ 'begin_request, lapsed', 'reqs', $begin->('reqs', '1 ms') . "; $wait", sprintf($short, 'reqs'), $wait . sprintf($short, 'reqs') ],
		[ 'begin_request, overtaken', 'rival_reqs', '', sprintf($short, 'rival_reqs'), $wait . sprintf($short, 'rival_reqs') ],
		[ 'checkpoint_request', 'reqs', $held, "SELECT keep.checkpoint_request('reqs', '{k}', last_seen('{k}'), '3')" ],
		[ 'complete_request', 'reqs', $held, "SELECT keep.complete_request('reqs', '{k}', last_seen('{k}'), '3')" ],
		[ 'complete_request, slow', 'slow_reqs', $begin->('slow_reqs', '1 hour'),
			"SELECT keep.complete_request('slow_reqs', '{k}', last_seen('{k}'), '3')" ],
		[ 'fail_request', 'reqs', $held, "SELECT keep.fail_request('reqs', '{k}', last_seen('{k}'), '4')" ],
		[ 'release_request', 'reqs', $held, "SELECT keep.release_request('reqs', '{k}', last_seen('{k}'))",
			$caught->("keep.release_request('reqs', '{k}', last_seen('{k}'))") ],
		[ 'call_once', 'reqs', '', "SELECT keep.call_once('reqs', '{k}', 'act(jsonb)', $args)" ],
		[ 'call_once, work in all rooms', 'reqs', $open, "SELECT keep.call_once('reqs', '{k}', 'act_all(jsonb)', $args)", undef, $all ],
		[ 'call_once, and more', 'reqs', '', "BEGIN; SELECT keep.call_once('reqs', '{k}', 'act(jsonb)', $args); SELECT keep.put('s', '{k}', '1'); COMMIT",
			undef, "; SELECT keep.get('s', '{k}')" ]);
	my @all = map { { name => $_->[0], setup => $_->[2], call => $_->[3], retry => $_->[4], state => sprintf($state, $_->[1]) . ($_->[5] // '') } } @calls;

	# an outcome that is no longer retained; and those are deleted
	my $old = "SELECT keep.create_request_log('{k}', retain => '1 min'); SELECT keep.call_once('{k}', g::text, 'act(jsonb)', '{}') FROM generate_series(1, 3) AS g";
	my $later = "SET pg_keep.test_clock_offset = '2 min'";
	push @all, { name => 'begin_request, out of retention', setup => $old, first => $later, passing => 1,
		call => "SELECT keep.begin_request('{k}', '1', '2', '1 ms')", retry => "$wait SELECT keep.begin_request('{k}', '1', '2', '1 ms')",
		state => "SELECT string_agg(key || state, ' ' ORDER BY key) FROM {k}" };
	push @all, { name => 'expire_requests', setup => $old, first => $later, call => "SELECT keep.expire_requests('{k}')",
		state => "SELECT string_agg(key || state, ' ' ORDER BY key) FROM {k}" };
	return @all;
}

sub sagas
{
	my $args = "'{\"k\": \"{k}\"}'";
	my $begin = sub { "SELECT keep.begin_saga('$_[0]', '{k}', '1 hour')" };
	my $run = sub { my ($log, $step, $undo) = @_;
		"SELECT keep.run_step('$log', '{k}', '$step', 'act(jsonb)', $args" . ($undo ? ", '$undo(jsonb)')" : ')') };
	my $enter = sub { my ($log, $lease) = @_; "keep.enter_step('$log', '{k}', 'r', 'cancel', $args, '$lease')" };
	my $entered = sub { "SELECT see('{k}', token) FROM " . $enter->($_[0], '1 hour') };
	my $leave = sub { my ($log, $ok) = @_; "SELECT keep.leave_step('$log', '{k}', 'r', last_seen('{k}'), $ok, '7')" };
	my $state = "SELECT string_agg(concat_ws(' ', state, steps, waits_for), ', ') FROM %s WHERE saga = '{k}';"
	  . " SELECT string_agg(concat_ws(' ', step, status, place IS NULL, result, attempts, compensation_result), ', ' ORDER BY step)"
	  . " FROM %s_steps WHERE saga = '{k}'; SELECT string_agg(what, ' ' ORDER BY nr) FROM effects WHERE k = '{k}'";
	my $start = $begin->('sagas');
	my $three = join('; ', $start, $run->('sagas', 'a', 'undo'), $run->('sagas', 'b'), $run->('sagas', 'c', 'undo'));
	my $back = "SELECT keep.compensate_saga('sagas', '{k}')";
	my $later = "SET pg_keep.test_clock_offset = '2 h'";
	my $own = join('; ', "SELECT new_saga_log('{k}')", $begin->('{k}'), $run->('{k}', 'a', 'undo'), $run->('{k}', 'b'), $run->('{k}', 'c', 'undo'));
	my $remote = join('; ', "SELECT new_saga_log('{k}')", $begin->('{k}'), $entered->('{k}'), 'DELETE FROM seen WHERE k = \'{k}\'');
	my $claim = "keep.claim_compensations('{k}', 'w', 9, '%s')";
	my $claimed = "$remote; $later; SELECT keep.compensate_saga('{k}', '{k}'); SELECT see('{k}', token) FROM " . sprintf($claim, '1 day');
	my $finish = "keep.finish_compensation('{k}', '{k}', 'r', last_seen('{k}'), %s, '9')";
	my @calls = (
		[ 'begin_saga', 'sagas', '', $start ],
		[ 'begin_saga, slow', 'slow_sagas', '', $begin->('slow_sagas') ],
		[ 'begin_saga, past its deadline', 'sagas', $three, $start, undef, $later ],
		[ 'run_step', 'sagas', $start, $run->('sagas', 'a', 'undo') ],
		[ 'run_step, past the deadline', 'sagas', "$start; " . $run->('sagas', 'a', 'undo'), $run->('sagas', 'b'), undef, $later ],
		[ 'run_step, too late', 'sagas', "$start; " . $run->('sagas', 'a', 'undo') . "; $back", $run->('sagas', 'b') ],
		[ 'enter_step', 'sagas', $start, 'SELECT ' . $enter->('sagas', '1 ms'), 'SELECT pg_sleep(0.002); SELECT ' . $enter->('sagas', '1 ms') ],
		[ 'enter_step, again', 'sagas', "$start; " . $entered->('sagas') . '; ' . $leave->('sagas', 'false'),
			'SELECT ' . $enter->('sagas', '1 ms'), 'SELECT pg_sleep(0.002); SELECT ' . $enter->('sagas', '1 ms') ],
		[ 'leave_step', 'sagas', "$start; " . $entered->('sagas'), $leave->('sagas', 'true') ],
		[ 'leave_step, failed', 'sagas', "$start; " . $entered->('sagas'), $leave->('sagas', 'false') ],
		[ 'leave_step, going back', 'sagas', "$three; " . $entered->('sagas') . "; $back", $leave->('sagas', 'true') ],
		[ 'complete_saga', 'sagas', $three, "SELECT keep.complete_saga('sagas', '{k}')" ],
		[ 'compensate_saga', 'sagas', $three, $back ],
		[ 'compensate_saga, remote', 'sagas', "$three; " . $entered->('sagas') . '; ' . $leave->('sagas', 'true'), $back ],
		# not to be tried a second time when its rest is over
		[ 'compensate_saga, fails', 'sagas', "$start; " . $run->('sagas', 'a', 'fail'), $back,
			"$back WHERE (SELECT attempts FROM sagas_steps WHERE saga = '{k}') = 0" ],
		[ 'run_compensations', 'sagas', $three, "CALL keep.run_compensations('sagas', '{k}')" ],
		[ 'run_due_compensations', '{k}', $own, "CALL keep.run_due_compensations('{k}')", undef, $later ],
		[ 'run_due_compensations, not now', '{k}', "$own; CREATE TRIGGER t BEFORE UPDATE ON {k} FOR EACH ROW EXECUTE FUNCTION refuse()",
			"CALL keep.run_due_compensations('{k}')", undef, $later ],
		[ 'claim_compensations', '{k}', $remote, 'SELECT ' . sprintf($claim, '1 ms'), 'SELECT pg_sleep(0.002); SELECT ' . sprintf($claim, '1 ms'),
			"$later; SELECT keep.compensate_saga('{k}', '{k}')" ],
		[ 'claim_compensations, past the deadline', '{k}', $remote, 'SELECT ' . sprintf($claim, '1 ms'),
			'SELECT pg_sleep(0.002); SELECT ' . sprintf($claim, '1 ms'), $later ],
		[ 'finish_compensation', '{k}', $claimed, 'SELECT ' . sprintf($finish, 'true'), undef, $later ],
		[ 'finish_compensation, failed', '{k}', $claimed, 'SELECT ' . sprintf($finish, 'false'), $caught->(sprintf($finish, 'false')), $later ],
		[ 'resume_saga', 'sagas', "$start; " . $run->('sagas', 'a', 'fail') . "; $back; SET pg_keep.test_clock_offset = '1 min'; $back",
			"SELECT keep.resume_saga('sagas', '{k}')" ]);
	my @all = map { {
			name => $_->[0], setup => $_->[2], call => $_->[3], retry => $_->[4], first => $_->[5],
			steps => $_->[3] =~ /^CALL/ ? 1 : 0, state => sprintf($state, $_->[1], $_->[1]) } } @calls;
	return @all;
}

# What a client that asks again is told, by the name of the call
my @says = (
	[ qr/^(put|put_many|put_batch)\b/, qr/created|updated|^\d$/m ],
	[ qr/^put_if_absent/, qr/created|exists/ ],
	[ qr/^acquire/, qr/^\(t,\d+,me,/m ],
	[ qr/^renew/, qr/renewed/ ],
	[ qr/^open_account|^set_account|^freeze/, qr/^\(q\d+xa,EUR,/m ],
	[ qr/^transfer (?!.*row)|^transfer, releases/, qr/,posted,/ ],
	[ qr/^transfer, rejected/, qr/,rejected,insufficient_funds,/ ],
	[ qr/^post_transfer (d|t)|^reverse_transfer/, qr/,posted,/ ],
	[ qr/^void_transfer/, qr/,voided,/ ],
	[ qr/^begin_request/, qr/\((started|resumed),\d+,/ ],
	[ qr/^call_once/, qr/^\(.*,[tf]\)/m ],
	[ qr/^begin_saga( |, slow)?$/, qr/^running/m ],
	[ qr/^run_step$/, qr/^\(done,.*do.*,[tf]\)/m ],
	[ qr/^run_step, (past|too)/, qr/^\(refused,/m ],
	[ qr/^enter_step/, qr/^\(run,\d+,/m ],
	[ qr/^leave_step$/, qr/^done/m ],
	[ qr/^complete_saga/, qr/^completed/m ],
	[ qr/^compensate_saga$/, qr/^\(compensated,0\)/m ],
	[ qr/^run_compensations$/, qr/^compensated\|0/m ],
	[ qr/^claim_compensations$/, qr/,r,"?cancel/ ],
	[ qr/^finish_compensation$/, qr/^compensated/m ]);

sub with_answers
{
	my (@calls) = @_;
	foreach my $call (@calls)
	{
		($call->{says}) = map { $_->[1] } grep { $call->{name} =~ $_->[0] } @says;
	}
	return @calls;
}

# All of them
sub all
{
	return with_answers(
		stores(), tables(), requests(), sagas(), moving(),
		ledger('books', 'directly', 1, ''),
		ledger('hist', 'directly, with history', 1, ''),
		ledger('hist', 'through SQL, with history', 1, 'SET pg_keep.direct_access = off'),
		ledger('books', 'directly, in shards', 4, ''));
}

1;
