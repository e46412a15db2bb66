"""Build requests and read replies as `docs/contract.md` describes them. Pure.

The client is strict in what it sends and lenient in what it reads: unknown fields are ignored,
numbers may be strings, and a field of another shape falls back to its default. The raw reply is
kept. Any bytes from the server give a struct or a `SunoError`; `suno_async._lenient` sees to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from suno_async import _rules
from suno_async._lenient import (
    MAX_ITEMS,
    Credits,
    Reader,
    Seconds,
    bounded,
    fields_of,
    parse,
    unix_time,
)
from suno_async._retry_after import retry_after
from suno_async.errors import BODY_START, CODES, APIError, GenerationFailedError, ResponseError
from suno_async.models import TaskFailure, TaskInfo, TaskParam, TaskStatus, Track

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suno_async.inputs import Input

TASK_INFO = "/api/v1/client/job/TaskInfo"
CREATE_TASK = "/api/v1/client/job/CreateTask"
BALANCE = "/api/v1/client/account/balance"

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """One request to send. `params` and `body` hold no secret."""

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
    duration: Seconds | None = None
    create_at: float | str | None = None
    created_at: float | str | None = None
    create_time: float | str | None = None


class _Result(msgspec.Struct):
    code: int | None = None
    message: str | None = None
    media_urls: list[str] | str | None = None
    media_url: list[str] | str | None = None
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
    duration_s: Seconds | None = None
    credits: Credits | None = None
    result: _Result | None = None
    source: str | None = None
    message: str | None = None


class _InfoReply(msgspec.Struct):
    """Envelope and record together, so that one pass decodes nearly every reply."""

    code: int | None = None
    data: _Record | None = None


class _Created(msgspec.Struct):
    task_id: str | None = None
    persona_id: str | None = None


class _Balance(msgspec.Struct):
    balance: Credits | None = None


_envelope = Reader(_Envelope)
_record = Reader(_Record)
_info_reply = Reader(_InfoReply)
_created = Reader(_Created)
_balance = Reader(_Balance)

#: Validation errors kept of one refusal.
_MAX_ERRORS = 100

_NO_RESULT, _NO_PARAM = _Result(), _Param()
_FAILED = TaskStatus.FAILED
#: A lookup here takes a tenth of the time of a call of the enum.
_STATUSES = {status.value: status for status in TaskStatus}


def task_info_request(task_id: str) -> Request:
    """GET one task's record (contract, "Endpoints")."""
    return Request("GET", TASK_INFO, (("task_id", task_id),))


def create_request(job: Input, callback_url: str | None, path: str = CREATE_TASK) -> Request:
    """POST a new task, which charges credits (contract, "Endpoints")."""
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

    Code 501 is final for a task, so it gives a failed record, even if the reply holds none. A
    record without an id counts as the record of `task_id`.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply holds no record, or the record of another task.
    """
    try:
        record = _read_record(status, headers, body)
    except GenerationFailedError as error:
        if not error.understood:
            raise
        record = _failed_record(error, body)
    if record is None or record.status is None:
        raise _unreadable("no task record in the reply", status, body)
    if task_id and record.task_id and record.task_id != task_id:
        raise _unreadable(f"asked for task {task_id}, got another task", status, body)
    return _task_info(record, task_id or record.task_id or "", body)


def read_created(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Decode the reply to a create; return the id of the new task or persona.

    Raises:
        APIError: The server refused the create.
        ResponseError: The reply holds no usable id. It is not known whether anything was created.
    """
    created = read_data(status, headers, body, _created)
    new = created.task_id or created.persona_id
    # U+FFFD stands for bytes that could not be read, so the rest of the id is of no use.
    if not new or _rules.task_id_problem(new) or "\ufffd" in new:
        raise _unreadable("no usable task_id in the reply", status, body)
    return new


def read_balance(status: int, headers: Mapping[str, str], body: bytes) -> float:
    """Decode the balance, in credits; it may be a fraction.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply holds no balance.
    """
    balance = read_data(status, headers, body, _balance).balance
    if balance is None:
        raise _unreadable("no balance in the reply", status, body)
    return balance


