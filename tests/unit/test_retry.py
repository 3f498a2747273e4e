"""When a webhook is sent again: the schedule, and what the receiver asks for."""

from datetime import UTC, datetime

import pytest

from domain import retry

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("43200", 43_200),
        ("43201", 43_200),
        ("9" * 5_000, 43_200),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 21 Nov 2050 12:00:00 GMT", 43_200),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("\u0661", None),
        ("soon", None),
        ("nan", None),
        ("Sat, 99 Nov 2026 12:01:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +9999999999999999999999999", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 99999999999:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 43_200),
    ],
)
def test_a_receiver_may_ask_for_up_to_twelve_hours(header: str, asked_s: float | None) -> None:
    assert retry.after_s(header, NOW) == asked_s


def test_the_schedule_is_stretched_by_a_fifth_at_most_and_ends() -> None:
    delays_s = [retry.delay_s([10, 20], 2) for _ in range(100)]

    assert all(delay_s is not None and 20 <= delay_s <= 24 for delay_s in delays_s)
    assert retry.delay_s([10, 20], 3) is None
