"""The page where 3-D Secure asks the cardholder. It plays the issuer's part, for a person in a browser."""

from contextlib import suppress
from html import escape
from typing import Annotated, Literal

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict

from core.errors import InvalidState
from domain.money import EXPONENTS, to_major
from domain.payments import Payment, Status
from routers.dependencies import OriginDep, PspDep
from routers.route import PspRoute

router = APIRouter(prefix="/3ds", route_class=PspRoute, include_in_schema=False)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Confirm your payment</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 10vh auto; padding: 0 1rem; color: #1c2430 }}
dl {{ display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem }} dt {{ color: #5b6675 }} dd {{ margin: 0 }}
button {{ font: inherit; padding: .6rem 1.2rem; border: 1px solid #1f5fbf; border-radius: .4rem; cursor: pointer }}
button[value=approve] {{ background: #1f5fbf; color: #fff }} button[value=refuse] {{ background: #fff; color: #1f5fbf }}
small {{ color: #5b6675 }}
</style>
<h1>{title}</h1>
<dl><dt>Amount</dt><dd>{amount}</dd><dt>Card</dt><dd>{card}</dd><dt>For</dt><dd>{name}</dd></dl>
{form}
<p><small>This page plays the bank that issued the card (3-D Secure). No money moves here.</small></p>
"""
_FORM = """<form method="post">
<button name="answer" value="approve">Approve</button> <button name="answer" value="refuse">Refuse</button>
</form>"""
_TITLES = {
    Status.REQUIRES_ACTION: "Confirm your payment",
    Status.PROCESSING: "Thank you, you have approved this payment",
    Status.COMPLETED: "This payment is completed",
    Status.AUTHORIZED: "This payment is authorised",
    Status.FAILED: "This payment has failed",
    Status.CANCELLED: "This payment was cancelled",
}


class ChallengeAnswer(BaseModel):
    """What the cardholder pressed."""

    model_config = ConfigDict(extra="forbid")

    answer: Literal["approve", "refuse"]


@router.get("/{payment_id}/{proof}", response_class=HTMLResponse)
async def challenge_page(psp: PspDep, payment_id: str, proof: str) -> HTMLResponse:
    """The page that `nextAction.url` of a payment leads to."""
    return _page(await psp.payments.challenged(payment_id, proof))


@router.post("/{payment_id}/{proof}", response_class=RedirectResponse, status_code=303)
async def answer_challenge(
    psp: PspDep, origin: OriginDep, payment_id: str, proof: str, form: Annotated[ChallengeAnswer, Form()]
) -> RedirectResponse:
    """The cardholder approves or refuses. Leads back to the page, which shows what became of the payment."""
    with suppress(InvalidState):  # answered before, or cancelled meanwhile: the page says so
        approved = form.answer == "approve"
        await psp.payments.answer_challenge(payment_id, proof, approved=approved, request_id=origin.request_id)
    return RedirectResponse(proof, status_code=303, headers=_HEADERS)


def _page(payment: Payment) -> HTMLResponse:
    asks = payment.status is Status.REQUIRES_ACTION
    amount = f"{to_major(payment.amount_minor, payment.currency):,.{EXPONENTS[payment.currency]}f}"
    return HTMLResponse(
        _PAGE.format(
            title=escape(_TITLES.get(payment.status, f"This payment is {payment.status}")),
            amount=escape(f"{amount} {payment.currency}"),
            card=escape(f"{payment.card.brand} ending in {payment.card.last4}" if payment.card else "none"),
            name=escape(payment.customer_name),
            form=_FORM if asks else "",
        ),
        headers=_HEADERS,
    )
