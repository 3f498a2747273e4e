"""`cli.py listen`: what happens to an account, forwarded as its webhooks would be, each event once."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pymongo.database
import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251 - the command line itself is what is tested
from core import ids
from core.clock import rfc3339
from domain import signing
from tests.command_line import Running, command, environment, following
from tests.conftest import Server, free_port
from tests.factories import Account, Psp
from tests.receiver import Receiver

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
LIFE = ["payment.created", "payment.processing", "payment.completed"]
Listen = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


@pytest.fixture
def listen(server: Server, account: Account, tmp_path: Path) -> Listen:
    """Listens to the account's events, unless told to whose and where."""

    def listen(*arguments: str, to: Server = server, of: Account = account) -> AbstractContextManager[Running]:
        return following("listen", *arguments, "--json", cwd=tmp_path, **environment(to, of))

    return listen


@pytest.fixture
def second_receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_what_is_forwarded_is_what_a_webhook_carries(
    psp: Psp, account: Account, listen: Listen, receiver: Receiver, second_receiver: Receiver
) -> None:
    endpoint = {"url": second_receiver.url, "events": ["*"]}
    assert psp.post("/webhook-endpoints", json=endpoint, headers=account.key).status_code == 201
    with listen("--forward-to", f"{receiver.url}/hook?a=1") as listening:
        secret = listening.object()["secret"]
        psp.completed(account, details="na\u00efve \u2615", paymentAmount=1e9)
        forwarded = {one.headers["webhook-id"]: one for one in receiver.wait_for(3)}
        sent = {one.headers["webhook-id"]: one for one in second_receiver.wait_for(3)}
        told = listening.objects(3)

    assert forwarded.keys() == sent.keys()
    for event_id, request in forwarded.items():
        assert request.body == sent[event_id].body
        # The id of the request that caused it is for logs, and shown by no event.
        assert request.headers.keys() | {"x-request-id"} == sent[event_id].headers.keys()
        assert request.path == "/hook?a=1"
        assert Webhook(secret).verify(request.body, request.headers)
        assert signing.verify_plain(secret, request.body, request.headers["x-signature"])
        for name in ("content-type", "user-agent"):
            assert request.headers[name] == sent[event_id].headers[name]
    assert [(one["event"], one["status"], one["error"]) for one in told] == [(name, 200, None) for name in LIFE]
    assert {one["eventId"] for one in told} == forwarded.keys()
    assert [json.loads(one.body)["type"] for one in receiver.requests] == LIFE, "in the order in which they happened"


def test_the_secret_is_the_same_on_each_start(account: Account, listen: Listen) -> None:
    secrets = []
    for _ in range(2):
        with listen("--forward-to", "http://127.0.0.1:9") as listening:
            secrets.append(listening.object()["secret"])

    assert secrets[0] == secrets[1]
    assert signing.valid_secret(secrets[0])
    assert account.api_key not in secrets[0]


def test_it_begins_with_what_happens_from_now_on(psp: Psp, account: Account, listen: Listen) -> None:
    before = psp.completed(account)
    wait_for_events(psp, account, 3)
    with listen() as listening:
        assert listening.object().keys() == {"listening"}
        after = psp.completed(account)
        told = listening.objects(3)
        assert nothing_more(psp, account, listening)

    assert {one["objectId"] for one in told} == {after["id"]} != {before["id"]}
    assert told[0].keys() == {"timestamp", "event", "eventId", "objectId"}


def test_the_events_of_others_are_not_heard(psp: Psp, account: Account, listen: Listen) -> None:
    with listen() as listening:
        listening.object()
        psp.completed(psp.register())
        own = psp.completed(account)

        assert {one["objectId"] for one in listening.objects(3)} == {own["id"]}
        assert nothing_more(psp, account, listening)


