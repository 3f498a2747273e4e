"""Links what was written to the audit log into its hash chain, batch after batch."""

import asyncio

from services.audit_chain import AuditChain
from workers.loop import finish

REST_S = 1.0
"""What is not linked yet can be removed unnoticed, and looking reads one entry of an index that is nearly empty."""


async def run(chain: AuditChain) -> None:
    while True:
        if not await finish(chain.link_batch()):
            await asyncio.sleep(REST_S)
