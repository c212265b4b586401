# Handlers on a request log, with psycopg.
import psycopg2

import remote
from db import Json, call, is_key, transaction


# [pay]
def pay(db, key, body, lease='30 s', wait='0', on_lapse='reclaim'):
    """POST /payments with an Idempotency-Key: charges a card at a provider, at most once a key."""
    if not is_key(key):
        return 400, {'error': 'the key must be 1 to 1024 bytes long'}
    try:
        state, token, checkpoint, response = call(
            db, "SELECT state, token, checkpoint, response"
                " FROM keep.begin_request('requests', %s, %s, lease => %s, wait => %s, on_lapse => %s)",
            key, Json(body), lease, wait, on_lapse)
        if state in ('completed', 'failed'):
            return response['status'], response['body']     # what was answered the first time
        if state == 'in_flight':
            return 409, {'error': 'in progress, ask again'}
        return charge(db, key, body, token, checkpoint, on_lapse)       # started, resumed
    except psycopg2.DatabaseError as error:                 # psycopg has no class for these of pg_keep
        if error.pgcode == 'KP412':                         # our lease was over, and someone took over
            return 409, {'error': 'in progress, ask again'}
        if error.pgcode == 'KP422':
            return 422, {'error': 'this key was used for another request'}
        if error.pgcode == 'KP423':
            return 423, {'error': 'outcome unknown, we look into it'}
        raise


def charge(db, key, body, token, charged, on_lapse):
    if charged is None:                                     # no checkpoint of an earlier attempt
        try:
            charged = remote.charge(key, body)              # outside of any transaction
        except remote.NoAnswer:
            # It may have been charged. The provider knows our key and may be asked again; else nobody may.
            if on_lapse == 'reclaim':
                call(db, "SELECT keep.release_request('requests', %s, %s)", key, token)
            return 503, {'error': 'no answer from the provider'}
        if 'error' in charged:                              # declined, for good
            call(db, "SELECT keep.fail_request('requests', %s, %s, %s)",
                 key, token, Json({'status': 402, 'body': charged}))
            return 402, charged
        call(db, "SELECT keep.checkpoint_request('requests', %s, %s, %s)", key, token, Json(charged))

    def finish(cursor):                                     # our own data and the outcome: both or none
        cursor.execute("INSERT INTO payments (request, amount, charge) VALUES (%s, %s, %s)",
                       (key, body['amount'], charged['charge']))
        cursor.execute("SELECT keep.complete_request('requests', %s, %s, %s)",
                       (key, token, Json({'status': 201, 'body': charged})))
    transaction(db, finish)
    return 201, charged
# [/pay]


# [signup]
def sign_up(db, key, body):
    """POST /signups with an Idempotency-Key: all of it is in the database, so one call does."""
    if not is_key(key):
        return 400, {'error': 'the key must be 1 to 1024 bytes long'}
    try:
        response, replayed = call(
            db, "SELECT response, replayed FROM keep.call_once('requests', %s, 'sign_up(jsonb)', %s)",
            key, Json(body))
        return response['status'], response['body']
    except psycopg2.DatabaseError as error:
        if error.pgcode != 'KP422':
            raise
        return 422, {'error': 'this key was used for another request'}
# [/signup]
