# What becomes of orders that fail, die half-way or come twice: done as a whole or not at all, and once.
from scenario_requests import BUSY
from world import Hold

LAPSE = '40 s'          # a lease of 30 s is over
DEADLINE = '11 min'     # one of 10 min is over
WORKER_LAPSE = '70 s'   # one of 1 min is over

ORDER = {'article': 'lamp', 'count': 2, 'customer': 'ann', 'amount': 300, 'address': 'Main Street 1'}
NO_ANSWER = 503, {'error': 'no answer from the carrier'}
CANCELLED = 410, {'error': 'the order was cancelled'}


def shipped(order):
    return 201, {'parcel': f'parcel of {order}/ship'}


def left(bench):
    """The goods and the money that are left."""
    return bench.sql("SELECT s.available, b.balance::int FROM stock s, keep.balance('wallets', 'ann') b")


def outcome(bench, order, before):
    """The state of the saga, goods and money gone, what the carrier has, and the steps with their states."""
    now = left(bench)
    return (bench.sql('SELECT state FROM order_sagas WHERE saga = %s', order), before[0] - now[0], before[1] - now[1],
            bench.world.shipments.get(f'{order}/ship'))


DONE = 'completed', 2, 300, 'shipped'
RUNNING = 'running', 2, 300, 'shipped'
RUNNING_BACK = 'compensating', 2, 300
UNDONE = 'compensated', 0, 0, None
CALLED_BACK = 'compensated', 0, 0, 'cancelled'


def placed(bench):
    order, before = bench.key('order'), left(bench)
    bench.is_(bench.ask('order', order, ORDER), shipped(order), 'an order')
    bench.is_(outcome(bench, order, before), DONE, 'its goods, its money, its parcel')
    bench.is_(bench.sql("SELECT token > 9007199254740992 FROM order_sagas_steps WHERE saga = %s AND step = 'ship'", order),
              True, 'the token of the step is none that a double can hold')
    bench.is_(bench.runner(1).ask('order', order, ORDER), shipped(order), 'the reply was lost: another one answers the same')
    bench.is_(outcome(bench, order, before), DONE, 'done once')
    bench.is_(bench.world.calls[('POST', f'{order}/ship')], 1, 'the carrier was called once')
    bench.is_(bench.ask('order', order, {**ORDER, 'count': 3}),
              (422, {'error': 'this order exists with other contents'}), 'another order under its name')
    bench.is_(bench.ask('worker', 'w-1'), (200, 0), 'the worker has nothing to do')
    bench.is_(outcome(bench, order, before), DONE, 'and all is as it was')


def refused_by_carrier(bench):
    order, before = bench.key('order'), left(bench)
    bench.world.plan(f'{order}/ship', 'refuse')
    bench.is_(bench.ask('order', order, ORDER), (410, {'error': 'no such address'}), 'the carrier says no')
    bench.is_(outcome(bench, order, before), UNDONE, 'nothing is half-done')
    bench.is_(bench.sql("SELECT string_agg(step, ' ' ORDER BY updated_at) FROM order_sagas_steps"
                        " WHERE saga = %s AND status = 'compensated'", order), 'pay stock', 'undone in reverse order')
    bench.is_(bench.ask('order', order, ORDER), CANCELLED, 'a retry cannot revive it')
    bench.is_(outcome(bench, order, before), UNDONE, 'nothing happened twice')
    bench.is_(bench.sql("SELECT count(*) FROM wallets_transfers WHERE id LIKE %s", f'{order}%'), 2, 'paid and refunded')


def refused_by_action(bench):
    for changed, message in (({'count': 10000}, 'out of stock'), ({'count': -5}, 'out of stock'),
                             ({'amount': 10000000}, 'payment rejected: insufficient_funds')):
        order, before = bench.key('order'), left(bench)
        bench.is_(bench.ask('order', order, {**ORDER, **changed}), (410, {'error': message}), message)
        bench.is_(outcome(bench, order, before), UNDONE, f'{message}: nothing is half-done')
        bench.is_(bench.ask('order', order, {**ORDER, **changed}), CANCELLED, f'{message}: a retry')


