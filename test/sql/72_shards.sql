-- Accounts in shards: limits, funds, holds, units and freezes are those of the whole account, also
-- where no one shard could do it; balance() is exact; one shard or many make no difference to
-- any answer but the balances in it.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD'));
SELECT test.b(keep.open_account('l', 'hot', 'USD', 0, 1000, 16));
SELECT id, count(*), min(shard), max(shard), min(shards), max(shards), min(unit), bool_or(frozen), min(min_balance), max(max_balance), sum(floor),
    sum(ceiling)
    FROM l GROUP BY id ORDER BY id;
-- opened again
SELECT test.b(keep.open_account('l', 'hot', 'USD', 0, 1000, 16));
SELECT test.code($$SELECT keep.open_account('l', 'hot', 'USD', 0, 1000)$$), test.code($$SELECT keep.open_account('l', 'hot', 'USD', 0, 1000, 15)$$),
    test.code($$SELECT keep.open_account('l', 'hot', 'EUR', 0, 1000, 16)$$), test.code($$SELECT keep.open_account('l', 'hot', 'USD', -1, 1000, 16)$$);
SELECT test.b(keep.open_account('l', 'wide', 'USD', NULL, NULL, 256)), test.b(keep.open_account('l', 'two', 'USD', -100, NULL, 2)),
    test.b(keep.open_account('l', 'odd', 'USD', -100, 10, 3));
SELECT id, count(*), sum(floor), sum(ceiling) FROM l GROUP BY id ORDER BY id;

-- the whole limit, at once and bit by bit; the whole funds likewise
SELECT test.t(keep.transfer('l', 't1', 'world', 'hot', 1001)), test.t(keep.transfer('l', 't2', 'world', 'hot', 1000)),
    test.t(keep.transfer('l', 't3', 'world', 'hot', 1));
SELECT test.t(keep.transfer('l', 't4', 'hot', 'a', 1001)), test.t(keep.transfer('l', 't5', 'hot', 'a', 1000)),
    test.t(keep.transfer('l', 't6', 'hot', 'a', 1));
SELECT test.b(keep.balance('l', 'hot'));
SELECT count(*) FROM generate_series(1, 100) i, LATERAL keep.transfer('l', 'u' || i, 'world', 'hot', 10) r WHERE r.status = 'posted';
SELECT test.t(keep.transfer('l', 'u101', 'world', 'hot', 1));
SELECT test.t(keep.transfer('l', 't7', 'hot', 'a', 999)), test.t(keep.transfer('l', 't8', 'hot', 'a', 2)),
    test.t(keep.transfer('l', 't9', 'hot', 'a', 1));
SELECT test.b(keep.balance('l', 'hot')), sum(floor), sum(ceiling) FROM l WHERE id = 'hot';
SELECT status, count(*) FROM keep.transfer_many('l', (SELECT array_agg('v' || i)
    FROM generate_series(1, 1500) i), array_fill('world'::text, '{1500}'),
    array_fill('hot'::text, '{1500}'), array_fill(1::bigint, '{1500}')) GROUP BY 1 ORDER BY 1;
SELECT status, count(*) FROM keep.transfer_many('l', (SELECT array_agg('w' || i) FROM generate_series(1, 1500) i), array_fill('hot'::text, '{1500}'),
    array_fill('two'::text, '{1500}'), array_fill(1::bigint, '{1500}')) GROUP BY 1 ORDER BY 1;
SELECT test.balances('l'), test.ledger_sound('l');
-- below zero as far as the minimum goes
SELECT test.t(keep.transfer('l', 'x1', 'two', 'odd', 11)), test.t(keep.transfer('l', 'x2', 'two', 'odd', 10)),
    test.t(keep.transfer('l', 'x3', 'odd', 'wide', 110)), test.t(keep.transfer('l', 'x4', 'odd', 'wide', 1)),
    test.t(keep.transfer('l', 'x5', 'two', 'wide', 1091)), test.t(keep.transfer('l', 'x6', 'two', 'wide', 1090));
SELECT test.t(keep.transfer('l', 'x7', 'wide', 'two', 5000)), test.t(keep.transfer('l', 'x8', 'wide', 'odd', 110)),
    test.t(keep.transfer('l', 'x9', 'wide', 'odd', 1));
