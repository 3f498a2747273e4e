"""A webhook receiver with Flask. Copy one of its two routes.

    pip install flask standardwebhooks
    WEBHOOK_SECRET=whsec_... flask --app examples/flask_receiver run --port 4242

An event may arrive more than once, with the same webhook-id: remember in your database which ones you have handled.
"""

import hmac
import json
import os
from typing import Any

from flask import Flask, abort, request
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = os.environ["WEBHOOK_SECRET"]
app = Flask(__name__)


@app.post("/standard")
def standard_webhooks() -> tuple[str, int]:
    """By the library of Standard Webhooks. It checks the time, too, so that nobody can send an old message again."""
    try:
        event = Webhook(SECRET).verify(request.get_data(), dict(request.headers))
    except (WebhookVerificationError, ValueError):
        abort(401, "Invalid webhook signature")
    handle(event)
    return "", 204


@app.post("/plain")
def plain_hmac() -> tuple[str, int]:
    """By X-Signature, with nothing but the standard library."""
    # The signature is of the bytes as they came: parsing and writing them again would change them.
    body = request.get_data()
    expected = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    if not hmac.compare_digest(expected.encode(), request.headers.get("X-Signature", "").encode()):
        abort(401, "Invalid webhook signature")
    handle(json.loads(body))
    return "", 204


def handle(event: dict[str, Any]) -> None:
    """Your own code. Keep it short, or do the work afterwards: the sender waits 15 seconds for the answer."""
    print(f"{event['event']}: {event['data']['id']}", flush=True)
