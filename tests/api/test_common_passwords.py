"""A public server refuses the passwords that everybody tries first. One on somebody's own machine takes them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from core.common_passwords import is_common
from tests.conftest import Server
from tests.factories import API, Psp
from tests.processes import ROOT, clean_environment

ENCRYPTION_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
PRODUCTION = {
    "ENVIRONMENT": "production",
    "PASSWORD_HASH_COST": "12",
    "JWT_SECRET": "q7Jf0aB3kZ9xW2mN5vC8rT1yU4iO6pLs",
    "ENCRYPTION_KEY": ENCRYPTION_KEY,
}


def register(client: httpx.Client, name: str, password: str) -> httpx.Response:
    body = {"name": "Ada Lovelace", "email": f"{name}@example.com", "password": password}
    return client.post(f"{API}/users/register", json=body)


def assert_refused(answer: httpx.Response, field: str, password: str) -> None:
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"] == [
        {
            "type": "value_error",
            "loc": ["body", field],
            "msg": "Value error, this is one of the 10,000 most common passwords",
        }
    ]
    assert password not in answer.text


def test_production_refuses_common_passwords_at_registration_and_change(start_server: Callable[..., Server]) -> None:
    server = start_server(**PRODUCTION)
    with httpx.Client(base_url=server.url, timeout=35) as client:
        for name, password in (("a", "password123"), ("b", "Trustno1"), ("c", "QWERTYUIOP"), ("d", "1234567890")):
            assert_refused(register(client, name, password), "password", password)
        assert register(client, "e", "correct-horse-battery").status_code == 201
        login = {"email": "e@example.com", "password": "correct-horse-battery"}
        token = client.post(f"{API}/users/login", json=login).json()["access_token"]
        change = {"currentPassword": "correct-horse-battery", "newPassword": "iloveyou"}

        refused = client.post(f"{API}/users/me/password", json=change, headers={"Authorization": f"Bearer {token}"})

        assert_refused(refused, "newPassword", "iloveyou")
        assert client.get(f"{API}/protected", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_an_operator_in_production_is_refused_one_as_well(tmp_path: Path) -> None:
    settings = {**PRODUCTION, "SYSTEM_ADMIN_PASSWORD": "the-first-admins-password"}

    made = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "create-admin", "--email", "a@example.com", "--password-stdin"],
        cwd=tmp_path,
        env=clean_environment(**settings),
        input="Trustno1\n",
        capture_output=True,
        text=True,
        check=False,
    )

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
