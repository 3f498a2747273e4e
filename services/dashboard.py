"""The figures of the admin dashboard."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from core import clock
from domain import money
from domain.payments import Status
from repositories.accounts import AccountRepository
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeliveryState
from repositories.payments import PaymentFigure, PaymentRepository
from schemas.status import Dashboard, HourFigure, Volume, WebhookFigures
from services.caller import Caller

_COUNTED = 10_000
"""Of the newest payments, the newest deliveries, and the payments of an hour: counting all that there ever were would
take longer than an answer may."""
_HOUR = timedelta(hours=1)


class Dashboards:
    def __init__(self, accounts: AccountRepository, payments: PaymentRepository, deliveries: DeliveryRepository):
        self._accounts = accounts
        self._payments = payments
        self._deliveries = deliveries

    async def read(self, caller: Caller) -> Dashboard:
        this_hour = clock.now().replace(minute=0, second=0, microsecond=0)
        hours = [this_hour - ago * _HOUR for ago in range(23, -1, -1)]
        users, figures, states, created = await asyncio.gather(
            self._accounts.count_by_role(),
            self._payments.figures(_COUNTED),
            self._deliveries.count_by_state(_COUNTED),
            asyncio.gather(*(self._payments.count_created(hour, hour + _HOUR, _COUNTED) for hour in hours)),
        )
        delivered, dead = states[DeliveryState.DELIVERED], states[DeliveryState.DEAD]
        return Dashboard(
            user_id=caller.account_id,
            role=caller.role,
            users_by_role=users,
            payments_by_status={
                status.value: sum(one.count for one in figures if one.status is status) for status in Status
            },
            volume_by_currency=_volumes(figures),
            webhooks=WebhookFigures(
                delivered=delivered,
                waiting=states[DeliveryState.PENDING],
                dead=dead,
                success_rate=round(delivered / (delivered + dead), 4) if delivered + dead else None,
            ),
            last24_hours=[HourFigure(hour=hour, count=count) for hour, count in zip(hours, created, strict=True)],
        )


def _volumes(figures: Sequence[PaymentFigure]) -> list[Volume]:
    captured = [one for one in figures if one.captured_count]
    volumes = []
    for currency in sorted({one.currency for one in captured}):
        amount_minor = sum(one.captured_minor for one in captured if one.currency == currency)
        count = sum(one.captured_count for one in captured if one.currency == currency)
        amount = money.to_major(amount_minor, currency)
        volumes.append(Volume(currency=currency, count=count, amount=amount, amount_minor=amount_minor))
    return volumes
