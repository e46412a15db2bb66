"""Pass damaged replies to the functions that decode replies, and look for wrong results.

python -m tests.fuzz_readers --seconds N [--seed S]

After the first failure, the program prints the seed and the reply, and ends with exit code 1.
`make test` runs the same check on fixed seeds.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
import traceback

from tests.mutations import check, mutations

#: Number of replies for each seed. It is small, so that a failure is quick to repeat.
BATCH = 1_000


def find(seed: int, count: int = BATCH) -> str | None:
    """Check the first `count` replies that `seed` produces.

    Return a description of the first failure; None if there is no failure.
    """
    for number, reply in enumerate(itertools.islice(mutations(seed), count)):
        try:
            check(reply)
        except Exception:  # noqa: BLE001 (every exception is a failure)
            return f"seed {seed}, reply {number}: {reply!r}\n{traceback.format_exc()}"
    return None


def main() -> None:
    """Check replies until the time is over. Exit with code 1 after the first failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_readers")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="the first seed; random by default")
    given = parser.parse_args()
    first = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    print(f"readers: from seed {first}, {given.seconds:g} s", flush=True)  # noqa: T201 (a command)
    end = time.monotonic() + given.seconds
    for seed in itertools.count(first):
        finding = find(seed)
        if finding is not None:
            sys.exit(finding)
        if time.monotonic() >= end:
            print(f"readers: {(seed - first + 1) * BATCH:,} replies, no finding")  # noqa: T201
            return


if __name__ == "__main__":
    main()
