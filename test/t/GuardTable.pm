# The calls and the conditions of 062_guards.pl.

package GuardTable;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(@calls @conditions @column_changes);

# A line a call: function | kind of table | arguments, @ being the table | of each, whether NULL is refused (r) or means
# something (o) | columns to look at | rights needed on the table (o: its owner, a: EXECUTE, which is not for all, x: none, though
# it writes) | rights needed on the second table
our @calls = map { [ split /\s*\|\s*/, $_, -1 ] } grep { /\S/ } split /\n/, <<'TABLE';
get | store | @; 'a' | rr | get | S
get_entry | store | @; 'a' | rr | key, value | S
get_many | store | @; '{a, none, doc}' | rr | key, value | S
get_and_touch | store | @; 'a'; '2 hours' | rro | key, value | SU
put | store | @; 'a'; '2'; '2 hours' | rrro | applied, status, value | SIU
put_many | store | @; '{a, b}'; '{2, 3}'; '2 hours' | rrro | key, value | SIU
put_batch | store | @; '{"a": 2, "b": 3}'; '2 hours' | rro | key, value | SIU
put_if_absent | store | @; 'b'; '3'; '2 hours' | rrro | applied, status, value | SIU
compare_and_swap | store | @; 'a'; :a; '2'; '2 hours' | rrrro | applied, status, value | SU
compare_and_swap | store | @; 'b'; 0; '3'; '2 hours' | rrrro | applied, status, value | SIU
merge | store | @; 'doc'; '{"y": 2}'; NULL | rrro | applied, status, value | SU
increment | store | @; 'a'; 5; '{}'; '2 hours' | rrrro | applied, status, value | SIU
touch | store | @; 'a'; '2 hours' | rro | applied, status, value | SU
persist | store | @; 'a' | rr | applied, status, value | SU
delete | store | @; 'a'; NULL | rro | applied, status, value | SD
expire | store | @; 1000 | or | expire | SUD
wait_for | store | @; 'a'; 0; '0' | rrrr | key, value | S
acquire | store | @; 'job'; 'me'; '1 hour'; '0' | rrrrr | acquired, owner | SIU
renew | store | @; 'lease'; :lease; '2 hours' | rrrr | applied, status | SU
release | store | @; 'lease'; :lease | rrr | applied, status | SD
assert_lease | store | @; 'lease'; :lease | rrr | * | SU
set_store_option | store | @; 'ttl'; '2 hours' | rro | * | o
register | store | @; 'store'; '{"ttl": "2 hours"}' | rrr | * | o
stat_reset | store | @ | o | * | a
open_account | ledger | @; 'new'; 'EUR'; 0; 5000; 2 | rrroor | account, balance | SI
set_account_limits | ledger | @; 'ben'; 0; 5000 | rroo | account, balance | SU | S
freeze_account | ledger | @; 'ben'; true | rrr | account, frozen | SU | S
balance | ledger | @; 'ann' | rr | account, balance, available | S | S
transfer | ledger | @; 'new'; 'ann'; 'ben'; 100; NULL; '{"m": 1}' | rrrrroo | id, status, from_balance, replayed | SU | SI
transfer_many | ledger | @; '{n1, n2}'; '{ann, ben}'; '{ben, ann}'; '{100, 20}'; NULL; NULL; '{c, c}'; 'all' | rrrrrooor | id, status, from_balance | SU | SI
transfer_batch | ledger | @; '[{"id": "new", "from_account": "ann", "to_account": "ben", "amount": 100}]'; 'all' | rrr | id, status, from_balance | SU | SI
post_transfer | ledger | @; 'held'; 200 | rro | id, status, from_balance, replayed | SU | SU
void_transfer | ledger | @; 'held' | rr | id, status, replayed | SU | SU
reverse_transfer | ledger | @; 'back'; 'paid'; 100; false | rrror | id, status, from_balance | SU | SIU
expire_holds | ledger | @; 1000 | rr | expire_holds | SU | SU
verify_ledger | ledger | @ | r | bool_and(ok) | S | S
statement | ledger | @; 'ann'; NULL; 100 | rror | transfer, amount, balance | S | S
register | ledger | @; 'ledger'; '{"history": true, "transfers": "app.l_transfers"}' | rrr | * | o
begin_request | request_log | @; 'new'; '{"q": 1}'; '1 min'; '0'; 'reclaim' | rrrrrr | state, response | SIU
call_once | request_log | @; 'new'; 'app.act(jsonb)'; '{"q": 1}' | rrrr | response, replayed | SIU
checkpoint_request | request_log | @; 'open'; :open; '{"c": 1}' | rrrr | * | SU
complete_request | request_log | @; 'open'; :open; '{"c": 1}' | rrrr | * | SU
fail_request | request_log | @; 'open'; :open; '{"c": 1}' | rrrr | * | SU
release_request | request_log | @; 'open'; :open | rrr | * | SU
expire_requests | request_log | @; 1000 | or | * | SUD
register | request_log | @; 'request_log'; '{"retain": "7 days"}' | rrr | * | o
begin_saga | saga_log | @; 'new'; '1 hour' | rro | state | SIU | SU
run_step | saga_log | @; 'run'; 'more'; 'app.act(jsonb)'; '{"q": 1}'; 'app.undo(jsonb)' | rrrrro | status, result, replayed | SU | SIU
enter_step | saga_log | @; 'run'; 'ship'; 'cancel'; '{}'; '1 min' | rrrorr | status, result | SU | SIU
leave_step | saga_log | @; 'run'; 'remote'; :run; true; '{"c": 1}' | rrrrro | status | SU | SU
complete_saga | saga_log | @; 'good' | rr | state | SU | SU
compensate_saga | saga_log | @; 'undo' | rr | state, pending_remote | SU | SU
claim_compensations | saga_log | @; 'worker'; 10; '1 min' | rrrr | saga, step, compensation | SU | SU
finish_compensation | saga_log | @; 'claimed'; 'remote'; :claimed; true; '{"c": 1}' | rrrrro | state | SU | SU
resume_saga | saga_log | @; 'stuck' | rr | state | SU | SU
allow_saga_function | saga_log | @; 'app.extra(jsonb)'; true | rrr | * | o
register | saga_log | @; 'saga_log'; '{"max_attempts": 5, "steps": "app.g_steps"}' | rrr | * | o
create_store | create | 'app.new'; '1 hour'; 'access'; '1 day'; '1 min'; 1000; false; 'logged' | roroorrr | create_store = to_regclass('app.new')
create_ledger | create | 'app.new'; true | rr | create_ledger = to_regclass('app.new')
create_request_log | create | 'app.new'; '1 day'; true | ror | create_request_log = to_regclass('app.new')
create_saga_log | create | 'app.new'; 5 | rr | create_saga_log = to_regclass('app.new')
expire | none | NULL; 1000 | or | expire | x
expire_requests | none | NULL; 1000 | or | * | x
run_compensations | procedure | @; 'undo' | rr | | SU | SU
run_due_compensations | procedure | @; 10 | rr | | SU | SU
clock | none | | | clock > '2000-01-01'
transactions_ended | none | | | transactions_ended >= 0
merge_patch | none | '{"a": 1}'; '{"b": 2}' | or | merge_patch
json_increment | none | '{"a": 1}'; '{a}'; 2 | orr | json_increment
store_statistics | none | | | count(*) < 9
ledger_statistics | none | | | count(*) < 9
reaper_statistics | none | | | count(*) < 9
stat_reset | none | NULL | o | * | a
stop_reaper | reaper | | | stop_reaper IS NOT NULL | a
start_reaper | reaper | | | start_reaper IS NOT NULL | a
relation_restored | none | | | | a
table_dropped | none | | | | a
table_altered | none | | | | a
TABLE

