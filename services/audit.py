"""Writing down who did what that needs a witness, and reading it."""

from dataclasses import dataclass

from core import clock, ids
from core.database import Session
from domain.audit import Action, AuditOutcome, AuditRow, State
from domain.redaction import redact_text
from repositories.audit import AuditFilter, AuditRepository
from repositories.pages import CursorInvalid
from schemas.audit import AuditPage, AuditQuery, audit_row_out
from services.caller import Caller
from services.validation import invalid


@dataclass(frozen=True, slots=True)
class Origin:
    """What something came with, where nobody has shown who they are."""

    request_id: str | None
    address: str | None

    def of(self, caller: Caller) -> "Actor":
        """The same, now that it is known who asks."""
        return Actor(self.request_id, self.address, caller)


COMMAND_LINE = Origin(None, None)
"""Whoever starts processes on the machine itself."""


@dataclass(frozen=True, slots=True)
class Actor(Origin):
    """Who does something that is written down: the caller, and the request that it came with."""

    caller: Caller


class Audit:
    def __init__(self, rows: AuditRepository):
        self._rows = rows

    async def record(
        self,
        who: Origin,
        action: Action,
        target_id: str | None,
        *,
        outcome: AuditOutcome = AuditOutcome.SUCCESS,
        session_id: str | None = None,
        before: State | None = None,
        after: State | None = None,
        route: str | None = None,
        session: Session | None = None,
    ) -> None:
        """Write it down before its answer leaves: what cannot be written down is not shown.

        With the session of the transaction that makes the change, neither is there without the other. `session_id` is
        the session that it is about where none was shown.
        """
        caller = who.caller if isinstance(who, Actor) else None
        row = AuditRow(
            id=ids.fresh("aud"),
            at=clock.now(),
            account_id=caller.account_id if caller else None,
            role=caller.role if caller else None,
            api_key_id=caller.api_key_id if caller else None,
            session_id=caller.session_id if caller else session_id,
            action=action,
            target_id=target_id,
            outcome=outcome,
            before=before,
            after=after,
            request_id=who.request_id,
            address=who.address,
            route=route,
        )
        await self._rows.insert(row, session)

    async def record_denial(self, who: Actor, route: str, named: str | None) -> None:
        """Write down that somebody was told 403. `named` is what the address names.

        Not where a payment key was shown: it stands in web pages, and whoever has seen one could fill the disk.
        """
        if who.caller.payment_key is None:
            await self.record(who, Action.ACCESS_DENIED, id_in(named), outcome=AuditOutcome.DENIED, route=route)

    async def page(self, actor: Actor, query: AuditQuery) -> AuditPage:
        """What everybody did, newest first. That it was read stands in it from the next page on."""
        wanted = AuditFilter(
            account_id=query.actor_id,
            action=query.action,
            target_id=query.target_id,
            outcome=query.outcome,
            created_from=query.created_from,
            created_to=query.created_to,
        )
        try:
            page = await self._rows.page(wanted, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        await self.record(actor, Action.AUDIT_READ, None)
        return AuditPage(
            audit_rows=[audit_row_out(row) for row in page.items],
            total_audit_rows=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )


def id_in(named: str | None) -> str | None:
    """What a client names, if it can be an id. It may be any text, a secret or the number of a card among others."""
    return named if named is not None and ids.is_id(named) and redact_text(named) == named else None
