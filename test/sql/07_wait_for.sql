-- wait_for in one session: arguments, what it returns, what it refuses, rights, and what is
-- the transaction's own. It passes with and without shared_preload_libraries.
-- (What other sessions commit is in the isolation and TAP tests.)
\pset null '(null)'
\set VERBOSITY terse

SET default_transaction_isolation = 'read committed';
SET statement_timeout = '60s';
SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access', renew_after => '1 microsecond');

-- nothing there: one look, a short wait, and waits that pg_keep.max_wait cuts
SELECT * FROM keep.wait_for('s', 'k', 0, '0');
SELECT * FROM keep.wait_for('s', 'k', 0, '20 ms');
SET pg_keep.max_wait = 0;
SELECT count(*) AS "the default timeout, cut" FROM keep.wait_for('s', 'k');
SELECT count(*) AS "a day, cut" FROM keep.wait_for('s', 'k', 0, '1 day');
SET pg_keep.max_wait = '20 ms';
SELECT count(*) AS "a month, cut" FROM keep.wait_for('s', 'k', timeout => '1 month');
RESET pg_keep.max_wait;

-- there already: at once, whatever the timeout
SELECT version AS v FROM keep.put('s', 'k', '{"a": 1}') \gset
SELECT test.e(e), version = :v AS "its version" FROM keep.wait_for('s', 'k') e;
SELECT test.e(e) FROM keep.wait_for('s', 'k', 0, '0') e;
SELECT test.e(e) FROM keep.wait_for(store => 's', key => 'k', after_version => :v - 1, timeout => '50 s') e;
SELECT e = g AS "as get_entry says" FROM keep.wait_for('s', 'k') e, keep.get_entry('s', 'k') g;
SELECT status FROM keep.put('s', 'null', 'null');
SELECT test.e(e) FROM keep.wait_for('s', 'null') e;
-- a version that has been seen is waited past
SELECT count(*) FROM keep.wait_for('s', 'k', :v, '0');
SELECT count(*) FROM keep.wait_for('s', 'k', :v, '20 ms');
SELECT count(*) FROM keep.wait_for('s', 'k', 9223372036854775807, '20 ms');
-- a touch, an expiry removed and a condition that fails leave the version alone
SELECT (keep.touch('s', 'k', '2 hours')).status, (keep.persist('s', 'k')).status,
    (keep.put_if_absent('s', 'k', '2')).status AS "if absent", (keep.compare_and_swap('s', 'k', :v + 1, '2')).status AS swap;
SELECT count(*) AS "no news" FROM keep.wait_for('s', 'k', :v, '0');
SELECT (keep.merge('s', 'k', '{"b": 2}')).status;
SELECT value, version > :v AS higher FROM keep.wait_for('s', 'k', :v, '0');
-- a lease is an entry
SELECT token AS t FROM keep.acquire('s', 'lease', 'me', '1 hour') \gset
SELECT value, version = :t AS "the token" FROM keep.wait_for('s', 'lease', :t - 1, '0');
-- many keys, one after the other
SELECT k, e.value FROM unnest('{"null",none,lease,k}'::text[]) k LEFT JOIN LATERAL keep.wait_for('s', k, 0, '0') e ON true;
SELECT (keep.wait_for('s', 'k', 0, '0')).key AS "in the select list";

-- gone: expired, by the clock of pg_keep as well, deleted, truncated
SELECT test.lapse('s', 'k');
SELECT count(*) AS "expired" FROM keep.wait_for('s', 'k', 0, '0');
SELECT count(*) AS "expired" FROM keep.wait_for('s', 'k', 0, '20 ms');
SELECT (keep.put('s', 'k', '3')).status;
SELECT version AS v, value FROM keep.wait_for('s', 'k', :v, '0') \gset
SET pg_keep.test_clock_offset = 7200000;
SELECT count(*) AS "two hours on" FROM keep.wait_for('s', 'k', 0, '20 ms');
RESET pg_keep.test_clock_offset;
SELECT (keep.delete('s', 'k')).status;
SELECT count(*) AS "deleted" FROM keep.wait_for('s', 'k', 0, '20 ms');
SELECT (keep.put('s', 'k', '4')).status;
SELECT value, version > :v AS "higher than before" FROM keep.wait_for('s', 'k', :v, '0');
TRUNCATE s;
SELECT count(*) AS "truncated" FROM keep.wait_for('s', 'k', 0, '0');