SELECT test.balances('l'), test.ledger_sound('l');
SELECT test.t(keep.transfer('l', 'x2', 'two', 'odd', 10)), test.t(keep.transfer('l', 'x1', 'two', 'odd', 11)) AS "replays";

-- holds, posts, voids, reversals across shards
SELECT test.t(keep.transfer('l', 'h1', 'two', 'hot', 900, '1 hour')), test.t(keep.transfer('l', 'h2', 'two', 'hot', 101, '1 hour')),
    test.t(keep.transfer('l', 'h3', 'two', 'hot', 100, '1 hour'));
SELECT test.b(keep.balance('l', 'two')), test.b(keep.balance('l', 'hot'));
SELECT test.t(keep.transfer('l', 'h4', 'two', 'wide', 4001)), test.t(keep.transfer('l', 'h5', 'two', 'wide', 4000)),
    test.t(keep.transfer('l', 'h6', 'two', 'wide', 1));
SELECT test.t(keep.post_transfer('l', 'h1', 400)), test.t(keep.void_transfer('l', 'h3')), test.t(keep.post_transfer('l', 'h1', 400)),
    test.t(keep.void_transfer('l', 'h3'));
SELECT test.b(keep.balance('l', 'two')), test.b(keep.balance('l', 'hot'));
SELECT test.t(keep.transfer('l', 'h7', 'hot', 'a', 390)), test.t(keep.reverse_transfer('l', 'b1', 'h1')),
    test.t(keep.reverse_transfer('l', 'b2', 'h1', 10)), test.t(keep.reverse_transfer('l', 'b3', 'h1', 390, true));
SELECT test.b(keep.balance('l', 'hot')), test.b(keep.balance('l', 'two'));
SELECT test.t(keep.transfer('l', 'h8', 'world', 'hot', 390));
-- over, swept and not
SELECT test.t(keep.transfer('l', 'h9', 'two', 'hot', 500, '1 hour')), test.t(keep.transfer('l', 'h10', 'hot', 'two', 1, '2 hours'));
SELECT test.t(keep.transfer('l', 'h11', 'world', 'hot', 500)), test.t(keep.transfer('l', 'h12', 'hot', 'world', 500, '1 hour')),
    test.t(keep.transfer('l', 'h13', 'world', 'hot', 501));
SET pg_keep.test_clock_offset = 3600000;
SELECT test.b(keep.balance('l', 'hot')), test.b(keep.balance('l', 'two'));
SELECT test.t(keep.transfer('l', 'h14', 'world', 'hot', 501)), test.t(keep.transfer('l', 'h15', 'world', 'hot', 500)),
    test.t(keep.transfer('l', 'h16', 'hot', 'world', 1000));
SELECT test.b(keep.balance('l', 'hot')), keep.expire_holds('l');
SELECT test.b(keep.balance('l', 'hot')), test.b(keep.balance('l', 'two')), test.ledger_sound('l');
RESET pg_keep.test_clock_offset;

-- new limits are those of the whole at once; a freeze is
SELECT test.b(keep.set_account_limits('l', 'hot', -7, 10));
SELECT sum(floor), sum(ceiling), min(min_balance), max(min_balance), min(max_balance), max(max_balance), min(opened_limits::text), max(opened_limits::text)
    FROM l WHERE id = 'hot';
SELECT test.t(keep.transfer('l', 'y1', 'hot', 'a', 8)), test.t(keep.transfer('l', 'y2', 'hot', 'a', 7)),
    test.t(keep.transfer('l', 'y3', 'hot', 'a', 1)),
    test.t(keep.transfer('l', 'y4', 'world', 'hot', 18)), test.t(keep.transfer('l', 'y5', 'world', 'hot', 17)),
        test.t(keep.transfer('l', 'y6', 'world', 'hot', 1));
SELECT test.code($$SELECT keep.open_account('l', 'hot', 'USD', 0, 1000, 16)$$),
    test.code($$SELECT keep.open_account('l', 'hot', 'USD', -7, 10, 16)$$);
