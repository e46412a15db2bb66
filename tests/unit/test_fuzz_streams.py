"""Tests of streams under random faults: no call hangs, and no task is lost or created twice.

A *stream* is a call that creates many tasks.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from suno_async._submitter import Submitter
from suno_async.client import SunoClient
from suno_async.submissions import Submission
from tests import fuzz_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async import SunoError


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:  # pyright: ignore[reportUnusedFunction] (pytest calls it)
    """Hide the expected warnings about the random faults."""
    caplog.set_level(logging.CRITICAL, logger="suno_async")


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_random_scenarios(first: int) -> None:
    """In 50 random scenarios, no job is created twice and each task is reported once.

    No call hangs. `first` is the seed of the first scenario.
    """
    for seed in range(first, first + 50):
        assert fuzz_streams.find(seed) is None


def retries_everything(_self: Submission, _error: SunoError) -> bool:
    """Allow every retry. A test replaces `Submission.may_retry` with this function."""
    return True


async def does_nothing(*_: object) -> None:
    """Do nothing. A test replaces a coroutine method with this function."""


@pytest.mark.parametrize(
    ("owner", "name", "broken", "finding"),
    [
        (Submission, "may_retry", retries_everything, "created twice"),
        (SunoClient, "_report", does_nothing, "created, but not reported"),
        (SunoClient, "_conclude_persona", does_nothing, "created, but not reported"),
        (Submitter, "close", does_nothing, "sent after the close"),
    ],
)
def test_the_search_finds_something(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    broken: Callable[..., object],
    finding: str,
) -> None:
    """`fuzz_streams.find` finds the fault in a client that is broken on purpose."""
    monkeypatch.setattr(owner, name, broken)
    found = next(filter(None, map(fuzz_streams.find, range(100))), "nothing")
    assert found.startswith("seed ")
    assert finding in found
