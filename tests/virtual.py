"""An event loop whose clock jumps to the next timer, so virtual hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:  # noqa: ANN401 (as the base's stubs)
        if timeout is None:
            raise RuntimeError("nothing will ever happen: no timer is set and nothing is ready")
        # 1 ns more than needed: aiolimiter spins when a timer fires exactly on time.
        self.now += timeout + 1e-9
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, for code that uses no sockets."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self._jump.now

    def stop_for(self, seconds: float) -> None:
        """Advance the clock by `seconds` and run nothing, as if the process were suspended."""
        self._jump.now += seconds


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
