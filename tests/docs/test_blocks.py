"""Every Python block of the README and of the documentation works as written."""

from __future__ import annotations

import pytest

from tests.docs.blocks import Block, blocks

BLOCKS = blocks()

#: Limit for the number of skipped blocks. A block that is not run may be wrong.
MOST_SKIPPED = 1


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_block(block: Block) -> None:
    """Each block runs to its end against a sandbox, as a separate program."""
    block.run()


def test_few_blocks_are_skipped() -> None:
    """At most `MOST_SKIPPED` blocks are skipped, and each skipped block gives a reason."""
    skips = [
        example.parsed
        for block in BLOCKS
        for example in block.examples
        if not isinstance(example.parsed, str)
    ]
    assert len(skips) <= MOST_SKIPPED
    assert all(action == "next" and reason for action, reason in skips)
