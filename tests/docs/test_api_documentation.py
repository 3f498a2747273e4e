"""api_documentation.md against the application: routes, credentials, fields, samples, errors."""

import functools
import hmac
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import standardwebhooks
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, TypeAdapter

from core import config, errors, json_codec, metrics
from domain.api_keys import Scope
from domain.audit import Action
from domain.payments import ACCEPTS, MOVES, Command, Status
from domain.rate_limits import Policy
from domain.roles import EVERYONE, MERCHANTS, Role
from domain.signing import webhook_headers
from main import app  # noqa: TID251 - the application itself is what is described
from repositories.delivery_documents import DeadReason
from routers import rate_limits
from routers.roles import API, ROLE_TABLE, Access, Needs
from routers.route import PspRoute
from schemas.event_examples import EVENT_EXAMPLES
from schemas.event_types import EVENT_TYPES
from schemas.events import EventOut, PaymentEventOut, event_model
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.docs.markdown import ROOT, RouteSection, Sample, blocks, code, read, route_sections, rows, section
from tests.docs.samples import send, stops_a_payment
from tests.factories import Psp
from tests.tables import each

SECTIONS = route_sections()
ROUTES = {(route.only_method, route.path): route for route in app.routes if isinstance(route, PspRoute)}
CREDENTIALS = {
    Needs.NOTHING: "none",
    Needs.TOKEN: "`Authorization: Bearer`",
    Needs.API_KEY: "`X-API-Key`",
    Needs.PAYMENT_KEY: "`X-API-Key` or `X-Payment-Key`",
    Needs.BOTH: "`X-API-Key` and `Authorization: Bearer`",
    Needs.EITHER: "`X-API-Key` or `Authorization: Bearer`",
    Needs.METRICS_TOKEN: "`METRICS_TOKEN` as `Authorization: Bearer`, where one is set",
}
STATUS_OF_CODE = {
    error.code: error.status
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.PspError)
}

OPENED_BY_EITHER = {
    "api-keys": "API keys",
    "customers": "customers with their cards and payments",
    "deliveries": "deliveries",
    "events": "events",
    "incoming-webhooks": "the list of incoming webhooks",
    "payment-keys": "payment keys",
    "refunds": "refunds",
    "resend-jobs": "resend jobs",
    "users": "the account's webhook secret",
    "webhook-endpoints": "webhook endpoints with their secrets",
}
"""What the page calls the routes that key or token opens, by the first word of their paths."""

each_section = each("part", SECTIONS)


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

    assert sorted(documented) == sorted(
        key for key in ROLE_TABLE if key[1].startswith((API, "/3ds/", "/health/", "/metrics"))
    )


@each_section
def test_the_credentials_are_those_of_the_role_table(part: RouteSection) -> None:
    needed = access(part)

    assert part.authentication == CREDENTIALS[needed.needs]
    if needed.needs in (Needs.NOTHING, Needs.METRICS_TOKEN):
        assert part.roles is None
    elif needed.roles == EVERYONE and needed.refusal is None:
        assert part.roles == "every role"
    else:
        assert part.roles == ", ".join(needed.roles)
    assert part.scope == needed.scope


def test_each_scope_is_told_with_what_it_opens() -> None:
    part = section(read("api_documentation.md"), "## API keys").partition("\n### ")[0]

    assert [code(row[0]) for row in rows(part)] == list(Scope)


def test_all_that_key_or_token_opens_is_named_with_the_credentials_and_with_the_roles() -> None:
    part = section(read("api_documentation.md"), "### Authentication and roles")
    (paragraph,) = [one for one in part.split("\n\n") if one.startswith("Either API key or token opens")]
    table = {row[0]: row[-1] for row in rows(part)}
    either = {path.split("/")[3]: access for (_, path), access in ROLE_TABLE.items() if access.needs is Needs.EITHER}

    assert either.keys() == OPENED_BY_EITHER.keys()
    for name, access in either.items():
        told = OPENED_BY_EITHER[name]
        assert told in paragraph.replace("\n", " ")
        assert told in table["`merchant`" if access.roles == MERCHANTS else "`user`"]
    for credential in ("Access token (a JWT, from login)", "API key (from register)"):
        assert "all that either opens" in table[credential]


