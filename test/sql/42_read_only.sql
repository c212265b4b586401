-- In a read-only transaction reads work and every writing function is refused with 25006,
-- whether or not there is something to write. (A hot standby is in the TAP tests.)
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access');
SELECT keep.create_store('u', persistence => 'unlogged');
SELECT (keep.put('s', 'k', '1')).status AS put;
BEGIN READ ONLY;
SELECT fn, result FROM test.try_all('''s''');
-- the message is one a reader knows from the server
\pset format unaligned
SELECT result, fns FROM test.try_all_grouped('''s''') WHERE result LIKE '25006%';
\pset format aligned
SELECT keep.get('s', 'k'), test.e(e) FROM keep.get_entry('s', 'k') e;
-- no entry, nothing due, nothing expired: the same
SELECT c, test.code(c) FROM (VALUES
    ($$SELECT keep.put('s', 'none', '1')$$),
    ($$SELECT keep.touch('s', 'none')$$),
    ($$SELECT keep.get_and_touch('s', 'none')$$),
    ($$SELECT keep.get_and_touch('s', 'k')$$),
    ($$SELECT keep.put_if_absent('s', 'k', '1')$$),
    ($$SELECT keep.compare_and_swap('s', 'none', 5, '1')$$),
    ($$SELECT keep.merge('s', 'none', '1')$$),
    ($$SELECT keep.delete('s', 'none')$$),
    ($$SELECT keep.persist('s', 'none')$$),
    ($$SELECT keep.put_many('s', '{}', '{}')$$),
    ($$SELECT keep.put_batch('s', '{}')$$),
    ($$SELECT keep.expire()$$),
    ($$SELECT keep.expire('s')$$),
    ($$SELECT keep.renew('s', 'none', 1, '1 min')$$),
    ($$SELECT keep.release('s', 'none', 1)$$),
    ($$SELECT keep.assert_lease('s', 'none', 1)$$),
    ($$SELECT keep.create_store('t')$$),
    ($$SELECT keep.register('s', 'store')$$),
    ($$SELECT keep.set_store_option('s', 'ttl', '2 hours')$$)
) v(c);
-- pure functions and the clock work
SELECT keep.merge_patch('{"a": 1}', '{"b": 2}'), keep.json_increment('1', '{}', 1), keep.clock() > now() - interval '1 min';
COMMIT;
-- by the session's default, and by a READ ONLY that comes after a write
SET default_transaction_read_only = on;
SELECT test.code($$SELECT keep.put('s', 'k', '2')$$), test.code($$SELECT keep.get('s', 'k')$$);
RESET default_transaction_read_only;
BEGIN;
SELECT (keep.put('s', 'k', '2')).status;
SET TRANSACTION READ ONLY;
SELECT test.code($$SELECT keep.put('s', 'k', '3')$$), keep.get('s', 'k');
COMMIT;
SELECT keep.get('s', 'k');
-- plans cached in a read-only transaction serve a writing one
SELECT (keep.touch('s', 'k', '2 hours')).status, (keep.delete('s', 'k')).status;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT keep.get('s', 'k'), test.code($$SELECT keep.put('s', 'k', '3')$$);
COMMIT;
SELECT test.code($$SELECT keep.put('u', 'k', '1')$$);
SELECT keep.get('u', 'k');

-- an aborted transaction takes no call, and a cancelled one leaves nothing behind
BEGIN;
SELECT (keep.put('s', 'x', '1')).status;
SELECT 1 / 0;
SELECT keep.put('s', 'x', '1');
ROLLBACK;
SELECT keep.get('s', 'x');

DROP TABLE s, u;
