"""Ids: a prefix, and 128 bits that sort by creation where they can."""

import re
import time
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from core import clock
from core.ids import derived, derived_at, fresh

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


def test_ids_of_a_moment_sort_by_it_and_are_the_same_each_time() -> None:
    now = clock.now()
    made = [derived_at("txn", now + timedelta(milliseconds=number), "seed") for number in range(300)]

    assert made == sorted(made)
    assert all(FORM.fullmatch(one) for one in made)
    assert derived_at("txn", now, "seed") == made[0] != derived_at("txn", now, "see", "d")
    assert (
        derived_at("txn", now - timedelta(days=1), "seed") < fresh("txn") < derived_at("txn", now + timedelta(days=1))
    )
