"""The reason why a signature does not fit, and that the verdict is the verifier's."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import signing
from domain.signature_check import Finding, Scheme, check

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + b64encode(bytes(32)).decode()
KEY = b64decode(SECRET.removeprefix("whsec_"))
BODY = b'{"id":"evt_1","data":{"name":"Zo\\u00eb","amount":100.5}}'
NOW_S = 1_795_270_862
SIGNED = f"evt_1.{NOW_S}.".encode()


def v1(key: bytes, signed: bytes) -> str:
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def hexadecimal(key: bytes, body: bytes = BODY) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def standard(signature: str = v1(KEY, SIGNED + BODY), **changes: str) -> dict[str, str]:
    headers = {"webhook-id": "evt_1", "webhook-timestamp": str(NOW_S), "webhook-signature": signature}
    return {**headers, **{f"webhook-{name}": value for name, value in changes.items()}}


def problem(headers: dict[str, str], body: bytes = BODY, now_s: float = NOW_S) -> str:
    (finding,) = check(SECRET, body, headers, now_s=now_s)
    return finding.problem or "none"


def test_what_fits_has_no_problem() -> None:
    headers = {**standard(), "x-signature": hexadecimal(SECRET.encode())}

    assert check(SECRET, BODY, headers, now_s=NOW_S) == [Finding(Scheme.STANDARD, None), Finding(Scheme.PLAIN, None)]


def test_each_scheme_is_judged_by_itself() -> None:
    headers = {**standard(), "x-signature": hexadecimal(OTHER_SECRET.encode())}

    assert [finding.problem is None for finding in check(SECRET, BODY, headers, now_s=NOW_S)] == [True, False]


def test_without_a_signature_nothing_is_found() -> None:
    assert check(SECRET, BODY, {"content-type": "application/json"}, now_s=NOW_S) == []


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"webhook-id": "evt_1", "webhook-timestamp": str(NOW_S)}, "Missing: webhook-signature"),
        ({"webhook-signature": "v1,AAAA"}, "Missing: webhook-id, webhook-timestamp"),
        (standard(id=""), "Missing: webhook-id"),
        (standard(timestamp=str(NOW_S * 1000)), "not milliseconds"),
        (standard(timestamp="2026-11-21T07:25:01Z"), "no date"),
        (standard(timestamp="nan"), "whole seconds"),
        (standard("v2,AAAA"), "begins with v1,"),
        (standard(hexadecimal(KEY, SIGNED + BODY)), "begins with v1,"),
        (standard(" ".join(["v1,no"] * 10 + [v1(KEY, SIGNED + BODY)])), "holds 11 signatures"),
        (standard("v1," + "A" * 5000), "webhook-signature is not ASCII, or longer than 4096"),
        (standard(v1(SECRET.encode(), SIGNED + BODY)), "decoded from base64"),
        (standard(v1(SECRET.removeprefix("whsec_").encode(), SIGNED + BODY)), "decoded from base64"),
        (standard(v1(KEY, BODY)), "over the body alone"),
        (standard(id="evt_2"), "webhook-id, webhook-timestamp or the body differ"),
        (standard(v1(b64decode(OTHER_SECRET[6:]), SIGNED + BODY)), "another secret"),
        (standard("v1,\u00e9"), "webhook-signature is not ASCII"),
    ],
)
def test_the_reason_why_standard_webhooks_do_not_fit(headers: dict[str, str], reason: str) -> None:
    assert reason in problem(headers)


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("", "of 0 characters"),
        ("caf\u00e9", "of 4 characters"),
        (f"sha256={hexadecimal(SECRET.encode())}", "without sha256="),
        (b64encode(bytes.fromhex(hexadecimal(SECRET.encode()))).decode(), "in base64"),
        (hexadecimal(KEY), "whsec_ included"),
        (hexadecimal(SECRET.removeprefix("whsec_").encode()), "whsec_ included"),
        (hexadecimal(OTHER_SECRET.encode()), "another secret"),
    ],
)
def test_the_reason_why_an_x_signature_does_not_fit(signature: str, reason: str) -> None:
    assert reason in problem({"x-signature": signature})


@pytest.mark.parametrize(("away_s", "reason"), [(-301, "301 s ahead"), (301, "301 s old"), (86_400, "86400 s old")])
def test_an_old_message_is_told_from_a_wrong_one(away_s: int, reason: str) -> None:
    told = problem(standard(), now_s=NOW_S + away_s)

    assert told.startswith("The signature itself fits")
    assert reason in told
    assert "fits" not in problem(standard(id="evt_2"), now_s=NOW_S + away_s)


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (BODY + b"\n", "was not signed"),
        (BODY + b"\r\n", "was not signed"),
        (json.dumps(json.loads(BODY)).encode(), "written in another way"),
        (json.dumps(json.loads(BODY), indent=2, ensure_ascii=False).encode(), "written in another way"),
        (b"[" * 100_000, "another secret"),
        (b"\xff\xfe", "another secret"),
        (b"", "another secret"),
    ],
)
def test_a_body_that_was_changed_on_the_way_is_recognised(received: bytes, reason: str) -> None:
    assert reason in problem(standard(), received)
    assert reason in problem({"x-signature": hexadecimal(SECRET.encode())}, received)


def test_a_line_break_that_was_lost_is_recognised() -> None:
    signed = hexadecimal(SECRET.encode(), BODY + b"\n")

    assert "and this one has not" in problem({"x-signature": signed})


SIGNATURES = st.sampled_from([v1(KEY, SIGNED + BODY), v1(KEY, BODY), "v1,", "v1", "v2,AAAA", ""]) | st.text(max_size=20)


@settings(max_examples=100)
@given(
    message_id=st.sampled_from(["evt_1", "evt_2"]),
    timestamp=st.sampled_from([str(NOW_S), f"{NOW_S}.0", "1e9", "", "\u0661" * 10, "9" * 5000]),
    signatures=st.lists(SIGNATURES, max_size=12).map(" ".join),
    plain=st.sampled_from([hexadecimal(SECRET.encode()), hexadecimal(SECRET.encode()).upper()]) | st.text(max_size=70),
    body=st.sampled_from([BODY, BODY + b"\n"]) | st.binary(max_size=20),
    now_s=st.sampled_from([NOW_S, NOW_S + 300, NOW_S + 301, NOW_S - 301]),
)
def test_the_verdict_is_the_verifiers(
    message_id: str, timestamp: str, signatures: str, plain: str, body: bytes, now_s: int
) -> None:
    headers = {**standard(signatures, id=message_id, timestamp=timestamp), "x-signature": plain}

    found = [finding.problem is None for finding in check(SECRET, body, headers, now_s=now_s)]

    assert found == [
        signing.verify_standard(
            SECRET, body, message_id=message_id, timestamp=timestamp, signatures=signatures, now_s=now_s
        ),
        signing.verify_plain(SECRET, body, plain),
    ]
