"""Passwords, and the credentials that carry a checksum."""

import asyncio
import os
import sys
import threading

import pytest

from core.errors import Unavailable
from core.security import API_KEY, REFRESH_TOKEN, PasswordHasher, new_webhook_secret
from domain.signing import valid_secret


def test_an_api_key_is_its_prefix_its_id_32_random_characters_and_a_checksum() -> None:
    credential = API_KEY.issue()

    assert credential.text.startswith("psp_sk_" + credential.id.removeprefix("key_"))
    assert len(credential.text) == 7 + 26 + 32 + 6
    assert API_KEY.parse(credential.text) == credential


def test_any_changed_character_breaks_the_checksum() -> None:
    text = API_KEY.issue().text

    for position in range(7, len(text)):
        other = "a" if text[position] != "a" else "b"
        assert API_KEY.parse(text[:position] + other + text[position + 1 :]) is None


@pytest.mark.parametrize("text", ["", "psp_sk_", "x" * 71, "\u00e9" * 71, "psp_sk_" + "\u00e9" * 64])
def test_what_is_no_key_is_none(text: str) -> None:
    assert API_KEY.parse(text) is None


def test_one_kind_of_credential_is_not_taken_for_another() -> None:
    assert API_KEY.parse(REFRESH_TOKEN.issue().text) is None
    assert REFRESH_TOKEN.parse(API_KEY.issue().text) is None


def test_a_rotated_credential_has_the_same_id_and_another_text() -> None:
    first = REFRESH_TOKEN.issue()
    second = REFRESH_TOKEN.issue(first.id)

    assert (first.id, first.text) != (second.id, second.text)
    assert REFRESH_TOKEN.parse(second.text) == second


def test_webhook_secrets_are_valid_and_differ() -> None:
    secrets = {new_webhook_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert all(map(valid_secret, secrets))


@pytest.mark.parametrize(
    ("password", "other"),
    [
        ("correct-horse", "correct-horsf"),
        ("\U0001f600" * 63 + "a", "\U0001f600" * 63 + "b"),  # 253 bytes: bcrypt alone would read the first 72
        ("x" * 80, "x" * 81),
        ("before\0after", "before\0other"),
    ],
)
async def test_every_character_of_a_password_counts(password: str, other: str) -> None:
    hasher = PasswordHasher(4)

    made = await hasher.hash(password)

    assert await hasher.verify(password, made)
    assert not await hasher.verify(other, made)
    assert password not in made
    hasher.close()


async def test_nobodys_password_never_fits() -> None:
    hasher = PasswordHasher(4)

    assert not await hasher.verify("anything", None)
    hasher.close()


async def test_a_full_queue_is_refused_at_once() -> None:
    hasher = PasswordHasher(4, max_waiting=2)

    results = await asyncio.gather(*(hasher.hash("password") for _ in range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [str, str, Unavailable]
    assert await hasher.hash("password")
    hasher.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems give priorities to processes alone")
async def test_hashing_gives_way_to_whatever_else_wants_the_core() -> None:
    hasher = PasswordHasher(4)
    await hasher.hash("password")

    threads = {thread.name: os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) for thread in threading.enumerate()}

    hashing = [niceness for name, niceness in threads.items() if name.startswith("bcrypt")]
    assert min(hashing) == min(threads["MainThread"] + 10, 19)
    hasher.close()
