-- transfer_many() and transfer_batch(): results in input order, each item decided on what the ones
-- before it left; replays, mismatches and second occurrences answered item by item; a batch
-- succeeds or fails item by item; report 'exceptions' leaves out what went well, and only that.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD')), test.b(keep.open_account('l', 'b', 'USD')),
    test.b(keep.open_account('l', 'c', 'USD', 0, 100));
SELECT test.b(keep.open_account('l', 'eur', 'EUR', NULL)), test.b(keep.open_account('l', 'ice', 'USD', NULL)),
    test.b(keep.freeze_account('l', 'ice'));

-- fund an account and spend from it in one batch; the order is the input's, not the accounts' or ids'
SELECT test.t(r) FROM keep.transfer_many('l', '{z,y,x,w,v}', '{a,world,a,a,b}', '{b,a,b,b,c}', '{1,100,60,41,60}') r;
SELECT test.t(r) FROM keep.transfer_many('l', '{u,t,s}', '{c,world,c}', '{b,c,b}', '{61,41,60}') r;
SELECT test.balances('l'), test.ledger_sound('l');
-- every kind of answer in one
SELECT test.t(keep.transfer('l', 'held', 'a', 'b', 5, '1 hour')), test.t(keep.transfer('l', 'gone', 'a', 'b', 5, '1 hour')),
    test.t(keep.void_transfer('l', 'gone'));
SELECT array_agg(x.i) AS i, array_agg(f) AS f, array_agg(t) AS t, array_agg(n) AS n, array_agg(h) AS h FROM (VALUES
    ('y', 'world', 'a', 100, NULL), ('y', 'world', 'a', 101, NULL), ('z', 'a', 'b', 1, NULL), ('held', 'a', 'b', 5, '1 hour'),
        ('held', 'a', 'b', 5, NULL),
    ('gone', 'a', 'b', 5, '1 hour'), ('n1', 'a', 'b', 35, NULL), ('n2', 'a', 'b', 1, '1 hour'), ('n3', 'world', 'a', 2, NULL),
        ('n2', 'a', 'b', 1, '1 hour'),
    ('n4', 'a', 'b', 1, '2 hours'), ('n5', 'a', 'ice', 1, NULL), ('n6', 'a', 'eur', 1, NULL), ('n7', 'a', 'none', 1, NULL),
        ('n8', 'world', 'c', 101, NULL),
    ('n3', 'world', 'b', 2, NULL), ('n1', 'a', 'b', 35, NULL), ('n9', 'a', 'b', 1, NULL)) x(i, f, t, n, h) \gset
BEGIN;
SELECT test.t(r) FROM keep.transfer_many('l', :'i', :'f', :'t', :'n', :'h') r;
SELECT test.balances('l');
ROLLBACK;
-- the same with report 'exceptions': neither the newly posted nor the newly held
BEGIN;
SELECT test.t(r) FROM keep.transfer_many('l', :'i', :'f', :'t', :'n', :'h', report => 'exceptions') r;
SELECT test.balances('l');
ROLLBACK;
-- and from JSON
SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', i, 'from_account', f, 'to_account', t, 'amount', n, 'hold', h)) ORDER BY o) AS items
FROM unnest(:'i'::text[], :'f'::text[], :'t'::text[], :'n'::bigint[], :'h'::text[]) WITH ORDINALITY x(i, f, t, n, h, o) \gset
BEGIN;
SELECT array_agg(test.t(r)) AS many FROM keep.transfer_many('l', :'i', :'f', :'t', :'n', :'h') r \gset
ROLLBACK;
BEGIN;
SELECT array_agg(test.t(r)) = :'many' AS "the same answers" FROM keep.transfer_batch('l', :'items') r;
ROLLBACK;
SELECT test.t(r) FROM keep.transfer_batch('l', :'items', 'exceptions') r;
SELECT test.balances('l'), test.ledger_sound('l');
-- once more: everything is a replay, with the same answers as the first time
SELECT test.t(r) FROM keep.transfer_many('l', :'i', :'f', :'t', :'n', :'h') r;
SELECT test.balances('l'), count(*) FROM l_transfers;
SELECT count(*) FROM keep.transfer_many('l', '{ok}', '{world}', '{a}', '{1}', report => 'exceptions');

-- nothing is stored for a mismatch
SELECT amount, to_account FROM l_transfers WHERE id IN ('y', 'n3') ORDER BY id;
-- metadata and chains are kept where given
SELECT test.t(r) FROM keep.transfer_many('l', '{k1,k2,k3}', '{world,world,world}', '{a,a,a}', '{1,2,3}', '{NULL,1 hour,NULL}',
    ARRAY['{"n": 1}', NULL, '[2]']::jsonb[], '{NULL,one,one}') r;