def reply_lost(bench):
    for event in ('lost', 'down'):
        order, before = bench.key('order'), left(bench)
        bench.world.plan(f'{order}/ship', event)
        bench.is_(bench.ask('order', order, ORDER), NO_ANSWER, f'the carrier: {event}')
        bench.is_(bench.ask('order', order, ORDER), BUSY, 'the step is open')
        bench.later(LAPSE, order)
        bench.is_(bench.ask('order', order, ORDER), shipped(order), 'a later attempt completes it')
        bench.is_(outcome(bench, order, before), DONE, 'done once')


def killed(bench):
    order, before = bench.key('order'), left(bench)
    victim = bench.runner(1)
    bench.world.plan(f'{order}/ship', victim.kill)
    victim.send('order', order, ORDER)
    bench.until_gone(victim)
    bench.is_(bench.ask('order', order, ORDER), BUSY, 'killed at the carrier: its lease lives on')
    bench.later(LAPSE, order)
    bench.is_(bench.ask('order', order, ORDER), shipped(order), 'another process completes the order')
    bench.is_(outcome(bench, order, before), DONE, 'done once')


def killed_for_good(bench):
    order, before = bench.key('order'), left(bench)
    victim = bench.runner(1)
    bench.world.plan(f'{order}/ship', victim.kill)
    victim.send('order', order, ORDER)
    bench.until_gone(victim)
    bench.is_(outcome(bench, order, before), RUNNING, 'half-done, and nobody comes back')
    bench.is_(bench.ask('worker', 'w-1'), (200, 0), 'the worker leaves it alone')
    bench.later(DEADLINE, order)
    bench.is_(bench.ask('worker', 'w-1'), (200, 1), 'until its deadline is over')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'then it is undone as a whole')
    bench.is_(bench.ask('worker', 'w-1'), (200, 0), 'and nothing is left to do')
    bench.is_(bench.ask('order', order, ORDER), CANCELLED, 'a late retry is refused')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'and changes nothing')


def killed_between_steps(bench):
    order, before = bench.key('order'), left(bench)
    victim = bench.runner(1)
    with bench.locked('wallets_transfers'):
        victim.send('order', order, ORDER)
        bench.until_waiting(1)
        victim.kill()
    bench.until_idle()
    bench.later(DEADLINE, order)
    bench.is_(outcome(bench, order, before)[0], 'running', 'killed while it pays')
    bench.is_(bench.ask('worker', 'w-1'), (200, 0), 'the worker has no remote step to undo')
    bench.is_(outcome(bench, order, before), UNDONE, 'but has undone the local ones')


def other_version(bench):
    order = bench.key('order')
    bench.sql('SELECT FROM keep.begin_saga(%s, %s)', 'order_sagas', order)
    bench.sql("SELECT FROM keep.run_step('order_sagas', %s, 'goods', 'reserve_stock(jsonb)', %s, 'return_stock(jsonb)')",
              order, '{"article": "lamp", "count": 2}')
    token = bench.sql("SELECT token FROM keep.enter_step('order_sagas', %s, 'ship', 'cancel_shipment')", order)
    bench.sql("SELECT FROM keep.leave_step('order_sagas', %s, 'ship', %s, true, %s)",
              order, token, '{"parcel": "parcel of %s/ship"}' % order)
    bench.is_(bench.sql("SELECT keep.complete_saga('order_sagas', %s)", order), 'completed',
              'an order is completed by a program with other steps')
    before = left(bench)
    bench.is_(bench.ask('order', order, ORDER), shipped(order), 'it is told as completed, not as cancelled')
    bench.is_(outcome(bench, order, before), ('completed', 0, 0, None), 'and nothing is done for it again')


def step_open(bench):
    order, before = bench.key('order'), left(bench)
    bench.sql("SELECT FROM keep.begin_saga('order_sagas', %s)", order)
    token = bench.sql("SELECT token FROM keep.enter_step('order_sagas', %s, 'gift')", order)
    bench.is_(bench.ask('order', order, ORDER), BUSY, 'another remote step is open: not completed yet')
    bench.is_(outcome(bench, order, before), RUNNING, 'and not undone')
    bench.sql("SELECT FROM keep.leave_step('order_sagas', %s, 'gift', %s, true)", order, token)
    bench.is_(bench.ask('order', order, ORDER), shipped(order), 'completed when it has been left')
    bench.is_(outcome(bench, order, before), DONE, 'done once')


