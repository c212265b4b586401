-- Both ways to the tables give the same: one script of operations of all kinds run directly, through
-- SPI, and under REPEATABLE READ, compared answer by answer and row by row; and the setting itself.
\pset null '(null)'
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on

LOAD 'pg_keep';
SHOW pg_keep.direct_access;
SET ROLE regress_keep_nobody;
SET pg_keep.direct_access = off;
SHOW pg_keep.direct_access;
RESET pg_keep.direct_access;
RESET ROLE;

-- A generator of numbers, the same for every run.
CREATE FUNCTION test.draw(INOUT seed bigint, n int, OUT x int) LANGUAGE sql AS $$
    SELECT (seed * 1103515245 + 12345) % 2147483648, ((seed * 1103515245 + 12345) % 2147483648 / 65536 % n)::int
$$;
CREATE FUNCTION test.operations(l regclass, rounds int) RETURNS TABLE (nr int, call text, answer text) LANGUAGE plpgsql AS $$
DECLARE
    seed bigint := 42;
    a text[] := '{world,a,b,c,hot,euro,ice,none}';
    id text;
    f text;
    t text;
    amount int;
    hold text;
    x int;
    size int;
    calls text[] := '{}';
    held text[] := '{}';
    d record;
BEGIN
    PERFORM keep.open_account(l, 'world', 'USD', NULL), keep.open_account(l, 'a', 'USD'), keep.open_account(l, 'b', 'USD', -50, 400),
        keep.open_account(l, 'c', 'USD', 0, 300),
        keep.open_account(l, 'hot', 'USD', -30, 900, 4), keep.open_account(l, 'euro', 'EUR', NULL), keep.open_account(l, 'ice', 'USD', NULL),
            keep.freeze_account(l, 'ice');
    FOR i IN 1..rounds LOOP
        nr := i;
        d := test.draw(seed, rounds); seed := d.seed; id := 't' || CASE WHEN d.x % 4 = 0 THEN d.x ELSE i END;
        d := test.draw(seed, 15); seed := d.seed; f := a[1 + CASE WHEN d.x < 8 THEN d.x ELSE d.x % 5 END];
        d := test.draw(seed, 15); seed := d.seed; t := a[1 + CASE WHEN d.x < 8 THEN d.x ELSE d.x % 5 END];
        d := test.draw(seed, 90); seed := d.seed; amount := d.x + 1;
        d := test.draw(seed, 3); seed := d.seed; hold := CASE d.x WHEN 0 THEN '''1 hour''' WHEN 1 THEN '''1 month''' ELSE 'NULL' END;
        d := test.draw(seed, 13); seed := d.seed; x := d.x;
        call := CASE
            WHEN x < 4 THEN format('transfer(%L, %L, %L, %L, %s, %s, ''{"i": %s}'')', l, id, f, t, amount, hold, i)
            WHEN x = 4 THEN format('post_transfer(%L, %L, %s)', l, coalesce(held[cardinality(held) - amount % 6], 't1'), CASE WHEN amount % 3 = 0 THEN 'NULL'
                ELSE (amount / 2 + 1)::text END)
            WHEN x IN (5, 6) THEN format('void_transfer(%L, %L)', l, coalesce(held[cardinality(held) - amount % 6], 't1'))
            WHEN x IN (7, 8) THEN format('reverse_transfer(%L, %L, ''t%s'', %s, %s)', l, 'v' || id, i - amount % 9, CASE WHEN amount % 2 = 0 THEN 'NULL'
                ELSE (amount / 3 + 1)::text END, CASE WHEN amount % 5 = 0 THEN 'true' ELSE 'false' END)
            WHEN x = 9 THEN format('transfer(%L, %L, ''world'', %L, %s)', l, id, t, amount)
            ELSE NULL END;
        IF call IS NULL THEN
            -- a batch: its items are drawn one by one, some ids twice, chains of two labels
            call := '[';
            size := 1 + amount % 9;
            FOR j IN 1..size LOOP
                d := test.draw(seed, 15); seed := d.seed; f := a[1 + CASE WHEN d.x < 8 THEN d.x ELSE d.x % 5 END];
                d := test.draw(seed, 14); seed := d.seed; t := a[1 + CASE WHEN d.x < 8 THEN d.x ELSE d.x % 5 END];
                IF f = t THEN t := CASE f WHEN 'world' THEN 'a' ELSE 'world' END; END IF;
                d := test.draw(seed, 60); seed := d.seed;
                call := call || CASE WHEN j > 1 THEN ', ' ELSE '' END || jsonb_build_object('id', CASE WHEN d.x % 7 = 0 THEN 't' || i - d.x
                    ELSE 't' || i || '-' || j - d.x % 5 / 4 END, 'from_account', f, 'to_account', t, 'amount', d.x + 1,
                    'hold', CASE WHEN d.x % 6 = 0 THEN '1 hour' END, 'chain', CASE WHEN x = 10 THEN NULL WHEN d.x % 3 = 0 THEN 'one'
                        WHEN d.x % 3 = 1 THEN 'two' END);
            END LOOP;
            call := format('transfer_batch(%L, %L, %L)', l, call || ']', CASE WHEN amount % 4 = 0 THEN 'exceptions' ELSE 'all' END);
        END IF;
        -- now and then a call from before once more
        d := test.draw(seed, 7); seed := d.seed;
        IF d.x = 0 AND i > 10 THEN
            d := test.draw(seed, 40); seed := d.seed; call := calls[greatest(1, i - 1 - d.x)];
        END IF;
        calls := calls || call;
        answer := test.say(call);
        RETURN NEXT;
        held := held || ARRAY(SELECT (regexp_matches(answer, '(\S+): pending,[^\n]*min(?:\n|$)', 'g'))[1]);
        IF i % 25 = 0 THEN
            PERFORM keep.set_account_limits(l, 'b', -amount, 120 + amount), keep.freeze_account(l, 'c', i % 50 = 0),
                keep.set_account_limits(l, 'hot', -amount, 900 + amount);
            call := format('expire_holds(%L, 2)', l);
            answer := keep.expire_holds(l, 2);
            RETURN NEXT;
            call := format('balances(%L)', l);
            answer := test.balances(l);
            RETURN NEXT;
        END IF;
        IF i % 60 = 0 THEN
            -- holds of an hour are over
            PERFORM set_config('pg_keep.test_clock_offset', (i / 60 * 3600000)::text, false);
        END IF;
    END LOOP;
    nr := rounds + 1;
    call := format('expire_holds(%L)', l);
    answer := keep.expire_holds(l);
    RETURN NEXT;
    PERFORM set_config('pg_keep.test_clock_offset', '0', false);
