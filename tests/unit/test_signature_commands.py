"""`cli.py sign` and `cli.py verify`: what one prints the other accepts, and nothing is ever asked."""

import json
import re
import shlex
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251 - the command line itself is what is tested

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
BODY = '{"id": "evt_1", "name": "Zo\u00eb\'s"}'


def run(*arguments: str, secret: str | None = SECRET, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, env={"WEBHOOK_SECRET": secret, "COLUMNS": "500"})


def signed(*arguments: str, **options: Any) -> dict[str, Any]:
    result = run("sign", *arguments, "--json", **options)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def options(headers: dict[str, str]) -> list[str]:
    return [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]


def test_what_sign_makes_verify_accepts() -> None:
    result = run("verify", BODY, *options(signed(BODY)["headers"]))

    assert (result.exit_code, result.stdout) == (0, "Standard Webhooks: fits.\nX-Signature: fits.\n")


def test_sign_prints_a_curl_for_a_shell() -> None:
    result = run("sign", BODY, "--id", "evt_7", "--timestamp", "1700000000", "--url", "http://localhost/a?b=c&d")

    words = [word for word in shlex.split(result.stdout) if word != "\n"]
    assert words[:5] == ["curl", "-sS", "-i", "-g", "http://localhost/a?b=c&d"]
    assert words[-2:] == ["--data-raw", BODY]
    assert {"webhook-id: evt_7", "webhook-timestamp: 1700000000", "Content-Type: application/json"} <= set(words)
    assert SECRET not in result.stdout
    assert signed(BODY, "--id", "evt_7", "--timestamp", "1700000000", "--url", "http://localhost/a?b=c&d")["curl"] == (
        result.stdout.removesuffix("\n")
    )


def test_a_message_is_new_and_of_now_unless_told_otherwise() -> None:
    before_s = int(time.time())
    first, second = (signed(BODY)["headers"] for _ in range(2))

    assert re.fullmatch(r"evt_\w{26}", first["webhook-id"])
    assert first["webhook-id"] != second["webhook-id"]
    assert before_s <= int(first["webhook-timestamp"]) <= time.time()


def test_a_url_is_sent_to_as_it_is_and_stands_for_no_others() -> None:
    url = "http://127.0.0.1:4242/a{b,c}[1-2]"

    words = shlex.split(signed(BODY, "--url", url)["curl"])

    # Without it curl reads braces and brackets as several URLs.
    assert "-g" in words[: words.index(url)]


def test_a_file_is_signed_as_its_bytes_are_and_sent_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "it's a body"
    file.write_bytes(b"\xff\x00\r\n")

    made = signed(f"@{file}")

    assert shlex.split(made["curl"])[-2:] == ["--data-binary", f"@{file}"]
    assert run("verify", "@-", *options(made["headers"]), stdin=b"\xff\x00\r\n").exit_code == 0
    assert run("verify", "@-", *options(made["headers"]), stdin=b"\xff\x00\n").exit_code == 1


def test_standard_input_is_sent_as_text() -> None:
    assert shlex.split(signed("@-", stdin=b"@not a file\n")["curl"])[-2:] == ["--data-raw", "@not a file\n"]
    for unfit in (b"\xff", b"\0"):
        assert "put them in a file" in run("sign", "@-", stdin=unfit).stderr


def test_verify_says_why_and_exits_with_1() -> None:
    headers = options(signed(BODY)["headers"])

    result = run("verify", "@-", *headers, stdin=BODY.encode() + b"\n")
    told = run("verify", "@-", *headers, "--json", stdin=BODY.encode() + b"\n")

    assert (result.exit_code, told.exit_code) == (1, 1)
    assert "X-Signature: does not fit.\n  The body has a line break at its end" in result.stdout
    answer = json.loads(told.stdout)
    assert answer["verified"] is False
    assert [(one["scheme"], one["fits"]) for one in answer["schemes"]] == [
        ("Standard Webhooks", False),
        ("X-Signature", False),
    ]
    assert "line break" in answer["schemes"][0]["problem"]


def test_one_scheme_that_does_not_fit_is_enough() -> None:
    headers = {**signed(BODY)["headers"], "X-Signature": "0" * 64}

    result = run("verify", BODY, *options(headers))

    assert result.exit_code == 1
    assert "Standard Webhooks: fits.\nX-Signature: does not fit.\n" in result.stdout


def test_a_message_without_signatures_is_not_verified() -> None:
    result = run("verify", BODY, "-H", "Content-Type: application/json")

    assert result.exit_code == 1
    assert result.stdout.startswith("Not signed")
    assert json.loads(run("verify", BODY, "-H", "A: b", "--json").stdout) == {"verified": False, "schemes": []}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sign"], "Missing argument"),
        (["sign", "@/nowhere/at-all"], "cannot be read"),
        (["sign", BODY, "--secret", "whsec_tooshort"], "base64 of at least 24 bytes"),
        (["sign", BODY, "--url", "ftp://localhost"], "http or https"),
        (["sign", BODY, "--url", "-o/etc/passwd"], "http or https"),
        (["sign", BODY, "--id", "evt 1"], "visible ASCII"),
        (["sign", BODY, "--id", "evt_1\r\nA: b"], "visible ASCII"),
        (["sign", BODY, "--timestamp", "-1"], "'--timestamp'"),
        (["sign", BODY, "--timestamp", "now"], "'--timestamp'"),
        (["verify", BODY], "Missing option '--header'"),
        (["verify", BODY, "-H", "webhook-id"], "is no header"),
        (["verify", BODY, "-H", "webhook-id: a\udcff"], "is no header"),
        (["verify", BODY, "-H", "webhook-id: a", "-H", "Webhook-Id: b"], "given twice"),
    ],
)
def test_a_question_that_cannot_be_answered_exits_with_2(arguments: list[str], reason: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stdout == ""


def test_a_secret_is_asked_for_by_nobody_and_shown_to_nobody() -> None:
    missing, wrong = run("sign", BODY, secret=None), run("sign", BODY, secret="sk_live_tell_nobody")

    assert (missing.exit_code, wrong.exit_code) == (2, 2)
    assert "WEBHOOK_SECRET" in missing.stderr
    assert "tell_nobody" not in wrong.output
    assert SECRET not in run("sign", "--help").output


@pytest.mark.parametrize("command", ["sign", "verify"])
def test_the_help_has_examples_to_copy(command: str) -> None:
    told = run(command, "--help")

    assert told.exit_code == 0
    assert len(re.findall(rf"^\s*python cli\.py {command} ", told.stdout, re.MULTILINE)) >= 2
