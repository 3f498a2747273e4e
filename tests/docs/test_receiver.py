"""examples/receiver.py, which people copy: it takes what is signed and refuses everything else."""

import hmac
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import IO

import httpx
import pytest

from domain.signing import standard_signature
from tests.conftest import free_port
from tests.docs.markdown import ROOT

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
BODY = b'{"id":"evt_1","event":"payment.completed","data":{"id":"txn_1","status":"completed"}}'


def signed(secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    now = int(time.time())
    return {
        "X-Signature": hmac.new(secret.encode(), body, "sha256").hexdigest(),
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature(secret, "evt_1", now, body),
    }


@pytest.fixture(scope="module")
def example() -> Iterator[tuple[str, IO[str]]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "examples/receiver.py", str(port)],
        cwd=ROOT,
        env={**os.environ, "WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "listening" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}/hook", process.stdout
    finally:
        process.terminate()
        process.wait(10)


def test_a_signed_webhook_is_taken_and_printed(example: tuple[str, IO[str]]) -> None:
    url, printed = example

    assert httpx.post(url, content=BODY, headers=signed(), verify=False).status_code == 200
    assert printed.readline() == (
        "[webhook] payment.completed: txn_1 is completed (verified by X-Signature and Standard Webhooks)\n"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed("whsec_" + b64encode(bytes(32)).decode()),
        signed(body=BODY + b" "),
        {**signed(), "X-Signature": ""},
        {**signed(), "X-Signature": "caf\u00e9"},
        {**signed(), "webhook-id": "evt_2"},
        {**signed(), "webhook-signature": "v1,AAAA"},
        {**signed(), "webhook-signature": "nonsense"},
    ],
)
def test_what_is_not_signed_for_it_is_refused(example: tuple[str, IO[str]], headers: dict[str, str]) -> None:
    url, printed = example
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    assert httpx.post(url, content=BODY, headers=raw, verify=False).status_code == 401
    assert "refused" in printed.readline()


def test_without_a_secret_it_says_how_it_is_started() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "WEBHOOK_SECRET"}
    done = subprocess.run(
        [sys.executable, "examples/receiver.py", "1"], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    assert done.returncode != 0
    assert "WEBHOOK_SECRET" in done.stderr