-- an entry of hashed keys bears the key as given; an unlogged store; long keys and short
SELECT keep.create_store('h', hash_keys => true, persistence => 'unlogged');
SELECT count(*) FROM keep.put_many('h', ARRAY['secret', repeat('x', 1024), 'ü', ' '], '{1,2,3,4}');
SELECT left(e.key, 10) AS key, length(e.key), value
FROM unnest(ARRAY['secret', repeat('x', 1024), 'ü', ' ', 'none']) k, keep.wait_for('h', k, 0, '0') e;
SELECT count(*) AS "the hash is no key" FROM h, keep.wait_for('h', h.key, 0, '0');

-- mistakes
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate(format('SELECT keep.wait_for(%s)', c)) FROM (VALUES
    ($$NULL, 'k'$$),
    ($$'s', NULL$$),
    ($$'s', 'k', NULL$$),
    ($$'s', 'k', 0, NULL$$),
    ($$'s', ''$$),
    ($$'s', repeat('x', 1025)$$),
    ($$'s', 'k', -1$$),
    ($$'s', 'k', 0, '-1 s'$$),
    ($$'s', 'k', 0, '1 day -25 hours'$$),
    ($$'none', 'k'$$),
    ($$'test.call', 'k'$$),
    ($$'keep.relation', 'k', 0, '0'$$)
) v(c);
\pset tuples_only off
\pset format aligned
SELECT test.code($$SELECT keep.wait_for('s', 'k', timeout => 5)$$) AS "a number is no timeout";
SELECT keep.create_ledger('l');
SELECT test.code($$SELECT keep.wait_for('l', 'k')$$) AS "a ledger", test.code($$SELECT keep.wait_for('l_transfers', 'k')$$);
-- mistakes are found where nothing has to be waited for, too
SELECT (keep.put('s', 'k', '1')).status;
SELECT test.code($$SELECT keep.wait_for('s', 'k', 0, '-1 s')$$), test.code($$SELECT keep.wait_for('s', 'k', -1)$$);

-- a snapshot that stands still: no waiting, also where the entry is there; a look is allowed
\pset format unaligned
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.sqlstate($$SELECT keep.wait_for('s', 'none', 0, '1 s')$$);
SELECT test.code($$SELECT keep.wait_for('s', 'k')$$) AS "there, and the default timeout";
SELECT test.code($$SET LOCAL pg_keep.max_wait = 0; SELECT keep.wait_for('s', 'k')$$) AS "whatever the cap";
SELECT value FROM keep.wait_for('s', 'k', 0, '0');
SELECT count(*) FROM keep.wait_for('s', 'none', 0, '0');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.sqlstate($$SELECT keep.wait_for('s', 'none', 0, '1 s')$$);
SELECT value FROM keep.wait_for('s', 'k', 0, '0');
ROLLBACK;
\pset format aligned

-- nothing is written: a read-only transaction may wait
BEGIN READ ONLY;
SELECT value FROM keep.wait_for('s', 'k');
SELECT count(*) FROM keep.wait_for('s', 'none', 0, '20 ms');
COMMIT;
SELECT test.writes('s', $$SELECT keep.wait_for('s', 'k')$$), pg_current_xact_id_if_assigned() IS NULL AS "no transaction id";

