-- Ledgers and the caller's transaction: several calls in one statement see each other's effects,
-- a rollback or a savepoint frees the id and gives the money back, errors do too, under every
-- isolation level, from SQL functions, PL/pgSQL, CTEs, prepared statements and cursors.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD')), test.b(keep.open_account('l', 'b', 'USD'));
SELECT test.t(keep.transfer('l', 'fund', 'world', 'a', 100));

-- two calls on one account in one statement, one id twice, a hold and its post
SELECT test.t(keep.transfer('l', 's1', 'a', 'b', 60)), test.t(keep.transfer('l', 's2', 'a', 'b', 60)), test.t(keep.transfer('l', 's3', 'b', 'a', 10)),
    test.t(keep.transfer('l', 's4', 'a', 'b', 50));
SELECT test.t(keep.transfer('l', 's5', 'b', 'a', 1)), test.t(keep.transfer('l', 's5', 'b', 'a', 1)), test.t(keep.reverse_transfer('l', 's6', 's5')),
    test.t(keep.reverse_transfer('l', 's7', 's5'));
SELECT test.t(keep.transfer('l', 's8', 'b', 'a', 5, '1 hour')), test.t(keep.post_transfer('l', 's8', 3)), test.t(keep.void_transfer('l', 's8')),
    test.t(keep.post_transfer('l', 's8', 3));
SELECT test.b(keep.open_account('l', 'new', 'USD')), test.t(keep.transfer('l', 's9', 'b', 'new', 5)), test.b(keep.freeze_account('l', 'new')),
    test.t(keep.transfer('l', 's10', 'b', 'new', 5)), test.b(keep.freeze_account('l', 'new', false)),
    test.b(keep.set_account_limits('l', 'new', 3, NULL)), test.t(keep.transfer('l', 's11', 'new', 'b', 3));
SELECT test.t(r), test.t(keep.transfer('l', r.id || '+', 'b', 'a', 1)) FROM keep.transfer_many('l', '{m1,m2}', '{b,b}', '{a,a}', '{1,1}') r;
-- balance() is STABLE: in one statement it shows what the statement found
SELECT (keep.transfer('l', 's12', 'b', 'a', 1)).from_balance, (keep.balance('l', 'b')).balance;
SELECT (keep.balance('l', 'b')).balance;
SELECT test.balances('l'), test.ledger_sound('l');
-- for each row of a query
SELECT count(*), sum(r.amount), max(r.from_balance), min(r.from_balance) FROM generate_series(1, 20) i,
    LATERAL keep.transfer('l', 'q' || i, 'world', 'b', i) r;
WITH w AS (SELECT r.* FROM keep.transfer('l', 'cte1', 'b', 'a', 10) r), v AS MATERIALIZED (SELECT r.*
    FROM w, keep.transfer('l', 'cte2', 'a', 'b', w.to_balance) r) SELECT test.t(r) FROM v r;
SELECT test.balances('l');
CREATE TABLE log (r keep.transfer_result);
INSERT INTO log SELECT r FROM keep.transfer_many('l', '{i1,i2}', '{b,b}', '{a,none}', '{1,1}') r;
SELECT test.t(r) FROM log;

-- a rollback frees the id and gives the money back
BEGIN;
SELECT test.t(keep.transfer('l', 'r1', 'b', 'a', 7)), test.t(keep.transfer('l', 'r2', 'b', 'none', 7)),
    test.t(keep.transfer('l', 'r3', 'b', 'a', 8, '1 hour'));
