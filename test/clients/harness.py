# What the tests of all clients share: processes that run a client's handlers, a look into the database, checks.
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback

import psycopg2

from world import World

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 30           # seconds until an answer counts as missing


class Runner:
    """A process with the handlers of a client. It carries out one call after another."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, name, *fields):
        fields = [field if isinstance(field, str) else json.dumps(field) for field in fields]
        self.process.stdin.write('\t'.join([name, *fields]) + '\n')
        self.process.stdin.flush()

    def answer(self):
        line = self.lines.get(timeout=PATIENCE)
        if line is None:
            raise EOFError('the client is gone')
        status, body = line.rstrip('\n').split('\t')
        return int(status), json.loads(body)

    def ask(self, *call):
        self.send(*call)
        return self.answer()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Bench:
    """A database of its own with the shop, a world of its own, and runners of one client on one route."""

    def __init__(self, client, route, command):
        self.client, self.route, self.command = client, route, command
        self.database = f'{client}_{route}'
        self.passed = self.failed = 0
        self.runners = []
        self.number = 0
        self.world = World()
        with_database('postgres', f'CREATE DATABASE {self.database}')
        self.db = connect(self.database)
        self.sql('CREATE EXTENSION pg_keep')
        for region in ('requests', 'sagas', 'grants'):
            self.sql(setup(region))
        with open(f'{HERE}/prepare.sql', encoding='utf-8') as file:
            self.sql(file.read())
        self.environment = {
            **os.environ, 'PGHOST': '127.0.0.1', 'PGPORT': os.environ[f'CLIENTS_PORT_{route}'], 'PGUSER': 'shop_app',
            'PGPASSWORD': os.environ['CLIENTS_PASSWORD'], 'PGDATABASE': self.database, 'REMOTE_URL': self.world.url}

    def sql(self, text, *values):
        """Runs SQL as a superuser. Returns its only row or value, if there is one."""
        with self.db.cursor() as cursor:
            cursor.execute(text, values or None)
            if cursor.description is None:
                return None
            rows = cursor.fetchall()
        if len(rows) == 1:
            return rows[0][0] if len(rows[0]) == 1 else rows[0]
        return rows

    def runner(self, i=0):
        """The i-th runner; a new one where there is none, or where it has died."""
        while len(self.runners) <= i:
            self.runners.append(None)
        if self.runners[i] is None or self.runners[i].process.poll() is not None:
            self.runners[i] = Runner(self.command, self.environment)
        return self.runners[i]

    def ask(self, *call):
        return self.runner().ask(*call)

    def key(self, what):
        self.number += 1
        return f'{what}-{self.number}'

    def close_runners(self):
        for runner in self.runners:
            if runner is not None:
                runner.close()
        self.runners = []

    def is_(self, got, wanted, what):
        if got == wanted:
            self.passed += 1
        else:
            self.failed += 1
            print(f'not ok - {self.client}, {self.route}: {what}\n    got    {got!r}\n    wanted {wanted!r}')

    def run(self, *scenarios):
        for scenario in scenarios:
            try:
                scenario(self)
            except Exception:
                self.failed += 1
                print(f'not ok - {self.client}, {self.route}: {scenario.__name__} ended early')
                traceback.print_exc(file=sys.stdout)
                for runner in filter(None, self.runners):
                    runner.kill()
                self.runners = []

    def later(self, time, name):
        """Lets time go by for a request or a saga: all its moments are so much longer ago. Nobody needs to sleep."""
        for table, column in (('requests', 'key'), ('order_sagas', 'saga'), ('order_sagas_steps', 'saga')):
            moments = self.sql("SELECT string_agg(format('%%I = %%1$I - %%L::interval', attname, %s), ', ') FROM pg_attribute"
                               " WHERE attrelid = %s::regclass AND atttypid = 'timestamptz'::regtype", time, table)
            self.sql(f'UPDATE {table} SET {moments} WHERE {column} = %s', name)

    def until(self, wanted, query, *values):
        """Waits until the query says so."""
        end = time.monotonic() + PATIENCE
        while (got := self.sql(query, *values)) != wanted:
            if time.monotonic() > end:
                raise TimeoutError(f'{query}: {got!r}, not {wanted!r}')
            time.sleep(0.02)

    def until_idle(self):
        """Waits until the server carries out nothing for the clients."""
        self.until(0, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                      " AND usename = 'shop_app' AND state <> 'idle'")

    def until_waiting(self, count):
        """Waits until so many of the clients' calls wait for locks."""
        self.until(count, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                          " AND usename = 'shop_app' AND wait_event_type = 'Lock'")

    def until_gone(self, runner):
        """Waits until a runner that is to be killed is dead, and the server has noticed."""
        runner.process.wait(PATIENCE)
        time.sleep(0.1)

    @contextlib.contextmanager
    def locked(self, table):
        """Nobody else can write the table inside of this block."""
        db = connect(self.database)
        db.autocommit = False
        with db.cursor() as cursor:
            cursor.execute(f'LOCK TABLE {table} IN SHARE MODE')
        try:
            yield
        finally:
            db.rollback()
            db.close()

    def cut(self):
        """Ends all connections of the clients."""
        self.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                 " WHERE datname = current_database() AND usename = 'shop_app'")

    def hiccups(self, count):
        """Has the next writes fail with 40001 or 40P01."""
        self.sql("SELECT setval('hiccups', %s)", -count)


def connect(database):
    db = psycopg2.connect('', dbname=database)
    db.autocommit = True
    return db


def with_database(database, statement):
    db = connect(database)
    with db.cursor() as cursor:
        cursor.execute(statement)
    db.close()


def region(path, name):
    """The lines of a file between [name] and [/name] in comments, without their common indentation."""
    with open(path, encoding='utf-8') as file:
        lines = file.read().split('\n')
    marks = [i for i, line in enumerate(lines)
             if line.strip().lstrip('-/#').strip() in (f'[{name}]', f'[/{name}]')]
    if len(marks) != 2:
        raise ValueError(f'{path}: no region [{name}]')
    body = lines[marks[0] + 1:marks[1]]
    indent = min((len(line) - len(line.lstrip()) for line in body if line.strip()), default=0)
    return '\n'.join(line[indent:] for line in body) + '\n'


def setup(name):
    text = region(f'{HERE}/setup.sql', name)
    return text.replace('CREATE ROLE shop_app LOGIN;\n', '')     # one for all databases
