"""Decode the task records in replies to TaskInfo requests. No I/O.

The envelope is the JSON object around the record. Almost every reply to the client contains a
task record, so decoding must be fast. One msgspec call decodes the envelope and the record
together. If a field has an unexpected type, the envelope is decoded first. Then the record is
decoded field by field.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async._protocol.envelope import data_of, open_envelope, unreadable
from suno_async._protocol.lenient import (
    MAX_ITEMS,
    Credits,
    Reader,
    Seconds,
    bounded,
    unix_time,
)
from suno_async.errors import APIError, GenerationFailedError, SunoError
from suno_async.models import TaskFailure, TaskInfo, TaskParam, TaskStatus, Track

if TYPE_CHECKING:
    from collections.abc import Mapping


class SongData(msgspec.Struct):
    """A song in the result of a task."""

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


class ResultData(msgspec.Struct):
    """The result in a task record."""

    code: int | None = None
    message: str | None = None
    media_urls: list[str] | str | None = None
    media_url: list[str] | str | None = None
    suno_data: list[SongData] | None = None
    media_info: dict[str, str] | None = None
    usage: dict[str, Any] | None = None


class ParamData(msgspec.Struct):
    """The parameters in a task record."""

    model: str | None = None
    callback_url: str | None = None
    input: dict[str, Any] | None = None


class RecordData(msgspec.Struct):
    """A task record: the data in a reply to a TaskInfo request."""

    task_id: str | None = None
    provider: str | None = None
    model_version: str | None = None
    status: str | None = None
    param: ParamData | None = None
    create_at: float | None = None
    complete_at: float | None = None
    duration_s: Seconds | None = None
    credits: Credits | None = None
    result: ResultData | None = None
    source: str | None = None
    message: str | None = None


class _InfoReply(msgspec.Struct):
    """The envelope and the record of a reply in one struct, so that one pass can decode them."""

    code: int | None = None
    data: RecordData | None = None


_record = Reader(RecordData)

_info_reply = Reader(_InfoReply)


_NO_RESULT, _NO_PARAM = ResultData(), ParamData()
_FAILED = TaskStatus.FAILED


#: A lookup in this dict takes a tenth of the time of calling the enum.
_STATUSES = {status.value: status for status in TaskStatus}


def read_task_info(
    status: int, headers: Mapping[str, str], body: bytes, task_id: str = ""
) -> TaskInfo:
    """Decode the reply to a TaskInfo request, and return the task record.

    The envelope is the JSON object around the record. If it contains the error code 501, the task
    has failed. In this case, return a record with the status `FAILED`, even if the reply contains
    no record. If the envelope has no error code, the HTTP status is used as the error code. A
    record without an id is treated as the record of `task_id`.

    Raises:
        APIError: The reply reports an error. For a 501, this is raised only if the reply has no
            envelope. The error code determines the exception class.
        ResponseError: The reply contains no record, or the record of another task.
    """
    try:
        record = _read_record(status, headers, body)
    except GenerationFailedError as error:
        if not error.understood:
            raise
        record = _failed_record(error, body)
    if record is None or record.status is None:
        raise unreadable("no task record in the reply", status, body)
    if task_id and record.task_id and record.task_id != task_id:
        raise unreadable(f"requested task {task_id}, received another task", status, body)
    return _task_info(record, task_id or record.task_id or "", body)


def read_stored_info(body: bytes, task_id: str, *, failed: bool) -> TaskInfo:
    """Decode the stored reply of a task that has ended. See `read_task_info`.

    The HTTP status is not stored. If the reply reported the failure of the task only in the HTTP
    status, this status was 501.

    Args:
        body: The body of the reply.
        task_id: The id of the task.
        failed: Whether the task failed.

    Raises:
        SunoError: The reply cannot be decoded.
    """
    try:
        info = read_task_info(200, {}, body, task_id)
    except SunoError:
        if failed and (found := _failed_info(body, task_id)) is not None:
            return found
        raise
    if failed and info.status is not _FAILED:
        return _failed_info(body, task_id) or info
    return info


def _failed_info(body: bytes, task_id: str) -> TaskInfo | None:
    try:
        return read_task_info(501, {}, body, task_id)
    except SunoError:
        return None


def _read_record(status: int, headers: Mapping[str, str], body: bytes) -> RecordData | None:
    """Return the record in a TaskInfo reply; None if the reply contains no record."""
    if status == 200:  # noqa: PLR2004 (HTTP's OK)
        reply = _info_reply.typed(body)
        if reply is not None and reply.code in (None, 200):
            return reply.data
    return _record.read(data_of(status, headers, body))


def _task_info(record: RecordData, task_id: str, body: bytes) -> TaskInfo:
    result = record.result or _NO_RESULT
    param = record.param or _NO_PARAM
    status = _STATUSES.get(record.status or "") or TaskStatus(record.status or "")
    given = bounded(param.input) if param.input else {}
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
        param=TaskParam(param.model or "", param.callback_url, given),
        create_at=unix_time(record.create_at),
        complete_at=None if record.complete_at is None else unix_time(record.complete_at),
        duration_s=record.duration_s,
        credits=record.credits,
        tracks=tuple([_track(item, task_id) for item in songs[:MAX_ITEMS]]) if songs else (),
        media_urls=_media_urls(result) if record.result else (),
        media_info=_media_info(result.media_info) if result.media_info else {},
        usage=result.usage and bounded(result.usage),
        failure=failure,
        raw=body,
    )


def _failed_record(error: APIError, body: bytes) -> RecordData:
    _, data = open_envelope(body)
    record = _record.read(data) or RecordData()
    record.status = "failed"
    record.message = record.message or error.message
    record.result = record.result or ResultData()
    if record.result.code is None:
        record.result.code = error.code
    return record


def _track(item: SongData, task_id: str) -> Track:
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


def _media_urls(result: ResultData) -> tuple[str, ...]:
    urls = result.media_urls or result.media_url or ()
    return (urls,) if isinstance(urls, str) else tuple(urls[:MAX_ITEMS])


def _media_info(stems: dict[str, str]) -> dict[str, str]:
    return dict(itertools.islice(stems.items(), MAX_ITEMS))
