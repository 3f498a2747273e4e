"""The bank lying, slow and gone, and the server killed in the middle: each operation once, and no payment lost."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pymongo
import pytest

from domain.bank_scenarios import SCENARIOS
from services.http_bank import TIMEOUT_S
from tests.books import Books, Documents, wait_until_idle
from tests.conftest import READY_S, Server, free_port, serving
from tests.factories import API, Account, Psp, card
from tests.processes import running
from tests.scale import SEED

pytestmark = pytest.mark.long
PAN = {scenario.id: scenario.pan for scenario in SCENARIOS}
PAYMENTS, KILLS = 300, 4
LOST = 0.1
"""The share of operations whose answer is lost, and of requests that are never answered."""
PATIENCE_S = 400


class LossyLine:
    """Between the gateway and the bank. What it loses the bank has carried out."""

    def __init__(self, bank_port: int):
        self.lost = Counter[str]()
        line, self._chance, self._lock = self, random.Random(SEED), threading.Lock()
        bank = self._bank = httpx.Client(base_url=f"http://127.0.0.1:{bank_port}", timeout=10, verify=False)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    answer = bank.post(self.path, content=body, headers={"Content-Type": "application/json"})
                except httpx.TransportError:  # the bank is away
                    self.close_connection = True
                    return
                content = line.damaged(answer)
                if content is None:
                    time.sleep(TIMEOUT_S + 0.5)
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the gateway has given up, or was killed
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def damaged(self, answer: httpx.Response) -> bytes | None:
        """The bank's answer without what is lost on the way; None where nothing arrives."""
        if answer.status_code != 200:
            return answer.content
        with self._lock:
            if self._chance.random() < LOST:
                self.lost["requests"] += 1
                return None
            answers = answer.json()["answers"]
            arriving = [one for one in answers if self._chance.random() >= LOST]
            self.lost["answers"] += len(answers) - len(arriving)
        return json.dumps({"answers": arriving}).encode()

    def __enter__(self) -> "LossyLine":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._bank.close()


class Mortal:
    """A process that is killed with -9 and comes back at the same address."""

    def __init__(self, start: Callable[[], AbstractContextManager[Any]], kill: Callable[[Any], None]):
        self._start, self._kill = start, kill
        self._context = start()
        self.process = self._context.__enter__()

    def dies_for(self, seconds: float) -> None:
        self._kill(self.process)
        self.stop()
        time.sleep(seconds)
        self._context = self._start()
        self.process = self._context.__enter__()

    def stop(self) -> None:
        self._context.__exit__(None, None, None)


@contextmanager
def mortal(start: Callable[[], AbstractContextManager[Any]], kill: Callable[[Any], None]) -> Iterator[Mortal]:
    process = Mortal(start, kill)
    try:
        yield process
    finally:
        process.stop()


@dataclass
class Client:
    """A client as it should be: every command has its key, and is repeated until it is answered."""

    http: httpx.Client
    account: Account
    repeated: Counter[str] = field(default_factory=Counter)
    deadline: float = field(default_factory=lambda: time.monotonic() + PATIENCE_S)

    def send(self, method: str, path: str, key: str | None = None, body: dict[str, Any] | None = None) -> Any:
        headers = self.account.key if key is None else {**self.account.key, "Idempotency-Key": key}
        while True:
            try:
                answer = self.http.request(method, API + path, json=body, headers=headers)
                if answer.status_code in (200, 201):
                    return answer.json()
                assert answer.status_code == 503, answer.text
            except httpx.TransportError:
                self.repeated[path.split("/")[1]] += 1
            assert time.monotonic() < self.deadline, f"{method} {path} is never answered"
            time.sleep(0.2)

    def at_rest(self, payment_id: str) -> str:
        """The payment's state once it waits for nobody."""
        while (status := self.send("GET", f"/payments/{payment_id}")["status"]) in ("pending", "processing"):
            assert time.monotonic() < self.deadline, f"the payment stays {status}"
            time.sleep(0.1)
        return str(status)

    def live(self, number: int) -> tuple[str, str]:
        """The life of one payment; its id, and the state in which it must end."""
        manual = {"capture": "manual"} if number % 4 >= 2 else {}
        with_card = {"card": card(PAN[CARDS[number % len(CARDS)]])} if number % 5 else {}
        body = {"customerName": "Grace Hopper", "paymentAmount": 100, "currency": "USD", **manual, **with_card}
        payment = self.send("POST", "/payments/charge", f"charge-{number}", body)["id"]
        path = f"/payments/{payment}"
        assert self.at_rest(payment) == ("authorized" if manual else "completed")
        if number % 4 == 0:
            return payment, "completed"
        if number % 4 == 1:
            for part in (30, 20.5):
                self.send("POST", "/refunds", f"refund-{number}-{part}", {"paymentId": payment, "amount": part})
            return payment, "partially_refunded"
        if number % 4 == 2:
            self.send("POST", f"{path}/cancel", f"cancel-{number}")
            return payment, "cancelled"
        self.send("POST", f"{path}/capture", f"capture-{number}", {"amount": 60})
        self.send("POST", "/refunds", f"refund-{number}", {"paymentId": payment})
        return payment, "refunded"


CARDS = ("success_visa", "bank_timeout", "bank_unavailable_once")
Record = Callable[[str, object], None]


