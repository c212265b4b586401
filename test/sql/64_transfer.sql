-- transfer(): runs once whatever the retries; a replay answers with the balances of the first run
-- after everything has moved on; another request under the same id is KP422; rejections are stored
-- with their reason and stay rejections.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD'));
SELECT test.b(keep.open_account('l', 'b', 'USD')), test.b(keep.open_account('l', 'c', 'USD', 0, 150));
SELECT test.b(keep.open_account('l', 'eur', 'EUR', NULL));

SELECT test.t(keep.transfer('l', 't1', 'world', 'a', 100));
SELECT * FROM keep.transfer('l', 't1', 'world', 'a', 100) \gset r_
SELECT :'r_created_at'::timestamptz BETWEEN now() - interval '1 min' AND keep.clock() AS "created just now";
SELECT test.t(keep.transfer('l', 't2', 'a', 'b', 30, metadata => '{"order": 7}'));
SELECT test.t(keep.transfer('l', 't3', 'a', 'b', 20, '1 hour', '{"order": 8}'));
SELECT test.b(keep.balance('l', 'a')), test.b(keep.balance('l', 'b'));

-- replays, also with other metadata or none: the first run's balances and time, nothing written
SELECT test.t(keep.transfer('l', 't4', 'a', 'world', 5)), test.t(keep.transfer('l', 't5', 'world', 'b', 1000));
BEGIN;
SELECT test.writes('l', c) AS accounts, test.writes('l_transfers', c) AS transfers FROM (VALUES
    ($$SELECT keep.transfer('l', 't1', 'world', 'a', 100)$$),
    ($$SELECT keep.transfer('l', 't2', 'a', 'b', 30)$$),
    ($$SELECT keep.transfer('l', 't3', 'a', 'b', 20, '1 hour')$$)) v(c);
COMMIT;
SELECT test.t(keep.transfer('l', 't1', 'world', 'a', 100));
SELECT created_at = :'r_created_at' AS "created then" FROM keep.transfer('l', 't1', 'world', 'a', 100);
SELECT test.t(keep.transfer('l', 't2', 'a', 'b', 30));
SELECT test.t(keep.transfer('l', 't2', 'a', 'b', 30, NULL, '{"order": "another"}'));
SELECT test.t(keep.transfer('l', 't3', 'a', 'b', 20, '60 min'));
SELECT metadata FROM l_transfers WHERE id = 't2';
SELECT expires_at - created_at, created_at BETWEEN now() - interval '1 min' AND keep.clock() FROM l_transfers WHERE id = 't3';
-- whatever became of the accounts
SELECT test.b(keep.freeze_account('l', 'a')), test.b(keep.set_account_limits('l', 'b', NULL, 10));
SELECT test.t(keep.transfer('l', 't1', 'world', 'a', 100)), test.t(keep.transfer('l', 't2', 'a', 'b', 30));
SELECT test.b(keep.freeze_account('l', 'a', false)), test.b(keep.set_account_limits('l', 'b', 0, NULL));

-- another request under the same id: each parameter, with the text of the first
SELECT c, test.say(c) FROM (VALUES
    ($$transfer('l', 't2', 'world', 'b', 30)$$),
    ($$transfer('l', 't2', 'a', 'world', 30)$$),
    ($$transfer('l', 't2', 'b', 'a', 30)$$),
    ($$transfer('l', 't2', 'a', 'none', 30)$$),
    ($$transfer('l', 't2', 'a', 'b', 31)$$),
    ($$transfer('l', 't2', 'a', 'b', 30, '1 hour')$$),
    ($$transfer('l', 't3', 'a', 'b', 20)$$),
    ($$transfer('l', 't3', 'a', 'b', 20, '61 min')$$),
    ($$transfer('l', 't3', 'a', 'b', 19, '1 hour')$$)
) v(c);
SELECT test.balances('l'), count(*) FROM l_transfers;
-- ids differ by every byte
SELECT test.t(keep.transfer('l', 'T2', 'a', 'b', 1)), test.t(keep.transfer('l', 't2 ', 'a', 'b', 1)), test.t(keep.transfer('l', ' t2', 'a', 'b', 1));

