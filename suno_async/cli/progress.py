"""Show the progress of many tasks on stderr, and write each outcome as soon as it arrives."""

from __future__ import annotations

import contextlib
import json
from typing import IO, TYPE_CHECKING, Any

from suno_async.cli.display import Display, clock
from suno_async.cli.error_lines import printable
from suno_async.cli.exit_codes import exit_code, most_serious
from suno_async.cli.outcome_rows import outcome_row, outcome_status
from suno_async.cli.task_counts import TaskCounts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from suno_async import JobOutcome, Outcome, SunoClient


class Progress:
    """Counts tasks and outcomes, and shows the counts.

    Args:
        total: Number of outcomes to expect.
        label: The word in front of the counts.
        task_ids: Ids of tasks that exist already.
        plain: Print plain lines even on a terminal. This is needed if the command prints its
            results on the same terminal.

    Attributes:
        total: Number of outcomes to expect.
        states: Number of outcomes so far, by their status in results files, such as ``"success"``.
        tasks: Counts the tasks in each state. Pass this `TaskCounts` to the client as
            ``observer=``.
        worst: The most serious exit code so far, from the outcomes and from `note`.
    """

    def __init__(
        self,
        total: int,
        label: str = "polling",
        *,
        task_ids: Iterable[str] = (),
        plain: bool = False,
    ) -> None:
        self.total = total
        self.states = {"success": 0, "failed": 0, "undecided": 0}
        self.tasks = TaskCounts(task_ids)
        self.worst = 0
        self._suno: SunoClient | None = None
        self._more: list[Callable[[], str]] = []
        self._display = Display(label, lambda: (self.done, self.total), self._lines, plain=plain)

    @property
    def done(self) -> int:
        """Number of outcomes so far."""
        return sum(self.states.values())

    def record(self, outcome: Outcome | JobOutcome, out: IO[str]) -> None:
        """Write an outcome to the results file `out` at once, and count the outcome."""
        out.write(json.dumps(outcome_row(outcome)) + "\n")
        out.flush()
        status = outcome_status(outcome)
        self.states[status] = self.states.get(status, 0) + 1
        self.tasks.ended(outcome.task_id, status)
        self.note(exit_code(outcome.error))

    def note(self, code: int) -> None:
        """Set `worst` to `code` if `code` is more serious."""
        self.worst = most_serious(self.worst, code)

    def summary(self) -> dict[str, Any]:
        """Return the counts and times of the run so far, as ``--json`` prints them.

        Times are in seconds.
        """
        counts: dict[str, Any] = {"tasks": self.total, **self.states}
        if self._suno is not None:
            numbers = self._suno.statistics()
            counts |= {
                "requests": numbers.requests,
                "answers_of_429": numbers.rate_limited,
                "noticed_late_mean_s": numbers.delay_mean,
                "noticed_late_p95_s": numbers.delay_p95,
            }
        return {**counts, "elapsed_s": round(self._display.elapsed, 3)}

    @contextlib.asynccontextmanager
    async def shown(self, suno: SunoClient, *more: Callable[[], str]) -> AsyncGenerator[None]:
        """Show the counts until the ``with`` block ends.

        Args:
            suno: The client whose request rate is shown.
            more: Functions that each return one additional line to show.
        """
        self._suno = suno
        self._more = list(more)
        async with self._display.shown():
            yield

    def _lines(self) -> list[str]:
        states = ", ".join(f"{count} {state}" for state, count in self.tasks.numbers().items())
        left = self.total - self.done
        eta = clock(left * self._display.elapsed / self.done) if self.done else "unknown"
        lines = [states, f"{self._rate()}ETA {eta}", *(line() for line in self._more)]
        if self.tasks.trouble:
            lines.append(printable(f"{self.tasks.trouble}; trying again"))
        return [line for line in lines if line]

    def _rate(self) -> str:
        if self._suno is None:
            return ""
        numbers = self._suno.statistics()
        return f"{numbers.rate:.1f} of {numbers.rate_limit:.3g} requests/s; "
