"""Options of the commands: shared options, and options made from the fields of input classes."""

# Typer reads the annotations at runtime.
import inspect
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer

from suno_async.cli.output import fail

Json = Annotated[bool, typer.Option("--json", help="Print JSON. Errors are JSON too.")]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="URL of the API. Default: SUNO_BASE_URL or CRUN_BASE_URL, else https://api.crun.ai."
    ),
]
Timeout = Annotated[
    float | None, typer.Option(min=0.1, help="Maximum wait in seconds, for all tasks together.")
]
JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        help="Journal of creates, tasks and results: an SQLite file. Created if missing.",
    ),
]
Account = Annotated[
    str | None,
    typer.Option(
        help="Label of the account in the journal. Default: a hash of the key and the API host."
    ),
]
TaskIds = Annotated[list[str], typer.Argument(help="Task ids.")]

Command = Callable[..., None]

#: Help texts of the fields. A field without a help text has a name that needs no explanation.
_HELP = {
    "audio_weight": "Weight of the given audio, 0 to 1.",
    "author": "Author shown in the video.",
    "bpm": "Beats per minute.",
    "brand": "Brand shown in the video.",
    "continue_at": "Where the new part starts, in seconds from the beginning.",
    "extra": "Additional fields for the API, as a JSON object.",
    "instrumental": "No vocals.",
    "key": "Musical key.",
    "loop": "Whether the sound loops: true or false.",
    "mode": "Default: custom with a title, tags or lyrics, otherwise simple.",
    "model": "For example v5.5 or v5. Newer names are accepted.",
    "name": "Name of the persona.",
    "negative_tags": "Styles to avoid.",
    "persona_id": "Id of a persona created earlier.",
    "prompt": "Description of the song or sound.",
    "song_duration": "Length of the audio in seconds. Used for checks, not sent.",
    "style_weight": "How closely to follow the style, 0 to 1.",
    "suno_id": "Id of the song within the task.",
    "tags": "Style tags, separated by commas.",
    "task_id": "Id of the task that made the song.",
    "vocal_end": "End of the vocals to use, in seconds from the start of the song.",
    "vocal_start": "Start of the vocals to use, in seconds from the start of the song.",
    "weirdness_constraint": "How unusual the song may be, 0 to 1.",
}


def option(name: str, annotation: object, default: object = None) -> inspect.Parameter:
    """Return a keyword parameter for the signature of a command."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def as_flag(name: str) -> str:
    """Return the option name of a parameter, such as ``--write-tags`` for ``write_tags``."""
    return f"--{name.replace('_', '-')}"


def field_options(
    kind: type[msgspec.Struct],
    *,
    arguments: Collection[str] = (),
    optional: Collection[str] = (),
    without: Collection[str] = (),
) -> list[inspect.Parameter]:
    """Return one parameter of a command for each field of an input class.

    Args:
        kind: The input class.
        arguments: Names of the fields that the user gives by position, not as an option.
        optional: Names of the fields that the command does not require, even if the input class
            requires them.
        without: Names of the fields that get no parameter.
    """
    return [
        _parameter(field, is_argument=field.name in arguments, optional=field.name in optional)
        for field in msgspec.structs.fields(kind)
        if field.name not in without
    ]


def with_parameters(*groups: Sequence[inspect.Parameter]) -> Callable[[Command], Command]:
    """Return a decorator that gives the parameters in `groups` to a command.

    The decorated function must accept ``**given``, the values of the parameters by name.
    """

    def decorate(command: Command) -> Command:
        parameters = [each for group in groups for each in group]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def parse_json_object(option: str, text: str | None) -> dict[str, Any]:
    """Parse the value of an option as a JSON object. Exit if the value is something else.

    Args:
        option: The name of the option, for the error.
        text: The value of the option. None gives an empty dictionary.
    """
    if text is None:
        return {}
    try:
        value: object = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        fail(f"{option}: not JSON: {error}", 2)
    if not isinstance(value, dict):
        fail(f"{option}: must be a JSON object", 2)
    return cast("dict[str, Any]", value)


def _parameter(
    field: msgspec.structs.FieldInfo, *, is_argument: bool, optional: bool
) -> inspect.Parameter:
    name, text = field.name, _HELP.get(field.name)
    if field.type is bool:
        flag = typer.Option(as_flag(name), help=text)
        return option(name, Annotated[bool, flag], default=False)
    required = field.required and not optional
    kind: Any = field.type
    if kind is Any or name == "extra":
        kind = str | None
    elif field.required and optional:
        kind |= None
    declared = typer.Argument(help=text) if is_argument else typer.Option(help=text)
    default = None if field.default is msgspec.NODEFAULT else field.default
    default = inspect.Parameter.empty if required else default
    return option(name, Annotated[kind, declared], default)
