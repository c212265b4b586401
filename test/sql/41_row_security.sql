-- Row-level security: hidden rows are absent; a write that a policy forbids is the server's
-- own 42501; nothing waits or loops on a row it cannot see.
\pset null '(null)'
\set VERBOSITY terse
SET statement_timeout = '60s';

SELECT keep.create_store('s', ttl => '1 hour', expire_after => 'access');
GRANT SELECT, INSERT, UPDATE, DELETE ON s TO regress_keep_a, regress_keep_b;
ALTER TABLE s ENABLE ROW LEVEL SECURITY;

-- one policy for everything: a tenant has the keys that begin with its name
CREATE POLICY tenant ON s USING (key LIKE current_user || ':%');
SET ROLE regress_keep_a;
SELECT test.o(keep.put('s', 'regress_keep_a:1', '"a1"')), test.o(keep.increment('s', 'regress_keep_a:n'));
SELECT test.sqlstate($$SELECT keep.put('s', 'regress_keep_b:1', '"a''s"')$$);
SET ROLE regress_keep_b;
SELECT test.o(keep.put('s', 'regress_keep_b:1', '{"b": 1}'));
SELECT token AS t FROM keep.acquire('s', 'regress_keep_b:lease', 'b', '1 hour') \gset
SELECT version AS v FROM keep.get_entry('s', 'regress_keep_b:1') \gset
RESET ROLE;
SELECT md5(string_agg(s::text, ',' ORDER BY key)) AS b_rows FROM s WHERE key LIKE 'regress_keep_b%' \gset

-- what a sees of b's rows, function by function
CREATE TEMP TABLE call (nr int GENERATED ALWAYS AS IDENTITY, stmt text);
INSERT INTO call (stmt) VALUES
    ($$SELECT keep.get('s', $1)::text$$),
    ($$SELECT count(*)::text FROM keep.get_entry('s', $1)$$),
    ($$SELECT string_agg(key, ',') FROM keep.get_many('s', ARRAY[$1, 'regress_keep_a:1'])$$),
    ($$SELECT count(*)::text FROM keep.get_and_touch('s', $1)$$),
    ($$SELECT count(*)::text FROM keep.get_and_touch('s', $1, '5 hours')$$),
    ($$SELECT test.o(keep.put('s', $1, '"a''s"'))$$),
    ($$SELECT count(*)::text FROM keep.put_many('s', ARRAY['regress_keep_a:1', $1], '{1,2}')$$),
    ($$SELECT count(*)::text FROM keep.put_batch('s', jsonb_build_object('regress_keep_a:1', 1, $1, 2))$$),
    ($$SELECT test.o(keep.put_if_absent('s', $1, '"a''s"'))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', $1, 0, '"a''s"'))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', $1, $v, '"a''s"'))$$),
    ($$SELECT test.o(keep.merge('s', $1, '{"a": 1}'))$$),
    ($$SELECT test.o(keep.increment('s', $1, 1, '{b}'))$$),
    ($$SELECT test.o(keep.touch('s', $1, '5 hours'))$$),
    ($$SELECT test.o(keep.persist('s', $1))$$),
    ($$SELECT test.o(keep.delete('s', $1))$$),
    ($$SELECT test.o(keep.delete('s', $1, $v))$$),
    ($$SELECT acquired::text FROM keep.acquire('s', $1, 'a', '1 hour')$$),
    ($$SELECT test.o(keep.renew('s', $1, $v, '5 hours'))$$),
    ($$SELECT test.o(keep.release('s', $1, $v))$$),
    ($$SELECT keep.assert_lease('s', $1, $v)::text$$),
    ($$SELECT keep.expire('s')::text$$);
GRANT SELECT ON call TO PUBLIC;
CREATE FUNCTION test.answer(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE stmt INTO result;
    RETURN coalesce(result, '(null)');
EXCEPTION WHEN others THEN
    RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, 'token \d+', 'token $v');
