"""The wire format. Pure: build a request, read a reply. Sources are the API contract's sections.

Strict in what is sent, lenient in what is read: unknown fields are ignored, numbers may be strings,
and a field of another shape falls back to its default, with the raw reply kept. Decoding tries the
typed decoder first; only a reply that it refuses is salvaged field by field.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from suno_async._retry_after import retry_after
from suno_async.errors import BODY_START, CODES, APIError, GenerationFailedError, ResponseError
from suno_async.models import TaskFailure, TaskInfo, TaskParam, TaskStatus, Track

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suno_async.inputs import Input

TASK_INFO = "/api/v1/client/job/TaskInfo"
CREATE_TASK = "/api/v1/client/job/CreateTask"
BALANCE = "/api/v1/client/account/balance"

#: A Unix time above this is in milliseconds: in seconds it would lie past the year 5000.
_MILLISECONDS = 1e11

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """One exchange to make. `params` and `body` hold no secret."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


class _Envelope(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: Any = None


class _MusicItem(msgspec.Struct):
    suno_id: str | None = None
    title: str | None = None
    prompt: str | None = None
    lyrics: str | None = None
    tags: str | None = None
    suno_audio_url: str | None = None
    suno_image_url: str | None = None
    image_url: str | None = None
    suno_image_large_url: str | None = None
    image_large_url: str | None = None
    model_name: str | None = None
    suno_model_name: str | None = None
    model: str | None = None
    duration: float | None = None
    create_at: float | str | None = None
    created_at: float | str | None = None
    create_time: float | str | None = None


class _Result(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    media_urls: list[str] | None = None
    media_url: str | list[str] | None = None
    suno_data: list[_MusicItem] | None = None
    media_info: dict[str, str] | None = None
    usage: dict[str, Any] | None = None


class _Param(msgspec.Struct):
    model: str | None = None
    callback_url: str | None = None
    input: dict[str, Any] | None = None


class _Record(msgspec.Struct):
    task_id: str | None = None
    provider: str | None = None
    model_version: str | None = None
    status: str | None = None
    param: _Param | None = None
    create_at: float | None = None
    complete_at: float | None = None
    duration_s: float | None = None
    credits: float | None = None
    result: _Result | None = None
    source: str | None = None
    message: str | None = None


class _InfoReply(msgspec.Struct):
    """Envelope and record at once: nearly every reply is like this, and one pass reads it."""

    code: int | None = None
    data: _Record | None = None


class _Created(msgspec.Struct):
    task_id: str | None = None
    persona_id: str | None = None


class _Balance(msgspec.Struct):
    balance: float


_envelope = msgspec.json.Decoder(_Envelope, strict=False)
_record = msgspec.json.Decoder(_Record, strict=False)
_info_reply = msgspec.json.Decoder(_InfoReply, strict=False)
_any = msgspec.json.Decoder()

_NO_RESULT, _NO_PARAM = _Result(), _Param()
#: The known words: calling the enum with one costs ten times this.
_STATUSES = {status.value: status for status in TaskStatus}


def task_info_request(task_id: str) -> Request:
    """GET one task's record (contract, "Endpoints")."""
    return Request("GET", TASK_INFO, (("task_id", task_id),))


def create_request(job: Input, callback_url: str | None, path: str = CREATE_TASK) -> Request:
    """POST a new task; charges credits (contract, "CreateTask")."""
    body: dict[str, Any] = {"model": job.KIND, "input": job.payload()}
    if callback_url:
        body["callback_url"] = callback_url
    return Request("POST", path, (), msgspec.json.encode(body))


def balance_request() -> Request:
    """GET the account's balance (contract, "Endpoints")."""
    return Request("GET", BALANCE)


def read_task_info(
    status: int, headers: Mapping[str, str], body: bytes, task_id: str = ""
) -> TaskInfo:
    """Decode one TaskInfo reply.

    Code 501 is final for a task, so it reads as a failed record, whether the reply holds one or
    not. A record without an id is taken for the one that was asked for.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: The reply is no record, or another task's.
    """
    try:
        record = _read_record(status, headers, body)
    except GenerationFailedError as error:
        if not error.understood:
            raise
        return _failed_info(error, body, task_id)
    if record is None or record.status is None:
        raise _unreadable("no task record in the reply", status, body)
    if task_id and record.task_id and record.task_id != task_id:
        raise _unreadable(f"asked for task {task_id}, answered another", status, body)
    return _task_info(record, task_id or record.task_id or "", body)


def read_created(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Decode a create's reply to the id of what was made: a task, or a persona.

    Raises:
        APIError: The create was refused.
        ResponseError: No id in the reply; whether anything was created is not known.
    """
    created = read_data(status, headers, body, _Created)
    if new := created.task_id or created.persona_id:
        return new
    raise _unreadable("no task_id in the reply", status, body)


def read_balance(status: int, headers: Mapping[str, str], body: bytes) -> float:
    """Decode the balance, in credits; may be a fraction.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: No balance in the reply.
    """
    return read_data(status, headers, body, _Balance).balance


def read_data(status: int, headers: Mapping[str, str], body: bytes, kind: type[T]) -> T:
    """Decode the data of a reply's envelope.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: The data is not of this kind.
    """
    try:
        return msgspec.json.decode(_data(status, headers, body), type=kind, strict=False)
    except msgspec.DecodeError as error:
        problem = str(error)
    raise _unreadable(f"not the reply that was expected: {problem}", status, body)


def _read_record(status: int, headers: Mapping[str, str], body: bytes) -> _Record | None:
    """The record in a TaskInfo reply, if the reply is no error."""
    if status == 200:  # noqa: PLR2004 (HTTP's OK)
        try:
            reply = _info_reply.decode(body)
        except (msgspec.DecodeError, RecursionError):
            pass
        else:
            if reply.code in (None, 200):
                return reply.data
    data = _data(status, headers, body)
    try:
        return _record.decode(data)
    except msgspec.DecodeError:
        return _salvage(_any.decode(data), _Record)


def _data(status: int, headers: Mapping[str, str], body: bytes) -> msgspec.Raw:
    """The envelope's data, if neither the envelope's code nor the HTTP status is an error."""
    envelope = _read_envelope(body)
    code = envelope.code if envelope is not None else None
    ok = 200 <= status < 300  # noqa: PLR2004 (HTTP's success range)
    if ok and envelope is not None and code in (None, 200):
        return envelope.data
    if ok and envelope is None:
        raise _unreadable("the reply is no JSON envelope", status, body)
    understood = envelope is not None and code not in (None, 200)
    effective = code if understood and code is not None else status
    message = envelope.message if envelope is not None else None
    raise _class_of(effective)(
        effective,
        message or _start(body),
        status,
        _texts(envelope.errors) if envelope is not None else (),
        retry_after(headers),
        understood or envelope is not None,
    )


def _class_of(code: int) -> type[APIError]:
    return CODES.get(code) or (CODES[500] if 500 <= code < 600 else APIError)  # noqa: PLR2004 (HTTP)


def _read_envelope(body: bytes) -> _Envelope | None:
    try:
        return _envelope.decode(body)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        value: object = _any.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    # A field of the envelope has an unknown shape: keep what can be read.
    fields = _object(value)
    if "code" not in fields:
        return None
    data = fields.pop("data", None)
    envelope = _salvage(fields, _Envelope)
    if envelope is not None:
        envelope.data = msgspec.Raw(msgspec.json.encode(data))
    return envelope


def _salvage(value: object, kind: type[T]) -> T | None:
    """Build struct `kind` from whatever of `value` fits; None if `value` is no object at all."""
    if not isinstance(value, dict):
        return None
    fields, kept = _object(cast("object", value)), dict[str, Any]()
    for field in msgspec.structs.fields(kind):  # type: ignore[arg-type]  # T is one of our structs
        if (found := fields.get(field.name)) is None:
            continue
        if (fitted := _fit(found, field.type)) is not None:
            kept[field.name] = fitted
    return kind(**kept)


def _fit(value: Any, kind: Any) -> Any:  # noqa: ANN401 (JSON in, a field of any type out)
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, OverflowError, ValueError):
        pass
    for nested in (_Param, _Result):
        if kind == nested | None:
            return _salvage(value, nested)
    if kind == list[_MusicItem] | None and isinstance(value, list):
        items = (_salvage(item, _MusicItem) for item in cast("list[object]", value))
        return [item for item in items if item is not None]
    if kind == str | None and isinstance(value, int | float):
        return str(value)
    if kind in (dict[str, str] | None, list[str] | None):
        return _only_texts(value)
    return None


def _only_texts(value: object) -> object:
    if isinstance(value, dict):
        fields = _object(cast("object", value))
        return {name: text for name, text in fields.items() if isinstance(text, str)}
    if isinstance(value, list):
        return [text for text in cast("list[object]", value) if isinstance(text, str)]
    return None


def _object(value: object) -> dict[str, Any]:
    """A JSON object's fields; none if `value` is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _task_info(record: _Record, task_id: str, body: bytes) -> TaskInfo:
    result = record.result or _NO_RESULT
    param = record.param or _NO_PARAM
    status = _STATUSES.get(record.status or "") or TaskStatus(record.status or "")
    failure = None
    if status is TaskStatus.FAILED:
        failure = TaskFailure(result.code, result.message or record.message or "")
    return TaskInfo(
        task_id=task_id,
        status=status,
        raw_status=record.status or "",
        provider=record.provider or "",
        model_version=record.model_version or "",
        source=record.source or "",
        param=TaskParam(param.model or "", param.callback_url, param.input or {}),
        create_at=_unix(record.create_at),
        complete_at=_unix(record.complete_at),
        duration_s=record.duration_s,
        credits=record.credits,
        tracks=tuple(_track(item, task_id) for item in result.suno_data or ()),
        media_urls=_media_urls(result),
        media_info=result.media_info or {},
        usage=result.usage,
        failure=failure,
        raw=body,
    )


def _failed_info(error: APIError, body: bytes, task_id: str) -> TaskInfo:
    envelope = _read_envelope(body)
    value: object = _any.decode(envelope.data) if envelope is not None else None
    record = _salvage(value, _Record) or _Record()
    record.status = "failed"
    record.message = record.message or error.message
    return _task_info(record, task_id or record.task_id or "", body)


def _track(item: _MusicItem, task_id: str) -> Track:
    return Track(
        task_id=task_id,
        suno_id=item.suno_id or "",
        title=item.title or "",
        prompt=item.prompt or item.lyrics or "",
        tags=item.tags or "",
        suno_audio_url=item.suno_audio_url or "",
        suno_image_url=item.suno_image_url or item.image_url or "",
        suno_image_large_url=item.suno_image_large_url or item.image_large_url or "",
        model_name=item.model_name or item.suno_model_name or item.model or "",
        duration=item.duration,
        create_at=_unix(item.create_at or item.created_at or item.create_time),
    )


def _media_urls(result: _Result) -> tuple[str, ...]:
    if result.media_urls:
        return tuple(result.media_urls)
    if isinstance(result.media_url, str):
        return (result.media_url,)
    return tuple(result.media_url or ())


def _unix(when: float | str | None) -> float | None:
    """Unix seconds from seconds, milliseconds or ISO 8601 text; None if it is none of them."""
    if isinstance(when, str):
        try:
            parsed = datetime.fromisoformat(when)
        except ValueError:
            return None
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if when is None:
        return None
    return when / 1000 if when > _MILLISECONDS else when


def _texts(errors: object) -> tuple[str, ...]:
    if isinstance(errors, list):
        return tuple(str(each) for each in cast("list[object]", errors))
    return () if errors is None else (str(errors),)


def _start(body: bytes) -> str:
    return body[:BODY_START].decode("utf-8", "replace")


def _unreadable(reason: str, status: int, body: bytes) -> ResponseError:
    return ResponseError(reason, status, _start(body))
