"""The API key does not appear in errors, records and logs, even if a reply contains it."""

from __future__ import annotations

import json
import logging
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from suno_async import GenerateMusic, ResponseError, ValidationError
from suno_async._transport.account import Credentials
from suno_async.sandbox import KEY
from tests.hostile import client, response, serving

if TYPE_CHECKING:
    import asyncio

SONG = GenerateMusic(prompt="rain", instrumental=True)


async def test_a_server_that_repeats_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """Errors, records and log messages do not show the key, even if a reply contains it."""
    caplog.set_level(logging.DEBUG)
    refusal = {"code": 422, "message": f"bad key {KEY}", "errors": [f"x: {KEY}"], "data": None}
    record = {"task_id": "t", "status": "failed", "message": KEY, "result": {"message": KEY}}

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        if b"TaskInfo" in request:
            writer.write(response(json.dumps({"code": 200, "data": record}).encode()))
        elif b"balance" in request:
            writer.write(response(f"<html>{KEY}</html>".encode()))
        else:
            writer.write(response(json.dumps(refusal).encode(), status="422 No"))
        return True

    async with serving(answer) as url, client(url) as suno:
        with pytest.raises(ValidationError) as refused:
            await suno.create(SONG)
        with pytest.raises(ResponseError) as garbled:
            await suno.balance()
        info = await suno.task_info("t")
        seen = [repr(refused.value), str(refused.value), repr(garbled.value), str(garbled.value)]
        seen += [repr(info), str(info.failure), info.raw.decode()]
    seen += [entry.getMessage() for entry in caplog.records]
    assert KEY not in "".join(seen)
    assert "[redacted]" in str(refused.value)


ESCAPED = {
    "JSON": "".join(f"\\u{ord(each):04x}" for each in KEY),
    "JSON, in capitals": "".join(f"\\u{ord(each):04X}" for each in KEY),
    "one character": KEY.replace("_", "\\u005f"),
    "JSON in JSON": KEY.replace("_", "\\\\u005f"),
    "URL": "".join(f"%{ord(each):02X}" for each in KEY),
    "one character of a URL": KEY.replace("_", "%5f"),
    "HTML": KEY.replace("_", "&#95;"),
    "HTML, hexadecimal": KEY.replace("_", "&#x5F;"),
}


@pytest.mark.parametrize("spelling", ESCAPED.values(), ids=ESCAPED)
async def test_a_server_that_repeats_the_key_escaped(spelling: str) -> None:
    """The key is also removed from a reply if some or all characters of the key are escaped."""

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> bool:
        found = f'{{"code": 422, "message": "bad: {spelling}.", "errors": ["{spelling}"]}}'
        if b"TaskInfo" in request:
            found = f'{{"code": 200, "data": {{"task_id": "t", "status": "{spelling}"}}}}'
        writer.write(response(found.encode()))
        return True

    async with serving(answer) as url, client(url) as suno:
        with pytest.raises(ValidationError, match=r"bad: \[redacted\]\.") as refused:
            await suno.create(SONG)
        info = await suno.task_info("t")
    assert refused.value.errors == ("[redacted]",)
    assert info.raw_status == "[redacted]"
    assert spelling.encode() not in info.raw


@pytest.mark.parametrize(
    "key",
    [
        "ak_a/b-c/d.e+f==0123",
        "ak_0123456789%2Fab\\u002d",
        'ak_"a\\b"c\\d_0123',
        "ak_<a>&'b'_x01234",
    ],
)
def test_a_key_with_special_characters(key: str) -> None:
    """A key with special characters is removed from replies.

    It is also removed if it is escaped for JSON, HTML or a URL.
    """
    redacted = Credentials(key, "http://host").redacted
    in_json = json.dumps(key).replace("/", "\\/")
    in_json_only = json.dumps(key)
    in_html = escape(key)
    for text in (
        *(key, in_json_only, in_json, json.dumps(in_json), in_html),
        *(quote(key), quote(key, safe="")),
    ):
        assert b"012" not in redacted(text.encode())


def test_many_keys() -> None:
    """After many replacements of the key, the current key and the previous one are removed."""
    keys = [*(["short"] * 1_200), "ak_" + "1" * 32, "ak_" + "2" * 32]
    credentials = Credentials(keys[0], "http://host")
    for key in keys[1:]:
        credentials.adopt(credentials.with_key(key))
    for key in keys[-2:]:
        assert credentials.redacted(key.encode()) == b"[redacted]"


def test_replies_without_the_key_are_unchanged() -> None:
    """A reply without the key is unchanged, even if it contains many escaped characters."""
    redacted = Credentials(KEY, "http://host").redacted
    for text in (b"%" + KEY[:-1].encode(), b"%" + b"\\" * 1_000_000, b"\\u0061" * 100_000):
        assert redacted(text) == text
