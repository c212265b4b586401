// How values of each type go in and come out, with node-postgres.
'use strict';
const { call, pool } = require('./db');

async function values() {
  // [values]
  // text[] and interval: an array of JavaScript, and a string
  await call(`SELECT status FROM keep.put('types', $1, $2, ttl => $3)`, 'a', JSON.stringify({ n: 1 }), '1 hour');
  const { rows } = await pool.query(`SELECT key, value FROM keep.get_many('types', $1)`, [['a', 'b']]);

  // a JSON array, string or null: always JSON.stringify, as the driver takes them for something else
  await call(`SELECT status FROM keep.put('types', $1, $2)`, 'list', JSON.stringify(['x', 'y']));
  await call(`SELECT status FROM keep.put('types', $1, $2)`, 'word', JSON.stringify('x'));

  // bigint comes as a string: give it back as it is, and compute with BigInt
  const { version } = await call(`SELECT version FROM keep.get_entry('types', $1)`, 'a');
  const { status } = await call(`SELECT status FROM keep.compare_and_swap('types', $1, $2, $3)`,
    'a', version, JSON.stringify({ n: 2 }));

  // bigint[], jsonb[]
  const { rows: transfers } = await pool.query(
    `SELECT id, status, amount FROM keep.transfer_many('wallets', $1, $2, $3, $4, metadata => $5)`,
    [['t-1', 't-2'], ['bank', 'bank'], ['till', 'till'], [9007199254740993n, 5n],
      [JSON.stringify({ for: 'a' }), null]]);
  const sum = transfers.reduce((total, { amount }) => total + BigInt(amount), 0n);
  // [/values]

  const word = await call(`SELECT keep.get('types', 'word') AS value`);
  const list = await call(`SELECT keep.get('types', 'list') AS value`);
  return {
    keys: rows.map((row) => row.key), n: rows[0].value.n, list: list.value, word: word.value,
    bigint: typeof version, swapped: status, sum: String(sum),
  };
}

module.exports = { values };
