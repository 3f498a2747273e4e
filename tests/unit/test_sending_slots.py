"""Targets take turns, and those in trouble hold no more than a quarter of the slots."""

import random
from collections import Counter

import pytest

from domain.sending_slots import SLOW_S, Result, SendingSlots

SLOTS, LIMIT = 64, 8


def proven(slots: SendingSlots, *names: str) -> None:
    """Each of the targets has answered until it may have as much under way as it can."""
    for name in names:
        for _ in range(LIMIT):
            slots.begin(name, 0, LIMIT)
            slots.end(name, 0, 0, Result.SUCCESS)
            slots.record()


def fill(slots: SendingSlots, waiting: list[str], now_s: float = 0) -> Counter[str]:
    """Begin all that there is room for."""
    begun = Counter[str]()
    for name, count in slots.room(waiting, now_s).items():
        begun[name] += count
        for _ in range(count):
            slots.begin(name, now_s, LIMIT)
    return begun


def test_a_target_that_answers_may_have_more_and_more_under_way() -> None:
    slots = SendingSlots(SLOTS)
    seen = []
    for now_s in range(10):
        begun = fill(slots, ["a"], now_s)["a"]
        seen.append(begun)
        for _ in range(begun):
            slots.end("a", now_s, now_s, Result.SUCCESS)
            slots.record()

    assert seen[0] == 1
    assert seen == sorted(seen)
    assert seen[-1] == LIMIT


@pytest.mark.parametrize(("result", "left"), [(Result.OVERLOAD, LIMIT // 2), (Result.FAILURE, LIMIT), (None, LIMIT)])
def test_overload_halves_what_a_target_may_have_under_way(result: Result | None, left: int) -> None:
    slots = SendingSlots(SLOTS)
    proven(slots, "a")
    slots.begin("a", 0, LIMIT)
    slots.end("a", 0, 0, result)
    slots.record()

    assert fill(slots, ["a"]) == {"a": left}


def test_a_target_always_has_room_for_one() -> None:
    slots = SendingSlots(SLOTS)
    for _ in range(20):
        slots.begin("a", 0, LIMIT)
        slots.end("a", 0, 0, Result.OVERLOAD)
        slots.record()

    assert fill(slots, ["a"]) == {"a": 1}


@pytest.mark.parametrize("result", [Result.FAILURE, Result.OVERLOAD])
def test_failing_targets_hold_a_quarter_of_the_slots_however_many_they_are(result: Result) -> None:
    slots = SendingSlots(SLOTS)
    failing = [f"failing{number}" for number in range(100)]
    proven(slots, "a", *failing)
    for name in failing:
        slots.begin(name, 0, LIMIT)
        slots.end(name, 0, 0, result)
        slots.record()

    begun = fill(slots, [*failing, "a"])

    assert begun["a"] == LIMIT
    assert begun.total() - LIMIT == SLOTS // 4


def test_targets_that_nobody_knows_hold_a_quarter_of_the_slots() -> None:
    slots = SendingSlots(SLOTS)

    assert fill(slots, [f"new{number}" for number in range(100)]).total() == SLOTS // 4


def test_a_target_that_does_not_answer_loses_trust_while_it_hangs() -> None:
    slots = SendingSlots(SLOTS)
    hanging = ["one", "two"]
    proven(slots, "a", *hanging)
    assert fill(slots, hanging).total() == 2 * LIMIT

    later = SLOW_S + 1
    assert fill(slots, [f"new{number}" for number in range(100)], later).total() == 0
    assert fill(slots, ["a"], later) == {"a": LIMIT}


def test_a_slow_success_earns_no_trust() -> None:
    slots = SendingSlots(SLOTS)
    slots.begin("drips", 0, LIMIT)
    slots.end("drips", 0, SLOW_S + 1, Result.SUCCESS)
    slots.record()

    assert fill(slots, ["drips"]) == {"drips": 1}


def test_targets_get_one_each_in_their_order_when_slots_are_few() -> None:
    slots = SendingSlots(10)
    names = [f"target{number}" for number in range(40)]
    proven(slots, *names)

    assert slots.room(names, 0) == dict.fromkeys(names[:10], 1)
    assert slots.room(names[:6], 0) == {**dict.fromkeys(names[:4], 2), **dict.fromkeys(names[4:6], 1)}


def test_a_target_that_allows_very_much_has_no_more_than_a_quarter_of_the_slots() -> None:
    slots = SendingSlots(SLOTS)
    for _ in range(SLOTS):
        slots.begin("a", 0, SLOTS)
        slots.end("a", 0, 0, Result.SUCCESS)
        slots.record()

    assert slots.room(["a"], 0) == {"a": SLOTS // 4}
    assert slots.window("a", 0) == SLOTS // 4


def test_nothing_is_ever_overdrawn() -> None:
    chance = random.Random(1)
    slots = SendingSlots(SLOTS)
    names = [f"target{number}" for number in range(30)]
    under_way: list[tuple[str, float]] = []
    for step in range(3000):
        now_s = step / 10
        for name, count in slots.room(chance.sample(names, 20), now_s).items():
            for _ in range(chance.randint(0, count)):
                slots.begin(name, now_s, LIMIT)
                under_way.append((name, now_s))
        assert len(under_way) <= SLOTS
        assert max(Counter(name for name, _ in under_way).values(), default=0) <= LIMIT
        for one in chance.sample(under_way, len(under_way) // 3):
            under_way.remove(one)
            slots.end(*one, now_s, chance.choice([*Result, None]))
            slots.record()


def test_a_targets_own_limit_holds_and_applies_as_soon_as_it_changes() -> None:
    slots = SendingSlots(SLOTS)
    proven(slots, "a")

    slots.begin("a", 0, 3)
    slots.end("a", 0, 0, Result.SUCCESS)
    slots.record()
    assert slots.room(["a"], 0) == {"a": 3}

    slots.begin("a", 0, 20)
    slots.end("a", 0, 0, Result.SUCCESS)
    slots.record()
    assert slots.room(["a"], 0)["a"] > 3


def test_what_is_not_written_down_yet_keeps_its_slot_and_not_its_targets_turn() -> None:
    slots = SendingSlots(SLOTS)
    names = [f"target{number}" for number in range(SLOTS // LIMIT)]
    proven(slots, *names)
    assert sum(fill(slots, names).values()) == SLOTS
    for _ in range(LIMIT):
        slots.end(names[0], 0, 0, Result.SUCCESS)

    assert slots.room(names, 0) == {}

    slots.record()
    assert slots.room(names, 0) == {names[0]: 1}
