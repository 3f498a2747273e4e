"""ENCRYPTION_KEY exchanged for another one: everything goes on as before, and nothing needs the old key any more."""

import os
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from standardwebhooks import Webhook

from domain.signing import plain_signature
from tests.conftest import Server, serving
from tests.factories import Account, Psp
from tests.processes import ROOT, clean_environment
from tests.receiver import Receiver

pytestmark = pytest.mark.long
Row = dict[str, Any]
OLD, NEW, OTHER = (b64encode(os.urandom(32)).decode() for _ in range(3))
CARD = {"number": "4242424242424242", "expMonth": 12, "expYear": 2040, "cvc": "123"}


class Installation:
    """A database of its own, and processes that are started on it with one or more keys."""

    def __init__(self, directory: Path, data_dir: Path, database: Database[Row]):
        self.directory = directory
        self.database = database
        self.settings = {"DATA_DIR": str(data_dir), "MONGODB_DB": database.name}

    def serving(self, *keys: str, **settings: str) -> Any:
        log = self.directory / f"server-{len(list(self.directory.iterdir()))}.log"
        return serving(log, ENCRYPTION_KEY=",".join(keys), **self.settings, **settings)

    def rotate(self, *keys: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command, **self._options(keys), timeout=120)  # type: ignore[call-overload, no-any-return]

    def begin_to_rotate(self, *keys: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, **self._options(keys))  # type: ignore[call-overload, no-any-return]

    def sealed_under(self, key: str) -> dict[str, int]:
        """How many documents of each collection hold something that begins with this key's id: it has sealed that."""
        key_id = sha256(b64decode(key)).digest()[:4]
        found = {}
        for name in self.database.list_collection_names():
            options = self.database[name].codec_options.with_options(document_class=RawBSONDocument)
            rows = self.database[name].with_options(options).find()
            if count := sum(key_id in row.raw for row in rows):
                found[name] = count
        return found

    _command = (sys.executable, str(ROOT / "cli.py"), "rotate-keys")

    def _options(self, keys: tuple[str, ...]) -> dict[str, Any]:
        environment = clean_environment(ENCRYPTION_KEY=",".join(keys), **self.settings)
        return {
            "cwd": self.directory,
            "env": environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }


@pytest.fixture
def installation(
    tmp_path: Path, data_dir: Path, mongo: pymongo.MongoClient[Row], request: pytest.FixtureRequest
) -> Iterator[Installation]:
    database = mongo[f"rotation_{sha256(request.node.name.encode()).hexdigest()[:8]}"]
    mongo.drop_database(database.name)
    yield Installation(tmp_path, data_dir, database)
    mongo.drop_database(database.name)


@pytest.fixture
def client() -> Iterator[Callable[[Server], Psp]]:
    opened: list[httpx.Client] = []

    def client(server: Server) -> Psp:
        opened.append(httpx.Client(base_url=server.url, timeout=35, verify=False))
        return Psp(opened[-1], "", "")

    yield client
    for one in opened:
        one.close()


def save_card(psp: Psp, account: Account) -> str:
    customer = psp.post("/customers", json={"name": "Ada"}, headers=account.key).json()
    saved = psp.post(f"/customers/{customer['id']}/cards", json={"card": CARD}, headers=account.key)
    assert saved.status_code == 201, saved.text
    card_id: str = saved.json()["id"]
    return card_id


def make_token(psp: Psp, account: Account) -> str:
    token_id: str = psp.post("/tokens", json=CARD, headers=account.key).json()["id"]
    return token_id


def test_after_a_rotation_everything_works_without_the_old_key(
    installation: Installation, client: Callable[[Server], Psp], receiver: Receiver
) -> None:
    with installation.serving(OLD) as server:
        psp = client(server)
        account = psp.register()
        paid = psp.completed(account, card=CARD)
        card_id, token_id = save_card(psp, account), make_token(psp, account)
        held = psp.charge(account, {"Prefer": "wait=30"}, card=CARD, capture="manual").json()
        endpoint = {"url": receiver.url, "events": ["customer.created"]}
        endpoint = psp.post("/webhook-endpoints", json=endpoint, headers=account.key).json()
        new_secret = psp.post("/users/me/webhook-secret/rotate", headers=account.key).json()["webhookSecret"]
    with installation.serving(OLD, WORKER="off") as server:
        waiting = client(server).charge(account, card=CARD).json()

    with installation.serving(NEW, OLD) as server:
        done = installation.rotate(NEW, OLD)
        assert client(server).get("/users/me", headers=account.bearer).status_code == 200
    assert done.returncode == 0, done.stdout
    assert "Encrypting" in done.stdout
    assert "the keys after the first can be removed from ENCRYPTION_KEY" in done.stdout
    assert installation.sealed_under(OLD) == {}
    assert installation.sealed_under(NEW).keys() == {
        "keyring",
        "users",
        "card_tokens",
        "cards",
        "payments",
        "webhook_endpoints",
    }

    with installation.serving(NEW) as server:
        psp = client(server)
        psp.completed(account, cardId=card_id)
        psp.completed(account, cardToken=token_id)
        assert psp.completed(account, webhookUrl=receiver.url)["status"] == "completed"
        for request in receiver.wait_for(3):
            assert request.headers["x-signature"] == plain_signature(account.webhook_secret, request.body)
            for secret in (account.webhook_secret, new_secret):
                assert Webhook(secret).verify(request.body, request.headers)
        psp.post("/customers", json={"name": "Ada"}, headers=account.key)
        told = receiver.wait_for(4)[3]
        assert told.headers["x-signature"] == plain_signature(endpoint["secret"], told.body)
        body = {"paymentId": paid["id"], "amount": 10}
        assert psp.post("/refunds", json=body, headers=account.key).status_code == 201
        assert psp.post(f"/payments/{held['id']}/capture", headers=account.key).status_code == 200
        settled = [wait_until_done(psp, account, payment["id"]) for payment in (paid, held, waiting)]
    assert [payment["status"] for payment in settled] == ["partially_refunded", "completed", "completed"]
    assert settled[0]["refunds"][0]["status"] == "succeeded"


