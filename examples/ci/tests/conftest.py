"""A merchant account for each process of the test run, so that none sees another's payments."""

import os
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest


@pytest.fixture(scope="session")
def psp() -> Iterator[httpx.Client]:
    url = os.environ.get("MOCK_PSP_URL", "http://127.0.0.1:8000")
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        account = {
            "name": "A worker's merchant",
            "email": f"{secrets.token_hex(8)}@example.com",
            "password": secrets.token_urlsafe(16),
            "role": "merchant",
        }
        client.headers["X-API-Key"] = client.post("/users/register", json=account).raise_for_status().json()["apiKey"]
        yield client


class Receiver:
    """Takes webhooks on this machine, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.failures = 0
        self.ids: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.ids.append(self.headers["webhook-id"])
                fails = len(receiver.ids) <= receiver.failures
                self.send_response(500 if fails else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