END $$;

SELECT keep.create_ledger(x, true) FROM unnest('{direct,spi,repeatable}'::text[]) x;
CREATE TABLE answers AS SELECT 'direct' AS way, * FROM test.operations('direct', 800);
SET pg_keep.direct_access = off;
INSERT INTO answers SELECT 'spi', * FROM test.operations('spi', 800);
SET pg_keep.direct_access = on;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO answers SELECT 'repeatable', * FROM test.operations('repeatable', 800);
COMMIT;

-- there is some of everything in it
SELECT kind, count(*) > 5 FROM (
    SELECT (regexp_matches(answer, ': (posted|pending|rejected, [a-z_]+|voided|expired|mismatch)', 'g'))[1] AS kind FROM answers WHERE way = 'direct'
    UNION ALL SELECT 'replayed' FROM answers WHERE way = 'direct' AND answer LIKE '%replayed%'
    UNION ALL SELECT substring(answer FROM '^\w{5}') FROM answers WHERE way = 'direct' AND answer ~ '^(KP\d{3}|\d[0-9A-Z]{4}) /') x GROUP BY 1 ORDER BY 1;
-- the answers are the same; but REPEATABLE READ may tidy away a hold that is over at another call
CREATE VIEW seen AS SELECT way, nr, row_number() OVER (PARTITION BY way ORDER BY nr, split_part(call, '(', 1)) AS o,
    replace(call, quote_literal(way), 'l') AS call, answer FROM answers;
SELECT d.nr, d.call, d.answer, o.way, o.answer FROM seen d JOIN seen o USING (o)
    WHERE d.way = 'direct' AND o.way <> 'direct' AND (d.call, d.answer) IS DISTINCT FROM (o.call, o.answer)
        AND (o.way, d.call) NOT IN (('repeatable', 'expire_holds(l, 2)'), ('repeatable', 'expire_holds(l)')) ORDER BY o LIMIT 5;
SELECT way, count(*) FROM answers GROUP BY 1 ORDER BY 1;
-- and so are the rows, but for the times
CREATE FUNCTION test.rows(rel regclass, without text[] = '{}') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT (to_jsonb(x) - ''{created_at,expires_at,settled_at}''::text[] - $1'
        ' || jsonb_build_object(''settled'', to_jsonb(x) -> ''settled_at'' <> ''null''))::text FROM %s x', rel) USING without;
