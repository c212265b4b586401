-- Mistakes in a request for a transfer: each kind raises, alone and in a batch, where the message
-- says which item; nothing is stored and the id is not spent, so the request put right runs.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'a', 'USD', NULL)), test.b(keep.open_account('l', 'b', 'USD', NULL));
SELECT test.t(keep.transfer('l', 'held', 'a', 'b', 10, '1 hour')), test.t(keep.transfer('l', 'done', 'a', 'b', 10));
SELECT test.t(keep.reverse_transfer('l', 'back', 'done', 1));
SELECT md5(string_agg(t::text, ',' ORDER BY id)) AS before FROM l_transfers t \gset
SELECT md5(string_agg(t::text, ',' ORDER BY id)) AS accounts FROM l t \gset

-- alone
SELECT c, test.say(c) FROM (VALUES
    ($$transfer(NULL, 'x', 'a', 'b', 1)$$),
    ($$transfer('l', NULL, 'a', 'b', 1)$$),
    ($$transfer('l', 'x', NULL, 'b', 1)$$),
    ($$transfer('l', 'x', 'a', NULL, 1)$$),
    ($$transfer('l', 'x', 'a', 'b', NULL)$$),
    ($$transfer('l', '', 'a', 'b', 1)$$),
    ($$transfer('l', 'x', '', 'b', 1)$$),
    ($$transfer('l', 'x', 'a', '', 1)$$),
    ($$transfer('l', 'x', 'a', 'a', 1)$$),
    ($$transfer('l', 'x', 'none', 'none', 1)$$),
    ($$transfer('l', 'x', 'a', 'b', 0)$$),
    ($$transfer('l', 'x', 'a', 'b', -1)$$),
    ($$transfer('l', 'x', 'a', 'b', -9223372036854775808)$$),
    ($$transfer('l', 'x', 'a', 'b', 1, '0')$$),
    ($$transfer('l', 'x', 'a', 'b', 1, '-1 s')$$),
    ($$transfer('l', 'x', 'a', 'b', 1, '1 month -40 days')$$),
    ($$transfer('l', 'done', 'a', 'b', 0)$$),
    ($$transfer('l', 'done', 'a', 'a', 10)$$),
    ($$post_transfer(NULL, 'held')$$),
    ($$post_transfer('l', NULL)$$),
    ($$post_transfer('l', '')$$),
    ($$post_transfer('l', 'held', 0)$$),
    ($$post_transfer('l', 'held', -1)$$),
    ($$post_transfer('l', 'held', 11)$$),
    ($$post_transfer('l', 'none')$$),
    ($$post_transfer('l', 'none', 0)$$),
    ($$void_transfer(NULL, 'held')$$),
    ($$void_transfer('l', NULL)$$),
    ($$void_transfer('l', '')$$),
    ($$void_transfer('l', 'none')$$),
    ($$reverse_transfer(NULL, 'x', 'done')$$),
    ($$reverse_transfer('l', NULL, 'done')$$),
    ($$reverse_transfer('l', 'x', NULL)$$),
    ($$reverse_transfer('l', 'x', 'done', 1, NULL)$$),
    ($$reverse_transfer('l', '', 'done')$$),
    ($$reverse_transfer('l', 'x', '')$$),
    ($$reverse_transfer('l', 'x', 'done', 0)$$),
    ($$reverse_transfer('l', 'x', 'done', -1)$$),
    ($$reverse_transfer('l', 'x', 'none')$$),
    ($$reverse_transfer('l', 'x', 'x')$$),
    ($$reverse_transfer('l', 'x', 'back')$$),
    ($$reverse_transfer('l', 'x', 'back', 1, true)$$)
) v(c);
SELECT c, test.sqlstate('SELECT keep.' || c) FROM (VALUES
    ($$expire_holds(NULL)$$), ($$expire_holds('l', NULL)$$), ($$expire_holds('l', 0)$$), ($$expire_holds('l', -1)$$)) v(c);

-- in a batch: item 2 of 3, the others being good
CREATE FUNCTION test.batch(i text = 'x2', f text = 'a', t text = 'b', n bigint = 1, h interval = NULL, c text = NULL) RETURNS text
LANGUAGE sql AS $$
    SELECT test.say(format('transfer_many(''l'', %L, %L, %L, %L, %L, NULL, %L)', ARRAY['x1', i, 'x3'], ARRAY['a', f, 'a'], ARRAY['b', t, 'b'],
        ARRAY[1, n, 1], ARRAY[NULL, h, NULL], ARRAY[NULL, c, NULL]))
$$;
SELECT test.batch(i => NULL);
SELECT test.batch(f => NULL);
SELECT test.batch(t => NULL);
SELECT test.batch(n => NULL);
SELECT test.batch(i => '');
SELECT test.batch(f => '');
SELECT test.batch(t => '');
SELECT test.batch(c => '');
SELECT test.batch(t => 'a');
SELECT test.batch(n => 0);
SELECT test.batch(n => -5);
SELECT test.batch(h => '0');
SELECT test.batch(h => '-1 hour');
SELECT regexp_replace(test.batch(i => repeat('x', 1025)), 'x{9,}', 'x...') AS id;
SELECT regexp_replace(test.batch(f => repeat('x', 1025)), 'x{9,}', 'x...') AS "from";
SELECT regexp_replace(test.batch(t => repeat('x', 1025)), 'x{9,}', 'x...') AS "to";
SELECT regexp_replace(test.batch(c => repeat('x', 1025)), 'x{9,}', 'x...') AS chain;