-- what the transaction itself has done counts; what it took back does not
BEGIN;
SELECT (keep.put('s', 'own', '1')).status;
SELECT value FROM keep.wait_for('s', 'own');
SAVEPOINT a;
SELECT version AS v FROM keep.put('s', 'own', '2') \gset
SELECT value FROM keep.wait_for('s', 'own', :v - 1);
ROLLBACK TO a;
SELECT value FROM keep.wait_for('s', 'own', 0, '0');
SELECT count(*) FROM keep.wait_for('s', 'own', :v - 1, '20 ms');
SELECT (keep.delete('s', 'k')).status;
SELECT count(*) AS "its own delete" FROM keep.wait_for('s', 'k', 0, '20 ms');
ROLLBACK;
SELECT count(*) AS "rolled back" FROM keep.wait_for('s', 'own', 0, '20 ms');
SELECT value FROM keep.wait_for('s', 'k', 0, '0');
-- also what an earlier call in the same statement did
SELECT a.status, b.value FROM keep.put('s', 'same', '5') a, LATERAL keep.wait_for('s', coalesce('same', a.status), 0, '0') b;

-- in functions, in blocks that catch errors, in savepoints; again after each
CREATE FUNCTION test.waited(k text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SELECT value::text INTO result FROM keep.wait_for('s', k, 0, '5 ms');
    IF result IS NULL THEN
        RAISE EXCEPTION 'nothing came' USING ERRCODE = 'XX999';
    END IF;
    RETURN result;
EXCEPTION WHEN SQLSTATE 'XX999' THEN
    RETURN coalesce((SELECT value FROM keep.wait_for('s', 'k', 0, '0'))::text, 'no') || ' instead';
END $$;
SELECT test.waited('none'), test.waited('same'), test.waited('none');
BEGIN;
SAVEPOINT a;
SELECT test.waited('none');
SAVEPOINT b;
SELECT 1 / (version - version) FROM keep.wait_for('s', 'k');
ROLLBACK TO b;
SELECT test.waited('same');
ROLLBACK TO a;
SELECT test.waited('none');
COMMIT;
DROP FUNCTION test.waited(text);

-- rights: SELECT, be it on the columns of an entry, and nothing else
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.wait_for('s', 'k', 0, '0')$$) AS "no right";
RESET ROLE;
GRANT INSERT, UPDATE, DELETE ON s TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.wait_for('s', 'k', 0, '0')$$) AS "all but SELECT", test.code($$SELECT keep.wait_for('s', 'none')$$);
RESET ROLE;
REVOKE ALL ON s FROM regress_keep_user;
GRANT SELECT (key, value, version, created_at, updated_at, expires_at) ON s TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT value FROM keep.wait_for('s', 'k');
RESET ROLE;
REVOKE ALL ON s FROM regress_keep_user;
GRANT SELECT ON s TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT value FROM keep.wait_for('s', 'k');
SELECT count(*) FROM keep.wait_for('s', 'none', 0, '20 ms');
RESET ROLE;

-- row security: what is hidden is absent; an error that comes up at a later look passes through,
-- and the next wait is as any other
ALTER TABLE s ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON s USING (key <> 'k');
SET ROLE regress_keep_user;
SELECT count(*) AS hidden FROM keep.wait_for('s', 'k', 0, '20 ms');
SELECT value AS "not hidden" FROM keep.wait_for('s', 'same', 0, '20 ms');
RESET ROLE;
DROP POLICY mine ON s;
CREATE SEQUENCE looks;
GRANT USAGE ON looks TO regress_keep_user;
CREATE POLICY tired ON s USING (CASE WHEN key = 'k' THEN 1 / (2 - nextval('looks')) < 0 ELSE true END);
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.wait_for('s', 'k', 0, '20 ms')$$) AS "at the second look";
SELECT value FROM keep.wait_for('s', 'k', 0, '20 ms');
SELECT currval('looks') > 2 AS "and again";
RESET ROLE;
DROP POLICY tired ON s;

SELECT test.sound('s');
DROP TABLE s, h, l, l_transfers;
DROP SEQUENCE looks;
