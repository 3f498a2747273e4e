"""What arrives together travels together: concurrent callers of one process share their round trips.

The data-loader and group-commit pattern. The first caller starts a batch; whoever comes while it is under way
waits for the next one. Nothing waits when nothing else is under way, and nothing is kept afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Coalescer(Generic[K, V]):
    """Turns a batch operation into one that is called for a single item.

    `run` receives the items of one batch in order and returns one result each; a result that is an exception
    is raised to its own caller only. An exception raised by `run` itself reaches every caller of the batch.
    """

    def __init__(self, run: Callable[[list[K]], Awaitable[Sequence[V | Exception]]], *, max_batch: int = 256):
        self._run = run
        self._max_batch = max_batch
        self._waiting: list[tuple[K, asyncio.Future[V]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: K) -> V:
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            # A task starts once the callbacks that are ready now have run, so those that become ready in the
            # same turn of the loop share the batch. It is not the caller's: a caller that goes away ends nothing.
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
                await self._settle(batch)
        finally:
            self._task = None
            for _, future in self._waiting:
                future.cancel()

    async def _settle(self, batch: list[tuple[K, asyncio.Future[V]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
