"""Tasks of one kind and age, in a queue. Pure."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic

from suno_async._policy import E

#: Kind, whether somebody awaits them, and the number of the creation times' span.
CohortKey = tuple[str, bool, int | None]


class Cohort(Generic[E]):
    """Tasks of one kind and age, the one last seen longest ago first.

    Attributes:
        key: Where it is found.
        number: The `place` of all that stand in it, of no other cohort ever.
        kind: Of all its tasks.
        interactive: Somebody awaits each of them.
        born: All were created within one span from here; None while their age is
            unknown and none was ever asked about.
        entries: The queue. Those whose `place` is not this cohort's number were discarded.
        ticket: Marks its one valid place in the heaps.
        head: The first of the queue when it was last placed.
        due: When its head may be asked about.
    """

    __slots__ = (
        *("_stale", "born", "due", "entries", "head", "interactive"),
        *("key", "kind", "number", "ticket"),
    )

    def __init__(self, key: CohortKey, span: float, number: int) -> None:
        self.key = key
        self.number = number
        self.kind, self.interactive, since = key
        self.born = None if since is None else since * span
        self.entries: deque[E] = deque()
        self.ticket = -1
        self.head: E | None = None
        self.due = math.inf
        self._stale = 0

    def join(self, entry: E) -> bool:
        """Take in an entry at the end where it belongs; whether it is the first now."""
        entry.place = self.number
        entries = self.entries
        # Whose check failed, or who was never asked, was seen before those in the queue.
        if entries and (entry.seen_at or -math.inf) < (entries[-1].seen_at or -math.inf):
            entries.appendleft(entry)
        else:
            entries.append(entry)
        return entries[0] is entry

    def first(self) -> E | None:
        """The first that was not discarded; forgets those before it."""
        entries = self.entries
        while entries and entries[0].place != self.number:
            entries.popleft()
            self._stale -= 1
        return entries[0] if entries else None

    def discarded(self) -> None:
        """One of its entries has no `place` any more."""
        self._stale += 1
        if 2 * self._stale > len(self.entries):
            self.entries = deque(each for each in self.entries if each.place == self.number)
            self._stale = 0
