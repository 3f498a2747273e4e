"""README.md, "Webhooks on the command line": its commands are run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.conftest import Server
from tests.docs.markdown import ROOT, blocks, read, section
from tests.processes import clean_environment
from tests.receiver import Receiver

WALK = section(read("README.md"), "## A five-minute walk")
PART = section(read("README.md"), "## Webhooks on the command line")

# As in test_readme.py: a `sleep` waits for what it is followed by.
SLEEP = r"""
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
slept=0
sleep() {
  case $((slept += 1)) in
    1) printed "Signed with" ;;
    2) printed "payment.failed  " ;;
    *) echo "nothing is known of this sleep" >&2; return 1 ;;
  esac
}
printed() { until grep "$1" "$PRINTED" >/dev/null; do command sleep 0.1; done; }
"""


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Receiver]:
    """What the section printed, and what it forwarded; before it the walk as far as the API key."""
    script = "\n".join([SLEEP, *blocks(WALK, "bash")[:2], *blocks(PART, "bash")])
    log = tmp_path_factory.mktemp("command_line") / "printed"
    with Receiver() as receiver, log.open("wb") as output:
        settings = {"PSP": server.url, "HOOK_PORT": receiver.url.rpartition(":")[2], "PRINTED": str(log)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=ROOT,
            env={**clean_environment(**settings), "PATH": path, "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )
        assert (done.returncode, done.stderr) == (0, ""), log.read_text() + done.stderr
        # Three of listen's, and of the payment with a webhookUrl one that was sent again.
        receiver.wait_for(7)
    return log.read_text(), receiver


def test_the_commands_print_what_the_readme_shows(run: tuple[str, Receiver]) -> None:
    def form(text: str) -> set[str]:
        text = re.sub(r"(txn|evt)_\w{26}", r"\1_", re.sub(r"whsec_\S+", "whsec_", text))
        text = re.sub(r"\d\d:\d\d:\d\d", "time", re.sub(r"in \d+ ms", "in ms", re.sub(r":\d+/hook", "/hook", text)))
        return set(text.splitlines())

    (shown,) = blocks(PART, "text")

    assert form(shown) <= form(run[0])


def test_what_is_forwarded_is_verified_with_the_secret_that_is_printed(run: tuple[str, Receiver]) -> None:
    printed, receiver = run
    (secret,) = re.findall(r"^Signed with  (whsec_\S+)$", printed, re.MULTILINE)

    for request in receiver.requests[:3]:
        assert Webhook(secret).verify(request.body, request.headers)


def test_an_event_is_sent_again(run: tuple[str, Receiver]) -> None:
    printed, receiver = run
    ids = [request.headers["webhook-id"] for request in receiver.requests]

    assert re.search(r"pending    dlv_\w{26}  payment\.completed to http", printed)
    assert len(ids) == len(set(ids)) + 1
