-- Chains: items with one label succeed or fail together. The culprit keeps its reason, the others
-- are chain_failed; what a failed chain did is undone before others are decided; replays,
-- mismatches and second occurrences in a chain; chains that interleave, with plain items between.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

-- A batch written as "id from to amount chain [hold]; ...", '-' being no chain.
CREATE FUNCTION test.chain(l regclass, batch text, report text = 'all') RETURNS SETOF text LANGUAGE sql AS $$
    SELECT test.t(r) FROM (
        SELECT array_agg(p[1] ORDER BY o) AS i, array_agg(p[2] ORDER BY o) AS f, array_agg(p[3] ORDER BY o) AS t, array_agg(p[4]::bigint ORDER BY o) AS n,
            array_agg(nullif(p[5], '-') ORDER BY o) AS c, array_agg(p[6]::interval ORDER BY o) AS h
        FROM unnest(string_to_array(batch, '; ')) WITH ORDINALITY x(s, o), LATERAL (SELECT regexp_split_to_array(s, ' ') AS p) y) b,
        LATERAL keep.transfer_many(l, i, f, t, n, h, NULL, c, report) r
$$;
CREATE FUNCTION test.ledger_of_abc(name text) RETURNS text LANGUAGE sql AS $$
    SELECT keep.create_ledger(name);
    SELECT string_agg((keep.open_account(name::regclass, x, 'USD', CASE WHEN x = 'w' THEN NULL ELSE 0 END)).account, ' ')
        FROM unnest('{w,a,b,c,d}'::text[]) x;
$$;

-- all or none
SELECT test.ledger_of_abc('l');
SELECT test.chain('l', 'f w a 100 -');
SELECT test.chain('l', 'x1 a b 50 x; x2 b c 50 x; x3 c d 50 x');
SELECT test.balances('l');
SELECT test.chain('l', 'y1 a b 50 y; y2 b c 51 y; y3 c d 1 y') AS "in the middle";
SELECT test.chain('l', 'y4 a b 51 y; y5 d b 50 y') AS "the first";
SELECT test.chain('l', 'y6 a b 50 y; y7 d c 50 y; y8 c a 101 y') AS "the last";
SELECT test.balances('l'), test.ledger_sound('l');
SELECT id, status, reason, amount, chain, from_balance, to_balance FROM l_transfers WHERE chain = 'y' ORDER BY id;
-- a single culprit, and one item alone in its chain
SELECT test.chain('l', 'y9 a b 51 alone'), test.chain('l', 'y10 a b 50 alone'), test.chain('l', 'y11 b a 50 alone');
-- every reason
SELECT test.chain('l', 'r1 a b 1 r; r2 a none 1 r; r3 b c 1 r');
SELECT (keep.freeze_account('l', 'd')).frozen;
SELECT test.chain('l', 'r4 a b 1 r; r5 a d 1 r');
SELECT (keep.freeze_account('l', 'd', false)).frozen, test.b(keep.set_account_limits('l', 'c', 0, 5));
SELECT test.chain('l', 'r6 a b 1 r; r7 w c 6 r');
SELECT test.chain('l', 'r8 a none 1 r; r9 none b 1 r') AS "the first culprit is the culprit";
SELECT test.balances('l'), test.ledger_sound('l');
-- holds in a chain
SELECT test.chain('l', 'h1 a b 50 h 1:00; h2 d c 5 h 1:00');
SELECT test.balances('l');
SELECT test.chain('l', 'h3 d b 45 h 1:00; h4 a b 1 h');
SELECT test.balances('l'), test.ledger_sound('l');

