-- get, get_entry, get_many: what they return, present and absent; they read their
-- statement's snapshot and write nothing.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');
SELECT keep.get('s', 'k') AS "absent is NULL";
SELECT count(*) AS "absent is no row" FROM keep.get_entry('s', 'k');
SELECT count(*) AS "nor one here" FROM keep.get_many('s', '{k}');

SELECT test.o(keep.put('s', 'k', '{"a": [1, 2.50, "x", null, true]}', '1 hour'));
SELECT keep.get('s', 'k'), pg_typeof(keep.get('s', 'k'));
SELECT key, value, version > 0 AS version, created_at = updated_at AS same_time,
    created_at <= keep.clock() AS created, test.left(expires_at) FROM keep.get_entry('s', 'k');
SELECT (s.key, s.value, s.version, s.created_at, s.updated_at, s.expires_at)::keep.entry = e AS "as on disk"
FROM s, keep.get_entry('s', 'k') e;

-- updated_at rises with a write, created_at stays
SELECT created_at AS c, updated_at AS u, version AS v FROM keep.get_entry('s', 'k') \gset
SELECT (keep.put('s', 'k', '2')).status AS put;
SELECT created_at = :'c' AS created_stays, updated_at > :'u' AS updated_rises, version > :v AS version_rises,
    test.left(expires_at) FROM keep.get_entry('s', 'k');

-- JSON null is a value; SQL NULL is none
SELECT test.o(keep.put('s', 'null', 'null'));
SELECT keep.get('s', 'null') AS json_null, keep.get('s', 'null') IS NULL AS is_null,
    keep.get('s', 'nothing') IS NULL AS absent_is_null;
SELECT test.e(e) FROM keep.get_entry('s', 'null') e;
SELECT test.sqlstate($$SELECT keep.put('s', 'k', NULL)$$);

-- get_many: in the order asked, absent ones left out, a key asked twice
SELECT (keep.put('s', k, to_jsonb(k))).status AS put FROM unnest('{a,b,c,d}'::text[]) k;
SELECT test.e(e) FROM keep.get_many('s', '{d,a,none,c}') e;
SELECT test.e(e) FROM keep.get_many('s', '{b,none,b}') e;
SELECT count(*) AS "no keys, no rows" FROM keep.get_many('s', '{}');
SELECT test.sqlstate($$SELECT * FROM keep.get_many('s', NULL)$$);
SELECT test.sqlstate($$SELECT * FROM keep.get_many('s', '{a,NULL}')$$);
SELECT test.sqlstate($$SELECT * FROM keep.get_many('s', '{a,""}')$$);
SELECT test.sqlstate($$SELECT * FROM keep.get_many('s', '{{a,b},{c,d}}')$$);
SELECT count(keep.put('s', k::text, '1')) FROM generate_series(2, 1000, 2) k;
SELECT string_agg(e.key, ',' ORDER BY n) = (SELECT string_agg(k::text, ',' ORDER BY k DESC)
    FROM generate_series(1, 1000) k WHERE k % 2 = 0) AS "1000 in the order asked"
FROM keep.get_many('s', (SELECT array_agg(k::text ORDER BY k DESC) FROM generate_series(1, 1000) k))
    WITH ORDINALITY e(key, value, version, c, u, x, n);

-- reads write nothing, not even a lock
SELECT test.writes('s', $$SELECT keep.get('s', 'a'), keep.get_entry('s', 'a'), keep.get_many('s', '{a,b}')$$);
BEGIN;
SELECT keep.get('s', 'a'), test.e(e) FROM keep.get_entry('s', 'a') e;
SELECT count(*) FROM keep.get_many('s', '{a,b}');
SELECT count(*) FILTER (WHERE mode NOT IN ('AccessShareLock', 'SIReadLock')) AS stronger FROM pg_locks
WHERE pid = pg_backend_pid() AND relation = 's'::regclass;
SELECT pg_current_xact_id_if_assigned() IS NULL AS "no transaction id";
COMMIT;

-- a read sees its statement's snapshot: not what a CTE beside it writes
WITH w AS (SELECT * FROM keep.put('s', 'a', '"new"')) SELECT keep.get('s', 'a') AS before, w.status FROM w;
SELECT keep.get('s', 'a') AS after;
-- and what the transaction wrote before
BEGIN;
SELECT test.o(keep.put('s', 'a', '"newer"'));
SELECT keep.get('s', 'a');
ROLLBACK;
SELECT keep.get('s', 'a');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT keep.get('s', 'a');
SELECT test.o(keep.put('s', 'a', '"mine"'));
SELECT keep.get('s', 'a');
ROLLBACK;

-- in a query over rows, in WHERE, in a view, prepared, in a cursor
SELECT k, keep.get('s', k) FROM unnest('{a,b,none}'::text[]) k WHERE keep.get('s', k) IS NOT NULL;
CREATE VIEW v AS SELECT k, keep.get('s', k) FROM unnest('{b,c}'::text[]) k;
SELECT * FROM v;
DROP VIEW v;
PREPARE g(text) AS SELECT keep.get('s', $1);
EXECUTE g('a'); EXECUTE g('b'); EXECUTE g('c'); EXECUTE g('a'); EXECUTE g('b'); EXECUTE g('c'); EXECUTE g('none');
DEALLOCATE g;
BEGIN;
DECLARE c CURSOR FOR SELECT test.e(e) FROM keep.get_many('s', '{a,b,c}') e;
FETCH 1 FROM c;
SELECT test.o(keep.put('s', 'b', '"changed"'));
FETCH 2 FROM c;
COMMIT;

DROP TABLE s;
