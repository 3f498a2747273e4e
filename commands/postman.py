"""A Postman collection (format v2.1) made of the OpenAPI document.

First a walk from registering to a refund, in which every request must succeed, then every operation in a folder for
each tag. There an operation is asked with what earlier ones have left in the environment, and any answer that the
document names for it is right: a payment that is completed cannot be captured, and the run says so with a 409.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from routers.links import FOUND

Json = dict[str, Any]

_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_ENDS_A_SESSION = ("logout", "end_all_sessions", "change_password")
_KEPT: Mapping[str, Mapping[str, str]] = {
    **FOUND,
    "charge": {**FOUND["charge"], "resource_id": "/id"},
    "list_request_logs": {"log_id": "/requestLogs/0/id"},
    "register": {"user_id": "/userId", "api_key": "/apiKey", "webhook_secret": "/webhookSecret"},
    "login": {"access_token": "/access_token", "refresh_token": "/refresh_token"},
    "refresh": {"access_token": "/access_token", "refresh_token": "/refresh_token"},
    "rotate_webhook_secret": {"webhook_secret": "/webhookSecret"},
}
"""What of an answer the requests after it need, as JSON pointers, by operation."""
_VARIABLES_IN_BODIES: Mapping[str, str] = {
    "ada@example.com": "{{email}}",
    "correct-horse-battery": "{{password}}",
    "txn_06gztrpz170we29n8r9na1k3t0": "{{payment_id}}",
    "card_06gztrpz170we29n8r9na1k3t0": "{{card_id}}",
    "we_06gztrpz170we29n8r9na1k3t0": "{{endpoint_id}}",
    "psp_rt_06gztrpz170we29n8r9na1k3t0…": "{{refresh_token}}",
}
"""What stands for something of one's own in the examples of bodies."""
_NEW_ADDRESS = ["pm.environment.set('email', `ada-${Date.now()}-${Math.floor(Math.random() * 1e9)}@example.com`);"]
_SIGNATURE = [
    "const body = pm.variables.replaceIn(pm.request.body.raw);",
    "const signature = CryptoJS.HmacSHA256(body, pm.environment.get('webhook_secret')).toString();",
    "pm.request.headers.remove('x-signature');",
    "pm.request.headers.add({key: 'X-Signature', value: signature});",
]
_BEFORE: Mapping[str, list[str]] = {"register": _NEW_ADDRESS, "receive_webhook": _SIGNATURE}
"""What is worked out before a request is sent."""
_AUTH_HEADERS = {"ApiKey": ("X-API-Key", "{{api_key}}"), "Login": ("Authorization", "Bearer {{access_token}}")}


@dataclass(frozen=True, slots=True)
class _Step:
    """A request of the walk, with what differs from the operation's own."""

    operation_id: str
    name: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    expects: Mapping[str, str] = field(default_factory=dict)
    """Fields of the answer, with their values."""


_WALK = (
    _Step("register", "1. Open an account", expects={"role": "merchant"}),
    _Step("login", "2. Log in"),
    _Step("charge", "3. Charge a card, and wait for the bank", {"Prefer": "wait=30"}, expects={"status": "completed"}),
    _Step("create_refund", "4. Give a part of it back", expects={"currency": "USD"}),
    _Step("get_payment", "5. Read the payment with its refund", expects={"id": "{{payment_id}}"}),
    _Step("query_payments", "6. Find it again", query={"reference": "order-1001", "sortBy": "amount"}),
    _Step("create_customer", "7. Keep a customer"),
    _Step("list_events", "8. See what has happened", query={"objectId": "{{payment_id}}"}),
)


