"""Shared fixtures: a sandbox, a client for the sandbox, and a mock of HTTP replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aioresponses.core
import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses as mocked_http
from hypothesis import HealthCheck, settings

from suno_async import PollPolicy, SunoClient
from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# The results depend neither on the speed of the machine nor on earlier runs.
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
#: For `make fuzz`: ``--hypothesis-profile=fuzz --hypothesis-seed=N``.
settings.register_profile(
    "fuzz", settings.get_profile("ci"), derandomize=False, max_examples=500, print_blob=True
)
settings.load_profile("ci")

#: How many times faster than real time the sandbox runs.
SCALE = 400.0
#: The default policy with shorter times to match `SCALE`. Only its deadline is a minute of real
#: time, so that no wait times out on a busy machine.
FAST = PollPolicy(deadline=60 * SCALE).scaled(SCALE)


class _Response(ClientResponse):
    # aiohttp 3.14 requires a stream writer, but aioresponses 0.7.9 passes none (aioresponses#289).
    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (passed on)
        kwargs.setdefault("stream_writer", Mock())
        super().__init__(*args, **kwargs)


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[mocked_http]:
    """Yield a mock that answers HTTP requests without sockets."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", _Response)
    with mocked_http() as mocked:
        yield mocked


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a fast clock: a job of 90 s ends after about 0.2 s."""
    async with Sandbox(seed=1, time_scale=SCALE) as server:
        yield server


@pytest.fixture
async def suno(sandbox: Sandbox) -> AsyncIterator[SunoClient]:
    """Yield a client of the sandbox. Its poll intervals are short, because the jobs are short."""
    async with SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST) as client:
        yield client
