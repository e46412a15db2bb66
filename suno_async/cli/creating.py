"""Create one task from the options of a command. Wait and download if the options request it."""

import json
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer

from suno_async import Creation, Input, InvalidInputError, Persona, PersonaCreation, SunoClient
from suno_async.cli.clients import open_client
from suno_async.cli.downloads import download_and_print
from suno_async.cli.error_lines import print_error, print_suno_error
from suno_async.cli.exit_codes import MISSING_FILES
from suno_async.cli.file_options import FILE_OPTIONS, FileOptions
from suno_async.cli.options import BaseUrl, Json, option, parse_json_object
from suno_async.cli.output import errors_about, fail, print_info, print_interruption
from suno_async.cli.running import Stopped, run

#: The options of every command that creates a task.
CREATE_OPTIONS = [
    option(
        "callback_url",
        Annotated[
            str | None, typer.Option(help="URL that gets a POST request when the task ends.")
        ],
    ),
    option(
        "max_credits",
        Annotated[
            float | None,
            typer.Option(
                min=0,
                help="Ask for the price of each task first. Create no task with a higher price.",
            ),
        ],
    ),
    option("wait", Annotated[bool, typer.Option("--wait", help="Wait for the result.")], False),
    option(
        "download",
        Annotated[
            Path | None, typer.Option(help="Wait, and download the files into this directory.")
        ],
    ),
    *FILE_OPTIONS,
    option("base_url", BaseUrl),
    option("as_json", Json, False),
]

#: Placeholder for the URL of a file that is not uploaded yet. With it, the input can be checked.
_NOT_UPLOADED_YET = "https://upload.invalid/"


def create_task(kind: type[Input], given: dict[str, Any], audio: str | None = None) -> None:
    """Create a task, print its id, and then wait and download if the options request it.

    Args:
        kind: The kind of job.
        given: The fields of the input, and the values of `CREATE_OPTIONS`.
        audio: A file or a URL for the field ``audio_url``; a file is uploaded first. If
            None, the field is absent.
    """
    options = {each.name: given.pop(each.name) for each in CREATE_OPTIONS}
    given["extra"] = parse_json_object("--extra", given["extra"])
    if audio == "":  # for example from a shell variable that is not set
        fail("--audio: give a file or a URL", 2)
    is_file = audio is not None and not audio.startswith(("https://", "http://"))
    if audio is not None:
        given["audio_url"] = _NOT_UPLOADED_YET if is_file else audio
    job, as_json = kind(**given), bool(options["as_json"])
    files = FileOptions(**{name: options[name] for name in FileOptions._fields})
    files.prepare(options["base_url"])

    unprinted: list[Creation | PersonaCreation] = []

    async def work() -> None:
        async with open_client(
            options["base_url"], on_creation=unprinted.append, allow_hosts=files.allow_host
        ) as suno:
            task = await suno.create(
                await _with_upload(suno, job, audio) if audio and is_file else job,
                callback_url=options["callback_url"],
                max_credits=options["max_credits"],
            )
            # Print the id before anything else: the task is paid for, even if the next step fails.
            print_created(task.id, as_json=as_json)
            unprinted.clear()
            if not options["wait"] and files.download is None:
                return
            with errors_about(task_id=task.id):
                info = await task
            print_info(info, as_json=as_json)
            if files.download is not None and await download_and_print(
                suno, info, files, as_json=as_json
            ):
                raise typer.Exit(MISSING_FILES)

    run_create(work(), unprinted, as_json=as_json)


def print_created(new: str | Persona, *, as_json: bool) -> None:
    """Print the id of a new task, or a new persona. If stdout fails, print the id on stderr."""
    new_id, row = (new, {"task_id": new}) if isinstance(new, str) else (new.persona_id, new)
    try:
        typer.echo(json.dumps(msgspec.to_builtins(row)) if as_json else new_id)
    except OSError:
        print_error(f"{new_id} was created, but its id cannot be written to stdout")
        raise


def run_create(
    work: Coroutine[Any, Any, None],
    unprinted: Sequence[Creation | PersonaCreation],
    *,
    as_json: bool,
) -> None:
    """Run the work of a command that creates a task or a persona.

    If a signal ends the work while the create request is in flight, still print the outcome of the
    request.

    Args:
        work: The coroutine that does the work.
        unprinted: The outcomes that the client passed to `on_creation`, and that `work` has not
            printed.
        as_json: Print JSON.
    """
    try:
        run(work, raise_stopped=True)
    except Stopped as stopped:
        for creation in unprinted:
            if creation.error is not None:
                print_suno_error(creation.error)
            elif isinstance(creation, PersonaCreation):
                print_created(cast("Persona", creation.persona), as_json=as_json)
            else:
                print_created(creation.handle.id, as_json=as_json)
        print_interruption()
        raise typer.Exit(stopped.exit_code) from None


async def _with_upload(suno: SunoClient, job: Input, file: str) -> Input:
    """Upload a file, and return a copy of the input with the URL of the uploaded file.

    Raises:
        InvalidInputError: The input is not valid, or the suffix of the file is not that of an
            audio file. Nothing was uploaded.
        UploadError: The file is empty, cannot be read, or could not be sent completely.
        SunoError: The server returned no URL for the upload.
    """
    if problems := job.problems():
        raise InvalidInputError(problems)
    return msgspec.structs.replace(job, audio_url=await suno.upload(file))
