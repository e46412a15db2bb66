"""Tests of how replies are decoded from bytes, including damaged replies."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from suno_async import (
    APIError,
    GenerateMusic,
    ResponseError,
    TaskStatus,
)
from suno_async._protocol.lenient import MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_VALUES, unix_time
from suno_async._protocol.replies import read_balance, read_created, read_models
from suno_async._protocol.requests import create_request, task_info_request
from suno_async._protocol.task_info import read_task_info
from suno_async.models import MODEL_VERSIONS

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
    """Return the body of a reply: an object with a code, a message and data."""
    return json.dumps({"code": code, "message": "m", "data": data, **more}).encode()


def test_whole_record() -> None:
    """The fields of a task record and of a song are decoded, even under alternative names."""
    info = read_task_info(200, {}, envelope(RECORD), "t1")
    assert (info.status, info.create_at, info.elapsed) == (TaskStatus.SUCCESS, 1768900378.0, 86.0)
    assert (info.complete_at, info.duration_s) == (1768900464.0, 86.0)
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
    assert track.suno_audio_url == "https://cdn/a.mp3"
    assert (track.suno_image_url, track.suno_image_large_url) == (
        "https://cdn/a.png",
        "https://cdn/l.png",
    )
    assert (track.duration, track.create_at) == (183.4, 1768900378.0)
    assert (track.model_name, track.model_version) == ("chirp-crow", "v5")
    assert b"never_heard_of" in info.raw


def test_model_names() -> None:
    """`model_version` is None for a model name that is not documented."""
    assert len(MODEL_VERSIONS) == 8
    assert MODEL_VERSIONS["chirp-fenix"] == "v5.5"
    item = ITEM | {"suno_model_name": "chirp-next"}
    info = read_task_info(200, {}, envelope(RECORD | {"result": {"suno_data": [item]}}))
    assert (info.tracks[0].model_name, info.tracks[0].model_version) == ("chirp-next", None)


@pytest.mark.parametrize(
    "when",
    [
        "2026-01-20T09:12:58Z",
        "2026-01-20T09:12:58",
        "2026-01-20T10:12:58+01:00",
        1768900378,
        1768900378000,
        "1768900378",
        "1768900378000",
    ],
)
def test_creation_times(when: object) -> None:
    """A song's creation time may be a date, or a number of seconds or milliseconds."""
    for title in ("Rain", ["of another shape"]):
        item: dict[str, Any] = ITEM | {"created_at": when, "create_at": "nan", "title": title}
        info = read_task_info(200, {}, envelope(RECORD | {"result": {"suno_data": [item]}}))
        assert info.tracks[0].create_at == 1768900378.0


def test_digits_are_not_a_date() -> None:
    """A text of 13 digits is read as a Unix time in milliseconds, not as a date."""
    assert unix_time("1712010112300") == 1712010112.3


ABSURD: list[Any] = [
    *("nan", "inf", "-inf", "1e400", "9" * 5000, "soon", "", -1, -1e308, 1e308),
    *(10**400, 10**4299, True, [], {}),
]


@pytest.mark.parametrize("number", ABSURD, ids=lambda number: repr(number)[:12])
def test_absurd_numbers(number: Any) -> None:  # noqa: ANN401 (any JSON)
    """An impossible time, length or amount is read as None."""
    names = ("create_at", "complete_at", "duration_s")
    song = ITEM | {"duration": number, "created_at": number}
    wrong = dict.fromkeys(names, number) | {"result": RECORD["result"] | {"suno_data": [song]}}
    info = read_task_info(200, {}, envelope(RECORD | wrong), "t1")
    assert (info.create_at, info.complete_at, info.duration_s) == (None, None, None)
    assert (info.tracks[0].duration, info.tracks[0].create_at) == (None, None)
    assert (info.status, info.tracks[0].title, info.credits) == ("success", "Rain", 12.0)
    amount = "nan" if number == -1 else number  # a balance may be negative
    info = read_task_info(200, {}, envelope(RECORD | {"credits": amount}), "t1")
    assert info.credits is None
    with pytest.raises(ResponseError):
        read_balance(200, {}, envelope({"balance": amount}))


