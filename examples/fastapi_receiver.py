"""A webhook receiver with FastAPI. Copy one of its two routes.

    pip install fastapi uvicorn standardwebhooks
    WEBHOOK_SECRET=whsec_... uvicorn --app-dir examples fastapi_receiver:app --port 4242

An event may arrive more than once, with the same webhook-id: remember in your database which ones you have handled.
"""

import hmac
import json
import os
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = os.environ["WEBHOOK_SECRET"]
app = FastAPI()


@app.post("/standard", status_code=204)
async def standard_webhooks(request: Request) -> None:
    """By the library of Standard Webhooks. It checks the time, too, so that nobody can send an old message again."""
    try:
        event = Webhook(SECRET).verify(await request.body(), dict(request.headers))
    except (WebhookVerificationError, ValueError):
        raise HTTPException(401, "Invalid webhook signature") from None
    handle(event)


@app.post("/plain", status_code=204)
async def plain_hmac(request: Request) -> None:
    """By X-Signature, with nothing but the standard library."""
    # The signature is of the bytes as they came: parsing and writing them again would change them.
    body = await request.body()
    expected = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    if not hmac.compare_digest(expected.encode(), request.headers.get("X-Signature", "").encode()):
        raise HTTPException(401, "Invalid webhook signature")
    handle(json.loads(body))


def handle(event: dict[str, Any]) -> None:
    """Your own code. Keep it short, or do the work afterwards: the sender waits 15 seconds for the answer."""
    print(f"{event['event']}: {event['data']['id']}", flush=True)
