-- Reversals, the compensating transfers: whole, in parts, the rest; never more than was moved and
-- not yet returned; the payee must have the money unless forced; rejections are stored, replays
-- answer as the first run did, other parameters are KP422.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD')),
    test.b(keep.open_account('l', 'shop', 'USD')), test.b(keep.open_account('l', 'bank', 'USD'));
SELECT test.t(keep.transfer('l', 'fund', 'world', 'a', 100)), test.t(keep.transfer('l', 'pay', 'a', 'shop', 60));

-- whole, once
SELECT test.t(keep.reverse_transfer('l', 'back', 'pay'));
SELECT test.t(keep.reverse_transfer('l', 'back', 'pay')), test.t(keep.reverse_transfer('l', 'back2', 'pay')),
    test.t(keep.reverse_transfer('l', 'back3', 'pay', 1));
SELECT id, status, reason, from_account, to_account, amount, part, reverses, force, reversed FROM l_transfers
    WHERE id LIKE 'back%' OR id = 'pay' ORDER BY id;
SELECT test.t(keep.transfer('l', 'pay', 'a', 'shop', 60)) AS "the original is what it was", test.t(keep.post_transfer('l', 'pay'));
SELECT test.balances('l'), test.ledger_sound('l');

-- in parts, then the rest; each replayed after the money has moved on
SELECT test.t(keep.transfer('l', 'pay2', 'a', 'shop', 50));
SELECT test.t(keep.reverse_transfer('l', 'p1', 'pay2', 20)), test.t(keep.reverse_transfer('l', 'p2', 'pay2', 31)),
    test.t(keep.reverse_transfer('l', 'p3', 'pay2', 5));
SELECT test.t(keep.reverse_transfer('l', 'p4', 'pay2')) AS "the rest: 25";
SELECT test.t(keep.reverse_transfer('l', 'p5', 'pay2')), test.t(keep.reverse_transfer('l', 'p6', 'pay2', 1));
SELECT test.t(keep.transfer('l', 'm1', 'world', 'a', 7)), test.t(keep.transfer('l', 'm2', 'world', 'shop', 7));
SELECT test.t(keep.reverse_transfer('l', 'p1', 'pay2', 20)), test.t(keep.reverse_transfer('l', 'p2', 'pay2', 31)),
    test.t(keep.reverse_transfer('l', 'p4', 'pay2')),
    test.t(keep.reverse_transfer('l', 'p5', 'pay2'));
SELECT amount, part, reversed FROM l_transfers WHERE id IN ('pay2', 'p4', 'p5') ORDER BY id;
SELECT test.balances('l'), test.ledger_sound('l');

-- the same id with anything else is KP422, whatever the state it is in
SELECT c, test.say(c) FROM (VALUES
    ($$reverse_transfer('l', 'p1', 'pay2', 21)$$),
    ($$reverse_transfer('l', 'p1', 'pay2')$$),
    ($$reverse_transfer('l', 'p1', 'pay', 20)$$),
    ($$reverse_transfer('l', 'p1', 'none', 20)$$),
    ($$reverse_transfer('l', 'p1', 'pay2', 20, true)$$),
    ($$reverse_transfer('l', 'p4', 'pay2', 25)$$),
    ($$reverse_transfer('l', 'p2', 'pay2')$$),
    ($$reverse_transfer('l', 'p5', 'pay2', 1)$$),
    ($$reverse_transfer('l', 'pay', 'pay2')$$),
    ($$reverse_transfer('l', 'pay2', 'pay2')$$),
    ($$reverse_transfer('l', 'fund', 'pay', 100)$$),
    ($$transfer('l', 'p1', 'shop', 'a', 20)$$),
    ($$transfer('l', 'p2', 'shop', 'a', 31)$$),
    ($$transfer_many('l', '{p1}', '{shop}', '{a}', '{20}')$$)
) v(c);
-- a reversal is a transfer like any other to post and void, but cannot be reversed
SELECT c, test.say(c) FROM (VALUES
    ($$post_transfer('l', 'p1')$$), ($$post_transfer('l', 'p1', 20)$$), ($$post_transfer('l', 'p1', 19)$$), ($$post_transfer('l', 'p2')$$),
    ($$void_transfer('l', 'p1')$$), ($$void_transfer('l', 'p2')$$),
    ($$reverse_transfer('l', 'pp', 'p1')$$), ($$reverse_transfer('l', 'pp', 'p2')$$), ($$reverse_transfer('l', 'pp', 'p1', 5, true)$$)
) v(c);
SELECT count(*) AS "no id spent" FROM l_transfers WHERE id = 'pp';

-- after the payee spent the money: rejected, for ever; what is left can be taken; forced, all of it
SELECT test.t(keep.transfer('l', 'pay3', 'a', 'shop', 40)), test.t(keep.transfer('l', 'spend', 'shop', 'bank', 45));
SELECT test.t(keep.reverse_transfer('l', 'r1', 'pay3'));
SELECT test.t(keep.reverse_transfer('l', 'r2', 'pay3', 2));
SELECT test.t(keep.transfer('l', 'earn', 'bank', 'shop', 40)), test.t(keep.reverse_transfer('l', 'r1', 'pay3'));
SELECT test.t(keep.transfer('l', 'spend2', 'shop', 'bank', 40)), test.t(keep.reverse_transfer('l', 'r3', 'pay3', 38, true));
SELECT test.b(keep.balance('l', 'shop'));
SELECT test.t(keep.reverse_transfer('l', 'r3', 'pay3', 38, true)), test.say($$reverse_transfer('l', 'r3', 'pay3', 38)$$),
    test.say($$reverse_transfer('l', 'r3', 'pay3', 38, false)$$);
