# What pg_keep is expected to answer to one session, as the test of savepoints needs it: a state of all tables
# as plain Perl data, which is copied at each savepoint, and operations that are drawn at random and change it.
#
# An operation is a hash: sql, a query of the columns out and v; code, the SQLSTATE expected; out, the text
# expected; v, where versions and tokens are expected: 'new' above all drawn before, [operation, which] the
# same as another operation's, 'any'. {operation, which} in a query stands for a version known by then.

package SavepointModel;

use strict;
use warnings;

my @keys = map { "k$_" } 0 .. 5;
my $hour = "'1 hour'";
my $moment = "'1 us'";			# over by the next call
my $most = '9223372036854775807';

sub new
{
	my ($class) = @_;
	my $self = { number => 0, known => {} };
	return bless $self, $class;
}

# How all begins: see the tables that the test makes
sub state_at_first
{
	return {
		entries => {}, leases => {}, requests => {}, sagas => {}, transfers => {}, effects => [], count => 0,
		accounts => { map { $_ => { balance => $_ eq 'a' ? 1000 : $_ eq 'out' ? -1000 : 0, debits => 0, credits => 0 } } 'out', 'a', 'b', 'c', 's' },
		stats => { map { $_ => 0 } qw(hits misses creates updates deletes condition_failures touches_written touches_skipped) },
		money => { map { $_ => 0 } qw(posted pending rejected voided replayed) },
		lease_stats => { map { $_ => 0 } qw(creates deletes condition_failures touches_written touches_skipped) } };
}

sub pick { return $_[ int(rand(@_)) ]; }
sub chance { return rand(100) < $_[0]; }

# What the functions leave behind: the last twenty, the newest first
sub add_effects
{
	my ($state, @effects) = @_;
	$state->{count} += @effects;
	unshift @{ $state->{effects} }, reverse @effects;
	splice @{ $state->{effects} }, 20 if @{ $state->{effects} } > 20;
	return;
}

# A version or token that some operation has drawn: of this key, the right one mostly
sub some_version
{
	my ($self, $kind, $key, $now) = @_;
	my $known = $self->{known}{"$kind $key"} // [];
	return $now if $now && chance(60) || !@$known;
	return pick(@$known);
}

sub learn
{
	my ($self, $kind, $key, $version) = @_;
	push @{ $self->{known}{"$kind $key"} }, $version;
	return $version;
}

# {12, 1}, in a query
sub refer { return $_[0] ? "{$_[0][0], $_[0][1]}" : '77'; }
sub same { return $_[0] && $_[1] && $_[0][0] == $_[1][0] && $_[0][1] == $_[1][1]; }

sub done { my ($sql, $out, $v) = @_; return { sql => $sql, code => '00000', out => $out, v => $v }; }
sub fails { my ($sql, $code) = @_; return { sql => $sql, code => $code }; }

# Columns of keep.outcome
my $outcome = q(concat_ws('|', status, value::text, CASE WHEN expires_at IS NULL THEN 'for ever' ELSE 'limited' END) AS out,
	ARRAY[version] AS v);

sub outcome
{
	my ($status, $value, $limited) = @_;
	return join('|', $status, defined $value ? $value : (), $limited ? 'limited' : 'for ever');
}

sub value { my $n = int(rand(100)); return chance(60) ? $n : qq({"n": $n}); }

