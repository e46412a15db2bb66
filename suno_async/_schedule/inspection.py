"""How much a request about a task is worth now. Pure mathematics, no clock.

A task of one kind ends at an age with distribution F (S = 1 - F, f its density). Its end cannot be
seen without asking. Let s be the age at which it was last known to run, and t its age now.

*The problem.* Choose the ages of the checks, at least `floor` apart, so that the expected wait
between end and detection, plus a price for each request, is least: the optimal inspection of
R. E. Barlow, L. C. Hunter and F. Proschan ("Optimum checking procedures", J. SIAM 11, 1963,
1078-1095), with J. B. Keller's price form ("Optimum checking schedules for systems subject to
random failure", Management Science 21, 1974, 256-260). The price stands for the shared budget: by
Lagrangian duality the limit of 15 requests a second splits into one such problem per task.

*Its solution.* Let J(t) be the least future cost just after a check at age t, weighted with the
chance S(t) of getting there:

    J(t) = min over u of  ∫_t^u (F(x) - F(t)) dx + price · S(t) + J(u)

With A the integral of F, the minimum is that of the lines A(u) + J(u) - F(t)·u at the abscissa
F(t): a lower envelope, kept by a convex-hull stack, so that one pass over the ages gives J and the
best next check u*(s), in O(n). Two humps, where a first-order condition has several roots, are
handled like any other law.

*Two prices.* Whether a request is worth making at all is decided at the lowest price at which one
is spent: a task is due at u*(s) for that price. Which of the due ones goes first is decided by what
it costs to leave it another second:

    urgency(s, t) = (F(t) - F(s) + J'(t)) / S(s)

that is, the chance that it has ended and waits, less what knowing later saves in later checks.

Why not the price itself as the index, (F(t) - F(s))² / (2·S(t)·f(t)), as one would by Whittle's
rule? It presumes that the price stays what it is; but the budget comes and goes (thousands are
created at once, then nothing), and a slot that is not used is lost. Valuing the future at one
moderate price served as well under steady overload, and better under bursts; and it needs no
density but f's integral, so an estimate's noise harms it less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async._schedule.durations import Law

#: Ages on the grid: one second apart for the default deadline of 20 minutes.
GRID = 1200

#: The slope of J is taken over so many of the grid's steps, which smooths an estimate's noise.
SLOPE_SPAN = 6


class Worth:
    """The due ages and urgencies of the tasks of one kind, for one law.

    Args:
        law: How long they take.
        floor: Least seconds between two checks.
        horizon: Age of the last check, in seconds.
        price: Seconds of waiting a request must save to be made at all.
        future_price: What a later request is taken to save, when the due tasks are put in order.
        weight: What a second of this task's waiting counts; bulk counts 1.
    """

    def __init__(  # noqa: PLR0913 (all named)
        self,
        law: Law,
        *,
        floor: float,
        horizon: float,
        price: float,
        future_price: float,
        weight: float = 1.0,
    ) -> None:
        self.step = horizon / GRID
        self._weight = weight
        # Tuples of numbers, as Python's collector does not walk through these.
        self._finished = tuple(law.resampled(self.step, GRID))
        apart = max(1, round(floor / self.step + 0.499))
        due, _ = _inspect(self._finished, self.step, apart, price / weight)
        self._due = tuple(due)
        _, cost = _inspect(self._finished, self.step, apart, future_price / weight)
        reach = SLOPE_SPAN // 2
        self._gain = tuple(
            finished
            + (cost[high := min(n + reach, GRID)] - cost[low := max(n - reach, 0)])
            / ((high - low) * self.step)
            for n, finished in enumerate(self._finished)
        )

    def due(self, since: float) -> float:
        """The age at which a task last seen running at age `since` is worth a request."""
        return self._due[int(min(max(since / self.step, 0.0), GRID))] * self.step

    def urgency(self, since: float, age: float) -> float:
        """Expected seconds of waiting that one second's postponement of its check costs."""
        return self.urgency_knowing(self.known(since), age)

    def known(self, since: float) -> float:
        """F at the age at which a task was last seen running."""
        return _at(self._finished, since / self.step)

    def urgency_knowing(self, known: float, age: float) -> float:
        """The urgency of a task at this age, from what `known` returned for it."""
        return self._weight * (_at(self._gain, age / self.step) - known) / (1.0 - known)

    def price(self, since: float, age: float) -> float:
        """Keller's price, (F(t) - F(s))² / (2·S(t)·f(t)): seconds of waiting a check now saves.

        At most the time since the last one, as where nothing ends any more it has no bound.
        """
        known, ended = self.known(since), self.known(age)
        soon = _at(self._finished, age / self.step + 1.0)
        scale = 2.0 * (1.0 - ended) * max(soon - ended, 1e-12) / self.step
        return min((ended - known) ** 2 / scale, age - since)


def _at(values: tuple[float, ...], position: float) -> float:
    """Linear interpolation; outside of the grid the nearest value."""
    if position >= GRID:
        return values[GRID]
    if position <= 0.0:
        return values[0]
    number = int(position)
    low = values[number]
    return low + (values[number + 1] - low) * (position - number)


def _inspect(
    finished: tuple[float, ...], step: float, apart: int, price: float
) -> tuple[list[int], list[float]]:
    """Solve the recursion above for one price, from the last age back to the first.

    Returns:
        For each age of the grid the best next check's age, and the cost J.
    """
    due = [GRID] * (GRID + 1)
    cost = [0.0] * (GRID + 1)
    area = [0.0] * (GRID + 1)
    for n in range(GRID):
        area[n + 1] = area[n] + (finished[n] + finished[n + 1]) / 2.0 * step
    # The lines of the lower envelope: (age of the check, intercept). Ages decrease along it, and
    # so does the abscissa of the queries: the best line only ever moves towards the end.
    lines: list[tuple[int, float]] = [(GRID, area[GRID])]
    best = 0
    for n in range(GRID - 1, -1, -1):
        abscissa = finished[n] * step
        check = n + apart
        if check <= GRID - apart:
            height = area[check] + cost[check]
            while len(lines) > 1 and _is_covered(lines[-2], lines[-1], check, height):
                lines.pop()
            lines.append((check, height))
            best = min(best, len(lines) - 1)
        while best + 1 < len(lines) and (
            lines[best + 1][1] - abscissa * lines[best + 1][0]
            <= lines[best][1] - abscissa * lines[best][0]
        ):
            best += 1
        check, height = lines[best]
        due[n] = check
        cost[n] = height - area[n] - abscissa * (check - n) + price * (1.0 - finished[n])
    return due, cost


def _is_covered(
    first: tuple[int, float], middle: tuple[int, float], check: int, height: float
) -> bool:
    """Whether `middle` is nowhere the lowest between `first` and the new line."""
    return (height - middle[1]) * (first[0] - middle[0]) <= (middle[1] - first[1]) * (
        middle[0] - check
    )
