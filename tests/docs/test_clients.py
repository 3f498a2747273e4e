"""What `cli.py openapi` and `cli.py postman` write is taken by the tools that it is written for.

Each tool is installed into a directory of its own, so that what it needs can be at odds with nothing here.
"""

import json
import re
import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from main import app  # noqa: TID251 - the application itself is what is described
from tests.command_line import command, environment, fresh_command
from tests.conftest import Server
from tests.factories import Psp

NO_REGISTRY = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT")
PYTHON_TOOLS = ("openapi-spec-validator>=0.9,<1", "openapi-python-client>=0.29,<1")
TYPESCRIPT_TOOLS = ("openapi-typescript@^7", "openapi-fetch@^0.17", "typescript@^5")
NEWMAN = ("newman@^6",)

WALK_IN_PYTHON = """
import secrets, sys
from psp_client import AuthenticatedClient, Client
from psp_client.api.payments import charge, query_payments
from psp_client.api.refunds import create_refund
from psp_client.api.sessions import login
from psp_client.api.users import register
from psp_client.models import (
    CardInput, ChargeRequest, LoginRequest, PaymentOut, RefundRequest, RegisterRequest, SelfChosenRole, Status
)

url, email, password = sys.argv[1], f"{secrets.token_hex(8)}@example.com", "correct-horse-battery"
anyone = Client(url, raise_on_unexpected_status=True, timeout=60)
account = register.sync(
    client=anyone,
    body=RegisterRequest(name="Ada Lovelace", email=email, password=password, role=SelfChosenRole.MERCHANT),
)
session = login.sync(client=anyone, body=LoginRequest(email=email, password=password))
ada = AuthenticatedClient(url, token=session.access_token, raise_on_unexpected_status=True, timeout=60)
ada = ada.with_headers({"X-API-Key": account.api_key})

paid = charge.sync(
    client=ada,
    prefer="wait=30",
    body=ChargeRequest(
        customer_name="Grace Hopper", payment_amount=100.5, currency="USD",
        card=CardInput(number="4242424242424242", exp_month=12, exp_year=2040, cvc="123"),
    ),
)
assert isinstance(paid, PaymentOut) and paid.status is Status.COMPLETED, paid
refund = create_refund.sync(client=ada, body=RefundRequest(payment_id=paid.id, amount=40))
assert (refund.amount_minor, refund.payment_id) == (4000, paid.id), refund
found = query_payments.sync(client=ada, min_amount=100, currency="USD")
assert [(one.id, one.amount_minor) for one in found.transactions] == [(paid.id, 10050)], found
print("walked")
"""
WALK_IN_TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./psp.js";

type Payment = components["schemas"]["PaymentOut"];
type Completed = webhooks["payment.completed"]["post"]["requestBody"]["content"]["application/json"];
const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8000" });

export async function pay(apiKey: string): Promise<Payment> {
  const headers = { "X-API-Key": apiKey };
  const { data, error } = await client.POST("/api/v1/payments/charge", {
    headers,
    body: { customerName: "Grace Hopper", paymentAmount: 100.5, currency: "USD" },
  });
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  await client.POST("/api/v1/refunds", { headers, body: { paymentId: data.id, amount: 40 } });
  return data;
}

export const amountOf = (event: Completed): number => event.data.amountMinor;

// @ts-expect-error what is charged has a currency
client.POST("/api/v1/payments/charge", { body: { customerName: "Grace Hopper", paymentAmount: 100.5 } });
"""


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(one) for one in arguments], cwd=cwd, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def installed_with_npm(directory: Path, *packages: str) -> Path:
    """Where the packages' commands are."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("this client needs node and npm, and they are not on this machine")
    flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1")
    done = subprocess.run([npm, "install", *flags, *packages], cwd=directory, capture_output=True, text=True)
    if done.returncode and NO_REGISTRY.search(done.stderr):
        pytest.skip("npm reaches no registry to install what this client needs")
    assert done.returncode == 0, done.stderr
    return directory / "node_modules" / ".bin"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Where what is made of the examples may stand: see tests/leaks.py."""
    (tmp_path / "printed").mkdir()
    return tmp_path / "printed"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document, as the command writes it."""
    directory = tmp_path_factory.mktemp("document")
    done = command("openapi", "--output", "printed/openapi.json", cwd=directory, **environment(None, None))
    assert (done.returncode, done.stdout.split()) == (0, ["Written:", "printed/openapi.json"]), done.stderr
    return directory / "printed" / "openapi.json"