END $$;
SET ROLE regress_keep_a;
\pset format unaligned
\pset tuples_only on
SELECT stmt, test.answer(replace(replace(stmt, '$1', '''regress_keep_b:1'''), '$v', :'v')) FROM call ORDER BY nr;
-- the same for a key of b's that does not exist: no telling them apart
SELECT stmt, test.answer(replace(replace(stmt, '$1', '''regress_keep_b:none'''), '$v', :'v')) FROM call
WHERE test.answer(replace(replace(stmt, '$1', '''regress_keep_b:none'''), '$v', :'v'))
    <> test.answer(replace(replace(stmt, '$1', '''regress_keep_b:1'''), '$v', :'v')) ORDER BY nr;
\pset tuples_only off
\pset format aligned
SELECT keep.get('s', 'regress_keep_a:1') AS "nothing of a failed batch is kept";
RESET ROLE;
SELECT md5(string_agg(s::text, ',' ORDER BY key)) = :'b_rows' AS "b's rows are untouched" FROM s WHERE key LIKE 'regress_keep_b%';

-- its own it may use like any store; b sees none of them
SET ROLE regress_keep_a;
SELECT count(*) FROM keep.get_many('s', '{regress_keep_a:1,regress_keep_b:1,regress_keep_a:n}');
SELECT version AS v FROM keep.get_entry('s', 'regress_keep_a:1') \gset
SELECT stmt FROM call WHERE test.answer(replace(replace(stmt, '$1', '''regress_keep_a:n'''), '$v', '1')) LIKE '42501%';
-- plans cached for a, used by b
SET ROLE regress_keep_b;
SELECT keep.get('s', 'regress_keep_a:1'), keep.get('s', 'regress_keep_b:1');
SELECT count(*) FROM keep.get_many('s', '{regress_keep_a:1,regress_keep_b:1,regress_keep_a:n}');
-- expire() cleans what the caller sees
RESET ROLE;
DELETE FROM s;
SELECT count(keep.put('s', 'regress_keep_' || x || ':' || i, '1')) FROM unnest('{a,b}'::text[]) x, generate_series(1, 3) i;
SELECT count(test.lapse('s', key)) FROM s;
SET ROLE regress_keep_a;
SELECT keep.expire('s'), keep.expire();
RESET ROLE;
SELECT key FROM s ORDER BY key;
-- superusers, BYPASSRLS and the owner see all; under FORCE the owner does not
SELECT keep.expire('s');
SELECT (keep.put('s', 'regress_keep_a:1', '1')).status AS put;
ALTER TABLE s OWNER TO regress_keep_owner;
SET ROLE regress_keep_owner;
SELECT keep.get('s', 'regress_keep_a:1');
ALTER TABLE s FORCE ROW LEVEL SECURITY;
SELECT keep.get('s', 'regress_keep_a:1'), test.code($$SELECT keep.put('s', 'regress_keep_a:2', '1')$$),
    test.code($$SELECT keep.put('s', 'regress_keep_owner:1', '1')$$);
RESET ROLE;
-- who switches it off gets an error, not all rows
SET ROLE regress_keep_a;
SET row_security = off;
SELECT test.code($$SELECT keep.get('s', 'regress_keep_a:1')$$), test.code($$SELECT keep.put('s', 'regress_keep_a:1', '1')$$);
RESET row_security;
RESET ROLE;
ALTER TABLE s NO FORCE ROW LEVEL SECURITY;

-- read all, write one's own
DROP POLICY tenant ON s;
CREATE POLICY r ON s FOR SELECT USING (true);
CREATE POLICY i ON s FOR INSERT WITH CHECK (key LIKE current_user || ':%');
CREATE POLICY u ON s FOR UPDATE USING (key LIKE current_user || ':%');
CREATE POLICY d ON s FOR DELETE USING (key LIKE current_user || ':%');
RESET ROLE;
DELETE FROM s;
SELECT (keep.put('s', 'regress_keep_b:1', '{"b": 1}')).status AS put;
SELECT version AS v, s::text AS b_row FROM s \gset
SET ROLE regress_keep_a;
\pset format unaligned
\pset tuples_only on
SELECT stmt, test.answer(replace(replace(stmt, '$1', '''regress_keep_b:1'''), '$v', :'v')) FROM call
WHERE stmt NOT LIKE '%expire%' ORDER BY nr;
\pset tuples_only off
\pset format aligned
RESET ROLE;
SELECT s::text = :'b_row' AS "b's row is untouched" FROM s WHERE key = 'regress_keep_b:1';

