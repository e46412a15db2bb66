"""The command ``poll``: poll many tasks together, and write their results to a file."""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn

import typer

from suno_async import SunoClient, TaskInfo
from suno_async.cli.clients import open_client
from suno_async.cli.downloads import Downloads
from suno_async.cli.exit_codes import MISSING_FILES, SEVERAL, exit_codes_help, most_serious
from suno_async.cli.file_options import AllowHosts, Covers, FileName, FileOptions, WriteTags
from suno_async.cli.files import (
    check_different,
    earlier_infos,
    earlier_statuses,
    ids_in,
    results_file,
)
from suno_async.cli.options import Account, BaseUrl, JournalFile, Timeout
from suno_async.cli.output import command_words, print_interruption
from suno_async.cli.output_lock import output_lock
from suno_async.cli.progress import Progress
from suno_async.cli.running import Stopped, run, task_group

commands = typer.Typer()


@commands.command(
    epilog=exit_codes_help(1, 2, 3, 5, 7) + SEVERAL + " With --resume, earlier results count too."
)
def poll(
    file: Annotated[str, typer.Argument(help="Task ids as text, CSV or JSONL; - for stdin.")],
    output: Annotated[
        str, typer.Option(help="Results file (JSONL); - for stdout.")
    ] = "results.jsonl",
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the tasks with a final result in --output.")
    ] = False,
    download: Annotated[
        Path | None,
        typer.Option(
            help="Download the files into this directory. With --resume, also download missing "
            "files of earlier results."
        ),
    ] = None,
    name: FileName = None,
    covers: Covers = False,
    write_tags: WriteTags = False,
    allow_host: AllowHosts = None,
    journal: JournalFile = None,
    account: Account = None,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a JSON summary (on stderr if --output is -). Errors are JSON too."
        ),
    ] = False,
) -> None:
    """Poll thousands of tasks together, and write each result as it arrives.

    With --journal, tasks whose result is in the journal are not polled. New results are added to
    the journal.
    """
    # FILE and --output may be the same results file, because results are only added.
    if journal is not None:
        for word, path in (("FILE", file), ("--output", output)):
            if path != "-":
                check_different({word: path, "--journal": str(journal)})
    wanted = ids_in(file)
    files = FileOptions(download, name, covers, write_tags, allow_host)
    files.prepare(base_url)
    summary: dict[str, Any] = {"output": output}

    def end(code: int) -> NoReturn:
        if as_json:
            typer.echo(json.dumps(summary | {"exit_code": code}), err=output == "-")
        raise typer.Exit(code)

    with output_lock(output):
        earlier = earlier_statuses(output, resume=resume)
        known = [earlier[each] for each in wanted if each in earlier]
        summary["skipped"] = len(known)
        try:
            with results_file(output) as out:
                work = _poll(
                    [each for each in wanted if each not in earlier],
                    out,
                    summary,
                    open_client=functools.partial(
                        open_client,
                        base_url,
                        patient=True,
                        journal=journal,
                        account=account,
                        allow_hosts=allow_host,
                    ),
                    timeout=timeout,
                    files=files,
                    earlier=earlier_infos(output, {*wanted}) if download and known else [],
                )
                worst = run(work, raise_stopped=True)
        except Stopped as stopped:
            hint, words = how_to_resume(
                file,
                output,
                timeout=timeout,
                base_url=base_url,
                as_json=as_json,
                **files._asdict(),
                journal=journal,
                account=account,
            )
            print_interruption(hint, words)
            end(stopped.exit_code)
        end(most_serious(worst, 1 if "failed" in known else 0))


async def _poll(
    ids: Sequence[str],
    out: IO[str],
    summary: dict[str, Any],
    *,
    open_client: Callable[..., SunoClient],
    timeout: float | None,
    files: FileOptions,
    earlier: Sequence[TaskInfo],
) -> int:
    """Poll tasks and write their results to `out`. Return the exit code."""
    plain = out is sys.stdout and sys.stdout.isatty()
    progress = Progress(len(ids), task_ids=ids, plain=plain)
    async with open_client(observer=progress.tasks) as suno:
        downloads = None if files.download is None else Downloads(suno, files)
        try:
            async with (
                progress.shown(suno, *([] if downloads is None else [downloads.line])),
                task_group() as group,
            ):
                if downloads is not None and earlier:
                    group.create_task(downloads.fetch(earlier))
                async for outcome in suno.as_completed(ids, timeout=timeout):
                    progress.record(outcome, out)
                    if downloads is not None and outcome.error is None:
                        group.create_task(downloads.fetch(outcome.info))
        finally:
            summary |= progress.summary()
            if downloads is not None:
                summary |= downloads.summary()
    if downloads is not None and downloads.missing:
        progress.note(MISSING_FILES)
    return progress.worst


def how_to_resume(
    file: str,
    output: str,
    *,
    timeout: float | None,
    base_url: str | None,
    as_json: bool,
    **others: object,
) -> tuple[str, list[str] | None]:
    """Return what to do after an interrupted ``poll``.

    Returns:
        A hint for the user, and the command that continues the polling, as a list of arguments.
        The command is None if the polling cannot be continued.
    """
    if output == "-":
        return "the results went to stdout, so this run cannot be resumed", None
    hint = f"the results so far are in {output}"
    if file == "-":
        return f"{hint}. The ids came from stdin: save them in a file to resume", None
    words = command_words(
        "poll",
        output=output,
        resume=True,
        timeout=timeout,
        base_url=base_url,
        json=as_json,
        **others,
    )
    # Without "--", typer would read a name that starts with a dash as an option.
    return hint, [*words, "--", file] if file.startswith("-") else [*words, file]
