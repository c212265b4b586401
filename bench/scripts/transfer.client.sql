-- transfer from the client: five statements, no checks. Always the same account first, so that two never wait for each other.
\set n :n + 1
\set i random(1, :accounts)
\set j (:i + random(0, :accounts - 2)) % :accounts + 1
\set from 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
\set to 100000000000000000 + (:j * 7368787003 % 999999999989) * 9000011
\set id 1000000000000000000 + :base + :n * 16 + :client_id
\set amount random(1, 1000)
BEGIN;
INSERT INTO bench.by_hand_transfers (id, status, from_account, to_account, from_shard, to_shard, amount, created_at)
VALUES (:id, 'posted', :from, :to, 0, 0, :amount, now());
\if :from < :to
UPDATE bench.by_hand SET debits_posted = debits_posted + :amount, version = version + 1 WHERE id = :from AND shard = 0;
UPDATE bench.by_hand SET credits_posted = credits_posted + :amount, version = version + 1 WHERE id = :to AND shard = 0;
\else
UPDATE bench.by_hand SET credits_posted = credits_posted + :amount, version = version + 1 WHERE id = :to AND shard = 0;
UPDATE bench.by_hand SET debits_posted = debits_posted + :amount, version = version + 1 WHERE id = :from AND shard = 0;
\endif
COMMIT;
