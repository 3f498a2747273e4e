"""docs/how-to/command-line.md: followed with a server that takes what is forwarded."""

import re

import pytest
from standardwebhooks import Webhook

from tests.conftest import Server
from tests.docs.markdown import fences, read
from tests.docs.terminal import Terminal
from tests.receiver import Receiver

PAGES = [*fences(read("docs/how-to/README.md")), *fences(read("docs/how-to/command-line.md"))]


@pytest.fixture(scope="module")
def run(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Receiver]:
    """What following the page printed, and what it forwarded."""
    directory = tmp_path_factory.mktemp("command_line") / "printed"
    with Receiver() as receiver:
        with Terminal(directory, PSP=server.url, HOOK_PORT=receiver.url.rpartition(":")[2]) as terminal:
            terminal.follow(PAGES)
        # Three of listen's, and of the payment with a webhookUrl one that was sent again.
        receiver.wait_for(7)
    return terminal.everything, receiver


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
