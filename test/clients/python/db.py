# The connection of the psycopg handlers, and how their calls are repeated.
# [db]
import random
import time

import psycopg2
import psycopg2.extras
from psycopg2.extras import Json


def connect():
    db = psycopg2.connect('', cursor_factory=psycopg2.extras.DictCursor)  # where to: PGHOST, PGPORT, ...
    db.autocommit = True        # else the first statement opens a transaction that stays open
    return db


def is_key(key):
    return 1 <= len(key.encode()) <= 1024 and '\0' not in key


def retry(work):
    """A serialization failure or a deadlock has changed nothing: do it again."""
    for attempt in range(1, 11):
        try:
            return work()
        except psycopg2.OperationalError as error:
            if error.pgcode not in ('40001', '40P01') or attempt == 10:
                raise
            time.sleep(random.random() * 0.01 * 2 ** attempt)


def call(db, sql, *values):
    """One statement, which is a transaction of its own. Returns its first row."""
    def work():
        with db.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone() if cursor.description else None
    return retry(work)


def transaction(db, work):
    """Several statements in one transaction."""
    def attempt():
        with db, db.cursor() as cursor:     # BEGIN; then COMMIT, or ROLLBACK after an exception
            return work(cursor)
    return retry(attempt)
# [/db]