-- the batch as a whole
SELECT c, test.say(c) FROM (VALUES
    ($$transfer_many(NULL, '{x}', '{a}', '{b}', '{1}')$$),
    ($$transfer_many('l', NULL, '{a}', '{b}', '{1}')$$),
    ($$transfer_many('l', '{x}', NULL, '{b}', '{1}')$$),
    ($$transfer_many('l', '{x}', '{a}', NULL, '{1}')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', NULL)$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1}', report => NULL)$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1}', report => 'some')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1}', report => '')$$),
    ($$transfer_many('l', '{}', '{}', '{}', '{}')$$),
    ($$transfer_many('l', '{x,y}', '{a}', '{b}', '{1}')$$),
    ($$transfer_many('l', '{x}', '{a,a}', '{b}', '{1}')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b,b}', '{1}')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1,1}')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1}', '{1 h,1 h}')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1}', NULL, '{}')$$),
    ($$transfer_many('l', '{x}', '{a}', '{b}', '{1}', NULL, NULL, '{c,c}')$$),
    ($$transfer_many('l', '{{x},{y}}', '{a,a}', '{b,b}', '{1,1}')$$),
    ($$transfer_many('l', (SELECT array_agg(i::text) FROM generate_series(1, 100001) i), array_fill('a'::text, '{100001}'),
        array_fill('b'::text, '{100001}'), array_fill(1::bigint, '{100001}'))$$),
    ($$transfer_batch(NULL, '[]')$$),
    ($$transfer_batch('l', NULL)$$),
    ($$transfer_batch('l', '[]')$$),
    ($$transfer_batch('l', '{}')$$),
    ($$transfer_batch('l', '1')$$),
    ($$transfer_batch('l', 'null')$$),
    ($$transfer_batch('l', '[1]')$$),
    ($$transfer_batch('l', '[null]')$$),
    ($$transfer_batch('l', '[[]]')$$)
) v(c);

-- one object of a batch that is not right; it stands second
SELECT o, test.say(format($$transfer_batch('l', '[{"id": "x1", "from_account": "a", "to_account": "b", "amount": 1}, %s]')$$, o)) FROM (VALUES
    ('{}'),
    ('{"from_account": "a", "to_account": "b", "amount": 1}'),
    ('{"id": "x2", "to_account": "b", "amount": 1}'),
    ('{"id": "x2", "from_account": "a", "amount": 1}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b"}'),
    ('{"id": null, "from_account": "a", "to_account": "b", "amount": 1}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": null}'),
    ('{"id": 2, "from_account": "a", "to_account": "b", "amount": 1}'),
    ('{"id": "x2", "from_account": ["a"], "to_account": "b", "amount": 1}'),
    ('{"id": "x2", "from_account": "a", "to_account": true, "amount": 1}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": "1"}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1.5}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 9223372036854775808}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1e30}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 0}'),
    ('{"id": "x2", "from_account": "a", "to_account": "a", "amount": 1}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "hold": "soon"}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "hold": "0"}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "hold": 60}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "chain": 1}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "chain": ""}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "from": "a"}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "Hold": "1 hour"}'),
    ('{"id": "x2", "from_account": "a", "to_account": "b", "amount": 1, "hold": null, "chain": null, "metadata": null, "force": true}')
) v(o);
SELECT test.say($$transfer_batch('l', '[{"id": "x1", "from_account": "a", "to_account": "b", "amount": 1}]', 'none')$$),
    test.say($$transfer_batch('l', '[{"id": "x1", "from_account": "a", "to_account": "b", "amount": 1}]', NULL)$$);

-- nothing was stored, and the requests put right run under the same ids
SELECT md5(string_agg(t::text, ',' ORDER BY id)) = :'before' AS "transfers as they were" FROM l_transfers t;
SELECT md5(string_agg(t::text, ',' ORDER BY id)) = :'accounts' AS "and the accounts" FROM l t;
SELECT test.t(keep.transfer('l', 'x', 'a', 'b', 1)), test.batch();
SELECT test.say($$transfer_batch('l', '[{"id": "x4", "from_account": "a", "to_account": "b", "amount": 1, "hold": null, "chain": null, "metadata": null}]')$$);
SELECT test.say($$transfer_batch('l', '[{"id": "x5", "from_account": "a", "to_account": "b", "amount": 2, "hold": "1 hour", "chain": "c", "metadata": {"n": 1}}]')$$);
SELECT id, amount, hold, chain, metadata FROM l_transfers WHERE id IN ('x4', 'x5') ORDER BY id;
SELECT test.balances('l'), test.ledger_sound('l');

-- the lengths that are allowed
SELECT test.b(keep.open_account('l', repeat('y', 1024), 'USD', NULL)) IS NOT NULL;
SELECT status, length(id) FROM keep.transfer('l', repeat('x', 1024), 'a', repeat('y', 1024), 1);
SELECT test.code($$SELECT keep.transfer('l', repeat('x', 1025), 'a', 'b', 1)$$),
    test.code($$SELECT keep.transfer('l', repeat('ü', 513), 'a', 'b', 1)$$),
    test.code($$SELECT keep.transfer('l', 'x', 'a', repeat('y', 1025), 1)$$),
        test.code($$SELECT keep.transfer('l', 'x', repeat('y', 1025), 'b', 1)$$),
    test.code($$SELECT keep.post_transfer('l', repeat('x', 1025))$$), test.code($$SELECT keep.reverse_transfer('l', 'x', repeat('x', 1025))$$);
SELECT status FROM keep.transfer_many('l', ARRAY['x6'], '{a}', '{b}', '{1}', NULL, NULL, ARRAY[repeat('c', 1024)]);
SELECT count(*) FROM l_transfers;

DROP FUNCTION test.batch(text, text, text, bigint, interval, text);
DROP TABLE l, l_transfers;
