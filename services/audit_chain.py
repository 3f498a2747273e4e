"""Linking the audit log into a hash chain, and walking it to see whether it is whole."""

import hmac
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from core.database import Database, Session
from domain.audit_chain import GENESIS, ChainRow, Head, fits, follow, is_sealed, seal
from repositories.audit_chain import AuditChainRepository, PlaceTaken, SealedHead

BATCH = 200
LEASE_S = 15
"""Many times what a batch takes; a killed worker's chain waits this long."""
_PAGE = 1000
_LOG = logging.getLogger(__name__)
_WRITTEN_BY_ANOTHER_HAND = "another hand has written them. See: python cli.py audit verify"


class Break(StrEnum):
    """What was done to the chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    FORGED = "forged"
    """A row without a place in the chain was inserted or changed by another hand: its seal does not fit."""
    HEAD_CHANGED = "head_changed"
    """The head is missing, was written by another hand, or was put back to an older one."""
    KEPT_HEAD_MISSING = "kept_head_missing"
    """A head that was kept elsewhere is no longer in the chain: its end was cut off or made anew."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The first place where the chain does not fit."""

    kind: Break
    sequence: float | None = None
    row_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    linked: int
    """How many rows fit, from the first on."""
    unlinked: int
    """How many of the newest have no place yet: it cannot be noticed where one of these is removed."""
    head: Head
    """The last that fits. Kept elsewhere it shows, later on, whether the end was cut off."""
    problem: Problem | None


class AuditChain:
    def __init__(self, database: Database, chain: AuditChainRepository, hash_key: bytes):
        self._database = database
        self._chain = chain
        self._key = hash_key

    async def link_batch(self) -> int:
        """Link the oldest rows that wait, in the order of their times and ids; how many wait no longer. 0 where there
        are none, or another process is at it.

        A row whose seal does not fit was written by another hand: it gets no place, and keeps no other from theirs.
        Rows and head are one transaction of whoever holds the lease. So whoever dies leaves a whole chain, and who
        wakes up late changes nothing.
        """
        if not await self._chain.has_unlinked():
            return 0
        token = await self._chain.lease(self._sealed(GENESIS), LEASE_S)
        if token is None:
            return 0
        try:
            return await self._database.in_transaction(lambda session: self._link(token, session))
        except PlaceTaken:
            _LOG.error("the audit log is not linked on: rows stand beyond its head. See: python cli.py audit verify")
            return 0

    async def verify(self, kept: Head | None = None) -> Verification:
        """Walk the chain from its first row on, beside servers that write. `kept` is a head of an earlier walk."""
        walked, head = GENESIS, None
        while True:
            begun = walked.sequence
            async for row in self._rows_after(walked):
                if problem := await self._problem_at(row, walked) or _problem_with_kept(row, kept):
                    return await self._verification(walked, problem)
                assert row.hash is not None
                walked = Head(walked.sequence + 1, row.hash)
            if head is not None and walked.sequence == begun:
                break  # no more rows, although they were linked before that head was read
            head = await self._chain.head()
            if head is None or not self._is_ours(head) or head.head.sequence <= walked.sequence:
                break
        problem = self._problem_at_end(walked, head)
        if problem is None and kept is not None and kept.sequence > walked.sequence:
            problem = Problem(Break.KEPT_HEAD_MISSING, kept.sequence)
        return await self._verification(walked, problem or await self._forged())

    async def _link(self, token: str, session: Session) -> int:
        before = await self._chain.leased_head(token, session)
        if before is None:
            return 0  # the lease has ended
        if not self._is_ours(before):
            # Whoever goes on from a head that was changed would make a whole chain of a broken one.
            _LOG.error("the audit log is not linked on: its head was changed. See: python cli.py audit verify")
            return 0
        waiting = await self._chain.unlinked(BATCH, session)
        head, linked, refused = before.head, list[ChainRow](), list[ChainRow]()
        for row in waiting:
            if not is_sealed(self._key, row):
                refused.append(row)
                continue
            after = follow(self._key, head, row.content)
            linked.append(ChainRow(row.id, row.content, after.sequence, head.hash, after.hash))
            head = after
        await self._chain.link(token, linked, refused, self._sealed(head), session)
        if refused:
            _LOG.error("%d rows of the audit log are not linked: %s", len(refused), _WRITTEN_BY_ANOTHER_HAND)
        return len(waiting)

    async def _rows_after(self, walked: Head) -> AsyncIterator[ChainRow]:
        sequence: float = walked.sequence
        while rows := await self._chain.linked_after(sequence, _PAGE):
            for row in rows:
                yield row
            assert rows[-1].sequence is not None
            sequence = rows[-1].sequence

    async def _problem_at(self, row: ChainRow, walked: Head) -> Problem | None:
        expected = walked.sequence + 1
        if row.sequence is None or row.sequence < expected:
            return Problem(Break.INSERTED, row.sequence, row.id)
        if row.sequence > expected:
            return Problem(Break.REMOVED, expected)
        if not fits(self._key, row):
            inserted = await self._joined_without(walked)
            return Problem(Break.INSERTED if inserted else Break.CHANGED, expected, row.id)
        if row.previous_hash != walked.hash:
            moved = await self._chain.has_successor(walked.hash)
            return Problem(Break.REORDERED, expected, row.id) if moved else Problem(Break.REMOVED, expected)
        return None

    async def _joined_without(self, walked: Head) -> bool:
        """Whether what stands around the next row is joined without it."""
        following = await self._chain.linked_after(walked.sequence + 1, 1)
        if following:
            return following[0].previous_hash == walked.hash
        head = await self._chain.head()
        return head is not None and head.head == walked

    def _problem_at_end(self, walked: Head, head: SealedHead | None) -> Problem | None:
        if head is None:
            return None if walked == GENESIS else Problem(Break.HEAD_CHANGED)
        if not self._is_ours(head) or head.head.sequence < walked.sequence:
            return Problem(Break.HEAD_CHANGED)
        return Problem(Break.REMOVED, walked.sequence + 1) if head.head != walked else None

    async def _forged(self) -> Problem | None:
        async for row in self._chain.without_place():
            if not is_sealed(self._key, row):
                return Problem(Break.FORGED, None, str(row.id))
        return None

    async def _verification(self, walked: Head, problem: Problem | None) -> Verification:
        return Verification(walked.sequence, await self._chain.count_unlinked(), walked, problem)

    def _sealed(self, head: Head) -> SealedHead:
        return SealedHead(head, seal(self._key, head))

    def _is_ours(self, sealed: SealedHead) -> bool:
        return hmac.compare_digest(seal(self._key, sealed.head).encode(), sealed.seal.encode())


def _problem_with_kept(row: ChainRow, kept: Head | None) -> Problem | None:
    if kept is None or row.sequence != kept.sequence or row.hash == kept.hash:
        return None
    return Problem(Break.KEPT_HEAD_MISSING, row.sequence, row.id)