def read_data(status: int, headers: Mapping[str, str], body: bytes, reader: Reader[T]) -> T:
    """Decode the data in a reply's envelope. Fields that do not fit are left out.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The data is no object, or lacks a required field.
    """
    found = reader.read(_data(status, headers, body))
    if found is None:
        raise _unreadable("unexpected data in the reply", status, body)
    return found


def _read_record(status: int, headers: Mapping[str, str], body: bytes) -> _Record | None:
    """Return the record in a TaskInfo reply, if there is one."""
    if status == 200:  # noqa: PLR2004 (HTTP's OK)
        reply = _info_reply.typed(body)
        if reply is not None and reply.code in (None, 200):
            return reply.data
    return _record.read(_data(status, headers, body))


def _data(status: int, headers: Mapping[str, str], body: bytes) -> object:
    """Return the envelope's data, as JSON or parsed; raise if the reply is an error."""
    envelope, data = _open(body)
    code = envelope.code if envelope is not None else None
    ok = 200 <= status < 300  # noqa: PLR2004 (HTTP's success range)
    if ok and envelope is not None and code in (None, 200):
        return data
    if ok and envelope is None:
        raise _unreadable("the reply is no JSON envelope", status, body)
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


def _open(body: bytes) -> tuple[_Envelope | None, object]:
    """Return a reply's envelope, None if there is none, and its data: JSON, or parsed."""
    envelope = _envelope.typed(body)
    if envelope is not None:
        return envelope, envelope.data
    fields = fields_of(parse(body))
    data = fields.pop("data", None)
    if "code" not in fields and data is None:
        return None, None
    return _envelope.read(fields), data


def _class_of(code: int) -> type[APIError]:
    return CODES.get(code) or (CODES[500] if 500 <= code < 600 else APIError)  # noqa: PLR2004 (HTTP)


def _task_info(record: _Record, task_id: str, body: bytes) -> TaskInfo:
    result = record.result or _NO_RESULT
    param = record.param or _NO_PARAM
    status = _STATUSES.get(record.status or "") or TaskStatus(record.status or "")
    songs = result.suno_data
    failure = None
    if status is _FAILED:
        failure = TaskFailure(result.code, result.message or record.message or "")
    return TaskInfo(
        task_id=task_id,
        status=status,
        raw_status=record.status or "",
        provider=record.provider or "",
        model_version=record.model_version or "",
        source=record.source or "",
        param=TaskParam(param.model or "", param.callback_url, bounded(param.input or {})),
        create_at=unix_time(record.create_at),
        complete_at=unix_time(record.complete_at),
        duration_s=record.duration_s,
        credits=record.credits,
        tracks=tuple([_track(item, task_id) for item in songs[:MAX_ITEMS]]) if songs else (),
        media_urls=_media_urls(result),
        media_info=result.media_info or {},
        usage=result.usage and bounded(result.usage),
        failure=failure,
        raw=body,
    )


def _failed_record(error: APIError, body: bytes) -> _Record:
    _, data = _open(body)
    record = _record.read(data) or _Record()
    record.status = "failed"
    record.message = record.message or error.message
    return record


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
        create_at=unix_time(item.create_at)
        or unix_time(item.created_at)
        or unix_time(item.create_time),
    )


def _media_urls(result: _Result) -> tuple[str, ...]:
    urls = result.media_urls or result.media_url or ()
    return (urls,) if isinstance(urls, str) else tuple(urls)


def _texts(errors: object) -> tuple[str, ...]:
    # Copied through `bounded`, because str() of a deep list raises RecursionError.
    errors = bounded({"errors": errors})["errors"]
    if isinstance(errors, list):
        return tuple(str(each) for each in cast("list[object]", errors)[:_MAX_ERRORS])
    return () if errors is None else (str(errors),)


def _start(body: bytes) -> str:
    return body[:BODY_START].decode("utf-8", "replace")


def _unreadable(reason: str, status: int, body: bytes) -> ResponseError:
    return ResponseError(reason, status, _start(body))