def collection_of(document: Json) -> Json:
    """The collection of an API that is described by this OpenAPI document."""
    found = {one.operation["operationId"]: one for one in _operations(document)}
    walk = [_item(found[step.operation_id], document, step) for step in _WALK]
    ending = {tag for one in _ENDS_A_SESSION for tag in found[one].operation["tags"]}
    tags = sorted(document["tags"], key=lambda tag: tag["name"] in ending)
    folders = [_folder(tag, list(found.values()), document) for tag in tags]
    return {
        "info": {
            "name": document["info"]["title"],
            "description": document["info"]["description"].strip(),
            "version": document["info"]["version"],
            "schema": _SCHEMA,
        },
        "item": [
            {
                "name": "Walk: register, charge, refund, query",
                "description": "Every request must succeed, one after the other.",
                "item": walk,
            },
            *folders,
        ],
    }


def environment_of(base_url: str) -> Json:
    """What the collection's requests fill in: where the server is, and, as they run, what was answered."""
    secrets = ("password", "api_key", "webhook_secret", "access_token", "refresh_token")
    given = {"base_url": base_url, "password": "correct-horse-battery", "email": "", "resource": "payments"}
    ids = {name for pointers in _KEPT.values() for name in pointers}
    return {
        "name": "Mock PSP",
        "values": [
            {
                "key": name,
                "value": given.get(name, ""),
                "type": "secret" if name in secrets else "default",
                "enabled": True,
            }
            for name in [*given, *sorted(ids - given.keys())]
        ],
        "_postman_variable_scope": "environment",
    }


@dataclass(frozen=True, slots=True)
class _Operation:
    method: str
    path: str
    operation: Json


