-- Accounts: opened once whatever the retries, on the same terms alone; limits and the freeze can
-- be changed and change nothing else; what balance() shows; each call returns the account.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL));
SELECT test.b(keep.open_account('l', 'a', 'USD'));
SELECT test.b(keep.open_account('l', 'b', 'USD', -50, 500, 1));
SELECT test.b(keep.open_account('l', 'eur', 'EUR', NULL, NULL));
SELECT test.b(keep.open_account('l', 'the "x"''s', 'points'));
SELECT id, shard, shards, unit, frozen, min_balance, max_balance, floor, ceiling, opened_limits,
    created_at BETWEEN now() - interval '1 min' AND keep.clock() AS created FROM l ORDER BY id;

-- again on the same terms: fine, also once money has moved; nothing is written
SELECT test.t(keep.transfer('l', 't1', 'world', 'a', 100));
SELECT test.t(keep.transfer('l', 't2', 'a', 'b', 30));
SELECT test.t(keep.transfer('l', 't3', 'a', 'b', 20, '1 hour'));
BEGIN;
SELECT test.writes('l', $$SELECT keep.open_account('l', 'a', 'USD')$$);
SELECT test.writes('l', $$SELECT keep.open_account('l', 'b', 'USD', -50, 500)$$);
COMMIT;
SELECT test.b(keep.open_account('l', 'a', 'USD', 0, NULL, 1));
SELECT test.b(keep.open_account('l', 'b', 'USD', -50, 500));

-- on other terms: KP422 for each that differs, a NULL being a term like any other
CREATE FUNCTION test.open(args text) RETURNS text LANGUAGE sql AS $$
    SELECT test.sqlstate(format('SELECT keep.open_account(''l'', %s)', args))
$$;
SELECT a, test.open(a) FROM (VALUES
    ($$'a', 'USD'$$),
    ($$'a', 'EUR'$$),
    ($$'a', 'usd'$$),
    ($$'a', 'USD', -1$$),
    ($$'a', 'USD', NULL$$),
    ($$'a', 'USD', 0, 100$$),
    ($$'a', 'USD', 0, NULL, 2$$),
    ($$'b', 'USD', -50, 500$$),
    ($$'b', 'USD', -50, 501$$),
    ($$'b', 'USD', -50$$),
    ($$'b', 'USD', NULL, 500$$),
    ($$'world', 'USD'$$),
    ($$'world', 'USD', NULL$$)
) v(a);
SELECT count(*) FROM l;

-- mistakes in the request
SELECT a, test.open(a) FROM (VALUES
    ($$NULL, 'USD'$$), ($$'n', NULL$$), ($$'n', 'USD', 0, NULL, NULL$$),
    ($$'', 'USD'$$), ($$'n', ''$$),
    ($$'n', 'USD', 5, 4$$), ($$'n', 'USD', 0, -1$$),
    ($$'n', 'USD', 0, NULL, 0$$), ($$'n', 'USD', 0, NULL, -1$$), ($$'n', 'USD', 0, NULL, 257$$),
    ($$'a', 'USD', 0, NULL, 257$$), ($$'a', 'USD', 5, 4$$), ($$'a', ''$$)
) v(a);
SELECT test.code($$SELECT keep.open_account('l', repeat('x', 1025), 'USD')$$) AS "1025 bytes",
    test.code($$SELECT keep.open_account('l', repeat('ü', 513), 'USD')$$) AS "1026",
    test.code($$SELECT keep.open_account('l', repeat('x', 1024), 'USD')$$) AS "1024",
    test.code($$SELECT keep.open_account('l', 'n', repeat('x', 65))$$) AS "65 bytes",
    test.code($$SELECT keep.open_account('l', 'n', repeat('x', 64))$$) AS "64";
SELECT test.code($$SELECT keep.open_account(NULL, 'n', 'USD')$$);
SELECT count(*) FROM l;
DELETE FROM l WHERE length(id) = 1024 OR id = 'n';
-- at the ends of what is allowed
SELECT test.b(keep.open_account('l', 'edge', 'USD', 7, 7));
SELECT test.b(keep.open_account('l', 'ends', 'USD', -9223372036854775807, 9223372036854775807));
DELETE FROM l WHERE id IN ('edge', 'ends');

