// A saga and the worker for its remote compensations, with node-postgres.
'use strict';
const { call, isKey } = require('./db');
const carrier = require('./remote');

// [order]
class Undo extends Error {}                               // the order cannot be carried out

// PUT /orders/ID: the first attempt and every later one run the same code; what is done is only replayed.
async function placeOrder(order, body, { lease = '30 s', deadline = '10 min' } = {}) {
  if (!isKey(order)) return { status: 400, body: { error: 'the name must be 1 to 1024 bytes long' } };
  const { article, count, customer, amount, address } = body;
  try {
    await call(`SELECT state FROM keep.begin_saga('order_sagas', $1, deadline => $2)`, order, deadline);
    await runStep(order, 'stock', 'reserve_stock(jsonb)', { article, count }, 'return_stock(jsonb)');
    await runStep(order, 'pay', 'pay_order(jsonb)', { order, customer, amount }, 'refund_order(jsonb)');

    const step = await call(
      `SELECT status, token, result FROM keep.enter_step('order_sagas', $1, 'ship',
         compensation => 'cancel_shipment', args => $2, lease => $3)`,
      order, JSON.stringify({ address }), lease);
    if (step.status === 'refused') throw new Undo('the order was cancelled');
    if (step.status === 'busy') return { status: 409, body: { error: 'in progress, ask again' } };
    const parcel = step.status === 'done' ? step.result : await ship(order, address, step.token);

    const { state } = await call(`SELECT state FROM keep.complete_saga('order_sagas', $1)`, order);
    if (state === 'running') return { status: 409, body: { error: 'in progress, ask again' } };  // another remote step is open
    if (state !== 'completed') throw new Undo('the order was cancelled');
    return { status: 201, body: parcel };
  } catch (error) {
    if (error instanceof carrier.NoAnswer) {              // it may be on its way: the step stays open
      return { status: 503, body: { error: 'no answer from the carrier' } };
    }
    if (error.code === 'KP412') {                         // our lease was over, and someone took over
      return { status: 409, body: { error: 'in progress, ask again' } };
    }
    if (error.code === 'KP422') {
      return { status: 422, body: { error: 'this order exists with other contents' } };
    }
    if (!(error instanceof Undo)) throw error;            // nothing is decided: a retry goes on from here
    const { state } = await call(`CALL keep.run_compensations('order_sagas', $1)`, order);
    if (state === 'completed') {                          // by others: they had no use for the step that was refused here
      const { result } = await call(
        `SELECT result FROM order_sagas_steps WHERE saga = $1 AND step = 'ship'`, order);
      return { status: 201, body: result };
    }
    return { status: 410, body: { error: error.message } };
  }
}

async function runStep(order, step, action, args, compensation) {
  try {
    const { status } = await call(
      `SELECT status, result, replayed FROM keep.run_step('order_sagas', $1, $2, $3, $4, $5)`,
      order, step, action, JSON.stringify(args), compensation);
    if (status === 'refused') throw new Undo('the order was cancelled');
  } catch (error) {
    if (error.code !== 'P0001') throw error;              // RAISE EXCEPTION in the action: it says no
    throw new Undo(error.message);
  }
}

async function ship(order, address, token) {
  const parcel = await carrier.ship(`${order}/ship`, address);   // saga/step is the carrier's idempotency key
  await call(`SELECT status FROM keep.leave_step('order_sagas', $1, 'ship', $2, ok => $3, result => $4)`,
    order, token, !parcel.error, JSON.stringify(parcel));
  if (parcel.error) throw new Undo(parcel.error);
  return parcel;
}
// [/order]

// [worker]
// Run this every few seconds, in as many processes as you like.
async function compensate(worker, { lease = '1 min' } = {}) {
  await call(`CALL keep.run_due_compensations('order_sagas')`);
  for (let done = 0; ; done++) {
    const claimed = await call(                           // one at a time, as the lease counts from now
      `SELECT saga, step, compensation, args, result, token
       FROM keep.claim_compensations('order_sagas', $1, max => 1, lease => $2)`, worker, lease);
    if (!claimed) return done;
    const { saga, step, compensation, token } = claimed;
    let undone = null;
    let failure = null;
    try {
      if (compensation !== 'cancel_shipment') throw new Error(`no such compensation: ${compensation}`);
      // also where nobody knows whether it was shipped
      undone = await carrier.cancel(`${saga}/${step}`, `${saga}/${step}/undo`);
    } catch (error) {
      failure = { error: error.message };                 // again later, and `stuck` after max_attempts
    }
    try {
      const { state } = await call(
        `SELECT state FROM keep.finish_compensation('order_sagas', $1, $2, $3, ok => $4, result => $5)`,
        saga, step, token, failure === null, JSON.stringify(failure ?? undone));
      if (state === 'compensating') await call(`CALL keep.run_compensations('order_sagas', $1)`, saga);
    } catch (error) {
      if (error.code !== 'KP412') throw error;            // our lease was over: another worker has it
    }
  }
}
// [/worker]

module.exports = { placeOrder, compensate };
