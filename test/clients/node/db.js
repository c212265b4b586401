// The connections of the node-postgres handlers, and how their calls are repeated.
'use strict';

// [db]
const { setTimeout: sleep } = require('node:timers/promises');
const pg = require('pg');

const pool = new pg.Pool({ max: 4 });        // where to: PGHOST, PGPORT, PGUSER, ...
pool.on('error', () => {});                  // an idle connection has broken: the pool opens another

const isKey = (key) => key !== '' && Buffer.byteLength(key) <= 1024 && !key.includes('\0');

// A serialization failure or a deadlock has changed nothing: do it again.
async function retry(work) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!['40001', '40P01'].includes(error.code) || attempt === 10) throw error;
      await sleep(Math.random() * 10 * 2 ** attempt);
    }
  }
}

// One statement, which is a transaction of its own. Returns its first row.
async function call(sql, ...values) {
  const result = await retry(() => pool.query(sql, values));
  return result.rows[0];
}

// Several statements in one transaction.
async function transaction(work) {
  return retry(async () => {
    const client = await pool.connect();
    let broken;
    try {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch((failure) => { broken = failure; });
      throw error;
    } finally {
      client.release(broken);
    }
  });
}
// [/db]

module.exports = { pool, isKey, call, transaction };
