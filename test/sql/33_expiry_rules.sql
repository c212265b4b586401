-- Which expiry each write leaves, for every expire_after, with and without a ttl of the
-- store's and of the call's, and under max_lifetime.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('n_write');
SELECT keep.create_store('n_create', expire_after => 'create');
SELECT keep.create_store('n_access', expire_after => 'access');
SELECT keep.create_store('t_write', ttl => '1 hour', expire_after => 'write');
SELECT keep.create_store('t_create', ttl => '1 hour', expire_after => 'create');
SELECT keep.create_store('t_access', ttl => '1 hour', expire_after => 'access');
SELECT keep.create_store('m_write', ttl => '1 hour', max_lifetime => '80 min', expire_after => 'write');
SELECT keep.create_store('m_access', ttl => '1 hour', max_lifetime => '80 min', expire_after => 'access');
SELECT keep.create_store('m_only', max_lifetime => '80 min');

-- An entry put with the ttl "first" is written again half an hour later: minutes it then has.
CREATE FUNCTION test.later(store regclass, first interval, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
    x timestamptz;
BEGIN
    PERFORM set_config('pg_keep.test_clock_offset', '0', true);
    EXECUTE format('DELETE FROM %s', store);
    v := version FROM keep.put(store, 'k', '1', first);
    PERFORM set_config('pg_keep.test_clock_offset', '1800000', true);
    EXECUTE replace(replace(stmt, '$1', quote_literal(store::text)), '$v', v::text);
    EXECUTE format('SELECT expires_at FROM %s', store) INTO x;
    RETURN replace(test.left(x), ' min', '') || CASE WHEN test.sound(store) = 'sound' THEN '' ELSE '!' END;
END $$;

CREATE TEMP TABLE call (nr int GENERATED ALWAYS AS IDENTITY, what text, stmt text);
INSERT INTO call (what, stmt) VALUES
    ('put', $$SELECT keep.put($1, 'k', '2')$$),
    ('put, 2 h', $$SELECT keep.put($1, 'k', '2', '2 hours')$$),
    ('put, 5 min', $$SELECT keep.put($1, 'k', '2', '5 min')$$),
    ('put_many', $$SELECT keep.put_many($1, '{k}', '{2}')$$),
    ('put_many, 2 h', $$SELECT keep.put_many($1, '{k}', '{2}', '2 hours')$$),
    ('put_batch', $$SELECT keep.put_batch($1, '{"k": 2}')$$),
    ('put_if_absent', $$SELECT keep.put_if_absent($1, 'k', '2')$$),
    ('put_if_absent, 2 h', $$SELECT keep.put_if_absent($1, 'k', '2', '2 hours')$$),
    ('swap', $$SELECT keep.compare_and_swap($1, 'k', $v, '2')$$),
    ('swap, 2 h', $$SELECT keep.compare_and_swap($1, 'k', $v, '2', '2 hours')$$),
    ('swap, stale', $$SELECT keep.compare_and_swap($1, 'k', 0, '2', '2 hours')$$),
    ('merge', $$SELECT keep.merge($1, 'k', '2')$$),
    ('increment', $$SELECT keep.increment($1, 'k')$$),
    ('increment, 2 h', $$SELECT keep.increment($1, 'k', 1, '{}', '2 hours')$$),
    ('touch', $$SELECT keep.touch($1, 'k')$$),
    ('touch, 2 h', $$SELECT keep.touch($1, 'k', '2 hours')$$),
    ('touch, 5 min', $$SELECT keep.touch($1, 'k', '5 min')$$),
    ('get_and_touch', $$SELECT keep.get_and_touch($1, 'k')$$),
    ('get_and_touch, 2 h', $$SELECT keep.get_and_touch($1, 'k', '2 hours')$$),
    ('persist', $$SELECT keep.persist($1, 'k')$$);

-- born with the store's own ttl; read again after 30 minutes
SELECT what, test.later('n_write', NULL, stmt) AS n_write, test.later('n_create', NULL, stmt) AS n_create,
    test.later('n_access', NULL, stmt) AS n_access, test.later('t_write', NULL, stmt) AS t_write,
    test.later('t_create', NULL, stmt) AS t_create, test.later('t_access', NULL, stmt) AS t_access,
    test.later('m_write', NULL, stmt) AS m_write, test.later('m_access', NULL, stmt) AS m_access,
    test.later('m_only', NULL, stmt) AS m_only
FROM call ORDER BY nr;
-- born with 45 minutes
SELECT what, test.later('n_write', '45 min', stmt) AS n_write, test.later('n_create', '45 min', stmt) AS n_create,
    test.later('n_access', '45 min', stmt) AS n_access, test.later('t_write', '45 min', stmt) AS t_write,
    test.later('t_create', '45 min', stmt) AS t_create, test.later('t_access', '45 min', stmt) AS t_access,
    test.later('m_write', '45 min', stmt) AS m_write, test.later('m_access', '45 min', stmt) AS m_access,
    test.later('m_only', '45 min', stmt) AS m_only
FROM call ORDER BY nr;
-- born with three hours: nothing but an explicit write shortens
SELECT what, test.later('n_write', '3 hours', stmt) AS n_write, test.later('n_create', '3 hours', stmt) AS n_create,
    test.later('n_access', '3 hours', stmt) AS n_access, test.later('t_write', '3 hours', stmt) AS t_write,
    test.later('t_create', '3 hours', stmt) AS t_create, test.later('t_access', '3 hours', stmt) AS t_access,
    test.later('m_write', '3 hours', stmt) AS m_write, test.later('m_access', '3 hours', stmt) AS m_access,
    test.later('m_only', '3 hours', stmt) AS m_only
FROM call ORDER BY nr;

-- the cap is exact, and counts from the creation of this life
SELECT (keep.put('m_write', 'k', '1', '5 hours')).status AS put;
SELECT expires_at = created_at + interval '80 min' AS exact FROM m_write;
SET pg_keep.test_clock_offset = 4900000;
SELECT (keep.put('m_write', 'k', '1', '5 hours')).status AS "a new life";
SELECT expires_at = created_at + interval '80 min' AS exact, test.left(expires_at) FROM m_write;
RESET pg_keep.test_clock_offset;

-- days and months count in the session's time zone, as timestamptz + interval does
SET timezone = 'America/New_York';
SELECT expires_at BETWEEN keep.clock() + interval '1 mon' - interval '1 min' AND keep.clock() + interval '1 mon' AS "a month"
FROM keep.put('n_write', 'k', '1', '1 mon');
RESET timezone;

DROP FUNCTION test.later(regclass, interval, text);
DROP TABLE n_write, n_create, n_access, t_write, t_create, t_access, m_write, m_access, m_only;

-- max_lifetime lowered: an entry that has outlived it is absent everywhere, and a write starts a new one
SELECT keep.create_store('lowered');
SELECT count(*) FROM keep.put_many('lowered', '{a,b,c,d}', '{1,1,1,1}');
UPDATE lowered SET created_at = created_at - interval '2 hours';
SELECT keep.set_store_option('lowered', 'max_lifetime', '1 hour');
SELECT keep.get('lowered', 'a'), (keep.touch('lowered', 'a', '1 day')).status AS touch,
    (keep.merge('lowered', 'a', '{}')).status AS merge, (keep.persist('lowered', 'a')).status AS persist,
    (SELECT count(*) FROM keep.get_many('lowered', '{a,b,c,d}')) AS get_many;
SELECT status, expires_at > clock_timestamp() AS lives FROM keep.put('lowered', 'a', '2');
SELECT status, value FROM keep.put_if_absent('lowered', 'b', '2');
SELECT status, value FROM keep.increment('lowered', 'c');
SELECT value, created_at > now() - interval '1 hour' AS new FROM keep.put_many('lowered', '{d}', '{2}');
SELECT count(*) FROM keep.get_many('lowered', '{a,b,c,d}');
-- what has outlived it is found and deleted, and does not come back when it is raised again
SELECT keep.set_store_option('lowered', 'max_lifetime', NULL);
SELECT count(*) FROM keep.put_many('lowered', '{a,b,c,d}', '{1,1,1,1}');
SELECT (keep.persist('lowered', 'd')).expires_at IS NULL AS for_ever;
UPDATE lowered SET created_at = created_at - interval '2 hours' WHERE key <> 'a';
SELECT keep.set_store_option('lowered', 'max_lifetime', '1 hour');
SELECT key FROM lowered WHERE reap_at > expires_at OR reap_at IS NULL;
SELECT keep.set_store_option('lowered', 'max_lifetime', '1 year');
SELECT key FROM keep.get_many('lowered', '{a,b,c,d}');
SELECT keep.expire('lowered');
SELECT key FROM lowered;
DROP TABLE lowered;
