-- merge is RFC 7396: every case of its appendix A, through keep.merge_patch and through
-- keep.merge on a row; what it refuses; expected_version; it does not create.
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');

-- RFC 7396, appendix A
CREATE TEMP TABLE rfc (nr int, original jsonb, patch jsonb, result jsonb);
INSERT INTO rfc VALUES
    (1, '{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    (2, '{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    (3, '{"a":"b"}', '{"a":null}', '{}'),
    (4, '{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    (5, '{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    (6, '{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    (7, '{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    (8, '{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    (9, '["a","b"]', '["c","d"]', '["c","d"]'),
    (10, '{"a":"b"}', '["c"]', '["c"]'),
    (11, '{"a":"foo"}', 'null', 'null'),
    (12, '{"a":"foo"}', '"bar"', '"bar"'),
    (13, '{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    (14, '[1,2]', '{"a":"b","c":null}', '{"a":"b"}'),
    (15, '{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    -- the example of section 3
    (16, '{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}',
        '{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}',
        '{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}'),
    -- and where one might slip
    (20, '{"a":1}', '{}', '{"a":1}'),
    (21, '1', '{}', '{}'),
    (22, 'null', '{"a":null}', '{}'),
    (23, '{"a":1}', '{"a":{}}', '{"a":{}}'),
    (24, '{"a":[1]}', '{"a":{"b":null}}', '{"a":{}}'),
    (25, '{"a":{"b":1}}', '{"a":{}}', '{"a":{"b":1}}'),
    (26, '{"a":{"b":{"c":{"d":1,"e":2}}}}', '{"a":{"b":{"c":{"d":null,"f":3}}}}', '{"a":{"b":{"c":{"e":2,"f":3}}}}'),
    (27, '{"a":[{"b":null}]}', '{"c":[null,{"d":null}]}', '{"a":[{"b":null}],"c":[null,{"d":null}]}'),
    (28, '{"a":{"keep":null}}', '{"a":{"x":1}}', '{"a":{"keep":null,"x":1}}'),
    (29, '{"a":1,"b":2,"c":3}', '{"c":null,"a":null,"b":null}', '{}'),
    (30, '{"":1}', '{"":null,"a":""}', '{"a":""}'),
    (31, '{"a":1.10}', '{"b":1.0}', '{"a":1.10,"b":1.0}'),
    (32, '[]', '[]', '[]'),
    (33, 'true', 'false', 'false'),
    (34, '{"a":{"b":{}}}', '{"a":{"b":null}}', '{"a":{}}'),
    (35, '{"a":"x"}', '{"a":{"b":{"c":null,"d":[null]}}}', '{"a":{"b":{"d":[null]}}}'),
    (36, '{"a":[1,2]}', '{"a":[]}', '{"a":[]}'),
    (37, '{"aa":1,"b":2}', '{"b":null,"ccc":3,"d":{"e":null}}', '{"aa":1,"ccc":3,"d":{}}');

SELECT nr, original, patch, keep.merge_patch(original, patch) AS got FROM rfc
WHERE keep.merge_patch(original, patch)::text IS DISTINCT FROM result::text ORDER BY nr;
-- the same on a row
SELECT count(keep.put('s', nr::text, original)) AS put FROM rfc;
SELECT nr, m.status, m.value::text = result::text AS as_the_rfc_says
FROM rfc, keep.merge('s', nr::text, patch) m ORDER BY nr;
SELECT nr, original, patch, s.value FROM rfc JOIN s ON key = nr::text
WHERE s.value::text IS DISTINCT FROM result::text ORDER BY nr;
-- a result is jsonb like any other
SELECT count(*) AS "differ from what was typed" FROM rfc JOIN s ON key = nr::text
WHERE s.value <> result OR NOT s.value @> result OR jsonb_hash(s.value) <> jsonb_hash(result);

-- members by the hundred, and deep ones
SELECT keep.merge_patch(jsonb_object_agg('k' || i, i), jsonb_object_agg('k' || i, to_jsonb(nullif(i * 10, (i % 2) * i * 10))))
    = (SELECT jsonb_object_agg('k' || i, i * 10) FROM generate_series(2, 300, 2) i) AS "300 members, half removed"
FROM generate_series(1, 300) i;
SELECT keep.merge_patch((repeat('{"a":', 1000) || '1' || repeat('}', 1000))::jsonb,
    (repeat('{"a":', 1000) || '{"b":2}' || repeat('}', 1000))::jsonb)
    = (repeat('{"a":', 1000) || '{"b":2}' || repeat('}', 1000))::jsonb AS "1000 deep";
SELECT keep.merge_patch(NULL, '{"a": 1, "b": null}') AS "no target", keep.merge_patch(NULL, 'null') AS "no target, null",
    test.code($$SELECT keep.merge_patch('{"a": 1}', NULL)$$) AS "no patch";

-- through keep.merge: absent is not created
DELETE FROM s;
SELECT test.o(keep.merge('s', 'k', '{"a": 1}'));
SELECT count(*) FROM s;
-- versions rise, expiry stays, created_at stays
SELECT * FROM keep.put('s', 'k', '{"a": 1}', '1 hour') \gset p_
SELECT created_at AS c FROM s \gset
SELECT test.o(keep.merge('s', 'k', '{"b": 2}'));
SELECT version > :p_version AS rises, expires_at = :'p_expires_at' AS same_expiry, created_at = :'c' AS same_creation,
    updated_at > created_at AS updated FROM s;
-- a patch that changes nothing is a write like another
SELECT version AS v FROM s \gset
SELECT test.o(keep.merge('s', 'k', '{}'));
SELECT version > :v AS rises FROM s;
-- expected_version
SELECT version AS v FROM s \gset
SELECT test.o(keep.merge('s', 'k', '{"c": 3}', :v));
SELECT test.o(keep.merge('s', 'k', '{"c": 4}', :v));
SELECT test.writes('s', format($$SELECT keep.merge('s', 'k', '{"c": 4}', %s)$$, :v)) AS "stale writes nothing";
SELECT test.o(keep.merge('s', 'k', '{"c": 4}', 0)) AS "0 is the version of no entry";
SELECT test.sqlstate($$SELECT keep.merge('s', 'k', '{"c": 4}', -1)$$);
SELECT test.o(keep.merge('s', 'none', '{"c": 4}', 5));
SELECT test.o(keep.merge('s', 'k', '{"c": 4}', NULL)) AS "NULL asks for none";
-- two in one statement both land
SELECT test.o(keep.merge('s', 'k', '{"d": 1}')), test.o(keep.merge('s', 'k', '{"e": 1}'));
-- a patch that is no object replaces the whole value
SELECT test.o(keep.merge('s', 'k', '[1]'));
SELECT test.o(keep.merge('s', 'k', '{"a": 1}'));
SELECT test.o(keep.merge('s', 'k', 'null'));
SELECT keep.get('s', 'k') AS "JSON null, not absent";
-- the result's size counts, not the patch's
SELECT keep.set_store_option('s', 'max_value_bytes', '100');
SELECT (keep.put('s', 'k', jsonb_build_object('a', repeat('x', 40)))).status AS put;
SELECT test.sqlstate($$SELECT keep.merge('s', 'k', jsonb_build_object('b', repeat('x', 60)))$$);
SELECT test.code($$SELECT keep.merge('s', 'k', jsonb_build_object('a', null, 'b', repeat('x', 60)))$$) AS "what it removes makes room";
-- renews where the store has a ttl
SELECT keep.set_store_option('s', 'ttl', '3 hours');
SELECT test.o(keep.merge('s', 'k', '{"b": 1}'));
SELECT test.sound('s');
DROP TABLE s;
