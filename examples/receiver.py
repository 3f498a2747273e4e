"""A tiny webhook receiver: verifies what arrives, prints it, and answers.

    WEBHOOK_SECRET=whsec_... python3 examples/receiver.py 4242

Only the standard library is needed. Where the `standardwebhooks` package is installed, the three Standard Webhooks
headers are verified too.
"""

import contextlib
import hmac
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

try:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
except ImportError:
    Webhook = None  # type: ignore[assignment, misc]

SECRET = os.environ.get("WEBHOOK_SECRET", "")


def x_signature_fits(body: bytes, given: str) -> bool:
    expected = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    return hmac.compare_digest(expected.encode(), given.encode())


def standard_webhooks_fit(body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(SECRET).verify(body, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return True


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        # The signature is of the bytes as they came: parsing and writing them again would change them.
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        checks = {"X-Signature": x_signature_fits(body, headers.get("x-signature", ""))}
        if Webhook is not None:
            checks["Standard Webhooks"] = standard_webhooks_fit(body, headers)
        if not all(checks.values()):
            say("refused", ", ".join(f"{name} does not fit" for name, fits in checks.items() if not fits))
            return self.answer(401)
        event = json.loads(body)
        say(event["event"], f"{event['data']['id']} is {event['data']['status']} (verified by {' and '.join(checks)})")
        return self.answer(200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing more than `say` does."""


def say(what: str, text: str) -> None:
    # Webhooks arrive at the same moment: a line that is written whole, with its end, mixes with no other.
    print(f"[webhook] {what}: {text}\n", end="", flush=True)


if __name__ == "__main__":
    if not SECRET or len(sys.argv) != 2:
        sys.exit("usage: WEBHOOK_SECRET=whsec_... python3 examples/receiver.py PORT")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    say("listening", f"http://127.0.0.1:{sys.argv[1]}")
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
