"""The OpenAPI document is what the server does: requests drawn from it by schemathesis, with every kind of credential.

No answer is a 5xx, has a status, content type or header that the document does not name, or a body outside its schema;
what the document allows is accepted, and what it does not allow is refused. PROOF_SEED repeats what was drawn.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pymongo
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode

from tests.fuzzing import CALLERS, MODES, OPERATIONS, SPENDS_ITS_CALLER, Fuzzed, fuzzed_server, operation_id
from tests.scale import SEED

pytestmark = pytest.mark.long

# Of each mode: 112 in all. The two that open most are let in everywhere, the others mostly show who is not.
EXAMPLES: Mapping[str, int] = {**dict.fromkeys(CALLERS, 4), "system_admin": 16, "API key and token": 16}


@pytest.fixture(scope="module")
def fuzzed(
    mongo: pymongo.MongoClient[dict[str, Any]], data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fuzzed]:
    with fuzzed_server(tmp_path_factory.mktemp("fuzz") / "server.log", mongo, data_dir, "fuzz") as fuzzed:
        yield fuzzed


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_answers_as_the_document_says(fuzzed: Fuzzed, method: str, path: str) -> None:
    for caller, examples in EXAMPLES.items():
        for mode in MODES:
            fuzz(fuzzed, fuzzed.schema[path][method], caller, mode, examples)


def fuzz(fuzzed: Fuzzed, operation: APIOperation, caller: str, mode: GenerationMode, examples: int) -> None:
    headers = CALLERS[caller](fuzzed.psp)

    @seed(f"{SEED} {caller} {mode}")
    @settings(
        max_examples=examples,
        phases=[Phase.generate],  # a shorter example would be asked of a server that has changed meanwhile
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        nonlocal headers
        response = fuzzed.send(case, headers)
        if operation_id(operation) in SPENDS_ITS_CALLER and response.status_code < 300:
            headers = CALLERS[caller](fuzzed.psp)

    try:
        ask()
    except Unsatisfiable:
        # Nothing of such a request can be wrong: it has no parameters, or they may be anything.
        assert mode is GenerationMode.NEGATIVE


def test_all_of_it_was_asked_for(fuzzed: Fuzzed, record_property: Any) -> None:
    assert fuzzed.requests >= len(OPERATIONS)
    record_property(
        "proof", f"{fuzzed.requests} drawn requests to {len(OPERATIONS)} operations, answered as documented"
    )