-- a rejection of each reason
SELECT test.b(keep.open_account('l', 'ice', 'USD', NULL)), test.b(keep.freeze_account('l', 'ice'));
SELECT test.t(keep.transfer('l', 'r1', 'a', 'b', 43)) AS "42 are available";
SELECT test.t(keep.transfer('l', 'r2', 'a', 'c', 42)) AS "all of it";
SELECT test.t(keep.transfer('l', 'r3', 'world', 'c', 109));
SELECT test.t(keep.transfer('l', 'r4', 'world', 'c', 108));
SELECT test.t(keep.transfer('l', 'r5', 'world', 'none', 1)), test.t(keep.transfer('l', 'r6', 'none', 'world', 1));
SELECT test.t(keep.transfer('l', 'r7', 'none', 'nobody', 1));
SELECT test.t(keep.transfer('l', 'r8', 'world', 'ice', 1)), test.t(keep.transfer('l', 'r9', 'ice', 'world', 1));
SELECT test.t(keep.transfer('l', 'r10', 'world', 'eur', 1)), test.t(keep.transfer('l', 'r11', 'eur', 'world', 1));
SELECT test.t(keep.transfer('l', 'r12', 'a', 'b', 1, '1 hour', '{"for": "a hold"}'));
SELECT test.balances('l');
SELECT id, status, reason, amount, from_account, to_account, from_balance, to_balance, expires_at, hold, metadata
    FROM l_transfers WHERE status = 'rejected' ORDER BY length(id), id;

-- a rejection is for ever: also once the account could pay, exists, is thawed, has room
SELECT test.t(keep.transfer('l', 'more', 'world', 'a', 1000)), test.b(keep.set_account_limits('l', 'c', 0, NULL));
SELECT test.b(keep.open_account('l', 'none', 'USD', NULL)), test.b(keep.open_account('l', 'nobody', 'USD', NULL));
SELECT test.b(keep.freeze_account('l', 'ice', false));
SELECT test.t(keep.transfer('l', 'r1', 'a', 'b', 43)), test.t(keep.transfer('l', 'r3', 'world', 'c', 109));
SELECT test.t(keep.transfer('l', 'r5', 'world', 'none', 1)), test.t(keep.transfer('l', 'r6', 'none', 'world', 1));
SELECT test.t(keep.transfer('l', 'r8', 'world', 'ice', 1)), test.t(keep.transfer('l', 'r9', 'ice', 'world', 1));
SELECT test.t(keep.transfer('l', 'r12', 'a', 'b', 1, '1 hour'));
SELECT c, test.say(c) FROM (VALUES
    ($$transfer('l', 'r1', 'a', 'b', 42)$$), ($$transfer('l', 'r1', 'a', 'c', 43)$$), ($$transfer('l', 'r12', 'a', 'b', 1)$$)) v(c);
-- a new attempt is a new id
SELECT test.t(keep.transfer('l', 'r1 again', 'a', 'b', 43));
SELECT test.balances('l'), test.ledger_sound('l');

-- where several reasons hold, the first of them in the contract's order
SELECT keep.create_ledger('p');
SELECT test.b(keep.open_account('p', 'poor', 'USD')), test.b(keep.open_account('p', 'full', 'USD', 0, 0));
SELECT test.b(keep.open_account('p', 'rich', 'USD', NULL)), test.b(keep.open_account('p', 'euro', 'EUR', NULL));
SELECT test.b(keep.open_account('p', 'full euro', 'EUR', 0, 0)), test.b(keep.open_account('p', 'poor ice', 'USD'));
SELECT test.b(keep.open_account('p', 'full ice', 'USD', 0, 0)), test.b(keep.open_account('p', 'euro ice', 'EUR', 0, 0));
SELECT count(keep.freeze_account('p', x)) FROM unnest('{poor ice,full ice,euro ice}'::text[]) x;
SELECT what, f, t, (keep.transfer('p', what, f, t, 1)).reason FROM (VALUES
    ('not found, unit, frozen, funds: from', 'none', 'euro ice'),
    ('not found, frozen, funds: to', 'poor ice', 'none'),
    ('unit, frozen, funds', 'poor ice', 'euro'),
    ('unit, frozen, limit', 'rich', 'euro ice'),
    ('unit, funds', 'poor', 'euro'),
    ('unit, limit', 'rich', 'full euro'),
    ('frozen, funds', 'poor ice', 'rich'),
    ('frozen to, funds', 'poor', 'full ice'),
    ('frozen, limit', 'rich', 'full ice'),
    ('funds, limit', 'poor', 'full'),
    ('limit', 'rich', 'full')
) v(what, f, t);
SELECT test.balances('p'), test.ledger_sound('p');

DROP TABLE l, l_transfers, p, p_transfers;
