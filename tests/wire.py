"""The way to MongoDB, on which what a network does to commands and answers can be done to them."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import bson

HEADER = struct.Struct("<iiii")
OP_MSG = 2013
BODY = b"\x00"
"""The kind of section that holds the command."""


@dataclass
class _Loss:
    commands: frozenset[str]
    """As `command collection`."""
    times: int


class Wire:
    """Passes on what a client and a MongoDB say to each other, unless it is told to do worse."""

    def __init__(self, host: str, port: int):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.uri = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
        self._whole = threading.Event()
        self._whole.set()
        self._speaking = threading.Event()
        self._speaking.set()
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._loss = _Loss(frozenset(), 0)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and take no more."""
        self._whole.clear()
        for connection in self._open:
            _end(connection)
        self._open.clear()

    def mend(self) -> None:
        self._whole.set()
        self._speaking.set()

    def fall_silent(self) -> None:
        """Nothing arrives any more, and nobody is told so, as where packets are dropped."""
        self._speaking.clear()

    @contextmanager
    def losing_answers(self, *commands: str, times: int) -> Iterator[None]:
        """Cut so many connections right after MongoDB has carried out one of these (`insert payments`, say)."""
        self._loss = _Loss(frozenset(commands), times)
        try:
            yield
        finally:
            self._loss = _Loss(frozenset(), 0)

    def close(self) -> None:
        self._listener.close()
        self.cut()
        self._speaking.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole.is_set():
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            losing = threading.Event()
            threading.Thread(target=self._pass_commands_on, args=(near, far, losing), daemon=True).start()
            threading.Thread(target=self._pass_answers_on, args=(far, near, losing), daemon=True).start()

    def _pass_commands_on(self, near: socket.socket, far: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while message := _message(near):
                self._speaking.wait()
                if self._is_to_be_lost(message):
                    losing.set()
                far.sendall(message)
        _end(near)
        _end(far)

    def _pass_answers_on(self, far: socket.socket, near: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while (chunk := far.recv(65536)) and not losing.is_set():
                self._speaking.wait()
                near.sendall(chunk)
        _end(near)
        _end(far)

    def _is_to_be_lost(self, message: bytes) -> bool:
        with self._lock:
            if self._loss.times == 0 or _command(message) not in self._loss.commands:
                return False
            self._loss.times -= 1
            return True


@contextmanager
def wire_to(mongo_uri: str) -> Iterator[Wire]:
    address = urlsplit(mongo_uri)
    assert address.hostname is not None
    assert address.port is not None
    wire = Wire(address.hostname, address.port)
    try:
        yield wire
    finally:
        wire.close()


def _message(source: socket.socket) -> bytes:
    """The next whole message; empty at the end."""
    head = _exactly(source, HEADER.size)
    return head + _exactly(source, HEADER.unpack(head)[0] - HEADER.size) if head else b""


def _exactly(source: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = source.recv(size - len(received))
        if not chunk:
            return b""
        received += chunk
    return bytes(received)


def _command(message: bytes) -> str:
    """`insert payments`, say. (An OP_MSG's flags and the kind of its first section take five bytes.)"""
    if HEADER.unpack_from(message)[3] != OP_MSG or message[20:21] != BODY:
        return ""
    body = message[21:]
    (size,) = struct.unpack_from("<i", body)
    name, value = next(iter(bson.BSON(body[:size]).decode().items()))
    return f"{name} {value}"


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