@each_section
def test_the_fields_are_those_of_the_application(part: RouteSection) -> None:
    found = route(part)
    models = [field.field_info.annotation for field in found.dependant.query_params]
    if found.body_field is not None:
        models.append(found.body_field.field_info.annotation)
    accepted: set[str] = set()
    for model in [one for optional in models for one in (get_args(optional) or (optional,))]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            accepted |= {field.alias or name for name, field in model.model_fields.items()}

    assert part.fields == accepted


@each_section
def test_a_body_that_may_be_left_out_is_said_to_be_absent_null_or_empty(part: RouteSection) -> None:
    body = route(part).body_field
    optional = body is not None and not body.field_info.is_required()
    said = "The body may be absent, `null` or `{}`." in section(read("api_documentation.md"), f"### `{part}`")

    assert said == optional
    if optional:
        assert body is not None
        for sent in (None, {}):
            TypeAdapter[Any](body.field_info.annotation).validate_python(sent)


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
    if model is None:  # a page, or the way to it
        assert not part.answer.body
        return
    # By alias only, and strictly: a sample may have no field that the model lacks, nor the other way round.
    again = model.model_validate(part.answer.json).model_dump(mode="json", by_alias=True)
    assert shape(again) == shape(part.answer.json)


@each_section
def test_the_sample_answer_shows_that_no_cache_may_keep_a_secret(part: RouteSection) -> None:
    if getattr(route(part).response_model, "shows_a_secret", False):
        assert part.answer.headers["Cache-Control"] == "no-store"


@each_section
def test_the_errors_exist(part: RouteSection) -> None:
    for status, error_code, _ in part.errors:
        assert STATUS_OF_CODE.get(error_code) == status


@functools.cache
def sources() -> str:
    folders = ("core", "routers", "services", "domain")
    source = "".join(path.read_text() for folder in folders for path in sorted((ROOT / folder).glob("*.py")))
    return source + "".join(error.message for error in vars(errors).values() if hasattr(error, "message"))


@each_section
def test_the_errors_texts_are_the_applications(part: RouteSection) -> None:
    for _, error_code, text in part.errors:
        if error_code == errors.InvalidRequest.code or text == access(part).refusal_message:
            continue
        if error_code == errors.InvalidState.code:
            text = re.sub(rf"\b(?:{'|'.join([*Status, *Command])})\b", "…", text)
        missing = [piece for piece in text.split("…") if piece not in sources()]
        assert not missing, text


@each_section
def test_the_errors_are_those_of_the_openapi_document(part: RouteSection) -> None:
    if not route(part).include_in_schema:  # a page, which is for people
        return
    responses = app.openapi()["paths"][part.path][part.method.lower()]["responses"]
    in_openapi = {
        (int(status), error_code)
        for status, response in responses.items()
        for error_code in response.get("content", {}).get("application/json", {}).get("examples", {})
    }
    documented = {(status, error_code) for status, error_code, _ in part.errors}
    assert in_openapi == documented


def test_each_sample_request_is_answered_as_shown(psp: Psp, patient_server: Server) -> None:
    """Every documented request, sent to a running server with credentials of its own."""
    with httpx.Client(base_url=patient_server.url, timeout=35, verify=False) as client:
        patient_psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)

        def assert_answered_as_shown(part: RouteSection) -> None:
            answer = send(patient_psp if stops_a_payment(part) else psp, part)
            assert answer.status_code == part.status, f"{part}: {answer.text}"
            for name in part.answer.headers:
                assert name in answer.headers, f"{part}: {name}"
            if not part.answer.body:
                assert answer.headers.get("content-type") == part.answer.headers.get("Content-Type"), part
                return
            if part.path.endswith("/dashboard"):
                assert len(answer.json()["last24Hours"]) == 24
            assert _comparable(answer.json()) == _comparable(part.answer.json), part

        by_admins = [part for part in SECTIONS if Role.MERCHANT not in access(part).roles]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(assert_answered_as_shown, [part for part in SECTIONS if part not in by_admins]))
        for part in by_admins:  # who see what all others do, newest first
            if not part.path.endswith("/reset"):
                assert_answered_as_shown(part)


