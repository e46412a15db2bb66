"""The jobs a sandbox runs, and their records. Pure: state is read off the clock, never updated."""

from __future__ import annotations

import math
import random
import uuid
from typing import Any

#: Shares of a job's time: it is pending before this, running after.
_PENDING_SHARE = 0.1

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


class Job:
    """One job. Times are Unix seconds.

    Attributes:
        task_id: Its id.
        created_at: When it was created.
        ends_at: When it ends; infinity if never.
        fails: It ends in failure.
        body: CreateTask's body.
        polls: Arrival times (monotonic seconds) of the questions about it.
    """

    __slots__ = ("body", "created_at", "ends_at", "fails", "polls", "task_id")

    def __init__(
        self, task_id: str, created_at: float, ends_at: float, body: dict[str, Any], *, fails: bool
    ) -> None:
        self.task_id = task_id
        self.created_at = created_at
        self.ends_at = ends_at
        self.fails = fails
        self.body = body
        self.polls: list[float] = []

    def status(self, now: float) -> str:
        """The contract's word for where the job stands at `now`."""
        if now >= self.ends_at:
            return "failed" if self.fails else "success"
        share = (now - self.created_at) / min(self.ends_at - self.created_at, 600.0)
        return "pending" if share < _PENDING_SHARE else "running"

    def record(self, now: float, base_url: str, *, whole_seconds: bool) -> dict[str, Any]:
        """The task record as the contract shows it."""
        status = self.status(now)
        ended = status in {"success", "failed"}
        return {
            "task_id": self.task_id,
            "provider": "Suno",
            "model_version": "suno" + str(self.body["input"].get("model", "v5")),
            "status": status,
            "param": self.body,
            "create_at": math.floor(self.created_at) if whole_seconds else self.created_at,
            "complete_at": (math.floor(self.ends_at) if whole_seconds else self.ends_at)
            if ended
            else None,
            "duration_s": round(self.ends_at - self.created_at, 3) if ended else None,
            "credits": 0 if status == "failed" else 12,
            "result": self._result(status, base_url),
            "source": "api",
        }

    def _result(self, status: str, base_url: str) -> dict[str, Any] | None:
        if status == "failed":
            return {"code": 501, "message": "Generation failed: the sandbox drew a failure"}
        if status != "success":
            return None
        items = [self._song(number, base_url) for number in range(2)]
        return {
            "code": 200,
            "message": "success",
            "media_urls": [item["suno_audio_url"] for item in items],
            "suno_data": items,
        }

    def _song(self, number: int, base_url: str) -> dict[str, Any]:
        given = self.body["input"]
        song = str(uuid.uuid5(uuid.UUID(self.task_id), str(number)))
        return {
            "suno_id": song,
            "title": given.get("title") or str(given.get("prompt", "untitled"))[:40],
            "prompt": given.get("lyrics") or given.get("prompt", ""),
            "tags": given.get("tags", ""),
            "suno_audio_url": f"{base_url}/media/{song}.mp3",
            "suno_image_url": f"{base_url}/media/{song}.png",
            "suno_image_large_url": f"{base_url}/media/{song}_large.png",
            "model_name": _MODELS.get(str(given.get("model", "v5")), str(given.get("model"))),
            "duration": 2.0,
            "create_at": math.floor(self.ends_at),
        }


class Jobs:
    """Draws jobs from a seed and keeps them.

    Durations are log-normal, in seconds, divided by `time_scale`.
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
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a sandbox must be repeatable)
        self._median = median
        self._sigma = sigma
        self._failure_share = failure_share
        self._endless_share = endless_share
        self._time_scale = time_scale
        self.by_id: dict[str, Job] = {}

    def create(self, now: float, body: dict[str, Any], duration: float | None = None) -> Job:
        """Start a job at `now`; `duration` in uncompressed seconds, drawn if None."""
        draw = self._random
        task_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        drawn = draw.lognormvariate(math.log(self._median), self._sigma)
        fate = draw.random()
        if duration is None:
            duration = math.inf if fate < self._endless_share else drawn
        fails = self._endless_share <= fate < self._endless_share + self._failure_share
        job = Job(task_id, now, now + duration / self._time_scale, body, fails=fails)
        self.by_id[task_id] = job
        return job
