"""The API's rules for inputs, as tables that all kinds of jobs share. No I/O.

Each rule applies to a field name. Each name in these tables has the same meaning in every kind of
job. Only values that the API contract forbids are rejected. The server decides about everything
else.
"""

from __future__ import annotations

import functools
import json
import math
import re
import reprlib
import types
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Maximum length of a field in characters, by model. The row ``""`` applies to all models without
#: their own row. Public code that calls the API cuts texts to these lengths (docs/contract.md,
#: "Fields of jobs").
LENGTHS: dict[str, dict[str, int]] = {"": {"title": 100, "tags": 1000, "lyrics": 5000}}

#: Fields with values from 0 to 1.
SHARES = frozenset({"style_weight", "weirdness_constraint", "audio_weight"})

#: Fields that are a position in a song, in seconds from its start.
MOMENTS = frozenset({"continue_at", "vocal_start", "vocal_end"})

#: The fields that each mode of a song requires. Lyrics are only required for songs with vocals.
REQUIRED_BY_MODE = {"simple": ("prompt",), "custom": ("title", "tags", "lyrics")}

#: Maximum length of a task id in characters. The documented ids have 36, but the API's examples
#: also show shorter ones.
TASK_ID_LENGTH = 128

_SCHEMES = ("https://", "http://")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_WORDS = {
    bool: "True or False",
    str: "text (a plain str)",
    float: "a number (a plain int or float)",
    dict: "a dict with text keys and JSON values",
}
_JSON_VALUE = "a value that JSON can represent"

# What msgspec and json raise for values of a wrong type. msgspec.ValidationError is a ValueError.
# msgspec 0.21.0 raises SystemError for integers that are too large for a float.
_NOT_CONVERTIBLE = (TypeError, ValueError, RecursionError, OverflowError, SystemError)


def task_id_problem(task_id: object) -> str | None:
    """Return why a value cannot be a task id. Return None if the value may be a task id."""
    if not isinstance(task_id, str):
        return f"task_id: must be a string, not {type(task_id).__name__}"
    if not task_id.strip():
        return "task_id: must not be empty"
    if len(task_id) > TASK_ID_LENGTH:
        return f"task_id: at most {TASK_ID_LENGTH} characters, this one has {len(task_id)}"
    if _CONTROL.search(task_id):
        return f"task_id: must not contain control characters: {task_id!r}"
    return None


def callback_url_problem(url: Any) -> str | None:  # noqa: ANN401 (any value of the caller)
    """Return why a value cannot be a callback URL. Return None if the value may be one."""
    if wrong := _wrong_type(url, str):
        return f"callback_url: must be {wrong}, not {shown(url)}"
    if not url.startswith(_SCHEMES):
        return f"callback_url: must be an http(s) URL, not {shown(url)}"
    return None


def shown(value: object) -> str:
    """Return a short representation of a value, for an error message."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer with too many digits
        return f"a {type(value).__name__} that cannot be shown"


def missing(fields: Mapping[str, Any], required: Iterable[str], why: str = "") -> Iterator[str]:
    """Yield a message for each required field whose value is None or blank text.

    `why` is added to each message. It says when the fields are required, such as
    ``" in custom mode"``.
    """
    for name in required:
        if _absent(value := fields.get(name)):
            yield f"{name}: required{why}, but the value is {value!r}"


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


@functools.cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    # Cached, because resolving the annotations takes most of the time of a check.
    return msgspec.structs.fields(kind)


def broken(
    job: msgspec.Struct, fields: Mapping[str, Any], required: Iterable[str]
) -> Iterator[str]:
    """Yield a message for each field whose value is not allowed.

    Required fields without a value are skipped, because `missing` reports them.

    Args:
        job: The input.
        fields: The values of its fields.
        required: The names of its required fields.
    """
    lengths = LENGTHS.get(str(fields.get("model")), LENGTHS[""])
    for field in _fields_of(type(job)):
        value = fields[field.name]
        if (value is None and field.default is None) or (field.name in required and _absent(value)):
            continue
        if wrong := _wrong_type(value, field.type):
            yield f"{field.name}: must be {wrong}, not {shown(value)}"
        else:
            yield from _out_of_bounds(field.name, value, lengths, fields.get("song_duration"))


def _wrong_type(value: object, kind: Any) -> str:  # noqa: ANN401 (an annotation)
    # The constructor of a struct does not check types. Converting its values does.
    try:
        msgspec.convert(value, kind)
        # A Decimal is a number, but in JSON it becomes text.
        plain = msgspec.to_builtins(value)
        msgspec.convert(plain, kind)
    except _NOT_CONVERTIBLE:
        return _in_words(kind)
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    try:
        # This refuses text with a lone surrogate.
        msgspec.json.encode(plain)
        # This refuses numbers that are not finite: msgspec would send null instead. It also refuses
        # bytes and dates, which msgspec would send as text.
        json.dumps(value, allow_nan=False)
    except _NOT_CONVERTIBLE:
        return _JSON_VALUE
    return ""


def _in_words(kind: Any) -> str:  # noqa: ANN401 (an annotation)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in {Union, types.UnionType}:
        return _in_words(arguments[0])
    return _WORDS.get(origin or kind, _JSON_VALUE)


def _out_of_bounds(
    name: str,
    value: Any,  # noqa: ANN401 (a field of any type)
    lengths: Mapping[str, int],
    song_duration: object,
) -> Iterator[str]:
    if name in lengths and len(value) > lengths[name]:
        most = lengths[name]
        yield f"{name}: at most {most} characters, this one has {len(value)}: {shown(value)}"
    if name in SHARES and not 0 <= value <= 1:
        yield f"{name}: must be from 0 to 1, not {value!r}"
    if name in MOMENTS and value < 0:
        yield f"{name}: must be 0 or more, not {value!r}"
    if name in MOMENTS and isinstance(song_duration, int | float) and value > song_duration:
        yield f"{name}: must be within the song's {song_duration:g} s, not {value!r}"
    if name == "suno_id" and not value.strip():
        yield "suno_id: must not be empty"
    if name == "task_id" and (problem := task_id_problem(value)):
        yield problem
    if name == "audio_url" and not value.startswith(_SCHEMES):
        yield f"audio_url: must be an http(s) URL, not {shown(value)}"
