"""A webhook receiver on a real socket: keeps what arrives and answers as told."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


class Receiver:
    """`answers(n, request)` gives the status of the n-th request (from 0); 200 unless told otherwise. `headers` go with
    each answer."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answers: Callable[[int, Received], int] = lambda number, request: 200
        self.headers: dict[str, str] = {}
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, headers, body, time.time())
                with receiver._arrived:
                    number = len(receiver.requests)
                    receiver.requests.append(received)
                    receiver._arrived.notify_all()
                self.send_response(receiver.answers(number, received))
                for name, value in {"content-length": "0", **receiver.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the sender has given up, or was killed
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait_for(self, count: int, timeout_s: float = 30) -> list[Received]:
        """The first requests, once there are as many."""
        with self._arrived:
            done = self._arrived.wait_for(lambda: len(self.requests) >= count, timeout_s)
            assert done, f"{len(self.requests)} of {count} webhooks arrived"
            return list(self.requests)

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
