"""The OpenAPI document and the pages made of it, which load nothing from elsewhere."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import (
    ApiKeyInvalid,
    BodyTooLarge,
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    OutcomeUnknown,
    PspError,
    RateLimited,
    TokenInvalid,
    TokenMalformed,
    TokenMissing,
    UnsupportedMediaType,
)
from domain.roles import EVERYONE
from routers.dependencies import IDEMPOTENCY_KEY_HEADER
from routers.links import links_of
from routers.rate_limits import policy_of
from routers.response_examples import example_of
from routers.roles import API, Needs
from routers.route import RESOURCES, PspRoute, document_error
from routers.security_headers import CONTENT_SECURITY_POLICY
from schemas.event_examples import EVENT_EXAMPLES
from schemas.event_types import EVENT_TYPES
from schemas.events import event_schema, event_schema_name

DESCRIPTION = """
A payment service provider to build and test payment flows against: stateful, idempotent, with webhooks that really
arrive, signed and retried.

**To try it here:** send *register* with the role `merchant`, copy the `apiKey` of the answer, press **Authorize**,
paste the key and log in with the e-mail address and the password. Then send *charge*.
"""
TAGS = [
    {"name": "Payments", "description": "Charge, read, capture, cancel. `X-API-Key`."},
    {"name": "Refunds", "description": "Giving money back. `X-API-Key` or a token."},
    {"name": "Cards", "description": "Card tokens, and the saved cards of customers."},
    {"name": "Payment keys", "description": "Publishable keys that open charges and nothing else."},
    {"name": "Customers", "description": "Whom a merchant charges. `X-API-Key` or a token."},
    {"name": "Test cards", "description": "What the bank simulator does with which card."},
    {"name": "Events", "description": "What has happened to an account's objects. `X-API-Key` or a token."},
    {"name": "Webhook endpoints", "description": "Where an account's events are sent. `X-API-Key` or a token."},
    {"name": "Deliveries", "description": "What was sent where, and sending it again. `X-API-Key` or a token."},
    {"name": "Webhooks", "description": "What others send to an account. `X-API-Key` and a signature."},
    {"name": "Users", "description": "Accounts and their roles."},
    {"name": "Request log", "description": "An account's own requests, without their secrets."},
    {"name": "API keys", "description": "Named keys of an account, each with the scopes that it needs."},
    {"name": "Sessions", "description": "Logging in and out."},
    {"name": "Deletion", "description": "Hides a transaction or a user."},
    {"name": "Admin", "description": "Every account's payments and figures. Roles admin and system_admin."},
    {"name": "Status", "description": "Whether the service works."},
]
_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "From register or `/api-keys`"},
    "PaymentKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Payment-Key",
        "description": "Publishable; opens charges and nothing else",
    },
    "Login": {
        "type": "oauth2",
        "description": "E-mail address as username, and password",
        "flows": {"password": {"tokenUrl": f"{API}/auth/token", "scopes": {}}},
    },
}
_SECURITY: dict[Needs, list[dict[str, list[str]]]] = {
    Needs.NOTHING: [],
    Needs.METRICS_TOKEN: [],
    Needs.TOKEN: [{"Login": []}],
    Needs.API_KEY: [{"ApiKey": []}],
    Needs.BOTH: [{"ApiKey": [], "Login": []}],
    Needs.PAYMENT_KEY: [{"ApiKey": []}, {"PaymentKey": []}],
    Needs.EITHER: [{"ApiKey": []}, {"Login": []}],
}
_REQUEST_ID = {
    "description": "The request's own, or one made for it",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:=+/@~-]{1,128}$"},
}
_NO_STORE = {
    "description": "The answer shows a secret",
    "required": True,
    "schema": {"type": "string", "const": "no-store"},
}
_REPLAYED = {
    "description": "Where this is the answer to an earlier request with the same key",
    "schema": {"type": "string", "const": "true"},
}
_RETRY_AFTER = {"description": "Seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}
_CHALLENGE = {
    "description": "A scheme that would be accepted (RFC 9110, section 11.6.1)",
    "required": True,
    "schema": {"type": "string", "const": "Bearer"},
}
_RATE_LIMIT = {
    "RateLimit-Policy": {
        "description": "The limit that this request counts against, where limits are on: requests, and seconds",
        "schema": {"type": "string"},
        "example": '"writes";q=300;w=60',
    },
    "RateLimit": {
        "description": "How many requests are left, and for how many seconds",
        "schema": {"type": "string"},
        "example": '"writes";r=299;t=42',
    },
}
_HEADERS_OF_STATUS = {
    "401": {"WWW-Authenticate": _CHALLENGE},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}
_PATH_PARAMETERS = {"resource": {"type": "string", "enum": list(RESOURCES)}}
_ID = {"type": "string", "minLength": 1, "maxLength": 64}
_PREFIXES = {
    "payment_id": "txn",
    "refund_id": "re",
    "customer_id": "cus",
    "card_id": "card",
    "payment_key_id": "pk",
    "event_id": "evt",
    "endpoint_id": "we",
    "delivery_id": "dlv",
    "job_id": "rsj",
    "webhook_id": "inw",
    "user_id": "user",
    "session_id": "sess",
    "api_key_id": "key",
    "log_id": "rql",
    "resource_id": "txn",
}
_FRAMEWORKS_SCHEMA = {"$ref": "#/components/schemas/HTTPValidationError"}
_WEBHOOK_HEADERS = [
    {
        "in": "header",
        "name": name,
        "required": name != "X-Request-ID",
        "schema": {"type": "string"},
        "description": description,
        "example": shown,
    }
    for name, description, shown in (
        (
            "webhook-id",
            "The id of the event, the same on each attempt: use it to recognise a repetition",
            "evt_06gztrpz170we29n8r9na1k3t0",
        ),
        ("webhook-timestamp", "Seconds since 1970, of this attempt", "1795270862"),
        (
            "webhook-signature",
            "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, keyed with the decoded secret (Standard "
            "Webhooks). While a rotation overlaps, one for each secret, separated by a space",
            "v1,oU3VlRmARWjAzztvTw664+JfZJLEkkXZdkqE/aazCL4=",
        ),
        (
            "X-Signature",
            "Hex HMAC-SHA256 of the raw body, keyed with the whole secret as text, `whsec_` included. While a rotation "
            "overlaps, with the old secret",
            "99e639a483cda1de3b513014446af90cfb1f3a6209a8bc64a80695686e46e92f",
        ),
        (
            "X-Request-ID",
            "The id of the request that caused the event. Not there where none did. It is not signed",
            "req_06gztrpz170we29n8r9na1k3t0",
        ),
    )
]
_PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_OWN_SOURCES_ONLY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Documentation with the role table's credentials on every operation, and `/` leading to it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_route("/", _to_docs, methods=["GET"], include_in_schema=False)
    for route in app.routes:
        if isinstance(route, Route) and route.path in _PAGES:
            route.app = _from_own_sources(route.app)


def _from_own_sources(page: ASGIApp) -> ASGIApp:
    """The page with a Content-Security-Policy: ReDoc's script would fetch its maker's logo from elsewhere.

    Of inline scripts those run that the page has when it leaves: nothing of a request is in them but `root_path`.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}

        async def send_with_policy(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start:
                policy = _OWN_SOURCES_ONLY.format(hashes=_hashes(message["body"])).encode()
                opener = (b"cross-origin-opener-policy", b"same-origin")
                start["headers"] = [*start["headers"], (CONTENT_SECURITY_POLICY, policy), opener]
                await send(start)
                start = {}
            await send(message)

        await page(scope, receive, send_with_policy)

    return answer


def _hashes(html: bytes) -> str:
    digests = [b64encode(sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(html)]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


async def _to_docs(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS)
    document["components"]["securitySchemes"] = _SCHEMES
    routes = [route for route in app.routes if isinstance(route, PspRoute) and route.include_in_schema]
    path_parameters = {route.name: frozenset(route.param_convertors) for route in routes}
    for route in routes:
        operation = document["paths"][route.path_format][route.only_method.lower()]
        _describe(operation, route)
        for media in operation["responses"][_success(route)]["content"].values():
            media["example"] = example_of(media["schema"], document["components"]["schemas"])
        if links := links_of(route.name, path_parameters):
            operation["responses"][_success(route)]["links"] = links
    document["components"]["schemas"].pop("HTTPValidationError", None)
    document["components"]["schemas"].pop("ValidationError", None)
    _add_webhooks(document)
    return document


def _describe(operation: dict[str, Any], route: PspRoute) -> None:
    operation["security"] = _SECURITY[route.access.needs]
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _schema_in_an_address(parameter)
    for error in _common_errors(route, has_body="requestBody" in operation):
        document_error(operation["responses"], error, route.access.refusal_message if error is Forbidden else None)
    for response in operation["responses"].values():
        media = response.get("content", {}).get("application/json", {})
        # FastAPI documents its own form of a 422, which is not the one that is answered.
        if media.get("schema", _FRAMEWORKS_SCHEMA) == _FRAMEWORKS_SCHEMA and "examples" in media:
            media["schema"] = {"$ref": "#/components/schemas/Problem"}
            response["description"] = response["description"].removeprefix("Validation Error · ")
    _describe_headers(operation, route)
    roles = ", ".join(role.value for role in route.access.roles)
    operation["x-roles"] = [role.value for role in route.access.roles]
    if route.access.needs is not Needs.NOTHING:
        operation["description"] = f"{operation.get('description', '')}\n\nRoles: {roles}."
    if route.access.scope is not None:
        operation["x-scope"] = route.access.scope.value
        operation["description"] += f" Scope of an API key: `{route.access.scope}`."


def _describe_headers(operation: dict[str, Any], route: PspRoute) -> None:
    responses = operation["responses"]
    for status, response in responses.items():
        own = response.get("headers", {})
        response["headers"] = {**own, **_HEADERS_OF_STATUS.get(status, {}), "X-Request-ID": _REQUEST_ID}
    if policy_of(route.only_method, route.path) is not None:
        for status in (_success(route), str(RateLimited.status)):
            responses[status]["headers"].update(_RATE_LIMIT)
    if route.shows_a_secret:
        responses[_success(route)]["headers"]["Cache-Control"] = _NO_STORE
    if IDEMPOTENCY_KEY_HEADER in operation.get("parameters", ()):
        responses[_success(route)]["headers"]["Idempotent-Replayed"] = _REPLAYED


def _success(route: PspRoute) -> str:
    return str(route.status_code or 200)


def _schema_in_an_address(parameter: dict[str, Any]) -> dict[str, Any]:
    """What a parameter can be: text in a path has an end, and no address or header can say null."""
    schema: dict[str, Any] = parameter["schema"]
    if (name := parameter["name"]) in _PREFIXES:
        return {**schema, **_ID, "examples": [f"{_PREFIXES[name]}_06gztrpz170we29n8r9na1k3t0"]}
    if parameter["in"] == "path":
        return {**schema, **_PATH_PARAMETERS.get(name, _ID)}
    given = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(given) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "anyOf"}, **given[0]}