def test_only_the_types_that_are_asked_for_are_forwarded(
    psp: Psp, account: Account, listen: Listen, receiver: Receiver
) -> None:
    with listen("--events", "payment.completed", "--events", "customer.*", "--forward-to", receiver.url) as listening:
        listening.object()
        psp.completed(account)
        psp.post("/customers", json={"name": "Ada"}, headers=account.key)
        told = [one["event"] for one in listening.objects(2)]
        assert nothing_more(psp, account, listening)

    assert sorted(told) == ["customer.created", "payment.completed"]
    assert len(receiver.requests) == 3, "with the one that says that nothing more was told"


def test_an_event_that_is_published_late_is_not_missed(
    psp: Psp, account: Account, listen: Listen, receiver: Receiver, database: Database
) -> None:
    old = psp.completed(account)
    wait_for_events(psp, account, 3)
    with listen("--forward-to", receiver.url) as listening:
        listening.object()
        new = psp.completed(account)
        listening.objects(3)
        late = publish(database, old, datetime.fromisoformat(new["createdAt"]) - timedelta(milliseconds=1))
        # What happened before anybody listened stays where it is.
        publish(database, old, datetime.fromisoformat(old["createdAt"]) - timedelta(seconds=1))

        assert listening.object()["eventId"] == late["_id"]
        assert receiver.wait_for(4)[3].body == late["body"]
        assert nothing_more(psp, account, listening)
    assert len(receiver.requests) == 5, "and nothing is forwarded twice"


def publish(database: Database, payment: Row, moment: datetime) -> Row:
    """One more event about a payment, as if a worker had come to it only now."""
    (row,) = database["events"].find({"stream_id": payment["id"], "sequence": 1})
    event_id = ids.fresh("evt")
    body = bytes(row["body"]).replace(row["_id"].encode(), event_id.encode())
    body = body.replace(payment["createdAt"].encode(), rfc3339(moment).encode(), 1)
    made = {**row, "_id": event_id, "stream_id": event_id, "created_at": moment, "body": body}
    database["events"].insert_one(made)
    return made


def test_a_receiver_that_fails_is_told_of_and_holds_nothing_up(
    psp: Psp, account: Account, listen: Listen, receiver: Receiver
) -> None:
    receiver.answers = lambda number, request: [500, 302, 204, 200][number]
    with listen("--forward-to", receiver.url) as listening:
        listening.object()
        psp.completed(account)

        assert [(one["status"], one["error"]) for one in listening.objects(3)] == [
            (500, None),
            (302, "redirect_not_followed"),
            (204, None),
        ]
        assert nothing_more(psp, account, listening)
    with listen("--forward-to", f"http://127.0.0.1:{free_port()}") as listening:
        listening.object()
        psp.completed(account)

        assert [(one["status"], one["error"]) for one in listening.objects(3)] == [(None, "connection_failed")] * 3


@pytest.mark.long
def test_a_server_that_goes_away_and_comes_back_costs_no_event(
    listen: Listen, receiver: Receiver, start_server: Callable[..., Server]
) -> None:
    settings = {"PORT": str(free_port()), "MONGODB_DB": "listened_to"}
    first = start_server(**settings)
    with httpx.Client(base_url=first.url, timeout=35, verify=False) as client:
        psp = Psp(client, "", "")
        account = psp.register()
        with listen("--forward-to", receiver.url, to=first, of=account) as listening:
            listening.object()
            psp.completed(account)
            listening.objects(3)
            payment_id = psp.charge(account).json()["id"]
            first.kill()
            receiver_had = {one.headers["webhook-id"] for one in receiver.wait_for(3)}
            wait_until(lambda: "Waiting for it." in listening.complaints)

            start_server(**settings)
            psp.reach(account, payment_id, "completed")
            arrived = receiver.wait_for(6)
            told = listening.objects(3)
            assert nothing_more(psp, account, listening)

            assert {one["objectId"] for one in told} == {payment_id}
            assert len({one.headers["webhook-id"] for one in arrived}) == len(receiver.requests) - 1 == 6
            assert len(receiver_had) >= 3
            assert listening.complaints.count("Waiting for it.") == 1
            assert "It answers again." in listening.complaints
            assert listening.interrupt() == 0


