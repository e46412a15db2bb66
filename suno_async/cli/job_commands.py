"""The commands that create one task from a song, from audio or from a prompt."""

import contextlib
from typing import Annotated, Any

import msgspec
import typer

from suno_async import (
    CoverMusic,
    ExtendMusic,
    ExtendUpload,
    GenerateSounds,
    MusicVideo,
    SeparateVocals,
)
from suno_async.cli.creating import CREATE_OPTIONS, create_task
from suno_async.cli.exit_codes import exit_codes_help
from suno_async.cli.options import field_options, option, with_parameters
from suno_async.cli.output import fail

_AUDIO = [
    option(
        "audio",
        Annotated[str | None, typer.Option(help="Use this audio file or URL instead of a song.")],
    )
]

_EXIT_CODES = exit_codes_help(1, 2, 3, 4, 5, 6, 7)

commands = typer.Typer()


@commands.command(epilog=_EXIT_CODES)
@with_parameters(
    field_options(ExtendMusic, arguments=("task_id", "suno_id"), optional=("task_id", "suno_id")),
    _AUDIO,
    CREATE_OPTIONS,
)
def extend(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Make a song, or an audio file, longer. Costs credits."""
    audio = given.pop("audio")
    if audio is None:
        create_task(ExtendMusic, given)
        return
    _forbid_song(given)
    del given["task_id"], given["suno_id"]
    create_task(ExtendUpload, given, audio)


@commands.command(epilog=_EXIT_CODES)
@with_parameters(
    field_options(CoverMusic, arguments=("task_id", "suno_id"), without=("audio_url",)),
    _AUDIO,
    CREATE_OPTIONS,
)
def cover(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Create a new version of a song, or of an audio file, in another style. Costs credits."""
    audio = given.pop("audio")
    if audio is not None:
        _forbid_song(given)
    create_task(CoverMusic, given, audio)


@commands.command(epilog=_EXIT_CODES)
@with_parameters(field_options(MusicVideo, arguments=("task_id", "suno_id")), CREATE_OPTIONS)
def video(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Create a video for a song. Costs credits."""
    create_task(MusicVideo, given)


@commands.command(epilog=_EXIT_CODES)
@with_parameters(
    field_options(SeparateVocals, arguments=("task_id", "suno_id"), without=("mode",)),
    [
        option(
            "mode",
            Annotated[str, typer.Option(help="vocal: 2 stems; instrumental: up to 12 stems.")],
            "vocal",
        ),
    ],
    CREATE_OPTIONS,
)
def separate(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Separate a song into stems, such as vocals and instruments. Costs credits."""
    create_task(SeparateVocals, given)


@commands.command(epilog=_EXIT_CODES)
@with_parameters(field_options(GenerateSounds, arguments=("prompt",)), CREATE_OPTIONS)
def sounds(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Create sounds from a description. Costs credits."""
    for name in ("loop", "bpm", "key"):
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            # JSON values are decoded, such as "true" and "120". Other values stay text.
            given[name] = msgspec.json.decode(given[name])
    create_task(GenerateSounds, given)


def _forbid_song(given: dict[str, Any]) -> None:
    if given["task_id"] is not None:
        fail("give either the ids of a song or --audio, not both", 2)
