"""Signatures beside the libraries that receivers use: what we sign they verify, and what was changed nobody takes."""

import json
import random
import shutil
import string
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import standardwebhooks
import svix.webhooks

from core.security import new_webhook_secret
from domain.signing import TOLERANCE_S, standard_refusal, standard_signature
from tests.scale import SEED, scaled

MUTATIONS = scaled(1_000, 10_000)


@dataclass(frozen=True)
class Message:
    """A message as it is on the wire."""

    secret: str
    body: bytes
    message_id: str
    timestamp: str
    signatures: str

    @property
    def headers(self) -> dict[str, str]:
        return {
            "webhook-id": self.message_id,
            "webhook-timestamp": self.timestamp,
            "webhook-signature": self.signatures,
        }


def ours(message: Message) -> bool:
    refusal = standard_refusal(
        [message.secret],
        message.body,
        message_id=message.message_id,
        timestamp=message.timestamp,
        signatures=message.signatures,
        now_s=datetime.now(UTC).timestamp(),
    )
    return refusal is None


def by_standardwebhooks(message: Message) -> bool:
    try:
        standardwebhooks.Webhook(message.secret).verify(message.body, message.headers)
    except (standardwebhooks.WebhookVerificationError, ValueError):  # a ValueError for what cannot even be read
        return False
    return True


def by_svix(message: Message) -> bool:
    try:
        svix.webhooks.Webhook(message.secret).verify(message.body, message.headers)
    except (svix.webhooks.WebhookVerificationError, ValueError):
        return False
    return True


VERIFIERS: dict[str, Callable[[Message], bool]] = {
    "ours": ours,
    "standardwebhooks": by_standardwebhooks,
    "svix": by_svix,
}


def signed(chance: random.Random, away_s: int = 0) -> Message:
    secret = new_webhook_secret()
    body = json.dumps(
        {"id": "evt_1", "text": "".join(chance.choices('abc\u00eb\u4e16 {}"\\', k=30))}, ensure_ascii=False
    ).encode()
    message_id = f"evt_{chance.getrandbits(64):016x}"
    timestamp_s = int(datetime.now(UTC).timestamp()) + away_s
    signature = standard_signature(secret, message_id, timestamp_s, body)
    return Message(secret, body, message_id, str(timestamp_s), signature)


def changed_text(chance: random.Random, text: str) -> str:
    """One printable character other, more or fewer."""
    at = chance.randrange(len(text))
    other = chance.choice([each for each in string.ascii_letters + string.digits if each != text[at]])
    return text[:at] + chance.choice((other, other + text[at], "")) + text[at + 1 :]


def changed_body(chance: random.Random, message: Message) -> Message:
    body, at = message.body, chance.randrange(len(message.body))
    cuts = (
        body[:at] + bytes([body[at] ^ 1 << chance.randrange(8)]) + body[at + 1 :],
        body[:at] + b" " + body[at:],
        body[:at],
        body + b"\n",
    )
    return replace(message, body=chance.choice(cuts))


def changed_id(chance: random.Random, message: Message) -> Message:
    return replace(message, message_id=chance.choice((changed_text(chance, message.message_id), "")))


def changed_time(chance: random.Random, message: Message) -> Message:
    away_s = chance.choice([-1, 1]) * chance.choice([1, 2, 60, 290, TOLERANCE_S + 60, 86_400, 10**9])
    return replace(message, timestamp=chance.choice((str(int(message.timestamp) + away_s), "nan", "1e9", "", "-1")))


def changed_signature(chance: random.Random, message: Message) -> Message:
    """Other bytes, or another version; written as it should be."""
    digest = bytearray(b64decode(message.signatures.removeprefix("v1,")))
    digest[chance.randrange(len(digest))] ^= 1 << chance.randrange(8)
    flipped = b64encode(digest).decode()
    right = message.signatures.removeprefix("v1,")
    wrong = [f"v1,{flipped}", f"v2,{right}", f"V1,{right}", f"v1a,{right}", right, "v1,", "", f"v1,{right[:-4]}"]
    wrong.append(" ".join([f"v1,{flipped}"] * chance.randrange(2, 30)))
    return replace(message, signatures=chance.choice(wrong))


def anothers_secret(_: random.Random, message: Message) -> Message:
    return replace(message, secret=new_webhook_secret())


def anothers_signature(chance: random.Random, message: Message) -> Message:
    return replace(message, signatures=signed(chance).signatures)


def too_old_or_too_new(chance: random.Random, _: Message) -> Message:
    return signed(chance, away_s=chance.choice([-1, 1]) * chance.randrange(TOLERANCE_S + 30, 10**6))


CHANGES = (
    changed_body,
    changed_id,
    changed_time,
    changed_signature,
    anothers_secret,
    anothers_signature,
    too_old_or_too_new,
)


@pytest.mark.parametrize("verifier", VERIFIERS)
def test_what_we_sign_is_verified(verifier: str) -> None:
    chance = random.Random(SEED)

    assert all(VERIFIERS[verifier](signed(chance)) for _ in range(200))


def mutations() -> Iterator[Message]:
    chance = random.Random(SEED)
    for number in range(MUTATIONS):
        message = signed(chance)
        mutation = CHANGES[number % len(CHANGES)](chance, message)
        assert mutation != message
        yield mutation


@pytest.mark.scaled
def test_no_changed_message_is_verified_by_anybody(record_property: Callable[[str, object], None]) -> None:
    verdicts = 0
    for mutation in mutations():
        for name, verified in VERIFIERS.items():
            assert not verified(mutation), (name, mutation)
            verdicts += 1
    record_property("proof", f"{MUTATIONS} changed messages refused by {', '.join(VERIFIERS)}: {verdicts} verdicts")


NODE = """
const { Webhook } = require("standardwebhooks");
const verdict = ([secret, body, headers]) => {
  try { new Webhook(secret).verify(Buffer.from(body, "base64"), headers); return true; } catch { return false; }
};
const messages = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(messages.map(verdict)));
"""


@pytest.mark.long
def test_the_package_of_npm_verifies_what_we_sign_and_no_change_of_10000(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine")
    install = [npm, "install", "standardwebhooks@^1.0.0", "--no-audit", "--no-fund", "--ignore-scripts"]
    if subprocess.run([*install, "--fetch-retries=1"], cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("npm could not install standardwebhooks")
    chance = random.Random(SEED)
    right, wrong = [signed(chance) for _ in range(200)], list(mutations())
    sent = json.dumps([[one.secret, b64encode(one.body).decode(), one.headers] for one in (*right, *wrong)])

    done = subprocess.run([node, "-e", NODE], cwd=tmp_path, input=sent, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == [True] * len(right) + [False] * len(wrong)
    record_property("proof", f"{MUTATIONS} changed messages refused by the standardwebhooks of npm")


@pytest.mark.parametrize(
    "loose",
    [
        lambda message: replace(message, timestamp=f"{message.timestamp}.5"),
        lambda message: replace(message, timestamp=f" {message.timestamp}"),
        lambda message: replace(message, timestamp=f"{message.timestamp}e0"),
        lambda message: replace(message, signatures=f"{message.signatures[:9]}!{message.signatures[9:]}"),
    ],
    ids=["fraction", "space", "exponent", "not base64"],
)
def test_what_the_libraries_read_loosely_we_refuse(loose: Callable[[Message], Message]) -> None:
    """The same time and the same signature, written as nobody writes them: nothing but our form is taken."""
    message = loose(signed(random.Random(SEED)))

    assert by_standardwebhooks(message)
    assert by_svix(message)
    assert not ours(message)