SELECT test.t(r) FROM keep.transfer_batch('l', '[{"id": "k4", "from_account": "world", "to_account": "a", "amount": 1, "metadata": {"deep": [1, null]}, "chain": "c"},
    {"metadata": "text", "amount": 2, "to_account": "a", "from_account": "world", "id": "k5", "hold": "1 day"}]') r;
SELECT id, amount, hold, metadata, chain FROM l_transfers WHERE id LIKE 'k_' ORDER BY id;

-- second occurrences: a replay of what the first became, with its balances; or a mismatch, of which nothing stays
SELECT test.t(r) FROM keep.transfer_many('l', '{d1,d1,d2,d2,d3,d3,d3,d1}', '{world,world,b,b,world,world,world,world}', '{a,a,none,none,a,a,a,a}', '{1,1,1,1,1,2,1,1}',
    '{NULL,NULL,NULL,NULL,1 hour,1 hour,1 hour,NULL}') r;
SELECT test.t(r) FROM keep.transfer_many('l', '{d4,d4,d4}', '{c,world,c}', '{a,c,a}', '{1,100,1}') r;
SELECT id, status, amount FROM l_transfers WHERE id LIKE 'd_' ORDER BY id;
SELECT test.balances('l'), test.ledger_sound('l');

-- limits, freezes and units are looked at for each item on its own
SELECT test.t(r) FROM keep.transfer_many('l', '{e1,e2,e3,e4,e5,e6}', '{world,world,c,world,world,c}', '{c,c,a,c,ice,c2}', '{95,6,1,6,1,1}') r;
SELECT test.balances('l');
-- a payer is spent to the last, not further, whatever the number of items
SELECT test.b(keep.open_account('l', 'purse', 'USD')), test.t(keep.transfer('l', 'p0', 'world', 'purse', 10));
SELECT status, reason, count(*) FROM keep.transfer_many('l', (SELECT array_agg('p' || i) FROM generate_series(1, 25) i),
    array_fill('purse'::text, '{25}'), array_fill('b'::text, '{25}'), array_fill(1::bigint, '{25}')) GROUP BY 1, 2 ORDER BY 1;
SELECT string_agg(id, ' ' ORDER BY length(id), id) FROM l_transfers WHERE status = 'posted' AND id ~ '^p\d' AND from_account = 'purse';
SELECT test.b(keep.balance('l', 'purse'));
-- one item is a batch; lower bounds of the arrays do not matter
SELECT test.t(r) FROM keep.transfer_many('l', '[5:6]={q1,q2}', '[0:1]={world,world}', '{a,b}', '[-3:-2]={1,2}') r;
SELECT test.t(r) FROM keep.transfer_many('l', '{q3}', '{world}', '{a}', '{1}') r;
SELECT test.ledger_sound('l');

-- many: 20000 items over 100 accounts, and once more as replays; each account is written once
SELECT keep.create_ledger('big');
SELECT count(keep.open_account('big', 'a' || i, 'USD', NULL)) FROM generate_series(1, 100) i;
SELECT array_agg(to_char(i, 'FM00000')) AS i, array_agg('a' || (1 + i % 100)) AS f, array_agg('a' || (1 + (i * 7 + 1) % 100)) AS t, array_agg(i) AS n
    FROM generate_series(1, 20000) i
    WHERE i % 100 <> (i * 7 + 1) % 100 \gset
BEGIN;
SELECT test.writes('big', format('SELECT count(*) FROM keep.transfer_many(''big'', %L, %L, %L, %L)', :'i', :'f', :'t', :'n')) LIKE '0 inserted, 100 updated%';
COMMIT;
SELECT status, replayed, count(*), sum(amount) FROM keep.transfer_many('big', :'i', :'f', :'t', :'n') GROUP BY 1, 2;
SELECT count(*) FROM keep.transfer_many('big', :'i', :'f', :'t', :'n', report => 'exceptions');
SELECT count(*), sum(amount), test.ledger_sound('big') FROM big_transfers;
SELECT count(*) FROM (SELECT id, row_number() OVER () AS o FROM keep.transfer_many('big', :'i', :'f', :'t', :'n')) x
    JOIN unnest(:'i'::text[]) WITH ORDINALITY y(id, o) USING (id, o);
DROP TABLE l, l_transfers, big, big_transfers;
