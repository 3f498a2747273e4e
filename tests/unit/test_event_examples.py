"""The examples of events are such as the product itself makes."""

import pytest

from schemas.event_examples import EVENT_EXAMPLES
from schemas.event_types import EVENT_TYPES, matching_types
from schemas.events import EventOut, event_model


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_example_has_the_fields_of_its_schema_and_no_others(event_type: str) -> None:
    example = EVENT_EXAMPLES[event_type]

    assert (example["event"], example["type"]) == (event_type, event_type)
    for model in (event_model(event_type), EventOut):
        assert model.model_validate(example).model_dump(mode="json", by_alias=True) == example


@pytest.mark.parametrize("event_type", [*matching_types("payment.*"), *matching_types("refund.*")])
def test_an_example_shows_the_status_that_its_type_tells_of(event_type: str) -> None:
    _, _, status = event_type.partition(".")

    data = EVENT_EXAMPLES[event_type]["data"]

    assert data["status"] == {"created": "pending"}.get(status, status)
    assert (data["failure"] is not None) == (status == "failed")
    assert EVENT_EXAMPLES[event_type]["timestamp"] == data["updatedAt"]


def test_a_pattern_stands_for_one_type_a_kind_or_all() -> None:
    assert matching_types("payment.completed") == ("payment.completed",)
    assert matching_types("refund.*") == ("refund.created", "refund.succeeded", "refund.failed")
    assert matching_types("*") == tuple(EVENT_TYPES)


@pytest.mark.parametrize("pattern", ["", ".", "*.*", ".*", "payment", "payment.", "payment.com*", "Payment.*", "$ne"])
def test_a_pattern_that_stands_for_none_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"no event type.*/docs lists"):
        matching_types(pattern)
