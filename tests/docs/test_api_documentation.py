"""api_documentation.md against the application: routes, credentials, fields, samples, errors."""

import hmac
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

from core import config, errors
from main import app  # noqa: TID251 - the application itself is what is described
from routers.roles import API, ROLE_TABLE, Access, Needs
from routers.route import PspRoute
from schemas.events import EVENT_TYPES, PaymentEventOut
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.docs.markdown import ROOT, RouteSection, Sample, blocks, code, read, route_sections, rows, section
from tests.factories import NEEDS_3DS, PASSWORD, Account, Psp, card

SECTIONS = route_sections()
ROUTES = {(route.only_method, route.path): route for route in app.routes if isinstance(route, PspRoute)}
CREDENTIALS = {
    Needs.NOTHING: "none",
    Needs.TOKEN: "`Authorization: Bearer`",
    Needs.API_KEY: "`X-API-Key`",
    Needs.PAYMENT_KEY: "`X-API-Key` or `X-Payment-Key`",
    Needs.BOTH: "`X-API-Key` and `Authorization: Bearer`",
    Needs.EITHER: "`X-API-Key` or `Authorization: Bearer`",
}
STATUS_OF_CODE = {
    error.code: error.status
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.PspError)
}

each_section = pytest.mark.parametrize("part", SECTIONS, ids=str)


def access(part: RouteSection) -> Access:
    return ROLE_TABLE[part.method, part.path]


def route(part: RouteSection) -> PspRoute:
    return ROUTES[part.method, part.path]


