"""Poll many tasks together on the built-in sandbox. This example needs no key and no network."""

import asyncio

from suno_async import PollPolicy, SunoClient
from suno_async.sandbox import Sandbox

SPEED = 60  # the sandbox's jobs are this many times faster than real jobs


async def main() -> None:
    """Print the outcome of each task as soon as it is known."""
    async with (
        Sandbox(seed=1, time_scale=SPEED) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=PollPolicy().scaled(SPEED)) as suno,
    ):
        ids = sandbox.add_tasks(30)
        async for outcome in suno.as_completed(ids):
            if outcome.error is None:
                print(outcome.task_id, outcome.info.tracks[0].suno_audio_url)
            else:
                print(outcome.task_id, outcome.error)
        print(suno.statistics())


asyncio.run(main())
