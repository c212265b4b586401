-- reap_at and expire(): the invariant after every kind of write, touches that leave the
-- index alone, the bounded clean-up that deletes the expired and moves the others.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access');

-- the invariant, write by write: first expiry, shorter expiry, longer one, none
CREATE FUNCTION test.reap(k text) RETURNS text LANGUAGE sql AS $$
    SELECT 'expires ' || test.left(expires_at) || ', reaped ' || test.left(reap_at) FROM s WHERE key = k
$$;
SELECT test.o(keep.put('s', 'k', '1', '2 hours')), test.sound('s');
SELECT test.reap('k') AS "created";
SELECT test.o(keep.put('s', 'k', '1', '3 hours')), test.sound('s');
SELECT test.reap('k') AS "longer: reap_at stays";
SELECT test.o(keep.put('s', 'k', '1', '30 min')), test.sound('s');
SELECT test.reap('k') AS "shorter: it follows";
SELECT test.o(keep.touch('s', 'k', '5 hours')), test.sound('s');
SELECT test.reap('k') AS "touched: stays";
SELECT e.value, test.sound('s') FROM keep.get_and_touch('s', 'k', '6 hours') e;
SELECT test.reap('k') AS "stays";
SELECT test.o(keep.persist('s', 'k')), test.sound('s');
SELECT expires_at IS NULL AS persisted FROM s WHERE key = 'k';
SELECT test.o(keep.increment('s', 'k', 1, '{}', '20 min')), test.sound('s');
SELECT test.reap('k') AS "first expiry";
SELECT test.o(keep.merge('s', 'k', '7')), test.sound('s');
SELECT version AS v FROM s WHERE key = 'k' \gset
SELECT test.o(keep.compare_and_swap('s', 'k', :v, '8', '10 min')), test.sound('s');
SELECT test.reap('k') AS "shorter";
SELECT test.e(e), test.sound('s') FROM keep.put_many('s', '{k,new}', '{1,2}', '5 min') e;
SELECT test.reap('k') AS "shorter", test.reap('new') AS created;
SELECT test.e(e), test.sound('s') FROM keep.put_batch('s', '{"k": 1}', '4 min') e;
SELECT test.reap('k') AS "shorter";
SELECT test.o(keep.put_if_absent('s', 'a', '1')), test.sound('s');
SELECT test.reap('a') AS created;
SELECT token AS t FROM keep.acquire('s', 'l', 'me', '1 hour') \gset
SELECT test.reap('l') AS acquired;
SELECT (keep.renew('s', 'l', :t, '10 min')).status, test.sound('s');
SELECT test.reap('l') AS "renewed, shorter";
SELECT (keep.renew('s', 'l', :t, '2 hours')).status, test.sound('s');
SELECT test.reap('l') AS "renewed, longer";
-- expired, and started anew by each
SELECT test.lapse('s', key) IS NOT NULL AS lapsed FROM s WHERE key IN ('k', 'a', 'l', 'new');
SELECT test.o(keep.put('s', 'k', '1')), test.o(keep.put_if_absent('s', 'a', '1')),
    test.o(keep.increment('s', 'new')), (keep.acquire('s', 'l', 'you', '2 hours')).acquired;
SELECT key, test.left(expires_at), reap_at <= expires_at AS sound FROM s ORDER BY key;
SELECT test.sound('s');
DROP FUNCTION test.reap(text);

-- persisted under a cap, and the options that change a life
SELECT keep.set_store_option('s', 'max_lifetime', '30 min');
SELECT test.o(keep.persist('s', 'k')), test.sound('s');
SELECT test.o(keep.put('s', 'a', '1')), test.sound('s');
SELECT keep.set_store_option('s', 'max_lifetime', NULL);

