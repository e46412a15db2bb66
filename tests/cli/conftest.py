"""Shared fixtures for the tests of the command line."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the proxy variables, so that commands connect to the sandbox directly."""
    for name in [each for each in os.environ if each.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
