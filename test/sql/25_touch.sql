-- touch, get_and_touch and persist: never revive, never shorten, never change version,
-- value or updated_at; write when due and not before.
\pset null '(null)'
\set VERBOSITY terse

-- a session store: one hour, sliding; due after a tenth of it
SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access');
SELECT test.o(keep.touch('s', 'none')), (SELECT count(*) FROM keep.get_and_touch('s', 'none'));
SELECT * FROM keep.put('s', 'k', '{"user": 1}') \gset p_
SELECT updated_at AS u, created_at AS c, reap_at AS r FROM s \gset
SELECT test.o(keep.touch('s', 'k')) AS "not due";
SELECT version = :p_version AS same_version, expires_at = :'p_expires_at' AS same_expiry FROM keep.touch('s', 'k');
SELECT test.e(e) FROM keep.get_and_touch('s', 'k') e;
SELECT test.writes('s', $$SELECT keep.touch('s', 'k')$$) AS touch,
    test.writes('s', $$SELECT keep.get_and_touch('s', 'k')$$) AS get_and_touch;
-- just before a tenth, and just after
SET pg_keep.test_clock_offset = 355000;
SELECT test.writes('s', $$SELECT keep.touch('s', 'k')$$) AS "5:55", test.writes('s', $$SELECT keep.get_and_touch('s', 'k')$$);
SET pg_keep.test_clock_offset = 361000;
SELECT test.writes('s', $$SELECT keep.get_and_touch('s', 'k')$$) AS "6:01", test.writes('s', $$SELECT keep.touch('s', 'k')$$) AS "and not twice";
SELECT test.e(e) FROM keep.get_and_touch('s', 'k') e;
SET pg_keep.test_clock_offset = 3000000;
SELECT version = :p_version AS same_version, test.o(o) FROM keep.touch('s', 'k') o;
SELECT value = '{"user": 1}' AS same_value, version = :p_version AS same_version, updated_at = :'u' AS same_update,
    created_at = :'c' AS same_creation, reap_at = :'r' AS same_reap_at, test.left(expires_at) FROM s;
-- kept alive for hours, past the first life's end
SET pg_keep.test_clock_offset = 6000000;
SELECT test.e(e) FROM keep.get_and_touch('s', 'k') e;
SELECT e.version = :p_version AS same_version, e.updated_at = :'u' AS same_update FROM keep.get_and_touch('s', 'k') e;
SELECT reap_at = :'r' AS same_reap_at FROM s;
SET pg_keep.test_clock_offset = 9000000;
SELECT test.o(keep.touch('s', 'k'));
-- not touched in time: gone, and no touch revives it
SET pg_keep.test_clock_offset = 12700000;
SELECT test.o(keep.touch('s', 'k')), (SELECT count(*) FROM keep.get_and_touch('s', 'k')),
    test.o(keep.touch('s', 'k', '1 day')), (SELECT count(*) FROM keep.get_and_touch('s', 'k', '1 day'));
SELECT test.writes('s', $$SELECT keep.touch('s', 'k', '1 day'), keep.get_and_touch('s', 'k', '1 day'), keep.persist('s', 'k')$$);
RESET pg_keep.test_clock_offset;
SELECT test.left(expires_at) AS "the row is as it was" FROM s;

-- an explicit ttl: applies whenever it lengthens, never shortens
SELECT (keep.put('s', 'k', '1')).status AS put;
SELECT test.o(keep.touch('s', 'k', '61 min')) AS "a little longer";
SELECT test.o(keep.touch('s', 'k', '30 min')) AS shorter;
SELECT test.writes('s', $$SELECT keep.touch('s', 'k', '30 min')$$), test.writes('s', $$SELECT keep.get_and_touch('s', 'k', '30 min')$$);
SELECT test.e(e) FROM keep.get_and_touch('s', 'k', '3 hours') e;
SELECT test.o(keep.touch('s', 'k')) AS "the store's own ttl is shorter now";
SELECT test.writes('s', $$SELECT keep.touch('s', 'k')$$);
SELECT test.left(expires_at) FROM s;

-- renew_after
SELECT keep.set_store_option('s', 'renew_after', '30 min');
SELECT (keep.put('s', 'k', '1')).status AS put;
SET pg_keep.test_clock_offset = 1790000;
SELECT (keep.touch('s', 'k')).status AS "29:50";
SET pg_keep.test_clock_offset = 1810000;
SELECT (keep.touch('s', 'k')).status AS "30:10";
RESET pg_keep.test_clock_offset;
-- longer than the life: only its end would be due, and then it is gone
SELECT keep.set_store_option('s', 'renew_after', '2 hours');
SELECT (keep.put('s', 'k', '1')).status AS put;
SET pg_keep.test_clock_offset = 3500000;
SELECT (keep.touch('s', 'k')).status AS "58:20";
RESET pg_keep.test_clock_offset;
SELECT keep.set_store_option('s', 'renew_after', '0');
SELECT (keep.touch('s', 'k')).status AS "always due";
SELECT keep.set_store_option('s', 'renew_after', NULL);

