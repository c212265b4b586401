-- saga: three steps that insert one row each, and its end
\set n :n + 1
\set i :base + :n * 16 + :client_id
\set key 100000000000000000 + (:i * 7368787003 % 999999999989) * 9000011
SELECT keep.begin_saga('bench.sagas', :key, interval '1 hour');
SELECT * FROM keep.run_step('bench.sagas', :key, 'reserve', 'bench.charge(jsonb)', :args, 'bench.refund(jsonb)');
SELECT * FROM keep.run_step('bench.sagas', :key, 'pay', 'bench.charge(jsonb)', :args, 'bench.refund(jsonb)');
SELECT * FROM keep.run_step('bench.sagas', :key, 'ship', 'bench.charge(jsonb)', :args, 'bench.refund(jsonb)');
SELECT keep.complete_saga('bench.sagas', :key);
