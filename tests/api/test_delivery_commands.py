"""`cli.py deliveries tail` and `cli.py events resend`."""

import json
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251 - the command line itself is what is tested
from tests.command_line import Running, environment, following
from tests.conftest import Server, free_port
from tests.factories import Account, Psp
from tests.receiver import Receiver

Row = dict[str, Any]
Tail = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def account(psp: Psp) -> Account:
    return psp.register()


@pytest.fixture
def tail(server: Server, account: Account, tmp_path: Path) -> Tail:
    def tail(*arguments: str) -> AbstractContextManager[Running]:
        return following("deliveries", "tail", *arguments, cwd=tmp_path, **environment(server, account))

    return tail


def invoke(server: Server, account: Account, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env=environment(server, account))


def make_endpoint(psp: Psp, account: Account, url: str, **fields: Any) -> Row:
    made = psp.post("/webhook-endpoints", json={"url": url, "events": ["*"], **fields}, headers=account.key)
    assert made.status_code == 201, made.text
    endpoint: Row = made.json()
    return endpoint


def make_customer(psp: Psp, account: Account) -> str:
    made = psp.post("/customers", json={"name": "Ada"}, headers=account.key)
    customer_id: str = made.json()["id"]
    return customer_id


def until_final(tailing: Running) -> list[Row]:
    """What is told of one delivery, up to its end."""
    told = [tailing.object()]
    while told[-1]["status"] == "pending":
        told.append(tailing.object())
    return told


def test_each_change_of_a_delivery_is_told_until_it_is_delivered(
    psp: Psp, account: Account, tail: Tail, receiver: Receiver
) -> None:
    receiver.answers = lambda number, request: 500 if number in (1, 2) else 200
    endpoint = make_endpoint(psp, account, receiver.url, retrySchedule=[1, 2])
    make_customer(psp, account)
    receiver.wait_for(1)
    with tail("--json") as tailing:
        assert tailing.object().keys() == {"listening"}
        make_customer(psp, account)
        told = until_final(tailing)
        make_customer(psp, account)
        new = receiver.wait_for(5)[-1].headers["webhook-id"]
        assert tailing.object()["eventId"] == new, "and nothing of what was before"
        assert (tailing.interrupt(), tailing.complaints) == (0, "")

    assert len({one["id"] for one in told}) == 1
    states = [(one["attemptCount"], one["status"]) for one in told]
    assert states == sorted(set(states))
    assert len(states) > 1
    assert states[-1] == (3, "delivered")
    last = psp.get(f"/deliveries/{told[-1]['id']}", headers=account.key).json()
    assert told[-1] == {name: value for name, value in last.items() if name != "attempts"}
    assert (last["status"], last["webhookEndpointId"]) == ("delivered", endpoint["id"])


def test_only_failures_are_told_where_only_they_are_asked_for(
    psp: Psp, account: Account, tail: Tail, receiver: Receiver
) -> None:
    make_endpoint(psp, account, receiver.url)
    make_endpoint(psp, account, f"http://127.0.0.1:{free_port()}", retrySchedule=[1])
    with tail("--failed", "--json") as tailing:
        tailing.object()
        make_customer(psp, account)
        told = until_final(tailing)
        receiver.wait_for(1)
        make_customer(psp, account)
        new = receiver.wait_for(2)[-1].headers["webhook-id"]
        failed = tailing.object()

    assert (failed["eventId"], failed["webhookEndpointId"]) == (new, told[0]["webhookEndpointId"])
    assert len({one["id"] for one in told}) == 1
    assert all(one["attemptCount"] > 0 for one in told)
    assert (told[-1]["status"], told[-1]["deadReason"]) == ("dead", "attempts_exhausted")


def test_a_person_reads_a_line_for_each_change(psp: Psp, account: Account, tail: Tail, receiver: Receiver) -> None:
    make_endpoint(psp, account, receiver.url)
    with tail() as tailing:
        assert tailing.line() == "Listening."
        make_customer(psp, account)
        line = tailing.line()
        while "delivered" not in line:
            line = tailing.line()

    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d  delivered  dlv_\w{{26}}  customer\.created to {receiver.url}, 1 attempt \(200\)", line
    ), line


def test_an_event_is_sent_again_to_all_that_want_it_or_to_one(
    psp: Psp, server: Server, account: Account, receiver: Receiver
) -> None:
    first = make_endpoint(psp, account, f"{receiver.url}/first")
    make_endpoint(psp, account, f"{receiver.url}/second")
    make_customer(psp, account)
    event_id = receiver.wait_for(2)[0].headers["webhook-id"]

    everywhere = invoke(server, account, "events", "resend", event_id, "--json")
    receiver.wait_for(4)
    once = invoke(server, account, "events", "resend", event_id, "--endpoint", first["id"])
    requests = receiver.wait_for(5)

    assert (everywhere.exit_code, once.exit_code) == (0, 0), everywhere.output + once.output
    made = [json.loads(line) for line in everywhere.stdout.splitlines()]
    assert [(one["eventId"], one["status"]) for one in made] == [(event_id, "pending")] * 2
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d  pending    dlv_\w{{26}}  customer\.created to {receiver.url}/first\n", once.stdout
    ), once.stdout
    assert sorted(one.path for one in requests) == ["/first"] * 3 + ["/second"] * 2
    assert {(one.headers["webhook-id"], one.body) for one in requests} == {(event_id, requests[0].body)}
    assert requests[-1].path == "/first"
    assert Webhook(first["secret"]).verify(requests[-1].body, requests[-1].headers)


def test_what_cannot_be_sent_again_is_said_in_one_sentence(psp: Psp, server: Server, account: Account) -> None:
    make_customer(psp, account)
    while not (events := psp.get("/events", headers=account.key).json()["events"]):
        time.sleep(0.05)
    own = events[0]["id"]
    asked = {
        "Event 'evt_none' not found.": invoke(server, account, "events", "resend", "evt_none"),
        f"Event '{own}' not found.": invoke(server, psp.register(), "events", "resend", own),
        "No webhook endpoint that is enabled subscribes to this event.": invoke(
            server, account, "events", "resend", own
        ),
        "Webhook endpoint 'we_none' not found.": invoke(
            server, account, "events", "resend", own, "--endpoint", "we_none"
        ),
    }

    for sentence, result in asked.items():
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {sentence}\n")


@pytest.mark.parametrize("event_id", ["", "evt 1", "../payments", "a/b", "evt_1?x=y", "\u00e4"])
def test_what_is_no_id_is_not_asked_for(server: Server, account: Account, event_id: str) -> None:
    result = invoke(server, account, "events", "resend", event_id)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "An event's id is evt_" in result.stderr


@pytest.mark.parametrize("command", [["deliveries", "tail"], ["events", "resend", "evt_1"]])
def test_a_wrong_key_and_no_server_exit_with_2(server: Server, account: Account, command: list[str]) -> None:
    wrong_key = invoke(server, account, *command, "--api-key", "psp_sk_none")
    nobody = invoke(server, account, *command, "--url", f"http://127.0.0.1:{free_port()}")

    assert (wrong_key.exit_code, nobody.exit_code) == (2, 2)
    assert "does not know this API key" in wrong_key.stderr
    assert "`make run` starts one here" in nobody.stderr


@pytest.mark.parametrize("command", [["deliveries", "tail"], ["events", "resend"]])
def test_the_help_has_examples_to_copy(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])

    assert shown.exit_code == 0
    assert len(re.findall(rf"^\s*python cli\.py {' '.join(command)}", shown.stdout, re.MULTILINE)) >= 2
