"""The whole product put together: what the API, the workers and the command line are given."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from core import clock
from core.access_tokens import TokenSigner
from core.config import Settings
from core.crypto import Sealer
from core.database import Database, DriverError, outage
from core.security import PasswordHasher
from repositories import keyring
from repositories.accounts import AccountRepository
from repositories.audit import AuditRepository
from repositories.audit_chain import AuditChainRepository
from repositories.card_tokens import CardTokenRepository
from repositories.cards import CardRepository
from repositories.connection import connected, no_answer
from repositories.customers import CustomerRepository
from repositories.deliveries import DeliveryRepository
from repositories.delivery_log import DeliveryLogRepository
from repositories.events import EventRepository
from repositories.heartbeats import HeartbeatRepository
from repositories.incoming_webhooks import IncomingWebhookRepository
from repositories.login_attempts import LoginAttemptRepository
from repositories.payment_keys import PaymentKeyRepository
from repositories.payments import PaymentRepository
from repositories.rate_counters import RateCounterRepository
from repositories.refunds import RefundRepository
from repositories.request_logs import RequestLogRepository
from repositories.resend_jobs import ResendJobRepository
from repositories.resent_deliveries import ResentDeliveryRepository
from repositories.sealed_values import SealedValueRepository
from repositories.sessions import SessionRepository
from repositories.signals import SignalRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from services.accounts import Accounts
from services.api_keys import ApiKeys
from services.audit import Audit
from services.audit_chain import AuditChain
from services.backlog import Backlogs
from services.bank import CountedBank, open_bank
from services.cards import Cards
from services.challenges import Challenges
from services.charging import Charging
from services.customers import Customers
from services.dashboard import Dashboards
from services.deliveries import Deliveries
from services.delivery import Delivery
from services.endpoint_health import EndpointHealth
from services.events import Events
from services.funding import Funding
from services.health import Health
from services.incoming_webhooks import IncomingWebhooks
from services.key_rotation import KeyRotation
from services.key_uses import KeyUses
from services.login_throttle import LoginThrottle
from services.metrics import Metrics
from services.payment_changes import PaymentChanges
from services.payment_keys import PaymentKeys
from services.payments import Payments
from services.processing import Processing
from services.publishing import Publishing
from services.rate_limits import RateLimits
from services.refunds import Refunds
from services.request_log import RequestLog
from services.resend_jobs import ResendJobs
from services.resends import Resends
from services.reset import Reset
from services.seeding import Seeding
from services.sessions import Sessions
from services.signals import Signals
from services.vault import CardVault
from services.webhook_endpoints import WebhookEndpoints
from services.webhook_secrets import AccountSecrets, EndpointSecrets
from services.webhook_sender import WebhookSender


@dataclass(frozen=True)
class Psp:
    settings: Settings
    database: Database
    started_at: datetime
    signals: Signals
    health: Health
    metrics: Metrics
    audit: Audit
    audit_chain: AuditChain
    accounts: Accounts
    api_keys: ApiKeys
    sessions: Sessions
    request_log: RequestLog
    charging: Charging
    payments: Payments
    refunds: Refunds
    cards: Cards
    payment_keys: PaymentKeys
    customers: Customers
    webhook_endpoints: WebhookEndpoints
    deliveries: Deliveries
    resends: Resends
    resend_jobs: ResendJobs
    events: Events
    incoming_webhooks: IncomingWebhooks
    dashboards: Dashboards
    processing: Processing
    publishing: Publishing
    delivery: Delivery
    key_rotation: KeyRotation
    reset: Reset
    backlogs: Backlogs
    seeding: Seeding
    rate_limits: RateLimits | None
    """None where RATE_LIMIT is off."""


@asynccontextmanager
async def open_psp(settings: Settings, *, is_worker: bool) -> AsyncIterator[Psp]:
    """Connect, make what is missing in the database, and put everything together.

    `is_worker` says whether this process works itself, or hints to those that do. Raises ConfigurationError, also where
    MongoDB goes away and nobody inside has dealt with it.
    """
    async with AsyncExitStack() as stack:
        try:
            psp = await _put_together(stack, settings, is_worker=is_worker)
        except DriverError as error:
            raise no_answer(error, settings) from None
        try:
            yield psp
        except DriverError as error:
            if not outage(error):
                raise
            raise no_answer(error, settings) from None


async def _put_together(stack: AsyncExitStack, settings: Settings, *, is_worker: bool) -> Psp:
    """What is to be closed goes onto the stack."""
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
    session_rows = SessionRepository(database)
    customer_rows = CustomerRepository(database)
    delivery_rows, event_rows = DeliveryRepository(database), EventRepository(database)
    log_rows, resent_rows = DeliveryLogRepository(database), ResentDeliveryRepository(database)
    signer = TokenSigner(settings.secrets.jwt_keys, timedelta(minutes=settings.access_token_minutes))
    bank = CountedBank(await stack.enter_async_context(open_bank(settings, database, hash_key)))
    throttle = LoginThrottle(LoginAttemptRepository(database), hash_key, on=settings.login_throttle)
    account_secrets, audit = AccountSecrets(sealer), Audit(AuditRepository(database, hash_key))
    key_uses = KeyUses(account_rows)
    stack.push_async_callback(key_uses.close)
    request_log = RequestLog(RequestLogRepository(database))
    stack.push_async_callback(request_log.close)
    api_keys = ApiKeys(database, account_rows, key_uses, audit, hash_key)
    vault, challenges = CardVault(sealer, hash_key), Challenges(hash_key)
    card_rows = CardRepository(database)
    customers = Customers(database, customer_rows, card_rows, signals, hash_key)
    cards = Cards(database, vault, CardTokenRepository(database), card_rows, customers, hash_key)
    funding = Funding(vault, cards, customers, challenges)
    changes = PaymentChanges(database, payment_rows, signals, hash_key)
    refund_rows, endpoint_rows = RefundRepository(database), WebhookEndpointRepository(database)
    outboxes = [payment_rows.outbox, customer_rows.outbox, endpoint_rows.outbox]
    heartbeats = HeartbeatRepository(database)
    return Psp(
        settings=settings,
        database=database,
        started_at=clock.now(),
        signals=signals,
        health=Health(database, heartbeats),
        metrics=Metrics(payment_rows, delivery_rows, outboxes, heartbeats),
        audit=audit,
        audit_chain=AuditChain(database, AuditChainRepository(database), hash_key),
        accounts=Accounts(
            database,
            account_rows,
            api_keys,
            hasher,
            throttle,
            account_secrets,
            audit,
            refuses_common_passwords=settings.production,
        ),
        api_keys=api_keys,
        sessions=Sessions(database, account_rows, session_rows, hasher, throttle, signer, audit, hash_key),
        request_log=request_log,
        charging=Charging(payment_rows, funding, signals, hash_key, settings.processing_delay_seconds),
        payments=Payments(payment_rows, changes, challenges, audit),
        refunds=Refunds(payment_rows, refund_rows, changes),
        cards=cards,
        payment_keys=PaymentKeys(database, PaymentKeyRepository(database), account_rows, payment_rows, audit, hash_key),
        customers=customers,
        webhook_endpoints=WebhookEndpoints(
            database, endpoint_rows, delivery_rows, EndpointSecrets(sealer), audit, signals
        ),
        deliveries=Deliveries(log_rows, endpoint_rows),
        resends=Resends(resent_rows, log_rows, event_rows, endpoint_rows, signals, hash_key),
        resend_jobs=ResendJobs(
            ResendJobRepository(database),
            delivery_rows,
            resent_rows,
            log_rows,
            event_rows,
            endpoint_rows,
            signals,
            hash_key,
        ),
        events=Events(event_rows),
        incoming_webhooks=IncomingWebhooks(IncomingWebhookRepository(database), account_rows, signals, account_secrets),
        dashboards=Dashboards(account_rows, payment_rows, delivery_rows),
        processing=Processing(payment_rows, bank, vault, signals),
        publishing=Publishing(
            outboxes,
            event_rows,
            refund_rows,
            delivery_rows,
            endpoint_rows,
            signals,
        ),
        delivery=Delivery(
            delivery_rows,
            event_rows,
            account_rows,
            endpoint_rows,
            EndpointHealth(endpoint_rows, delivery_rows, signals),
            sender,
            sealer,
            settings.webhook_retry_schedule,
        ),
        backlogs=Backlogs(outboxes, payment_rows, delivery_rows),
        reset=Reset(database, session_rows, audit, production=settings.production),
        seeding=Seeding(
            database,
            account_rows,
            customer_rows,
            payment_rows,
            refund_rows,
            event_rows,
            delivery_rows,
            endpoint_rows,
            hasher,
            account_secrets,
            EndpointSecrets(sealer),
            vault,
            audit,
        ),
        key_rotation=KeyRotation(SealedValueRepository(database), sealer),
        rate_limits=RateLimits(RateCounterRepository(database), hash_key) if settings.rate_limit else None,
    )
