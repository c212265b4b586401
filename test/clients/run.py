# Tests one client on one route: run.py CLIENT ROUTE [SCENARIO...] -- COMMAND... Ends with "N passed, N failed".
#
# ROUTE is direct or pgbouncer; $CLIENTS_PORT_<ROUTE> is its port on 127.0.0.1, $CLIENTS_PASSWORD the password
# of shop_app. PGHOST, PGPORT and PGUSER lead to the server, as a superuser. COMMAND is a runner of the client.
import sys

import scenario_requests
import scenario_sagas
from harness import Bench


def main():
    dashes = sys.argv.index('--')
    client, route, *names = sys.argv[1:dashes]
    bench = Bench(client, route, sys.argv[dashes + 1:])
    scenarios = scenario_requests.scenarios + scenario_sagas.scenarios
    bench.run(*(scenario for scenario in scenarios if not names or scenario.__name__ in names))
    bench.close_runners()
    print(f'{bench.passed} passed, {bench.failed} failed')
    return bench.failed > 0 or bench.passed == 0


sys.exit(main())
