-- compare_and_swap and delete: every status; a stale version never matches, not even the
-- same key's of an entry that was deleted or expired and made again.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');

-- compare_and_swap on nothing
SELECT test.o(keep.compare_and_swap('s', 'k', 1, '"x"'));
SELECT test.writes('s', $$SELECT keep.compare_and_swap('s', 'k', 1, '"x"')$$);
SELECT keep.get('s', 'k');
-- 0: must be absent
SELECT test.o(keep.compare_and_swap('s', 'k', 0, '"one"'));
SELECT version AS v1 FROM s WHERE key = 'k' \gset
SELECT test.o(keep.compare_and_swap('s', 'k', 0, '"two"'));
SELECT version = :v1 AS "exists shows the winner's version" FROM keep.compare_and_swap('s', 'k', 0, '"two"');
-- the right version
SELECT * FROM keep.compare_and_swap('s', 'k', :v1, '"two"') \gset a_
SELECT :'a_applied' AS applied, :'a_status' AS status, :'a_value' AS value, :a_version > :v1 AS rises;
-- a stale one, and one from the future
SELECT *, version = :a_version AS current FROM keep.compare_and_swap('s', 'k', :v1, '"three"') \gset b_
SELECT :'b_applied' AS applied, :'b_status' AS status, :'b_value' AS value, :'b_current' AS current;
SELECT test.o(keep.compare_and_swap('s', 'k', :a_version + 1, '"three"'));
SELECT test.o(keep.compare_and_swap('s', 'k', 9223372036854775807, '"three"'));
SELECT test.writes('s', format($$SELECT keep.compare_and_swap('s', 'k', %s, '"three"')$$, :v1)) AS stale,
    test.writes('s', $$SELECT keep.compare_and_swap('s', 'k', 0, '"three"')$$) AS "exists";
SELECT keep.get('s', 'k');
SELECT test.sqlstate($$SELECT keep.compare_and_swap('s', 'k', -1, '"three"')$$);
SELECT test.sqlstate($$SELECT keep.compare_and_swap('s', 'k', NULL, '"three"')$$);
-- a chain in one statement
CREATE FUNCTION test.chain() RETURNS text LANGUAGE plpgsql AS $$
DECLARE o keep.outcome; v bigint := 0; statuses text := '';
BEGIN
    FOR i IN 1 .. 4 LOOP
        o := keep.compare_and_swap('s', 'chain', v, to_jsonb(i));
        statuses := statuses || o.status || ' ';
        v := o.version;
    END LOOP;
    RETURN statuses || keep.get('s', 'chain');
END $$;
SELECT test.chain();
DROP FUNCTION test.chain();
-- expiry: kept where none is given and the store has none
SELECT test.o(keep.put('s', 't', '1', '1 hour'));
SELECT version AS v FROM s WHERE key = 't' \gset
SELECT test.o(keep.compare_and_swap('s', 't', :v, '2')) AS kept;
SELECT version AS v FROM s WHERE key = 't' \gset
SELECT test.o(keep.compare_and_swap('s', 't', :v, '3', '2 hours')) AS given;

-- delete
SELECT test.o(keep.delete('s', 'none'));
SELECT test.o(keep.delete('s', 'none', 5));
SELECT * FROM keep.put('s', 'd', '"last"', '1 hour') \gset a_
SELECT test.o(keep.delete('s', 'd', :a_version - 1));
SELECT test.o(keep.delete('s', 'd', :a_version + 1));
SELECT test.writes('s', format($$SELECT keep.delete('s', 'd', %s)$$, :a_version + 1)) AS "stale writes nothing";
SELECT test.o(keep.delete('s', 'd', 0)) AS "0 is the version of no entry";
SELECT test.sqlstate($$SELECT keep.delete('s', 'd', -1)$$) AS negative;
SELECT *, version = :a_version AS its_own FROM keep.delete('s', 'd', :a_version) \gset b_
SELECT :'b_applied' AS applied, :'b_status' AS status, :'b_value' AS value, :'b_its_own' AS its_own;
SELECT keep.get('s', 'd'), count(*) FILTER (WHERE key = 'd') FROM s;
SELECT test.o(keep.put('s', 'd', '"again"'));
SELECT test.o(keep.delete('s', 'd')), test.o(keep.delete('s', 'd'));
SELECT test.o(keep.put('s', 'd', 'null'));
SELECT test.o(keep.delete('s', 'd')) AS "deleted shows what was deleted, JSON null too";

-- ABA: the version of an entry that is gone matches nothing, whoever ended it
CREATE FUNCTION test.aba(ending text, birth text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    old bigint;
    new bigint;
    result text := '';
BEGIN
    DELETE FROM s;
    old := version FROM keep.put('s', 'k', '"old"');
    CASE ending
        WHEN 'delete' THEN PERFORM keep.delete('s', 'k');
        WHEN 'expire' THEN PERFORM test.lapse('s', 'k'); PERFORM keep.expire('s');
        WHEN 'lapse' THEN PERFORM test.lapse('s', 'k');
        WHEN 'sql' THEN DELETE FROM s WHERE key = 'k';
        WHEN 'truncate' THEN TRUNCATE s;
    END CASE;
    result := (keep.compare_and_swap('s', 'k', old, '"stale"')).status || ' ';
    EXECUTE birth;
    new := version FROM s WHERE key = 'k';
    RETURN result || (keep.compare_and_swap('s', 'k', old, '"stale"')).status || ' '
        || (keep.delete('s', 'k', old)).status || ' ' || (keep.merge('s', 'k', '{}', old)).status || ' '
        || CASE WHEN new > old THEN 'rises' ELSE 'used again' END;
END $$;
SELECT e, split_part(b, '(', 1) AS birth, test.aba(e, b) FROM unnest('{delete,expire,lapse,sql,truncate}'::text[]) e,
    unnest(ARRAY[$$SELECT keep.put('s', 'k', '"new"')$$, $$SELECT keep.put_if_absent('s', 'k', '"new"')$$,
        $$SELECT keep.compare_and_swap('s', 'k', 0, '"new"')$$, $$SELECT keep.put_many('s', '{k}', '{2}')$$,
        $$SELECT keep.increment('s', 'k')$$, $$SELECT keep.acquire('s', 'k', 'me', '1 hour')$$]) b;
DROP FUNCTION test.aba(text, text);

SELECT test.sound('s');
DROP TABLE s;
