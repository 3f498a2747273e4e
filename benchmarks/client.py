"""A client of the API over one kept connection, with as little of its own in the way as the standard library allows."""

import json
import secrets
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self

from benchmarks.stack import LOOPBACK, BenchmarkFailed, Server

API = "/api/v1"
PASSWORD = "correct-horse-battery"


class Client:
    def __init__(self, server: Server):
        self._connection = HTTPConnection(LOOPBACK, server.port, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, headers: dict[str, str]) -> bytes:
        return self._send("GET", path, None, headers)

    def post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        said = {"Content-Type": "application/json", **(headers or {})}
        answer = self._send("POST", path, json.dumps(body).encode(), said)
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        self._connection.request(method, API + path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in (200, 201):
            raise BenchmarkFailed(f"{method} {path} was answered with {response.status}: {answer[:300]!r}")
        return answer


class Account:
    """A new account, and the headers that show who it is."""

    def __init__(self, client: Client):
        self.email = f"{secrets.token_hex(8)}@example.com"
        fields = {"name": "Benchmark", "email": self.email, "password": PASSWORD, "role": "merchant"}
        made = client.post("/users/register", fields)
        token = client.post("/users/login", {"email": self.email, "password": PASSWORD})["access_token"]
        self.id: str = made["userId"]
        self.api_key: str = made["apiKey"]
        self.headers = {"X-API-Key": self.api_key, "Authorization": f"Bearer {token}"}
