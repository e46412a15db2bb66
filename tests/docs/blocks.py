"""The Python blocks of the README and of the documentation, read with Sybil."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from sybil import Document, Example, Sybil
from sybil.evaluators.python import PythonEvaluator, pad
from sybil.parsers.myst import CodeBlockParser, SkipParser

ROOT = Path(__file__).parents[2]


class Block(msgspec.Struct, frozen=True):
    """One Python block of a page.

    Attributes:
        page: The page, relative to the root of the project.
        line: The line of the page on which the block begins.
        source: The code, with empty lines in front, so that its line numbers match the page.
        examples: The directives in front of the block, such as ``skip``, and the block itself.
    """

    page: str
    line: int
    source: str
    examples: tuple[Example, ...]

    @property
    def name(self) -> str:
        """The block's name in reports, such as ``README.md:12``."""
        return f"{self.page}:{self.line}"

    def run(self) -> None:
        """Run the block in an empty namespace, or with pytest if it defines tests.

        Raises:
            SkipTest: A ``skip`` directive precedes the block.
        """
        for example in self.examples:
            example.namespace.clear()
            example.namespace["__name__"] = "__main__"
            example.evaluate()


_run_python = PythonEvaluator()


def _run_block(example: Example) -> None:
    if "\ndef test_" not in example.parsed and "\nasync def test_" not in example.parsed:
        _run_python(example)
        return
    file = Path("test_block.py")
    file.write_text(example.parsed, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own command)
    assert done.returncode == 0, done.stdout + done.stderr


_SYBIL = Sybil(parsers=[CodeBlockParser("python", _run_block), SkipParser()])


def pages() -> list[Path]:
    """Return every page that may contain Python blocks."""
    built = ROOT / "docs/_build"
    found = (ROOT / "docs").rglob("*.md")
    return [ROOT / "README.md", *sorted(page for page in found if built not in page.parents)]


def blocks() -> list[Block]:
    """Return the Python blocks of all pages, in the order of the pages."""
    return [block for page in pages() for block in _blocks_of(page)]


def _blocks_of(page: Path) -> list[Block]:
    document: Document = _SYBIL.parse(page)
    found: list[Block] = []
    examples: list[Example] = []
    for example in document.examples():
        examples.append(example)
        parsed: Any = example.parsed
        if isinstance(parsed, str):
            source = pad(parsed, example.line + getattr(parsed, "line_offset", 0))
            name = page.relative_to(ROOT).as_posix()
            found.append(Block(name, example.line, source, tuple(examples)))
            examples = []
    return found
