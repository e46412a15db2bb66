"""The commands ``runs …``: show, resume, repair and export the runs in a journal.

A run is a batch that has a name.

Only two commands need an API key: ``resume``, and ``rebind`` without a new label.
"""

import contextlib
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from suno_async import Journal as AnyJournal
from suno_async import (
    JournalEntry,
    RunSummary,
    SqliteJournal,
    check_task_id,
    export_results,
    result_record,
)
from suno_async.cli.clients import open_client
from suno_async.cli.downloads import Downloads
from suno_async.cli.exit_codes import (
    MISSING_FILES,
    SEVERAL,
    exit_code,
    exit_codes_help,
    most_serious,
)
from suno_async.cli.file_options import AllowHosts, Covers, FileName, FileOptions, WriteTags
from suno_async.cli.options import Account, BaseUrl, Json
from suno_async.cli.output import (
    echo_text,
    errors_about,
    fail,
    print_outcome,
    system_message,
)
from suno_async.cli.running import run as run_work
from suno_async.cli.running import task_group

Journal = Annotated[
    Path,
    typer.Option("--journal", help="The journal file. Default: the default of create --batch."),
]
OptionalRun = Annotated[
    str | None, typer.Argument(metavar="RUN", help="Name of the run. Default: all runs.")
]

DEFAULT = Path("outcomes.jsonl.journal")

commands = typer.Typer(
    name="runs",
    help="Show, resume, repair and export the runs in a journal.",
    no_args_is_help=True,
)


@commands.command("list", epilog=exit_codes_help(2))
def list_runs(journal: Journal = DEFAULT, as_json: Json = False) -> None:
    """List the runs in a journal, the newest run first."""

    async def work() -> list[RunSummary]:
        async with _opened(journal) as opened:
            return await opened.runs()

    found = run_work(work())
    if as_json:
        for each in found:
            typer.echo(json.dumps(msgspec.to_builtins(each)))
        return
    # The user needs complete names and labels for other commands, so cells wrap.
    columns = ("run", "started", "open", "done", "failed", "submissions", "held by", "account")
    table = Table(*(Column(each, overflow="fold") for each in columns))
    for each in found:
        states = ", ".join(f"{count} {state}" for state, count in each.states.items())
        numbers = (str(number) for number in (each.open, each.succeeded, each.failed))
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.started_at))
        texts = (each.run, started, *numbers, states, each.holder, each.account)
        # Rich reads markup such as [red] in a str, but not in a Text.
        table.add_row(*map(Text, texts))
    Console().print(table)


@commands.command(epilog=exit_codes_help(2))
def show(
    run: Annotated[str, typer.Argument(help="Name of the run; '' for creates without --batch.")],
    journal: Journal = DEFAULT,
    as_json: Json = False,
) -> None:
    """Print the state, the submission id and the task id of each input of a run.

    Pass the submission id to the command "runs settle" if it is unknown whether a task exists.
    """

    async def work() -> int:
        count = 0
        async with _opened(journal) as opened:
            async for entry in opened.entries(run=run):
                if entry.submission is not None:
                    count += 1
                    _print_entry(entry, as_json=as_json)
        return count

    if not run_work(work()):
        _fail_without_run(journal, run)


