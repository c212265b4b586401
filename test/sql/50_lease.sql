-- Leases in one session: acquire, renew, release, assert_lease, every edge. The token is the
-- entry's version: it rises from holder to holder, renewing keeps it.
-- (Two sessions are in the isolation tests.)
\pset null '(null)'
\set VERBOSITY terse

SET default_transaction_isolation = 'read committed';
SET statement_timeout = '60s';
SELECT keep.create_store('s');
CREATE FUNCTION test.l(store regclass, name text, owner text, ttl interval, wait interval = '0') RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', CASE WHEN acquired THEN 'acquired' WHEN NOT acquired THEN 'not acquired' ELSE 'acquired?' END,
        CASE WHEN token > 0 THEN 'token' WHEN token IS NULL THEN 'no token' ELSE 'token?' END,
        coalesce(owner, 'owner?'), test.left(expires_at))
    FROM keep.acquire($1, $2, $3, $4, $5)
$$;

-- free
SELECT * FROM keep.acquire('s', 'job', 'a', '10 min') \gset a_
SELECT :'a_acquired' AS acquired, :a_token > 0 AS token, :'a_owner' AS owner, test.left(:'a_expires_at');
-- the token is the entry's version; the value names the owner
SELECT version = :a_token AS token, value, expires_at = :'a_expires_at' AS expiry FROM s WHERE key = 'job';
SELECT test.e(e) FROM keep.get_entry('s', 'job') e;
-- held by another
SELECT test.l('s', 'job', 'b', '10 min');
SELECT test.writes('s', $$SELECT keep.acquire('s', 'job', 'b', '10 min')$$);
SELECT token, owner FROM keep.acquire('s', 'job', 'b', '10 min');
-- the same owner again: a lost reply is harmless
SELECT acquired, token = :a_token AS "same token", owner, test.left(expires_at) FROM keep.acquire('s', 'job', 'a', '10 min');
SELECT acquired, token = :a_token AS "same token", test.left(expires_at) AS longer FROM keep.acquire('s', 'job', 'a', '20 min');
SELECT acquired, token = :a_token AS "same token", test.left(expires_at) AS "never shorter" FROM keep.acquire('s', 'job', 'a', '5 min');
SELECT version = :a_token AS "on disk too" FROM s WHERE key = 'job';
-- owners are compared exactly
SELECT test.l('s', 'job', 'A', '10 min'), test.l('s', 'job', 'a ', '10 min'), test.l('s', 'job', '"a"', '10 min');
-- renew: the token stays; it may shorten
SELECT status, applied, version = :a_token AS "same token", test.left(expires_at) FROM keep.renew('s', 'job', :a_token, '30 min');
SELECT status, applied, version = :a_token AS "same token", test.left(expires_at) FROM keep.renew('s', 'job', :a_token, '10 min');
SELECT test.o(keep.renew('s', 'job', :a_token, '10 min')), test.o(keep.renew('s', 'job', :a_token + 1, '10 min')),
    test.o(keep.renew('s', 'none', :a_token, '10 min'));
SELECT updated_at = created_at AS "renewing is no update" FROM s WHERE key = 'job';
-- assert_lease
SELECT keep.assert_lease('s', 'job', :a_token);
SELECT test.code(format($$SELECT keep.assert_lease('s', 'job', %s)$$, :a_token + 1)) AS "another token";
SELECT (keep.put('s', 'other', '1')).status AS put;
\pset format unaligned
\pset tuples_only on
SELECT regexp_replace(test.sqlstate(format($$SELECT keep.assert_lease('s', 'job', %s)$$, :a_token + 1)), 'token \d+', 'token $t', 'g');
SELECT test.sqlstate($$SELECT keep.assert_lease('s', 'none', 1)$$);
\pset tuples_only off
\pset format aligned
BEGIN;
SELECT keep.assert_lease('s', 'job', :a_token);
SELECT count(*) AS "the row is locked" FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 's'::regclass AND mode = 'RowShareLock';
SELECT test.writes('s', format($$SELECT keep.assert_lease('s', 'job', %s)$$, :a_token)) AS "nothing is written";
COMMIT;
-- release
SELECT test.o(keep.release('s', 'job', :a_token + 1)), test.o(keep.release('s', 'none', :a_token));
SELECT applied, status, version = :a_token AS "the token it had", value FROM keep.release('s', 'job', :a_token);
SELECT test.o(keep.release('s', 'job', :a_token)) AS again, test.o(keep.renew('s', 'job', :a_token, '1 min')) AS renew;
SELECT count(*) FROM s WHERE key = 'job';
SELECT test.code(format($$SELECT keep.assert_lease('s', 'job', %s)$$, :a_token)) AS "after release";

