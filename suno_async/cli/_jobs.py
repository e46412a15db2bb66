"""The commands that make something of a song, or tell what it would cost."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from suno_async import (
    CoverMusic,
    ExtendMusic,
    ExtendUpload,
    GeneratePersona,
    GenerateSounds,
    Input,
    InvalidInputError,
    MusicVideo,
    SeparateVocals,
    SunoClient,
    TaskInfo,
    Track,
)
from suno_async.cli._common import BaseUrl, Json, json_object, run
from suno_async.cli._exits import exits
from suno_async.cli._files import inputs_in, make_directory
from suno_async.cli._options import fields_of, option, takes
from suno_async.cli._tell import fail, tell

#: The options of every command that creates a task.
SPENDING = [
    option("callback_url", Annotated[str | None, typer.Option(help="POSTed when it ends.")]),
    option(
        "max_credits",
        Annotated[
            float | None, typer.Option(min=0, help="Ask for the price, create nothing above.")
        ],
    ),
    option("wait", Annotated[bool, typer.Option("--wait", help="Wait for the result.")], False),
    option("download", Annotated[Path | None, typer.Option(help="Wait, and fetch it here.")]),
    option("base_url", BaseUrl),
    option("as_json", Json, False),
]

_AUDIO = [
    option(
        "audio", Annotated[str | None, typer.Option(help="A file, or a URL, instead of a song.")]
    )
]

#: Stands for the URL of a file that is not uploaded yet, while the rest is checked.
_LATER = "https://upload.invalid/"

_EXITS = exits(1, 2, 3, 4, 5, 6)

jobs = typer.Typer()


@jobs.command(epilog=_EXITS)
@takes(
    fields_of(ExtendMusic, arguments=("task_id", "suno_id"), optional=("task_id", "suno_id")),
    _AUDIO,
    SPENDING,
)
def extend(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Make a song, or an audio file, longer; costs credits."""
    audio = given.pop("audio")
    if audio is None:
        spend(ExtendMusic, given)
        return
    _not_a_song(given)
    del given["task_id"], given["suno_id"]
    spend(ExtendUpload, given, audio)


