# Work under a lease, and the versions of a store, written down as they come; and what must be so of them.

package Watched;

use strict;
use warnings;

use Exporter 'import';
use Test::More;

our @EXPORT = qw(watch_leases check_leases watch_versions check_versions);

# CALL work(owner) works under the lease 'job' of this store, which lasts as long as this expression says. Often it
# is kept when the work is done.
sub watch_leases
{
	my ($node, $store, $lasts, $wait) = @_;
	$node->safe_psql('postgres', qq{
		CREATE TABLE work (nr bigint GENERATED ALWAYS AS IDENTITY, token bigint, owner text);
		CREATE PROCEDURE work(me text) LANGUAGE plpgsql AS \$\$
		DECLARE
			mine bigint;
		BEGIN
			mine := (SELECT token FROM keep.acquire('$store', 'job', me, $lasts, '$wait'));
			COMMIT;
			BEGIN
				PERFORM keep.assert_lease('$store', 'job', mine);
				PERFORM pg_sleep(0.01 * random());
				INSERT INTO work (token, owner) VALUES (mine, me);
			EXCEPTION WHEN SQLSTATE 'KP412' OR null_value_not_allowed THEN
				RETURN;
			END;
			COMMIT;
			IF random() < 0.6 THEN
				PERFORM keep.release('$store', 'job', mine);
			END IF;
		END \$\$});
	return;
}

# The work is in the order of the tokens, and a token has one owner.
sub check_leases
{
	my ($node) = @_;
	my $sql = sub { return $node->safe_psql('postgres', shift); };
	cmp_ok($sql->('SELECT count(DISTINCT owner) FROM work'), '>', 1, 'the lease has passed from hand to hand');
	is($sql->('SELECT count(*) FROM (SELECT token, lag(token) OVER (ORDER BY nr) AS before FROM work) AS w WHERE token < before'), '0',
		'no work was done under a stale token');
	is($sql->('SELECT count(*) FROM (SELECT FROM work GROUP BY token HAVING count(DISTINCT owner) > 1) AS t'), '0',
		'no two owners had the same token');
	return;
}

# An AFTER trigger runs under the row lock, so its order is the order of the writes.
sub watch_versions
{
	my ($node, $store) = @_;
	$node->safe_psql('postgres', qq{
		CREATE TABLE history (nr bigint GENERATED ALWAYS AS IDENTITY, xid xid8 DEFAULT pg_current_xact_id(), key text, version bigint);
		CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO history (key, version) VALUES (NEW.key, NEW.version); RETURN NULL; END';
		CREATE TRIGGER remember AFTER INSERT OR UPDATE OF version ON $store FOR EACH ROW EXECUTE FUNCTION remember()});
	return;
}

# What counts is how a transaction leaves the key.
sub check_versions
{
	my ($node) = @_;
	my $sql = sub { return $node->safe_psql('postgres', shift); };
	cmp_ok($sql->('SELECT count(*) FROM history'), '>', 500, 'enough was written to tell');
	is( $sql->(q{
		WITH last AS (SELECT DISTINCT ON (key, xid) key, nr, version FROM history ORDER BY key, xid, nr DESC),
			step AS (SELECT *, lag(version) OVER (PARTITION BY key ORDER BY nr) AS before FROM last)
		SELECT count(*) FROM step WHERE version <= before}), '0', 'the versions of each key strictly rise');
	is($sql->('SELECT count(*) - count(DISTINCT version) FROM history'), '0', 'and none is used twice');
	return;
}

1;
