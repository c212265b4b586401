# amcheck of every table and every B-tree index of a database, those of the system included.

package Amcheck;

use strict;
use warnings;

use Exporter 'import';
use Test::More;

our @EXPORT = qw(check_amcheck);

sub check_amcheck
{
	my ($node, $db, $name) = @_;
	my $found = $node->safe_psql($db, q{
		SET client_min_messages = warning;
		CREATE EXTENSION IF NOT EXISTS amcheck;
		CREATE FUNCTION pg_temp.check_index(i oid) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM bt_index_parent_check(i, heapallindexed => true);
			RETURN NULL;
		EXCEPTION WHEN OTHERS THEN
			RETURN i::regclass || ': ' || sqlerrm;
		END $$;
		SELECT c.oid::regclass || ': ' || v.msg FROM pg_class AS c, verify_heapam(c.oid) AS v
		WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence <> 't'
		UNION ALL
		SELECT e FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam JOIN pg_index AS i ON i.indexrelid = c.oid,
			pg_temp.check_index(c.oid) AS e
		WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisvalid AND e IS NOT NULL});
	is($found, '', ($name // $node->name) . ': amcheck finds nothing in ' .
		  $node->safe_psql($db, q{SELECT count(*) FILTER (WHERE relkind IN ('r', 't')) || ' tables and ' ||
			count(*) FILTER (WHERE relkind = 'i') || ' indexes' FROM pg_class}));
	return;
}

1;
