# A saga and the worker for its remote compensations, with psycopg.
import psycopg2

import remote
from db import Json, call, is_key


# [order]
class Undo(Exception):
    """The order cannot be carried out."""


def place_order(db, order, body, lease='30 s', deadline='10 min'):
    """PUT /orders/ID: the first attempt and every later one run the same code; what is done is only replayed."""
    if not is_key(order):
        return 400, {'error': 'the name must be 1 to 1024 bytes long'}
    try:
        call(db, "SELECT state FROM keep.begin_saga('order_sagas', %s, deadline => %s)", order, deadline)
        run_step(db, order, 'stock', 'reserve_stock(jsonb)',
                 {'article': body['article'], 'count': body['count']}, 'return_stock(jsonb)')
        run_step(db, order, 'pay', 'pay_order(jsonb)',
                 {'order': order, 'customer': body['customer'], 'amount': body['amount']}, 'refund_order(jsonb)')

        status, token, parcel = call(
            db, "SELECT status, token, result FROM keep.enter_step('order_sagas', %s, 'ship',"
                " compensation => 'cancel_shipment', args => %s, lease => %s)",
            order, Json({'address': body['address']}), lease)
        if status == 'refused':
            raise Undo('the order was cancelled')
        if status == 'busy':
            return 409, {'error': 'in progress, ask again'}
        if status == 'run':
            parcel = ship(db, order, body['address'], token)

        state, = call(db, "SELECT state FROM keep.complete_saga('order_sagas', %s)", order)
        if state == 'running':                              # another remote step is still open
            return 409, {'error': 'in progress, ask again'}
        if state != 'completed':
            raise Undo('the order was cancelled')
        return 201, parcel
    except remote.NoAnswer:                                 # it may be on its way: the step stays open
        return 503, {'error': 'no answer from the carrier'}
    except Undo as undo:
        state, pending = call(db, "CALL keep.run_compensations('order_sagas', %s)", order)
        if state == 'completed':                            # by others: they had no use for the step that was refused here
            parcel, = call(db, "SELECT result FROM order_sagas_steps WHERE saga = %s AND step = 'ship'", order)
            return 201, parcel
        return 410, {'error': str(undo)}
    except psycopg2.DatabaseError as error:
        if error.pgcode == 'KP412':                         # our lease was over, and someone took over
            return 409, {'error': 'in progress, ask again'}
        if error.pgcode == 'KP422':
            return 422, {'error': 'this order exists with other contents'}
        raise                                               # nothing is decided: a retry goes on from here


def run_step(db, order, step, action, args, compensation):
    try:
        status, result, replayed = call(
            db, "SELECT status, result, replayed FROM keep.run_step('order_sagas', %s, %s, %s, %s, %s)",
            order, step, action, Json(args), compensation)
    except psycopg2.errors.RaiseException as error:         # RAISE EXCEPTION in the action: it says no
        raise Undo(error.diag.message_primary) from error
    if status == 'refused':
        raise Undo('the order was cancelled')


def ship(db, order, address, token):
    parcel = remote.ship(f'{order}/ship', address)          # saga/step is the carrier's idempotency key
    call(db, "SELECT status FROM keep.leave_step('order_sagas', %s, 'ship', %s, ok => %s, result => %s)",
         order, token, 'error' not in parcel, Json(parcel))
    if 'error' in parcel:
        raise Undo(parcel['error'])
    return parcel
# [/order]


# [worker]
def compensate(db, worker, lease='1 min'):
    """Run this every few seconds, in as many processes as you like."""
    call(db, "CALL keep.run_due_compensations('order_sagas')")
    done = 0
    while True:                                             # one at a time, as the lease counts from now
        claimed = call(
            db, "SELECT saga, step, compensation, args, result, token"
                " FROM keep.claim_compensations('order_sagas', %s, max => 1, lease => %s)", worker, lease)
        if claimed is None:
            return done
        saga, step, compensation, args, result, token = claimed
        try:
            if compensation != 'cancel_shipment':
                raise ValueError(f'no such compensation: {compensation}')
            # also where nobody knows whether it was shipped
            ok, undone = True, remote.cancel(f'{saga}/{step}', f'{saga}/{step}/undo')
        except Exception as error:
            ok, undone = False, {'error': str(error)}       # again later, and `stuck` after max_attempts
        try:
            state, = call(
                db, "SELECT state FROM keep.finish_compensation('order_sagas', %s, %s, %s, ok => %s, result => %s)",
                saga, step, token, ok, Json(undone))
            if state == 'compensating':
                call(db, "CALL keep.run_compensations('order_sagas', %s)", saga)
        except psycopg2.DatabaseError as error:
            if error.pgcode != 'KP412':                     # our lease was over: another worker has it
                raise
        done += 1
# [/worker]