SELECT test.balances('l');
ROLLBACK;
SELECT test.balances('l'), count(*) FROM l_transfers WHERE id IN ('r1', 'r2', 'r3');
SELECT test.t(keep.transfer('l', 'r1', 'b', 'a', 9)), test.t(keep.transfer('l', 'r2', 'b', 'a', 1));
-- a savepoint
BEGIN;
SELECT test.t(keep.transfer('l', 'v1', 'b', 'a', 1));
SAVEPOINT s;
SELECT test.t(keep.transfer('l', 'v2', 'b', 'a', 100)), test.t(keep.transfer('l', 'v1', 'b', 'a', 1));
SELECT test.t(r) FROM keep.transfer_many('l', '{v3,v4}', '{b,a}', '{a,b}', '{1,3}') r;
ROLLBACK TO s;
SELECT test.balances('l');
SELECT test.t(keep.transfer('l', 'v2', 'b', 'a', 2)), test.t(r) FROM keep.transfer_many('l', '{v3,v1}', '{b,b}', '{a,a}', '{5,1}') r;
SAVEPOINT s;
SELECT test.t(keep.transfer('l', 'v5', 'b', 'a', 3, '1 hour'));
SAVEPOINT t;
SELECT test.t(keep.post_transfer('l', 'v5', 2)), test.t(keep.reverse_transfer('l', 'v6', 'v1'));
ROLLBACK TO t;
SELECT test.t(keep.post_transfer('l', 'v5')), test.t(keep.reverse_transfer('l', 'v6', 'v2'));
RELEASE s;
COMMIT;
SELECT test.balances('l'), test.ledger_sound('l');
SELECT id, status, amount, reversed FROM l_transfers WHERE id LIKE 'v_' ORDER BY id;
-- an error in the middle of a function: all of it is undone
CREATE FUNCTION test.pay(i text, fail boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keep.transfer('l', i || ' 1', 'b', 'a', 1);
    PERFORM keep.transfer('l', i || ' 2', 'a', 'b', 2);
    IF fail THEN
        RAISE EXCEPTION 'no' USING ERRCODE = 'P0001';
    END IF;
    RETURN 'paid';
EXCEPTION WHEN SQLSTATE 'P0001' THEN
    PERFORM keep.transfer('l', i || ' 2', 'a', 'b', 20);
    RETURN 'failed';
END $$;
SELECT test.pay('f1', true), test.pay('f2', false), test.pay('f3', true);
SELECT test.code($$SELECT test.pay('f1', false)$$);
SELECT id, amount FROM l_transfers WHERE id LIKE 'f_ _' ORDER BY id;
-- KP422, KP404 and 22003 leave the transaction's other work to a caller that catches them
BEGIN;
SELECT test.t(keep.transfer('l', 'e1', 'b', 'a', 1));
SELECT test.code($$SELECT keep.transfer('l', 'e1', 'b', 'a', 2)$$), test.code($$SELECT keep.void_transfer('l', 'e2')$$),
    test.code($$SELECT keep.transfer('l', 'e3', 'world', 'b', 9223372036854775807)$$),
    test.code($$SELECT keep.transfer_many('l', '{e4,e5}', '{b,world}', '{a,b}', '{1,9223372036854775807}')$$);
SELECT test.t(keep.transfer('l', 'e4', 'b', 'a', 1));
COMMIT;
SELECT test.balances('l'), test.ledger_sound('l');

-- the other isolation levels
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.t(keep.transfer('l', 'i3', 'b', 'a', 1)), test.t(keep.transfer('l', 'i4', 'b', 'a', 1, '1 hour')),
    test.t(keep.transfer('l', 'i3', 'b', 'a', 1));
SELECT test.t(keep.post_transfer('l', 'i4')), test.t(keep.reverse_transfer('l', 'i5', 'i4')), test.t(r)
    FROM keep.transfer_many('l', '{i6,i6}', '{b,b}', '{a,a}', '{1,1}') r;
SELECT test.balances('l');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT test.t(keep.transfer('l', 'j3', 'b', 'a', 1)), test.t(keep.transfer('l', 'j4', 'b', 'a', 1, '1 hour')),
    test.t(keep.transfer('l', 'j3', 'b', 'a', 1)), test.t(keep.transfer('l', 'i3', 'b', 'a', 1));
SELECT test.t(keep.post_transfer('l', 'j4')), test.t(keep.reverse_transfer('l', 'j5', 'j4')), test.t(r)
    FROM keep.transfer_many('l', '{j6,j6}', '{b,b}', '{a,none}', '{1,1}', NULL, NULL, '{x,x}') r;
SELECT test.b(keep.open_account('l', 'late', 'USD', 0, 10, 2)), test.t(keep.transfer('l', 'j7', 'b', 'late', 10)),
    test.t(keep.transfer('l', 'j8', 'b', 'late', 1));
SELECT keep.expire_holds('l'), test.b(keep.freeze_account('l', 'late'));
ROLLBACK;
SELECT test.balances('l'), test.ledger_sound('l'), count(*) FROM l_transfers WHERE id LIKE 'j_';

-- prepared, and through a cursor that is not read to its end
PREPARE p(text, bigint) AS SELECT test.t(keep.transfer('l', $1, 'b', 'a', $2));
EXECUTE p('p1', 1);
EXECUTE p('p2', 2);
EXECUTE p('p1', 1);
DEALLOCATE p;
BEGIN;
DECLARE c CURSOR FOR SELECT test.t(r) FROM keep.transfer_many('l', '{c1,c2,c3}', '{b,b,b}', '{a,a,a}', '{1,1,1}') r;
FETCH 1 FROM c;
CLOSE c;
SELECT count(*) AS "a call is done as a whole" FROM l_transfers WHERE id LIKE 'c_';
COMMIT;
SELECT test.t(r) FROM keep.transfer_many('l', '{c4,c5}', '{b,b}', '{a,a}', '{1,1}') r LIMIT 1;
SELECT count(*) FROM l_transfers WHERE id LIKE 'c_';

-- read only: reads work, every write is refused, also where there is nothing to write
SELECT keep.create_ledger('h', true);
SELECT test.b(keep.open_account('h', 'a', 'USD', NULL)), test.b(keep.open_account('h', 'b', 'USD', NULL)),
    test.t(keep.transfer('h', 'h', 'a', 'b', 1));
BEGIN READ ONLY;
SELECT c, test.sqlstate('SELECT keep.' || c) FROM (VALUES
    ($$balance('h', 'a')$$), ($$verify_ledger('h')$$), ($$statement('h', 'a')$$),
    ($$transfer('h', 'n', 'a', 'b', 1)$$), ($$transfer('h', 'h', 'a', 'b', 1)$$), ($$transfer('h', 'n', 'a', 'none', 1)$$),
        ($$transfer_many('h', '{h}', '{a}', '{b}', '{1}')$$),
    ($$transfer_batch('h', '[{"id": "h", "from_account": "a", "to_account": "b", "amount": 1}]')$$), ($$post_transfer('h', 'h')$$),
        ($$void_transfer('h', 'h')$$), ($$reverse_transfer('h', 'n', 'h')$$),
    ($$expire_holds('h')$$), ($$open_account('h', 'a', 'USD', NULL)$$), ($$set_account_limits('h', 'a', NULL, NULL)$$),
        ($$freeze_account('h', 'a', false)$$), ($$create_ledger('x')$$)) v(c);
COMMIT;
SELECT test.t(keep.transfer('h', 'n', 'a', 'b', 1));
DROP FUNCTION test.pay(text, boolean);
DROP TABLE l, l_transfers, h, h_transfers, log;
