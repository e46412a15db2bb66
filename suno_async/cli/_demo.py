"""The demo: the main job on the sandbox, without a key and without a network."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table

from suno_async import GenerateMusic, PollPolicy, SunoClient
from suno_async.cli._run import Tally, record
from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

TIME_SCALE = 30.0

#: Creates at once. The budget is first come, first served, and a poll is never more than one in
#: its queue: with one create beside it, every other request is a poll until all are created.
CREATES_AT_ONCE = 1

_MOODS = ("slow piano, rain outside", "brass band at noon", "night train, synths")


async def demo(songs: int, directory: Path, seed: int) -> dict[str, Any]:
    """Create `songs` songs, poll them meanwhile, fetch the audio; the figures of the summary."""
    policy = PollPolicy().scaled(TIME_SCALE)
    Console(stderr=True).print(
        f"{songs} songs on the built-in sandbox. The 15 requests a second are real; only the "
        f"jobs' durations, and the polling intervals with them, are {TIME_SCALE:g} times shorter."
    )
    results, audio = directory / "results.jsonl", directory / "audio"
    started = time.monotonic()
    async with (
        Sandbox(seed=seed, time_scale=TIME_SCALE) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=policy) as suno,
    ):
        tally = Tally(songs, suno, "songs")
        with await asyncio.to_thread(_open_results, results) as out:
            files = await _all_songs(suno, tally, out, audio)
        numbers, seen = suno.statistics(), sandbox.statistics
    ended = tally.states["success"] + tally.states["failed"]
    return {
        "songs": songs,
        **tally.states,
        "audio_files": files,
        "status_requests_per_finished_task": round(numbers.polls / max(1, ended), 2),
        "most_requests_in_any_second": seen.worst_window,
        "answers_of_429": seen.rate_limited,
        "noticed_late_mean_s": round(numbers.delay_mean or 0.0, 2),
        "noticed_late_p95_s": round(numbers.delay_p95 or 0.0, 2),
        "elapsed_s": round(time.monotonic() - started, 1),
        "results": str(results),
        "audio": str(audio),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the summary."""
    table = Table(title="summary", show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


async def _all_songs(suno: SunoClient, tally: Tally, out: TextIO, audio: Path) -> int:
    """Create, poll and fetch every song; how many audio files there are."""
    places = asyncio.Semaphore(CREATES_AT_ONCE)

    async def song(number: int) -> int:
        prompt = f"{_MOODS[number % len(_MOODS)]}, no. {number}"
        async with places:
            task = await suno.create(GenerateMusic(prompt=prompt, instrumental=True))
        files = 0
        async for outcome in suno.as_completed([task]):
            record(outcome, tally, out)
            for track in outcome.result().tracks if outcome.ok else ():
                await suno.download(track, audio)
                files += 1
        return files

    try:
        async with tally.shown(), asyncio.TaskGroup() as group:
            working = [group.create_task(song(number)) for number in range(tally.total)]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return sum(work.result() for work in working)


def _open_results(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
