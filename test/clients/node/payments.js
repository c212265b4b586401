// Handlers on a request log, with node-postgres.
'use strict';
const { call, isKey, transaction } = require('./db');
const provider = require('./remote');

// [pay]
// POST /payments with an Idempotency-Key: charges a card at a provider, at most once a key.
async function pay(key, body, { lease = '30 s', wait = '0', onLapse = 'reclaim' } = {}) {
  if (!isKey(key)) return { status: 400, body: { error: 'the key must be 1 to 1024 bytes long' } };
  try {
    const request = await call(
      `SELECT state, token, checkpoint, response
       FROM keep.begin_request('requests', $1, $2, lease => $3, wait => $4, on_lapse => $5)`,
      key, JSON.stringify(body), lease, wait, onLapse);
    switch (request.state) {
      case 'completed':
      case 'failed':
        return request.response;                          // what was answered the first time
      case 'in_flight':
        return { status: 409, body: { error: 'in progress, ask again' } };
      default:                                            // started, resumed
        return await charge(key, body, request, onLapse);
    }
  } catch (error) {
    switch (error.code) {
      case 'KP412':                                       // our lease was over, and someone took over
        return { status: 409, body: { error: 'in progress, ask again' } };
      case 'KP422':
        return { status: 422, body: { error: 'this key was used for another request' } };
      case 'KP423':
        return { status: 423, body: { error: 'outcome unknown, we look into it' } };
      default:
        throw error;
    }
  }
}

async function charge(key, body, { token, checkpoint }, onLapse) {
  let charged = checkpoint;                               // from an attempt that got so far
  if (charged === null) {
    try {
      charged = await provider.charge(key, body);         // outside of any transaction
    } catch (error) {
      // No answer, so it may have been charged. It knows our key and may be asked again; else nobody may.
      if (onLapse === 'reclaim') {
        await call(`SELECT keep.release_request('requests', $1, $2)`, key, token);
      }
      return { status: 503, body: { error: 'no answer from the provider' } };
    }
    if (charged.error) {                                  // declined, for good
      const response = { status: 402, body: charged };
      await call(`SELECT keep.fail_request('requests', $1, $2, $3)`,
        key, token, JSON.stringify(response));
      return response;
    }
    await call(`SELECT keep.checkpoint_request('requests', $1, $2, $3)`,
      key, token, JSON.stringify(charged));
  }
  const response = { status: 201, body: charged };
  await transaction(async (client) => {                   // our own data and the outcome: both or none
    await client.query(`INSERT INTO payments (request, amount, charge) VALUES ($1, $2, $3)`,
      [key, body.amount, charged.charge]);
    await client.query(`SELECT keep.complete_request('requests', $1, $2, $3)`,
      [key, token, JSON.stringify(response)]);
  });
  return response;
}
// [/pay]

// [signup]
// POST /signups with an Idempotency-Key: all of it is in the database, so one call does.
async function signUp(key, body) {
  if (!isKey(key)) return { status: 400, body: { error: 'the key must be 1 to 1024 bytes long' } };
  try {
    const { response } = await call(
      `SELECT response, replayed FROM keep.call_once('requests', $1, 'sign_up(jsonb)', $2)`,
      key, JSON.stringify(body));
    return response;
  } catch (error) {
    if (error.code !== 'KP422') throw error;
    return { status: 422, body: { error: 'this key was used for another request' } };
  }
}
// [/signup]

module.exports = { pay, signUp };
