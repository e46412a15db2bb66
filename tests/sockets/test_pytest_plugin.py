"""Tests of the pytest fixture `suno_sandbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from suno_async import PollPolicy, SunoClient
from suno_async.sandbox.pytest_plugin import suno_sandbox

if TYPE_CHECKING:
    from suno_async.sandbox import Sandbox

__all__ = ["suno_sandbox"]


async def test_every_job_succeeds(suno_sandbox: Sandbox) -> None:
    """In the sandbox of the fixture, no job fails at random."""
    ids = suno_sandbox.add_tasks(10, durations=[0.1] * 10)
    policy = PollPolicy().scaled(60)
    async with SunoClient(suno_sandbox.key, base_url=suno_sandbox.url, policy=policy) as suno:
        outcomes = await suno.outcomes(ids)
    assert [outcome.error for outcome in outcomes] == [None] * 10
