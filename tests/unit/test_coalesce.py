"""What arrives together travels together, and everybody gets their own result."""

import asyncio

import pytest

from core.coalesce import Coalescer


class Round:
    """A batch operation that notes its batches and waits until it may end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_end = asyncio.Event()

    async def __call__(self, items: list[int]) -> list[int | Exception]:
        self.batches.append(items)
        await self.may_end.wait()
        return [LookupError(item) if item < 0 else item * 10 for item in items]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lone_caller_waits_for_nobody() -> None:
    run = Round()
    run.may_end.set()

    assert await Coalescer(run)(1) == 10
    assert run.batches == [[1]]


async def test_callers_that_come_in_the_same_turn_share_a_batch() -> None:
    run = Round()
    run.may_end.set()
    call = Coalescer(run)

    assert await asyncio.gather(*(call(item) for item in range(5))) == [0, 10, 20, 30, 40]
    assert run.batches == [[0, 1, 2, 3, 4]]


async def test_whoever_comes_while_a_batch_is_under_way_shares_the_next_one() -> None:
    run = Round()
    call = Coalescer(run)
    first = asyncio.create_task(call(1))
    await settle()
    later = [asyncio.create_task(call(item)) for item in (2, 3)]
    await settle()
    assert run.batches == [[1]]

    run.may_end.set()

    assert await asyncio.gather(first, *later) == [10, 20, 30]
    assert run.batches == [[1], [2, 3]]


async def test_a_batch_is_bounded() -> None:
    run = Round()
    run.may_end.set()
    call = Coalescer(run, max_batch=2)

    await asyncio.gather(*(call(item) for item in range(5)))

    assert [len(batch) for batch in run.batches] == [2, 2, 1]


async def test_an_exception_reaches_its_own_caller_only() -> None:
    run = Round()
    run.may_end.set()
    call = Coalescer(run)

    good, bad = await asyncio.gather(call(1), call(-1), return_exceptions=True)

    assert good == 10
    assert isinstance(bad, LookupError)


async def test_a_batch_that_fails_fails_for_everybody_in_it_and_the_next_one_works() -> None:
    healthy = False

    async def run(items: list[int]) -> list[int | Exception]:
        if not healthy:
            raise ConnectionError
        return list(items)

    call = Coalescer(run)
    failed = await asyncio.gather(call(1), call(2), return_exceptions=True)
    healthy = True

    assert [type(error) for error in failed] == [ConnectionError, ConnectionError]
    assert await call(3) == 3


async def test_a_caller_that_goes_away_takes_nobody_along() -> None:
    run = Round()
    call = Coalescer(run)
    leaving, staying = asyncio.create_task(call(1)), asyncio.create_task(call(2))
    await settle()

    leaving.cancel()
    run.may_end.set()

    assert await staying == 20
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_nothing_is_kept_between_batches() -> None:
    run = Round()
    run.may_end.set()
    call = Coalescer(run)

    await call(1)
    await call(1)

    assert run.batches == [[1], [1]]
