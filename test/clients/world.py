# The world outside of the database: a payment provider and a carrier that speak HTTP, and fail as they are told.
#
# Both honour the caller's Idempotency-Key: however often a call comes, it has its effect once. To cancel is a
# call with a key of its own, which is ".../undo"; its body says what is to be cancelled. The tests
# look at what has become of it, and plan what befalls the next calls under a key: 'refuse', 'down' (503, no
# effect), 'lost' (an effect, and no reply), a Hold, or a function that is called after the effect.
import http.server
import json
import threading


class Hold:
    """A call that waits on its way there, until the test lets it go on."""

    def __init__(self):
        self.arrived = threading.Event()
        self.go = threading.Event()

    def until_arrived(self):
        if not self.arrived.wait(30):
            raise TimeoutError('no call came')


class World:
    def __init__(self):
        self.lock = threading.Lock()
        self.plans = {}         # key: what befalls the next calls
        self.calls = {}         # (path, key): how many came, with effect or without
        self.charges = {}       # key: the charge
        self.shipments = {}     # key: shipped or cancelled
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), self.handler())
        self.server.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def plan(self, key, *what):
        self.plans[key] = list(what)

    def charge(self, key, refuse):
        if refuse:
            return 402, {'error': 'card declined'}
        if key not in self.charges:
            self.charges[key] = f'ch-{len(self.charges) + 1}'
        return 200, {'charge': self.charges[key]}

    def ship(self, key, refuse):
        if refuse:
            return 422, {'error': 'no such address'}
        if self.shipments.get(key) == 'cancelled':
            return 409, {'error': 'already cancelled'}
        self.shipments[key] = 'shipped'
        return 200, {'parcel': f'parcel of {key}'}

    def cancel(self, key, refuse):
        self.shipments[key] = 'cancelled'       # also of one that never came: it is refused from now on
        return 200, {'cancelled': key}

    def handler(world):
        operations = {('POST', '/charges'): world.charge, ('POST', '/shipments'): world.ship,
                      ('DELETE', '/shipments'): world.cancel}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def answer(self):
                key = self.headers['Idempotency-Key']
                sent = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                if self.command == 'DELETE':
                    own, key = key, json.loads(sent)['shipment']
                    assert own == f'{key}/undo', own
                with world.lock:
                    plan = world.plans.get(key)
                    event = plan.pop(0) if plan else None
                    call = (self.command, key)
                    world.calls[call] = world.calls.get(call, 0) + 1
                if isinstance(event, Hold):
                    event.arrived.set()
                    event.go.wait(60)
                status, body = 503, {}
                if event != 'down':
                    with world.lock:
                        status, body = operations[self.command, self.path](key, event == 'refuse')
                if callable(event):
                    event()
                if event == 'lost' or callable(event):
                    self.close_connection = True
                    return
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_DELETE = answer

        return Handler