@pytest.fixture(scope="module")
def python_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of the tools in Python are."""
    home = tmp_path_factory.mktemp("tools") / "venv"
    venv.create(home, with_pip=True)
    run(home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_TOOLS, cwd=home)
    return home / "bin"


def test_the_document_is_written_and_printed_as_the_server_has_it(psp: Psp, document: Path, tmp_path: Path) -> None:
    printed = fresh_command("openapi", cwd=tmp_path, **environment(None, None))

    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == document.read_text("utf-8")
    assert json.loads(printed.stdout) == psp.client.get("/openapi.json").json()


def test_where_it_cannot_be_written_one_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for arguments in (("openapi", "-o", "file/openapi.json"), ("postman", "-o", "file")):
        done = command(*arguments, cwd=tmp_path, **environment(None, None))

        assert done.returncode == 2
        assert re.fullmatch(r"Error: file/\S+ cannot be written: [A-Z][a-z ]+\.\n", done.stderr), done.stderr


@pytest.fixture(scope="module")
def postman(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("postman") / "printed"
    directory.mkdir()
    done = command("postman", cwd=directory, **environment(server, None))
    assert done.returncode == 0, done.stderr
    return directory


def requests(folder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in folder["item"]:
        yield from requests(item) if "item" in item else [item]


def test_the_collection_has_every_operation_with_examples_and_tests(postman: Path) -> None:
    collection = json.loads((postman / "mock-psp.postman_collection.json").read_text("utf-8"))
    operations = {
        (method.upper(), path.replace("{", ":").replace("}", ""))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    _, *folders = collection["item"]
    found = [one for folder in folders for one in requests(folder)]

    assert [folder["name"] for folder in folders] and all(folder["description"] for folder in folders)
    assert len(found) == len(operations)
    assert {(one["request"]["method"], "/" + "/".join(one["request"]["url"]["path"])) for one in found} == operations
    for one in found:
        alone = one["request"]["url"]["path"] == ["health", "live"]  # which never asks the database
        assert {response["code"] for response in one["response"]} >= ({422} if alone else {422, 503})
        assert min(response["code"] for response in one["response"]) < 300
        assert any("pm.test" in line for event in one["event"] for line in event["script"]["exec"])


def test_the_environment_has_what_the_requests_fill_in_and_keeps_secrets_hidden(server: Server, postman: Path) -> None:
    used = set(re.findall(r"{{(\w+)}}", (postman / "mock-psp.postman_collection.json").read_text("utf-8")))
    values = {
        one["key"]: one
        for one in json.loads((postman / "mock-psp.postman_environment.json").read_text("utf-8"))["values"]
    }

    assert used <= values.keys()
    assert values["base_url"]["value"] == server.url
    assert {name for name, one in values.items() if one["type"] == "secret"} == {
        "password",
        "api_key",
        "webhook_secret",
        "access_token",
        "refresh_token",
    }


@pytest.mark.long
def test_newman_runs_the_collection_against_a_server(postman: Path, tmp_path: Path) -> None:
    newman = installed_with_npm(tmp_path, *NEWMAN) / "newman"
    files = [postman / f"mock-psp.postman_{kind}.json" for kind in ("collection", "environment")]
    report = tmp_path / "report.json"

    run(newman, "run", files[0], "-e", files[1], "-r", "json", "--reporter-json-export", report, cwd=tmp_path)
    told = json.loads(report.read_text("utf-8"))["run"]

    assert told["stats"]["requests"]["total"] == len(list(requests(json.loads(files[0].read_text("utf-8")))))
    assert told["failures"] == []
    codes = [one["response"]["code"] for one in told["executions"]]
    # Most operations find what they need, and carry something out.
    assert sum(code < 300 for code in codes) > len(codes) * 2 / 3


@pytest.mark.long
def test_a_validator_accepts_the_document(python_tools: Path, document: Path, tmp_path: Path) -> None:
    assert run(python_tools / "openapi-spec-validator", document, cwd=tmp_path) == f"{document}: OK\n"


@pytest.mark.long
def test_a_generated_python_client_walks_from_register_to_query(
    server: Server, python_tools: Path, document: Path, tmp_path: Path
) -> None:
    # It formats what it writes with the ruff that it came with, which it looks for on the PATH.
    generate = f'PATH="{python_tools}:$PATH" openapi-python-client generate --fail-on-warning --meta none'
    told = run("sh", "-c", f'{generate} --path "{document}" --output-path psp_client', cwd=tmp_path)
    (tmp_path / "walk.py").write_text(WALK_IN_PYTHON, "utf-8")

    assert told.split() == ["Generating", "psp_client"]
    assert run(python_tools / "python", "walk.py", server.url, cwd=tmp_path) == "walked\n"


@pytest.mark.long
def test_a_generated_typescript_client_fits_its_types(document: Path, tmp_path: Path) -> None:
    commands = installed_with_npm(tmp_path, *TYPESCRIPT_TOOLS)
    # Without the flag a field with a default would have to be sent.
    flag = "--default-non-nullable=false"
    told = run(commands / "openapi-typescript", document, flag, "--output", "psp.ts", cwd=tmp_path)
    (tmp_path / "walk.ts").write_text(WALK_IN_TYPESCRIPT, "utf-8")

    assert not re.search("warn|⚠|✘", told, re.IGNORECASE), told
    flags = ("--noEmit", "--strict", "--skipLibCheck", "false", "--module", "nodenext", "--target", "es2022")
    assert run(commands / "tsc", *flags, "--lib", "es2022,dom", "walk.ts", cwd=tmp_path) == ""
