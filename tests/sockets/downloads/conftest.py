"""Fixtures of the download tests: a file server, and a client of this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from suno_async import SunoClient
from suno_async.files import fetching, transfers
from suno_async.sandbox import KEY
from tests.file_host import FileHost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses before retries, so that the tests are fast."""
    monkeypatch.setattr(transfers, "PAUSE", 0.0)
    monkeypatch.setattr(fetching, "RESUME_PAUSE", 0.0)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    """Yield a running host that serves the same file under every path."""
    async with FileHost().serving() as serving:
        yield serving


@pytest.fixture
async def suno(host: FileHost) -> AsyncIterator[SunoClient]:
    """Yield an open client that uses the URL of the host as its base URL."""
    async with SunoClient(KEY, base_url=host.url) as client:
        yield client
