"""Commands that are no clients of the API: they open the database themselves, in this process."""

import asyncio
import signal

import typer

from commands.progress import progress
from core.config import Settings
from core.metrics_server import served_metrics
from core.process_figures import counted
from core.startup import settle_memory
from services.psp import open_psp
from workers.runner import running_workers


async def work(settings: Settings) -> None:
    """Until SIGINT or SIGTERM. Raises ConfigurationError."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        counted("worker", settings.data_dir),
        served_metrics(settings),
        open_psp(settings, is_worker=True) as psp,
        running_workers(psp),
    ):
        settle_memory()
        typer.echo("Worker running. Ctrl-C stops it.")
        await stopped.wait()


async def create_system_admin(settings: Settings, email: str, password: str | None) -> None:
    """With a password made here where none is given. Raises ConfigurationError, EmailTaken."""
    async with open_psp(settings, is_worker=False) as psp:
        made = await psp.accounts.create_system_admin(email, password)
    typer.echo(f"system_admin {made.email} made.")
    if password is None:
        typer.echo(f"Password, shown this once: {made.password}")


async def rotate_keys(settings: Settings) -> int:
    """Encrypt everything under the newest key; how much could not be opened. Raises ConfigurationError."""
    renewed = unreadable = 0
    async with open_psp(settings, is_worker=False) as psp:
        with progress() as bar:
            task = bar.add_task("Encrypting", total=await psp.key_rotation.total())
            async for batch in psp.key_rotation.rotate():
                renewed += batch.renewed
                unreadable += batch.unreadable
                bar.update(task, advance=batch.documents, description=f"Encrypting {batch.place}")
    typer.echo(f"{renewed} {'value' if renewed == 1 else 'values'} encrypted anew under the first key.")
    return unreadable
