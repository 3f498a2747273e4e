"""What is told of a start that failed."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
