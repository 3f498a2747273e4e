"""GET /metrics of a process that is no API: a worker, or a bank."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from core.config import Settings
from core.errors import ConfigurationError
from core.shared_metrics import exposition


@asynccontextmanager
async def served_metrics(settings: Settings) -> AsyncIterator[None]:
    """Inside the block, METRICS_PORT of HOST tells what is counted here to those whom METRICS_TOKEN lets. Without
    METRICS_PORT nothing is done. Raises ConfigurationError where it cannot be listened on."""
    if settings.metrics_port is None:
        yield
        return

    async def tell(request: web.Request) -> web.Response:
        if not settings.shows_metrics:
            raise web.HTTPNotFound
        if not settings.opens_metrics(request.headers.getall("Authorization", [])):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        text = await asyncio.to_thread(exposition)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})

    app = web.Application()
    app.router.add_get("/metrics", tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.metrics_port).start()
        except OSError as error:
            address = f"{settings.host}:{settings.metrics_port}"
            raise ConfigurationError(f"METRICS_PORT: nothing can listen on {address} ({error.strerror}).") from None
        yield
    finally:
        await runner.cleanup()
