"""The figures of the admin dashboard."""

import asyncio
from datetime import timedelta

from core import clock
from domain import money
from domain.payments import Status
from repositories.accounts import AccountRepository
from repositories.deliveries import DeliveryRepository, DeliveryState
from repositories.payments import PaymentRepository
from schemas.status import Dashboard, HourFigure, Volume, WebhookFigures
from services.caller import Caller

_NEWEST_DELIVERIES = 10_000
"""Of all that there ever were, counting would take longer than an answer may."""


class Dashboards:
    def __init__(self, accounts: AccountRepository, payments: PaymentRepository, deliveries: DeliveryRepository):
        self._accounts = accounts
        self._payments = payments
        self._deliveries = deliveries

    async def read(self, caller: Caller) -> Dashboard:
        this_hour = clock.now().replace(minute=0, second=0, microsecond=0)
        hours = [this_hour - timedelta(hours=ago) for ago in range(23, -1, -1)]
        users, (figures,), states = await asyncio.gather(
            self._accounts.count_by_role(),
            self._payments.figures(hours[0]),
            self._deliveries.count_by_state(_NEWEST_DELIVERIES),
        )
        statuses = {row["_id"]: row["count"] for row in figures["by_status"]}
        by_hour = {row["_id"]: row["count"] for row in figures["by_hour"]}
        delivered, dead = states[DeliveryState.DELIVERED], states[DeliveryState.DEAD]
        return Dashboard(
            user_id=caller.account_id,
            role=caller.role,
            users_by_role=users,
            payments_by_status={status.value: statuses.get(status.value, 0) for status in Status},
            volume_by_currency=[
                Volume(
                    currency=row["_id"],
                    count=row["count"],
                    amount=money.to_major(row["amount_minor"], row["_id"]),
                    amount_minor=row["amount_minor"],
                )
                for row in figures["by_currency"]
            ],
            webhooks=WebhookFigures(
                delivered=delivered,
                waiting=states[DeliveryState.PENDING],
                dead=dead,
                success_rate=round(delivered / (delivered + dead), 4) if delivered + dead else None,
            ),
            last24_hours=[HourFigure(hour=hour, count=by_hour.get(hour, 0)) for hour in hours],
        )
