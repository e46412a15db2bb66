"""Polling thousands of tasks with a live display, results written as they come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suno_async import CreateOutcomeUnknownError, JobOutcome, TaskFailedError
from suno_async.cli._exits import exit_code

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from suno_async import Outcome, SunoClient

#: Seconds between two looks of the live display.
LIVE_EVERY = 0.25

#: Seconds between two plain progress lines when the output is no terminal.
PLAIN_EVERY = 10.0


def row(outcome: Outcome) -> dict[str, Any]:
    """One outcome as the JSON object that results files hold."""
    info = outcome.info
    which: dict[str, Any] = {}
    if isinstance(outcome, JobOutcome):
        which = {"index": outcome.index, "model": outcome.job.KIND}
    return {
        **which,
        "task_id": outcome.task_id,
        "status": _status(outcome),
        "error": None if outcome.error is None else str(outcome.error),
        "create_at": info.create_at if info else None,
        "complete_at": info.complete_at if info else None,
        "duration_s": info.duration_s if info else None,
        "tracks": [msgspec.to_builtins(track) for track in info.tracks] if info else [],
        "stems": dict(info.stems) if info else {},
        "media_urls": list(info.media_urls) if info else [],
    }


def _status(outcome: Outcome) -> str:
    if outcome.error is None:
        return "success"
    if isinstance(outcome.error, TaskFailedError):
        return "failed"
    if isinstance(outcome.error, CreateOutcomeUnknownError):
        return "unknown"
    return "undecided" if outcome.task_id else "not_created"


class Tally:
    """Counts by state, shown live on a terminal and as plain lines elsewhere.

    Args:
        total: How many outcomes will come.
        client: Whose request rate is shown.
        label: What is going on.
        plain: No live display, because something else writes to the terminal.
    """

    def __init__(
        self, total: int, client: SunoClient, label: str = "polling", *, plain: bool = False
    ) -> None:
        self.total = total
        self.states = {"success": 0, "failed": 0, "undecided": 0}
        self.worst = 0
        self._client = client
        self._label = label
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not plain
        self._started = time.monotonic()

    @property
    def done(self) -> int:
        """Tasks that have ended, one way or another."""
        return sum(self.states.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def count(self, outcome: Outcome) -> None:
        """Count an outcome."""
        status = _status(outcome)
        self.states[status] = self.states.get(status, 0) + 1
        self.worst = max(self.worst, exit_code(outcome.error))

    def summary(self) -> dict[str, Any]:
        """The figures of the run so far, as ``--json`` prints them; times in seconds."""
        numbers = self._client.statistics()
        return {
            "tasks": self.total,
            **self.states,
            "requests": numbers.requests,
            "answers_of_429": numbers.rate_limited,
            "noticed_late_mean_s": numbers.delay_mean,
            "noticed_late_p95_s": numbers.delay_p95,
            "elapsed_s": round(self.elapsed, 3),
        }

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show the counts on a timer, whether outcomes come or not, until the block ends."""
        if not self._live:
            async with _every(PLAIN_EVERY, self._print_line):
                yield
            if self.total:
                self._print_line()
            return
        with Live(
            self._picture(), console=self._console, auto_refresh=False, redirect_stdout=False
        ) as live:
            try:
                async with _every(LIVE_EVERY, lambda: live.update(self._picture(), refresh=True)):
                    yield
            finally:
                live.update(self._picture())

    def _picture(self) -> Group:
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(
            self._label,
            ProgressBar(total=self.total, completed=self.done, width=40),
            f"{self.done}/{self.total}",
            _clock(self.elapsed),
        )
        return Group(line, Text(self._text(), no_wrap=True, overflow="ellipsis"))

    def _text(self) -> str:
        numbers = self._client.statistics()
        states = ", ".join(f"{count} {state}" for state, count in self.states.items())
        left = self.total - self.done
        eta = _clock(left * self.elapsed / self.done) if self.done else "unknown"
        return f"{states}; {numbers.rate:.1f} of {numbers.rate_limit:.3g} requests/s; ETA {eta}"

    def _print_line(self) -> None:
        print(f"{self._label}: {self.done}/{self.total}; {self._text()}", file=sys.stderr)  # noqa: T201 (a command prints)


def record(outcome: Outcome, tally: Tally, out: IO[str]) -> None:
    """Write an outcome as a line, now, and count it."""
    out.write(json.dumps(row(outcome)) + "\n")
    out.flush()
    tally.count(outcome)


async def drain(outcomes: AsyncIterator[Outcome], tally: Tally, out: IO[str]) -> None:
    """Record each outcome the moment it comes."""
    async for outcome in outcomes:
        record(outcome, tally, out)


@contextlib.asynccontextmanager
async def _every(seconds: float, do: Callable[[], None]) -> AsyncGenerator[None]:
    async def tick() -> None:
        while True:
            await asyncio.sleep(seconds)
            do()

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
