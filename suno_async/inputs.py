"""What a user sends: one struct per kind of job, checked before anything is spent.

A new kind is one struct here and one row in `KINDS`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

import msgspec

from suno_async.errors import InvalidInputError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LIMITS = {"title": 100, "tags": 1000, "lyrics": 5000}


def check_task_id(task_id: object) -> str:
    """Return a task id that may be asked about.

    The contract says 36 characters but shows shorter examples, so this refuses only what cannot be
    an id (empty, over 128 characters, control characters, no string) and lets the server judge.

    Raises:
        InvalidInputError: It cannot be an id.
    """
    if not isinstance(task_id, str):
        problem = f"task_id must be a string, not {type(task_id).__name__}"
    elif not task_id.strip():
        problem = "task_id must not be empty"
    elif len(task_id) > 128:  # noqa: PLR2004 (the contract's number, told in the docstring)
        problem = f"task_id must have at most 128 characters, this one has {len(task_id)}"
    elif _CONTROL.search(task_id):
        problem = f"task_id must not hold control characters: {task_id!r}"
    else:
        return task_id
    raise InvalidInputError((problem,))


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every kind of job. Use the kinds themselves."""

    KIND: ClassVar[str] = ""

    def problems(self) -> tuple[str, ...]:
        """Every broken rule of the contract; empty if the input may be sent."""
        return ()

    def check(self) -> None:
        """Raise `InvalidInputError`, telling all broken rules at once, unless there is none."""
        if found := self.problems():
            raise InvalidInputError(found)

    def payload(self) -> dict[str, Any]:
        """The contract's ``input`` object: every field that was given."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        extra: dict[str, Any] = fields.pop("extra", {})
        return {name: value for name, value in fields.items() if value is not None} | extra


class GenerateMusic(Input, frozen=True, kw_only=True):
    """A song from a prompt (``mode="simple"``) or from title, tags and lyrics (``"custom"``).

    Attributes:
        mode: ``"custom"`` if None and title, tags or lyrics are given, else ``"simple"``.
        model: A newer model than this library knows passes.
        prompt: What the song should be; simple mode requires it.
        instrumental: No vocals, so no lyrics.
        title: At most 100 characters; custom mode requires it.
        tags: Style tags, at most 1000 characters; custom mode requires them.
        lyrics: At most 5000 characters; custom mode requires them unless `instrumental`.
        vocal_gender: ``"m"`` or ``"f"``.
        style_weight: 0 to 1.
        weirdness_constraint: 0 to 1.
        negative_tags: Styles to keep away from.
        persona_id: A persona made before.
        extra: Fields newer than this library, sent as they are.

    The lengths are those that public callers cut to (API contract, "CreateTask").
    """

    KIND: ClassVar[str] = "suno/music-generate"

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
    extra: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def effective_mode(self) -> str:
        """The mode that is sent."""
        if self.mode is not None:
            return self.mode
        return "custom" if self.title or self.tags or self.lyrics else "simple"

    def problems(self) -> tuple[str, ...]:
        """Every broken rule of the contract; empty if the input may be sent."""
        return (
            *self._wrong_types(),
            *self._missing(),
            *self._too_long(),
            *self._out_of_range(),
        )

    def payload(self) -> dict[str, Any]:
        """The contract's ``input`` object."""
        return {**Input.payload(self), "mode": self.effective_mode} | self.extra

    def _wrong_types(self) -> list[str]:
        # A struct does not check its own constructor; a dict round trip through msgspec does.
        try:
            msgspec.convert(msgspec.to_builtins(self), type(self))
            msgspec.json.encode(self.extra)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            return [f"input: {error}"]
        return []

    def _missing(self) -> list[str]:
        if self.effective_mode == "simple":
            required = ["prompt"]
        else:
            required = ["title", "tags"] if self.instrumental else ["title", "tags", "lyrics"]
        required.append("model")
        return [
            f"{name}: required in {self.effective_mode} mode"
            for name in required
            if not isinstance(value := getattr(self, name), str) or not value.strip()
        ]

    def _too_long(self) -> list[str]:
        return [
            f"{name}: at most {limit} characters, this one has {len(value)}"
            for name, limit in _LIMITS.items()
            if isinstance(value := getattr(self, name), str) and len(value) > limit
        ]

    def _out_of_range(self) -> list[str]:
        return [
            f"{name}: must lie in 0 to 1, not {value!r}"
            for name in ("style_weight", "weirdness_constraint")
            if isinstance(value := getattr(self, name), int | float) and not 0 <= value <= 1
        ]


#: Every kind of job this library can create.
KINDS: dict[str, type[Input]] = {kind.KIND: kind for kind in (GenerateMusic,)}
