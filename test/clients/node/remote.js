// The payment provider and the carrier, over HTTP. Both take an idempotency key.
'use strict';

class NoAnswer extends Error {}

async function request(method, path, key, body) {
  let answer, text;
  try {
    answer = await fetch(process.env.REMOTE_URL + path, {
      method,
      headers: { 'Idempotency-Key': key, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text();
  } catch (error) {
    throw new NoAnswer(error.message);
  }
  if (answer.status >= 500) throw new NoAnswer(`status ${answer.status}`);
  return JSON.parse(text);
}

module.exports = {
  NoAnswer,
  charge: (key, { card, amount }) => request('POST', '/charges', key, { card, amount }),
  ship: (key, address) => request('POST', '/shipments', key, { address }),
  cancel: (shipment, key) => request('DELETE', '/shipments', key, { shipment }),
};