-- touches leave the index alone: HOT
SELECT keep.create_store('hot', ttl => '1 hour', expire_after => 'access', renew_after => '1 microsecond');
SELECT (keep.put('hot', 'k', '1')).status AS put;
CREATE FUNCTION test.hot(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    upd bigint := pg_stat_get_xact_tuples_updated('hot'::regclass);
    hot bigint := pg_stat_get_xact_tuples_hot_updated('hot'::regclass);
BEGIN
    FOR i IN 1 .. 10 LOOP
        EXECUTE stmt;
    END LOOP;
    RETURN format('%s updates, %s HOT', pg_stat_get_xact_tuples_updated('hot'::regclass) - upd,
        pg_stat_get_xact_tuples_hot_updated('hot'::regclass) - hot);
END $$;
SELECT test.hot($$SELECT keep.touch('hot', 'k')$$) AS touch, test.hot($$SELECT keep.get_and_touch('hot', 'k')$$) AS get_and_touch,
    test.hot($$SELECT keep.put('hot', 'k', '2')$$) AS put, test.hot($$SELECT keep.merge('hot', 'k', '3')$$) AS merge,
    test.hot($$SELECT keep.increment('hot', 'k')$$) AS increment, test.hot($$SELECT keep.persist('hot', 'k')$$) AS persist;
DROP FUNCTION test.hot(text);
DROP TABLE hot;

-- expire(): deletes what has expired, and nothing else
DELETE FROM s;
SELECT count(keep.put('s', 'dead ' || i, '1')) FROM generate_series(1, 5) i;
SELECT count(keep.put('s', 'live ' || i, '1')) FROM generate_series(1, 5) i;
SELECT test.o(keep.put('s', 'for ever', '1')), test.o(keep.persist('s', 'for ever'));
SELECT keep.expire('s') AS "nothing has expired";
SELECT count(test.lapse('s', key)) FROM s WHERE key LIKE 'dead%';
SELECT keep.expire('s', 2) AS "two at a time";
SELECT count(*) FILTER (WHERE key LIKE 'dead%') AS dead, count(*) FILTER (WHERE key LIKE 'live%') AS live FROM s;
SELECT keep.expire('s', 2), keep.expire('s', 2), keep.expire('s', 2);
SELECT count(*) FILTER (WHERE key LIKE 'dead%') AS dead, count(*) FILTER (WHERE key LIKE 'live%') AS live, count(*) FROM s;

-- live ones past their reap_at are moved, not deleted, and looked at no more
SELECT count(keep.touch('s', key, '2 hours')) FROM s WHERE key LIKE 'live%';
SELECT count(*) AS "reap_at before expires_at" FROM s WHERE reap_at < expires_at;
SET pg_keep.test_clock_offset = 3660000;
SELECT keep.expire('s');
SELECT count(*) AS "reap_at before expires_at" FROM s WHERE reap_at < expires_at;
SELECT test.writes('s', $$SELECT keep.expire('s')$$);
SELECT count(*) AS live FROM keep.get_many('s', (SELECT array_agg(key) FROM s));
SET pg_keep.test_clock_offset = 7260000;
SELECT keep.expire('s');
SELECT key FROM s;
RESET pg_keep.test_clock_offset;
SELECT test.sound('s');

-- a batch full of live ones must not hide the dead behind them
DELETE FROM s;
SELECT count(keep.put('s', 'live ' || i, '1', '1 min')) FROM generate_series(1, 20) i;
SELECT count(keep.touch('s', key, '10 hours')) FROM s;
SELECT count(keep.put('s', 'dead ' || i, '1', '2 min')) FROM generate_series(1, 3) i;
SET pg_keep.test_clock_offset = 180000;
SELECT keep.expire('s', 5) AS first \gset
SELECT :first > 0 AS "0 would mean: nothing left", :first + keep.expire('s', 5) AS "in two calls";
SELECT count(*) FILTER (WHERE key LIKE 'dead%') AS dead, count(*) FILTER (WHERE key LIKE 'live%') AS live FROM s;
RESET pg_keep.test_clock_offset;

-- rows persisted or renewed after they were found due stay
DELETE FROM s;
SELECT (keep.put('s', 'k', '1', '1 min')).status AS put;
SELECT test.o(keep.persist('s', 'k'));
SET pg_keep.test_clock_offset = 180000;
SELECT keep.expire('s'), keep.get('s', 'k');
SELECT keep.expire('s'), test.writes('s', $$SELECT keep.expire('s')$$);
RESET pg_keep.test_clock_offset;

-- rows that plain SQL wrote: reaped by reap_at
INSERT INTO s (key, value, created_at, updated_at, expires_at, reap_at)
VALUES ('by hand', '1', now(), now(), now() - interval '1 min', now() - interval '2 min');
SELECT keep.get('s', 'by hand'), keep.expire('s');

-- arguments
SELECT test.sqlstate($$SELECT keep.expire('s', 0)$$);
SELECT test.sqlstate($$SELECT keep.expire('s', -1)$$);
SELECT test.sqlstate($$SELECT keep.expire('s', NULL)$$);
SELECT test.sqlstate($$SELECT keep.expire('s', 2147483647)$$);
SELECT keep.expire(store => 's', batch => 10);

-- expire(): every store of the caller's, in one call; the batch bounds the whole
SELECT keep.create_store('t');
SELECT keep.create_store('hidden');
SELECT count(keep.put(x, 'dead ' || i, '1')) FROM unnest('{s,t,hidden}'::regclass[]) x, generate_series(1, 4) i;
SELECT count(test.lapse(x, 'dead ' || i)) FROM unnest('{s,t,hidden}'::regclass[]) x, generate_series(1, 4) i;
ALTER TABLE s OWNER TO regress_keep_user;
ALTER TABLE t OWNER TO regress_keep_user;
GRANT ALL ON hidden TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT keep.expire(NULL, 3);
SELECT keep.expire(NULL, 3) + keep.expire(NULL, 3) + keep.expire(NULL, 3);
SELECT keep.expire(), keep.expire(NULL), keep.expire();
SELECT (SELECT count(*) FROM s WHERE key LIKE 'dead%') AS s, (SELECT count(*) FROM t) AS t;
RESET ROLE;
SELECT count(*) AS "not the caller's" FROM hidden;
SET ROLE regress_keep_nobody;
SELECT keep.expire() AS "no rights anywhere";
RESET ROLE;
SELECT keep.expire();
SELECT count(*) FROM hidden;
-- a table that lost its shape is passed over
SELECT count(keep.put(x, 'dead', '1')) FROM unnest('{s,t,hidden}'::regclass[]) x;
SELECT count(test.lapse(x, 'dead')) FROM unnest('{s,t,hidden}'::regclass[]) x;
ALTER TABLE s DROP COLUMN created_at;
SELECT keep.expire();
SELECT test.code($$SELECT keep.expire('s')$$) AS "asked for by name";
BEGIN READ ONLY;
SELECT test.code('SELECT keep.expire()') AS "read-only: refused also where there is nothing to do";
COMMIT;

DROP TABLE s, t, hidden;
SELECT keep.expire() AS "no store at all";
