"""Decode the envelope that surrounds the data or the error in every reply. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from suno_async._protocol.lenient import Reader, T, bounded, fields_of, parse
from suno_async._protocol.retry_after import retry_after
from suno_async.errors import BODY_START, CODES, APIError, ResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Envelope(msgspec.Struct):
    """The envelope of every reply: a code, a message, validation errors, and undecoded data."""

    code: int | None = None
    message: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: Any = None


_envelope = Reader(Envelope)


#: Maximum number of validation errors that one `APIError` keeps.
_MAX_ERRORS = 100


def read_data(status: int, headers: Mapping[str, str], body: bytes, reader: Reader[T]) -> T:
    """Return the data in the envelope of a reply, decoded by `reader`.

    Fields of an unexpected type are skipped.

    Raises:
        APIError: The HTTP status or the envelope reports an error. The error code determines the
            exception class.
        ResponseError: The HTTP status reports success, but the reply has no envelope, or its data
            does not have the expected form.
    """
    found = reader.read(data_of(status, headers, body))
    if found is None:
        raise unreadable("unexpected data in the reply", status, body)
    return found


def data_of(status: int, headers: Mapping[str, str], body: bytes) -> object:
    """Return the data in the envelope of a reply, either as undecoded JSON or already parsed.

    Raises:
        APIError: The HTTP status or the envelope reports an error. The error code determines the
            exception class.
        ResponseError: The HTTP status reports success, but the reply has no envelope.
    """
    envelope, data = open_envelope(body)
    code = envelope.code if envelope is not None else None
    ok = 200 <= status < 300  # noqa: PLR2004 (HTTP's success range)
    if ok and envelope is not None and code in (None, 200):
        return data
    if ok and envelope is None:
        raise unreadable("the reply is not a JSON envelope", status, body)
    effective = status if code in (None, 200) else code
    message = envelope.message if envelope is not None else None
    raise _class_of(effective)(
        effective,
        message or _start(body),
        status,
        _texts(envelope.errors) if envelope is not None else (),
        retry_after(headers),
        envelope is not None,
    )


def open_envelope(body: bytes) -> tuple[Envelope | None, object]:
    """Return the envelope of a reply, and the data in it.

    The data is either undecoded JSON or already parsed. If the reply has no envelope, both are
    None.
    """
    envelope = _envelope.typed(body)
    if envelope is not None:
        if envelope.code is None and bytes(envelope.data) == b"null":
            # Any JSON object, for example the error of a proxy: {"message": "Not Implemented"}.
            return None, None
        return envelope, envelope.data
    fields = fields_of(parse(body))
    data = fields.pop("data", None)
    if "code" not in fields and data is None:
        return None, None
    return _envelope.read(fields), data


def _class_of(code: int) -> type[APIError]:
    return CODES.get(code) or (CODES[500] if 500 <= code < 600 else APIError)  # noqa: PLR2004 (HTTP)


def _texts(errors: object) -> tuple[str, ...]:
    # `bounded` limits the nesting, because str() of a deeply nested list raises RecursionError.
    errors = bounded({"errors": errors})["errors"]
    if isinstance(errors, list):
        return tuple(str(each) for each in cast("list[object]", errors)[:_MAX_ERRORS])
    return () if errors is None else (str(errors),)


def _start(body: bytes) -> str:
    return body[:BODY_START].decode("utf-8", "replace")


def unreadable(reason: str, status: int, body: bytes) -> ResponseError:
    """Return a `ResponseError` for a reply that could not be decoded.

    The error contains the start of the reply's body.
    """
    return ResponseError(reason, status, _start(body))