END $$;
SELECT * FROM (SELECT test.rows('direct') EXCEPT SELECT test.rows('spi')) x ORDER BY 1 LIMIT 3;
SELECT * FROM (SELECT test.rows('spi') EXCEPT SELECT test.rows('direct')) x ORDER BY 1 LIMIT 3;
SELECT * FROM (SELECT test.rows('direct_transfers') EXCEPT SELECT test.rows('spi_transfers')) x ORDER BY 1 LIMIT 3;
SELECT * FROM (SELECT test.rows('spi_transfers') EXCEPT SELECT test.rows('direct_transfers')) x ORDER BY 1 LIMIT 3;
SELECT * FROM (SELECT test.rows('direct', '{version,floor,ceiling}') EXCEPT SELECT test.rows('repeatable', '{version,floor,ceiling}')) x ORDER BY 1 LIMIT 3;
\set but '''{from_version,to_version,settled_from_balance,settled_to_balance}'''
SELECT * FROM (SELECT test.rows('direct_transfers', :but) EXCEPT SELECT test.rows('repeatable_transfers', :but)) x ORDER BY 1 LIMIT 3;
SELECT count(*) > 500, count(*) FILTER (WHERE status = 'expired') > 10 FROM direct_transfers;
SELECT test.ledger_sound('direct'), test.ledger_sound('spi'), test.ledger_sound('repeatable');
SELECT count(*) FROM ((SELECT a, s.transfer, s.amount, s.balance
    FROM unnest('{world,a,b,c,euro}'::text[]) a, keep.statement('direct', a, NULL, 10000) s)
    EXCEPT (SELECT a, s.transfer, s.amount, s.balance FROM unnest('{world,a,b,c,euro}'::text[]) a, keep.statement('spi', a, NULL, 10000) s)) x;

-- the indexes agree with the tables, whichever way the rows came in
SELECT keep.create_ledger('mixed', true);
SELECT count(keep.open_account('mixed', x, 'USD', NULL)) FROM unnest('{a,b}'::text[]) x;
SELECT count(*) FROM keep.transfer_many('mixed', (SELECT array_agg('d' || i)
    FROM generate_series(1, 1000) i), array_fill('a'::text, '{1000}'), array_fill('b'::text, '{1000}'), array_fill(1::bigint, '{1000}'), array_fill('1 hour'::interval, '{1000}'));
SET pg_keep.direct_access = off;
SELECT count(*) FROM keep.transfer_many('mixed', (SELECT array_agg('s' || i)
    FROM generate_series(1, 1000) i), array_fill('a'::text, '{1000}'), array_fill('b'::text, '{1000}'), array_fill(1::bigint, '{1000}'), array_fill('1 hour'::interval, '{1000}'));
SELECT count(*) FROM generate_series(1, 1000, 10) i, LATERAL keep.post_transfer('mixed', 'd' || i) r WHERE r.status = 'posted';
SET pg_keep.direct_access = on;
SELECT count(*) FROM generate_series(1, 1000, 10) i, LATERAL keep.post_transfer('mixed', 's' || i) r WHERE r.status = 'posted';
SET enable_seqscan = off;
SELECT count(*) FROM mixed_transfers WHERE id >= '';
SELECT count(*) FROM mixed_transfers WHERE from_account = 'a' AND status = 'pending' AND expires_at > now();
SELECT count(*) FROM keep.statement('mixed', 'a', NULL, 10000);
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_indexonlyscan = off;
RESET enable_seqscan;
SELECT count(*) FROM mixed_transfers WHERE id >= '';
SELECT count(*) FROM mixed_transfers WHERE from_account = 'a' AND status = 'pending' AND expires_at > now();
RESET enable_indexscan;
RESET enable_bitmapscan;
RESET enable_indexonlyscan;
SELECT test.balances('mixed'), test.ledger_sound('mixed');

-- one row version for each account of a batch and one for each transfer, either way
BEGIN;
SELECT test.writes('mixed', c) AS accounts, test.writes('mixed_transfers', replace(c, 'w', 'x')) AS transfers
    FROM (VALUES ($$SELECT keep.transfer_many('mixed', '{w1,w2,w3}', '{a,b,a}', '{b,a,b}', '{1,2,3}')$$)) v(c);
SELECT test.writes('mixed', $$SELECT keep.transfer('mixed', 'y1', 'a', 'b', 1)$$),
    test.writes('mixed_transfers', $$SELECT keep.transfer('mixed', 'y2', 'a', 'b', 1)$$);
SET LOCAL pg_keep.direct_access = off;
SELECT test.writes('mixed', replace(c, 'w', 'u')) AS accounts, test.writes('mixed_transfers', replace(c, 'w', 'v')) AS transfers
    FROM (VALUES ($$SELECT keep.transfer_many('mixed', '{w1,w2,w3}', '{a,b,a}', '{b,a,b}', '{1,2,3}')$$)) v(c);
SELECT test.writes('mixed', $$SELECT keep.transfer('mixed', 'y3', 'a', 'b', 1)$$),
    test.writes('mixed_transfers', $$SELECT keep.transfer('mixed', 'y4', 'a', 'b', 1)$$);
COMMIT;
DROP VIEW seen;
DROP FUNCTION test.rows(regclass, text[]);
DROP FUNCTION test.operations(regclass, int);
DROP FUNCTION test.draw(bigint, int);
DROP TABLE answers, direct, direct_transfers, spi, spi_transfers, repeatable, repeatable_transfers, mixed, mixed_transfers;
