"""The data that the server returns, as frozen structs. No I/O."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, Unpack
from urllib.parse import urlsplit

import msgspec

from suno_async.inputs import (
    CoverMusic,
    ExtendMusic,
    GeneratePersona,
    MusicVideo,
    SeparateVocals,
    SongOptions,
)

#: The version of each Suno model name (docs/contract.md, "Models of Suno").
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
    """The status of a task. An unknown status becomes `UNKNOWN`, which is not terminal."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> TaskStatus:
        word = str(value).strip().lower()
        # Public code that calls the live service also handles "error".
        if word == "error":
            return cls.FAILED
        return next((member for member in cls if member.value == word), cls.UNKNOWN)

    @property
    def terminal(self) -> bool:
        """Whether the task has ended: the status is `SUCCESS` or `FAILED`."""
        return self is TaskStatus.SUCCESS or self is TaskStatus.FAILED


#: Maximum difference in seconds between `TaskInfo.duration_s` and ``complete_at - create_at``. The
#: server rounds all three values to whole seconds.
ROUNDING = 2.0


#: Suffixes of video URLs.
_VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".webm"})


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One finished song (``SunoMusicItem`` in the API).

    The methods return inputs for jobs or personas that use this song, for example
    ``await suno.create(track.cover(prompt="as a bossa nova"))``.

    Text fields are empty if the server did not send them.

    Attributes:
        task_id: The id of the task that made the song.
        suno_id: Suno's id of the song.
        title: The title.
        prompt: The lyrics or the prompt that the song was made from.
        tags: Style tags, separated by commas.
        suno_audio_url: URL of the audio file. It may expire after some days.
        suno_image_url: URL of the cover image.
        suno_image_large_url: URL of the high-resolution cover image.
        model_name: Suno's model name, such as ``"chirp-crow"``.
        duration: Length of the audio in seconds; None if unknown.
        create_at: When the song was created, in Unix seconds; None if unknown.
    """

    task_id: str = ""
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
        """The model version, such as ``"v5"``; None if `MODEL_VERSIONS` does not list the model."""
        return MODEL_VERSIONS.get(self.model_name)

    def extend(
        self,
        *,
        continue_at: float | None = None,
        audio_weight: float | None = None,
        **options: Unpack[SongOptions],
    ) -> ExtendMusic:
        """Return a job that extends the song.

        In custom mode, the title defaults to the title of this song.

        Args:
            continue_at: Where the new part starts, in seconds from the start of the song. Custom
                mode requires it.
            audio_weight: How strongly the song influences the result, 0 to 1.
            **options: Further fields of `ExtendMusic`. `model` defaults to the `model_version` of
                this song; if that is None, to ``"v5"``.
        """
        return ExtendMusic(
            task_id=self.task_id,
            suno_id=self.suno_id,
            continue_at=continue_at,
            audio_weight=audio_weight,
            song_duration=self.duration,
            **self._defaults(options),
        )

    def cover(
        self, *, audio_weight: float | None = None, **options: Unpack[SongOptions]
    ) -> CoverMusic:
        """Return a job that recreates the song in a new style or voice.

        In custom mode, the title defaults to the title of this song.

        Args:
            audio_weight: How strongly the song influences the result, 0 to 1.
            **options: Further fields of `CoverMusic`. `model` defaults to the `model_version` of
                this song; if that is None, to ``"v5"``.
        """
        return CoverMusic(
            task_id=self.task_id,
            suno_id=self.suno_id,
            audio_weight=audio_weight,
            **self._defaults(options),
        )

    def video(self, *, author: str | None = None, brand: str | None = None) -> MusicVideo:
        """Return a job that makes a video of the song.

        Args:
            author: The author's name to show in the video.
            brand: The brand name to show in the video.
        """
        return MusicVideo(task_id=self.task_id, suno_id=self.suno_id, author=author, brand=brand)

    def separate(self, mode: Literal["vocal", "instrumental"] = "vocal") -> SeparateVocals:
        """Return a job that separates the song into stems, such as vocals and drums.

        Args:
            mode: ``"vocal"`` makes 2 stems, ``"instrumental"`` makes up to 12.
        """
        return SeparateVocals(task_id=self.task_id, suno_id=self.suno_id, mode=mode)

    def persona(
        self,
        name: str,
        *,
        description: str | None = None,
        vocal_start: float | None = None,
        vocal_end: float | None = None,
        style: str | None = None,
    ) -> GeneratePersona:
        """Return the input for `SunoClient.create_persona`: a persona with the voice of this song.

        Args:
            name: The name of the persona.
            description: A description of the persona.
            vocal_start: Where the vocals for the persona start, in seconds from the start of the
                song.
            vocal_end: Where these vocals end, in seconds from the start of the song.
            style: The style of the persona.
        """
        return GeneratePersona(
            task_id=self.task_id,
            suno_id=self.suno_id,
            name=name,
            description=description,
            vocal_start=vocal_start,
            vocal_end=vocal_end,
            style=style,
            song_duration=self.duration,
        )

    def _defaults(self, options: SongOptions) -> SongOptions:
        if self.model_version is not None:
            options.setdefault("model", self.model_version)
        mode = options.get("mode")
        described = options.get("tags") or options.get("lyrics")
        if self.title and (mode == "custom" or (mode is None and described)):
            options.setdefault("title", self.title)
        return options


class Stems(Mapping[str, str]):
    """The stems of a song, as a mapping from name to URL.

    The server chooses the names. The names depend on the mode of the separation.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = dict(urls)

    def __getitem__(self, name: str) -> str:
        return self._urls[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._urls)

    def __len__(self) -> int:
        return len(self._urls)

    def __repr__(self) -> str:
        return f"<Stems {', '.join(self._urls)}>"


