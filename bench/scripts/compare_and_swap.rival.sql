-- compare_and_swap: reads four versions in one go, swaps each, and once more with a stale one
\set i random(1, :entries)
\set key1 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
\set i random(1, :entries)
\set key2 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
\set i random(1, :entries)
\set key3 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
\set i random(1, :entries)
\set key4 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT a.version AS version1, b.version AS version2, c.version AS version3, d.version AS version4
FROM bench.entry a, bench.entry b, bench.entry c, bench.entry d
WHERE a.key = :key1 AND b.key = :key2 AND c.key = :key3 AND d.key = :key4
\gset
SELECT * FROM bench.compare_and_swap(:key1, :version1, :doc, interval '30 min');
SELECT * FROM bench.compare_and_swap(:key2, :version2, :doc, interval '30 min');
SELECT * FROM bench.compare_and_swap(:key3, :version3, :doc, interval '30 min');
SELECT * FROM bench.compare_and_swap(:key4, :version4, :doc, interval '30 min');
SELECT * FROM bench.compare_and_swap(:key1, :version1, :doc, interval '30 min');
