"""examples/*_receiver.*, which people copy: each verifies in both ways, and takes what `cli.py sign` prints."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from domain.signing import plain_signature, standard_signature
from tests.conftest import free_port
from tests.docs.markdown import ROOT

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + b64encode(bytes(32)).decode()
BODY = b'{"id":"evt_1","event":"payment.completed","data":{"id":"txn_1","name":"Zo\xc3\xab"}}'
READY_S = 30
NO_REGISTRY = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT")


def fastapi(port: int, _: Path) -> list[str]:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", "examples", "fastapi_receiver:app"]
    return [*command, "--port", str(port), "--log-level", "warning"]


def flask(port: int, _: Path) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "examples/flask_receiver", "run", "--port", str(port)]


def express(_: int, directory: Path) -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the receiver with Express needs node and npm, and they are not on this machine")
    for name in ("package.json", "express_receiver.mjs"):
        shutil.copy(ROOT / "examples" / name, directory)
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    if done.returncode and NO_REGISTRY.search(done.stderr):
        pytest.skip("npm reaches no registry to install what the receiver with Express needs")
    assert done.returncode == 0, done.stderr
    return [node, str(directory / "express_receiver.mjs")]


Start = Callable[[int, Path], list[str]]


@pytest.fixture(
    scope="module",
    params=[fastapi, flask, pytest.param(express, marks=pytest.mark.long)],
    ids=lambda start: str(start.__name__),
)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, IO[str]]]:
    """A receiver that runs: its URL, and what it prints."""
    start: Start = request.param
    port = free_port()
    directory = tmp_path_factory.mktemp(start.__name__)
    log = directory / "stderr"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            start(port, directory),
            cwd=ROOT,
            env={**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    try:
        wait_until_it_listens(process, port, log)
        yield f"http://127.0.0.1:{port}", process.stdout
    finally:
        process.terminate()
        process.wait(10)


def wait_until_it_listens(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"not ready after {READY_S} s:\n{log.read_text()}")


def printed(lines: IO[str], start: str) -> str:
    """The next line that begins so; Flask's greeting comes before the first."""
    return next(line for line in lines if line.startswith(start))


def headers(secret: str = SECRET, body: bytes = BODY, away_s: int = 0) -> dict[str, str]:
    timestamp_s = int(time.time()) + away_s
    return {
        "Content-Type": "application/json",
        "webhook-id": "evt_1",
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": standard_signature(secret, "evt_1", timestamp_s, body),
        "X-Signature": plain_signature(secret, body),
    }


def post(url: str, given: dict[str, str], body: bytes = BODY) -> int:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    return httpx.post(url, content=body, headers=raw, verify=False).status_code


@pytest.mark.parametrize("route", ["standard", "plain"])
def test_a_signed_webhook_is_taken_and_handled(example: tuple[str, IO[str]], route: str) -> None:
    url, lines = example

    assert post(f"{url}/{route}", headers()) == 204
    assert printed(lines, "payment.") == "payment.completed: txn_1\n"


@pytest.mark.parametrize("route", ["standard", "plain"])
def test_what_sign_prints_is_taken(example: tuple[str, IO[str]], route: str) -> None:
    url, lines = example
    command = [sys.executable, "cli.py", "sign", "@-", "--url", f"{url}/{route}"]
    curl = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "WEBHOOK_SECRET": SECRET}, input=BODY, capture_output=True, check=True
    ).stdout
    answer = subprocess.run(["sh"], input=curl, capture_output=True, check=True).stdout

    assert re.match(rb"HTTP/1\.1 204 ", answer), answer
    assert printed(lines, "payment.") == "payment.completed: txn_1\n"


@pytest.mark.parametrize("route", ["standard", "plain"])
def test_what_is_not_signed_for_it_is_refused(example: tuple[str, IO[str]], route: str) -> None:
    url, _ = example
    altered = ["webhook-signature", "X-Signature"]

    assert post(f"{url}/{route}", {}) == 401
    assert post(f"{url}/{route}", {}, b"") == 401
    assert post(f"{url}/{route}", headers(OTHER_SECRET)) == 401
    assert post(f"{url}/{route}", headers(), BODY + b"\n") == 401
    for value in ("", "v1", "v1,", "v1,AAAA", "v1,!", "nonsense", "caf\u00e9", "0" * 64):
        assert post(f"{url}/{route}", {**headers(), **dict.fromkeys(altered, value)}) == 401, value


def test_an_old_message_is_refused_by_standard_webhooks(example: tuple[str, IO[str]]) -> None:
    url, _ = example

    assert post(f"{url}/standard", headers(away_s=-600)) == 401
    assert post(f"{url}/standard", {**headers(), "webhook-timestamp": "nan"}) == 401