-- after a shorter explicit ttl a touch brings the store's ttl back: the gain counts
SELECT test.o(keep.put('s', 'k', '1', '10 min'));
SELECT test.o(keep.touch('s', 'k'));

-- max_lifetime caps touches; at the cap there is nothing more to gain
SELECT keep.set_store_option('s', 'max_lifetime', '90 min');
SELECT test.o(keep.put('s', 'm', '1'));
SELECT test.o(keep.touch('s', 'm', '3 hours'));
SELECT test.o(keep.touch('s', 'm', '4 hours')) AS "at the cap";
SELECT test.o(keep.touch('s', 'm')) AS "at the cap";
SELECT expires_at = created_at + interval '90 min' AS "exactly" FROM s WHERE key = 'm';
SELECT test.o(keep.put('s', 'm2', '1'));
SET pg_keep.test_clock_offset = 1830000;
SELECT test.e(e) FROM keep.get_and_touch('s', 'm2') e;
SET pg_keep.test_clock_offset = 1920000;
SELECT (keep.touch('s', 'm2')).status AS "at the cap";
-- the last bit up to the cap is taken though it is less than a tenth
RESET pg_keep.test_clock_offset;
SELECT test.o(keep.put('s', 'm3', '1', '88 min'));
SELECT (keep.touch('s', 'm3')).status AS "no gain";
SET pg_keep.test_clock_offset = 2000000;
SELECT (keep.touch('s', 'm3')).status;
SELECT expires_at = created_at + interval '90 min' AS "up to the cap" FROM s WHERE key = 'm3';
SET pg_keep.test_clock_offset = 5460000;
SELECT (keep.touch('s', 'm3')).status AS "over";
RESET pg_keep.test_clock_offset;
-- the cap is lowered below a life that runs: that is cut, and a touch does not prolong it
SELECT keep.set_store_option('s', 'max_lifetime', '20 min');
SELECT test.writes('s', $$SELECT keep.touch('s', 'm'), keep.touch('s', 'm', '5 hours')$$);
SELECT (keep.touch('s', 'm')).status, (keep.touch('s', 'm', '5 hours')).status;
SELECT test.left(expires_at) FROM s WHERE key = 'm';
SELECT keep.set_store_option('s', 'max_lifetime', NULL);

-- no expiry: nothing to renew, nothing is shortened
SELECT test.o(keep.persist('s', 'k'));
SELECT test.o(keep.touch('s', 'k')), test.o(keep.touch('s', 'k', '1 hour')),
    test.writes('s', $$SELECT keep.touch('s', 'k', '1 hour')$$);
SELECT test.e(e) FROM keep.get_and_touch('s', 'k', '1 hour') e;

-- where access does not count, a touch without ttl does nothing; one with ttl lengthens
SELECT keep.create_store('w', ttl => '1 hour', expire_after => 'write');
SELECT keep.create_store('c', ttl => '1 hour', expire_after => 'create');
SELECT keep.create_store('n');
SELECT (keep.put(x, 'k', '1', '1 hour')).status AS put FROM unnest('{w,c,n}'::regclass[]) x;
SET pg_keep.test_clock_offset = 3000000;
SELECT x AS store, (keep.touch(x, 'k')).status, test.writes(x, format('SELECT keep.get_and_touch(%L, ''k'')', x))
FROM unnest('{w,c,n}'::regclass[]) x;
SELECT x AS store, test.o(keep.touch(x, 'k', '1 hour')) FROM unnest('{w,c,n}'::regclass[]) x;
RESET pg_keep.test_clock_offset;

-- persist
SELECT test.o(keep.persist('s', 'none'));
SELECT * FROM keep.put('s', 'p', '1') \gset p_
SELECT updated_at AS u FROM s WHERE key = 'p' \gset
SELECT test.o(keep.persist('s', 'p'));
SELECT version = :p_version AS same_version, updated_at = :'u' AS same_update, reap_at IS NULL OR expires_at IS NULL AS sound
FROM s WHERE key = 'p';
SELECT test.o(keep.persist('s', 'p')) AS "again";
SELECT test.o(keep.put('s', 'p', '2')) AS "a write gives it the store's ttl again";
SELECT keep.set_store_option('s', 'max_lifetime', '2 hours');
SELECT test.o(keep.persist('s', 'p'));
SELECT expires_at = created_at + interval '2 hours' AS "exactly" FROM s WHERE key = 'p';
SELECT test.o(keep.put('s', 'p3', '1'));
SELECT test.o(keep.persist('s', 'p3'));
SELECT expires_at = created_at + interval '2 hours' AS "exactly" FROM s WHERE key = 'p3';
SELECT test.lapse('s', 'p');
SELECT test.o(keep.persist('s', 'p')), test.o(keep.touch('s', 'p', '1 hour'));

SELECT test.sound('s'), test.sound('w'), test.sound('c'), test.sound('n');
DROP TABLE s, w, c, n;
