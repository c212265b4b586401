-- statement(): what moved an account's money, oldest first, with the balance after each; holds when
-- they are posted, with what was posted; reversals; page by page; only with history.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION test.statement(l regclass, a text, after text = NULL, n int = 100) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(', ', s.transfer, CASE WHEN s.amount < 0 THEN 'to ' ELSE 'from ' END || s.counterparty, s.amount, 'balance ' || s.balance,
        'reverses ' || s.reverses, s.metadata, CASE WHEN s.posted_at BETWEEN now() - interval '5 min' AND keep.clock() THEN NULL ELSE 'posted when?' END,
        CASE WHEN s.cursor IS NULL THEN 'cursor?' END)
    FROM keep.statement(l, a, after, n) s
$$;
SELECT keep.create_ledger('l', history => true);
SELECT test.b(keep.open_account('l', 'world', 'USD', NULL)), test.b(keep.open_account('l', 'a', 'USD')), test.b(keep.open_account('l', 'b', 'USD')),
    test.b(keep.open_account('l', 'idle', 'USD'));
SELECT count(*) FROM keep.statement('l', 'idle');

-- one line for what is posted, none for what is not
SELECT test.t(keep.transfer('l', 'z1', 'world', 'a', 100, NULL, '{"for": "start"}'));
SELECT test.t(keep.transfer('l', 'y2', 'a', 'b', 30)), test.t(keep.transfer('l', 'x3', 'a', 'b', 1000)) AS rejected;
SELECT test.t(keep.transfer('l', 'w4', 'a', 'b', 20, '1 hour', '{"for": "hold"}'));
SELECT test.statement('l', 'a');
SELECT test.t(keep.transfer('l', 'v5', 'b', 'a', 5));
SELECT test.t(keep.post_transfer('l', 'w4', 12));
SELECT test.t(keep.transfer('l', 'u6', 'a', 'b', 1, '1 hour')), test.t(keep.void_transfer('l', 'u6'));
SELECT test.t(keep.reverse_transfer('l', 't7', 'y2', 10)), test.t(keep.reverse_transfer('l', 's8', 'y2')),
    test.t(keep.reverse_transfer('l', 'r9', 'y2')) AS rejected;
SELECT test.t(keep.transfer('l', 'z1', 'world', 'a', 100)) AS replayed;
SELECT test.statement('l', 'a');
SELECT test.statement('l', 'b');
SELECT test.statement('l', 'world');
SELECT sum(amount) = (keep.balance('l', 'a')).balance FROM keep.statement('l', 'a');
-- freezing and new limits are no lines and make no gap
SELECT (keep.freeze_account('l', 'a')).frozen, (keep.freeze_account('l', 'a', false)).frozen, test.b(keep.set_account_limits('l', 'a', -10, NULL));
-- batches: in the order of the batch, with each balance in between; chains that failed are no lines
SELECT test.t(r) FROM keep.transfer_many('l', '{q3,q2,q1,q4,q5,q6}', '{a,a,b,a,a,a}', '{b,b,a,b,none,world}', '{3,4,5,1,1,2}', NULL, NULL, '{NULL,c,c,d,d,NULL}') r;
SELECT test.statement('l', 'a');

-- pages: a cursor is the last line read; all pages together are the whole
SELECT cursor AS c FROM keep.statement('l', 'a', NULL, 3) OFFSET 2 \gset
SELECT test.statement('l', 'a', :'c', 2);
SELECT cursor AS c FROM keep.statement('l', 'a', :'c', 2) OFFSET 1 \gset
SELECT test.statement('l', 'a', :'c', 100);
SELECT cursor AS c FROM keep.statement('l', 'a', :'c', 100) OFFSET 4 \gset
SELECT count(*) AS "nothing more yet" FROM keep.statement('l', 'a', :'c');
SELECT test.t(keep.transfer('l', 'p1', 'world', 'a', 1));
SELECT test.statement('l', 'a', :'c') AS "now there is";
SELECT count(*), count(DISTINCT cursor) FROM keep.statement('l', 'a');
SELECT count(*) FROM keep.statement('l', 'a', max_rows => 1);

-- mistakes
SELECT c, test.sqlstate('SELECT * FROM keep.' || c) FROM (VALUES
    ($$statement('l', 'none')$$),
    ($$statement('l', 'a', max_rows => 0)$$),
    ($$statement('l', 'a', max_rows => -1)$$),
    ($$statement('l', 'a', max_rows => NULL)$$),
    ($$statement('l', NULL)$$),
    ($$statement('l', '')$$),
    ($$statement(NULL, 'a')$$),
    ($$statement('l', 'a', '')$$),
    ($$statement('l', 'a', 'next')$$),
    ($$statement('l', 'a', '1;2')$$)
) v(c);

-- in shards: every line once, in pages that neither skip nor repeat; the balance of the whole is not a line's
SELECT test.b(keep.open_account('l', 'hot', 'USD', 0, NULL, 8));
SELECT count(keep.transfer('l', 'h' || i, 'world', 'hot', i)) FROM generate_series(1, 20) i;
SELECT test.t(keep.transfer('l', 'h21', 'hot', 'a', 205)), test.t(keep.transfer('l', 'h22', 'hot', 'a', 2, '1 hour')),
    test.t(keep.post_transfer('l', 'h22')), test.t(keep.reverse_transfer('l', 'h23', 'h20', 3));
SELECT count(*), count(DISTINCT transfer), sum(amount), count(balance), (keep.balance('l', 'hot')).balance FROM keep.statement('l', 'hot');
CREATE FUNCTION test.pages(l regclass, a text, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    after text;
    got text[] := '{}';
    page text[];
BEGIN
    LOOP
        SELECT array_agg(transfer), (array_agg(cursor))[count(*)] INTO page, after FROM keep.statement(l, a, after, n);
        EXIT WHEN page IS NULL OR cardinality(got) > 1000;
        got := got || page;
    END LOOP;
    RETURN format('%s lines, %s of them different', cardinality(got), (SELECT count(DISTINCT x) FROM unnest(got) x));
END $$;
SELECT n, test.pages('l', 'hot', n), test.pages('l', 'a', n), test.pages('l', 'world', n) FROM unnest('{1,2,3,7,100}'::int[]) n;
SELECT test.ledger_sound('l');

-- in one transaction a statement sees what came before it, and a rolled back transfer is no line
BEGIN;
SELECT test.t(keep.transfer('l', 'o1', 'world', 'a', 1));
SELECT count(*) FROM keep.statement('l', 'a') WHERE transfer = 'o1';
ROLLBACK;
SELECT count(*) FROM keep.statement('l', 'a') WHERE transfer = 'o1';
SELECT test.t(keep.transfer('l', 'o2', 'world', 'a', 1));
SELECT test.pages('l', 'a', 2), sum(amount) = (keep.balance('l', 'a')).balance FROM keep.statement('l', 'a');

-- without history
SELECT keep.create_ledger('m');
SELECT test.b(keep.open_account('m', 'a', 'USD', NULL)), test.b(keep.open_account('m', 'b', 'USD')), test.t(keep.transfer('m', 't1', 'a', 'b', 1));
SELECT test.sqlstate($$SELECT * FROM keep.statement('m', 'a')$$);
SELECT test.sqlstate($$SELECT * FROM keep.statement('m', 'none')$$);
SELECT count(from_version), count(to_version) FROM m_transfers;
DROP FUNCTION test.statement(regclass, text, text, int);
DROP FUNCTION test.pages(regclass, text, int);
DROP TABLE l, l_transfers, m, m_transfers;
