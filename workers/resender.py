"""Carries out resend jobs, batch after batch."""

from services.resend_jobs import ResendJobs
from services.signals import Signals
from workers.loop import finish, rest, seconds_until

REST_S = 5.0
"""The bell is rung in the same process. What another process was asked for, or a killed worker left, may wait this
long: looking each second would be more operations a second in an idle worker."""


async def run(jobs: ResendJobs, signals: Signals) -> None:
    while True:
        signals.resends.clear()
        if not await finish(jobs.work()):
            due_at = await jobs.next_due_at()
            await rest(signals.resends, REST_S if due_at is None else seconds_until(due_at))
