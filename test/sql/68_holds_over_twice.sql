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
-- who may not change transfers can spend what such a hold held, and leaves it to others to release it: until then
-- it stays in the counters, as the table of transfers has it
GRANT SELECT, UPDATE ON l, m TO regress_keep_user;
GRANT SELECT, INSERT ON l_transfers, m_transfers TO regress_keep_user;
SELECT x, (keep.transfer(x, 'last', 'b', 'a', 5, '1 hour')).status FROM unnest('{l,m}'::regclass[]) x WHERE (keep.transfer(x, 'fill', 'w', 'b', 10)).status IS NOT NULL;
SELECT test.at(120);
SET ROLE regress_keep_user;
SELECT x, status, from_balance, to_balance FROM unnest('{l}'::regclass[]) x, keep.transfer(x, 'spent', 'b', 'a', (keep.balance(x, 'b')).balance);
SET pg_keep.direct_access = off;
SELECT x, status, from_balance, to_balance FROM unnest('{m}'::regclass[]) x, keep.transfer(x, 'spent', 'b', 'a', (keep.balance(x, 'b')).balance);
RESET pg_keep.direct_access;
RESET ROLE;
SELECT 'l' AS ledger, id, debits_pending, credits_pending FROM l WHERE id IN ('a', 'b') UNION ALL
    SELECT 'm', id, debits_pending, credits_pending FROM m WHERE id IN ('a', 'b') ORDER BY 1, 2;
SELECT rule FROM keep.verify_ledger('l') WHERE NOT ok UNION ALL SELECT rule FROM keep.verify_ledger('m') WHERE NOT ok;
SELECT keep.expire_holds('l') AS l, keep.expire_holds('m') AS m;
SELECT 'l' AS ledger, id, debits_pending, credits_pending FROM l WHERE id IN ('a', 'b') UNION ALL
    SELECT 'm', id, debits_pending, credits_pending FROM m WHERE id IN ('a', 'b') ORDER BY 1, 2;
SELECT test.at(0);
DROP TABLE l, l_transfers, m, m_transfers;
DROP FUNCTION test.over(text);
