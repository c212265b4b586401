-- Holds: money set aside, posted whole or in part, voided, or over at its time;
-- a hold that is over counts nowhere, swept or not, and is released before a rejection;
-- expire_holds() tidies in batches; a freeze stops posting and no release.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD')),
    test.b(keep.open_account('l', 'b', 'USD', 0, 100));
SELECT test.t(keep.transfer('l', 'fund', 'world', 'a', 100));

-- set aside on both sides: neither spent twice nor received beyond the limit
SELECT test.t(keep.transfer('l', 'h1', 'a', 'b', 60, '1 hour'));
SELECT test.b(keep.balance('l', 'a')), test.b(keep.balance('l', 'b')), test.b(keep.balance('l', 'world'));
SELECT test.t(keep.transfer('l', 't1', 'a', 'world', 41)), test.t(keep.transfer('l', 't2', 'world', 'b', 41));
SELECT test.t(keep.transfer('l', 't3', 'b', 'world', 1)) AS "what is held is not yet the payee's";
SELECT test.t(keep.transfer('l', 't4', 'a', 'world', 40)), test.t(keep.transfer('l', 't5', 'world', 'b', 40));

-- posted in part: the rest is free at once
SELECT test.t(keep.post_transfer('l', 'h1', 25));
SELECT test.b(keep.balance('l', 'a')), test.b(keep.balance('l', 'b'));
SELECT status, amount, held, part, from_balance, to_balance, settled_from_balance, settled_to_balance FROM l_transfers WHERE id = 'h1';
-- replays: of the hold and of the post, each with its own first run, after all has moved on
SELECT test.t(keep.transfer('l', 't6', 'a', 'world', 5)), test.t(keep.transfer('l', 't7', 'b', 'world', 5));
SELECT test.t(keep.post_transfer('l', 'h1', 25)), test.t(keep.transfer('l', 'h1', 'a', 'b', 60, '1 hour'));
SELECT test.say($$post_transfer('l', 'h1', 26)$$), test.say($$post_transfer('l', 'h1')$$), test.say($$post_transfer('l', 'h1', 60)$$);
SELECT test.say($$transfer('l', 'h1', 'a', 'b', 25, '1 hour')$$) AS "what was posted is not what was asked";
SELECT test.balances('l'), test.ledger_sound('l');

-- posted whole, with and without the amount; each is a request of its own
SELECT test.t(keep.transfer('l', 'h2', 'a', 'b', 10, '1 hour')), test.t(keep.transfer('l', 'h3', 'a', 'b', 10, '1 hour'));
SELECT test.t(keep.post_transfer('l', 'h2')), test.t(keep.post_transfer('l', 'h3', 10));
SELECT test.t(keep.post_transfer('l', 'h2')), test.t(keep.post_transfer('l', 'h3', 10));
SELECT test.say($$post_transfer('l', 'h2', 10)$$), test.say($$post_transfer('l', 'h3')$$);
SELECT test.t(keep.void_transfer('l', 'h2')) AS "too late";
-- voided
SELECT test.t(keep.transfer('l', 'f2', 'world', 'a', 200)), test.t(keep.transfer('l', 't9', 'b', 'world', 60));
SELECT test.t(keep.transfer('l', 'h4', 'a', 'b', 50, '1 hour'));
SELECT test.balances('l');
SELECT test.t(keep.void_transfer('l', 'h4'));
SELECT test.t(keep.transfer('l', 't8', 'a', 'world', 1));
SELECT test.t(keep.void_transfer('l', 'h4')) AS "balances of the void's first run", test.t(keep.post_transfer('l', 'h4')) AS "too late";
SELECT test.t(keep.transfer('l', 'h4', 'a', 'b', 50, '1 hour'));
SELECT test.balances('l'), test.ledger_sound('l');
-- the smallest part, and limits that were set lower since: what is held is held
SELECT test.t(keep.transfer('l', 'h5', 'a', 'b', 20, '1 hour')), test.t(keep.transfer('l', 'h6', 'a', 'b', 20, '1 hour'));
SELECT test.b(keep.set_account_limits('l', 'a', 1000, NULL)), test.b(keep.set_account_limits('l', 'b', 0, 1));
SELECT test.t(keep.post_transfer('l', 'h5', 1)), test.t(keep.post_transfer('l', 'h6'));
SELECT test.b(keep.set_account_limits('l', 'a', 0, NULL)), test.b(keep.set_account_limits('l', 'b', 0, 100));
SELECT test.balances('l'), test.ledger_sound('l');

