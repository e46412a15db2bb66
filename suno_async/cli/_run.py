"""Polling thousands of tasks with a live display, results written as they come."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import IO, TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from suno_async import (
    AuthenticationError,
    ConfigurationError,
    CreateOutcomeUnknownError,
    InsufficientCreditsError,
    InvalidInputError,
    SunoError,
    TaskFailedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from suno_async import Outcome, SunoClient

EXIT_CODES: tuple[tuple[type[SunoError], int], ...] = (
    (TaskFailedError, 1),
    (InvalidInputError, 2),
    (ConfigurationError, 2),
    (AuthenticationError, 3),
    (InsufficientCreditsError, 4),
    (CreateOutcomeUnknownError, 6),
)

#: Seconds between two plain progress lines when the output is no terminal.
PLAIN_EVERY = 10.0


def exit_code(error: SunoError | None) -> int:
    """The documented exit code of an outcome; 5 where it is not known."""
    if error is None:
        return 0
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 5)


def row(outcome: Outcome) -> dict[str, Any]:
    """One outcome as the JSON object that results files hold."""
    info = outcome.info
    if outcome.error is None:
        status = "success"
    elif isinstance(outcome.error, TaskFailedError):
        status = "failed"
    else:
        status = "undecided"
    return {
        "task_id": outcome.task_id,
        "status": status,
        "error": None if outcome.error is None else str(outcome.error),
        "create_at": info.create_at if info else None,
        "complete_at": info.complete_at if info else None,
        "duration_s": info.duration_s if info else None,
        "tracks": [msgspec.to_builtins(track) for track in info.tracks] if info else [],
        "media_urls": list(info.media_urls) if info else [],
    }


class Tally:
    """Counts by state, shown live on a terminal and as plain lines elsewhere."""

    def __init__(self, total: int, client: SunoClient, label: str = "polling") -> None:
        self.total = total
        self.states = {"success": 0, "failed": 0, "undecided": 0}
        self.worst = 0
        self._client = client
        self._label = label
        self._console = Console(stderr=True)
        self._started = self._told = time.monotonic()
        self._tell: Callable[[], None] = self._tell_plainly

    @property
    def done(self) -> int:
        """Tasks that have ended, one way or another."""
        return sum(self.states.values())

    def count(self, outcome: Outcome) -> None:
        """Count an outcome and show it."""
        self.states[row(outcome)["status"]] += 1
        self.worst = max(self.worst, exit_code(outcome.error))
        self._tell()

    def refresh(self) -> None:
        """Show the counts again."""
        self._tell()

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        """Show the counts until the block ends."""
        if not self._console.is_terminal:
            yield
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=self._console,
        ) as progress:
            bar = progress.add_task(self._label, total=self.total, text="")
            self._tell = lambda: progress.update(bar, completed=self.done, text=self._text())
            yield

    def _text(self) -> str:
        numbers = self._client.statistics()
        states = " ".join(f"{count} {state}" for state, count in self.states.items())
        elapsed = time.monotonic() - self._started
        left = self.total - self.done
        eta = f"{left * elapsed / self.done:.0f} s" if self.done else "unknown"
        return f"{states}, {numbers.rate:.1f}/15 requests/s, ETA {eta}"

    def _tell_plainly(self) -> None:
        now = time.monotonic()
        if now - self._told >= PLAIN_EVERY or self.done == self.total:
            self._told = now
            print(f"{self._label}: {self.done}/{self.total} {self._text()}", file=sys.stderr)  # noqa: T201 (a command prints)


async def drain(outcomes: AsyncIterator[Outcome], tally: Tally, out: IO[str]) -> list[Outcome]:
    """Write each outcome as a line the moment it comes; return those that succeeded."""
    good: list[Outcome] = []
    async for outcome in outcomes:
        out.write(json.dumps(row(outcome)) + "\n")
        out.flush()
        tally.count(outcome)
        if outcome.ok:
            good.append(outcome)
    return good
