"""A database that fails in the middle of a write: nothing doubled, nothing half done, and never a 500."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from tests.books import Books, wait_until_idle
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, serving
from tests.factories import Psp
from tests.scale import FULL
from tests.system.write_paths import WRITE_PATHS, Stage, Trial, WritePath
from tests.wire import Wire, wire_to

DATABASE = "faults"
ALWAYS = 1_000_000
PATIENCE_S = 60
Client = pymongo.MongoClient[dict[str, Any]]

FAULTS: dict[str, dict[str, Any] | None] = {
    "answer lost": None,
    "connection closed": {"closeConnection": True},
    "write conflict": {"errorCode": 112},
    "not primary": {"errorCode": 10107},
    "stepped down": {"errorCode": 189},
    "shutting down": {"errorCode": 91},
    "interrupted": {"errorCode": 11602},
    "too slow": {"errorCode": 262},
    "out of time": {"errorCode": 50},
    "too busy": {"errorCode": 365},
    "disk full": {"errorCode": 14031},
    "no majority": {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}},
    "shut down after the write": {"writeConcernError": {"code": 91, "errmsg": "shutdown in progress"}},
}
"""What is done to a command, in MongoDB's own words; None: it is carried out, and its answer does not arrive."""


class Faults:
    def __init__(self, mongo: Client, wire: Wire):
        self._mongo = mongo
        self._wire = wire

    @contextmanager
    def on(self, fault: str, *steps: str, times: int) -> Iterator[None]:
        """So often the fault happens to one of these commands (`insert payments`, say)."""
        data = FAULTS[fault]
        if data is None:
            with self._wire.losing_answers(*steps, times=times):
                yield
            return
        commands = sorted({step.split()[0] for step in steps})
        namespaces = {step.split()[1] for step in steps}
        if len(namespaces) == 1 and "1" not in namespaces:
            data = {**data, "namespace": f"{DATABASE}.{namespaces.pop()}"}
        mode = {"times": times} if times < ALWAYS else "alwaysOn"
        self._mongo.admin.command(
            "configureFailPoint", "failCommand", mode=mode, data={**data, "failCommands": commands}
        )
        try:
            yield
        finally:
            self._mongo.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture(scope="module")
def wire_of_faults(mongo_uri: str) -> Iterator[Wire]:
    with wire_to(mongo_uri) as wire:
        yield wire


