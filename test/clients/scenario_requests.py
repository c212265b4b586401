# What becomes of payments and sign-ups when replies are lost, callers die or two come at once.
import time

from world import Hold

LAPSE = '40 s'          # a lease of 30 s is over

PAY = {'card': '4711', 'amount': 500}
BUSY = 409, {'error': 'in progress, ask again'}
MISMATCH = 422, {'error': 'this key was used for another request'}
NO_ANSWER = 503, {'error': 'no answer from the provider'}
UNKNOWN = 423, {'error': 'outcome unknown, we look into it'}


def paid(bench, key):
    """How often the provider was called, whether it charged, and the rows written."""
    return (bench.world.calls.get(('POST', key), 0), key in bench.world.charges,
            bench.sql('SELECT count(*) FROM payments WHERE request = %s AND amount = 500', key))


def state(bench, key):
    return bench.sql('SELECT state FROM requests WHERE key = %s', key)


def charged(bench, key):
    return 201, {'charge': bench.world.charges.get(key)}


def pooled(bench):
    end = time.monotonic() + 10         # the pooler opens more connections by and by
    while (pids := bench.ask('pids', '40')[1]) == 1 and bench.route == 'pgbouncer' and time.monotonic() < end:
        time.sleep(0.2)
    bench.is_(pids > 1, bench.route == 'pgbouncer', 'transactions of one connection are spread by the pooler alone')


def values(bench):
    status, got = bench.ask('values')
    bench.is_(status, 200, 'values of each type are accepted')
    wanted = {'swapped': 'updated', 'sum': '9007199254740998', 'list': ['x', 'y'], 'word': 'x'}
    bench.is_({name: got.get(name) for name in wanted}, wanted, 'values of each type arrive')
    bench.is_(got.get('read', 'a {"n": 1}') + str(got.get('n', 1)), 'a {"n": 1}1', 'values come back')
    bench.is_(got.get('bigint'), {'node': 'string', 'python': 'int'}.get(bench.client), 'the type of a bigint')
    bench.is_(bench.sql("SELECT version > 9007199254740993 AND value = '{\"n\": 2}' FROM types WHERE key = 'a'"), True,
              'a version that a double cannot hold came and went')
    bench.is_(bench.sql("SELECT expires_at > now() + interval '59 min' FROM types WHERE key = 'a'"), True,
              'an interval was understood')
    bench.is_(bench.sql("SELECT metadata ->> 'for' FROM wallets_transfers WHERE id = 't-1'"), 'a', 'an array of JSON')


def pay_once(bench):
    key = bench.key('pay')
    first = bench.ask('pay', key, PAY)
    bench.is_(first, charged(bench, key), 'a payment')
    bench.is_(bench.sql('SELECT token > 9007199254740992 FROM requests WHERE key = %s', key), True,
              'its token is none that a double can hold')
    bench.is_(bench.runner(1).ask('pay', key, PAY), first, 'the reply was lost: another process answers the same')
    bench.is_(bench.ask('pay', key, {'amount': 500, 'card': '4711'}), first, 'the order of members does not matter')
    bench.is_(paid(bench, key), (1, True, 1), 'paid once')
    bench.is_(bench.ask('pay', key, {**PAY, 'amount': 501}), MISMATCH, 'another request under the key')
    bench.is_(bench.ask('signup', key, {'mail': 'a'}), MISMATCH, 'another kind of request under the key')
    bench.is_((paid(bench, key), state(bench, key)), ((1, True, 1), 'completed'), 'neither changed anything')


def declined(bench):
    key = bench.key('pay')
    bench.world.plan(key, 'refuse')
    wanted = 402, {'error': 'card declined'}
    bench.is_(bench.ask('pay', key, PAY), wanted, 'a declined payment')
    bench.is_(bench.ask('pay', key, PAY), wanted, 'declined for good, without asking again')
    bench.is_((paid(bench, key), state(bench, key)), ((1, False, 0), 'failed'), 'nothing was paid')


def reply_lost(bench):
    for event, times in (('lost', 2), ('down', 2)):
        key = bench.key('pay')
        bench.world.plan(key, event)
        bench.is_(bench.ask('pay', key, PAY), NO_ANSWER, f'the provider: {event}')
        bench.is_(state(bench, key), 'released', 'released at once')
        bench.is_(bench.ask('pay', key, PAY), charged(bench, key), 'and the next attempt goes on')
        bench.is_(paid(bench, key), (times, True, 1), 'paid once')


