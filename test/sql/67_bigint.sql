-- Sums near the ends of bigint: what does not fit is 22003 and stores nothing, with holds counted
-- in; a stored rejection comes before it; what just fits works.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
\set max 9223372036854775807

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'w', 'USD', NULL)), test.b(keep.open_account('l', 'v', 'USD', NULL)),
    test.b(keep.open_account('l', 'a', 'USD', NULL));
SELECT test.b(keep.open_account('l', 'poor', 'USD')), test.b(keep.open_account('l', 'small', 'USD', NULL, 10));

-- all there is, in one
SELECT test.t(keep.transfer('l', 't1', 'w', 'a', :max));
SELECT test.b(keep.balance('l', 'w')), test.b(keep.balance('l', 'a'));
SELECT test.say($$transfer('l', 't2', 'w', 'v', 1)$$) AS "debits of w", test.say($$transfer('l', 't2', 'v', 'a', 1)$$) AS "credits of a";
SELECT test.say($$transfer('l', 't2', 'w', 'v', 1, '1 hour')$$) AS "debits of w", test.say($$transfer('l', 't2', 'v', 'a', 1, '1 hour')$$) AS "credits of a";
SELECT test.say($$transfer('l', 't2', 'w', 'a', 9223372036854775807)$$);
SELECT test.t(keep.transfer('l', 't2', 'a', 'w', :max)) AS "the other two counters";
SELECT test.say($$transfer('l', 't3', 'a', 'v', 1)$$) AS "debits of a", test.say($$transfer('l', 't3', 'v', 'w', 1)$$) AS "credits of w";
SELECT test.t(keep.transfer('l', 't1', 'w', 'a', :max)) AS "a replay";
SELECT test.say($$reverse_transfer('l', 'back', 't2', 1)$$), count(*) FROM l_transfers;
SELECT test.balances('l');

-- a rejection comes first
SELECT test.t(keep.transfer('l', 'r1', 'poor', 'a', 1)), test.t(keep.transfer('l', 'r2', 'w', 'small', 11));
SELECT test.t(keep.transfer('l', 'r3', 'w', 'none', 1)), test.t(keep.transfer('l', 'r4', 'poor', 'small', :max));
-- limits are reckoned with, not wrapped round: the lowest minimum, the highest maximum
SELECT test.b(keep.open_account('l', 'low', 'USD', -:max)), test.b(keep.open_account('l', 'high', 'USD', NULL, :max));
SELECT test.t(keep.transfer('l', 'n1', 'low', 'high', :max));
SELECT test.t(keep.transfer('l', 'n2', 'v', 'high', 1)) AS "above the highest limit: a rejection";
SELECT test.say($$transfer('l', 'n3', 'low', 'v', 1)$$) AS "a rejection, not an overflow";
SELECT test.sqlstate($$SELECT keep.open_account('l', 'lower', 'USD', -9223372036854775808)$$) AS "no balance can be that low",
    test.code($$SELECT keep.set_account_limits('l', 'low', NULL, -9223372036854775808)$$);
SELECT test.t(keep.transfer('l', 'n4', 'poor', 'v', :max));
SELECT test.b(keep.set_account_limits('l', 'high', :max, NULL)), test.b(keep.set_account_limits('l', 'low', NULL, -:max));
SELECT test.t(keep.transfer('l', 'n5', 'high', 'v', :max)), test.t(keep.transfer('l', 'n6', 'v', 'low', :max));

