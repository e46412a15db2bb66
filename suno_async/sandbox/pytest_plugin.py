"""The fixture `suno_sandbox`: name this module in ``pytest_plugins`` of your conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def suno_sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox in which a minute passes in a second, on a free local port."""
    async with Sandbox(seed=1, time_scale=60.0) as sandbox:
        yield sandbox
