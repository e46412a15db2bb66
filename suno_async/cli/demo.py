"""The demo: create, poll and download songs on a local sandbox, without a key or a network."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from suno_async import GenerateMusic, PollPolicy, SunoClient
from suno_async.cli.progress import Progress
from suno_async.cli.running import task_group
from suno_async.cli.verbosity import is_quiet
from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

TIME_SCALE = 30.0

#: Maximum number of creates in flight. Creates and polls get their permits from the request budget
#: in order of arrival, and at most one poll waits for a permit. With one create in flight, every
#: second request is a poll while songs are created.
CREATES_IN_FLIGHT = 1

_MOODS = ("slow piano, rain outside", "brass band at noon", "night train, synths")


async def run_demo(songs: int, directory: Path, seed: int) -> dict[str, Any]:
    """Create, poll and download songs. Return the figures for the summary.

    Args:
        songs: Number of songs.
        directory: Directory for the results file and the audio files.
        seed: Seed of the sandbox's random numbers.
    """
    policy = PollPolicy().scaled(TIME_SCALE)
    if not is_quiet():
        Console(stderr=True).print(
            f"{songs} songs on the built-in sandbox. The limit of 15 requests a second is real. "
            f"Real jobs and polling intervals are {TIME_SCALE:g} times as long."
        )
    progress = Progress(songs, "songs")
    results, audio = directory / "demo-results.jsonl", directory / "audio"
    started = time.monotonic()
    async with (
        Sandbox(seed=seed, time_scale=TIME_SCALE) as sandbox,
        SunoClient(
            sandbox.key, base_url=sandbox.url, policy=policy, observer=progress.tasks
        ) as suno,
    ):
        with await asyncio.to_thread(_open_results, results) as out:
            files = await _make_songs(suno, progress, out, audio)
        numbers, counted = suno.statistics(), sandbox.statistics
    ended = progress.states["success"] + progress.states["failed"]
    return {
        "songs": songs,
        **progress.states,
        "audio_files": files,
        "status_requests_per_finished_task": round(numbers.polls / max(1, ended), 2),
        "most_requests_in_any_second": counted.worst_window,
        "answers_of_429": counted.rate_limited,
        "noticed_late_mean_s": round(numbers.delay_mean or 0.0, 2),
        "noticed_late_p95_s": round(numbers.delay_p95 or 0.0, 2),
        "elapsed_s": round(time.monotonic() - started, 1),
        "results": str(results),
        "audio": str(audio),
    }


def print_figures(figures: dict[str, Any]) -> None:
    """Print the figures of `run_demo` as a table."""
    table = Table(title="summary", show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), Text(str(value)))
    Console().print(table)


async def _make_songs(suno: SunoClient, progress: Progress, out: TextIO, audio: Path) -> int:
    """Create, poll and download every song; return the number of audio files."""
    slots = asyncio.Semaphore(CREATES_IN_FLIGHT)

    async def make_song(number: int) -> int:
        prompt = f"{_MOODS[number % len(_MOODS)]}, no. {number}"
        async with slots:
            task = await suno.create(GenerateMusic(prompt, instrumental=True))
        files = 0
        async for outcome in suno.as_completed([task]):
            progress.record(outcome, out)
            for track in outcome.info.tracks if outcome.error is None else ():
                await suno.download(track, audio)
                files += 1
        return files

    async with progress.shown(suno), task_group() as group:
        working = [group.create_task(make_song(number)) for number in range(progress.total)]
    return sum(work.result() for work in working)


def _open_results(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")
