-- Row-level security on a ledger's tables: a hidden account is not found, a hidden transfer's id
-- is taken all the same (KP422, mismatch) and never a unique violation or an endless wait; what a
-- policy forbids to write is the server's own 42501; nothing goes round the policies.
\pset null '(null)'
\set VERBOSITY terse
SET statement_timeout = '60s';

SELECT keep.create_ledger('l', true);
SELECT count(keep.open_account('l', x, 'USD', CASE WHEN x LIKE '%bank' THEN NULL ELSE 0 END))
    FROM unnest('{regress_keep_a:bank,regress_keep_a:1,regress_keep_b:bank,regress_keep_b:1}'::text[]) x;
SELECT count(keep.open_account('l', 'shared', 'USD'));
GRANT SELECT, INSERT, UPDATE ON l, l_transfers TO regress_keep_a, regress_keep_b;
ALTER TABLE l ENABLE ROW LEVEL SECURITY;
ALTER TABLE l_transfers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON l USING (id LIKE current_user || ':%' OR id = 'shared');
CREATE POLICY own ON l_transfers USING (from_account LIKE current_user || ':%' OR to_account LIKE current_user || ':%');
SET ROLE regress_keep_b;
SELECT test.t(keep.transfer('l', 'b1', 'regress_keep_b:bank', 'regress_keep_b:1', 100)),
    test.t(keep.transfer('l', 'b2', 'regress_keep_b:1', 'regress_keep_b:bank', 10, '1 hour'));
SELECT test.t(r) FROM keep.transfer_many('l', '{b3,b4}', '{regress_keep_b:1,regress_keep_b:1}', '{shared,regress_keep_a:1}', '{5,5}') r;
SELECT test.t(keep.post_transfer('l', 'b2', 4)), test.t(keep.reverse_transfer('l', 'b5', 'b3', 1)), test.b(keep.balance('l', 'regress_keep_b:1'));
RESET ROLE;
SELECT md5(string_agg(x::text, ',' ORDER BY id)) AS b_accounts FROM l x WHERE id LIKE 'regress_keep_b%' \gset
SELECT md5(string_agg(x::text, ',' ORDER BY id)) AS b_transfers FROM l_transfers x \gset

-- what a sees of b's: nothing to read, nothing to move, every id taken
SET ROLE regress_keep_a;
\pset format unaligned
\pset tuples_only on
SELECT c, test.code('SELECT keep.' || c) FROM (VALUES
    ($$balance('l', 'regress_keep_b:1')$$), ($$freeze_account('l', 'regress_keep_b:1')$$), ($$set_account_limits('l', 'regress_keep_b:1', 0, 1)$$),
        ($$statement('l', 'regress_keep_b:1')$$),
    ($$open_account('l', 'regress_keep_b:1', 'USD')$$), ($$open_account('l', 'regress_keep_b:new', 'USD')$$),
        ($$open_account('l', 'regress_keep_a:new', 'USD')$$),
    ($$expire_holds('l')$$)) v(c);
SELECT c, test.say(c) FROM (VALUES
    ($$post_transfer('l', 'b1')$$), ($$void_transfer('l', 'b2')$$), ($$reverse_transfer('l', 'x1', 'b1')$$),
    ($$transfer('l', 'b1', 'regress_keep_a:bank', 'regress_keep_a:1', 1)$$),
    ($$transfer('l', 'b1', 'regress_keep_b:bank', 'regress_keep_b:1', 100)$$),
    ($$transfer('l', 'b4', 'regress_keep_b:1', 'regress_keep_a:1', 5)$$),
    ($$transfer('l', 'x2', 'regress_keep_a:bank', 'regress_keep_b:1', 1)$$),
    ($$transfer('l', 'x3', 'regress_keep_b:1', 'regress_keep_a:1', 1)$$),
    ($$transfer('l', 'x4', 'regress_keep_b:bank', 'regress_keep_b:1', 1)$$),
    ($$transfer_many('l', '{x5,b1,x6,b2}', '{regress_keep_a:bank,regress_keep_a:bank,regress_keep_a:1,regress_keep_a:bank}', '{regress_keep_a:1,regress_keep_a:1,shared,regress_keep_a:1}', '{10,1,2,1}')$$),
    ($$transfer_many('l', '{x7,b1,x8}', '{regress_keep_a:bank,regress_keep_a:bank,regress_keep_a:bank}', '{regress_keep_a:1,regress_keep_a:1,regress_keep_a:1}', '{1,1,1}', NULL, NULL, '{c,c,c}')$$),
    ($$transfer_many('l', '{x9,x10}', '{regress_keep_a:bank,regress_keep_b:bank}', '{regress_keep_a:1,regress_keep_b:1}', '{1,1}')$$),
    ($$reverse_transfer('l', 'b1', 'x5')$$)
) v(c);
\pset tuples_only off
\pset format aligned
SELECT string_agg(id, ' ' ORDER BY id) FROM l_transfers;
SELECT test.b(keep.balance('l', 'regress_keep_a:1')), test.b(keep.balance('l', 'shared'));
RESET ROLE;
SELECT md5(string_agg(x::text, ',' ORDER BY id)) = :'b_accounts' AS "b's accounts are untouched" FROM l x WHERE id LIKE 'regress_keep_b%';
SELECT md5(string_agg(x::text, ',' ORDER BY id)) = :'b_transfers' AS "and its transfers" FROM l_transfers x WHERE id LIKE 'b%';
SELECT test.ledger_sound('l');