-- limits: set and taken back, for what comes after; the terms of opening stay what they were
SELECT test.b(keep.set_account_limits('l', 'a', -10, 60));
SELECT test.t(keep.transfer('l', 't4', 'a', 'world', 61)) AS "70 less 20 held less 61 is -11";
SELECT test.t(keep.transfer('l', 't5', 'a', 'world', 60)) AS "-10";
SELECT test.t(keep.transfer('l', 't6', 'world', 'a', 51)) AS "61";
SELECT test.t(keep.transfer('l', 't7', 'world', 'a', 50)) AS "60";
SELECT test.open($$'a', 'USD'$$) AS "as opened", test.open($$'a', 'USD', -10, 60$$) AS "as they are now";
SELECT test.b(keep.set_account_limits('l', 'a', NULL, NULL));
SELECT test.t(keep.transfer('l', 't8', 'a', 'world', 1000)), test.t(keep.transfer('l', 't9', 'world', 'a', 1000));
SELECT test.open($$'a', 'USD'$$) AS "as opened", test.open($$'a', 'USD', -10, 60$$) AS "as they once were",
    test.open($$'a', 'USD', NULL$$) AS "as they are now";
SELECT test.b(keep.set_account_limits('l', 'a', 0, NULL));
SELECT test.open($$'a', 'USD'$$);
-- limits that the balance is outside of already: nothing moves by that; what goes further out is rejected
SELECT test.b(keep.set_account_limits('l', 'b', 100, 500));
SELECT test.t(keep.transfer('l', 't10', 'b', 'a', 1)), test.t(keep.transfer('l', 't11', 'world', 'b', 1));
SELECT test.b(keep.set_account_limits('l', 'b', -100, 0));
SELECT test.t(keep.transfer('l', 't12', 'world', 'b', 1)), test.t(keep.transfer('l', 't13', 'b', 'world', 1));
SELECT min_balance, max_balance, opened_limits FROM l WHERE id IN ('a', 'b') ORDER BY id;
SELECT c, test.sqlstate('SELECT keep.' || c) FROM (VALUES
    ($$set_account_limits('l', 'none', 0, 1)$$),
    ($$set_account_limits('l', 'a', 2, 1)$$),
    ($$set_account_limits('l', NULL, 0, 1)$$),
    ($$set_account_limits('l', '', 0, 1)$$),
    ($$set_account_limits(NULL, 'a', 0, 1)$$),
    ($$freeze_account('l', 'none')$$),
    ($$freeze_account('l', 'none', false)$$),
    ($$freeze_account('l', 'a', NULL)$$),
    ($$freeze_account('l', NULL)$$),
    ($$freeze_account('l', '')$$),
    ($$freeze_account(NULL, 'a')$$),
    ($$balance('l', 'none')$$),
    ($$balance('l', 'A')$$),
    ($$balance('l', NULL)$$),
    ($$balance('l', '')$$),
    ($$balance('l', repeat('x', 1025))$$),
    ($$balance(NULL, 'a')$$)
) v(c);

-- frozen and thawed, twice each; the terms and the money stay
SELECT test.b(keep.freeze_account('l', 'a'));
SELECT test.b(keep.freeze_account('l', 'a', true));
SELECT test.b(keep.balance('l', 'a'));
SELECT test.open($$'a', 'USD'$$);
SELECT test.b(keep.set_account_limits('l', 'a', 0, NULL));
SELECT test.b(keep.freeze_account('l', 'a', false));
SELECT test.b(keep.freeze_account('l', 'a', false));

-- every write to an account raises its version
SELECT version AS v FROM keep.balance('l', 'a') \gset
SELECT test.t(keep.transfer('l', 't21', 'a', 'world', 1));
SELECT version > :v FROM keep.balance('l', 'a');
SELECT version AS v FROM keep.balance('l', 'a') \gset
SELECT test.t(keep.transfer('l', 't22', 'world', 'a', 1, '1 hour'));
SELECT version > :v FROM keep.balance('l', 'a');
SELECT version AS v FROM keep.balance('l', 'a') \gset
SELECT test.t(keep.void_transfer('l', 't22'));
SELECT version > :v FROM keep.balance('l', 'a');
SELECT version AS v FROM keep.balance('l', 'a') \gset
SELECT test.t(keep.transfer('l', 't23', 'a', 'world', 1000000)), test.t(keep.transfer('l', 't21', 'a', 'world', 1));
SELECT version = :v AS "a rejection and a replay do not" FROM keep.balance('l', 'a');

SELECT test.balances('l'), test.ledger_sound('l');
DROP FUNCTION test.open(text);
DROP TABLE l, l_transfers;
