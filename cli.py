"""The command line: `python cli.py --help`."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from commands import deliveries
from commands.listen import listen
from commands.options import Json, Url
from commands.signatures import sign, verify
from commands.trigger import trigger
from core.common_passwords import is_common
from core.config import Settings, load_address, load_settings
from core.errors import ConfigurationError, EmailTaken, Forbidden
from core.logs import pass_all_logs_through, write_logs
from domain.redaction import redact_text

# What a server is made of takes a second to import: those commands that need it import it themselves.

T = TypeVar("T")
# One second more than an operation of the database takes at most: who waits for one that is away has the 503 by then.
# With what the workers may take (STOP_S in workers/runner.py) a process ends within ten seconds.
GRACEFUL_SHUTDOWN_S = 5
# Longer than clients and load balancers keep an idle connection, so that it's they who close it: whoever sends into a
# connection that the server is closing gets no answer, and can't know whether the request was carried out.
KEEP_ALIVE_S = 75
app = typer.Typer(
    help="Mock PSP: a payment service provider to test against.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.command()
def serve(
    reload: Annotated[bool, typer.Option("--reload", help="Start again whenever a source file changes.")] = False,
) -> None:
    """Serve the API on HOST and PORT, with the workers inside unless WORKER=off."""
    import uvicorn

    from routers.http_protocol import LimitedHttp

    settings = _settings()
    write_logs(as_json=settings.production)
    if settings.mongodb_uri is None:
        _start_mongodb_ahead(settings.data_dir)
    typer.echo(f"\n  Mock PSP   {settings.url}/api/v1\n  Try it     {settings.url}/docs\n")
    uvicorn.run(
        "main:app",
        host=settings.host,
        port=settings.port,
        reload=reload,
        http=LimitedHttp,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whose word counts, TRUSTED_PROXIES says (routers/forwarded.py)
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


@app.command()
def worker() -> None:
    """Run the workers alone: payments to the bank, events, webhooks. Any number may run beside each other."""
    from commands.processes import work

    settings = _settings()
    pass_all_logs_through(redact_text)
    write_logs(as_json=settings.production)
    _run(work(settings))


@app.command()
def bank(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8100,
) -> None:
    """Serve the bank simulator as a process of its own, for servers and workers that are given its BANK_URL.

    It keeps its books in the same MongoDB. It asks nobody who they are: leave it on loopback.
    """
    import uvicorn

    from bank.app import create_app

    settings = _settings()
    pass_all_logs_through(redact_text)
    write_logs(as_json=settings.production)
    base_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    typer.echo(f"\n  Mock bank   {base_url}/docs\n  To use it   BANK_URL={base_url}\n")
    uvicorn.run(
        create_app(settings),
        host=host,
        port=port,
        server_header=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


@app.command("create-admin")
def create_admin(
    email: Annotated[str, typer.Option(help="The new system_admin's e-mail address.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input instead of making one.")
    ] = False,
) -> None:
    """Make a system_admin, for instance when the first one's password is lost."""
    from commands.processes import create_system_admin

    settings = _settings()
    password = sys.stdin.readline().rstrip("\n") if password_stdin else None
    if password is not None and not 8 <= len(password) <= 64:
        _fail("A password has 8 to 64 characters.")
    if password is not None and settings.production and is_common(password):
        _fail("This is one of the 10,000 most common passwords.")
    if email.count("@") != 1 or not 3 <= len(email) <= 254:
        _fail("An e-mail address is needed.")
    try:
        _run(create_system_admin(settings, email, password))
    except EmailTaken as error:
        _fail(str(error))


@app.command("rotate-keys")
def rotate_keys() -> None:
    """Encrypt everything anew under the first key of ENCRYPTION_KEY, so that the keys after it can go.

    Every process must have been started with that list of keys before. May be stopped anywhere and run again.
    """
    from commands.processes import rotate_keys as rotate

    if unreadable := _run(rotate(_settings())):
        _fail(
            f"{unreadable} could not be opened with any key of ENCRYPTION_KEY, and stay as they are. "
            "Put the key they were made with at the end of the list, and run this again."
        )
    typer.echo("Nothing is left under another key: the keys after the first can be removed from ENCRYPTION_KEY.")


@app.command()
def openapi(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
) -> None:
    """Print the OpenAPI document, as a server has it at /openapi.json. Needs no server and no database.

    python cli.py openapi -o openapi.json

    npx openapi-typescript openapi.json --default-non-nullable=false -o mock-psp.ts
    """
    from commands.documents import write_openapi
    from main import app as api  # noqa: TID251 - what is described is the application

    write_openapi(api.openapi(), output)