@jobs.command(epilog=_EXITS)
@takes(
    fields_of(CoverMusic, arguments=("task_id", "suno_id"), without=("audio_url",)),
    _AUDIO,
    SPENDING,
)
def cover(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Make a song, or an audio file, anew in another style or voice; costs credits."""
    audio = given.pop("audio")
    if audio is not None:
        _not_a_song(given)
    spend(CoverMusic, given, audio)


@jobs.command(epilog=_EXITS)
@takes(fields_of(MusicVideo, arguments=("task_id", "suno_id")), SPENDING)
def video(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Make a video of a song; costs credits."""
    spend(MusicVideo, given)


@jobs.command(epilog=_EXITS)
@takes(
    fields_of(SeparateVocals, arguments=("task_id", "suno_id"), without=("mode",)),
    [
        option(
            "mode",
            Annotated[str, typer.Option(help="vocal: 2 stems; instrumental: up to 12.")],
            "vocal",
        ),
    ],
    SPENDING,
)
def separate(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Take a song apart into stems; costs credits."""
    spend(SeparateVocals, given)


@jobs.command(epilog=_EXITS)
@takes(fields_of(GenerateSounds, arguments=("prompt",)), SPENDING)
def sounds(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Make sounds; costs credits."""
    for name in ("loop", "bpm", "key"):
        with contextlib.suppress(ValueError, TypeError):
            # "true" and "120" as what they say; whatever is no JSON is text.
            given[name] = json.loads(given[name])
    spend(GenerateSounds, given)


@jobs.command(epilog=exits(2, 3, 4, 5, 6))
@takes(
    fields_of(GeneratePersona, arguments=("task_id", "suno_id", "name")),
    [each for each in SPENDING if each.name in {"base_url", "as_json"}],
)
def persona(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Make a persona of a song's voice, and print its id; may cost credits."""
    base_url, as_json = given.pop("base_url"), given.pop("as_json")
    given["extra"] = json_object("--extra", given["extra"])
    made = GeneratePersona(**given)

    async def work() -> None:
        async with SunoClient(base_url=base_url) as suno:
            voice = await suno.create_persona(made)
        typer.echo(msgspec.json.encode(voice).decode() if as_json else voice.persona_id)

    run(work())


@jobs.command(epilog=exits(2, 3, 5))
def upload(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    content_type: Annotated[
        str | None, typer.Option(help="Its media type; else by suffix.")
    ] = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Upload an audio file, and print its URL."""

    async def work() -> str:
        async with SunoClient(base_url=base_url) as suno:
            return await suno.upload(file, content_type=content_type)

    url = run(work())
    typer.echo(json.dumps({"url": url}) if as_json else url)


@jobs.command(epilog=exits(2, 3, 5))
def estimate(
    file: Annotated[str, typer.Argument(help="Inputs, as create --batch takes them; - for stdin.")],
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Print what each input would cost, in credits, and the sum; costs none."""
    inputs = inputs_in(file)

    async def work() -> None:
        total = 0.0
        async with SunoClient(base_url=base_url) as suno:
            for index, job in enumerate(inputs):
                price = await suno.estimate(job)
                total += price.estimated_credits
                row = {"index": index, **msgspec.to_builtins(price)}
                typer.echo(json.dumps(row) if as_json else f"{price.estimated_credits:g}")
        if len(inputs) != 1:
            typer.echo(json.dumps({"total": total}) if as_json else f"total {total:g}")

    run(work())


@jobs.command(epilog=exits(2, 3, 5))
def models(
    model: Annotated[str | None, typer.Argument(help="Print what this one takes.")] = None,
    modality: Annotated[str | None, typer.Option(help="Only these, such as audio.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only these.")] = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """List what the service offers, or print the JSON Schema of what one model takes."""
    if model is not None and (modality or operation):
        fail("--modality and --operation choose from the list, not with a model", 2)

    async def work() -> None:
        async with SunoClient(base_url=base_url) as suno:
            if model is not None:
                schema = (await suno.model_schema(model)).input_schema
                typer.echo(json.dumps(schema, indent=None if as_json else 2))
                return
            for each in await suno.models(modality=modality, operation=operation):
                typer.echo(json.dumps(each.details) if as_json else each.model)

    run(work())


def spend(kind: type[Input], given: dict[str, Any], audio: str | None = None) -> None:
    """Create a task of what the command was given, and go on as its options say."""
    ours = {each.name: given.pop(each.name) for each in SPENDING}
    given["extra"] = json_object("--extra", given["extra"])
    is_file = audio is not None and not audio.startswith(("https://", "http://"))
    if audio is not None:
        given["audio_url"] = _LATER if is_file else audio
    job, directory = kind(**given), ours["download"]
    if directory is not None:
        make_directory(directory)

    async def work() -> None:
        async with SunoClient(base_url=ours["base_url"]) as suno:
            task = await suno.create(
                await _with_audio(suno, job, audio) if is_file else job,
                callback_url=ours["callback_url"],
                max_credits=ours["max_credits"],
            )
            # First of all the id: whatever comes, what was paid for can be found again.
            typer.echo(json.dumps({"task_id": task.id}) if ours["as_json"] else task.id)
            if not ours["wait"] and directory is None:
                return
            info = await task
            tell(info, as_json=ours["as_json"])
            if directory is not None:
                async for path in fetched(suno, info, directory):
                    typer.echo(json.dumps({"file": path}) if ours["as_json"] else path)

    run(work())


async def fetched(suno: SunoClient, info: TaskInfo, directory: Path) -> AsyncGenerator[str]:
    """Fetch what a task made; the paths of the files, in order.

    Songs have names of their own. Other files are called as their URLs end, which may be alike
    from task to task and within one, and a download keeps a file that is there already: so each
    task's go into a directory of its own, and each namesake there into a numbered one.

    Raises:
        DownloadError: One could not be fetched; raised when all others were.
    """
    own = directory / re.sub(r"[^\w-]", "_", info.task_id)
    places: list[tuple[Track | str, Path]] = [(track, directory) for track in info.tracks]
    names: Counter[str] = Counter()
    for url in () if places else (*info.stems.values(),) or info.media_urls:
        name = url.partition("?")[0].rpartition("/")[2]
        places.append((url, own / str(names[name]) if names[name] else own))
        names[name] += 1
    ended = await asyncio.gather(
        *(suno.download(each, place) for each, place in places), return_exceptions=True
    )
    for each in ended:
        if not isinstance(each, BaseException):
            yield str(each)
    for each in ended:
        if isinstance(each, BaseException):
            raise each


async def _with_audio(suno: SunoClient, job: Input, file: str | None) -> Input:
    if problems := job.problems():
        raise InvalidInputError(problems)
    return msgspec.structs.replace(job, audio_url=await suno.upload(file or ""))


def _not_a_song(given: dict[str, Any]) -> None:
    if given["task_id"] is not None:
        fail("give the ids of a song, or --audio, not both", 2)
