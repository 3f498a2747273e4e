"""What the OpenAPI document links together works together: schemathesis walks from register to login, from a charge to
its refund, from a customer to its cards, with every kind of credential, and checks every answer on the way.

PROOF_SEED repeats what was drawn.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymongo
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import Case, Response
from schemathesis.core.failures import FailureGroup

from tests.fuzzing import CALLERS, Fuzzed, Headers, fuzzed_server
from tests.scale import SEED

pytestmark = pytest.mark.long

RUNS, WALKS, STEPS = 12, 3, 14


# Operations that succeed on the way, whatever is drawn; usually they are twice as many.
FEWEST = {**dict.fromkeys(CALLERS, 3), "system_admin": 15, "API key and token": 20}
HOW = settings(
    max_examples=WALKS,
    stateful_step_count=STEPS,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def fuzzed(
    mongo: pymongo.MongoClient[dict[str, Any]], data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fuzzed]:
    with fuzzed_server(tmp_path_factory.mktemp("walks") / "server.log", mongo, data_dir, "walks") as fuzzed:
        yield fuzzed


@pytest.mark.parametrize("caller", CALLERS)
def test_what_is_linked_works_together(fuzzed: Fuzzed, caller: str, record_property: Any) -> None:
    before, walked, failures = fuzzed.requests, set[str](), list[FailureGroup]()

    class Walk(fuzzed.schema.as_state_machine()):  # type: ignore[misc]
        headers: Headers

        def setup(self) -> None:
            # Of its own: it may log out, be deleted, or lose its password on the way.
            self.headers = CALLERS[caller](fuzzed.psp)

        def call(self, case: Case, **options: Any) -> Response:
            return case.call(base_url=fuzzed.url, headers=self.headers, session=fuzzed.session)

        def validate_response(self, response: Response, case: Case, *_: Any, **options: Any) -> None:
            if response.status_code < 300:
                walked.add(case.operation.label)
            try:
                fuzzed.check(case, response, self.headers, recorder=self.recorder)
            except FailureGroup as failure:
                failures.append(failure)

    for run in range(RUNS):
        # What is answered decides what can follow, and ids are never the same: Hypothesis notices where equal draws
        # lead elsewhere, and ends the run.
        with suppress(FlakyStrategyDefinition):
            seed(f"{SEED} {caller} {run}")(Walk).run(settings=HOW)

    if failures:
        raise failures[0]
    assert len(walked) >= FEWEST[caller], walked
    record_property("proof", f"{caller}: {fuzzed.requests - before} requests along links, {len(walked)} operations")
