"""Looking again and again, over every absence of the server."""

import asyncio
from collections.abc import Awaitable, Callable

import typer

from commands.api import Unavailable

POLL_S = 0.5


async def keep_looking(look: Callable[[], Awaitable[None]]) -> None:
    """For ever. A server that is away is waited for; that it is, is said once."""
    away = False
    while True:
        try:
            await look()
            if away:
                typer.echo("It answers again.", err=True)
            away = False
        except Unavailable as error:
            if not away:
                typer.echo(f"{error} Waiting for it.", err=True)
            away = True
        await asyncio.sleep(POLL_S)