def killed_after_charge(bench):
    key = bench.key('pay')
    victim = bench.runner(1)
    bench.world.plan(key, victim.kill)
    victim.send('pay', key, PAY)
    bench.until_gone(victim)
    bench.is_(bench.ask('pay', key, PAY), BUSY, 'its lease lives on after its death')
    bench.later(LAPSE, key)
    bench.is_(bench.ask('pay', key, PAY), charged(bench, key), 'another one asks the provider again')
    bench.is_(paid(bench, key), (2, True, 1), 'paid once')


def killed_after_checkpoint(bench):
    key = bench.key('pay')
    victim = bench.runner(1)
    with bench.locked('payments'):
        victim.send('pay', key, PAY)
        bench.until_waiting(1)
        bench.is_(bench.sql('SELECT checkpoint FROM requests WHERE key = %s', key), charged(bench, key)[1],
                  'the charge is in the checkpoint')
        victim.kill()
        bench.later(LAPSE, key)
    bench.until_idle()
    bench.is_(paid(bench, key), (1, True, 0), 'what it had begun to write is gone')
    bench.is_(bench.ask('pay', key, PAY), charged(bench, key), 'another one goes on from the checkpoint')
    bench.is_(paid(bench, key), (1, True, 1), 'and does not ask the provider again')


def two_at_once(bench):
    key, hold = bench.key('pay'), Hold()
    bench.world.plan(key, hold)
    bench.runner().send('pay', key, PAY)
    hold.until_arrived()
    bench.is_(bench.runner(1).ask('pay', key, PAY), BUSY, 'two at once: the second is told')
    bench.is_(bench.runner(1).ask('pay', key, {**PAY, 'amount': 9}), MISMATCH, 'another request is told that first')
    bench.runner(1).send('pay', key, PAY, '', '20 s')
    time.sleep(0.3)
    hold.go.set()
    first = bench.runner().answer()
    bench.is_(first, charged(bench, key), 'the first goes on')
    bench.is_(bench.runner(1).answer(), first, 'the second, which waits this time, gets the same')
    bench.is_(paid(bench, key), (1, True, 1), 'paid once')


def zombie(bench):
    key, hold = bench.key('pay'), Hold()
    bench.world.plan(key, hold)
    bench.runner().send('pay', key, PAY)
    hold.until_arrived()
    bench.later(LAPSE, key)
    taken_over = bench.runner(1).ask('pay', key, PAY)
    bench.is_(taken_over, charged(bench, key), 'a lease is over: another one takes over')
    hold.go.set()
    bench.is_(bench.runner().answer(), BUSY, 'the one before comes back, and cannot complete')
    bench.is_(bench.ask('pay', key, PAY), taken_over, 'asked again it gives the answer of the other')
    bench.is_((paid(bench, key), state(bench, key)), ((2, True, 1), 'completed'), 'paid once')


def overtaken(bench):
    key, first, second = bench.key('pay'), Hold(), Hold()
    bench.world.plan(key, first, second)
    bench.runner().send('pay', key, PAY)
    first.until_arrived()
    bench.later(LAPSE, key)
    bench.runner(1).send('pay', key, PAY)
    second.until_arrived()
    first.go.set()
    bench.is_(bench.runner().answer(), BUSY, 'while the one who took over is at it, the one before cannot go on')
    bench.is_(bench.sql('SELECT state, checkpoint FROM requests WHERE key = %s', key), ('in_progress', None),
              'and leaves no trace')
    second.go.set()
    bench.is_(bench.runner(1).answer(), charged(bench, key), 'the one who took over completes')
    bench.is_(paid(bench, key), (2, True, 1), 'paid once')


def indeterminate(bench):
    key = bench.key('pay')
    bench.world.plan(key, 'lost')
    call = 'pay', key, PAY, '', '', 'indeterminate'
    bench.is_(bench.ask(*call), NO_ANSWER, 'a provider that must not be asked twice')
    bench.is_(bench.ask(*call), BUSY, 'is not asked while the lease lives')
    bench.later(LAPSE, key)
    bench.is_(bench.ask(*call), UNKNOWN, 'and not after it')
    bench.is_(bench.ask(*call), UNKNOWN, 'ever')
    bench.is_(paid(bench, key), (1, True, 0), 'it was asked once')
    bench.sql("""SELECT keep.complete_request('requests', %s, token, '{"status": 201, "body": {"by": "hand"}}')
        FROM keep.begin_request('requests', %s, %s)""", key, key, '{"card": "4711", "amount": 500}')
    bench.is_(bench.ask(*call), (201, {'by': 'hand'}), 'until someone looked and settled it')