class TaskRef(msgspec.Struct, frozen=True, gc=False):
    """A reference to a task, to be stored or passed to another process.

    ``msgspec.json.encode(ref)`` turns it into JSON, and
    ``msgspec.json.decode(data, type=TaskRef)`` reads it back.

    Attributes:
        task_id: The id of the task.
        created_at: When the task was created, in Unix seconds; None if unknown. If None, a
            client may send the first status request at once.
        kind: The kind of job, such as ``"suno/music-generate"``; empty if unknown.
    """

    task_id: str
    created_at: float | None = None
    kind: str = ""


class TaskFailure(msgspec.Struct, frozen=True):
    """Why a task failed.

    Attributes:
        code: The error code of the failure, such as 501; None if the reply has none.
        message: The server's message; empty if it gave none.
    """

    code: int | None
    message: str


class TaskParam(msgspec.Struct, frozen=True):
    """The parameters that the task was created with, as the server returns them.

    Attributes:
        model: The kind of job, such as ``"suno/music-generate"``.
        callback_url: The URL that receives a POST when the task ends; None if there is none.
        input: The input of the job.
    """

    model: str = ""
    callback_url: str | None = None
    input: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a task, as one reply of the server reports it.

    Times outside the years 2000 to 2099, and numbers that are not finite, become None. So do
    durations that are negative or longer than a year.

    Attributes:
        task_id: The id of the task.
        status: The status.
        raw_status: The status in the server's spelling. ``"failed"`` if the whole reply was a 501
            error.
        provider: The provider that the server names, such as ``"Suno"``. For information only.
        model_version: The server's model version, such as ``"sunov5"``. For information only.
        source: Where the task was created: ``"api"`` or ``"playground"``. For information only.
        param: The parameters that the task was created with.
        create_at: When the task was created, in Unix seconds; None if unknown.
        complete_at: When the task ended, in Unix seconds; None if it has not ended, or if unknown.
        duration_s: How many seconds the task took, as the server reports it; None if it has not
            ended, or if unknown.
        credits: The cost of the task in credits; before its end, the reserved credits. None if the
            server did not say.
        tracks: The finished songs, normally two. Empty for videos, stems and sounds.
        media_urls: URLs of the result files, such as a video. For songs, use `tracks`. Empty for
            vocal separation.
        media_info: URLs of the stems of a vocal separation, by name. Empty for other kinds of jobs.
        usage: What the server reports about resource usage; None if it reports nothing.
        failure: Why the task failed; None if it did not fail.
        raw: The body of the reply after decompression, as bytes. Copies of the API key are
            replaced by ``[redacted]``.
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
    def stems(self) -> Stems:
        """The stems of a vocal separation; empty for other kinds of jobs."""
        return Stems(self.media_info)

    @property
    def video_url(self) -> str | None:
        """URL of the result video; None if there is none."""
        if self.param.model == MusicVideo.KIND:
            return next(iter(self.media_urls), None)
        return next((url for url in self.media_urls if _names_a_video(url)), None)

    @property
    def elapsed(self) -> float | None:
        """Seconds from the creation of the task to its end; None if unknown.

        Normally, this is `duration_s`. If `duration_s` is unknown, or differs from
        ``complete_at - create_at`` by more than 2 s, this is ``complete_at - create_at``. A
        negative ``complete_at - create_at`` is ignored.
        """
        reported = _span(self.duration_s)
        if self.create_at is None or self.complete_at is None:
            return reported
        measured = _span(self.complete_at - self.create_at)
        if reported is None or measured is None:
            return reported if measured is None else measured
        return reported if abs(reported - measured) <= ROUNDING else measured

    def __repr__(self) -> str:
        return f"<TaskInfo {self.task_id} {self.raw_status}, {len(self.tracks)} tracks>"


def _span(seconds: float | None) -> float | None:
    """Return a duration unchanged; None if it is negative or not finite."""
    return seconds if seconds is not None and 0.0 <= seconds < math.inf else None


def _names_a_video(url: str) -> bool:
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower() in _VIDEO_SUFFIXES
    except ValueError:
        return False


class Persona(msgspec.Struct, frozen=True):
    """A persona: a voice that later songs can use.

    Attributes:
        persona_id: The id of the persona. Pass it as ``persona_id`` in the input of a song.
        name: The name that the persona was created with.
    """

    persona_id: str
    name: str = ""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a job in credits. The values may be fractions.

    Attributes:
        estimated_credits: The cost of the job.
        balance: The balance of the account; None if the server did not say.
        affordable: Whether the balance covers the cost; None if unknown.
        estimated: True if the final charge is only known when the task ends. False if exactly
            `estimated_credits` will be charged. None if the server did not say.
    """

    estimated_credits: float
    balance: float | None = None
    affordable: bool | None = None
    estimated: bool | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    """A model that the service offers.

    Attributes:
        model: The name, such as ``"suno/music-generate"``. If this library knows the model, the
            name is the `KIND` of an input class.
        details: Everything that the server reports about the model.
    """

    model: str
    details: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ModelSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The server's description of a model's input.

    Attributes:
        model: The name of the model.
        input_schema: A JSON Schema of the input.
        required_input_fields: The names of the required fields.
    """

    model: str
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    required_input_fields: tuple[str, ...] = ()
