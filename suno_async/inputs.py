"""What a user sends: one struct per kind of job, checked before anything is spent.

    Input
    ├── (music)                 what all songs have in common
    │   ├── GenerateMusic       a song
    │   ├── ExtendMusic         a song, longer
    │   ├── ExtendUpload        an audio file of the user's own, longer
    │   └── CoverMusic          a song or an audio file, in a new style or voice
    ├── MusicVideo              a song's video
    ├── SeparateVocals          a song's stems
    └── GenerateSounds          sounds
    GeneratePersona             the voice of a song, for later songs; no job, but its own endpoint

A new kind is one struct here and one row in `KINDS`; the rules that kinds share are tables in
`suno_async._input_rules`. From a finished song, the methods of `Track` fill in the ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict

import msgspec

from suno_async._input_rules import REQUIRED_BY_MODE, broken, missing

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Checked(msgspec.Struct, frozen=True, kw_only=True):
    #: Fields that are never left out.
    REQUIRED: ClassVar[tuple[str, ...]] = ()
    #: Fields that stay here.
    NOT_SENT: ClassVar[tuple[str, ...]] = ("extra", "song_duration")

    extra: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def problems(self) -> tuple[str, ...]:
        """Every broken rule, as ``field: rule, value``; empty if the input may be sent."""
        fields = msgspec.structs.asdict(self)
        return (
            *broken(self, fields, self.REQUIRED),
            *missing(fields, self.REQUIRED),
            *self._relations(fields),
        )

    def payload(self) -> dict[str, Any]:
        """The contract's ``input`` object: every field that was given, then `extra` over them."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        kept = {
            name: value
            for name, value in fields.items()
            if value is not None and name not in self.NOT_SENT
        }
        return kept | self.extra

    def _relations(self, _fields: dict[str, Any]) -> Iterator[str]:
        """Broken rules between fields."""
        yield from ()


class Input(_Checked, frozen=True, kw_only=True):
    """Base of every kind of job. Use the kinds themselves.

    Attributes:
        extra: Fields newer than this library, sent as they are.
    """

    KIND: ClassVar[str] = ""


class SongOptions(TypedDict, total=False):
    """What all kinds of songs take, as keyword arguments; told at `GenerateMusic`."""

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
    #: Fields that custom mode requires besides those of every music kind.
    CUSTOM: ClassVar[tuple[str, ...]] = ()

    @property
    def effective_mode(self) -> str:
        """The mode that is sent: custom if none was given but title, tags or lyrics were."""
        if self.mode is not None:
            return self.mode
        return "custom" if self.title or self.tags or self.lyrics else "simple"

    def payload(self) -> dict[str, Any]:
        """The contract's ``input`` object: every field that was given, then `extra` over them."""
        return {"mode": self.effective_mode} | super().payload()

    def _relations(self, fields: dict[str, Any]) -> Iterator[str]:
        # As text, because a struct takes anything; a wrong type is told by its own rule.
        mode = str(self.effective_mode)
        required = REQUIRED_BY_MODE.get(mode, ())
        if self.instrumental is True:
            required = tuple(name for name in required if name != "lyrics")
        if mode == "custom":
            required += self.CUSTOM
        yield from missing(fields, required, f" in {mode} mode")


class GenerateMusic(_Music, frozen=True):
    """A song from a prompt (``mode="simple"``) or from title, tags and lyrics (``"custom"``).

    Attributes:
        mode: ``"custom"`` if None and title, tags or lyrics are given, else ``"simple"``.
        model: ``"v5.5"``, ``"v5"``, ``"v4.5all"``, …; a newer one than this library knows passes.
        prompt: What the song should be; simple mode requires it.
        instrumental: No vocals, so no lyrics.
        title: At most 100 characters; custom mode requires it.
        tags: Style tags, at most 1000 characters; custom mode requires them.
        lyrics: At most 5000 characters; custom mode requires them unless `instrumental`.
        vocal_gender: ``"m"`` or ``"f"``.
        style_weight: How closely to follow the style, 0 to 1.
        weirdness_constraint: How far to stray, 0 to 1.
        negative_tags: Styles to keep away from.
        persona_id: A persona made before (`SunoClient.create_persona`).
        extra: Fields newer than this library, sent as they are.
    """

    KIND: ClassVar[str] = "suno/music-generate"

    # Declared again, because this one may be given by position.
    prompt: str | None = None