-- fencing: the token rises from holder to holder, also the same one
SELECT token AS t1 FROM keep.acquire('s', 'job', 'a', '10 min') \gset
SELECT :t1 > :a_token AS "after release";
SELECT test.lapse('s', 'job');
SELECT token AS t2 FROM keep.acquire('s', 'job', 'a', '10 min') \gset
SELECT :t2 > :t1 AS "after expiry, the same owner";
SELECT test.lapse('s', 'job');
SELECT token AS t3, owner FROM keep.acquire('s', 'job', 'b', '10 min') \gset
SELECT :t3 > :t2 AS "taken over", :'owner' AS owner;
SELECT test.o(keep.renew('s', 'job', :t2, '10 min')) AS "the old holder", test.o(keep.release('s', 'job', :t2));
SELECT test.code(format($$SELECT keep.assert_lease('s', 'job', %s)$$, :t2)) AS "the old holder", test.code(format($$SELECT keep.assert_lease('s', 'job', %s)$$, :t3)) AS "the new";
SELECT test.lapse('s', 'job');
SELECT keep.expire('s');
SELECT token AS t4 FROM keep.acquire('s', 'job', 'a', '10 min') \gset
SELECT :t4 > :t3 AS "after clean-up";
-- an expired lease: no renewing, no release, no assert, before anybody takes over
SELECT test.lapse('s', 'job');
SELECT test.o(keep.renew('s', 'job', :t4, '10 min')), test.o(keep.release('s', 'job', :t4)),
    test.code(format($$SELECT keep.assert_lease('s', 'job', %s)$$, :t4));
SELECT test.left(expires_at) <> '10 min' AS "not revived" FROM s WHERE key = 'job' UNION ALL SELECT true WHERE NOT EXISTS (SELECT FROM s WHERE key = 'job');

-- names and owners
SELECT test.l('s', 'quoted', 'it''s "me" \ {} null', '1 min'), test.l('s', 'quoted', 'it''s "me" \ {} null', '1 min');
SELECT value FROM s WHERE key = 'quoted';
\pset format unaligned
\pset tuples_only on
SELECT c, test.sqlstate(format('SELECT keep.%s', c)) FROM (VALUES
    ($$acquire('s', '', 'me', '1 min')$$),
    ($$acquire('s', 'x', '', '1 min')$$),
    ($$acquire('s', 'x', 'me', '0')$$),
    ($$acquire('s', 'x', 'me', '-1 min')$$),
    ($$acquire('s', 'x', 'me', '1 min', '-1 s')$$),
    ($$acquire('s', 'x', 'me', '300000 years')$$),
    ($$renew('s', 'x', 1, '0')$$),
    ($$renew('s', 'x', 1, '-1 min')$$),
    ($$renew('s', 'x', 0, '1 min')$$),
    ($$renew('s', 'x', -1, '1 min')$$),
    ($$release('s', 'x', 0)$$),
    ($$release('s', 'x', -1)$$),
    ($$assert_lease('s', 'x', 0)$$),
    ($$assert_lease('s', 'x', -1)$$)
) v(c);
\pset tuples_only off
\pset format aligned

-- an entry under the name that is no lease is in the way, and stays
SELECT version AS v FROM keep.put('s', 'data', '{"not": "a lease"}', '1 hour') \gset
SELECT acquired, token, owner, test.left(expires_at) FROM keep.acquire('s', 'data', 'me', '10 min');
SELECT test.o(keep.put('s', 'text', '"me"')), test.o(keep.put('s', 'null', 'null')), test.o(keep.put('s', 'odd', '{"owner": 5}'));
SELECT acquired, token, owner FROM unnest('{text,"null",odd}'::text[]) k, keep.acquire('s', k, 'me', '10 min');
SELECT key, value FROM s WHERE key IN ('data', 'text', 'null', 'odd') ORDER BY key;
-- expired, it is in nobody's way
SELECT test.lapse('s', 'data');
SELECT test.l('s', 'data', 'me', '10 min');
SELECT value FROM s WHERE key = 'data';

