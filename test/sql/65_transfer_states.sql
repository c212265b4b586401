-- The contract's table of states, every cell: each call on an id in each state, what it answers,
-- what the transfer is afterwards, and that the money agrees.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

SELECT keep.create_ledger('l');
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD', NULL)),
    test.b(keep.open_account('l', 'poor', 'USD'));

-- one transfer for each cell, of 100, in that state
CREATE FUNCTION test.into_state(state text, i text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CASE state
        WHEN 'absent' THEN NULL;
        WHEN 'pending' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100, '1 day');
        WHEN 'over' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100, '1 hour');
        WHEN 'over, swept' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100, '1 minute');
        WHEN 'posted' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100);
        WHEN 'posted hold' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100, '1 day'), keep.post_transfer('l', i);
        WHEN 'posted part' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100, '1 day'), keep.post_transfer('l', i, 60);
        WHEN 'voided' THEN PERFORM keep.transfer('l', i, 'world', 'a', 100, '1 day'), keep.void_transfer('l', i);
        WHEN 'rejected' THEN PERFORM keep.transfer('l', i, 'poor', 'a', 100);
    END CASE;
END $$;
CREATE TABLE state (nr int GENERATED ALWAYS AS IDENTITY, state text, hold text, payer text);
INSERT INTO state (state, hold, payer) VALUES ('absent', 'NULL', 'world'), ('pending', '''1 day''', 'world'), ('over', '''1 hour''', 'world'),
    ('over, swept', '''1 minute''', 'world'), ('posted', 'NULL', 'world'), ('posted hold', '''1 day''', 'world'),
        ('posted part', '''1 day''', 'world'),
    ('voided', '''1 day''', 'world'), ('rejected', 'NULL', 'poor');
CREATE TABLE op (nr int GENERATED ALWAYS AS IDENTITY, op text, call text);
INSERT INTO op (op, call) VALUES
    ('transfer again', $$transfer('l', '$1', '$2', 'a', 100, $3)$$),
    ('transfer other', $$transfer('l', '$1', '$2', 'a', 99, $3)$$),
    ('post', $$post_transfer('l', '$1')$$),
    ('post 60', $$post_transfer('l', '$1', 60)$$),
    ('post 100', $$post_transfer('l', '$1', 100)$$),
    ('post 101', $$post_transfer('l', '$1', 101)$$),
    ('void', $$void_transfer('l', '$1')$$),
    ('reverse', $$reverse_transfer('l', 'back of $1', '$1')$$),
    ('reverse 60', $$reverse_transfer('l', 'back of $1', '$1', 60)$$),
    ('reverse 61', $$reverse_transfer('l', 'back of $1', '$1', 61)$$),
    ('reverse 101', $$reverse_transfer('l', 'back of $1', '$1', 101)$$);
CREATE VIEW cell AS
    SELECT s.nr AS snr, o.nr AS onr, s.state, o.op, s.state || '/' || o.op AS id,
        replace(replace(replace(o.call, '$1', s.state || '/' || o.op), '$2', s.payer), '$3', s.hold) AS call
    FROM state s, op o;