class ExtendMusic(_Music, frozen=True, kw_only=True):
    """A song made longer; `Track.extend` fills in the ids.

    Attributes:
        task_id: The task that made the song.
        suno_id: Which of its songs.
        continue_at: Where to go on, in seconds from the song's start; custom mode requires it.
        audio_weight: Weight of the given audio, 0 to 1.
        song_duration: Length of the song in seconds, if known: `continue_at` must lie within. Not
            sent.

    The others are those of `GenerateMusic`.
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
    """An audio file made longer.

    Attributes:
        audio_url: Where it is: what `SunoClient.upload` returned, or any public URL.
        continue_at: Where to go on, in seconds from the file's start; custom mode requires it.
        audio_weight: Weight of the given audio, 0 to 1.
        song_duration: Length of the file in seconds, if known: `continue_at` must lie within. Not
            sent.

    The others are those of `GenerateMusic`.
    """

    KIND: ClassVar[str] = "suno/music-extend-upload"
    REQUIRED: ClassVar[tuple[str, ...]] = ("model", "audio_url")
    CUSTOM: ClassVar[tuple[str, ...]] = ("continue_at",)

    audio_url: str
    continue_at: float | None = None
    audio_weight: float | None = None
    song_duration: float | None = None


class CoverMusic(_Music, frozen=True, kw_only=True):
    """A song or an audio file in a new style or voice; `Track.cover` fills in the ids.

    Attributes:
        task_id: The task that made the song, with `suno_id`; or else `audio_url`.
        suno_id: Which of its songs.
        audio_url: Where the audio is: what `SunoClient.upload` returned, or any public URL.
        audio_weight: Weight of the given audio, 0 to 1.

    The others are those of `GenerateMusic`.
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
    """A video of a song; `Track.video` fills in the ids.

    Attributes:
        task_id: The task that made the song.
        suno_id: Which of its songs.
        author: A name to show.
        brand: A brand to show.
    """

    KIND: ClassVar[str] = "suno/music-video"
    REQUIRED: ClassVar[tuple[str, ...]] = ("task_id", "suno_id")

    task_id: str
    suno_id: str
    author: str | None = None
    brand: str | None = None


class SeparateVocals(Input, frozen=True, kw_only=True):
    """A song taken apart into stems; `Track.separate` fills in the ids.

    Attributes:
        task_id: The task that made the song.
        suno_id: Which of its songs.
        mode: ``"vocal"``: 2 stems; ``"instrumental"``: up to 12.
    """

    # The vendor spells it so.
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
    """Sounds made from a prompt.

    Attributes:
        prompt: Description of the sounds; may be given by position.
        loop: Whether the sound loops. The API does not document this field, nor the next two: they
            are sent as given.
        bpm: Beats per minute.
        key: Musical key.
    """

    KIND: ClassVar[str] = "suno/sounds-generate"
    REQUIRED: ClassVar[tuple[str, ...]] = ("prompt",)

    prompt: str


class GeneratePersona(_Checked, frozen=True, kw_only=True):
    """The voice of a song, to sing later songs; `Track.persona` fills in the ids.

    Attributes:
        task_id: The task that made the song.
        suno_id: Which of its songs.
        name: What to call the persona.
        description: In words.
        vocal_start: Where the singing to learn from begins, in seconds from the song's start.
        vocal_end: Where it ends.
        style: Its style.
        song_duration: Length of the song in seconds, if known: the span must lie within. Not sent.
        extra: Fields newer than this library, sent as they are.
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
            yield f"vocal_end: must lie after vocal_start ({start!r}), not {end!r}"


#: Every kind of job this library can create, by the contract's name.
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
