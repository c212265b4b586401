# What tests of roles share: a database with one table of each kind that belong to ann, and one call of every
# function with what a superuser, the owner, a clerk (all rights on the tables) and a stranger may expect of it.

package RoleTable;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(make_tables calls @calls @roles);

# "boss" is a superuser besides the one who installs, ann owns the tables in schema app.
our @roles = qw(boss ann clerk stranger);

my @all = qw(ok ok ok ok);
my @rights = qw(ok ok ok 42501);
my @owner = qw(ok ok 42501 42501);
my @super = qw(ok 42501 42501 42501);
my @internal = qw(39P01 42501 42501 42501);

# Function, arguments, what comes of it for each role: ok, or the SQLSTATE. {…} is put in by calls(): the tables by their
# OIDs, so that also who may not look into the schema comes as far as the function.
our @calls = (
	[ 'clock', '', @all ],
	[ 'transactions_ended', '', @all ],
	[ 'merge_patch', q('{"a": 1}', '{"a": null}'), @all ],
	[ 'json_increment', q('{"a": 1}', '{a}', 2), @all ],
	[ 'relation_restored', '', @internal ],
	[ 'table_dropped', '', @internal ],
	[ 'table_altered', '', @internal ],
	[ 'register', q({store}, 'store', '{"ttl": "2 hours"}'), @owner ],
	[ 'create_store', q('app.made'), @owner ],
	[ 'set_store_option', q({store}, 'ttl', '2 hours'), @owner ],
	[ 'get', q({store}, 'k'), @rights ],
	[ 'get_entry', q({store}, 'k'), @rights ],
	[ 'get_many', q({store}, '{k,none}'), @rights ],
	[ 'get_and_touch', q({store}, 'k', '3 hours'), @rights ],
	[ 'put', q({store}, 'k', '2'), @rights ],
	[ 'put_many', q({store}, '{k,new}', '{2,3}'), @rights ],
	[ 'put_batch', q({store}, '{"k": 2, "new": 3}'), @rights ],
	[ 'put_if_absent', q({store}, 'new', '2'), @rights ],
	[ 'compare_and_swap', q({store}, 'k', 1, '2'), @rights ],
	[ 'merge', q({store}, 'k', '{"a": 1}'), @rights ],
	[ 'increment', q({store}, 'count'), @rights ],
	[ 'touch', q({store}, 'k', '3 hours'), @rights ],
	[ 'persist', q({store}, 'k'), @rights ],
	[ 'delete', q({store}, 'k'), @rights ],
	[ 'expire', q({store}), @rights ],
	[ 'expire', '', @all ],
	[ 'wait_for', q({store}, 'k', timeout => '0'), @rights ],
	[ 'acquire', q({store}, 'free', 'me', '1 min'), @rights ],
	[ 'renew', q({store}, 'lease', {lease}, '2 hours'), @rights ],
	[ 'release', q({store}, 'lease', {lease}), @rights ],
	[ 'assert_lease', q({store}, 'lease', {lease}), @rights ],
	[ 'create_ledger', q('app.made'), @owner ],
	[ 'open_account', q({ledger}, 'new', 'EUR'), @rights ],
	[ 'set_account_limits', q({ledger}, 'a', 0, 1000), @rights ],
	[ 'freeze_account', q({ledger}, 'a'), @rights ],
	[ 'balance', q({ledger}, 'a'), @rights ],
	[ 'transfer', q({ledger}, 'new', 'outside', 'a', 1), @rights ],
	[ 'transfer_many', q({ledger}, '{n1,n2}', '{outside,outside}', '{a,a}', '{1,2}'), @rights ],
	[ 'transfer_batch', q({ledger}, '[{"id": "n1", "from_account": "outside", "to_account": "a", "amount": 1}]'), @rights ],
	[ 'post_transfer', q({ledger}, 'held'), @rights ],
	[ 'void_transfer', q({ledger}, 'held'), @rights ],
	[ 'reverse_transfer', q({ledger}, 'back', 'moved'), @rights ],
	[ 'expire_holds', q({ledger}), @rights ],
	[ 'statement', q({ledger}, 'a'), @rights ],
	[ 'verify_ledger', q({ledger}), @rights ],
	[ 'create_request_log', q('app.made'), @owner ],
	[ 'begin_request', q({log}, 'new', '1'), @rights ],
	[ 'checkpoint_request', q({log}, 'open', {request}, '1'), @rights ],
	[ 'complete_request', q({log}, 'open', {request}, '1'), @rights ],
	[ 'fail_request', q({log}, 'open', {request}, '1'), @rights ],
	[ 'release_request', q({log}, 'open', {request}), @rights ],
	[ 'call_once', q({log}, 'new', 'common.echo(pg_catalog.jsonb)', '1'), @rights ],
	[ 'expire_requests', q({log}), @rights ],
	[ 'expire_requests', '', @all ],
	[ 'create_saga_log', q('app.made'), @owner ],
	[ 'allow_saga_function', q({sagas}, 'common.other(pg_catalog.jsonb)'), @owner ],
	[ 'begin_saga', q({sagas}, 'new'), @rights ],
	[ 'run_step', q({sagas}, 'local', 'b', 'common.echo(pg_catalog.jsonb)'), @rights ],
	[ 'enter_step', q({sagas}, 'local', 'c'), @rights ],
	[ 'leave_step', q({sagas}, 'remote', 'a', {step}, true), @rights ],
	[ 'complete_saga', q({sagas}, 'local'), @rights ],
	[ 'compensate_saga', q({sagas}, 'local'), @rights ],
	[ 'run_compensations', q({sagas}, 'local'), @rights ],
	[ 'run_due_compensations', q({sagas}), @rights ],
	[ 'claim_compensations', q({sagas}, 'me'), @rights ],
	[ 'finish_compensation', q({sagas}, 'claimed', 'a', {claim}, true), @rights ],
	[ 'resume_saga', q({sagas}, 'local'), @rights ],
	[ 'stop_reaper', '', @super ],
	[ 'start_reaper', '', @super ],
	[ 'stat_reset', q({store}), @super ],
	[ 'stat_reset', '', @super ],
	[ 'store_statistics', '', @all ],
	[ 'ledger_statistics', '', @all ],
	[ 'reaper_statistics', '', @all ]);

