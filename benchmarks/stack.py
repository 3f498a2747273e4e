"""What is measured, running: a MongoDB of its own and servers as real processes, all of them ended afterwards."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo

from core import embedded_mongo

ROOT = Path(__file__).parent.parent
LOOPBACK = "127.0.0.1"
READY_S = 60
STOP_S = 20
# The same for the product and the floor; one process, and nothing written for each request.
UVICORN_OPTIONS = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header")
_SECONDS_A_TICK = 1 / os.sysconf("SC_CLK_TCK")


class BenchmarkFailed(Exception):
    """The measurement itself is not valid; `str()` is one sentence that says why."""


@dataclass(frozen=True)
class Server:
    """A server process that answers on `port`."""

    process: subprocess.Popen[bytes]
    port: int
    database: str

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


class Stack:
    """A mongod with an empty data directory, and the servers that were started beside it."""

    def __init__(self, directory: Path, uri: str, client: pymongo.MongoClient[dict[str, Any]], servers: ExitStack):
        self.client = client
        status = client.admin.command("serverStatus")
        self.mongod_pid = int(status["pid"])
        self.mongod_version = str(status["version"])
        self.uri = uri
        self._directory = directory
        self._servers = servers

    def start_product(self, database: str, *, worker: str, app: str = "main:app", **settings: str) -> Server:
        """The product, which joins this MongoDB by its data directory as a user's would."""
        return self._servers.enter_context(self.running_product(database, worker=worker, app=app, **settings))

    @contextmanager
    def running_product(
        self, database: str, *, worker: str, app: str = "main:app", **settings: str
    ) -> Iterator[Server]:
        """The same, ended at the end of the block."""
        quick = {"PASSWORD_HASH_COST": "4", "SYSTEM_ADMIN_PASSWORD": "the-first-admins-password"}
        settings = {**self._joining, "WORKER": worker, **quick, **settings}
        with self._serving(app, database, **settings) as server:
            yield server

    @contextmanager
    def running_by_itself(self, name: str) -> Iterator[tuple[Server, Path]]:
        """The product as `make run` starts it, with a MongoDB of its own in a data directory of this name, ended at the
        end of the block. It may not have begun to listen yet."""
        port, data = _free_port(), self._directory / name
        process, _ = self._start([str(ROOT / "cli.py"), "serve"], name, PORT=str(port), DATA_DIR=str(data))
        try:
            yield Server(process, port, name), data
        finally:
            _end(process)

    def start_floor(self, database: str) -> Server:
        return self._servers.enter_context(self._serving("benchmarks.floor:app", database, MONGODB_URI=self.uri))

    def start_bank(self, database: str) -> Server:
        """The bank simulator as a process of its own."""
        port = _free_port()
        process, log = self._start([str(ROOT / "cli.py"), "bank", "--port", str(port)], database, **self._joining)
        self._servers.callback(_end, process)
        _wait_until_ready(process, port, log)
        return Server(process, port, database)

    def start_receivers(self, answering: int) -> int:
        """Receivers of webhooks as a process of their own; the port where they tell what came."""
        port = _free_port()
        command = ["-m", "benchmarks.delivery.receivers", str(port), str(answering)]
        process, log = self._start(command, "receivers", PYTHONPATH=str(ROOT))
        self._servers.callback(_end, process)
        _wait_until_ready(process, port, log)
        return port

    @contextmanager
    def running_worker(self, database: str, *, bank_url: str | None = None) -> Iterator[int]:
        """A worker for this database, ended at the end of the block; its process id."""
        bank = {} if bank_url is None else {"BANK_URL": bank_url}
        process, log = self._start([str(ROOT / "cli.py"), "worker"], database, **self._joining, **bank)
        with _ended_afterwards(process, log):
            yield process.pid

    @contextmanager
    def running_bare_sender(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """The bare sender, ended at the end of the block where it has not ended before."""
        command = ["-m", "benchmarks.delivery.bare_sender", *arguments]
        process, log = self._start(command, "bare_sender", PYTHONPATH=str(ROOT))
        with _ended_afterwards(process, log):
            yield process

    @property
    def _joining(self) -> dict[str, str]:
        return {"DATA_DIR": str(self._directory / "data")}

    @contextmanager
    def _serving(self, app: str, database: str, **settings: str) -> Iterator[Server]:
        port = _free_port()
        address = ("--host", LOOPBACK, "--port", str(port))
        command = ["-m", "uvicorn", app, "--app-dir", str(ROOT), *address, *UVICORN_OPTIONS, "--log-level", "warning"]
        process, log = self._start(command, database, **settings)
        try:
            _wait_until_ready(process, port, log)
            yield Server(process, port, database)
        finally:
            _end(process)

    def _start(self, arguments: Sequence[str], database: str, **settings: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A Python process and its log."""
        # Nothing of the caller's environment but what a process needs, and none of its `.env`: it runs elsewhere.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        log = self._directory / f"{database}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._directory,
                env={**kept, **settings, "MONGODB_DB": database},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return process, log


@contextmanager
def running_stack() -> Iterator[Stack]:
    """A MongoDB in a directory that is removed with it at the end."""
    with ExitStack() as exits:
        # Cleaning up must not fail a measurement that is done.
        temporary = tempfile.TemporaryDirectory(prefix="psp-bench-", ignore_cleanup_errors=True)
        directory = Path(exits.enter_context(temporary))
        mongo = embedded_mongo.start(directory / "data", grace_s=0.0)
        client = exits.enter_context(pymongo.MongoClient[dict[str, Any]](mongo.uri, tz_aware=True))
        servers = ExitStack()
        stack = Stack(directory, mongo.uri, client, servers)
        keeper_pid = _parent_of(stack.mongod_pid)
        try:
            yield stack
        finally:
            # The servers first: mongod stops by itself after its last user, and only then may its files go.
            servers.close()
            mongo.close()
            _wait_until_gone(stack.mongod_pid)
            _wait_until_gone(keeper_pid)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process and its threads have used so far."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _SECONDS_A_TICK


def busy_seconds() -> tuple[float, float]:
    """Processor time that the whole machine has spent on anything so far, and that it has had."""
    ticks = [int(field) for field in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) * _SECONDS_A_TICK, sum(ticks) * _SECONDS_A_TICK


def _stat(pid: int) -> list[str]:
    """What proc(5) lists from the third field, the state, on: the name before it may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()


def _parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """uvicorn listens once the application has started, so whoever can connect can ask."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchmarkFailed(f"A server did not start: {log.read_text('utf-8', 'replace').strip()}")
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchmarkFailed(f"A server was not ready after {READY_S} s.")


@contextmanager
def _ended_afterwards(process: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    """Raises BenchmarkFailed where it had failed by the end of the block."""
    try:
        yield
    finally:
        failed = process.poll() not in (None, 0)
        _end(process)
        if failed:
            raise BenchmarkFailed(f"A process failed: {log.read_text('utf-8', 'replace').strip()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.05)
