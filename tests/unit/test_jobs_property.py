"""The client refuses inputs that the sandbox forbids, and sends all other inputs unchanged.

The *sandbox* is a local imitation of the API. The client cannot know which songs exist. So it also
sends inputs with unknown songs, and the sandbox refuses them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import (
    CoverMusic,
    ExtendUpload,
    GeneratePersona,
    InvalidInputError,
    SeparateVocals,
    SunoClient,
)
from suno_async._protocol.replies import read_created, read_persona
from suno_async._protocol.requests import create_request, persona_request, task_info_request
from suno_async._protocol.task_info import read_task_info
from suno_async.inputs import KINDS, Input
from suno_async.sandbox import Sandbox
from suno_async.sandbox._input_rules import broken_persona_rules, broken_rules
from tests.conftest import SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from suno_async._protocol.requests import Request

LENGTH = 2.0
UNKNOWN_SONG = ["task_id, suno_id: no such song"]

# Task ids are drawn from the seed, so this sandbox's twin in the fixture has the same songs.
TWIN = Sandbox(seed=9, failure_share=0.0)
TWIN.add_tasks(3, created_ago=1e6)
SONGS = [(job.task_id, song) for job in TWIN.tasks.values() for song in job.songs]

JUNK = st.integers() | st.booleans() | st.floats() | st.text(max_size=3) | st.just(["x"])


def text(most: int) -> st.SearchStrategy[str]:
    """Return a strategy for valid texts of at most `most` characters."""
    longest = st.sampled_from([most - 1, most]).map(lambda length: "é" * length)
    return st.text(min_size=1, max_size=20).map(lambda words: f"日本語 {words}"[:most]) | longest


# Values that the contract allows, by field. All other fields are drawn as text.
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from(["simple", "custom", None]),
    "model": st.sampled_from(["v5.5", "v5", "v4.5all", "v3", "v99"]),
    "instrumental": st.booleans(),
    "title": text(100),
    "tags": text(1000),
    "lyrics": text(5000),
    "vocal_gender": st.sampled_from(["m", "f", None]),
    "style_weight": st.floats(0, 1) | st.sampled_from([0, 1]),
    "weirdness_constraint": st.floats(0, 1),
    "audio_weight": st.floats(0, 1),
    "continue_at": st.floats(0, LENGTH) | st.sampled_from([0, 1, 2]),
    "vocal_start": st.floats(0, LENGTH / 2, exclude_max=True),
    "vocal_end": st.floats(LENGTH / 2, LENGTH),
    "audio_url": st.sampled_from(["https://x/a.mp3", "http://x"]),
    "loop": st.booleans() | st.none(),
    "bpm": st.integers() | st.text(max_size=3) | st.none(),
    "key": st.text(max_size=3) | st.none(),
    "extra": st.sampled_from([{}, {}, {"brand_new": [1]}]),
    "song_duration": st.just(LENGTH),
}
# Values that the contract forbids, or may forbid, by field.
BAD: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from(["simple", "custom", "vocal", "instrumental", "", "other"]),
    "title": st.just("t" * 101),
    "tags": st.just("t" * 1001),
    "lyrics": st.just("t" * 5001),
    "style_weight": st.sampled_from([-0.1, 1.1, float("nan"), float("inf")]),
    "weirdness_constraint": st.floats(),
    "audio_weight": st.floats(),
    "continue_at": st.floats(),
    "vocal_start": st.floats(),
    "vocal_end": st.floats(),
    "audio_url": st.sampled_from(["ftp://x", "", "x"]),
}
BLANK = st.sampled_from(["", "  ", "\n"])
# The contract marks the first three fields as guesses. The last two are not in the contract.
NEVER_BAD = {"loop", "bpm", "key", "extra", "song_duration"}


@st.composite
def inputs(draw: st.DrawFn, kind: type[Input | GeneratePersona]) -> Input | GeneratePersona:
    """Draw an input of the class `kind`. Up to two of its values may be invalid."""
    good = GOOD
    names = set(kind.__struct_fields__)
    if kind is SeparateVocals:
        good = GOOD | {"mode": st.sampled_from(["vocal", "instrumental"])}
    if kind is ExtendUpload:
        # The sandbox cannot measure a file on another host.
        names.discard("song_duration")
    fields: dict[str, Any] = {
        name: draw(good.get(name, text(30)))
        for name in sorted(names)
        if name in {"extra", "song_duration"} | set(kind.REQUIRED) or draw(st.integers(0, 4))
    }
    if "task_id" in fields or "suno_id" in fields:
        fields["task_id"], fields["suno_id"] = draw(st.sampled_from(SONGS))
    for name in draw(st.lists(st.sampled_from(sorted(names - NEVER_BAD)), max_size=2)):
        fields[name] = draw(BAD.get(name, JUNK) | JUNK | BLANK)
    return kind(**fields)


class Bench(NamedTuple):
    """A sandbox, a client of the sandbox, and an aiohttp session without a rate limit."""

    runner: asyncio.Runner
    sandbox: Sandbox
    suno: SunoClient
    http: aiohttp.ClientSession

    def send(self, request: Request) -> tuple[int, bytes]:
        """Send a request to the sandbox. Return the status and the body of the reply."""
        return self.runner.run(self._send(request))

    async def _send(self, request: Request) -> tuple[int, bytes]:
        async with self.http.request(
            request.method,
            self.sandbox.url + request.path,
            params=request.params,
            data=request.body,
            headers={"x-api-key": self.sandbox.key, "Content-Type": "application/json"},
        ) as reply:
            return reply.status, await reply.read()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Yield a `Bench` that all tests share. Its sandbox has finished songs and no rate limit."""

    async def start(stack: contextlib.AsyncExitStack) -> tuple[Sandbox, SunoClient, Any]:
        sandbox = await stack.enter_async_context(
            Sandbox(seed=9, failure_share=0.0, time_scale=SCALE, rate_limit=10**9, credits=1e12)
        )
        sandbox.add_tasks(3, created_ago=1e6)
        suno = await stack.enter_async_context(SunoClient(sandbox.key, base_url=sandbox.url))
        return sandbox, suno, await stack.enter_async_context(aiohttp.ClientSession())

    stack = contextlib.AsyncExitStack()
    with asyncio.Runner() as runner:
        yield Bench(runner, *runner.run(start(stack)))
        runner.run(stack.aclose())


