"""Progress of many tasks on stderr, and their outcomes written as they arrive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suno_async.cli.exit_codes import exit_code
from suno_async.cli.outcome_rows import outcome_row, outcome_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from suno_async import JobOutcome, Outcome, SunoClient

#: Seconds between two updates of the live display.
LIVE_EVERY = 0.25

#: Seconds between two progress lines when stderr is not a terminal.
PLAIN_EVERY = 10.0


class Progress:
    """Counts outcomes by status. Shows the counts live on a terminal, and as lines elsewhere.

    Args:
        total: Number of outcomes to expect.
        client: The client whose request rate is shown.
        label: The word in front of the counts.
        plain: Print lines on a terminal too, because other output goes there.

    Attributes:
        total: Number of outcomes to expect.
        states: Number of outcomes so far, by status.
        worst: The highest exit code of the outcomes so far.
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
        """Number of outcomes so far."""
        return sum(self.states.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def record(self, outcome: Outcome | JobOutcome, out: IO[str]) -> None:
        """Write an outcome to a results file at once, and count it."""
        out.write(json.dumps(outcome_row(outcome)) + "\n")
        out.flush()
        status = outcome_status(outcome)
        self.states[status] = self.states.get(status, 0) + 1
        self.worst = max(self.worst, exit_code(outcome.error))

    async def record_all(self, outcomes: AsyncIterator[Outcome], out: IO[str]) -> None:
        """Record each outcome as it arrives."""
        async for outcome in outcomes:
            self.record(outcome, out)

    def summary(self) -> dict[str, Any]:
        """Return the figures of the run so far, as ``--json`` prints them. Times are in seconds."""
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
        """Show the counts until the block ends. A timer updates them, also without outcomes."""
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
        return Group(line, Text(self._counts(), no_wrap=True, overflow="ellipsis"))

    def _counts(self) -> str:
        numbers = self._client.statistics()
        states = ", ".join(f"{count} {state}" for state, count in self.states.items())
        left = self.total - self.done
        eta = _clock(left * self.elapsed / self.done) if self.done else "unknown"
        return f"{states}; {numbers.rate:.1f} of {numbers.rate_limit:.3g} requests/s; ETA {eta}"

    def _print_line(self) -> None:
        line = f"{self._label}: {self.done}/{self.total}; {self._counts()}"
        print(line, file=sys.stderr)  # noqa: T201 (a command prints)


@contextlib.asynccontextmanager
async def _every(seconds: float, do: Callable[[], None]) -> AsyncGenerator[None]:
    """Call `do` every so many seconds until the block ends."""

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
