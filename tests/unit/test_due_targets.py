"""Targets wait for a look in the order in which they became due."""

from domain.due_targets import DueTargets


def test_targets_keep_the_order_in_which_they_became_due() -> None:
    due = DueTargets()
    for name in "abca":
        due.add(name)

    assert due.due(0) == ["a", "b", "c"]


def test_who_was_looked_at_and_has_more_waits_behind_the_others() -> None:
    due = DueTargets()
    for name in "abc":
        due.add(name)

    due.discard("a")
    due.add("a")

    assert due.due(0) == ["b", "c", "a"]


def test_what_is_due_later_is_not_seen_before() -> None:
    due = DueTargets()
    due.add_at("later", 5)
    due.add_at("sooner", 3)

    assert (due.due(2), due.next_at_s()) == ([], 3)
    assert (due.due(3), due.next_at_s()) == (["sooner"], 5)
    assert (due.due(9), due.next_at_s()) == (["sooner", "later"], None)
