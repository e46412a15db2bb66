"""Poll many task ids together. Runs on the built-in sandbox; no key, no network."""

import asyncio

from suno_async import PollPolicy, SunoClient
from suno_async.sandbox import Sandbox

SPEED = 60  # times as fast as the service


async def main() -> None:
    """Every id ends as one outcome, in the order in which they end."""
    async with (
        Sandbox(seed=1, time_scale=SPEED) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=PollPolicy().scaled(SPEED)) as suno,
    ):
        ids = sandbox.add_tasks(30)
        async for outcome in suno.as_completed(ids):
            print(outcome.task_id, "ok" if outcome.ok else outcome.error)
        print(suno.statistics())


asyncio.run(main())
