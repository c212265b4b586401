# Carries out the calls of the test: a line in is a call with its arguments, a line out its answer, parted by tabs.
import json
import sys

import psycopg2

from db import connect, transaction
from orders import compensate, place_order
from payments import pay, sign_up
from values import values

db = connect()


def given(**options):
    return {name: value for name, value in options.items() if value}


def pids(count):
    """The server's processes that carry out some transactions of one connection."""
    found = set()
    for _ in range(int(count)):
        with db.cursor() as cursor:
            cursor.execute('SELECT pg_backend_pid()')
            found.add(cursor.fetchone()[0])
    return 200, len(found)


def halfway(key):
    def work(cursor):
        cursor.execute('INSERT INTO payments (request, amount) VALUES (%s, 500)', (key,))
        raise ValueError('an error of the program')
    transaction(db, work)


calls = {
    'pay': lambda key, body, lease='', wait='', on_lapse='': pay(
        db, key, json.loads(body), **given(lease=lease, wait=wait, on_lapse=on_lapse)),
    'signup': lambda key, body: sign_up(db, key, json.loads(body)),
    'order': lambda order, body, lease='', deadline='': place_order(
        db, order, json.loads(body), **given(lease=lease, deadline=deadline)),
    'worker': lambda name, lease='': (200, compensate(db, name, **given(lease=lease))),
    'values': lambda: (200, values(db)),
    'pids': pids,
    'halfway': halfway,
}

for line in sys.stdin:
    name, *rest = line.rstrip('\n').split('\t')
    try:
        if db.closed:
            db = connect()
        status, body = calls[name](*rest)
    except Exception as error:
        code = error.pgcode if isinstance(error, psycopg2.Error) else ''
        status, body = 500, f'{code} {error}'
    print(status, json.dumps(body), sep='\t', flush=True)
