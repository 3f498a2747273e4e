"""The bare sender: what posting signed webhooks costs with aiohttp, and nothing else.

`python -m benchmarks.delivery.bare_sender CONCURRENCY PORT…` posts as fast as answers come, until it is ended;
`… bare_sender RATE_PER_S SECONDS PORT…` with `--paced` in front posts that often. The bodies are signed beforehand, as
the product signs; there is no database, no record of anything, and the loop is uvloop. Whoever sends webhooks with
aiohttp cannot be faster than this.
"""

import asyncio
import itertools
import sys
from collections.abc import Sequence

import aiohttp
import uvloop

from benchmarks.delivery.bodies import event_of_1_kb
from core import clock, ids
from core.security import new_webhook_secret
from domain import signing

SIGNED = 2_000
"""So many different messages are posted over and over."""
LOOPBACK = "127.0.0.1"

Message = tuple[bytes, dict[str, str]]


async def post_as_fast_as_answered(concurrency: int, ports: Sequence[int]) -> None:
    secret = new_webhook_secret()
    messages = itertools.cycle([_signed(secret) for _ in range(SIGNED)])
    urls = itertools.cycle(_urls(ports))

    async def post_on(session: aiohttp.ClientSession) -> None:
        while True:
            await _post(session, next(urls), next(messages))

    async with _session() as session, asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(post_on(session))


async def post_at_rate(rate_per_s: float, seconds: float, ports: Sequence[int]) -> None:
    """Each body's `timestamp` is the moment just before it is signed and posted."""
    secret, urls, loop = new_webhook_secret(), itertools.cycle(_urls(ports)), asyncio.get_running_loop()
    async with _session() as session, asyncio.TaskGroup() as tasks:
        began_at = loop.time()
        for number in range(int(rate_per_s * seconds)):
            await asyncio.sleep(began_at + number / rate_per_s - loop.time())
            tasks.create_task(_post(session, next(urls), _signed(secret)))


async def _post(session: aiohttp.ClientSession, url: str, message: Message) -> None:
    body, headers = message
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        await response.read()
        assert response.status == 200


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept"),
        timeout=aiohttp.ClientTimeout(total=15),
    )


def _signed(secret: str) -> Message:
    now = clock.now()
    event_id, timestamp_s = ids.fresh("evt"), int(now.timestamp())
    body = event_of_1_kb(event_id, now)
    return body, {
        "Content-Type": "application/json",
        "User-Agent": "bare",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signing.standard_signature(secret, event_id, timestamp_s, body),
        "X-Signature": signing.plain_signature(secret, body),
    }


def _urls(ports: Sequence[int]) -> list[str]:
    return [f"http://{LOOPBACK}:{port}/webhooks" for port in ports]


def main(arguments: Sequence[str]) -> None:
    if arguments[0] == "--paced":
        rate_per_s, seconds, *ports = arguments[1:]
        uvloop.run(post_at_rate(float(rate_per_s), float(seconds), [int(port) for port in ports]))
    else:
        concurrency, *ports = arguments
        uvloop.run(post_as_fast_as_answered(int(concurrency), [int(port) for port in ports]))


if __name__ == "__main__":
    main(sys.argv[1:])