def wait_until_done(psp: Psp, account: Account, payment_id: str) -> Row:
    deadline = time.monotonic() + 30
    while True:
        payment: Row = psp.get(f"/payments/{payment_id}", headers=account.key).json()
        pending = payment["status"] in ("pending", "processing", "authorized")
        if not pending and all(refund["status"] != "pending" for refund in payment["refunds"]):
            return payment
        assert time.monotonic() < deadline, payment
        time.sleep(0.1)


def test_a_second_run_finds_nothing_to_do_and_a_wrong_key_is_refused(
    installation: Installation, client: Callable[[Server], Psp]
) -> None:
    with installation.serving(OLD) as server:
        psp = client(server)
        save_card(psp, psp.register())
    first, second, wrong = (installation.rotate(*keys) for keys in ((NEW, OLD), (NEW, OLD), (OLD,)))

    assert (first.returncode, second.returncode, wrong.returncode) == (0, 0, 2)
    assert "4 values encrypted anew" in first.stdout  # the keyring, two accounts and the card
    assert "0 values encrypted anew" in second.stdout
    assert "ENCRYPTION_KEY is not the one that this database was made with" in wrong.stdout


def test_a_rotation_that_is_killed_is_finished_by_the_next_one(
    installation: Installation, client: Callable[[Server], Psp]
) -> None:
    count = 3000
    with installation.serving(OLD) as server:
        psp = client(server)
        account = psp.register()
        paid = psp.completed(account, card=CARD)
    row = installation.database["payments"].find_one({"_id": paid["id"]})
    assert row is not None
    installation.database["payments"].insert_many(
        [{**row, "_id": f"txn_copy{number:04}", "claims": []} for number in range(count)]
    )

    killed = installation.begin_to_rotate(NEW, OLD)
    while installation.sealed_under(NEW).get("payments", 0) < 500 and killed.poll() is None:
        pass
    killed.kill()
    killed.communicate()
    between = installation.sealed_under(OLD)
    done = installation.rotate(NEW, OLD)

    assert killed.returncode != 0, "it was done before it could be killed"
    assert 0 < between["payments"] < count + 1
    assert done.returncode == 0, done.stdout
    assert installation.sealed_under(OLD) == {}


def test_a_rotation_beside_charges_misses_none(installation: Installation, client: Callable[[Server], Psp]) -> None:
    """Each charge copies the saved card, which is under the old key when the first of them begin."""
    with installation.serving(OLD) as server:
        psp = client(server)
        account = psp.register()
        cards = [save_card(psp, account) for _ in range(3)]
    with installation.serving(NEW, OLD) as server:
        psp = client(server)
        psp.completed(account, cardId=cards[0])
        assert "payments" not in installation.sealed_under(OLD), "the copy is under the old key"
        rotating = installation.begin_to_rotate(NEW, OLD)
        charged = []
        while rotating.poll() is None:
            charged += [psp.charge(account, cardId=card).json()["id"] for card in cards]
        rotating.communicate()

    assert (rotating.returncode, installation.sealed_under(OLD)) == (0, {})
    with installation.serving(NEW) as server:
        psp = client(server)
        assert {wait_until_done(psp, account, payment_id)["status"] for payment_id in charged} == {"completed"}


def test_what_no_key_opens_stays_as_it_is_and_is_told(
    installation: Installation, client: Callable[[Server], Psp]
) -> None:
    with installation.serving(OLD) as server:
        psp = client(server)
        account = psp.register()
        card_id = save_card(psp, account)
    assert installation.rotate(NEW, OLD).returncode == 0
    sealed = b"old!" + os.urandom(44)
    installation.database["cards"].update_one({"_id": card_id}, {"$set": {"card.sealed_pan": sealed}})

    done = installation.rotate(OTHER, NEW)

    assert done.returncode == 2
    assert "1 could not be opened with any key of ENCRYPTION_KEY" in done.stdout
    assert installation.sealed_under(NEW) == {}
    row = installation.database["cards"].find_one({"_id": card_id})
    assert row is not None
    assert row["card"]["sealed_pan"] == sealed
    with installation.serving(OTHER) as server:
        answer = client(server).charge(account, cardId=card_id)
        assert answer.status_code == 201, "a payment whose card cannot be opened waits for its key"
        told = f"the card of {answer.json()['id']} cannot be opened (sealed under a key that is not in ENCRYPTION_KEY)"
        deadline = time.monotonic() + 30
        while told not in server.log.read_text():
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(0.05)
        assert "Traceback" not in server.log.read_text(), "it is told again and again: one line is enough"