@pytest.mark.parametrize("when", [0, 1, 946684799, 4102444800, 4102444800000, 1e11])
def test_times_outside_the_century(when: float) -> None:
    """A time before 2000 or after 2099 is read as None."""
    info = read_task_info(200, {}, envelope(RECORD | {"create_at": when}))
    assert info.create_at is None


@pytest.mark.parametrize("token", [b"1e400", b"-1e400", b"9" * 4301, b"NaN", b"-Infinity"])
@pytest.mark.parametrize("name", ["create_at", "credits", "never_heard_of", "task_id", "code"])
def test_numbers_that_do_not_fit(token: bytes, name: str) -> None:
    """A number that does not fit into a float affects no other field of the reply."""
    body = envelope(RECORD | {name: "@"}) if name != "code" else envelope(RECORD, "@")
    info = read_task_info(200, {}, body.replace(b'"@"', token), "t1")
    assert (info.status, info.task_id, len(info.tracks)) == (TaskStatus.SUCCESS, "t1", 1)


@pytest.mark.parametrize(
    ("damage", "title"),
    [
        (b"Rain \xff!", "Rain \ufffd!"),
        ("雨".encode("gbk"), "\ufffd\ufffd"),
        ("誠".encode("gbk"), "\ufffd\ufffd"),  # its second byte is a backslash
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (rb"\ud83d", "\ufffd"),
        (rb"a \udc00 \ud83d\ude00", "a \ufffd \N{GRINNING FACE}"),
        (rb"\\ud800 \ud800", "\\ud800 \ufffd"),
        (b"two\nlines", "two\nlines"),
    ],
)
def test_damaged_title(damage: bytes, title: str) -> None:
    """A record is decoded even if its title contains invalid UTF-8 or invalid JSON."""
    body = envelope(RECORD).replace(b"Rain", damage)
    info = read_task_info(200, {}, body, "t1")
    assert (info.status, info.duration_s, info.raw) == (TaskStatus.SUCCESS, 86.0, body)
    (track,) = info.tracks
    assert (track.title, track.suno_id, track.duration) == (title, "s1", 183.4)


def test_byte_order_mark() -> None:
    """A reply may start with a byte order mark."""
    body = b"\xef\xbb\xbf" + envelope(RECORD)
    assert read_task_info(200, {}, body, "t1").tracks[0].title == "Rain"
    assert read_created(200, {}, b"\xef\xbb\xbf" + envelope({"task_id": "t1"})) == "t1"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 400, 900])
def test_deep_nesting(depth: int) -> None:
    """A free-form field with more than `MAX_DEPTH` nested levels is cut."""
    deep = b"[" * depth + b"]" * depth
    record = RECORD | {"param": {"model": "m", "input": {"a": 1, "deep": "@"}}}
    record |= {"result": RECORD["result"] | {"usage": {"b": 2, "deep": "@"}}}
    info = read_task_info(200, {}, envelope(record).replace(b'"@"', deep), "t1")
    assert info.usage is not None
    assert (info.param.input["a"], info.usage["b"], len(info.tracks)) == (1, 2, 1)
    assert copy.deepcopy(info.param.input) == info.param.input
    assert copy.deepcopy(info.usage) == info.usage
    body = envelope(None, 422, errors=["e", "@"]).replace(b'"@"', deep)
    with pytest.raises(APIError) as caught:
        read_balance(200, {}, body)
    assert len(caught.value.errors) == 2


def test_nesting_that_is_kept() -> None:
    """Nesting of up to `MAX_DEPTH` levels is kept unchanged."""
    value: object = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    record = RECORD | {"param": {"model": "m", "input": {"deep": value}}}
    assert read_task_info(200, {}, envelope(record)).param.input == {"deep": value}


