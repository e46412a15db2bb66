"""What the wire format reads and refuses."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import (
    APIError,
    GenerateMusic,
    RateLimitError,
    ResponseError,
    ServerError,
    SunoError,
    TaskStatus,
)
from suno_async._retry_after import retry_after
from suno_async._wire import (
    create_request,
    read_balance,
    read_created,
    read_task_info,
    task_info_request,
)
from suno_async.errors import CODES
from suno_async.models import MODEL_VERSIONS

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)

ITEM = {
    "suno_id": "s1",
    "title": "Rain",
    "lyrics": "la",
    "tags": "piano, slow",
    "suno_audio_url": "https://cdn/a.mp3",
    "image_url": "https://cdn/a.png",
    "suno_image_large_url": "https://cdn/l.png",
    "suno_model_name": "chirp-crow",
    "duration": "183.4",
    "created_at": 1768900378000,
}
RECORD: dict[str, Any] = {
    "task_id": "t1",
    "provider": "Suno",
    "model_version": "sunov5",
    "status": "success",
    "param": {"model": "suno/music-generate", "callback_url": None, "input": {"a": 1}},
    "create_at": "1768900378",
    "complete_at": 1768900464,
    "duration_s": 86,
    "credits": 12,
    "result": {"code": 200, "media_urls": ["https://cdn/a.mp3"], "suno_data": [ITEM], "new": 1},
    "source": "api",
    "never_heard_of": {},
}


def envelope(data: object, code: object = 200, **more: object) -> bytes:
    """A reply's body."""
    return json.dumps({"code": code, "message": "m", "data": data, **more}).encode()


def test_whole_record() -> None:
    """Every field of the record and of a song is decoded, under its other names too."""
    info = read_task_info(200, {}, envelope(RECORD), "t1")
    assert (info.status, info.create_at, info.elapsed) == (TaskStatus.SUCCESS, 1768900378.0, 86.0)
    assert (info.provider, info.model_version, info.source) == ("Suno", "sunov5", "api")
    assert (info.param.model, info.param.input) == ("suno/music-generate", {"a": 1})
    assert (info.credits, info.media_urls) == (12.0, ("https://cdn/a.mp3",))
    (track,) = info.tracks
    assert (track.suno_id, track.title, track.prompt, track.tags) == (
        "s1",
        "Rain",
        "la",
        ITEM["tags"],
    )
    assert (track.suno_image_url, track.suno_image_large_url) == (
        "https://cdn/a.png",
        "https://cdn/l.png",
    )
    assert (track.duration, track.create_at) == (183.4, 1768900378.0)
    assert (track.model_name, track.model_version) == ("chirp-crow", "v5")
    assert b"never_heard_of" in info.raw


def test_model_names() -> None:
    """Each of the contract's eight model names has its version, an unknown one has none."""
    assert len(MODEL_VERSIONS) == 8
    assert MODEL_VERSIONS["chirp-fenix"] == "v5.5"
    item = ITEM | {"suno_model_name": "chirp-next"}
    info = read_task_info(200, {}, envelope(RECORD | {"result": {"suno_data": [item]}}))
    assert (info.tracks[0].model_name, info.tracks[0].model_version) == ("chirp-next", None)


@pytest.mark.parametrize("when", ["2026-01-20T09:12:58Z", "2026-01-20T09:12:58", 1768900378])
def test_creation_times(when: object) -> None:
    """A song's creation time may be seconds, milliseconds or ISO 8601."""
    item = ITEM | {"created_at": when}
    info = read_task_info(200, {}, envelope(RECORD | {"result": {"suno_data": [item]}}))
    assert info.tracks[0].create_at == 1768900378.0


@pytest.mark.parametrize(
    "result", [None, [], "text", 7, {"suno_data": 3}, {"suno_data": [None, 5]}]
)
def test_result_of_another_shape(result: object) -> None:
    """A result that is no result loses nothing but itself."""
    info = read_task_info(200, {}, envelope(RECORD | {"result": result}))
    assert (info.status, info.tracks, info.create_at) == (TaskStatus.SUCCESS, (), 1768900378.0)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("error", "failed"),
        ("RUNNING", "running"),
        ("queued_again", "unknown"),
        ("pending", "pending"),
    ],
)
def test_status_words(word: str, status: str) -> None:
    """An unknown status is kept raw and is not terminal; `error` is a failure."""
    info = read_task_info(200, {}, envelope(RECORD | {"status": word}))
    assert (info.status, info.raw_status) == (status, word)
    assert info.status.terminal == (status == "failed")


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("style", ["status", "envelope", "both", "text"])
def test_every_code(code: int, style: str) -> None:
    """Each code is its class, as HTTP status, as envelope code, as both, or as a numeric string."""
    status = 200 if style in {"envelope", "text"} else code
    sent = {"status": 200, "text": str(code)}.get(style, code)
    body = b"<html>no</html>" if style == "status" else envelope(None, sent, errors=["e"])
    with pytest.raises(CODES[code]) as caught:
        read_balance(status, {"Retry-After": "7"}, body)
    assert caught.value.code == code
    assert caught.value.retry_after == 7.0
    assert caught.value.understood == (style != "status")
    assert caught.value.errors == (() if style == "status" else ("e",))