-- by what the value says, not the key: a hidden row takes the key a caller may otherwise have
DROP POLICY r ON s;
DROP POLICY i ON s;
DROP POLICY u ON s;
DROP POLICY d ON s;
CREATE POLICY by_value ON s USING (value ->> 'of' = current_user) WITH CHECK (value ->> 'of' = current_user);
DELETE FROM s;
SELECT (keep.put('s', 'shared', '{"of": "regress_keep_b"}')).status AS put;
SELECT version AS v FROM s \gset
SET ROLE regress_keep_a;
SELECT keep.get('s', 'shared');
SET statement_timeout = '10s';
\pset format unaligned
\pset tuples_only on
SELECT c, test.answer(replace(c, '$1', $$'{"of": "regress_keep_a"}'$$)) FROM (VALUES
    ($$SELECT test.o(keep.put('s', 'shared', $1))$$),
    ($$SELECT test.o(keep.put_if_absent('s', 'shared', $1))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', 'shared', 0, $1))$$),
    ($$SELECT count(*)::text FROM keep.put_many('s', '{mine,shared}', ARRAY[$1, $1]::jsonb[])$$),
    ($$SELECT count(*)::text FROM keep.put_batch('s', jsonb_build_object('mine', $1::jsonb, 'shared', $1::jsonb))$$),
    ($$SELECT test.o(keep.merge('s', 'shared', $1))$$),
    ($$SELECT test.o(keep.increment('s', 'shared', 1, '{n}'))$$),
    ($$SELECT test.o(keep.touch('s', 'shared', '5 hours'))$$),
    ($$SELECT test.o(keep.delete('s', 'shared'))$$),
    ($$SELECT keep.acquire('s', 'shared', 'me', '1 min')::text$$),
    ($$SELECT test.o(keep.put('s', 'mine', $1))$$)
) v(c);
-- one's own row may not be given away
SELECT test.answer($$SELECT test.o(keep.merge('s', 'mine', '{"of": "regress_keep_b"}'))$$);
SELECT test.answer($$SELECT test.o(keep.put('s', 'mine', '{"of": "regress_keep_b"}'))$$);
\pset tuples_only off
\pset format aligned
SELECT test.o(keep.merge('s', 'mine', '{"more": 1}'));
RESET ROLE;
SELECT key, value FROM s ORDER BY key;
-- and where the hidden row has expired
SELECT test.lapse('s', 'shared');
SET ROLE regress_keep_a;
\pset format unaligned
\pset tuples_only on
SELECT c, test.answer(replace(c, '$1', $$'{"of": "regress_keep_a"}'$$)) FROM (VALUES
    ($$SELECT test.o(keep.put('s', 'shared', $1))$$),
    ($$SELECT test.o(keep.put_if_absent('s', 'shared', $1))$$),
    ($$SELECT test.o(keep.compare_and_swap('s', 'shared', 0, $1))$$)
) v(c);
\pset tuples_only off
\pset format aligned
RESET ROLE;
RESET statement_timeout;

-- anybody may add, nobody may change
DROP POLICY by_value ON s;
DELETE FROM s;
CREATE POLICY r ON s FOR SELECT USING (true);
CREATE POLICY i ON s FOR INSERT WITH CHECK (true);
SET ROLE regress_keep_a;
SELECT test.answer($$SELECT test.o(keep.put_if_absent('s', 'k', '1'))$$);
SELECT test.answer($$SELECT test.o(keep.put_if_absent('s', 'k', '2'))$$);
SELECT test.answer($$SELECT test.o(keep.put('s', 'k', '2'))$$);
SELECT test.answer($$SELECT test.o(keep.delete('s', 'k'))$$);
SELECT keep.get('s', 'k');
RESET ROLE;

DROP FUNCTION test.answer(text);
DROP TABLE s;