# Writes an entry into the state.
sub set_entry
{
	my ($self, $state, $key, $value, $ttl, $which) = @_;
	my $old = $state->{entries}{$key};
	my $version = $self->learn('entry', $key, [ $self->{number}, $which // 1 ]);
	my $limited = $ttl eq 'keep' ? ($old && $old->{limited}) : $ttl ne 'NULL';

	$state->{stats}{ $old ? 'updates' : 'creates' }++;
	$state->{entries}{$key} = { value => $value, version => $version, limited => $limited };
	delete $state->{entries}{$key} if $ttl eq $moment;
	return outcome($old ? 'updated' : 'created', $value, $limited);
}

# A condition is not met: the entry as it stands
sub refused
{
	my ($state, $sql, $status, $entry) = @_;
	$state->{stats}{condition_failures}++;
	return done($sql, $entry ? outcome($status, $entry->{value}, $entry->{limited}) : outcome($status), $entry ? [ $entry->{version} ] : []);
}

my %entry_operations = (
	put => sub {
		my ($self, $state, $key, $old) = @_;
		my $value = value();
		my $ttl = chance(20) ? $moment : chance(40) ? $hour : 'NULL';
		return done("SELECT $outcome FROM keep.put('s', '$key', '$value', $ttl)", $self->set_entry($state, $key, $value, $ttl), ['new']);
	},
	put_if_absent => sub {
		my ($self, $state, $key, $old) = @_;
		my $value = value();
		my $sql = "SELECT $outcome FROM keep.put_if_absent('s', '$key', '$value')";
		return refused($state, $sql, 'exists', $old) if $old;
		return done($sql, $self->set_entry($state, $key, $value, 'NULL'), ['new']);
	},
	put_many => sub {
		my ($self, $state) = @_;
		my $from = int(rand(4));
		my @some = @keys[ $from .. $from + 2 ];
		@some = reverse @some if chance(50);
		my $value = value();
		my $which = 1;
		$self->set_entry($state, $_, $value, 'NULL', $which++) foreach @some;
		my $list = join ',', @some;
		return done("SELECT string_agg(key || '=' || value, ' ') AS out, array_agg(version) AS v
			FROM keep.put_many('s', '{$list}', array_fill('$value'::jsonb, '{3}'))",
			join(' ', map { "$_=$value" } @some), [ ('new') x 3 ]);
	},
	compare_and_swap => sub {
		my ($self, $state, $key, $old) = @_;
		my $value = value();
		my $expected = chance(20) ? undef : $self->some_version('entry', $key, $old && $old->{version});
		my $sql = "SELECT $outcome FROM keep.compare_and_swap('s', '$key', " . ($expected ? refer($expected) : 0) . ", '$value')";
		if (!$expected)
		{
			return refused($state, $sql, 'exists', $old) if $old;
			return done($sql, $self->set_entry($state, $key, $value, 'NULL'), ['new']);
		}
		return refused($state, $sql, 'absent') if !$old;
		return refused($state, $sql, 'stale', $old) if !same($expected, $old->{version});
		return done($sql, $self->set_entry($state, $key, $value, 'keep'), ['new']);
	},
	merge => sub {
		my ($self, $state, $key, $old) = @_;
		my $n = int(rand(100));
		my $sql = qq(SELECT $outcome FROM keep.merge('s', '$key', '{"m": $n}'));
		return refused($state, $sql, 'absent') if !$old;
		my $value = $old->{value} =~ /("n": \d+)/ ? qq({"m": $n, $1}) : qq({"m": $n});
		return done($sql, $self->set_entry($state, $key, $value, 'keep'), ['new']);
	},
	increment => sub {
		my ($self, $state, $key, $old) = @_;
		my $sql = "SELECT $outcome FROM keep.increment('s', '$key', ";
		return fails("$sql 1)", '22023') if $old && $old->{value} =~ /\{/;
		return fails("$sql $most)", '22003') if $old && $old->{value} > 0 && chance(20);
		return done("$sql 3)", $self->set_entry($state, $key, ($old ? $old->{value} : 0) + 3, 'keep'), ['new']);
	},
	touch => sub {
		my ($self, $state, $key, $old) = @_;
		my $sql = "SELECT $outcome FROM keep.touch('s', '$key', $hour)";
		$state->{stats}{ !$old ? 'misses' : $old->{limited} ? 'touches_written' : 'touches_skipped' }++;
		return done($sql, outcome('absent'), []) if !$old;
		return done($sql, outcome($old->{limited} ? 'touched' : 'fresh', $old->{value}, $old->{limited}), [ $old->{version} ]);
	},
	get_and_touch => sub {
		my ($self, $state, $key, $old) = @_;
		my $sql = "SELECT coalesce(string_agg(value::text, ' '), 'none') AS out, array_agg(version) AS v FROM keep.get_and_touch('s', '$key', $hour)";
		$state->{stats}{ $old ? 'hits' : 'misses' }++;
		return done($sql, 'none', []) if !$old;
		$state->{stats}{ $old->{limited} ? 'touches_written' : 'touches_skipped' }++;
		return done($sql, $old->{value}, [ $old->{version} ]);
	},
	persist => sub {
		my ($self, $state, $key, $old) = @_;
		my $sql = "SELECT $outcome FROM keep.persist('s', '$key')";
		return refused($state, $sql, 'absent') if !$old;
		$old->{limited} = 0;
		$state->{stats}{updates}++;
		return done($sql, outcome('persisted', $old->{value}, 0), [ $old->{version} ]);
	},
	delete => sub {
		my ($self, $state, $key, $old) = @_;
		my $expected = chance(50) ? undef : $self->some_version('entry', $key, $old && $old->{version});
		my $sql = "SELECT $outcome FROM keep.delete('s', '$key'" . ($expected ? ', ' . refer($expected) : '') . ')';
		return refused($state, $sql, 'absent') if !$old;
		return refused($state, $sql, 'stale', $old) if $expected && !same($expected, $old->{version});
		$state->{stats}{deletes}++;
		delete $state->{entries}{$key};
		return done($sql, outcome('deleted', $old->{value}, $old->{limited}), [ $old->{version} ]);
	},
	get => sub {
		my ($self, $state, $key, $old) = @_;
		$state->{stats}{ $old ? 'hits' : 'misses' }++;
		return done("SELECT coalesce(keep.get('s', '$key')::text, 'none') AS out, '{}'::bigint[] AS v", $old ? $old->{value} : 'none', []);
	},
	get_many => sub {
		my ($self, $state) = @_;
		my @live = grep { $state->{entries}{$_} } reverse @keys;
		$state->{stats}{hits} += @live;
		$state->{stats}{misses} += @keys - @live;
		my $list = join ',', reverse @keys;
		return done("SELECT coalesce(string_agg(key || '=' || value, ' '), 'none') AS out, array_agg(version) AS v FROM keep.get_many('s', '{$list}')",
			join(' ', map { "$_=$state->{entries}{$_}{value}" } @live) || 'none', [ map { $state->{entries}{$_}{version} } @live ]);
	});

my $lease_outcome = q(status AS out, ARRAY[version] AS v);

sub lease_answer
{
	my ($state, $sql, $status, $version, $count) = @_;
	$state->{lease_stats}{$count}++;
	return done($sql, $status, $version ? [$version] : []);
}

my %lease_operations = (
	acquire => sub {
		my ($self, $state, $name, $old) = @_;
		my $owner = pick('a', 'b');
		my $ttl = !$old && chance(20) ? $moment : $hour;
		my $sql = "SELECT concat_ws('|', acquired, owner) AS out, ARRAY[token] AS v FROM keep.acquire('l', '$name', '$owner', $ttl)";
		return lease_answer($state, $sql, "f|$old->{owner}", undef, 'condition_failures') if $old && $old->{owner} ne $owner;
		return lease_answer($state, $sql, "t|$owner", $old->{version}, $old->{longer} ? 'touches_skipped' : 'touches_written') if $old;
		my $version = $self->learn('lease', $name, [ $self->{number}, 1 ]);
		$state->{lease_stats}{creates}++;
		$state->{leases}{$name} = { owner => $owner, version => $version } if $ttl ne $moment;
		return done($sql, "t|$owner", ['new']);
	},
	renew => sub {
		my ($self, $state, $name, $old) = @_;
		my $token = $self->some_version('lease', $name, $old && $old->{version});
		my $sql = "SELECT $lease_outcome FROM keep.renew('l', '$name', " . refer($token) . ", '2 hours')";
		return lease_answer($state, $sql, 'absent', undef, 'condition_failures') if !$old;
		return lease_answer($state, $sql, 'stale', $old->{version}, 'condition_failures') if !same($token, $old->{version});
		$old->{longer} = 1;
		return lease_answer($state, $sql, 'renewed', $old->{version}, 'touches_written');
	},
	release => sub {
		my ($self, $state, $name, $old) = @_;
		my $token = $self->some_version('lease', $name, $old && $old->{version});
		my $sql = "SELECT $lease_outcome FROM keep.release('l', '$name', " . refer($token) . ')';
		return lease_answer($state, $sql, 'absent', undef, 'condition_failures') if !$old;
		return lease_answer($state, $sql, 'stale', $old->{version}, 'condition_failures') if !same($token, $old->{version});
		delete $state->{leases}{$name};
		return lease_answer($state, $sql, 'released', $old->{version}, 'deletes');
	},
	assert => sub {
		my ($self, $state, $name, $old) = @_;
		my $token = $self->some_version('lease', $name, $old && $old->{version});
		my $sql = "SELECT 'held' AS out, '{}'::bigint[] AS v FROM keep.assert_lease('l', '$name', " . refer($token) . ')';
		return fails($sql, 'KP412') if !$old || !same($token, $old->{version});
		return done($sql, 'held', []);
	});

# Transfers; all holds are of an hour, or over at once.
my $transfer = q(concat_ws('|', status, reason, amount, replayed) AS out, '{}'::bigint[] AS v);

sub transfer_answer { return join('|', grep { defined } @_); }

# What a transfer says when it is asked for again
sub replay
{
	my ($state, $sql, $old) = @_;
	$state->{money}{replayed}++;
	return done($sql, transfer_answer($old->{status}, $old->{reason}, $old->{amount}, 't'), []);
}

# Moves, holds or rejects; returns the reason for a rejection.
sub move
{
	my ($state, $from, $to, $amount, $hold) = @_;
	my $accounts = $state->{accounts};
	return 'account_not_found' if !$accounts->{$from} || !$accounts->{$to};
	return 'insufficient_funds' if $from ne 'out' && $accounts->{$from}{balance} - $accounts->{$from}{debits} < $amount;
	return 'limit_exceeded' if $to eq 'b' && $accounts->{b}{balance} + $accounts->{b}{credits} + $amount > 500;
	if (!$hold)
	{
		$accounts->{$from}{balance} -= $amount;
		$accounts->{$to}{balance} += $amount;
	}
	elsif ($hold eq $hour)
	{
		$accounts->{$from}{debits} += $amount;
		$accounts->{$to}{credits} += $amount;
	}
	return undef;
}

# A new transfer, or the same again, of one account to another
sub transfer
{
	my ($self, $state, $id, $from, $to, $amount, $hold) = @_;
	my $old = $state->{transfers}{$id};
	my $terms = "$from $to $amount $hold";
	if ($old)
	{
		return { code => 'KP422' } if $old->{terms} ne $terms;
		return replay($state, '', $old);
	}
	my $reason = move($state, $from, $to, $amount, $hold);
	my $status = defined $reason ? 'rejected' : $hold ? 'pending' : 'posted';
	$state->{money}{$status}++;
	$state->{transfers}{$id} = { terms => $terms, from => $from, to => $to, amount => $amount, reason => $reason, held => $amount,
		status => !defined $reason && $hold eq $moment ? 'expired' : $status, left => $amount };
	return done('', transfer_answer($status, $reason, $amount, 'f'), []);
}

# The end of a hold
sub settle
{
	my ($state, $old, $status, $amount) = @_;
	my ($from, $to) = map { $state->{accounts}{$_} } $old->{from}, $old->{to};
	$from->{debits} -= $old->{held};
	$to->{credits} -= $old->{held};
	$from->{balance} -= $amount;
	$to->{balance} += $amount;
	$old->{status} = $status;
	$state->{money}{$status}++;
	return;
}

my %ledger_operations = (
	transfer => sub {
		my ($self, $state, $id, $old) = @_;
		my ($from, $to, $amount, $hold) = $old && $old->{terms} =~ /^\w+ \w+ \d+/ && chance(70)
		  ? $old->{terms} =~ /^(\w+) (\w+) (\d+) (.*)$/
		  : (pick('out', 'a', 'b', 'c', 's', chance(10) ? 'nobody' : ()), pick('a', 'b', 'c', 's'),
			int(rand(300)) + 1, chance(60) ? '' : chance(70) ? $hour : $moment);
		my $sql = "SELECT $transfer FROM keep.transfer('m', '$id', '$from', '$to', $amount" . ($hold ? ", $hold)" : ')');
		return fails($sql, '22023') if $from eq $to;
		return { %{ transfer($self, $state, $id, $from, $to, $amount, $hold) }, sql => $sql };
	},
	transfer_many => sub {
		my ($self, $state, $id) = @_;
		my @ids = map { "$id/" . int(rand(4)) . "/$_" } 1 .. 4;
		my @to = map { pick('b', 'c', 's') } @ids;
		my @answers;
		foreach my $i (0 .. $#ids)
		{
			my $answer = transfer($self, $state, $ids[$i], 'a', $to[$i], 20, '');
			$state->{money}{mismatched}++ if $answer->{code} eq 'KP422';
			push @answers, $answer->{code} eq 'KP422' ? 'mismatch' : $answer->{out} =~ s/\|.*//r;
		}
		my ($ids, $to) = map { join ',', @$_ } \@ids, \@to;
		return done("SELECT string_agg(status, ' ') AS out, '{}'::bigint[] AS v FROM keep.transfer_many('m', '{$ids}', '{a,a,a,a}', '{$to}', '{20,20,20,20}')",
			join(' ', @answers), []);
	},
	post => sub {
		my ($self, $state, $id, $old) = @_;
		my $sql = "SELECT $transfer FROM keep.post_transfer('m', '$id'";
		return fails("$sql)", 'KP404') if !$old;
		if ($old->{status} eq 'pending')
		{
			return fails("$sql, 301)", '22023') if chance(20);
			my $part = chance(50) ? int(rand($old->{held})) + 1 : undef;
			my $amount = $part // $old->{held};
			settle($state, $old, 'posted', $amount);
			@$old{ 'amount', 'left', 'part' } = ($amount, $amount, $part);
			return done($sql . (defined $part ? ", $part)" : ')'), transfer_answer('posted', $amount, 'f'), []);
		}
		return { %{ replay($state, '', $old) }, sql => $sql . (defined $old->{part} ? ", $old->{part})" : ')') }
		  if $old->{status} eq 'posted' && $old->{terms} !~ /^reversal/;
		return undef;
	},
	void => sub {
		my ($self, $state, $id, $old) = @_;
		my $sql = "SELECT $transfer FROM keep.void_transfer('m', '$id')";
		return fails($sql, 'KP404') if !$old;
		return undef if $old->{status} !~ /^(pending|voided)$/;
		return replay($state, $sql, $old) if $old->{status} eq 'voided';
		settle($state, $old, 'voided', 0);
		return done($sql, transfer_answer('voided', $old->{amount}, 'f'), []);
	},
	reverse => sub {
		my ($self, $state, $id, $old) = @_;
		my $original = $state->{transfers}{$id};
		my $new = "$id/back/$self->{number}";
		my $amount = int(rand(150)) + 1;
		my $sql = "SELECT $transfer FROM keep.reverse_transfer('m', '$new', '$id', $amount)";
		return fails($sql, 'KP404') if !$original;
		return undef if $original->{terms} =~ /^reversal/;
		my $reason = $original->{status} ne 'posted' ? 'not_posted' : $original->{left} < $amount ? 'exceeds_remaining'
		  : move($state, $original->{to}, $original->{from}, $amount, '');
		my $status = defined $reason ? 'rejected' : 'posted';
		$original->{left} -= $amount if !defined $reason;
		$state->{money}{$status}++;
		$state->{transfers}{$new} = { terms => "reversal of $id", status => $status, reason => $reason, amount => $amount };
		return done($sql, transfer_answer($status, $reason, $amount, 'f'), []);
	});

# Requests: those that begin_request knows, and those of call_once
sub refuse_token
{
	my ($record, $token) = @_;
	return !$record || $record->{state} ne 'in_progress' || !same($token, $record->{token});
}

my %request_operations = (
	begin => sub {
		my ($self, $state, $key, $old) = @_;
		my $request = $old && chance(90) ? $old->{request} =~ s/.* //r : int(rand(2));
		my $lease = chance(70) ? $hour : $moment;
		my $sql = "SELECT concat_ws('|', state, checkpoint::text, response::text) AS out, ARRAY[token] AS v
			FROM keep.begin_request('r', '$key', '$request', $lease)";
		return fails($sql, 'KP422') if $old && $old->{request} ne "begin $request";
		return done($sql, "$old->{state}|$old->{response}", []) if $old && $old->{state} =~ /^(completed|failed)$/;
		return done($sql, 'in_flight', []) if $old && $old->{state} eq 'in_progress' && !$old->{over};
		my $token = $self->learn('request', $key, [ $self->{number}, 1 ]);
		my $checkpoint = $old ? $old->{checkpoint} : undef;
		$state->{requests}{$key} = { state => 'in_progress', token => $token, request => "begin $request",
			checkpoint => $checkpoint, over => $lease eq $moment };
		return done($sql, join('|', $old ? 'resumed' : 'started', $checkpoint // ()), ['new']);
	},
	checkpoint => sub {
		my ($self, $state, $key, $old) = @_;
		my $token = $self->some_version('request', $key, $old && $old->{token});
		my $n = int(rand(100));
		my $sql = "SELECT 'kept' AS out, '{}'::bigint[] AS v FROM keep.checkpoint_request('r', '$key', " . refer($token) . ", '$n')";
		return fails($sql, 'KP412') if refuse_token($old, $token);
		$old->{checkpoint} = $n;
		return done($sql, 'kept', []);
	},
	end => sub {
		my ($self, $state, $key, $old) = @_;
		my $token = $self->some_version('request', $key, $old && $old->{token});
		my ($how, $result) = @{ pick([ 'complete', 'completed' ], [ 'fail', 'failed' ]) };
		my $n = $old && $old->{response} && chance(60) ? $old->{response} : int(rand(100));
		my $sql = "SELECT 'kept' AS out, '{}'::bigint[] AS v FROM keep.${how}_request('r', '$key', " . refer($token) . ", '$n')";
		return done($sql, 'kept', [])
		  if $old && $old->{state} eq $result && $old->{response} eq $n && same($token, $old->{token});
		return fails($sql, 'KP412') if refuse_token($old, $token);
		@$old{ 'state', 'response', 'checkpoint' } = ($result, $n, undef);
		return done($sql, 'kept', []);
	},
	release => sub {
		my ($self, $state, $key, $old) = @_;
		my $token = $self->some_version('request', $key, $old && $old->{token});
		my $sql = "SELECT 'kept' AS out, '{}'::bigint[] AS v FROM keep.release_request('r', '$key', " . refer($token) . ')';
		return fails($sql, 'KP412') if refuse_token($old, $token);
		$old->{state} = 'released';
		return done($sql, 'kept', []);
	},
	call => sub {
		my ($self, $state, $key, $old) = @_;
		my $fn = chance(15) ? 'fail' : 'act';
		my $n = $old && chance(60) ? $old->{request} =~ s/.* //r : int(rand(100));
		my $sql = "SELECT concat_ws('|', response::text, replayed) AS out, '{}'::bigint[] AS v FROM keep.call_once('r', '$key', '$fn(jsonb)', '$n')";
		return fails($sql, 'KP422') if $old && $old->{request} ne "call $fn $n";
		return done($sql, "$n|t", []) if $old;
		return fails($sql, 'P0001') if $fn eq 'fail';
		add_effects($state, $n);
		$state->{requests}{$key} = { state => 'completed', request => "call $fn $n", response => $n };
		return done($sql, "$n|f", []);
	});

# Sagas: local steps a to d, and remote ones e and f without compensation
my $step = q(concat_ws('|', status, result::text, replayed) AS out, '{}'::bigint[] AS v);
my $entry = q(concat_ws('|', status, result::text) AS out, ARRAY[token] AS v);
my $none = q('{}'::bigint[] AS v);

my %saga_operations = (
	begin => sub {
		my ($self, $state, $name, $old) = @_;
		$old = $state->{sagas}{$name} = { state => 'running', steps => {}, done => [] } if !$old;
		return done("SELECT state AS out, $none FROM keep.begin_saga('g', '$name', $hour)", $old->{state}, []);
	},
	run => sub {
		my ($self, $state, $name, $old) = @_;
		my $which = pick('a' .. 'd');
		my $known = $old && $old->{steps}{$which};
		my $n = $known && (chance(80) || $old->{state} ne 'running') ? $known->{n} : int(rand(100));
		my $fails = !$known && chance(15);
		my $fn = $fails ? 'fail' : 'act';
		my $sql = "SELECT $step FROM keep.run_step('g', '$name', '$which', '$fn(jsonb)', '$n', 'undo(jsonb)')";
		return fails($sql, 'KP404') if !$old;
		return undef if $fails && $old->{state} ne 'running';
		if ($old->{state} ne 'running' && !($old->{state} eq 'completed' && $known && $known->{done}))
		{
			$old->{steps}{$which} //= { n => $n };
			return done($sql, 'refused|f', []);
		}
		return fails($sql, 'KP422') if $known && $known->{n} ne $n;
		return done($sql, "done|$n|t", []) if $known;
		return fails($sql, 'P0001') if $fails;
		add_effects($state, $n);
		push @{ $old->{done} }, $n;
		$old->{steps}{$which} = { n => $n, done => 1 };
		return done($sql, "done|$n|f", []);
	},
	enter => sub {
		my ($self, $state, $name, $old) = @_;
		my $which = pick('e', 'f');
		my $known = $old && $old->{steps}{$which};
		my $sql = "SELECT $entry FROM keep.enter_step('g', '$name', '$which')";
		return fails($sql, 'KP404') if !$old;
		return done($sql, "done|$known->{n}", []) if $known && $known->{done} && $old->{state} =~ /running|completed/;
		if ($old->{state} ne 'running')
		{
			$old->{steps}{$which} //= {};
			return done($sql, 'refused', []);
		}
		return done($sql, 'busy', []) if $known;
		$old->{steps}{$which} = { running => 1, token => $self->learn('step', "$name $which", [ $self->{number}, 1 ]) };
		return done($sql, 'run', ['new']);
	},
	leave => sub {
		my ($self, $state, $name, $old) = @_;
		my $which = pick('e', 'f');
		my $known = $old && $old->{steps}{$which};
		my $token = $self->some_version('step', "$name $which", $known && $known->{token});
		my $n = $known && $known->{done} ? $known->{n} : int(rand(100));
		my $sql = "SELECT status AS out, $none FROM keep.leave_step('g', '$name', '$which', " . refer($token) . ", true, '$n')";
		return fails($sql, 'KP404') if !$known;
		return undef if $old->{state} eq 'compensated';
		return fails($sql, 'KP412') if !same($token, $known->{token});
		@$known{ 'running', 'done', 'n' } = (0, 1, $n);
		return done($sql, 'done', []);
	},
	complete => sub {
		my ($self, $state, $name, $old) = @_;
		my $sql = "SELECT state AS out, $none FROM keep.complete_saga('g', '$name')";
		return fails($sql, 'KP404') if !$old;
		return undef if $old->{state} eq 'running' && chance(50);
		$old->{state} = 'completed' if $old->{state} eq 'running' && !grep { $_->{running} } values %{ $old->{steps} };
		return done($sql, $old->{state}, []);
	},
	compensate => sub {
		my ($self, $state, $name, $old) = @_;
		my $sql = "SELECT state || pending_remote AS out, $none FROM keep.compensate_saga('g', '$name')";
		return fails($sql, 'KP404') if !$old;
		return undef if grep { $_->{running} } values %{ $old->{steps} };
		if ($old->{state} eq 'running')
		{
			add_effects($state, map { "undo $_" } reverse @{ $old->{done} });
			$old->{state} = 'compensated';
		}
		return done($sql, $old->{state} . '0', []);
	});

# An operation at random, done on the state; one that fails changes nothing. Its number is that of its answer.
sub operation
{
	my ($self, $state) = @_;
	$self->{number}++;
	if ($self->{number} % 500 == 0)
	{
		# these ids are not drawn any more
		delete $state->{transfers}{$_} foreach keys %{ $state->{transfers} };
	}
	while (1)
	{
		my $draw = rand(100);
		my ($table, $of, $key) =
		    $draw < 45 ? (\%entry_operations, 'entries', pick(@keys))
		  : $draw < 55 ? (\%lease_operations, 'leases', pick('one', 'two'))
		  : $draw < 72 ? (\%ledger_operations, 'transfers', 't' . int(rand(12)) . '/' . int($self->{number} / 500))
		  : $draw < 86 ? (\%request_operations, 'requests', 'r' . int(rand(6)) . '/' . int($self->{number} / 500))
		  :              (\%saga_operations, 'sagas', 'g' . int(rand(4)) . '/' . int($self->{number} / 500));
		my $name = pick(sort keys %$table);
		my $result = $table->{$name}->($self, $state, $key, $state->{$of}{$key});
		next if !defined $result || $result->{code} ne '00000' && chance(80);
		return { %$result, number => $self->{number} };
	}
}

# All that there is, as look() of the test shows it
sub show
{
	my ($self, $state) = @_;
	my $live = sub { my ($of, @fields) = @_; return map { my $it = $_; join(' ', $it, map { $state->{$of}{$it}{$_} // '' } @fields) } sort keys %{ $state->{$of} }; };
	return join('; ',
		(map { "$_ $state->{entries}{$_}{value} " . ($state->{entries}{$_}{limited} ? 'limited' : 'for ever') } sort keys %{ $state->{entries} }),
		$live->('leases', 'owner'),
		(map { my $a = $state->{accounts}{$_}; "$_ $a->{balance} $a->{debits} $a->{credits}" } sort keys %{ $state->{accounts} }),
		$live->('requests', 'state', 'checkpoint', 'response'), $live->('sagas', 'state'),
		$state->{count}, @{ $state->{effects} });
}

1;
