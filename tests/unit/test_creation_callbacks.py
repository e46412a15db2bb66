"""The client calls `on_submission` before each create request, and `on_creation` after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from suno_async import (
    CreateOutcomeUnknownError,
    Creation,
    GenerateMusic,
    GeneratePersona,
    InvalidInputError,
    NotSentError,
    Persona,
    PersonaCreation,
    Submission,
    SunoError,
    ValidationError,
)
from tests.scripted import Server, reply, songs
from tests.virtual import run_virtual

if TYPE_CHECKING:
    from suno_async._transport.http import Reply


def test_on_creation_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """If `on_creation` raises an error, the client logs the error and still returns the task."""
    server = Server()

    async def fail(_: Creation) -> None:
        await asyncio.sleep(0)
        raise OSError("disk full")

    async def main() -> None:
        async with server.client(on_creation=fail) as suno:
            assert (await suno.create(GenerateMusic(prompt="rain"))).id == "task-0"

    run_virtual(main())
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "task-0" in caplog.text


def test_on_creation_of_a_stream_is_awaited() -> None:
    """A stream yields a creation only after `on_creation` has ended for this creation."""
    server = Server()
    saved: list[int] = []

    async def save(creation: Creation) -> None:
        await asyncio.sleep(1)
        saved.append(creation.index)
        if creation.index == 5:
            raise OSError("disk full")

    async def main() -> None:
        async with server.client() as suno:
            taken: list[int] = []

            async def take() -> None:
                jobs = [GenerateMusic(prompt=str(n)) for n in range(100)]
                async for creation in suno.create_many(jobs, on_creation=save):
                    taken.append(creation.index)
                    assert creation.index in saved

            with pytest.raises(OSError, match="disk full"):
                await take()
            assert 5 in taken
            assert sorted(taken) == sorted(saved)
            assert len(taken) < 20

    run_virtual(main())


def test_on_submission() -> None:
    """`on_submission` is called before each create request, and when a retry is planned."""
    server = Server()
    refusals = [429, 455]

    def answer(request: Any) -> Reply:  # noqa: ANN401 (a request)
        return reply(None, refusals.pop()) if refusals else server.usual(request)

    server.answer = answer
    seen: list[tuple[int, str, int]] = []

    async def note(submission: Submission) -> None:
        await asyncio.sleep(0.5)
        seen.append((submission.index, submission.state.value, server.count("CreateTask")))

    async def main() -> None:
        async with server.client() as suno:
            jobs = [GenerateMusic(prompt="a")]
            async for creation in suno.create_many(jobs, on_submission=note):
                assert creation.ok

    run_virtual(main())
    states = [state for _, state, _ in seen]
    assert states == ["sending", "planned", "sending", "planned", "sending"]
    assert [requests for _, state, requests in seen if state == "sending"] == [0, 1, 2]


def test_a_pause_during_on_submission_is_no_attempt() -> None:
    """With `retry_for=0`, creates that were not sent because a pause began are sent after it."""
    server = Server()
    refusals = [429]
    server.answer = lambda request: (
        reply(None, refusals.pop(), **{"Retry-After": "2"}) if refusals else server.usual(request)
    )

    async def note(_: Submission) -> None:
        await asyncio.sleep(0.3)

    async def main() -> None:
        async with server.client(retry_for=0) as suno:
            errors = [each.error async for each in suno.create_many(songs(8), on_submission=note)]
        # A retry of the request that got the 429 would be a second attempt.
        assert sorted(type(error).__name__ for error in errors) == [
            *["NoneType"] * 7,
            "RateLimitError",
        ]
        assert server.count("CreateTask") == 8

    run_virtual(main())


def test_on_submission_that_fails_sends_nothing() -> None:
    """If `on_submission` raises an error, the create request is not sent."""
    server = Server()

    def fail(_: Submission) -> None:
        raise OSError("disk full")

    async def main() -> None:
        async with server.client() as suno:
            jobs = [GenerateMusic(prompt=str(n)) for n in range(100)]
            ended: list[Creation] = []

            async def take() -> None:
                async for creation in suno.create_many(jobs, on_submission=fail):
                    ended.append(creation)  # noqa: PERF401 (it raises)

            with pytest.raises(OSError, match="disk full"):
                await take()
            assert {type(each.error) for each in ended} == {NotSentError}
            assert len(ended) < 20
        assert not server.requests

    run_virtual(main())


PERSONA = GeneratePersona(task_id="t", suno_id="s", name="Ann")


def test_a_persona_is_not_lost_either(caplog: pytest.LogCaptureFixture) -> None:
    """The client passes each new persona to `on_creation`, even if the caller was cancelled."""
    server = Server(delay=1.0)
    reported: list[Creation | PersonaCreation] = []
    server.answer = lambda _: reply({"persona_id": f"voice-{len(server.requests)}"})

    async def main() -> None:
        async with server.client(on_creation=reported.append) as suno:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await suno.create_persona(PERSONA)
            assert not reported
            await asyncio.sleep(5)
            assert reported == [PersonaCreation(PERSONA, Persona("voice-1", "Ann"), None)]
            assert (await suno.create_persona(PERSONA)).persona_id == "voice-2"
            assert [each.ok for each in reported] == [True, True]
            with pytest.raises(InvalidInputError):
                await suno.create_persona(GeneratePersona(task_id="", suno_id="s", name="Ann"))
            assert len(reported) == 2

    run_virtual(main())
    assert ["voice-1" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("code", "kind"), [(422, ValidationError), (500, CreateOutcomeUnknownError)]
)
def test_a_persona_that_was_not_created(code: int, kind: type[SunoError]) -> None:
    """If a request for a persona fails after it was sent, `on_creation` receives the error."""
    server = Server()
    reported: list[PersonaCreation] = []
    server.answer = lambda _: reply(None, code)

    async def main() -> None:
        async with server.client(on_creation=reported.append, retry_for=0) as suno:
            first = asyncio.ensure_future(suno.create_persona(PERSONA))
            planned = asyncio.ensure_future(suno.create_persona(PERSONA))
            await asyncio.sleep(0.01)
            planned.cancel()
            with pytest.raises(kind):
                await first
            await asyncio.wait([planned])
        (creation,) = reported
        assert (creation.job, creation.persona) == (PERSONA, None)
        assert isinstance(creation.error, kind)

    run_virtual(main())
