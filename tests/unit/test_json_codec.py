"""What is read as JSON, and what is not."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.json_codec import MAX_DEPTH, JsonInvalid, canonical, dumps, loads

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back_the_same(value: object) -> None:
    assert loads(dumps(value)) == loads(canonical(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        '{"a": -Infinity}',
        '{"a": 1, "a": 1}',
        '{"b": [{"a": 1, "\\u0061": 2}]}',
        '"\\ud800"',
        '{"\\udfff": 1}',
        '["\\ud800\\ud800"]',
        '"a\\u0000b"',
        '"a\0b"',
        "",
        " ",
        "{",
        "[1,]",
        "{'a': 1}",
        "01",
        "1 2",
        "\ufeff{}",
        "9" * 5000,
        "-" + "9" * 5000,
        "1e" + "9" * 30,
        "[" * 33 + "]" * 33,
        '{"a":' * 33 + "1" + "}" * 33,
        "[" * 60_000,
        '"' + "[" * 40,
    ],
)
def test_what_is_not_readable_is_refused(text: str) -> None:
    with pytest.raises(JsonInvalid):
        loads(text.encode())


@pytest.mark.parametrize("raw", [b"\xff", b'"\xed\xa0\x80"', b'"\xc0\x80"', '{"a": 1}'.encode("utf-16")])
def test_bytes_that_are_not_utf_8_are_refused(raw: bytes) -> None:
    with pytest.raises(JsonInvalid):
        loads(raw)


def test_nesting_is_read_up_to_the_limit_and_brackets_in_texts_do_not_count() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert loads(json.dumps(["[{" * 100, '\\"[{' * 100]).encode()) == ["[{" * 100, '\\"[{' * 100]
    assert len(loads(b"[" + b",".join([b"{}"] * 100) + b"]")) == 100


def test_a_surrogate_pair_is_a_character() -> None:
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("text", ["100.10000000000000001", "1e999999", "0.1", "-0.0", "1E-400"])
def test_a_number_with_a_fraction_keeps_every_digit(text: str) -> None:
    value = loads(text.encode())

    assert isinstance(value, Decimal)
    assert value == Decimal(text)


def test_output_is_compact_ascii_and_always_valid_json() -> None:
    assert dumps({"b": "\u00e9\U0001f600", "a": [1, 2]}) == b'{"b":"\\u00e9\\ud83d\\ude00","a":[1,2]}'
    assert canonical({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    assert dumps([float("nan"), float("inf")]) == b"[null,null]"
