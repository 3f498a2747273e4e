"""Writing down who did what that needs a witness."""

from dataclasses import dataclass

from core import clock, ids
from core.database import Session
from repositories.audit import Action, AuditOutcome, AuditRepository, AuditRow, State
from services.caller import Caller


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something that is written down: the caller, and the request that it came with."""

    caller: Caller
    request_id: str
    address: str | None


class Audit:
    def __init__(self, rows: AuditRepository):
        self._rows = rows

    async def record(
        self,
        actor: Actor,
        action: Action,
        target_id: str,
        *,
        before: State | None = None,
        after: State | None = None,
        session: Session | None = None,
    ) -> None:
        """Write it down before its answer leaves: what cannot be written down is not shown.

        With the session of the transaction that makes the change, neither is there without the other.
        """
        caller = actor.caller
        row = AuditRow(
            id=ids.fresh("aud"),
            at=clock.now(),
            account_id=caller.account_id,
            role=caller.role,
            api_key_id=caller.api_key_id,
            session_id=caller.session_id,
            action=action,
            target_id=target_id,
            outcome=AuditOutcome.SUCCESS,
            before=before,
            after=after,
            request_id=actor.request_id,
            address=actor.address,
        )
        await self._rows.insert(row, session)