@app.command()
def postman(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIRECTORY", help="Where the two files are written.")
    ] = Path(),
    url: Url = None,
) -> None:
    """Write a Postman collection with every request, examples and tests, and the environment that goes with it.

    Needs no server and no database. Import both files into Postman, or run them against a server:

    python cli.py postman -o postman && npx newman run postman/*collection.json -e postman/*environment.json
    """
    from commands.documents import write_postman
    from main import app as api  # noqa: TID251 - what is described is the application

    write_postman(api.openapi(), output, url)


@app.command()
def status(url: Url = None, as_json: Json = False) -> None:
    """Say whether the server is ready, MongoDB answers, which workers live, and whether they keep up.

    With --url only that server is asked (/health/ready); without, the one of
    this machine's settings, and its database. A server is degraded where it
    answers and is not ready. A worker is behind where something has been due for
    more than 30 seconds, and lives where it has shown a sign of life within 30.
    Exit codes: 0 all is well, 1 something is not, 2 the settings are wrong.

    python cli.py status

    until python cli.py status --url http://127.0.0.1:8000; do sleep 1; done
    """
    from commands import status as looking

    settings = None if url else _settings()
    server = url or load_address().url
    report = _run(looking.look(server, settings))
    looking.tell(report, as_json=as_json)
    if not report.well:
        raise typer.Exit(1)


@app.command()
def seed(
    payments: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many, of five merchants.")] = 1_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same number makes the same data.")] = 1,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day (UTC) before which it all happened; today if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fill the database with merchants, their customers, and half a year of payments, refunds and webhooks.

    Servers may run meanwhile. A run that was stopped is completed by giving the
    command again, and a larger --payments adds to what is there; another --seed
    makes other merchants. Never in production. Exit codes: 0 it is done, 2 it
    cannot be done.

    python cli.py seed

    python cli.py seed --payments 1000000 --seed 7
    """
    from commands import seed as seeding
    from services.seeding import today

    before = until.replace(tzinfo=UTC) if until else today()
    if before > datetime.now(UTC):
        raise typer.BadParameter("This day has not come yet.", param_hint="--until")
    try:
        merchants = _run(seeding.fill(_settings(), seed, payments, before))
    except (EmailTaken, Forbidden) as error:
        _fail(str(error))
    seeding.tell(merchants, seed, payments, as_json=as_json)


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete everything but the system_admins and the audit log; never in production.

    Servers and workers may go on meanwhile. POST /api/v1/admin/reset does the
    same. Exit codes: 0 it is done, 1 you said no, or nobody could be asked, 2 it
    cannot be done.

    python cli.py reset --yes
    """
    from commands import reset as resetting

    settings = _settings()
    if not (yes or settings.production or resetting.confirmed(settings)):
        typer.echo("Nothing was deleted. --yes deletes without asking.", err=True)
        raise typer.Exit(1)
    try:
        deleted = _run(resetting.reset(settings))
    except Forbidden as error:
        _fail(str(error))
    resetting.tell(deleted, settings.mongodb_db, as_json=as_json)


audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)


@audit_app.command("verify")
def verify_audit(
    head: Annotated[
        str | None,
        typer.Option(metavar="SEQUENCE:HASH", help="A head that an earlier run printed, which must still be in it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the audit log's hash chain, also while servers write, and say where it does not fit.

    Print the head, and keep it elsewhere: --head shows, later on, whether the end
    of the log was cut off or made anew. Exit codes: 0 whole, 1 broken, 2 the
    question cannot be answered.
    """
    from commands import audit

    if not audit.tell(_run(audit.verify(_settings(), head)), as_json=as_json):
        raise typer.Exit(1)


app.add_typer(audit_app, name="audit")
app.command()(listen)
app.command()(trigger)
app.add_typer(deliveries.events_app, name="events")
app.add_typer(deliveries.deliveries_app, name="deliveries")
app.command()(sign)
app.command()(verify)


def _start_mongodb_ahead(data_dir: Path) -> None:
    """It outlives this use by some seconds: the application, imported meanwhile, joins it and tells what is wrong."""

    def start() -> None:
        from core import embedded_mongo
        from core.mongo_files import EmbeddedMongoError

        with contextlib.suppress(EmbeddedMongoError):
            embedded_mongo.start(data_dir).close()

    threading.Thread(target=start, name="mongodb ahead", daemon=True).start()


def _settings() -> Settings:
    try:
        return load_settings()
    except ConfigurationError as error:
        _fail(str(error))


def _run(work: Coroutine[None, None, T]) -> T:
    from uvicorn.loops.auto import auto_loop_factory

    try:
        with asyncio.Runner(loop_factory=auto_loop_factory(use_subprocess=False)) as runner:
            return runner.run(work)
    except ConfigurationError as error:
        _fail(str(error))


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"Error: {sentence}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
