"""The documentation that the application serves: complete, and without internet."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import jsonschema_rs
import pytest
from pydantic import TypeAdapter

from main import app  # noqa: TID251 - the application itself is what is described
from routers.rate_limits import policy_of
from routers.roles import ROLE_TABLE, Needs
from routers.route import PspRoute
from schemas.event_types import EVENT_TYPES
from schemas.events import event_model
from tests.docs.markdown import code, read, rows, section
from tests.factories import PASSWORD, Psp
from tests.tables import each

ROUTES = [route for route in app.routes if isinstance(route, PspRoute) and route.include_in_schema]
PAGES = ["/docs", "/redoc", "/docs/oauth2-redirect"]

each_route = each("route", ROUTES)


class References(HTMLParser):
    """Every URL that a page's tags name."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls += [value for name, value in attrs if name in ("src", "href", "spec-url", "action") and value]


def references(html: str) -> list[str]:
    parser = References()
    parser.feed(html)
    return [*parser.urls, *re.findall(r"url: '([^']+)'", html)]


def operation(route: PspRoute) -> dict[str, Any]:
    found: dict[str, Any] = app.openapi()["paths"][route.path_format][route.only_method.lower()]
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where it is a reference or may also be absent."""
    schema = next((one for one in schema.get("anyOf", ()) if one != {"type": "null"}), schema)
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return app.openapi()["components"]["schemas"][name] if name else schema


def every_reference(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from [item] if name == "$ref" else every_reference(item)
    elif isinstance(value, list):
        for item in value:
            yield from every_reference(item)


def test_the_root_leads_to_the_documentation(psp: Psp) -> None:
    answer = psp.client.get("/")

    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_other_host_and_all_it_names_is_served(psp: Psp, page: str) -> None:
    answer = psp.client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")

    for url in references(answer.text):
        assert not urlsplit(url).netloc, url
        assert psp.client.get(urljoin(page, url)).status_code == 200, url
    assert not re.findall(r"https?://|img\.shields|fonts\.g|cdn", answer.text)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_a_page_is_made_of_scripts_that_the_application_serves(psp: Psp, page: str) -> None:
    html = psp.client.get(page).text
    scripts = re.findall(r'<script src="([^"]+)"', html)

    assert scripts
    for script in scripts:
        answer = psp.client.get(script)
        assert "javascript" in answer.headers["content-type"]
        assert len(answer.content) > 100_000
    assert [url for url in references(html) if url.endswith("favicon.png")]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_may_load_nothing_from_elsewhere_and_runs_no_script_but_its_own(psp: Psp, page: str) -> None:
    answer = psp.client.get(page)
    policy = answer.headers["content-security-policy"]
    sources = {part.split()[0]: set(part.split()[1:]) for part in policy.split("; ")}
    inline = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    hashes = {f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in inline}

    assert answer.text.count("<script") == len(inline) + answer.text.count("<script src=")
    assert not re.search(r"<[^>]+\son\w+=", answer.text)
    assert sources.pop("script-src") == {"'self'"} | hashes
    assert sources.pop("style-src") == {"'self'", "'unsafe-inline'"}
    assert {name: sources[name] for name in ("default-src", "frame-ancestors", "base-uri", "form-action")} == {
        name: {"'none'"} for name in ("default-src", "frame-ancestors", "base-uri", "form-action")
    }
    assert set().union(*sources.values()) <= {"'self'", "'none'", "data:", "blob:"}
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"


def test_the_document_is_served_and_complete(psp: Psp) -> None:
    served = psp.client.get("/openapi.json").json()

    assert served == app.openapi()
    assert {(method.upper(), path) for path, item in served["paths"].items() for method in item} == {
        (route.only_method, route.path_format) for route in ROUTES
    }
    for reference in every_reference(served):
        assert reference.removeprefix("#/components/schemas/") in served["components"]["schemas"]


def test_operations_have_short_ids_of_their_own() -> None:
    ids = [operation(route)["operationId"] for route in ROUTES]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z_]+", one) for one in ids)
    assert "charge" in ids


@each_route
def test_an_operation_has_a_tag_that_is_described(route: PspRoute) -> None:
    described = {tag["name"] for tag in app.openapi()["tags"] if tag["description"]}

    assert len(operation(route)["tags"]) == 1
    assert set(operation(route)["tags"]) <= described
    assert operation(route)["description"].strip()


@each_route
def test_an_operation_asks_for_the_credentials_of_the_role_table(route: PspRoute) -> None:
    access = ROLE_TABLE[route.only_method, route.path]
    schemes: dict[Needs, list[dict[str, list[str]]]] = {
        Needs.NOTHING: [],
        Needs.TOKEN: [{"Login": []}],
        Needs.API_KEY: [{"ApiKey": []}],
        Needs.PAYMENT_KEY: [{"ApiKey": []}, {"PaymentKey": []}],
        Needs.BOTH: [{"ApiKey": [], "Login": []}],
        Needs.EITHER: [{"ApiKey": []}, {"Login": []}],
    }

    assert operation(route)["security"] == schemes[access.needs]
    assert operation(route)["x-roles"] == [role.value for role in access.roles]
    assert operation(route).get("x-scope") == access.scope


@each_route
def test_an_operations_body_has_an_example_that_is_valid(route: PspRoute) -> None:
    if route.body_field is None:
        assert "requestBody" not in operation(route)
        return
    for media in operation(route)["requestBody"]["content"].values():
        examples = resolved(media["schema"])["examples"]
        assert examples
        for one in examples:
            TypeAdapter[Any](route.body_field.field_info.annotation or dict).validate_python(one)


@each_route
def test_an_operation_documents_its_errors(route: PspRoute) -> None:
    responses = operation(route)["responses"]
    expected = {"422"}
    if route.access.needs is not Needs.NOTHING:
        expected.add("401")
    if route.access.scope is not None or len(route.access.roles) < 4:
        expected.add("403")
    if route.body_field is not None and route.body_field.field_info.is_required():
        expected |= {"413", "415"}

    assert expected <= responses.keys()
    # It is what says that the process lives, whatever MongoDB does.
    assert ("503" in responses) is (route.path != "/health/live")
    for status, response in responses.items():
        assert response["description"]
        if status >= "400" and not (route.path.endswith("/status") and status == "503"):
            content = response["content"]["application/json"]
            assert content["schema"]["$ref"].endswith("/Problem")
            assert content["examples"]


@each_route
def test_an_operation_documents_its_answer(route: PspRoute) -> None:
    responses = operation(route)["responses"]
    (success,) = (response for status, response in responses.items() if status.startswith("2"))

    assert resolved(success["content"]["application/json"]["schema"])["properties"]


@each_route
def test_an_operations_answer_has_an_example_that_is_valid(route: PspRoute) -> None:
    (success,) = (response for status, response in operation(route)["responses"].items() if status.startswith("2"))
    for media in success["content"].values():
        form = {**media["schema"], "components": {"schemas": app.openapi()["components"]["schemas"]}}

        jsonschema_rs.validator_for(form, validate_formats=True).validate(media["example"])


@each_route
def test_an_operations_path_has_examples_of_its_parameters(route: PspRoute) -> None:
    assert operation(route)["summary"]
    for parameter in operation(route).get("parameters", ()):
        if parameter["in"] == "path":
            assert parameter["schema"].keys() & {"examples", "enum"}, parameter["name"]


def test_one_objects_get_documents_its_etag() -> None:
    single = [
        route
        for route in ROUTES
        if route.only_method == "GET" and (route.path.endswith("}") or route.path.endswith("/users/me"))
    ]
    assert len(single) == 13
    for route in single:
        operation = app.openapi()["paths"][route.path_format]["get"]
        assert "ETag" in operation["responses"]["200"]["headers"], route.path
        assert operation["responses"]["304"]["description"], route.path
        assert "If-None-Match" in [parameter["name"] for parameter in operation["parameters"]], route.path


def test_the_outgoing_webhooks_are_described() -> None:
    assert app.openapi()["webhooks"].keys() == EVENT_TYPES.keys()
    for event, webhook in app.openapi()["webhooks"].items():
        body = resolved(webhook["post"]["requestBody"]["content"]["application/json"]["schema"])
        shown = body["properties"]["data"]["$ref"].rpartition("/")[2]
        kind = event.partition(".")[0].title()
        assert shown == ("WebhookEndpointOut" if kind == "Webhook" else f"{kind}Out")
        assert {body["properties"][name]["const"] for name in ("event", "type")} == {event}
        assert webhook["post"]["operationId"] == event.replace(".", "_")
        example = webhook["post"]["requestBody"]["content"]["application/json"]["example"]
        assert event_model(event).model_validate(example).type == event


def test_whoever_names_event_types_finds_all_of_them_listed() -> None:
    kinds = {f"{event.partition('.')[0]}.*" for event in EVENT_TYPES}
    schemas = app.openapi()["components"]["schemas"]
    listed = [
        resolved(schemas[model]["properties"][field])["items"]
        for model, field in (
            ("WebhookEndpointRequest", "events"),
            ("WebhookEndpointPatch", "events"),
            ("ResendJobRequest", "types"),
        )
    ]

    for items in listed:
        assert set(items["enum"]) == EVENT_TYPES.keys() | kinds | {"*"}


def test_an_outgoing_webhooks_headers_are_those_of_the_documentation() -> None:
    documented = {code(row[0]) for row in rows(section(read("api_documentation.md"), "## Outgoing webhooks"))}
    for event, webhook in app.openapi()["webhooks"].items():
        headers = {one["name"]: one for one in webhook["post"]["parameters"]}
        signed = ["webhook-id", "webhook-timestamp", "webhook-signature", "X-Signature"]
        assert list(headers) == [*signed, "X-Request-ID"], event
        assert headers.keys() <= documented
        for one in headers.values():
            assert (one["in"], one["required"], bool(one["description"])) == ("header", one["name"] in signed, True)
            assert one["schema"]["type"] == "string"


def test_the_authorize_button_logs_in(psp: Psp) -> None:
    account = psp.register()
    flow = app.openapi()["components"]["securitySchemes"]["Login"]["flows"]["password"]
    # What Swagger UI sends: the whole form, with what its fields for a client hold, as a browser encodes it.
    form = {"grant_type": "password", "username": account.email, "password": PASSWORD, "scope": "", "client_id": ""}
    headers = {"Accept": "application/json, text/plain, */*", "X-Requested-With": "XMLHttpRequest"}

    answer = psp.client.post(urljoin("/docs", flow["tokenUrl"]), data=form, headers=headers)

    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    assert answer.json()["token_type"] == "bearer"
    opened = psp.get("/protected", headers={"Authorization": f"Bearer {token}"})
    assert opened.json()["userId"] == account.id


def test_a_link_leads_from_what_is_answered_to_an_operation_that_takes_it() -> None:
    operations = {one["operationId"]: one for item in app.openapi()["paths"].values() for one in item.values()}
    links = [
        (response, link)
        for operation in operations.values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]

    assert {"get_payment", "create_refund", "login", "delete_resource"} <= {link["operationId"] for _, link in links}
    for response, link in links:
        target = operations[link["operationId"]]
        in_path = {one["name"] for one in target.get("parameters", ()) if one["in"] == "path"}
        assert link.get("parameters", {}).keys() == (in_path if "requestBody" not in link else set())
        answer = resolved(response["content"]["application/json"]["schema"])["properties"]
        for value in [*link.get("parameters", {}).values(), *link.get("requestBody", {}).values()]:
            if str(value).startswith("$response.body#/"):
                assert value.removeprefix("$response.body#/").split("/")[0] in answer, link


def test_every_answer_has_the_headers_of_its_status() -> None:
    for route in ROUTES:
        for status, response in operation(route)["responses"].items():
            headers = response["headers"]
            assert headers["X-Request-ID"]["required"]
            assert ("Retry-After" in headers) is (status in ("429", "503"))
            assert ("WWW-Authenticate" in headers) is (status == "401")
            assert ("Cache-Control" in headers) is (route.shows_a_secret and status < "300")
            limited = policy_of(route.only_method, route.path) is not None and (status < "300" or status == "429")
            assert ("RateLimit" in headers, "RateLimit-Policy" in headers) == (limited, limited)
