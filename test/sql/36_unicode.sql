-- Keys and values in any script: the length counts in bytes, nothing is normalised or
-- folded, order is by bytes. (UTF8 databases; others have 36_unicode_1.out.)
SELECT getdatabaseencoding() <> 'UTF8' AS other_encoding \gset
\if :other_encoding
\quit
\endif
SET client_encoding = 'UTF8';
\pset null '(null)'
\set VERBOSITY terse

SELECT keep.create_store('s');
SELECT keep.create_store('h', hash_keys => true);

CREATE TEMP TABLE word (nr int GENERATED ALWAYS AS IDENTITY, what text, k text);
INSERT INTO word (what, k) VALUES
    ('emoji', U&'\+01F600'),
    ('family of four, joined', U&'\+01F468\200D\+01F469\200D\+01F467\200D\+01F466'),
    ('e with acute, one character', U&'caf\00E9'),
    ('e with acute, combining', U&'cafe\0301'),
    ('sharp s', U&'stra\00DFe'),
    ('its upper case', 'STRASSE'),
    ('dotless i', U&'\0131'),
    ('dotted I', U&'\0130'),
    ('Arabic', U&'\0645\0631\062D\0628\0627'),
    ('Hebrew with marks', U&'\05E9\05B8\05C1\05DC\05D5\05B9\05DD'),
    ('right-to-left override', U&'\202Eabc'),
    ('Han', U&'\6F22\5B57'),
    ('Hangul, composed', U&'\D55C'),
    ('Hangul, decomposed', U&'\1112\1161\11AB'),
    ('Thai', U&'\0E2A\0E27\0E31\0E2A\0E14\0E35'),
    ('zero width space', U&'a\200Bb'),
    ('no break space', U&'a\00A0b'),
    ('byte order mark', U&'\FEFFa'),
    ('line separator', U&'a\2028b'),
    ('newline', U&'a\000Ab'),
    ('last code point', U&'\+10FFFF'),
    ('noncharacter', U&'\FFFF'),
    ('full width', U&'\FF41\FF42');

SELECT what, (keep.put('s', k, to_jsonb(k))).status, (keep.put('h', k, to_jsonb(k))).status AS hashed FROM word ORDER BY nr;
SELECT count(*) FILTER (WHERE keep.get('s', k) = to_jsonb(k)) AS found, count(*) FILTER (WHERE keep.get('h', k) = to_jsonb(k)) AS hashed,
    count(*) FROM word;
SELECT count(*) AS "each its own" FROM s;
SELECT count(*) AS "the SHA-256 of the UTF-8 bytes" FROM h JOIN word ON key = encode(sha256(convert_to(k, 'UTF8')), 'hex');
SELECT count(*) FROM word, keep.get_entry('s', k) e, keep.get_entry('h', k) f WHERE e.key = k AND f.key = k AND e.value = f.value;
SELECT count(*) AS "in the order asked" FROM (SELECT nr, k, e.key FROM word
    LEFT JOIN keep.get_many('s', (SELECT array_agg(k ORDER BY nr) FROM word)) WITH ORDINALITY e(key, v, ve, c, u, x, n) ON n = nr) x
WHERE k = key;
SELECT string_agg(key, '|') = (SELECT string_agg(k, '|' ORDER BY k COLLATE "C") FROM word) AS "in the order of bytes"
FROM (SELECT key FROM s ORDER BY key) x;
SELECT count(*) FROM word, keep.delete('s', k) d WHERE d.status = 'deleted';
-- put_batch takes its keys from JSON
SELECT count(*) FROM keep.put_batch('s', (SELECT jsonb_object_agg(k, nr) FROM word)) e JOIN word ON e.key = k AND e.value = to_jsonb(nr);
SELECT test.e(e) LIKE U&'\+01F600, 1%' AS "escaped in JSON" FROM keep.put_batch('s', '{"\ud83d\ude00": 1}') e;

-- 1024 bytes, not characters
SELECT n, test.code(format('SELECT keep.put(''s'', repeat(U&''\+01F600'', %s), ''1'')', n)) AS "of four bytes",
    test.code(format('SELECT keep.put(''h'', repeat(U&''\+01F600'', %s), ''1'')', n)) AS hashed
FROM (VALUES (256), (257)) v(n);
SELECT n, test.code(format('SELECT keep.put(''s'', repeat(U&''\00E9'', %s), ''1'')', n)) AS "of two bytes",
    test.code(format('SELECT keep.put(''s'', ''x'' || repeat(U&''\00E9'', %s), ''1'')', n)) AS "and one more"
FROM (VALUES (511), (512), (513)) v(n);
SELECT max(octet_length(key)) FROM s;

-- U+0000 can be in no text and no jsonb: the server's own error
SELECT test.code($$SELECT keep.put('s', 'k', '"\u0000"')$$) AS "in a value",
    test.code($$SELECT keep.put_batch('s', '{"a\u0000": 1}')$$) AS "in a key",
    test.code($$SELECT keep.merge('s', 'k', '{"a": "\u0000"}')$$) AS "in a patch";
-- half a surrogate pair: the server's own error too
SELECT test.code($$SELECT keep.put('s', 'k', '"\ud83d"')$$) AS "half a pair";

-- values and members
SELECT test.o(keep.put('s', 'v', jsonb_build_object(k, k))) = format('applied, created, %s, version, never', jsonb_build_object(k, k)) AS put
FROM word WHERE what = 'emoji';
SELECT count((keep.merge('s', 'v', jsonb_build_object(k, nr))).status) FROM word;
SELECT keep.get('s', 'v') = (SELECT jsonb_object_agg(k, nr) FROM word) AS merged;
SELECT count((keep.increment('s', 'v', 1000, ARRAY[k])).status) FROM word;
SELECT keep.get('s', 'v') = (SELECT jsonb_object_agg(k, nr + 1000) FROM word) AS incremented;
SELECT owner = U&'\6F22\5B57 "me"' AS owner FROM keep.acquire('s', U&'\+01F512', U&'\6F22\5B57 "me"', '1 min');

DROP TABLE s, h;
