"""Options made from the fields of inputs, so that every field has one and none is told twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Command = Callable[..., None]

#: What the options say of themselves; elsewhere the name says it.
_HELP = {
    "audio_weight": "Weight of the given audio, 0 to 1.",
    "author": "A name to show.",
    "brand": "A brand to show.",
    "continue_at": "Where to go on, in seconds from the start.",
    "extra": "Newer fields of the input, as a JSON object.",
    "instrumental": "No vocals.",
    "mode": "If not given: custom with a title, tags or lyrics, else simple.",
    "model": "Such as v5.5 or v5; a newer one passes.",
    "name": "What to call it.",
    "negative_tags": "Styles to keep away from.",
    "persona_id": "A persona made before.",
    "prompt": "What it should be.",
    "song_duration": "Length of the audio in seconds, to check the others against; not sent.",
    "style_weight": "0 to 1.",
    "suno_id": "Which of its songs.",
    "tags": "Style tags, separated by commas.",
    "task_id": "The task that made the song.",
    "vocal_end": "Where the singing to learn from ends, in seconds.",
    "vocal_start": "Where the singing to learn from begins, in seconds.",
    "weirdness_constraint": "0 to 1.",
}


def option(name: str, annotation: object, default: object = None) -> inspect.Parameter:
    """One parameter of a command."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def fields_of(
    kind: type[msgspec.Struct],
    *,
    arguments: Collection[str] = (),
    optional: Collection[str] = (),
    without: Collection[str] = (),
) -> list[inspect.Parameter]:
    """The parameters for an input's fields.

    Args:
        kind: Of the input.
        arguments: Those that are arguments and no options.
        optional: Those that the command does not require, though the input may.
        without: Those that get none.
    """
    return [
        _parameter(field, is_argument=field.name in arguments, optional=field.name in optional)
        for field in msgspec.structs.fields(kind)
        if field.name not in without
    ]


def _parameter(
    field: msgspec.structs.FieldInfo, *, is_argument: bool, optional: bool
) -> inspect.Parameter:
    name, taken = field.name, _HELP.get(field.name)
    if field.type is bool:
        flag = typer.Option(f"--{name.replace('_', '-')}", help=taken)
        return option(name, Annotated[bool, flag], default=False)
    required = field.required and not optional
    kind: Any = field.type
    if kind is Any or name == "extra":
        kind = str | None
    elif field.required and optional:
        kind |= None
    told = typer.Argument(help=taken) if is_argument else typer.Option(help=taken)
    default = None if field.default is msgspec.NODEFAULT else field.default
    return option(name, Annotated[kind, told], inspect.Parameter.empty if required else default)


def takes(*groups: Sequence[inspect.Parameter]) -> Callable[[Command], Command]:
    """Give a command that takes ``**given`` these parameters, as typer reads them."""

    def decorate(command: Command) -> Command:
        parameters = [each for group in groups for each in group]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate
