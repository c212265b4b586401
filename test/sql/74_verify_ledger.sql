-- verify_ledger(): every rule holds after a day's work of all kinds, and each one fails, naming
-- what is wrong, once somebody has tampered with the tables.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

-- a ledger in which there is some of everything
CREATE FUNCTION test.work(name text, history boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    l regclass := keep.create_ledger(name, history);
BEGIN
    PERFORM keep.open_account(l, 'world', 'USD', NULL), keep.open_account(l, 'a', 'USD'), keep.open_account(l, 'b', 'USD', 0, 500),
        keep.open_account(l, 'hot', 'USD', 0, NULL, 4), keep.open_account(l, 'eu', 'EUR', NULL), keep.open_account(l, 'eu2', 'EUR');
    PERFORM keep.transfer(l, 'fund', 'world', 'a', 1000), keep.transfer(l, 'pay', 'a', 'b', 100), keep.transfer(l, 'hot', 'a', 'hot', 200),
        keep.transfer(l, 'rejected', 'a', 'b', 5000), keep.transfer(l, 'euro', 'eu', 'eu2', 7), keep.transfer(l, 'mixed', 'a', 'eu', 7);
    PERFORM keep.transfer(l, 'hold', 'a', 'b', 50, '1 hour'), keep.transfer(l, 'over', 'a', 'hot', 30, '1 ms'),
        keep.transfer(l, 'part', 'a', 'hot', 20, '1 hour'),
        keep.transfer(l, 'void', 'a', 'b', 20, '1 hour'), keep.transfer(l, 'swept', 'hot', 'b', 20, '1 ms');
    PERFORM keep.post_transfer(l, 'part', 15), keep.void_transfer(l, 'void'), pg_sleep(0.005);
    PERFORM keep.post_transfer(l, 'swept');
    PERFORM keep.reverse_transfer(l, 'back', 'pay', 40), keep.reverse_transfer(l, 'back2', 'pay', 61), keep.reverse_transfer(l, 'back3', 'part', 5);
    PERFORM keep.transfer_many(l, '{c1,c2,c3,c4}', '{a,b,a,a}', '{b,a,hot,none}', '{1,2,3,4}', NULL, NULL, '{x,x,y,y}');
    PERFORM keep.set_account_limits(l, 'b', -10, 600), keep.freeze_account(l, 'eu2');
END $$;
SELECT test.work('l', false), test.work('h', true);
SELECT rule, ok, detail FROM keep.verify_ledger('l');
SELECT rule, ok, detail FROM keep.verify_ledger('h');
SELECT test.ledger_sound('l'), test.ledger_sound('h');
SELECT count(*) FROM (SELECT DISTINCT status FROM l_transfers) x;
SELECT keep.expire_holds('l');
SELECT rule, ok FROM keep.verify_ledger('l') WHERE NOT ok;
SELECT keep.create_ledger('empty');
SELECT bool_and(ok), count(*) > 2 FROM keep.verify_ledger('empty');

-- what it says after a tampering, which is then undone
SELECT shard AS busy FROM h WHERE id = 'hot' ORDER BY credits_posted DESC LIMIT 1 \gset
SELECT (:busy + 1) % 4 AS idle \gset
CREATE FUNCTION test.tampered(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    rows bigint;
BEGIN
    BEGIN
        EXECUTE stmt;
        GET DIAGNOSTICS rows = ROW_COUNT;
        SELECT coalesce(string_agg(concat_ws(': ', rule, detail), '; '), 'nothing wrong') INTO result FROM keep.verify_ledger('h') WHERE NOT ok;
        -- which shard a call takes is the server's to say
        result := regexp_replace(result, 'account hot, shard \d', 'account hot, a shard', 'g');
        IF rows = 0 THEN
            result := 'no row was changed';
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN
        RETURN result;
    END;
END $$;
SELECT c, test.tampered(replace(replace(c, 'busy', :'busy'), 'idle', :'idle')) FROM (VALUES
    ($$UPDATE h SET version = version WHERE id = 'a'$$),
    -- counters
    ($$UPDATE h SET debits_posted = debits_posted + 1 WHERE id = 'a'$$),
    ($$UPDATE h SET credits_posted = credits_posted + 1 WHERE id = 'b'$$),
    ($$UPDATE h SET credits_posted = credits_posted + 1, debits_posted = debits_posted + 1 WHERE id = 'b'$$),
    ($$UPDATE h SET credits_posted = credits_posted + CASE id WHEN 'a' THEN 1 ELSE -1 END WHERE id IN ('a', 'b')$$),
    ($$UPDATE h SET credits_posted = credits_posted + CASE id WHEN 'a' THEN 7 ELSE -7 END WHERE id IN ('a', 'eu2')$$),
    ($$UPDATE h SET credits_posted = credits_posted + 1 WHERE id = 'hot' AND shard = busy$$),
    ($$UPDATE h SET debits_pending = debits_pending + 1 WHERE id = 'a'$$),
    ($$UPDATE h SET credits_pending = credits_pending - 1 WHERE id = 'b'$$),
    ($$UPDATE h SET debits_pending = 0, credits_pending = 0$$),
    -- transfers
    ($$UPDATE h_transfers SET amount = amount + 1 WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET to_account = 'world' WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET from_account = 'b', to_account = 'a' WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET status = 'voided' WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET status = 'posted', reason = NULL WHERE id = 'rejected'$$),
    ($$UPDATE h_transfers SET status = 'posted' WHERE id = 'hold'$$),
    ($$UPDATE h_transfers SET status = 'voided' WHERE id = 'hold'$$),
    ($$UPDATE h_transfers SET held = held + 1 WHERE id = 'hold'$$),
    ($$DELETE FROM h_transfers WHERE id = 'pay'$$),
    ($$DELETE FROM h_transfers WHERE id = 'hold'$$),
    ($$DELETE FROM h_transfers WHERE id = 'fund'$$),
    -- reversals
    ($$UPDATE h_transfers SET reversed = 41 WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET reversed = NULL WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET reverses = 'part' WHERE id = 'back'$$),
    ($$UPDATE h_transfers SET reverses = 'none' WHERE id = 'back'$$),
    -- accounts
    ($$DELETE FROM h WHERE id = 'b'$$),
    ($$DELETE FROM h WHERE id = 'hot' AND shard = busy$$),
    ($$UPDATE h SET unit = 'EUR' WHERE id = 'b'$$),
    ($$UPDATE h SET unit = 'EUR' WHERE id = 'hot' AND shard = idle$$),
    ($$UPDATE h SET frozen = true WHERE id = 'hot' AND shard = idle$$),
    ($$UPDATE h SET min_balance = 1 WHERE id = 'hot' AND shard = idle$$),
    ($$UPDATE h SET floor = floor - 1 WHERE id = 'hot' AND shard = idle$$),
    ($$UPDATE h SET shards = 5 WHERE id = 'hot' AND shard = idle$$),
    ($$UPDATE h SET shards = 5 WHERE id = 'hot'$$),
    ($$INSERT INTO h SELECT id, 9, shards, unit, frozen, 0, 0, 0, 0, 0, created_at, min_balance, max_balance, 0, NULL, NULL FROM h
        WHERE id = 'hot' AND shard = 0$$),
    -- history
    ($$UPDATE h_transfers SET from_version = NULL WHERE id = 'pay'$$),
    ($$UPDATE h_transfers SET to_version = NULL WHERE id = 'part'$$)
) v(c);
SELECT test.ledger_sound('h');
-- a stable function: what it sees is the statement's snapshot, also in a read-only transaction
BEGIN READ ONLY;
SELECT count(*) FILTER (WHERE NOT ok) FROM keep.verify_ledger('h');
COMMIT;
SELECT test.code($$SELECT keep.verify_ledger(NULL)$$);
DROP FUNCTION test.work(text, boolean);
DROP FUNCTION test.tampered(text);
DROP TABLE l, l_transfers, h, h_transfers, empty, empty_transfers;
