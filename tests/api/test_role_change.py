"""Changing roles: only by a system_admin, never one's own, and one system_admin always remains."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.command_line import command
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, QUICK, Server, serving
from tests.factories import API, Account, Psp
from tests.processes import clean_environment
from tests.scale import scaled


def change(psp: Psp, user_id: str, role: object, headers: dict[str, str]) -> httpx.Response:
    return psp.patch(f"/users/{user_id}/role", json={"new_role": role}, headers=headers)


def test_a_system_admin_gives_an_account_another_role(psp: Psp, root: dict[str, str]) -> None:
    account = psp.register("user")

    for role in ("merchant", "admin", "user"):
        answer = change(psp, account.id, role, root)

        assert answer.status_code == 200
        assert answer.json() == {"message": f"User role updated to '{role}'", "userId": account.id, "role": role}
        assert psp.get("/users/me", headers=account.bearer).json()["role"] == role


def test_the_same_role_again_is_a_success_that_changes_nothing(psp: Psp, root: dict[str, str]) -> None:
    account = psp.register("merchant")
    before = psp.get("/users/me", headers=account.bearer).json()

    answer = change(psp, account.id, "merchant", root)

    assert answer.status_code == 200
    assert answer.json()["message"] == "User role updated to 'merchant'"
    assert psp.get("/users/me", headers=account.bearer).json() == before


@pytest.mark.parametrize(
    "role", ["system_admin", "root", "", "Admin", " user", None, 1, True, ["user"], {"$ne": "user"}]
)
def test_any_other_role_is_an_enum_error_that_lists_the_three(
    shared_psp: Psp, user: Account, root: dict[str, str], role: object
) -> None:
    answer = change(shared_psp, user.id, role, root)

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["type"], problem["loc"]) == ("enum", ["body", "new_role"])
    assert problem["msg"] == "Input should be 'user', 'merchant' or 'admin'"
    assert problem["ctx"] == {"expected": "'user', 'merchant' or 'admin'"}


def test_an_admin_changes_no_role(shared_psp: Psp, user: Account, admin: Account) -> None:
    answer = change(shared_psp, user.id, "admin", admin.bearer)

    assert (answer.status_code, answer.json()["detail"]) == (403, "Only system_admin can change user roles.")


def test_an_account_that_nobody_has_is_not_found(shared_psp: Psp, root: dict[str, str]) -> None:
    answer = change(shared_psp, "user_none", "admin", root)

    assert (answer.status_code, answer.json()["detail"]) == (404, "User not found.")


def test_nobody_changes_their_own_role(shared_psp: Psp, root: dict[str, str]) -> None:
    me = shared_psp.get("/users/me", headers=root).json()["id"]

    answer = change(shared_psp, me, "user", root)

    assert answer.status_code == 403
    assert me not in answer.json()["detail"]
    assert shared_psp.get("/users/me", headers=root).json()["role"] == "system_admin"


def test_a_refusal_names_neither_the_caller_nor_their_role(shared_psp: Psp, merchant: Account) -> None:
    for answer in (
        change(shared_psp, "user_none", "admin", merchant.bearer),
        shared_psp.get("/admin/dashboard", headers=merchant.bearer),
        shared_psp.delete("/users/user_none", headers=merchant.bearer),
    ):
        assert answer.status_code == 403
        assert merchant.id not in answer.text
        assert "merchant" not in answer.text


# A server of its own, so that the system_admins of these tests are all there are.


@dataclass(frozen=True)
class House:
    """A server whose system_admins a test makes and removes."""

    server: Server
    psp: Psp
    database: Database[Any]
    settings: dict[str, str]

    def create_admin(self, email: str, password: str | None = None) -> subprocess.CompletedProcess[str]:
        """Make a system_admin as an operator does."""
        options = ["--email", email] if password is None else ["--email", email, "--password-stdin"]
        environment = clean_environment(**QUICK, **self.settings)
        return command("create-admin", *options, cwd=self.server.log.parent, typed=f"{password}\n", **environment)

    def promote(self, account: Account) -> None:
        """The API makes no system_admin, and the command line takes longer."""
        self.database.users.update_one({"_id": account.id}, {"$set": {"role": "system_admin"}})

    def system_admins(self) -> list[str]:
        return [row["_id"] for row in self.database.users.find({"role": "system_admin", "deleted": False})]

    def delete(self, user_id: str, headers: dict[str, str]) -> int:
        return httpx.delete(
            f"{self.server.url}{API}/users/{user_id}", headers=headers, timeout=30, verify=False
        ).status_code

    def demote(self, user_id: str, headers: dict[str, str]) -> int:
        url, body = f"{self.server.url}{API}/users/{user_id}/role", {"new_role": "user"}
        return httpx.patch(url, json=body, headers=headers, timeout=30, verify=False).status_code


@pytest.fixture(scope="module")
def shared_house(
    mongo: MongoClient[dict[str, Any]], data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    log = tmp_path_factory.mktemp("house") / "server.log"
    settings = {"MONGODB_DB": "house", "DATA_DIR": str(data_dir)}
    with (
        serving(log, **settings, WORKER="off") as server,
        httpx.Client(base_url=server.url, timeout=30, verify=False) as client,
    ):
        yield House(server, Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD), mongo["house"], settings)
    mongo.drop_database("house")


@pytest.fixture
def ruler(shared_house: House) -> Account:
    """The only system_admin of the house, whoever were there before."""
    ruler = shared_house.psp.register("user")
    shared_house.database.users.update_many({"role": "system_admin"}, {"$set": {"role": "user"}})
    shared_house.promote(ruler)
    return ruler


@pytest.fixture
def house(shared_house: House, ruler: Account) -> House:
    return shared_house


def test_an_operator_makes_another_system_admin(house: House) -> None:
    made = house.create_admin("second@system.local", "another-long-password")
    assert (made.returncode, made.stdout) == (0, "system_admin second@system.local made.\n")
    assert house.psp.login("second@system.local", "another-long-password").json()["role"] == "system_admin"

    newest = house.database.users.find_one({"email": "second@system.local"})
    assert newest is not None
    (row,) = house.database.audit.find({"target_id": newest["_id"], "action": "account.registered"})
    nobody = dict.fromkeys(
        ("account_id", "role", "api_key_id", "session_id", "request_id", "address", "route", "before")
    )
    told = {**nobody, "outcome": "success", "after": {"role": "system_admin"}}
    assert told.items() <= row.items(), "who runs the server is not asked who they are"

    taken = house.create_admin("SECOND@system.local")
    assert (taken.returncode, taken.stderr) == (2, "Error: User with this email already exists.\n")
    assert len(house.system_admins()) == 2


@pytest.mark.scaled
def test_of_two_system_admins_that_remove_each_other_at_once_one_always_remains(house: House, ruler: Account) -> None:
    moves = [(house.delete, house.delete), (house.demote, house.demote), (house.delete, house.demote)]
    for first_move, second_move in moves * scaled(3, 17):
        rival = house.psp.register("user")
        house.promote(rival)

        with ThreadPoolExecutor(2) as pool:
            attempts = pool.submit(first_move, rival.id, ruler.bearer), pool.submit(second_move, ruler.id, rival.bearer)
            statuses = sorted(attempt.result() for attempt in attempts)

        (survivor,) = house.system_admins()
        assert statuses[0] == 200
        assert statuses[1] in (401, 403)
        if survivor == rival.id:
            ruler = rival
        assert house.psp.get("/admin/dashboard", headers=ruler.bearer).status_code == 200


def test_a_system_admin_demotes_another_and_then_is_the_last_one_who_stays(house: House, ruler: Account) -> None:
    first, second = ruler.bearer, house.psp.register("user")
    house.promote(second)

    assert change(house.psp, ruler.id, "admin", second.bearer).status_code == 200

    assert house.psp.get("/users/me", headers=first).json()["role"] == "admin"
    assert house.delete(second.id, first) == 403
    assert house.demote(second.id, first) == 403
    assert house.delete(second.id, second.bearer) == 400
    assert house.demote(second.id, second.bearer) == 403
    assert house.system_admins() == [second.id]
