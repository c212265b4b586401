-- Rights on columns: whoever may read a ledger but change only some of its columns moves no money, by whatever
-- path; with the rights on all the columns that a call needs it works.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_ledger('l');
SELECT (keep.open_account('l', x, 'USD', NULL)).balance FROM unnest('{a,b}'::text[]) x;
GRANT SELECT ON l, l_transfers TO regress_keep_user;
GRANT INSERT ON l_transfers TO regress_keep_user;
GRANT UPDATE (frozen) ON l TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.transfer('l', 't1', 'a', 'b', 5)$$), test.sqlstate($$SELECT keep.transfer('l', 't2', 'a', 'b', 5, '1 hour')$$),
    test.sqlstate($$SELECT keep.transfer_many('l', '{t3,t4}', '{a,b}', '{b,a}', '{1,2}')$$);
SET pg_keep.direct_access = off;
SELECT test.sqlstate($$SELECT keep.transfer('l', 't1', 'a', 'b', 5)$$);
RESET pg_keep.direct_access;
RESET ROLE;
SELECT count(*) AS transfers FROM l_transfers;
-- part of the columns of a transfer
GRANT UPDATE ON l TO regress_keep_user;
REVOKE INSERT ON l_transfers FROM regress_keep_user;
GRANT INSERT (id, status, amount) ON l_transfers TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.transfer('l', 't1', 'a', 'b', 5)$$), test.sqlstate($$SELECT keep.transfer_many('l', '{t3,t4}', '{a,b}', '{b,a}', '{1,2}')$$);
RESET ROLE;
-- not to be read, all of it
GRANT INSERT ON l_transfers TO regress_keep_user;
REVOKE SELECT ON l FROM regress_keep_user;
GRANT SELECT (id, shard, unit) ON l TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.transfer('l', 't1', 'a', 'b', 5)$$), test.sqlstate($$SELECT keep.balance('l', 'a')$$);
RESET ROLE;
SELECT count(*) AS transfers, (SELECT sum(debits_posted) FROM l) AS moved FROM l_transfers;
-- column by column it is enough
REVOKE ALL ON l, l_transfers FROM regress_keep_user;
DO $$
BEGIN
    EXECUTE (SELECT format('GRANT SELECT (%1$s), UPDATE (%1$s) ON l TO regress_keep_user', string_agg(quote_ident(attname), ', ')) FROM pg_attribute
        WHERE attrelid = 'l'::regclass AND attnum > 0);
    EXECUTE (SELECT format('GRANT SELECT (%1$s), INSERT (%1$s) ON l_transfers TO regress_keep_user', string_agg(quote_ident(attname), ', ')) FROM pg_attribute
        WHERE attrelid = 'l_transfers'::regclass AND attnum > 0);
END $$;
SET ROLE regress_keep_user;
SELECT test.t(keep.transfer('l', 't1', 'a', 'b', 5)), test.t(keep.transfer('l', 't1', 'a', 'b', 5));
SELECT status FROM keep.transfer_many('l', '{t3,t4}', '{a,b}', '{b,a}', '{1,2}');
RESET ROLE;
SELECT id, debits_posted, credits_posted FROM l ORDER BY id;
DROP TABLE l, l_transfers;