def survive(client: Client, database: Documents, bank_books: Documents, deaths: Callable[[], None]) -> None:
    """Let payments live while processes die; in the end each is where it must be, and the books agree."""
    with ThreadPoolExecutor(12) as pool:
        lives = [pool.submit(client.live, number) for number in range(PAYMENTS)]
        deaths()
        ends = dict(life.result() for life in lives)

    wait_until_idle(database)
    books = Books(database, client.account.id, bank_books)
    assert {row["_id"]: row["status"] for row in books.payments} == ends
    assert all("failure" not in row for row in books.payments)
    books.check()
    assert books.bank_totals()["USD"] == Counter(
        authorised=PAYMENTS * 10_000,
        captured=sum({"cancelled": 0, "refunded": 6_000}.get(end, 10_000) for end in ends.values()),
        voided=sum(end == "cancelled" for end in ends.values()) * 10_000,
        refunded=sum({"partially_refunded": 5_050, "refunded": 6_000}.get(end, 0) for end in ends.values()),
    )


@pytest.fixture
def database(mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path) -> Iterator[Documents]:
    name = f"faults_{tmp_path.name}"[:50]
    yield mongo[name]
    for one in (name, f"{name}_bank"):
        mongo.drop_database(one)


def server_of(database: Documents, data_dir: Path, log: Path, **options: str) -> AbstractContextManager[Mortal]:
    """A server that can be killed, at an address that stays."""
    options |= {"DATA_DIR": str(data_dir), "MONGODB_DB": database.name, "PORT": str(free_port())}
    return mortal(lambda: serving(log, PROCESSING_DELAY_SECONDS="0", **options), Server.kill)


@contextmanager
def bank_at(port: int, log: Path, **options: str) -> Iterator[Any]:
    """`cli.py bank`, once it answers."""
    with running(["cli.py", "bank", "--port", str(port)], log, **options) as process:
        deadline = time.monotonic() + READY_S
        while True:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, verify=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield process


@contextmanager
def client_of(server: Mortal) -> Iterator[Client]:
    with httpx.Client(base_url=server.process.url, timeout=15, verify=False) as http:
        yield Client(http, Psp(http, "", "").register("merchant"))


def test_a_bank_that_loses_answers_and_dies_and_a_server_that_is_killed_leave_books_that_agree(
    database: Documents,
    mongo: pymongo.MongoClient[dict[str, Any]],
    mongo_uri: str,
    data_dir: Path,
    tmp_path: Path,
    record_property: Record,
) -> None:
    chance, port = random.Random(SEED), free_port()
    bank_books = mongo[f"{database.name}_bank"]

    def start_bank() -> AbstractContextManager[Any]:
        return bank_at(port, tmp_path / "bank.log", DATA_DIR=str(data_dir), MONGODB_DB=bank_books.name)

    with (
        mortal(start_bank, lambda process: process.kill()) as bank,
        LossyLine(port) as line,
        server_of(database, data_dir, tmp_path / "server.log", BANK_URL=line.url) as server,
        client_of(server) as client,
    ):

        def deaths() -> None:
            for _ in range(KILLS):
                for victim, seconds in ((server, 0.0), (bank, 3.0)):
                    time.sleep(chance.uniform(0.5, 3))
                    victim.dies_for(seconds)

        survive(client, database, bank_books, deaths)
    assert line.lost["answers"] and line.lost["requests"]
    figures = f"{line.lost['answers']} answers and {line.lost['requests']} requests lost, {KILLS} kills of each"
    record_property("proof", f"lying bank: {PAYMENTS} payments, {figures}")


def test_a_server_that_is_killed_with_its_bank_inside_leaves_books_that_agree(
    database: Documents, mongo_uri: str, data_dir: Path, tmp_path: Path, record_property: Record
) -> None:
    chance = random.Random(SEED)
    with server_of(database, data_dir, tmp_path / "server.log") as server, client_of(server) as client:

        def deaths() -> None:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.2, 1))
                server.dies_for(0)

        survive(client, database, database, deaths)
    record_property("proof", f"bank inside: {PAYMENTS} payments, {KILLS} kills")


def test_while_the_bank_is_away_payments_wait_and_go_on_when_it_is_back(
    database: Documents, mongo: pymongo.MongoClient[dict[str, Any]], mongo_uri: str, data_dir: Path, tmp_path: Path
) -> None:
    port, bank_books = free_port(), mongo[f"{database.name}_bank"]
    with (
        server_of(database, data_dir, tmp_path / "server.log", BANK_URL=f"http://127.0.0.1:{port}") as server,
        client_of(server) as client,
    ):
        body = {"customerName": "Grace Hopper", "paymentAmount": 100, "currency": "USD", "card": card()}
        payments = [client.send("POST", "/payments/charge", str(number), body)["id"] for number in range(10)]
        time.sleep(3)  # long enough for the breaker to open
        for payment in payments:
            assert client.send("GET", f"/payments/{payment}")["status"] == "processing"

        with bank_at(port, tmp_path / "bank.log", DATA_DIR=str(data_dir), MONGODB_DB=bank_books.name):
            assert {client.at_rest(payment) for payment in payments} == {"completed"}
        wait_until_idle(database)
        Books(database, client.account.id, bank_books).check()