def test_generation_failed_is_a_record() -> None:
    """Code 501 on a status request ends the task, with the server's words."""
    info = read_task_info(200, {}, envelope(None, 501), "t1")
    assert (info.task_id, info.status) == ("t1", TaskStatus.FAILED)
    assert info.failure is not None
    assert info.failure.message == "m"


def test_failure_reason() -> None:
    """A failed record tells its reason, from the result or from beside it."""
    failed = RECORD | {"status": "failed", "result": {"code": 501, "message": "copyright"}}
    info = read_task_info(200, {}, envelope(failed))
    assert info.failure is not None
    assert (info.failure.code, info.failure.message) == (501, "copyright")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b'{"code": 200, "da',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"x" * 5_000_000,
        envelope(None),
        envelope([]),
        b'{"a":' * 100_000,
    ],
)
def test_unreadable(body: bytes) -> None:
    """A body that is no reply raises our error with its start, and nothing of another library's."""
    with pytest.raises(ResponseError) as caught:
        read_task_info(200, {}, body, "t1")
    assert len(caught.value.body_start) <= 200
    assert body[:20].decode("utf-8", "replace").startswith(caught.value.body_start[:10])


def test_another_tasks_record() -> None:
    """The record of another task is not taken for the one that was asked for."""
    with pytest.raises(ResponseError):
        read_task_info(200, {}, envelope(RECORD), "t2")


def test_unknown_codes() -> None:
    """An unknown 5xx is a server's error, any other unknown code the base class."""
    with pytest.raises(ServerError):
        read_balance(599, {}, b"")
    with pytest.raises(APIError) as caught:
        read_balance(200, {}, envelope(None, 777))
    assert type(caught.value) is APIError


@given(data=JSON, code=JSON, status=st.integers(100, 599))
def test_any_json(data: object, code: object, status: int) -> None:
    """No JSON whatever makes a reader raise anything but our own errors."""
    for read in (read_task_info, read_created, read_balance):
        with contextlib.suppress(SunoError):
            read(status, {}, envelope(data, code))


@given(
    record=st.fixed_dictionaries(
        {"status": st.sampled_from(["running", "success"])},
        optional=dict.fromkeys({*RECORD, "message"} - {"status"}, JSON)
        | {"result": st.dictionaries(st.sampled_from([*RECORD["result"], "media_info"]), JSON)},
    )
)
def test_any_field_of_any_shape(record: dict[str, Any]) -> None:
    """A record whose fields have any shape is read, and its status is never lost."""
    record["status"] = "running"
    assert read_task_info(200, {}, envelope(record), "").status is TaskStatus.RUNNING


@given(body=st.binary(max_size=300), status=st.integers(100, 599))
def test_any_bytes(body: bytes, status: int) -> None:
    """No bytes whatever make a reader raise anything but our own errors."""
    with pytest.raises(SunoError):
        read_created(status, {}, body)


def test_retry_after() -> None:
    """Retry-After is read as seconds or as a date, and nonsense is ignored."""
    date, later = "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT"
    assert retry_after({"Retry-After": "2.5"}) == 2.5
    assert retry_after({"Retry-After": later, "Date": date}) == 30.0
    assert retry_after({"Retry-After": date}, datetime(2026, 10, 21, 8, tzinfo=UTC)) == 0.0
    for nonsense in ("", "soon", "-1", "²", later):
        assert retry_after({"Retry-After": nonsense}) is None
    with pytest.raises(RateLimitError):
        read_balance(429, {}, b"")


def test_requests() -> None:
    """Requests are built as the contract says."""
    assert task_info_request("a b").params == (("task_id", "a b"),)
    request = create_request(GenerateMusic(prompt="x"), "https://me/hook")
    assert request.body is not None
    assert json.loads(request.body) == {
        "model": "suno/music-generate",
        "callback_url": "https://me/hook",
        "input": {"mode": "simple", "model": "v5", "prompt": "x", "instrumental": False},
    }