def test_the_sample_of_a_reset_is_answered_as_shown(start_server: Callable[..., Server]) -> None:
    """On a server of its own: nothing of anybody's would be left."""
    (part,) = [part for part in SECTIONS if part.path.endswith("/reset")]
    server = start_server(MONGODB_DB=part.request.json["database"])
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        answer = send(Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD), part)

    assert answer.status_code == part.status, answer.text
    assert answer.json().keys() == part.answer.json.keys()
    assert answer.json()["message"] == part.answer.json["message"]


def _comparable(value: Any) -> Any:
    """The shape, but for names that are data (metadata)."""
    if isinstance(value, dict):
        return {name: None if name == "metadata" else _comparable(item) for name, item in value.items()}
    return [_comparable(value[0])] if isinstance(value, list) and value else None


def test_the_conventions_name_only_codes_that_exist() -> None:
    part = section(read("api_documentation.md"), "### Errors")
    for status, error_code, _ in rows(part):
        assert STATUS_OF_CODE[code(error_code)] == int(status)
    for block in blocks(part, "http"):
        sample = Sample.parse(block)
        assert STATUS_OF_CODE[sample.json["code"]] == int(sample.first_line.split()[1])
        assert sample.headers["X-Request-ID"] == sample.json["requestId"]
        assert sample.json.keys() == {"detail", "code", "requestId"}


def test_the_life_of_a_payment_is_that_of_the_rules() -> None:
    part = section(read("api_documentation.md"), "### Life of a payment")
    commands = [Command.CAPTURE, Command.CANCEL, Command.AUTHENTICATE, Command.REFUND]
    arrows = re.findall(r"^ +(\w+) --> (\w+):", part, re.MULTILINE)
    table = {Status(code(row[0])): row[1:] for row in rows(part)}

    assert {(Status(before), Status(after)) for before, after in arrows} == {
        (before, after) for before, successors in MOVES.items() for after in successors
    }
    assert table.keys() == set(Status)
    for status, cells in table.items():
        told = [{Status(name) for name in re.findall(r"`(\w+)`", cell)} for cell in cells]
        assert {command for command, cell in zip(commands, cells, strict=False) if cell != "409"} == ACCEPTS[status]
        assert told[-1] == MOVES[status]
        assert set().union(*told[:-1]) <= MOVES[status]


def test_the_event_types_are_those_of_the_registry() -> None:
    outgoing = section(read("api_documentation.md"), "## Outgoing webhooks")
    documented = {code(row[0]): row[1] for row in rows(outgoing) if "." in code(row[0])}

    assert documented == EVENT_TYPES


def test_the_codes_of_deliveries_are_all_named_in_the_page_and_in_the_openapi_document() -> None:
    deliveries = section(read("api_documentation.md"), "## Deliveries")
    (told,) = [line for line in deliveries.splitlines() if line.startswith("What went wrong (`error`)")]
    schemas = app.openapi()["components"]["schemas"]

    def enum(model: str, field: str) -> set[str]:
        code_or_null, _ = schemas[model]["properties"][field]["anyOf"]
        return set(code_or_null["enum"])

    errors_told = set(re.findall(r"`(\w+)`", told)) - {"error"}
    assert errors_told == enum("AttemptOut", "error") == enum("DeliveryOut", "lastError")
    reasons_told = {code(row[0]) for row in rows(deliveries) if row[0].startswith("`") and len(row) == 2}
    assert reasons_told == enum("DeliveryOut", "deadReason") == set(DeadReason)


def test_the_actions_of_the_audit_log_are_those_of_its_catalogue() -> None:
    part = section(read("api_documentation.md"), "## Audit log").partition("\n### ")[0]

    assert [code(row[0]) for row in rows(part)] == list(Action)


