"""The rules of the API for inputs. An input that breaks a rule is refused with 422. No I/O.

The rules are written from the API contract alone. They share no code with the client, so they do
not repeat mistakes of the client.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, TypeGuard, cast

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATE = "suno/music-generate"
EXTEND = "suno/music-extend"
EXTEND_UPLOAD = "suno/music-extend-upload"
COVER = "suno/music-cover"
VIDEO = "suno/music-video"
SEPARATE = "suno/vocal-separatio"
SOUNDS = "suno/sounds-generate"

#: Kinds that make songs.
MUSIC = (GENERATE, EXTEND, EXTEND_UPLOAD, COVER)
KINDS = (*MUSIC, VIDEO, SEPARATE, SOUNDS)

_LENGTHS = {"title": 100, "tags": 1000, "lyrics": 5000}
_ID_LENGTH = 128
#: Fields that each kind always requires. All kinds of music also require ``mode`` and ``model``.
#: `_required` adds ``model``, and the fields that depend on other fields.
REQUIRED = {
    EXTEND: ("task_id", "suno_id"),
    EXTEND_UPLOAD: ("audio_url",),
    VIDEO: ("task_id", "suno_id"),
    SEPARATE: ("task_id", "suno_id"),
    SOUNDS: ("prompt",),
}


def broken_rules(body: object, length_of: Callable[[str, str], float | None]) -> list[str]:
    """Return one error text for each rule that the body of a CreateTask request breaks.

    Args:
        body: The decoded body.
        length_of: Takes a task id and a song id, and returns the length of the song in seconds.
            Returns None if the song does not exist or is not finished.
    """
    if not isinstance(body, dict):
        return ["body: must be a JSON object"]
    fields = cast("dict[str, Any]", body)
    callback = fields.get("callback_url")
    errors: list[str] = []
    if callback and not str(callback).startswith(("http://", "https://")):
        errors.append("callback_url: must be an http(s) URL")
    kind = fields.get("model")
    if kind not in KINDS:
        return [*errors, f"model: unknown kind {kind!r}"]
    if not isinstance(fields.get("input"), dict):
        return [*errors, "input: must be an object"]
    given = cast("dict[str, Any]", fields["input"])
    errors += _bad_values(given) + _bad_mode(kind, given)
    errors += [
        f"{name}: required" for name in _required(kind, given) if not _is_there(given.get(name))
    ]
    return errors + _bad_reference(given, length_of)


def broken_persona_rules(body: object, length_of: Callable[[str, str], float | None]) -> list[str]:
    """Return one error text for each rule that the body of a persona request breaks.

    Args:
        body: The decoded body.
        length_of: Returns the length of a song, as for `broken_rules`.
    """
    if not isinstance(body, dict):
        return ["body: must be a JSON object"]
    given = cast("dict[str, Any]", body)
    errors = _bad_values(given)
    errors += [
        f"{name}: required"
        for name in ("task_id", "suno_id", "name")
        if not _is_there(given.get(name))
    ]
    start, end = given.get("vocal_start"), given.get("vocal_end")
    if _is_moment(start) and _is_moment(end) and not start < end:
        errors.append("vocal_end: must lie after vocal_start")
    return errors + _bad_reference(given, length_of)


def _required(kind: str, given: dict[str, Any]) -> list[str]:
    required = list(REQUIRED.get(kind, ()))
    if kind in MUSIC:
        required.append("model")
        if given.get("mode") == "simple":
            required.append("prompt")
        elif given.get("mode") == "custom":
            required += ["title", "tags"] + ([] if given.get("instrumental") else ["lyrics"])
            if kind in {EXTEND, EXTEND_UPLOAD}:
                required.append("continue_at")
    if kind == COVER and not given.get("audio_url"):
        required += ["task_id", "suno_id"]
    return required


def _bad_mode(kind: str, given: dict[str, Any]) -> list[str]:
    if kind in MUSIC and given.get("mode") not in ("simple", "custom"):
        return ["mode: must be simple or custom"]
    if kind == SEPARATE and given.get("mode", "vocal") not in ("vocal", "instrumental"):
        return ["mode: must be vocal or instrumental"]
    return []


def _bad_values(given: dict[str, Any]) -> list[str]:
    checks: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
        (("instrumental",), lambda value: isinstance(value, bool), "must be a boolean"),
        (("vocal_gender",), lambda value: value in ("m", "f"), "must be m or f"),
        (("model", "prompt", *_LENGTHS, "negative_tags", "persona_id"), _is_text, "must be text"),
        (("task_id", "suno_id", "name", "description", "style"), _is_text, "must be text"),
        (("task_id", "suno_id"), _is_there, "must not be blank"),
        (("task_id",), _may_be_id, "at most 128 characters, no control characters"),
        (("author", "brand"), _is_text, "must be text"),
        (("style_weight", "weirdness_constraint", "audio_weight"), _is_share, "must be 0 to 1"),
        (("continue_at", "vocal_start", "vocal_end"), _is_moment, "must not be below 0"),
        (("audio_url",), _is_url, "must be an http(s) URL"),
    ]
    errors = [
        f"{name}: {rule}"
        for names, holds, rule in checks
        for name in names
        if name in given and not holds(given[name])
    ]
    errors += [
        f"{name}: at most {most} characters"
        for name, most in _LENGTHS.items()
        if isinstance(given.get(name), str) and len(given[name]) > most
    ]
    return errors


def _bad_reference(
    given: dict[str, Any], length_of: Callable[[str, str], float | None]
) -> list[str]:
    task_id, suno_id = given.get("task_id"), given.get("suno_id")
    if not isinstance(task_id, str) or not isinstance(suno_id, str):
        return []
    length = length_of(task_id, suno_id)
    if length is None:
        return ["task_id, suno_id: no such song"]
    return [
        f"{name}: must lie within the song"
        for name in ("continue_at", "vocal_start", "vocal_end")
        if _is_number(given.get(name)) and given[name] > length
    ]


def _is_there(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _may_be_id(value: object) -> bool:
    return not isinstance(value, str) or (
        len(value) <= _ID_LENGTH and not any(unicodedata.category(each) == "Cc" for each in value)
    )


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:  # noqa: ANN401 (JSON)
    return _is_number(value) and 0 <= value <= 1


def _is_moment(value: Any) -> TypeGuard[float]:  # noqa: ANN401 (JSON)
    return _is_number(value) and value >= 0