def retried(bench):
    key = bench.key('pay')
    bench.hiccups(3)
    bench.is_(bench.ask('pay', key, PAY), charged(bench, key), 'a transaction is repeated after 40001 and 40P01')
    bench.is_(paid(bench, key), (1, True, 1), 'paid once')
    bench.hiccups(3)
    key = bench.key('signup')
    bench.is_(bench.ask('signup', key, {'mail': key})[0], 201, 'a call is repeated after 40001 and 40P01')
    bench.is_(bench.sql('SELECT count(*) FROM signups WHERE mail = %s', key), 1, 'signed up once')
    bench.is_(bench.sql('SELECT last_value > 0 FROM hiccups'), True, 'they did fail')


def connection_cut(bench):
    key, hold = bench.key('pay'), Hold()
    bench.world.plan(key, hold)
    bench.runner().send('pay', key, PAY, '1 s')
    hold.until_arrived()
    bench.cut()
    hold.go.set()
    answers = [bench.runner().answer()]
    while answers[-1][0] != 201 and len(answers) < 40:
        time.sleep(0.1)
        answers.append(bench.ask('pay', key, PAY, '1 s'))
    bench.is_(answers[-1], charged(bench, key), f'the connection breaks, and a later attempt succeeds: {answers}')
    bench.is_(paid(bench, key)[1:], (True, 1), 'paid once')
    bench.close_runners()               # the others have not noticed yet


def sign_up(bench):
    key = bench.key('signup')
    first = bench.ask('signup', key, {'mail': key})
    bench.is_(first, (201, {'signup': bench.sql('SELECT id FROM signups WHERE mail = %s', key)}), 'a sign-up')
    bench.is_(bench.runner(1).ask('signup', key, {'mail': key}), first, 'replayed')
    bench.is_(bench.ask('signup', key, {'mail': 'other'}), MISMATCH, 'another one under its key')
    bench.is_(bench.ask('pay', key, PAY), MISMATCH, 'a payment under its key')
    bench.is_(bench.sql("SELECT count(*) FROM signups WHERE mail IN (%s, 'other')", key), 1, 'signed up once')

    key = bench.key('signup')
    status, body = bench.ask('signup', key, {})
    bench.is_((status, body[:5]), (500, '23502'), 'an error of the function passes through with its SQLSTATE')
    bench.is_(state(bench, key), [], 'and nothing is stored')
    bench.is_(bench.ask('signup', key, {'mail': key})[0], 201, 'so the key is free for the right request')


def program_error(bench):
    key = bench.key('pay')
    bench.is_(bench.ask('halfway', key)[0], 500, 'the program fails in the middle of a transaction')
    bench.is_(paid(bench, key)[2], 0, 'of which nothing is left')
    bench.is_(bench.ask('pay', key, PAY), charged(bench, key), 'and the connection is as good as before')


def bad_keys(bench):
    for what, key in (('no key', ''), ('a key too long', 'k' * 1025), ('too many bytes', '\xe9' * 513), ('a NUL', 'k\0')):
        for call, body in (('pay', PAY), ('signup', {'mail': 'a'}), ('order', {})):
            bench.is_(bench.ask(call, key, body)[0], 400, f'{call}: {what} is the fault of the caller')
    bench.is_(bench.ask('signup', 'k' * 1024, {'mail': 'k'})[0], 201, 'a key that is just not too long')


def sign_up_at_once(bench):
    key = bench.key('signup')
    with bench.locked('signups'):
        for i in range(3):
            bench.runner(i).send('signup', key, {'mail': key})
        bench.until_waiting(3)
    answers = [bench.runner(i).answer() for i in range(3)]
    wanted = 201, {'signup': bench.sql('SELECT id FROM signups WHERE mail = %s', key)}
    bench.is_(answers, [wanted] * 3, 'three sign up at once: one does, the others replay')


def repeatable_read(bench):
    bench.sql(f"ALTER DATABASE {bench.database} SET default_transaction_isolation = 'repeatable read'")
    bench.close_runners()
    bench.cut()
    try:
        sign_up_at_once(bench)
        pay_once(bench)
    finally:
        bench.sql(f'ALTER DATABASE {bench.database} RESET default_transaction_isolation')
        bench.close_runners()
        bench.cut()


scenarios = (pooled, values, pay_once, declined, reply_lost, killed_after_charge, killed_after_checkpoint, two_at_once,
             zombie, overtaken, indeterminate, retried, connection_cut, sign_up, program_error, bad_keys, sign_up_at_once,
             repeatable_read)
