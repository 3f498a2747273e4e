"""The whole product put together: what the API, the workers and the command line are given."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from core import clock
from core.config import Settings
from core.crypto import Sealer
from core.database import Database
from core.security import PasswordHasher, TokenSigner
from repositories import keyring
from repositories.accounts import AccountRepository
from repositories.connection import connected
from repositories.deliveries import DeliveryRepository
from repositories.events import EventRepository
from repositories.incoming_webhooks import IncomingWebhookRepository
from repositories.payments import PaymentRepository
from repositories.sessions import SessionRepository
from repositories.signals import SignalRepository
from services.accounts import Accounts
from services.api_keys import ApiKeys
from services.dashboard import Dashboards
from services.delivery import Delivery
from services.incoming_webhooks import IncomingWebhooks
from services.payments import Payments
from services.processing import Processing
from services.publishing import Publishing
from services.sessions import Sessions
from services.signals import Signals
from services.webhook_sender import WebhookSender


@dataclass(frozen=True)
class Psp:
    settings: Settings
    database: Database
    started_at: datetime
    signals: Signals
    accounts: Accounts
    api_keys: ApiKeys
    sessions: Sessions
    payments: Payments
    incoming_webhooks: IncomingWebhooks
    dashboards: Dashboards
    processing: Processing
    publishing: Publishing
    delivery: Delivery


@asynccontextmanager
async def open_psp(settings: Settings, *, is_worker: bool) -> AsyncIterator[Psp]:
    """Connect, make what is missing in the database, and put everything together.

    `is_worker` says whether this process works itself, or hints to those that do. Raises ConfigurationError.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(connected(settings))
        sealer = Sealer(settings.secrets.encryption_keys)
        hash_key = await keyring.hash_key(database, sealer)
        hasher = PasswordHasher(settings.password_hash_cost)
        stack.callback(hasher.close)
        sender = WebhookSender(allow_private_networks=settings.webhook_allow_private_networks)
        stack.push_async_callback(sender.close)
        signals = Signals(SignalRepository(database), tell_others=not is_worker)
        stack.push_async_callback(signals.close)

        account_rows, payment_rows = AccountRepository(database), PaymentRepository(database)
        delivery_rows, event_rows = DeliveryRepository(database), EventRepository(database)
        signer = TokenSigner(settings.secrets.jwt_key, timedelta(minutes=settings.access_token_minutes))
        api_keys = ApiKeys(account_rows, hash_key)
        yield Psp(
            settings=settings,
            database=database,
            started_at=clock.now(),
            signals=signals,
            accounts=Accounts(database, account_rows, api_keys, hasher, sealer),
            api_keys=api_keys,
            sessions=Sessions(account_rows, SessionRepository(database), hasher, signer, hash_key),
            payments=Payments(payment_rows, signals, hash_key, settings.processing_delay_seconds),
            incoming_webhooks=IncomingWebhooks(IncomingWebhookRepository(database), account_rows, sealer),
            dashboards=Dashboards(account_rows, payment_rows, delivery_rows),
            processing=Processing(payment_rows, signals),
            publishing=Publishing(payment_rows, event_rows, delivery_rows, signals),
            delivery=Delivery(delivery_rows, event_rows, account_rows, sender, sealer, settings.webhook_retry_schedule),
        )
