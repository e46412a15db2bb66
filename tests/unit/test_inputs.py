"""Which values the fields of inputs accept, and the error messages for all other values."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from suno_async import (
    CoverMusic,
    ExtendUpload,
    GenerateMusic,
    GeneratePersona,
    GenerateSounds,
    InvalidInputError,
    MusicVideo,
    SunoClient,
    TaskRef,
)
from suno_async._checks import check_job, check_persona, check_ref
from tests.scripted import Server
from tests.virtual import run_virtual

SONG = GenerateMusic(prompt="a song")
PERSONA = GeneratePersona(task_id="t", suno_id="s", name="Ann")
ID = uuid.UUID(int=7)

#: Python refuses to convert this integer to text.
HUGE = pytest.param(10**5000, id="huge")


class Mode(enum.Enum):
    """An enum whose members are not text."""

    CUSTOM = "custom"


class TextMode(str, enum.Enum):  # noqa: UP042 (unlike a StrEnum, str() gives "TextMode.CUSTOM")
    """An enum whose members are text."""

    CUSTOM = "custom"


class Number(float):
    """A number of a third-party library. NumPy has such numbers."""


class Url:
    """An object that represents a URL. It has no methods of text."""


def extension(continue_at: Any) -> ExtendUpload:  # noqa: ANN401 (values of wrong types, too)
    """Return an `ExtendUpload` job with this value of `continue_at`."""
    return ExtendUpload(audio_url="https://x/a.mp3", continue_at=continue_at, prompt="x")


def problem_of(job: Any, callback_url: Any = None) -> str:  # noqa: ANN401 (as above)
    """Return the only problem of an input."""
    with pytest.raises(InvalidInputError) as caught:
        check_job(job, callback_url)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("value", [ID, dt.date(2026, 1, 2), b"abc", Path("a"), 7, ["x"]])
def test_fields_that_must_be_text(value: Any) -> None:  # noqa: ANN401 (as above)
    """A value that is not text is refused, even if JSON represents it as text."""
    ids: dict[str, Any] = {"task_id": "t", "suno_id": value}
    for job, name in (
        (GenerateMusic(value), "prompt"),
        (GenerateMusic(prompt="x", negative_tags=value), "negative_tags"),
        (MusicVideo(**ids), "suno_id"),
        (CoverMusic(audio_url=value, prompt="x"), "audio_url"),
    ):
        assert problem_of(job).startswith(f"{name}: must be text (a plain str), not ")


@pytest.mark.parametrize("value", [Number(3), Decimal(3), "3", True, 10**400])
def test_fields_that_must_be_numbers(value: object) -> None:
    """A number of another type than int and float is refused, and the message says so."""
    problem = problem_of(extension(value))
    assert problem.startswith("continue_at: must be a number (a plain int or float), not ")


@pytest.mark.parametrize(
    ("value", "rule"),
    [(-1, "must be 0 or more, not -1"), (float("nan"), "must be a finite number, not nan")],
)
def test_numbers_that_are_not_positions(value: float, rule: str) -> None:
    """A position that is below 0 or not finite is refused."""
    assert problem_of(extension(value)) == f"continue_at: {rule}"


def test_enum_members() -> None:
    """An enum member is a mode only if it is text. Then it has the same rules as the text."""
    mode: Any = Mode.CUSTOM
    assert problem_of(GenerateMusic(mode=mode)).startswith("mode: must be one of 'simple', ")
    mode = TextMode.CUSTOM
    job = GenerateMusic(mode=mode)
    assert job.problems() == GenerateMusic(mode="custom").problems() != ()
    assert job.payload()["mode"] == "custom"


def test_default_mode() -> None:
    """If the mode was not set, the message about a missing field says why the mode is custom."""
    (problem,) = GenerateMusic(tags="jazz", title="x", prompt="x").problems()
    assert "required in custom mode (the default with title, tags or lyrics)" in problem
    (problem,) = GenerateMusic(mode="custom", tags="jazz", title="x").problems()
    assert "required in custom mode, but" in problem


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        ({1: 2}, "a dict with text keys and JSON values"),
        ({"a": object()}, "a dict with text keys and JSON values"),
        ({"a": float("nan")}, "a value that JSON can represent"),
        ({"a": [{"b": float("inf")}]}, "a value that JSON can represent"),
        ({"a\ud800": 1}, "a value that JSON can represent"),
    ],
)
def test_extra_that_json_cannot_represent(extra: dict[str, Any], rule: str) -> None:
    """`extra` is refused if it cannot be sent unchanged."""
    assert problem_of(GenerateMusic("x", extra=extra)).startswith(f"extra: must be {rule}, not ")


def test_values_that_json_cannot_represent() -> None:
    """Text with a lone surrogate is refused, and so are lists with numbers that are not finite."""
    for job in (GenerateMusic("\ud800"), GenerateSounds("x", bpm=[float("nan")])):
        assert "must be a value that JSON can represent" in problem_of(job)


@pytest.mark.parametrize("url", [Url(), b"https://me/back", "https://me/\ud800", "ftp://me", 7])
def test_callback_urls(url: Any) -> None:  # noqa: ANN401 (values of wrong types)
    """A callback URL that cannot be sent is refused before anything is sent."""
    assert problem_of(SONG, url).startswith("callback_url: must be ")
    server = Server()

    async def scenario() -> None:
        async with server.client() as suno:
            with pytest.raises(InvalidInputError):
                await suno.create(SONG, callback_url=url)
            with pytest.raises(InvalidInputError):
                await suno.estimate(SONG, callback_url=url)

    run_virtual(scenario())
    assert not server.requests


@pytest.mark.parametrize("persona", [SONG, {"name": "Ann"}, None])
def test_persona_of_a_wrong_type(persona: Any) -> None:  # noqa: ANN401 (as above)
    """`create_persona` refuses other inputs. It does not create a task from the input of a job."""
    server = Server()

    async def scenario(suno: SunoClient) -> None:
        async with suno:
            with pytest.raises(InvalidInputError, match="persona: "):
                await suno.create_persona(persona)

    run_virtual(scenario(server.client()))
    assert not server.requests


def test_wrong_method() -> None:
    """If an input is passed to the wrong method, the message names the right method."""
    assert problem_of(PERSONA) == "job: this is a GeneratePersona; pass it to create_persona"
    assert problem_of("x") == "job: must be an input such as GenerateMusic, not str"
    with pytest.raises(InvalidInputError, match=r"this is a GenerateMusic; pass it to create$"):
        check_persona(SONG)
    with pytest.raises(InvalidInputError, match="persona: must be a GeneratePersona, not dict"):
        check_persona({"name": "Ann"})


@pytest.mark.parametrize("value", [b"ab", Decimal("1.5"), ID, dt.timedelta(1), HUGE])
def test_extra_values_that_are_not_json(value: object) -> None:
    """A value in `extra` that JSON has no form for is refused, even if it could become text."""
    with pytest.raises(InvalidInputError, match="extra"):
        check_job(GenerateMusic(prompt="a song", extra={"a": value}))


@pytest.mark.parametrize("created_at", [Decimal(1_700_000_000), "1700000000", HUGE])
def test_creation_times(created_at: Any) -> None:  # noqa: ANN401 (values of wrong types)
    """A creation time that is not a usable number is refused, however large it is."""
    with pytest.raises(InvalidInputError, match="created_at"):
        check_ref(TaskRef("t", created_at))
