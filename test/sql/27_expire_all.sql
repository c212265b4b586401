-- expire() of all stores: its limit is one for all of them; a store that cannot be swept keeps the others from
-- nothing; and what the owner of a store has put on it runs with the owner's rights, not with the caller's.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store(s) FROM unnest('{s1,s2,s3}'::text[]) s;
CREATE FUNCTION test.dead(store regclass, n int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keep.put(store, 'dead ' || i, '1', '1 min') FROM generate_series(1, n) i;
    EXECUTE format('UPDATE %s SET expires_at = now() - interval ''1 min'', reap_at = now() - interval ''1 min''', store);
    RETURN n;
END $$;
-- the limit
SELECT test.dead('s1', 2), test.dead('s2', 3), test.dead('s3', 4);
SELECT n, keep.expire(NULL, 4) AS deleted FROM generate_series(1, 4) n;
SELECT test.dead('s1', 2), test.dead('s2', 3), test.dead('s3', 4);
SELECT keep.expire(NULL, 1) AS one, keep.expire(NULL, 2) AS two, keep.expire(NULL, 100) AS "the rest";

-- one that raises, between others
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON s2 FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT test.dead('s1', 2), test.dead('s2', 3), test.dead('s3', 4);
SELECT keep.expire() AS "of the others", keep.expire() AS again;
SELECT (SELECT count(*) FROM s1) AS s1, (SELECT count(*) FROM s2) AS s2, (SELECT count(*) FROM s3) AS s3;
SELECT test.sqlstate($$SELECT keep.expire('s2')$$) AS "by its name";
DROP TRIGGER refuse ON s2;

-- whose rights
CREATE TABLE ran_as (store text, who name, path text);
GRANT INSERT ON ran_as TO PUBLIC;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.ran_as VALUES (TG_TABLE_NAME, current_user, current_setting('search_path'));
    RETURN OLD;
END $$;
CREATE TRIGGER note BEFORE DELETE ON s1 FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note BEFORE DELETE ON s2 FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE s1 OWNER TO regress_keep_owner;
ALTER TABLE s2 OWNER TO regress_keep_other;
SELECT test.dead('s1', 1), test.dead('s2', 1);
SELECT keep.expire() AS "by a superuser";
SELECT store, who, path FROM ran_as ORDER BY store;
SELECT current_user = session_user AS "who we are", current_setting('search_path') AS path;
TRUNCATE ran_as;
-- by its name: the caller has chosen it, and his rights count, as in a DELETE of his
SELECT test.dead('s1', 1);
SELECT keep.expire('s1');
SELECT store, who = session_user AS "the caller" FROM ran_as;
TRUNCATE ran_as;
-- what the caller has set stays his, also where the owner's trigger sets it
CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('search_path', 'public, pg_temp', false), set_config('work_mem', '77MB', false);
    RETURN OLD;
END $$;
SELECT test.dead('s1', 1), test.dead('s2', 1);
SELECT keep.expire();
SELECT current_setting('search_path') AS path, current_setting('work_mem') <> '77MB' AS "not the owner's";
DROP TABLE s1, s2, s3, ran_as;
DROP FUNCTION refuse(), note(), test.dead(regclass, int);