def test_hostile_sizes() -> None:
    """Long lists in a reply are shortened.

    If a reply is damaged and longer than `MAX_BYTES`, decoding it raises `ResponseError`.
    """
    record: dict[str, Any] = RECORD | {
        "result": {"suno_data": [{}] * 2_000, "usage": {"a": [[]] * 200_000}}
    }
    info = read_task_info(200, {}, envelope(record), "t1")
    assert info.usage is not None
    assert len(info.tracks) == MAX_ITEMS
    kept = [each for each in info.usage["a"] if each is not None]
    assert MAX_VALUES - 10 < len(kept) < MAX_VALUES
    record = RECORD | {"result": {"media_urls": ["u", 7] * 2_000}}
    assert len(read_task_info(200, {}, envelope(record), "t1").media_urls) == MAX_ITEMS / 2
    stems = {str(each): "u" for each in range(2_000)}
    record = RECORD | {"result": {"media_urls": ["u"] * 2_000, "media_info": stems}}
    info = read_task_info(200, {}, envelope(record), "t1")
    assert len(info.media_urls) == len(info.media_info) == MAX_ITEMS
    body = envelope(RECORD).replace(b"Rain", b"\xff" * MAX_BYTES)
    with pytest.raises(ResponseError):
        read_task_info(200, {}, body, "t1")
    models: list[Any] = [{"model": str(number), "x": [[]] * 60_000} for number in range(3)]
    found = read_models(200, {}, envelope({"models": models}))
    kept = [each for model in found for each in model.details["x"] or () if each is not None]
    assert MAX_VALUES - 10 < len(kept) < MAX_VALUES
    with pytest.raises(APIError) as caught:
        read_balance(200, {}, envelope(None, 422, errors=["e"] * 100_000))
    assert len(caught.value.errors) == 100


def test_damaged_create() -> None:
    """The task id in a reply to a create request is read even if other fields are damaged."""
    body = envelope({"task_id": "t1", "x": "@"})
    assert read_created(200, {}, body.replace(b'"m"', b'"\xff"')) == "t1"
    assert read_created(200, {}, body.replace(b'"@"', b"1e400")) == "t1"
    assert read_created(200, {}, body.replace(b'"t1"', b"12345")) == "12345"
    for unusable in (
        b'"\xff1"',
        b'""',
        b'" "',
        b"true",
        b'"a\\nb"',
        b"[]",
        b'"' + b"x" * 129 + b'"',
    ):
        with pytest.raises(ResponseError):
            read_created(200, {}, body.replace(b'"t1"', unusable))
    for unreadable in (b"", b"{", b'{"code": 200, "data": "t1"}', body[:-3], b"\xff" + body):
        with pytest.raises(ResponseError):
            read_created(200, {}, unreadable)


@pytest.mark.parametrize("word", [7, 2.5, 10**30])
def test_status_that_is_a_number(word: float) -> None:
    """A numeric status counts as unknown."""
    info = read_task_info(200, {}, envelope(RECORD | {"status": word}))
    assert (info.status, info.raw_status) == (TaskStatus.UNKNOWN, str(word))
    assert not info.status.terminal


@pytest.mark.parametrize("data", [[RECORD], "text", 7, RECORD | {"status": [1]}])
def test_no_record(data: object) -> None:
    """Data that is not an object, or whose status is a list, raises `ResponseError`."""
    with pytest.raises(ResponseError):
        read_task_info(200, {}, envelope(data), "t1")


def test_repeated_keys() -> None:
    """If a JSON object has a key twice, the last value is used."""
    body = envelope(RECORD).replace(b'"status"', b'"status": "running", "status"')
    assert read_task_info(200, {}, body, "t1").status is TaskStatus.SUCCESS


@pytest.mark.parametrize(
    "result", [None, [], "text", 7, {"suno_data": 3}, {"suno_data": [None, 5]}]
)
def test_result_of_another_shape(result: object) -> None:
    """A result with an unexpected shape affects no other field."""
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
    """``error`` means failed, upper case is accepted, and an unknown status does not end a task.

    `raw_status` contains the word that the server sent.
    """
    info = read_task_info(200, {}, envelope(RECORD | {"status": word}))
    assert (info.status, info.raw_status) == (status, word)
    assert info.status.terminal == (status == "failed")


def test_requests() -> None:
    """Requests have the documented parameters and JSON bodies."""
    assert task_info_request("a b").params == (("task_id", "a b"),)
    request = create_request(GenerateMusic(prompt="x"), "https://me/hook")
    assert request.body is not None
    assert json.loads(request.body) == {
        "model": "suno/music-generate",
        "callback_url": "https://me/hook",
        "input": {"mode": "simple", "model": "v5", "prompt": "x", "instrumental": False},
    }
