-- A caller can do through a ledger's functions what its rights on the two tables allow, no more
-- and no less; whether it may does not depend on what stands in them; the direct path and the
-- path through SPI ask for the same.
\pset null '(null)'
\set VERBOSITY terse

SELECT test.ledger_for_calls('l');
SELECT (keep.transfer('l', 'hold 3', 'a', 'b', 10, '1 hour')).status;

-- Runs a call as a role with exactly these rights on the two tables, and undoes it.
CREATE FUNCTION test.may(accounts text, transfers text, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        IF accounts <> '' THEN
            EXECUTE format('GRANT %s ON l TO regress_keep_user', accounts);
        END IF;
        IF transfers <> '' THEN
            EXECUTE format('GRANT %s ON l_transfers TO regress_keep_user', transfers);
        END IF;
        PERFORM set_config('role', 'regress_keep_user', true);
        result := CASE WHEN stmt LIKE 'SELECT%' THEN test.code(stmt) ELSE test.say(stmt) END;
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
    RETURN result;
END $$;
CREATE FUNCTION test.may_both(accounts text, transfers text, stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    direct text;
    spi text;
BEGIN
    direct := test.may(accounts, transfers, stmt);
    PERFORM set_config('pg_keep.direct_access', 'off', true);
    spi := test.may(accounts, transfers, stmt);
    PERFORM set_config('pg_keep.direct_access', 'on', true);
    RETURN CASE WHEN direct = spi THEN direct ELSE direct || ', through SPI ' || spi END;
END $$;

-- the calls of every function, and of some what they are where there is nothing to do or to move
CREATE TABLE fn AS SELECT nr, fn, replace(stmt, '$1', '''l''') AS stmt FROM test.ledger_call
    UNION ALL VALUES
    (100, 'transfer, replayed', $$SELECT keep.transfer('l', 'paid', 'a', 'b', 10)$$),
    (101, 'transfer, rejected', $$SELECT keep.transfer('l', 'new', 'a', 'b', 1000)$$),
    (102, 'transfer, a hold', $$SELECT keep.transfer('l', 'new', 'a', 'b', 1, '1 hour')$$),
    (103, 'transfer, not found', $$SELECT keep.transfer('l', 'new', 'a', 'none', 1)$$),
    (104, 'post, replayed', $$SELECT keep.post_transfer('l', 'paid')$$),
    (105, 'void, posted', $$SELECT keep.void_transfer('l', 'paid')$$),
    (106, 'open, again', $$SELECT keep.open_account('l', 'a', 'USD')$$),
    (107, 'reverse, rejected', $$SELECT keep.reverse_transfer('l', 'new', 'hold 3')$$);
GRANT SELECT ON fn TO PUBLIC;
SELECT fn, test.may_both('', '', stmt) AS "none", test.may_both('SELECT, INSERT, UPDATE', '', stmt) AS "no t", test.may_both('SELECT', '', stmt) AS "a: sel",
    test.may_both('', 'SELECT', stmt) AS "t: sel",
    test.may_both('SELECT', 'SELECT', stmt) AS "both sel", test.may_both('SELECT, INSERT', 'SELECT', stmt) AS "a: sel ins",
        test.may_both('SELECT, UPDATE', 'SELECT', stmt) AS "a: sel upd",
    test.may_both('SELECT, UPDATE', 'SELECT, INSERT', stmt) AS "t: ins", test.may_both('SELECT, UPDATE', 'SELECT, UPDATE', stmt) AS "t: upd",
    test.may_both('SELECT, UPDATE', 'SELECT, INSERT, UPDATE', stmt) AS "t: both"
FROM fn ORDER BY nr;
-- what looks like enough and is not: without SELECT, without UPDATE on the accounts
SELECT fn, test.may_both('UPDATE', 'SELECT, INSERT, UPDATE', stmt) AS "a: upd", test.may_both('SELECT', 'SELECT, INSERT, UPDATE', stmt) AS "a: sel",
    test.may_both('SELECT, UPDATE', 'INSERT, UPDATE', stmt) AS "t: no sel", test.may_both('INSERT, DELETE, TRUNCATE', 'DELETE, TRUNCATE', stmt) AS "others"
FROM fn ORDER BY nr;
-- with these grants, and nothing else, everything works
SELECT fn, test.may_both('SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE', stmt) AS result FROM fn
WHERE test.may_both('SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE', stmt) <> 'ok' ORDER BY nr;
-- the right to tidy up a hold that is over is not needed to be told the truth
SET pg_keep.test_clock_offset = 7200000;
SELECT test.may_both('SELECT', 'SELECT', $$SELECT keep.balance('l', 'a')$$) AS balance,
    test.may_both('SELECT, UPDATE', 'SELECT, INSERT', $$transfer('l', 'new', 'a', 'b', 80)$$) AS "what is held no more",
    test.may_both('SELECT, UPDATE', 'SELECT, INSERT, UPDATE', $$transfer('l', 'new', 'a', 'b', 80)$$) AS "with it";
RESET pg_keep.test_clock_offset;
DROP FUNCTION test.may_both(text, text, text);
DROP FUNCTION test.may(text, text, text);
DROP TABLE fn;

-- nothing without rights, whatever stands in the tables; the message names the table
SET ROLE regress_keep_nobody;
\pset format unaligned
SELECT * FROM test.try_ledger_grouped('''l''');
\pset format aligned
SELECT test.sqlstate($$SELECT keep.register('l', 'ledger')$$);
SELECT test.sqlstate($$SELECT keep.register('l_transfers', 'transfers')$$);
SELECT count(*) AS "functions that are not everybody's" FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'keep' AND p.proname IN (SELECT fn FROM test.ledger_call
    UNION ALL VALUES ('create_ledger')) AND NOT has_function_privilege(p.oid, 'EXECUTE');
RESET ROLE;

-- what is prepared for one role does not open the tables to another
GRANT SELECT, INSERT, UPDATE ON l, l_transfers TO regress_keep_user;
BEGIN;
SELECT test.t(keep.transfer('l', 'p1', 'a', 'b', 1)), test.b(keep.balance('l', 'a'));
SET LOCAL ROLE regress_keep_nobody;
SELECT test.code($$SELECT keep.transfer('l', 'p2', 'a', 'b', 1)$$), test.code($$SELECT keep.balance('l', 'a')$$),
    test.code($$SELECT keep.transfer_many('l', '{p2}', '{a}', '{b}', '{1}')$$);
SET LOCAL ROLE regress_keep_user;
SELECT test.code($$SELECT keep.transfer('l', 'p2', 'a', 'b', 1)$$), test.code($$SELECT keep.balance('l', 'a')$$),
    test.code($$SELECT keep.transfer_many('l', '{p3}', '{a}', '{b}', '{1}')$$);
COMMIT;
REVOKE INSERT ON l_transfers FROM regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.transfer('l', 'p4', 'a', 'b', 1)$$) AS revoked, test.code($$SELECT keep.post_transfer('l', 'hold 3')$$) AS "still granted";
RESET ROLE;

-- rights on columns alone do not do for the direct path; what they allow goes through SPI or is refused, never too much
REVOKE ALL ON l, l_transfers FROM regress_keep_user;
GRANT SELECT (id, unit), UPDATE (credits_posted) ON l TO regress_keep_user;
GRANT SELECT, INSERT, UPDATE ON l_transfers TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.transfer('l', 'c1', 'a', 'b', 1)$$), test.code($$SELECT keep.balance('l', 'a')$$);
RESET ROLE;

