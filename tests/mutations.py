"""Sample replies of the server, and damaged versions of these samples.

Each `tests/samples/<case>.json` contains one body, as the API contract describes it. The same seed
always gives the same damaged versions.
"""

from __future__ import annotations

import copy
import json
import math
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async import SunoError
from suno_async._protocol.replies import (
    read_balance,
    read_created,
    read_estimate,
    read_models,
    read_persona,
    read_schema,
    read_upload,
)
from suno_async._protocol.retry_after import retry_after
from suno_async._protocol.task_info import read_task_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SAMPLES = {
    path.stem: path.read_bytes() for path in sorted(Path(__file__).parent.glob("samples/*.json"))
}
#: The HTTP status of the samples that are refusals. Two of them come with HTTP 200.
REFUSALS = {
    "not_found": 200,
    "generation_failed": 200,
    "key_missing": 401,
    "key_disabled": 403,
    "no_credits": 402,
    "invalid": 422,
    "rate_exceeded": 429,
    "maintenance": 455,
}
TASK_ID = "d6956973-2f17-43d4-8514-af6cc3a2f55d"


@dataclass(frozen=True)
class Reply:
    """A reply of the server, damaged or not."""

    case: str
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])


#: Every function that reads what the server sent.
READERS: dict[str, Callable[[int, Mapping[str, str], bytes], object]] = {
    "task_info": read_task_info,
    "task_info_by_id": lambda status, headers, body: read_task_info(status, headers, body, TASK_ID),
    "created": read_created,
    "persona": read_persona,
    "balance": read_balance,
    "estimate": read_estimate,
    "models": read_models,
    "schema": read_schema,
    "upload": read_upload,
    "retry_after": lambda _status, headers, _body: retry_after(headers),
}

#: Unusual JSON, JSON that is hard to read, and texts that are not JSON. Each replaces a whole
#: value, or its start replaces some bytes.
NASTY = (
    b"1e400",
    b"-1e400",
    b"1e308",
    b"-1e308",
    b"1e-400",
    b"-0.0",
    b"9" * 4301,
    b"-" + b"9" * 4301,
    b"9" * 4300,
    b"9" * 400,
    b"9" * 300,
    b"18446744073709551616",
    b"-9223372036854775809",
    b"0." + b"9" * 5000,
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b'"nan"',
    b'"inf"',
    b'"-inf"',
    b'"1e400"',
    b'"' + b"9" * 5000 + b'"',
    b'"1768900378"',
    b'"1768900378000"',
    b'"2026-01-20T09:12:58Z"',
    b'"0001-01-01T00:00:00+23:59"',
    b'"9999-12-31T23:59:59-23:59"',
    b'"\xd3\xea\xd4\xe7"',  # GBK
    b'"\xd5\\"',  # a GBK character whose second byte is a backslash
    b'"\xff\xfe\x00"',
    b'"\xed\xa0\x80"',
    b'"\\ud800"',
    b'"\\udc00 \\\\ud800"',
    b'"a\nb\tc\x00"',
    b'"\\x"',
    b'""',
    b'" "',
    b'"\\u0000"',
    b'"' + "\N{MUSICAL NOTE}".encode() * 300 + b'"',
    b"null",
    b"true",
    b"false",
    b"0",
    b"-1",
    b"200",
    b"404",
    b"501",
    b"0.5",
    b"[]",
    b"{}",
    b"[null]",
    b"[[]]",
    b'{"":null}',
    b'[1,"x",{"a":[1e400]}]',
    b"[" * 70 + b"]" * 70,
    b"[" * 400 + b"]" * 400,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b"[" * 995 + b"]" * 995,
    b"[" * 20_000 + b"]" * 20_000,
    b"[" * 20_000,
    b"",
    b"undefined",
    b"'x'",
)

_HEADERS = (
    "0",
    "7",
    "2.5",
    "1000000000",
    "9" * 400,
    "9" * 5000,
    "." + "9" * 400,
    "inf",
    "nan",
    "-1",
    "1e400",
    "²",
    "soon",
    "",
    " ",
    "Wed, 21 Oct 2026 07:28:00 GMT",
    "Wed, 21 Oct 2099 07:28:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Sat, 01 Jan 0001 00:00:00 +2359",
    "Wed, 21 Oct 99999 07:28:00 GMT",
    "Wed, 21 Oct 2026 07:28:00 +99999999999999999999",
    "Wed, 32 Foo 2026 77:28:99 GMT",
    "21 Oct 2026",
    "2026-10-21T07:28:00Z",
    "\x00\r\n\udcff",
)

_STATUSES = (100, 201, 204, 302, 400, 401, 402, 403, 404, 422, 429, 455, 500, 501, 502, 505, 599)


def mutations(seed: int) -> Iterator[Reply]:
    """Yield an endless sequence of sample replies, most of them damaged."""
    draw = random.Random(seed)
    cases = list(SAMPLES)
    # Refusals are nearly alike, so the other samples are chosen more often.
    weights = [1 if case in REFUSALS else 4 for case in cases]
    while True:
        (case,) = draw.choices(cases, weights)
        body = SAMPLES[case]
        if draw.random() < 0.75:
            body = _damage_structure(draw, body)
        if draw.random() < 0.4:
            body = _damage_bytes(draw, body)
        status = REFUSALS.get(case, 200)
        if draw.random() < 0.15:
            status = draw.choice(_STATUSES)
        yield Reply(case, body, status, _headers(draw))


