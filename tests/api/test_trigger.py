"""`cli.py trigger`: the real objects that cause an event, through the API like any client."""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251 - the command line itself is what is tested
from commands import recipes, trigger
from commands.recipes import RECIPES, REFUSED
from schemas.event_types import EVENT_TYPES
from tests.conftest import Server, free_port
from tests.factories import Account, Psp

Row = dict[str, Any]
Run = Callable[..., Result]


@pytest.fixture
def run(server: Server, merchant: Account) -> Run:
    """Triggers an event of the merchant's, unless told of whose and where."""

    def run(*arguments: str, to: str = server.url, of: Account | None = merchant) -> Result:
        environment = {"MOCK_PSP_URL": to, "MOCK_PSP_API_KEY": of.api_key if of else None, "COLUMNS": "500"}
        return CliRunner().invoke(app, ["trigger", *arguments], env=environment)

    return run


def told(result: Result) -> Row:
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return dict(json.loads(result.stdout))


def test_every_type_of_the_registry_is_caused_or_refused() -> None:
    assert not RECIPES.keys() & REFUSED.keys()
    assert EVENT_TYPES.keys() <= RECIPES.keys() | REFUSED.keys()
    assert RECIPES.keys() <= EVENT_TYPES.keys()
    assert all(reason.endswith(".") for reason in REFUSED.values())


@pytest.mark.parametrize("event", RECIPES)
def test_the_event_is_there_and_is_about_the_object(psp: Psp, merchant: Account, run: Run, event: str) -> None:
    made = told(run(event, "--json"))

    assert made.keys() - {"madeEndpoint"} == {"timestamp", "event", "eventId", "objectId"}
    shown = psp.get(f"/events/{made['eventId']}", headers=merchant.key).json()
    assert (shown["type"], shown["timestamp"]) == (event, made["timestamp"])
    assert shown["data"]["id"] == made["objectId"]


def test_a_person_is_told_what_was_made(run: Run) -> None:
    result = run("payment.authorized")

    assert re.fullmatch(r"payment\.authorized: txn_\w{26} \(event evt_\w{26}\)\n", result.stdout), result.output


def test_a_charge_is_made_as_it_was_set(psp: Psp, merchant: Account, run: Run) -> None:
    chosen = {
        "amount": "12.34",
        "currency": "eur",
        "customerName": "Ada = Lovelace",
        "details": "",
        "reference": "order-7",
        "webhookUrl": "http://127.0.0.1:9/hook",
        "metadata.order.id": "A-1",
        "metadata.seat": "7",
        "card": "378282246310005",
    }
    made = told(run("payment.completed", "--json", *sets(chosen)))

    payment = psp.get(f"/payments/{made['objectId']}", headers=merchant.key).json()
    assert (payment["amountMinor"], payment["currency"]) == (1234, "EUR")
    assert (payment["customerName"], payment["details"]) == ("Ada = Lovelace", "")
    assert (payment["reference"], payment["webhookUrl"]) == ("order-7", "http://127.0.0.1:9/hook")
    assert payment["metadata"] == {"order.id": "A-1", "seat": "7"}
    assert payment["card"]["last4"] == "0005"


@pytest.mark.parametrize("currency", ["JPY", "KWD"])
def test_a_currency_alone_is_enough(psp: Psp, merchant: Account, run: Run, currency: str) -> None:
    made = told(run("payment.partially_refunded", "--json", "--set", f"currency={currency}"))

    payment = psp.get(f"/payments/{made['objectId']}", headers=merchant.key).json()
    assert payment["amountRefundedMinor"] * 2 == payment["amountMinor"]


def test_another_card_fails_in_another_way(psp: Psp, merchant: Account, run: Run) -> None:
    made = told(run("payment.failed", "--json", "--set", "card=4000000000000069"))

    payment = psp.get(f"/payments/{made['objectId']}", headers=merchant.key).json()
    assert payment["failure"]["code"] == "expired_card"


