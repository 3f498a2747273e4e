"""Ids: a prefix, and 128 bits that sort by creation where they can."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from core.ids import derived, fresh

FORM = re.compile(r"txn_[0-9a-hjkmnp-tv-z]{26}")


def test_a_fresh_id_is_its_prefix_and_26_characters_of_crockfords_base32() -> None:
    assert FORM.fullmatch(fresh("txn"))


def test_ids_made_later_sort_later() -> None:
    made = []
    for _ in range(5):
        made.append(fresh("txn"))
        time.sleep(0.002)

    assert made == sorted(made)


def test_ids_made_in_one_millisecond_differ() -> None:
    assert len({fresh("txn") for _ in range(10_000)}) == 10_000


def test_a_derived_id_is_always_the_same_and_looks_like_any_other() -> None:
    assert derived("txn", "user_1", "route", "key") == derived("txn", "user_1", "route", "key")
    assert FORM.fullmatch(derived("txn", "user_1", "route", "key"))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_parts_give_another_id(one: list[str], other: list[str]) -> None:
    assert (derived("txn", *one) == derived("txn", *other)) == (one == other)
