-- What a failed chain leaves behind on its accounts: nothing at all, not even another version; and a batch
-- with a NULL in any place of its required arrays is refused.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_ledger('l', history => true);
SELECT (keep.open_account('l', x, 'USD', CASE WHEN x = 'w' THEN NULL ELSE 0 END)).version FROM unnest('{a,b,c,w}'::text[]) x;
SELECT status FROM keep.transfer('l', 'fund', 'w', 'a', 100);

-- a chain on its own: w pays a, which pays b, which cannot pay c
SELECT md5(string_agg(l::text, ',' ORDER BY id)) AS accounts FROM l \gset
SELECT id, status, reason FROM keep.transfer_many('l', '{x1,x2,x3}', '{w,a,b}', '{a,b,c}', '{10,110,200}', NULL, NULL, '{x,x,x}');
SELECT md5(string_agg(l::text, ',' ORDER BY id)) = :'accounts' AS "accounts are as they were" FROM l;
-- with a hold in it
SELECT status FROM keep.transfer_many('l', '{y1,y2}', '{a,b}', '{b,c}', '{50,200}', '{1 hour,NULL}', NULL, '{y,y}');
SELECT md5(string_agg(l::text, ',' ORDER BY id)) = :'accounts' AS "accounts are as they were" FROM l;
-- between items that stay: each account's version counts what was posted on it
SELECT id, status, reason FROM keep.transfer_many('l', '{z1,z2,z3,z4}', '{a,a,b,a}', '{b,b,c,c}', '{1,2,500,3}', NULL, NULL, '{z,NULL,z,NULL}');
SELECT id, version, credits_posted - debits_posted AS balance FROM l ORDER BY id;
SELECT transfer, amount, balance FROM keep.statement('l', 'a');
SELECT rule FROM keep.verify_ledger('l') WHERE NOT ok;

-- a NULL in any place
SELECT arg, place, test.sqlstate(format('SELECT keep.transfer_many(%L, %s)', 'l',
    (SELECT string_agg(format('%L::%s', CASE WHEN a.n = arg THEN
        (SELECT array_agg(CASE WHEN i <> place THEN v END ORDER BY i) FROM unnest(a.vals) WITH ORDINALITY u(v, i)) ELSE a.vals END, a.type), ', ' ORDER BY a.n)
        FROM (VALUES (1, '{n1,n2,n3}'::text[], 'text[]'), (2, '{w,w,w}', 'text[]'), (3, '{a,a,a}', 'text[]'), (4, '{1,1,1}', 'bigint[]')) a(n, vals, type))))
FROM generate_series(1, 4) arg, generate_series(1, 3) place ORDER BY 1, 2;
SELECT count(*) AS stored FROM l_transfers WHERE id LIKE 'n%';
-- the same for keys of stores
SELECT keep.create_store('s');
SELECT place, test.sqlstate(format('SELECT keep.put_many(%L, %L, %L)', 's', keys, '{1,2,3}')), test.sqlstate(format('SELECT keep.get_many(%L, %L)', 's', keys)),
    test.sqlstate(format('SELECT keep.increment(%L, %L, 1, %L)', 's', 'k', keys))
FROM generate_series(1, 3) place, LATERAL (SELECT array_agg(CASE WHEN i <> place THEN 'k' || i END ORDER BY i) AS keys FROM generate_series(1, 3) i) k;
SELECT count(*) AS stored FROM s;
DROP TABLE l, l_transfers, s;
