"""Commands whose MongoDB goes away in the middle: one sentence, the exit code of what cannot be done, no traceback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from core.config import Settings
from core.database import DriverError
from repositories.connection import no_answer
from tests.command_line import command, environment
from tests.conftest import Server
from tests.wire import Wire

Mongo = pymongo.MongoClient[dict[str, Any]]
ALWAYS = 1_000_000
DATABASE = "commands_cut_off"


@pytest.fixture
def settings(server: Server, wire: Wire, data_dir: Path, mongo: Mongo) -> Iterator[dict[str, str]]:
    """Of commands on the way to whose database answers can be lost, with the secrets that a server has made."""
    secrets = json.loads((data_dir / "secrets.json").read_text())
    yield environment(None, None, MONGODB_URI=wire.uri, MONGODB_DB=DATABASE, **secrets)
    mongo.drop_database(DATABASE)


@pytest.mark.parametrize(
    ("arguments", "step"),
    [
        # It tries again for half a minute.
        pytest.param(["seed", "--payments", "10"], "insert payments", marks=pytest.mark.long),
        (["reset", "--yes"], "delete payments"),
        (["create-admin", "--email", "ada@example.com"], "insert users"),
        (["rotate-keys"], "find users"),
        (["audit", "verify"], "find audit_head"),
    ],
)
def test_a_database_that_goes_away_is_told_in_one_sentence(
    wire: Wire, settings: dict[str, str], tmp_path: Path, arguments: list[str], step: str
) -> None:
    with wire.losing_answers(step, times=ALWAYS):
        done = command(*arguments, cwd=tmp_path, **settings)

    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert sentence.startswith("Error: MongoDB does not answer as it should (")
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


def test_a_seed_outlives_a_database_that_does_not_answer_for_a_moment(
    wire: Wire, settings: dict[str, str], mongo: Mongo, tmp_path: Path
) -> None:
    # More than the driver tries by itself.
    with wire.losing_answers("insert payments", times=3):
        done = command("seed", "--payments", "10", cwd=tmp_path, **settings)

    assert done.returncode == 0, done.stderr
    assert mongo[DATABASE]["payments"].count_documents({}) == 10


def test_of_the_embedded_one_the_log_is_named_and_no_setting_that_was_never_made(tmp_path: Path) -> None:
    told = str(
        no_answer(DriverError("it is gone, Timeout: 4s, Topology: …"), Settings(data_dir=tmp_path, _env_file=None))
    )

    assert told == f"MongoDB does not answer as it should (it is gone): its log is {tmp_path / 'mongodb.log'}."
