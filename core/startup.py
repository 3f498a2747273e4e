"""The end of a start: what is told of one that failed, and what memory is settled after one that did not."""

import gc

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COLLECT_AFTER = 10_000
"""So many more objects. Python's own 700 are there again after a few requests: collecting took a tenth of the time."""


def settle_memory() -> None:
    """What exists now lives as long as the process: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


class BriefStartErrors:
    """A start that failed is told in the last line of its traceback: our errors are sentences that say what to do."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_briefly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = (
                    message["message"].strip().splitlines()[-1].partition(": ")[2] or message["message"]
                )
            await send(message)

        await self._app(scope, receive, send_briefly if scope["type"] == "lifespan" else send)
