-- What the handlers of all clients use: a request log, a saga log, and the tables and functions of a small shop.

-- [requests]
SELECT keep.create_request_log('requests', retain => '24 hours');

CREATE TABLE payments (request text, amount bigint, charge text);
CREATE TABLE signups (id bigint GENERATED ALWAYS AS IDENTITY, mail text NOT NULL);

CREATE FUNCTION sign_up(args jsonb) RETURNS jsonb
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO signups (mail) VALUES (args ->> 'mail')
    RETURNING jsonb_build_object('status', 201, 'body', jsonb_build_object('signup', id));
END;
-- [/requests]

-- [sagas]
SELECT keep.create_saga_log('order_sagas');
SELECT keep.create_ledger('wallets');

CREATE TABLE stock (article text PRIMARY KEY, available int NOT NULL);

CREATE FUNCTION reserve_stock(args jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    UPDATE stock SET available = available - (args ->> 'count')::int
    WHERE article = args ->> 'article' AND available >= (args ->> 'count')::int AND (args ->> 'count')::int > 0;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'out of stock';
    END IF;
    RETURN '{}';
END $$;

CREATE FUNCTION return_stock(step jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    UPDATE stock SET available = available + (step #>> '{args,count}')::int
    WHERE article = step #>> '{args,article}';
    RETURN '{}';
END $$;

CREATE FUNCTION pay_order(args jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    t record;
BEGIN
    SELECT * INTO t
    FROM keep.transfer('wallets', args ->> 'order', args ->> 'customer', 'shop', (args ->> 'amount')::bigint);
    IF t.status = 'rejected' THEN
        RAISE EXCEPTION 'payment rejected: %', t.reason;
    END IF;
    RETURN jsonb_build_object('transfer', t.id);
END $$;

CREATE FUNCTION refund_order(step jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    paid text = step #>> '{result,transfer}';
    t record;
BEGIN
    SELECT * INTO t FROM keep.reverse_transfer('wallets', paid || '/refund', paid, force => true);
    IF t.status = 'rejected' THEN
        RAISE EXCEPTION 'refund rejected: %', t.reason;
    END IF;
    RETURN jsonb_build_object('transfer', t.id);
END $$;

SELECT keep.allow_saga_function('order_sagas', f)
FROM unnest('{reserve_stock(jsonb), return_stock(jsonb), pay_order(jsonb), refund_order(jsonb)}'::regprocedure[]) f;
-- [/sagas]

-- [grants]
CREATE ROLE shop_app LOGIN;
GRANT SELECT, INSERT, UPDATE ON requests, order_sagas, order_sagas_steps, wallets, wallets_transfers TO shop_app;
GRANT SELECT, INSERT ON payments, signups TO shop_app;
GRANT SELECT, UPDATE ON stock TO shop_app;
-- [/grants]
