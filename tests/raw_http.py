"""A kept connection that sends what it is given as it is: also what an HTTP client would refuse to send."""

import json
import socket
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    def __init__(self, url: str):
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        self._connection: socket.socket | None = None

    def ask(self, method: str, target: bytes, headers: dict[str, bytes], body: bytes | None = None) -> Answer:
        """Send one request and read what is answered. Raises OSError where nothing is."""
        if self._connection is None:
            self._connection = socket.create_connection(self._address, TIMEOUT_S)
        lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: localhost"]
        lines += [name.encode() + b": " + value for name, value in headers.items()]
        if body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        self._connection.sendall(b"\r\n".join([*lines, b"", body or b""]))
        response = HTTPResponse(self._connection, method=method)
        response.begin()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
