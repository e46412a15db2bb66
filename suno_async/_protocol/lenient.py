"""Lenient decoding of JSON: any bytes give a struct or None, never an exception. No I/O.

msgspec decodes almost every reply directly into a struct. If a reply does not match the struct, the
reply is converted field by field. Fields of a wrong type are skipped.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
import types
from datetime import UTC, datetime
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from msgspec.structs import FieldInfo

T = TypeVar("T")

# Everything that msgspec and json raise for arbitrary bytes. msgspec.DecodeError and
# UnicodeDecodeError are subclasses of ValueError. RecursionError is not.
_UNREADABLE = (ValueError, OverflowError, RecursionError)

#: Maximum number of nesting levels kept in free-form fields. JSON Schemas need about 20.
#: copy.deepcopy raises RecursionError somewhere above 300 levels.
MAX_DEPTH = 64
_NESTED = (dict, list)
_NUMBERS = (int, float)  # compared with type(), so bool does not match

# Real replies have a few kilobytes. Without these bounds, a malicious reply of 8 MiB blocked the
# event loop for up to 40 s. With these bounds, and with the limit of 1 MiB for a whole reply, it
# blocks the loop for less than a second, mostly with garbage collection while msgspec decodes.
#: Maximum size in bytes of a reply that is parsed leniently.
MAX_BYTES = 2**20
#: Maximum number of items kept from a list or object that does not match its type as a whole. Also
#: the maximum number of songs, of stems and of URLs in a result.
MAX_ITEMS = 1_000
#: Maximum number of values kept in nested free-form fields.
MAX_VALUES = 100_000

#: Maximum number of digits of an integer. `float()` of a longer integer may overflow.
_MAX_DIGITS = 308

#: Unix times of 2000-01-01 and 2100-01-01. A time outside this range is a mistake.
_EARLIEST, _LATEST = 946_684_800.0, 4_102_444_800.0

# msgspec checks these bounds while it decodes, at no extra cost. They exclude NaN and infinity.
#: A duration in seconds, at most a year.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=31_536_000)]
#: An amount of credits. A balance may be negative.
Credits = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
#: A price in credits.
Price = Annotated[float, msgspec.Meta(ge=0, le=1e15)]

# Escapes in a JSON string: escaped backslashes, a surrogate pair, or a lone surrogate (group 1).
_ESCAPE = re.compile(
    r"(?:\\\\)+"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class Reader(Generic[T]):
    """Decodes JSON into one type of struct."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind, strict=False)

    def typed(self, data: bytes | msgspec.Raw) -> T | None:
        """Decode JSON in one pass. Return None for invalid JSON or a part of a wrong type."""
        try:
            return self._decoder.decode(data)
        except _UNREADABLE:
            return None

    def read(self, data: object) -> T | None:
        """Decode JSON bytes, or convert JSON that is already parsed. Skip fields of a wrong type.

        Return None if the data is not a JSON object, or if a required field is missing.
        """
        if isinstance(data, bytes | msgspec.Raw):
            found = self.typed(data)
            if found is not None:
                return found
            data = parse(bytes(data))
        return _salvage(data, self._kind)


def parse(data: bytes) -> object:
    """Parse JSON that may be damaged.

    Invalid UTF-8 bytes and lone surrogates become U+FFFD. Numbers that are not finite, and integers
    with too many digits, become None. Return None if the data cannot be parsed, or has more than
    `MAX_BYTES` bytes.
    """
    if len(data) > MAX_BYTES:
        return None
    text = data.decode("utf-8-sig", "replace")
    if "\\ud" in text or "\\uD" in text:
        text = _ESCAPE.sub(lambda found: r"\ufffd" if found[1] else found[0], text)
    try:
        return cast("object", _PARSER.decode(text))
    except _UNREADABLE:
        pass
    try:
        # In GBK text (Chinese), the second byte of a character may be a backslash. In JSON, this
        # backslash would escape the next character.
        return cast("object", _PARSER.decode(text.replace("\ufffd\\", "\ufffd\ufffd")))
    except _UNREADABLE:
        return None