def test_a_customer_is_made_as_it_was_set(psp: Psp, merchant: Account, run: Run) -> None:
    chosen = {"name": "Ada", "email": "ada@example.com", "country": "GB", "metadata.crm": "C-17"}
    made = told(run("customer.created", "--json", *sets(chosen)))

    customer = psp.get(f"/customers/{made['objectId']}", headers=merchant.key).json()
    assert (customer["name"], customer["email"], customer["country"]) == ("Ada", "ada@example.com", "GB")
    assert customer["metadata"] == {"crm": "C-17"}


def test_a_test_webhook_takes_the_endpoint_that_is_there_and_otherwise_makes_one(psp: Psp, run: Run) -> None:
    account = psp.register()

    first, again = (told(run("webhook.test", "--json", of=account)) for _ in range(2))
    other = told(run("webhook.test", "--json", "--set", "url=http://127.0.0.1:9/other", of=account))

    assert first["objectId"] == again["objectId"] != other["objectId"]
    assert first["eventId"] != again["eventId"]
    endpoints = psp.get("/webhook-endpoints", headers=account.key).json()["webhookEndpoints"]
    assert {one["id"]: one["url"] for one in endpoints} == {
        first["objectId"]: "http://localhost:4242/hook",
        other["objectId"]: "http://127.0.0.1:9/other",
    }
    assert {tuple(one["events"]) for one in endpoints} == {("webhook.test",)}
    made = {"id": first["objectId"], "url": "http://localhost:4242/hook", "status": "enabled"}
    assert (first["madeEndpoint"], other["madeEndpoint"]["url"]) == (made, "http://127.0.0.1:9/other")
    assert "madeEndpoint" not in again, "what was there already was not made"


