"""Run the download benchmark."""

from __future__ import annotations

import asyncio
import sys

from tests.docs.blocks import ROOT


async def test_quick() -> None:
    """The benchmark meets its targets for cut connections, unsafe addresses and gzip bombs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.downloads", "--quick"),
        *("--cut", "--addresses", "--bombs"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"all targets met" in output
