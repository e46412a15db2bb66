"""The demo: the main job on the sandbox, without a key and without a network."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table

from suno_async import GenerateMusic, PollPolicy, SunoClient
from suno_async.cli._run import Tally, drain
from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from suno_async import Outcome, TaskHandle

TIME_SCALE = 30.0


async def demo(songs: int, directory: Path, seed: int) -> dict[str, Any]:
    """Create `songs` songs, poll them all, fetch the audio; the figures of the summary."""
    policy = PollPolicy(
        interval=15 / TIME_SCALE, max_interval=60 / TIME_SCALE, deadline=1200 / TIME_SCALE
    )
    console = Console(stderr=True)
    console.print(
        f"{songs} songs on the built-in sandbox. The 15 requests a second are real; only the "
        f"jobs' durations, and the polling intervals with them, are {TIME_SCALE:g} times shorter."
    )
    started = time.monotonic()
    async with (
        Sandbox(seed=seed, time_scale=TIME_SCALE) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url, policy=policy) as suno,
    ):
        tasks = await _create_all(suno, songs)
        tally = Tally(songs, suno)
        results = directory / "results.jsonl"
        with tally.shown(), await asyncio.to_thread(_open_results, results) as out:
            good = await drain(suno.as_completed(tasks), tally, out)
        numbers, seen = suno.statistics(), sandbox.statistics
        files = await _download_all(suno, good, directory / "audio")
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
        "audio": str(directory / "audio"),
    }


def show(figures: dict[str, Any]) -> None:
    """Print the summary."""
    table = Table(title="summary", show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)


async def _create_all(suno: SunoClient, songs: int) -> list[TaskHandle]:
    moods = ("slow piano, rain outside", "brass band at noon", "night train, synths")
    async with asyncio.TaskGroup() as group:
        creates = [
            group.create_task(
                suno.create(GenerateMusic(prompt=f"{moods[n % 3]}, no. {n}", instrumental=True))
            )
            for n in range(songs)
        ]
    return [create.result() for create in creates]


async def _download_all(suno: SunoClient, good: list[Outcome], directory: Path) -> int:
    tracks = [track for outcome in good for track in outcome.result().tracks]
    paths = await asyncio.gather(*(suno.download(track, directory) for track in tracks))
    return len(paths)


def _open_results(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