def test_a_person_is_told_of_the_endpoint_that_stays(psp: Psp, run: Run) -> None:
    account = psp.register()

    first, again = (run("webhook.test", of=account).stdout for _ in range(2))

    (endpoint,) = psp.get("/webhook-endpoints", headers=account.key).json()["webhookEndpoints"]
    told, note = first.splitlines()
    assert told.startswith(f"webhook.test: {endpoint['id']} (event evt_")
    assert note == (
        f"Webhook endpoint {endpoint['id']} was made, to http://localhost:4242/hook. "
        f"It stays enabled until you delete it: DELETE /api/v1/webhook-endpoints/{endpoint['id']}"
    )
    assert len(again.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Name the event type"),
        (["payment.payed"], "payment.payed is no event type"),
        (["payment.expired"], "nobody captures for seven days"),
        (["webhook.disabled"], "answers 410"),
        (["payment.created", "--set", "amount"], "'amount' is no NAME=VALUE"),
        (["payment.created", "--set", "colour=red"], "can: amount, currency, customerName, details, reference"),
        (["payment.created", "--set", "paymentAmount=1"], "'paymentAmount' cannot be set here"),
        (["payment.created", "--set", "metadata=1"], "'metadata' cannot be set here"),
        (["payment.created", "--set", "metadata.=1"], "'metadata.' cannot be set here"),
        (["payment.created", "--set", "amount.x=1"], "'amount.x' cannot be set here"),
        (["payment.created", "--set", "amount=1", "--set", "amount=2"], "amount is given twice"),
        (["payment.created", "--set", "amount=twelve"], "amount is a number"),
        (["payment.created", "--set", "amount=1e999999"], "amount is a number"),
        (["payment.created", "--set", "amount=100.100000000000001"], "amount is a number"),
        (["customer.created", "--set", "amount=1"], "can: name, email, phone"),
        (["payment.created", "--set", "amount=-1"], "Error: paymentAmount: Input should be greater than 0."),
        (["payment.created", "--set", "amount=1.5", "--set", "currency=JPY"], "paymentAmount: JPY has 0 dec"),
        (["payment.created", "--set", "webhookUrl=ftp://localhost"], "webhookUrl: "),
        (["payment.created", "--set", "card=4242424242424241"], "card.number: "),
        (["payment.created", "--api-key", "psp_sk none"], "An API key is psp_sk_"),
        (["payment.created", "--api-key", "psp_sk_\u00e9"], "An API key is psp_sk_"),
        (["payment.created", "--url", "localhost:8000"], "http or https"),
        (["payment.created", "--url", "http://localhost:8000/?a=b"], "no query"),
        (["payment.created", "--url", "http://a..b"], "no host name"),
    ],
)
def test_what_cannot_be_asked_for_exits_with_2(run: Run, arguments: list[str], reason: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def test_a_key_and_a_server_are_needed(run: Run, merchant: Account) -> None:
    without_key = run("payment.created", of=None)
    wrong_key = run("payment.created", "--api-key", "psp_sk_none")
    nobody = run("payment.created", to=f"http://127.0.0.1:{free_port()}")

    assert [result.exit_code for result in (without_key, wrong_key, nobody)] == [2, 2, 2]
    assert "MOCK_PSP_API_KEY" in without_key.stderr
    assert "does not know this API key" in wrong_key.stderr
    assert "`make run` starts one here" in nobody.stderr


def test_what_the_server_says_no_to_exits_with_1(run: Run, psp: Psp) -> None:
    result = run("customer.created", of=psp.register("user"))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: Access denied. Allowed roles: ('merchant', 'admin', 'system_admin')\n"


def test_a_card_that_does_otherwise_is_told_of(run: Run) -> None:
    result = run("payment.failed", "--set", "card=4242424242424242")

    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: txn_\w{26} is completed, and not failed\.\n", result.stderr)


def test_a_payment_too_small_for_a_part_is_told_of(run: Run) -> None:
    result = run("payment.partially_refunded", "--set", "amount=1", "--set", "currency=JPY")

    assert result.exit_code == 1
    assert "choose a larger amount" in result.stderr


def test_without_a_worker_it_says_so(
    run: Run, start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(WORKER="off")
    monkeypatch.setattr(recipes, "WAIT_S", 1)
    monkeypatch.setattr(trigger, "WAIT_S", 1)
    with httpx.Client(base_url=server.url, verify=False) as client:
        account = Psp(client, "", "").register()

    created = run("customer.created", to=server.url, of=account)
    completed = run("payment.completed", to=server.url, of=account)

    assert (created.exit_code, completed.exit_code) == (1, 1)
    assert re.search(r"cus_\w{26} was made, and there is no customer\.created .* Is a worker running\?", created.stderr)
    assert re.search(r"txn_\w{26} is pending, and not completed\. Is a worker running\?", completed.stderr)


def test_a_url_that_ends_with_the_path_of_the_api_is_the_same_server(run: Run, server: Server) -> None:
    assert told(run("customer.created", "--json", to=f"{server.url}/api/v1/"))["event"] == "customer.created"


def test_the_list_says_how_each_type_is_caused_and_needs_no_server(run: Run) -> None:
    listed = run("--list", of=None, to="http://127.0.0.1:9")
    for_programs = [json.loads(line) for line in run("--list", "--json", of=None).stdout.splitlines()]

    assert all(event in listed.stdout for event in [*RECIPES, *REFUSED])
    assert "payment.*, refund.*: amount, currency, customerName, details, reference, webhookUrl" in listed.stdout
    assert [one["event"] for one in for_programs] == [*RECIPES, *REFUSED]
    assert all(one["how"] or one["reason"] for one in for_programs)


@pytest.mark.parametrize("command", ["listen", "trigger"])
def test_the_help_has_examples_to_copy_and_shows_no_key(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"MOCK_PSP_API_KEY": "psp_sk_tell_nobody"})

    assert shown.exit_code == 0
    assert len(re.findall(rf"^\s*python cli\.py {command} ", shown.stdout, re.MULTILINE)) >= 2
    assert "tell_nobody" not in shown.stdout


def sets(chosen: dict[str, str]) -> list[str]:
    return [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
