"""The OpenAPI document is what the server does, at each operation's edges too: judged as in test_openapi_fuzz.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.fuzzing import CALLERS, MODES, OPERATIONS, SPENDS_ITS_CALLER, Fuzzed, fuzzed_server, operation_id

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def fuzzed(
    mongo: pymongo.MongoClient[dict[str, Any]], data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fuzzed]:
    with fuzzed_server(tmp_path_factory.mktemp("edges") / "server.log", mongo, data_dir, "edges") as fuzzed:
        yield fuzzed


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_edges_of_an_operation_are_where_the_document_says(fuzzed: Fuzzed, method: str, path: str) -> None:
    """Each bound of each field, and one beyond it; each field left out; other methods and media types."""
    operation = fuzzed.schema[path][method]
    for_merchants = "merchant" in operation.definition.raw["x-roles"]
    caller = CALLERS["API key and token" if for_merchants else "system_admin"]
    headers = caller(fuzzed.psp)
    for case in fuzzed.schema.iter_coverage_cases(
        operation, generation_modes=list(MODES), generation_config=fuzzed.schema.config.generation
    ):
        response = fuzzed.send(case, headers)
        if operation_id(operation) in SPENDS_ITS_CALLER and response.status_code < 300:
            headers = caller(fuzzed.psp)


def test_all_of_it_was_asked_for(fuzzed: Fuzzed, record_property: Any) -> None:
    assert fuzzed.requests >= len(OPERATIONS)
    record_property(
        "proof", f"{fuzzed.requests} requests at the edges of {len(OPERATIONS)} operations, answered as documented"
    )
