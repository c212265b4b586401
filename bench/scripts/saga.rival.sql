-- saga by hand: each step is one statement that locks the saga and asks for its state, does the work and
-- stores what it came to. A step that is done violates the primary key, and nothing of the statement stays:
-- the client then reads what is stored. No row: the saga is over or being compensated.
\set n :n + 1
\set i :base + :n * 16 + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
INSERT INTO bench.saga VALUES (:key, 'running', 0, clock_timestamp() + interval '1 hour', clock_timestamp(), clock_timestamp())
ON CONFLICT (saga) DO NOTHING;
WITH at AS (
	UPDATE bench.saga SET last_place = last_place + 1, updated_at = clock_timestamp()
	WHERE saga = :key AND state = 'running' AND deadline_at > clock_timestamp()
	RETURNING last_place
), done AS (
	INSERT INTO bench.charge_by_hand (customer, amount)
	SELECT :args::jsonb ->> 'customer', (:args::jsonb -> 'amount')::bigint FROM at
	RETURNING id
)
INSERT INTO bench.saga_step
SELECT :key, 'reserve', last_place, 'refund', :args::jsonb, jsonb_build_object('charge', id), clock_timestamp()
FROM at, done
RETURNING result;
WITH at AS (
	UPDATE bench.saga SET last_place = last_place + 1, updated_at = clock_timestamp()
	WHERE saga = :key AND state = 'running' AND deadline_at > clock_timestamp()
	RETURNING last_place
), done AS (
	INSERT INTO bench.charge_by_hand (customer, amount)
	SELECT :args::jsonb ->> 'customer', (:args::jsonb -> 'amount')::bigint FROM at
	RETURNING id
)
INSERT INTO bench.saga_step
SELECT :key, 'pay', last_place, 'refund', :args::jsonb, jsonb_build_object('charge', id), clock_timestamp()
FROM at, done
RETURNING result;
WITH at AS (
	UPDATE bench.saga SET last_place = last_place + 1, updated_at = clock_timestamp()
	WHERE saga = :key AND state = 'running' AND deadline_at > clock_timestamp()
	RETURNING last_place
), done AS (
	INSERT INTO bench.charge_by_hand (customer, amount)
	SELECT :args::jsonb ->> 'customer', (:args::jsonb -> 'amount')::bigint FROM at
	RETURNING id
)
INSERT INTO bench.saga_step
SELECT :key, 'ship', last_place, 'refund', :args::jsonb, jsonb_build_object('charge', id), clock_timestamp()
FROM at, done
RETURNING result;
UPDATE bench.saga SET state = 'completed', updated_at = clock_timestamp()
WHERE saga = :key AND state = 'running' AND deadline_at > clock_timestamp();
