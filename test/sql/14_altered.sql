-- A store that its owner alters while plans are cached: more columns, generated columns,
-- constraints, triggers, foreign keys work; one that loses its shape is no store any more.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s', ttl => '1 hour');
SELECT test.o(keep.put('s', 'k', '{"total": 1}')),
    test.o(keep.touch('s', 'k')), test.o(keep.merge('s', 'k', '{"a": 1}'));

-- a column with a default: kept by writes to a live entry, new in a new one
ALTER TABLE s ADD COLUMN note text DEFAULT 'none';
SELECT test.o(keep.put('s', 'k', '{"total": 2}'));
SELECT keep.get('s', 'k');
UPDATE s SET note = 'mine';
SELECT test.o(keep.put('s', 'k', '{"total": 3}'));
SELECT test.o(keep.merge('s', 'k', '{"b": 1}'));
SELECT test.o(keep.touch('s', 'k', '2 hours'));
SELECT key, note FROM s;
SELECT test.lapse('s', 'k');
SELECT test.o(keep.put('s', 'k', '{"total": 4}'));
SELECT key, note FROM s;

-- the new entry gets its defaults from every function that can start one
CREATE FUNCTION test.renewed(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was timestamptz;
    r record;
BEGIN
    DELETE FROM s;
    PERFORM keep.put('s', 'k', '{}');
    UPDATE s SET note = 'mine', created_at = created_at - interval '1 day';
    PERFORM test.lapse('s', 'k');
    EXECUTE stmt;
    SELECT * INTO r FROM s WHERE key = 'k';
    RETURN concat_ws(', ', r.note, CASE WHEN r.created_at > now() - interval '1 hour'
        THEN 'created anew' ELSE 'old creation' END, r.value, test.left(r.expires_at));
END $$;
SELECT c, test.renewed(c) FROM (VALUES
    ($$SELECT keep.put('s', 'k', '1')$$),
    ($$SELECT keep.put_many('s', '{k}', '{1}')$$),
    ($$SELECT keep.put_batch('s', '{"k": 1}')$$),
    ($$SELECT keep.put_if_absent('s', 'k', '1')$$),
    ($$SELECT keep.compare_and_swap('s', 'k', 0, '1')$$),
    ($$SELECT keep.increment('s', 'k')$$),
    ($$SELECT keep.acquire('s', 'k', 'me', '1 hour')$$)
) v(c);
DROP FUNCTION test.renewed(text);
ALTER TABLE s DROP COLUMN note;
SELECT test.o(keep.put('s', 'k', '{"total": 5}'));
SELECT keep.get('s', 'k');

-- a generated column follows the value
ALTER TABLE s ADD COLUMN total numeric GENERATED ALWAYS AS ((value ->> 'total')::numeric) STORED;
SELECT test.o(keep.put('s', 'k', '{"total": 6}'));
SELECT total FROM s;
SELECT test.o(keep.merge('s', 'k', '{"total": 7}'));
SELECT total FROM s;
SELECT test.lapse('s', 'k');
SELECT test.o(keep.put_if_absent('s', 'k', '{"total": 8}'));
SELECT total FROM s;
SELECT test.code($$SELECT keep.put('s', 'k', '{"total": "many"}')$$) AS "the server's own error";
ALTER TABLE s DROP COLUMN total;

-- a column that must be given and is not: the server's own error, on creation alone
DELETE FROM s;
ALTER TABLE s ADD COLUMN tenant text NOT NULL;
SELECT fn, result FROM test.try_all($$'s'$$) WHERE result <> 'ok';
INSERT INTO s (key, value, created_at, updated_at, tenant) VALUES ('k', '1', now(), now(), 'x');
SELECT test.code($$SELECT keep.merge('s', 'k', '{}')$$) AS merge,
    test.code($$SELECT keep.put('s', 'other', '{}')$$) AS put;
ALTER TABLE s DROP COLUMN tenant;
DELETE FROM s;

-- a constraint of the owner's
ALTER TABLE s ADD CONSTRAINT small CHECK (value <> '13');
SELECT test.code($$SELECT keep.put('s', 'k', '13')$$) AS put,
    test.code($$SELECT keep.put('s', 'k', '12')$$) AS "and another",
    test.code($$SELECT keep.increment('s', 'k')$$) AS increment;
SELECT keep.get('s', 'k');
ALTER TABLE s DROP CONSTRAINT small;

-- a foreign key on the store
CREATE TABLE line (cart text COLLATE "C" REFERENCES s (key), what text);
INSERT INTO line VALUES ('k', 'apple');
SELECT test.code($$SELECT keep.delete('s', 'k')$$) AS "delete is held back",
    test.code($$SELECT keep.put('s', 'k', '1')$$) AS "put is not";
DROP TABLE line;

-- a trigger that changes what is written: the outcome shows what stands
CREATE FUNCTION test.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF jsonb_typeof(new.value) = 'object' THEN
        new.value := new.value || '{"stamped": true}';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON s FOR EACH ROW EXECUTE FUNCTION test.stamp();
SELECT test.o(keep.put('s', 'k', '{"a": 1}')), test.o(keep.put('s', 'new', '{"a": 1}'));
SELECT test.o(keep.merge('s', 'k', '{"b": 1, "stamped": null}'));
SELECT test.o(keep.increment('s', 'k', 1, '{b}'));
SELECT test.e(e) FROM keep.put_many('s', '{m}', ARRAY['{}']::jsonb[]) e;
DROP TRIGGER stamp ON s;
DROP FUNCTION test.stamp();

-- a trigger that writes to the same store; a new entry that had to draw its version again, as
-- others were at work, is one more update
CREATE FUNCTION test.count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.key <> 'count' THEN
        PERFORM keep.increment('s', 'count');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count AFTER INSERT OR UPDATE ON s FOR EACH ROW EXECUTE FUNCTION test.count();
SELECT test.o(keep.put('s', 'a', '1')), test.o(keep.put('s', 'a', '2'));
SELECT keep.get('s', 'count')::int >= 2 AS counted, test.sound('s');
DROP TRIGGER count ON s;
DROP FUNCTION test.count();

-- a trigger that suppresses the write: 09000, and nothing is written
DELETE FROM s;
SELECT (keep.put('s', 'k', '1')).status AS put;
SELECT token AS t FROM keep.acquire('s', 'l', 'me', '1 hour') \gset
CREATE FUNCTION test.suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER suppress BEFORE INSERT OR UPDATE OR DELETE ON s FOR EACH ROW EXECUTE FUNCTION test.suppress();
SELECT c, test.code(replace(c, ':t', :'t')) FROM (VALUES
    ($$SELECT keep.put('s', 'k', '2')$$),
    ($$SELECT keep.put('s', 'new', '2')$$),
    ($$SELECT keep.put_many('s', '{k}', '{2}')$$),
    ($$SELECT keep.put_many('s', '{new}', '{2}')$$),
    ($$SELECT keep.put_batch('s', '{"new": 2}')$$),
    ($$SELECT keep.put_if_absent('s', 'new', '2')$$),
    ($$SELECT keep.compare_and_swap('s', 'new', 0, '2')$$),
    ($$SELECT keep.compare_and_swap('s', 'k', (SELECT version FROM keep.get_entry('s', 'k')), '2')$$),
    ($$SELECT keep.merge('s', 'k', '{"a": 1}')$$),
    ($$SELECT keep.increment('s', 'k')$$),
    ($$SELECT keep.increment('s', 'new')$$),
    ($$SELECT keep.touch('s', 'k', '2 hours')$$),
    ($$SELECT keep.get_and_touch('s', 'k', '2 hours')$$),
    ($$SELECT keep.persist('s', 'k')$$),
    ($$SELECT keep.delete('s', 'k')$$),
    ($$SELECT keep.acquire('s', 'new', 'me', '1 hour')$$),
    ($$SELECT keep.renew('s', 'l', :t, '2 hours')$$),
    ($$SELECT keep.release('s', 'l', :t)$$)
) v(c);
SELECT key, value FROM s ORDER BY key;
-- the same for an expired entry
SELECT set_config('session_replication_role', 'replica', false) = 'replica' AS "triggers off";
SELECT test.lapse('s', 'k');
RESET session_replication_role;
SELECT c, test.code(c) FROM (VALUES
    ($$SELECT keep.put('s', 'k', '2')$$),
    ($$SELECT keep.put_if_absent('s', 'k', '2')$$),
    ($$SELECT keep.compare_and_swap('s', 'k', 0, '2')$$),
    ($$SELECT keep.increment('s', 'k')$$),
    ($$SELECT keep.acquire('s', 'k', 'me', '1 hour')$$)
) v(c);
DROP TRIGGER suppress ON s;
DROP FUNCTION test.suppress();
SELECT test.o(keep.put('s', 'k', '3'));

-- what takes the shape away: 42809 until it is mended
CREATE FUNCTION test.without(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM keep.put('s', 'k', '1');
    BEGIN
        EXECUTE change;
        SELECT string_agg(DISTINCT t.result, ' ') INTO result FROM test.try_all($q$'s'$q$) t;
        RAISE EXCEPTION USING ERRCODE = 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
    END;
    RETURN concat_ws(', then ', result, test.code($q$SELECT keep.put('s', 'k', '1')$q$));
END $$;
SELECT c, test.without(c) FROM (VALUES
    ('ALTER TABLE s DROP COLUMN value'),
    ('ALTER TABLE s DROP COLUMN reap_at'),
    ('ALTER TABLE s DROP CONSTRAINT s_pkey'),
    ('ALTER TABLE s ALTER value TYPE json'),
    ('ALTER TABLE s ALTER key TYPE varchar COLLATE "C"'),
    ('ALTER TABLE s ALTER version DROP IDENTITY'),
    ('ALTER TABLE s RENAME expires_at TO ends_at'),
    ('ALTER TABLE s RENAME value TO v')
) v(c);
ALTER TABLE s RENAME value TO v;
SELECT test.code($$SELECT keep.get('s', 'k')$$) AS renamed;
ALTER TABLE s RENAME v TO value;
SELECT test.code($$SELECT keep.get('s', 'k')$$) AS "and back";

-- indexes and storage may change
CREATE INDEX s_value ON s USING gin (value);
ALTER TABLE s ALTER value SET STORAGE EXTERNAL, SET (fillfactor = 50);
DROP INDEX s_reap_at_idx;
SELECT test.o(keep.put('s', 'k', '4'));
SELECT keep.get('s', 'k');
CLUSTER s USING s_pkey;
SELECT test.o(keep.put('s', 'k', '5'));
SELECT keep.get('s', 'k');
SELECT test.sound('s');

DROP FUNCTION test.without(text);
DROP TABLE s;

-- the common trigger that dates each write does not hide that an entry was created
SELECT keep.create_store('dated');
CREATE FUNCTION test.date_it() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER date_it BEFORE INSERT OR UPDATE ON dated FOR EACH ROW EXECUTE FUNCTION test.date_it();
SELECT (keep.put('dated', 'k', '1')).status AS put, (keep.put('dated', 'k', '1')).status AS again,
    (keep.increment('dated', 'n')).status AS increment, (keep.increment('dated', 'n')).status AS again;
DROP TABLE dated;
DROP FUNCTION test.date_it();

-- a later version's catalog may have more columns
ALTER TABLE keep.relation ADD COLUMN extra1 int, ADD COLUMN extra2 int, ADD COLUMN extra3 text DEFAULT 'x';
SELECT keep.create_store('later', ttl => '1 hour');
SELECT keep.set_store_option('later', 'ttl', '2 hours');
ALTER TABLE later RENAME TO later2;
SELECT (keep.put('later2', 'k', '1')).status;
SELECT table_name, options, extra3 FROM keep.relation WHERE table_name = 'later2';
DROP TABLE later2;
ALTER TABLE keep.relation DROP COLUMN extra1, DROP COLUMN extra2, DROP COLUMN extra3;