-- an owner makes a ledger in his own schema, and only there; grants it; gives it away
CREATE SCHEMA shop AUTHORIZATION regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT test.ledger_for_calls('shop.l');
SELECT test.code($$SELECT keep.create_ledger('public.mine')$$) IN ('ok', '42501') AS "as the server has it", test.code($$SELECT keep.create_ledger('keep.mine')$$);
SELECT tableowner, tablename FROM pg_tables WHERE schemaname = 'shop' ORDER BY 2;
GRANT USAGE ON SCHEMA shop TO regress_keep_user;
GRANT SELECT, INSERT, UPDATE ON shop.l, shop.l_transfers TO regress_keep_user;
SET ROLE regress_keep_user;
SELECT fn, result FROM test.try_ledger('''shop.l''') WHERE result <> 'ok';
SELECT test.code($$SELECT keep.register('shop.l', 'ledger')$$);
-- given to another owner table by table: in between the two do not belong together
RESET ROLE;
ALTER TABLE shop.l_transfers OWNER TO regress_keep_other;
GRANT USAGE ON SCHEMA shop TO regress_keep_other;
SET ROLE regress_keep_user;
SELECT test.sqlstate($$SELECT keep.transfer('shop.l', 'o1', 'a', 'b', 1)$$);
SET ROLE regress_keep_owner;
SELECT test.code($$SELECT keep.transfer('shop.l', 'o1', 'a', 'b', 1)$$),
    test.code($$SELECT keep.register('shop.l', 'ledger', '{"transfers": "shop.l_transfers"}')$$);
RESET ROLE;
ALTER TABLE shop.l OWNER TO regress_keep_other;
SET ROLE regress_keep_other;
SELECT test.t(keep.transfer('shop.l', 'o1', 'a', 'b', 1));
SET ROLE regress_keep_owner;
SELECT test.code($$SELECT keep.transfer('shop.l', 'o2', 'a', 'b', 1)$$);
SET ROLE regress_keep_user;
SELECT test.t(keep.transfer('shop.l', 'o3', 'a', 'b', 1)) AS "its grants are still there";
RESET ROLE;
REVOKE EXECUTE ON FUNCTION keep.transfer FROM PUBLIC;
SET ROLE regress_keep_user;
SELECT test.code($$SELECT keep.transfer('shop.l', 'o2', 'a', 'b', 1)$$) AS "the function revoked",
    test.code($$SELECT keep.transfer_many('shop.l', '{o2}', '{a}', '{b}', '{1}')$$) AS another;
RESET ROLE;
GRANT EXECUTE ON FUNCTION keep.transfer TO PUBLIC;
SELECT test.ledger_sound('l'), test.ledger_sound('shop.l');
SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
DROP TABLE l, l_transfers;