def refuse(bench: Bench, job: Input | GeneratePersona) -> InvalidInputError:
    """Assert that the client refuses `job` and sends no request. Return the error."""
    before = bench.sandbox.statistics.requests
    create = bench.suno.create(job) if isinstance(job, Input) else bench.suno.create_persona(job)
    with pytest.raises(InvalidInputError) as caught:
        bench.runner.run(cast("Any", create))
    assert bench.sandbox.statistics.requests == before
    return caught.value


def length_of(task_id: str, song: str) -> float | None:
    """Return the length of a song in seconds; None if the song is not in the sandbox."""
    return LENGTH if (task_id, song) in SONGS else None


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_jobs(bench: Bench, kind: type[Input], data: st.DataObject) -> None:
    """The client refuses invalid jobs and sends valid jobs unchanged."""
    job = cast("Input", data.draw(inputs(kind)))
    body = json.loads(create_request(job, None).body or b"")
    forbidden = broken_rules(body, length_of)
    assert bool(job.problems()) == bool(forbidden) or forbidden == UNKNOWN_SONG
    if job.problems():
        fields = {each.split(":")[0] for each in refuse(bench, job).problems}
        assert fields <= set(kind.__struct_fields__)
        return
    status, reply = bench.send(create_request(job, None))
    if forbidden:
        assert status == 422
        return
    task_id = read_created(status, {}, reply)
    status, reply = bench.send(task_info_request(task_id))
    info = read_task_info(status, {}, reply, task_id)
    assert (info.param.model, info.param.input) == (kind.KIND, job.payload())
    assert "extra" not in info.param.input
    assert info.param.input.items() >= job.extra.items()


@pytest.mark.parametrize("blank", ["", " ", "\n"])
@pytest.mark.parametrize("name", ["task_id", "suno_id"])
def test_a_blank_id_beside_an_url_is_refused(bench: Bench, name: str, blank: str) -> None:
    """The client and the sandbox both refuse a `CoverMusic` job with a URL and a blank id."""
    ids: dict[str, Any] = {name: blank}
    job = CoverMusic(audio_url="https://x/a.mp3", prompt="x", **ids)
    assert any(name in each for each in refuse(bench, job).problems)
    status, reply = bench.send(create_request(job, None))
    assert status == 422
    assert name in json.loads(reply)["errors"][0]


@given(data=st.data())
def test_personas(bench: Bench, data: st.DataObject) -> None:
    """The client refuses a persona if it breaks an input rule of the sandbox, and only then."""
    persona = cast("GeneratePersona", data.draw(inputs(GeneratePersona)))
    request = persona_request(persona)
    forbidden = broken_persona_rules(json.loads(request.body or b""), length_of)
    assert bool(persona.problems()) == bool(forbidden) or forbidden == UNKNOWN_SONG
    if persona.problems():
        refuse(bench, persona)
    else:
        status, reply = bench.send(request)
        assert status == (422 if forbidden else 200)
        assert forbidden or read_persona(status, {}, reply)