def _damage_structure(draw: random.Random, body: bytes) -> bytes:
    root: list[Any] = [json.loads(body)]
    for _ in range(draw.choice((1, 1, 2, 4))):
        slots = list(_slots(root))
        parent, key = draw.choice(slots)
        value = parent[key]
        match draw.randrange(8):
            case 0 | 1 | 2:
                parent[key] = _nasty(draw)
            case 3 if parent is not root:
                del parent[key]
            case 4 if isinstance(key, str):
                parent[draw.choice(_KEYS)] = parent.pop(key)
            case 5:
                parent[key] = draw.choice(([value], {"data": value}, [value, value], str(value)))
            case 6:
                other, place = draw.choice(slots)
                parent[key] = copy.deepcopy(other[place])
            case _ if isinstance(value, dict):
                value[draw.choice(_KEYS)] = _nasty(draw)
            case _:
                parent[key] = json.dumps(value)
    damaged = json.dumps(root[0], ensure_ascii=draw.random() < 0.5).encode()
    if draw.random() < 0.1:
        # Insert a key that may then occur twice.
        twice = f'{{"{draw.choice(_KEYS)}": "{_nasty(draw)}", '.encode()
        damaged = damaged.replace(b"{", twice, draw.randrange(4))
    return _PLACE.sub(lambda found: NASTY[int(found[1])], damaged)


def _damage_bytes(draw: random.Random, body: bytes) -> bytes:
    damaged = bytearray(body)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(len(damaged) + 1)
        end = min(len(damaged), at + draw.choice((1, 1, 4, 40)))
        match draw.randrange(8):
            case 0 if at < len(damaged):
                damaged[at] ^= 1 << draw.randrange(8)
            case 1:
                damaged[at:at] = draw.randbytes(draw.choice((1, 2, 8)))
            case 2:
                del damaged[at:end]
            case 3:
                del damaged[at:]
            case 4:
                other = SAMPLES[draw.choice(list(SAMPLES))]
                damaged[at:end] = other[draw.randrange(len(other)) :]
            case 5:
                damaged[at:end] = draw.choice(NASTY)[:100]
            case 6:
                damaged[:0] = draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b" \n"))
            case _:
                damaged[at:end] = draw.choice((b"\xd3\xea", b"\xd5\\", b"\xff", b"\xe9\x9b", b'"'))
    return bytes(damaged)


def _headers(draw: random.Random) -> dict[str, str]:
    headers = dict[str, str]()
    for name in ("Retry-After", "Date"):
        text = draw.choice(_HEADERS)
        for _ in range(draw.choice((0, 0, 1, 3))):
            at = draw.randrange(len(text) + 1)
            text = text[:at] + draw.choice("09.,:-+ eGxMT²\udcff") + text[at + draw.randrange(2) :]
        headers[name] = text
    return headers


def _slots(parent: dict[str, Any] | list[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each value in `parent` at any depth, as its container and its key."""
    keys: list[Any] = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    for key in keys:
        yield parent, key
        if isinstance(parent[key], dict | list):
            yield from _slots(parent[key])


def _nasty(draw: random.Random) -> str:
    """Return a placeholder. It is later replaced by a random value of `NASTY` in the JSON text."""
    return f"<nasty {draw.randrange(len(NASTY))}>"


def _keys(value: Any) -> set[str]:  # noqa: ANN401 (any JSON)
    return {key for _, key in _slots([value]) if isinstance(key, str)}


_PLACE = re.compile(rb'"<nasty (\d+)>"')
#: Every key of every sample, and names that the readers also accept.
_KEYS = sorted(
    {
        "lyrics",
        "image_url",
        "created_at",
        "create_time",
        "suno_model_name",
        "errors",
        "message",
    }.union(*(_keys(json.loads(body)) for body in SAMPLES.values()))
)


def check(reply: Reply) -> None:
    """Check that each of `READERS` returns a valid value for `reply` or raises a `SunoError`."""
    for read in READERS.values():
        try:
            found = read(reply.status, reply.headers, reply.body)
        except SunoError as error:
            # A caller may print the error and sleep for `retry_after`, so both must work.
            found = [str(error), repr(error), getattr(error, "retry_after", None)]
        _check_value(found, reply.body)


def _check_value(found: object, body: bytes) -> None:
    """Check that a value can be printed, encoded and copied, and contains only finite numbers."""
    assert repr(found)
    assert copy.copy(found) == found
    plain = msgspec.to_builtins(found)
    assert copy.deepcopy(plain) == plain
    _check_finite(plain)
    msgspec.json.encode(found)
    if isinstance(plain, dict) and "raw" in plain:
        assert getattr(found, "raw", None) == body


def _check_finite(value: Any) -> None:  # noqa: ANN401 (any JSON)
    if isinstance(value, float):
        assert math.isfinite(value), value
    elif isinstance(value, dict):
        for each in value.values():  # pyright: ignore[reportUnknownVariableType]
            _check_finite(each)
    elif isinstance(value, list | tuple):
        for each in value:  # pyright: ignore[reportUnknownVariableType]
            _check_finite(each)
