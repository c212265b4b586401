-- Whatever stands in front of pg_catalog in the search_path, pg_keep's statements mean what
-- they say: no operator, function, type or table of somebody else's is run.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access', max_lifetime => '1 day');
SELECT keep.create_store('h', hash_keys => true);
SELECT keep.create_store('"Quoted"');

CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
DO $$
DECLARE
    t text;
    op text;
BEGIN
    -- operators of the types that a store's columns have
    FOREACH t IN ARRAY '{text,jsonb,bigint,timestamptz,interval,int,boolean}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.cmp(%s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT evil.trap()''', t);
        FOREACH op IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.cmp, LEFTARG = %s, RIGHTARG = %2$s)', op, t);
        END LOOP;
    END LOOP;
    FOREACH t IN ARRAY '{timestamptz + interval,timestamptz - timestamptz,jsonb || jsonb,text || text,bigint + bigint,bigint + int,'
        'interval / int,interval * float8,jsonb -> text,jsonb #> text[],jsonb ? text}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION evil.op%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''trapped''''; END''',
            abs(hashtext(t)), split_part(t, ' ', 1), split_part(t, ' ', 3), split_part(t, ' ', 1));
        EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op%s, LEFTARG = %s, RIGHTARG = %s)',
            split_part(t, ' ', 2), abs(hashtext(t)), split_part(t, ' ', 1), split_part(t, ' ', 3));
    END LOOP;
    -- functions that a statement might use
    FOREACH t IN ARRAY string_to_array('clock_timestamp();now();statement_timestamp();transaction_timestamp();least(timestamptz,timestamptz);'
        'greatest(timestamptz,timestamptz);sha256(bytea);encode(bytea,text);convert_to(text,name);octet_length(text);nextval(regclass);currval(regclass);'
        'unnest(anyarray);unnest(text[]);unnest(jsonb[]);to_jsonb(anyelement);jsonb_build_object(text,text);pg_column_size(jsonb);generate_series(int,int);'
        'quote_ident(text);format(text,text);count(anyelement);date_trunc(text,timestamptz)', ';') LOOP
        EXECUTE format('CREATE FUNCTION evil.%s RETURNS %s LANGUAGE plpgsql AS ''BEGIN RAISE EXCEPTION ''''trapped''''; END''',
            regexp_replace(t, '^(least|greatest)', '"\1"'),
            CASE WHEN t ~ 'any' THEN 'text' ELSE 'timestamptz' END);
    END LOOP;
END $$;
-- names of types, of the store and of pg_keep's own
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.trap());
CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb CHECK (evil.trap());
CREATE DOMAIN evil."interval" AS pg_catalog."interval" CHECK (evil.trap());
CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (evil.trap());
CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamptz CHECK (evil.trap());
CREATE TABLE evil.s (LIKE s INCLUDING ALL);
CREATE TABLE evil.relation (LIKE keep.relation);
CREATE TABLE evil.pg_class (LIKE pg_catalog.pg_class);
CREATE SCHEMA "evil.s";
GRANT USAGE ON SCHEMA evil TO PUBLIC;