SELECT test.t(keep.reverse_transfer('l', 'r4', 'pay3', 1, true)) AS "not more than was paid, forced or not";
-- what the payee has held is not there to be taken back, unless forced
SELECT test.t(keep.transfer('l', 'f', 'world', 'shop', 138)), test.t(keep.transfer('l', 'pay4', 'world', 'shop', 10));
SELECT test.t(keep.transfer('l', 'h', 'shop', 'bank', 109, '1 hour'));
SELECT test.t(keep.reverse_transfer('l', 'r5', 'pay4')), test.t(keep.reverse_transfer('l', 'r6', 'pay4', NULL, true));
SELECT test.t(keep.post_transfer('l', 'h'));
SELECT test.b(keep.balance('l', 'shop'));
SELECT id, force FROM l_transfers WHERE reverses IS NOT NULL AND id LIKE 'r%' ORDER BY id;
SELECT test.balances('l'), test.ledger_sound('l');

-- force passes over that alone: limits of the other side, a freeze and a missing account stand
SELECT keep.create_ledger('p');
SELECT test.b(keep.open_account('p', 'w', 'USD', NULL)), test.b(keep.open_account('p', 'x', 'USD', NULL, 0)),
    test.b(keep.open_account('p', 'y', 'USD')), test.b(keep.open_account('p', 'z', 'USD', NULL));
SELECT test.t(keep.transfer('p', 't1', 'x', 'y', 10)), test.t(keep.transfer('p', 't2', 'w', 'x', 10)), test.t(keep.transfer('p', 't3', 'y', 'z', 10)),
    test.t(keep.transfer('p', 't4', 'z', 'w', 4));
SELECT test.t(keep.reverse_transfer('p', 'b1', 't1')) AS "both: the first of the two", test.t(keep.reverse_transfer('p', 'b2', 't1', NULL, true));
SELECT (keep.freeze_account('p', 'x')).frozen, (keep.freeze_account('p', 'z')).frozen;
SELECT test.t(keep.reverse_transfer('p', 'b3', 't1', NULL, true)), test.t(keep.reverse_transfer('p', 'b4', 't4', NULL, true));
SELECT test.t(keep.reverse_transfer('p', 'b5', 't4', 5)) AS "exceeds before frozen", test.t(keep.reverse_transfer('p', 'b6', 't1', 11, true));
SELECT test.t(keep.transfer('p', 'bad', 'none', 'w', 1)), test.t(keep.reverse_transfer('p', 'b7', 'bad')),
    test.t(keep.reverse_transfer('p', 'b8', 'bad', 5, true)) AS "not_posted before all";
SELECT (keep.freeze_account('p', 'x', false)).frozen, (keep.freeze_account('p', 'z', false)).frozen;
SELECT test.t(keep.reverse_transfer('p', 'b4', 't4', NULL, true)) AS "stays rejected";
SELECT test.t(keep.reverse_transfer('p', 'b9', 't4'));
-- an account taken out by hand
DELETE FROM p WHERE id = 'z';
SELECT test.t(keep.reverse_transfer('p', 'b10', 't3', NULL, true)), test.t(keep.reverse_transfer('p', 'b11', 't3', 11)), test.balances('p');

-- of a hold: what was posted counts, not what was held
SELECT keep.create_ledger('h');
SELECT test.b(keep.open_account('h', 'w', 'USD', NULL)), test.b(keep.open_account('h', 'x', 'USD'));
SELECT test.t(keep.transfer('h', 'h1', 'w', 'x', 100, '1 hour'));
SELECT test.t(keep.reverse_transfer('h', 'r1', 'h1')), test.t(keep.reverse_transfer('h', 'r2', 'h1', 30));
SELECT test.t(keep.post_transfer('h', 'h1', 70));
SELECT test.t(keep.reverse_transfer('h', 'r1', 'h1')) AS "stays rejected", test.t(keep.reverse_transfer('h', 'r3', 'h1', 71)),
    test.t(keep.reverse_transfer('h', 'r4', 'h1', 50)), test.t(keep.reverse_transfer('h', 'r5', 'h1'));
SELECT test.t(keep.transfer('h', 'h2', 'w', 'x', 5, '1 hour')), test.t(keep.void_transfer('h', 'h2')), test.t(keep.reverse_transfer('h', 'r6', 'h2')),
    test.t(keep.reverse_transfer('h', 'r6', 'h2'));
SELECT test.t(keep.post_transfer('h', 'h1', 70)) AS "a replay after the reversals";
SELECT test.balances('h'), test.ledger_sound('h');
DROP TABLE l, l_transfers, p, p_transfers, h, h_transfers;
