-- The parts of a limit that the shards of an account have: after a transfer that took the whole account to
-- decide, each shard keeps to its own part and the parts come to the limit, by either path to the tables; else
-- the others could go on spending what this one has spent.
\pset null '(null)'
\set VERBOSITY terse
CREATE FUNCTION test.parts(l text, direct boolean) RETURNS TABLE (step text, id text, floors numeric, ceilings numeric, kept boolean) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    PERFORM set_config('pg_keep.direct_access', direct::text, true);
    PERFORM keep.create_ledger(l), keep.open_account(l::regclass, 'world', 'USD', NULL), keep.open_account(l::regclass, 'jar', 'USD', 0, 100, 4),
        keep.open_account(l::regclass, 'pool', 'USD', -100, NULL, 4);
    FOR r IN SELECT * FROM (VALUES ('into a shard', 'world', 'jar', 20, NULL::interval), ('into the whole', 'world', 'jar', 60, NULL), ('out of a shard', 'pool', 'world', 20, NULL),
            ('out of the whole', 'pool', 'world', 50, NULL), ('held of the whole', 'pool', 'world', 25, '1 hour'), ('too much', 'pool', 'world', 6, NULL)) v(step, f, t, n, hold) LOOP
        RETURN QUERY SELECT r.step || ': ' || (keep.transfer(l::regclass, r.step, r.f, r.t, r.n, r.hold)).status, NULL::text, NULL::numeric, NULL::numeric, NULL::boolean;
        RETURN QUERY EXECUTE format('SELECT NULL::text, id, sum(floor), sum(ceiling), bool_and(credits_posted - debits_posted - debits_pending >= coalesce(floor, -1000)'
            ' AND credits_posted - debits_posted + credits_pending <= coalesce(ceiling, 1000)) FROM %I WHERE shards > 1 GROUP BY id ORDER BY id', l);
    END LOOP;
END $$;
SELECT * FROM test.parts('l', true);
SELECT count(*) AS differ FROM (SELECT * FROM test.parts('m', false) EXCEPT ALL SELECT * FROM test.parts('n', true)) d;
SELECT count(*) AS rows FROM m JOIN n USING (id, shard, floor, ceiling, debits_posted, credits_posted, debits_pending, credits_pending) WHERE m.shards > 1;
DROP TABLE l, l_transfers, m, m_transfers, n, n_transfers;
DROP FUNCTION test.parts(text, boolean);
