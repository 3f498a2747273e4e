"""What arrives together travels together: concurrent callers of one process share their round trips.

The data-loader and group-commit pattern. The first caller starts a batch; whoever comes while it is under way
waits for the next one. Nothing waits when nothing else is under way, and nothing is kept afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

PATIENCE_S = 0.5

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
        """Whose end is waited for; None where nothing is under way that is worth waiting for."""
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, item: K) -> V:
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._start()
        return await future

    def _start(self) -> None:
        # A task starts once the callbacks that are ready now have run, so those that become ready in the same turn of
        # the loop share the batch. It is not the caller's: a caller that goes away ends nothing.
        self._task = asyncio.create_task(self._drain())
        self._running.add(self._task)
        self._task.add_done_callback(self._running.discard)

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._go_ahead)
            try:
                await self._settle(batch)
            finally:
                patience.cancel()
            if self._task is not asyncio.current_task():
                return  # those who came later have gone ahead
        self._task = None

    def _go_ahead(self) -> None:
        """The batch under way takes long (the database is away, say): who comes now no longer waits for it."""
        self._task = None
        if self._waiting:
            self._start()

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