def fields_of(value: object) -> dict[str, Any]:
    """Return the fields of a JSON object, or an empty dict for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def bounded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON object, with a limit on nesting and on the number of values.

    If no field is an object or a list, return the fields unchanged. Otherwise, replace two kinds of
    values by None: objects and lists at more than `MAX_DEPTH` levels of nesting, and all values
    after the first `MAX_VALUES`. Values at all levels count.
    """
    for value in fields.values():
        if type(value) in _NESTED:
            budget = itertools.repeat(object(), MAX_VALUES)
            return cast("dict[str, Any]", _cut(fields, MAX_DEPTH, budget))
    return fields


def unix_time(when: float | str | None) -> float | None:
    """Convert a time to Unix seconds.

    The time is a number of seconds or milliseconds, a string with such a number, or a string in
    ISO 8601 format. Without a time zone, an ISO 8601 string is read as UTC. Return None for None,
    for any other string, and for times outside the years 2000 to 2099.
    """
    if when is None:
        return None
    if isinstance(when, str):
        return _time_in_text(when)
    if _EARLIEST <= when < _LATEST:
        return when
    when /= 1000
    return when if _EARLIEST <= when < _LATEST else None


def _time_in_text(text: str) -> float | None:
    # Try a number first, because many numbers are also valid dates in the basic form of ISO 8601.
    try:
        found = unix_time(float(text))
    except ValueError:
        found = None
    if found is not None:
        return found
    try:
        date = datetime.fromisoformat(text)
        return unix_time((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


# strict=False allows line breaks and tabs inside strings.
_PARSER = json.JSONDecoder(
    strict=False, parse_int=_integer, parse_float=_float, parse_constant=lambda _name: None
)


@functools.cache
def _fields(kind: Any) -> tuple[FieldInfo, ...]:  # noqa: ANN401 (one of our structs)
    return msgspec.structs.fields(kind)


def _salvage(value: object, kind: type[T]) -> T | None:
    """Build a struct of the type `kind` from those fields of `value` that have the right type.

    Return None if the value is not an object, or if a required field is missing.
    """
    if not isinstance(value, dict):
        return None
    given: Mapping[str, object] = fields_of(cast("object", value))
    kept = dict[str, Any]()
    for field in _fields(cast("Any", kind)):
        found = given.get(field.name)
        fitted = _fit(found, field.type)
        if fitted is None and type(found) in _NUMBERS and field.type == str | None:
            fitted = str(found)  # for example an id
        if fitted is not None:
            kept[field.name] = fitted
        elif field.required:
            return None
    return kind(**kept)


def _fit(value: object, kind: Any) -> Any:  # noqa: ANN401 (JSON in, a field of any type out)
    """Convert a JSON value to `kind`, the type of a field.

    If some parts of a list or object have a wrong type, leave those parts out. Return None if the
    value cannot be converted.
    """
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=False)
    except _UNREADABLE:
        pass
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return next((found for each in options if (found := _partly(value, each)) is not None), None)


def _partly(value: Any, kind: Any) -> Any:  # noqa: ANN401 (as above)
    origin = get_origin(kind)
    if origin is list and isinstance(value, list):
        (inner,) = get_args(kind)
        items = cast("list[object]", value)[:MAX_ITEMS]
        return [found for each in items if (found := _fit(each, inner)) is not None]
    if origin is dict and isinstance(value, dict):
        _, inner = get_args(kind)
        pairs = itertools.islice(fields_of(cast("object", value)).items(), MAX_ITEMS)
        return {name: found for name, each in pairs if (found := _fit(each, inner)) is not None}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _salvage(value, kind)
    return None


def _cut(value: object, levels: int, budget: Iterator[object]) -> object:
    if next(budget, None) is None:
        return None
    if isinstance(value, dict):
        pairs = fields_of(cast("object", value)).items()
        return {name: _cut(each, levels - 1, budget) for name, each in pairs} if levels else None
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_cut(each, levels - 1, budget) for each in items] if levels else None
    return value
