"""`status`: whether the server is ready, MongoDB answers, which workers live, and whether they keep up."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import typer

from commands.api import API_PATH
from core.clock import rfc3339
from core.config import Settings
from core.errors import DatabaseDown, NotReady
from domain.heartbeats import Heartbeat
from services.backlog import Backlog
from services.health import RECENT_S
from services.psp import open_psp

BEHIND_S = 30
"""What has been due for longer nobody works on, or too few do."""
_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3)


@dataclass(frozen=True, slots=True)
class Server:
    """What answers at the URL."""

    state: str
    """`up`, `degraded` (it answers, and is not ready), or `down`."""
    version: str | None = None
    reason: str = ""
    """Why it is degraded."""


@dataclass(frozen=True, slots=True)
class Report:
    url: str
    server: Server
    mongodb: str | None
    """`up` or `down`; None where it was not asked."""
    backlog: Backlog | None
    workers: list[Heartbeat] | None
    """Those that live; None where nobody could look."""
    reason: str = ""
    """Why MongoDB is down, or was not asked."""

    @property
    def worker(self) -> str | None:
        """`idle`, `working`, or `behind`; None where nobody could look."""
        if self.backlog is None:
            return None
        oldest_s = self.backlog.oldest_s
        if oldest_s is None:
            return "idle"
        return "working" if oldest_s <= BEHIND_S else "behind"

    @property
    def well(self) -> bool:
        return self.server.state == "up" and self.mongodb != "down" and self.worker != "behind" and self.workers != []


async def look(url: str, settings: Settings | None) -> Report:
    """What there is to see, of the database where settings are given. Raises ConfigurationError."""
    url = url.rstrip("/").removesuffix(API_PATH)
    server = await _server(url)
    if settings is None:
        return Report(url, server, None, None, None)
    if settings.mongodb_uri is None and (reason := _nothing_to_ask(settings, server)):
        return Report(url, server, None, None, None, reason)
    try:
        async with open_psp(settings, is_worker=True) as psp:
            return Report(url, server, "up", await psp.backlogs.read(), await psp.health.workers())
    except DatabaseDown as error:
        return Report(url, server, "down", None, None, str(error))


def _nothing_to_ask(settings: Settings, server: Server) -> str:
    """Why to look at the embedded MongoDB would be to start it; empty where it would not."""
    if server.state == "down":
        return "the embedded one stops with the last process that uses it"
    if not (settings.data_dir / "mongodb").is_dir():
        return f"there is none in {settings.data_dir.absolute()}: set DATA_DIR as the server's"
    return ""


def tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_as_json(report)))
        return
    server = report.server
    reason = server.reason and f": {server.reason}"
    typer.echo(f"Server   {server.state:9} {report.url}{_version(server.version)}{reason}")
    typer.echo(f"MongoDB  {report.mongodb or 'not asked':9} {report.reason}".rstrip())
    if report.backlog is not None:
        waits = _waits(report.backlog)
        told = ", ".join(f"{name} for {waited_s:.0f} s" for name, waited_s in waits.items() if waited_s is not None)
        typer.echo(f"Worker   {report.worker:9} {f'due: {told}' if told else 'nothing is due'}")
    if report.workers is not None:
        first, *others = _living(report.workers)
        typer.echo(f"Workers  {len(report.workers) or 'none':<9} {first}")
        for other in others:
            typer.echo(f"{'':18} {other}")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "ok": report.well,
        "url": report.url,
        "server": report.server.state,
        "serverVersion": report.server.version,
        "mongodb": report.mongodb,
        "worker": report.worker,
        "dueForSeconds": None if report.backlog is None else _waits(report.backlog),
        "workers": None if report.workers is None else [_worker(one) for one in report.workers],
    }


def _worker(one: Heartbeat) -> dict[str, Any]:
    return {
        "id": one.worker_id,
        "host": one.host,
        "process": one.process,
        "version": one.version,
        "startedAt": one.started_at and rfc3339(one.started_at),
        "lastSeenSeconds": one.age_s,
    }


def _living(workers: list[Heartbeat]) -> list[str]:
    if not workers:
        return [f"no sign of life of any for {RECENT_S} s: start one with python cli.py worker"]
    return [f"{one.worker_id}{_place(one)}{_version(one.version)}, last seen {one.age_s} s ago" for one in workers]


def _place(one: Heartbeat) -> str:
    return "" if one.started_at is None else f" on {one.host}, process {one.process} since {rfc3339(one.started_at)}"


def _version(version: str | None) -> str:
    return "" if version is None else f", version {version}"


def _waits(backlog: Backlog) -> dict[str, float | None]:
    return {"events": backlog.events_s, "payments": backlog.payments_s, "webhooks": backlog.webhooks_s}


async def _server(url: str) -> Server:
    """Whether it is ready, in its own words. Of its version the status tells."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True) as session:
        ready = await _told(session, f"{url}/health/ready")
        version = (await _told(session, f"{url}{API_PATH}/status")).get("version") if ready else None
    version = version.removeprefix("v") if isinstance(version, str) else None
    if ready.get("status") == "ready":
        return Server("up", version)
    return Server("degraded", version, str(ready["detail"])) if ready.get("code") == NotReady.code else Server("down")


async def _told(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """The object that is answered; an empty one where none is."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            told = json.loads(await response.read())
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