def test_ctrl_c_ends_it_quietly(psp: Psp, account: Account, listen: Listen, receiver: Receiver) -> None:
    with listen("--forward-to", receiver.url) as listening:
        listening.object()
        psp.completed(account)
        listening.objects(3)

        assert (listening.interrupt(), listening.complaints) == (0, "")


def test_a_person_reads_a_line_for_each_event(
    psp: Psp, server: Server, account: Account, receiver: Receiver, tmp_path: Path
) -> None:
    settings = environment(server, account, TZ="UTC")
    with following("listen", "--forward-to", receiver.url, cwd=tmp_path, **settings) as listening:
        assert listening.line() == f"Forwarding to {receiver.url}"
        assert re.fullmatch(r"Signed with  whsec_\S{44}", listening.line())
        payment = psp.completed(account)
        lines = [listening.line() for _ in range(3)]

    moment = datetime.fromisoformat(payment["createdAt"])
    assert re.fullmatch(rf"{moment:%H:%M}:\d\d  payment\.created {{13}}evt_\w+  200 in \d+ ms", lines[0]), lines[0]


def test_what_cannot_be_listened_to_is_said_in_one_sentence(server: Server, account: Account, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    asked = {
        "An API key is needed": invoke(server, None),
        "does not know this API key": invoke(server, account, "--api-key", "psp_sk_none"),
        f"No server answers at {nowhere} (Connection refused). `make run` starts one here": invoke(
            server, account, "--url", nowhere
        ),
        "No server answers at http://nowhere.invalid": invoke(server, account, "--url", "http://nowhere.invalid"),
        "does not answer as Mock PSP does": invoke(server, account, "--url", f"{server.url}/docs"),
        "PORT: ": invoke(None, account, PORT="none"),
    }
    done = command("listen", cwd=tmp_path, **environment(server, None))

    for sentence, result in asked.items():
        assert (result.exit_code, result.stdout) == (2, ""), sentence
        assert result.stderr.startswith("Error: ")
        assert sentence in result.stderr
        assert result.stderr.count("\n") == 1
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--events", "payment"], "payment is no event type"),
        (["--events", "order.*"], "order.* is no event type"),
        (["--forward-to", "localhost:4242"], "http or https"),
        (["--forward-to", "http://user:secret@localhost:4242"], "no user name or password"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    server: Server, account: Account, arguments: list[str], reason: str
) -> None:
    result = invoke(server, account, *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def invoke(server: Server | None, account: Account | None, *arguments: str, **settings: str) -> Result:
    """`listen` inside this process, where it comes to nothing."""
    mine: dict[str, str | None] = dict.fromkeys(("MOCK_PSP_API_KEY", "MOCK_PSP_URL"))
    return CliRunner().invoke(app, ["listen", *arguments], env={**mine, **environment(server, account, **settings)})


def test_without_a_url_it_is_the_server_of_the_settings(
    psp: Psp, server: Server, account: Account, tmp_path: Path
) -> None:
    settings = environment(None, account, HOST="0.0.0.0", PORT=server.url.rpartition(":")[2], ENVIRONMENT="production")
    with following("listen", "--json", cwd=tmp_path, **settings) as listening:
        assert listening.object() == {"listening": server.url}
    assert list(tmp_path.iterdir()) == [], "a client makes no secrets of a server"


def nothing_more(psp: Psp, account: Account, listening: Running) -> bool:
    """Whether the next that it tells of is what happens only now."""
    made = psp.post("/customers", json={"name": "Grace"}, headers=account.key).json()
    return bool(listening.object()["objectId"] == made["id"])


def wait_for_events(psp: Psp, account: Account, count: int) -> None:
    wait_until(lambda: len(psp.get("/events", headers=account.key).json()["events"]) == count)


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.05)
