-- A ledger whose tables have their columns in another order than create_ledger() gives them works like any
-- other: the same calls, answer by answer and row by row.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_ledger('l', history => true);
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY '{l,l_transfers}'::text[] LOOP
        EXECUTE (SELECT format('CREATE TABLE %I (%s, PRIMARY KEY (%s))', translate(t, 'l', 'm'),
            string_agg(format('%I %s%s%s', attname, format_type(atttypid, atttypmod), CASE WHEN atttypid = 'text'::regtype THEN ' COLLATE "C"' ELSE '' END,
                CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END), ', ' ORDER BY attnum DESC),
            CASE t WHEN 'l' THEN 'id, shard' ELSE 'id' END)
            FROM pg_attribute WHERE attrelid = t::regclass AND attnum > 0);
    END LOOP;
END $$;
SELECT keep.register('m', 'ledger', '{"history": true}');
CREATE FUNCTION test.run(l regclass) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT test.b(keep.open_account(l, 'world', 'USD', NULL));
    RETURN NEXT test.b(keep.open_account(l, 'a', 'USD', 0, 1000));
    RETURN NEXT test.b(keep.open_account(l, 'b', 'USD', -10, 50, 4));
    RETURN NEXT test.t(keep.transfer(l, 't1', 'world', 'a', 500, NULL, '{"why": "pay"}'));
    RETURN NEXT test.t(keep.transfer(l, 't1', 'world', 'a', 500));
    RETURN NEXT test.t(keep.transfer(l, 't2', 'a', 'b', 40));
    RETURN NEXT test.t(keep.transfer(l, 't3', 'a', 'b', 40));
    RETURN NEXT test.t(keep.transfer(l, 'h1', 'a', 'world', 100, '1 hour'));
    RETURN NEXT test.t(keep.transfer(l, 'h2', 'a', 'world', 100, '1 hour'));
    RETURN NEXT test.t(keep.post_transfer(l, 'h1', 60));
    RETURN NEXT test.t(keep.void_transfer(l, 'h2'));
    RETURN NEXT test.t(keep.reverse_transfer(l, 'r1', 't2', 15));
    RETURN NEXT test.b(keep.set_account_limits(l, 'a', 10, 2000));
    RETURN NEXT test.b(keep.freeze_account(l, 'b'));
    RETURN QUERY SELECT test.t(r) FROM keep.transfer_many(l, '{m1,m2,m3,m4}', '{a,a,b,a}', '{world,b,a,world}', '{1,2,3,4}', '{NULL,NULL,NULL,1 day}', NULL, '{c,c,NULL,NULL}') r;
    RETURN NEXT (SELECT string_agg(concat_ws(' ', transfer, amount, balance, metadata), '; ') FROM keep.statement(l, 'a'));
    RETURN NEXT (SELECT string_agg(rule, ', ') FROM keep.verify_ledger(l) WHERE NOT ok);
END $$;
CREATE TABLE answers AS SELECT 'm' AS ledger, nr, coalesce(x, 'nothing') AS answer FROM test.run('m') WITH ORDINALITY y(x, nr);
INSERT INTO answers SELECT 'l', nr, coalesce(x, 'nothing') FROM test.run('l') WITH ORDINALITY y(x, nr);
SELECT answer FROM answers WHERE ledger = 'm' ORDER BY nr;
SELECT * FROM answers m FULL JOIN answers l USING (nr) WHERE m.ledger = 'm' AND l.ledger = 'l' AND m.answer <> l.answer;
-- row by row, but for the times and the shard
SELECT count(*) AS "rows that differ" FROM (
    (SELECT to_jsonb(t) - '{created_at,settled_at,expires_at,from_shard,to_shard,from_version,to_version}'::text[] FROM l_transfers t
        EXCEPT SELECT to_jsonb(t) - '{created_at,settled_at,expires_at,from_shard,to_shard,from_version,to_version}'::text[] FROM m_transfers t)
    UNION ALL
    (SELECT to_jsonb(t) - '{created_at,settled_at,expires_at,from_shard,to_shard,from_version,to_version}'::text[] FROM m_transfers t
        EXCEPT SELECT to_jsonb(t) - '{created_at,settled_at,expires_at,from_shard,to_shard,from_version,to_version}'::text[] FROM l_transfers t)) d;
SELECT test.b(keep.balance('m', x)) = test.b(keep.balance('l', x)) AS same FROM unnest('{world,a,b}'::text[]) x;
DROP TABLE l, l_transfers, m, m_transfers, answers;
DROP FUNCTION test.run(regclass);
