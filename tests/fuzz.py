"""Search for failures with new seeds: ``python -m tests.fuzz --minutes N``.

Each round runs four searches with one seed: property tests, create requests over broken
connections, damaged replies, and streams with random faults. After the first failure, the program
prints the command that repeats the failed search, and ends with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import subprocess
import sys
import time
from typing import NamedTuple

#: Seconds after which a search that does not end counts as a failure.
HANGS = 900

#: Programs that search for a given time, and this time in seconds for each round.
TIMED = {"tests.fuzz_readers": 20, "tests.fuzz_streams": 60}


class Search(NamedTuple):
    """One command that looks for failures.

    Attributes:
        words: The arguments of the Python interpreter.
        variables: Environment variables to add.
    """

    words: tuple[str, ...]
    variables: dict[str, str]

    def __str__(self) -> str:
        given = [f"{name}={value}" for name, value in self.variables.items()]
        return shlex.join([*given, sys.executable, *self.words])

    def fails(self) -> bool:
        """Run the command. If it fails or hangs, print its output and return True."""
        try:
            ended = subprocess.run(  # noqa: S603 (our own programs)
                [sys.executable, *self.words],
                env=os.environ | self.variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=HANGS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            print((error.stdout or b"").decode(errors="replace"))
            print(f"did not end within {HANGS} s")
            return True
        if ended.returncode == 0:
            return False
        print(ended.stdout.decode(errors="replace"))
        print(f"exit code {ended.returncode}")
        return True


def searches(seed: int, seconds: float) -> list[Search]:
    """Return the searches of one round.

    Args:
        seed: The seed of all searches.
        seconds: The time that remains. It limits the time of each program in `TIMED`, which is
            always at least 1 s.
    """
    pytest = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
    properties = (
        *pytest,
        *("-n", "2", "--dist", "worksteal", "-m", "hypothesis"),
        *("--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}"),
    )
    found = [
        Search(properties, {}),
        Search((*pytest, "tests/chaos/test_chaos.py"), {"CHAOS_SEED": str(seed)}),
    ]
    for program, longest in TIMED.items():
        length = str(int(max(1, min(longest, seconds))))
        words = ("-m", program, "--seconds", length, "--seed", str(seed))
        found.append(Search(words, {}))
    return found


def main() -> int:
    """Search for failures. Return 1 after the first failure, or 0 when the time is up."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="seed of the first round; each later round adds 1")
    options = parser.parse_args()
    seed: int = secrets.randbelow(2**31) if options.seed is None else options.seed
    ends = time.monotonic() + 60 * options.minutes
    while True:
        for search in searches(seed, ends - time.monotonic()):
            if time.monotonic() >= ends:
                print("no finding")
                return 0
            print(f"seed {seed}: {search}", flush=True)
            if search.fails():
                print(f"\nFOUND with seed {seed}; repeat it with:\n  {search}")
                return 1
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
