"""Replies that are errors, or that cannot be read."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import (
    APIError,
    RateLimitError,
    ResponseError,
    ServerError,
    SunoError,
    TaskStatus,
)
from suno_async._protocol.replies import read_balance, read_created
from suno_async._protocol.retry_after import LONGEST, retry_after
from suno_async._protocol.task_info import read_task_info
from suno_async.errors import CODES
from tests.unit.test_wire import RECORD, envelope

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize("code", sorted(CODES))
@pytest.mark.parametrize("style", ["status", "envelope", "both", "text"])
def test_every_code(code: int, style: str) -> None:
    """A reply with an error code raises the exception class of this code."""
    status = 200 if style in {"envelope", "text"} else code
    sent = {"status": 200, "text": str(code)}.get(style, code)
    body = b"<html>no</html>" if style == "status" else envelope(None, sent, errors=["e"])
    with pytest.raises(CODES[code]) as caught:
        read_balance(status, {"Retry-After": "7"}, body)
    assert caught.value.code == code
    assert caught.value.retry_after == 7.0
    assert caught.value.understood == (style != "status")
    assert caught.value.errors == (() if style == "status" else ("e",))


@pytest.mark.parametrize("status", [403, 501])
def test_the_error_of_a_proxy(status: int) -> None:
    """If an error reply is not in the format of the API, its exception has `understood=False`."""
    body = b'{"message": "Not Implemented"}'
    with pytest.raises(CODES[status]) as caught:
        read_task_info(status, {}, body, "t")
    assert not caught.value.understood


def test_generation_failed_is_a_record() -> None:
    """A status reply with code 501 in its body is read as the record of a failed task."""
    for body in (
        envelope(None, 501),
        envelope(None, 501).replace(b'"data": null', b'"data": 1e400'),
    ):
        info = read_task_info(200, {}, body, "t1")
        assert (info.task_id, info.status) == ("t1", TaskStatus.FAILED)
        assert info.failure is not None
        assert (info.failure.code, info.failure.message) == (501, "m")
    body = envelope(RECORD | {"result": {"code": 400, "message": "copyright"}}, 501)
    info = read_task_info(200, {}, body)
    assert info.failure is not None
    assert (info.failure.code, info.failure.message) == (400, "copyright")
    with pytest.raises(ResponseError):
        read_task_info(200, {}, envelope({"task_id": "t2"}, 501), "t1")


def test_failure_reason() -> None:
    """The record of a failed task contains the code and the message of the task's result."""
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
    """A body that cannot be read raises a `ResponseError` that contains the start of the body."""
    with pytest.raises(ResponseError) as caught:
        read_task_info(200, {}, body, "t1")
    assert caught.value.body_start == body[:200].decode("utf-8", "replace")


def test_another_tasks_record() -> None:
    """A reply with the record of a task that was not requested raises `ResponseError`."""
    with pytest.raises(ResponseError):
        read_task_info(200, {}, envelope(RECORD), "t2")


def test_unknown_codes() -> None:
    """An unknown 5xx code raises `ServerError`, and any other unknown code raises `APIError`."""
    with pytest.raises(ServerError):
        read_balance(599, {}, b"")
    with pytest.raises(APIError) as caught:
        read_balance(200, {}, envelope(None, 777))
    assert type(caught.value) is APIError


@given(data=JSON, code=JSON, status=st.integers(100, 599))
def test_any_json(data: object, code: object, status: int) -> None:
    """Any JSON is decoded or raises a `SunoError`."""
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
    """A field with a value of an unexpected type does not change the status of the record."""
    record["status"] = "running"
    assert read_task_info(200, {}, envelope(record), "").status is TaskStatus.RUNNING


@given(body=st.binary(max_size=300), status=st.integers(100, 599))
def test_any_bytes(body: bytes, status: int) -> None:
    """For random bytes, `read_created` always raises a `SunoError`."""
    with pytest.raises(SunoError):
        read_created(status, {}, body)


def test_retry_after() -> None:
    """`retry_after` reads a number of seconds or a date."""
    date, later = "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:30 GMT"
    assert retry_after({"Retry-After": "2.5"}) == 2.5
    assert retry_after({"Retry-After": later, "Date": date}) == 30.0
    assert retry_after({"Retry-After": date}, datetime(2026, 10, 21, 8, tzinfo=UTC)) == 0.0
    for nonsense in ("", "soon", "-1", "²", "nan", "inf", "1e400", later):
        assert retry_after({"Retry-After": nonsense}) is None
    with pytest.raises(RateLimitError):
        read_balance(429, {}, b"")


def test_absurd_retry_after() -> None:
    """A huge Retry-After gives a finite delay, and an impossible date is ignored."""
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    for huge in ("9" * 400, "9" * 5000, "." + "9" * 400 + "9", "1000000000"):
        assert 0 < (retry_after({"Retry-After": huge, "Date": date}) or 0) <= LONGEST
    year_2099 = "Wed, 21 Oct 2099 07:28:00 GMT"
    assert retry_after({"Retry-After": year_2099, "Date": date}) == 26663 * 86400
    assert retry_after({"Retry-After": date, "Date": year_2099}) == 0.0
    for absurd in (
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Wed, 21 Oct 999999999999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999999999999999",
        "Wed, 32 Oct 2026 77:28:00 GMT",
    ):
        assert retry_after({"Retry-After": absurd, "Date": date}) is None
        assert retry_after({"Retry-After": date, "Date": absurd}) is None
