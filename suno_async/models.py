"""What the server returns: frozen structs, decoded from its replies. Pure."""

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
    """The status of a task. An unknown word is `UNKNOWN`, which is not terminal."""

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


#: A duration and two moments, each rounded to seconds, differ by less than this.
ROUNDING = 2.0


#: Suffixes of the URL of a video.
_VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".webm"})


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One finished song (the API's SunoMusicItem).

    Its methods return the input of another job, with the ids filled in:
    ``await suno.create(track.cover(prompt="as a bossa nova"))``.

    Attributes:
        task_id: The task that made the song.
        suno_id: Suno's id of the song.
        title: Music title.
        prompt: Lyrics or prompt used to generate the music.
        tags: Music style tags, separated by commas.
        suno_audio_url: The audio file.
        suno_image_url: Cover image.
        suno_image_large_url: High-resolution cover image.
        model_name: Suno's model name, such as ``"chirp-crow"``.
        duration: Length of the audio in seconds.
        create_at: Creation time, in Unix seconds.
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
        """The version, such as ``"v5"``; None for a name that is not in `MODEL_VERSIONS`."""
        return MODEL_VERSIONS.get(self.model_name)

    def extend(
        self,
        *,
        continue_at: float | None = None,
        audio_weight: float | None = None,
        **options: Unpack[SongOptions],
    ) -> ExtendMusic:
        """Return a job that makes the song longer, from `continue_at` seconds on.

        The model and, in custom mode, the title default to those of this song.
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
        """Return a job that makes the song again in a new style or voice.

        The model and, in custom mode, the title default to those of this song.
        """
        return CoverMusic(
            task_id=self.task_id,
            suno_id=self.suno_id,
            audio_weight=audio_weight,
            **self._defaults(options),
        )

    def video(self, *, author: str | None = None, brand: str | None = None) -> MusicVideo:
        """Return a job that makes a video of the song."""
        return MusicVideo(task_id=self.task_id, suno_id=self.suno_id, author=author, brand=brand)

    def separate(self, mode: Literal["vocal", "instrumental"] = "vocal") -> SeparateVocals:
        """Return a job that makes the song's stems: 2, or up to 12 with ``"instrumental"``."""
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
        """Return the input of `SunoClient.create_persona` for the song's voice.

        `vocal_start` and `vocal_end` are seconds within the song.
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
        if self.title and (options.get("mode") == "custom" or {"tags", "lyrics"} & options.keys()):
            options.setdefault("title", self.title)
        return options


class Stems(Mapping[str, str]):
    """The stems of a song: name → URL. The server chooses the names; they depend on the mode."""

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
    """Identifies a task anywhere: in another process, in a file, in a queue.

    ``msgspec.json.encode(ref)`` and ``msgspec.json.decode(text, type=TaskRef)`` convert it.

    Attributes:
        task_id: The server's id.
        created_at: When the task was created, in Unix seconds; None if unknown. Without it the task
            may be polled at once.
        kind: The kind of job by the API's name; empty if unknown.
    """

    task_id: str
    created_at: float | None = None
    kind: str = ""


class TaskFailure(msgspec.Struct, frozen=True):
    """Why a task failed.

    Attributes:
        code: The code of the result, such as 501; None if the server gave none.
        message: The server's words.
    """

    code: int | None
    message: str


class TaskParam(msgspec.Struct, frozen=True):
    """The server's echo of what CreateTask was sent.

    Attributes:
        model: The kind of job, such as ``"suno/music-generate"``.
        callback_url: As it was sent; None without one.
        input: As it was sent.
    """

    model: str = ""
    callback_url: str | None = None
    input: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A task's record, as the server returned it once.

    Times lie within the years 2000 to 2099 and numbers are finite; anything else is None.

    Attributes:
        task_id: The server's id.
        status: The status.
        raw_status: The server's word for it.
        provider: Informative, like `model_version` and `source`.
        model_version: Such as ``"sunov5"``.
        source: ``"api"`` or ``"playground"``.
        param: The input of the task.
        create_at: When the task was created, in Unix seconds.
        complete_at: When the task ended, in Unix seconds; None before.
        duration_s: Seconds that the job took, as the server reports it; None before it ended.
        credits: Reserved while the task is pending or running; what it cost once it has ended.
            None if the server does not say.
        tracks: The finished songs, normally two.
        media_urls: URLs of the results, of every kind of job.
        media_info: Stem name → URL; empty except for vocal separation.
        usage: Whatever the server reports about usage.
        failure: Why the task failed; None unless it did.
        raw: The whole reply, byte by byte.
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
        """The stems that vocal separation made; empty for other kinds."""
        return Stems(self.media_info)

    @property
    def video_url(self) -> str | None:
        """The video that `MusicVideo` made; None for other kinds."""
        if self.param.model == MusicVideo.KIND:
            return next(iter(self.media_urls), None)
        return next((url for url in self.media_urls if _names_a_video(url)), None)

    @property
    def elapsed(self) -> float | None:
        """Seconds from creation to end; None while the task goes on.

        This is `duration_s`, unless it differs from `complete_at` - `create_at` by more than
        `ROUNDING`: then it is this difference. A negative number, infinity or NaN counts as absent.
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
    """The same, unless no duration can be that long."""
    return seconds if seconds is not None and 0.0 <= seconds < math.inf else None


def _names_a_video(url: str) -> bool:
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower() in _VIDEO_SUFFIXES
    except ValueError:
        return False


class Persona(msgspec.Struct, frozen=True):
    """A voice for later songs: pass its id as their ``persona_id``."""

    persona_id: str
    name: str = ""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a job would cost, in credits. Numbers may be fractions.

    Attributes:
        estimated_credits: The price (`credits` in the documented endpoint).
        balance: The account's balance; None if the server did not say.
        affordable: Whether the balance covers the price; None if the balance is not known.
        estimated: True: the final charge is settled when the task ends. False:
            `estimated_credits` is what will be charged. None: the server did not say.
    """

    estimated_credits: float
    balance: float | None = None
    affordable: bool | None = None
    estimated: bool | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    """One entry of the list of models.

    Attributes:
        model: The name, such as ``"suno/music-generate"``; equals `Input.KIND`.
        details: All fields of the entry.
    """

    model: str
    details: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


class ModelSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The input of a model, as the server describes it.

    Attributes:
        model: The name.
        input_schema: A JSON Schema of ``input``.
        required_input_fields: Names of the required fields.
    """

    model: str
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    required_input_fields: tuple[str, ...] = ()