-- frozen: no hold, no post; a void releases; thawed, the post goes on
SELECT test.t(keep.transfer('l', 'h7', 'a', 'b', 2, '1 hour')), test.t(keep.transfer('l', 'h8', 'a', 'b', 3, '1 hour'));
SELECT (keep.freeze_account('l', 'a')).frozen;
BEGIN;
SELECT test.writes('l', c), test.writes('l_transfers', c) FROM (VALUES ($$SELECT keep.post_transfer('l', 'h7')$$)) v(c);
COMMIT;
SELECT test.t(keep.transfer('l', 'h9', 'a', 'b', 1, '1 hour')), test.t(keep.post_transfer('l', 'h7')), test.t(keep.post_transfer('l', 'h7', 1));
SELECT test.say($$post_transfer('l', 'h7', 3)$$) AS "a mistake all the same";
SELECT test.t(keep.post_transfer('l', 'h5', 1)) AS "a replay all the same", test.t(keep.void_transfer('l', 'h8'));
SELECT (keep.freeze_account('l', 'a', false)).frozen, (keep.freeze_account('l', 'b')).frozen;
SELECT test.t(keep.post_transfer('l', 'h7')) AS "the payee is frozen", status, reason FROM l_transfers WHERE id = 'h7';
SELECT (keep.freeze_account('l', 'b', false)).frozen;
SELECT test.t(keep.post_transfer('l', 'h7')), test.ledger_sound('l');

-- over at its time: live a minute before, over at it
SELECT keep.create_ledger('o');
SELECT count(keep.open_account('o', x, 'USD')) FROM unnest('{a,b,c,d}'::text[]) x;
SELECT test.b(keep.open_account('o', 'world', 'USD', NULL)), test.b(keep.set_account_limits('o', 'b', 0, 100));
SELECT test.t(keep.transfer('o', 'fund', 'world', 'a', 100));
SELECT test.t(keep.transfer('o', 'h1', 'a', 'b', 30, '1 hour')), test.t(keep.transfer('o', 'h2', 'a', 'b', 30, '1 hour')),
    test.t(keep.transfer('o', 'h3', 'a', 'b', 30, '1 hour')), test.t(keep.transfer('o', 'later', 'a', 'c', 10, '2 hours'));
SET pg_keep.test_clock_offset = 3540000;
SELECT test.balances('o');
SELECT test.t(keep.transfer('o', 't1', 'a', 'world', 1));
SET pg_keep.test_clock_offset = 3600000;
SELECT test.balances('o') AS "nothing was swept", string_agg(status, ' ' ORDER BY id) FROM o_transfers;
SELECT debits_posted, debits_pending FROM o WHERE id = 'a';
SELECT test.b(keep.open_account('o', 'a', 'USD')) AS "as the other calls show it", test.b(keep.freeze_account('o', 'a', false)),
    test.b(keep.set_account_limits('o', 'a', 0, NULL));