-- holds count
SELECT keep.create_ledger('h');
SELECT count(keep.open_account('h', x, 'USD', NULL)) FROM unnest('{a,b,c}'::text[]) x;
SELECT test.t(keep.transfer('h', 'h1', 'a', 'b', :max - 10, '1 hour'));
SELECT test.say($$transfer('h', 'h2', 'a', 'c', 11)$$), test.say($$transfer('h', 'h2', 'a', 'c', 11, '1 hour')$$);
SELECT test.say($$transfer('h', 'h2', 'c', 'b', 11)$$), test.say($$transfer('h', 'h2', 'c', 'b', 11, '1 hour')$$);
SELECT test.t(keep.transfer('h', 'h2', 'a', 'c', 10)), test.t(keep.transfer('h', 'h3', 'c', 'b', 10, '1 hour'));
SELECT test.say($$transfer('h', 'h4', 'a', 'c', 1)$$), test.say($$transfer('h', 'h4', 'c', 'b', 1)$$);
SELECT test.b(keep.balance('h', 'a')), test.b(keep.balance('h', 'b'));
SELECT test.t(keep.post_transfer('h', 'h1')), test.t(keep.post_transfer('h', 'h3', 4));
SELECT test.t(keep.transfer('h', 'h5', 'c', 'b', 6)) AS "what a part post gave back";
SELECT test.say($$transfer('h', 'h6', 'c', 'b', 1)$$);
SELECT test.b(keep.balance('h', 'a')), test.b(keep.balance('h', 'b'));
SELECT test.ledger_sound('h'), test.ledger_sound('l');
-- a void gives room back; so does a hold that is over
SELECT keep.create_ledger('o');
SELECT count(keep.open_account('o', x, 'USD', NULL)) FROM unnest('{a,b,c}'::text[]) x;
SELECT test.t(keep.transfer('o', 'h1', 'a', 'b', :max, '1 hour')), test.t(keep.void_transfer('o', 'h1'));
SELECT test.t(keep.transfer('o', 'h2', 'a', 'b', :max, '1 hour'));
SELECT test.say($$transfer('o', 't1', 'a', 'b', 1)$$);
SET pg_keep.test_clock_offset = 3600000;
SELECT test.t(keep.transfer('o', 't1', 'a', 'b', 1));
SELECT test.t(keep.transfer('o', 't2', 'a', 'b', :max - 1, '1 hour'));
SELECT test.b(keep.balance('o', 'a')), test.b(keep.balance('o', 'b')), test.ledger_sound('o');
RESET pg_keep.test_clock_offset;

-- REPEATABLE READ releases such a hold only where both its accounts are the call's own; else its sum is still
-- in the counter: no room, and no wrong counter
SELECT keep.create_ledger('r');
SELECT count(keep.open_account('r', x, 'USD', NULL)) FROM unnest('{a,b,c}'::text[]) x;
SELECT test.t(keep.transfer('r', 'h1', 'a', 'b', :max, '1 hour'));
SET pg_keep.test_clock_offset = 3600000;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.say($$transfer('r', 't1', 'a', 'c', 9223372036854775800, '1 hour')$$), test.say($$transfer('r', 't1', 'c', 'b', 9223372036854775800, '1 hour')$$);
SELECT test.say($$transfer_many('r', '{t1}', '{a}', '{b}', '{9223372036854775800}', '{1 hour}')$$);
COMMIT;
SELECT id, debits_pending, credits_pending FROM r ORDER BY id;
SELECT test.t(keep.transfer('r', 't1', 'a', 'b', 9223372036854775800, '1 hour')), test.ledger_sound('r');
RESET pg_keep.test_clock_offset;

-- in a batch the whole call is refused, with its good items and its rejections
SELECT keep.create_ledger('m');
SELECT count(keep.open_account('m', x, 'USD', NULL)) FROM unnest('{a,b,c}'::text[]) x;
SELECT test.say($$transfer_many('m', '{m1,m2,m3}', '{a,none,a}', '{b,b,c}', '{9223372036854775807,1,1}')$$) AS debits;
SELECT test.say($$transfer_many('m', '{m1,m2,m3}', '{a,none,c}', '{b,b,b}', '{9223372036854775807,1,1}')$$) AS credits;
SELECT test.say($$transfer_many('m', '{m1,m2}', '{a,c}', '{b,b}', '{9223372036854775807,1}', '{1 hour,NULL}')$$) AS "behind a hold";
SELECT test.say($$transfer_many('m', '{m1,m2}', '{a,c}', '{b,b}', '{9223372036854775807,1}', NULL, NULL, '{x,x}')$$) AS "in a chain";
SELECT count(*), test.balances('m') FROM m_transfers;
SELECT test.say($$transfer_many('m', '{m1,m2,m3}', '{a,b,a}', '{b,a,c}', '{9223372036854775806,9223372036854775807,1}')$$);
SELECT test.balances('m'), test.ledger_sound('m');
DROP TABLE r, r_transfers, l, l_transfers, h, h_transfers, o, o_transfers, m, m_transfers;
