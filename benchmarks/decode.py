"""Measure the time to decode a TaskInfo reply, and compare it with ``json.loads``.

    python -m benchmarks.decode [--quick] [--json FILE]

What is measured: the mean time for one reply in microseconds, in the fastest of five runs. In the
output, ``typed`` is the reader of this library, which returns a checked `TaskInfo`. ``json_loads``
only parses the text. There are three replies:

- ``running``: a running task
- ``success``: a finished task with two songs
- ``salvaged``: a finished task; the reader drops one field because its type is wrong

What it does not show: reading the body from a socket (see `benchmarks.cost`).
"""

from __future__ import annotations

import argparse
import json
import timeit
from pathlib import Path
from typing import TYPE_CHECKING

from suno_async._protocol.task_info import read_task_info

if TYPE_CHECKING:
    from collections.abc import Callable

SONG = {
    "suno_id": "b1946ac9-2492-4d23-8a5c-1f0f6a1d7a10",
    "title": "Rain outside",
    "prompt": "la la la\n" * 60,
    "tags": "slow piano, rain",
    "suno_audio_url": "https://cdn.example/a.mp3",
    "suno_image_url": "https://cdn.example/a.png",
    "suno_image_large_url": "https://cdn.example/a_large.png",
    "model_name": "chirp-crow",
    "duration": 183.4,
    "create_at": 1768900460,
}
RECORD = {
    "task_id": "d6956973-2f17-43d4-8514-af6cc3a2f55d",
    "provider": "Suno",
    "model_version": "sunov5",
    "status": "success",
    "param": {"model": "suno/music-generate", "callback_url": None, "input": {"prompt": "rain"}},
    "create_at": 1768900378,
    "complete_at": 1768900464,
    "duration_s": 86,
    "result": {"code": 200, "suno_data": [SONG, SONG]},
    "source": "api",
}
RUNNING = RECORD | {"status": "running", "complete_at": None, "duration_s": None, "result": None}
ODD = RECORD | {"provider": ["of another shape"]}


def main() -> None:
    """Measure and print the times. With ``--json``, also write them to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    rounds = 2_000 if given.quick else 20_000
    figures: dict[str, float] = {}
    for name, record in (("running", RUNNING), ("success", RECORD), ("salvaged", ODD)):
        body = json.dumps({"code": 200, "message": "success", "data": record}).encode()
        figures[f"{name}_typed_us"] = _microseconds(_typed(body), rounds)
        figures[f"{name}_json_loads_us"] = _microseconds(_untyped(body), rounds)
    for name, value in figures.items():
        print(f"{name:>24}  {value:.2f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def _typed(body: bytes) -> Callable[[], object]:
    return lambda: read_task_info(200, {}, body, str(RECORD["task_id"]))


def _untyped(body: bytes) -> Callable[[], object]:
    return lambda: json.loads(body)


def _microseconds(work: Callable[[], object], rounds: int) -> float:
    return min(timeit.repeat(work, number=rounds, repeat=5)) / rounds * 1e6


if __name__ == "__main__":
    main()
