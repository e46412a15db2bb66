"""Measure downloads in four parts: broken connections, hostile addresses, huge bodies, throughput.

    python -m benchmarks.downloads [--cut] [--addresses] [--bombs] [--throughput] [--quick]

The first four options select measurements. Without them, all four measurements run. The exit code
is 1 if a target is missed. ``--quick`` uses small files. A quick run has no targets for the
throughput and the stalls of the event loop.

What it does not show: real networks, slow disks, and file systems without hard links.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.downloads.addresses import measure_addresses
from benchmarks.downloads.bombs import measure_bombs
from benchmarks.downloads.cut import measure_cut
from benchmarks.downloads.throughput import measure_throughput

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: dict[str, Callable[[Path, bool], bool]] = {
    "cut": measure_cut,
    "addresses": measure_addresses,
    "bombs": measure_bombs,
    "throughput": measure_throughput,
}


def main() -> int:
    """Run the selected measurements. Return the exit code: 1 if a target was missed, else 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.downloads", description=__doc__)
    for name in PARTS:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small files, for CI")
    parser.add_argument(
        "--directory", help="where to put the files, by default in memory if possible"
    )
    options = parser.parse_args()
    selected = [name for name in PARTS if getattr(options, name)] or list(PARTS)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (our own directory is created in it)
    missed: list[str] = []
    for name in selected:
        with tempfile.TemporaryDirectory(dir=options.directory or memory) as directory:
            print(f"--- {name}")
            if not PARTS[name](Path(directory), options.quick):
                missed.append(name)
    print(f"missed: {', '.join(missed)}" if missed else "all targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