def _common_errors(route: PspRoute, *, has_body: bool) -> list[type[PspError]]:
    """What guard, body and database can answer on every route of the kind."""
    token: list[type[PspError]] = [TokenMissing, TokenMalformed, TokenInvalid]
    by_need: dict[Needs, list[type[PspError]]] = {
        Needs.NOTHING: [],
        Needs.METRICS_TOKEN: [],
        Needs.TOKEN: token,
        Needs.API_KEY: [ApiKeyInvalid, Forbidden],
        Needs.BOTH: [ApiKeyInvalid, *token, Forbidden],
        Needs.PAYMENT_KEY: [ApiKeyInvalid, Forbidden],
        Needs.EITHER: [ApiKeyInvalid, TokenMalformed, TokenInvalid, Forbidden],
    }
    errors = [*by_need[route.access.needs], InvalidRequest]
    # What is under no limit is for monitors: it answers without the database, or says itself that it is away.
    if policy_of(route.only_method, route.path) is not None:
        errors += [DatabaseUnavailable, RateLimited]
    if route.access.roles != EVERYONE:
        errors.append(Forbidden)
    if has_body:
        errors += [BodyTooLarge, UnsupportedMediaType]
    if route.only_method != "GET":
        errors.append(OutcomeUnknown)
    return errors


def _add_webhooks(document: dict[str, Any]) -> None:
    schemas, webhooks = document["components"]["schemas"], document.setdefault("webhooks", {})
    for event, description in EVENT_TYPES.items():
        schema, name = event_schema(event), event_schema_name(event)
        schemas.update({**schema.pop("$defs", {}), name: schema})
        media = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": EVENT_EXAMPLES[event]}
        webhooks[event] = {
            "post": {
                "operationId": event.replace(".", "_"),
                "summary": event,
                "description": description,
                "tags": ["Webhooks"],
                "parameters": _WEBHOOK_HEADERS,
                "requestBody": {"content": {"application/json": media}, "required": True},
                "responses": {"2XX": {"description": "Received. Anything else is tried again."}},
            }
        }
