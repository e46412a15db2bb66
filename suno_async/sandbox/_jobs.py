"""The jobs of a sandbox and their records. No I/O. The caller passes the current time."""

from __future__ import annotations

import math
import random
import uuid
from typing import TYPE_CHECKING, Any

from suno_async.sandbox._input_rules import MUSIC, SEPARATE, VIDEO

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A job is pending for this share of its duration, but at most for this many seconds, divided by
#: the time scale. Then it is running.
_PENDING_SHARE = 0.1
_LONGEST_PENDING = 60.0

_MODELS = {
    "v5.5": "chirp-fenix",
    "v5": "chirp-crow",
    "v4.5all": "chirp-auk-turbo",
    "v4.5plus": "chirp-bluejay",
    "v4.5": "chirp-auk",
    "v4": "chirp-v4",
    "v3.5": "chirp-v3-5",
    "v3": "chirp-v3",
}

#: The stems of each mode. The names are guesses, because the API does not document them.
STEMS = {
    "vocal": ("vocals", "instrumental"),
    "instrumental": (
        *("vocals", "backing_vocals", "drums", "bass", "guitar", "keyboard"),
        *("percussion", "strings", "synth", "fx", "brass", "woodwinds"),
    ),
}

#: Price of one music generation in credits, as seen in practice (docs/contract.md, "Kinds of job").
COST = 12

#: Price of each kind in credits. Only the price of a music generation was seen. The other prices,
#: also those of extensions and covers, are invented.
PRICES: Mapping[str, float] = dict.fromkeys(MUSIC, COST) | {VIDEO: 4, SEPARATE: 2}
OTHER_PRICE = 2.5


def price_of(body: dict[str, Any]) -> float:
    """Return the price of a job in credits. `body` is the body of its CreateTask request."""
    return PRICES.get(str(body["model"]), OTHER_PRICE)


class Job:
    """One job. Times are Unix seconds, except in `polls`.

    Attributes:
        task_id: The id of the task.
        created_at: When the job was created.
        runs_at: When the status changes from pending to running.
        ends_at: When the job ends; infinity if it never ends.
        fails: Whether the job fails.
        body: The body of the CreateTask request.
        song_seconds: Length of each song in seconds.
        polls: Arrival times of the status requests that were processed, in monotonic seconds.
    """

    __slots__ = (
        "body",
        "created_at",
        "ends_at",
        "fails",
        "polls",
        "runs_at",
        "song_seconds",
        "task_id",
    )

    def __init__(  # noqa: PLR0913 (all named)
        self,
        *,
        task_id: str,
        created_at: float,
        runs_at: float,
        ends_at: float,
        fails: bool,
        body: dict[str, Any],
        song_seconds: float,
    ) -> None:
        self.task_id = task_id
        self.created_at = created_at
        self.runs_at = runs_at
        self.ends_at = ends_at
        self.fails = fails
        self.body = body
        self.song_seconds = song_seconds
        self.polls: list[float] = []

    @property
    def kind(self) -> str:
        """The kind of job, such as ``"suno/music-generate"``."""
        return str(self.body["model"])

    @property
    def price(self) -> float:
        """The price of the job in credits."""
        return price_of(self.body)

    @property
    def songs(self) -> tuple[str, ...]:
        """The ids of the job's songs; empty for kinds of jobs that make no songs.

        A job that fails also has ids here, but these songs never exist.
        """
        if self.kind not in MUSIC:
            return ()
        task = uuid.UUID(self.task_id)
        return tuple(str(uuid.uuid5(task, str(number))) for number in range(2))

    def status(self, now: float) -> str:
        """Return the status at `now` (Unix seconds) as the API spells it."""
        if now >= self.ends_at:
            return "failed" if self.fails else "success"
        return "pending" if now < self.runs_at else "running"

    def record(self, now: float, base_url: str, *, whole_seconds: bool) -> dict[str, Any]:
        """Return the task record that the API would send at `now`.

        Args:
            now: Unix seconds.
            base_url: Base URL of the result files.
            whole_seconds: Whether to round times down to whole seconds, as the API does.
        """
        status = self.status(now)
        ended = status in {"success", "failed"}
        created_at, ends_at = self.created_at, self.ends_at
        if whole_seconds:
            created_at = math.floor(created_at)
            ends_at = math.floor(ends_at) if ended else ends_at
        given = self.body["input"]
        return {
            "task_id": self.task_id,
            "provider": "Suno",
            "model_version": "suno-vocal-separation"
            if self.kind == SEPARATE
            else f"suno{given.get('model', 'v5')}",
            "status": status,
            "param": {
                "model": self.kind,
                "callback_url": self.body.get("callback_url"),
                "input": given,
            },
            "create_at": created_at,
            "complete_at": ends_at if ended else None,
            "duration_s": round(ends_at - created_at, 3) if ended else None,
            # The reserved price until the job ends, then the final price.
            "credits": 0 if status == "failed" else self.price,
            "result": self._result(status, base_url),
            "source": "api",
        }

    def _result(self, status: str, base_url: str) -> dict[str, Any] | None:
        if status == "failed":
            return {"code": 501, "message": "Generation failed: this job of the sandbox fails"}
        if status != "success":
            return None
        return {"code": 200, "message": "success", **self._made(f"{base_url}/media/{self.task_id}")}

    def _made(self, base: str) -> dict[str, Any]:
        if self.kind in MUSIC:
            items = [self._song(song, base) for song in self.songs]
            return {"media_urls": [item["suno_audio_url"] for item in items], "suno_data": items}
        if self.kind == SEPARATE:
            names = STEMS[self.body["input"].get("mode", "vocal")]
            return {"media_info": {name: f"{base}_{name}.mp3" for name in names}}
        return {"media_urls": [f"{base}.mp4" if self.kind == VIDEO else f"{base}.mp3"]}

    def _song(self, song: str, base: str) -> dict[str, Any]:
        given = self.body["input"]
        base = f"{base}_{song}"
        return {
            "suno_id": song,
            "title": given.get("title") or str(given.get("prompt", "untitled"))[:40],
            "prompt": given.get("lyrics") or given.get("prompt", ""),
            "tags": given.get("tags", ""),
            "suno_audio_url": f"{base}.mp3",
            "suno_image_url": f"{base}.png",
            "suno_image_large_url": f"{base}_large.png",
            "model_name": _MODELS.get(str(given.get("model", "v5")), str(given.get("model"))),
            "duration": self.song_seconds,
            "create_at": math.floor(self.ends_at),
        }


