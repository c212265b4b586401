# The payment provider and the carrier, over HTTP. Both take an idempotency key.
import http.client
import json
import os
import urllib.parse


class NoAnswer(Exception):
    pass


def request(method, path, key, body=None):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(os.environ['REMOTE_URL']).netloc, timeout=60)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {'Idempotency-Key': key, 'Content-Type': 'application/json'})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(str(error)) from error
    finally:
        connection.close()
    if answer.status >= 500:
        raise NoAnswer(f'status {answer.status}')
    return json.loads(text)


def charge(key, body):
    return request('POST', '/charges', key, {'card': body['card'], 'amount': body['amount']})


def ship(key, address):
    return request('POST', '/shipments', key, {'address': address})


def cancel(shipment, key):
    return request('DELETE', '/shipments', key, {'shipment': shipment})
