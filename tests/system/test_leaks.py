"""What looks for secrets at the end of a run (tests/leaks.py) finds each kind, and only what is one."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from core import embedded_mongo
from tests.factories import PASSWORD, VISA
from tests.leaks import leaks

ALPHANUMERIC = "aB3dE6gH" * 8
SECRETS = [
    f"psp_sk_{ALPHANUMERIC}",
    f"psp_rt_{ALPHANUMERIC}",
    f"pk_{ALPHANUMERIC}",
    f"whsec_{ALPHANUMERIC[:40]}",
    f"eyJ{ALPHANUMERIC[:10]}.eyJ{ALPHANUMERIC[:10]}.{ALPHANUMERIC[:20]}",
    PASSWORD,
    VISA,
]
NONE = [f"psp_sk_{ALPHANUMERIC[:63]}", "whsec_[removed]", "eyJhbGciOiJIUzI1NiJ9.eyJ", f"1{VISA}", f"{VISA}1"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Gone before the end of the run, when no secret may be left anywhere."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_a_secret_is_found_in_a_document_in_the_oplog_and_in_a_file(place: Path) -> None:
    mongo = embedded_mongo.start(place, grace_s=0)
    with pymongo.MongoClient[dict[str, Any]](mongo.uri) as client:
        client.shop.kept.insert_many({"_id": number, "text": text} for number, text in enumerate(NONE))
        (place / "quiet.log").write_text("\n".join(NONE))
        assert leaks(client, place) == []

        for secret in SECRETS:
            client.shop.kept.insert_one({"_id": secret[::-1], "text": f"It is {secret}."})
            (place / "loud.log").write_text(f"It is {secret}.")

            found = leaks(client, place)
            places = {one.partition(": ")[0] for one in found if secret in one}
            assert places == {"shop.kept", "local.oplog.rs", str(place / "loud.log")}, secret

            client.shop.kept.delete_one({"_id": secret[::-1]})
    mongo.close()
