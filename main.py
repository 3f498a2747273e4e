"""Mock PSP: the application. `uvicorn main:app` serves it."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.routing import Route

from core.config import Settings, load_settings
from core.logs import pass_all_logs_through, write_logs
from core.process_figures import counted
from core.startup import BriefStartErrors, settle_memory
from core.version import VERSION
from domain.redaction import redact_text
from routers import (
    admin,
    api_keys,
    audit,
    bank,
    cards,
    challenge,
    customer_payments,
    customers,
    deliveries,
    documentation,
    events,
    health,
    metrics,
    payment_keys,
    payments,
    problems,
    refunds,
    request_logs,
    resends,
    resources,
    sessions,
    status,
    users,
    webhook_endpoints,
    webhooks,
)
from routers.middleware import UnexpectedErrors
from routers.perimeter import perimeter
from routers.request_logging import RequestLogging
from routers.roles import ROLE_TABLE
from services.psp import Psp, open_psp
from workers.runner import running_workers

ROUTERS = (
    payments,
    refunds,
    events,
    webhooks,
    cards,
    customer_payments,
    customers,
    payment_keys,
    webhook_endpoints,
    deliveries,
    resends,
    challenge,
    users,
    sessions,
    api_keys,
    request_logs,
    status,
    health,
    metrics,
    bank,
    admin,
    audit,
    resources,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Without settings it reads them from the environment when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        chosen = settings or load_settings()
        write_logs(as_json=chosen.production)
        # The stack was made for this start, before the settings were known; requests get one with the perimeter.
        app.user_middleware, app.middleware_stack = [*perimeter(chosen), *inside], None
        works = chosen.worker == "embedded"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(counted("api", chosen.data_dir))
            app.state.psp = psp = await stack.enter_async_context(open_psp(chosen, is_worker=works))
            await _ensure_system_admin(psp)
            if works:
                await stack.enter_async_context(running_workers(psp))
            settle_memory()
            yield

    app = FastAPIOffline(
        title="Mock PSP",
        version=VERSION,
        lifespan=lifespan,
        redirect_slashes=False,
        static_url="/docs/assets",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
    )
    problems.install(app)
    # One flat list, the busiest first: it is searched from the beginning at every request, and routers inside routers
    # would be searched once more.
    app.router.routes[:0] = [route for module in ROUTERS for route in module.router.routes]
    documentation.install(app)
    app.add_middleware(RequestLogging)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(BriefStartErrors)
    inside = list(app.user_middleware)
    pass_all_logs_through(redact_text)
    _refuse_routes_without_roles(app)
    return app


async def _ensure_system_admin(psp: Psp) -> None:
    password = psp.settings.system_admin_password
    made = await psp.accounts.ensure_system_admin(
        psp.settings.system_admin_email, password.get_secret_value() if password else None
    )
    if made is not None and password is None:
        # To the terminal and in no log: nobody will be able to read it again.
        sys.stdout.write(
            "\n  First start. The system_admin's login, shown this once:\n\n"
            f"    e-mail    {made.email}\n    password  {made.password}\n\n"
        )
        sys.stdout.flush()


def _refuse_routes_without_roles(app: FastAPI) -> None:
    for route in app.routes:
        if isinstance(route, Route):
            for method in (route.methods or set()) - {"HEAD"}:
                if (method, route.path) not in ROLE_TABLE:
                    raise LookupError(f"{method} {route.path} stands in no role table: add it to routers/roles.py")


app = create_app()
