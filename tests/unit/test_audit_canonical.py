"""The bytes of an audit row that its link covers: no two rows that differ have the same ones."""

import json
from ast import literal_eval
from datetime import UTC, datetime
from typing import Any

from bson.code import Code
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import Action
from domain.audit_chain import canonical

_TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda one: one.replace(microsecond=one.microsecond // 1000 * 1000))
_DATES_AS_TEXT = _TIMES.map(lambda one: one.isoformat(timespec="milliseconds"))
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_NAMES = st.text(max_size=3) | st.sampled_from(["at", "$date", "$bytes", "$", "$$", "$$date", "hash"])
_VALUES = st.recursive(
    _PLAIN | _TIMES | _DATES_AS_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_a_row_can_be_read_back_from_its_bytes(value: object) -> None:
    """So two that differ never have the same."""
    read = json.loads(canonical({"value": value}), object_hook=_read)

    assert read == {"value": value}


def _read(read: dict[str, Any]) -> object:
    match list(read.items()):
        case [("$date", text)]:
            return datetime.fromisoformat(text)
        case [("$bytes", text)]:
            return literal_eval(text)
    return {name.removeprefix("$"): value for name, value in read.items()}


def test_a_time_is_told_from_a_document_that_looks_like_one() -> None:
    time = {"at": datetime(2026, 11, 22, tzinfo=UTC)}

    assert canonical(time) == b'{"at":{"$date":"2026-11-22T00:00:00.000+00:00"}}'
    assert canonical({"at": {"$date": "2026-11-22T00:00:00.000+00:00"}}) != canonical(time)


def test_a_text_is_told_from_code_and_an_action_is_its_text() -> None:
    assert canonical({"target_id": Code("user_1")}) != canonical({"target_id": "user_1"})
    assert canonical({"action": Action.LOGGED_IN}) == canonical({"action": "session.login"})
