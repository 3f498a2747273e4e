"""I7 in one place: no secret survives, however it is nested, named or escaped, and what is none stays as it was."""

import json
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import ids, json_codec
from core.security import API_KEY, PAYMENT_KEY, REFRESH_TOKEN, new_webhook_secret
from domain.cards import Brand
from domain.redaction import (
    REDACTED,
    could_hold_a_secret,
    is_secret_field,
    is_secret_header,
    mask_pans,
    redact,
    redact_text,
    shown_at_a_glance,
)
from schemas.payments import PaymentOut
from tests.scale import scaled
from tests.tables import each
from tests.unit.test_cards import pans

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJlLW9mLWEtdG9rZW4"
CANARY = "hunter2-of-the-canary"
PAN = "4242424242424242"
BY_FORM = {
    PAN: PAN,
    "4242 4242-4242  4242": "4242 4242-4242  4242",
    "378282246310005": "378282246310005",
    "4242\u00a04242\u00a04242\u00a04242": "4242\u00a04242",
    "4242+4242+4242+4242": "4242+4242",
    **{text: text[-30:] for text in (credential.issue().text for credential in (API_KEY, PAYMENT_KEY, REFRESH_TOKEN))},
    **{text: text[6:] for text in (new_webhook_secret(),)},
    JWT: JWT.split(".")[2],
    f"Bearer {JWT}": JWT.split(".")[1],
    "Authorization: Bearer abcdef0123456789abcdef": "abcdef0123456789",
    "basic Z3JhY2U6aHVudGVyMg==": "Z3JhY2U6aHVudGVyMg",
    "mongodb+srv://grace:hunter2@db.example.com/x?y=1": "hunter2",
    "redis://:hunter@2@cache:6379": "hunter",
    "http://127.0.0.1:8000/3ds/txn_06gztrpz170we29n8r9na1k3t0/0123456789abcdef": "0123456789abcdef",
    f"?a=1&password={CANARY}&b=2": CANARY,
    f"p%61ssword={CANARY}": CANARY,
    f'"p\\u0061ssword":"{CANARY}"': CANARY,
    f"{{'apiKey': b'{CANARY}'}}": CANARY,
    f'{{\\"secret\\": \\"{CANARY}\\"}}': CANARY,
    f"card[cvc]={CANARY}": CANARY,
    f"x-api-key: {CANARY}": CANARY,
    f'"new_password" : {{"a": "{CANARY}"}}': CANARY,
}
SECRET_NAMES = [
    "password",
    "newPassword",
    "current_password",
    "API-Key",
    "apiKey",
    "X-API-Key",
    "PASSWORD",
    "cvc",
    "CVV2",
]
SECRET_NAMES += [
    "access_token",
    "refreshToken",
    "Authorization",
    "webhookSecret",
    "client_secret",
    "Set-Cookie",
    "token",
]
HARMLESS: list[Any] = [
    *("", "Grace Hopper", "order 1001", "2026-11-21 15:30:00", "2026-11-21T07:25:01.123Z", "+44 20 7946 0018"),
    *("+4915112345678", "+49 151 1234 5678", "+8613800138000", "1234567890123456", "1795332301123", "100.50 USD"),
    *("psp_sk_06gztrpz17…", "pk_06gztrpz170we29n8r9na1k3t0", "txn_06gztrpz170we29n8r9na1k3t0", "whsec_", "tok_1"),
    *("basic subscription", "bearer instruments and certificates", "a new token, not here", "424242XXXXXX4242"),
    *("https://example.com:8443/hook?a=1&b=%20x", "100% of it", "C:\\users\\u", "ratio 3:2 = 1.5", "[1, 2, 3]"),
    "Invalid or missing X-API-Key. Access denied.",
    *(0, 1, -5, 10050, 10**12, 100.5, 1795332301123, True, None, [], {}, Decimal("100.10")),
    {
        "apiKeyId": "key_1",
        "passwordChangedAt": "2026-11-21T07:25:01.123Z",
        "token_type": "bearer",
        "apiKeys": [{"id": 1}],
    },
    {
        "cardToken": "tok_1",
        "number": "INV-2026-11",
        "password": None,
        "secret": "",
        "nextCursor": "abc",
        "metadata": {},
    },
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
ESCAPED: list[Callable[[str], str]] = [
    str,
    quote,
    lambda text: quote(quote(text)),
    lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    lambda text: json.dumps({"a": [text]}),
    lambda text: f"the request failed: {text}, which is wrong",
]


def drawn(*strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """Prove it of what hypothesis draws."""
    few = settings(max_examples=scaled(25, 100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    return lambda test: pytest.mark.scaled(few(given(*strategies)(test)))


@each(("text", "escaped"), product(BY_FORM, ESCAPED))
def test_of_what_is_a_secret_by_its_form_nothing_is_left_in_a_text(text: str, escaped: Callable[[str], str]) -> None:
    shown = redact_text(escaped(text))

    for secret in (BY_FORM[text], text):
        assert secret not in shown, shown
        assert escaped(secret) not in shown, shown


@drawn(JSON, st.sampled_from(list(BY_FORM)), st.lists(st.sampled_from(["list", "a", "details", "b.c"]), max_size=20))
def test_nor_in_a_value_however_deep_it_is(beside: Any, text: str, way: list[str]) -> None:
    value: Any = text
    for step in way:
        value = [beside, value] if step == "list" else {"beside": beside, step: value}

    assert BY_FORM[text] not in str(redact(value))


@each("text", BY_FORM)
def test_nothing_that_is_a_secret_passes_at_a_glance(text: str) -> None:
    for written in (text, quote(text), json.dumps({"a": [text]}), "".join(f"\\u{ord(letter):04x}" for letter in text)):
        assert shown_at_a_glance(written.encode()) is None


@each("name", SECRET_NAMES)
def test_nor_does_the_name_of_one(name: str) -> None:
    for spelt in (name, name.upper(), name.lower(), name.replace("_", "-")):
        assert shown_at_a_glance(json.dumps({spelt: "x"}).encode()) is None


@drawn(JSON)
def test_what_passes_at_a_glance_would_not_be_changed(value: Any) -> None:
    written = json.dumps(value).encode()

    if shown_at_a_glance(written) is not None:
        assert redact(value) == value
        assert shown_at_a_glance(written) == written


MASKED = {
    "brand": "visa",
    "number": "424242XXXXXX4242",
    "last4": "4242",
    "expMonth": 12,
    "expYear": 2030,
    "cvc": "XXX",
    "holderName": None,
    "fingerprint": "967cdfaa2d0d684d10824ee997519394",
}


def test_an_ordinary_body_passes_at_a_glance() -> None:
    payment = dict.fromkeys(PaymentOut.model_json_schema(mode="serialization")["properties"], "x")
    charge = {"customerName": "Grace Hopper", "paymentAmount": 100.5, "createdAt": "2026-11-21T07:25:01.123Z"}

    for body in (
        charge,
        payment,
        {**payment, "card": MASKED},
        {**payment, "card": {**MASKED, "holderName": "G. Hopper"}},
    ):
        written = json_codec.dumps(body)
        assert shown_at_a_glance(written) == written


TYPED = {"number": PAN, "expMonth": 12, "expYear": 2030, "cvc": "739", "holderName": "Grace Hopper"}


@pytest.mark.parametrize("dumps", [json_codec.dumps, lambda value: json.dumps(value).encode()], ids=["dense", "spaced"])
@pytest.mark.parametrize("kept", [5, 4], ids=["named", "nameless"])
def test_a_typed_card_is_masked_at_a_glance_as_it_is_at_length(dumps: Any, kept: int) -> None:
    body = {"paymentAmount": 100.5, "card": dict(list(TYPED.items())[:kept]), "customerName": "Grace Hopper"}

    shown = shown_at_a_glance(dumps(body))

    assert shown is not None
    assert json.loads(shown) == redact(body)


@drawn(st.permutations(list(TYPED)), st.sampled_from(list(TYPED)), JSON)
def test_nothing_of_a_typed_card_passes_at_a_glance(order: list[str], wrong: str, other: Any) -> None:
    """Whatever the order of its fields, and whatever stands in one of them."""
    card = {name: TYPED[name] for name in order}

    for body in ({"card": card}, {"card": {**card, wrong: other}}, {"a": json.dumps(card), "card": card}):
        shown = shown_at_a_glance(json.dumps(body, separators=(",", ":")).encode())
        assert shown is None or json.loads(shown) == redact(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": PAN},
        {"number": "424242XXXXX14242"},
        {"expMonth": 123},
        {"expMonth": "123"},
        {"expYear": 7391},
        {"cvc": "739"},
        {"holderName": "739"},
        {"holderName": PAN},
        {"fingerprint": PAN},
        {"x": CANARY, "password": CANARY},
    ],
    ids=str,
)
def test_a_card_that_is_not_masked_does_not(wrong: dict[str, Any]) -> None:
    written = json_codec.dumps({"card": {**MASKED, **wrong}})

    for spoilt in (written, written.replace(b'"holderName"', b'"cvc":"739","holderName"')):
        assert shown_at_a_glance(spoilt) is None


@drawn(st.sampled_from(SECRET_NAMES), JSON, st.sampled_from([CANARY, [CANARY], {"x": CANARY}]))
def test_nor_under_the_name_of_a_secret(name: str, beside: Any, secret: Any) -> None:
    for spelt in (name, name.upper(), name.lower(), name.replace("_", "-")):
        assert redact({"a": [{spelt: secret, "b": beside}]})["a"][0][spelt] == REDACTED
        assert CANARY not in redact_text(json.dumps({spelt: secret}))
        assert CANARY not in redact_text(f"{spelt}={CANARY}&a=b")


@drawn(JSON | st.text(alphabet="eyJ.psk_%\\u0a4-+/:@=\"'{[ \ud800"))
def test_whatever_comes_nothing_is_raised(value: Any) -> None:
    redact(value)
    redact_text(str(value))


def test_a_card_number_is_none_under_any_name_and_as_a_number_as_well() -> None:
    value = {PAN: int(PAN), "a": float(PAN), "b": Decimal(PAN), "number": "4242424242424241", "c": [PAN]}

    shown = redact(value)

    assert PAN not in str(shown)
    assert shown["number"] == REDACTED, "a digit is wrong"
    assert shown["c"] == ["424242XXXXXX4242"]


def test_a_security_code_that_was_typed_as_something_else_of_the_card_is_none() -> None:
    mistyped = {"expMonth": "739", "exp_year": 7391, "holderName": "Grace 739"}
    right = {"expMonth": 12, "expYear": 2040, "exp_year": "40", "holderName": "Grace Hopper", "cvc": ""}

    assert redact(mistyped) == dict.fromkeys(mistyped, REDACTED)
    assert redact(right) == right


@drawn(
    pans(),
    st.sampled_from(["", " ", "-", "  "]),
    st.sampled_from(["{}", "card {}.", "{} 12 30", "12 {}", "{}-123", "{}1230", "1{}", "{} {}", "{}; {}"]),
)
def test_a_card_number_is_masked_whatever_stands_beside_it(pan: tuple[str, Brand], separator: str, text: str) -> None:
    digits = pan[0]
    typed = text.replace("{}", separator.join(digits[start : start + 4] for start in range(0, len(digits), 4)))

    shown = mask_pans(typed)

    assert digits not in shown.replace(" ", "").replace("-", "")
    assert len(shown) == len(typed)


def test_the_first_six_and_the_last_four_digits_stay() -> None:
    assert mask_pans("4242-4242-4242-4242 12 40") == "4242-42XX-XXXX-4242 12 40"


@each("value", HARMLESS)
def test_what_is_no_secret_stays(value: Any) -> None:
    assert redact(value) == value
    assert redact_text(json.dumps(value, default=str)) == json.dumps(value, default=str) or isinstance(value, dict)


@drawn(
    st.datetimes().map(lambda moment: moment.replace(tzinfo=UTC).isoformat())
    | st.dates().map(str)
    | st.integers(0, 10**11).map(str)
    | st.decimals(0, 10**9, places=2).map(str)
    | st.sampled_from(["txn", "pk", "key", "evt", "cus"]).map(ids.fresh)
    | st.from_regex(r"[A-Za-z ,.!?]{0,60}", fullmatch=True)
)
def test_times_amounts_ids_and_sentences_stay(text: str) -> None:
    assert redact_text(text) == text
    assert redact({"a": text}) == {"a": text}


def test_what_is_redacted_stays_as_it_is() -> None:
    for text in BY_FORM:
        assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.scaled
@pytest.mark.parametrize(
    "piece",
    [
        *("4", "4-", "42424242424-", "-", "4" * 150 + "x", "eyJ", "eyJ.", "psp_sk_", "//a:", "/3ds/"),
        *("password", "password=", "password:{", "a.", '"', "basic ", "bearer a", "[", "\\", "a:", "%34", "\\u0034"),
    ],
)
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    for before in ("", "%", "number="):
        redact_text(before + piece * (scaled(100_000, 500_000) // len(piece)))


@pytest.mark.parametrize("written", [json.dumps, urlencode, str], ids=["json", "form", "python"])
def test_what_was_typed_into_the_wrong_field_of_a_card_is_in_no_text(written: Any) -> None:
    """A body too long to be read as JSON is one."""
    shown = redact_text(written({"number": "4111111111111112", "expMonth": 737, "expYear": 2030, "holderName": "7391"}))

    assert not any(digits in shown for digits in ("4111111111111112", "737", "7391"))
    assert "2030" in shown


@drawn(
    st.dictionaries(
        st.sampled_from(["number", "pan", "expMonth", "expYear", "holderName", "amount", "accountNumber"]),
        st.sampled_from(["4111111111111112", PAN, "737", "12", "2030", "Grace", "1000"]),
        min_size=1,
    )
)
def test_a_card_in_a_text_is_judged_as_in_json(card: dict[str, str]) -> None:
    assert json.loads(redact_text(json.dumps(card))) == redact(card)


def test_names_that_only_tell_of_secrets_are_no_secrets() -> None:
    assert not any(is_secret_field(name) for name in ("apiKeyId", "passwordChangedAt", "token_type", "idempotencyKey"))
    assert could_hold_a_secret("expMonth")
    assert not could_hold_a_secret("reference")
    assert is_secret_header("X-Payment-Key")
    assert not any(is_secret_header(name) for name in ("webhook-signature", "X-Signature", "Idempotency-Key"))