CREATE FUNCTION test.under(path pg_catalog.text, stmt pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE
    result pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', path, true);
    EXECUTE stmt INTO result;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
    RETURN result;
EXCEPTION WHEN others THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- the trap works
SELECT test.under('evil, pg_catalog, public', 'SELECT 1 = 1');
SELECT test.under('evil, pg_catalog, public', 'SELECT clock_timestamp()');

CREATE TEMP TABLE call (nr int GENERATED ALWAYS AS IDENTITY, stmt pg_catalog.text);
INSERT INTO call (stmt) VALUES
    ($$SELECT (keep.put($1, 'k', '{"n": 1}')).status$$),
    ($$SELECT (keep.put($1, 'k', '{"n": 1}', '2 hours')).status$$),
    ($$SELECT keep.get($1, 'k')$$),
    ($$SELECT e.value FROM keep.get_entry($1, 'k') e$$),
    ($$SELECT e.value FROM keep.get_many($1, '{k,none}') e$$),
    ($$SELECT e.value FROM keep.get_and_touch($1, 'k', '3 hours') e$$),
    ($$SELECT e.key FROM keep.put_many($1, '{m}', '{1}') e$$),
    ($$SELECT e.key FROM keep.put_batch($1, '{"m": 2}') e$$),
    ($$SELECT (keep.put_if_absent($1, 'k', '2')).status$$),
    ($$SELECT (keep.put_if_absent($1, 'new', '2')).status$$),
    ($$SELECT (keep.compare_and_swap($1, 'k', 0, '2')).status$$),
    ($$SELECT (keep.compare_and_swap($1, 'k', 1, '2')).status$$),
    ($$SELECT (keep.merge($1, 'k', '{"a": {"b": null}}')).value$$),
    ($$SELECT (keep.increment($1, 'k', 2, '{n}')).value$$),
    ($$SELECT (keep.touch($1, 'k', '4 hours')).status$$),
    ($$SELECT (keep.persist($1, 'k')).status$$),
    ($$SELECT (keep.delete($1, 'k')).status$$),
    ($$SELECT keep.expire($1)$$),
    ($$SELECT keep.expire()$$),
    ($$SELECT a.acquired FROM keep.acquire($1, 'l', 'me', '1 min') a$$),
    ($$SELECT (keep.renew($1, 'l', 1, '1 min')).status$$),
    ($$SELECT (keep.release($1, 'l', 1)).status$$),
    ($$SELECT keep.set_store_option($1, 'ttl', '90 min')$$);
\pset format unaligned
\pset tuples_only on
-- plans made under the hostile path
SELECT stmt, test.under('evil, pg_catalog, public', pg_catalog.replace(stmt, '$1', '''public.s''')) FROM call ORDER BY nr;
-- and for a store with hashed keys, and one with a name to quote
SELECT stmt, test.under('evil, pg_catalog, public', pg_catalog.replace(stmt, '$1', '''public.h''')) FROM call
WHERE test.under('evil, pg_catalog, public', pg_catalog.replace(stmt, '$1', '''public.h''')) LIKE '%trapped%';
SELECT stmt, test.under('evil, "evil.s", pg_catalog', pg_catalog.replace(stmt, '$1', '''public."Quoted"''')) FROM call
WHERE test.under('evil, "evil.s", pg_catalog', pg_catalog.replace(stmt, '$1', '''public."Quoted"''')) LIKE '%trapped%';
-- the functions that make and name tables
SELECT test.under('evil, pg_catalog, public', $$SELECT keep.create_store('public.t', '1 hour', 'access', '1 day', '1 min', 1000, false, 'unlogged')$$);
SELECT test.under('evil, pg_catalog, public', $$SELECT keep.register('public.t', 'store', '{"ttl": "1 hour"}')$$);
SELECT test.under('evil, pg_catalog, public', $$SELECT keep.merge_patch('{"a": 1}', '{"b": 2}')$$);
SELECT test.under('evil, pg_catalog, public', $$SELECT keep.json_increment('{"a": 1}', '{a}', 5)$$);
SELECT test.under('evil, pg_catalog, public', $$SELECT keep.clock() IS NULL$$);
\pset tuples_only off
\pset format aligned
-- commands that the event triggers follow, under the hostile path
BEGIN;
SET LOCAL search_path = evil, pg_catalog, public;
ALTER TABLE public.t RENAME TO t2;
ALTER TABLE public.t2 SET SCHEMA "evil.s";
DROP TABLE "evil.s".t2;
COMMIT;
SELECT schema_name, table_name FROM keep.relation ORDER BY 1, 2;
SELECT count(*) AS "of the look-alike" FROM evil.s;

-- the same name means another table under another path: the call goes where the name leads
SET search_path = evil, public;
SELECT test.code($$SELECT keep.get('s', 'k')$$) AS "evil.s is no store";
SET search_path = '';
SELECT keep.get('public.s', 'm') AS "and an empty path does no harm";
RESET search_path;
SELECT test.sound('s');

DROP FUNCTION test.under(pg_catalog.text, pg_catalog.text);
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
DROP SCHEMA "evil.s" CASCADE;
DROP TABLE s, h, "Quoted";
