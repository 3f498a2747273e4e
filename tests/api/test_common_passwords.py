"""A public server refuses the passwords that everybody tries first. One on somebody's own machine takes them."""

from pathlib import Path

import pytest

from core.common_passwords import is_common
from tests.command_line import fresh_command
from tests.factories import Psp
from tests.processes import ROOT, clean_environment

ENCRYPTION_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PRODUCTION = {
    "ENVIRONMENT": "production",
    "PASSWORD_HASH_COST": "12",
    "JWT_SECRET": "q7Jf0aB3kZ9xW2mN5vC8rT1yU4iO6pLs",
    "ENCRYPTION_KEY": ENCRYPTION_KEY,
}


def test_an_operator_in_production_is_refused_one_as_well(tmp_path: Path) -> None:
    settings = {**PRODUCTION, "SYSTEM_ADMIN_PASSWORD": "the-first-admins-password"}

    options = ("--email", "a@example.com", "--password-stdin")
    made = fresh_command("create-admin", *options, cwd=tmp_path, typed="Trustno1\n", **clean_environment(**settings))

    assert (made.returncode, made.stderr) == (2, "Error: This is one of the 10,000 most common passwords.\n")


def test_development_takes_any_password_of_the_contracts_length(psp: Psp) -> None:
    assert psp.register(password="password123").id


@pytest.mark.parametrize("password", ["password", "PassWord", "12345678", "qwertyuiop", "trustno1", "iloveyou"])
def test_what_everybody_tries_first_is_common_in_any_case(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", ["", "correct-horse-battery", "password ", "\ud800" * 8, "пароль-пароль"])
def test_what_nobody_tries_is_not(password: str) -> None:
    assert not is_common(password)


def test_every_listed_password_could_be_chosen_and_is_found() -> None:
    listed = (ROOT / "core" / "common_passwords.txt").read_text("utf-8").splitlines()

    assert len(listed) == len(set(listed)) > 3000
    assert all(8 <= len(password) <= 64 and is_common(password) for password in listed)