-- a failed chain is a stored answer like any other
SELECT test.chain('l', 'f2 w a 1000 -');
SELECT test.chain('l', 'y1 a b 50 y; y2 b c 51 y; y3 c d 1 y') AS "replayed";
SELECT test.chain('l', 'x1 a b 50 x; x2 b c 50 x; x3 c d 50 x') AS "and one that went well";
SELECT test.t(keep.transfer('l', 'y1', 'a', 'b', 50)), test.t(keep.transfer('l', 'x2', 'b', 'c', 50)) AS "the label is not compared";
SELECT test.chain('l', 'x1 a b 50 other; x2 b c 50 -; x3 c d 50 third');
SELECT test.say($$post_transfer('l', 'y1')$$), test.say($$reverse_transfer('l', 'back y1', 'y1')$$);
-- part replayed: what went well counts as a success, what was rejected is the culprit
SELECT test.chain('l', 'x1 a b 50 p; p1 a b 1 p');
SELECT test.chain('l', 'p2 a b 1 p; y1 a b 50 p; p3 a b 1 p');
SELECT test.chain('l', 'p4 a b 1 p; h1 a b 50 p 1:00; p5 a b 1 p');
SELECT test.t(keep.void_transfer('l', 'h1')), test.t(keep.reverse_transfer('l', 'back', 'x3'));
SELECT test.chain('l', 'p6 a b 1 p; h1 a b 50 p 1:00; x3 c d 50 p; p7 a b 1 p') AS "whatever became of it since";
SELECT test.chain('l', 'p8 a b 1 p; p9 a none 1 p; x1 a b 50 p; y1 a b 50 p') AS "after the culprit replays are replays";
-- a mismatch is a culprit
SELECT test.chain('l', 'm1 a b 1 m; x1 a b 51 m; m2 a b 1 m');
SELECT status, amount FROM l_transfers WHERE id IN ('x1', 'm1', 'm2') ORDER BY id;
-- second occurrences
SELECT test.chain('l', 'd1 a b 1 d; d2 a b 1 d; d1 a b 1 d') AS "a replay is a success";
SELECT test.chain('l', 'd3 a b 1 d; d4 a b 1 d; d3 a b 2 d') AS "a mismatch is a culprit";
SELECT test.chain('l', 'd5 a b 1 d; d5 a b 1 d; d6 b none 1 d; d5 a b 1 d') AS "the second of what failed";
SELECT test.chain('l', 'd7 a b 1 -; d8 a b 1 d; d7 a b 1 d; d9 b none 1 d') AS "a plain item stays, its second occurrence in a chain or not";
SELECT test.chain('l', 'd10 a b 1 d; d11 a none 1 d; d10 a b 1 -; d10 a b 1 e; d12 a b 1 e') AS "the second of a failed one in another chain";
SELECT test.balances('l'), test.ledger_sound('l');

-- undone before the next is decided: the money is there again
SELECT test.ledger_of_abc('u');
SELECT test.chain('u', 'f w a 100 -');
SELECT test.chain('u', 'x1 a b 100 x; x2 b none 1 x; p1 a c 100 -; y1 c d 100 y; y2 d a 100 y');
SELECT test.balances('u'), test.ledger_sound('u');
-- plain items between those of a chain that fails, and of one that goes well
SELECT test.chain('u', 'x3 a b 100 x; p2 a c 60 -; x4 a none 1 x');
SELECT test.balances('u');
SELECT test.chain('u', 'x5 a b 40 x; p3 b d 30 -; x6 b c 11 x; p4 a w 1 -');
SELECT test.balances('u');
SELECT test.chain('u', 'x7 c d 50 x; p5 c b 10 -; p6 d w 50 -; x8 d none 1 x') AS "what it had paid is not there to spend";
SELECT test.balances('u'), test.ledger_sound('u');

