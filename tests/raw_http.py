"""A kept connection that sends what it is given as it is: also what an HTTP client would refuse to send."""

import json
import socket
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse, parse_headers
from io import BytesIO
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


def answers_to(url: str, sent: bytes) -> list[Answer]:
    """Send bytes as they are on one connection, and read answers until the server closes it. Raises where what comes
    is no sequence of whole answers."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 80), TIMEOUT_S) as connection:
        connection.sendall(sent)
        received = BytesIO(b"".join(iter(lambda: connection.recv(65536), b"")))
    answers = []
    while first := received.readline():
        version, status, _ = first.decode().split(" ", 2)
        assert version == "HTTP/1.1", first
        headers = parse_headers(received)
        size = int(headers["content-length"])
        answers.append(Answer(int(status), headers, received.read(size)))
        assert len(answers[-1].body) == size, "cut off"
    return answers
