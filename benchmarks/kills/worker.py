"""Create many songs and download their files. The benchmark kills this process.

Usage: ``python -m benchmarks.kills.worker JOURNAL DIRECTORY SONGS``. The worker skips a song if it
is unknown whether its task was created. The exit code is 0 if all other tasks succeeded and their
files are on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from suno_async import CreateOutcomeUnknownError, GenerateMusic, SunoClient

RUN = "album"


def jobs(count: int) -> list[GenerateMusic]:
    """Return `count` inputs with different prompts."""
    return [GenerateMusic(f"song {number}") for number in range(count)]


async def work(journal: str, directory: Path, count: int) -> None:
    """Create `count` songs, wait for them, and download their files.

    SIGTERM cancels the work.
    """
    current = asyncio.current_task()
    if current is None:
        raise RuntimeError("no asyncio task")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    async with SunoClient(journal=journal, account="kills") as suno, asyncio.TaskGroup() as group:
        outcomes = suno.pipeline(jobs(count), run=RUN, max_pending=count)
        async with contextlib.aclosing(outcomes):
            async for outcome in outcomes:
                if isinstance(outcome.error, CreateOutcomeUnknownError):
                    continue
                group.create_task(suno.download_all(outcome.result(), directory))


if __name__ == "__main__":
    try:
        asyncio.run(work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
    except asyncio.CancelledError:
        sys.exit(143)
