"""Clients that charge at a steady rate, and repeat what was not answered with the same key at the other process."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

import aiohttp

from domain.bank_scenarios import SCENARIOS
from tests.factories import API, Account, card

ANSWER_S = 20
AT_ONCE = 400
PAN = {scenario.id: scenario.pan for scenario in SCENARIOS}
CARDS = (None, "success_visa", "insufficient_funds", "bank_timeout", "success_visa")
OWN_URL_EVERY = 41
"""One charge in so many names a webhookUrl of its own. Those that hang there do so for the full 15 seconds."""


class Charges:
    """Each is made until it is acknowledged. Which account, card and URL a charge has follows from its number."""

    def __init__(
        self, session: aiohttp.ClientSession, apis: Sequence[str], accounts: Sequence[Account], own_urls: Sequence[str]
    ):
        self._session = session
        self._apis = apis
        self._accounts = accounts
        self._own_urls = own_urls
        self._under_way: set[asyncio.Task[None]] = set()
        self.answers: dict[int, bytes] = {}
        """By the charge's number: what acknowledged it."""
        self.repeated: Counter[str] = Counter()
        self.refused: list[str] = []
        """Answers that nobody should have got."""
        self.made = 0

    async def go_on(self, per_second: float) -> None:
        """Charge at this rate until cancelled; slower where too many wait for their answer."""
        loop = asyncio.get_running_loop()
        began_at_s = loop.time()
        for number in count():
            self.made = number + 1
            task = asyncio.create_task(self._until_acknowledged(number))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            while len(self._under_way) > AT_ONCE:
                began_at_s += 0.1
                await asyncio.sleep(0.1)
            await asyncio.sleep(began_at_s + self.made / per_second - loop.time())

    def owner(self, number: int) -> Account:
        return self._accounts[number % len(self._accounts)]

    async def once(self, number: int, api: str) -> tuple[int, bytes]:
        """Send a charge to one of the processes; the status and the body."""
        pan = CARDS[number // len(self._accounts) % len(CARDS)]
        body: dict[str, Any] = {
            "customerName": "Grace Hopper",
            "paymentAmount": 1 + number % 1000,
            "currency": "USD",
            "reference": f"charge-{number}",
        }
        if pan is not None:
            body["card"] = card(PAN[pan])
        if number % OWN_URL_EVERY == 0:
            body["webhookUrl"] = self._own_urls[number // OWN_URL_EVERY % len(self._own_urls)]
        headers = {**self.owner(number).key, "Idempotency-Key": f"charge-{number}"}
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with self._session.post(
            f"{api}{API}/payments/charge", json=body, headers=headers, timeout=timeout
        ) as answer:
            return answer.status, await answer.read()

    async def _until_acknowledged(self, number: int) -> None:
        for attempt in count():
            try:
                status, body = await self.once(number, self._apis[(number + attempt) % len(self._apis)])
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.repeated["broken"] += 1
            else:
                if status != 503:
                    if status != 201:
                        self.refused.append(f"charge {number}: {status} {body.decode(errors='replace')}")
                    self.answers[number] = body
                    return
                self.repeated["503"] += 1
            await asyncio.sleep(random.uniform(0.1, 0.5))

    def payment_ids(self) -> dict[int, str]:
        return {number: json.loads(body)["id"] for number, body in self.answers.items()}
