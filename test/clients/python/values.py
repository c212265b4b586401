# How values of each type go in and come out, with psycopg.
from db import Json, call


def values(db):
    # [values]
    # text[] and interval: a list, and a string (or a datetime.timedelta)
    call(db, "SELECT status FROM keep.put('types', %s, %s, ttl => %s)", 'a', Json({'n': 1}), '1 hour')
    with db.cursor() as cursor:
        cursor.execute("SELECT key, value FROM keep.get_many('types', %s)", (['a', 'b'],))
        rows = cursor.fetchall()

    # a JSON array, string or null: Json makes them, without it they are an array, a text and NULL of SQL
    call(db, "SELECT status FROM keep.put('types', %s, %s)", 'list', Json(['x', 'y']))
    call(db, "SELECT status FROM keep.put('types', %s, %s)", 'word', Json('x'))

    # bigint is an int, which has no limits
    version, = call(db, "SELECT version FROM keep.get_entry('types', %s)", 'a')
    status, = call(db, "SELECT status FROM keep.compare_and_swap('types', %s, %s, %s)",
                   'a', version, Json({'n': 2}))

    # bigint[], jsonb[]: a list of Json is an array of unknown type, so cast it
    with db.cursor() as cursor:
        cursor.execute("SELECT id, status, amount"
                       " FROM keep.transfer_many('wallets', %s, %s, %s, %s, metadata => %s::jsonb[])",
                       (['t-1', 't-2'], ['bank', 'bank'], ['till', 'till'], [9007199254740993, 5],
                        [Json({'for': 'a'}), None]))
        total = sum(row['amount'] for row in cursor.fetchall())
    # [/values]
    word, = call(db, "SELECT keep.get('types', 'word')")
    many, = call(db, "SELECT keep.get('types', 'list')")
    return {'keys': [row['key'] for row in rows], 'n': rows[0]['value']['n'], 'list': many, 'word': word,
            'bigint': type(version).__name__, 'swapped': status, 'sum': str(total)}
