"""The jobs that the service can run, with one struct for each kind.

The classes::

    Input
    ├── (music)                 the fields that all songs share
    │   ├── GenerateMusic       create a song
    │   ├── ExtendMusic         extend a song
    │   ├── ExtendUpload        extend an audio file
    │   └── CoverMusic          recreate a song or an audio file in a new style or voice
    ├── MusicVideo              make a video of a song
    ├── SeparateVocals          separate a song into stems
    └── GenerateSounds          create sounds
    GeneratePersona             create a persona from a song; not a job, but an endpoint of its own

The methods of `Track` return inputs that refer to a finished song. To add a kind, add a struct here
and a row in `KINDS`. The rules that several kinds share are tables in `suno_async._input_rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

import msgspec

from suno_async._input_rules import REQUIRED_BY_MODE, broken, missing

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    #: Fields that must be given.
    REQUIRED: ClassVar[tuple[str, ...]] = ()
    #: Attributes that are not fields of the request.
    NOT_SENT: ClassVar[tuple[str, ...]] = ("extra", "song_duration")

    extra: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def problems(self) -> tuple[str, ...]:
        """Return one text for each problem of this input, in the form ``field: rule, value``."""
        fields = msgspec.structs.asdict(self)
        return (
            *broken(self, fields, self.REQUIRED),
            *missing(fields, self.REQUIRED),
            *self._relations(fields),
        )

    def payload(self) -> dict[str, Any]:
        """Return the ``input`` object of the API request.

        It contains all fields that are not None. Values in `extra` replace fields of the same name.
        """
        fields: dict[str, Any] = msgspec.to_builtins(self)
        kept = {
            name: value
            for name, value in fields.items()
            if value is not None and name not in self.NOT_SENT
        }
        return kept | self.extra

    def _relations(self, _fields: dict[str, Any]) -> Iterator[str]:
        """Yield a text for each problem that concerns more than one field."""
        yield from ()


class Input(_Checked, frozen=True, kw_only=True):
    """Base class of all jobs. Use its subclasses.

    Attributes:
        extra: Fields to add to the ``input`` of the request, by name. They are sent unchanged. The
            library checks only that JSON can represent them. They replace fields with the same
            name.
    """

    KIND: ClassVar[str] = ""


class SongOptions(TypedDict, total=False):
    """The keyword arguments that all song jobs accept. `GenerateMusic` describes them."""

    mode: Literal["simple", "custom"]
    model: str
    prompt: str
    instrumental: bool
    title: str
    tags: str
    lyrics: str
    vocal_gender: Literal["m", "f"]
    style_weight: float
    weirdness_constraint: float
    negative_tags: str
    persona_id: str
    extra: dict[str, Any]


class _Music(Input, frozen=True, kw_only=True):
    mode: Literal["simple", "custom"] | None = None
    model: str = "v5"
    prompt: str | None = None
    instrumental: bool = False
    title: str | None = None
    tags: str | None = None
    lyrics: str | None = None
    vocal_gender: Literal["m", "f"] | None = None
    style_weight: float | None = None
    weirdness_constraint: float | None = None
    negative_tags: str | None = None
    persona_id: str | None = None

    REQUIRED: ClassVar[tuple[str, ...]] = ("model",)
    #: Fields that this kind requires in custom mode, in addition to `REQUIRED_BY_MODE`.
    CUSTOM: ClassVar[tuple[str, ...]] = ()

    @property
    def effective_mode(self) -> str:
        """The mode that is sent.

        The default is ``"custom"`` if title, tags or lyrics are given, otherwise ``"simple"``.
        """
        if self.mode is not None:
            return self.mode
        return "custom" if self.title or self.tags or self.lyrics else "simple"

    def payload(self) -> dict[str, Any]:
        """Return the ``input`` object of the API request.

        It contains the mode, and all other fields that are not None. Values in `extra` replace
        fields of the same name.
        """
        return {"mode": self.effective_mode} | super().payload()

    def _relations(self, fields: dict[str, Any]) -> Iterator[str]:
        # Compared, not looked up: a struct accepts any value, and an enum member with the value
        # "custom" has another hash. Another rule reports an unknown mode.
        mode = next((each for each in REQUIRED_BY_MODE if each == self.effective_mode), "")
        required = REQUIRED_BY_MODE.get(mode, ())
        if self.instrumental is True:
            required = tuple(name for name in required if name != "lyrics")
        if mode == "custom":
            required += self.CUSTOM
        why = f" in {mode} mode"
        if self.mode is None and mode == "custom":
            why += " (the default with title, tags or lyrics)"
        yield from missing(fields, required, why)


class GenerateMusic(_Music, frozen=True):
    """Create a song.

    In simple mode, the prompt describes the song. In custom mode, the title, tags and lyrics
    describe it. The maximum lengths below are not documented by the API. They come from public code
    that calls the API.

    Attributes:
        prompt: A description of the song. Simple mode requires it. You can pass it as the first
            positional argument.
        mode: ``"simple"`` or ``"custom"``. None means custom if title, tags or lyrics are given,
            otherwise simple.
        model: The model version, such as ``"v5.5"``, ``"v5"`` or ``"v4.5all"``. The library does
            not check whether the version exists.
        instrumental: Whether to make a song without vocals. If True, lyrics are not required.
        title: The title, at most 100 characters. Custom mode requires it.
        tags: Style tags, at most 1000 characters. Custom mode requires them.
        lyrics: The lyrics, at most 5000 characters. Custom mode requires them for songs with
            vocals.
        vocal_gender: ``"m"`` for a male voice, ``"f"`` for a female voice.
        style_weight: How closely to follow the style, 0 to 1.
        weirdness_constraint: How unusual the song may be, 0 to 1.
        negative_tags: Styles to avoid.
        persona_id: The id of the persona that sings the song. `SunoClient.create_persona` creates
            personas.
        extra: Fields to add to the ``input`` of the request, by name. They are sent unchanged. The
            library checks only that JSON can represent them. They replace fields with the same
            name.
    """

    KIND: ClassVar[str] = "suno/music-generate"

    # Declared again to make it positional.
    prompt: str | None = None


class ExtendMusic(_Music, frozen=True, kw_only=True):
    """Extend a song. `Track.extend` fills in the ids.

    `GenerateMusic` describes the other fields.

    Attributes:
        task_id: The id of the task that made the song.
        suno_id: Suno's id of the song.
        continue_at: Where the new part starts, in seconds from the start of the original song.
            Custom mode requires it.
        audio_weight: How strongly the original song influences the result, 0 to 1.
        song_duration: Length of the original song in seconds; None if unknown. It is only used to
            check `continue_at`, and is not sent.
    """

    KIND: ClassVar[str] = "suno/music-extend"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "task_id", "suno_id")
    CUSTOM: ClassVar[tuple[str, ...]] = ("continue_at",)

    task_id: str
    suno_id: str
    continue_at: float | None = None
    audio_weight: float | None = None
    song_duration: float | None = None


class ExtendUpload(_Music, frozen=True, kw_only=True):
    """Extend an audio file.

    `GenerateMusic` describes the other fields.

    Attributes:
        audio_url: URL of the audio file, from `SunoClient.upload`, or any public URL.
        continue_at: Where the new part starts, in seconds from the start of the file. Custom mode
            requires it.
        audio_weight: How strongly the file influences the result, 0 to 1.
        song_duration: Length of the file in seconds; None if unknown. It is only used to check
            `continue_at`, and is not sent.
    """

    KIND: ClassVar[str] = "suno/music-extend-upload"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "audio_url")
    CUSTOM: ClassVar[tuple[str, ...]] = ("continue_at",)

    audio_url: str
    continue_at: float | None = None
    audio_weight: float | None = None
    song_duration: float | None = None


class CoverMusic(_Music, frozen=True, kw_only=True):
    """Recreate a song or an audio file in a new style or voice. `Track.cover` fills in the ids.

    Give either `task_id` and `suno_id`, or `audio_url`. `GenerateMusic` describes the other fields.

    Attributes:
        task_id: The id of the task that made the song.
        suno_id: Suno's id of the song.
        audio_url: URL of the audio file, from `SunoClient.upload`, or any public URL.
        audio_weight: How strongly the audio influences the result, 0 to 1.
    """

    KIND: ClassVar[str] = "suno/music-cover"

    task_id: str | None = None
    suno_id: str | None = None
    audio_url: str | None = None
    audio_weight: float | None = None

    def _relations(self, fields: dict[str, Any]) -> Iterator[str]:
        yield from super()._relations(fields)
        if not self.audio_url:
            yield from missing(fields, ("task_id", "suno_id"), " without audio_url")


class MusicVideo(Input, frozen=True, kw_only=True):
    """Make a video of a song. `Track.video` returns this input with both ids.

    Attributes:
        task_id: The id of the task that made the song.
        suno_id: Suno's id of the song.
        author: The author's name to show in the video.
        brand: The brand name to show in the video.
    """

    KIND: ClassVar[str] = "suno/music-video"
    REQUIRED: ClassVar[tuple[str, ...]] = ("task_id", "suno_id")

    task_id: str
    suno_id: str
    author: str | None = None
    brand: str | None = None


class SeparateVocals(Input, frozen=True, kw_only=True):
    """Separate a song into stems. Each stem is one part of the sound, such as the vocals.

    `Track.separate` fills in the ids.

    Attributes:
        task_id: The id of the task that made the song.
        suno_id: Suno's id of the song.
        mode: ``"vocal"`` makes 2 stems (vocals and accompaniment), ``"instrumental"`` makes up to
            12 stems.
    """

    # The API spells it without the final n.
    KIND: ClassVar[str] = "suno/vocal-separatio"
    REQUIRED: ClassVar[tuple[str, ...]] = ("task_id", "suno_id")

    task_id: str
    suno_id: str
    mode: Literal["vocal", "instrumental"] = "vocal"


class _Sounds(Input, frozen=True, kw_only=True):
    loop: Any = None
    bpm: Any = None
    key: Any = None


class GenerateSounds(_Sounds, frozen=True):
    """Create sounds from a prompt.

    The API does not document `loop`, `bpm` and `key`. They are sent unchanged.

    Attributes:
        prompt: A description of the sounds. You can pass it as the first positional argument.
        loop: Whether the sound loops.
        bpm: Beats per minute.
        key: The musical key.
    """

    KIND: ClassVar[str] = "suno/sounds-generate"
    REQUIRED: ClassVar[tuple[str, ...]] = ("prompt",)

    prompt: str


class GeneratePersona(_Checked, frozen=True, kw_only=True):
    """The input of `SunoClient.create_persona`: a persona from the voice of a song.

    `Track.persona` fills in the ids.

    Attributes:
        task_id: The id of the task that made the song.
        suno_id: Suno's id of the song.
        name: The name of the persona.
        description: A description of the persona in words.
        vocal_start: Start of the vocals to use, in seconds from the start of the song.
        vocal_end: End of these vocals, in seconds from the start of the song.
        style: The style of the persona.
        song_duration: Length of the song in seconds; None if unknown. It is only used to check
            `vocal_start` and `vocal_end`, and is not sent.
        extra: Fields to add to the request, by name. They are sent unchanged. The library
            checks only that JSON can represent them. They replace fields with the same name.
    """

    REQUIRED: ClassVar[tuple[str, ...]] = ("task_id", "suno_id", "name")

    task_id: str
    suno_id: str
    name: str
    description: str | None = None
    vocal_start: float | None = None
    vocal_end: float | None = None
    style: str | None = None
    song_duration: float | None = None

    def _relations(self, _fields: dict[str, Any]) -> Iterator[str]:
        start, end = self.vocal_start, self.vocal_end
        if isinstance(start, int | float) and isinstance(end, int | float) and not start < end:
            yield f"vocal_end: must be after vocal_start ({start!r}), not {end!r}"


#: All kinds of jobs, by the name that the API uses.
KINDS: dict[str, type[Input]] = {
    kind.KIND: kind
    for kind in (
        GenerateMusic,
        ExtendMusic,
        ExtendUpload,
        CoverMusic,
        MusicVideo,
        SeparateVocals,
        GenerateSounds,
    )
}
