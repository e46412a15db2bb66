"""A first-in, first-out queue that is cheap for Python's garbage collector. No I/O."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Generic

from suno_async._schedule.entry import E

#: Entries in each tuple of a queue. The value is a judgement: the collector scans each new
#: tuple once, but not its entries, and each tuple costs 40 bytes.
BLOCK = 64


class Fifo(Generic[E]):
    """A first-in, first-out queue of entries. It stores most of the entries in tuples.

    Python's garbage collector does not track entries. So it also stops tracking a tuple that
    contains only entries. With a list of a million entries instead, each full garbage collection
    would block the event loop for 20 ms.
    """

    __slots__ = ("_blocks", "_last", "_now", "_taken", "size")

    def __init__(self) -> None:
        self.size = 0
        # `_now` is the block being read, and `_taken` counts the entries removed from it. The
        # blocks after it are in `_blocks`, and the newest entries are in `_last`.
        self._now: tuple[E, ...] = ()
        self._taken = 0
        self._blocks: deque[tuple[E, ...]] = deque()
        self._last: list[E] = []

    def append(self, entry: E) -> None:
        """Add an entry at the end."""
        self.size += 1
        self._last.append(entry)
        if len(self._last) == BLOCK:
            self._blocks.append(tuple(self._last))
            self._last = []

    def first(self) -> E | None:
        """Return the first entry without removing it; None if the queue is empty."""
        if self._taken == len(self._now):
            if not self.size:
                return None
            if self._blocks:
                self._now = self._blocks.popleft()
            else:
                self._now, self._last = tuple(self._last), []
            self._taken = 0
        return self._now[self._taken]

    def drop_first(self) -> None:
        """Remove the entry that `first` returned."""
        self.size -= 1
        self._taken += 1
        if not self.size:
            self._now, self._taken = (), 0

    def kept(self, place: int) -> Fifo[E]:
        """Return a new queue with the entries whose attribute `place` equals `place`, in order."""
        queue = Fifo[E]()
        older = (entry for block in self._blocks for entry in block)
        for entry in itertools.chain(self._now[self._taken :], older, self._last):
            if entry.place == place:
                queue.append(entry)
        return queue