@commands.command(epilog=exit_codes_help(1, 2, 3, 5, 6, 7) + SEVERAL)
def resume(
    run: OptionalRun = None,
    journal: Journal = DEFAULT,
    download: Annotated[
        Path | None, typer.Option(help="Download the files into this directory.")
    ] = None,
    name: FileName = None,
    covers: Covers = False,
    write_tags: WriteTags = False,
    allow_host: AllowHosts = None,
    account: Account = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Wait for the unfinished tasks of one run, or of all runs. Print each outcome.

    Also print an error for each create request whose outcome is unknown. This command creates no
    tasks. For inputs that were never sent, use create --batch --resume.
    """
    _check_exists(journal)
    files = FileOptions(download, name, covers, write_tags, allow_host)
    files.prepare(base_url)

    async def work() -> int:
        worst = 0
        async with open_client(
            base_url, patient=True, journal=journal, account=account, allow_hosts=allow_host
        ) as suno:
            if run and suno.journal is not None and not await _has_run(suno.journal, run):
                _fail_without_run(journal, run)
            downloads = None if download is None else Downloads(suno, files)
            async with task_group() as group:
                async for outcome in suno.resume(run=run):
                    worst = most_serious(worst, exit_code(outcome.error))
                    print_outcome(outcome, as_json=as_json, journal=journal)
                    if downloads is not None and outcome.error is None:
                        group.create_task(downloads.fetch(outcome.info))
        missing = downloads is not None and downloads.missing
        return most_serious(worst, MISSING_FILES if missing else 0)

    raise typer.Exit(run_work(work()))


@commands.command(epilog=exit_codes_help(2))
def settle(
    submission: Annotated[str, typer.Argument(help="Id of the submission, from runs show.")],
    task_id: Annotated[
        str | None, typer.Argument(metavar="TASK_ID", help="Id of the task that was created.")
    ] = None,
    not_created: Annotated[
        bool,
        typer.Option(
            "--not-created",
            help="No task was created, so the next create --batch --resume creates it. If the "
            "task does exist, you pay twice.",
        ),
    ] = False,
    journal: Journal = DEFAULT,
    as_json: Json = False,
) -> None:
    """Store in the journal whether a request with an unknown outcome created a task.

    To find out whether the task exists, check the callbacks, the balance, or the vendor's website.
    """
    if (task_id is None) is not not_created:
        fail("give either the id of the task or --not-created", 2)
    if task_id is not None:
        with errors_about(task_id=task_id):
            check_task_id(task_id)

    async def work() -> None:
        async with _opened(journal) as opened:
            record = await opened.settle(submission, task_id)
            _print_entry(JournalEntry(record, None), as_json=as_json)

    run_work(work())


@commands.command(epilog=exit_codes_help(2, 5))
def export(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    file_format: Annotated[
        Literal["jsonl", "csv", "parquet", "sqlite"] | None,
        typer.Option("--format", help="Default: by the file's suffix."),
    ] = None,
    rows: Annotated[
        Literal["results", "tracks"],
        typer.Option(help="A row for each job, or for each song, stem, video or sound."),
    ] = "results",
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
    journal: Journal = DEFAULT,
    as_json: Json = False,
) -> None:
    """Export the jobs and results in a journal to a file that other programs can read."""

    async def work() -> int:
        async with _opened(journal) as opened:
            if run and not await _has_run(opened, run):
                _fail_without_run(journal, run)
            with errors_about(file=str(file)):
                return await export_results(
                    opened.entries(run=run),
                    file,
                    file_format=file_format,
                    rows=rows,
                    overwrite=overwrite,
                )

    count = run_work(work())
    _echo({"file": str(file), "rows": count}, f"{count} rows in {file}", as_json=as_json)


@commands.command(epilog=exit_codes_help(2))
def rebind(
    old: Annotated[str, typer.Argument(help="The current label; runs list --json prints it.")],
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="NEW",
            help="The new label. Default: the label of the current key and host.",
        ),
    ] = None,
    journal: Journal = DEFAULT,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Change the label of an account in a journal, for example after a change of the API key."""
    with errors_about():
        label = new or open_client(base_url).account

    async def work() -> int:
        async with _opened(journal) as opened:
            return await opened.rebind(old, label)

    count = run_work(work())
    text = f"{count} rows of {old} belong to {label} now"
    _echo({"account": label, "rows": count}, text, as_json=as_json)


@contextlib.asynccontextmanager
async def _opened(path: Path) -> AsyncGenerator[SqliteJournal]:
    """Open an existing journal for all accounts. Close it when the ``with`` block ends."""
    _check_exists(path)
    journal = SqliteJournal(path)
    await journal.open(None)
    try:
        yield journal
    finally:
        await journal.close()


def _check_exists(path: Path) -> None:
    try:
        if path.exists():
            return
    except OSError as error:
        fail(f"cannot read {path}: {system_message(error)}", 2, file=str(path))
    fail(f"there is no journal {path}: give --journal", 2, file=str(path))


async def _has_run(journal: AnyJournal, run: str) -> bool:
    return any(each.run == run for each in await journal.runs())


def _fail_without_run(journal: Path, run: str) -> NoReturn:
    fail(f"{journal} has no run {run!r}: see runs list", 2, file=str(journal))


def _print_entry(entry: JournalEntry, *, as_json: bool) -> None:
    record = result_record(entry)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(record)))
        return
    # Inputs are counted from 1 in texts, and from 0 in JSON.
    number = f"input {(record.position or 0) + 1}" if record.run else ""
    words = (number, record.status, record.submission_id, record.task_id, record.error)
    echo_text("  ".join(filter(None, words)))


def _echo(value: dict[str, Any], text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(value) if as_json else text)