@pytest.fixture(scope="module")
def stage(
    wire_of_faults: Wire, data_dir: Path, mongo: Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A server whose way to MongoDB leads over the wire."""
    secrets = json.loads((data_dir / "secrets.json").read_text()) if (data_dir / "secrets.json").exists() else SECRETS
    log = tmp_path_factory.mktemp("faults") / "server.log"
    with (
        serving(log, MONGODB_URI=wire_of_faults.uri, MONGODB_DB=DATABASE, **secrets) as server,
        httpx.Client(base_url=server.url, timeout=60, verify=False) as client,
    ):
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        yield Stage(psp, mongo[DATABASE], psp.register("merchant"), psp.root())
    mongo.drop_database(DATABASE)


SECRETS = {
    "JWT_SECRET": "a-secret-of-more-than-thirty-two-bytes",
    "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}


@pytest.fixture
def faults(mongo: Client, wire_of_faults: Wire) -> Faults:
    return Faults(mongo, wire_of_faults)


def check_answer(answer: httpx.Response, trial: Trial) -> None:
    """A success has happened once. Any other answer says to try again, and tells nothing of the inside."""
    assert trial.happened() in (0, 1)
    if answer.is_success:
        assert trial.happened() == 1, answer.text
        return
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"]
    assert answer.json()["code"] in ("database_unavailable", "outcome_unknown")
    if answer.json()["code"] == "database_unavailable":
        assert trial.happened() == 0, "it says that nothing was changed"


def check_repetition(path: WritePath, trial: Trial, first: httpx.Response) -> None:
    """It happens once, however often it is asked for; under an Idempotency-Key with one answer, to the byte."""
    if not path.repeatable:
        return
    again = until_answered(trial.send)
    assert again.status_code < 500, again.text
    assert trial.happened() == 1
    if path.replayed:
        assert again.is_success, again.text
        assert not first.is_success or again.content == first.content
        assert trial.send().content == again.content


def until_answered(send: Callable[[], httpx.Response]) -> httpx.Response:
    """MongoDB is there again, and the server finds it by itself."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := send()).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    return answer


def check_everything(stage: Stage) -> None:
    """The money, the events' numbers and the bank's books; and nothing waits to be published."""
    # The driver may look for MongoDB every ten seconds only, where one says that it shuts down and does not.
    until_answered(partial(stage.psp.get, "/status"))
    wait_until_idle(stage.database)
    Books(stage.database, stage.merchant.id).check()


# After these the driver looks for MongoDB ten seconds later only, since what says so goes away as a rule.
SHUTTING_DOWN = {"shutting down", "shut down after the write"}
SHUT_DOWN_IN = {"charge", "change the password", "make a customer", "delete a customer", "log out"}
CELLS = [
    (path, step, fault)
    for path in WRITE_PATHS
    for step in path.steps
    for fault in FAULTS
    if fault not in SHUTTING_DOWN or path.name in SHUT_DOWN_IN
]
QUICK = {
    ("charge", "insert payments", "answer lost"),
    ("charge", "insert payments", "too busy"),
    ("capture", "update payments", "connection closed"),
    ("make an API key", "insert audit", "write conflict"),
    ("make an API key", "commitTransaction 1", "answer lost"),
    ("delete an endpoint", "update deliveries", "disk full"),
}


@pytest.mark.scaled
@pytest.mark.parametrize(
    ("path", "step", "fault"),
    [
        pytest.param(*cell, id=f"{cell[0].name}-{cell[1]}-{cell[2]}")
        for cell in CELLS
        if FULL or (cell[0].name, *cell[1:]) in QUICK
    ],
)
def test_what_fails_once_in_a_write_doubles_nothing_and_leaves_nothing_half_done(
    stage: Stage, faults: Faults, path: WritePath, step: str, fault: str
) -> None:
    trial = path.prepare(stage)
    with faults.on(fault, step, times=1):
        answer = trial.send()

    check_answer(answer, trial)
    check_repetition(path, trial, answer)
    check_everything(stage)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_for_as_long_as_a_request_tries_doubles_nothing_and_leaves_nothing_half_done(
    stage: Stage, faults: Faults, fault: str
) -> None:
    trials = [(path, path.prepare(stage)) for path in WRITE_PATHS]
    stage.idle()
    steps = {step for path in WRITE_PATHS for step in path.steps}
    with faults.on(fault, *steps, times=ALWAYS), ThreadPoolExecutor(len(trials)) as pool:
        answers = list(pool.map(lambda one: one[1].send(), trials))

    for (path, trial), answer in zip(trials, answers, strict=True):
        try:
            check_answer(answer, trial)
            check_repetition(path, trial, answer)
        except AssertionError as error:
            error.add_note(f"The path was: {path.name}.")
            raise
    check_everything(stage)


@pytest.mark.long
def test_while_the_primary_steps_down_each_charge_is_made_once_and_all_goes_on_by_itself(
    stage: Stage, mongo: Client
) -> None:
    """Shorter than an operation may take, and longer."""
    account, numbers, over = stage.psp.register("merchant"), itertools.count(), threading.Event()

    def charge_on() -> list[int]:
        statuses = []
        while not over.is_set():
            send = partial(stage.psp.charge, account, {"Idempotency-Key": f"step-down-{next(numbers)}"})
            first, again = send(), until_answered(send)
            assert again.status_code == 201, again.text
            if first.status_code == 201:
                assert first.content == again.content
            else:
                assert first.status_code == 503, first.text
                assert first.json()["code"] in ("database_unavailable", "outcome_unknown")
                assert first.headers["retry-after"]
            statuses.append(first.status_code)
        return statuses

    with ThreadPoolExecutor(8) as pool:
        charging = [pool.submit(charge_on) for _ in range(8)]
        try:
            for away_s in (1, 8):
                time.sleep(1)
                mongo.admin.command("replSetStepDown", away_s, force=True, secondaryCatchUpPeriodSecs=0)
                mongo.admin.command("ping")  # waits for a primary
            time.sleep(1)
        finally:
            over.set()
        statuses = [status for one in charging for status in one.result()]

    assert set(statuses) == {201, 503}, "a step-down was felt, and not by all"
    assert mongo[DATABASE]["payments"].count_documents({"owner_id": account.id}) == len(statuses)
    wait_until_idle(mongo[DATABASE], account.id)
    Books(mongo[DATABASE], account.id).check()