# The roles and ann's tables, with something in them that each call can work on; the extension is there
sub make_tables
{
	my ($node, $db) = @_;
	$node->safe_psql($db, q{
		CREATE ROLE boss LOGIN SUPERUSER; CREATE ROLE ann LOGIN; CREATE ROLE clerk LOGIN; CREATE ROLE stranger LOGIN;
		CREATE SCHEMA app AUTHORIZATION ann;
		CREATE SCHEMA common AUTHORIZATION ann;
		GRANT USAGE ON SCHEMA common TO PUBLIC;
		GRANT USAGE ON SCHEMA app TO clerk;
		SET ROLE ann;
		SELECT keep.create_store('app.s', ttl => '1 hour'), keep.create_ledger('app.books', true),
			keep.create_request_log('app.log'), keep.create_saga_log('app.sagas');
		CREATE FUNCTION common.echo(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
		CREATE FUNCTION common.other(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
		SELECT keep.put_many('app.s', '{k,count}', '{"{\"a\": \"a secret\"}",1}'), keep.put('app.s', 'over', '"a secret"', '1 ms');
		SELECT keep.acquire('app.s', 'lease', 'ann', '1 hour');
		SELECT keep.open_account('app.books', 'outside', 'EUR', NULL), keep.open_account('app.books', 'a', 'EUR');
		SELECT keep.transfer('app.books', 'moved', 'outside', 'a', 100, metadata => '"a secret"'),
			keep.transfer('app.books', 'held', 'outside', 'a', 10, '1 hour');
		SELECT keep.begin_request('app.log', 'open', '"a secret"'), keep.call_once('app.log', 'done', 'common.echo(pg_catalog.jsonb)', '"a secret"');
		SELECT keep.allow_saga_function('app.sagas', 'common.echo(pg_catalog.jsonb)');
		SELECT keep.begin_saga('app.sagas', saga) FROM unnest('{local,remote,claimed}'::text[]) saga;
		SELECT keep.run_step('app.sagas', 'local', 'a', 'common.echo(pg_catalog.jsonb)', '"a secret"', 'common.echo(pg_catalog.jsonb)');
		SELECT keep.enter_step('app.sagas', saga, 'a', 'undo') FROM unnest('{remote,claimed}'::text[]) saga;
		SELECT keep.leave_step('app.sagas', 'claimed', 'a', token, true) FROM app.sagas_steps WHERE saga = 'claimed';
		SELECT keep.compensate_saga('app.sagas', 'claimed'), keep.claim_compensations('app.sagas', 'ann');
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO clerk;
	});
	return;
}

# [function, statement, what each role may expect]
sub calls
{
	my ($node, $db) = @_;
	my ($store, $ledger, $log, $sagas, %value);

	@value{qw(store ledger log sagas lease request step claim)} = split(/\|/, $node->safe_psql($db, q{
		SELECT 'app.s'::regclass::oid, 'app.books'::regclass::oid, 'app.log'::regclass::oid, 'app.sagas'::regclass::oid,
			(SELECT version FROM app.s WHERE key = 'lease'), (SELECT token FROM app.log WHERE key = 'open'),
			(SELECT token FROM app.sagas_steps WHERE saga = 'remote'), (SELECT token FROM app.sagas_steps WHERE saga = 'claimed')}));
	# no cast: what a name of a type means depends on the search_path
	$value{$_} = "'$value{$_}'" foreach qw(store ledger log sagas);
	return map {
		my ($name, $args, @expected) = @$_;
		$args =~ s/\{(store|ledger|log|sagas|lease|request|step|claim)\}/$value{$1}/g;
		my $how = $name =~ /^run_(due_)?compensations$/ ? 'CALL' : $name =~ /^(relation|table)_/ ? 'SELECT' : 'SELECT * FROM';
		[ $name, "$how keep.$name($args)", @expected ]
	} @calls;
}

1;