SELECT test.b(keep.set_account_limits('l', 'hot', NULL, NULL)), test.t(keep.transfer('l', 'y7', 'hot', 'a', 1000)),
    test.b(keep.set_account_limits('l', 'hot', 0, NULL)), test.t(keep.transfer('l', 'y8', 'hot', 'a', 1));
SELECT test.t(keep.transfer('l', 'y9', 'world', 'hot', 1000)), test.b(keep.freeze_account('l', 'hot')),
    test.t(keep.transfer('l', 'y10', 'hot', 'a', 1)), test.t(keep.transfer('l', 'y11', 'world', 'hot', 1)),
    test.b(keep.freeze_account('l', 'hot', false));
SELECT test.t(keep.transfer('l', 'y12', 'hot', 'a', 10)), test.balances('l'), test.ledger_sound('l');
-- near the ends of bigint: each shard's share of it
SELECT test.b(keep.open_account('l', 'huge', 'USD', NULL, NULL, 4)),
    test.say($$transfer('l', 'z1', 'wide', 'huge', 9223372036854775807)$$) LIKE '22003%', test.balances('l');

-- A session keeps to one shard while that will do. This gives it another: it turns the numbers of
-- the account's shards, there and in its transfers.
CREATE FUNCTION test.turn(l regclass, a text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n int;
BEGIN
    EXECUTE format('SELECT max(shards) FROM %s WHERE id = $1', l) INTO n USING a;
    EXECUTE format('UPDATE %s SET shard = -1 - shard WHERE id = $1', l) USING a;
    EXECUTE format('UPDATE %s SET shard = -shard %% shards WHERE id = $1', l) USING a;
    EXECUTE format('UPDATE %s_transfers SET from_shard = (from_shard + 1) %% $2 WHERE from_account = $1', l) USING a, n;
    EXECUTE format('UPDATE %s_transfers SET to_shard = (to_shard + 1) %% $2 WHERE to_account = $1', l) USING a, n;
END $$;
SELECT keep.create_ledger('t');
SELECT test.b(keep.open_account('t', 'world', 'USD', NULL)), test.b(keep.open_account('t', 'poor', 'USD', -100, NULL, 4)),
    test.b(keep.open_account('t', 'full', 'USD', 0, 10, 4));
SELECT test.t(keep.transfer('t', 't1', 'poor', 'world', 60)), test.turn('t', 'poor'), test.t(keep.transfer('t', 't2', 'poor', 'world', 41)),
    test.t(keep.transfer('t', 't3', 'poor', 'world', 40)), test.turn('t', 'poor'), test.t(keep.transfer('t', 't4', 'poor', 'world', 1));
SELECT test.t(keep.transfer('t', 't5', 'world', 'full', 6)), test.turn('t', 'full'), test.t(keep.transfer('t', 't6', 'world', 'full', 5)),
    test.t(keep.transfer('t', 't7', 'world', 'full', 4)), test.turn('t', 'full'), test.t(keep.transfer('t', 't8', 'world', 'full', 1));
-- taken from all shards at once; holds stay on the shard that they were made on
SELECT test.t(keep.transfer('t', 't9', 'full', 'world', 7)), test.turn('t', 'full'), test.t(keep.transfer('t', 't10', 'full', 'world', 4)),
    test.t(keep.transfer('t', 't11', 'full', 'world', 3, '1 hour')), test.turn('t', 'full'), test.t(keep.transfer('t', 't12', 'full', 'world', 1));
SELECT test.t(keep.transfer('t', 't13', 'world', 'full', 2, '1 hour')), test.turn('t', 'full'), test.t(keep.post_transfer('t', 't13', 1)),
    test.t(keep.post_transfer('t', 't11', 2)), test.turn('t', 'full'), test.t(keep.transfer('t', 't14', 'full', 'world', 3)),
    test.t(keep.transfer('t', 't15', 'full', 'world', 2)), test.t(keep.reverse_transfer('t', 't16', 't9', 6));
SELECT test.balances('t'), test.ledger_sound('t');
DROP TABLE t, t_transfers;

-- one shard or many: the same requests, the same answers. The first number opens two accounts with that many shards.
CREATE FUNCTION test.requests(l regclass, n int) RETURNS TABLE (nr int, answer text) LANGUAGE plpgsql AS $$
DECLARE
    f text;
    t text;
    h interval;
BEGIN
    PERFORM keep.open_account(l, 'w', 'USD', NULL), keep.open_account(l, 'a', 'USD', 0, 500), keep.open_account(l, 's', 'USD', -100, 700, n),
        keep.open_account(l, 'r', 'USD', 0, NULL, n);
    FOR i IN 1..600 LOOP
        f := ('{w,a,s,r,w,s}'::text[])[1 + i * 7 % 6];
        t := ('{a,s,r,w,s}'::text[])[1 + i * 3 % 5];
        h := CASE WHEN i % 7 = 0 THEN interval '1 hour' END;
        nr := i;
        CONTINUE WHEN f = t;
        answer := concat_ws(' ', r.status, r.reason, r.amount) FROM keep.transfer(l, 't' || i, f, t, i * 37 % 120 + 1, h) r;
        RETURN NEXT;
        IF i % 20 = 0 THEN
            answer := string_agg(concat_ws(' ', r.id, r.status, r.reason, r.amount), ', ')
                FROM keep.transfer_many(l, ARRAY['m' || i, 'n' || i, 'o' || i], ARRAY[f, t, 's'], ARRAY[t, f, 'r'], ARRAY[i % 90 + 1, i % 70 + 1, 60], NULL, NULL, CASE WHEN i % 40 = 0 THEN '{c,NULL,c}'::text[] END) r;
            RETURN NEXT;
            answer := test.balances(l);
            RETURN NEXT;
        END IF;
        IF i % 28 = 0 THEN
            answer := regexp_replace(test.say(format('post_transfer(%L, ''t%s'', %s)', l, i, i % 30 + 1)), ', now \S+ and \S+', ',');
            RETURN NEXT;
        ELSIF i % 21 = 0 THEN
            answer := regexp_replace(test.say(format('void_transfer(%L, ''t%s'')', l, i)), ', now \S+ and \S+', ',');
            RETURN NEXT;
        ELSIF i % 5 = 0 THEN
            answer := regexp_replace(test.say(format('reverse_transfer(%L, ''v%s'', ''t%s'', %s, %s)', l, i, i - i % 9, i % 40 + 1, i % 2 = 0)), ', now \S+ and \S+', ',');
            RETURN NEXT;
        END IF;
        IF i % 20 = 10 THEN
            PERFORM test.turn(l, 's'), test.turn(l, 'r');
        END IF;
        IF i = 300 THEN PERFORM keep.set_account_limits(l, 's', -20, 300), keep.set_account_limits(l, 'r', -50, 900); END IF;
    END LOOP;
END $$;
SELECT keep.create_ledger('n' || n) FROM unnest('{1,2,5,16,40}'::int[]) n;
CREATE TABLE answers AS SELECT n, r.* FROM unnest('{1,2,5,16,40}'::int[]) n, LATERAL test.requests(('n' || n)::regclass, n) r;
SELECT substring(answer FROM '^\w+(?: [a-z_]+)?') AS kind, count(*) FROM answers
    WHERE n = 1 AND answer ~ '^(posted|pending|rejected)' GROUP BY 1 ORDER BY 1;
SELECT n, nr, answer FROM ((SELECT n, nr, answer FROM answers WHERE n > 1) EXCEPT (SELECT m, nr, answer FROM answers, unnest('{2,5,16,40}'::int[]) m
    WHERE n = 1)) x ORDER BY n, nr LIMIT 10;
SELECT n, test.ledger_sound(('n' || n)::regclass) FROM unnest('{1,2,5,16,40}'::int[]) n;
SELECT test.balances('n1') = test.balances('n2'), test.balances('n1') = test.balances('n5'), test.balances('n1') = test.balances('n16'),
    test.balances('n1') = test.balances('n40');
DROP FUNCTION test.requests(regclass, int);
DROP FUNCTION test.turn(regclass, text);
DROP TABLE l, l_transfers, answers, n1, n1_transfers, n2, n2_transfers, n5, n5_transfers, n16, n16_transfers, n40, n40_transfers;