-- other functions on a lease: delete frees it, put makes the token stale
SELECT token AS t FROM keep.acquire('s', 'mixed', 'a', '10 min') \gset
SELECT (keep.touch('s', 'mixed', '20 min')).status, test.code(format($$SELECT keep.assert_lease('s', 'mixed', %s)$$, :t)) AS "touch keeps the token";
SELECT (keep.put('s', 'mixed', '{"owner": "a"}')).status, test.code(format($$SELECT keep.assert_lease('s', 'mixed', %s)$$, :t)) AS "put does not";
SELECT (keep.delete('s', 'mixed')).status;
SELECT test.l('s', 'mixed', 'b', '10 min');

-- wait: a held lease is waited for no longer than that, and never where nothing can change
SELECT token AS t FROM keep.acquire('s', 'w', 'a', '10 min') \gset
SELECT clock_timestamp() AS started \gset
SELECT test.l('s', 'w', 'b', '10 min', '300 ms');
SELECT clock_timestamp() - :'started' BETWEEN '300 ms' AND '5 s' AS "about that long";
SELECT clock_timestamp() AS started \gset
SELECT test.l('s', 'w', 'a', '10 min', '10 s') AS "one's own", test.l('s', 'w2', 'b', '10 min', '10 s') AS "a free one";
SELECT clock_timestamp() - :'started' < '5 s' AS "at once";
-- it ends while we wait
SELECT (keep.renew('s', 'w', :t, '400 ms')).status;
SELECT test.l('s', 'w', 'b', '10 min', '20 s');
SELECT clock_timestamp() - :'started' < '10 s' AS "as soon as it is over";
SELECT token > :t AS rises FROM keep.acquire('s', 'w', 'b', '10 min');
-- pg_keep.max_wait caps it
SET pg_keep.max_wait = '200ms';
SELECT clock_timestamp() AS started \gset
SELECT test.l('s', 'w', 'c', '10 min', '1 hour');
SELECT clock_timestamp() - :'started' BETWEEN '200 ms' AND '10 s' AS "capped";
RESET pg_keep.max_wait;
-- it answers to a cancel
SET statement_timeout = '200ms';
SELECT keep.acquire('s', 'w', 'c', '10 min', '1 hour');
SET statement_timeout = '60s';
-- needs READ COMMITTED
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.sqlstate($$SELECT keep.acquire('s', 'w', 'c', '10 min', '1 s')$$);
SELECT test.sqlstate($$SELECT keep.acquire('s', 'free', 'c', '10 min', '1 s')$$) LIKE '0A000%' AS "also where it is free";
SELECT test.l('s', 'w', 'c', '10 min', '0') AS "no waiting: fine", test.l('s', 'free', 'c', '10 min');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.code($$SELECT keep.acquire('s', 'w', 'c', '10 min', '1 s')$$);
SELECT test.l('s', 'w', 'c', '10 min');
ROLLBACK;

-- in one transaction: what it did itself counts
BEGIN;
SELECT token AS t FROM keep.acquire('s', 'tx', 'a', '10 min') \gset
SELECT keep.assert_lease('s', 'tx', :t);
SELECT test.l('s', 'tx', 'b', '10 min'), test.l('s', 'tx', 'a', '10 min');
SELECT (keep.release('s', 'tx', :t)).status, test.l('s', 'tx', 'b', '10 min');
ROLLBACK;
SELECT test.l('s', 'tx', 'c', '10 min') AS "rolled back: free";

-- the store's own ttl does not lengthen a lease; max_lifetime caps it, renewals too
SELECT keep.create_store('t', ttl => '1 hour', expire_after => 'access', max_lifetime => '90 min');
SELECT token AS t FROM keep.acquire('t', 'l', 'a', '10 min') \gset
SELECT test.left(expires_at) FROM t;
SELECT test.left((keep.renew('t', 'l', :t, '5 hours')).expires_at) AS renewed;
SELECT test.left(expires_at), expires_at = created_at + interval '90 min' AS exact FROM t;
SELECT test.l('t', 'm', 'a', '5 hours');
SELECT keep.set_store_option('t', 'expire_after', 'create');
SELECT test.left((keep.renew('t', 'l', :t, '20 min')).expires_at) AS "renewed under create as well";
-- of unlogged stores and with hashed keys the same
SELECT keep.create_store('h', hash_keys => true, persistence => 'unlogged');
SELECT token AS t FROM keep.acquire('h', 'l', 'a', '10 min') \gset
SELECT test.l('h', 'l', 'b', '10 min'), test.o(keep.renew('h', 'l', :t, '20 min')), test.o(keep.release('h', 'l', :t));

SELECT test.sound('s'), test.sound('t'), test.sound('h');
DROP FUNCTION test.l(regclass, text, text, interval, interval);
DROP TABLE s, t, h;
