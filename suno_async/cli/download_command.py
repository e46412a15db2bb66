"""The command ``download``: download the files of tasks, or the files at URLs."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from suno_async import (
    APIError,
    AuthenticationError,
    ResponseError,
    SunoClient,
    TaskInfo,
    TaskStatus,
    check_task_id,
)
from suno_async.cli.clients import open_client
from suno_async.cli.downloads import download_and_print
from suno_async.cli.error_lines import print_error, print_suno_error
from suno_async.cli.exit_codes import (
    MISSING_FILES,
    SEVERAL,
    exit_code,
    exit_codes_help,
    most_serious,
)
from suno_async.cli.file_options import AllowHosts, Covers, FileName, FileOptions, WriteTags
from suno_async.cli.options import Account, BaseUrl, JournalFile, Json
from suno_async.cli.output import command_words, errors_about, print_interruption
from suno_async.cli.running import Stopped, run

commands = typer.Typer()


@commands.command(epilog=exit_codes_help(1, 2, 3, 5, 7) + SEVERAL)
def download(
    targets: Annotated[
        list[str], typer.Argument(metavar="TASK_ID|URL", help="Ids of finished tasks, or URLs.")
    ],
    directory: Annotated[Path, typer.Option(help="Directory for the files.")] = Path(),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also download files that exist already.")
    ] = False,
    name: FileName = None,
    covers: Covers = False,
    write_tags: WriteTags = False,
    allow_host: AllowHosts = None,
    journal: JournalFile = None,
    account: Account = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Download the files of finished tasks, and print their paths.

    A file gets its name only when it is complete. After an interruption, run the command again
    without --overwrite: it downloads only the missing files. With --journal, a task whose result is
    in the journal needs no status request, unless one of its URLs has expired.
    """
    for target in targets:
        if not _is_url(target):
            with errors_about(task_id=target):
                check_task_id(target)
    files = FileOptions(directory, name, covers, write_tags, allow_host)
    files.prepare(base_url)
    codes = [0]

    async def work() -> int:
        # Only requests to the API need the key. If all targets are URLs, there are none.
        async with open_client(
            base_url,
            needs_key=not all(map(_is_url, targets)),
            journal=journal,
            account=account,
            allow_hosts=allow_host,
        ) as suno:
            missing = await download_and_print(
                suno, _infos(suno, targets, codes), files, as_json=as_json, overwrite=overwrite
            )
        return most_serious(*codes, MISSING_FILES if missing else 0)

    try:
        code = run(work(), raise_stopped=True)
    except Stopped as stopped:
        words = command_words(
            "download",
            **files._asdict() | {"download": None, "directory": directory},
            journal=journal,
            account=account,
            base_url=base_url,
            json=as_json,
        )
        print_interruption("complete files are kept", [*words, "--", *targets])
        code = stopped.exit_code
    raise typer.Exit(code)


async def _infos(
    suno: SunoClient, targets: Sequence[str], codes: list[int]
) -> AsyncGenerator[TaskInfo | str]:
    """Yield the URLs in `targets`, and the records of the tasks in `targets` that succeeded.

    If a task did not succeed, print an error, and add the exit code for this error to `codes`.
    """
    for target in targets:
        if _is_url(target):
            yield target
            continue
        try:
            info = await _stored_info(suno, target) or await suno.task_info(target)
        except (APIError, ResponseError) as error:
            # These errors concern one id. Other errors, such as a lost connection, concern all ids.
            if isinstance(error, AuthenticationError):
                raise
            codes.append(exit_code(error))
            print_suno_error(error, task_id=target)
            continue
        if info.status is TaskStatus.SUCCESS:
            yield info
        elif info.status is TaskStatus.FAILED:
            codes.append(1)
            print_error("failed, so it has no files", task_id=target)
        else:
            codes.append(5)
            print_error(f"is {info.raw_status}, so wait for its end first", task_id=target)


async def _stored_info(suno: SunoClient, task_id: str) -> TaskInfo | None:
    """Return the final record of a task, if the journal contains it. Otherwise return None.

    If the stored record cannot be decoded, poll the task. Return None if the poll gives no record.
    """
    if suno.journal is None:
        return None
    stored = await suno.journal.find_tasks([task_id])
    if task_id not in stored or not stored[task_id].ended:
        return None
    async for outcome in suno.as_completed([task_id]):
        return outcome.info
    return None


def _is_url(target: str) -> bool:
    return target.startswith(("https://", "http://"))