def two_at_once(bench):
    order, before, hold = bench.key('order'), left(bench), Hold()
    bench.world.plan(f'{order}/ship', hold)
    bench.runner().send('order', order, ORDER)
    hold.until_arrived()
    bench.is_(bench.runner(1).ask('order', order, ORDER), BUSY, 'two at once: the second is told')
    hold.go.set()
    bench.is_(bench.runner().answer(), shipped(order), 'the first goes on')
    bench.is_(bench.runner(1).ask('order', order, ORDER), shipped(order), 'then the second gets the same')
    bench.is_(outcome(bench, order, before), DONE, 'done once')
    bench.is_(bench.world.calls[('POST', f'{order}/ship')], 1, 'the carrier was called once')


def steps_at_once(bench):
    order, before = bench.key('order'), left(bench)
    with bench.locked('stock'):
        for i in range(3):
            bench.runner(i).send('order', order, ORDER)
        bench.until_waiting(3)
    answers = sorted(bench.runner(i).answer() for i in range(3))
    bench.is_([answer for answer in answers if answer != BUSY][:1], [shipped(order)], f'three at once: {answers}')
    bench.is_(outcome(bench, order, before), DONE, 'done once')


def zombie(bench):
    order, before, hold = bench.key('order'), left(bench), Hold()
    bench.world.plan(f'{order}/ship', hold)
    bench.runner().send('order', order, ORDER)
    hold.until_arrived()
    bench.later(DEADLINE, order)
    bench.is_(bench.runner(1).ask('worker', 'w-1'), (200, 1), 'an order is undone while its call to the carrier is on its way')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'as a whole')
    hold.go.set()
    bench.is_(bench.runner().answer(), BUSY, 'the call arrives late, and its step cannot be left')
    bench.is_(bench.ask('order', order, ORDER), CANCELLED, 'asked again the order is cancelled')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'nothing came back to life')


def overtaken(bench):
    order, before, first, second = bench.key('order'), left(bench), Hold(), Hold()
    bench.world.plan(f'{order}/ship', first, second)
    bench.runner().send('order', order, ORDER)
    first.until_arrived()
    bench.later(LAPSE, order)
    bench.runner(1).send('order', order, ORDER)
    second.until_arrived()
    first.go.set()
    bench.is_(bench.runner().answer(), BUSY, 'while the one who took over is at it, the one before cannot leave the step')
    bench.is_(bench.sql("SELECT status, result FROM order_sagas_steps WHERE saga = %s AND step = 'ship'", order),
              ('running', None), 'and leaves no trace')
    second.go.set()
    bench.is_(bench.runner(1).answer(), shipped(order), 'the one who took over completes')
    bench.is_(outcome(bench, order, before), DONE, 'done once')


def abandoned(bench):
    """An order whose call to the carrier is open and over, and that is past its deadline."""
    order, before = bench.key('order'), left(bench)
    bench.world.plan(f'{order}/ship', 'lost')
    bench.is_(bench.ask('order', order, ORDER), NO_ANSWER, 'an order is abandoned')
    bench.later(DEADLINE, order)
    return order, before


def worker_tries_again(bench):
    order, before = abandoned(bench)
    bench.world.plan(f'{order}/ship', 'down')
    bench.is_(bench.ask('worker', 'w-1'), (200, 1), 'the carrier is down')
    bench.is_(outcome(bench, order, before), ('compensating', 2, 300, 'shipped'), 'in reverse order: the rest must wait')
    bench.is_(bench.sql("SELECT attempts FROM order_sagas_steps WHERE saga = %s AND step = 'ship'", order), 1,
              'the attempt counts')
    bench.is_(bench.ask('worker', 'w-1'), (200, 0), 'it backs off')
    bench.later(LAPSE, order)
    bench.is_(bench.ask('worker', 'w-1'), (200, 1), 'and tries again')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'undone')