def test_each_event_type_has_its_payload_and_its_example() -> None:
    payloads = section(read("api_documentation.md"), "### Payloads")
    kinds = {name.partition(".")[0] for name in EVENT_TYPES}
    parts = {kind: section(payloads, f"#### `{kind}.*`") for kind in kinds}
    shown = [sample for part in parts.values() for sample in blocks(part, "json")]

    envelope = {code(row[0]) for row in rows(payloads.partition("\n#### ")[0])}
    assert envelope == EventOut.model_fields.keys()
    for name in EVENT_TYPES:
        kind = name.partition(".")[0]
        data: type[BaseModel] = event_model(name).model_fields["data"].annotation  # type: ignore[assignment]
        assert [code(row[0]) for row in rows(parts[kind])] == [field.alias for field in data.model_fields.values()]
        assert f"\n`{name}`:\n\n```json\n{json_codec.dumps(EVENT_EXAMPLES[name]).decode()}\n```\n" in parts[kind]
    assert len(shown) == len(EVENT_TYPES)


def test_the_sample_webhook_has_the_fields_of_its_model() -> None:
    sample = Sample.parse(blocks(section(read("api_documentation.md"), "## Outgoing webhooks"), "http")[0])

    again = PaymentEventOut.model_validate(sample.json).model_dump(mode="json", by_alias=True)
    assert shape(again) == shape(sample.json)
    assert json.dumps(sample.json, separators=(",", ":")) == sample.body
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "X-Signature"} <= sample.headers.keys()


def test_the_python_samples_verify_what_is_sent_and_nothing_else() -> None:
    secret, body = "whsec_" + b64encode(bytes(range(32))).decode(), b'{"id":"evt_1"}'
    headers = webhook_headers([secret], "evt_1", int(time.time()), body)
    plain, standard = blocks(section(read("api_documentation.md"), "## Outgoing webhooks"), "python")

    def run(code: str, **names: Any) -> dict[str, Any]:
        exec(code, found := {"hmac": hmac, "standardwebhooks": standardwebhooks, "secret": secret, **names})
        return found

    assert run(plain, body=body, headers=headers)["fits"]
    assert run(standard, body=body, headers=headers)["event"] == {"id": "evt_1"}
    assert not run(plain, body=body + b" ", headers=headers)["fits"]
    with pytest.raises(standardwebhooks.webhooks.WebhookVerificationError):
        run(standard, body=body + b" ", headers=headers)


def test_the_retry_schedules_are_those_of_the_settings() -> None:
    documented = {row[0]: row[1] for row in rows(section(read("api_documentation.md"), "## Outgoing webhooks"))}

    assert documented["development"] == ", ".join(f"{seconds:g}" for seconds in config.DEVELOPMENT_RETRY_S)
    assert documented["production"] == ", ".join(f"{seconds:g}" for seconds in config.PRODUCTION_RETRY_S)


def test_the_samples_hold_no_secret() -> None:
    text = Path(ROOT / "api_documentation.md").read_text("utf-8")
    words = text.replace('"', " ").split()

    assert not [word for word in words if word.startswith(("psp_sk_", "psp_rt_", "eyJ")) and "…" not in word]
    assert not [word for word in words if word.startswith("whsec_") and len(word) > len("whsec_…")]
    # A payment key begins with its own id, which is no secret.
    assert not [word for word in words if re.fullmatch(r"pk_\w{27,}", word)]


def test_the_limits_are_those_of_the_application() -> None:
    part = section(read("api_documentation.md"), "### Rate limits")
    policies = {policy.name: policy for policy in vars(rate_limits).values() if isinstance(policy, Policy)}

    told = {code(row[0]): (int(row[1]), int(row[2]), row[3]) for row in rows(part)}

    assert told == {name: (policy.quota, policy.window_s, policy.by) for name, policy in policies.items()}


def test_the_metrics_are_those_of_the_application() -> None:
    part = section(read("api_documentation.md"), "## Metrics")
    counted = {family.name: family for family in metrics.REGISTRY.collect()}
    told = {code(row[0]): row[1] for row in rows(part)}

    names = {f"{name}_total" if family.type == "counter" else name for name, family in counted.items()}
    assert names <= told.keys()
    for family in vars(metrics).values():
        if isinstance(family, MetricWrapperBase):
            name = f"{family._name}_total" if family._type == "counter" else family._name
            assert told[name] == ", ".join(f"`{label}`" for label in family._labelnames)
