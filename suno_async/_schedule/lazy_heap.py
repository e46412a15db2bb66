"""A heap whose items can be removed at any time. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Placed(Protocol):
    """An item that stores the number of its place.

    Attributes:
        place: The number of its only valid place; None if it has none.
    """

    place: int | None


P = TypeVar("P", bound=Placed)


class LazyHeap(Generic[P]):
    """A heap of items with keys, least key first. Items with equal keys are first in, first out.

    To remove an item, change its `place`. The old place in the heap is then invalid, and is dropped
    when it reaches the top. So removal costs nothing, and pushing an item again moves it.

    Args:
        numbers: Source of place numbers. Heaps that hold the same items must share it.

    Attributes:
        items: The heap as a list, which callers must not change. It includes the invalid places
            that were not dropped yet. Most heaps are empty most of the time, so callers save time
            by checking this list before they call a method.
    """

    __slots__ = ("_numbers", "items")

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.items: list[tuple[float, int, P]] = []

    def __len__(self) -> int:
        """Return the number of places, including the invalid ones that were not dropped yet."""
        return len(self.items)

    def push(self, item: P, key: float) -> None:
        """Add an item. Its earlier place, in any heap with the same numbers, becomes invalid."""
        item.place = number = next(self._numbers)
        heapq.heappush(self.items, (key, number, item))

    def first(self) -> P | None:
        """Return the item with the least key; None if there is none."""
        items = self.items
        while items:
            _, number, item = items[0]
            if item.place == number:
                return item
            heapq.heappop(items)
        return None

    def first_key(self) -> float | None:
        """Return the least key; None if there is none."""
        return None if self.first() is None else self.items[0][0]

    def pop_up_to(self, key: float) -> P | None:
        """Remove and return the first item if its key is at most `key`; otherwise return None."""
        item = self.first()
        if item is None or self.items[0][0] > key:
            return None
        heapq.heappop(self.items)
        item.place = None
        return item

    def rekey(self, key_of: Callable[[P], float]) -> list[P]:
        """Give every item the key that `key_of` returns for it. Return the items."""
        valid = [(number, item) for _, number, item in self.items if item.place == number]
        self.items = [(key_of(item), number, item) for number, item in valid]
        heapq.heapify(self.items)
        return [item for _, item in valid]