-- released before a rejection, on the payer's side and on the payee's
SELECT test.t(keep.transfer('o', 't2', 'a', 'world', 91)) AS "too much all the same";
SELECT test.t(keep.transfer('o', 't3', 'a', 'world', 90));
SELECT test.balances('o'), string_agg(status, ' ' ORDER BY id) FROM o_transfers WHERE id LIKE 'h%';
SELECT test.ledger_sound('o');
RESET pg_keep.test_clock_offset;
SELECT test.t(keep.transfer('o', 'f4', 'world', 'a', 90)), test.t(keep.transfer('o', 'h4', 'a', 'b', 90, '1 hour'));
SELECT test.t(keep.transfer('o', 't4', 'world', 'b', 11));
SET pg_keep.test_clock_offset = 3600000;
SELECT test.t(keep.transfer('o', 't5', 'world', 'b', 101)), test.t(keep.transfer('o', 't6', 'world', 'b', 100));
SELECT test.balances('o'), status, settled_at >= expires_at FROM o_transfers WHERE id = 'h4';
RESET pg_keep.test_clock_offset;
-- in a batch as well, and by a reversal
SELECT test.t(keep.transfer('o', 'h5', 'a', 'd', 80, '1 hour')), test.t(keep.transfer('o', 'h6', 'b', 'd', 100, '1 hour'));
SET pg_keep.test_clock_offset = 3600000;
SELECT test.t(r) FROM keep.transfer_many('o', '{t7,t8,t9}', '{a,c,a}', '{c,a,c}', '{85,85,90}') r;
SELECT test.t(keep.reverse_transfer('o', 'back', 't6'));
SELECT test.balances('o'), test.ledger_sound('o');
RESET pg_keep.test_clock_offset;
-- post and void of one that is over release it and say so; again likewise
SELECT test.t(keep.transfer('o', 'h7', 'world', 'c', 7, '1 hour')), test.t(keep.transfer('o', 'h8', 'world', 'c', 8, '1 hour')),
    test.t(keep.transfer('o', 'h9', 'world', 'c', 9, '1 hour'));
SELECT (keep.freeze_account('o', 'c')).frozen;
SET pg_keep.test_clock_offset = 3600000;
SELECT test.t(keep.transfer('o', 'h7', 'world', 'c', 7, '1 hour'));
SELECT test.t(keep.post_transfer('o', 'h7', 3)), test.t(keep.void_transfer('o', 'h8'));
SELECT id, status, amount, held, part FROM o_transfers WHERE id IN ('h7', 'h8', 'h9') ORDER BY id;
SELECT test.t(keep.post_transfer('o', 'h7', 3)), test.t(keep.post_transfer('o', 'h8')), test.t(keep.void_transfer('o', 'h7')),
    test.t(keep.void_transfer('o', 'h8'));
SELECT (keep.freeze_account('o', 'c', false)).frozen, keep.expire_holds('o');
-- the clock put back, what has expired stays expired
RESET pg_keep.test_clock_offset;
SELECT test.t(keep.post_transfer('o', 'h9')), test.t(keep.transfer('o', 'h9', 'world', 'c', 9, '1 hour')), test.balances('o'), test.ledger_sound('o');

-- expire_holds: batch by batch, the longest over first, and no live one
SELECT keep.expire_holds('o');
SELECT count(keep.transfer('o', 'e' || i, 'world', CASE WHEN i % 2 = 0 THEN 'c' ELSE 'd' END, i, i * interval '1 min')) FROM generate_series(1, 9) i;
SET pg_keep.test_clock_offset = 420000;
SELECT keep.expire_holds('o', 2);
SELECT string_agg(id, ' ' ORDER BY id) FROM o_transfers WHERE status = 'pending';
SELECT keep.expire_holds('o', 4), keep.expire_holds('o', 4), keep.expire_holds('o');
SELECT string_agg(id, ' ' ORDER BY id) FROM o_transfers WHERE status = 'pending';
SELECT test.b(keep.balance('o', 'world')), test.ledger_sound('o');
RESET pg_keep.test_clock_offset;

-- intervals of days and months are the calendar's; a very long hold is one
SET timezone = 'Europe/Berlin';
SELECT (keep.transfer('o', 'l1', 'world', 'c', 1, '1 month')).status;
SELECT expires_at = created_at + interval '1 month', hold FROM o_transfers WHERE id = 'l1';
SELECT test.t(keep.transfer('o', 'l1', 'world', 'c', 1, '30 days')) LIKE '%replayed' AS "equal as intervals are";
RESET timezone;
SELECT (keep.transfer('o', 'l2', 'world', 'c', 1, '5000 years')).status;
SELECT test.code($$SELECT keep.transfer('o', 'l3', 'world', 'c', 1, '400000 years')$$) AS "past the end of time", count(*) FROM o_transfers
    WHERE id = 'l3';

DROP TABLE l, l_transfers, o, o_transfers;
