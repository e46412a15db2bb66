"""The API reference describes every public name of the package and the sandbox exactly once."""

from __future__ import annotations

import re

import suno_async
from suno_async import sandbox
from tests.docs.blocks import ROOT

DIRECTIVE = re.compile(r"^\.\. (?:auto\w+|py:type):: (\w+)$", re.MULTILINE)


def documented(*pages: str) -> list[str]:
    """Return the names that these pages of the API reference describe, in sorted order."""
    texts = [(ROOT / f"docs/reference/{page}.md").read_text("utf-8") for page in pages]
    return sorted(name for text in texts for name in DIRECTIVE.findall(text))


def test_every_public_name_is_documented_once() -> None:
    """The API reference describes each public name of the package exactly once."""
    pages = [page.stem for page in (ROOT / "docs/reference").glob("*.md")]
    pages.remove("sandbox")
    assert documented(*pages) == sorted(suno_async.__all__)


def test_every_name_of_the_sandbox_is_documented_once() -> None:
    """The API reference of the sandbox describes each public name of the sandbox exactly once."""
    assert documented("sandbox") == sorted(sandbox.__all__)
