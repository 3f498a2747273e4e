"""With LOGIN_THROTTLE on, who guesses passwords waits, and nobody is locked out for good."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pymongo
import pymongo.collection
import pytest

from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server, serving
from tests.factories import API, PASSWORD, Account, Psp

NAME = "login_throttle"
Attempts = pymongo.collection.Collection[dict[str, Any]]


@pytest.fixture(scope="module")
def throttled(
    mongo_uri: str, data_dir: Any, tmp_path_factory: pytest.TempPathFactory, mongo: pymongo.MongoClient[dict[str, Any]]
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("throttled") / "server.log"
    with serving(log, DATA_DIR=str(data_dir), MONGODB_DB=NAME, LOGIN_THROTTLE="on", WORKER="off") as server:
        yield server
    mongo.drop_database(NAME)


@pytest.fixture
def psp(throttled: Server) -> Iterator[Psp]:
    with httpx.Client(base_url=throttled.url, timeout=35, verify=False) as client:
        yield Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture
def attempts(mongo: pymongo.MongoClient[dict[str, Any]], throttled: Server) -> Attempts:
    return mongo[NAME]["login_attempts"]


@pytest.fixture(autouse=True)
def nothing_is_counted_yet(attempts: Attempts) -> None:
    attempts.delete_many({})


def later(attempts: Attempts, **passed: float) -> None:
    """Time goes by for all that is counted."""
    for row in attempts.find():
        moved = {name: row[name] - timedelta(**passed) for name in ("attempted_at", "blocked_until")}
        attempts.update_one({"_id": row["_id"]}, {"$set": moved})


def keep_waiting(attempts: Attempts) -> None:
    """Whoever waits for a second waits for a minute more: the next request may take its time."""
    later(attempts, seconds=-60)


def fail(psp: Psp, account: Account, times: int) -> list[int]:
    return [psp.login(account.email, "wrong").status_code for _ in range(times)]


def test_after_five_failures_each_attempt_waits_twice_as_long(psp: Psp, attempts: Attempts) -> None:
    account = psp.register()
    assert fail(psp, account, 5) == [401] * 5

    waits_s = []
    for _ in range(10):
        refused = psp.login(account.email, "wrong")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
        waits_s.append(int(refused.headers["Retry-After"]))
        later(attempts, seconds=waits_s[-1])
        assert fail(psp, account, 1) == [401]

    assert waits_s == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert int(psp.login(account.email, "wrong").headers["Retry-After"]) == 900


def test_while_one_waits_the_right_password_does_not_help_and_afterwards_it_does(psp: Psp, attempts: Attempts) -> None:
    account = psp.register()
    fail(psp, account, 5)
    keep_waiting(attempts)

    assert psp.login(account.email).status_code == 429
    later(attempts, seconds=61)
    assert psp.login(account.email).status_code == 200
    assert fail(psp, account, 5) == [401] * 5, "those before are forgotten"


def test_failures_are_forgotten_after_a_quarter_of_an_hour(psp: Psp, attempts: Attempts) -> None:
    account = psp.register()
    fail(psp, account, 4)
    later(attempts, minutes=15)

    assert fail(psp, account, 5) == [401] * 5


def test_an_address_that_nobody_has_waits_like_any_other(psp: Psp, attempts: Attempts) -> None:
    answers = [psp.login("nobody@example.com", "wrong").status_code for _ in range(5)]
    keep_waiting(attempts)

    assert answers == [401] * 5
    assert psp.login("nobody@example.com", "wrong").status_code == 429


def test_the_form_and_the_case_of_the_address_change_nothing(psp: Psp, attempts: Attempts) -> None:
    account = psp.register()
    fail(psp, account, 3)
    for _ in range(2):
        psp.post("/auth/token", data={"username": account.email.upper(), "password": "wrong"})
    keep_waiting(attempts)

    assert psp.login(account.email).status_code == 429


def test_other_accounts_stay_open_until_a_hundred_failures_came_from_one_address(psp: Psp, attempts: Attempts) -> None:
    victim = psp.register()
    attempts.delete_many({})
    for number in range(99):
        assert psp.login(f"someone{number}@example.com", "wrong").status_code == 401

    assert psp.login(victim.email).status_code == 200
    assert psp.login("last@example.com", "wrong").status_code == 401, "a success does not count"
    keep_waiting(attempts)
    assert psp.login(victim.email).status_code == 429


def test_of_many_guesses_at_once_five_are_looked_at(psp: Psp, throttled: Server, attempts: Attempts) -> None:
    account = psp.register()
    attempts.delete_many({})

    def guess(_: int) -> int:
        body = {"email": account.email, "password": "wrong"}
        return httpx.post(f"{throttled.url}{API}/users/login", json=body, timeout=60, verify=False).status_code

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(guess, range(20)))

    assert set(answers) == {401, 429}
    # Five, and one more for each wait that was over meanwhile.
    assert 5 <= answers.count(401) <= 7


def test_a_stolen_token_lets_nobody_try_passwords_either(psp: Psp, attempts: Attempts) -> None:
    account = psp.register()

    def change(current: str) -> int:
        body = {"currentPassword": current, "newPassword": "staple-of-the-battery"}
        return psp.post("/users/me/password", json=body, headers=account.bearer).status_code

    assert [change("wrong") for _ in range(5)] == [403] * 5
    keep_waiting(attempts)
    assert [change("wrong"), change(PASSWORD)] == [429, 429]
    later(attempts, seconds=61)
    assert change(PASSWORD) == 200


def test_what_is_counted_names_nobody_and_goes_by_itself(psp: Psp, attempts: Attempts) -> None:
    account = psp.register()
    fail(psp, account, 1)

    rows = list(attempts.find())
    assert rows
    for row in rows:
        assert account.email not in str(row)
        assert "127.0.0.1" not in str(row)
        assert datetime.now(UTC) < row["expires_at"] < datetime.now(UTC) + timedelta(minutes=31)
    assert attempts.index_information()["expiry"]["expireAfterSeconds"] == 0


def test_who_writes_another_address_into_a_header_waits_like_before(psp: Psp, attempts: Attempts) -> None:
    """Nobody is in TRUSTED_PROXIES, not even a peer on this machine."""
    account = psp.register()

    def guess(number: int) -> int:
        body = {"email": account.email, "password": "wrong"}
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
        return psp.post("/users/login", json=body, headers=forged).status_code

    assert [guess(number) for number in range(5)] == [401] * 5
    keep_waiting(attempts)
    assert guess(5) == 429