def two_workers(bench):
    order, before = abandoned(bench)
    hold = Hold()
    bench.world.plan(f'{order}/ship', hold)
    bench.runner().send('worker', 'w-1')
    hold.until_arrived()
    bench.is_(bench.runner(1).ask('worker', 'w-2'), (200, 0), 'what one worker has claimed no other gets')
    bench.is_(bench.runner(1).ask('order', order, ORDER), CANCELLED, 'and no attempt revives it')
    hold.go.set()
    bench.is_(bench.runner().answer(), (200, 1), 'it finishes')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'undone')
    bench.is_(bench.world.calls[('DELETE', f'{order}/ship')], 1, 'called back once')


def one_at_a_time(bench):
    orders, hold = [abandoned(bench)[0] for _ in range(3)], Hold()
    for order in orders:
        bench.world.plan(f'{order}/ship', hold)
    bench.runner().send('worker', 'w-1')
    hold.until_arrived()
    bench.is_(bench.sql("SELECT count(*) FROM order_sagas_steps WHERE worker = 'w-1' AND status = 'compensating'"), 1,
              'a worker claims no more than it is at')
    hold.go.set()
    bench.is_(bench.runner().answer(), (200, 3), 'one after the other, until none is left')
    bench.is_(bench.sql('SELECT count(*) FROM order_sagas WHERE saga = ANY (%s) AND state = %s', orders, 'compensated'), 3,
              'all are undone')


def worker_is_late(bench):
    order, before = abandoned(bench)
    first, second = Hold(), Hold()
    bench.world.plan(f'{order}/ship', first, second)
    bench.runner().send('worker', 'w-1')
    first.until_arrived()
    bench.later(WORKER_LAPSE, order)
    bench.runner(1).send('worker', 'w-2')
    second.until_arrived()
    first.go.set()
    bench.is_(bench.runner().answer(), (200, 1), 'a worker was asleep, and another has taken over')
    bench.is_(outcome(bench, order, before)[:3], RUNNING_BACK, 'the first cannot finish')
    second.go.set()
    bench.is_(bench.runner(1).answer(), (200, 1), 'the other does')
    bench.is_(outcome(bench, order, before), CALLED_BACK, 'undone once')


def retried(bench):
    order, before = bench.key('order'), left(bench)
    bench.hiccups(3)
    bench.is_(bench.ask('order', order, ORDER), shipped(order), 'steps are repeated after 40001 and 40P01')
    bench.is_(outcome(bench, order, before), DONE, 'done once')
    order, before = bench.key('order'), left(bench)
    bench.world.plan(f'{order}/ship', lambda: bench.hiccups(2), 'refuse')
    bench.ask('order', order, ORDER)
    bench.later(LAPSE, order)
    bench.is_(bench.ask('order', order, ORDER), (410, {'error': 'no such address'}), 'compensations as well')
    bench.is_(outcome(bench, order, before)[:3], UNDONE[:3], 'undone once')
    bench.is_(bench.sql('SELECT last_value > 0 FROM hiccups'), True, 'they did fail')


def nothing_left(bench):
    bench.is_(bench.sql("SELECT count(*) FROM order_sagas WHERE state NOT IN ('completed', 'compensated')"), 0,
              'every saga has come to its end')
    bench.is_(bench.sql("SELECT bool_and(ok) FROM keep.verify_ledger('wallets')"), True, 'the books are right')
    bench.is_(bench.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_app' AND state LIKE 'idle in%%'"
                        " AND datname = current_database()"), 0, 'no transaction is left open')
    bench.is_(bench.sql("SELECT 1000 - available = 2 * (SELECT count(*) FROM order_sagas WHERE state = 'completed')"
                        " FROM stock"), True, 'as many goods are gone as were ordered')


scenarios = (placed, refused_by_carrier, refused_by_action, reply_lost, killed, killed_for_good, killed_between_steps,
             other_version, step_open, two_at_once, steps_at_once, zombie, overtaken, worker_tries_again, two_workers,
             one_at_a_time, worker_is_late, retried, nothing_left)