def _operations(document: Json) -> Iterator[_Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield _Operation(method, path, operation)


def _folder(tag: Json, operations: list[_Operation], document: Json) -> Json:
    mine = [one for one in operations if tag["name"] in one.operation["tags"]]
    # What ends something comes last: its folder's other requests still need it.
    mine.sort(key=lambda one: (one.operation["operationId"] in _ENDS_A_SESSION, one.method == "delete"))
    return {
        "name": tag["name"],
        "description": tag["description"],
        "item": [_item(one, document) for one in mine],
    }


def _item(one: _Operation, document: Json, step: _Step | None = None) -> Json:
    operation_id = one.operation["operationId"]
    request = _request(one, document, step)
    return {
        "name": step.name if step else one.operation["summary"],
        "request": request,
        "response": [] if step else list(_saved(one, request)),
        "event": [
            {"listen": "prerequest", "script": {"type": "text/javascript", "exec": _BEFORE.get(operation_id, [])}},
            {"listen": "test", "script": {"type": "text/javascript", "exec": list(_tests(one, document, step))}},
        ],
    }


def _request(one: _Operation, document: Json, step: _Step | None) -> Json:
    parameters = [*one.operation.get("parameters", ())]
    headers = [{"key": key, "value": value} for scheme in _schemes(one) for key, value in [_AUTH_HEADERS[scheme]]] + [
        _parameter(p, step.headers if step else {}) for p in parameters if p["in"] == "header"
    ]
    request: Json = {
        "method": one.method.upper(),
        "description": one.operation["description"],
        "auth": {"type": "noauth"},
        "header": headers,
        "url": _url(one, parameters, step.query if step else {}),
    }
    for media_type, media in one.operation.get("requestBody", {}).get("content", {}).items():
        headers.append({"key": "Content-Type", "value": media_type})
        request["body"] = _body(media_type, media["schema"], document)
    return request


def _schemes(one: _Operation) -> list[str]:
    """The credentials of the first way that the operation names to show some."""
    first: Mapping[str, Any] = next(iter(one.operation["security"]), {})
    return list(first)


def _parameter(parameter: Json, given: Mapping[str, str]) -> Json:
    """Sent only where a value is given: all of them are optional, and most exclude each other."""
    name = parameter["name"]
    example = next(iter(parameter["schema"].get("examples", ())), parameter["schema"].get("default", ""))
    return {
        "key": name,
        "value": given.get(name, str(example)),
        "description": parameter.get("description", ""),
        "disabled": name not in given,
    }


def _url(one: _Operation, parameters: list[Json], given: Mapping[str, str]) -> Json:
    path = one.path.replace("{", ":").replace("}", "").strip("/").split("/")
    query = [_parameter(parameter, given) for parameter in parameters if parameter["in"] == "query"]
    sent = "&".join(f"{item['key']}={item['value']}" for item in query if not item["disabled"])
    return {
        "raw": f"{{{{base_url}}}}/{'/'.join(path)}{f'?{sent}' if sent else ''}",
        "host": ["{{base_url}}"],
        "path": path,
        "query": query,
        "variable": [
            {"key": p["name"], "value": f"{{{{{p['name']}}}}}", "description": p.get("description", "")}
            for p in parameters
            if p["in"] == "path"
        ],
    }


def _body(media_type: str, schema: Json, document: Json) -> Json:
    example = _with_variables(_resolved(schema, document)["examples"][0])
    if media_type == "application/x-www-form-urlencoded":
        return {"mode": "urlencoded", "urlencoded": [{"key": key, "value": value} for key, value in example.items()]}
    return {
        "mode": "raw",
        "raw": json.dumps(example, indent=2, ensure_ascii=False),
        "options": {"raw": {"language": "json"}},
    }


def _with_variables(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_variables(inner) for name, inner in value.items()}
    return _VARIABLES_IN_BODIES.get(value, value) if isinstance(value, str) else value


def _resolved(schema: Json, document: Json) -> Json:
    for one in (schema, *schema.get("anyOf", ())):
        if "$ref" in one:
            named: Json = document["components"]["schemas"][one["$ref"].rpartition("/")[2]]
            return named
    return schema


def _saved(one: _Operation, request: Json) -> Iterator[Json]:
    """Every answer that the document has an example of, for Postman to show beside the request."""
    for status, response in one.operation["responses"].items():
        media = response.get("content", {}).get("application/json", {})
        examples = {"success": {"value": media["example"]}} if "example" in media else media.get("examples", {})
        for name, example in examples.items():
            yield {
                "name": f"{status} {name}",
                "originalRequest": request,
                "status": HTTPStatus(int(status)).phrase,
                "code": int(status),
                "_postman_previewlanguage": "json",
                "header": [{"key": "Content-Type", "value": "application/json"}],
                "cookie": [],
                "body": json.dumps(example["value"], indent=2, ensure_ascii=False),
            }


def _tests(one: _Operation, document: Json, step: _Step | None) -> Iterator[str]:
    responses = one.operation["responses"]
    success = next(status for status in responses if status.startswith("2"))
    allowed = [int(success)] if step else sorted(int(status) for status in responses)
    schema = _resolved(responses[success]["content"]["application/json"]["schema"], document)
    required = json.dumps(schema.get("required") or list(schema["properties"]))
    yield from (
        f"pm.test('answers as documented', () => pm.expect(pm.response.code).to.be.oneOf({allowed}));",
        "pm.test('names the request', () => pm.response.to.have.header('X-Request-ID'));",
        "const answer = pm.response.json();",
        f"if (pm.response.code === {success}) {{",
        f"  pm.test('has its fields', () => pm.expect(answer).to.include.all.keys({required}));",
    )
    for name, pointer in _KEPT.get(one.operation["operationId"], {}).items():
        steps = "".join(f"?.[{part}]" if part.isdigit() else f"?.{part}" for part in pointer.strip("/").split("/"))
        yield f"  if (answer{steps}) pm.environment.set('{name}', answer{steps});"
    for name, value in (step.expects if step else {}).items():
        wanted = f"pm.variables.replaceIn('{value}')"
        yield f"  pm.test('{name} is {value}', () => pm.expect(answer.{name}).to.equal({wanted}));"
    yield "} else {"
    yield "  pm.test('says what is wrong', () => pm.expect(answer).to.include.all.keys('detail', 'code', 'requestId'));"
    yield "}"