-- its own it may use like any ledger; b sees none of it; plans made for a serve b
SET ROLE regress_keep_a;
SELECT test.t(keep.transfer('l', 'y1', 'regress_keep_a:bank', 'regress_keep_a:1', 7, '1 hour')), test.t(keep.void_transfer('l', 'y1')),
    test.t(keep.reverse_transfer('l', 'y2', 'x5', 3));
SELECT count(*) FROM keep.statement('l', 'regress_keep_a:1');
SET ROLE regress_keep_b;
SELECT test.code($$SELECT keep.balance('l', 'regress_keep_a:1')$$), test.b(keep.balance('l', 'regress_keep_b:1')),
    test.code($$SELECT keep.void_transfer('l', 'y1')$$), count(*) FROM keep.statement('l', 'regress_keep_b:1');
-- who switches it off gets an error
SET row_security = off;
SELECT test.code($$SELECT keep.balance('l', 'regress_keep_b:1')$$),
    test.code($$SELECT keep.transfer('l', 'y3', 'regress_keep_b:bank', 'regress_keep_b:1', 1)$$);
RESET row_security;
RESET ROLE;
-- expire_holds() cleans what the caller sees
SELECT test.t(keep.transfer('l', 'z' || x, 'regress_keep_' || x || ':bank', 'regress_keep_' || x || ':1', 1, '1 hour'))
    FROM unnest('{a,b}'::text[]) x;
SET pg_keep.test_clock_offset = 3600000;
SET ROLE regress_keep_a;
SELECT keep.expire_holds('l');
RESET ROLE;
SELECT id, status FROM l_transfers WHERE id LIKE 'z%' ORDER BY id;
SELECT keep.expire_holds('l'), test.ledger_sound('l');
RESET pg_keep.test_clock_offset;

-- the owner sees all, and under FORCE what the policy shows; a superuser sees all
ALTER TABLE l OWNER TO regress_keep_owner;
ALTER TABLE l_transfers OWNER TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.b(keep.balance('l', 'regress_keep_a:1')), test.code($$SELECT keep.transfer('l', 'o1', 'regress_keep_a:bank', 'regress_keep_b:1', 1)$$);
ALTER TABLE l FORCE ROW LEVEL SECURITY;
SELECT test.code($$SELECT keep.balance('l', 'regress_keep_a:1')$$), (keep.transfer('l', 'o2', 'regress_keep_a:bank', 'regress_keep_b:1', 1)).reason;
ALTER TABLE l NO FORCE ROW LEVEL SECURITY;
ALTER TABLE l_transfers FORCE ROW LEVEL SECURITY;
SELECT test.code($$SELECT keep.transfer('l', 'o3', 'regress_keep_a:bank', 'regress_keep_b:1', 1)$$),
    test.code($$SELECT keep.transfer('l', 'b1', 'regress_keep_a:bank', 'regress_keep_b:1', 1)$$);
ALTER TABLE l_transfers NO FORCE ROW LEVEL SECURITY;
RESET ROLE;
ALTER TABLE l OWNER TO CURRENT_USER;
ALTER TABLE l_transfers OWNER TO CURRENT_USER;

-- to look is not to touch: all may read, only b may write
SELECT test.t(keep.transfer('l', 'held', 'regress_keep_b:bank', 'regress_keep_b:1', 2, '1 hour'));
DROP POLICY own ON l;
DROP POLICY own ON l_transfers;
CREATE POLICY r ON l FOR SELECT USING (true);
CREATE POLICY u ON l FOR UPDATE USING (current_user = 'regress_keep_b');
CREATE POLICY r ON l_transfers FOR SELECT USING (true);
CREATE POLICY w ON l_transfers FOR INSERT WITH CHECK (current_user = 'regress_keep_b' OR amount < 5);
CREATE POLICY u ON l_transfers FOR UPDATE USING (current_user = 'regress_keep_b');
SET ROLE regress_keep_a;
SELECT test.b(keep.balance('l', 'regress_keep_b:1'));
SELECT test.code($$SELECT keep.transfer('l', 'w1', 'regress_keep_a:bank', 'regress_keep_a:1', 10)$$) AS "neither table",
    test.code($$SELECT keep.freeze_account('l', 'regress_keep_a:1')$$) AS "seen, not to be changed";
SELECT test.say($$transfer('l', 'w2', 'regress_keep_a:bank', 'regress_keep_a:1', 1)$$) AS "may not change the accounts";
SELECT test.say($$void_transfer('l', 'b2')$$) AS "posted, whoever asks", test.code($$SELECT keep.void_transfer('l', 'held')$$),
    test.code($$SELECT keep.post_transfer('l', 'held')$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.code($$SELECT keep.transfer('l', 'w2', 'regress_keep_a:bank', 'regress_keep_a:1', 1)$$) AS "the same there",
    test.code($$SELECT keep.void_transfer('l', 'held')$$), test.code($$SELECT keep.post_transfer('l', 'held')$$);
COMMIT;
SELECT test.code($$SELECT keep.transfer('l', 'b1', 'regress_keep_b:bank', 'regress_keep_b:1', 100)$$) AS "a replay takes the locks as well";
SET ROLE regress_keep_b;
SELECT test.t(keep.transfer('l', 'w3', 'regress_keep_b:bank', 'regress_keep_a:1', 10)),
    test.t(keep.transfer('l', 'b4', 'regress_keep_b:1', 'regress_keep_a:1', 5));
RESET ROLE;
SELECT string_agg(id, ' ' ORDER BY id) FROM l_transfers WHERE id LIKE 'w%';
SELECT test.balances('l'), test.ledger_sound('l');
RESET statement_timeout;
DROP TABLE l, l_transfers;
