"""A heap whose items can be removed at any time. No I/O."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Placed(Protocol):
    """An item of a `LazyHeap`.

    Attributes:
        place: The number of the item's valid element in a heap (see `LazyHeap`). If the item is in
            no heap, this is None or any number that no element has.
    """

    place: int | None


P = TypeVar("P", bound=Placed)


class LazyHeap(Generic[P]):
    """A heap of items with keys. The item with the least key is first.

    Items with equal keys are first in, first out. `push` adds an *element* to the heap: a key, a
    new unique number and the item. It also stores the number as the `place` of the item. An element
    is valid only while its number is equal to the `place` of its item. So setting `place` to None
    removes an item, and pushing an item again moves it.

    Args:
        numbers: Source of the numbers. If items move between heaps, these heaps must share one
            source.

    Attributes:
        items: The list of elements, including elements that are no longer valid. Callers may check
            whether the list is empty, but must not change it.
    """

    __slots__ = ("_numbers", "items")

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self.items: list[tuple[float, int, P]] = []

    def __len__(self) -> int:
        """Return the number of elements, including invalid elements that were not dropped yet."""
        return len(self.items)

    def push(self, item: P, key: float) -> None:
        """Add an item. If it is already in a heap with the same `numbers`, move it from there."""
        item.place = number = next(self._numbers)
        heapq.heappush(self.items, (key, number, item))

    def first(self) -> P | None:
        """Return the item with the least key; None if the heap contains no valid item."""
        items = self.items
        while items:
            _, number, item = items[0]
            if item.place == number:
                return item
            heapq.heappop(items)
        return None

    def first_key(self) -> float | None:
        """Return the least key; None if the heap contains no valid item."""
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
        """Replace the key of every item with `key_of(item)`. Return all valid items."""
        valid = [(number, item) for _, number, item in self.items if item.place == number]
        self.items = [(key_of(item), number, item) for number, item in valid]
        heapq.heapify(self.items)
        return [item for _, item in valid]