-- two chains interleaved: both well, one, the other, none
SELECT test.ledger_of_abc('i');
SELECT test.chain('i', 'f w a 100 -; g w b 100 -');
SELECT test.chain('i', 'x1 a c 10 x; y1 b d 10 y; x2 c b 10 x; y2 d a 10 y');
SELECT test.chain('i', 'x3 a c 10 x; y3 b d 10 y; x4 c none 10 x; y4 d a 10 y');
SELECT test.balances('i');
SELECT test.chain('i', 'x5 a c 10 x; y5 b d 10 y; x6 c b 10 x; y6 d a 11 y');
SELECT test.balances('i');
SELECT test.chain('i', 'x7 a c 10 x; y7 b d 10 y; y8 d a 11 y; x8 c b 11 x');
SELECT test.balances('i'), test.ledger_sound('i');
-- one lives on what the other, which fails later, had brought: it is decided again without it
SELECT test.chain('i', 'x9 a c 50 x; y9 c d 50 y; x10 a none 1 x; y10 d b 1 y');
SELECT test.balances('i'), test.ledger_sound('i');
-- three, nested
SELECT test.chain('i', 'x11 a c 1 x; y11 a c 2 y; z11 a c 4 z; z12 c none 1 z; y12 c d 2 y; x12 c d 1 x', 'exceptions');
SELECT test.balances('i'), test.ledger_sound('i');
-- the same label in another call is another chain
SELECT test.chain('i', 'x13 a c 1 x'), test.chain('i', 'x14 a none 1 x'), test.chain('i', 'x15 a c 1 x');

-- report 'exceptions' and JSON
SELECT test.chain('i', 'e1 a c 1 e; e2 a c 1 e; e3 a c 1 g; e4 a none 1 g; e5 a c 1 -', 'exceptions');
SELECT test.t(r) FROM keep.transfer_batch('i', '[{"id": "j1", "from_account": "a", "to_account": "b", "amount": 1, "chain": "j"}, {"id": "j2", "from_account": "a", "to_account": "b", "amount": 1},
    {"id": "j3", "from_account": "a", "to_account": "none", "amount": 1, "chain": "j"}]') r;
-- a mistake in a chain is a mistake of the call
SELECT test.code($$SELECT test.chain('i', 'k1 a b 1 k; k2 a a 1 k')$$), count(*) FROM i_transfers WHERE id LIKE 'k_';
SELECT test.balances('i'), test.ledger_sound('i');
-- many that interleave, each failing at its end, with one that goes well
SELECT count(*), count(*) FILTER (WHERE c LIKE '%chain_failed%'), count(*) FILTER (WHERE c LIKE '%account_not_found%'), count(*) FILTER (WHERE c LIKE '%posted%')
    FROM test.chain('i', (SELECT string_agg(format('u%s w a 1 u%s', i, i), '; ' ORDER BY i) FROM generate_series(1, 100) i) || '; v1 a b 1 v; '
        || (SELECT string_agg(format('uu%s w none 1 u%s', i, i), '; ' ORDER BY i) FROM generate_series(1, 100) i) || '; v2 b a 1 v') c;
-- a long one
SELECT count(*), count(*) FILTER (WHERE c LIKE '%posted%') FROM test.chain('i', (SELECT string_agg(format('n%s w a 1 n', i), '; ' ORDER BY i)
    FROM generate_series(1, 3000) i)) c;
SELECT count(*), count(*) FILTER (WHERE c LIKE '%chain_failed%') FROM test.chain('i', (SELECT string_agg(format('o%s w a 1 n', i), '; ' ORDER BY i)
    FROM generate_series(1, 3000) i) || '; o w none 1 n') c;
-- one chain an item, all failing: one after the other they are no burden
SELECT count(*), count(*) FILTER (WHERE c LIKE '%account_not_found%')
    FROM test.chain('i', (SELECT string_agg(format('q%s w none 1 q%s', i, i), '; ' ORDER BY i) FROM generate_series(1, 3000) i)) c;
SELECT test.balances('i'), test.ledger_sound('i');
DROP FUNCTION test.chain(regclass, text, text);
DROP FUNCTION test.ledger_of_abc(text);
DROP TABLE l, l_transfers, u, u_transfers, i, i_transfers;