def shape(value: Any) -> Any:
    """The names in a JSON value, without what stands under them."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


def test_each_route_has_its_section_and_each_section_its_route() -> None:
    documented = [(part.method, part.path) for part in SECTIONS]

    assert sorted(documented) == sorted(key for key in ROLE_TABLE if key[1].startswith(API))


@each_section
def test_the_credentials_are_those_of_the_role_table(part: RouteSection) -> None:
    needed = access(part)

    assert part.authentication == CREDENTIALS[needed.needs]
    if needed.needs is Needs.NOTHING:
        assert part.roles is None
    elif needed == Access(needed.needs):
        assert part.roles == "every role"
    else:
        assert part.roles == ", ".join(needed.roles)


@each_section
def test_the_fields_are_those_of_the_application(part: RouteSection) -> None:
    found = route(part)
    models = [field.field_info.annotation for field in found.dependant.query_params]
    if found.body_field is not None:
        models.append(found.body_field.field_info.annotation)
    accepted: set[str] = set()
    for model in [part for annotation in models for part in (get_args(annotation) or (annotation,))]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            accepted |= {field.alias or name for name, field in model.model_fields.items()}

    assert part.fields == accepted


@each_section
def test_the_sample_request_is_one_that_the_application_accepts(part: RouteSection) -> None:
    found, sample = route(part), part.request
    method, target = sample.first_line.split()

    assert method == part.method
    assert found.path_regex.match(target.partition("?")[0])
    if access(part).needs in (Needs.API_KEY, Needs.PAYMENT_KEY, Needs.BOTH, Needs.EITHER):
        assert sample.headers["X-API-Key"].startswith("psp_sk_")
    if access(part).needs in (Needs.TOKEN, Needs.BOTH):
        assert sample.headers["Authorization"].startswith("Bearer ")
    if found.body_field is not None and sample.body:
        form = sample.headers["Content-Type"] == "application/x-www-form-urlencoded"
        TypeAdapter[Any](found.body_field.field_info.annotation or dict).validate_python(
            sample.form if form else sample.json
        )
    for field in found.dependant.query_params:
        TypeAdapter[Any](field.field_info.annotation or dict).validate_python(sample.query)


@each_section
def test_the_sample_answer_has_the_fields_of_its_model(part: RouteSection) -> None:
    model: Any = route(part).response_model

    assert part.status == (route(part).status_code or 200)
    # By alias only, and strictly: a sample may have no field that the model lacks, nor the other way round.
    again = model.model_validate(part.answer.json).model_dump(mode="json", by_alias=True)
    assert shape(again) == shape(part.answer.json)


@each_section
def test_the_errors_exist(part: RouteSection) -> None:
    for status, error_code, _ in part.errors:
        assert STATUS_OF_CODE.get(error_code) == status


@each_section
def test_the_errors_texts_are_the_applications(part: RouteSection) -> None:
    folders = ("core", "routers", "services", "domain")
    source = "".join(path.read_text() for folder in folders for path in sorted((ROOT / folder).glob("*.py")))
    source += "".join(error.message for error in vars(errors).values() if hasattr(error, "message"))
    for _, error_code, text in part.errors:
        if error_code == errors.InvalidRequest.code or text == access(part).refusal_message:
            continue
        if error_code == errors.InvalidState.code:
            text = re.sub("completed|cancelled|captured|authenticated|refunded", "…", text)
        missing = [piece for piece in text.split("…") if piece not in source]
        assert not missing, text


@each_section
def test_the_statuses_are_those_of_the_openapi_document(part: RouteSection) -> None:
    operation = app.openapi()["paths"][part.path][part.method.lower()]
    in_openapi = {int(status) for status in operation["responses"] if int(status) >= 400}
    documented = {status for status, _, _ in part.errors}
    if part.path == f"{API}/status":
        documented.add(503)  # described in words, since it has a form of its own

    assert in_openapi <= documented


def test_each_sample_request_is_answered_as_shown(start_server: Callable[..., Server]) -> None:
    """Every documented request, sent to a running server with credentials of its own."""
    server = start_server(PROCESSING_DELAY_SECONDS="0.3")
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        for part in SECTIONS:
            answer = _send(psp, part)
            assert answer.status_code == part.status, f"{part}: {answer.text}"
            shown = part.answer.json
            got = answer.json()
            if part.path.endswith("/dashboard"):
                assert len(got["last24Hours"]) == 24
            assert _comparable(got) == _comparable(shown), part
            for name in ("ETag", "X-Request-ID"):
                assert name in answer.headers or name not in part.answer.headers


def _send(psp: Psp, part: RouteSection) -> httpx.Response:
    account = psp.register()
    sample, headers = part.request, dict(part.request.headers)
    body = sample.body.encode()
    if "Authorization" in headers:
        headers |= account.bearer if access(part).roles == Access(Needs.TOKEN).roles else psp.root()
    if "X-API-Key" in headers:
        headers |= account.key
    ids = {"user_id": account.id, "resource": "transactions", **_objects(psp, account, part)}
    if part.path.endswith(("/register", "/login")):
        body = json.dumps({**sample.json, **_login(account, part)}).encode()
    elif part.path.endswith("/token"):
        body = urlencode({**sample.form, "username": account.email, "password": PASSWORD}).encode()
    elif part.path.endswith("/refresh"):
        body = json.dumps({"refresh_token": account.refresh_token}).encode()
    elif part.method == "POST" and part.path.endswith("/refunds"):
        body = json.dumps({**sample.json, "paymentId": ids["payment_id"]}).encode()
    elif "X-Signature" in headers:
        headers["X-Signature"] = hmac.new(account.webhook_secret.encode(), body, "sha256").hexdigest()
    return psp.client.request(
        part.method, part.path.format_map(ids), params=sample.query, headers=headers, content=body
    )


def _objects(psp: Psp, account: Account, part: RouteSection) -> dict[str, str]:
    """What the path of a route is about, made for this request; what a list shows is there, too."""
    ids: dict[str, str] = {}
    if "/customers" in part.path:
        ids["customer_id"] = _made(psp, account, "/customers", {"name": "Grace Hopper"})
    if part.path.endswith(("/cards", "/cards/{card_id}")):
        ids["card_id"] = _made(psp, account, f"/customers/{ids['customer_id']}/cards", {"card": card()})
    if "/payment-keys" in part.path:
        ids["payment_key_id"] = _made(psp, account, "/payment-keys", {"amount": 1, "currency": "EUR"})
    if "/payment" in part.path or "refunds" in part.path or "resource" in part.path:
        ids["payment_id"] = ids["resource_id"] = _payment(psp, account, part, ids.get("customer_id"))
    if "/refunds" in part.path and part.method == "GET":
        ids["refund_id"] = _made(psp, account, "/refunds", {"paymentId": ids["payment_id"], "reason": "x"})
        while not psp.get("/refunds", headers=account.key).json()["refunds"]:
            pass
    return ids


def _payment(psp: Psp, account: Account, part: RouteSection, customer_id: str | None) -> str:
    if part.path.endswith("/capture"):
        return str(psp.authorised(account)["id"])
    fields: dict[str, Any] = {"card": card(NEEDS_3DS)} if part.path.endswith("/authenticate") else {}
    settled = "refunds" in part.path or part.method not in ("POST", "DELETE") or fields
    currency = part.request.query.get("currency", "USD")
    made = psp.charge(
        account,
        {"Prefer": "wait=10"} if settled else {},
        paymentAmount=100,
        currency=currency,
        customerId=customer_id,
        **fields,
    )
    return str(made.json()["id"])


def _made(psp: Psp, account: Account, path: str, body: dict[str, Any]) -> str:
    return str(psp.post(path, json=body, headers=account.key).json()["id"])


def _login(account: Account, part: RouteSection) -> dict[str, str]:
    email = account.email if part.path.endswith("/login") else f"{secrets.token_hex(8)}@example.com"
    return {"email": email, "password": PASSWORD}


def _comparable(value: Any) -> Any:
    """The shape, but for names that are data (metadata)."""
    if isinstance(value, dict):
        return {name: None if name == "metadata" else _comparable(item) for name, item in value.items()}
    return [_comparable(value[0])] if isinstance(value, list) and value else None


def test_the_conventions_name_only_codes_that_exist() -> None:
    for block in blocks(section(read("api_documentation.md"), "### Errors"), "http"):
        sample = Sample.parse(block)
        assert STATUS_OF_CODE[sample.json["code"]] == int(sample.first_line.split()[1])
        assert sample.headers["X-Request-ID"] == sample.json["requestId"]
        assert sample.json.keys() == {"detail", "code", "requestId"}


def test_the_event_types_are_those_of_the_registry() -> None:
    outgoing = section(read("api_documentation.md"), "## Outgoing webhooks")
    documented = {code(row[0]): row[1] for row in rows(outgoing) if "." in code(row[0])}

    assert documented == EVENT_TYPES


def test_the_sample_webhook_has_the_fields_of_its_model() -> None:
    sample = Sample.parse(blocks(section(read("api_documentation.md"), "## Outgoing webhooks"), "http")[0])

    again = PaymentEventOut.model_validate(sample.json).model_dump(mode="json", by_alias=True)
    assert shape(again) == shape(sample.json)
    assert json.dumps(sample.json, separators=(",", ":")) == sample.body
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "X-Signature"} <= sample.headers.keys()


def test_the_retry_schedules_are_those_of_the_settings() -> None:
    documented = {row[0]: row[1] for row in rows(section(read("api_documentation.md"), "## Outgoing webhooks"))}

    assert documented["development"] == ", ".join(f"{seconds:g}" for seconds in config.DEVELOPMENT_RETRY_S)
    assert documented["production"] == ", ".join(f"{seconds:g}" for seconds in config.PRODUCTION_RETRY_S)


def test_the_samples_hold_no_secret() -> None:
    text = Path(ROOT / "api_documentation.md").read_text("utf-8")
    words = text.replace('"', " ").split()

    assert not [word for word in words if word.startswith(("psp_sk_", "psp_rt_", "eyJ")) and "…" not in word]
    assert not [word for word in words if word.startswith("whsec_") and len(word) > len("whsec_…")]