# A condition has a name, the kinds of table that it is for (T: all four, P: those of two tables, A: the functions without a
# table as well), what is expected, and SQL that brings it about. In the SQL {t} and {u} are the tables, {tu} both, {oid} the
# number of {t}.
#
# What is expected: "class=outcome class=outcome", the first class that a call is of decides. Classes: * all; w what needs more
# than to read; o for owners only; t+ t~ t- t* what inserts, updates, deletes, does any of it in the table, u+ .. in the
# second one; T all that have a table; functions by name. Outcomes: same (the same result, the same change), change (the
# same change), none (no result, with a warning), clean (anything but an internal error), ok, marked (a trigger's mark besides), file (as guards.tsv has it), a SQLSTATE, or several with /. "rights"
# stands for: the same where the rights are there, else 42501.
#
# Settings: role (guard_owner where none is named), target (a name or number instead of {t}), warm (all is called before, so that
# plans are there), prepared (the same, by prepared statements; and once more without), isolation, wrap (what makes the call),
# impossible (from which version of PostgreSQL on the SQL is refused, for which kinds, by which SQLSTATE), undo (what takes it
# back besides making the tables anew: the procedures commit), no_procedure (why they are not called under it).
our @conditions;

sub condition
{
	my ($name, $kinds, $expected, $setup, %more) = @_;
	push @conditions, { name => $name, kinds => $kinds, expected => $expected, setup => $setup // '', %more };
	return;
}

# Rights: each set of rights lets through what needs no more
foreach my $rights (map { [ split /\//, $_, -1 ] } qw(/ SIUD/SIUD IUD/SIUD SUD/SIUD SID/SIUD SIU/SIUD S/SIUD SU/SIUD SD/SIUD SIUD/
	SIUD/S SIUD/SI SIUD/SU SIUD/IU SIUD/SIU))
{
	my %name = (S => 'SELECT', I => 'INSERT', U => 'UPDATE', D => 'DELETE');
	my ($t, $u) = map { my $i = $_; my $list = join ', ', map { $name{$_} } split //, $rights->[$i];
		$list ? "GRANT $list ON " . ($i ? '{u}' : '{t}') . ' TO guard_user;' : '' } 0, 1;
	my $name = 'rights ' . join ' and ', map { $_ || 'none' } @$rights;
	condition($name, 'sr', 'rights', $t, role => 'guard_user', rights => $rights, warm => 1)
	  if $rights->[1] eq 'SIUD' || $rights->[0] eq '';
	condition($name, 'P', 'rights', "$t$u", role => 'guard_user', rights => $rights, warm => 1);
}
my $all_rights = 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO guard_user';
condition('no USAGE on keep', 'Ax', '*=42501', "$all_rights; REVOKE USAGE ON SCHEMA keep FROM PUBLIC", role => 'guard_user', warm => 1,
	undo => 'GRANT USAGE ON SCHEMA keep TO PUBLIC');
condition('no EXECUTE', 'Ax', '*=42501', "$all_rights; REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA keep FROM PUBLIC",
	role => 'guard_user', warm => 1, undo => 'GRANT EXECUTE ON ALL ROUTINES IN SCHEMA keep TO PUBLIC; REVOKE EXECUTE ON FUNCTION ' .
	'keep.start_reaper(), keep.stop_reaper(), keep.stat_reset(regclass), keep.relation_restored(), keep.table_dropped(), ' .
	'keep.table_altered() FROM PUBLIC');
condition('no USAGE on the schema', 'T', '*=42501', "$all_rights; REVOKE USAGE ON SCHEMA app FROM guard_user", role => 'guard_user', warm => 1);
condition('a stranger, functions without a table', 'cnx', 'a=42501 c=42501 expire=ok expire_requests=ok *=same', '', role => 'guard_user');
condition('no EXECUTE on the functions of steps', 'rg', 'o=42501 call_once=42501 run_step=42501 compensate_saga=42501 run_compensations=42501 run_due_compensations=ok *=same',
	"$all_rights; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC", role => 'guard_user', warm => 1);
condition('a superuser', 'Ax', '*=same', '', role => 'none');

# Row security
my $on = 'ALTER TABLE {t} ENABLE ROW LEVEL SECURITY';
my $none = 'CREATE POLICY none ON {t} USING (false)';
my $on_u = 'ALTER TABLE {u} ENABLE ROW LEVEL SECURITY';
my $none_u = 'CREATE POLICY none ON {u} USING (false)';
condition('rows hidden', 'T', 'o=42501 a=42501 *=file', "$all_rights; $on; $none", role => 'guard_user', warm => 1);
condition('rows hidden from the owner', 'T', 'o=same a=same *=file', "ALTER TABLE {t} FORCE ROW LEVEL SECURITY; $on; $none",
	file => 'rows hidden', warm => 1);
condition('rows of the second table hidden', 'P', 'o=42501 *=file', "$all_rights; $on_u; $none_u", role => 'guard_user', warm => 1);
condition('policies that show all', 'T', 'o=42501 a=42501 *=same',
	"$all_rights; $on; CREATE POLICY every ON {t} USING (true)", role => 'guard_user', warm => 1);
condition('row security, and a superuser', 'T', '*=same', "$on; $none", role => 'none', warm => 1);
condition('row security, and the owner', 'T', '*=same', "$on; $none", warm => 1);
condition('row_security off', 'T', '*=42501', "$all_rights; $on; $none; SET LOCAL row_security = off", role => 'guard_user', warm => 1);
condition('row_security off, and the owner', 'T', '*=same', "$on; $none; SET LOCAL row_security = off", warm => 1);

# Transactions
condition('read-only', 'A', 'w=25006 *=same', 'SET LOCAL transaction_read_only = on', warm => 1);
condition('read-only, no rights', 'T', 'a=42501 w=25006 *=42501', 'SET LOCAL transaction_read_only = on', role => 'guard_user');
condition('repeatable read', 'A', '*=same', '', isolation => 'REPEATABLE READ');
condition('serializable', 'A', '*=same', '', isolation => 'SERIALIZABLE');
condition('serializable, read-only', 'A', 'w=25006 *=same', '', isolation => 'SERIALIZABLE, READ ONLY');

# Settings
my %no_procedure = ('default_transaction_read_only = on' => 'is about their next transaction, which then is that of "read-only"');
condition($_, 'A', '*=same', "SET LOCAL $_", no_procedure => $no_procedure{$_}) foreach (
	q(search_path = ''), 'search_path = app, pg_temp', 'search_path = nowhere', 'search_path = pg_catalog, guard, keep',
	q(datestyle = 'SQL, DMY'), 'datestyle = German', 'intervalstyle = sql_standard', 'intervalstyle = iso_8601',
	'standard_conforming_strings = off', 'bytea_output = escape', q(lc_messages = 'C'), q(timezone = 'Pacific/Chatham'),
	'extra_float_digits = -15', 'quote_all_identifiers = on', 'array_nulls = off', 'transform_null_equals = on',
	'xmloption = document', 'backslash_quote = off', 'check_function_bodies = off', 'session_replication_role = replica',
	'session_replication_role = local', 'synchronous_commit = off', 'plan_cache_mode = force_custom_plan',
	'plan_cache_mode = force_generic_plan', 'enable_indexscan = off', 'enable_sort = off', q(work_mem = '64kB'), 'constraint_exclusion = on',
	'geqo_threshold = 2', 'default_transaction_read_only = on', 'default_transaction_isolation = serializable', 'row_security = off',
	'client_min_messages = error', q(track_functions = 'all'), q(lock_timeout = '60s'), q(statement_timeout = '600s'),
	'pg_keep.direct_access = off', 'pg_keep.track_statistics = off', 'pg_keep.max_wait = 0');
condition('search_path of a stranger', 'A', '*=same', 'CREATE SCHEMA odd; SET LOCAL search_path = odd, pg_catalog;' .
	'CREATE FUNCTION odd.no(anyelement, anyelement) RETURNS boolean LANGUAGE sql AS $f$SELECT false$f$;' .
	'CREATE FUNCTION odd.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $f$SELECT NULL::timestamptz$f$;' .
	'CREATE OPERATOR odd.< (LEFTARG = anyelement, RIGHTARG = anyelement, FUNCTION = odd.no); GRANT USAGE ON SCHEMA odd TO guard_owner');

# Triggers, rules and constraints
foreach my $on ([ '{t}', 'T', 't', 'I' ], [ '{u}', 'P', 'u', '2I' ])
{
	my ($table, $kinds, $x, $i) = @$on;
	my $trigger = sub {
		my ($when, $body, $level) = @_;
		return "CREATE FUNCTION guard.fire() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN $body END \$f\$;" .
		  "CREATE TRIGGER guard $when ON $table " . ($level // 'FOR EACH ROW') . ' EXECUTE FUNCTION guard.fire()';
	};
	my $any = 'INSERT OR UPDATE OR DELETE';
	my $return = 'RETURN CASE TG_OP WHEN \'DELETE\' THEN OLD ELSE NEW END;';
	my $raise = 'RAISE EXCEPTION USING ERRCODE = \'GU001\';';
	condition("a BEFORE trigger on $table", $kinds, '*=same', $trigger->("BEFORE $any", $return), warm => 1);
	condition("a BEFORE trigger on $table that changes the row", $kinds, "$x+=marked $x~=marked *=same",
		"ALTER TABLE $table ADD COLUMN mark text;" . $trigger->('BEFORE INSERT OR UPDATE', 'NEW.mark := \'x\'; RETURN NEW;'), warm => 1);
	condition("a BEFORE trigger on $table that suppresses", $kinds,
		"claim_compensations=none expire=ok expire_requests=ok $x*=09000 *=same", $trigger->("BEFORE $any", 'RETURN NULL;'), warm => 1);
	condition("an AFTER trigger on $table", $kinds, '*=same', $trigger->("AFTER $any", 'RETURN NULL;'), warm => 1);
	condition("an AFTER trigger on $table that raises", $kinds, "claim_compensations=none $x*=GU001 *=same", $trigger->("AFTER $any", $raise), warm => 1);
	condition("a statement trigger on $table that raises", $kinds, "claim_compensations=none $x*=GU001 *=GU001/same", $trigger->("BEFORE $any", $raise, ''), warm => 1);
	condition("a trigger on $table with transition tables", $kinds, '*=same', $trigger->('AFTER UPDATE',
		'PERFORM * FROM old_rows, new_rows; RETURN NULL;') =~ s/FOR EACH ROW/REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows/r, warm => 1);
	condition("a trigger on $table that calls again", $kinds, '*=clean', $trigger->("AFTER $any",
		'IF pg_trigger_depth() < 2 THEN PERFORM guard.lines(current_setting(\'guard.query\')); END IF; RETURN NULL;'), wrap => 'SELECT guard.nested(%1$L)', warm => 1);
	condition("a BEFORE trigger on $table that calls again", $kinds, '*=clean', $trigger->("BEFORE $any",
		'IF pg_trigger_depth() < 2 THEN PERFORM guard.lines(current_setting(\'guard.query\')); END IF; ' . $return), wrap => 'SELECT guard.nested(%1$L)', warm => 1);
	condition("a rule on $table", $kinds, 'claim_compensations=none/same/42809 *=same/42809/0A000/09000', "CREATE RULE guard AS ON UPDATE TO $table DO INSTEAD NOTHING", warm => 1);
	condition("a CHECK on $table that holds", $kinds, '*=same', "ALTER TABLE $table ADD CHECK (true)", warm => 1);
	condition("a CHECK on $table that fails", $kinds, "claim_compensations=none $x+=23514 $x~=23514 *=same", "ALTER TABLE $table ADD CHECK (false) NOT VALID", warm => 1);
	condition("a trigger on $table that alters it", $kinds, "claim_compensations=none $x*=55006 *=same",
		$trigger->("AFTER $any", "ALTER TABLE $table ADD COLUMN late int; RETURN NULL;"), warm => 1);
	condition("a trigger on $table that drops it", $kinds, "claim_compensations=none $x*=55006 *=same", $trigger->("BEFORE $any", "DROP TABLE $table; $return"), warm => 1);

	# Columns
	condition("column of $table: $_->[0]", $kinds, $_->[2] // '*=same', "ALTER TABLE $table ADD COLUMN mine $_->[1]", warm => 1) foreach (
		[ 'generated', 'int GENERATED ALWAYS AS (1 + 1) STORED' ], [ 'identity', 'int GENERATED ALWAYS AS IDENTITY' ],
		[ 'identity by default', 'int GENERATED BY DEFAULT AS IDENTITY' ], [ 'serial', 'serial' ], [ 'a default', 'text DEFAULT \'x\'' ],
		[ 'a volatile default', 'float8 DEFAULT random()' ], [ 'unique', 'int UNIQUE' ], [ 'composite', 'keep.outcome' ]);
	condition("column of $table: a domain", $kinds, '*=same',
		"CREATE DOMAIN app.some AS int DEFAULT 1 CHECK (VALUE > 0); ALTER TABLE $table ADD COLUMN mine app.some NOT NULL", warm => 1);
	condition("column of $table: a domain that refuses", $kinds, "$x+=23514 $i=23514 *=same",
		"CREATE DOMAIN app.some AS int CHECK (VALUE > 0); ALTER TABLE $table ADD COLUMN mine app.some DEFAULT 1, ALTER mine SET DEFAULT 0", warm => 1);
	condition("column of $table: NOT NULL without a default", $kinds, "$x+=23502 $i=23502 *=same",
		"ALTER TABLE $table ADD COLUMN mine int NOT NULL DEFAULT 1; ALTER TABLE $table ALTER mine DROP DEFAULT", warm => 1);
	condition("$table: a column added and dropped", $kinds, '*=same', "ALTER TABLE $table ADD COLUMN mine int; ALTER TABLE $table DROP COLUMN mine",
		prepared => 1);

	# What it is
	# allow_saga_function() does not look at the steps
	my $wrong = ($x eq 'u' ? 'allow_saga_function=same ' : '') . 'stat_reset=ok *=42809';
	condition("$table: no primary key", $kinds, $wrong, "DO \$f\$ BEGIN EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE'," .
		"conrelid::regclass, conname) FROM pg_constraint WHERE conrelid = '$table'::regclass AND contype = 'p'); END \$f\$", prepared => 1);
	condition("$table: primary key invalid", $kinds, $wrong, "UPDATE pg_index SET indisvalid = false WHERE indrelid = '$table'::regclass" .
		" AND indisprimary; ALTER TABLE $table SET (fillfactor = 90)", prepared => 1);
	condition("$table: another index invalid", $kinds, '*=same', "CREATE INDEX odd ON $table ((1)); UPDATE pg_index SET indisvalid = false" .
		" WHERE indexrelid = 'app.odd'::regclass; ALTER TABLE $table SET (fillfactor = 90)", prepared => 1);
	condition("$table: unlogged", $kinds, $wrong, "ALTER TABLE $table SET UNLOGGED", prepared => 1);
	condition("$table: with a child", $kinds, $wrong, "CREATE TABLE app.child () INHERITS ($table)", prepared => 1);
	condition("$table: with a child, dropped", $kinds, '*=same', "CREATE TABLE app.child () INHERITS ($table); DROP TABLE app.child", prepared => 1);
	condition("$table: with a parent", $kinds, '*=same', "CREATE TABLE app.parent (); ALTER TABLE $table INHERIT app.parent", prepared => 1);
	condition("$table: clustered, rewritten, truncated in a savepoint", $kinds, '*=same',
		"ALTER TABLE $table SET (fillfactor = 10), ALTER COLUMN created_at SET STATISTICS 10; CREATE INDEX odd ON $table (created_at);" .
		"CLUSTER $table USING odd; DO \$f\$ BEGIN TRUNCATE $table CASCADE; RAISE division_by_zero; EXCEPTION WHEN OTHERS THEN NULL; END \$f\$",
		prepared => 1);
	condition("$table: owned by another", $kinds, ($x eq 'u' ? 'allow_saga_function=same ' : '') . 'a=ok s=42501 r=42501 o=42501 *=42809', "ALTER TABLE $table OWNER TO guard_user", warm => 1);
}
# A table with an identity column, as stores and request logs have one, can be no partition any more.
condition('partition of another table', 'T', '*=same', 'CREATE TABLE app.whole (LIKE {t} INCLUDING ALL EXCLUDING IDENTITY) PARTITION BY HASH (' .
	'{key}); ALTER TABLE app.whole ATTACH PARTITION {t} FOR VALUES WITH (MODULUS 1, REMAINDER 0)', warm => 1,
	impossible => [ 17, 'sr', '55000' ]);
# Moved, dropped, made again
my $noted = 'UPDATE guard.kind SET t =';
condition('renamed', 'T', '*=same', "ALTER TABLE {t} RENAME TO other; $noted 'app.other' WHERE kind = '{kind}'", warm => 1);
condition('renamed twice', 'T', '*=same', "ALTER TABLE {t} RENAME TO other; ALTER TABLE app.other RENAME TO \"odd \"\"name\"\"\"; " .
	"$noted 'app.\"odd \"\"name\"\"\"' WHERE kind = '{kind}'", warm => 1);
condition('in another schema', 'T', '*=same', "CREATE SCHEMA far AUTHORIZATION guard_owner; ALTER TABLE {t} SET SCHEMA far; " .
	"$noted 'far.' || split_part(t, '.', 2) WHERE kind = '{kind}'", warm => 1);
condition('schema renamed', 's', '*=same', "ALTER SCHEMA app RENAME TO far; $noted 'far.s' WHERE kind = '{kind}'", warm => 1);
condition('renamed, prepared', 'T', 'stat_reset=42P01 *=42P01', 'ALTER TABLE {t} RENAME TO other', prepared => 1);
condition('by number', 'T', '*=same', '', target => '{oid}', warm => 1);
condition('dropped', 'T', 'stat_reset=42P01 *=42P01', 'DROP TABLE {tu}', warm => 1);
condition('dropped, by number', 'T', 'stat_reset=ok *=42P01', 'DROP TABLE {tu}', target => '{oid}', warm => 1);
condition('dropped, prepared', 'T', 'stat_reset=42P01 *=42P01', 'DROP TABLE {tu}', prepared => 1);
condition('dropped in a savepoint', 'T', '*=same', 'DO $f$ BEGIN DROP TABLE {tu}; RAISE division_by_zero; EXCEPTION WHEN OTHERS THEN NULL; END $f$',
	prepared => 1);
condition('a plain table instead', 'T', 'stat_reset=ok *=42809', 'DROP TABLE {tu}; CREATE TABLE {t} (key text); ALTER TABLE {t} OWNER TO guard_owner', warm => 1);
condition('a plain table instead, by number', 'T', 'stat_reset=ok *=42P01', 'DROP TABLE {tu}; CREATE TABLE {t} (key text)', target => '{oid}', warm => 1);
condition('made again', 'T', '*=same', "DROP TABLE {tu}; SELECT guard.make('{kind}')", warm => 1);
condition('made again, prepared', 'T', '*=same', "DROP TABLE {tu}; SELECT guard.make('{kind}')", prepared => 1);
condition('made again, by number', 'T', 'stat_reset=ok *=42P01', "DROP TABLE {tu}; SELECT guard.make('{kind}')", target => '{oid}', warm => 1);
condition('the second table dropped', 'P', 'register=42P01 allow_saga_function=same *=42809', 'DROP TABLE {u}', prepared => 1);
condition('the second table a plain one', 'P', 'register=42501 allow_saga_function=same *=42809', 'DROP TABLE {u}; CREATE TABLE {u} (id text)', prepared => 1);
condition('the second table renamed', 'P', 'register=42P01 *=same', "ALTER TABLE {u} RENAME TO other; UPDATE guard.kind SET u = 'app.other' WHERE kind = '{kind}'",
	prepared => 1);
condition('forgotten by pg_keep', 'T', 'register=ok stat_reset=ok *=42809', 'ALTER TABLE keep.relation DISABLE TRIGGER restored; DELETE FROM keep.relation;' .
	' ALTER TABLE {t} SET (fillfactor = 91)', prepared => 1, undo => 'ALTER TABLE keep.relation ENABLE ALWAYS TRIGGER restored');

# What is no table of that kind
my $no_table = 'stat_reset=ok *=42809';
foreach my $other (
	[ 'a view', 'CREATE VIEW app.x AS SELECT * FROM {t}' ], [ 'a materialized view', 'CREATE MATERIALIZED VIEW app.x AS SELECT * FROM {t}' ],
	[ 'a sequence', 'CREATE SEQUENCE app.x' ], [ 'a composite type', 'CREATE TYPE app.x AS (key text)' ],
	[ 'an index', 'CREATE INDEX x ON {t} (created_at)' ], [ 'a table of the same shape', 'CREATE TABLE app.x (LIKE {t} INCLUDING ALL)', undef, 'register=ok' ],
	[ 'a partitioned table', 'CREATE TABLE app.x (LIKE {t}) PARTITION BY HASH (created_at)' ],
	[ 'a partitioned index', 'CREATE TABLE app.y (LIKE {t}) PARTITION BY HASH (created_at); CREATE INDEX x ON app.y (created_at)' ],
	[ 'a foreign table', 'CREATE EXTENSION file_fdw; CREATE SERVER odd FOREIGN DATA WRAPPER file_fdw;' .
		'CREATE FOREIGN TABLE app.x (key text, value jsonb) SERVER odd OPTIONS (filename \'/dev/null\')' ],
	[ 'a temporary table', 'CREATE TEMP TABLE y (LIKE {t} INCLUDING ALL); ALTER TABLE y OWNER TO guard_owner; ', q('pg_temp.y'), 'register=0A000' ],
	[ 'an unlogged table', 'CREATE UNLOGGED TABLE app.x (LIKE {t} INCLUDING ALL)', ],
	[ 'a view with triggers', 'CREATE VIEW app.x AS SELECT * FROM {t}; CREATE FUNCTION guard.fire() RETURNS trigger LANGUAGE plpgsql AS ' .
		'$f$BEGIN RETURN NEW; END$f$; CREATE TRIGGER x INSTEAD OF INSERT OR UPDATE ON app.x FOR EACH ROW EXECUTE FUNCTION guard.fire()' ],
	[ 'a catalog', '', q('pg_catalog.pg_class') ], [ 'a shared catalog', '', q('pg_catalog.pg_authid') ], [ 'the catalog of pg_keep', '', q('keep.relation') ],
	[ 'a toast table', '', q((SELECT reltoastrelid::regclass FROM pg_class WHERE oid = '{t}'::regclass)) ],
	[ 'a system view', '', q('information_schema.tables') ], [ 'a statistics view', '', q('keep.stat_stores') ])
{
	my ($name, $sql, $target, $but) = @$other;
	condition($name, 'T', join(' ', $but // (), $no_table), "$sql;" . ($target ? '' : 'DO $f$ BEGIN EXECUTE (SELECT format(\'ALTER %s app.x OWNER TO guard_owner\', ' .
		'CASE relkind WHEN \'c\' THEN \'TYPE\' WHEN \'S\' THEN \'SEQUENCE\' WHEN \'v\' THEN \'VIEW\' WHEN \'m\' THEN \'MATERIALIZED VIEW\' ' .
		'WHEN \'f\' THEN \'FOREIGN TABLE\' WHEN \'r\' THEN \'TABLE\' WHEN \'p\' THEN \'TABLE\' END) FROM pg_class WHERE oid = \'app.x\'::regclass ' .
		'AND relkind NOT IN (\'i\', \'I\')); EXCEPTION WHEN null_value_not_allowed THEN NULL; END $f$'), target => $target // q('app.x'), role => 'none');
}
condition("the table of another kind: $_->[0]", $_->[1], 'stat_reset=ok *=42809', '', target => "'$_->[0]'")
  foreach ([ 'app.s', 'lrg' ], [ 'app.l', 'srg' ], [ 'app.r', 'slg' ], [ 'app.g', 'slr' ], [ 'app.l_transfers', 'T' ], [ 'app.g_steps', 'T' ]);
condition("number $_", 'T', 'stat_reset=ok *=42P01', '', target => "$_\::oid", role => 'none') foreach qw(0 1 4294967295);
condition("number $_, not a superuser", 'T', 'stat_reset=ok *=42P01', '', target => "$_\::oid") foreach qw(0 4294967295);
condition('NULL', 'T', 'expire=same expire_requests=same stat_reset=same *=22004', '', target => 'NULL');

# Where the call is made
my $immutable = 'merge_patch=change json_increment=change';
my $srf = join ' ', map { "$_=0A000" } qw(get_entry get_many get_and_touch put_many put_batch wait_for transfer_many transfer_batch
  verify_ledger statement claim_compensations store_statistics ledger_statistics reaper_statistics);
my $odd = 'relation_restored=same/42P16/42883 table_dropped=same/42P16/42883 table_altered=same/42P16/42883';
condition("in $_->[0]", $_->[3] // 'A', $_->[1], $_->[4] // '', wrap => $_->[2], warm => 1) foreach (
	[ 'a SECURITY DEFINER function', '*=same', 'SELECT guard.definer(%1$L)' ],
	[ 'a savepoint and again', '*=same', 'SELECT guard.twice(%1$L)' ],
	[ 'a cursor', '*=same', 'SELECT guard.fetched(%1$L)' ],
	[ 'a deferred trigger', '*=same', 'INSERT INTO guard.job VALUES (%1$L); SET CONSTRAINTS ALL IMMEDIATE; SELECT done FROM guard.job' ],
	[ 'a CHECK', "$srf *=change", 'CREATE TABLE app.c (n int CHECK ((%2$s) IS DISTINCT FROM NULL OR n = 1)); INSERT INTO app.c VALUES (1); SELECT 1' ],
	[ 'a default', "$srf *=change", 'CREATE TABLE app.c (n int, x text DEFAULT (%2$s)::text); INSERT INTO app.c VALUES (1); SELECT 1' ],
	[ 'a generated column', "$immutable $srf *=42P17", 'CREATE TABLE app.c (n int, x text GENERATED ALWAYS AS ((%2$s)::text) STORED); INSERT INTO app.c VALUES (1); SELECT 1' ],
	[ 'an index', "$immutable $srf *=42P17", 'CREATE TABLE app.c (n int); CREATE INDEX ON app.c (((%2$s) IS NULL)); INSERT INTO app.c VALUES (1); SELECT 1' ],
	[ 'a policy', "$srf *=change", 'CREATE TABLE app.c AS SELECT 1 AS n; ALTER TABLE app.c ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;' .
		'CREATE POLICY p ON app.c USING ((%2$s) IS DISTINCT FROM NULL OR n = 1); SELECT * FROM app.c' ],
	[ 'a view', '*=change', 'CREATE VIEW app.c AS SELECT (%2$s)::text AS c; SELECT count(c) FROM app.c' ],
	[ 'a WITH', '*=change', 'WITH c AS MATERIALIZED (SELECT %2$s AS c) SELECT count(c::text) FROM c' ],
	[ 'EXPLAIN ANALYZE', '*=change', 'EXPLAIN (ANALYZE, VERBOSE) SELECT %2$s' ],
	[ 'EXPLAIN', '*=ok', 'EXPLAIN (VERBOSE) SELECT %2$s' ],
	[ 'CREATE TABLE AS', '*=change', 'CREATE TABLE app.c AS SELECT (%2$s)::text AS c; SELECT 1' ],
	[ 'a materialized view', '*=change/42501', 'CREATE MATERIALIZED VIEW app.c AS SELECT (%2$s)::text AS c; SELECT 1' ],
	[ 'COPY', '*=change', 'COPY (%1$s) TO \'/dev/null\'; SELECT 1', 'A', 'GRANT pg_write_server_files TO guard_owner' ],
	[ 'a window and a FILTER', "$srf a=ok/39P01 *=ok", 'SELECT count(*) FILTER (WHERE (%2$s) IS NULL) OVER () FROM guard.one' ],
	[ 'LIMIT', "$srf *=change", 'SELECT 1 LIMIT ((%2$s) IS NULL)::int' ],
	[ 'ORDER BY', '*=change', 'SELECT (%2$s)::text AS x FROM guard.one ORDER BY 1' ]);
condition('a parallel worker', 'A', 'w=25000 *=same', 'SET LOCAL {parallel} = on; SELECT set_config(\'guard.leader\', pg_backend_pid()::text, true)',
	wrap => 'SELECT guard.in_worker(%1$L, current_setting(\'guard.leader\')) FROM guard.one', warm => 1);
condition('forced parallel mode', 'A', '*=same', 'SET LOCAL {parallel} = on', wrap => 'SELECT string_agg(x::text, chr(32)) FROM (%1$s) x', warm => 1);

# Columns, each of them in turn: the name of the change, the SQL, and which columns PostgreSQL refuses to change so, by which
# SQLSTATE
my @identities = qw(app.s.version app.r.token app.g_steps.token);
my @keys = qw(app.s.key app.l.id app.l.shard app.l_transfers.id app.r.key app.g.saga app.g_steps.saga app.g_steps.step);
our @column_changes = (
	[ 'dropped', 'ALTER TABLE {t} DROP COLUMN {c} CASCADE' ], [ 'renamed', 'ALTER TABLE {t} RENAME {c} TO odd' ],
	[ 'of another type', 'ALTER TABLE {t} ALTER {c} TYPE {other} USING {c}::text::{other}' ],
	[ 'of a domain', 'CREATE DOMAIN app.dom AS {type}; ALTER TABLE {t} ALTER {c} TYPE app.dom', map { "$_ 22023" } @identities ],
	[ 'generated', 'ALTER TABLE {t} DROP COLUMN {c} CASCADE; ALTER TABLE {t} ADD COLUMN {c} {type} GENERATED ALWAYS AS (NULL::{type}) STORED' ],
	[ 'null or not', 'ALTER TABLE {t} ALTER {c} DROP NOT NULL', (map { "$_ 42601" } @identities), map { "$_ 42P16" } @keys ]);

1;
