-- A hold that is over is left out once, though it is found from either of its accounts: a transfer between
-- the two that looks at both, for funds and for the limit, counts its money as free once and not twice.
\pset null '(null)'
\set VERBOSITY terse
CREATE FUNCTION test.over(l text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told text[];
BEGIN
    PERFORM keep.create_ledger(l, history => true), keep.open_account(l::regclass, 'a', 'USD'), keep.open_account(l::regclass, 'b', 'USD', 0, 50),
        keep.open_account(l::regclass, 'w', 'USD', NULL);
    PERFORM keep.transfer(l::regclass, 'fund', 'w', 'a', 100);
    PERFORM keep.transfer(l::regclass, 'h' || i, 'a', 'b', 10, '1 hour'), keep.transfer(l::regclass, 'g' || i, 'w', 'b', 2, '1 hour') FROM generate_series(1, 3) i;
    PERFORM test.at(120);
    -- more than a has and b may take while the holds count; then more than b may take in any case
    told := ARRAY(SELECT test.t(keep.transfer(l::regclass, 'x' || n, 'a', 'b', n)) FROM unnest('{71,101,51,50,1}'::int[]) n);
    told := told || test.t(keep.transfer(l::regclass, 'back', 'b', 'a', 51)) || test.t(keep.transfer(l::regclass, 'back 2', 'b', 'a', 50));
    PERFORM test.at(0);
    RETURN array_to_string(told, E'\n');
END $$;
SELECT test.over('l');
SELECT id, debits_posted, credits_posted, debits_pending, credits_pending FROM l ORDER BY id;
SELECT status, count(*) FROM l_transfers GROUP BY 1 ORDER BY 1;
SELECT rule FROM keep.verify_ledger('l') WHERE NOT ok;
-- the same through the executor, and in a batch
SET pg_keep.direct_access = off;
SELECT test.over('m');
RESET pg_keep.direct_access;
SELECT (SELECT array_agg(m ORDER BY id) FROM (SELECT id, debits_posted, credits_posted, debits_pending, credits_pending, version FROM m) m)
    = (SELECT array_agg(l ORDER BY id) FROM (SELECT id, debits_posted, credits_posted, debits_pending, credits_pending, version FROM l) l) AS "the same";
SELECT rule FROM keep.verify_ledger('m') WHERE NOT ok;
SELECT (keep.transfer('l', 'again', 'a', 'b', 50, '1 hour')).status, test.at(120);
SELECT id, status, reason FROM keep.transfer_many('l', '{y1,y2,y3,y4}', '{a,b,a,a}', '{b,a,b,b}', '{60,60,40,11}');
SELECT id, debits_posted, credits_posted, debits_pending, credits_pending FROM l ORDER BY id;
SELECT rule FROM keep.verify_ledger('l') WHERE NOT ok;
SELECT test.at(0);
DROP TABLE l, l_transfers, m, m_transfers;
DROP FUNCTION test.over(text);
