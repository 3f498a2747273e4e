"""What every test has: a real MongoDB, a real server on a real socket, a receiver for webhooks."""

import itertools
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import hypothesis
import pymongo
import pytest

from core import embedded_mongo
from tests.factories import Psp
from tests.leaks import leaks
from tests.processes import STOP_S, Process, running
from tests.receiver import Receiver
from tests.scale import SEED
from tests.waiting import until
from tests.wire import Wire, wire_to

READY_S = 60
MEMORY, PLENTY = Path("/dev/shm"), 4 * 2**30
ALL_LONG = "pytestmark = pytest.mark.long"
hypothesis.settings.register_profile("tests", deadline=None, database=None, derandomize=False)
hypothesis.settings.load_profile("tests")
_numbers = itertools.count(os.getpid())
TAKE_LONG = {
    "test_openapi_fuzz",
    "test_openapi_edges",
    "test_openapi_walks",
    "test_database_faults",
    "test_ci",
    "test_pages",
}
ADMIN_EMAIL, ADMIN_PASSWORD = "root@system.local", "the-first-admins-password"

QUICK = {
    "PASSWORD_HASH_COST": "4",
    "PROCESSING_DELAY_SECONDS": "0.05",
    "WEBHOOK_RETRY_SCHEDULE": "0.1,0.1,0.1",
    "SYSTEM_ADMIN_EMAIL": ADMIN_EMAIL,
    "SYSTEM_ADMIN_PASSWORD": ADMIN_PASSWORD,
}


class Server:
    """A process that serves the API."""

    def __init__(self, process: Process, url: str, log: Path):
        self.process = process
        self.url = url
        self.log = log

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"{self.url}/api/v1/status", timeout=5, verify=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"not ready after {READY_S} s:\n{self.log.read_text()}")

    def log_with(self, mark: str, since: int = 0, times: int = 1) -> str:
        """What was logged from that byte on, once the mark is in it so often: a request's line follows its answer."""
        deadline = time.monotonic() + 10
        while (logged := self.log.read_bytes()[since:].decode()).count(mark) < times:
            assert time.monotonic() < deadline, logged
            time.sleep(0.02)
        return logged

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STOP_S)


def free_port() -> int:
    """A port that nobody has: below those that clients are given, above those of the embedded MongoDB. Each worker of
    pytest has some of its own, and begins anywhere among them, since there may be other runs on this machine."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for number in _numbers:
        port = 30_000 + 500 * (worker % 5) + number % 500
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("ports never end")


@contextmanager
def serving(log: Path, **settings: str) -> Iterator[Server]:
    """A server of its own with these settings, ready to answer."""
    port = settings.setdefault("PORT", str(free_port()))
    with running(["cli.py", "serve"], log, **{**QUICK, **settings}) as process:
        server = Server(process, f"http://127.0.0.1:{port}", log)
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Where the shared MongoDB keeps its data: in memory where there is plenty. Tests kill processes and never the
    machine, and what the killed have written is there as it would be on a disk."""
    for left in MEMORY.glob("mock-psp-tests-*-*"):  # by a run that was killed
        if not Path("/proc", left.name.split("-")[3]).exists():
            shutil.rmtree(left, ignore_errors=True)
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > PLENTY
    with TemporaryDirectory(prefix=f"mock-psp-tests-{os.getpid()}-", dir=MEMORY if in_memory else None) as directory:
        (data_dir := Path(directory) / "data").mkdir()
        yield data_dir


@pytest.fixture(scope="session")
def mongo_uri(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded MongoDB that all tests share, each kind in a database of its own. When all are done, no secret that
    any of them has used may be left in it, in its oplog, or in a log."""
    mongo = embedded_mongo.start(data_dir, extra_args=("--setParameter", "enableTestCommands=1"), grace_s=0)
    yield mongo.uri
    with pymongo.MongoClient[dict[str, Any]](mongo.uri) as client:
        left = leaks(client, tmp_path_factory.getbasetemp(), data_dir.parent)
    mongo.close()
    until(lambda: not mongo._starter.keeper_is_alive())  # nothing is written any more
    assert not left, "\n".join(left)


@pytest.fixture(scope="session")
def mongo(mongo_uri: str) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient(mongo_uri, tz_aware=True) as client:
        yield client


@pytest.fixture(scope="session")
def server(mongo_uri: str, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share. Each test makes accounts of its own."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    with serving(log, DATA_DIR=str(data_dir), MONGODB_DB="tests") as server:
        yield server


@pytest.fixture(scope="session")
def patient_server(server: Server, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shared database, with magic amounts, and what is charged here stays pending."""
    log = tmp_path_factory.mktemp("patient") / "server.log"
    settings = {"PROCESSING_DELAY_SECONDS": "3600", "WORKER": "off", "MAGIC_AMOUNTS": "on"}
    with serving(log, DATA_DIR=str(data_dir), MONGODB_DB="tests", **settings) as patient:
        yield patient


@pytest.fixture
def psp(server: Server) -> Iterator[Psp]:
    """The shared server, as a client sees it."""
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture
def database(mongo: pymongo.MongoClient[dict[str, Any]], server: Server) -> pymongo.database.Database[dict[str, Any]]:
    """The shared server's database, to look into."""
    return mongo["tests"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def start_server(
    mongo_uri: str, data_dir: Path, tmp_path: Path, mongo: pymongo.MongoClient[dict[str, Any]]
) -> Iterator[Callable[..., Server]]:
    """Start a server with settings of its own, on a database of its own unless MONGODB_DB says otherwise."""
    with ExitStack() as stack:
        names: list[str] = []

        def start(**settings: str) -> Server:
            settings.setdefault("MONGODB_DB", f"own_{tmp_path.name}"[:60])
            names.append(settings["MONGODB_DB"])
            log = tmp_path / f"server-{len(names)}.log"
            return stack.enter_context(serving(log, **{"DATA_DIR": str(data_dir), **settings}))

        yield start
    for name in set(names):
        mongo.drop_database(name)


@pytest.fixture
def wire(mongo_uri: str) -> Iterator[Wire]:
    """A way to the shared MongoDB that can be cut; the server that takes it is given `wire.uri`."""
    with wire_to(mongo_uri) as wire:
        yield wire


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let Hypothesis draw from PROOF_SEED alone. (It keeps no example, and how long one takes says nothing.)"""
    config.option.hypothesis_seed = str(SEED)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a module out that says itself that every test in it is long: to import it takes seconds."""
    without_long = config.option.markexpr == "not long" and collection_path.suffix == ".py"
    return (without_long and f"\n{ALL_LONG}\n" in collection_path.read_text()) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, and go on with the longest files, as those with most to do mostly are: at the end no
    worker is to have one alone."""
    items.sort(key=lambda item: (item.path.stem not in TAKE_LONG, -item.path.stat().st_size))


def pytest_report_header() -> str:
    return f"PROOF_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of what was proved."""
    for report in terminalreporter.getreports("passed"):
        for name, figures in report.user_properties:
            if name == "proof":
                terminalreporter.write_line(f"Proved: {figures}")