class Jobs:
    """Creates jobs with random durations and results, and stores them.

    Args:
        seed: Seed of the random numbers.
        median: Median duration in seconds. Durations are log-normal.
        sigma: Standard deviation of the logarithm of the durations.
        failure_share: Share of the jobs that fail.
        endless_share: Share of the jobs that never end.
        time_scale: Durations are divided by this number.
        song_seconds: Length of each song in seconds.

    Attributes:
        by_id: The jobs by task id.
    """

    def __init__(  # noqa: PLR0913 (the parameters of one distribution)
        self,
        seed: int,
        *,
        median: float,
        sigma: float,
        failure_share: float,
        endless_share: float,
        time_scale: float,
        song_seconds: float,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a sandbox must be repeatable)
        self._median = median
        self._sigma = sigma
        self._failure_share = failure_share
        self._endless_share = endless_share
        self._time_scale = time_scale
        self._song_seconds = song_seconds
        self.by_id: dict[str, Job] = {}

    def create(self, now: float, body: dict[str, Any], duration: float | None = None) -> Job:
        """Create a job.

        Args:
            now: Time of creation in Unix seconds.
            body: The body of the CreateTask request.
            duration: Duration of the job in seconds, before the division by the time scale. If
                None, the duration is random.
        """
        draw = self._random
        task_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        drawn = draw.lognormvariate(math.log(self._median), self._sigma)
        drawn_share = draw.random()
        if duration is None:
            duration = math.inf if drawn_share < self._endless_share else drawn
        fails = self._endless_share <= drawn_share < self._endless_share + self._failure_share
        pending = min(_PENDING_SHARE * duration, _LONGEST_PENDING)
        job = Job(
            task_id=task_id,
            created_at=now,
            runs_at=now + pending / self._time_scale,
            ends_at=now + duration / self._time_scale,
            fails=fails,
            body=body,
            song_seconds=self._song_seconds,
        )
        self.by_id[task_id] = job
        return job

    def length_of(self, task_id: str, song: str, now: float) -> float | None:
        """Return the length of a song in seconds; None if it does not exist or is not finished."""
        job = self.by_id.get(task_id)
        if job is None or job.status(now) != "success" or song not in job.songs:
            return None
        return self._song_seconds
