"""The pytest fixture `suno_sandbox`. Needs pytest-asyncio.

Add this module to ``pytest_plugins`` in your conftest.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def suno_sandbox() -> AsyncIterator[Sandbox]:
    """Yield a running sandbox in which every job succeeds, and a job of a minute takes one second.

    The time scale is 60.
    """
    async with Sandbox(seed=1, time_scale=60.0, failure_share=0.0) as sandbox:
        yield sandbox
