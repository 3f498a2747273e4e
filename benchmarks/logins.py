"""What logging in tells and costs: a known e-mail address beside an unknown one, and everybody else beside a storm."""

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from http.client import HTTPConnection

import aiohttp

from benchmarks.client import API, Account, Client
from benchmarks.figures import Figure, percentile
from benchmarks.load import BODY
from benchmarks.stack import LOOPBACK, BenchmarkFailed, Server, Stack

TIMING, STORM = "unknown and known e-mail", "storm of logins"
WRONG = "not-the-right-password"
CHEAP_HASH = "6"
"""Some milliseconds: the dearer the hash, the better it hides what else differs."""
HASH = "12"
LEAST_RATIO, GREATEST_RATIO = 0.8, 1.25
LOGINS_AT_ONCE = 32
CHARGES_PER_S = 50
GREATEST_SLOWDOWN = 3.0
WARM_UP = 20
REFUSED = 401


def run(stack: Stack, *, rounds: int, logins: int, seconds: float, tell: Callable[[str], None]) -> list[Figure]:
    """`logins` of each kind a round, and `seconds` of charges quiet and stormy. Raises BenchmarkFailed."""
    return _timing(stack, rounds, logins, tell) + _storm(stack, rounds, seconds, tell)


def _timing(stack: Stack, rounds: int, logins: int, tell: Callable[[str], None]) -> list[Figure]:
    known, unknown = Figure(TIMING, "known, median", "ms"), Figure(TIMING, "unknown, median", "ms")
    ratio = Figure(TIMING, "unknown over known", least=LEAST_RATIO, greatest=GREATEST_RATIO)
    with stack.running_product("logins", worker="off", PASSWORD_HASH_COST=CHEAP_HASH) as server:
        with Client(server) as client:
            email = Account(client).email
        _logins_ms(server, email, WARM_UP)
        for number in range(rounds):
            tell(f"logins, round {number + 1} of {rounds}")
            known_ms, unknown_ms = _logins_ms(server, email, logins)
            known.values.append(percentile(known_ms, 50))
            unknown.values.append(percentile(unknown_ms, 50))
            ratio.values.append(unknown.values[-1] / known.values[-1])
    return [known, unknown, ratio]


def _logins_ms(server: Server, known: str, count: int) -> tuple[list[float], list[float]]:
    """Times of refused logins in turn: of an address that has an account, and of ones that have none."""
    times_ms: tuple[list[float], list[float]] = ([], [])
    connection = HTTPConnection(LOOPBACK, server.port, timeout=60)
    for number in range(2 * count):
        email = known if number % 2 == 0 else f"{secrets.token_hex(8)}@example.com"
        body = json.dumps({"email": email, "password": WRONG})
        began_at = time.perf_counter()
        connection.request("POST", f"{API}/users/login", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        times_ms[number % 2].append((time.perf_counter() - began_at) * 1000)
        if response.status != REFUSED:
            raise BenchmarkFailed(f"A login with a wrong password was answered with {response.status}.")
    connection.close()
    return times_ms


def _storm(stack: Stack, rounds: int, seconds: float, tell: Callable[[str], None]) -> list[Figure]:
    quiet, stormy = Figure(STORM, "charges, quiet, p99", "ms"), Figure(STORM, "charges, in the storm, p99", "ms")
    hashed = Figure(STORM, "logins answered meanwhile", "logins/s")
    slowdown = Figure(STORM, "in the storm over quiet", greatest=GREATEST_SLOWDOWN)
    with stack.running_product("storm", worker="off", PASSWORD_HASH_COST=HASH) as server:
        with Client(server) as client:
            account = Account(client)
        asyncio.run(_charge(server, account, 2.0, storm=False))
        for number in range(rounds):
            for storm in (False, True) if number % 2 == 0 else (True, False):
                tell(f"storm, round {number + 1} of {rounds}: {'storm' if storm else 'quiet'}")
                times_ms, answered = asyncio.run(_charge(server, account, seconds, storm=storm))
                (stormy if storm else quiet).values.append(percentile(times_ms, 99))
                if storm:
                    hashed.values.append(answered / seconds)
            slowdown.values.append(stormy.values[-1] / quiet.values[-1])
    return [quiet, stormy, hashed, slowdown]


async def _charge(server: Server, account: Account, seconds: float, *, storm: bool) -> tuple[list[float], int]:
    """The times of charges at a steady rate, whether those before have been answered or not, and how many logins were
    answered beside them."""
    times_ms: list[float] = []
    loop, body = asyncio.get_running_loop(), json.dumps(BODY).encode()
    headers = {"X-API-Key": account.api_key, "Content-Type": "application/json"}

    async def charge(session: aiohttp.ClientSession) -> None:
        began_at = loop.time()
        async with session.post(f"{server.url}{API}/payments/charge", data=body, headers=headers) as response:
            await response.read()
            if response.status != 201:
                raise BenchmarkFailed(f"A charge was answered with {response.status}.")
        times_ms.append((loop.time() - began_at) * 1000)

    # One session for all: each that is made keeps this loop, which takes the times, for milliseconds.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as logins:
        over = asyncio.Event()
        answered = [
            logins.create_task(_log_in(session, server, account, over)) for _ in range(LOGINS_AT_ONCE if storm else 0)
        ]
        began_at = loop.time()
        async with asyncio.TaskGroup() as charges:
            for number in range(int(CHARGES_PER_S * seconds)):
                await asyncio.sleep(began_at + number / CHARGES_PER_S - loop.time())
                charges.create_task(charge(session))
        over.set()
    return times_ms, sum(one.result() for one in answered)


async def _log_in(session: aiohttp.ClientSession, server: Server, account: Account, over: asyncio.Event) -> int:
    """Again and again; how many were answered. The last is waited for, so that nothing is left to hash afterwards."""
    body, answered = {"email": account.email, "password": WRONG}, 0
    while not over.is_set():
        async with session.post(f"{server.url}{API}/users/login", json=body) as response:
            await response.read()
            if response.status != REFUSED:
                raise BenchmarkFailed(f"A login with a wrong password was answered with {response.status}.")
        answered += 1
    return answered
