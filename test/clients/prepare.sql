-- What only the tests need, beside setup.sql: money and goods, tokens that a double cannot hold, and failures.
SELECT keep.open_account('wallets', 'bank', 'EUR', min_balance => NULL);
SELECT keep.open_account('wallets', 'shop', 'EUR');
SELECT keep.open_account('wallets', 'till', 'EUR');
SELECT keep.open_account('wallets', 'ann', 'EUR');
SELECT keep.transfer('wallets', 'deposit', 'bank', 'ann', 100000);
INSERT INTO stock VALUES ('lamp', 1000);

SELECT keep.create_store('types');
GRANT SELECT, INSERT, UPDATE ON types TO shop_app;

-- From 2^53 + 1 on.
ALTER TABLE types ALTER COLUMN version RESTART WITH 9007199254740993;
ALTER TABLE requests ALTER COLUMN token RESTART WITH 9007199254740993;
ALTER TABLE order_sagas_steps ALTER COLUMN token RESTART WITH 9007199254740993;

-- Below 1 a number drawn here is a write that fails as a serialization failure or a deadlock does.
CREATE SEQUENCE hiccups MINVALUE -100 START 1;

CREATE FUNCTION hiccup() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    n bigint = nextval('hiccups');
BEGIN
    IF n < 1 THEN
        RAISE EXCEPTION 'hiccup' USING ERRCODE = CASE n % 2 WHEN 0 THEN '40001' ELSE '40P01' END;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER hiccup BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION hiccup();
CREATE TRIGGER hiccup BEFORE INSERT ON signups FOR EACH ROW EXECUTE FUNCTION hiccup();
CREATE TRIGGER hiccup BEFORE UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION hiccup();
