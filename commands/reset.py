"""`reset`: an empty database, as after the first start."""

import json

import typer

from core.config import Settings
from core.errors import Forbidden
from services.audit import COMMAND_LINE
from services.psp import open_psp


async def reset(settings: Settings) -> int:
    """How many documents were deleted. Raises ConfigurationError, Forbidden."""
    if settings.production:  # before anything is opened
        raise Forbidden("A server in production is never reset: ENVIRONMENT is production.")
    async with open_psp(settings, is_worker=False) as psp:
        return await psp.reset.reset(COMMAND_LINE, settings.mongodb_db)


def confirmed(settings: Settings) -> bool:
    """Ask the person who gave the command. False where they do not want it, or where there is nobody to ask."""
    place = "the database in DATA_DIR" if settings.mongodb_uri is None else "the database at MONGODB_URI"
    typer.echo(
        f"Everything in {settings.mongodb_db!r} ({place}) but its system_admins and the audit log will be deleted."
    )
    try:
        return typer.confirm("Delete it?")
    except typer.Abort:
        return False


def tell(deleted: int, database_name: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"database": database_name, "deleted": deleted}))
    else:
        typer.echo(
            f"{deleted} documents deleted. {database_name!r} is empty but for its system_admins and the audit log."
        )
