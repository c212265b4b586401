-- the foreground: loads one of the entries that live on, each sixth
\set i random(1, :entries) * 6
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT keep.get('bench.million', :key);
