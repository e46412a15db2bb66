"""What a user holds: frozen structs, decoded from the server's replies by `suno_async._wire`."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from suno_async.errors import SunoError

#: Suno's model names and the versions they stand for (API contract, "Model names").
MODEL_VERSIONS = {
    "chirp-fenix": "v5.5",
    "chirp-crow": "v5",
    "chirp-auk-turbo": "v4.5all",
    "chirp-bluejay": "v4.5plus",
    "chirp-auk": "v4.5",
    "chirp-v4": "v4",
    "chirp-v3-5": "v3.5",
    "chirp-v3": "v3",
}


class TaskStatus(enum.StrEnum):
    """Where a task stands. A word the contract does not know is `UNKNOWN`, and not terminal."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> TaskStatus:
        word = str(value).strip().lower()
        # Public callers of the live service also guard against "error".
        if word == "error":
            return cls.FAILED
        return next((member for member in cls if member.value == word), cls.UNKNOWN)

    @property
    def terminal(self) -> bool:
        """The task has ended."""
        return self is TaskStatus.SUCCESS or self is TaskStatus.FAILED


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One finished song (the API's SunoMusicItem).

    Attributes:
        suno_id: Suno's id of the song.
        title: Music title.
        prompt: Lyrics or prompt used to generate the music.
        tags: Music style tags, separated by commas.
        suno_audio_url: The audio file.
        suno_image_url: Cover image.
        suno_image_large_url: High-resolution cover image.
        model_name: Suno's model name, such as ``"chirp-crow"``.
        duration: Length of the audio in seconds.
        create_at: Creation time, Unix seconds.
    """

    suno_id: str = ""
    title: str = ""
    prompt: str = ""
    tags: str = ""
    suno_audio_url: str = ""
    suno_image_url: str = ""
    suno_image_large_url: str = ""
    model_name: str = ""
    duration: float | None = None
    create_at: float | None = None

    @property
    def model_version(self) -> str | None:
        """The version users know, such as ``"v5"``; None for a name not in `MODEL_VERSIONS`."""
        return MODEL_VERSIONS.get(self.model_name)


class TaskFailure(msgspec.Struct, frozen=True):
    """Why a task failed, in the server's words."""

    code: int | None
    message: str


class TaskParam(msgspec.Struct, frozen=True):
    """What the task was created with, echoed by the server."""

    model: str = ""
    callback_url: str | None = None
    input: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a task.

    Attributes:
        task_id: The server's id.
        status: Where the task stands.
        raw_status: The server's word for it.
        provider: Informative, as are `model_version` and `source`.
        param: What it was created with.
        create_at: When it was created, Unix seconds.
        complete_at: When it ended, Unix seconds; None before.
        duration_s: Seconds the job took, by the server's account; None before it ended.
        credits: What it cost, if the server says.
        tracks: The finished songs, normally two.
        media_urls: URLs of every kind of result.
        media_info: Vocal separation only: stem name → URL.
        usage: What the server says of usage, as it came.
        failure: Why it failed; None unless it did.
        raw: The whole reply as it came, for what this library does not understand.
    """

    task_id: str
    status: TaskStatus
    raw_status: str = ""
    provider: str = ""
    model_version: str = ""
    source: str = ""
    param: TaskParam = TaskParam()
    create_at: float | None = None
    complete_at: float | None = None
    duration_s: float | None = None
    credits: float | None = None
    tracks: tuple[Track, ...] = ()
    media_urls: tuple[str, ...] = ()
    media_info: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    usage: dict[str, Any] | None = None
    failure: TaskFailure | None = None
    raw: bytes = b""

    @property
    def elapsed(self) -> float | None:
        """Seconds from creation to end, the finest the server tells; None while it goes on."""
        if self.duration_s is not None:
            return self.duration_s
        if self.create_at is None or self.complete_at is None:
            return None
        return self.complete_at - self.create_at

    def __repr__(self) -> str:
        return f"<TaskInfo {self.task_id} {self.raw_status}, {len(self.tracks)} tracks>"


class Outcome(msgspec.Struct, frozen=True):
    """How waiting for one task ended: with its record, with an error, or with both.

    Attributes:
        task_id: Which task.
        info: Its last record; None if none was read.
        error: None if the task succeeded.
    """

    task_id: str
    info: TaskInfo | None = None
    error: SunoError | None = None

    @property
    def ok(self) -> bool:
        """The task succeeded."""
        return self.error is None

    def result(self) -> TaskInfo:
        """The record of a task that succeeded.

        Raises:
            SunoError: The outcome's own error.
        """
        if self.error is not None:
            raise self.error
        if self.info is None:
            raise SunoError(f"task {self.task_id} has no record")
        return self.info


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a client.

    Attributes:
        watched: Tasks being polled.
        in_flight: Status requests on their way.
        finished: Tasks seen to succeed.
        failed: Tasks seen to fail.
        requests: Requests granted by the account's budget, creates, polls and retries together.
        polls: Status requests sent by the scheduler.
        rate: Requests a second over the last ten seconds, of the whole account.
        rate_limit: The most requests a second the account now allows itself.
        rate_limited: Answers of 429.
        delay_mean: Seconds from a task's end to its being noticed, mean of the last thousand.
        delay_p95: The same, 95th percentile.
    """

    watched: int
    in_flight: int
    finished: int
    failed: int
    requests: int
    polls: int
    rate: float
    rate_limit: float
    rate_limited: int
    delay_mean: float | None
    delay_p95: float | None