-- What a call answers, without balances, and what the second time.
CREATE FUNCTION test.twice(call text, i text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    one text := regexp_replace(replace(test.say(call), i, 'id'), ', now [-0-9]+ and [-0-9]+', '');
    two text := regexp_replace(replace(test.say(call), i, 'id'), ', now [-0-9]+ and [-0-9]+', '');
BEGIN
    RETURN one || CASE WHEN two = one THEN '' ELSE ' | ' || two END;
END $$;

-- first those that are to be swept, with the clock at half an hour, when the others still hold
SELECT count(test.into_state(state, id)) FROM cell WHERE state = 'over, swept';
SET pg_keep.test_clock_offset = 1800000;
SELECT keep.expire_holds('l');
RESET pg_keep.test_clock_offset;
SELECT count(test.into_state(state, id)) FROM cell WHERE state <> 'over, swept';
SET pg_keep.test_clock_offset = 3600000;

-- how they stand before
SELECT state, string_agg(DISTINCT concat_ws(' ', t.status, t.reason), ', ') FROM cell c LEFT
    JOIN l_transfers t USING (id) GROUP BY snr, state ORDER BY snr;
-- the table, every call twice
SELECT c.state, c.op, test.twice(c.call, c.id) FROM (SELECT * FROM cell ORDER BY snr, onr OFFSET 0) c;
-- and how each transfer, and what reversed it, stands afterwards
SELECT state, after, string_agg(op, ', ' ORDER BY onr) FROM (
    SELECT c.snr, c.onr, c.state, c.op, concat_ws(' ', t.status, t.reason, t.amount, 'of ' || t.held, 'asked ' || t.part,
        CASE WHEN t.settled_at IS NOT NULL THEN 'settled' END, 'reversed ' || t.reversed,
        format('by %s %s of %s from %s to %s', b.status, coalesce(b.reason, 'amount'), coalesce(b.amount::text, 'all'),
            b.from_account, b.to_account) || CASE WHEN b.id IS NULL THEN NULL ELSE '' END) AS after
    FROM cell c LEFT JOIN l_transfers t USING (id) LEFT JOIN l_transfers b ON b.id = 'back of ' || c.id) x
GROUP BY snr, state, after ORDER BY snr, min(onr);
SELECT test.ledger_sound('l');
RESET pg_keep.test_clock_offset;
SELECT test.balances('l');

-- again through the batches: a transfer again, and another one, on an id in each state
SELECT keep.create_ledger('m');
SELECT test.b(keep.open_account('m', 'world', 'USD', NULL)), test.b(keep.open_account('m', 'a', 'USD', NULL)),
    test.b(keep.open_account('m', 'poor', 'USD'));
SELECT replace(pg_get_functiondef('test.into_state'::regproc), '''l''', '''m''') AS def \gset
:def;
SELECT test.into_state('over, swept', 'over, swept');
SET pg_keep.test_clock_offset = 1800000;
SELECT keep.expire_holds('m');
RESET pg_keep.test_clock_offset;
SELECT count(test.into_state(state, state)) FROM state WHERE state <> 'over, swept';
SET pg_keep.test_clock_offset = 3600000;
SELECT test.t(r) FROM (SELECT array_agg(state ORDER BY nr) AS i, array_agg(payer ORDER BY nr) AS f, array_agg('a'::text) AS t, array_agg(99::bigint) AS n,
        array_agg(nullif(trim(hold, ''''), 'NULL')::interval ORDER BY nr) AS h FROM state WHERE state <> 'absent') s,
    LATERAL keep.transfer_many('m', i, f, t, n, h) r;
SELECT test.t(r) FROM (SELECT array_agg(state ORDER BY nr) AS i, array_agg(payer ORDER BY nr) AS f, array_agg('a'::text) AS t, array_agg(100::bigint) AS n,
        array_agg(nullif(trim(hold, ''''), 'NULL')::interval ORDER BY nr) AS h FROM state) s,
    LATERAL keep.transfer_many('m', i, f, t, n, h) r;
SELECT test.t(r) FROM (SELECT jsonb_agg(jsonb_build_object('id', state, 'from_account', payer, 'to_account', 'a', 'amount', 100,
        'hold', nullif(trim(hold, ''''), 'NULL')) ORDER BY nr) AS i FROM state) s,
    LATERAL keep.transfer_batch('m', i) r;
SELECT test.t(r) FROM (SELECT jsonb_agg(jsonb_build_object('id', state, 'from_account', payer, 'to_account', 'a', 'amount', 99,
        'hold', nullif(trim(hold, ''''), 'NULL')) ORDER BY nr) AS i FROM state) s,
    LATERAL keep.transfer_batch('m', i) r;
SELECT count(*), test.ledger_sound('m') FROM m_transfers;
RESET pg_keep.test_clock_offset;

DROP VIEW cell;
DROP FUNCTION test.into_state(text, text);
DROP FUNCTION test.twice(text, text);
DROP TABLE l, l_transfers, m, m_transfers, state, op;
