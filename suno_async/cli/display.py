"""Show the progress of a command.

On a terminal, the display is updated in place. Elsewhere, plain lines are printed. With ``-q``,
nothing is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suno_async.cli.verbosity import is_quiet

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

#: Seconds between two updates of the live display.
LIVE_EVERY = 0.25

#: Seconds between two progress lines: if stderr is not a terminal, or with `plain`.
PLAIN_EVERY = 10.0


class Display:
    """Shows a progress bar, and lines of text below the bar.

    Args:
        label: The word in front of the bar.
        count: Function that returns the number of finished items and the total number.
        lines: Function that returns the lines below the bar.
        plain: Print plain lines even on a terminal. Needed if results go to the same terminal.
    """

    def __init__(
        self,
        label: str,
        count: Callable[[], tuple[int, int]],
        lines: Callable[[], Sequence[str]],
        *,
        plain: bool = False,
    ) -> None:
        self._label = label
        self._count = count
        self._lines = lines
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not plain
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since this object was created."""
        return time.monotonic() - self._started

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show the display until the ``with`` block ends. A timer updates the display."""
        if is_quiet():
            yield
            return
        if not self._live:
            async with _every(PLAIN_EVERY, self._print_line):
                yield
            if self._count()[1]:
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
        done, total = self._count()
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(
            self._label,
            ProgressBar(total=total, completed=done, width=40),
            f"{done}/{total}",
            clock(self.elapsed),
        )
        texts = (Text(each, no_wrap=True, overflow="ellipsis") for each in self._lines())
        return Group(line, *texts)

    def _print_line(self) -> None:
        done, total = self._count()
        line = f"{self._label}: {'; '.join((f'{done}/{total}', *self._lines()))}"
        print(line, file=sys.stderr)  # noqa: T201 (a command prints)


def clock(seconds: float) -> str:
    """Return a duration as text, such as ``0:01:30`` or ``1 day, 0:01:30``."""
    return str(timedelta(seconds=round(seconds)))


@contextlib.asynccontextmanager
async def _every(seconds: float, do: Callable[[], None]) -> AsyncGenerator[None]:
    """Call `do` at intervals of `seconds` until the ``with`` block ends."""

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
