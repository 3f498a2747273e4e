"""The bank as an application of its own: `python cli.py bank` serves it.

It trusts whoever reaches it, as a bank's host behind a private line does: it listens on loopback unless told otherwise.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline

from bank import rules
from bank.books import Books
from bank.engine import BankEngine, Outcome, SettlementLine, Silence
from bank.messages import (
    AnswerOut,
    AuthorisationIn,
    BatchIn,
    BatchOut,
    FollowUpIn,
    Id,
    SettlementFileOut,
    SettlementLineOut,
    SettlementTotalOut,
    TotalsOut,
)
from core import clock
from core.config import Settings
from core.crypto import Sealer
from core.database import DriverError, outage
from core.logs import structured_logger
from core.metrics_server import served_metrics
from core.process_figures import counted
from core.startup import BriefStartErrors
from core.version import VERSION
from domain.acquiring import Answer, Operation, OperationKind
from repositories import keyring
from repositories.connection import connected

LOST_ANSWER_S = 10.0
"""How long a caller is kept waiting for an answer that does not arrive: longer than the gateway waits."""
MAX_DAYS_BACK = 3660
router = APIRouter()
_LOG = structured_logger("mock_psp.bank")


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            counted("bank", settings.data_dir),
            served_metrics(settings),
            connected(settings) as database,
        ):
            hash_key = await keyring.hash_key(database, Sealer(settings.secrets.encryption_keys))
            books = Books(database)
            await books.create_indexes()
            app.state.engine = BankEngine(books, hash_key, magic_amounts=settings.magic_amounts)
            yield

    app = FastAPIOffline(
        title="Mock bank",
        version=VERSION,
        lifespan=lifespan,
        static_url="/docs/assets",
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(DriverError, _driver_error)
    app.add_middleware(BriefStartErrors)
    return app


async def _engine(request: Request) -> BankEngine:
    engine: BankEngine = request.app.state.engine
    return engine


EngineDep = Annotated[BankEngine, Depends(_engine)]


@router.post("/operations")
async def submit(engine: EngineDep, body: BatchIn) -> BatchOut:
    """Carry out a batch: authorisations first, then what follows them. An answer that is missing does not arrive."""
    operations = [one.operation() for one in body.operations]
    outcomes = await engine.submit(operations)
    _log(operations, outcomes)
    return BatchOut(answers=[AnswerOut.of(outcome) for outcome in outcomes if isinstance(outcome, Answer)])


@router.post("/operations/look-up")
async def look_up(engine: EngineDep, body: BatchIn) -> BatchOut:
    """What became of each; `unknown` was never carried out. Nothing is carried out here."""
    answers = await engine.look_up([one.operation() for one in body.operations])
    return BatchOut(answers=[AnswerOut.of(answer) for answer in answers])


@router.get("/operations/{operation_id}")
async def look_up_one(engine: EngineDep, operation_id: Id) -> AnswerOut:
    """What became of an operation; `unknown` was never carried out."""
    return AnswerOut.of(await engine.look_up_one(operation_id))


@router.post("/authorisations")
async def authorise(engine: EngineDep, body: AuthorisationIn) -> AnswerOut:
    """Authorise, or with `capture` authorise and take the money in one step."""
    return await _carry_out(engine, body.operation())


@router.post("/captures")
async def capture(engine: EngineDep, body: FollowUpIn) -> AnswerOut:
    """Take the money of an authorisation, or a part of it, once."""
    return await _carry_out(engine, body.operation(OperationKind.CAPTURE))


@router.post("/voids")
async def void(engine: EngineDep, body: FollowUpIn) -> AnswerOut:
    """Make sure that nothing is held. An authorisation that has not arrived will be refused when it does."""
    return await _carry_out(engine, body.operation(OperationKind.VOID))


@router.post("/refunds")
async def refund(engine: EngineDep, body: FollowUpIn) -> AnswerOut:
    """Give back what was captured, or a part of it."""
    return await _carry_out(engine, body.operation(OperationKind.REFUND))


@router.get("/settlement-files/{day}")
async def settlement_file(engine: EngineDep, day: date) -> SettlementFileOut:
    """The captures and refunds of a day (UTC) that have succeeded, and what they come to."""
    now = clock.now()
    if not 0 <= (now.date() - day).days <= MAX_DAYS_BACK:
        raise HTTPException(404, "There is no settlement file of this day.")
    lines = await engine.settlement_lines(day)
    return SettlementFileOut(
        day=day.isoformat(),
        complete=rules.day_is_complete(day, now),
        lines=[SettlementLineOut(**asdict(line)) for line in lines],
        totals=_totals(lines),
    )


@router.get("/totals")
async def totals(
    engine: EngineDep, merchant_id: Annotated[Id | None, Query(alias="merchantId")] = None
) -> list[TotalsOut]:
    """What the books say of a merchant, or of all, by currency."""
    return [TotalsOut(**asdict(one)) for one in await engine.totals(merchant_id)]


@router.get("/health")
async def health(engine: EngineDep) -> dict[Literal["status"], Literal["ok"]]:
    """Whether the bank and its books are there. 503 where they are not."""
    await engine.look_up([])
    return {"status": "ok"}


async def _carry_out(engine: BankEngine, operation: Operation) -> AnswerOut:
    (outcome,) = await engine.submit([operation])
    _log([operation], [outcome])
    if isinstance(outcome, Answer):
        return AnswerOut.of(outcome)
    if outcome is Silence.LOST:
        await asyncio.sleep(LOST_ANSWER_S)
        raise HTTPException(504, "The answer was lost. Look the operation up.")
    raise HTTPException(503, "Not carried out. Try again.", {"Retry-After": "1"})


def _log(operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
    """A line for each operation that was asked for. (An answer is of its first time.)"""
    for operation, outcome in zip(operations, outcomes, strict=True):
        _LOG.info(
            "operation",
            request_id=operation.request_id,
            operation_id=operation.id,
            kind=operation.kind.value,
            merchant=operation.merchant_id,
            verdict=outcome.verdict.value if isinstance(outcome, Answer) else outcome.value,
        )


def _totals(lines: list[SettlementLine]) -> list[SettlementTotalOut]:
    by_merchant: dict[tuple[str, str], list[SettlementLine]] = defaultdict(list)
    for line in lines:
        by_merchant[line.merchant_id, line.currency].append(line)
    totals: list[SettlementTotalOut] = []
    for (merchant_id, currency), its in sorted(by_merchant.items()):
        captured = [line.amount_minor for line in its if line.kind is OperationKind.CAPTURE]
        refunded = [line.amount_minor for line in its if line.kind is OperationKind.REFUND]
        totals.append(
            SettlementTotalOut(
                merchant_id=merchant_id,
                currency=currency,
                captures=len(captured),
                captured_minor=sum(captured),
                refunds=len(refunded),
                refunded_minor=sum(refunded),
                net_minor=sum(captured) - sum(refunded),
            )
        )
    return totals


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's list, without the input: it could be a card number."""
    assert isinstance(error, RequestValidationError)
    shown: list[dict[str, Any]] = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
    return JSONResponse({"detail": shown}, 422)


async def _driver_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DriverError)
    if not outage(error):
        raise error
    return JSONResponse({"detail": "The books cannot be reached. Try again."}, 503, {"Retry-After": "1"})
