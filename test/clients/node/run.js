// Carries out the calls of the test: a line in is a call with its arguments, a line out its answer, parted by tabs.
'use strict';
const readline = require('node:readline');
const { pool, transaction } = require('./db');
const { pay, signUp } = require('./payments');
const { placeOrder, compensate } = require('./orders');
const { values } = require('./values');

const given = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value));

const calls = {
  pay: (key, body, lease, wait, onLapse) => pay(key, JSON.parse(body), given({ lease, wait, onLapse })),
  signup: (key, body) => signUp(key, JSON.parse(body)),
  order: (order, body, lease, deadline) => placeOrder(order, JSON.parse(body), given({ lease, deadline })),
  worker: async (name, lease) => ({ status: 200, body: await compensate(name, given({ lease })) }),
  values: async () => ({ status: 200, body: await values() }),
  // The server's processes that carry out some transactions of one connection.
  pids: async (count) => {
    const client = await pool.connect();
    const pids = new Set();
    for (let i = 0; i < Number(count); i++) {
      pids.add((await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid);
    }
    client.release();
    return { status: 200, body: pids.size };
  },
  halfway: (key) => transaction(async (client) => {
    await client.query('INSERT INTO payments (request, amount) VALUES ($1, 500)', [key]);
    throw new TypeError('an error of the program');
  }),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, ...rest] = line.split('\t');
    let answer;
    try {
      answer = await calls[name](...rest);
    } catch (error) {
      answer = { status: 500, body: `${error.code ?? ''} ${error.message}` };
    }
    process.stdout.write(`${answer.status}\t${JSON.stringify(answer.body)}\n`);
  }
  await pool.end();
}

main();
